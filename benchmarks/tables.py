"""What is timed against what: one function a table, each run in processes of its own."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import peers
from attrs import frozen
from interleave import Contender
from journals import Journal
from listeners import CONSTRUCT, EVENT, Floor, OrderShipped, coroutines, event_classes, functions

from eventbus import EventBus, ShouldQueue

US = "eventbus"
TYPES = (1, 10, 100, 1_000, 10_000)
WILDCARDS = (0, 1, 10, 100, 1_000)

_NAMES = {"ev": EVENT, "OrderShipped": OrderShipped}


@frozen
class Table:
    """A table of the report."""

    name: str
    title: str
    make: Callable[[], Iterable[Contender]]
    #: What a reader must know to read it.
    note: str = ""
    #: What its processes use, where they keep anything in a file.
    journal: Journal | None = None
    #: Whether they ask a server.
    has_server: bool = False

    @property
    def is_stored(self) -> bool:
        """Say whether what is timed waits for a disk or a server."""
        return self.journal is not None or self.has_server

    def contenders(self) -> tuple[list[Contender], dict[str, str]]:
        """Return those that can be made, and why the others cannot."""
        made: list[Contender] = []
        missing: dict[str, str] = {}
        for one in self.make():
            if isinstance(one, _Missing):
                missing[one.name] = one.reason
            else:
                made.append(one)
        return made, missing


@frozen
class _Missing:
    name: str
    reason: str


def _tried(name: str, make: Callable[..., Contender], *arguments: Any) -> Any:
    try:
        return make(*arguments)
    except ImportError as error:
        return _Missing(name, f"not installed ({error})")
    except Exception as error:  # noqa: BLE001 -- a peer's new version may want something else
        return _Missing(name, f"{type(error).__name__}: {error}")


def _bus(event: Any, listeners: Iterable[Any], **options: Any) -> EventBus:
    bus = EventBus(**options)
    for one in listeners:
        bus.listen(event, one)
    return bus


def _ours(statement: str, bus: EventBus, name: str = US, floor: str = "floor") -> Contender:
    return Contender(name, statement, {**_NAMES, "bus": bus}, floor)


def _floor(statement: str, table: dict[Any, tuple[Any, ...]], name: str = "floor") -> Contender:
    return Contender(name, statement, {**_NAMES, "floor": Floor(table)}, name)


# Sync listeners.


def _dispatch(count: int, *, others: int = 0, event: str = "ev") -> Iterable[Any]:
    listeners = functions(count)
    rest = dict(zip(event_classes(others), functions(others), strict=True))
    table = {cls: (one,) for cls, one in rest.items()}
    yield _floor(f"floor.dispatch({event})", {**table, OrderShipped: tuple(listeners)})
    bus = _bus(OrderShipped, listeners)
    for cls, one in rest.items():
        bus.listen(cls, one)
    for cls in rest:
        bus.dispatch(cls())
    yield _ours(f"bus.dispatch({event})", bus)
    for name, make in peers.SYNC.items():
        yield _tried(name, make, count, others, event)


def _beside_wildcards() -> Iterable[Any]:
    listeners = functions(1)
    yield _floor("floor.dispatch(ev)", {OrderShipped: tuple(listeners)})
    bus = _bus(OrderShipped, listeners)
    for index, one in enumerate(functions(100, "name, payload")):
        bus.listen(f"other{index}.*", one)
    yield _ours("bus.dispatch(ev)", bus)
    yield _tried("pymitter", lambda: peers.pymitter_wildcards(100, heard=False))


# Growth: every size has its own floor, all sizes in the same rounds.


def _growing_types() -> Iterable[Any]:
    for size in TYPES:
        classes = [OrderShipped, *event_classes(size - 1)]
        listeners = functions(size)
        table = {cls: (one,) for cls, one in zip(classes, listeners, strict=True)}
        yield _floor("floor.dispatch(ev)", table, f"floor, {size:,}")
        bus = EventBus()
        for cls, one in zip(classes, listeners, strict=True):
            bus.listen(cls, one)
        for cls in classes[1:]:
            bus.dispatch(cls())
        yield _ours("bus.dispatch(ev)", bus, f"{US}, {size:,}", f"floor, {size:,}")


def _first_dispatches() -> Iterable[Any]:
    """A dispatch that must find out who listens, as each type's first one must."""
    for size in (1, 100, 1_000, 10_000):
        bus = EventBus()
        for cls, one in zip(event_classes(size), functions(size), strict=True):
            bus.listen(cls, one)
        events = (type("Event", (), {})() for _ in itertools.count())
        names = {"events": events, "bus": bus}
        yield Contender(f"{US}, {size:,}", "bus.dispatch(next(events))", names, f"{US}, 1")


def _types_in_turn() -> Iterable[Any]:
    """Every one of many types, which no cache of the last few can hide."""
    for size in (1, 1_000, 10_000):
        classes = event_classes(size)
        listeners = functions(size)
        events = itertools.cycle([cls() for cls in classes])
        floor = Floor({cls: (one,) for cls, one in zip(classes, listeners, strict=True)})
        name = f"floor, {size:,}"
        names = {"events": events, "floor": floor}
        yield Contender(name, "floor.dispatch(next(events))", names, name)
        bus = EventBus()
        for cls, one in zip(classes, listeners, strict=True):
            bus.listen(cls, one)
        for cls in classes:
            bus.dispatch(cls())
        names = {"events": itertools.cycle([cls() for cls in classes]), "bus": bus}
        yield Contender(f"{US}, {size:,}", "bus.dispatch(next(events))", names, name)


def _growing_wildcards() -> Iterable[Any]:
    listeners = functions(1)
    yield _floor("floor.dispatch(ev)", {OrderShipped: tuple(listeners)})
    named = functions(1, "count, kind")
    floor = Floor({"order.imported": tuple(named)})
    statement = "dispatch_name('order.imported', 17, 'csv')"
    yield Contender("floor, named", f"floor.{statement}", {"floor": floor}, "floor, named")
    for size in WILDCARDS:
        patterns = functions(size, "name, payload")
        bus = _bus(OrderShipped, listeners)
        bus.listen("order.imported", named[0])
        for index, one in enumerate(patterns):
            bus.listen(f"other{index}.*", one)
        yield _ours("bus.dispatch(ev)", bus, f"{US}, {size:,}")
        yield _ours(
            "bus.dispatch('order.imported', 17, 'csv')",
            bus,
            f"{US} named, {size:,}",
            "floor, named",
        )
        yield _tried(
            f"pymitter, {size:,}",
            lambda size=size: _with_floor(
                peers.pymitter_wildcards(size, heard=False, name=f"pymitter, {size:,}")
            ),
        )


def _with_floor(one: Contender) -> Contender:
    return Contender(one.name, one.statement, one.names, "floor, named")


# Names.


def _wildcard() -> Iterable[Any]:
    one = functions(1)[0]
    heard = functions(1, "name, payload")[0]
    yield _floor("floor.dispatch(ev)", {OrderShipped: (one,)})
    yield _ours("bus.dispatch(ev)", _bus("listeners.*", [heard]))
    named = _bus("order.*", [heard])
    yield _ours("bus.dispatch('order.imported', 17, 'csv')", named, f"{US}, a name")
    yield _tried("pymitter, a name", lambda: _renamed(peers.pymitter_wildcards(0, heard=True)))


def _renamed(one: Contender) -> Contender:
    return Contender(f"{one.name}, a name", one.statement, one.names, one.floor)


def _named() -> Iterable[Any]:
    listeners = functions(1, "count, kind")
    floor = Floor({"order.imported": tuple(listeners)})
    statement = "dispatch_name('order.imported', 17, 'csv')"
    yield Contender("floor", f"floor.{statement}", {"floor": floor})
    yield _ours("bus.dispatch('order.imported', 17, 'csv')", _bus("order.imported", listeners))
    for name, make in peers.NAMED.items():
        yield _tried(name, make)


def _new_names() -> Iterable[Any]:
    for pattern in ("other{}.*", "*.other{}", "other{}.*.created"):
        bus = EventBus()
        for index, one in enumerate(functions(1_000, "name, payload")):
            bus.listen(pattern.format(index), one)
        seen = itertools.repeat("order.imported")
        new = (f"order{index}.imported" for index in itertools.count())
        floor = f"seen, `{pattern.format('N')}`"
        yield Contender(floor, "bus.dispatch(next(names))", {"bus": bus, "names": seen}, floor)
        name = f"never seen, `{pattern.format('N')}`"
        yield Contender(name, "bus.dispatch(next(names))", {"bus": bus, "names": new}, floor)


# Async listeners.


def _adispatch(count: int) -> Iterable[Any]:
    listeners = coroutines(count)
    yield _floor("await floor.adispatch(ev)", {OrderShipped: tuple(listeners)})
    yield _ours("await bus.adispatch(ev)", _bus(OrderShipped, listeners))
    for name, make in peers.ASYNC.items():
        yield _tried(name, make, count)


# Other forms of listeners, other ways to dispatch.


class _Ledger:
    def handle(self, event: OrderShipped) -> None: ...


class _Stock:
    pass


class _Injected:
    def __init__(self, stock: _Stock) -> None:
        self.stock = stock

    def handle(self, event: OrderShipped) -> None: ...


def _forms() -> Iterable[Any]:
    ten = functions(10)
    yield _floor("floor.dispatch(ev)", {OrderShipped: (ten[0],)}, "floor, 1")
    yield _floor("floor.dispatch(ev)", {OrderShipped: tuple(ten)}, "floor, 10")

    by_hand: tuple[Any, ...] = (lambda event: _Ledger().handle(event),)
    yield _floor("floor.dispatch(ev)", {OrderShipped: by_hand}, "floor, a class built by hand")
    yield _ours(
        "bus.dispatch(ev)", _bus(OrderShipped, [_Ledger]), "class", "floor, a class built by hand"
    )
    stock = _Stock()
    yield _ours(
        "bus.dispatch(ev)",
        _bus(OrderShipped, [_Injected], provide={_Stock: lambda: stock}),
        "class that is given another",
        "floor, a class built by hand",
    )

    method = _Ledger().handle
    yield _floor("floor.dispatch(ev)", {OrderShipped: (method,)}, "floor, bound method")
    yield _ours(
        "bus.dispatch(ev)", _bus(OrderShipped, [method]), "bound method", "floor, bound method"
    )

    mixed = EventBus()
    for index, one in enumerate(ten):
        mixed.listen(OrderShipped, one, priority=index % 3)
    yield _ours("bus.dispatch(ev)", mixed, "10, priorities mixed", "floor, 10")

    third = [*ten[:2], *functions(1, body="return 1"), *ten[2:9]]
    until = _floor("floor.until(ev)", {OrderShipped: tuple(third)}, "floor, until")
    yield until
    yield _ours(
        "bus.until(ev)", _bus(OrderShipped, third), "until, the third of 10", "floor, until"
    )

    yield _floor(
        "floor.dispatch_collecting(ev)", {OrderShipped: tuple(ten)}, "floor, errors collected"
    )
    yield _ours(
        "bus.dispatch(ev)",
        _bus(OrderShipped, ten, on_error="collect"),
        '10, on_error="collect"',
        "floor, errors collected",
    )
    yield _queued(ten)


class _Email(ShouldQueue):
    def handle(self, event: OrderShipped) -> None: ...


def _queued(ten: list[Any]) -> Any:
    name = "10, one of them queued on memory://"
    if importlib.util.find_spec("eventbus.queue.enqueue") is None:
        return _Missing(name, "this eventbus has no queue yet (eventbus.queue.enqueue)")

    def make() -> Contender:
        bus = _bus(OrderShipped, [*ten[:9], _Email], connections={"default": "memory://"})
        bus.dispatch(EVENT)
        return _ours("bus.dispatch(ev)", bus, name, "floor, 10")

    return _tried(name, make)


TABLES = (
    Table("dispatch_0", "`dispatch`, no listener", lambda: _dispatch(0)),
    Table("dispatch_1", "`dispatch`, 1 function", lambda: _dispatch(1)),
    Table("dispatch_10", "`dispatch`, 10 functions", lambda: _dispatch(10)),
    Table(
        "construct_1",
        "make the event and `dispatch` it, 1 function",
        lambda: _dispatch(1, event=CONSTRUCT),
    ),
    Table(
        "types_1000",
        "`dispatch`, 1 function, 1,000 other event types with a listener each",
        lambda: _dispatch(1, others=1_000),
        "A peer whose signals are objects has 1,000 more of them; the others have 1,000 more names"
        " (zope.event: classes).",
    ),
    Table(
        "wildcards_100",
        "`dispatch`, 1 function, 100 wildcards that do not match",
        _beside_wildcards,
    ),
    Table("growing_types", "`dispatch`, 1 function, that many event types", _growing_types),
    Table(
        "first_dispatch",
        "`dispatch` of a type that was never dispatched, beside that many that have a listener",
        _first_dispatches,
        "Making the class, some microseconds, is in it.",
    ),
    Table(
        "types_in_turn",
        "`dispatch` of every one of that many event types in turn",
        _types_in_turn,
        "The price of many objects, in the caches of the machine, is in the floor too.",
    ),
    Table(
        "growing_wildcards",
        "`dispatch`, 1 function, that many wildcards that do not match",
        _growing_wildcards,
        "pymitter dispatches a name, so it stands beside our named event.",
    ),
    Table("wildcard", "1 wildcard listener", _wildcard),
    Table("named", "a name with a payload of two, 1 function", _named),
    Table(
        "new_names",
        "a name never seen before, 1,000 wildcards, none matching",
        _new_names,
        "Against a name seen before, on the same bus.",
    ),
    Table("adispatch_1", "`adispatch`, 1 async function", lambda: _adispatch(1)),
    Table("adispatch_10", "`adispatch`, 10 async functions", lambda: _adispatch(10)),
    Table(
        "forms",
        "other listeners, other ways",
        _forms,
        "Each beside a floor that does the same by hand; no goals.",
    ),
)
