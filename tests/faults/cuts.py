"""A connection to Redis that is cut at an exchange of one's choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from eventbus.backends.base import Clock
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_calls import Call
from eventbus.backends.redis_lines import Maker, OwnLine
from eventbus.backends.redis_link import ServerLink


class CutMaker(Maker):
    """Its exchanges are cut from a certain one on, before it is sent or before it is answered."""

    def __init__(self, port: int) -> None:
        settings = {"host": "127.0.0.1", "port": port, "protocol": 2}
        super().__init__(redis.Connection, settings, redis.exceptions, waits=False)
        self.left: int | None = None
        self.answered = False

    def cut_at(self, exchange: int, *, answered: bool) -> None:
        self.left, self.answered = exchange, answered

    def mend(self) -> None:
        self.left = None

    async def say(self, connection: Any, calls: Sequence[Call], *, asking: bool = False) -> Any:
        if self.left is None:
            return await super().say(connection, calls, asking=asking)
        self.left -= 1
        if self.left >= 0 or self.answered:
            replies = await super().say(connection, calls, asking=asking)
            if self.left >= 0:
                return replies
        self.answered = False  # and then the server is away
        raise redis.ConnectionError("cut")


def cut_backend(maker: CutMaker, clock: Clock) -> RedisBackend:
    """Return a backend whose exchanges go through `maker`."""
    link = ServerLink(OwnLine(maker), name="redis://")
    return RedisBackend(link, name="redis://", clock=clock)
