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
from eventbus.defaults import BODY_SIZE_LIMIT, DURATION_LIMIT
from eventbus.queue.envelope import Envelope, valid_id

__all__ = [
    "MOST",
    "NUMBER",
    "Flaw",
    "claim_of",
    "failed_jobs",
    "failed_place",
    "is_alone",
    "stored_jobs",
]

#: How many digits of a number stand in front of an id.
NUMBER: Final = 12

#: A body is kept behind when it was pushed and its delay: the most bytes that are read.
MOST: Final = BODY_SIZE_LIMIT + 64

_MOST: Final = 1_000_000_000
_COUNTS: Final = re.compile(rb"(\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}) [01]")
_FAILURE: Final = re.compile(rb"(\d{1,16}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,16}) ", re.DOTALL)

_GONE: Final = "its body is gone"
_FORM: Final = "its body is kept in a form that is not ours, or its id is none"
_HEAD: Final = "its id, the time when it was pushed, or its delay cannot be one"


class Flaw(Exception):  # noqa: N818 -- it never leaves the backend
    """Why what was claimed cannot be run."""


def claim_of(name: bytes, queue: str, kept: bytes | int, counts: bytes, token: str) -> Claim:
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
        envelope=Envelope(id=told, queue=queue, body=body, delay=delay),
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
    return len(found) == 4 and found[3].endswith(b" 1")


def failed_jobs(queue: str, found: Sequence[Any]) -> Iterator[FailedJob]:
    """Return the failed jobs of what the script `failed` returned."""
    for name, record, kept in zip(found[::3], found[1::3], found[2::3], strict=True):
        told = _FAILURE.match(record)
        failed_at, attempts, losses, releases, number = (
            map(int, told.groups()) if told else (0,) * 5
        )
        envelope, pushed_at, left_out = _shown(name, queue, kept)
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
    for first in range(0, len(rest), 7):
        name, number, due, held, counts, parked, kept = rest[first : first + 7]
        told = _COUNTS.fullmatch(counts)
        attempts, losses, _, releases = map(int, told.groups()) if told else (0,) * 4
        envelope, pushed_at, left_out = _shown(name, queue, kept)
        at = int(_number(due, LATEST))
        waiting = State.LEASED if held else State.DELAYED
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


def _shown(name: bytes, queue: str, kept: bytes | int) -> tuple[Envelope, int, int]:
    """Return the envelope of anything, when it was pushed, and how much of its body was not read."""
    told = name.decode("utf-8", "replace")
    if isinstance(kept, int):
        return Envelope(id=told, queue=queue, body=b"", delay=0.0), 0, kept
    stamp, _, rest = kept.partition(b" ")
    seconds, _, body = rest.partition(b" ")
    delay = _number(seconds, DURATION_LIMIT)
    return Envelope(id=told, queue=queue, body=body, delay=delay), int(_number(stamp, LATEST)), 0


def _number(text: bytes, most: float) -> float:
    try:
        return min(max(0.0, float(text)), most)
    except ValueError:
        return 0.0
