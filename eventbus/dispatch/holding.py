"""Events that do not go out now: muted and deferred in this context, or held until flushed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar, Token
from typing import Any, Self

from attrs import field, frozen

from eventbus.dispatch.names import concerns, event_name

__all__ = ["Deferred", "Diversion", "Held", "Muted"]

#: An event and its payload, as they were dispatched.
Waiting = tuple[Any, tuple[Any, ...]]


@frozen(kw_only=True)
class Diversion:
    """What happens to events that are dispatched in this context."""

    muted: bool = False
    #: Where deferred events wait, in order; None outside a `deferred` block.
    waiting: list[Waiting] | None = None
    #: Which events wait; none named means all.
    only: tuple[type | str, ...] = ()
    #: What held before this block, for events that it lets through.
    outer: Diversion | None = None

    def takes(self, event: Any, name: str, payload: tuple[Any, ...]) -> bool:
        """Take an event that is not to go out now; False if it is none of ours."""
        if self.muted:
            return True
        if self.waiting is not None and (not self.only or concerns(self.only, event, name)):
            self.waiting.append((event, payload if isinstance(event, str) else ()))
            return True
        return self.outer is not None and self.outer.takes(event, name, payload)


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
        self._tokens: list[Token[Diversion | None]] = []

    def _diversion(self) -> Diversion:
        return Diversion(muted=True)

    def __enter__(self) -> Self:
        self._divert(1)
        self._tokens.append(self._here.set(self._diversion()))
        return self

    def __exit__(self, *_: object) -> None:
        self._here.reset(self._tokens.pop())
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
        self._waiting: list[Waiting] = []

    def _diversion(self) -> Diversion:
        self._waiting = []
        return Diversion(waiting=self._waiting, only=self._only, outer=self._here.get())

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        waiting = self._waiting
        try:
            if kind is None:
                # These go out now, even from a block inside another one.
                self._here.set(None)
                while waiting:
                    event, payload = waiting.pop(0)
                    self._dispatch(event, *payload)
        except Exception as error:
            _tell(error, waiting)
            raise
        finally:
            super().__exit__(kind, *rest)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        waiting = self._waiting
        try:
            if kind is None:
                self._here.set(None)
                while waiting:
                    event, payload = waiting.pop(0)
                    await self._adispatch(event, *payload)
        except Exception as error:
            _tell(error, waiting)
            raise
        finally:
            super().__exit__(kind, *rest)


def _tell(error: Exception, waiting: list[Waiting]) -> None:
    if waiting:
        names = ", ".join(_name(event) for event, _ in waiting)
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
