"""A bus whose jobs lie in memory."""

from __future__ import annotations

import pytest

from eventbus import EventBus
from eventbus.testing.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def bus(clock):
    with EventBus(connections={"default": "memory://?queue=jobs"}, clock=clock) as bus:
        yield bus
