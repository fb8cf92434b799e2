"""`@listens`, and what it leaves on a function, method or class."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, overload

from attrs import Factory, frozen

from eventbus.dispatch.hints import union_members
from eventbus.dispatch.targets import handlers_of
from eventbus.errors import ListenError

if TYPE_CHECKING:
    from typing import Never

    from typing_extensions import TypeForm

    from eventbus.dispatch.accepts import (
        E1,
        E2,
        E3,
        E4,
        C,
        ClassOf,
        Hinted,
        ListensByHint,
        ListensByName,
        ListensTo,
        P,
    )


__all__ = ["Mark", "listens", "marks"]

_MARKS: Final = "__eventbus_listens__"


@frozen(kw_only=True)
class Mark:
    """What one `@listens` says."""

    events: tuple[type | str, ...] = ()
    priority: int = 0
    once: bool = False
    options: Mapping[str, Any] = Factory(dict)


@overload
def listens(
    event: str, /, *events: Any, priority: int = 0, once: bool = False, **options: Any
) -> ListensByName: ...
@overload
def listens(listener: ClassOf[Never, P, C], /) -> type[C]: ...
@overload
def listens(*, priority: int = 0, once: bool = False, **options: Any) -> ListensByHint: ...
@overload
def listens(
    event: TypeForm[E1], /, *, priority: int = 0, once: bool = False, **options: Any
) -> ListensTo[E1]: ...
@overload
def listens(
    event: TypeForm[E1],
    event2: TypeForm[E2],
    /,
    *,
    priority: int = 0,
    once: bool = False,
    **options: Any,
) -> ListensTo[E1 | E2]: ...
@overload
def listens(
    event: TypeForm[E1],
    event2: TypeForm[E2],
    event3: TypeForm[E3],
    /,
    *,
    priority: int = 0,
    once: bool = False,
    **options: Any,
) -> ListensTo[E1 | E2 | E3]: ...
@overload
def listens(
    event: TypeForm[E1],
    event2: TypeForm[E2],
    event3: TypeForm[E3],
    event4: TypeForm[E4],
    /,
    *events: type[Any],
    priority: int = 0,
    once: bool = False,
    **options: Any,
) -> ListensTo[E1 | E2 | E3 | E4]: ...
@overload
def listens(listener: Hinted, /) -> Hinted: ...
def listens(*events: Any, priority: int = 0, once: bool = False, **options: Any) -> Any:
    """
    Mark a function, class or method as a listener; a scan then registers it.

    Marking registers nothing by itself, so a module of listeners can be imported anywhere.

    Args:
        events: Classes, names or wildcards; without any, the hint of the first parameter says.
        priority: Higher goes first.
        once: Only the first matching event is heard.
        options: Of a queued listener: `queue="emails"`, `tries=3`, ...; see `ShouldQueue`.

    Example:
        >>> @listens(KeyError, priority=10)
        ... def note(event: LookupError) -> None: ...
    """
    bare = len(events) == 1 and not priority and not once and not options
    if bare and not isinstance(events[0], str) and _is_listener(events[0]):
        return _marked(events[0], Mark())
    events = tuple(member for one in events for member in union_members(one))
    mark = Mark(events=events, priority=priority, once=once, options=MappingProxyType(options))
    for one in events:
        if not isinstance(one, str | type):
            raise ListenError(
                listener="@listens",
                reason=f"{one!r} is neither an event class nor a name",
                remedy="Write @listens(OrderShipped), @listens('order.*') or @listens",
            )
    return lambda listener: _marked(listener, mark)


def _is_listener(thing: Any) -> bool:
    """Tell `@listens` on a class apart from `@listens(Event)`: listeners have handlers."""
    if inspect.isclass(thing):
        return bool(handlers_of(thing)) or "__call__" in vars(thing)
    return callable(thing) or isinstance(thing, staticmethod | classmethod)


def _marked(listener: Any, mark: Mark) -> Any:
    holder = listener.__func__ if isinstance(listener, staticmethod | classmethod) else listener
    setattr(holder, _MARKS, (*vars(holder).get(_MARKS, ()), mark))
    return listener


def marks(thing: Any) -> tuple[Mark, ...]:
    """Return what `@listens` says of `thing` itself, the outermost first."""
    if type(thing) is types.MethodType:
        thing = thing.__func__
    try:
        # Not vars(): what stands for another object, a lazy one say, would have to make it.
        own = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return ()
    return tuple(reversed(own.get(_MARKS, ())))
