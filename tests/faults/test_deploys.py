"""Workers of the old code and of the new at once: what the old does not know waits for the new."""

from __future__ import annotations

import signal

import pytest

pytestmark = pytest.mark.timeout(900)

OLD, NEW = "faults.application", "faults.application_next"
QUICK = {"FAULTS_PARK_DELAY": "0.2"}


def test_a_rolling_deploy_loses_nothing_and_doubles_nothing(make_arena, results, full):
    """F12"""
    arena = make_arena()
    reloads = 50 if full else 3
    workers = [arena.worker(app=f"{OLD}:bus", **QUICK) for _ in range(2)]
    rate = ("--rate", "50", "--backlog", "100")
    known = arena.producer("known", 0, "pause 0.005", *rate)
    added = arena.producer("added", 0, "pause 0.005", *rate, "--app", NEW, "--kind", "Added")

    # Meanwhile the old one alone is there: what it does not know is put off, not failed.
    arena.await_fact(
        lambda: any("is parked" in worker.output for worker in workers),
        said="a job with an unknown name is parked",
    )
    assert arena.bus.failed.all() == []
    for number in range(reloads):
        # One of the two at a time, to the new code and back again, and in the end to the new.
        app = OLD if number % 3 == 1 and number < reloads - 2 else NEW
        worker = workers.pop(0)
        started = arena.worker(app=f"{app}:bus", **QUICK)
        workers.append(started)
        arena.await_entry("start", worker=started.name)
        worker.tell(signal.SIGTERM)
        assert worker.await_exit() == 0, worker.output
    for producer in (known, added):
        producer.tell(signal.SIGTERM)
        assert producer.await_exit() == 0, producer.output
    arena.await_fact(lambda: arena.waiting() == 0, said="nothing is left", deadline=300)
    for worker in workers:
        worker.tell(signal.SIGTERM)
        assert worker.await_exit() == 0

    verdict = arena.judge()
    results.add("rolling deploy", arena, verdict, reloads=reloads)
    assert verdict.complaints == {}
    assert (verdict.failed, verdict.extra, verdict.duplicates) == ((), 0, ())
    assert arena.count("stored") == arena.count("end")
    old = {one.name for one in arena.processes if f"{OLD}:bus" in one.popen.args}
    assert not any(entry.worker in old and entry.job.startswith("added") for entry in arena.entries)
