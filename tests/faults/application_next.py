"""The application after a deploy: what it did, and one listener more."""

from __future__ import annotations

from attrs import frozen

from eventbus import Attempt, ShouldQueue, event

from .application import bus, carry_out

__all__ = ["Added", "PerformAdded", "bus"]


@event("faults.added")
@frozen
class Added:
    """A kind of work that the code before knew nothing of."""

    key: str
    does: str = "pause 0"
    payload: str = ""
    tries: int = 1


class PerformAdded(ShouldQueue):
    """Does one piece of added work."""

    name = "faults.perform-added"

    def handle(self, work: Added, attempt: Attempt) -> None:
        carry_out(work, attempt)


bus.listen(PerformAdded)
