"""A clock that moves when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final

from eventbus.errors import InvalidOption

__all__ = ["ManualClock"]

_START: Final = datetime(2025, 1, 1, tzinfo=UTC)


class ManualClock:
    """
    A clock that stands still until it is told to advance.

    Args:
        start: Where it stands at first, aware.

    Defaults:
        start = the first instant of 2025, so that a failing test reads the same every day.

    Example:
        >>> clock = ManualClock()
        >>> clock.advance(90)
        >>> clock.now().isoformat()
        '2025-01-01T00:01:30+00:00'
    """

    def __init__(self, start: datetime | None = None) -> None:
        start = _START if start is None else start
        if start.tzinfo is None:
            raise InvalidOption(
                option="start", value=start, expected="an aware datetime", where="ManualClock"
            )
        self._now = start.astimezone(UTC)
        self._lock = Lock()

    def now(self) -> datetime:
        """Return where the clock stands, aware and in UTC."""
        return self._now

    def advance(self, by: float | timedelta) -> None:
        """
        Move the clock by `by`, seconds or a `timedelta`; a negative one moves it back.

        Servers' clocks do step back, so a test may want to see it.
        """
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        with self._lock:
            self._now += step
