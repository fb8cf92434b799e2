"""Read what a function asks for: its parameters, their hints, and the event classes in a hint."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, Final, ForwardRef, TypeVar, Union

from attrs import frozen

__all__ = [
    "NO_HINT",
    "Parameter",
    "UnusableHint",
    "event_classes",
    "hint_of",
    "is_async",
    "parameters",
    "union_members",
    "unwrapped",
]

#: What `hint_of` returns for a parameter without an annotation.
NO_HINT: Final = inspect.Parameter.empty


class UnusableHint(Exception):  # noqa: N818 -- caught where a listener is read, never seen by a user
    """A hint that names no event class; `reason` says why, as the end of a sentence."""

    def __init__(self, reason: str, *, missing: str = "", unhinted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        #: What does not exist at run time: a name, or the whole of a hint that raises.
        self.missing = missing
        #: There is no hint at all.
        self.unhinted = unhinted


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
        below = _below(function)
        if below is None:
            return function
        function = below


def _below(function: Any) -> Any:
    if isinstance(function, functools.partial):
        return function.func
    if isinstance(function, types.MethodType):
        return function.__func__
    # `partialmethod` leaves itself on what a class gives for it, under a name of each version's own.
    part = getattr(function, "__dict__", {})
    made_by = part.get("__partialmethod__") or part.get("_partialmethod")
    return made_by.func if made_by is not None else getattr(function, "__wrapped__", None)


def is_async(function: Any) -> bool:
    """Tell whether calling `function` gives something to await."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    if inspect.isroutine(function) or inspect.isclass(function):
        return False
    call = getattr(type(function), "__call__", None)  # noqa: B004 -- how it is called, not whether
    return inspect.iscoroutinefunction(call)


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
                Parameter(
                    name=name,
                    positional=True,
                    keyword=index >= code.co_posonlyargcount,
                    variadic=False,
                    required=index < required,
                )
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
        owner: The class that fills in the type variables of a method it inherits. Default: that of
            a bound method.

    Raises:
        UnusableHint: The hint cannot be evaluated at run time.
    """
    below = unwrapped(function)
    if inspect.isclass(below):
        return _constructor_hint(below, name)
    if isinstance(function, types.MethodType):
        owner = owner or _class_of(function.__self__)
    elif not inspect.isroutine(below):
        owner = owner or type(below)
        below = unwrapped(type(below).__call__)
    raw = _annotations(below).get(name, NO_HINT)
    if raw is NO_HINT:
        return NO_HINT
    variables = {one.__name__: one for one in getattr(below, "__type_params__", ())}
    hint = _evaluated(raw, getattr(below, "__globals__", {}), {**_scope_of(owner), **variables})
    return hint if owner is None else _filled(hint, owner, _maker(owner, below))


def _constructor_hint(cls: type, name: str) -> Any:
    """Return the hint of a parameter of a class, wherever the class has its parameters from."""
    maker = next(one for one in cls.__mro__ if not _MAKES.isdisjoint(vars(one)))
    function = unwrapped(vars(maker).get("__init__") or vars(maker)["__new__"])
    found = inspect.signature(cls).parameters.get(name)
    raw = NO_HINT if found is None else found.annotation
    if raw is NO_HINT:
        return NO_HINT
    code = getattr(function, "__code__", None)
    names = getattr(function, "__globals__", {})
    if code is None or code.co_filename.startswith("<"):
        # Generated, as by attrs: a hint means what it means in the module of the class whose field
        # it is, and that may be a parent's.
        fields = {name, f"_{name}"}
        maker = next((one for one in cls.__mro__ if fields & _annotations(one).keys()), maker)
        names = vars(sys.modules[maker.__module__]) if maker.__module__ in sys.modules else names
    return _filled(_evaluated(raw, names, _scope_of(maker)), cls, maker)


_MAKES: Final = frozenset({"__init__", "__new__"})


def _class_of(holder: Any) -> type:
    return holder if isinstance(holder, type) else type(holder)


def _scope_of(owner: type | None) -> dict[str, Any]:
    """Return the names that a hint in the body of a class, or of its parents, may use."""
    names: dict[str, Any] = {}
    for cls in reversed(owner.__mro__[:-1] if owner is not None else ()):
        names.update((one.__name__, one) for one in vars(cls).get("__type_params__", ()))
        names.update(vars(cls))
    return names


def _maker(owner: type, function: Any) -> type:
    """Return the class in whose body a method was written; `owner` if that cannot be told."""
    where = (function.__module__, function.__qualname__.rpartition(".")[0])
    return next(
        (one for one in owner.__mro__ if where == (one.__module__, one.__qualname__)), owner
    )


def _annotations(function: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):  # pragma: no cover -- no such interpreter in CI yet
        import annotationlib

        return dict(annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF))
    return getattr(function, "__annotations__", None) or {}


def _evaluated(raw: Any, names: dict[str, Any], scope: dict[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={"hint": raw})
    try:
        return typing.get_type_hints(holder, names, scope, include_extras=True)["hint"]
    except NameError as error:
        raise UnusableHint(
            reason=f"its hint {raw!r} names {error.name!r}, which does not exist at run time",
            missing=error.name or str(raw),
        ) from error
    except RecursionError:
        raise  # of whoever asks at the end of Python's stack: the hint is not at fault
    except Exception as error:
        # Any expression may stand in a hint, and raise anything.
        raise UnusableHint(
            reason=f"its hint {raw!r} cannot be evaluated ({type(error).__name__}: {error})",
            missing=str(raw),
        ) from error


def _filled(hint: Any, owner: type, maker: type) -> Any:
    """Put what `owner`, a subclass of the generic `maker`, says in the place of type variables."""
    if not getattr(maker, "__parameters__", ()):
        return hint
    found = _replaced(hint, _arguments(owner, maker, {}))
    if found in getattr(owner, "__parameters__", ()):
        raise UnusableHint(
            reason=f"its hint is the type variable {found}, for a subclass to fill in"
        )
    return found


def _arguments(cls: type, maker: type, given: dict[Any, Any]) -> dict[Any, Any]:
    """Return the arguments that `maker` gets from `cls`, whose own arguments are `given`."""
    if cls is maker:
        return given
    bases = {typing.get_origin(one) or one: one for one in _bases(cls)}
    parent = next(one for one in bases if maker in one.__mro__)
    names = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    values = [
        _evaluated(one, names, {}) if isinstance(one, ForwardRef) else _replaced(one, given)
        for one in typing.get_args(bases[parent])
    ]
    own = dict(zip(getattr(parent, "__parameters__", ()), values, strict=False))
    return _arguments(parent, maker, own)


def _bases(cls: type) -> tuple[Any, ...]:
    bases: tuple[Any, ...] = vars(cls).get("__orig_bases__", cls.__bases__)
    return bases


def _replaced(hint: Any, given: dict[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    variables = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    if not given.keys() & set(variables):
        return hint
    return hint[tuple(given.get(one, one) for one in variables)]  # pyright: ignore[reportIndexIssue] -- it has parameters


def union_members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union; of anything else, the thing alone."""
    is_union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def event_classes(hint: Any) -> tuple[type, ...]:
    """
    Return the event classes that a hint names: one, or each member of a union; None left out.

    Raises:
        UnusableHint: It names none.
    """
    if hint is NO_HINT:
        raise UnusableHint(reason="its first parameter has no hint", unhinted=True)
    if typing.get_origin(hint) is typing.Annotated:
        return event_classes(typing.get_args(hint)[0])
    # By name: on 3.11 the class is that of typing-extensions, which is not worth its import.
    if type(hint).__name__ == "TypeAliasType":
        return event_classes(hint.__value__)
    if typing.get_origin(hint) in (Union, types.UnionType):
        found: dict[type, None] = {}
        for member in typing.get_args(hint):
            if member is not types.NoneType:
                found.update(dict.fromkeys(event_classes(member)))
        return tuple(found)
    if isinstance(hint, TypeVar):
        return event_classes(_bound(hint))
    return (_event_class(hint),)


def _event_class(hint: Any) -> type:
    origin = typing.get_origin(hint)
    if isinstance(origin, type) and origin.__module__ not in _BUILTIN:
        if all(isinstance(one, TypeVar) or one is Any for one in typing.get_args(hint)):
            return origin
        raise UnusableHint(
            reason=f"{hint} cannot be told from other kinds of {origin.__qualname__} at run time;"
            " make it a class of its own"
        )
    if origin is not None or not isinstance(hint, type):
        raise UnusableHint(reason=f"its hint {hint!r} is not a class")
    if hint.__module__ in _BUILTIN and not issubclass(hint, BaseException):
        raise UnusableHint(reason=f"its hint {hint.__qualname__!r} is a builtin, which is no event")
    return hint


def _bound(variable: TypeVar) -> Any:
    """Return what a type variable that nothing filled in stands for at most."""
    if variable.__constraints__:
        return Union[variable.__constraints__]  # noqa: UP007 -- made of a tuple
    if variable.__bound__ is None:
        raise UnusableHint(
            reason=f"its hint is the type variable {variable}, which nothing has bound"
        )
    module = sys.modules.get(variable.__module__)
    return _evaluated(variable.__bound__, vars(module) if module else {}, {})


_BUILTIN: Final = frozenset({"builtins", "types", "typing", "collections", "collections.abc"})
