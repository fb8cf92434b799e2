"""Instants and durations as stores keep them: whole microseconds, since 1970 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["COUNTED", "HELD", "LATEST", "instant", "micros", "span"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

#: The last instant that there is.
LATEST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

#: When the held members of plans are due, as stores keep it, ...
HELD: Final = LATEST
#: ... and those that their batch has counted, since what they were to follow has failed: they come after it still.
COUNTED: Final = LATEST - 1


def micros(when: datetime) -> int:
    """
    Return an instant as stores keep it.

    Example:
        >>> micros(datetime(1970, 1, 2, tzinfo=UTC))
        86400000000
    """
    return (when - _EPOCH) // _MICROSECOND


def instant(kept: int) -> datetime:
    """
    Return the instant that a store has kept, 0 to `LATEST`.

    Example:
        >>> instant(86_400_000_000).day
        2
    """
    return _EPOCH + timedelta(0, 0, kept)  # by place: half as long as by name


def span(seconds: float) -> int:
    """
    Return a duration as stores keep it.

    Example:
        >>> span(1.5)
        1500000
    """
    return round(seconds * 1_000_000)
