"""What `enqueue` returns: a job that somebody may still ask about, or take back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from eventbus.backends.base import State
from eventbus.defaults import RESULT_INTERVAL
from eventbus.errors import NoResult
from eventbus.queue.results import progress_of, result_of
from eventbus.values import seconds

if TYPE_CHECKING:
    from datetime import timedelta

    from eventbus.backends.port import Port
    from eventbus.queue.codec.typed import PayloadCodec

__all__ = ["JobHandle", "JobStatus"]


class JobStatus(StrEnum):
    """Where a job is, as far as its store can tell."""

    #: It is due, and no worker has it yet.
    WAITING = "waiting"
    #: It may run later: it was enqueued so, waits for its next try, or is parked.
    DELAYED = "delayed"
    #: It waits for its turn in a chain, or a batch.
    HELD = "held"
    #: A worker has it.
    RUNNING = "running"
    #: It is among the failed jobs.
    FAILED = "failed"
    #: It is not in the store: it is done, or was cancelled or forgotten; or it ran at once.
    GONE = "gone"
    #: It was never enqueued: it said so itself, or one that is the same was there.
    SKIPPED = "skipped"


_STATUS: Final[Mapping[State, JobStatus]] = {
    State.READY: JobStatus.WAITING,
    State.DELAYED: JobStatus.DELAYED,
    State.LEASED: JobStatus.RUNNING,
    State.HELD: JobStatus.HELD,
}

#: From which a job may still come to a result by itself.
_COMING: Final = frozenset(
    {JobStatus.WAITING, JobStatus.DELAYED, JobStatus.HELD, JobStatus.RUNNING}
)
#: Why a job of such a status has none.
_WHY: Final[Mapping[JobStatus, str]] = {
    JobStatus.WAITING: "it waits for a worker",
    JobStatus.DELAYED: "it is to run later",
    JobStatus.HELD: "it waits for the jobs before it",
    JobStatus.RUNNING: "it has not ended",
    JobStatus.FAILED: "it failed; `eventbus failed ID` shows why",
    JobStatus.GONE: "it was taken back or deleted, or its result was kept for long enough",
    JobStatus.SKIPPED: "it was never enqueued",
}
_NOT_KEPT: Final = "its class does not say how long to keep it: class Send(Job, keep_result=3600)"


@frozen(kw_only=True)
class JobHandle:
    """
    A job that was enqueued.

    Example:
        >>> from eventbus import EventBus, Job
        >>> class Send(Job, name="send"):
        ...     def handle(self) -> None: ...
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> handle = bus.enqueue(Send(), delay=60)
        >>> handle.status()
        <JobStatus.DELAYED: 'delayed'>
        >>> handle.cancel(), handle.status()
        (True, <JobStatus.GONE: 'gone'>)
    """

    #: The job's id, the same in every attempt.
    id: str
    #: The stored name of its class.
    name: str
    connection: str
    #: Empty where it was not enqueued, or where that was not said.
    queue: str
    #: Gives the store; None where nothing was stored.
    _port: Callable[[], Port] | None = field(default=None, alias="port", repr=False, eq=False)
    #: Reads its result; None where its class does not say how long that is kept.
    _codec: PayloadCodec | None = field(default=None, alias="codec", repr=False, eq=False)
    #: What came back at once, by itself.
    _answer: tuple[Any, ...] = field(default=(), alias="answer", repr=False, eq=False)
    _unstored: JobStatus = field(default=JobStatus.GONE, alias="unstored", repr=False, eq=False)

    def status(self) -> JobStatus:
        """
        Return where the job is now.

        Raises:
            BackendError: The store cannot be asked.
        """
        if self._port is None:
            return self._unstored
        port = self._port()
        # Twice: it may have come back from the failed ones between two looks.
        return self._waiting(port) or self._failed(port) or self._waiting(port) or JobStatus.GONE

    async def astatus(self) -> JobStatus:
        """Return where the job is now, without blocking the loop."""
        import asyncio

        return await asyncio.to_thread(self.status)

    def cancel(self) -> bool:
        """
        Take the job out of its queue; False if it is not there any more, or runs, or has failed.

        Raises:
            BackendError: The store cannot be asked.
        """
        return self._port is not None and bool(self._port().cancel([self.id]))

    async def acancel(self) -> bool:
        """Take the job out of its queue, as `cancel` does, without blocking the loop."""
        import asyncio

        return await asyncio.to_thread(self.cancel)

    def result(self, *, wait: float | timedelta = 0) -> Any:
        """
        Return what the job's `handle` returned, of the type that it says.

        Args:
            wait: Seconds, or a `timedelta`, to wait for it.

        Raises:
            NoResult: There is none, or none yet: its class does not say `keep_result`, the job has not run,
                has failed or was taken back, or its result was kept for long enough. `status` says
                where the job is.
            InvalidOption: `wait` is no duration.
            DecodeError: What is kept is no result of such a job.
            BackendError: The store cannot be asked.

        Defaults:
            wait = 0: what is not there now is an error.
        """
        end = time.monotonic() + seconds(wait, option="wait", where=f"job {self.id}")
        while not (found := self._result()):
            status = self.status()
            left = end - time.monotonic()
            if status not in _COMING or left <= 0:
                break
            time.sleep(min(left, RESULT_INTERVAL))
        return self._known(found)

    async def aresult(self, *, wait: float | timedelta = 0) -> Any:
        """Return what the job's `handle` returned, as `result` does, without blocking the loop."""
        import asyncio

        end = time.monotonic() + seconds(wait, option="wait", where=f"job {self.id}")
        while not (found := await asyncio.to_thread(self._result)):
            status = await self.astatus()
            left = end - time.monotonic()
            if status not in _COMING or left <= 0:
                break
            await asyncio.sleep(min(left, RESULT_INTERVAL))
        return await asyncio.to_thread(self._known, found)

    def progress(self) -> Any:
        """
        Return what the job said last with `attempt.progress`; None where it said nothing, or long ago.

        Raises:
            DecodeError: What is kept is nothing that a job said.
            BackendError: The store cannot be asked.
        """
        return None if self._port is None else progress_of(self._port(), self.id)

    async def aprogress(self) -> Any:
        """Return what the job said last of its progress, without blocking the loop."""
        import asyncio

        return await asyncio.to_thread(self.progress)

    def _result(self) -> tuple[Any, ...]:
        """Return the result by itself in a tuple; nothing in it where there is none."""
        if self._codec is None:
            return ()
        if self._port is None:
            return self._answer
        return result_of(self._port(), self.id, codec=self._codec, name=self.name)

    def _known(self, found: tuple[Any, ...]) -> Any:
        # Once more where there was none: it may have ended between two looks.
        if found := found or self._result():
            return found[0]
        status = self.status()
        reason = _WHY[status] if self._codec is not None else _NOT_KEPT
        raise NoResult(id=self.id, status=status, reason=reason)

    def _waiting(self, port: Port) -> JobStatus | None:
        queues = [self.queue] if self.queue else None
        return next((_STATUS[one.state] for one in port.find([self.id], queues=queues)), None)

    def _failed(self, port: Port) -> JobStatus | None:
        keeps = port.backend.capabilities.failed_jobs
        return JobStatus.FAILED if keeps and port.failed(ids=[self.id], limit=1) else None
