"""A worker sleeps past its lease, as a paused machine makes it, and comes back to a job that is another's."""

from __future__ import annotations

import signal
from functools import partial

import pytest

from tests.faults.harness import Fleet

pytestmark = pytest.mark.timeout(900)


def test_what_a_paused_worker_says_of_a_job_that_was_taken_over_is_refused(
    make_arena, either_store, results, full
):
    """F5 T6: while the other still runs it, and when the other is done with it already."""
    arena = make_arena(store=either_store, lease=2.0 if full else 1.0)
    cycles = 50 if full else 2
    workers = [arena.worker(), arena.worker()]
    refused = 0

    for cycle in range(cycles):
        job = f"job{cycle}-0"
        arena.produce(f"job{cycle}-", 1, "gate")
        arena.await_entry("start", job=job)
        paused = next(one for one in workers if one.name == arena.running_where(job))
        before = len(arena.refusals(paused))
        gates = [arena.folder / f"{job}.{losses}.open" for losses in range(2)]
        with arena.paused(paused):
            arena.await_entry("start", job=job, times=2)
            if cycle % 2:
                gates[1].touch()
                arena.await_entry("end", job=job)
            gates[0].touch()
        arena.await_entry("end", job=job, worker=paused.name)
        arena.await_fact(
            lambda paused=paused, before=before: len(arena.refusals(paused)) > before,
            said=f"{paused.name} is told that its lease was lost",
        )
        refused += 1
        gates[1].touch()
        arena.await_entry("end", job=job, times=2)
    arena.await_fact(lambda: arena.waiting() == 0, said="nothing is left")
    for worker in workers:
        worker.tell(signal.SIGTERM)
        assert worker.await_exit() == 0

    verdict = arena.judge()
    results.add("pause past the lease", arena, verdict, cycles=cycles, refused=refused)
    assert verdict.complaints == {}
    assert verdict.failed == ()
    assert refused == cycles
    assert len(verdict.duplicates) == cycles  # it did run twice: at least once is the promise


def taken_over(arena, job, since):
    """Tell whether `job` was started again since; or had ended in the very moment of the pause."""
    return job is None or any(
        entry.what in ("start", "end") and entry.job == job for entry in arena.entries[since:]
    )


def has_moved(arena, worker, job):
    """Tell whether a worker is no longer in the run of `job`."""
    return job is None or arena.running().get(worker) != job


def test_jobs_survive_pauses_of_their_workers_at_any_moment(make_arena, store, results, full):
    """F5: among a stream of jobs, claimed in whatever numbers."""
    arena = make_arena(store=store, lease=1.5)
    pauses = 20 if full else 1
    producer = arena.producer("good", 0, "pause 0.01", "--backlog", "100", "--tries", "1")
    fleet = Fleet(arena, 2, seed=1)

    for _ in range(pauses):
        arena.await_fact(lambda: len(arena.running()) == 2, said="both work")
        paused = fleet.random.choice(fleet.workers)
        with arena.paused(paused):
            held, seen = arena.running().get(paused.name), len(arena.entries)
            arena.await_fact(
                partial(taken_over, arena, held, seen), said="what it held is taken over"
            )
        # Stopped again before it has moved, it would still be in a run that somebody else has ended.
        arena.await_fact(
            partial(has_moved, arena, paused.name, held), said="who was paused goes on"
        )
    producer.tell(signal.SIGTERM)
    assert producer.await_exit() == 0
    fleet.drain()
    assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add("pause under load", arena, verdict, pauses=pauses)
    assert verdict.complaints == {}
    assert verdict.failed == ()
