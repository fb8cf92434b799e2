"""
What a health file says, and whether its worker works.

The file has three instants. `alive_at`: a thread of the worker lived. `loop_at`: its main loop turned,
which it does not while a job runs. `loop_due`: it means to turn again by then, which may be long where it
waits. So a worker that is stuck in a job, and one that waits, are told from one that is gone.
"""

from __future__ import annotations

import os
import socket
import stat
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from attrs import frozen

from eventbus.backends.base import Clock, SystemClock
from eventbus.defaults import HEALTH_MAX_AGE, HEALTH_SIZE_LIMIT
from eventbus.errors import Unhealthy
from eventbus.text import described, short

__all__ = ["KIND", "State", "Vital", "check_health", "read_vital"]

#: What the file says of its own kind, so that no other file is taken, or overwritten, for one.
KIND: Final = "eventbus-worker"


class State(StrEnum):
    """What a worker is doing."""

    STARTING = "starting"
    IDLE = "idle"
    WORKING = "working"
    #: All of its queues are paused, or it was told to claim nothing for now.
    PAUSED = "paused"
    #: Its store cannot be reached.
    AWAY = "away"
    STOPPING = "stopping"


@frozen(kw_only=True)
class Vital:
    """What a health file says."""

    pid: int
    host: str
    name: str
    connection: str
    queues: tuple[str, ...]
    state: str
    #: The job that runs: its id, its listener, and since when; None between two jobs.
    job: tuple[str, str, datetime] | None
    processed: int
    failed: int
    started_at: datetime
    alive_at: datetime
    loop_at: datetime
    #: Until when its main loop means to wait; `loop_at` where it does not.
    loop_due: datetime
    #: Bytes of memory in use; None where the system does not tell.
    memory: int | None


def check_health(
    path: str | os.PathLike[str],
    *,
    max_age: float = HEALTH_MAX_AGE,
    max_job_age: float | None = None,
    clock: Clock | None = None,
) -> Vital:
    """
    Return what a health file says, if it says that its worker works.

    Args:
        path: The file.
        max_age: Most seconds since a thread of the worker lived; and, while no job runs, since its
            main loop should have turned. Below three of `defaults.HEALTH_BEAT`, a busy machine makes
            a healthy worker look sick.
        max_job_age: Most seconds that the running job may have taken.
        clock: Tells the time.

    Raises:
        Unhealthy: There is no worker, it does not work, or it cannot be told.

    Defaults:
        max_age = `defaults.HEALTH_MAX_AGE`.
        max_job_age = None: no limit; a job has its `timeout`.
        clock = the machine's.
    """
    file = Path(os.path.abspath(path))
    vital = read_vital(file)
    now = (SystemClock() if clock is None else clock).now()

    reason = _ailment(vital, now, max_age=max_age, max_job_age=max_job_age)
    if reason:
        raise Unhealthy(file=str(file), reason=reason)
    return vital


def _ailment(vital: Vital, now: datetime, *, max_age: float, max_job_age: float | None) -> str:
    """Return what is wrong with a worker; nothing if it works."""
    if not _lives(vital):
        return f"process {vital.pid} is gone"
    # Of any sign: an instant in the future would keep the worker healthy until then.
    alive = (now - vital.alive_at).total_seconds()
    if abs(alive) > max_age:
        return f"process {vital.pid} {_said(alive, 'gave a sign of life')}"
    if vital.job is None:
        turned = (now - vital.loop_at).total_seconds()
        late = (now - max(vital.loop_at, vital.loop_due)).total_seconds()
        is_sound = -max_age <= turned and late <= max_age
        return "" if is_sound else f"no job runs, and its loop {_said(turned, 'turned')}"
    name, listener, since = vital.job
    took = (now - since).total_seconds()
    if max_job_age is not None and took > max_job_age:
        return f"job {short(name)} of {short(listener)} runs for {took:.0f} s"
    return ""


def _said(age: float, what: str) -> str:
    return f"{what} {age:.0f} s ago" if age > 0 else f"{what} {-age:.0f} s in the future"


def _lives(vital: Vital) -> bool:
    if vital.host != socket.gethostname():
        return True  # its number says nothing here; the instants do
    try:
        os.kill(vital.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class _Job(msgspec.Struct, kw_only=True):
    id: str
    listener: str
    since: _Instant


class _Wire(msgspec.Struct, kw_only=True):
    kind: Literal["eventbus-worker"]  # `KIND`
    pid: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    host: str
    name: str
    connection: str
    queues: list[str]
    state: State
    job: _Job | None
    processed: int
    failed: int
    started_at: _Instant
    alive_at: _Instant
    loop_at: _Instant
    #: Not there in the file of a worker of an older version.
    loop_due: _Instant | None = None
    memory: int | None


def read_vital(path: Path) -> Vital:
    """
    Return what a file says; anybody may have written it.

    Raises:
        Unhealthy: It is not there, or no health file.
    """
    try:
        text = _content(path)
    except OSError as error:
        reason = "it is not there" if isinstance(error, FileNotFoundError) else described(error)
        raise Unhealthy(file=str(path), reason=reason) from error
    if len(text) > HEALTH_SIZE_LIMIT:
        raise Unhealthy(file=str(path), reason="it is no health file: it is too long")
    try:
        wire = msgspec.json.decode(text, type=_Wire)
        job = None if wire.job is None else (wire.job.id, wire.job.listener, _utc(wire.job.since))
        return Vital(
            pid=wire.pid,
            host=wire.host,
            name=wire.name,
            connection=wire.connection,
            queues=tuple(wire.queues),
            state=str(wire.state),
            job=job,
            processed=wire.processed,
            failed=wire.failed,
            started_at=_utc(wire.started_at),
            alive_at=_utc(wire.alive_at),
            loop_at=_utc(wire.loop_at),
            loop_due=_utc(wire.loop_due or wire.loop_at),
            memory=wire.memory,
        )
    except (msgspec.DecodeError, OverflowError, RecursionError) as error:
        reason = f"it is no health file: {described(error)}"
        raise Unhealthy(file=str(path), reason=reason) from error


def _content(path: Path) -> bytes:
    # Not waited for: what lies there may be a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return file.read(HEALTH_SIZE_LIMIT + 1)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
