"""Ids, names and durations: what may be one, wherever it was said."""

from __future__ import annotations

import os
import re
import time
from typing import Any, Final

from eventbus.defaults import DURATION_LIMIT, NAME_LENGTH
from eventbus.errors import InvalidOption

__all__ = ["new_id", "seconds", "valid_id", "valid_name"]

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
