"""Workers of one `--processes` are killed, end themselves, hang and lose their watcher: nobody waits for a lease."""

from __future__ import annotations

from functools import partial

import pytest

from tests.faults.conftest import WAL
from tests.faults.pools import DEADLY, Pool, failures, kill_watchers, produce_deadly, stop_often
from tests.forms import FULL

pytestmark = pytest.mark.timeout(900)

#: No test would ever see its end.
LEASE = 3_600.0
#: How many threads on which store: all of them where the full bars are asked for, else each once.
with_threads = pytest.mark.parametrize(
    "threads, either_store",
    [
        pytest.param(threads, *store.values, marks=store.marks)
        for threads in (1, 4)
        for store in (pytest.param("PERSIST"), WAL, pytest.param("redis"))
        if FULL or (threads, *store.values) in {(1, "PERSIST"), (4, "redis")}
    ],
    indirect=["either_store"],
)


@with_threads
def test_jobs_survive_the_kills_of_their_processes(
    make_arena, either_store, results, full, threads
):
    """F1: each kill in the middle of a job; it runs again although its lease has an hour to go."""
    arena = make_arena(store=either_store, lease=LEASE)
    kills = 65 if full else 4
    producer = arena.producer("good", 0, "pause 0.02", "--backlog", "50")
    pool = Pool(arena, 2, "--threads", str(threads), seed=1)

    pool.kill_often(kills)
    pool.finish(producer)

    # With others beside it a job that was killed is run alone, and no loss is on its account.
    verdict = arena.judge(losses=3 if threads == 1 else kills)
    results.add(f"processes, {threads} threads: kills, 20 ms jobs", arena, verdict, kills=kills)
    assert verdict.complaints == {}
    assert threads == 1 or verdict.failed == ()
    assert kills <= verdict.deaths <= kills * threads
    # No more than ran as somebody died; each of them for a reason that the judge has seen.
    assert verdict.extra <= kills * threads
    assert threads > 1 or verdict.extra <= verdict.at_risk <= verdict.deaths


@with_threads
def test_a_job_that_ends_its_process_fails_and_no_other_starts_again(
    make_arena, either_store, results, full, threads
):
    """F9: after its tries with the reason, or where it looks like a kill after three losses."""
    arena = make_arena(store=either_store, lease=LEASE)
    times, good = (20, 1_000) if full else (1, 60)
    produce_deadly(arena, "pause 0.002", good=good, times=times)
    pool = Pool(arena, 2, "--threads", str(threads))

    pool.drain(120)
    assert pool.stop() == 0

    # Of several that ran, none is blamed: a death may have been any of these, and is on nobody's account.
    others = 0 if threads == 1 else 3 * len(DEADLY) * times
    verdict = arena.judge(losses=3 + others)
    results.add(
        f"processes, {threads} threads: jobs that end their process",
        arena,
        verdict,
        ways=len(DEADLY),
        of_each=times,
        good_rate=arena.rate("good"),
    )
    assert verdict.complaints == {}
    spent = {way: (0, 3) if way == "kill" else (1, 0) for way in DEADLY}
    assert failures(arena, DEADLY) == {(way, *spent[way], True): times for way in DEADLY}
    # Whoever was done before a death is not run again, and who had not begun begins once. Among threads
    # one may have come to its end in the very instant before it could say so.
    twice = len(verdict.duplicates)
    assert arena.count("end") - twice == good // len(DEADLY) * len(DEADLY)
    assert twice <= (verdict.deaths if threads > 1 else 0)
    assert (
        verdict.extra <= verdict.deaths - len(DEADLY) * times if threads > 1 else verdict.extra == 0
    )


def test_a_job_that_lets_no_thread_run_is_ended_from_outside(make_arena, store, results, full):
    """F3 F9: exactly the job that outran its timeout is settled, and its process is replaced."""
    arena = make_arena(store=store, lease=LEASE)
    times = 5 if full else 1
    arena.produce_all(
        [
            ("good", 20, "pause 0.002"),
            ("stuck-", times, "count_up 1000000"),
            ("more", 20, "pause 0.002"),
        ]
    )
    pool = Pool(arena, 2, "--timeout", "1")

    pool.drain(300)
    assert pool.stop() == 0

    verdict = arena.judge()
    results.add("processes: jobs that let no thread run", arena, verdict)
    assert verdict.complaints == {}
    assert failures(arena, {"stuck": "outran its timeout"}) == {("stuck", 1, 0, True): times}
    # Of the extra ones, each came to no end because it was killed.
    assert (arena.count("start"), arena.count("end"), verdict.extra) == (40 + times, 40, times)


def test_no_process_outlives_its_watcher_and_none_of_its_jobs_is_doubled(
    make_arena, either_store, results, full
):
    """F1 F4: they end as by SIGTERM, and whoever comes next goes on."""
    arena = make_arena(store=either_store, lease=LEASE)
    kills = 20 if full else 2
    producer = arena.producer("good", 0, "pause 0.005", "--backlog", "200")

    kill_watchers(arena, partial(Pool, arena, 2), kills)
    Pool(arena, 2).finish(producer)

    verdict = arena.judge()
    results.add("processes: the watcher killed", arena, verdict, kills=kills)
    assert (verdict.complaints, verdict.extra, verdict.failed) == ({}, 0, ())


@with_threads
def test_a_stop_at_any_moment_loses_nothing_and_doubles_nothing(
    make_arena, either_store, results, full, threads
):
    """F4 T9: of two processes at once."""
    arena = make_arena(store=either_store, lease=LEASE)
    stops = 100 if full else 3
    producer = arena.producer("good", 0, "pause 0.005", "--backlog", "200")

    pool = stop_often(arena, partial(Pool, arena, 2, "--threads", str(threads)), stops, seed=1)
    pool.finish(producer)

    verdict = arena.judge()
    results.add(f"processes, {threads} threads: stop under load", arena, verdict, stops=stops)
    assert (verdict.complaints, verdict.extra, verdict.failed) == ({}, 0, ())
