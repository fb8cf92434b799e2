"""
What happens to jobs and workers, as events on the bus.

Listeners of these run inside the worker; what they raise is logged and changes nothing. They cannot
be queued: a job about each job would never end. `docs/explain/job-life.md` has their order.

Those of batches are other events: they are dispatched by a job of the batch's own, so that none is forgotten when
a worker dies, and their listeners may be queued.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from attrs import frozen

__all__ = [
    "LIFECYCLE",
    "BatchCanceled",
    "BatchDispatched",
    "BatchFinished",
    "BatchStarted",
    "JobAttempted",
    "JobDebounced",
    "JobExceptionOccurred",
    "JobFailed",
    "JobProcessed",
    "JobProcessing",
    "JobReleased",
    "Outcome",
    "UniqueJobSkipped",
    "WorkerIdle",
    "WorkerLooping",
    "WorkerStarting",
    "WorkerStopping",
]


class Outcome(StrEnum):
    """How one run of a job ended."""

    SUCCEEDED = "succeeded"
    #: The listener deleted its job: it is done, without having been carried out.
    SKIPPED = "skipped"
    #: Back in the queue, to be run again.
    RELEASED = "released"
    #: Among the failed jobs.
    FAILED = "failed"
    #: Taken by another worker meanwhile: what this run did is not recorded.
    LOST = "lost"


@frozen(kw_only=True)
class _JobEvent:
    #: The job's id, the same in every attempt.
    id: str
    #: The name of the listener or job.
    name: str
    connection: str
    queue: str
    #: The number of this run, from 1; a release does not count.
    attempt: int
    #: The id of the batch that it is a member of, or that it follows; empty if there is none.
    batch: str = ""


@frozen(kw_only=True)
class JobProcessing(_JobEvent):
    """A job is about to run."""


@frozen(kw_only=True)
class JobProcessed(_JobEvent):
    """
    A job's listener returned; `outcome` says what came of it.

    Its removal from the store may follow a moment later, with that of others. A lease that turns out
    lost only then is a warning in the log.
    """

    outcome: Outcome


@frozen(kw_only=True)
class JobExceptionOccurred(_JobEvent):
    """A job's listener raised; `JobReleased` or `JobFailed` follows."""

    error: BaseException


@frozen(kw_only=True)
class JobReleased(_JobEvent):
    """A job went back to its queue, due in `delay` seconds."""

    delay: float


@frozen(kw_only=True)
class JobFailed(_JobEvent):
    """A job ended among the failed jobs: it is recorded there, and `failed()` has not run yet."""

    error: BaseException


@frozen(kw_only=True)
class JobAttempted(_JobEvent):
    """A run is over, however it ended: the last event about it."""

    outcome: Outcome


@frozen(kw_only=True)
class _KeyEvent:
    #: The job's id.
    id: str
    #: The name of the listener or job.
    name: str
    connection: str
    queue: str


@frozen(kw_only=True)
class UniqueJobSkipped(_KeyEvent):
    """A job was not enqueued: one that is the same waits or runs. Told where it was to be enqueued."""


@frozen(kw_only=True)
class JobDebounced(_KeyEvent):
    """A job that waited gave way to a newer one. Told where that one was enqueued."""


@frozen(kw_only=True)
class _BatchEvent:
    #: The batch's id.
    id: str
    name: str
    connection: str
    queue: str
    #: How many members it has.
    total: int


@frozen(kw_only=True)
class BatchDispatched(_BatchEvent):
    """A batch was enqueued. Told where it was."""


@frozen(kw_only=True)
class _BatchProgress(_BatchEvent):
    #: How many of its members came to their end, failed, or will not run, as it is told.
    succeeded: int
    failed: int
    skipped: int


@frozen(kw_only=True)
class BatchStarted(_BatchProgress):
    """The first member of a batch came to an end."""


@frozen(kw_only=True)
class BatchCanceled(_BatchProgress):
    """A batch was canceled, by hand or by a member that failed."""


@frozen(kw_only=True)
class BatchFinished(_BatchProgress):
    """All members of a batch came to an end."""


@frozen(kw_only=True)
class _WorkerEvent:
    #: The worker's name; empty if it has none.
    name: str = ""
    connection: str
    #: Its queues, in the order in which it looks at them.
    queues: tuple[str, ...]


@frozen(kw_only=True)
class WorkerStarting(_WorkerEvent):
    """A worker begins to claim."""


@frozen(kw_only=True)
class WorkerLooping(_WorkerEvent):
    """A worker is about to look for jobs; a listener that answers `False` keeps it from it."""


@frozen(kw_only=True)
class WorkerIdle(_WorkerEvent):
    """A worker has found nothing to do, and is about to wait."""


@frozen(kw_only=True)
class WorkerStopping(_WorkerEvent):
    """A worker has claimed its last job."""

    #: Why: "signal", "memory", "restart", "once", "empty", "max_time", "max_jobs" or "error".
    reason: str
    #: How many jobs it ran.
    processed: int
    started_at: datetime


#: What no listener can be queued for.
LIFECYCLE: Final = (_JobEvent, _KeyEvent, _WorkerEvent)
