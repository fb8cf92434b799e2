"""Workers are told to stop, at any moment, under load: they finish what they run and leave the rest."""

from __future__ import annotations

import random
import signal
import time

import pytest

from eventbus.worker import ExitCode
from tests.faults.harness import DEADLINE, pause

pytestmark = pytest.mark.timeout(900)

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def test_a_stop_at_any_moment_loses_nothing_and_doubles_nothing(
    make_arena, either_store, results, full
):
    """F4 T9: running, claiming and acknowledging, as it happens to come."""
    arena = make_arena(store=either_store)
    stops = 100 if full else 3
    chance = random.Random(1)
    producer = arena.producer("good", 0, "pause 0.005", "--backlog", "200", "--tries", "3")
    took = []
    workers = [arena.worker() for _ in range(2)]

    for number in range(stops):
        worker = workers.pop(0)
        arena.await_entry("start", worker=worker.name)
        workers.append(arena.worker())
        pause(chance.uniform(0, 0.3))
        worker.tell(SIGNALS[number % 2])
        told = time.monotonic()
        assert worker.await_exit() == ExitCode.DONE, worker.output
        took.append(time.monotonic() - told)
    producer.tell(signal.SIGTERM)
    assert producer.await_exit() == 0
    last = arena.worker("--stop-when-empty")
    assert last.await_exit() == ExitCode.DONE
    for worker in workers:
        worker.tell(signal.SIGTERM)
        assert worker.await_exit() == ExitCode.DONE

    verdict = arena.judge()
    results.add("stop under load", arena, verdict, stops=stops, slowest=round(max(took), 2))
    assert verdict.complaints == {}
    assert (verdict.extra, verdict.failed, arena.waiting()) == (0, (), 0)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_idle_worker_stops(make_arena, results, full, number):
    """F4"""
    arena = make_arena()
    workers = [arena.worker("--sleep", "60") for _ in range(10 if full else 2)]

    for worker in workers:
        arena.await_fact(lambda worker=worker: "begins" in worker.output, said="it begins")
        worker.tell(number)

    assert {worker.await_exit() for worker in workers} == {ExitCode.DONE}
    results.add(f"stop when idle, {number.name}", arena, stops=len(workers))


def test_a_second_signal_gives_the_running_job_back_at_once(make_arena, results, full):
    """F4: and it runs again elsewhere, with no attempt and no loss on its account."""
    arena = make_arena()
    stops = 10 if full else 2
    arena.produce("long", stops, "gate")
    took = []

    for number in range(stops):
        worker = arena.worker("--grace", "600")
        arena.await_entry("start", worker=worker.name)
        worker.tell(signal.SIGTERM)
        worker.tell(signal.SIGINT)  # another one: two of a kind that come together are one
        told = time.monotonic()
        assert worker.await_exit(DEADLINE) == ExitCode.INTERRUPTED, number
        took.append(time.monotonic() - told)
    for number in range(stops):
        (arena.folder / f"long{number}.0.open").touch()
    last = arena.worker("--stop-when-empty")
    assert last.await_exit() == ExitCode.DONE, last.output

    # An interrupted run raises, and may do so as often as it likes.
    verdict = arena.judge(tries=1 + stops)
    results.add("second signal", arena, verdict, stops=stops, slowest=round(max(took), 2))
    assert verdict.complaints == {}
    assert verdict.failed == ()
    ends = [entry for entry in arena.history() if entry.what == "start"]
    assert {(entry.attempt, entry.losses) for entry in ends} == {(1, 0)}
