"""What lies in a raw queue, waiting or buried, as its handle shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import field, frozen

from eventbus.backends.base import FailedJob, State, StoredJob
from eventbus.errors import CodecError, DecodeError
from eventbus.queue.raw.jobs import payload_of

__all__ = ["BuriedJob", "WaitingJob", "buried_job", "waiting_job"]


@frozen(kw_only=True)
class WaitingJob:
    """A raw job that waits, or that somebody has claimed."""

    id: str
    queue: str
    #: The JSON value that was pushed.
    payload: Any = field(repr=False)
    state: State
    #: When it may be claimed; of a claimed one, when its lease ends.
    due: datetime
    attempts: int
    losses: int
    pushed_at: datetime


@frozen(kw_only=True)
class BuriedJob:
    """A raw job that was set aside."""

    id: str
    queue: str
    #: The JSON value that was pushed; None if the bytes are no raw job: then `body` has them.
    payload: Any = field(repr=False)
    #: The stored bytes; only the first of them, if they are far more than a job can have.
    body: bytes = field(repr=False)
    #: Why it was buried, as text.
    error: str
    attempts: int
    losses: int
    pushed_at: datetime
    buried_at: datetime


def waiting_job(job: StoredJob) -> WaitingJob | None:
    """Return a stored job as it is shown; None if it is no raw one."""
    if job.left_out:
        return None
    try:
        payload = payload_of(job.envelope)
    except CodecError:
        return None
    return WaitingJob(
        id=job.envelope.id,
        queue=job.envelope.queue,
        payload=payload,
        state=job.state,
        due=job.due,
        attempts=job.attempts,
        losses=job.losses,
        pushed_at=job.pushed_at,
    )


def buried_job(job: FailedJob) -> BuriedJob | None:
    """Return a failed job as it is shown; None if it is a listener's, which others look after."""
    payload = None
    try:
        if not job.left_out:
            payload = payload_of(job.envelope)
    except DecodeError:
        payload = None  # nobody's: it was buried by whoever came upon it first
    except CodecError:
        return None
    return BuriedJob(
        id=job.envelope.id,
        queue=job.envelope.queue,
        payload=payload,
        body=job.envelope.body,
        error=job.error,
        attempts=job.attempts,
        losses=job.losses,
        pushed_at=job.pushed_at,
        buried_at=job.failed_at,
    )
