"""What may listen: the forms a listener may take, `@listens`, and the record kept of each."""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from attrs import Factory, field, frozen

from eventbus.dispatch.hints import (
    NO_HINT,
    Parameter,
    UnusableHint,
    event_classes,
    hint_of,
    is_async,
    parameters,
    unwrapped,
)
from eventbus.dispatch.names import is_pattern, real_module
from eventbus.errors import InvalidOption, ListenError

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

__all__ = ["Listener", "Mark", "Target", "handlers_of", "listens", "load", "marks", "target_of"]

_MARKS: Final = "__eventbus_listens__"

#: How a listener is called: with the event object, with a name's payload, or with name and payload.
Calling = Literal["event", "payload", "wildcard"]


@frozen(kw_only=True, eq=False)
class Target:
    """What is called: a callable that is ready, or a method of a class that is built first."""

    #: "module:QualName", as shown in lists, notes and logs.
    name: str
    #: The function whose parameters count.
    function: Callable[..., Any]
    #: Built anew by the resolver for each dispatch; None if `function` is ready to be called.
    owner: type | None = None
    #: Of the method of `owner`.
    method: str = ""
    is_async: bool = False
    #: Equal for two targets that run the same code on the same object.
    identity: tuple[object, ...] = ()
    #: Equal for two targets that run the same code.
    code: tuple[object, ...] = ()

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...] | None:
        """The parameters it is called with, `self` left out."""
        found = parameters(self.function)
        if found and self.owner is not None and _takes_self(self.owner, self.method):
            return found[1:]
        return found

    @functools.cached_property
    def may_wait(self) -> bool:
        """It is async below a decorator that is not: only its answer tells whether to wait for it."""
        return not self.is_async and is_async(unwrapped(self.function))

    def waits(self, answer: Any) -> bool:
        """Tell whether an answer is to be awaited."""
        return self.is_async or (self.may_wait and inspect.isawaitable(answer))

    def hint(self, name: str) -> Any:
        """Return the hint of parameter `name`; `UnusableHint` if it cannot be read."""
        return hint_of(self.function, name, owner=self.owner)

    def hears(self) -> tuple[type, ...]:
        """Return the event classes of the first parameter's hint; `UnusableHint` if none."""
        first = next((one for one in self.parameters or () if one.positional), None)
        if first is None:
            raise UnusableHint(reason="it has no parameter for the event")
        return event_classes(self.hint(first.name))

    @property
    def location(self) -> tuple[str, int]:
        """The file and line of its code; an empty file where that is not known."""
        function = unwrapped(self.function)
        if not hasattr(function, "__code__"):
            function = unwrapped(type(function).__call__)  # of a callable object
        code = getattr(function, "__code__", None)
        return (code.co_filename, code.co_firstlineno) if code else ("", 0)


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


def load(path: str) -> Any:
    """
    Return what `"package.module:Name"` or `"package.module:Class.method"` names.

    Raises:
        ListenError: The module cannot be imported, or has no such name.

    Example:
        >>> load("collections:OrderedDict")
        <class 'collections.OrderedDict'>
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise ListenError(
            listener=repr(path),
            reason="it does not name anything",
            remedy='Write "package.module:Name", or "package.module:Class.method"',
        )
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ListenError(
            listener=repr(path),
            reason=f"{module_name!r} cannot be imported ({error})",
            remedy="Check the spelling, and what that module imports",
        ) from error
    for part in attribute.split("."):
        parent = found
        try:
            found = getattr(parent, part)
        except AttributeError as error:
            raise ListenError(
                listener=repr(path),
                reason=f"{getattr(parent, '__name__', parent)!r} has no {part!r}",
                remedy="Check the spelling",
            ) from error
    return found


def handlers_of(cls: type) -> tuple[str, ...]:
    """
    Return the names of the public `handle*` methods of a class, inherited ones too.

    Those of the class come in the order of its body, then those of each parent.
    """
    found: dict[str, None] = {}
    for parent in cls.__mro__:
        for name, value in vars(parent).items():
            if name.startswith("handle") and (
                inspect.isroutine(value) or isinstance(value, functools.partialmethod)
            ):
                found.setdefault(name)
    # A subclass may switch an inherited handler off with `handle_x = None`.
    return tuple(name for name in found if callable(getattr(cls, name, None)))


def _takes_self(owner: type, method: str) -> bool:
    return not isinstance(inspect.getattr_static(owner, method), staticmethod | classmethod)


def describe(thing: Any) -> str:
    """Return how a listener is called in lists, notes and errors."""
    if isinstance(thing, functools.partial):
        return f"partial of {describe(thing.func)}"
    if isinstance(thing, tuple) and len(thing) == 2 and inspect.isclass(thing[0]):
        return f"{describe(thing[0])}.{thing[1]}"
    if isinstance(thing, types.MethodType):
        holder = thing.__self__ if inspect.isclass(thing.__self__) else type(thing.__self__)
        return f"{describe(holder)}.{thing.__name__}"
    qualname = getattr(thing, "__qualname__", None)
    if qualname is not None and hasattr(thing, "__module__"):
        return f"{real_module(thing)}:{qualname}"
    if isinstance(thing, str):
        return repr(thing)
    return describe(type(thing))


def _method_target(owner: type, method: str) -> Target:
    static = inspect.getattr_static(owner, method, None)
    function = getattr(owner, method, None)
    if static is None or not callable(function):
        raise ListenError(
            listener=describe((owner, method)),
            reason=f"{owner.__qualname__} has no method {method!r}",
            remedy=f"It has {', '.join(handlers_of(owner)) or 'no handle* method'}",
        )
    if inspect.isabstract(owner):
        raise ListenError(
            listener=describe((owner, method)),
            reason=f"{owner.__qualname__} is abstract and cannot be built",
            remedy="Register a class that implements its abstract methods",
        )
    code: tuple[object, ...] = ("method", owner, method)
    if isinstance(static, staticmethod):
        # `Class.method` is the bare function, and cannot be told from it.
        code = ("callable", id(function))
    return Target(
        name=describe(owner) if method == "handle" else describe((owner, method)),
        function=function,
        owner=owner,
        method=method,
        is_async=is_async(function),
        identity=code,
        code=code,
    )


def _ready_target(call: Callable[..., Any]) -> Target:
    """Return the target of a callable that needs no building."""
    # By id and not by equality: an object that is equal to another is still another listener.
    holder = getattr(call, "__self__", None)
    identity: tuple[object, ...] = ("callable", id(call))
    code = identity
    # An instance that somebody made runs the same code as its class, found by a scan.
    if isinstance(call, types.MethodType | types.BuiltinMethodType) and holder is not None:
        identity = ("method", id(holder), call.__name__)
        code = ("method", type(holder), call.__name__)
        if inspect.isclass(holder):
            identity = code = ("method", holder, call.__name__)
    elif not isinstance(call, types.FunctionType | types.BuiltinFunctionType | functools.partial):
        code = ("method", type(call), "__call__")
    return Target(
        name=describe(call),
        function=call,
        is_async=is_async(call),
        identity=identity,
        code=code,
    )


def _unbound_owner(function: types.FunctionType) -> tuple[type, str] | None:
    """
    Return the class and name of a method taken from its class, as in `Ledger.handle`.

    Raises:
        ListenError: It is a method of a class that is not where its name says.
    """
    holder, dot, name = function.__qualname__.rpartition(".")
    if not dot or holder.endswith("<locals>"):
        return None
    found: Any = function.__globals__
    try:
        for index, part in enumerate(holder.split(".")):
            found = found[part] if index == 0 else getattr(found, part)
    except (KeyError, AttributeError):
        found = None
    if inspect.isclass(found) and vars(found).get(name) is function:
        return found, name
    if function.__code__.co_varnames[:1] == ("self",):
        raise ListenError(
            listener=describe(function),
            reason="its class, which must be built for it, is not where its name says",
            remedy=f'Write ({holder.rpartition(".")[2]}, "{name}")',
        )
    return None


def target_of(listener: Any, event: type | str | None = None) -> Target:
    """
    Return the target of a listener, in any of its forms.

    Args:
        listener: A function, a method bound or taken from its class, a class or an object with
            `handle*` or `__call__`, `(Class, "method")`, or an import string of one of these.
        event: What it is to hear; chooses between several `handle*`.

    Raises:
        ListenError: It is none of these, or cannot hear the event.
    """
    if isinstance(listener, str):
        return target_of(load(listener), event)
    if isinstance(listener, tuple):
        if len(listener) != 2 or not isinstance(listener[1], str):
            raise ListenError(
                listener=repr(listener),
                reason="a tuple must be a class and the name of its method",
                remedy='Write (Class, "method")',
            )
        holder = load(listener[0]) if isinstance(listener[0], str) else listener[0]
        if inspect.isclass(holder):
            return _method_target(holder, listener[1])
        return _ready_target(_bound_method(holder, listener[1]))
    if inspect.isclass(listener):
        return _method_target(listener, _chosen(listener, event))
    if isinstance(listener, types.FunctionType):
        unbound = _unbound_owner(listener)
        return _method_target(*unbound) if unbound else _ready_target(listener)
    if not inspect.isroutine(listener) and not isinstance(listener, functools.partial):
        cls = type(listener)
        if handlers_of(cls):
            return _ready_target(getattr(listener, _chosen(cls, event)))
    if callable(listener):
        return _ready_target(listener)
    raise ListenError(
        listener=repr(listener),
        reason="it is neither callable nor a class or object with a handle* method",
        remedy='Register a function, a method, a class, (Class, "method") or "module:Name"',
    )


def _bound_method(holder: object, method: str) -> Callable[..., Any]:
    found = getattr(holder, method, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    raise ListenError(
        listener=repr(holder),
        reason=f"it has no method {method!r}",
        remedy=f"It has {', '.join(handlers_of(type(holder))) or 'no handle* method'}",
    )


def _chosen(cls: type, event: type | str | None) -> str:
    """Return the method of a class that hears `event`: `handle`, or its one fitting `handle*`."""
    names = handlers_of(cls)
    if "handle" in names:
        return "handle"
    fits = {name: _may_hear(_method_target(cls, name), event) for name in names}
    # One whose hint says so goes before those that do not say.
    fitting = [name for name in names if fits[name]] or [
        name for name in names if fits[name] is None
    ]
    if len(fitting) == 1:
        return fitting[0]
    # Not callable(cls): any class is.
    if not names and any(vars(parent).get("__call__") for parent in cls.__mro__):
        return "__call__"
    raise ListenError(
        listener=describe(cls),
        reason=(
            f"several of its methods could hear it: {', '.join(fitting)}"
            if fitting
            else f"none of its methods ({', '.join(names)}) takes it"
            if names
            else "it has neither a handle* method nor __call__"
        ),
        remedy=f'Name one: ({cls.__qualname__}, "{(fitting or names or ("handle",))[0]}")',
    )


def _may_hear(target: Target, event: type | str | None) -> bool | None:
    """Tell whether a target takes an event; None if its hint, or a name, leaves that open."""
    if not isinstance(event, type):
        return None
    try:
        return issubclass(event, target.hears())
    except UnusableHint:
        return None


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
