"""A store that is not sound is told, whichever of its keys is wrong."""

from __future__ import annotations

from contextlib import closing

import pytest

from eventbus.backends.port import Port
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_clients import linked
from eventbus.queue.envelope import Envelope
from tests.faults.stores import consistency

KEY = "eventbus:{jobs}:"


@pytest.fixture
def server(redis_server):
    """One with a job in each state: ready, parked, leased, lost once, and failed."""
    redis_server.ask("FLUSHALL")
    with closing(Port(RedisBackend(linked(redis_server.url)), name="default")) as port:
        port.push(
            [
                Envelope(id=name, queue="jobs", body=b"{}")
                for name in ("failed", "parked", "lost", "leased", "ready")
            ]
        )
        port.bury(port.claim(["jobs"])[0], error="boom")
        port.release(port.claim(["jobs"])[0], delay=60, parked="unknown")
        assert port.claim(["jobs"], lease=0.001)[0].envelope.id == "lost"
        assert port.claim(["jobs"])[0].envelope.id == "leased"
    return redis_server


def test_what_verbs_leave_is_consistent(server):
    assert consistency(server) == "ok"


@pytest.mark.parametrize(
    "command, said",
    [
        (("ZREM", KEY + "order", "ready"), "ready is in line and not in order"),
        (("ZADD", KEY + "order", 99, "ready"), "ready is in order and not in line"),
        (("ZREMRANGEBYRANK", KEY + "line", 0, 0), "is in order and not in line"),
        (("HDEL", KEY + "bodies", "ready"), "ready waits and has no body"),
        (("HDEL", KEY + "bodies", "failed"), "failed has failed and has no body"),
        (
            ("HSET", KEY + "bodies", "orphan", "1 0.0 {}"),
            "6 bodies of 4 that wait and 1 that failed",
        ),
        (("HSET", KEY + "leases", "gone", "0 1 a"), "gone is in leases and does not wait"),
        (("HSET", KEY + "counts", "gone", "1 0 0 0 0"), "gone is in counts and does not wait"),
        (("HSET", KEY + "parked", "gone", "why"), "gone is in parked and does not wait"),
        (("HSET", KEY + "failures", "ready", "1 0 0 0 1 x"), "ready waits and has failed"),
        (("HDEL", KEY + "failures", "failed"), "failed is in failed and not in failures"),
        (("DEL", KEY + "failed"), "not all of failures are in failed"),
        (("SET", "eventbus:{other}:numbers", 1), "is of a queue that nobody knows"),
    ],
)
def test_what_contradicts_itself_is_told(server, command, said):
    server.ask(*command)

    assert said in consistency(server)
