"""
Connections to a Redis server, of a driver's sync or of its async form.

Whatever is done with one is written once, as a coroutine. The sync form blocks where the async one waits, so
there the coroutine never stops on its way, and `at_once` has its outcome. A connection on which something
was left unread is never used again.
"""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from inspect import Parameter, signature
from types import ModuleType
from typing import Any, TypeVar

from attrs import define, evolve, field
from typing_extensions import override

from eventbus.backends.redis_calls import Call, NotSent, ours_in, told
from eventbus.defaults import REDIS_TRUST

__all__ = [
    "LentLine",
    "Line",
    "Maker",
    "OwnLine",
    "WatchedMaker",
    "at_once",
    "driver_errors",
    "raise_if_ours",
]

_Outcome = TypeVar("_Outcome")


def at_once(walk: Coroutine[Any, Any, _Outcome]) -> _Outcome:
    """Return the outcome of a coroutine that has nothing to wait for."""
    try:
        walk.send(None)
    except StopIteration as end:
        outcome: _Outcome = end.value
        return outcome
    raise AssertionError  # what is of the sync form blocks instead


def driver_errors(client: object) -> ModuleType | None:
    """Return the module with the exceptions of a client's library; None if it is no kin of redis-py."""
    for cls in type(client).__mro__:
        module = sys.modules.get(f"{cls.__module__.partition('.')[0]}.exceptions")
        if module is not None and hasattr(module, "ResponseError"):
            return module
    return None


@define
class Maker:
    """
    Makes connections to one server, and speaks on them.

    Args:
        kind: The driver's class for a connection.
        settings: What it is made with.
        errors: The module with the driver's exceptions.
        waits: Whether it is of the driver's async form.
        service: What Sentinels call the servers of which it makes connections to the master.
        sentinels: Make connections to those Sentinels; the one that knew the master last comes first.
    """

    kind: Any
    settings: Mapping[str, Any] = field(repr=False)  # passwords
    errors: Any
    waits: bool
    service: str = ""
    sentinels: Sequence[Maker] = ()

    def with_settings(self, **settings: Any) -> Maker:
        """Return what makes such connections, with some settings changed."""
        return evolve(self, settings={**self.settings, **settings})

    def at(self, host: str, port: int) -> Maker:
        """Return what makes such connections to another server."""
        return self.with_settings(host=host, port=port)

    async def made(self) -> Any:
        """
        Return a new connection.

        Raises:
            NotSent: There is none to be had.
        """
        since = sys.exc_info()[1]
        connection = None
        try:
            connection = self.kind(**self.settings)
            await self.done(connection.connect())
        except BaseException as error:
            if connection is not None:
                await self.drop(connection)
            raise_if_ours(error, since)
            raise NotSent(told(error)) from error
        return connection

    async def done(self, outcome: Any) -> Any:
        """Return what a method of the driver returned; of the async form, in the end."""
        return await outcome if self.waits else outcome

    async def pause(self, seconds: float) -> None:
        """Let some time pass."""
        if self.waits:
            import asyncio

            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251 -- no loop runs in here

    async def drop(self, connection: Any) -> None:
        """Close a connection that is not to be used again, and wait for nothing."""
        with suppress(Exception):  # closing what is broken may fail as well
            await self.done(connection.disconnect(**({"nowait": True} if self.waits else {})))

    async def close(self, connection: Any) -> None:
        """Close a connection that is as it should be."""
        with suppress(Exception):  # the other end may have been quicker
            await self.done(connection.disconnect())

    async def say(
        self, connection: Any, calls: Sequence[Call], *, asking: bool = False
    ) -> list[Any]:
        """
        Send calls in one go; return what was answered to each, refusals among it.

        Args:
            connection: What this made.
            calls: They go one after the other, and none waits for the answer to the one before.
            asking: Whether each follows an `ASK` of another node.
        """
        packed: list[bytes] = []
        for call in calls:
            if asking:
                packed += _chunks(connection.pack_command("ASKING"))
            packed += _chunks(connection.pack_command(*call.words))
        whole = packed if len(packed) == 1 else [b"".join(packed)]
        sent = connection.send_packed_command(whole, check_health=False)
        if self.waits:
            await sent
        replies: list[Any] = []
        for _ in range(len(calls) * (1 + asking)):
            try:
                reply = connection.read_response(disable_decoding=True)
                replies.append(await reply if self.waits else reply)
            except self.errors.ResponseError as error:
                replies.append(error)
        return replies[1::2] if asking else replies

    async def is_dirty(self, connection: Any) -> bool:
        """Tell whether an idle connection was cut off, or holds what nobody asked for."""
        # The async form of older drivers has another name for it.
        look = getattr(connection, "can_read", None) or connection.can_read_destructive
        try:
            return bool(await self.done(look()))
        except Exception:  # noqa: BLE001 -- cut off, in whatever way
            return True


def raise_if_ours(error: BaseException, since: BaseException | None) -> None:
    """Raise what is not the driver's own: a cancellation, a ^C, what ends a run that is over its time."""
    own = ours_in(error, since=since)
    if own is not None:
        raise own from None
    if not isinstance(error, Exception):
        raise error


def _chunks(packed: Any) -> Sequence[bytes]:
    return (packed,) if isinstance(packed, bytes) else packed


@define
class WatchedMaker(Maker):
    """Asks its Sentinels where the master is, each time it makes a connection."""

    @override
    async def made(self) -> Any:
        last = NotSent("there is no Sentinel")
        for sentinel in self.sentinels:
            try:
                host, port = await self._master(sentinel)
            except NotSent as error:
                last = error
                continue
            if sentinel is not self.sentinels[0]:
                self.sentinels = [sentinel, *(one for one in self.sentinels if one is not sentinel)]
            return await Maker.made(self.at(host, port))
        raise last

    async def _master(self, sentinel: Maker) -> tuple[str, int]:
        since = sys.exc_info()[1]
        connection = await sentinel.made()
        call = Call("", ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service))
        try:
            [found] = await sentinel.say(connection, [call])
            if isinstance(found, Exception):
                raise found
            host, port = found
            return host.decode(), int(port)
        except BaseException as error:
            raise_if_ours(error, since)
            unknown = f"a Sentinel knows no {self.service!r}: {told(error)}"
            raise NotSent(unknown) from error
        finally:
            await sentinel.drop(connection)


class Line(ABC):
    """
    Lends connections to one server.

    Args:
        maker: Makes new ones.
    """

    def __init__(self, maker: Maker) -> None:
        self.maker = maker

    @abstractmethod
    async def take(self) -> Any:
        """
        Return a connection that nobody else uses.

        Raises:
            NotSent: There is none to be had.
        """

    @abstractmethod
    async def keep(self, connection: Any) -> None:
        """Take a connection back, all of whose answers were read."""

    @abstractmethod
    async def drop(self, connection: Any) -> None:
        """Take a connection back that is not to be used again."""

    @abstractmethod
    async def empty(self) -> None:
        """Close what is idle: it was cut off, or leads to a server that is another one by now."""


class OwnLine(Line):
    """
    Keeps connections of its own.

    Not a driver's pool: that looks whether something can be read each time one is lent, which costs half as
    much as a command. Here one that was used a moment ago is trusted; that it was cut off is noticed by who
    uses it.
    """

    def __init__(self, maker: Maker) -> None:
        super().__init__(maker)
        #: Connections, and since when each is idle.
        self._idle: list[tuple[Any, float]] = []
        self._process = os.getpid()
        #: Those of the process that forked this one: to close them would disturb it.
        self._of_parents: list[Any] = []

    @override
    async def take(self) -> Any:
        if self._process != os.getpid():
            self._of_parents += self._idle
            self._idle, self._process = [], os.getpid()
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return await self.maker.made()
            recent = time.monotonic() - since < REDIS_TRUST
            if recent or not await self.maker.is_dirty(connection):
                return connection
            await self.maker.drop(connection)

    @override
    async def keep(self, connection: Any) -> None:
        self._idle.append((connection, time.monotonic()))

    @override
    async def drop(self, connection: Any) -> None:
        await self.maker.drop(connection)

    @override
    async def empty(self) -> None:
        while self._idle:
            with suppress(IndexError):
                await self.maker.close(self._idle.pop()[0])


class LentLine(Line):
    """
    Has connections of a pool that somebody else owns, each for as long as it is used.

    Args:
        pool: That of a client.
        maker: Makes new ones, beside the pool.
    """

    def __init__(self, pool: Any, maker: Maker) -> None:
        super().__init__(maker)
        self._pool = pool
        # Older drivers, and the kin of this one, want the name of a command.
        command = signature(pool.get_connection).parameters.get("command_name")
        is_wanted = command is not None and command.default is Parameter.empty
        self._words = ("EVALSHA",) if is_wanted else ()

    @override
    async def take(self) -> Any:
        since = sys.exc_info()[1]
        try:
            return await self.maker.done(self._pool.get_connection(*self._words))
        except BaseException as error:
            raise_if_ours(error, since)
            raise NotSent(told(error)) from error

    @override
    async def keep(self, connection: Any) -> None:
        await self.maker.done(self._pool.release(connection))

    @override
    async def drop(self, connection: Any) -> None:
        await self.maker.drop(connection)
        await self.keep(connection)

    @override
    async def empty(self) -> None:
        """Leave what is idle to its owner."""
