"""
The contract of what keeps limits: how often something may be done, and how many may do it at once.

A limit has a name and, below it, keys. What is kept of it ends by itself, with its window or its life:
whoever dies in the midst of something leaves nothing behind that has to be cleared away.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from attrs import frozen

from eventbus.backends.instants import span
from eventbus.defaults import LIMIT_STEPS, LIMIT_TURNS

__all__ = [
    "LimitStore",
    "Window",
    "ends_of",
    "has_room_at",
    "next_after",
    "step_of",
    "turn_at",
]


@frozen(kw_only=True)
class Window:
    """No more than so often in any stretch of so many seconds."""

    #: What is counted, below the name of the limit.
    key: str
    #: How often, >= 1.
    allow: int
    #: In how many seconds, > 0.
    every: float


class LimitStore(ABC):
    """
    What bus and worker need of a store of limits; its clock judges.

    Calls may come from several threads and processes at once, and each is one atomic step. Errors are
    those of `Backend`.
    """

    @abstractmethod
    def spend(self, name: str, windows: Sequence[Window], *, take: bool = True) -> float:
        """
        Count one in each of `windows`, or in none of them; return 0.

        Where one of them has no room, return in how many seconds, more than 0, all may have some.

        Args:
            name: Of the limit.
            windows: Whose keys differ.
            take: Count; else only look whether there is room.
        """

    @abstractmethod
    def turn(self, name: str, windows: Sequence[Window]) -> float:
        """
        Return in how many seconds whoever was refused may come back and likely find room.

        Each call gives a later answer, as fast as the windows let pass: those who were refused do not all
        come back at once. It is no reservation, nothing is counted.
        """

    @abstractmethod
    def refund(self, name: str, keys: Sequence[str]) -> None:
        """Forget what was counted under `keys`."""

    @abstractmethod
    def enter(self, name: str, owner: str, *, limit: int, life: float) -> float:
        """
        Take one of `limit` slots of a name for `life` seconds; return 0.

        Where all are taken, return in how many seconds, more than 0, the first of them ends at the latest.
        An owner that has one gets it for `life` seconds from now.
        """

    @abstractmethod
    def leave(self, name: str, owner: str) -> bool:
        """Give a slot back; return whether it was still the owner's."""


def ends_of(now: int, every: float) -> int:
    """
    Return until when what is counted now counts, in whole microseconds.

    Rounded up, to a hundredth of the window: what is counted in one such step is one number.

    Example:
        >>> ends_of(1_000_001, every=100.0)
        102000000
    """
    step = step_of(every)
    return (now // step + 1) * step + span(every)


def step_of(every: float) -> int:
    """Return how long a step of a window is, in whole microseconds."""
    return max(1, span(every) // LIMIT_STEPS)


def has_room_at(spent: Iterable[tuple[int, int]], allow: int) -> int:
    """
    Return from which instant on there is room for one more; 0 if there is now.

    Args:
        spent: Until when something counts, and how much; the first to end first.
        allow: How much may count at once, >= 1.

    Example:
        >>> has_room_at([(10, 2), (20, 1)], allow=3), has_room_at([(10, 2), (20, 1)], allow=4)
        (10, 0)
    """
    counted = list(spent)
    over = sum(count for _, count in counted) - allow + 1
    for ends, count in counted:
        if over <= 0:
            break
        over -= count
        if over <= 0:
            return ends
    return 0


def turn_at(nexts: Iterable[int], *, now: int, room_at: int) -> int:
    """
    Return the instant of a turn.

    At most `defaults.LIMIT_TURNS` seconds from now, if there is room then: whoever is behind so many is told
    to look again.

    Args:
        nexts: From when on each window gives its next one; 0 for one that gave none.
        now: The instant, in whole microseconds.
        room_at: What `has_room_at` says.

    Example:
        >>> turn_at([0, 70], now=10, room_at=50), turn_at([10**18], now=10, room_at=50)
        (70, 3600000010)
    """
    return min(max(now, room_at, *nexts), max(room_at, now + span(LIMIT_TURNS)))


def next_after(turn: int, window: Window) -> int:
    """Return when a window gives its next turn after one: as soon as it lets pass."""
    return turn + span(window.every) // window.allow
