"""
Signals of a worker: stop after this job, stop now, and the alarm that ends a run.

Everything here happens in the main thread, where Python runs signal handlers. Elsewhere a worker
has no signals, and a sync listener's timeout cannot be enforced.
"""

from __future__ import annotations

import asyncio
import math
import os
import select
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, Self

from eventbus.errors import JobInterrupted, ListenerTimeout

__all__ = ["Signals"]

#: Seconds between two tries to end a run that swallowed the first.
_AGAIN = 1.0


class Signals:
    """
    Listens for SIGTERM and SIGINT, and ends runs that take too long.

    The first signal sets `stopping`; the running job has `grace` seconds more. The second ends it
    at once. It is `Limits` for an `Executor`.

    Args:
        grace: Seconds that a running job has after the first signal.
    """

    def __init__(self, *, grace: float) -> None:
        self._grace = grace
        #: How many signals to stop came.
        self.received = 0
        #: Whether a job was interrupted to stop in time.
        self.interrupted = False
        self._name = ""
        #: Instants of the monotonic clock; infinite where there is no limit.
        self._timeout_at = math.inf
        self._stop_at = math.inf
        self._limit = 0.0
        self._fired: Exception | None = None
        #: Ends the run, once `_fired` says why.
        self._interrupt: Callable[[], object] = self._raise
        self._before: dict[signal.Signals, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._process = 0
        #: Set by `stop`.
        self._wakeup = threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether the worker is to claim nothing more."""
        return self.received > 0 or self._wakeup.is_set()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._on_stop)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_alarm)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pipe is None:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in self._pipe:
            os.close(end)
        self._pipe = None

    def wait(self, limit: float) -> None:
        """Wait `limit` seconds, or until a signal to stop comes."""
        if self.stopping:
            return
        if self._pipe is None:
            self._wakeup.wait(limit)
        # Not an Event: its lock could be held by the very code that the handler interrupts.
        elif select.select([self._pipe[0]], [], [], limit)[0]:
            os.read(self._pipe[0], 4096)

    def stop(self) -> None:
        """
        Claim nothing more; from any thread.

        Unlike a signal it gives the running job no limit, and a signal after it is the first.
        """
        self._wakeup.set()
        if self._pipe is not None:
            self._wake()

    def _wake(self) -> None:
        assert self._pipe is not None  # handlers are installed with the pipe
        try:
            os.write(self._pipe[1], b"\0")
        except BlockingIOError:
            return  # full: it is readable, and that is all it says

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A child that a listener forked: it is to die of it, as it would without a worker.
            signal.signal(number, self._before[signal.Signals(number)])
            os.kill(os.getpid(), number)
            return
        self.received += 1
        self._wake()
        self._stop_at = min(self._stop_at, time.monotonic() + self._left())
        if self._name:
            self._arm()

    def _left(self) -> float:
        """Return how long a running job has from now: the second signal ends it at once."""
        if not self.received:
            return math.inf
        return self._grace if self.received == 1 else 0.0

    def _arm(self) -> None:
        due = min(self._timeout_at, self._stop_at)
        if due == math.inf:
            signal.setitimer(signal.ITIMER_REAL, 0)
        else:
            # Repeated: a listener may swallow what the first one raises.
            signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 0.001), _AGAIN)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if not self._name or time.monotonic() < min(self._timeout_at, self._stop_at):
            return
        if self._fired is None:
            if self._timeout_at <= self._stop_at:
                self._fired = ListenerTimeout(listener=self._name, seconds=self._limit)
            else:
                self.interrupted = True
                self._fired = JobInterrupted(
                    listener=self._name, reason="the worker had to stop; the job goes back unspent"
                )
        self._interrupt()

    def _raise(self) -> None:
        assert self._fired is not None  # the alarm has just set it
        raise self._fired

    def _begin(self, name: str, limit: float, interrupt: Callable[[], object]) -> None:
        self._fired = None
        self._limit = limit
        self._interrupt = interrupt
        self._timeout_at = time.monotonic() + limit if limit else math.inf
        self._stop_at = min(self._stop_at, time.monotonic() + self._left())
        self._name = name
        if self._pipe is not None:
            self._arm()

    def _end(self) -> None:
        self._name = ""
        if self._pipe is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def running(self, name: str, limit: float, work: Callable[[], Any]) -> Any:
        """Call `work`; `ListenerTimeout` or `JobInterrupted` ends it when its time is over."""
        error: BaseException | None = None
        answer: Any = None
        try:
            self._begin(name, limit, self._raise)
            answer = work()
        except BaseException as raised:  # noqa: BLE001 -- raised below
            error = raised
        finally:
            # Before any call, in which the alarm could still raise: from here on it does not.
            self._name = ""
            self._end()
        if self._fired is not None and self._fired is not error:
            # It swallowed the alarm, or raised something of its own: it did not end in time.
            raise self._fired from error
        if error is not None:
            raise error
        return answer

    async def waiting(self, name: str, limit: float, work: Awaitable[Any]) -> Any:
        """Await `work`; cancel it when its time is over."""
        task = asyncio.ensure_future(_ended(work))
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

        self._begin(name, limit, interrupt)
        try:
            if self._pipe is None and limit:
                await self._alarm(task, name, limit)
            await asyncio.wait({task})
        finally:
            self._end()
        if self._fired is not None:
            if not task.cancelled():
                task.exception()  # seen: what it ended with no longer counts
            raise self._fired
        answer, leaving = task.result()
        if leaving is not None:
            raise leaving
        return answer

    async def _alarm(self, task: asyncio.Future[Any], name: str, limit: float) -> None:
        """Do without signals what the alarm does: end `task` when `limit` seconds are over."""
        done, _ = await asyncio.wait({task}, timeout=limit)
        if not done:
            self._fired = ListenerTimeout(listener=name, seconds=limit)
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_AGAIN)


async def _ended(work: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """
    Return the answer of `work`, or what it raised to leave the program.

    A task that raises these tears its loop down, and leaves who waits for it behind in it.
    """
    try:
        return await work, None
    except (SystemExit, KeyboardInterrupt) as leaving:
        return None, leaving
