"""Build listener objects and their arguments: one scope per dispatch or job, closed after it."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, Union, runtime_checkable

from attrs import frozen

from eventbus.dispatch.hints import (
    NO_HINT,
    Parameter,
    UnusableHint,
    hint_of,
    is_async,
    parameters,
)
from eventbus.dispatch.targets import describe
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

    A type is looked up in `provide`, else asked of `resolver`; where there is none, it is built from
    the hints of its own constructor. A parameter with a default is only filled from `provide`.

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
        if not (
            resolver is None or callable(resolver) or callable(getattr(resolver, "scope", None))
        ):
            raise InvalidOption(
                option="resolver", value=resolver, expected="callable, or to have scope()"
            )
        self.provide = dict(provide)
        self.resolver = resolver
        self._recipes: dict[Any, Recipe] = {}

    def recipe(self, factory: Callable[..., Any], wanted: Any) -> Recipe:
        """Return how a factory is called, worked out the first time."""
        try:
            known = self._recipes.get(factory)
        except TypeError:  # unhashable, as an instance of a class that defines __eq__
            return _recipe(factory, wanted)
        if known is None:
            known = self._recipes[factory] = _recipe(factory, wanted)
        return known

    def is_bare(self, cls: type) -> bool:
        """Tell whether a scope builds a listener by its constructor alone, called with nothing."""
        try:
            recipe = self.recipe(cls, cls)
        except ResolveError:
            return False  # it says why when it is to be built
        return cls not in self.provide and not recipe.needs and recipe.makes == "instance"

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
        self._recipe = resolver.recipe
        self._provide = resolver.provide
        self._resolver = resolver.resolver
        self._given = given
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
            built[one.name] = yield from self._argument(_need(function, one, owner))
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
        if inspect.isclass(wanted) and not _is_open(wanted):
            return (yield from self._call(wanted, wanted))
        raise ResolveError(
            wanted=_name(wanted),
            reason="nothing says how",
            remedy=f"Write EventBus(provide={{{_name(wanted)}: make_it}})",
        )

    def _ask(self, wanted: Any) -> Any:
        if self._get is None:
            resolver: Any = self._resolver
            if callable(getattr(resolver, "scope", None)):
                opened = resolver.scope()
                self._get = opened.__enter__()
                self._open.append(opened)
            else:
                self._get = resolver
        assert self._get is not None
        return self._get(wanted)

    def _call(self, factory: Callable[..., Any], wanted: Any) -> Building:
        """Call a factory or constructor with what its parameters ask for."""
        built: dict[str, Any] = {}
        recipe = self._recipe(factory, wanted)
        for one in recipe.needs:
            if one.required:
                built[one.name] = yield from self._argument(one)
            elif one.hint in self._provide or one.hint in self._given:
                built[one.name] = yield from self.get(one.hint)
        if recipe.makes == "generator":
            opened = contextmanager(factory)(**built)
            instance = opened.__enter__()
            self._open.append(opened)
            return instance
        if recipe.makes == "async generator":
            waiting = asynccontextmanager(factory)(**built)
            instance = yield waiting.__aenter__()
            self._open.append(waiting)
            return instance
        answer = factory(**built)
        # Asked of the answer as well: a lambda around an async function is not async itself.
        waits = recipe.makes == "awaitable" or inspect.iscoroutine(answer)
        return (yield answer) if waits else answer

    def _argument(self, need: Need) -> Building:
        if need.hint is NO_HINT or (_is_vague(need.hint) and not self._has(need.hint)):
            raise ResolveError(
                wanted=f"parameter {need.name!r} of {need.of}",
                reason=need.problem or f"{_name(need.hint)} may be anything",
                remedy=need.remedy,
            )
        return (yield from self.get(need.hint))

    def _has(self, wanted: Any) -> bool:
        return wanted in self._provide or wanted in self._given or self._resolver is not None

    def close(self, error: BaseException | None = None) -> Generator[Awaitable[Any], Any, None]:
        """
        Close what was opened, the last first; all of it, whatever one of them raises.

        Args:
            error: What the listeners raised: a generator sees it at its `yield`, and can roll back.
                Swallowing it there changes nothing.
        """
        raised = (None, None, None) if error is None else (type(error), error, error.__traceback__)
        errors: list[BaseException] = []
        while self._open:
            opened = self._open.pop()
            try:
                if hasattr(opened, "__aexit__"):
                    yield opened.__aexit__(*raised)
                else:
                    opened.__exit__(*raised)
            except GeneratorExit:
                raise
            except BaseException as problem:  # noqa: BLE001 -- the others must be closed too
                if problem is not error:
                    errors.append(problem)
        failures = [one for one in errors if isinstance(one, Exception)]
        if len(failures) < len(errors):
            # A cancellation or an interrupt: whoever sent it waits for it.
            raise next(one for one in errors if not isinstance(one, Exception))
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ScopeNotClosed(errors=failures)


@frozen
class Need:
    """A parameter of a factory or a function, and what its hint asks for."""

    name: str
    #: Whose parameter it is.
    of: str
    required: bool
    #: `NO_HINT` where it says nothing that could be built.
    hint: Any
    #: Why it says nothing, and what to do about it.
    problem: str = ""
    remedy: str = (
        "Hint it with a class of its own, give it a default, or put a factory of what needs it"
        " into `provide`"
    )


@frozen
class Recipe:
    """What a factory is called with, and what comes back."""

    needs: tuple[Need, ...]
    makes: Literal["instance", "awaitable", "generator", "async generator"]


def _recipe(factory: Callable[..., Any], wanted: Any) -> Recipe:
    needs = _needs(factory, wanted)
    if inspect.isgeneratorfunction(factory):
        return Recipe(needs, "generator")
    if inspect.isasyncgenfunction(factory):
        return Recipe(needs, "async generator")
    return Recipe(needs, "awaitable" if is_async(factory) else "instance")


def _needs(factory: Callable[..., Any], wanted: Any) -> tuple[Need, ...]:
    found: list[Need] = []
    for one in parameters(factory) or ():
        if one.required and not one.keyword:
            raise ResolveError(
                wanted=_name(wanted),
                reason=f"its parameter {one.name!r} is positional-only",
                remedy=f"Write EventBus(provide={{{_name(wanted)}: make_it}})",
            )
        if one.keyword and not one.variadic:
            found.append(_need(factory, one, None))
    return tuple(found)


def _need(function: Callable[..., Any], one: Parameter, owner: type | None) -> Need:
    whose = describe(function)
    try:
        hint = _plain(hint_of(function, one.name, owner=owner))
        hash(hint)
    except UnusableHint as unusable:
        remedy = "Import the name at run time, not under TYPE_CHECKING"
        return Need(one.name, whose, one.required, NO_HINT, unusable.reason, remedy)
    except TypeError:
        return Need(one.name, whose, one.required, NO_HINT, "its hint is not a class")
    return Need(one.name, whose, one.required, hint, "it has no hint" if hint is NO_HINT else "")


def _plain(hint: Any) -> Any:
    """Strip `Annotated` and `| None` from a hint."""
    if typing.get_origin(hint) is typing.Annotated:
        return _plain(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (Union, types.UnionType):
        members = [one for one in typing.get_args(hint) if one is not types.NoneType]
        if len(members) == 1:
            return _plain(members[0])
    return hint


def _is_vague(hint: Any) -> bool:
    """Tell whether a hint says what a thing is, and not which: a number, a path, a lock."""
    module = str(getattr(hint, "__module__", ""))
    return module.partition(".")[0] in sys.stdlib_module_names


def _is_open(cls: type) -> bool:
    """Tell whether a class is for others to fill in."""
    return inspect.isabstract(cls) or getattr(cls, "_is_protocol", False)


def _name(thing: Any) -> str:
    return getattr(thing, "__qualname__", None) or str(thing)
