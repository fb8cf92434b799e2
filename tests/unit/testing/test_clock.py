"""A clock that moves when told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from eventbus.errors import InvalidOption
from eventbus.testing.clock import ManualClock


def test_it_stands_still():
    clock = ManualClock()

    assert clock.now() == clock.now() == datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("by, seconds", [(1.5, 1.5), (timedelta(minutes=1), 60), (-1, -1)])
def test_it_moves_by_seconds_or_a_timedelta(by, seconds):
    clock = ManualClock()
    before = clock.now()

    clock.advance(by)

    assert (clock.now() - before).total_seconds() == seconds


def test_it_starts_where_told_and_speaks_utc():
    start = datetime(2030, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    assert ManualClock(start).now().isoformat() == "2030-05-01T10:00:00+00:00"


def test_a_naive_start_is_refused():
    with pytest.raises(InvalidOption, match="aware"):
        ManualClock(datetime(2030, 5, 1))  # noqa: DTZ001 - what is refused
