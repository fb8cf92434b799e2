"""What bounds a job: deadlines, exceptions, releases, errors that are final, records that are gone."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from attrs import frozen

from eventbus import Attempt, EventBus, JobAttempted, ShouldQueue, listens
from eventbus.backends.base import Charge
from eventbus.dispatch.waiting import drive
from eventbus.errors import (
    BackendUnavailable,
    DeadlinePassed,
    JobInterrupted,
    ListenerTimeout,
    MissingRecord,
    ReleasesExhausted,
    TriesExhausted,
)
from eventbus.queue.envelope import Envelope
from eventbus.queue.execution import Rules
from eventbus.queue.lifecycle import Outcome
from eventbus.queue.settling import PortSettler
from eventbus.testing import fake_queue
from eventbus.testing.clock import ManualClock


@frozen
class Ordered:
    way: str = ""
    until: float = 0


@pytest.fixture
def execute():
    """Run the next job that is due; return its run."""

    def run(bus, settler=None, **rules):
        port = bus.connections.port()
        [claim] = port.claim(["default"])
        executor = bus.executor(Rules(**rules))
        walk = executor.run(executor.begin(claim, port), settler or PortSettler())
        return drive(walk, bus)

    return run


def counters(bus):
    """What the store has counted of the one job."""
    [claim] = bus.connections.port().claim(["default"])
    return claim.attempts, claim.exceptions, claim.releases


def boom(event: Ordered) -> None:
    raise ValueError("boom")


def listener(function=boom, **options):
    """A queued function of these options."""

    @listens(queue=True, name="tell", **options)
    def tell(event: Ordered) -> None:
        function(event)

    return tell


# Rules.


def test_a_backoff_that_raises_fails_the_job_with_the_error_of_both(make_bus, execute):
    bus = make_bus(listener(backoff=lambda attempt, error: 1 / 0, tries=3))
    bus.dispatch(Ordered())

    execution = execute(bus)

    assert execution.outcome is Outcome.FAILED
    assert isinstance(execution.error, ZeroDivisionError)
    assert repr(execution.error.__context__) == "ValueError('boom')"


# Deadlines.


@pytest.mark.parametrize(
    "until",
    [10, timedelta(seconds=10), datetime(2025, 1, 1, 0, 0, 10, tzinfo=UTC), lambda event: 10],
    ids=["seconds", "timedelta", "instant", "rule"],
)
def test_a_job_is_tried_until_its_deadline(make_bus, execute, clock, until):
    """J11: without tries of its own it is tried until then, whatever the worker's --tries."""
    bus = make_bus(listener(retry_until=until))
    bus.dispatch(Ordered())

    for _ in range(3):
        assert execute(bus, tries=1).outcome is Outcome.RELEASED
    clock.advance(9.999)
    assert execute(bus, tries=1).outcome is Outcome.RELEASED
    clock.advance(0.001)
    assert execute(bus, tries=1).outcome is Outcome.FAILED

    [failed] = bus.failed.all()
    assert (failed.attempts, failed.reason) == (5, "ValueError: boom")


def test_at_its_deadline_a_job_is_run_and_after_it_no_more(make_bus, execute, clock):
    """J11: the check before a run allows now <= deadline."""
    ran = []
    bus = make_bus(listener(ran.append, retry_until=10, tries=5))
    bus.dispatch(Ordered("at"))
    bus.dispatch(Ordered("after"))
    clock.advance(10)
    assert execute(bus).outcome is Outcome.SUCCEEDED
    clock.advance(0.001)

    execution = execute(bus)

    assert execution.outcome is Outcome.FAILED
    assert isinstance(execution.error, DeadlinePassed)
    assert "until 2025-01-01 00:00:10+00:00" in str(execution.error)
    assert ran == [Ordered("at")]
    assert [one.attempts for one in bus.failed.all()] == [0]


def test_tries_and_deadline_both_bind(make_bus, execute):
    """J10, J11: whichever is reached first."""
    bus = make_bus(listener(retry_until=1000, tries=2))
    bus.dispatch(Ordered())

    assert [execute(bus).outcome for _ in range(2)] == ["released", "failed"]


class Until(ShouldQueue):
    """Says by an instance method until when it is tried."""

    def retry_until(self, event: Ordered) -> float | None:
        return event.until or None

    def handle(self, event: Ordered, attempt: Attempt) -> None:
        DEADLINES.append((attempt.deadline, attempt.tries))


DEADLINES: list[object] = []


def test_a_listener_may_be_asked_for_its_deadline_and_say_none(make_bus, execute):
    """J11; and the attempt knows it."""
    DEADLINES.clear()
    bus = make_bus(Until)
    bus.dispatch(Ordered(until=60))
    bus.dispatch(Ordered())

    execute(bus, tries=7)
    execute(bus, tries=7)

    assert [(datetime(2025, 1, 1, 0, 1, tzinfo=UTC), 0), (None, 7)] == DEADLINES


def test_a_deadline_is_fixed_at_dispatch_whatever_zone_it_was_said_in(make_bus, execute, clock):
    zone = timezone(timedelta(hours=5))
    until = datetime(2025, 1, 1, 5, 0, 10, tzinfo=zone)
    bus = make_bus(listener(retry_until=lambda event: until))

    bus.dispatch(Ordered())

    [claim] = bus.connections.port().claim(["default"])
    assert b'"retry_until":"2025-01-01T00:00:10+00:00"' in claim.envelope.body


def test_on_sync_a_deadline_changes_nothing(make_bus):
    bus = make_bus(listener(lambda event: None, retry_until=0), connections={"default": "sync://"})

    assert bus.dispatch(Ordered()) == []


def test_a_fake_queue_judges_deadlines_by_its_own_clock(make_bus):
    bus = make_bus(listener(retry_until=60, backoff=25))
    with fake_queue(bus) as queue:
        bus.dispatch(Ordered())
        queue.drain(raise_failed=False)

        # Tried at 0, 25 and 50 s; at 75 it is too late.
        [failed] = bus.failed.all()
        assert failed.attempts == 3
        assert "DeadlinePassed" in failed.reason


# Exceptions and releases.


def test_a_job_fails_at_its_last_allowed_exception_however_many_tries_are_left(make_bus, execute):
    """J15."""
    bus = make_bus(listener(tries=0, max_exceptions=2))
    bus.dispatch(Ordered())

    assert [execute(bus).outcome for _ in range(2)] == ["released", "failed"]
    assert bus.failed.all()[0].reason == "ValueError: boom"


def test_a_spent_release_is_no_exception(make_bus, execute):
    """J15: exceptions and tries are counted apart."""

    def work(event: Ordered, attempt: Attempt) -> None:
        if attempt.number < 3:
            attempt.release(spend=True)
        else:
            raise ValueError("boom")

    bus = make_bus(listens(Ordered, queue=True, name="tell", tries=0, max_exceptions=2)(work))
    bus.dispatch(Ordered())

    assert [execute(bus).outcome for _ in range(4)] == ["released"] * 3 + ["failed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_was_settled_holds_whatever_is_raised_afterwards(make_bus, execute, error):
    def work(event: Ordered, attempt: Attempt) -> None:
        attempt.release(9)
        raise error

    bus = make_bus(listens(Ordered, queue=True, name="tell", tries=1)(work))
    bus.dispatch(Ordered())

    execution = execute(bus)

    assert (execution.outcome, execution.delay) == (Outcome.RELEASED, 9)


@pytest.mark.parametrize(
    "spend, counted", [(False, (0, 0, 1)), (True, (1, 0, 0))], ids=["release", "try"]
)
def test_a_release_counts_as_a_release_or_as_a_try(make_bus, execute, spend, counted):
    """J21."""

    def work(event: Ordered, attempt: Attempt) -> None:
        attempt.release(spend=spend)

    bus = make_bus(listens(Ordered, queue=True, name="tell")(work))
    bus.dispatch(Ordered())
    execute(bus, tries=2)

    assert counters(bus) == counted


def test_an_error_counts_as_a_try_and_as_an_exception(make_bus, execute):
    bus = make_bus(listener(tries=2))
    bus.dispatch(Ordered())
    execute(bus)

    assert counters(bus) == (1, 1, 0)


def release(event: Ordered, attempt: Attempt) -> None:
    attempt.release(spend=event.way == "spend")


def test_a_job_that_gives_back_its_last_try_has_failed(make_bus, execute):
    bus = make_bus(listens(Ordered, queue=True, name="tell", tries=2)(release))
    bus.dispatch(Ordered("spend"))

    executions = [execute(bus) for _ in range(2)]

    assert [one.outcome for one in executions] == ["released", "failed"]
    assert isinstance(executions[1].error, TriesExhausted)
    assert bus.failed.all()[0].attempts == 2


def test_a_job_may_be_given_back_so_often_and_not_oftener(make_bus, execute):
    bus = make_bus(listens(Ordered, queue=True, name="tell", max_releases=2)(release))
    bus.dispatch(Ordered())

    executions = [execute(bus) for _ in range(3)]

    assert [one.outcome for one in executions] == ["released", "released", "failed"]
    assert isinstance(executions[2].error, ReleasesExhausted)
    assert "for the 3. time" in str(executions[2].error)


def test_without_a_limit_a_job_may_be_given_back_for_ever(make_bus, execute):
    bus = make_bus(listens(Ordered, queue=True, name="tell")(release))
    bus.dispatch(Ordered())

    assert {execute(bus).outcome for _ in range(50)} == {"released"}


# Errors that are final.


@pytest.mark.parametrize(
    "error, outcome",
    [(ValueError, "failed"), (UnicodeError, "failed"), (KeyError, "released")],
)
def test_after_some_errors_there_is_no_other_try(make_bus, execute, error, outcome):
    """K29: a class stands for its children too."""

    def work(event: Ordered) -> None:
        raise error("boom")

    bus = make_bus(listens(Ordered, queue=True, name="tell", tries=9, no_retry=[ValueError])(work))
    bus.dispatch(Ordered())

    assert execute(bus).outcome == outcome


@pytest.mark.parametrize("fails, outcome", [(True, "failed"), (False, "released")])
def test_a_try_that_took_too_long_may_be_the_last(make_bus, execute, fails, outcome):
    """J13."""

    def work(event: Ordered) -> None:
        raise ListenerTimeout(listener="tell", seconds=1)

    bus = make_bus(listener(work, tries=9, fail_on_timeout=fails))
    bus.dispatch(Ordered())

    assert execute(bus).outcome == outcome


# Records that are gone.


class Gone:
    """An event about a record that is not there any more, once it comes from a store."""

    armed = False

    def __init__(self, number: int) -> None:
        self.number = number
        if Gone.armed:
            raise MissingRecord(record="order", key=number)

    def __eq__(self, other):
        return isinstance(other, Gone)

    __hash__ = None


class Order:
    pass


def find_order() -> Order:
    raise MissingRecord(record="order", key=1)


@listens(Gone, queue=True, discard_on_missing=True)
def discard(event: Gone) -> None: ...


@listens(Gone, queue=True, tries=9)
def insist(event: Gone) -> None: ...


@listens(Ordered, queue=True, discard_on_missing=True)
def discard_by_factory(event: Ordered, order: Order) -> None: ...


@listens(Ordered, queue=True, tries=9)
def insist_by_factory(event: Ordered, order: Order) -> None: ...


@listens(Ordered, queue=True, discard_on_missing=True)
def discard_itself(event: Ordered) -> None:
    raise MissingRecord(record="order", key=1)


@pytest.mark.parametrize(
    "ours, event, outcome",
    [
        (discard, Gone(1), "skipped"),
        (insist, Gone(1), "failed"),
        (discard_by_factory, Ordered(), "skipped"),
        (insist_by_factory, Ordered(), "failed"),
        (discard_itself, Ordered(), "skipped"),
    ],
    ids=["constructor", "constructor, kept", "factory", "factory, kept", "listener"],
)
def test_a_job_about_a_record_that_is_gone_is_done_or_fails_at_once(
    make_bus, execute, monkeypatch, ours, event, outcome
):
    """L15."""
    bus = make_bus(ours, provide={Order: find_order})
    bus.dispatch(event)
    monkeypatch.setattr(Gone, "armed", True)

    execution = execute(bus)

    assert execution.outcome == outcome
    assert (execution.error is None) == (outcome == "skipped")
    size = bus.connections.port().size("default")
    assert (size.ready + size.leased, size.failed) == (0, outcome == "failed")


@pytest.mark.parametrize("ours, raises", [(discard_by_factory, False), (insist_by_factory, True)])
def test_on_sync_a_record_that_is_gone_is_skipped_or_the_callers_error(make_bus, ours, raises):
    bus = make_bus(ours, provide={Order: find_order}, connections={"default": "sync://"})
    outcomes = []
    bus.listen(JobAttempted, lambda event: outcomes.append(event.outcome))

    if raises:
        with pytest.raises(MissingRecord):
            bus.dispatch(Ordered())
    else:
        bus.dispatch(Ordered())

    assert outcomes == ["failed" if raises else "skipped"]


def test_a_missing_record_behind_another_error_is_that_error(make_bus, execute):
    def work(event: Ordered) -> None:
        raise ValueError from MissingRecord(record="order", key=1)

    bus = make_bus(listener(work, discard_on_missing=True))
    bus.dispatch(Ordered())

    assert execute(bus).outcome is Outcome.FAILED


# An interrupted run.


def test_an_interrupted_run_goes_back_and_counts_as_nothing(make_bus, execute):
    def work(event: Ordered) -> None:
        raise JobInterrupted(listener="tell", reason="the worker has to stop")

    bus = make_bus(listener(work))
    bus.dispatch(Ordered())

    assert execute(bus).outcome is Outcome.RELEASED
    assert counters(bus) == (0, 0, 0)


# A run that does not end, decided by another thread.


@pytest.fixture
def stuck(make_bus):
    """Return an executor, and a run that is in its listener until the test lets it go."""
    runs = []

    def make(*, work=None, rules=None, **options):
        reached, go = threading.Event(), threading.Event()

        def hang(event: Ordered, attempt: Attempt) -> None:
            if work is not None:
                work(attempt)
            reached.set()
            assert go.wait(20)

        bus = make_bus(listens(Ordered, queue=True, name="tell", **options)(hang))
        bus.dispatch(Ordered())
        port = bus.connections.port()
        executor = bus.executor(Rules(**rules or {}))
        execution = executor.begin(port.claim(["default"])[0], port)
        thread = threading.Thread(target=lambda: drive(executor.run(execution), bus))
        thread.start()
        assert reached.wait(20)

        def release():
            go.set()
            thread.join(20)

        runs.append(release)
        return bus, executor, execution, release

    yield make
    for one in runs:
        one()


@pytest.mark.parametrize(
    "options, rules, outcome, delay",
    [
        ({"tries": 3, "backoff": (5, 7)}, {}, "released", 5),
        ({"tries": 1}, {}, "failed", 0),
        ({"tries": 3, "fail_on_timeout": True}, {}, "failed", 0),
        ({"tries": 3, "no_retry": TimeoutError}, {}, "failed", 0),
        ({"tries": 3, "max_exceptions": 1}, {}, "failed", 0),
        ({}, {"tries": 2, "backoff": 9.0}, "released", 9),
        ({"tries": 3, "backoff": lambda attempt, error: 1 / 0}, {"backoff": 4.0}, "released", 4),
        ({"work": lambda attempt: attempt.delete()}, {}, "skipped", 0),
    ],
    ids=["tries", "last", "on timeout", "no retry", "exceptions", "worker's", "rule", "by hand"],
)
def test_another_thread_decides_as_if_it_had_taken_too_long(stuck, options, rules, outcome, delay):
    _, executor, execution, _ = stuck(rules=rules, **options)

    assert executor.decide_stuck(execution) is True

    assert (execution.outcome, execution.delay) == (outcome, delay)
    if outcome != "skipped":
        assert isinstance(execution.error, ListenerTimeout)
        assert execution.charge is Charge.ERROR


def test_the_error_of_a_run_that_does_not_end_says_its_own_timeout(stuck):
    _, executor, execution, _ = stuck(timeout=5)

    executor.decide_stuck(execution)

    assert execution.error.seconds == 5


def test_a_run_whose_job_cannot_be_read_can_be_decided_too(make_bus):
    bus = make_bus()
    port = bus.connections.port()
    port.push([Envelope(id="bad", queue="default", body=b"")])
    executor = bus.executor()
    execution = executor.begin(port.claim(["default"])[0], port)

    assert executor.decide_stuck(execution) is True

    assert (execution.outcome, execution.charge) == (Outcome.FAILED, Charge.NOTHING)
    assert execution.shown == ""


def test_what_another_thread_decided_is_not_settled_by_the_run(stuck):
    bus, executor, execution, release = stuck(tries=3)
    executor.decide_stuck(execution)

    release()

    assert execution.outcome is Outcome.RELEASED
    assert bus.connections.port().size("default").leased == 1


def test_a_run_that_was_decided_is_not_decided_again(stuck):
    _, executor, execution, release = stuck(tries=3)
    release()

    assert executor.decide_stuck(execution) is False
    assert execution.outcome is Outcome.SUCCEEDED


def test_of_many_who_decide_one_is_first(stuck):
    _, executor, execution, _ = stuck(tries=3)
    start, wins = threading.Barrier(8), []

    def decide():
        start.wait(20)
        wins.append(executor.decide_stuck(execution))

    threads = [threading.Thread(target=decide) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)

    assert sorted(wins) == [False] * 7 + [True]


# Who settles.


def test_a_settlement_can_be_made_again_when_the_store_was_away(make_bus, execute):
    class Patient(PortSettler):
        tries = 0

        def ack(self, execution):
            self.tries += 1
            if self.tries < 3:
                return self.ack(execution)
            return super().ack(execution)

    bus = make_bus(listener(lambda event: None))
    bus.dispatch(Ordered())
    settler = Patient()

    assert execute(bus, settler).outcome is Outcome.SUCCEEDED
    assert settler.tries == 3
    assert bus.connections.port().size("default").leased == 0


def test_a_settlement_that_cannot_be_made_is_raised_and_can_be_made_later(make_bus):
    class Away(PortSettler):
        def ack(self, execution):
            raise BackendUnavailable(backend="memory", operation="ack", reason="it is away")

    bus = make_bus(listener(lambda event: None))
    bus.dispatch(Ordered())
    port = bus.connections.port()
    executor = bus.executor()
    execution = executor.begin(port.claim(["default"])[0], port)

    with pytest.raises(BackendUnavailable):
        drive(executor.run(execution, Away()), bus)
    assert execution.decided
    PortSettler().ack(execution)

    assert port.size("default").leased == 0


def test_an_ack_may_come_later_and_the_run_has_succeeded(make_bus, execute, told):
    class Later(PortSettler):
        def ack(self, execution):
            acks.append(execution)

    acks = []
    bus = make_bus(listener(lambda event: None))
    bus.dispatch(Ordered())
    heard = told(bus)

    assert execute(bus, Later()).outcome is Outcome.SUCCEEDED

    assert [type(one).__name__ for one in heard] == [
        "JobProcessing",
        "JobProcessed",
        "JobAttempted",
    ]
    assert bus.connections.port().size("default").leased == 1
    PortSettler().ack(acks[0])
    assert bus.connections.port().size("default").leased == 0


def test_a_bus_without_a_clock_has_the_machines():
    with EventBus(connections={"default": "memory://"}) as bus:
        assert abs(bus.connections.now() - datetime.now(UTC)) < timedelta(hours=1)
        with fake_queue(bus) as queue:
            queue.clock.advance(7200)
            assert bus.connections.now() == queue.clock.now()
    clock = ManualClock()
    with EventBus(connections={"default": "memory://"}, clock=clock) as bus:
        assert bus.connections.now() == clock.now()
