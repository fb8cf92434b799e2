"""A bus whose jobs lie in memory."""

from __future__ import annotations

import pytest

from eventbus import EventBus
from eventbus.testing.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store_url(request, tmp_path):
    """Each kind of store, empty."""
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        server.ask("FLUSHALL")
        return server.url
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def bus(clock):
    with EventBus(connections={"default": "memory://?queue=jobs"}, clock=clock) as bus:
        yield bus
