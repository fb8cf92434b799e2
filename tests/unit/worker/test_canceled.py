"""What a worker has claimed of a batch that is canceled meanwhile does not run: whoever cancels it."""

from __future__ import annotations

import pytest

from eventbus import Attempt, EventBus, Job
from eventbus.queue import turns
from eventbus.worker import Worker

RAN: list[str] = []


class Say(Job, name="canceled.say"):
    word: str

    def handle(self) -> None:
        RAN.append(self.word)


class Cancel(Job, name="canceled.cancel"):
    def handle(self, attempt: Attempt) -> None:
        assert attempt.batch is not None
        attempt.batch.cancel()
        RAN.append("canceled")


class CancelAll(Job, name="canceled.cancel-all"):
    """Cancels as another process does: by the store alone."""

    def handle(self) -> None:
        RAN.append("canceled")
        port = APPLICATION[0].connections.port()
        for one in port.plans.each():
            port.plans.cancel(one.id)


class Fail(Job, name="canceled.fail", tries=1):
    def handle(self) -> None:
        RAN.append("failed")
        raise ValueError


APPLICATION: list[EventBus] = []


@pytest.fixture
def bus(store_url):
    RAN.clear()
    with EventBus(connections={"default": store_url}) as bus:
        APPLICATION[:] = [bus]
        yield bus


@pytest.fixture
def work(bus):
    """Work as a worker that has found that it can claim many at once."""

    def work():
        # The first jobs are claimed one by one: their worker learns how quick they are.
        bus.enqueue_many([Say("quick") for _ in range(20)])
        Worker(bus, stop_when_empty=True).run()
        return [word for word in RAN if word != "quick"]

    return work


def test_a_member_cancels_those_that_were_claimed_with_it(bus, work):
    batch = bus.batch(Cancel(), *[Say(f"{number}") for number in range(20)])
    bus.enqueue_many([Say("quick") for _ in range(20)])
    batch.enqueue()

    assert work() == ["canceled"]
    [state] = bus.batches()
    assert (state.succeeded, state.skipped) == (1, 20)


def test_a_failure_cancels_those_of_the_batches_within(bus, work):
    inner = bus.batch(*[Say(f"{number}") for number in range(20)], name="inner")
    bus.enqueue_many([Say("quick") for _ in range(20)])
    bus.batch(Fail(), inner, name="outer").enqueue()

    assert work() == ["failed"]
    assert [one.canceled for one in bus.batches()] == [True, True]


def test_one_that_is_canceled_from_elsewhere_is_seen_to_be_a_moment_later(bus, work, monkeypatch):
    monkeypatch.setattr(turns, "BATCH_TIME", 0.0)  # no moment at all
    bus.enqueue_many([Say("quick") for _ in range(20)])
    bus.enqueue(CancelAll())
    bus.batch(*[Say(f"{number}") for number in range(20)]).enqueue()

    assert work() == ["canceled"]


def test_what_a_claim_says_of_a_batch_is_looked_at_anew_once_in_a_while_only(
    bus, work, monkeypatch
):
    monkeypatch.setattr(turns, "BATCH_TIME", 3_600.0)
    looks = []
    port = bus.connections.port()
    monkeypatch.setattr(type(port.plans), "batch", lambda _, one: looks.append(one))
    bus.enqueue_many([Say("quick") for _ in range(20)])
    bus.batch(*[Say(f"{number}") for number in range(20)]).enqueue()

    assert len(work()) == 20
    assert looks == []
