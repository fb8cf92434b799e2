"""A batch is a few tens of milliseconds of work."""

from __future__ import annotations

import select

from hypothesis import given
from hypothesis import strategies as st

from eventbus import EventBus, Job
from eventbus.defaults import BATCH_LIMIT, BATCH_TIME
from eventbus.worker import Worker, shift
from eventbus.worker.pace import Pace


def test_the_first_batch_is_one_job():
    assert Pace().size == 1


def test_quick_jobs_are_claimed_by_the_hundred_after_a_few_batches():
    pace, sizes = Pace(), []
    for _ in range(6):
        sizes.append(pace.size)
        pace.worked(jobs=pace.size, seconds=pace.size * 1e-5)
    assert sizes == [1, 4, 16, 64, BATCH_LIMIT, BATCH_LIMIT]


def test_jobs_of_a_few_milliseconds_are_claimed_a_few_at_a_time():
    pace = Pace()
    for _ in range(6):
        pace.worked(jobs=pace.size, seconds=pace.size * 0.01)
    assert pace.size == 3


def test_slow_jobs_are_claimed_one_by_one():
    pace = Pace()
    for _ in range(3):
        pace.worked(jobs=pace.size, seconds=pace.size * 1.0)
    assert pace.size == 1


def test_a_slow_job_among_quick_ones_is_believed_at_once_and_quick_ones_only_slowly():
    pace = Pace()
    for _ in range(6):
        pace.worked(jobs=pace.size, seconds=pace.size * 1e-5)

    pace.worked(jobs=1, seconds=10)
    assert pace.size == 1

    pace.worked(jobs=1, seconds=1e-5)
    assert pace.size == 1


def test_one_is_no_batches():
    pace = Pace(limit=1)
    pace.worked(jobs=1, seconds=1e-9)
    assert pace.size == 1


def test_a_batch_of_which_nothing_ran_says_nothing():
    pace = Pace()
    pace.worked(jobs=0, seconds=5)
    assert pace.size == 1


def test_work_that_takes_no_time_that_can_be_measured_is_quick():
    pace = Pace()
    pace.worked(jobs=1, seconds=0.0)
    assert pace.size == 4


@given(st.lists(st.floats(1e-7, 100)))
def test_a_batch_is_never_empty_never_too_large_and_never_more_work_than_was_measured(each):
    pace = Pace()
    for one in each:
        pace.worked(jobs=pace.size, seconds=pace.size * one)
        assert 1 <= pace.size <= BATCH_LIMIT
        assert pace.size == 1 or pace.size * one <= BATCH_TIME * 1.001


class Paced(Job, name="pace.paced"):
    seconds: float

    def handle(self, bus: EventBus) -> None:
        select.select([], [], [], self.seconds)
        if self.seconds:
            LEASED.append(bus.connections.port().size("default").leased)


LEASED: list[int] = []


def test_jobs_that_became_slow_are_not_held_by_the_hundred(monkeypatch):
    """What was claimed with them, when they were quick, goes back to whoever is idle."""
    monkeypatch.setattr(shift, "BATCH_TIME", 0.001)
    with EventBus(connections={"default": "memory://"}) as bus:
        bus.enqueue_many([Paced(0.0) for _ in range(300)])
        bus.enqueue_many([Paced(0.004) for _ in range(60)])

        Worker(bus, stop_when_empty=True).run()

    assert len(LEASED) == 60
    assert max(LEASED[5:]) <= 20
