"""
What the SQL backends share: statements by name from files, and records from rows.

A row need not be one that we wrote: a disk fails, a hand slips. `flaws` says whether it can be run;
what is only shown is made of any row, with a zero for what is no number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zlib import crc32

from eventbus.backends.base import Claim, FailedJob, State, StoredJob
from eventbus.backends.instants import COUNTED, HELD, LATEST, instant
from eventbus.backends.plans import StoredBatch, Tally
from eventbus.backends.sections import sections
from eventbus.defaults import DURATION_LIMIT
from eventbus.queue.envelope import Envelope, Member
from eventbus.values import new_id, valid_id

__all__ = [
    "claim_of",
    "due_of",
    "failed_job_of",
    "flaws",
    "member_of",
    "mended",
    "place_of",
    "statements",
    "stored_batch_of",
    "stored_job_of",
    "tally_of",
]

#: A row as a driver gives it: anything may be in it.
Row = tuple[Any, ...]

#: No counter of ours gets as far, and a database can still add to it.
_MOST: Final = 1_000_000_000
_NUMBERS: Final = (int, float)

#: What the statement `due` returns of a job, in this order; and last the checksum of its body.
_COLUMNS: Final = (
    "id",
    "queue",
    "body",
    "delay",
    "attempts",
    "losses",
    "exceptions",
    "releases",
    "pushed_at",
)

#: Drivers guess from a statement's first word whether it counts rows.
_COMMENT: Final = re.compile(r"^--.*\n", re.MULTILINE)


def statements(script: str) -> Mapping[str, str]:
    """
    Return the statements of `eventbus/backends/scripts/` + `script`, by their names.

    Example:
        >>> statements("sqlite.sql")["give_way"]
        'DELETE FROM envelopes WHERE id = :id;'
    """
    return {name: _COMMENT.sub("", text).strip() for name, text in sections(script).items()}


def due_of(value: object) -> int:
    """Return a `due` as it counts: one that is no number is due now, so it is 0."""
    return _clamped(value, LATEST)


def mended(row: Row) -> Row:
    """
    Return a job of the statement `due` with a sane value for each that cannot be worked with.

    Example:
        >>> mended(("a", "jobs", b"{}", -1.0, "x", 2**62, 0, 0, 1735689600000000, None))
        ('a', 'jobs', b'{}', 0.0, 0, 1000000000, 0, 0, 1735689600000000, None)
    """
    name, queue, body, delay, attempts, losses, exceptions, releases, pushed_at, crc = row
    return (
        name if valid_id(name) else f"unknown-{new_id()}",
        queue,
        body if isinstance(body, bytes) else b"",
        _seconds(delay),
        _clamped(attempts, _MOST),
        _clamped(losses, _MOST),
        _clamped(exceptions, _MOST),
        _clamped(releases, _MOST),
        _clamped(pushed_at, LATEST),
        crc,
    )


def flaws(row: Row) -> str:
    """
    Say why a job that the statement `due` returned cannot be run; empty, if it can.

    Example:
        >>> flaws(("a", "jobs", b"{}", 0.0, "x", 0, 0, 0, 1735689600000000, None))
        "attempts is 'x'"
    """
    is_sane = _is_sane(row)
    sane = row if is_sane else mended(row)
    body, crc = sane[2], row[9]
    is_as_pushed = crc is None or crc == crc32(body)
    if is_sane and is_as_pushed:
        return ""  # nearly every one
    found = [
        f"{column} is {value!r:.100}"
        for column, value, other in zip(_COLUMNS, row[:9], sane[:9], strict=True)
        if value != other
    ]
    if not is_as_pushed:
        found.append("body is not as it was pushed; crc = NULL says that it was mended by hand")
    return ", ".join(found)


def _is_sane(row: Row) -> bool:
    """Tell whether a row is as we write them: what nearly every one is, and so told quickly."""
    name, _, body, delay, attempts, losses, exceptions, releases, pushed_at, _ = row
    return (
        type(body) is bytes
        and type(delay) is float
        and 0.0 <= delay <= DURATION_LIMIT
        and type(attempts) is type(losses) is type(exceptions) is type(releases) is int
        and 0 <= attempts <= _MOST
        and 0 <= losses <= _MOST
        and 0 <= exceptions <= _MOST
        and 0 <= releases <= _MOST
        and type(pushed_at) is int
        and 0 <= pushed_at <= LATEST
        and valid_id(name)
    )


def claim_of(row: Row, token: str, *, alone: bool = False, place: Row | None = None) -> Claim:
    """
    Return the claim of a job, without flaws, that the statement `due` returned.

    Args:
        row: The job.
        token: Who holds it.
        alone: It is handed out by itself.
        place: What it is a member of, as the statement `places` says it; None of what stands alone.
    """
    name, queue, body, delay, attempts, losses, exceptions, releases, pushed_at, _ = row
    return Claim(
        envelope=Envelope(
            id=name,
            queue=queue,
            body=body,
            delay=delay,
            member=None if place is None else member_of(*place[:3]),
        ),
        token=token,
        attempts=attempts,
        losses=losses,
        exceptions=exceptions,
        releases=releases,
        alone=alone,
        canceled=place is not None and bool(place[3]),
        pushed_at=instant(pushed_at),
    )


def place_of(told: tuple[str, str] | None) -> str | None:
    """Return queue and id of an envelope as they are kept."""
    return None if told is None else f"{told[0]}/{told[1]}"


def member_of(batch: object, next: object, catch: object) -> Member | None:
    """
    Return what an envelope is a member of, of any three columns.

    Example:
        >>> member_of("b", "jobs/a", None)
        Member(batch='b', next=('jobs', 'a'), catch=None, held=False)
    """
    if batch is None and next is None and catch is None:
        return None
    told = batch if isinstance(batch, str) else ""
    return Member(batch=told, next=_followed(next), catch=_followed(catch))


def _followed(value: object) -> tuple[str, str] | None:
    queue, slash, name = value.partition("/") if isinstance(value, str) else ("", "", "")
    return (queue, name) if slash else None


def failed_job_of(row: Row) -> FailedJob:
    """Return the failed job of any row that the statement `failed` returned."""
    (
        number,
        name,
        queue,
        body,
        size,
        delay,
        attempts,
        losses,
        releases,
        pushed_at,
        failed_at,
        error,
        *place,
    ) = row
    return FailedJob(
        envelope=_shown(name, queue, body, delay, place),
        attempts=_clamped(attempts, _MOST),
        losses=_clamped(losses, _MOST),
        releases=_clamped(releases, _MOST),
        pushed_at=_instant(pushed_at),
        failed_at=_instant(failed_at),
        error=str(error),
        cursor=str(number),
        left_out=size - len(body),
    )


def stored_job_of(row: Row, now: int) -> StoredJob:
    """Return the job of any row that the statement `peek` returned, as it is at the instant `now`."""
    (
        number,
        name,
        queue,
        body,
        size,
        delay,
        attempts,
        losses,
        releases,
        pushed_at,
        due,
        leased,
        parked,
        *place,
    ) = row
    waiting = State.LEASED if leased else State.DELAYED
    if not leased and due in (COUNTED, HELD):
        waiting = State.HELD
    return StoredJob(
        envelope=_shown(name, queue, body, delay, place),
        state=waiting if due_of(due) > now else State.READY,
        due=_instant(due),
        attempts=_clamped(attempts, _MOST),
        losses=_clamped(losses, _MOST),
        releases=_clamped(releases, _MOST),
        pushed_at=_instant(pushed_at),
        parked=str(parked),
        cursor=str(number),
        left_out=size - len(body),
    )


def stored_batch_of(row: Row) -> StoredBatch:
    """Return the batch of any row that the statement `batches` returned."""
    number, name, queue, title, allows, *counts, created_at, canceled_at, finished_at = row
    total, succeeded, failed, skipped = (_clamped(count, _MOST) for count in counts)
    return StoredBatch(
        id=str(name),
        queue=str(queue),
        name=str(title),
        allows_failures=bool(allows),
        total=total,
        succeeded=succeeded,
        failed=failed,
        skipped=skipped,
        created_at=_instant(created_at),
        canceled_at=None if canceled_at is None else _instant(canceled_at),
        finished_at=None if finished_at is None else _instant(finished_at),
        cursor=str(number),
    )


def tally_of(row: Row) -> Tally:
    """
    Return what is counted of a batch, of any row that the statement `tally` returned, but for what waits.

    Example:
        >>> tally = tally_of((3, "x", 2**63 - 1, 0, 1, 7, None, None))
        >>> tally.total, tally.succeeded, tally.failed, tally.canceled_at
        (3, 0, 1000000000, None)
    """
    *counts, allows, reached, canceled_at, finished_at = row
    total, succeeded, failed, skipped = (_clamped(count, _MOST) for count in counts)
    return Tally(
        total=total,
        succeeded=succeeded,
        failed=failed,
        skipped=skipped,
        allows_failures=bool(allows),
        reached=_clamped(reached, _MOST),
        canceled_at=None if canceled_at is None else _clamped(canceled_at, LATEST),
        finished_at=None if finished_at is None else _clamped(finished_at, LATEST),
    )


def _shown(
    name: object, queue: object, body: bytes, delay: object, place: Sequence[object]
) -> Envelope:
    batch, following, catch = place
    return Envelope(
        id=str(name),
        queue=str(queue),
        body=body,
        delay=_seconds(delay),
        member=member_of(batch, following, catch),
    )


def _clamped(value: object, most: int) -> int:
    return int(min(max(0, value), most)) if isinstance(value, _NUMBERS) else 0


def _seconds(value: object) -> float:
    return float(min(max(0.0, value), DURATION_LIMIT)) if isinstance(value, _NUMBERS) else 0.0


def _instant(value: object) -> datetime:
    return instant(_clamped(value, LATEST))
