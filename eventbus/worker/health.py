"""The health file of a worker, which it keeps current; `eventbus.worker.vital` reads it."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from eventbus.backends.base import Clock, SystemClock
from eventbus.defaults import ACTION_TEXT_LIMIT, HEALTH_CHANGES, HEALTH_INTERVAL
from eventbus.errors import InvalidOption, Unhealthy
from eventbus.text import short
from eventbus.worker.vital import KIND, State, read_vital

__all__ = ["Health", "State", "memory_in_use"]

_log = logging.getLogger("eventbus.worker")


class Health:
    """
    Keeps the health file of one worker current.

    A beat is cheap enough for every turn of a loop: it writes once a second, and when the state
    is another, unless that happens again and again. A file that cannot be written is warned of, once, and ends no worker. Methods may be
    called from any thread; a process that was forked writes nothing.

    Args:
        path: The file; it is replaced whole each time, and readable by its user alone.
        name: The worker's.
        connection: Where it works.
        queues: What it looks at.
        clock: Tells the time.

    Raises:
        InvalidOption: `path` cannot be such a file, or is a file of something else.

    Defaults:
        clock = the machine's.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from eventbus.worker.vital import check_health
        >>> with TemporaryDirectory() as folder:
        ...     health = Health(f"{folder}/worker.json", name="w1")
        ...     health.beat("idle", processed=3)
        ...     check_health(f"{folder}/worker.json").processed
        ...     health.close()
        3
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "",
        connection: str = "",
        queues: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self.path = Path(os.path.abspath(path))
        _check_place(self.path)
        self._clock = SystemClock() if clock is None else clock
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._closed = False
        self._warned = False
        #: When the file was last written, and how many changes of state in a row were.
        self._written_at: datetime | None = None
        self._changes = 0
        now = self._clock.now()
        self._facts: dict[str, Any] = {
            "kind": KIND,
            "pid": self._process,
            "host": socket.gethostname(),
            "name": _bounded(name),
            "connection": connection,
            "queues": list(queues),
            "state": str(State.STARTING),
            "job": None,
            "processed": 0,
            "failed": 0,
            "started_at": now,
            "alive_at": now,
            "loop_at": now,
            "loop_due": now,
        }

    def beat(
        self,
        state: State | str,
        *,
        job: tuple[str, str] | None = None,
        processed: int | None = None,
        failed: int | None = None,
        queues: Sequence[str] | None = None,
        wait: float = 0.0,
    ) -> None:
        """
        Tell that the main loop has turned, and what the worker does now.

        Args:
            state: One of `State`.
            job: Id and listener of the job that it begins; None if none runs.
            processed: How many jobs it ran. Default: as many as before.
            failed: How many of them raised. Default: as many as before.
            queues: What it looks at. Default: the same as before.
            wait: Seconds that it means to wait before it turns again. Default: 0.
        """
        if not self._is_ours:
            return
        with self._lock:
            now = self._clock.now()
            before = self._facts["state"]
            told: dict[str, Any] = {
                "processed": processed,
                "failed": failed,
                "queues": None if queues is None else list(queues),
            }
            self._facts |= {name: value for name, value in told.items() if value is not None}
            self._facts["state"] = str(State(state))
            self._facts["job"] = None if job is None else self._running(*job, now)
            self._facts["loop_at"] = self._facts["alive_at"] = now
            self._facts["loop_due"] = now + timedelta(seconds=wait)
            self._write(now, is_news=before != self._facts["state"])

    @property
    def _is_ours(self) -> bool:
        # Before the lock: a process that was forked might find it held, for ever.
        return not self._closed and os.getpid() == self._process

    def _running(self, id: str, listener: str, now: datetime) -> dict[str, Any]:
        before = self._facts["job"]
        since = before["since"] if before is not None and before["id"] == _bounded(id) else now
        return {"id": _bounded(id), "listener": _bounded(listener), "since": since}

    def alive(self) -> None:
        """Tell that a thread of the worker lives, whatever its main loop does."""
        if not self._is_ours:
            return
        with self._lock:
            now = self._clock.now()
            self._facts["alive_at"] = now
            self._write(now, is_news=False)

    def close(self) -> None:
        """Remove the file, if it is still this worker's. Closing twice is allowed."""
        if not self._is_ours:
            return
        with self._lock:
            self._closed = True
            with suppress(OSError, Unhealthy):
                if read_vital(self.path).pid == self._process:
                    self.path.unlink()

    def _write(self, now: datetime, *, is_news: bool) -> None:
        if self._closed:
            return  # meanwhile, by another thread
        # Of any sign: a clock that was set back must not silence the worker until then.
        before = self._written_at
        is_over = before is None or abs((now - before).total_seconds()) >= HEALTH_INTERVAL
        if is_over:
            self._changes = 0
        elif is_news and self._changes < HEALTH_CHANGES:
            self._changes += 1
        else:
            return  # the next beat of any thread brings it
        self._written_at = now
        facts = {**self._facts, "memory": memory_in_use()}
        try:
            _replace(self.path, json.dumps(facts, default=_iso).encode())
        except OSError as error:
            if not self._warned:
                _log.warning("the health file cannot be written: %s", short(str(error)))
            self._warned = True
        else:
            self._warned = False


def memory_in_use() -> int | None:
    """Return the bytes of memory that this process has in use; None where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return None


def _check_place(path: Path) -> None:
    """Refuse a path at which no worker can keep its file, or where it would overwrite another."""
    expected = ""
    if not path.parent.is_dir():
        expected = "a file in a folder that exists"
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        expected = "a file in a folder that this process can write to"
    elif path.is_symlink() or path.exists():
        try:
            read_vital(path)
        except Unhealthy:
            expected = (
                "a new file, or one that a worker left (this one is something else: remove it)"
            )
    if expected:
        raise InvalidOption(option="health file", value=str(path), expected=expected)


def _replace(path: Path, text: bytes) -> None:
    """Put `text` at `path`, whole or not at all: in the same folder, so that a rename does it."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    # Exclusive: a link that lies there is not followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(new, flags, 0o600)
    except FileExistsError:
        new.unlink()  # a process of this number was killed while it wrote
        descriptor = os.open(new, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(text)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def _iso(value: object) -> str:
    assert isinstance(value, datetime)  # the only one of the facts that JSON has not
    return value.astimezone(UTC).isoformat()


def _bounded(text: str) -> str:
    return text[:ACTION_TEXT_LIMIT].encode("utf-8", "replace").decode("utf-8")
