"""Several threads of one worker: what they hear, what they may take, how they end."""

from __future__ import annotations

import math
import threading

import pytest
from attrs import frozen

from eventbus import EventBus, listens
from eventbus.errors import InvalidOption, StoreDamaged
from eventbus.queue.spans import Span
from eventbus.worker import ExitCode, Worker
from eventbus.worker.stops import Tally
from eventbus.worker.threads import ProcessSignals, ThreadSignals


@frozen
class Ordered:
    number: int


RAN: list[tuple[int, str]] = []
LOCK = threading.Lock()
MEETING = threading.Barrier(4)


@listens(queue=True)
def note(event: Ordered) -> None:
    with LOCK:
        RAN.append((event.number, threading.current_thread().name))


@listens(queue=True)
def meet(event: Ordered) -> None:
    MEETING.wait(20)
    note(event)


@listens(queue=True)
async def meet_async(event: Ordered) -> None:
    MEETING.wait(20)
    note(event)


@pytest.fixture(autouse=True)
def _fresh():
    RAN.clear()
    MEETING.reset()


# How many may be taken.


def test_without_a_limit_all_may_be_taken():
    tally = Tally(0)

    assert (tally.take(5), tally.take(7), tally.taken) == (5, 7, 12)


def test_no_more_is_taken_than_may_run():
    tally = Tally(10)

    assert (tally.take(7), tally.take(7), tally.take(1)) == (7, 3, 0)


def test_what_was_not_run_may_be_taken_again():
    tally = Tally(10)
    tally.take(10)

    tally.give_back(4)

    assert (tally.taken, tally.take(9)) == (6, 4)


def test_what_ran_is_counted():
    tally = Tally(0)

    tally.count(raised=False)
    tally.count(raised=True)

    assert (tally.ran, tally.raised) == (2, 1)


# What threads hear.


@pytest.fixture
def process():
    return ProcessSignals(grace=5.0)


def test_each_thread_hears_what_its_process_hears(process):
    threads = [ThreadSignals(process) for _ in range(2)]

    process.hear_stop(15)
    process.hear_order(1)
    process.hear_order(12)

    for one in threads:
        assert (one.received, one.first, one.stopping) == (1, 15, True)
        assert (one.restart, one.paused) == (True, True)


def test_a_thread_that_begins_later_hears_what_came_before(process):
    process.paused = True
    process.hear_stop(15)
    process.hear_stop(2)

    late = ThreadSignals(process)

    assert (late.received, late.first, late.paused) == (2, 15, True)


def test_a_stop_without_a_signal_reaches_all(process):
    early = ThreadSignals(process)

    process.stop()

    assert early.stopping
    assert ThreadSignals(process).stopping
    assert early.received == 0


def test_the_hooks_of_running_listeners_hear_of_a_signal(process):
    heard = []
    running, idle = ThreadSignals(process), ThreadSignals(process)
    running.on_stop = lambda number: heard.append(("running", number))
    idle.on_stop = lambda number: heard.append(("idle", number))

    running.running(Span("one", 0.0), lambda: process.hear_stop(15))

    assert heard == [("running", 15)]


def test_in_a_process_of_somebody_elses_nothing_is_ever_overdue(process):
    thread = ThreadSignals(process)
    process.hear_stop(15)

    assert thread.overdue() == -math.inf


# How they work.


@pytest.mark.parametrize("listener", [meet, meet_async])
def test_jobs_run_at_once(bus, listener):
    bus.listen(listener)
    for number in range(4):
        bus.dispatch(Ordered(number))

    assert Worker(bus, threads=4, stop_when_empty=True, batch=1).run() is ExitCode.DONE

    assert sorted(number for number, _ in RAN) == [0, 1, 2, 3]
    assert len({name for _, name in RAN}) == 4


def test_each_job_runs_once(bus):
    bus.listen(note)
    for number in range(500):
        bus.dispatch(Ordered(number))
    worker = Worker(bus, threads=8, stop_when_empty=True)

    worker.run()

    assert sorted(number for number, _ in RAN) == list(range(500))
    assert worker.processed == 500


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_together_they_run_as_many_jobs_as_they_may(bus, limit):
    bus.listen(note)
    for number in range(200):
        bus.dispatch(Ordered(number))
    worker = Worker(bus, threads=4, max_jobs=limit)

    assert worker.run() is ExitCode.DONE

    assert (len(RAN), worker.processed) == (limit, limit)
    assert bus.connections.port().size("jobs").ready == 200 - limit


def test_what_breaks_one_ends_all_and_is_raised(bus, monkeypatch):
    def damaged(*_, **__):
        raise StoreDamaged(backend="memory", operation="claim", reason="rot")

    monkeypatch.setattr(bus.connections.port().backend, "claim", damaged)

    with pytest.raises(StoreDamaged):
        Worker(bus, threads=4).run()

    assert "eventbus-1" not in {thread.name for thread in threading.enumerate()}


def test_they_run_beside_a_block_too(bus):
    bus.listen(meet)

    with bus.worker(threads=4, batch=1) as worker:
        for number in range(4):
            bus.dispatch(Ordered(number))
        assert worker.drain(20)

    assert len(RAN) == 4


def test_a_worker_may_run_again(bus):
    bus.listen(note)
    worker = Worker(bus, threads=2, stop_when_empty=True)

    for number in range(3):
        bus.dispatch(Ordered(number))
        worker.run()

    assert [number for number, _ in RAN] == [0, 1, 2]
    assert len(worker.signals.threads) == 2


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_there_is_a_whole_number_of_them(wrong):
    with pytest.raises(InvalidOption, match="threads"):
        Worker(EventBus(connections={"default": "memory://"}), threads=wrong)
