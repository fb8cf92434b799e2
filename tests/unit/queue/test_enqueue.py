"""A queued listener's turn in a dispatch: its hooks, its envelope, and one push for each connection."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import datetime

import pytest
from attrs import define, frozen

from eventbus import EventBus, ShouldQueue, listens
from eventbus.errors import (
    BackendUnavailable,
    EncodeError,
    InvalidOption,
    UnknownConnection,
)
from eventbus.queue.codec.document import read


@frozen
class Ordered:
    number: int = 1
    place: str = ""


@define
class Cart:
    items: list[str]


@define
class Holding:
    anything: object


class Built(list):
    """Notes each listener that is built."""


BUILT = Built()


@listens(queue="emails")
def tell(event: Ordered) -> str:
    return "never an answer"


@listens(queue="orders")
def tell_shop(event: Ordered) -> bool:
    return False


@listens(queue=True, connection="mail", delay=60)
def tell_by_mail(event: Ordered) -> None: ...


@listens(queue=True)
def pack(event: Cart) -> None: ...


@listens(queue=True)
def hold(event: Holding) -> None: ...


@listens(queue=True, name="rows")
def import_rows(count: int, kind: str = "csv") -> None: ...


@listens(queue="audit", name="audit")
def audit(name: str, payload: tuple[object, ...]) -> None: ...


class Placed(ShouldQueue):
    """Says by static and class methods where it goes, so that it is never built here."""

    queue = "never"
    connection = "mail"
    delay = 1

    def __init__(self) -> None:
        BUILT.append(self)

    @staticmethod
    def should_queue(event: Ordered) -> bool:
        return event.number > 0

    @classmethod
    def via_queue(cls, event: Ordered) -> str | None:
        return event.place or None

    @staticmethod
    def via_connection(event: Ordered) -> str:
        return "default"

    @staticmethod
    async def with_delay(event: Ordered) -> float | None:
        return event.number * 10

    def handle(self, event: Ordered) -> None: ...


class PlacedByObject(ShouldQueue):
    """Says the same by instance methods: it is built once, and only when its turn comes."""

    def __init__(self) -> None:
        BUILT.append(self)

    def should_queue(self, event: Ordered) -> bool:
        return event.number > 0

    def via_queue(self, event: Ordered) -> str:
        return event.place

    def with_delay(self, event: Ordered) -> float:
        return event.number * 10

    def handle(self, event: Ordered) -> None: ...


class PlacedByName(ShouldQueue):
    """A wildcard listener's hooks get the name and the payload."""

    name = "placed-by-name"

    @staticmethod
    def should_queue(name: str, payload: tuple[object, ...]) -> bool:
        return bool(payload)

    @classmethod
    def via_queue(cls, name: str, payload: tuple[object, ...]) -> str:
        return name.replace(".", "-")

    def with_delay(self, name: str, payload: tuple[object, ...]) -> float:
        return float(len(payload))

    def handle(self, name: str, payload: tuple[object, ...]) -> None: ...


@pytest.fixture(autouse=True)
def built():
    BUILT.clear()
    return BUILT


@pytest.fixture(autouse=True, params=["short", "long"])
def way(request, monkeypatch):
    """Each test runs both ways: the short one is taken once it is compiled, or never."""
    if request.param == "long":
        monkeypatch.setattr(EventBus, "_short_away", lambda *_: None)
    return request.param


@pytest.fixture
def make_bus(make_bus, way):
    """Return a bus whose connections are open and listeners compiled, so that its first dispatch is short."""

    def make(*listeners, **options):
        bus = make_bus(*listeners, **options)
        for name in bus.connections.names() if way == "short" else ():
            with suppress(InvalidOption):  # of a connection that cannot be opened
                bus.connections.port(name)
        for kind in (Ordered, Cart, Holding):
            bus.hears(kind)
        return bus

    return make


@pytest.fixture
def two():
    return {"default": "memory://", "mail": "memory://?queue=post"}


def sizes(bus, queue, connection=None):
    size = bus.connections.port(connection).size(queue)
    return size.ready, size.delayed


def test_it_does_not_run_and_does_not_answer_or_stop(make_bus):
    bus = make_bus(tell, tell_shop)
    bus.listen(Ordered, lambda event: "here")

    assert bus.dispatch(Ordered()) == ["here"]
    assert bus.until(Ordered()) == "here"
    assert (sizes(bus, "emails"), sizes(bus, "orders")) == ((2, 0), (2, 0))


def test_it_lies_where_its_options_say(make_bus, two):
    bus = make_bus(tell_by_mail, connections=two)

    bus.dispatch(Ordered())

    assert sizes(bus, "post", "mail") == (0, 1)
    assert bus.connections.port("mail").next_due(["post"]) == 60


def test_what_is_stored_is_the_event_as_it_was(make_bus):
    bus = make_bus(pack)
    bus.listen(Cart, lambda event: event.items.append("later"))
    cart = Cart(["first"])

    bus.dispatch(cart)

    [claim] = bus.connections.port().claim(["default"])
    document = read(claim.envelope.body)
    assert (document.data, document.event) == (b'{"items":["first"]}', f"{__name__}:Cart")
    assert (document.id, document.name) == (claim.envelope.id, f"{__name__}:pack")
    assert cart.items == ["first", "later"]


def test_hooks_win_over_attributes_and_static_ones_build_nothing(make_bus, two, built):
    bus = make_bus(Placed, connections=two)

    bus.dispatch(Ordered(2, "vip"))
    bus.dispatch(Ordered(3))

    assert (sizes(bus, "vip"), sizes(bus, "never")) == ((0, 1), (0, 1))
    assert bus.connections.port().next_due(["vip"]) == 20
    assert built == []


def test_instance_hooks_build_the_listener_once_when_its_turn_comes(make_bus, built):
    bus = make_bus(PlacedByObject)

    bus.dispatch(Ordered(2, "vip"))

    assert sizes(bus, "vip") == (0, 1)
    assert len(built) == 1


@pytest.mark.parametrize("listener", [Placed, PlacedByObject])
def test_a_listener_that_does_not_want_it_does_not_run_at_all(make_bus, two, listener):
    bus = make_bus(listener, connections=two)

    assert bus.dispatch(Ordered(0, "vip")) == []

    assert sizes(bus, "vip") == (0, 0)


def test_a_wildcards_hooks_get_the_name_and_the_payload(make_bus):
    bus = make_bus(("order.*", PlacedByName))

    bus.dispatch("order.imported", 1, "csv")
    bus.dispatch("order.ended")

    assert sizes(bus, "order-imported") == (0, 1)
    assert bus.connections.port().next_due(["order-imported"]) == 2
    assert sizes(bus, "order-ended") == (0, 0)


def test_a_wildcards_hooks_get_an_event_as_a_payload_too(make_bus):
    bus = make_bus((f"{__name__}.*", PlacedByName), tell)

    bus.dispatch(Ordered())

    assert sizes(bus, f"{__name__}.Ordered".replace(".", "-")) == (0, 1)


def test_an_event_that_no_worker_would_know_is_refused_with_the_remedy(make_bus):
    bus = make_bus((f"{__name__}.*", PlacedByName))

    with pytest.raises(EncodeError, match="Declare it with @event"):
        bus.dispatch(Ordered())


class ViaNowhere(ShouldQueue):
    name = "nowhere"

    @staticmethod
    def via_connection(event: Ordered) -> str:
        return "nowhere"

    def handle(self, event: Ordered) -> None: ...


class ViaBadQueue(ViaNowhere):
    name = "bad"
    via_connection = None

    @staticmethod
    def via_queue(event: Ordered) -> str:
        return "a b"


class ViaBadDelay(ViaNowhere):
    name = "late"
    via_connection = None

    @staticmethod
    def with_delay(event: Ordered) -> float:
        return -1


class ViaRaising(ViaNowhere):
    name = "raising"
    via_connection = None

    @staticmethod
    def should_queue(event: Ordered) -> bool:
        raise KeyError("hook")


@pytest.mark.parametrize(
    "listener, error",
    [
        (ViaNowhere, UnknownConnection),
        (ViaBadQueue, InvalidOption),
        (ViaBadDelay, InvalidOption),
        (ViaRaising, KeyError),
    ],
)
def test_a_hook_that_errs_is_an_error_at_its_turn_and_what_was_reached_is_pushed(
    make_bus, listener, error
):
    bus = make_bus(tell, listener, tell_shop)

    with pytest.raises(error):
        bus.dispatch(Ordered())

    assert (sizes(bus, "emails"), sizes(bus, "orders")) == ((1, 0), (0, 0))


def test_what_cannot_be_encoded_is_an_error_at_its_turn_and_what_was_reached_is_pushed(make_bus):
    bus = make_bus(("*", audit), hold)

    with pytest.raises(EncodeError, match="anything"):
        bus.dispatch(Holding(object()))

    assert sizes(bus, "default") == (0, 0)


def test_a_listener_that_raises_pushes_what_was_reached_before(make_bus):
    bus = make_bus(tell)
    bus.listen(Ordered, lambda event: 1 / 0)
    bus.listen(tell_shop)

    with pytest.raises(ZeroDivisionError):
        bus.dispatch(Ordered())

    assert (sizes(bus, "emails"), sizes(bus, "orders")) == ((1, 0), (0, 0))


def test_a_listener_that_stops_pushes_what_was_reached_before(make_bus):
    bus = make_bus(tell)
    bus.listen(Ordered, lambda event: False)
    bus.listen(tell_shop)

    assert bus.dispatch(Ordered()) == []

    assert (sizes(bus, "emails"), sizes(bus, "orders")) == ((1, 0), (0, 0))


def test_a_payload_that_does_not_fit_the_hints_is_the_producers_error(make_bus):
    bus = make_bus(("import", import_rows))

    with pytest.raises(EncodeError, match="import"):
        bus.dispatch("import", "many")


def test_a_payload_is_stored_and_comes_back(make_bus, work):
    heard = []
    bus = make_bus(("import", import_rows), provide={Built: lambda: heard})

    bus.dispatch("import", 17)

    assert work(bus).processed == 1
    assert bus.failed.all() == []


class Pushes:
    """Counts what a port pushes, and fails where it is told to."""

    def __init__(self, bus, monkeypatch, *, broken=()):
        self.pushed = []
        self.threads = []
        for name in bus.connections.names():
            port = bus.connections.port(name)
            monkeypatch.setattr(port, "push", self._push(name, port.push, name in broken))

    def _push(self, name, push, broken):
        def counted(envelopes):
            self.threads.append(threading.current_thread())
            self.pushed.append((name, len(envelopes)))
            if broken:
                raise BackendUnavailable(backend=name, operation="push", reason="away")
            push(envelopes)

        return counted


def test_all_envelopes_of_a_dispatch_go_in_one_push_for_each_connection(make_bus, two, monkeypatch):
    bus = make_bus(tell, tell_by_mail, tell_shop, connections=two)
    pushes = Pushes(bus, monkeypatch)

    bus.dispatch(Ordered())

    assert pushes.pushed == [("default", 2), ("mail", 1)]


def test_a_connection_gets_its_own_whatever_another_raises(make_bus, two, monkeypatch):
    bus = make_bus(tell, tell_by_mail, connections=two)
    Pushes(bus, monkeypatch, broken=["default"])

    with pytest.raises(BackendUnavailable, match="default"):
        bus.dispatch(Ordered())

    assert sizes(bus, "post", "mail") == (0, 1)


def test_the_first_error_is_raised_and_tells_of_the_others(make_bus, two, monkeypatch):
    bus = make_bus(tell, tell_by_mail, connections=two)
    Pushes(bus, monkeypatch, broken=["default", "mail"])

    with pytest.raises(BackendUnavailable, match="default") as caught:
        bus.dispatch(Ordered())

    assert any("pushing to 'mail' raised" in note for note in caught.value.__notes__)


@listens(queue="x", connection="broken")
def tell_nobody(event: Ordered) -> None: ...


def test_a_connection_that_cannot_be_opened_keeps_no_other_from_its_own(make_bus, two):
    bus = make_bus(tell_nobody, tell, connections={**two, "broken": "unknown://"})

    with pytest.raises(InvalidOption, match="unknown"):
        bus.dispatch(Ordered())

    assert sizes(bus, "emails") == (1, 0)


def test_adispatch_pushes_off_the_loop(make_bus, monkeypatch):
    bus = make_bus(tell)
    pushes = Pushes(bus, monkeypatch)

    asyncio.run(bus.adispatch(Ordered()))

    assert pushes.threads != [threading.current_thread()]
    assert sizes(bus, "emails") == (1, 0)


def test_a_cancelled_adispatch_pushes_the_whole_on_every_connection(make_bus, two, monkeypatch):
    bus = make_bus(tell, tell_by_mail, connections=two)
    port = bus.connections.port()
    push, under_way, go_on = port.push, threading.Event(), threading.Event()

    def slow(envelopes):
        under_way.set()
        assert go_on.wait(10)
        push(envelopes)

    monkeypatch.setattr(port, "push", slow)

    async def cancel():
        dispatch = asyncio.create_task(bus.adispatch(Ordered()))
        assert await asyncio.to_thread(under_way.wait, 10)
        dispatch.cancel()
        await asyncio.wait({dispatch}, timeout=0)  # the cancellation arrives while it is pushed
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await dispatch

    asyncio.run(cancel())

    assert (sizes(bus, "emails"), sizes(bus, "post", "mail")) == ((1, 0), (0, 1))


def test_the_end_of_the_loop_waits_for_what_is_pushed(make_bus, monkeypatch):
    """`asyncio.run` cancels every task that is left: the dispatch, and whatever task it waits for."""
    bus = make_bus(tell)
    port = bus.connections.port()
    push, under_way, go_on, told = port.push, threading.Event(), threading.Event(), []

    def slow(envelopes):
        under_way.set()
        assert go_on.wait(10)
        push(envelopes)

    monkeypatch.setattr(port, "push", slow)

    async def dispatch():
        try:
            await bus.adispatch(Ordered())
        finally:
            told.append(sizes(bus, "emails"))

    async def leave():
        left = asyncio.create_task(dispatch())
        assert await asyncio.to_thread(under_way.wait, 10)
        assert not left.done()
        asyncio.get_running_loop().call_soon(threading.Timer(0.1, go_on.set).start)

    asyncio.run(leave())

    assert told == [(1, 0)]


def test_an_adispatch_that_is_dropped_while_it_pushes_waits_for_nothing_more(make_bus):
    bus = make_bus(tell)

    async def drop():
        dispatch = bus.adispatch(Ordered())
        dispatch.send(None)
        dispatch.close()

    asyncio.run(drop())


def test_an_adispatch_cancelled_before_it_began_pushes_nothing(make_bus):
    bus = make_bus(tell)

    async def cancel():
        dispatch = asyncio.create_task(bus.adispatch(Ordered()))
        dispatch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dispatch

    asyncio.run(cancel())

    assert sizes(bus, "emails") == (0, 0)


def test_null_forgets(make_bus):
    bus = make_bus(tell, connections={"default": "null://"})

    assert bus.dispatch(Ordered()) == []


def test_the_enqueuer_survives_a_registration_in_another_thread(make_bus):
    bus = make_bus(tell)
    first = bus.enqueuer

    bus.listen(Ordered, lambda event: None)

    assert bus.enqueuer is not first
    bus.dispatch(Ordered())
    assert sizes(bus, "emails") == (1, 0)


# What a dispatch fixes.


@listens(queue=True, name="at-once", delay=0)
def at_once(event: Ordered) -> None: ...


def test_a_delay_of_nothing_is_none(make_bus):
    """L20: it is due at once, as without a delay."""
    bus = make_bus(at_once)
    bus.dispatch(Ordered())

    assert bus.connections.port().next_due(["default"]) == 0
    [claim] = bus.connections.port().claim(["default"])
    assert claim.envelope.delay == 0


@listens(queue=True, name="shown", display_name="As a person calls it")
def shown(event: Ordered) -> None: ...


def test_the_name_that_lists_show_travels_with_the_job(make_bus):
    """J25, L17."""
    bus = make_bus(shown)
    bus.dispatch(Ordered())

    [claim] = bus.connections.port().claim(["default"])
    assert read(claim.envelope.body).options == {"display_name": "As a person calls it"}


@pytest.mark.parametrize("answer", [datetime(2030, 1, 1), -1, "soon", True])  # noqa: DTZ001
def test_a_rule_that_answers_no_deadline_is_the_producers_error(make_bus, answer):
    """J11: nothing is stored."""
    bus = make_bus(listens(queue=True, name="until", retry_until=lambda event: answer)(until))

    with pytest.raises(InvalidOption, match="retry_until"):
        bus.dispatch(Ordered())

    assert bus.connections.port().size("default").ready == 0


def until(event: Ordered) -> None: ...


class UntilLater(ShouldQueue):
    """Says by an async method until when it is tried."""

    name = "until-later"

    async def retry_until(self, event: Ordered) -> float:
        await asyncio.sleep(0)
        return 60

    def handle(self, event: Ordered) -> None: ...


def test_a_rule_for_the_deadline_may_be_async(make_bus):
    bus = make_bus(UntilLater)
    bus.dispatch(Ordered())

    [claim] = bus.connections.port().claim(["default"])
    assert read(claim.envelope.body).options == {"retry_until": "2025-01-01T00:01:00+00:00"}
