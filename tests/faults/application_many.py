"""An event with three queued listeners, so that one dispatch stores three jobs."""

from __future__ import annotations

from attrs import frozen

from eventbus import Attempt, ShouldQueue, event

from .application import Work, bus, carry_out


@event("faults.many")
@frozen
class Many:
    """What is done three times, under the names `key`-first, -second and -third."""

    key: str
    does: str = "pause 0"
    payload: str = ""
    tries: int = 1


class First(ShouldQueue):
    name = "faults.first"
    suffix = "first"

    def handle(self, many: Many, attempt: Attempt) -> None:
        carry_out(Work(f"{many.key}-{self.suffix}", many.does, many.payload), attempt)


class Second(First):
    name = "faults.second"
    suffix = "second"


class Third(First):
    name = "faults.third"
    suffix = "third"


for listener in (First, Second, Third):
    bus.listen(Many, listener)
