"""Jobs that queue each other are stopped at a limit, and what repeats itself with a delay is not."""

from __future__ import annotations

import asyncio

import pytest
from attrs import frozen

from eventbus import EventBus, JobFailed, ShouldQueue, listens
from eventbus.defaults import HOP_LIMIT, HOP_TRAIL
from eventbus.errors import TooManyHops
from eventbus.queue.codec.document import read


@frozen
class Ping:
    number: int = 0


@frozen
class Pong:
    number: int = 0


@listens(queue=True, tries=0)
def answer_ping(event: Ping, bus: EventBus) -> None:
    bus.dispatch(Pong(event.number + 1))


@listens(queue=True, tries=0)
async def answer_pong(event: Pong, bus: EventBus) -> None:
    await asyncio.sleep(0)
    await bus.adispatch(Ping(event.number + 1))


@pytest.fixture
def stored(make_bus):
    """Return what is stored in a bus, as documents."""

    def stored(bus):
        return [read(one.envelope.body) for one in bus.connections.port().each_stored()]

    return stored


def test_a_ping_pong_of_queued_jobs_stops_at_its_limit(make_bus, work):
    """F38: the hop count travels in the envelope; the error names the chain's events."""
    bus = make_bus(answer_ping, answer_pong)
    bus.dispatch(Ping())

    worker = work(bus)

    assert worker.processed == HOP_LIMIT + 1
    [failed] = bus.failed.all()
    assert failed.event == f"{__name__}:Ping"
    assert failed.attempts == 1  # not tried again, although it may be for ever
    assert "TooManyHops" in failed.reason
    assert f"{__name__}:Ping -> {__name__}:Pong" in failed.reason
    assert bus.connections.port().size("default").ready == 0


def test_what_no_job_dispatches_has_no_hops(make_bus, stored):
    bus = make_bus(answer_ping)
    bus.dispatch(Ping())

    assert [one.options for one in stored(bus)] == [{}]


def test_a_job_knows_the_latest_events_of_its_chain(make_bus, work, stored):
    bus = make_bus(answer_ping, answer_pong)
    bus.dispatch(Ping())

    for _ in range(10):
        work(bus, once=True)

    [document] = stored(bus)
    ping, pong = f"{__name__}:Ping", f"{__name__}:Pong"
    assert document.options == {"hops": 10, "trail": [ping, pong] * (HOP_TRAIL // 2)}


@listens(queue=True, delay=1)
def repeat(event: Ping, bus: EventBus) -> None:
    bus.dispatch(Ping(event.number + 1))


def test_what_repeats_itself_with_a_delay_may_do_so_for_ever(make_bus, work, clock):
    bus = make_bus(repeat)
    bus.dispatch(Ping())

    for _ in range(HOP_LIMIT + 10):
        clock.advance(1)
        work(bus)

    assert bus.failed.all() == []
    assert bus.connections.port().size("default").delayed == 1


class Again(ShouldQueue):
    """Queues itself once it has failed."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus

    def handle(self, event: Ping) -> None:
        raise ValueError

    def failed(self, event: Ping, error: BaseException) -> None:
        self.bus.dispatch(event)


def test_a_circle_by_way_of_failed_is_stopped_too(make_bus, work, caplog):
    bus = make_bus(Again)
    bus.dispatch(Ping())

    assert work(bus).processed == HOP_LIMIT + 1
    assert "TooManyHops" in caplog.text


def test_a_circle_by_way_of_what_happens_to_jobs_is_stopped_too(make_bus, work):
    @listens(queue=True, name="fail")
    def fail(event: Ping) -> None:
        raise ValueError

    bus = make_bus(fail)
    bus.listen(JobFailed, lambda event: bus.dispatch(Ping()))
    bus.dispatch(Ping())

    assert work(bus).processed == HOP_LIMIT + 1


def test_on_sync_a_circle_ends_as_any_recursion(make_bus):
    """F38: by our limit or by Python's, whichever comes first."""
    bus = make_bus(answer_ping_plainly, answer_pong_plainly, connections={"default": "sync://"})

    with pytest.raises(RecursionError):
        bus.dispatch(Ping())


def test_the_error_of_a_circle_has_its_events(make_bus, work):
    seen = []
    bus = make_bus(answer_ping, answer_pong)
    bus.listen(JobFailed, seen.append)
    bus.dispatch(Ping())

    work(bus)

    [failed] = seen
    assert isinstance(failed.error, TooManyHops)
    assert failed.error.limit == HOP_LIMIT
    assert len(failed.error.events) == HOP_TRAIL + 1


@listens(queue=True)
def answer_ping_plainly(event: Ping, bus: EventBus) -> None:
    bus.dispatch(Pong())


@listens(queue=True)
def answer_pong_plainly(event: Pong, bus: EventBus) -> None:
    bus.dispatch(Ping())


def test_after_a_run_the_next_dispatch_is_nobodys(make_bus, work, stored):
    bus = make_bus(answer_ping, answer_pong)
    bus.dispatch(Ping())
    work(bus, once=True)
    [_] = stored(bus)

    bus.dispatch(Ping())

    assert sorted(len(one.options) for one in stored(bus)) == [0, 2]
