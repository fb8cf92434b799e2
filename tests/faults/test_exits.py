"""A job may take its worker with it; then a new one comes, and in the end the job is failed."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fleet
from tests.faults.pools import DEADLY, produce_deadly
from tests.forms import FULL

pytestmark = pytest.mark.timeout(1800)

#: What the good jobs do.
PAUSE = "pause 0.002"


def test_a_job_that_ends_its_worker_fails_and_its_neighbours_do_not(
    make_arena, store, results, full
):
    """F9: in one process, whatever ends it ends the worker; a supervisor starts the next."""
    arena = make_arena(store=store, lease=1.0 if full else 0.4)
    times = 20 if full else 1
    good = 1_000 if full else 60
    produce_deadly(arena, PAUSE, good=good, times=times)
    fleet = Fleet(arena, 2)

    fleet.drain(1500)
    assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    failed = {job.envelope.id: job for job in arena.bus.connections.port().each_failed()}
    results.add(
        "jobs that end their worker",
        arena,
        verdict,
        ways=len(DEADLY),
        of_each=times,
        good_rate=arena.rate("good"),
    )
    assert verdict.complaints == {}
    assert sorted(verdict.failed) == sorted(f"{way}-{n}" for way in DEADLY for n in range(times))
    assert {(job.attempts, job.losses) for job in failed.values()} == {(0, 3)}
    assert all("JobLost" in job.error for job in failed.values())
    assert arena.count("end") >= good
    assert verdict.hits == 0  # nobody but the jobs themselves
    # A worker that ends takes with it what it has not acknowledged yet.
    assert verdict.extra <= verdict.at_risk


@pytest.mark.skipif(not FULL, reason="a figure to set the other beside; nothing is asserted of it")
def test_the_same_jobs_without_the_bad_ones(make_arena, store, results):
    """F9: what the good ones among jobs that end their worker are slowed down by, recorded."""
    arena = make_arena(store=store, lease=1.0)
    arena.produce("good", 1_000, PAUSE)
    fleet = Fleet(arena, 2)

    fleet.drain(1500)
    assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add("the same jobs, none bad", arena, verdict, good_rate=arena.rate("good"))
    assert (verdict.complaints, verdict.extra) == ({}, 0)


def test_a_job_that_wants_more_memory_than_there_is_fails_alone(make_arena, results, full):
    """F9: with a limit on the process, not the machine's."""
    arena = make_arena(lease=1.0)
    times = 20 if full else 2
    arena.produce_all([("greedy", times, "exhaust 64"), ("good", 20 * times, "pause 0.002")])
    fleet = Fleet(arena, 1)

    fleet.drain(300)
    assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add("jobs that exhaust memory", arena, verdict)
    assert verdict.complaints == {}
    assert sorted(verdict.failed) == sorted(f"greedy{n}" for n in range(times))
    assert fleet.codes == []
