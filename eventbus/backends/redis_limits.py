"""Limits in Redis: all machines share them. Those of one name lie in one slot of a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from eventbus.backends.instants import span
from eventbus.backends.limits import LimitStore, Window, step_of
from eventbus.backends.redis_calls import Call
from eventbus.backends.redis_store import Store
from eventbus.defaults import LIMIT_TURNS

__all__ = ["RedisLimits"]


class RedisLimits(LimitStore):
    """
    Counts in keys of a store; the server's clock judges.

    Args:
        store: The keys, and how the server is asked.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @override
    def spend(self, name: str, windows: Sequence[Window], *, take: bool = True) -> float:
        keys = [self._store.key(name, f"spent:{one.key}") for one in windows]
        values = [
            value for one in windows for value in (one.allow, span(one.every), step_of(one.every))
        ]
        call = self._store.call_keys("spend", keys, int(take), *values)
        # Said twice it would count twice, which is no harm: a little is left unused.
        return self._seconds("spend", call)

    @override
    def turn(self, name: str, windows: Sequence[Window]) -> float:
        values = [value for one in windows for value in (one.allow, span(one.every))]
        keys = self._keys(name, [one.key for one in windows])
        return self._seconds(
            "turn", self._store.call_keys("turn", keys, span(LIMIT_TURNS), *values)
        )

    @override
    def refund(self, name: str, keys: Sequence[str]) -> None:
        if keys:
            self._store.ask_one("refund", self._store.call_keys("refund", self._keys(name, keys)))

    @override
    def enter(self, name: str, owner: str, *, limit: int, life: float) -> float:
        keys = [self._store.key(name, "slots")]
        return self._seconds(
            "enter", self._store.call_keys("enter", keys, owner, limit, span(life))
        )

    @override
    def leave(self, name: str, owner: str) -> bool:
        call = self._store.call_keys("leave", [self._store.key(name, "slots")], owner)
        return bool(self._store.move("leave", call))

    def _keys(self, name: str, keys: Sequence[str]) -> list[str]:
        return [
            self._store.key(name, f"{part}:{key}") for key in keys for part in ("spent", "turn")
        ]

    def _seconds(self, operation: str, call: Call) -> float:
        return int(self._store.ask_one(operation, call)) / 1_000_000
