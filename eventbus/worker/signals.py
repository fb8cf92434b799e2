"""
Signals of a worker: stop after this job, stop now, pause, and the alarm that ends a run.

Everything here happens in the main thread, where Python runs signal handlers. Elsewhere a worker
has no signals, and a sync listener's timeout cannot be enforced.
"""

from __future__ import annotations

import math
import os
import select
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, Final, Self

from typing_extensions import override

from eventbus.backends.base import Bell
from eventbus.errors import JobInterrupted, ListenerTimeout
from eventbus.queue.spans import Span
from eventbus.worker.awaited import AGAIN, answer_of, done_by, end_task, ended
from eventbus.worker.leases import Watch

__all__ = ["SPARED", "Signals"]

#: Seconds that what follows a run has when it begins although it is time to stop; less than
#: `STUCK_AFTER`, so that the lease thread waits for it.
SPARED: Final = 1.0

_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Signals(Watch):
    """
    Listens for signals, and ends runs that take too long.

    The first SIGTERM, SIGINT or SIGQUIT sets `stopping`; what runs has `grace` seconds more. The second
    ends it at once. SIGHUP asks for a restart, SIGUSR2 for a pause until SIGCONT. It is
    `TimeLimits` for an `Executor`, and what the lease thread watches: that thread hears of signals also
    while the main thread is in code that does not return to Python.

    Args:
        grace: Seconds that what runs has after the first signal.
    """

    def __init__(self, *, grace: float) -> None:
        self._grace = grace
        #: How many signals to stop came.
        self.received = 0
        #: The first of them; 0 before it.
        self.first = 0
        #: Whether a restart was asked for.
        self.restart = False
        #: Whether nothing is to be claimed for now.
        self.paused = False
        #: Called with the number of a signal to stop while a user's code runs.
        self.on_stop: Callable[[int], object] = lambda _number: None
        #: Whether a user's code was interrupted to stop in time.
        self.interrupted = False
        #: Whose code runs now; None where it is ours.
        self._span: Span | None = None
        #: Instants of the monotonic clock; infinite where there is no limit.
        self._timeout_at = math.inf
        self._stop_at = math.inf
        #: Until then a span goes on all the same that began when it was time to stop.
        self._spared_until = -math.inf
        self._fired: Exception | None = None
        #: Ends the run, once `_fired` says why.
        self._interrupt: Callable[[], object] = self._raise
        #: What the timer is set to, whether or not the run that wanted it has ended.
        self._armed_at = math.inf
        self._before: dict[signal.Signals, Any] = {}
        self._pipe: tuple[int, int] | None = None
        #: Python writes the number of every signal into it, in its handler in C.
        self._wires: tuple[int, int] | None = None
        self._wire_before = -1
        #: As the lease thread counts, from the wires.
        self._heard, self._heard_stop_at = 0, math.inf
        self._process = 0
        self._told = False  # by `stop`

    @property
    def stopping(self) -> bool:
        """Whether the worker is to claim nothing more."""
        return self.received > 0 or self._told

    def __enter__(self) -> Self:
        # What a run before this one heard is over; `received` says that it is to stop at once.
        self._heard, self._heard_stop_at = 0, math.inf
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            self._wires = os.pipe()
            for end in self._wires:
                os.set_blocking(end, False)
            self._wire_before = signal.set_wakeup_fd(self._wires[1], warn_on_full_buffer=False)
            for number in _STOPS:
                self._handle(number, self._on_stop)
            self._handle(signal.SIGALRM, self._on_alarm)
            for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGCONT):
                self._handle(number, self._on_order)
        return self

    def _handle(self, number: signal.Signals, handler: Callable[..., None]) -> None:
        self._before[number] = signal.signal(number, handler)

    def __exit__(self, *_: object) -> None:
        pipes = [self._pipe]
        if self._wires is not None:
            self._disarm()
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wire_before)
            pipes.append(self._wires)
        self._pipe = self._wires = None
        for pipe in pipes:
            for end in pipe or ():
                os.close(end)

    def wait(self, limit: float, bell: Bell | None = None) -> None:
        """Wait `limit` seconds, or until a signal comes, `stop` is called or the bell rings."""
        if self.stopping or self._pipe is None:
            return
        # No Event: its lock could be held by the very code that a signal's handler interrupts.
        files: list[Any] = [self._pipe[0]] if bell is None else [self._pipe[0], bell]
        if self._pipe[0] in select.select(files, [], [], limit)[0]:
            os.read(self._pipe[0], 4096)

    def stop(self) -> None:
        """
        Claim nothing more; from any thread.

        Unlike a signal it gives the running job no limit, and a signal after it is the first.
        """
        self._told = True
        self._wake()

    def nudge(self) -> None:
        """Have whoever waits look at once; from any thread."""
        self._wake()

    def _wake(self) -> None:
        if self._pipe is None:
            return  # it does not run
        try:
            os.write(self._pipe[1], b"\0")
        except BlockingIOError:
            return  # full: it is readable, and that is all it says

    def _is_ours(self, number: int) -> bool:
        if os.getpid() == self._process:
            return True
        # A child that a listener forked: it is to die of it, as it would without a worker.
        signal.signal(number, self._before[signal.Signals(number)])
        os.kill(os.getpid(), number)
        return False

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if self._is_ours(number):
            self.hear_stop(number)

    def hear_stop(self, number: int) -> None:
        """Take note of a signal to stop."""
        self.received += 1
        self.first = self.first or number
        self._wake()
        self._stop_at = min(self._stop_at, time.monotonic() + self._left())
        if self._span is not None:
            if self._wires is not None:
                self._arm()
            self.on_stop(number)

    def _on_order(self, number: int, _frame: FrameType | None) -> None:
        if self._is_ours(number):
            self.hear_order(number)

    def hear_order(self, number: int) -> None:
        """Take note of a signal that orders a restart, a pause, or its end."""
        if number == signal.SIGHUP:
            self.restart = True
        else:
            self.paused = number == signal.SIGUSR2
        self._wake()

    def _left(self) -> float:
        """Return how long a running job has from now: the second signal ends it at once."""
        if not self.received:
            return math.inf
        return self._grace if self.received == 1 else 0.0

    def _due(self) -> float:
        """Return when the current span is to end."""
        return min(self._timeout_at, max(self._stop_at, self._spared_until))

    def _arm(self) -> None:
        due = self._due() if self.received else self._timeout_at
        # A timer that is set already, and early enough, is left: it is set anew when it rings.
        if due < self._armed_at:
            self._armed_at = due
            # Repeated: a listener may swallow what the first one raises.
            signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 0.001), AGAIN)

    def _disarm(self) -> None:
        self._armed_at = math.inf
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        span = self._span
        if span is None or time.monotonic() < self._due():
            self._disarm()
            if span is not None:
                self._arm()
            return
        if self._fired is None:
            self._fire(span)
        self._interrupt()

    def _fire(self, span: Span) -> None:
        if self._timeout_at <= self._due():
            self._fired = ListenerTimeout(listener=span.name, seconds=span.limit)
        else:
            self.interrupted = True
            then = "" if span.follows else "; the job goes back unspent"
            self._fired = JobInterrupted(listener=span.name, reason=f"the worker had to stop{then}")

    # What the lease thread watches.

    @override
    def fileno(self) -> int | None:
        return None if self._wires is None else self._wires[0]

    @override
    def heard(self) -> None:
        assert self._wires is not None  # somebody waited for it
        for number in os.read(self._wires[0], 4096):
            if number in _STOPS:
                self._heard += 1
                left = self._grace if self._heard == 1 else 0.0
                self._heard_stop_at = min(self._heard_stop_at, time.monotonic() + left)

    @override
    def overdue(self) -> float:
        if self._wires is None:
            return -math.inf
        # Once it is time to stop, our own code must not keep the worker either.
        return time.monotonic() - min(self._limit_at, self._heard_stop_at)

    @property
    def _limit_at(self) -> float:
        return math.inf if self._span is None else self._timeout_at

    @property
    def has_to_stop(self) -> bool:
        """Whether it is the end of the worker, and no timeout, that something has outlived."""
        return self._heard_stop_at <= self._limit_at

    @property
    def step(self) -> str:
        """Whose code runs now; empty where it is ours."""
        span = self._span
        return "" if span is None else span.name

    def _raise(self) -> None:
        assert self._fired is not None  # the alarm has just set it
        raise self._fired

    def _begin(self, span: Span, interrupt: Callable[[], object]) -> None:
        self._fired = None
        self._interrupt = interrupt
        began = span.began
        if began is None:
            began = span.began = time.monotonic()
        self._timeout_at = began + span.limit if span.limit else math.inf
        self._spared_until = began + SPARED if span.follows else -math.inf
        self._span = span
        # For nearly every job the timer is early enough.
        if self._wires is not None and (self.received or self._timeout_at < self._armed_at):
            self._arm()

    def _check_begins(self, span: Span) -> None:
        """Refuse a run when it is time to stop: not even its first step is taken."""
        if not span.follows and self._stop_at <= time.monotonic():
            self._timeout_at, self._spared_until = math.inf, -math.inf
            self._fire(span)
            self._raise()

    def _end(self) -> None:
        self._span = None
        if self._fired is not None and self._wires is not None:
            self._disarm()

    def change(self, span: Span, limit: float) -> None:
        """Let `span`, from its beginning, take `limit` seconds."""
        span.limit = limit
        if self._span is span and span.began is not None:
            self._timeout_at = span.began + limit if limit else math.inf
            if self._wires is not None:
                self._arm()

    def running(self, span: Span, work: Callable[[], Any]) -> Any:
        """Call `work`; `ListenerTimeout` or `JobInterrupted` ends it when its time is over."""
        error: BaseException | None = None
        answer: Any = None
        try:
            if self.received and span.began is None:
                self._check_begins(span)
            self._begin(span, self._raise)
            answer = work()
        except BaseException as raised:  # noqa: BLE001 -- raised below
            error = raised
        finally:
            # Before any call, in which the alarm could still raise: from here on it does not.
            self._span = None
        try:
            if self._fired is not None:
                self._end()
                if self._fired is not error:  # it swallowed it, or raised something of its own
                    raise self._fired from error
            if error is not None:
                raise error
        finally:
            del error  # its traceback has this frame
        return answer

    async def waiting(self, span: Span, work: Awaitable[Any]) -> Any:
        """Await `work`; cancel it when its time is over."""
        import asyncio

        task = asyncio.ensure_future(ended(work))
        loop = asyncio.get_running_loop()
        waiter = asyncio.current_task()
        cancelled = False

        def interrupt() -> None:
            nonlocal cancelled
            # Code that blocks the loop hears of no cancellation: then as a sync listener, in place.
            if cancelled and asyncio.current_task(loop) not in (None, waiter):
                self._raise()
            cancelled = True
            loop.call_soon_threadsafe(task.cancel)

        self._begin(span, interrupt)
        try:
            if self._wires is None and span.limit and not await done_by(task, self._timeout_at):
                self._fired = ListenerTimeout(listener=span.name, seconds=span.limit)
                await end_task(task)
            await asyncio.wait({task})
        finally:
            self._end()
        return answer_of(task, self._fired)
