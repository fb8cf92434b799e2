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

import peers
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


def contenders(*, one_event: bool) -> tuple[dict[str, Registering], dict[str, str]]:
    """Return those that can be made, the floor first, and why the others cannot."""
    made = {"floor": _list(one_event=one_event), "eventbus": _ours(one_event=one_event)}
    missing: dict[str, str] = {}
    for name in peers.DISTRIBUTIONS:
        try:
            made[name] = peers.registering(name, one_event=one_event)
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
