"""Connections to the nodes of a real Redis cluster: slots that move, nodes that die, who is no node."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from eventbus.backends.base import Sizes
from eventbus.errors import BackendUnavailable, StoredUnknown
from tests.servers import (
    await_that,
    cluster,
    free_port,
    server,
)
from tests.unit.backends.redis_life import is_copied, job, opened


@pytest.mark.timeout(120)  # servers that have to agree
def test_a_node_that_died_is_replaced_by_its_replica(tmp_path):
    """F21."""
    with (
        cluster(tmp_path, replicas=1) as group,
        opened(f"redis+cluster://127.0.0.1:{group.ports[0]}?timeout=1") as backend,
    ):
        backend.push([job(queue=f"queue-{number}") for number in range(20)])
        asyncio.run(backend.apush([job(queue="queue-1")]))
        owner = group.owner("eventbus:{queue-1}:line")
        await_that(lambda: is_copied(owner), said="the replica has it")

        owner.kill()
        with pytest.raises((BackendUnavailable, StoredUnknown)):
            backend.push([job(queue="queue-1")])

        def pushed():
            with suppress(BackendUnavailable, StoredUnknown):
                backend.push([job("again", queue="queue-1")])
                return True
            return False

        await_that(pushed, said="the replica is found")
        assert backend.size("queue-1").ready >= 3
        asyncio.run(backend.apush([job(queue="queue-1")]))


@pytest.fixture
def moved(redis_cluster):
    """A cluster, and the nodes between which the slot of `jobs` moves, to stay there."""
    redis_cluster.flush()
    source = redis_cluster.owner("{jobs}")
    target = next(node for node in redis_cluster.nodes if node is not source)
    slot = source.ask("CLUSTER", "KEYSLOT", "{jobs}")
    names = {node: node.ask("CLUSTER", "MYID") for node in (source, target)}
    return redis_cluster, source, target, slot, names


def begin_move(source, target, slot, names):
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])


def move_keys(source, target, slot, count=100):
    keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, count)
    source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)


def end_move(group, target, slot, names):
    for node in (target, *(node for node in group.nodes if node is not target)):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", names[target])


@pytest.mark.parametrize("waits", [False, True])
def test_a_slot_that_moves_is_followed(moved, waits):
    """F21: ASK while it moves, MOVED once it has."""
    group, source, target, slot, names = moved

    with opened(f"redis+cluster://127.0.0.1:{source.port}") as backend:

        def push(name):
            asyncio.run(backend.apush([job(name)])) if waits else backend.push([job(name)])

        push("a")
        begin_move(source, target, slot, names)
        move_keys(source, target, slot)
        push("b")  # none of its keys is at the source any more: ASK
        end_move(group, target, slot, names)
        push("c")  # MOVED

        assert backend.size("jobs") == Sizes(ready=3)
        assert target.ask("ZCARD", "eventbus:{jobs}:line") == 3


def test_a_slot_of_which_half_has_moved_is_waited_for(moved):
    """F21: TRYAGAIN."""
    group, source, target, slot, names = moved
    with opened(f"redis+cluster://127.0.0.1:{source.port}") as backend:
        backend.push([job("a")])
        begin_move(source, target, slot, names)
        move_keys(source, target, slot, 1)

        with pytest.raises(BackendUnavailable, match="being moved"):
            backend.push([job("b")])

        def finish():
            move_keys(source, target, slot)
            end_move(group, target, slot, names)

        finishing = threading.Timer(0.1, finish)
        finishing.start()
        backend.push([job("b")])
        finishing.join()
        assert backend.size("jobs") == Sizes(ready=2)


def test_a_cluster_in_which_nobody_has_the_slot(tmp_path):
    own = ("--cluster-enabled", "yes", "--cluster-port", free_port())
    with (
        server(tmp_path, *own, "--cluster-require-full-coverage", "no") as started,
        opened(f"redis+cluster://127.0.0.1:{started.port}") as backend,
    ):
        with pytest.raises(BackendUnavailable, match="owner of any slot"):
            backend.push([job()])
        started.ask("CLUSTER", "ADDSLOTSRANGE", 0, 1)
        with pytest.raises(BackendUnavailable, match="no node has the slot"):
            backend.push([job()])


def test_who_is_no_node_of_a_cluster_cannot_be_asked_as_one(redis_server):
    with (
        opened(f"redis+cluster://127.0.0.1:{redis_server.port}") as backend,
        pytest.raises(BackendUnavailable, match="cluster support disabled"),
    ):
        backend.push([job()])


def test_a_node_of_a_cluster_that_is_asked_alone_says_which_url_it_wants(redis_cluster):
    errors = []
    for port in redis_cluster.ports:
        with opened(f"redis://127.0.0.1:{port}") as backend:
            try:
                backend.push([job(queue="jobs"), job(queue="more")])
            except Exception as error:
                errors.append(str(error))

    assert len(errors) == 3
    assert all("redis+cluster://" in error for error in errors)
