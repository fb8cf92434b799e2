"""
The peers, each as its documentation says it is fastest for what is asked.

A peer whose signals are objects is given the object: it then has nothing to look up. Listeners have
the signature that the peer wants. Libraries are imported by the function that needs them.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Callable
from typing import Any

from attrs import frozen
from interleave import Contender
from listeners import EVENT, OrderShipped, coroutines, event_classes, functions

#: The name of the distribution, by the name in the tables.
DISTRIBUTIONS = {
    "blinker": "blinker",
    "Django signals": "Django",
    "eventkit": "eventkit",
    "huey": "huey",
    "psygnal": "psygnal",
    "PyDispatcher": "PyDispatcher",
    "pyee": "pyee",
    "pymitter": "pymitter",
    "zope.event": "zope.event",
}
#: Those that DESIGN's goal names; zope.event only keeps one list, it tells no event from another, and
#: huey is the peer of the queue.
RIVALS = tuple(name for name in DISTRIBUTIONS if name not in ("huey", "zope.event"))

_NAMES = {"ev": EVENT, "OrderShipped": OrderShipped}


def versions() -> dict[str, str]:
    """Return the version of each peer that is installed."""
    found: dict[str, str] = {}
    for name, distribution in DISTRIBUTIONS.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# Sync listeners: (how many, how many other events, the expression for the event) -> contender.


def blinker(count: int, others: int, event: str) -> Contender:
    from blinker import Signal

    def signal(listeners: list[Any]) -> Any:
        made = Signal()
        for one in listeners:
            made.connect(one)
        return made

    listeners = functions(count)
    rest = functions(others)
    names = {"signal": signal(listeners), "kept": [listeners, rest, [signal([f]) for f in rest]]}
    return Contender("blinker", f"signal.send({event})", {**_NAMES, **names})


def django(count: int, others: int, event: str) -> Contender:
    from django.dispatch import Signal

    def signal(listeners: list[Any]) -> Any:
        made = Signal(use_caching=True)
        for one in listeners:
            made.connect(one, sender=OrderShipped)
        return made

    listeners = functions(count, "sender, event, **kwargs")
    rest = functions(others, "sender, event, **kwargs")
    names = {"signal": signal(listeners), "kept": [listeners, rest, [signal([f]) for f in rest]]}
    return Contender(
        "Django signals", f"signal.send(sender=OrderShipped, event={event})", {**_NAMES, **names}
    )


def eventkit(count: int, others: int, event: str) -> Contender:
    from eventkit import Event

    def made(listeners: list[Any]) -> Any:
        one = Event()
        for listener in listeners:
            one.connect(listener)
        return one

    listeners = functions(count)
    rest = functions(others)
    names = {"shipped": made(listeners), "kept": [listeners, rest, [made([f]) for f in rest]]}
    return Contender("eventkit", f"shipped.emit({event})", {**_NAMES, **names})


def psygnal(count: int, others: int, event: str) -> Contender:
    from psygnal import Signal

    class Source:
        shipped = Signal(object)

    def made(listeners: list[Any]) -> Any:
        source = Source()
        for one in listeners:
            source.shipped.connect(one)
        return source

    listeners = functions(count)
    rest = functions(others)
    source = made(listeners)
    names = {"shipped": source.shipped, "kept": [source, listeners, [made([f]) for f in rest]]}
    return Contender("psygnal", f"shipped.emit_fast({event})", {**_NAMES, **names})


def pydispatcher(count: int, others: int, event: str) -> Contender:
    from pydispatch import dispatcher

    signal = f"shipped {count} {others} {event}"  # its registry is global
    listeners = functions(count)
    rest = functions(others)
    for one in listeners:
        dispatcher.connect(one, signal=signal)
    for index, one in enumerate(rest):
        dispatcher.connect(one, signal=f"{signal} {index}")
    names = {"send": dispatcher.send, "signal": signal, "kept": [listeners, rest]}
    return Contender("PyDispatcher", f"send(signal, event={event})", {**_NAMES, **names})


def pyee(count: int, others: int, event: str) -> Contender:
    from pyee import EventEmitter

    emitter = EventEmitter()
    for one in functions(count):
        emitter.on("shipped", one)
    for index, one in enumerate(functions(others)):
        emitter.on(f"other {index}", one)
    return Contender("pyee", f"emitter.emit('shipped', {event})", {**_NAMES, "emitter": emitter})


def pymitter(count: int, others: int, event: str) -> Contender:
    from pymitter import EventEmitter

    emitter = EventEmitter()
    for one in functions(count):
        emitter.on("shipped", one)
    for index, one in enumerate(functions(others)):
        emitter.on(f"other{index}", one)
    return Contender(
        "pymitter", f"emitter.emit('shipped', {event})", {**_NAMES, "emitter": emitter}
    )


def zope(count: int, others: int, event: str) -> Contender:
    import zope.event

    zope.event.subscribers.clear()  # the one list there is
    if others:
        from zope.event.classhandler import handler

        for one in functions(count):
            handler(OrderShipped, one)
        for cls, one in zip(event_classes(others), functions(others), strict=True):
            handler(cls, one)
    else:
        zope.event.subscribers.extend(functions(count))
    return Contender("zope.event", f"notify({event})", {**_NAMES, "notify": zope.event.notify})


SYNC: dict[str, Callable[[int, int, str], Contender]] = {
    "blinker": blinker,
    "Django signals": django,
    "eventkit": eventkit,
    "psygnal": psygnal,
    "PyDispatcher": pydispatcher,
    "pyee": pyee,
    "pymitter": pymitter,
    "zope.event": zope,
}


# Async listeners, awaited to the end: (how many) -> contender.


def blinker_async(count: int) -> Contender:
    from blinker import Signal

    signal = Signal()
    listeners = coroutines(count)
    for one in listeners:
        signal.connect(one)
    names = {"signal": signal, "kept": listeners}
    return Contender("blinker", "await signal.send_async(ev)", {**_NAMES, **names})


def django_async(count: int) -> Contender:
    from django.dispatch import Signal

    signal = Signal(use_caching=True)
    listeners = functions(count, "sender, event, **kwargs", define="async def")
    for one in listeners:
        signal.connect(one, sender=OrderShipped)
    names = {"signal": signal, "kept": listeners}
    return Contender(
        "Django signals", "await signal.asend(sender=OrderShipped, event=ev)", {**_NAMES, **names}
    )


@frozen
class _Arrivals:
    """Tells when all listeners of a library that only starts them have run."""

    count: int
    waiting: list[asyncio.Future[None]]
    arrived: list[None]

    async def all_of(self, emit: Callable[[Any], Any], event: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        emit(event)
        await future

    def note(self) -> None:
        self.arrived.append(None)
        if len(self.arrived) == self.count:
            self.arrived.clear()
            self.waiting.pop().set_result(None)

    def listeners(self) -> list[Callable[..., Any]]:
        """Return distinct listeners that note their arrival."""
        made = functions(self.count, "event, note", define="async def", body="note()")
        for one in made:
            one.__defaults__ = (self.note,)
        return made


def psygnal_async(count: int) -> Contender:
    from psygnal import Signal, set_async_backend

    class Source:
        shipped = Signal(object)

    arrivals = _Arrivals(count, [], [])
    source = Source()
    listeners = arrivals.listeners()
    started = False

    async def dispatch(event: Any) -> None:
        nonlocal started
        if not started:  # its backend belongs to the loop that runs
            started = True
            backend = set_async_backend("asyncio")
            task = asyncio.ensure_future(backend.run()) if not backend.running.is_set() else None
            await backend.running.wait()
            listeners.append(task)
            for one in listeners[:count]:
                source.shipped.connect(one, max_args=1)
        await arrivals.all_of(source.shipped.emit, event)

    return Contender("psygnal", "await dispatch(ev)", {**_NAMES, "dispatch": dispatch})


def pyee_async(count: int) -> Contender:
    from pyee.asyncio import AsyncIOEventEmitter

    emitter = AsyncIOEventEmitter()
    for one in coroutines(count):
        emitter.on("shipped", one)
    return Contender(
        "pyee",
        "emitter.emit('shipped', ev); await emitter.wait_for_complete()",
        {**_NAMES, "emitter": emitter},
    )


def pymitter_async(count: int) -> Contender:
    from pymitter import EventEmitter

    emitter = EventEmitter()
    for one in coroutines(count):
        emitter.on("shipped", one)
    return Contender(
        "pymitter", "await emitter.emit_async('shipped', ev)", {**_NAMES, "emitter": emitter}
    )


def eventkit_async(count: int) -> Contender:
    from eventkit import Event

    arrivals = _Arrivals(count, [], [])
    listeners = arrivals.listeners()
    shipped = Event()
    for one in listeners:
        shipped.connect(one)
    names = {"all_of": arrivals.all_of, "emit": shipped.emit, "kept": listeners}
    return Contender("eventkit", "await all_of(emit, ev)", {**_NAMES, **names})


ASYNC: dict[str, Callable[[int], Contender]] = {
    "blinker": blinker_async,
    "Django signals": django_async,
    "eventkit": eventkit_async,
    "psygnal": psygnal_async,
    "pyee": pyee_async,
    "pymitter": pymitter_async,
}


# A name with a payload, and wildcards.


def pyee_named() -> Contender:
    from pyee import EventEmitter

    emitter = EventEmitter()
    emitter.on("order.imported", functions(1, "count, kind")[0])
    statement = "emitter.emit('order.imported', 17, 'csv')"
    return Contender("pyee", statement, {"emitter": emitter})


def pymitter_named() -> Contender:
    from pymitter import EventEmitter

    emitter = EventEmitter()
    emitter.on("order.imported", functions(1, "count, kind")[0])
    statement = "emitter.emit('order.imported', 17, 'csv')"
    return Contender("pymitter", statement, {"emitter": emitter})


NAMED: dict[str, Callable[[], Contender]] = {"pyee": pyee_named, "pymitter": pymitter_named}


def pymitter_wildcards(patterns: int, *, heard: bool, name: str = "pymitter") -> Contender:
    """Return an emit of `order.imported`, heard by `order.*` or by an exact listener."""
    from pymitter import EventEmitter

    emitter = EventEmitter(wildcard=True)
    emitter.on("order.*" if heard else "order.imported", functions(1, "count, kind")[0])
    for index, one in enumerate(functions(patterns, "*payload")):
        emitter.on(f"other{index}.*", one)
    statement = "emitter.emit('order.imported', 17, 'csv')"
    return Contender(name, statement, {"emitter": emitter})
