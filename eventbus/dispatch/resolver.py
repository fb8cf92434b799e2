"""Build listener objects and their arguments: one scope per dispatch or job, closed after it."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Union, runtime_checkable

from eventbus.dispatch.hints import (
    NO_HINT,
    Parameter,
    UnusableHint,
    hint_of,
    is_async,
    parameters,
)
from eventbus.dispatch.listeners import describe
from eventbus.errors import InvalidOption, ResolveError, ScopeNotClosed

if TYPE_CHECKING:
    from eventbus.dispatch.accepts import AsyncGet, Get

__all__ = ["Resolver", "Scope", "ScopedResolver"]

#: A build that may have to wait: it yields what is to be awaited and is sent the outcome.
Building = Generator[Awaitable[Any], Any, Any]


@runtime_checkable
class ScopedResolver(Protocol):
    """
    A container that opens a scope of its own for each dispatch and each job.

    Example:
        >>> from contextlib import contextmanager
        >>> class Scopes:
        ...     @contextmanager
        ...     def scope(self):
        ...         yield lambda wanted: wanted()
        >>> isinstance(Scopes(), ScopedResolver)
        True
    """

    def scope(self) -> AbstractContextManager[Get | AsyncGet]:
        """Open a scope; inside it the value is called with a type and returns an instance."""
        ...


class Resolver:
    """
    Where listeners get what they ask for.

    A type is looked up in `provide`, then asked of `resolver`, then built from the hints of its own
    constructor. A parameter with a default is only filled from `provide`.

    Args:
        provide: Types, and the factory of each: a callable whose own parameters are supplied the
            same way; async ones, generators and async generators too. What a generator yields is
            used, and the generator is closed with the scope.
        resolver: A container's `get`, or a `ScopedResolver`.
    """

    def __init__(
        self,
        provide: Mapping[type[Any], Callable[..., Any]],
        resolver: Get | AsyncGet | ScopedResolver | None = None,
    ) -> None:
        for wanted, factory in provide.items():
            if not callable(factory):
                raise InvalidOption(
                    option="provide",
                    value=factory,
                    expected="a factory, such as `lambda: thing`",
                    where=getattr(wanted, "__qualname__", str(wanted)),
                )
        if not (resolver is None or callable(resolver) or isinstance(resolver, ScopedResolver)):
            raise InvalidOption(
                option="resolver", value=resolver, expected="callable, or to have scope()"
            )
        self.provide = dict(provide)
        self.resolver = resolver

    def scope(self, given: Mapping[Any, Any] | None = None) -> Scope:
        """Open a scope, in which `given` are there already."""
        return Scope(self, given or {})


class Scope:
    """
    What is built for one dispatch or one job: one instance of each type, closed at its end.

    Building is a generator: it yields what must be awaited, so that one piece of code serves both
    sync and async callers.
    """

    def __init__(self, resolver: Resolver, given: Mapping[Any, Any]) -> None:
        self._provide = resolver.provide
        self._resolver = resolver.resolver
        self._built: dict[Any, Any] = dict(given)
        self._open: list[Any] = []
        self._under_way: list[Any] = []
        self._get: Get | AsyncGet | None = None

    def instance(self, cls: type) -> Building:
        """Build a listener: from `provide` if it is there, else from its constructor's hints."""
        if cls in self._provide or cls in self._built:
            return (yield from self.get(cls))
        return (yield from self._call(cls, cls))

    def arguments(
        self, function: Callable[..., Any], wanted: tuple[Parameter, ...], owner: type | None
    ) -> Generator[Awaitable[Any], Any, dict[str, Any]]:
        """Build the arguments for the parameters `wanted` of a function."""
        built: dict[str, Any] = {}
        for one in wanted:
            built[one.name] = yield from self._argument(function, one, owner)
        return built

    def get(self, wanted: Any) -> Building:
        """Return the scope's instance of a type, built if it is the first time."""
        if wanted in self._built:
            return self._built[wanted]
        if wanted in self._under_way:
            chain = " -> ".join(_name(one) for one in (*self._under_way, wanted))
            raise ResolveError(
                wanted=_name(wanted),
                reason=f"it needs itself: {chain}",
                remedy="Break the circle with a factory in `provide`",
            )
        self._under_way.append(wanted)
        try:
            built = yield from self._build(wanted)
        finally:
            self._under_way.pop()
        self._built[wanted] = built
        return built

    def _build(self, wanted: Any) -> Building:
        factory = self._provide.get(wanted)
        if factory is not None:
            return (yield from self._call(factory, wanted))
        if self._resolver is not None:
            answer = self._ask(wanted)
            return (yield answer) if inspect.isawaitable(answer) else answer
        if inspect.isclass(wanted) and not inspect.isabstract(wanted) and not _is_builtin(wanted):
            return (yield from self._call(wanted, wanted))
        raise ResolveError(
            wanted=_name(wanted),
            reason="nothing says how",
            remedy=f"Write EventBus(provide={{{_name(wanted)}: make_it}})",
        )

    def _ask(self, wanted: Any) -> Any:
        if self._get is None:
            if isinstance(self._resolver, ScopedResolver):
                opened = self._resolver.scope()
                self._get = opened.__enter__()
                self._open.append(opened)
            else:
                self._get = self._resolver
        assert self._get is not None
        return self._get(wanted)

    def _call(self, factory: Callable[..., Any], wanted: Any) -> Building:
        """Call a factory or constructor with what its parameters ask for."""
        built: dict[str, Any] = {}
        for one in parameters(factory) or ():
            if one.variadic:
                continue
            if one.required:
                if not one.keyword:
                    raise ResolveError(
                        wanted=_name(wanted),
                        reason=f"its parameter {one.name!r} is positional-only",
                        remedy=f"Write EventBus(provide={{{_name(wanted)}: make_it}})",
                    )
                built[one.name] = yield from self._argument(factory, one, None)
            else:
                hint = _soft_hint(factory, one.name)
                if hint in self._provide or hint in self._built:
                    built[one.name] = yield from self.get(hint)
        if inspect.isgeneratorfunction(factory):
            opened = contextmanager(factory)(**built)
            instance = opened.__enter__()
            self._open.append(opened)
            return instance
        if inspect.isasyncgenfunction(factory):
            waiting = asynccontextmanager(factory)(**built)
            instance = yield waiting.__aenter__()
            self._open.append(waiting)
            return instance
        answer = factory(**built)
        return (yield answer) if is_async(factory) else answer

    def _argument(
        self, function: Callable[..., Any], one: Parameter, owner: type | None
    ) -> Building:
        try:
            hint = hint_of(function, one.name, owner=owner)
        except UnusableHint as problem:
            raise ResolveError(
                wanted=f"parameter {one.name!r} of {describe(function)}",
                reason=problem.reason,
                remedy="Import the name at run time, not under TYPE_CHECKING",
            ) from problem
        hint = _plain(hint)
        if hint is NO_HINT or (_is_builtin(hint) and hint not in self._provide):
            raise ResolveError(
                wanted=f"parameter {one.name!r} of {describe(function)}",
                reason="it has no hint" if hint is NO_HINT else f"{_name(hint)} may be anything",
                remedy="Hint it with a class of its own, give it a default, or put a factory of"
                " what needs it into `provide`",
            )
        return (yield from self.get(hint))

    def close(self, error: BaseException | None = None) -> Generator[Awaitable[Any], Any, None]:
        """
        Close what was opened, the last first; all of it, whatever one of them raises.

        Args:
            error: What the listeners raised: a generator sees it at its `yield`, and can roll back.
                Swallowing it there changes nothing.
        """
        raised = (None, None, None) if error is None else (type(error), error, error.__traceback__)
        errors: list[Exception] = []
        while self._open:
            opened = self._open.pop()
            try:
                if hasattr(opened, "__aexit__"):
                    yield opened.__aexit__(*raised)
                else:
                    opened.__exit__(*raised)
            except Exception as problem:  # noqa: BLE001 -- the others must be closed too
                if problem is not error:
                    errors.append(problem)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ScopeNotClosed(errors=errors)


def _soft_hint(factory: Callable[..., Any], name: str) -> Any:
    try:
        hint = _plain(hint_of(factory, name))
    except UnusableHint:
        return NO_HINT
    return hint if _hashable(hint) else NO_HINT


def _plain(hint: Any) -> Any:
    """Strip `Annotated` and `| None` from a hint."""
    if typing.get_origin(hint) is typing.Annotated:
        return _plain(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (Union, types.UnionType):
        members = [one for one in typing.get_args(hint) if one is not types.NoneType]
        if len(members) == 1:
            return _plain(members[0])
    return hint


def _hashable(thing: Any) -> bool:
    return getattr(type(thing), "__hash__", None) is not None


def _is_builtin(thing: Any) -> bool:
    return getattr(thing, "__module__", "") == "builtins"


def _name(thing: Any) -> str:
    return getattr(thing, "__qualname__", None) or str(thing)
