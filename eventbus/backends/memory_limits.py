"""Limits of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock
from typing import Final

from typing_extensions import override

from eventbus.backends.instants import span
from eventbus.backends.limits import LimitStore, Window, ends_of, has_room_at, next_after, turn_at

__all__ = ["MemoryLimits"]

#: How many keys there may be before those are looked for that have ended.
_FEW: Final = 1000

_Key = tuple[str, str]


class MemoryLimits(LimitStore):
    """
    Counts in this process; gone with it, and not seen by any other.

    Args:
        now: Tells the instant, in microseconds.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        #: Reentrant: a signal handler may dispatch while its own thread is inside.
        self._lock = RLock()
        #: Until when something counts, and how much.
        self._spent: dict[_Key, dict[int, int]] = {}
        #: When each gives its next turn.
        self._turns: dict[_Key, int] = {}
        #: By name, when each owner's slot ends.
        self._slots: dict[str, dict[str, int]] = {}
        self._many = _FEW

    @override
    def spend(self, name: str, windows: Sequence[Window], *, take: bool = True) -> float:
        now = self._now()
        with self._lock:
            room_at = max(self._room_at(name, one, now) for one in windows)
            if room_at:
                return (room_at - now) / 1_000_000
            for one in windows if take else ():
                counted = self._spent.setdefault((name, one.key), {})
                ends = ends_of(now, one.every)
                counted[ends] = counted.get(ends, 0) + 1
            self._forget_some(now)
        return 0.0

    def _room_at(self, name: str, window: Window, now: int) -> int:
        counted = self._spent.get((name, window.key), {})
        for ends in [ends for ends in counted if ends <= now]:
            del counted[ends]
        return has_room_at(sorted(counted.items()), window.allow)

    def _forget_some(self, now: int) -> None:
        """Let go of what has ended, each time that there is twice as much."""
        if len(self._spent) + len(self._turns) + len(self._slots) < self._many:
            return
        self._spent = {
            key: counted for key, counted in self._spent.items() if max(counted, default=0) > now
        }
        self._turns = {key: turn for key, turn in self._turns.items() if turn > now}
        self._slots = {
            name: slots
            for name, slots in self._slots.items()
            if max(slots.values(), default=0) > now
        }
        self._many = max(_FEW, 2 * (len(self._spent) + len(self._turns) + len(self._slots)))

    @override
    def turn(self, name: str, windows: Sequence[Window]) -> float:
        now = self._now()
        with self._lock:
            room_at = max(self._room_at(name, one, now) for one in windows)
            nexts = [self._turns.get((name, one.key), 0) for one in windows]
            turn = turn_at(nexts, now=now, room_at=room_at)
            self._turns.update({(name, one.key): next_after(turn, one) for one in windows})
            self._forget_some(now)
        return (turn - now) / 1_000_000

    @override
    def refund(self, name: str, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._spent.pop((name, key), None)
                self._turns.pop((name, key), None)

    @override
    def enter(self, name: str, owner: str, *, limit: int, life: float) -> float:
        now = self._now()
        with self._lock:
            slots = self._slots.setdefault(name, {})
            for one in [one for one, ends in slots.items() if ends <= now]:
                del slots[one]
            if owner not in slots and len(slots) >= limit:
                return (min(slots.values()) - now) / 1_000_000
            slots[owner] = now + span(life)
            self._forget_some(now)
        return 0.0

    @override
    def leave(self, name: str, owner: str) -> bool:
        now = self._now()
        with self._lock:
            slots = self._slots.get(name, {})
            return slots.pop(owner, now) > now
