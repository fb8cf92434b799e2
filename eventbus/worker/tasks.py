"""How long each of many jobs may take that run at once on one loop, and who ends it."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from types import FrameType, coroutine
from typing import Any, Final

from attrs import define
from typing_extensions import override

from eventbus.errors import JobInterrupted, ListenerTimeout
from eventbus.queue.spans import Span
from eventbus.worker.awaited import AGAIN, answer_of, done_by, ended
from eventbus.worker.signals import SPARED
from eventbus.worker.threads import ProcessSignals

__all__ = ["LoopSignals"]

#: Seconds: a step that has the loop for longer keeps the others from going on.
_BRIEF: Final = 0.1


@define(eq=False)
class _Running:
    """A span that runs now."""

    span: Span
    #: What the tasks of its job are called.
    job: str
    #: Instants of the monotonic clock.
    timeout_at: float
    spared_until: float
    #: What is awaited; None in a sync step.
    task: asyncio.Future[Any] | None = None
    #: Why it is to end, once it is; and whether its task was told.
    fired: Exception | None = None
    told: bool = False


class LoopSignals(ProcessSignals):
    """
    The signals of a process whose jobs run at once on the loop of its main thread: limits of many spans.

    What awaits is cancelled when its time is over. A step that blocks the loop is interrupted in place, and
    the time that it took is given back to the others: they could do nothing about it.

    Args:
        grace: Seconds that what runs has after the first signal.
    """

    def __init__(self, *, grace: float) -> None:
        super().__init__(grace=grace)
        #: On which they run, while they do.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[int, _Running] = {}
        #: Whose sync step is taken now.
        self._now: _Running | None = None
        #: Whose step has the loop, and since when.
        self._holder: _Running | None = None
        self._held_since = 0.0

    # What the handlers do, in the main thread.

    @override
    def hear_stop(self, number: int) -> None:
        super().hear_stop(number)
        if self._running:
            self._arm_next()
            self.on_stop(number)

    @override
    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        struck: Exception | None = None
        for run in list(self._running.values()) if self.received else self._judged():
            if now < self._end_of(run):
                continue
            if run.fired is None:
                run.fired = self._why(run)
            if run is self._now or (run.told and self._blocks(run)):
                struck = run.fired
            elif run.task is not None:
                run.told = True
                run.task.get_loop().call_soon_threadsafe(run.task.cancel)
        self._armed_at = math.inf
        self._arm_next(after=now)
        if struck is not None:
            raise struck

    def _blocks(self, run: _Running) -> bool:
        """Tell whether a task that was told to end keeps the loop from telling it."""
        if self.loop is None:
            return False
        with suppress(RuntimeError):
            return asyncio.current_task(self.loop) is run.task
        return False

    def _end_of(self, run: _Running) -> float:
        if not self.received:
            return run.timeout_at
        return min(run.timeout_at, max(self._stop_at, run.spared_until))

    def _why(self, run: _Running) -> Exception:
        if run.timeout_at <= self._end_of(run):
            return ListenerTimeout(listener=run.span.name, seconds=run.span.limit)
        self.interrupted = True
        then = "" if run.span.follows else "; the job goes back unspent"
        return JobInterrupted(listener=run.span.name, reason=f"the worker had to stop{then}")

    def _arm_next(self, *, after: float = 0.0) -> None:
        """Set the timer to the first of their ends; what ended by `after` has it again later."""
        if self._wires is None:
            return
        ends = map(self._end_of, list(self._running.values()))
        self._arm_at(min((end if end > after else after + AGAIN for end in ends), default=math.inf))

    def _arm_at(self, due: float) -> None:
        if due < self._armed_at and self._wires is not None:
            self._armed_at = due
            signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 0.001))

    # Who keeps the loop from turning.

    def _blocking(self) -> _Running | None:
        """Return the run that has had the loop for so long that the others stand still, if one has."""
        run = self._holder
        if run is None or id(run) not in self._running:
            return None
        return run if time.monotonic() - self._held_since > _BRIEF else None

    @property
    def blocker(self) -> str:
        """The id of the job that keeps the loop from turning; empty if none does."""
        run = self._blocking()
        return "" if run is None else run.job

    def _judged(self) -> list[_Running]:
        """Return whose time passes: while one keeps the loop from turning, the others' does not."""
        run = self._blocking()
        return list(self._running.values()) if run is None else [run]

    def _holds(self, run: _Running) -> None:
        self._held_since = time.monotonic()
        self._holder = run

    def _lets_go(self, run: _Running) -> None:
        """Give the others back the time that a step of this one took from them."""
        now = time.monotonic()
        took = now - self._held_since
        if took > _BRIEF:
            for other in list(self._running.values()):
                span = other.span
                waits = other is not run and other.fired is None and span.limit
                if waits and span.began is not None:
                    span.began += min(took, now - span.began)
                    other.timeout_at = span.began + span.limit
            self._arm_next()
        self._holder = None  # last: until here nobody else is judged

    # What the lease thread watches.

    @override
    def heard(self) -> None:
        super().heard()
        # The handlers run in the main thread, once it runs: a signal that came to another one woke no loop.
        loop = self.loop
        if loop is not None:
            with suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(lambda: None)

    @property
    @override
    def _limit_at(self) -> float:
        return min((run.timeout_at for run in self._judged()), default=math.inf)

    @property
    @override
    def step(self) -> str:
        runs = sorted(self._judged(), key=lambda run: run.timeout_at)
        return runs[0].span.name if runs else ""

    # `TimeLimits`.

    @override
    def change(self, span: Span, limit: float) -> None:
        span.limit = limit
        for run in list(self._running.values()):
            if run.span is span and span.began is not None:
                run.timeout_at = span.began + limit if limit else math.inf
                self._arm_at(self._end_of(run))

    def _begun(self, span: Span) -> _Running:
        """Know a span that begins, or goes on."""
        began = span.began
        if began is None:
            began = span.began = time.monotonic()
        outer = None if self.loop is None else asyncio.current_task(self.loop)
        run = _Running(
            span,
            "" if outer is None else outer.get_name(),
            began + span.limit if span.limit else math.inf,
            began + SPARED if span.follows else -math.inf,
        )
        self._running[id(run)] = run
        return run

    def _is_over(self) -> bool:
        return self._stop_at <= time.monotonic()

    @override
    def running(self, span: Span, work: Callable[[], Any]) -> Any:
        error: BaseException | None = None
        answer: Any = None
        if self.received and span.began is None and not span.follows and self._is_over():
            # Not even its first step is taken.
            raise self._why(_Running(span, "", math.inf, -math.inf))
        run = self._begun(span)
        self._holds(run)
        try:
            self._arm_at(self._end_of(run))
            self._now = run
            answer = work()
        except BaseException as raised:  # noqa: BLE001 -- raised below
            error = raised
        finally:
            # Before any call, in which the alarm could still raise: from here on it does not.
            self._now = None
        self._lets_go(run)
        del self._running[id(run)]
        try:
            if run.fired is not None and run.fired is not error:
                raise run.fired from error  # it swallowed it, or raised something of its own
            if error is not None:
                raise error
        finally:
            del error  # its traceback has this frame
        return answer

    @override
    async def waiting(self, span: Span, work: Awaitable[Any]) -> Any:
        run = self._begun(span)
        task = asyncio.ensure_future(ended(self._stepwise(run, work)))
        run.task = task
        try:
            if self._wires is None:
                await self._watched(run, task)
            else:
                self._arm_at(self._end_of(run))
            await asyncio.wait({task})
        finally:
            del self._running[id(run)]
        return answer_of(task, run.fired)

    @coroutine
    def _stepwise(self, run: _Running, work: Awaitable[Any]) -> Generator[Any, Any, Any]:
        """Await `work`, and know in each of its steps whose it is."""
        steps = _awaiting(work)
        step: Callable[[], Any] = partial(steps.send, None)
        while True:
            self._holds(run)
            try:
                effect = step()
            except StopIteration as stop:
                return stop.value
            finally:
                self._lets_go(run)
            try:
                outcome = yield effect
            except BaseException as error:  # noqa: BLE001 -- whoever is awaited decides
                step = partial(steps.throw, error)
            else:
                step = partial(steps.send, outcome)

    async def _watched(self, run: _Running, task: asyncio.Future[Any]) -> None:
        """Do what the alarm does, without signals."""
        while not await done_by(task, run.timeout_at if run.fired is None else _soon()):
            if run.fired is None and time.monotonic() < run.timeout_at:
                continue  # it was given time back
            run.fired = run.fired or self._why(run)
            task.cancel()


async def _awaiting(work: Awaitable[Any]) -> Any:
    return await work


def _soon() -> float:
    return time.monotonic() + AGAIN
