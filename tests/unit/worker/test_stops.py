"""Why a worker stops, in the order in which it looks."""

from __future__ import annotations

import pytest

from eventbus.worker.exits import StopReason
from eventbus.worker.health import memory_in_use
from eventbus.worker.settings import checked
from eventbus.worker.signals import Signals
from eventbus.worker.stops import Stops

MIB = 1024 * 1024


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    def made(in_use=0, **limits):
        signals = Signals(grace=1)
        stops = Stops(checked(**limits), signals, clock=clock, memory=lambda: in_use)
        return stops, signals

    return made


def test_without_limits_it_goes_on(make, clock):
    stops, _ = make(in_use=10**12)
    clock.seconds = 1e9
    assert (stops.at_once(), stops.after(10**9)) == (None, None)
    assert stops.left(3.0) == 3.0


def test_it_stops_after_so_many_jobs(make):
    stops, _ = make(max_jobs=2)
    assert [stops.after(jobs) for jobs in (0, 1, 2, 3)] == [None, None, *[StopReason.MAX_JOBS] * 2]


def test_it_stops_after_so_many_seconds_and_waits_no_longer(make, clock):
    stops, _ = make(max_time=10.0)
    clock.seconds = 8.0
    assert (stops.after(0), stops.left(3.0)) == (None, 2.0)
    clock.seconds = 10.0
    assert (stops.after(0), stops.left(3.0)) == (StopReason.MAX_TIME, 0.0)


def test_it_stops_when_it_holds_so_much_memory(make):
    """K11."""

    def after(in_use):
        return make(in_use=in_use, memory=100)[0].after(0)

    assert after(100 * MIB - 1) is None
    assert after(100 * MIB) is StopReason.MEMORY
    assert after(None) is None


def test_the_memory_is_not_read_between_every_two_jobs(clock):
    looks = []
    stops = Stops(
        checked(memory=1), Signals(grace=1), clock=clock, memory=lambda: looks.append(1) or 0
    )
    for _ in range(100):
        stops.at_once()
    clock.seconds = 1.0
    stops.at_once()
    assert len(looks) == 2


def test_what_was_too_large_between_two_jobs_is_so_before_the_next_claim(clock):
    memory = [2 * MIB, 0]
    stops = Stops(checked(memory=1), Signals(grace=1), clock=clock, memory=lambda: memory.pop(0))
    assert [stops.at_once(), stops.after(1)] == [StopReason.MEMORY] * 2


def test_the_memory_of_this_process_is_known():
    assert memory_in_use() > 5 * MIB


LIMITS = {"memory": 1, "once": True, "stop_when_empty": True, "max_time": 1.0, "max_jobs": 1}
ORDER = ["signal", "memory", "restart", "once", "empty", "max_time", "max_jobs"]


@pytest.mark.parametrize("gone", range(len(ORDER) + 1))
def test_the_reasons_are_looked_at_in_one_order(make, clock, gone):
    """K10: whatever holds beside it, the first of those that hold is the reason."""
    left = ORDER[gone:]
    names = {"empty": "stop_when_empty"}
    limits = {name: LIMITS[name] for one in left if (name := names.get(one, one)) in LIMITS}
    stops, signals = make(in_use=MIB, **limits)
    clock.seconds = 5.0
    stops.restart = "restart" in left
    if "signal" in left:
        signals.stop()

    for nothing in (True, None):  # it found nothing; or ran a job, and would find nothing
        reason = stops.after(1, looked=True, nothing=nothing, is_empty=lambda: True)
        assert reason == (left[0] if left else None)


def test_the_order_is_that_of_the_reasons():
    """And of the page, which tests/house compares with them."""
    assert [str(one) for one in StopReason if one is not StopReason.ERROR] == ORDER


def test_once_needs_a_look_and_empty_one_that_found_nothing(make):
    stops, _ = make(once=True)
    assert (stops.after(0), stops.after(0, looked=True)) == (None, "once")
    stops, _ = make(stop_when_empty=True)
    assert stops.after(0, is_empty=pytest.fail) is None
    assert stops.after(0, looked=True, is_empty=pytest.fail) is None  # it found jobs
    assert stops.after(0, looked=True, nothing=True) == "empty"


@pytest.mark.parametrize("empty, reason", [(True, "empty"), (False, "max_jobs")])
def test_whether_there_is_nothing_left_is_asked_only_as_it_stops_anyway(make, empty, reason):
    stops, _ = make(stop_when_empty=True, max_jobs=2)
    assert stops.after(1, looked=True, is_empty=pytest.fail) is None
    assert stops.after(2, looked=True, is_empty=lambda: empty) == reason


def test_a_hangup_is_an_order_to_restart(make):
    stops, signals = make()
    signals.restart = True
    assert stops.at_once() is StopReason.RESTART


def test_time_and_jobs_do_not_stop_a_batch_that_is_claimed(make, clock):
    stops, _ = make(max_jobs=1, max_time=1.0)
    clock.seconds = 5.0
    assert stops.at_once() is None
