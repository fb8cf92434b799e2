"""Limits: how often something may be done, by a name or where it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from attrs import field, frozen

from eventbus.backends.limits import Window
from eventbus.defaults import LIMIT_KEY_LENGTH
from eventbus.dispatch.hints import is_async
from eventbus.errors import InvalidOption, UnknownLimiter
from eventbus.queue.throttling import Funnel, Throttle
from eventbus.values import seconds, valid_name

if TYPE_CHECKING:
    from datetime import timedelta

    from eventbus.backends.limit_port import LimitPort
    from eventbus.queue.connections import Connections


__all__ = ["Limit", "Limiter", "Limiters", "keyed", "lasting", "named", "storable", "whole"]


def whole(value: Any, option: str, *, where: str) -> int:
    """Return a whole number >= 1; `InvalidOption` if it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise InvalidOption(option=option, value=value, expected="a whole number >= 1", where=where)


def lasting(value: float | timedelta, option: str, *, where: str) -> float:
    """Return a duration of more than 0 seconds; `InvalidOption` if it is none."""
    found = seconds(value, option=option, where=where)
    if found:
        return found
    raise InvalidOption(option=option, value=value, expected="more than 0 seconds", where=where)


def keyed(value: str | int | UUID) -> str:
    """Return a key as it is stored; `InvalidOption` for what is none."""
    # None, and what is shown by its address, would count as something that was not meant.
    if isinstance(value, str | int | UUID) and not isinstance(value, bool):
        return str(value)
    expected = "a text, a whole number or a UUID"
    raise InvalidOption(option="key", value=value, expected=expected, where="a limit")


def named(key: Any, *, where: str) -> str:
    """Return what somebody calls a limit as it is; `InvalidOption` if it is no text, or an empty one."""
    if isinstance(key, str) and key and key.isprintable():
        return key
    expected = "a text of printable characters"
    raise InvalidOption(option="key", value=key, expected=expected, where=where)


def storable(key: str) -> str:
    """Return a key that every store takes: one that is too long, or cannot be shown, by its hash."""
    if len(key) <= LIMIT_KEY_LENGTH and key.isprintable():
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _allowed(value: int) -> int:
    return whole(value, "allow", where="a limit")


def _every(value: float | timedelta) -> float:
    return lasting(value, "every", where="a limit")


@frozen
class Limit:
    """
    No more than so often in any stretch of time: of a minute, say, wherever it begins.

    Args:
        allow: How often, >= 1.
        every: In how many seconds, > 0, or a `timedelta`.
        key: What is counted apart: a text, a whole number or a UUID.

    Raises:
        InvalidOption: One of them cannot be.

    Defaults:
        key = empty: all is counted together.

    Example:
        >>> Limit.per_minute(100).by("acme")
        Limit(allow=100, every=60.0, key='acme')
    """

    allow: int = field(converter=_allowed)
    every: float = field(converter=_every)
    key: str = field(default="", converter=keyed)

    @classmethod
    def per_second(cls, allow: int) -> Self:
        """Return the limit of so often in any second."""
        return cls(allow, 1)

    @classmethod
    def per_minute(cls, allow: int) -> Self:
        """Return the limit of so often in any minute."""
        return cls(allow, 60)

    @classmethod
    def per_hour(cls, allow: int) -> Self:
        """Return the limit of so often in any hour."""
        return cls(allow, 3_600)

    @classmethod
    def per_day(cls, allow: int) -> Self:
        """Return the limit of so often in any 24 hours."""
        return cls(allow, 86_400)

    def by(self, key: str | int | UUID) -> Limit:
        """Return the limit of what has this key: a customer's, whose id it is."""
        return Limit(self.allow, self.every, key)


if TYPE_CHECKING:
    #: What a limiter may be: limits, or a function that returns them.
    Rule = Limit | Sequence[Limit] | Callable[..., Limit | Sequence[Limit] | None] | None


@frozen(eq=False)
class Limiter:
    """
    A limit with a name; called with what its rule is about, it is a `with` block.

    Example:
        >>> from eventbus import EventBus
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> per_customer = bus.limiter("mail", lambda customer: Limit.per_minute(10).by(customer))
        >>> with per_customer("acme"):
        ...     pass  # send it
    """

    name: str
    _rule: Rule
    _port: Callable[[], LimitPort]
    _in_run: Callable[[], bool]

    def __call__(self, *arguments: Any, block: float | timedelta = 0) -> Throttle:
        """
        Return what counts one, as `EventBus.throttle` does.

        Args:
            arguments: What the rule is called with; of a middleware the event, or the job.
            block: Seconds, or a `timedelta`, to wait for room.

        Raises:
            InvalidOption: The rule returns no limits.

        Defaults:
            block = 0: it is refused at once.
        """
        return Throttle(
            port=self._port,
            name=f"limiter:{self.name}",
            shown=self.name,
            windows=self._windows(*arguments),
            block=seconds(block, option="block", where=f"limiter {self.name!r}"),
            in_run=self._in_run,
        )

    def _windows(self, *arguments: Any) -> list[Window]:
        found: Any = self._rule(*arguments) if callable(self._rule) else self._rule
        several = [] if found is None else [found] if isinstance(found, Limit) else found
        if isinstance(several, list | tuple) and all(isinstance(one, Limit) for one in several):
            # What is limited twice in the same stretch is limited by the tighter.
            tightest: dict[tuple[str, float], Limit] = {}
            for one in several:
                other = tightest.get((one.key, one.every), one)
                tightest[one.key, one.every] = min(one, other, key=lambda limit: limit.allow)
            return [_window(one) for one in tightest.values()]
        raise InvalidOption(
            option="rule",
            value=found,
            expected="a Limit, a list of them, or None for no limit",
            where=f"limiter {self.name!r}",
        )


def _window(limit: Limit) -> Window:
    return Window(key=storable(limit.key), allow=limit.allow, every=limit.every)


class Limiters:
    """
    The limits of a bus, and where they are kept.

    Args:
        connections: Where; on `sync://`, in this process.
        in_run: Tells whether a job runs here that can be given back.
    """

    def __init__(self, connections: Connections, in_run: Callable[[], bool]) -> None:
        self._connections = connections
        self._in_run = in_run
        self._limiters: dict[str, Limiter] = {}
        self._here: LimitPort | None = None

    def define(self, name: str, rule: Rule, connection: str | None) -> Limiter:
        """Give a limit a name; a second definition takes the place of the first."""
        valid_name(name, option="name", where="a limiter")
        if callable(rule) and is_async(rule):
            raise InvalidOption(
                option="rule",
                value=rule,
                expected="a plain function, not an async one",
                where=f"limiter {name!r}",
            )
        limiter = Limiter(name, rule, self.port(connection), self._in_run)
        if not callable(rule):
            limiter()  # refused where it is written, not where it is used
        self._limiters[name] = limiter
        return limiter

    def named(self, name: str) -> Limiter:
        """
        Return the limit of a name.

        Raises:
            UnknownLimiter: Nobody defined it.
        """
        limiter = self._limiters.get(name)
        if limiter is None:
            raise UnknownLimiter(limiter=name, known=sorted(self._limiters))
        return limiter

    def throttle(
        self, kind: str, key: str, limit: Limit, connection: str | None, *, block: float = 0.0
    ) -> Throttle:
        """Return what counts one against a limit, of a kind, that somebody calls `key`."""
        return Throttle(
            port=self.port(connection),
            name=storable(f"{kind}:{key}"),
            shown=key,
            windows=[_window(limit)],
            block=block,
            in_run=self._in_run,
        )

    def funnel(
        self,
        kind: str,
        key: str,
        connection: str | None,
        *,
        life: float,
        limit: int = 1,
        block: float = 0.0,
    ) -> Funnel:
        """Return where only so many are at once, of a kind, that somebody calls `key`."""
        return Funnel(
            port=self.port(connection),
            name=storable(f"{kind}:{key}"),
            shown=key,
            limit=limit,
            life=life,
            block=block,
        )

    def port(self, connection: str | None) -> Callable[[], LimitPort]:
        """
        Return what returns the store of limits of a connection; the default's for None.

        Raises:
            UnknownConnection: Nobody configured it.
        """
        name = self._connections.checked(connection)
        return lambda: self._port(name)

    def _port(self, name: str) -> LimitPort:
        if not self._connections.is_sync(name):
            return self._connections.port(name).limits
        if self._here is None:
            from eventbus.backends.port import Port
            from eventbus.backends.urls import open_backend

            opened = open_backend("memory://", clock=self._connections.clock)
            self._here = Port(opened.backend, name=name).limits
        return self._here
