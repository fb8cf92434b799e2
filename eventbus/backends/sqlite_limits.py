"""Limits in the file of the jobs: all processes of the machine share them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from eventbus.backends.instants import LATEST, span
from eventbus.backends.limits import LimitStore, Window, ends_of, has_room_at, next_after, turn_at
from eventbus.backends.sql import statements
from eventbus.backends.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["SqliteLimits"]

_SQL: Final = statements("sqlite.sql")


class SqliteLimits(LimitStore):
    """
    Counts in the tables `spent`, `turns` and `slots` of a file.

    Args:
        file: The file.
        now: Tells the instant, in microseconds.
    """

    def __init__(self, file: SqliteFile, now: Callable[[], int]) -> None:
        self._file = file
        self._now = now

    @override
    def spend(self, name: str, windows: Sequence[Window], *, take: bool = True) -> float:
        # Who only looks need not wait for those who write.
        with self._file.transaction("spend") if take else self._file.look("spend") as db:
            now = self._now()  # under the lock: who comes later has the later instant
            if room_at := max(_room_at(db, name, one, now) for one in windows):
                return (room_at - now) / 1_000_000
            if take:
                for one in windows:
                    values = {"name": name, "key": one.key, "ends": ends_of(now, one.every)}
                    db.execute(_SQL["spend"], values)
                db.execute(_SQL["forget_spent"], {"now": now})
        return 0.0

    @override
    def turn(self, name: str, windows: Sequence[Window]) -> float:
        with self._file.transaction("turn") as db:
            now = self._now()
            room_at = max(_room_at(db, name, one, now) for one in windows)
            keys = json.dumps([one.key for one in windows])
            nexts = db.execute(_SQL["next_turns"], {"name": name, "keys": keys}).fetchall()
            turn = turn_at([one for (one,) in nexts], now=now, room_at=room_at)
            for one in windows:
                values = {"name": name, "key": one.key, "ends": next_after(turn, one)}
                db.execute(_SQL["turn"], values)
            db.execute(_SQL["forget_turns"], {"now": now})
        return (turn - now) / 1_000_000

    @override
    def refund(self, name: str, keys: Sequence[str]) -> None:
        chosen = {"name": name, "keys": json.dumps(list(keys))}
        with self._file.transaction("refund") as db:
            db.execute(_SQL["refund"], chosen)
            db.execute(_SQL["forget_turn"], chosen)

    @override
    def enter(self, name: str, owner: str, *, limit: int, life: float) -> float:
        with self._file.transaction("enter") as db:
            now = self._now()
            [(others, first)] = db.execute(
                _SQL["others_in"], {"name": name, "owner": owner, "now": now, "latest": LATEST}
            ).fetchall()
            if others >= limit:
                return float(first - now) / 1_000_000
            db.execute(_SQL["forget_slots"], {"now": now})
            db.execute(_SQL["enter"], {"name": name, "owner": owner, "ends": now + span(life)})
        return 0.0

    @override
    def leave(self, name: str, owner: str) -> bool:
        with self._file.transaction("leave") as db:
            chosen = {"name": name, "owner": owner}
            found = db.execute(_SQL["leave"], chosen).fetchall()
        return bool(found) and found[0][0] > self._now()


def _room_at(db: Connection, name: str, window: Window, now: int) -> int:
    chosen = {"name": name, "key": window.key, "now": now, "latest": LATEST}
    return has_room_at(db.execute(_SQL["spent"], chosen).fetchall(), window.allow)
