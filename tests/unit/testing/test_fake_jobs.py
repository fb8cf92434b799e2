"""What a test of an application sees of its jobs: recorded, encoded and decoded, run when it says so."""

from __future__ import annotations

import asyncio

import pytest
from attrs import frozen

from eventbus import Attempt, EventBus, Job, ShouldQueue
from eventbus.errors import EncodeError, InvalidJob
from eventbus.queue.handles import JobStatus
from eventbus.testing import fake_events, fake_queue

HERE = __name__


@frozen
class Placed:
    number: int


class Log(list):
    """What jobs did."""


class Base(Job):
    number: int


class Send(Base, queue="emails"):
    def handle(self, log: Log) -> None:
        log.append(("sent", self.number))


class Later(Base, delay=30, tries=2, connection="here"):
    async def handle(self, log: Log, attempt: Attempt) -> None:
        log.append(("later", self.number, attempt.number))
        if self.number < 0:
            raise ValueError("no such number")


class Unstorable(Job):
    thing: object

    def handle(self) -> None: ...


class Confirm(ShouldQueue):
    def handle(self, event: Placed) -> None: ...


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def bus(log):
    return EventBus(
        listen={Placed: Confirm},
        provide={Log: lambda: log},
        connections={"default": "memory://", "here": "sync://"},
    )


@pytest.fixture(params=[fake_events, fake_queue])
def fake(request, bus):
    with request.param(bus) as fake:
        yield fake


def test_jobs_are_recorded_and_not_run(bus, fake, log):
    bus.enqueue(Send(1))
    bus.enqueue_many([Later(2), Send(3)], queue="others")
    asyncio.run(bus.aenqueue(Send(4)))
    bus.dispatch(Placed(5))

    assert log == []
    assert fake.enqueued(Send) == [Send(1), Send(3), Send(4)]
    assert fake.enqueued(Base) == [Send(1), Later(2), Send(3), Send(4)]
    assert fake.enqueued(Send, queue="others") == [Send(3)]
    assert [(one.event, one.queue, one.delay, one.kind) for one in fake.queued(Later)] == [
        (Later(2), "others", 30.0, "job")
    ]
    assert [one.connection for one in fake.queued(Later)] == ["here"]
    assert [one.kind for one in fake.jobs] == ["job", "job", "job", "job", "listener"]
    fake.assert_queued_count(5)


def test_what_is_recorded_was_decoded(bus, fake):
    job = Send(1)
    bus.enqueue(job)

    [seen] = fake.enqueued(Send)

    assert seen == job
    assert seen is not job


def test_a_job_that_cannot_be_stored_is_an_error_there(bus, fake):
    with pytest.raises(EncodeError, match="thing"):
        bus.enqueue(Unstorable(object()))

    fake.assert_nothing_enqueued()


def test_what_is_no_job_is_refused_there(bus, fake):
    with pytest.raises(InvalidJob):
        bus.enqueue(Placed(1))


def test_a_job_is_asserted_by_its_class_and_by_itself(bus, fake):
    bus.enqueue_many([Send(1), Send(1), Send(2)])

    fake.assert_enqueued(Send)
    fake.assert_enqueued(Base, times=3)
    fake.assert_enqueued(Send(1), times=2, queue="emails")
    fake.assert_enqueued(Send, where=lambda job: job.number > 1, times=1)
    fake.assert_not_enqueued(Send(3))
    fake.assert_not_enqueued(Later)
    fake.assert_not_enqueued(Send, queue="others")
    fake.assert_queued(Send, times=3)


def test_a_failure_says_what_was_enqueued(bus, fake):
    bus.dispatch(Placed(5))
    bus.enqueue(Send(1))

    seen = rf"Enqueued were:\n  {HERE}:Send in 'emails': Send\(number=1\)$"
    with pytest.raises(AssertionError, match=rf"expected {HERE}:Later to be enqueued.*{seen}"):
        fake.assert_enqueued(Later)
    with pytest.raises(AssertionError, match=rf"expected Send\(number=2\) to be enqueued.*{seen}"):
        fake.assert_enqueued(Send(2))
    with pytest.raises(AssertionError, match="in 'others', but it was not"):
        fake.assert_enqueued(Send, queue="others")
    with pytest.raises(AssertionError, match="where it fits, not to be enqueued, but it was once"):
        fake.assert_not_enqueued(Send, where=lambda job: job.number == 1)
    with pytest.raises(AssertionError, match="expected nothing to be enqueued"):
        fake.assert_nothing_enqueued()
    with pytest.raises(AssertionError, match="expected nothing to be queued"):
        fake.assert_nothing_queued()


def test_queued_listeners_are_no_jobs_that_were_enqueued(bus, fake):
    bus.dispatch(Placed(1))

    fake.assert_nothing_enqueued()
    with pytest.raises(AssertionError, match=r"but it was not\. Nothing was enqueued\.$"):
        fake.assert_enqueued(Send)


def test_what_runs_now_runs(bus, fake, log):
    bus.run(Send(1))

    assert log == [("sent", 1)]
    fake.assert_nothing_enqueued()


def test_under_fake_events_nothing_is_stored(bus):
    with fake_events(bus):
        handle = bus.enqueue(Send(1))

        assert (handle.status(), handle.cancel()) == (JobStatus.GONE, False)

    assert bus.connections.port().peek() == []
    assert bus.enqueue(Send(1)).status() is JobStatus.WAITING


def test_fake_events_lets_jobs_through_that_it_is_not_to_fake(bus):
    for only, except_ in [
        ([Placed], []),
        (["order.*"], []),
        ([lambda event: True], []),
        ([Send, Later], [Base]),
    ]:
        with fake_events(bus, only=only, except_=except_) as fake:
            bus.enqueue(Send(1))
            assert fake.enqueued(Send) == []

    with fake_events(bus, only=Base) as fake:
        bus.enqueue(Send(2))
        bus.dispatch(Placed(1))
        assert fake.enqueued(Send) == [Send(2)]
        assert fake.events == []
    assert bus.connections.port().size("emails").ready == 4


def test_of_two_fakes_the_inner_one_has_the_job(bus):
    with fake_events(bus) as outer, fake_events(bus, only=[Later]) as inner:
        bus.enqueue_many([Send(1), Later(2)])

    assert (outer.enqueued(Base), inner.enqueued(Base)) == ([Send(1)], [Later(2)])


def test_a_fake_queue_runs_jobs_when_it_is_drained(bus, log):
    with fake_queue(bus) as queue:
        handle = bus.enqueue(Later(1))
        bus.enqueue(Send(2))
        assert handle.status() is JobStatus.DELAYED

        ran = queue.drain()

        assert handle.status() is JobStatus.GONE
    assert log == [("sent", 2), ("later", 1, 1)]
    assert [one.event for one in ran] == [Send(2), Later(1)]


def test_a_job_that_fails_raises_what_its_handle_raised(bus, log):
    with fake_queue(bus) as queue:
        handle = bus.enqueue(Later(-1))

        with pytest.raises(ValueError, match="no such number") as raised:
            queue.drain()

        assert handle.status() is JobStatus.FAILED
    assert log == [("later", -1, 1), ("later", -1, 2)]
    [note] = raised.value.__notes__
    assert note.startswith(
        f"the job failed in try 2 of 2: {HERE}:Later in 'default': Later(number=-1)"
    )
