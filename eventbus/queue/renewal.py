"""Renew what is held for a while: from a thread that nothing else in the process can block."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from attrs import define

from eventbus.defaults import RENEWALS_PER_LEASE
from eventbus.text import described, short

__all__ = ["RENEWALS", "Renewals"]

_log = logging.getLogger("eventbus.queue")

#: Seconds that the thread waits for more to renew before it ends.
_LINGERS: Final = 5.0


@define(eq=False)
class _Held:
    """One thing that is renewed."""

    key: object
    name: str
    every: float
    #: False once it is lost, which ends it.
    renew: Callable[[], bool]
    due: float


class Renewals:
    """
    Renews things until each is given back, all from one thread, which lives while there are any.

    Example:
        >>> renewals = Renewals()
        >>> with renewals.of("a lease", lambda: True, lasts=60.0):
        ...     pass
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        #: What is renewed now.
        self.held: list[_Held] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    @contextmanager
    def of(self, name: str, renew: Callable[[], bool], *, lasts: float) -> Generator[None]:
        """
        Renew something in this block.

        Args:
            name: What logs call it, where it is not renewed.
            renew: Renews it, and returns whether it was still there; if not, it is not called again. What it
                raises is logged, and it is called again.
            lasts: Seconds that it lasts without; it is renewed three times in them.
        """
        key = object()
        self.add(key, name, renew, lasts=lasts)
        try:
            yield
        finally:
            self.drop(key)

    def add(self, key: object, name: str, renew: Callable[[], bool], *, lasts: float) -> None:
        """Begin to renew something, as `of` does, until it is dropped by its key."""
        if self._process != os.getpid():
            self._begin()  # forked: the thread, and what is held, are the parent's
        every = lasts / RENEWALS_PER_LEASE
        held = _Held(key, name, every, renew, time.monotonic() + every)
        with self._changed:
            self.held.append(held)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="eventbus-renewals", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def drop(self, key: object) -> None:
        """End the renewals of what was added by a key; one that is under way is not waited for."""
        with self._changed:
            self.held = [one for one in self.held if one.key is not key]

    def _run(self) -> None:
        # The kernel may hand a signal to any thread, and only the main one is woken by it from a wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while (held := self._next()) is not None:
            if not _renewed(held):
                self.drop(held.key)

    def _next(self) -> _Held | None:
        """Wait for what is to be renewed; None if there has been nothing for a while."""
        with self._changed:
            while True:
                if not self.held and not self._changed.wait(_LINGERS) and not self.held:
                    self._thread = None
                    return None
                first = min(self.held, key=lambda one: one.due, default=None)
                if first is None:
                    continue
                left = first.due - time.monotonic()
                if left <= 0:
                    first.due += first.every - min(left, 0.0)
                    return first
                self._changed.wait(left)


def _renewed(held: _Held) -> bool:
    """Renew something; False if it is lost."""
    try:
        return held.renew()
    except Exception as error:  # noqa: BLE001 -- the next round tries again, before it ends
        _log.warning("%s was not renewed: %s", short(held.name), described(error))
    return True


#: Of the slots of this process: one thread does for all.
RENEWALS: Final = Renewals()
