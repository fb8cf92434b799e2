"""Workers of `--concurrency`, many jobs at once on a loop: killed, ended by a job, hanging, without their watcher."""

from __future__ import annotations

import math
from functools import partial

import pytest

from eventbus.worker import ExitCode
from tests.faults.harness import Fleet, pause
from tests.faults.pools import DEADLY, Pool, failures, kill_watchers, produce_deadly, stop_often

pytestmark = pytest.mark.timeout(1800)

#: No test would ever see its end.
LEASE = 3_600.0
#: How many jobs run at once on a loop.
AT_ONCE = 4
#: How a producer dispatches what is awaited, and a worker finds who awaits it.
AWAITED = ("--app", "faults.application_async", "--kind", "Awaited")
OPTIONS = ("--concurrency", str(AT_ONCE))
APP = {"app": "faults.application_async:bus"}
NAME = f"concurrency {AT_ONCE}"


def judged(arena, **options):
    """Judge an arena; the lease thread writes acks when it can, and nothing that jobs do says when."""
    return arena.judge(window=math.inf, **options)


def test_jobs_survive_the_kills_of_their_processes(make_arena, either_store, results, full):
    """F1: each kill in the middle of several jobs; they run again although their leases have an hour to go."""
    arena = make_arena(store=either_store, lease=LEASE)
    kills = 65 if full else 4
    producer = arena.producer("good", 0, "wait 0.02", "--backlog", "50", *AWAITED)
    pool = Pool(arena, 2, *OPTIONS, seed=1, **APP)

    pool.kill_often(kills)
    pool.finish(producer)

    # Those that were killed are run alone, and no loss is on their account.
    verdict = judged(arena, losses=kills)
    results.add(f"{NAME}, 2 processes: kills, 20 ms jobs", arena, verdict, kills=kills)
    assert (verdict.complaints, verdict.failed) == ({}, ())
    assert len(pool.dead) == kills
    # No more than ran as somebody died; each of them for a reason that the judge has seen.
    assert verdict.extra <= kills * AT_ONCE
    assert verdict.extra <= verdict.at_risk


def test_jobs_survive_the_kills_of_workers_that_nobody_watches(make_arena, store, results, full):
    """F1: all that ran comes back when its lease ends, each with a loss on its account."""
    arena = make_arena(store=store, lease=2.0 if full else 1.0)
    kills = 65 if full else 3
    producer = arena.producer("good", 0, "wait 0.02", "--backlog", "50", *AWAITED)
    fleet = Fleet(arena, 2, *OPTIONS, seed=1, FAULTS_EACH="1", **APP)

    for _ in range(kills):
        arena.await_fact(lambda: len(arena.running()) >= 2, said="several work")
        fleet.kill_one_at_work()
        pause(fleet.random.uniform(0.05, 0.2))
    fleet.finish(producer)

    verdict = judged(arena)
    results.add(f"{NAME}, 1 process: kills, 20 ms jobs", arena, verdict, kills=kills)
    assert verdict.complaints == {}
    assert verdict.extra <= verdict.at_risk
    # One that had bad luck three times is failed; it takes three kills to do that.
    assert len(verdict.failed) <= verdict.hits // 3


def test_a_job_that_ends_its_process_fails_and_all_others_are_done(
    make_arena, store, results, full
):
    """F9: after its tries with the reason, or where it looks like a kill after three losses."""
    arena = make_arena(store=store, lease=LEASE)
    times, good, tries = (20, 1_000, 2) if full else (1, 60, 1)
    produce_deadly(arena, "wait 0.002", *AWAITED, "--tries", str(tries), good=good, times=times)
    pool = Pool(arena, 2, *OPTIONS, **APP)

    pool.drain(1500)
    assert pool.stop() == 0

    # Of several that ran, none is blamed: a death may have been any of these, and is on nobody's account.
    verdict = judged(arena, tries=tries, losses=len(pool.dead))
    results.add(
        f"{NAME}, 2 processes: jobs that end their process",
        arena,
        verdict,
        ways=len(DEADLY),
        of_each=times,
        good_rate=arena.rate("good"),
    )
    assert verdict.complaints == {}
    spent = {way: (0, 3) if way == "kill" else (tries, 0) for way in DEADLY}
    assert failures(arena, DEADLY) == {(way, *spent[way], True): times for way in DEADLY}
    # Some may have come to their end in the very instant before they could say so.
    innocent = (AT_ONCE - 1) * len(pool.dead)
    assert arena.count("end") - good <= verdict.extra <= innocent


#: What jobs without end do, by what their names begin with, and what is said of each in the end.
ENDLESS = {
    "waiting": ("wait 600", "ListenerTimeout"),  # it is cancelled
    "blocking": ("pause 600", "ListenerTimeout"),  # it is interrupted where it is
    "swallowing": ("swallow", "ListenerTimeout"),  # its process ends around it
    "deaf": ("deafen", "ListenerTimeout"),  # the same
    "looping": ("count_up 1000000", "outran its timeout"),  # its process is killed from outside
}


def test_jobs_that_outrun_their_timeout_fail_and_all_others_are_done(
    make_arena, store, results, full
):
    """F3 F9 K7: whatever they do to the loop that they share with the others."""
    arena = make_arena(store=store, lease=LEASE)
    times, good = (5, 200) if full else (1, 20)
    jobs = []
    for kind, (does, _) in ENDLESS.items():
        jobs += [(f"good{kind}-", good, "wait 0.02"), (f"{kind}-", times, does)]
    arena.produce_all(jobs, *AWAITED)
    pool = Pool(arena, 2, *OPTIONS, "--timeout", "1", **APP)

    pool.drain(1500)
    # The last of them has failed before its process has ended.
    assert pool.stop() in (ExitCode.DONE, ExitCode.STUCK)

    # Whoever ran beside one around which a process ended went back unspent, and began again.
    verdict = judged(arena, tries=1 + len(pool.dead), losses=0)
    results.add(
        f"{NAME}, 2 processes: jobs that outrun their timeout", arena, verdict, of_each=times
    )
    assert verdict.complaints == {}
    reasons = {kind: said for kind, (_, said) in ENDLESS.items()}
    assert failures(arena, reasons) == {(kind, 1, 0, True): times for kind in ENDLESS}
    assert verdict.extra <= AT_ONCE * len(pool.dead)


def test_no_process_outlives_its_watcher_and_none_of_its_jobs_is_doubled(
    make_arena, store, results, full
):
    """F1 F4: they end as by SIGTERM, and whoever comes next goes on."""
    arena = make_arena(store=store, lease=LEASE)
    kills = 20 if full else 1
    producer = arena.producer("good", 0, "wait 0.005", "--backlog", "200", *AWAITED)

    kill_watchers(arena, partial(Pool, arena, 2, *OPTIONS, **APP), kills)
    Pool(arena, 2, *OPTIONS, **APP).finish(producer)

    verdict = judged(arena)
    results.add(f"{NAME}, 2 processes: the watcher killed", arena, verdict, kills=kills)
    assert (verdict.complaints, verdict.extra, verdict.failed) == ({}, 0, ())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stop_at_any_moment_loses_nothing_and_doubles_nothing(
    make_arena, store, results, full, processes
):
    """F4 T9: with several jobs in the middle on each loop."""
    arena = make_arena(store=store, lease=LEASE)
    stops = 100 if full else 2
    producer = arena.producer("good", 0, "wait 0.02", "--backlog", "200", *AWAITED)

    start = partial(Pool, arena, processes, *OPTIONS, **APP)
    pool = stop_often(arena, start, stops, seed=1)
    pool.finish(producer)

    verdict = judged(arena)
    of = "1 process" if processes == 1 else f"{processes} processes"
    results.add(f"{NAME}, {of}: stop under load", arena, verdict, stops=stops)
    assert (verdict.complaints, verdict.extra, verdict.failed) == ({}, 0, ())
