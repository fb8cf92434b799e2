"""The server that has the jobs is killed, and another takes its place; the workers stay the same ones."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager

import pytest

from tests.faults.harness import Fleet
from tests.faults.stores import Clustered, Replicated
from tests.faults.test_redis_server import resumed

pytestmark = pytest.mark.timeout(1800)


class UnderLoad:
    """Two workers and a producer on servers of which one after the other is killed."""

    def __init__(self, arena):
        self.arena = arena
        #: How long it was, after each kill, until the next job came to its end.
        self.took = []

    @contextmanager
    def working(self):
        arena = self.arena
        producer = arena.producer("good", 0, "pause 0.005", "--rate", "100", "--backlog", "200")
        fleet = Fleet(arena, 2)
        arena.await_fact(lambda: len(arena.has_worked()) == 2, said="both work")
        yield
        producer.tell(signal.SIGTERM)
        assert producer.await_exit() == 0, producer.output
        fleet.drain(300)
        assert set(fleet.stop()) <= {0}
        assert fleet.codes == []  # nobody had to be started anew

    def without(self, server):
        """Kill a server; return once work goes on without it."""
        arena = self.arena
        server.kill()
        self.took.append(resumed(arena, time.monotonic()))
        done = arena.count("end")
        arena.await_entry("end", times=done + 20)

    def judge(self, results, scenario):
        verdict = self.arena.judge()
        figures = {"kills": len(self.took), "slowest": round(max(self.took), 2), "bar": 5.0}
        results.add(scenario, self.arena, verdict, **figures)
        # What the other had not got yet is gone: of jobs, and of acks, so that some run again. How many
        # is recorded; none is promised.
        assert {*verdict.complaints} <= {"lost", "unexplained"}


def killed(servers):
    """Return the process that is dead."""
    [one] = [one for one in servers.processes if not one.is_alive]
    return one


def test_work_goes_on_with_the_master_that_sentinels_choose(make_arena, results, full):
    """F21, I7: and with the old one as its replica, round and round."""
    arena = make_arena(store=Replicated("none"), lease=60.0)
    servers, load = arena.store.servers, UnderLoad(arena)
    with load.working():
        load.without(servers.current())
        for _ in range(4 if full else 0):
            killed(servers).start()
            servers.await_agreement()
            load.without(servers.current())

    load.judge(results, "Sentinel failover under load")


def test_work_goes_on_without_a_node_of_the_cluster(make_arena, results, full):
    """F21, I7: its replica takes over its slots; and it comes back as a replica."""
    arena = make_arena(store=Clustered("none"), lease=60.0)
    cluster, load = arena.store.cluster, UnderLoad(arena)
    with load.working():
        load.without(cluster.owner("{default}"))
        for _ in range(4 if full else 0):
            killed(cluster).start()
            cluster.await_wholeness()
            load.without(cluster.owner("{default}"))

    load.judge(results, "cluster node killed under load")
