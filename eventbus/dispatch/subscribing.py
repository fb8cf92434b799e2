"""Subscribers: classes that register several listeners themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

from attrs import Factory, define, evolve, frozen

from eventbus.dispatch.hints import unwrapped
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.targets import describe
from eventbus.errors import ListenError

__all__ = ["Gathering", "Postponed", "entries"]


@frozen(eq=False)
class Postponed:
    """An import string that was given to a bus, looked up with the first dispatch."""

    path: str
    register: Callable[[], object]
    #: Its place in the order of registration: where it was given.
    place: int


@define
class Gathering:
    """What a subscriber registers, or an import string stands for, until it becomes known."""

    #: In the order of registration.
    place: int | tuple[int | str, ...]
    origin: Literal["hand", "discovery"] = "hand"
    listeners: list[Listener] = Factory(list)

    def add(self, listener: Listener) -> Listener:
        """Take a listener; return it with its origin, and its place among the others."""
        number = len(self.listeners)
        place = self.place if isinstance(self.place, tuple) else (self.place, "", 0)
        target = listener.target
        function = unwrapped(target.function)
        if target.owner is None and "<locals>" in getattr(function, "__qualname__", ""):
            # Made anew by each call of `subscribe`: the same place in it makes it the same code.
            code = (function.__module__, function.__qualname__, number)
            target = evolve(target, code=code)
        if self.origin == "discovery":
            # A scan may come twice and build the subscriber twice: whose method it is says nothing.
            target = evolve(target, identity=target.code)
        found = evolve(listener, target=target, origin=self.origin, order=(*place, number))
        self.listeners.append(found)
        return found


def _method_named(subscriber: object, name: Any) -> Any:
    """Return the listener that a subscriber's mapping names: a method of it, or one as it is."""
    if isinstance(name, str) and ":" not in name:
        found = getattr(subscriber, name, None)
        if callable(found):
            return found
        raise ListenError(
            listener=describe(type(subscriber)),
            reason=f"its mapping names {name!r}, which is no method of it",
            remedy="Name a method of the subscriber, or give a listener",
        )
    return name


def entries(subscriber: object, answer: Any) -> list[tuple[Any, Any]]:
    """
    Return (event, listener) for what `subscribe` returned.

    Raises:
        ListenError: It returned neither None nor a mapping of events to methods.
    """
    if answer is None:
        return []
    if not isinstance(answer, Mapping):
        if inspect.iscoroutine(answer):
            answer.close()
        raise ListenError(
            listener=describe(type(subscriber)),
            reason=f"its subscribe() returned {type(answer).__name__}",
            remedy='Return a mapping such as {OrderShipped: "on_shipped"}, or None',
        )
    return [
        (event, _method_named(subscriber, one))
        for event, named in answer.items()
        for one in (named if isinstance(named, list) else [named])
    ]
