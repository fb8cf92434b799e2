"""What is done within a limit: `with` blocks, sync and async, that count one, or take a slot."""

from __future__ import annotations

import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from secrets import token_hex
from types import TracebackType
from typing import TYPE_CHECKING, Self
from weakref import WeakMethod

from attrs import define, field, frozen
from typing_extensions import override

from eventbus.backends.limits import Window
from eventbus.defaults import SLOT_INTERVAL
from eventbus.dispatch.waiting import Blocking, Walk, adrive
from eventbus.errors import BackendError, LimitExceeded
from eventbus.queue.renewal import RENEWALS
from eventbus.text import short

if TYPE_CHECKING:
    from eventbus.backends.limit_port import LimitPort

__all__ = ["Funnel", "Throttle"]

_log = logging.getLogger("eventbus.queue")


class Gate(ABC):
    """A `with` block that is entered when a limit has room."""

    #: What the limit is called in errors.
    shown: str
    #: Seconds to wait for room.
    block: float

    @abstractmethod
    def attempt(self) -> float:
        """
        Go in and return 0, or return in how many seconds it may be worth to try again.

        Raises:
            BackendError: The store of the limit cannot be asked.
        """

    @abstractmethod
    def leave(self) -> None:
        """Come out."""

    @abstractmethod
    def pause(self, wait: float, left: float) -> float:
        """Return for how long to wait when `wait` was said and `left` seconds are left; 0 if it is no use."""

    @abstractmethod
    def retry_in(self, wait: float) -> float:
        """Return in how many seconds whoever is refused may try again."""

    def __enter__(self) -> Self:
        until = time.monotonic() + self.block
        while wait := self.attempt():
            pause = self.pause(wait, until - time.monotonic())
            if not pause:
                raise LimitExceeded(limit=self.shown, retry_in=self.retry_in(wait))
            time.sleep(pause)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.leave()

    async def __aenter__(self) -> Self:
        import asyncio

        until = time.monotonic() + self.block
        while wait := await self._attempted():
            pause = self.pause(wait, until - time.monotonic())
            if not pause:
                retry_in = await adrive(_blocking(lambda: self.retry_in(wait)))
                raise LimitExceeded(limit=self.shown, retry_in=retry_in)
            await asyncio.sleep(pause)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await adrive(_blocking(self.leave))

    async def _attempted(self) -> float:
        went_in = False

        def attempt() -> float:
            nonlocal went_in
            wait = self.attempt()
            went_in = not wait
            return wait

        try:
            return await adrive(_blocking(attempt))  # type: ignore[no-any-return]
        except BaseException:
            if went_in:  # and was cancelled meanwhile: nobody will come out
                await adrive(_blocking(self.leave))
            raise


def _blocking(call: Callable[[], object]) -> Walk:
    return (yield Blocking(call))


@frozen(kw_only=True, eq=False)
class Throttle(Gate):
    """
    A `with` or `async with` block that counts one against limits; `EventBus.throttle` makes it.

    It may be used many times, also by several threads.
    """

    port: Callable[[], LimitPort]
    name: str
    shown: str
    windows: Sequence[Window]
    block: float
    #: Whether it is a job that is refused, which goes back to its queue.
    in_run: Callable[[], bool]

    @override
    def attempt(self) -> float:
        """
        Count one and return 0, or return in how many seconds there is room: for those who raise nothing.

        Raises:
            BackendError: The store of the limit cannot be asked.
        """
        return self.port().spend(self.name, self.windows)

    async def aattempt(self) -> float:
        """Do what `attempt` does, without blocking the loop."""
        return await adrive(_blocking(self.attempt))  # type: ignore[no-any-return]

    @override
    def leave(self) -> None:
        """What was counted stays."""

    @override
    def pause(self, wait: float, left: float) -> float:
        return wait if wait <= left else 0.0  # nobody makes room before

    @override
    def retry_in(self, wait: float) -> float:
        # All who are refused would come back in one instant: jobs, which surely come, get a turn each.
        return self.turn() if self.in_run() else wait

    def turn(self) -> float:
        """Return in how many seconds whoever was refused may come back; each call gives a later answer."""
        return self.port().turn(self.name, self.windows)

    def room_in(self) -> float:
        """Return in how many seconds there is room, 0 if there is some; nothing is counted."""
        return self.port().spend(self.name, self.windows, take=False)

    def refund(self) -> None:
        """Forget all that was counted."""
        self.port().refund(self.name, self.windows)


@define(kw_only=True, eq=False)
class Funnel(Gate):
    """
    A `with` or `async with` block in which only so many are at once; `EventBus.funnel` makes it.

    It may be used many times, also by several threads. A slot is renewed for as long as it is held; if
    whoever holds it dies, it ends with its life.
    """

    port: Callable[[], LimitPort]
    name: str
    shown: str
    limit: int
    life: float
    block: float
    #: The owners of the slots that are held. Which one is given back first does not matter.
    _held: list[str] = field(init=False, factory=list)

    @override
    def attempt(self) -> float:
        """
        Take a slot and return 0, or return in how many seconds the first ends if it is not renewed.

        Raises:
            BackendError: The store of the limit cannot be asked.
        """
        owner = token_hex(8)
        try:
            wait = self.port().enter(self.name, owner, limit=self.limit, life=self.life)
            if not wait:
                self._held.append(owner)
                RENEWALS.add(
                    owner, f"a slot of {self.shown}", self._renewal(owner), lasts=self.life
                )
        except BackendError:
            raise
        except BaseException:
            # Over its time, or told to stop, with a slot or without: nobody will come out.
            self._give_back(owner)
            raise
        return wait

    def _renewal(self, owner: str) -> Callable[[], bool]:
        """Return what renews a slot for as long as there is somebody to come out."""
        method = WeakMethod(self._renewed)

        def renew() -> bool:
            renewed = method()
            return renewed is not None and renewed(owner)

        return renew

    def _renewed(self, owner: str) -> bool:
        wait = self.port().enter(self.name, owner, limit=self.limit, life=self.life)
        if wait:
            _log.warning("a slot of %s is lost: somebody else has it", short(self.shown))
        return not wait

    @override
    def leave(self) -> None:
        """Give a slot back, if one is held. Where the store is away that is logged, and it ends with its life."""
        if self._held:
            self._give_back(self._held[-1])

    def _give_back(self, owner: str) -> None:
        self._held[:] = [one for one in self._held if one is not owner]
        RENEWALS.drop(owner)
        try:
            self.port().leave(self.name, owner)
        except BackendError as error:
            _log.warning(
                "a slot of %s ends in %g s: %s", short(self.shown), self.life, short(str(error))
            )

    @override
    def pause(self, wait: float, left: float) -> float:
        # A slot may be free at any time.
        return min(wait, left, SLOT_INTERVAL * random.uniform(0.25, 0.75)) if left > 0 else 0.0  # noqa: S311

    @override
    def retry_in(self, wait: float) -> float:
        return min(wait, SLOT_INTERVAL * random.uniform(1.0, 2.0))  # noqa: S311 -- no secret
