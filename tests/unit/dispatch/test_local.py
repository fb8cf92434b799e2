"""A bus without a queue: what its constructor takes, subscribers, what waits for the first dispatch."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from types import ModuleType

import pytest

from eventbus.dispatch.local import LocalBus
from eventbus.errors import DiscoveryError, ListenError


class Shipped:
    pass


class Returned:
    pass


class Mailer:
    def __init__(self, log: Log):
        self.log = log

    def handle(self, event: Shipped) -> None:
        self.log.append("mailed")


class Log(list):
    pass


@pytest.fixture
def module(monkeypatch):
    """An importable module."""
    made = ModuleType("shop_listeners")
    monkeypatch.setitem(sys.modules, "shop_listeners", made)
    return made


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes an importable module, forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name, text):
        written.append(name)
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")

    yield write
    for name in written:
        sys.modules.pop(name, None)


# the constructor


def test_the_map_of_listeners_takes_one_or_a_list(make_bus):
    """E1, E3."""
    bus = make_bus(listen={Shipped: lambda event: 1, "done": [lambda: 2, lambda: 3]})

    assert bus.dispatch(Shipped()) == [1]
    assert bus.dispatch("done") == [2, 3]


def test_import_strings_wait_for_the_first_use(make_bus, module):
    """E34: listeners may import the module that makes the bus."""
    bus = make_bus(listen={Shipped: "shop_listeners:late"}, subscribe=["shop_listeners:Late"])

    class Late:
        def subscribe(self, bus):
            bus.listen(Shipped, lambda event: "subscribed")

    module.late = lambda event: "late"
    module.Late = Late

    assert bus.dispatch(Shipped()) == ["late", "subscribed"]
    assert bus.dispatch(Shipped()) == ["late", "subscribed"]


@pytest.mark.parametrize(
    "use",
    [
        lambda bus: bus.dispatch(Shipped()),
        lambda bus: bus.until(Shipped()),
        lambda bus: bus.has_listeners(Shipped),
        lambda bus: bus.listeners_for(Shipped),
        lambda bus: bus.listeners(),
        lambda bus: bus.forget(Shipped),
        lambda bus: bus.discover(),
    ],
    ids=["dispatch", "until", "has_listeners", "listeners_for", "listeners", "forget", "discover"],
)
def test_every_use_does_first_what_was_put_off(make_bus, module, use):
    module.late = lambda event: "late"
    bus = make_bus(listen={Shipped: "shop_listeners:late"})

    use(bus)

    assert bus._postponed == []


def test_an_import_string_that_leads_nowhere_is_an_error_each_time(make_bus, module):
    """It must not be lost by being reported once."""
    bus = make_bus(listen={Shipped: "shop_listeners:missing"})

    for _ in range(2):
        with pytest.raises(ListenError, match="has no 'missing'"):
            bus.dispatch(Shipped())

    module.missing = lambda event: "there"
    assert bus.dispatch(Shipped()) == ["there"]


def test_an_import_string_of_what_cannot_listen_is_an_error_each_time(make_bus, module):
    module.number = 7
    bus = make_bus(listen={Shipped: "shop_listeners:number"})

    for _ in range(2):
        with pytest.raises(ListenError, match="neither callable"):
            bus.dispatch(Shipped())


def test_a_subscriber_may_be_named_alone(make_bus, package):
    package(
        "shop_subscribing",
        "class Audit:\n    def subscribe(self, bus): bus.listen('done', print)\n",
    )
    bus = make_bus(subscribe="shop_subscribing:Audit")

    assert bus.has_listeners("done")


def test_a_package_to_discover_may_be_named_alone(make_bus, package):
    package(
        "shop_alone", "class Heard: ...\nclass Hears:\n    def handle(self, event: Heard): ...\n"
    )
    bus = make_bus(discover="shop_alone")

    assert len(bus.listeners()) == 1


def test_a_package_that_does_not_exist_is_an_error_each_time(make_bus):
    bus = make_bus(discover=["no_such_package"])

    for _ in range(2):
        with pytest.raises(DiscoveryError):
            bus.dispatch(Shipped())


# resolving


def test_a_listener_gets_what_it_asks_for(make_bus, dispatch):
    """E6."""
    log = Log()
    bus = make_bus(provide={Log: lambda: log})
    bus.listen(Shipped, Mailer)

    dispatch(bus, Shipped())
    assert log == ["mailed"]


def test_a_function_gets_what_its_further_parameters_ask_for(make_bus, dispatch):
    log = Log()
    bus = make_bus(provide={Log: lambda: log})

    def listener(event: Shipped, log: Log, *, optional: int = 1) -> None:
        log.append(optional)

    bus.listen(Shipped, listener)
    dispatch(bus, Shipped())
    assert log == [1]


def test_a_name_and_a_wildcard_get_what_their_keywords_ask_for(make_bus, dispatch):
    log = Log()
    bus = make_bus(provide={Log: lambda: log})

    def named(*payload, log: Log):
        log.append(payload)

    def wild(name, payload, log: Log):
        log.append(name)

    bus.listen("done", named)
    bus.listen("*", wild)
    dispatch(bus, "done", 1)
    assert log == [(1,), "done"]


def test_a_listener_that_asks_for_the_bus_gets_this_one_by_any_of_its_classes(make_bus, dispatch):
    class ShopBus(LocalBus):
        pass

    bus = make_bus(bus=ShopBus)

    def by_parent(*, bus: LocalBus):
        return bus

    def by_class(*, bus: ShopBus):
        return bus

    by_class.__annotations__["bus"] = ShopBus
    bus.listen("done", by_parent)
    bus.listen("done", by_class)

    assert dispatch(bus, "done") == [bus, bus]


# subscribers


class Registers:
    def subscribe(self, bus: LocalBus) -> None:
        bus.listen(Shipped, self.shipped)
        bus.listen("done", self.done)

    def shipped(self, event: Shipped) -> str:
        return "shipped"

    def done(self) -> str:
        return "done"


class Maps(Registers):
    def subscribe(self, bus: LocalBus):
        return {Shipped: ["shipped", Mailer], "done": "done"}


@pytest.mark.parametrize(
    "subscriber", [Registers, Registers(), Maps], ids=["class", "object", "map"]
)
def test_a_subscriber_registers_its_listeners(make_bus, subscriber):
    bus = make_bus(subscribe=[subscriber], provide={Log: Log})

    assert bus.dispatch(Shipped())[0] == "shipped"
    assert bus.dispatch("done") == ["done"]


def test_a_subscription_removes_all_it_registered(bus):
    """E20."""
    registration = bus.subscribe(Registers)
    registration.remove()

    assert bus.listeners() == ()


def test_a_subscription_removes_what_its_subscribers_subscribed(bus):
    """E20."""

    class Outer:
        def subscribe(self, bus):
            bus.subscribe(Registers)
            bus.listen(Returned, lambda event: None)

    assert len(bus.subscribe(Outer).listeners) == 3
    bus.subscribe(Outer).remove()
    assert len(bus.listeners()) == 3


def test_a_subscriber_that_fails_leaves_nothing_behind(bus):
    class Fails(Registers):
        def subscribe(self, bus):
            super().subscribe(bus)
            bus.subscribe(Registers)
            raise KeyError

    with pytest.raises(KeyError):
        bus.subscribe(Fails)
    assert bus.listeners() == ()


def test_what_has_no_subscribe_is_refused(bus):
    with pytest.raises(ListenError, match="no subscribe method"):
        bus.subscribe(Mailer)


SUBSCRIBER = """
from eventbus.dispatch.local import LocalBus

class Heard: ...

TIMES = []

class Audit:
    def subscribe(self, bus: LocalBus) -> None:
        TIMES.append(1)
        if len(TIMES) == FAILS:
            raise KeyError
        bus.dispatch(Heard())
        bus.listen(Heard, lambda event: "audited")
"""


def test_a_discovered_subscriber_may_dispatch_while_it_subscribes(make_bus, package):
    """F37: the scan is under way, and does not begin again."""
    package("shop_audit", SUBSCRIBER.replace("FAILS", "0"))
    bus = make_bus(discover=["shop_audit"])
    bus.discover()

    from shop_audit import TIMES, Heard

    assert bus.dispatch(Heard()) == ["audited"]
    assert TIMES == [1]


def test_a_discovered_subscriber_that_failed_is_tried_again(make_bus, package):
    package("shop_fails", SUBSCRIBER.replace("FAILS", "1"))
    bus = make_bus(discover=["shop_fails"])

    with pytest.raises(KeyError):
        bus.dispatch("done")

    bus.dispatch("done")
    from shop_fails import Heard

    assert bus.dispatch(Heard()) == ["audited"]


def test_threads_whose_first_dispatch_is_at_the_same_time_all_hear_everything_once(
    make_bus, package, module
):
    """F35: import strings and discovered subscribers too."""
    package("shop_slow", SUBSCRIBER.replace("FAILS", "0"))
    meeting = threading.Barrier(8)

    class Late:
        def subscribe(self, bus):
            bus.listen("done", lambda: "subscribed")

    module.Late = Late
    module.late = lambda: "late"
    bus = make_bus(
        discover=["shop_slow"],
        listen={"done": "shop_listeners:late"},
        subscribe=["shop_listeners:Late"],
    )
    answers = []

    def first():
        meeting.wait(20)
        answers.append(bus.dispatch("done"))

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [["late", "subscribed"]] * 8
    from shop_slow import Heard

    assert bus.dispatch(Heard()) == ["audited"]


WAITS = """
import threading
from eventbus.dispatch.local import LocalBus

class Heard: ...

TIMES = []

class Waits:
    def subscribe(self, bus: LocalBus) -> None:
        TIMES.append(1)
        if len(TIMES) == 1:
            other = threading.Thread(target=bus.dispatch, args=(Heard(),))
            other.start()
            other.join()
        bus.listen(Heard, lambda event: "heard")
"""


def test_a_subscriber_that_waits_for_a_thread_that_dispatches_does_not_hang(make_bus, package):
    """F35: no lock is held while a subscriber runs, and it is registered once all the same."""
    package("shop_waits", WAITS)
    bus = make_bus(discover=["shop_waits"])
    bus.discover()
    from shop_waits import Heard

    assert bus.dispatch(Heard()) == ["heard"]


# more forms


def test_a_partial_listens_by_the_hint_of_its_function(bus):
    """E4."""

    def listener(event: Shipped, answer: str) -> str:
        return answer

    bus.listen(functools.partial(listener, answer="partial"))

    assert bus.dispatch(Shipped()) == ["partial"]


def test_an_async_subscriber_is_refused(bus):
    class Async:
        async def subscribe(self, bus): ...

    with pytest.raises(ListenError, match="returned coroutine"):
        bus.subscribe(Async)


def test_dispatching_from_an_async_listener_through_the_same_bus(bus):
    """F37, E35."""

    async def outer(event):
        return await bus.adispatch("inner", 1)

    async def inner(number):
        await asyncio.sleep(0)
        return number

    bus.listen(Shipped, outer)
    bus.listen("inner", inner)

    assert asyncio.run(bus.adispatch(Shipped())) == [[1]]
    assert bus.dispatch(Shipped()) == [[1]]
