"""`eventbus-worker --reload`: a worker that is replaced by a fresh one when its code changes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Final, Self

from eventbus.defaults import RELOAD_INTERVAL
from eventbus.errors import MissingDependency
from eventbus.text import short

__all__ = ["run_reloading"]

_log = logging.getLogger("eventbus.worker")

_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: What a worker may have read: its code, and what configures it.
_SUFFIXES: Final = (".py", ".toml", ".env")
#: How many files a log line names.
_NAMED: Final = 3


def run_reloading(arguments: Sequence[str], *, folder: Path | None = None) -> int:
    """
    Run a worker, and another in its place whenever a file of code changes; return the last one's exit code.

    A change lets the running job end, as SIGTERM does. A worker that ends by itself, because its code cannot
    be loaded say, is started again with the next change. SIGTERM, SIGINT and SIGHUP end it all.

    Args:
        arguments: Those of `eventbus-worker`.
        folder: Where files are watched.

    Raises:
        MissingDependency: `watchfiles` is not installed.

    Defaults:
        folder = the current one.
    """
    try:
        import watchfiles
    except ImportError:
        raise MissingDependency(extra="reload", needed_for="eventbus-worker --reload") from None
    place = (folder or Path()).absolute()
    shown = watchfiles.DefaultFilter()

    def is_code(change: watchfiles.Change, path: str) -> bool:
        return path.endswith(_SUFFIXES) and shown(change, path)

    with _Worker(arguments) as worker:
        for changes in watchfiles.watch(
            place,
            watch_filter=is_code,
            stop_event=worker.stopping,
            rust_timeout=round(RELOAD_INTERVAL * 1000),
            yield_on_timeout=True,
        ):
            if changes:
                worker.replace({os.path.relpath(path, place) for _, path in changes})
            else:
                worker.look()
    return worker.code


class _Worker:
    """The worker of now, and the signals that end it."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._command = [sys.executable, "-m", "eventbus.worker", *arguments]
        #: Set by a signal.
        self.stopping = Event()
        self._process = self._started()
        self._is_told = False
        self._before = {number: signal.signal(number, self._heard) for number in _STOPS}

    @property
    def code(self) -> int:
        """What it exited with, as a shell counts."""
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def look(self) -> None:
        """Tell of a worker that has ended by itself."""
        code = self._process.poll()
        if code is not None and not self._is_told:
            self._is_told = True
            _log.warning("the worker ended with %d; another starts when its code changes", code)

    def replace(self, changed: set[str]) -> None:
        """Start another worker, once the running job of this one has ended."""
        names = ", ".join(map(short, sorted(changed)[:_NAMED]))
        more = len(changed) - _NAMED
        _log.info("%s%s changed: another worker", names, f" and {more} more" if more > 0 else "")
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        if not self.stopping.is_set():
            self._process, self._is_told = self._started(), False

    def _started(self) -> subprocess.Popen[bytes]:
        # Not by a variable either: it would watch itself.
        environment = {**os.environ, "EVENTBUS_RELOAD": "0"}
        return subprocess.Popen(self._command, env=environment)  # noqa: S603 -- what we were started as

    def _heard(self, number: int, _: FrameType | None) -> None:
        self.stopping.set()
        # A terminal sends Ctrl-C to both. Two would end the worker at once.
        if number != signal.SIGINT or not os.isatty(0):
            self._process.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.stopping.is_set():  # something broke here: nobody would end it any more
            self._process.terminate()
        self._process.wait()
        for number, handler in self._before.items():
            signal.signal(number, handler)
