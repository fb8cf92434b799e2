"""Subscribers: classes that register several listeners themselves."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from eventbus.dispatch.listeners import describe
from eventbus.errors import ListenError

__all__ = ["entries", "method_named"]


def method_named(subscriber: object, name: Any) -> Any:
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
        (event, method_named(subscriber, one))
        for event, named in answer.items()
        for one in (named if isinstance(named, list) else [named])
    ]
