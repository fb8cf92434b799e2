"""Events that do not go out now: muted and deferred in this context, or held until flushed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar, Token
from typing import Any, Self

from attrs import define, field, frozen

from eventbus.dispatch.names import concerns, event_name

__all__ = ["Deferred", "Diversion", "Held", "Muted", "Waiting"]

#: An event and its payload, as they were dispatched.
Waiting = tuple[Any, tuple[Any, ...]]


@define(kw_only=True, eq=False)
class Diversion:
    """What happens to events that are dispatched in a block."""

    muted: bool = False
    #: Where deferred events wait, in order; None in a `muted` block.
    waiting: deque[Waiting] | None = None
    #: Which events wait; none named means all.
    only: tuple[type | str, ...] = ()
    #: The block around this one, for events that it lets through.
    outer: Diversion | None = None
    #: The block has ended; a task or thread begun in it may still carry it.
    over: bool = False

    def takes(self, event: Any, name: str, payload: tuple[Any, ...]) -> bool:
        """Take an event that is not to go out now; False if it is none of ours."""
        if not self.over:
            if self.muted:
                return True
            if self.waiting is not None and (not self.only or concerns(self.only, event, name)):
                self.waiting.append((event, payload if isinstance(event, str) else ()))
                return True
        return self.outer is not None and self.outer.takes(event, name, payload)

    def mutes(self) -> bool:
        """Tell whether this block, or one around it, lets nothing out."""
        return (self.muted and not self.over) or (self.outer is not None and self.outer.mutes())


class Muted:
    """
    A block in which dispatched events go nowhere; what held before is restored at its end.

    Args:
        here: Where the diversion of the current context is kept.
        divert: Called with 1 when the block begins and with -1 when it ends.
    """

    def __init__(self, here: ContextVar[Diversion | None], divert: Callable[[int], None]) -> None:
        self._here = here
        self._divert = divert
        self._open: list[tuple[Diversion, Token[Diversion | None]]] = []

    def _diversion(self, outer: Diversion | None) -> Diversion:
        return Diversion(muted=True, outer=outer)

    def __enter__(self) -> Self:
        self._divert(1)
        diversion = self._diversion(self._here.get())
        self._open.append((diversion, self._here.set(diversion)))
        return self

    def __exit__(self, *raised: object) -> None:
        diversion, token = self._open.pop()
        diversion.over = True
        try:
            self._here.reset(token)
        finally:
            self._divert(-1)


class Deferred(Muted):
    """
    A block whose events go out at its end, in order; an exception discards them.

    Works with `with` and with `async with`.
    """

    def __init__(
        self,
        here: ContextVar[Diversion | None],
        divert: Callable[[int], None],
        only: tuple[type | str, ...],
        dispatch: Callable[..., Any],
        adispatch: Callable[..., Awaitable[Any]],
    ) -> None:
        super().__init__(here, divert)
        self._only = only
        self._dispatch = dispatch
        self._adispatch = adispatch

    def _diversion(self, outer: Diversion | None) -> Diversion:
        return Diversion(waiting=deque(), only=self._only, outer=outer)

    def __exit__(self, *raised: object) -> None:
        waiting = self._let_out(raised[0])
        try:
            while waiting:
                event, payload = waiting.popleft()
                self._dispatch(event, *payload)
        except Exception as error:
            _tell(error, waiting)
            raise
        finally:
            super().__exit__(*raised)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *raised: object) -> None:
        waiting = self._let_out(raised[0])
        try:
            while waiting:
                event, payload = waiting.popleft()
                await self._adispatch(event, *payload)
        except Exception as error:
            _tell(error, waiting)
            raise
        finally:
            super().__exit__(*raised)

    def _let_out(self, kind: object) -> deque[Waiting]:
        """Take no more events, and return those that go out now."""
        diversion, _ = self._open[-1]
        diversion.over = True
        if kind is not None or diversion.waiting is None or diversion.mutes():
            return deque()
        # Past the blocks around this one, which hold back only what is dispatched in them.
        self._here.set(None)
        return diversion.waiting


def _tell(error: Exception, waiting: Iterable[Waiting]) -> None:
    names = ", ".join(_name(event) for event, _ in waiting)
    if names:
        error.add_note(f"deferred behind it and not dispatched: {names}")


def _name(event: Any) -> str:
    return event if isinstance(event, str) else event_name(type(event))


@frozen
class Held:
    """Events kept by `hold` until `flush`."""

    _events: deque[Waiting] = field(init=False, factory=deque)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def add(self, event: Any, payload: tuple[Any, ...]) -> None:
        """Keep one event."""
        with self._lock:
            self._events.append((event, payload))

    def take(self, only: Iterable[type | str]) -> list[Waiting]:
        """Take out the events of these classes and names, all where none is given, in order."""
        wanted = tuple(only)
        with self._lock:
            taken = [one for one in self._events if _is_one_of(one[0], wanted)]
            kept = [one for one in self._events if not _is_one_of(one[0], wanted)]
            self._events.clear()
            self._events.extend(kept)
        return taken

    def put_back(self, events: list[Waiting]) -> None:
        """Keep events again that were taken and could not go out, before those held since."""
        with self._lock:
            self._events.extendleft(reversed(events))


def _is_one_of(event: Any, wanted: tuple[type | str, ...]) -> bool:
    return not wanted or concerns(wanted, event, _name(event))
