"""Jobs that compute, wait, block and die, as an application would write them; `eventbus-worker apps.ways:bus`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import marks
import work
from attrs import frozen
from journals import JOURNALS

from eventbus import EventBus, Job, ShouldQueue

#: How many listeners hear of what blocks them.
BLOCKED = 64
#: The marks of the jobs that tell what a death costs.
DIED, BEGAN, HELD = range(3)


class Compute(Job):
    number: int

    def handle(self) -> None:
        work.compute(self.number)


class Nap(Job):
    number: int

    async def handle(self) -> None:
        await work.nap(self.number)


@frozen
class Told:
    """What makes all of its listeners wait."""

    email: str


class _Block(ShouldQueue):
    number: ClassVar[int]

    def handle(self, event: Told) -> None:
        work.block(self.number)


class Die(Job):
    """Ends its process."""

    def handle(self) -> None:
        marks.noted(DIED)
        os._exit(1)


class Begin(Job):
    def handle(self) -> None:
        marks.noted(BEGAN)


class Hold(Job, timeout=0):
    """Keeps its process to itself, until it is killed."""

    def handle(self) -> None:
        marks.noted(HELD)
        while True:
            time.sleep(60.0)


def bus() -> EventBus:
    JOURNALS[os.environ["BENCH_JOURNAL"]].use()
    made = EventBus(connections={"default": os.environ["BENCH_URL"]})
    for number in range(BLOCKED):
        made.listen(Told, type(f"Block{number}", (_Block,), {"number": number}))
    return made


payloads: Mapping[str, Callable[[int], tuple[Any, ...]]] = {
    "compute": lambda number: (number,),
    "nap": lambda number: (number,),
    "block": lambda number: (Told("a@example.com"),),
    "hold": lambda number: ([Hold()],),
    "die": lambda number: ([Die(), Begin()],),
}


@contextmanager
def producer() -> Iterator[Mapping[str, Callable[..., Any]]]:
    """All jobs of a round are stored in one step."""
    with bus() as opened:
        yield {
            "compute": lambda count: opened.enqueue_many([Compute(one) for one in range(count)]),
            "nap": lambda count: opened.enqueue_many([Nap(one) for one in range(count)]),
            "block": opened.dispatch,
            "hold": opened.enqueue_many,
            "die": opened.enqueue_many,
        }
