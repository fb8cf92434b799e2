"""A plain job that nobody waits for is run without a walk, and ends as it would with one."""

from __future__ import annotations

import asyncio

import pytest
from attrs import frozen

from eventbus import Attempt, JobAttempted, JobProcessed, JobProcessing, listens
from eventbus.backends.base import Claim
from eventbus.dispatch.waiting import drive
from eventbus.queue.lifecycle import Outcome
from eventbus.queue.settling import PortSettler


@frozen
class Ordered:
    way: str = ""


class Once:
    """The listeners' runs, and the one job of a bus, run at once."""

    def __init__(self) -> None:
        self.runs = []

    def __call__(self, bus, *, before=lambda execution: None):
        port = bus.connections.port()
        [claim] = port.claim(["default"])
        self.executor = bus.executor()
        execution = self.executor.begin(claim, port)
        before(execution)
        self.left = self.executor.run_at_once(execution, PortSettler())
        if self.left is not None:
            drive(self.left, bus)
        size = port.size("default")
        self.stored = size.ready + size.delayed + size.leased
        return execution


@pytest.fixture
def once():
    return Once()


@pytest.fixture
def bus_of(make_bus, once):
    """A bus with one job of a listener that notes its runs and does what it is given."""

    def make(do=lambda attempt: None, **options):
        @listens(queue=True, name="does", **options)
        def does(event: Ordered, attempt: Attempt) -> None:
            once.runs.append(event)
            do(attempt)

        bus = make_bus(does)
        bus.dispatch(Ordered())
        return bus

    return make


def test_a_job_that_returns_is_done_without_a_walk(bus_of, once):
    execution = once(bus_of())

    assert once.left is None
    assert execution.outcome is Outcome.SUCCEEDED
    assert (once.runs, once.stored) == ([Ordered()], 0)


def fail(attempt):
    raise ValueError("boom")


@pytest.mark.parametrize(
    "do, tries, outcome, stored",
    [
        (fail, 1, Outcome.FAILED, 0),
        (fail, 2, Outcome.RELEASED, 1),
        (lambda attempt: attempt.delete(), 1, Outcome.SKIPPED, 0),
        (lambda attempt: attempt.release(5), 2, Outcome.RELEASED, 1),
        (lambda attempt: attempt.fail("no"), 1, Outcome.FAILED, 0),
    ],
    ids=["fails", "fails, to be tried again", "deletes", "releases", "fails by hand"],
)
def test_what_ends_in_another_way_is_decided_as_ever(bus_of, once, do, tries, outcome, stored):
    bus = bus_of(do, tries=tries)

    execution = once(bus)

    assert execution.outcome is outcome
    assert (once.runs, once.stored) == ([Ordered()], stored)
    assert len(bus.failed.all()) == (outcome is Outcome.FAILED)


@pytest.mark.parametrize("kind", [JobProcessing, JobProcessed, JobAttempted])
def test_who_listens_to_jobs_is_told(bus_of, once, kind):
    bus, heard = bus_of(), []
    bus.listen(kind, heard.append)

    execution = once(bus)

    assert [one.id for one in heard] == [execution.envelope.id]
    assert (once.runs, once.stored) == ([Ordered()], 0)


def test_what_is_to_be_awaited_or_injected_has_its_walk(make_bus, once):
    @listens(queue=True, name="waits")
    async def waits(event: Ordered) -> None:
        await asyncio.sleep(0)
        once.runs.append(event)

    bus = make_bus(waits)
    bus.dispatch(Ordered())

    once(bus)

    assert once.left is not None
    assert (once.runs, once.stored) == ([Ordered()], 0)


def test_a_lease_that_was_lost_is_told_of_and_the_worker_goes_on(bus_of, once, caplog):
    bus = bus_of()

    def take_away(execution):
        stale = execution.claim
        execution.port.release(stale)

    execution = once(bus, before=take_away)

    assert once.left is None
    assert execution.outcome is Outcome.LOST
    assert once.stored == 1
    assert execution.envelope.id in caplog.text


def test_a_run_that_another_thread_decided_about_is_not_settled_here(bus_of, once):
    taken = []

    def end_it(execution):
        taken.append(once.executor.decide_stuck(execution))

    execution = once(bus_of(), before=end_it)

    assert taken == [True]
    assert once.left is not None
    assert execution.outcome is Outcome.FAILED
    assert once.stored == 1  # whoever decided settles it


def test_the_run_is_the_current_one_only_while_it_runs(make_bus, once):
    seen = []

    @listens(queue=True, name="looks")
    def looks(event: Ordered) -> None:
        seen.append(bus.executor()._current.get())

    bus = make_bus(looks)
    bus.dispatch(Ordered())
    execution = once(bus)

    assert seen == [execution]
    assert once.executor._current.get() is None
    assert isinstance(execution.claim, Claim)


def test_a_listener_that_is_gone_runs_no_job_more_however_many_like_it_ran(make_bus, once):
    @listens(queue=True, name="does")
    def does(event: Ordered) -> None:
        once.runs.append(event)

    @listens(queue=True, name="stays")
    def stays(event: Ordered) -> None:
        once.runs.append("stays")

    bus = make_bus()
    registration = bus.listen(Ordered, does)
    for _ in range(3):
        bus.dispatch(Ordered())
    port, executor = bus.connections.port(), bus.executor()
    for _ in range(2):
        [claim] = port.claim(["default"])
        assert executor.run_at_once(executor.begin(claim, port), PortSettler()) is None

    registration.remove()
    bus.listen(stays)
    [claim] = port.claim(["default"])
    execution = executor.begin(claim, port)
    drive(executor.run_at_once(execution, PortSettler()), bus)

    assert once.runs == [Ordered()] * 2
    assert execution.outcome is Outcome.RELEASED
    assert execution.parked
