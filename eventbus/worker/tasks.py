"""How long each of many jobs may take that run at once on one loop, and who ends it."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from attrs import define
from typing_extensions import override

from eventbus.errors import JobInterrupted, ListenerTimeout
from eventbus.queue.spans import Span
from eventbus.worker.awaited import AGAIN, answer_of, done_by, ended
from eventbus.worker.signals import SPARED
from eventbus.worker.threads import ProcessSignals

__all__ = ["LoopSignals"]


@define(eq=False)
class _Running:
    """A span that runs now."""

    span: Span
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

    What awaits is cancelled when its time is over. A step that blocks the loop is interrupted in place.

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
        for run in list(self._running.values()):
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
        self._arm_next(later=now + AGAIN)
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

    def _arm_next(self, *, later: float = 0.0) -> None:
        """Set the timer to the first of their ends; those that are told have it again `later`."""
        if self._wires is None:
            return
        ends = (
            max(self._end_of(run), later) if run.fired is not None else self._end_of(run)
            for run in list(self._running.values())
        )
        self._arm_at(min(ends, default=math.inf))

    def _arm_at(self, due: float) -> None:
        if due < self._armed_at and self._wires is not None:
            self._armed_at = due
            signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 0.001))

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
        return min((run.timeout_at for run in list(self._running.values())), default=math.inf)

    @property
    @override
    def step(self) -> str:
        runs = sorted(self._running.values(), key=lambda run: run.timeout_at)
        return runs[0].span.name if runs else ""

    # `Limits`.

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
        run = _Running(
            span,
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
            raise self._why(_Running(span, math.inf, -math.inf))
        run = self._begun(span)
        try:
            self._arm_at(self._end_of(run))
            self._now = run
            answer = work()
        except BaseException as raised:  # noqa: BLE001 -- raised below
            error = raised
        finally:
            # Before any call, in which the alarm could still raise: from here on it does not.
            self._now = None
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
        task = asyncio.ensure_future(ended(work))
        run = self._begun(span)
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

    async def _watched(self, run: _Running, task: asyncio.Future[Any]) -> None:
        """Do what the alarm does, without signals."""
        while not await done_by(task, run.timeout_at if run.fired is None else _soon()):
            run.fired = run.fired or self._why(run)
            task.cancel()


def _soon() -> float:
    return time.monotonic() + AGAIN
