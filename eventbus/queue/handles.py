"""What `enqueue` returns: a job that somebody may still ask about, or take back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from eventbus.backends.base import State

if TYPE_CHECKING:
    from eventbus.backends.port import Port

__all__ = ["JobHandle", "JobStatus"]


class JobStatus(StrEnum):
    """Where a job is, as far as its store can tell."""

    #: It is due, and no worker has it yet.
    WAITING = "waiting"
    #: It may run later: it was enqueued so, waits for its next try, or is parked.
    DELAYED = "delayed"
    #: A worker has it.
    RUNNING = "running"
    #: It is among the failed jobs.
    FAILED = "failed"
    #: It is not in the store: it is done, or was cancelled or forgotten; or it ran at once.
    GONE = "gone"
    #: It was never enqueued, since it said so itself.
    SKIPPED = "skipped"


_STATUS: Final[Mapping[State, JobStatus]] = {
    State.READY: JobStatus.WAITING,
    State.DELAYED: JobStatus.DELAYED,
    State.LEASED: JobStatus.RUNNING,
}


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
    #: Empty where it was not enqueued.
    queue: str
    #: Gives the store; None where nothing was stored.
    _port: Callable[[], Port] | None = field(default=None, alias="port", repr=False, eq=False)
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

    def _waiting(self, port: Port) -> JobStatus | None:
        return next((_STATUS[one.state] for one in port.find([self.id], queues=[self.queue])), None)

    def _failed(self, port: Port) -> JobStatus | None:
        keeps = port.backend.capabilities.failed_jobs
        return JobStatus.FAILED if keeps and port.failed(ids=[self.id], limit=1) else None
