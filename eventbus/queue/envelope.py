"""What is stored: one envelope per job. A backend never looks inside its body."""

from __future__ import annotations

import os
import re
import time
from typing import Any, Final

from attrs import field, frozen

from eventbus.defaults import DURATION_LIMIT, LIMIT_KEY_LENGTH, NAME_LENGTH
from eventbus.errors import InvalidOption

__all__ = ["Envelope", "Member", "UniqueKey", "new_id", "seconds", "valid_id", "valid_name"]

_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_LENGTH - 1}}}")


def new_id() -> str:
    """
    Return a new job id: 32 hexadecimal digits, never handed out twice.

    The first twelve are the time in milliseconds, so that later ids sort later: a store's index of them
    grows at its end, and a push costs the same however much waits. The other twenty are random.

    Example:
        >>> len(new_id())
        32
    """
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def valid_id(id: object) -> bool:
    """
    Say whether `id` can be a job's: 1 to `NAME_LENGTH` printable ASCII characters.

    Example:
        >>> valid_id(new_id()), valid_id("")
        (True, False)
    """
    return isinstance(id, str) and 0 < len(id) <= NAME_LENGTH and id.isascii() and id.isprintable()


def valid_name(name: object, *, option: str = "queue", where: str = "") -> str:
    """
    Return `name` if it can be the name of a queue or a connection on every backend.

    Args:
        name: A `str` (a `StrEnum` member too).
        option: What the name is for, for the error.
        where: Who chose it, for the error.

    Raises:
        InvalidOption: It is empty, too long, or has a character that some server gives a meaning.

    Example:
        >>> valid_name("emails")
        'emails'
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return str(name)
    raise InvalidOption(
        option=option,
        value=name,
        expected=f"1 to {NAME_LENGTH} letters, digits, '.', '_' or '-', the first a letter or digit",
        where=where,
    )


def seconds(value: Any, *, option: str, where: str = "") -> float:
    """
    Return a duration in seconds.

    Args:
        value: A number, or a `timedelta`.
        option: What the duration is for, for the error.
        where: Who chose it, for the error.

    Raises:
        InvalidOption: It is neither a number from 0 to `DURATION_LIMIT` nor such a `timedelta`.

    Example:
        >>> seconds(90, option="delay")
        90.0
    """
    # A timedelta, without importing datetime for those who give numbers.
    total = getattr(value, "total_seconds", None)
    plain: Any = total() if callable(total) else value
    # What no store can keep is refused here, where it was said, not when it is to be stored.
    number = isinstance(plain, int | float) and not isinstance(plain, bool)
    if number and 0 <= plain <= DURATION_LIMIT:
        return float(plain)
    raise InvalidOption(
        option=option,
        value=value,
        expected=f"0 to {DURATION_LIMIT:.0f} seconds, or a timedelta of as much",
        where=where,
    )


def _keyed(value: Any) -> str:
    if isinstance(value, str) and 0 < len(value) <= LIMIT_KEY_LENGTH and value.isprintable():
        return value
    expected = f"a text of 1 to {LIMIT_KEY_LENGTH} printable characters"
    raise InvalidOption(option="unique", value=value, expected=expected)


def _span(value: float) -> float:
    return seconds(value, option="unique")


@frozen(kw_only=True)
class UniqueKey:
    """
    No two jobs with one key are stored in a queue, failed ones aside: the second stands back, or takes the place.

    The key is free as soon as the job that has it is done, has failed or was cancelled, or lets go of it.

    Raises:
        InvalidOption: The key is none that every store takes, or a duration is none.
    """

    #: What may be there once.
    key: str = field(converter=_keyed)
    #: Seconds from the push for which it is kept from others at most; 0 is no limit.
    life: float = field(default=0.0, converter=_span)
    #: It takes the place of one that waits; one that runs keeps it from nothing.
    replaces: bool = False
    #: Of one that takes places: seconds from the first that had the key until it is due at the latest; 0 is
    #: no limit.
    latest: float = field(default=0.0, converter=_span)


@frozen(kw_only=True)
class Member:
    """The place of an envelope in a plan: in a chain, in a batch, or in one that is part of the other."""

    #: The id of the batch that counts it; empty if none does.
    batch: str = ""
    #: Queue and id of the one whose turn comes when it is done; None if nobody's does.
    next: tuple[str, str] | None = None
    #: Queue and id of the one whose turn comes when it fails, and which goes when the chain is done.
    catch: tuple[str, str] | None = None
    #: Of one that is pushed: it waits for its turn, however much time passes.
    held: bool = False


@frozen(kw_only=True)
class Envelope:
    """
    The stored form of a job: bytes for the store, and the little that the store must know.

    Pushing two envelopes with the same `id` stores one.
    """

    #: The job's id, the same in every attempt.
    id: str
    #: The queue it lies in.
    queue: str
    #: The job as one JSON document (`eventbus.queue.codec.document`); opaque to backends.
    body: bytes = field(repr=False)
    #: Seconds from the push until it may be claimed.
    delay: float = 0.0
    #: What no other in its queue may have; told to a store, and not handed out with a claim.
    unique: UniqueKey | None = field(default=None, eq=False)
    #: Its place in a plan; None for what stands alone.
    member: Member | None = field(default=None, eq=False)
