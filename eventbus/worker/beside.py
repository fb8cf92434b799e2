"""A worker that runs beside something else, in a thread of its own."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Beside"]

#: Seconds between two looks whether something waited for is so.
_LOOK: Final = 0.005
#: Seconds that the running job has at the exit of the program. What it leaves undone comes back with its lease.
_AT_EXIT: Final = 2.0


class Beside:
    """
    A thread that runs a worker, from now on.

    Args:
        run: Runs it.
        stop: Tells it to stop after the running job; from any thread.
    """

    def __init__(self, run: Callable[[], object], stop: Callable[[], object]) -> None:
        self._run_it = run
        self._stop = stop
        self._error: BaseException | None = None
        # A program that ends without leaving its block ends all the same.
        self._thread = threading.Thread(target=self._run, name="eventbus-worker", daemon=True)
        atexit.register(self._at_exit)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._run_it()
        except BaseException as error:  # noqa: BLE001 -- raised where the block ends
            self._error = error

    def _at_exit(self) -> None:
        self._stop()
        self._thread.join(_AT_EXIT)

    def end(self, *, quiet: bool) -> None:
        """Stop, and wait for the end; raise what ended the worker before, unless it is to be quiet."""
        self._stop()
        self._thread.join()
        atexit.unregister(self._at_exit)
        error, self._error = self._error, None
        if error is not None and not quiet:
            raise error

    def wait(self, fact: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until something is so, for as long as the worker runs; return whether it is."""
        over = None if timeout is None else time.monotonic() + timeout
        while not fact():
            if not self._thread.is_alive() or (over is not None and time.monotonic() >= over):
                return fact()
            self._thread.join(_LOOK)
        return True
