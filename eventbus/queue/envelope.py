"""What is stored: one envelope per job. A backend never looks inside its body."""

from __future__ import annotations

import os
import re
from typing import Final

from attrs import field, frozen

from eventbus.defaults import NAME_LENGTH
from eventbus.errors import InvalidOption

__all__ = ["Envelope", "new_id", "valid_name"]

_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_LENGTH - 1}}}")


def new_id() -> str:
    """
    Return a new job id: 32 hexadecimal digits, never handed out twice.

    Example:
        >>> len(new_id())
        32
    """
    return os.urandom(16).hex()


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
