"""Many processes on one store, and no fault: every job once, and nobody is told that it is locked."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fleet

pytestmark = pytest.mark.timeout(3600)

READER = """
import itertools, os, signal
from faults.application import bus
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
for number in itertools.count():
    bus.failed.all()
    bus.connections.port().size("default")
    if told:
        break
print(number, "looks")
"""


def test_eight_processes_on_one_store_claim_each_job_once(make_arena, store, results, full):
    """F13 T8: four workers, three producers and one that reads all the while."""
    arena = make_arena(store=store, lease=20.0)
    jobs = 3_334 if full else 60
    fleet = Fleet(arena, 4, "--quiet", FAULTS_CLAIMS="1")
    reader = arena.spawn("reader", "-c", READER)
    producers = [arena.producer(f"p{number}-", jobs, "pause 0.002") for number in range(3)]

    for producer in producers:
        assert producer.await_exit(1200) == 0, producer.output
    fleet.drain(1200)
    reader.tell(15)
    assert reader.await_exit() == 0, reader.output
    assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    times = {"dispatch": arena.dispatch_times(), "claim": arena.claim_times()}
    results.add("8 processes, one store", arena, verdict, **times)
    assert verdict.complaints == {}
    assert (verdict.stored, verdict.starts) == (3 * jobs, 3 * jobs)
    assert (verdict.extra, verdict.duplicates, verdict.failed, fleet.codes) == (0, (), (), [])
    assert not any("WARNING" in process.output for process in arena.processes)


def test_without_a_fault_every_job_runs_once(make_arena, store, results, full):
    """T7"""
    arena = make_arena(store=store, lease=20.0)
    jobs = 100_000 if full else 300
    producer = arena.producer("good", jobs, "pause 0.001", "--payload", "100")
    fleet = Fleet(arena, 4, "--quiet")

    assert producer.await_exit(3000) == 0, producer.output
    fleet.drain(3000)
    assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add("no fault", arena, verdict, dispatch=arena.dispatch_times())
    assert verdict.complaints == {}
    assert (verdict.stored, verdict.starts, verdict.extra) == (jobs, jobs, 0)
