"""
Register many listeners, beside the peers: `python registering.py WHAT COUNT ROUNDS SEED`.

WHAT is `one_event`, `many_events` or `memory`. Prints for each contender what one listener cost:
seconds among the first tenth and among the rest, one pair a round; or bytes.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter
from typing import Any

from listeners import OrderShipped, event_classes, functions

from eventbus import EventBus

#: Parameters of the listeners; begins a registration of so many, and returns what registers one.
Registering = tuple[str, Callable[[int], Callable[..., None]]]


def _ours(*, one_event: bool) -> Registering:
    def begin(count: int) -> Callable[..., None]:
        bus = EventBus()
        if one_event:
            return lambda place, listener: bus.listen(OrderShipped, listener)
        classes = event_classes(count)
        return lambda place, listener: bus.listen(classes[place], listener)

    return "event", begin


def _list(*, one_event: bool) -> Registering:
    def begin(count: int) -> Callable[..., None]:
        table: dict[int, list[Any]] = {}
        return lambda place, listener: table.setdefault(0 if one_event else place, []).append(
            listener
        )

    return "event", begin


def _of_signals(make: Callable[[], Any], parameters: str, *, one_event: bool) -> Registering:
    def begin(count: int) -> Callable[..., None]:
        signals = [make() for _ in range(1 if one_event else count)]
        return lambda place, listener: signals[place % len(signals)].connect(listener)

    return parameters, begin


def _blinker(*, one_event: bool) -> Registering:
    from blinker import Signal

    return _of_signals(Signal, "event", one_event=one_event)


def _django(*, one_event: bool) -> Registering:
    from django.dispatch import Signal

    return _of_signals(Signal, "sender, **kwargs", one_event=one_event)


def _eventkit(*, one_event: bool) -> Registering:
    from eventkit import Event

    return _of_signals(Event, "event", one_event=one_event)


def _psygnal(*, one_event: bool) -> Registering:
    from psygnal import SignalInstance

    return _of_signals(lambda: SignalInstance((object,)), "event", one_event=one_event)


def _pydispatcher(*, one_event: bool) -> Registering:
    from pydispatch import dispatcher

    def begin(count: int) -> Callable[..., None]:
        del count
        kind = object()  # its registry is global

        return lambda place, listener: dispatcher.connect(
            listener, signal=(kind, 0 if one_event else place)
        )

    return "event", begin


def _emitter(make: Callable[[], Any], *, one_event: bool) -> Registering:
    def begin(count: int) -> Callable[..., None]:
        emitter = make()
        names = ["shipped" if one_event else f"event{index}" for index in range(count)]
        return lambda place, listener: emitter.on(names[place], listener)

    return "event", begin


def _pyee(*, one_event: bool) -> Registering:
    from pyee import EventEmitter

    return _emitter(EventEmitter, one_event=one_event)


def _pymitter(*, one_event: bool) -> Registering:
    from pymitter import EventEmitter

    return _emitter(EventEmitter, one_event=one_event)


def _zope(*, one_event: bool) -> Registering:
    import zope.event
    from zope.event.classhandler import handler

    def begin(count: int) -> Callable[..., None]:
        zope.event.subscribers.clear()
        if one_event:
            return lambda place, listener: zope.event.subscribers.append(listener)
        classes = event_classes(count)
        return lambda place, listener: handler(classes[place], listener)

    return "event", begin


_PEERS: dict[str, Callable[..., Registering]] = {
    "blinker": _blinker,
    "Django signals": _django,
    "eventkit": _eventkit,
    "psygnal": _psygnal,
    "PyDispatcher": _pydispatcher,
    "pyee": _pyee,
    "pymitter": _pymitter,
    "zope.event": _zope,
}


def contenders(*, one_event: bool) -> tuple[dict[str, Registering], dict[str, str]]:
    """Return those that can be made, the floor first, and why the others cannot."""
    made = {"floor": _list(one_event=one_event), "eventbus": _ours(one_event=one_event)}
    missing: dict[str, str] = {}
    for name, make in _PEERS.items():
        try:
            made[name] = make(one_event=one_event)
        except ImportError as error:
            missing[name] = f"not installed ({error})"
    return made, missing


def times(count: int, rounds: int, seed: int, *, one_event: bool) -> dict[str, Any]:
    made, missing = contenders(one_event=one_event)
    listeners = {text: functions(count, text) for text in {text for text, _ in made.values()}}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    order = random.Random(seed)
    for _ in range(rounds):
        for name in order.sample(list(made), len(made)):
            parameters, begin = made[name]
            found[name].append(_timed(begin(count), listeners[parameters]))
    return {"values": found, "missing": missing}


def _timed(register: Callable[..., None], listeners: list[Any]) -> tuple[float, float]:
    first = len(listeners) // 10
    gc.collect()
    gc.disable()
    try:
        started = perf_counter()
        for place in range(first):
            register(place, listeners[place])
        between = perf_counter()
        for place in range(first, len(listeners)):
            register(place, listeners[place])
        ended = perf_counter()
    finally:
        gc.enable()
    return (between - started) / first, (ended - between) / (len(listeners) - first)


def memory(count: int) -> dict[str, Any]:
    made, missing = contenders(one_event=True)
    found = {
        name: _bytes(begin(count), functions(count, parameters))
        for name, (parameters, begin) in made.items()
    }
    bus = EventBus()
    listeners = functions(count)
    tracemalloc.start()
    for one in listeners:
        bus.listen(OrderShipped, one)
    bus.dispatch(OrderShipped(order_id=1, email=""))
    gc.collect()
    found["eventbus, after a dispatch"] = tracemalloc.get_traced_memory()[0] / count
    tracemalloc.stop()
    return {"values": found, "missing": missing}


def _bytes(register: Callable[..., None], listeners: list[Any]) -> float:
    gc.collect()
    tracemalloc.start()
    for place, one in enumerate(listeners):
        register(place, one)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / len(listeners)
    tracemalloc.stop()
    return used


if __name__ == "__main__":
    what, count, rounds, seed = sys.argv[1], *map(int, sys.argv[2:])
    if what == "memory":
        answer = memory(count)
    else:
        answer = times(count, rounds, seed, one_event=what == "one_event")
    json.dump(answer, sys.stdout)
