"""The application whose worker is measured: `eventbus-worker jobs:bus`. Its jobs do nothing."""

from __future__ import annotations

import os

from attrs import frozen
from journals import JOURNALS
from listeners import EVENT, OrderShipped
from stamps import Stamps, answered

from eventbus import EventBus, ShouldQueue
from eventbus.queue.envelope import Envelope

stamps = Stamps()


@frozen
class Asked:
    """When it was sent, on the clock that all processes share."""

    sent: float


class Note(ShouldQueue):
    """Notes that it ran."""

    def handle(self, event: OrderShipped) -> None:
        stamps.taken()


class Answer(ShouldQueue):
    """Tells at once that it runs."""

    def handle(self, event: Asked) -> None:
        answered(event.sent)


def made(url: str) -> EventBus:
    return EventBus(listen={OrderShipped: [Note], Asked: [Answer]}, connections={"default": url})


def envelope() -> Envelope:
    """Return what a dispatch stores."""
    with made("memory://") as bus:
        bus.dispatch(EVENT)
        [claim] = bus.connections.port().claim(["default"])
        return claim.envelope


def bus() -> EventBus:
    """Return the bus of a worker's process."""
    JOURNALS[os.environ["BENCH_JOURNAL"]].use()
    return made(os.environ["BENCH_URL"])
