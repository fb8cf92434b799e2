"""
Records from what Redis keeps; `scripts/redis.lua` says in which form.

What is there need not have been written by us. What is to be run must be whole; what is only shown is made
of anything, with a zero for what is no number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from eventbus.backends.base import Claim, FailedJob, State, StoredJob
from eventbus.backends.instants import LATEST, instant
from eventbus.backends.plans import StoredBatch
from eventbus.defaults import BODY_SIZE_LIMIT, DURATION_LIMIT
from eventbus.queue.envelope import Envelope, Member
from eventbus.values import valid_id

__all__ = [
    "MOST",
    "NUMBER",
    "WORDS",
    "Flaw",
    "claim_of",
    "failed_jobs",
    "failed_place",
    "is_alone",
    "member_of",
    "placed",
    "places_of",
    "stored_batches",
    "stored_jobs",
]

#: How many digits of a number stand in front of an id.
NUMBER: Final = 12

#: A body is kept behind when it was pushed and its delay: the most bytes that are read.
MOST: Final = BODY_SIZE_LIMIT + 64

#: How many words the script `claim` says of each job.
WORDS: Final = 5
#: From when on a job that waits is held, as its due.
HELD: Final = 2**53 - 2

_MOST: Final = 1_000_000_000
_COUNTS: Final = re.compile(rb"(\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}) [01]")
_FAILURE: Final = re.compile(rb"(\d{1,16}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,16}) ", re.DOTALL)

_BATCH: Final = re.compile(
    rb"(\d{1,12}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}) ([01]) (\d{1,2}) (\d{1,16}) (\d{1,16}) (\d{1,16}) "
)

_GONE: Final = "its body is gone"
_FORM: Final = "its body is kept in a form that is not ours, or its id is none"
_HEAD: Final = "its id, the time when it was pushed, or its delay cannot be one"


class Flaw(Exception):  # noqa: N818 -- it never leaves the backend
    """Why what was claimed cannot be run."""


def claim_of(
    name: bytes, queue: str, kept: bytes | int, counts: bytes, token: str, place: bytes = b""
) -> Claim:
    """
    Return the claim of a job.

    Raises:
        Flaw: It is not as we write them.

    Example:
        >>> claim_of(b"a", "jobs", b"1700000000000000 1.5 {}", b"", "t").envelope.delay
        1.5
    """
    if isinstance(kept, int):
        size = f"{kept:,} bytes, more than the {BODY_SIZE_LIMIT:,} that are read"
        raise Flaw(size if kept else _GONE)
    try:
        told = name.decode()
        stamp, seconds, body = kept.split(b" ", 2)
        pushed_at, delay = int(stamp), float(seconds)
    except ValueError:
        raise Flaw(_FORM) from None
    if not valid_id(told) or not 0 <= pushed_at <= LATEST or not 0 <= delay <= DURATION_LIMIT:
        raise Flaw(_HEAD)
    attempts = losses = exceptions = releases = 0
    if counts:
        found = _COUNTS.fullmatch(counts)
        if found is None:
            wrong = f"its counts are {counts[:100]!r}"
            raise Flaw(wrong)
        attempts, losses, exceptions, releases = map(int, found.groups())
    return Claim(
        envelope=Envelope(
            id=told,
            queue=queue,
            body=body,
            delay=delay,
            member=member_of(place[1:]) if place else None,
        ),
        canceled=place.startswith(b"1"),
        token=token,
        attempts=attempts,
        losses=losses,
        exceptions=exceptions,
        releases=releases,
        alone=counts.endswith(b" 1"),
        pushed_at=instant(pushed_at),
    )


def is_alone(found: Sequence[Any]) -> bool:
    """Tell whether what a claim found is one that must be handed out by itself."""
    return len(found) == WORDS and found[3].endswith(b" 1")


def failed_jobs(queue: str, found: Sequence[Any]) -> Iterator[FailedJob]:
    """Return the failed jobs of what the script `failed` returned."""
    for first in range(0, len(found), 4):
        name, record, kept, place = found[first : first + 4]
        told = _FAILURE.match(record)
        failed_at, attempts, losses, releases, number = (
            map(int, told.groups()) if told else (0,) * 5
        )
        envelope, pushed_at, left_out = _shown(name, queue, kept, place)
        yield FailedJob(
            envelope=envelope,
            attempts=min(attempts, _MOST),
            losses=min(losses, _MOST),
            releases=min(releases, _MOST),
            pushed_at=instant(pushed_at),
            failed_at=instant(min(failed_at, LATEST)),
            error=record[told.end() if told else 0 :].decode("utf-8", "replace"),
            cursor=f"{failed_at}/{queue}/{number:012x}{envelope.id}",
            left_out=left_out,
        )


def failed_place(job: FailedJob) -> tuple[int, str, str]:
    """Return where a failed job stands among all: by when it failed, its queue, the order of failure."""
    failed_at, queue, member = job.cursor.split("/", 2)
    return int(failed_at), queue, member


def stored_jobs(queue: str, found: Sequence[Any]) -> Iterator[StoredJob]:
    """Return the jobs of what the script `peek` returned."""
    now, *rest = found
    for first in range(0, len(rest), 8):
        name, number, due, leased, counts, parked, kept, place = rest[first : first + 8]
        told = _COUNTS.fullmatch(counts)
        attempts, losses, _, releases = map(int, told.groups()) if told else (0,) * 4
        envelope, pushed_at, left_out = _shown(name, queue, kept, place)
        at = int(_number(due, LATEST))
        waiting = State.LEASED if leased else State.HELD if at >= HELD else State.DELAYED
        yield StoredJob(
            envelope=envelope,
            state=waiting if at > int(now) else State.READY,
            due=instant(at),
            attempts=min(attempts, _MOST),
            losses=min(losses, _MOST),
            releases=min(releases, _MOST),
            pushed_at=instant(pushed_at),
            parked=parked.decode("utf-8", "replace"),
            cursor=f"{queue}/{int(_number(number, 2**53))}",
            left_out=left_out,
        )


def placed(member: Member) -> str:
    """Return what an envelope is a member of, as it is kept."""
    next_ = "" if member.next is None else "/".join(member.next)
    catch = "" if member.catch is None else "/".join(member.catch)
    return f"{member.batch}\n{next_}\n{catch}"


def member_of(kept: bytes) -> Member | None:
    r"""
    Return what an envelope is a member of, of anything.

    Example:
        >>> member_of(b"b\njobs/a\n")
        Member(batch='b', next=('jobs', 'a'), catch=None, held=False)
    """
    batch, _, rest = kept.decode("utf-8", "replace").partition("\n")
    next_, _, catch = rest.partition("\n")
    if not (batch or next_ or catch):
        return None
    return Member(batch=batch, next=_followed(next_), catch=_followed(catch))


def _followed(kept: str) -> tuple[str, str] | None:
    queue, slash, name = kept.partition("/")
    return (queue, name) if slash else None


def places_of(found: Sequence[bytes]) -> list[tuple[str, str]]:
    """Return queues and ids, as they are kept."""
    told = [one.decode("utf-8", "replace").partition("/") for one in found]
    return [(queue, name) for queue, _, name in told]


def stored_batches(queue: str, found: Sequence[bytes]) -> Iterator[StoredBatch]:
    """Return the batches of a queue, of what Redis has in their hash."""
    for name, record in zip(found[::2], found[1::2], strict=True):
        told = _BATCH.match(record)
        number, total, succeeded, failed, skipped, allows, _, created, canceled, finished = (
            map(int, told.groups()) if told else (0,) * 10
        )
        yield StoredBatch(
            id=name.decode("utf-8", "replace"),
            queue=queue,
            name=record[told.end() if told else 0 :].decode("utf-8", "replace"),
            allows_failures=bool(allows),
            total=total,
            succeeded=succeeded,
            failed=failed,
            skipped=skipped,
            created_at=instant(min(created, LATEST)),
            canceled_at=instant(min(canceled, LATEST)) if canceled else None,
            finished_at=instant(min(finished, LATEST)) if finished else None,
            cursor=f"{queue}/{number:016}{name.decode('utf-8', 'replace')}",
        )


def _shown(name: bytes, queue: str, kept: bytes | int, place: bytes) -> tuple[Envelope, int, int]:
    """Return the envelope of anything, when it was pushed, and how much of its body was not read."""
    told = name.decode("utf-8", "replace")
    member = member_of(place)
    if isinstance(kept, int):
        return Envelope(id=told, queue=queue, body=b"", delay=0.0, member=member), 0, kept
    stamp, _, rest = kept.partition(b" ")
    seconds, _, body = rest.partition(b" ")
    delay = _number(seconds, DURATION_LIMIT)
    envelope = Envelope(id=told, queue=queue, body=body, delay=delay, member=member)
    return envelope, int(_number(stamp, LATEST)), 0


def _number(text: bytes, most: float) -> float:
    try:
        return min(max(0.0, float(text)), most)
    except ValueError:
        return 0.0
