"""A bus that limits: how often something is done, and how many do it at once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from eventbus.defaults import SLOT_LIFE
from eventbus.values import seconds

if TYPE_CHECKING:
    from contextvars import ContextVar
    from datetime import timedelta

    from eventbus.queue.connections import Connections
    from eventbus.queue.execution import Execution
    from eventbus.queue.limits import Limiter, Limiters, Rule
    from eventbus.queue.throttling import Funnel, Throttle

__all__ = ["LimitBus"]


class LimitBus:
    """What `EventBus` does with limits."""

    if TYPE_CHECKING:
        # What `EventBus` has.
        _connections: Connections
        _current: ContextVar[Execution | None]

    @cached_property
    def limiters(self) -> Limiters:
        """The limits of the bus, for its middleware."""
        from eventbus.queue.limits import Limiters

        def in_run() -> bool:
            running = self._current.get()
            return running is not None and running.attempt.stored

        return Limiters(self._connections, in_run)

    def limiter(self, name: str, rule: Rule, *, connection: str | None = None) -> Limiter:
        """
        Give a limit a name, by which `RateLimited` asks for it.

        Args:
            name: The name. A second definition takes the place of the first.
            rule: A `Limit`; a list of them, all of which must have room; None for no limit; or a function
                that returns one of these, called with the event, or the job.
            connection: Where it is counted: what shares the store shares the limit.

        Returns:
            The limiter, to be used where no middleware is: `with api(job): ...`.

        Raises:
            InvalidOption: One of them cannot be.
            UnknownConnection: Nobody configured `connection`.

        Defaults:
            connection = None: the default connection. On `sync://` it is counted in this process.

        Example:
            >>> from eventbus import EventBus, Limit
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> api = bus.limiter(
            ...     "api", lambda tenant: [Limit.per_second(5), Limit.per_hour(1000).by(tenant)]
            ... )
            >>> with api("acme"):
            ...     pass  # call it
        """
        return self.limiters.define(name, rule, connection)

    def throttle(
        self,
        key: str,
        *,
        allow: int,
        every: float | timedelta,
        block: float | timedelta = 0,
        connection: str | None = None,
    ) -> Throttle:
        """
        Return a `with` or `async with` block that is entered at most so often in any stretch of time.

        Where it has no room, it raises `LimitExceeded`, and a job that lets that through is given back until
        its turn, without spending a try.

        Args:
            key: What is limited.
            allow: How often, >= 1.
            every: In how many seconds, > 0, or a `timedelta`.
            block: Seconds, or a `timedelta`, to wait for room; nobody waits who would be too late.
            connection: Where it is counted: what shares the store shares the limit.

        Raises:
            InvalidOption: One of them cannot be.
            UnknownConnection: Nobody configured `connection`.

        Defaults:
            block = 0: it is refused at once.
            connection = None: the default connection. On `sync://` it is counted in this process.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> with bus.throttle("weather", allow=10, every=60):
            ...     pass  # ask for it
        """
        from eventbus.queue.limits import Limit, named

        where = f"throttle {key!r}"
        return self.limiters.throttle(
            "throttle",
            named(key, where=where),
            Limit(allow, every),
            connection,
            block=seconds(block, option="block", where=where),
        )

    def funnel(
        self,
        key: str,
        *,
        limit: int = 1,
        life: float | timedelta = SLOT_LIFE,
        block: float | timedelta = 0,
        connection: str | None = None,
    ) -> Funnel:
        """
        Return a `with` or `async with` block in which only so many are at once, wherever they are.

        Where all slots are taken, it raises `LimitExceeded`, and a job that lets that through is given back for a
        while, without spending a try. A slot is renewed while it is held, and given back at the end.

        Args:
            key: What is limited.
            limit: How many may be in it, >= 1.
            life: Seconds, or a `timedelta`, after which the slot of one that died is free.
            block: Seconds, or a `timedelta`, to wait for a slot.
            connection: Where it is kept who is in: what shares the store shares the limit.

        Raises:
            InvalidOption: One of them cannot be.
            UnknownConnection: Nobody configured `connection`.

        Defaults:
            limit = 1.
            life = `defaults.SLOT_LIFE`.
            block = 0: it is refused at once.
            connection = None: the default connection. On `sync://` it is kept in this process.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> with bus.funnel("import", limit=2):
            ...     pass  # one of two
        """
        from eventbus.queue.limits import lasting, named, whole

        where = f"funnel {key!r}"
        return self.limiters.funnel(
            "funnel",
            named(key, where=where),
            connection,
            limit=whole(limit, "limit", where=where),
            life=lasting(life, "life", where=where),
            block=seconds(block, option="block", where=where),
        )
