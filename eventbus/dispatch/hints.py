"""Read what a function asks for: its parameters, their hints, and the event classes in a hint."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, Final, TypeVar, Union

from attrs import frozen

__all__ = [
    "NO_HINT",
    "Parameter",
    "UnusableHint",
    "event_classes",
    "hint_of",
    "is_async",
    "parameters",
    "unwrapped",
]

#: What `hint_of` returns for a parameter without an annotation.
NO_HINT: Final = inspect.Parameter.empty


class UnusableHint(Exception):  # noqa: N818 -- caught where a listener is read, never seen by a user
    """A hint that names no event class; `reason` says why, as the end of a sentence."""

    def __init__(self, reason: str, *, unresolved: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        #: The name in the hint does not exist at run time.
        self.unresolved = unresolved


@frozen
class Parameter:
    """One parameter of a listener."""

    name: str
    positional: bool
    keyword: bool
    variadic: bool
    required: bool


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function below `partial`, bound methods and well-behaved decorators."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def is_async(function: Any) -> bool:
    """Tell whether calling `function` gives something to await."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    if inspect.isroutine(function) or inspect.isclass(function):
        return False
    return inspect.iscoroutinefunction(getattr(type(function), "__call__", None))


def parameters(function: Callable[..., Any]) -> tuple[Parameter, ...] | None:
    """
    Return the parameters of a callable, `self` of a bound method left out.

    None for a callable, written in C, that does not tell.
    """
    if type(function) is types.FunctionType and not function.__dict__:
        # Registration of ten thousand plain functions should not cost ten thousand signatures.
        code = function.__code__
        if code.co_kwonlyargcount == 0 and not code.co_flags & (
            inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
        ):
            count = code.co_argcount
            required = count - len(function.__defaults__ or ())
            return tuple(
                Parameter(name, True, index >= code.co_posonlyargcount, False, index < required)
                for index, name in enumerate(code.co_varnames[:count])
            )
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    return tuple(
        Parameter(
            one.name,
            one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL),
            one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY, one.VAR_KEYWORD),
            one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD),
            one.default is NO_HINT and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD),
        )
        for one in signature.parameters.values()
    )


def hint_of(function: Callable[..., Any], name: str, *, owner: type | None = None) -> Any:
    """
    Return the hint of one parameter, strings evaluated; `NO_HINT` where there is none.

    Only this one is evaluated, so that another hint may be for type checkers alone.

    Args:
        function: Anything callable.
        name: Of the parameter.
        owner: The class that a type variable is looked up in, for a method.

    Raises:
        UnusableHint: The hint names something that does not exist at run time.
    """
    below = unwrapped(function)
    names: dict[str, Any] = {}
    if inspect.isclass(below):
        maker = next(cls for cls in below.__mro__ if "__init__" in vars(cls))
        # A generated __init__ (attrs) has globals of its own, its hints mean those of its module.
        names = vars(sys.modules[maker.__module__]) if maker.__module__ in sys.modules else {}
        below = unwrapped(below.__init__)
    elif not inspect.isroutine(below):
        below = unwrapped(type(below).__call__)
    raw = _annotations(below).get(name, NO_HINT)
    if raw is NO_HINT:
        return NO_HINT
    holder = types.SimpleNamespace(__annotations__={name: raw})
    try:
        hint = typing.get_type_hints(
            holder,
            globalns=getattr(below, "__globals__", {}),
            localns={**names, **vars(owner)} if owner else names,
            include_extras=True,
        )[name]
    except NameError as error:
        raise UnusableHint(
            f"its hint {raw!r} names {error.name!r}, which does not exist at run time",
            unresolved=True,
        ) from error
    return _bound(hint, owner) if isinstance(hint, TypeVar) else hint


def _annotations(function: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return dict(
            annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
        )
    return getattr(function, "__annotations__", None) or {}


def _bound(variable: TypeVar, owner: type | None) -> Any:
    """Return what `owner`, a subclass of a generic, puts in the place of `variable`."""
    if owner is not None:
        for cls in owner.__mro__:
            for base in getattr(cls, "__orig_bases__", ()):
                origin = typing.get_origin(base)
                names = getattr(origin, "__parameters__", ())
                if variable in names:
                    found = typing.get_args(base)[names.index(variable)]
                    return _bound(found, owner) if isinstance(found, TypeVar) else found
    return variable.__bound__ or variable


def event_classes(hint: Any) -> tuple[type, ...]:
    """
    Return the event classes that a hint names: one, or each member of a union.

    Raises:
        UnusableHint: It names none.
    """
    if hint is NO_HINT:
        raise UnusableHint("its first parameter has no hint")
    if typing.get_origin(hint) is typing.Annotated:
        return event_classes(typing.get_args(hint)[0])
    if isinstance(hint, typing.TypeAliasType) if sys.version_info >= (3, 12) else False:
        return event_classes(hint.__value__)
    if typing.get_origin(hint) in (Union, types.UnionType):
        found: dict[type, None] = {}
        for member in typing.get_args(hint):
            found.update(dict.fromkeys(event_classes(member)))
        return tuple(found)
    if isinstance(hint, TypeVar):
        raise UnusableHint(f"its hint is the type variable {hint}, which nothing has bound")
    origin = typing.get_origin(hint)
    if isinstance(origin, type) and origin.__module__ not in _BUILTIN:
        if all(isinstance(one, TypeVar) or one is Any for one in typing.get_args(hint)):
            return (origin,)
        raise UnusableHint(
            f"{hint} cannot be told from other kinds of {origin.__qualname__} at run time;"
            " make it a class of its own"
        )
    if origin is not None or not isinstance(hint, type):
        raise UnusableHint(f"its hint {hint!r} is not a class")
    if hint.__module__ in _BUILTIN and not issubclass(hint, BaseException):
        raise UnusableHint(f"its hint {hint.__qualname__!r} is a builtin, which is no event")
    return (hint,)


_BUILTIN: Final = frozenset({"builtins", "types", "typing", "collections", "collections.abc"})
