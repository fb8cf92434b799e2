"""The record kept of each listener, and whether it can be called for its event."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from attrs import Factory, field, frozen

from eventbus.dispatch.hints import (
    NO_HINT,
    Parameter,
    UnusableHint,
    event_classes,
    unwrapped,
)
from eventbus.dispatch.names import is_pattern
from eventbus.dispatch.targets import Target
from eventbus.errors import InvalidOption, ListenError

__all__ = ["Calling", "Listener", "calling", "check", "injected"]

#: How a listener is called: with the event object, with a name's payload, or with name and payload.
Calling = Literal["event", "payload", "wildcard"]


def _whole(listener: Listener, _: object, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidOption(
            option="priority", value=value, expected="a whole number", where=listener.name
        )


@frozen(kw_only=True, eq=False)
class Listener:
    """One registration: this target hears this event."""

    #: A class, a name or a wildcard.
    event: type | str
    target: Target
    #: Higher goes first.
    priority: int = field(default=0, validator=_whole)
    once: bool = False
    #: What dispatch does not understand, for those who do.
    options: Mapping[str, Any] = Factory(dict)
    #: "hand", or "discovery" for what a scan found.
    origin: Literal["hand", "discovery"] = "hand"
    #: When it was registered; for discovered ones, when the scan was asked for, then where it stands.
    order: tuple[int | str, ...] = (0, "", 0)
    _chances: Iterator[None] = field(
        init=False, repr=False, default=Factory(lambda: itertools.repeat(None, 1))
    )

    @property
    def name(self) -> str:
        """The target's name."""
        return self.target.name

    def spend(self) -> bool:
        """Take the one chance of a `once` listener; True for the first caller of all threads."""
        return next(self._chances, self) is None


def calling(event: type | str) -> Calling:
    """Return how listeners of `event` are called."""
    if isinstance(event, type):
        return "event"
    return "wildcard" if is_pattern(event) else "payload"


def check(target: Target, event: type | str) -> None:
    """
    Refuse, when it is registered, a target that could not be called for `event`.

    Raises:
        ListenError: Its parameters or its hint do not fit.
    """
    code = getattr(unwrapped(target.function), "__code__", None)
    if (
        code is not None
        and code.co_flags & _GENERATOR
        and not hasattr(target.function, "__wrapped__")
    ):
        raise ListenError(
            listener=target.name,
            reason="it is a generator: a call of it runs nothing of it",
            remedy="Return what it has to say, without `yield`",
        )
    found = target.parameters
    if found is None:
        return
    given = [one for one in found if one.positional]
    # How long a name's payload is shows when it is dispatched.
    wanted = {"event": 1, "wildcard": 2, "payload": 0}[calling(event)]
    if sum(wanted if one.variadic else 1 for one in given) < wanted:
        raise ListenError(
            listener=target.name,
            reason=f"it takes {len(given)} positional argument{'s' * (len(given) != 1)},"
            f" and is called with {'the name and the payload' if wanted == 2 else 'the event'}",
            remedy=f"Write `def {target.method or 'listener'}"
            f"({'name: str, payload: tuple' if wanted == 2 else 'event'})`",
        )
    for one in injected(target, event):
        _check_injected(target, one)
    if isinstance(event, type):
        try:
            classes = event_classes(target.hint(given[0].name))
        except UnusableHint:
            return
        # A virtual subclass, registered with an ABC, counts too: issubclass asks the ABC.
        if not issubclass(event, classes):
            raise ListenError(
                listener=target.name,
                reason=f"it takes {' | '.join(one.__qualname__ for one in classes)},"
                f" not {event.__qualname__}",
                remedy=f"Hint its first parameter as {event.__qualname__}, or a parent of it",
            )


def injected(target: Target, event: type | str) -> tuple[Parameter, ...]:
    """Return the parameters that are not the event's: the resolver supplies them by their hints."""
    found = target.parameters or ()
    if calling(event) == "payload":
        # How long a payload is cannot be known here, so only keyword-only parameters are ours.
        return tuple(one for one in found if not one.positional and one.required)
    taken = 2 if calling(event) == "wildcard" else 1
    extra: list[Parameter] = []
    for one in found:
        if taken and one.positional:
            taken -= 0 if one.variadic else 1
        elif one.required:
            extra.append(one)
    return tuple(extra)


def _check_injected(target: Target, one: Parameter) -> None:
    try:
        hint = target.hint(one.name)
    except UnusableHint:
        return  # resolved when it is called: the name may exist by then
    if hint is NO_HINT or not one.keyword:
        raise ListenError(
            listener=target.name,
            reason=f"nothing says what its parameter {one.name!r} is to be",
            remedy=f"Hint it with a class that the bus can build, or give it a default: "
            f"`{one.name}: Mailer`",
        )


_GENERATOR: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
