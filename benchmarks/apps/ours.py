"""eventbus: queued listeners, as an application would write them; `eventbus-worker apps.ours:bus`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import marks
from attrs import frozen
from listeners import OrderShipped

from eventbus import EventBus, ShouldQueue
from eventbus.backends.port import Port
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id

#: What is pushed at once where many are.
MANY = 100


@frozen
class Numbered:
    number: int


@frozen
class Asked:
    #: When, on the clock that all processes share.
    sent: float


@frozen
class OrdersShipped:
    """What many listeners hear of."""

    order_id: int
    email: str


class Note(ShouldQueue):
    def handle(self, event: OrderShipped) -> None:
        marks.noted(event.order_id)


class Slow(ShouldQueue):
    def handle(self, event: Numbered) -> None:
        marks.noted(event.number)
        time.sleep(marks.SLOW)
        marks.ended(event.number)


class Answer(ShouldQueue):
    def handle(self, event: Asked) -> None:
        marks.answered(event.sent)


class _Also(ShouldQueue):
    def handle(self, event: OrdersShipped) -> None: ...


def made(url: str) -> EventBus:
    bus = EventBus(connections={"default": url})
    bus.listen(OrderShipped, Note)
    bus.listen(Numbered, Slow)
    bus.listen(Asked, Answer)
    return bus


def bus() -> EventBus:
    """Return the bus of a worker's process."""
    return made(os.environ["BENCH_URL"])


def envelope(order_id: int = 1) -> Envelope:
    """Return what a dispatch stores for a note."""
    with made("memory://") as apart:
        apart.dispatch(OrderShipped(order_id, "a@example.com"))
        [claim] = apart.connections.port().claim(["default"])
        return claim.envelope


def waiting(port: Port, count: int) -> None:
    """Push that many notes, each with an id and a number of its own."""
    one = envelope(order_id=7_777_777)
    for first in range(0, count, 1_000):
        port.push([_numbered(one, number) for number in range(first, min(first + 1_000, count))])


def _numbered(one: Envelope, number: int) -> Envelope:
    new = new_id()
    body = one.body.replace(one.id.encode(), new.encode()).replace(b"7777777", b"%d" % number)
    return Envelope(id=new, queue=one.queue, body=body)


payloads: Mapping[str, Callable[[int], tuple[Any, ...]]] = {
    "note": lambda number: (OrderShipped(number, "a@example.com"),),
    "slow": lambda number: (Numbered(number),),
    "answer": lambda number: (Asked(time.monotonic()),),
    "port": lambda number: (),
    "port_many": lambda number: (),
    "note_many": lambda number: (OrdersShipped(number, "a@example.com"),),
    "waiting": lambda number: (number,),
}


@contextmanager
def producer() -> Iterator[Mapping[str, Callable[..., Any]]]:
    body = envelope().body
    with bus() as opened:
        # No worker has to know them.
        for index in range(MANY):
            opened.listen(OrdersShipped, type(f"Also{index}", (_Also,), {}))
        port = opened.connections.port()

        def push() -> None:
            port.push([Envelope(id=new_id(), queue="default", body=body)])

        def push_many() -> None:
            port.push([Envelope(id=new_id(), queue="default", body=body) for _ in range(MANY)])

        yield {
            **dict.fromkeys(("note", "slow", "answer", "note_many"), opened.dispatch),
            "port": push,
            "port_many": push_many,
            "waiting": lambda count: waiting(port, count),
        }
