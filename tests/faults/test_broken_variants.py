"""The tests bite: what the queue must never do is done on purpose, and each time it is noticed."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fleet

pytestmark = pytest.mark.timeout(120)


def test_a_worker_that_acknowledges_first_loses_jobs(make_arena, results):
    """F1: by the kill of a worker that is in the middle of one."""
    arena = make_arena(lease=1.0, broken="ack_first")
    arena.produce("good", 10, "pause 0.05")
    fleet = Fleet(arena, 1)

    fleet.kill_one_at_work()
    fleet.drain()
    arena.await_fact(lambda: not arena.running(), said="what was taken has been run")
    fleet.stop()

    verdict = arena.judge()
    results.add("broken: ack before the run", arena, verdict)
    assert verdict.lost != ()
    assert set(verdict.complaints) == {"lost"}


def test_a_worker_that_looks_at_no_token_is_not_refused(make_arena, results):
    """F5: by the absence of the line in which it would be."""
    arena = make_arena(lease=0.5, broken="any_token")
    arena.produce("job", 1, "gate")
    workers = [arena.worker(), arena.worker()]
    arena.await_entry("start", job="job0")
    paused = next(one for one in workers if one.name == arena.running_where("job0"))
    [other] = [one for one in workers if one is not paused]

    with arena.paused(paused):
        arena.await_entry("start", job="job0", times=2)
    (arena.folder / "job0.0.open").touch()
    # It is told that all is well, and so the other finds its job gone, or does not even know.
    arena.await_fact(lambda: arena.waiting() == 0, said="it settles the job of another")
    still_runs = arena.running()
    (arena.folder / "job0.1.open").touch()
    arena.await_entry("end", job="job0", times=2)

    results.add("broken: no look at the token", arena)
    assert still_runs == {other.name: "job0"}
    assert arena.refusals(paused) == []


def test_a_worker_that_counts_no_losses_runs_a_deadly_job_for_ever(make_arena, results):
    """F9"""
    arena = make_arena(lease=0.2, broken="losses_not_counted")
    arena.produce("deadly", 1, "end_process exit")
    fleet = Fleet(arena, 1)

    arena.await_fact(
        lambda: arena.count("start") > 4 or not arena.waiting(), said="it has had its four starts",
        meanwhile=fleet.tend,
    )  # fmt: skip

    verdict = arena.judge()
    results.add("broken: losses not counted", arena, verdict)
    assert verdict.overstarted == ("deadly0",)


def test_a_worker_that_deletes_before_it_decodes_loses_what_it_cannot_read(make_arena, results):
    """F34: bytes that are no document end among the failed jobs, not nowhere."""
    arena = make_arena(broken="delete_then_decode")

    verdict = work_off_what_cannot_be_read(arena)

    results.add("broken: delete before decode", arena, verdict)
    assert verdict.lost == ("unreadable",)


def test_what_cannot_be_read_is_not_lost(make_arena):
    """F34: the same with a worker that is not broken."""
    verdict = work_off_what_cannot_be_read(make_arena())

    assert verdict.complaints == {}
    assert verdict.failed == ("unreadable",)


def work_off_what_cannot_be_read(arena):
    arena.push_bytes("unreadable", b'{"v": 1, "kind": ')
    arena.produce("good", 2, "pause 0")
    worker = arena.worker("--stop-when-empty")
    assert worker.await_exit() == 0, worker.output
    return arena.judge()


def test_a_worker_that_renews_no_lease_runs_a_long_job_twice(make_arena, results):
    """F6"""
    arena = make_arena(lease=0.3, broken="never_renewed")
    arena.produce("slow", 1, "gate")
    fleet = Fleet(arena, 2)

    arena.await_entry("start", job="slow0", times=2)  # nobody died, and nobody was paused
    for losses in range(4):
        (arena.folder / f"slow0.{losses}.open").touch()
    fleet.drain()
    fleet.stop()

    verdict = arena.judge()
    results.add("broken: lease never renewed", arena, verdict)
    assert verdict.extra > 0
    assert set(verdict.unexplained) == {"slow0"}
