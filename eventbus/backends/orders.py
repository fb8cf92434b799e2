"""What operators tell the workers of a connection, through its store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from attrs import frozen

__all__ = ["ALL_QUEUES", "PAUSE", "RESTART", "Orders"]

#: The flags by which workers are told what to do; behind the second stands a queue.
RESTART: Final = "restart"
PAUSE: Final = "pause:"
#: Stands for all queues among those that rest.
ALL_QUEUES: Final = "*"


@frozen(kw_only=True)
class Orders:
    """
    What the workers of a connection were told to do.

    Example:
        >>> Orders(paused=frozenset({"emails"})).is_paused("emails")
        True
    """

    #: Changes with each order to restart; empty until there was one.
    restart: str = ""
    #: The queues that rest; `"*"` among them stands for all.
    paused: frozenset[str] = frozenset()

    @classmethod
    def of(cls, flags: Mapping[str, str]) -> Self:
        """
        Read what was told.

        Args:
            flags: Those of the store.

        Example:
            >>> Orders.of({"pause:emails": "1"}).paused
            frozenset({'emails'})
        """
        paused = (name.removeprefix(PAUSE) for name in flags if name.startswith(PAUSE))
        return cls(restart=flags.get(RESTART, ""), paused=frozenset(paused))

    def is_paused(self, queue: str) -> bool:
        """Say whether nothing may be claimed from `queue`."""
        return queue in self.paused or ALL_QUEUES in self.paused
