"""A bus whose default connection lies in memory, in SQLite, and in Redis, on a clock that a test moves."""

from __future__ import annotations

import pytest

from eventbus import EventBus
from eventbus.backends.redis import RedisBackend


@pytest.fixture
def client(redis_server):
    """A Redis client of the application's own."""
    from redis import Redis

    # RESP 2, as the URLs have it: the bell of the Redis backend does not hear RESP 3.
    with Redis.from_url(redis_server.url, protocol=2) as made:
        yield made


@pytest.fixture(params=["memory", "sqlite", "redis"])
def bus(request, tmp_path, clock):
    """The Redis backend is lent: made by hand, over a client of the application's own."""
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        server.ask("FLUSHALL")
        client = request.getfixturevalue("client")
        store = RedisBackend(client, clock=clock)
    else:
        store = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/queue.db"}[request.param]
    with EventBus(connections={"default": store}, clock=clock) as made:
        yield made


@pytest.fixture
def port(bus):
    return bus.connections.port()


@pytest.fixture
def emails(bus):
    return bus.queue("emails")
