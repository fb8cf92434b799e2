"""The short way of an event whose listeners are all queued: when it is taken, and that none can tell."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import attrs
import pytest
from attrs import frozen
from msgspec.structs import replace

from eventbus import EventBus, JobProcessed, ShouldQueue, listens
from eventbus.errors import BackendUnavailable, EncodeError, ListenersFailed, UnknownConnection
from eventbus.queue.codec.document import read
from eventbus.queue.direct import Direct
from eventbus.queue.lifecycle import Outcome
from eventbus.testing import fake_events, fake_queue


@frozen
class Ordered:
    number: int = 1
    place: str = ""


@attrs.define(on_setattr=attrs.setters.NO_OP)
class Changed:
    """Its constructor makes something else of it."""

    number: int = attrs.field(default=1, converter=abs)


class Named(str):
    __slots__ = ()


@listens(queue="emails", name="tell", display_name="Tells")
def tell(event: Ordered) -> None: ...


@listens(queue=True, name="tell-later", delay=60)
def tell_later(event: Ordered) -> None: ...


@listens(queue=True, name="audit")
def audit(name: str, payload: tuple[object, ...]) -> None: ...


@listens(queue=True, name="by-mail", connection="mail")
def tell_by_mail(event: Ordered) -> None: ...


@listens(queue=True, name="count")
def count(event: Changed) -> None: ...


@listens(queue=True, name="until", retry_until=60)
def until(event: Ordered) -> None: ...


@listens(queue=True, name="nowhere", connection="nowhere")
def tell_nowhere(event: Ordered) -> None: ...


class Asked(ShouldQueue):
    name = "asked"

    @staticmethod
    def with_delay(event: Ordered) -> float:
        return 5

    def handle(self, event: Ordered) -> None: ...


@pytest.fixture
def took(monkeypatch):
    """What `Direct` answers, from now on: whether it has done all there was to do."""
    answers, call = [], Direct.__call__

    def noted(self, event):
        answers.append(call(self, event))
        return answers[-1]

    monkeypatch.setattr(Direct, "__call__", noted)
    return answers


@pytest.fixture
def opened(make_bus):
    """Make a bus whose connections are open and whose listeners are compiled, as after a dispatch."""

    def make(*listeners, **options):
        bus = make_bus(*listeners, **options)
        for name in bus.connections.names():
            bus.connections.port(name)
        bus.hears(Ordered)
        bus.hears(Changed)
        return bus

    return make


def stored(bus, connection=None):
    """Return what is stored, without what is another each time."""
    found = []
    for job in bus.connections.port(connection).each_stored():
        document = read(job.envelope.body, envelope=job.envelope.id)
        same = replace(document, id="", dispatched_at=datetime(2025, 1, 1, tzinfo=UTC))
        found.append((job.envelope.queue, job.envelope.delay, same))
    return found


TWO = {"default": "memory://", "mail": "memory://?queue=post"}


@pytest.mark.parametrize(
    "listeners",
    [(tell,), (tell, tell_later), (("*", audit), tell), (tell_by_mail,)],
    ids=["one", "two", "wildcard", "connection"],
)
def test_it_stores_what_the_long_way_stores(opened, took, monkeypatch, listeners):
    short = opened(*listeners, connections=TWO)
    monkeypatch.setattr(EventBus, "_short_away", lambda *_: None)
    long = opened(*listeners, connections=TWO)

    for number in range(3):
        assert short.dispatch(Ordered(number, "é")) == long.dispatch(Ordered(number, "é")) == []

    assert took == [True] * 3
    for name in TWO:
        assert stored(short, name) == stored(long, name)
        jobs = [job.envelope.id for job in short.connections.port(name).each_stored()]
        assert len(set(jobs)) == len(jobs)


MADE = []


@frozen
class Counted:
    """Notes how often it is made."""

    def __attrs_post_init__(self) -> None:
        MADE.append(self)


def test_the_event_is_encoded_once_for_all(opened, took):
    def heed(event: Counted) -> None: ...

    def heed_too(event: Counted) -> None: ...

    bus = opened(*(listens(queue=True, name=one.__name__)(one) for one in (heed, heed_too)))
    for _ in range(2):  # compiled, then worked out
        bus.dispatch(Counted())
    event = Counted()
    MADE.clear()

    bus.dispatch(event)

    assert len(stored(bus)) == 6
    assert len(MADE) == 1
    assert took == [True] * 2


# Who takes the long way.


@pytest.mark.parametrize(
    "listeners",
    [
        (Asked,),
        (until,),
        (tell, Asked),
        (tell, tell_by_mail),
        (tell, lambda event: "here"),
    ],
    ids=["hook", "deadline", "one-has-a-hook", "two-connections", "runs-here"],
)
def test_what_has_more_to_do_goes_the_long_way(opened, took, listeners):
    bus = opened(connections=TWO)
    for one in listeners:
        bus.listen(Ordered, one)
    bus.hears(Ordered)

    bus.dispatch(Ordered())

    assert took == []
    queued = [one for one in listeners if one.__name__ != "<lambda>"]
    assert sum(len(stored(bus, name)) for name in TWO) == len(queued)


def test_a_listener_that_hears_one_event_goes_the_long_way(opened, took):
    bus = opened(tell_later)
    bus.listen(Ordered, tell, once=True)
    bus.hears(Ordered)

    for _ in range(3):
        bus.dispatch(Ordered())

    assert took == [True]  # once it is gone, and the others are compiled anew
    assert len(stored(bus)) == 4


def test_the_first_dispatch_opens_the_connection(make_bus, took):
    bus = make_bus(tell)
    bus.hears(Ordered)

    bus.dispatch(Ordered())
    bus.dispatch(Ordered())

    assert took == [False, True]
    assert len(stored(bus)) == 2


def test_a_connection_that_was_closed_is_opened_anew(opened, took, tmp_path):
    bus = opened(tell, connections={"default": f"sqlite:///{tmp_path}/queue.db"})

    for _ in range(2):
        bus.dispatch(Ordered())
        bus.close()
        bus.dispatch(Ordered())

    assert took == [True, False, True, False]
    assert len(stored(bus)) == 4


def test_a_job_that_queues_another_is_counted(opened, took, work):
    @listens(queue=True, name="again")
    def again(event: Ordered, bus: EventBus) -> None:
        if event.number:
            bus.dispatch(Ordered(event.number - 1))

    bus = opened(again)
    bus.dispatch(Ordered(3))

    assert work(bus).processed == 4
    assert took == [True, False, False]  # the worker has them compiled anew


def test_events_about_jobs_are_not_queued(opened, took):
    bus = opened(("*", audit))

    for _ in range(2):
        bus.dispatch(
            JobProcessed(
                id="a", name="b", connection="c", queue="d", attempt=1, outcome=Outcome.SUCCEEDED
            )
        )

    assert (took, stored(bus)) == ([], [])


def test_a_stand_in_gets_what_is_dispatched_meanwhile(opened, took):
    bus = opened(tell)

    with fake_queue(bus) as fake:
        bus.dispatch(Ordered())

    fake.assert_queued(tell)
    assert (took, stored(bus)) == ([False], [])
    bus.dispatch(Ordered())
    assert took == [False, True]


@pytest.mark.parametrize("diverted", [EventBus.muted, fake_events, EventBus.deferred])
def test_while_events_are_diverted_there_is_no_short_way(opened, took, diverted):
    bus = opened(tell)

    with diverted(bus):
        bus.dispatch(Ordered())
        assert (took, stored(bus)) == ([], [])


def test_collected_errors_go_the_long_way(opened, took):
    bus = opened(count, on_error="collect")
    event = Changed()
    event.number = -1

    with pytest.raises(ListenersFailed):
        bus.dispatch(event)

    assert took == []


def test_what_is_logged_goes_the_long_way(make_bus, took, caplog):
    caplog.set_level(logging.DEBUG, logger="eventbus.dispatch")
    bus = make_bus(tell)

    for _ in range(2):
        bus.dispatch(Ordered())

    assert took == []
    assert (
        caplog.messages == [f"{__name__}.Ordered: {__name__}:tell queued in emails of default"] * 2
    )


def test_a_name_with_a_payload_that_is_of_a_class_of_its_own_is_a_name(opened, took):
    bus = opened(("*", audit))

    bus.dispatch(Named("order"), 1)
    bus.dispatch(Named("order"))

    assert took == []
    assert len(stored(bus)) == 2


def test_the_other_ways_to_dispatch_are_long(opened, took):
    bus = opened(tell)

    assert bus.until(Ordered()) is None
    asyncio.run(bus.adispatch(Ordered()))

    assert took == []
    assert len(stored(bus)) == 2


def test_a_registration_ends_it(opened, took):
    bus = opened(tell)
    bus.dispatch(Ordered())

    bus.listen(Ordered, lambda event: "here")

    assert bus.dispatch(Ordered()) == ["here"]
    assert took == [True]
    assert len(stored(bus)) == 2


# What goes wrong.


def test_what_cannot_be_encoded_is_told_by_the_long_way_and_nothing_is_stored(opened, took):
    bus = opened(count)
    event = Changed()
    event.number = -1

    with pytest.raises(EncodeError, match=r"-1 would arrive as 1") as caught:
        bus.dispatch(event)

    assert caught.value.__notes__ == [
        f"raised by listener {__name__}:count of event {__name__}.Changed"
    ]
    assert took == [False]
    assert stored(bus) == []
    bus.dispatch(Changed(2))
    assert took == [False, True]


def test_an_object_with_a_payload_is_refused(opened, took):
    bus = opened(tell)

    with pytest.raises(Exception, match="a payload goes with a name"):
        bus.dispatch(Ordered(), 1)

    assert (took, stored(bus)) == ([], [])


def test_a_connection_that_nobody_configured_is_told_by_the_long_way(opened, took):
    bus = opened(tell_nowhere)

    with pytest.raises(UnknownConnection):
        bus.dispatch(Ordered())

    assert took == [False]


def test_a_push_that_fails_is_not_tried_again(opened, monkeypatch):
    """The jobs may be stored: a second push would give them other ids."""
    bus = opened(tell, tell_later)
    pushed = []

    def away(envelopes):
        pushed.append(len(envelopes))
        raise BackendUnavailable(backend="memory", operation="push", reason="away")

    monkeypatch.setattr(bus.connections.port(), "push", away)
    with pytest.raises(BackendUnavailable, match="away"):
        bus.dispatch(Ordered())

    assert pushed == [2]
