"""`--threads`: several shifts of one worker at once, each in a thread of its own."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from typing_extensions import override

from eventbus.backends.base import Claim
from eventbus.worker.exits import StopReason
from eventbus.worker.hand import Hand
from eventbus.worker.shift import Shift
from eventbus.worker.signals import Signals

__all__ = ["Crew", "ProcessSignals", "ThreadSignals"]

#: Seconds between two looks of a lease thread whether what runs is over its time.
_LOOK: Final = 0.25


class ProcessSignals(Signals):
    """The signals of a process whose jobs run in other threads: each of them hears what it hears."""

    def __init__(self, *, grace: float) -> None:
        super().__init__(grace=grace)
        self.grace = grace
        self.threads: list[ThreadSignals] = []

    @property
    def can_end(self) -> bool:
        """Whether the process is the worker's own, to be ended around a job that cannot be interrupted."""
        return self._wires is not None

    def attend(self, threads: Sequence[threading.Thread]) -> None:
        """
        Hear signals until all of `threads` have ended; each of them calls `nudge` as it ends.

        The kernel hands a signal to any thread, and the handlers run in this one: it waits for the wires,
        which are written wherever the signal came, and not for a lock, from which that would not wake it.
        """
        files = [pipe[0] for pipe in (self._pipe, self._wires) if pipe is not None]
        while any(thread.is_alive() for thread in threads):
            for file in select.select(files, [], [], _LOOK)[0]:
                os.read(file, 4096)

    @override
    def hear_stop(self, number: int) -> None:
        super().hear_stop(number)
        for thread in self.threads:
            thread.hear_stop(number)

    @override
    def hear_order(self, number: int) -> None:
        super().hear_order(number)
        for thread in self.threads:
            thread.hear_order(number)

    @override
    def stop(self) -> None:
        super().stop()
        for thread in self.threads:
            thread.stop()


class ThreadSignals(Signals):
    """
    What one of several threads hears of the signals of its process, and how long its job may run.

    Nothing interrupts a sync listener there: the process is ended around one that is over its time.

    Args:
        process: The signals of the process; it passes them on from now on.
    """

    def __init__(self, process: ProcessSignals) -> None:
        super().__init__(grace=process.grace)
        self._of_process = process
        #: Others wake it, and it may be about to end.
        self._lock = threading.RLock()  # one signal may come while another is heard
        self.paused = process.paused
        process.threads.append(self)
        # What came before.
        for _ in range(process.received - self.received):
            self.hear_stop(process.first)
        if process.stopping and not process.received:
            self.stop()

    @override
    def __exit__(self, *error: object) -> None:
        with self._lock:
            super().__exit__(*error)

    @override
    def _wake(self) -> None:
        with self._lock:
            super()._wake()

    @override
    def overdue(self) -> float:
        if not self._of_process.can_end:
            return -math.inf
        # No alarm wakes the lease thread when a run is over its time.
        return max(-_LOOK, time.monotonic() - min(self._limit_at, self._stop_at))

    @property
    @override
    def has_to_stop(self) -> bool:
        return self._stop_at <= self._limit_at


class Crew:
    """
    The shifts of a worker: one in this thread, or several at once, each in a thread of its own.

    As a context it is ready for what may hang in this thread.

    Args:
        signals: Those of the process.
        make: Makes a shift: for a number from 0, its signals, and what else the process holds should it
            have to be ended.
        threads: How many.
    """

    def __init__(
        self,
        signals: Signals,
        make: Callable[[int, Signals, Callable[[], Sequence[Hand]]], Shift],
        *,
        threads: int,
    ) -> None:
        self._signals = signals
        #: Where there are several threads.
        self._process = signals if isinstance(signals, ProcessSignals) else None
        self._ending = threading.Lock()
        own = [signals]
        if self._process is not None:
            self._process.threads.clear()  # of a run before this one
            own = [ThreadSignals(self._process) for _ in range(threads)]
        self._shifts = [make(number, one, self._seized) for number, one in enumerate(own)]
        self._own = own
        self._reason = StopReason.ERROR
        self._error: BaseException | None = None
        #: Set once the threads may begin that wait for the first.
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        if self._process is None:
            self._shifts[0].__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._process is None:
            self._shifts[0].__exit__(kind, error, where)

    @property
    def processed(self) -> int:
        """How many jobs ran."""
        return sum(shift.processed for shift in self._shifts)

    @property
    def raised(self) -> bool:
        """Whether the last job of a thread raised."""
        return any(shift.raised for shift in self._shifts)

    @property
    def interrupted(self) -> bool:
        """Whether something was interrupted to stop in time."""
        return self._signals.interrupted or any(one.interrupted for one in self._own)

    def work(self, first: Sequence[Claim] = ()) -> StopReason:
        """
        Let all work until each has a reason to stop; return the last one's.

        Args:
            first: What is held already: each of it runs while nothing else does.

        Raises:
            BackendError: As `Shift.work`, of the first that raised it; the others stop after their jobs.
        """
        if self._process is None:
            return self._shifts[0].work(first)
        threads = [
            threading.Thread(target=self._work, args=(number, first), name=f"eventbus-{number + 1}")
            for number in range(len(self._shifts))
        ]
        for thread in threads:
            thread.start()
        self._process.attend(threads)
        if self._error is not None:
            raise self._error
        return self._reason

    def _work(self, number: int, first: Sequence[Claim]) -> None:
        shift, signals = self._shifts[number], self._own[number]
        try:
            with signals, shift:
                if number:
                    self._ready.wait()
                    self._reason = shift.work()
                else:
                    self._reason = shift.work(first, ready=self._ready.set)
        except BaseException as error:  # noqa: BLE001 -- raised by `work`
            self._error = self._error or error
            self._signals.stop()
        if self._process is not None:
            self._process.nudge()

    def _seized(self) -> list[Hand]:
        """Keep all threads from going on, for good: the process is being ended. Only one ends it."""
        self._ending.acquire()  # and never released
        self._signals.stop()
        hands = [shift.hand for shift in self._shifts]
        for hand in hands:
            hand.seize()
        return hands
