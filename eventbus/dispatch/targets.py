"""What is called for an event: the forms that a listener may take."""

from __future__ import annotations

import functools
import importlib
import inspect
import types
from collections.abc import Callable
from typing import Any

from attrs import frozen

from eventbus.dispatch.hints import (
    Parameter,
    UnusableHint,
    event_classes,
    hint_of,
    is_async,
    parameters,
    unwrapped,
)
from eventbus.dispatch.names import real_module
from eventbus.errors import ListenError

__all__ = ["Target", "describe", "handlers_of", "load", "target_of"]


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
        remedy=(
            f'Name one: ({cls.__qualname__}, "{(fitting or names)[0]}")'
            if names
            else "Give it `def handle(self, event: OrderShipped)`"
        ),
    )


def _may_hear(target: Target, event: type | str | None) -> bool | None:
    """Tell whether a target takes an event; None if its hint, or a name, leaves that open."""
    if not isinstance(event, type):
        return None
    try:
        return issubclass(event, target.hears())
    except UnusableHint:
        return None
