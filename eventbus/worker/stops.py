"""When a worker stops: the limits it was given, looked at in one order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from eventbus.worker.exits import StopReason
from eventbus.worker.health import memory_in_use
from eventbus.worker.settings import Settings
from eventbus.worker.signals import Signals

__all__ = ["Stops", "Tally"]

#: Seconds between two looks at the memory: reading it costs as much as a small job.
_MEMORY_INTERVAL = 0.05


class Tally:
    """
    How many jobs the threads of a worker have taken, all together.

    Args:
        limit: Most that they may run; 0 is no limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        #: Those that ran, and those that are held.
        self.taken = 0
        #: Those that ran, and of them those that raised.
        self.ran = self.raised = 0

    def take(self, wanted: int) -> int:
        """Return how many of so many may be claimed; 0 where all were taken."""
        with self._lock:
            number = min(wanted, self._limit - self.taken) if self._limit else wanted
            self.taken += number
        return number

    def count(self, *, raised: bool) -> None:
        """Count one that ran."""
        with self._lock:
            self.ran += 1
            self.raised += raised

    def give_back(self, number: int) -> None:
        """Have that many not claimed, or not run, after all."""
        with self._lock:
            self.taken -= number


class Stops:
    """
    Says whether a worker is to stop, and why.

    Args:
        settings: What it was given.
        signals: What it was told.
        clock: Seconds that only go forward.
        memory: Returns the bytes of memory in use; None where the system does not tell.
    """

    def __init__(
        self,
        settings: Settings,
        signals: Signals,
        *,
        clock: Callable[[], float] = time.monotonic,
        memory: Callable[[], int | None] = memory_in_use,
    ) -> None:
        self._settings = settings
        self._signals = signals
        self._clock = clock
        self._memory = memory
        self._began = clock()
        self._looked = -_MEMORY_INTERVAL
        self._too_large = False
        #: Set once somebody ordered a restart.
        self.restart = False

    def at_once(self) -> StopReason | None:
        """Return why not even another claimed job may begin; None if it may."""
        if self._signals.stopping:
            return StopReason.SIGNAL
        if self._settings.memory and self._is_too_large():
            return StopReason.MEMORY
        if self.restart or self._signals.restart:
            return StopReason.RESTART
        return None

    def after(
        self,
        jobs: int,
        *,
        looked: bool = False,
        nothing: bool = False,
        is_empty: Callable[[], bool] = lambda: False,
    ) -> StopReason | None:
        """
        Return why nothing is to be claimed after so many jobs; None if something is.

        Args:
            jobs: How many ran.
            looked: It has just looked for jobs,
            nothing: and there was none for it.
            is_empty: Tells whether there is none: asked where it stops anyway, for the true reason.
        """
        settings = self._settings
        if reason := self.at_once():
            return reason
        if settings.once and looked:
            return StopReason.ONCE
        limit = self._limit(jobs)
        if settings.stop_when_empty and (nothing or (limit is not None and is_empty())):
            return StopReason.EMPTY
        return limit

    def _limit(self, jobs: int) -> StopReason | None:
        settings = self._settings
        if settings.max_time and self._clock() - self._began >= settings.max_time:
            return StopReason.MAX_TIME
        if settings.max_jobs and jobs >= settings.max_jobs:
            return StopReason.MAX_JOBS
        return None

    def left(self, limit: float) -> float:
        """Return how long to wait, at most `limit` seconds, before time is over."""
        if not self._settings.max_time:
            return limit
        return min(limit, max(0.0, self._settings.max_time - (self._clock() - self._began)))

    def _is_too_large(self) -> bool:
        now = self._clock()
        if not self._too_large and now - self._looked >= _MEMORY_INTERVAL:
            self._looked = now
            self._too_large = (self._memory() or 0) >= self._settings.memory * 1024 * 1024
        return self._too_large
