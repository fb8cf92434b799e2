"""Listeners get what they ask for by their hints (E6, E9): one scope per dispatch, closed after it."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import attrs
import dishka
import pytest
import svcs

from eventbus import EventBus
from eventbus.dispatch.resolver import Resolver, ScopedResolver
from eventbus.errors import InvalidOption, ResolveError, ScopeNotClosed


class Shipped:
    """An event."""


class Transport:
    """What a mailer asks for."""


class Mailer:
    def __init__(self, transport: Transport) -> None:
        self.transport = transport


@attrs.frozen
class ByAttrs:
    _mailer: Mailer

    def handle(self, event: Shipped) -> Mailer:
        return self._mailer


@dataclass
class ByDataclass:
    mailer: Mailer

    def handle(self, event: Shipped) -> Mailer:
        return self.mailer


class ByTuple(NamedTuple):
    mailer: Mailer

    def handle(self, event: Shipped) -> Mailer:
        return self.mailer


class ByHand:
    def __init__(self, *rest: object, mailer: Annotated[Mailer, "any"], **more: object) -> None:
        self.mailer = mailer

    def handle(self, event: Shipped) -> Mailer:
        return self.mailer


class Optional:
    def __init__(self, mailer: Mailer | None) -> None:
        self.mailer = mailer

    def handle(self, event: Shipped) -> Mailer | None:
        return self.mailer


EVERY = [ByAttrs, ByDataclass, ByTuple, ByHand, Optional]


def sync(bus: EventBus, *what: object) -> list[Any]:
    return bus.dispatch(*(what or (Shipped(),)))


def in_loop(bus: EventBus, *what: object) -> list[Any]:
    return asyncio.run(bus.adispatch(*(what or (Shipped(),))))


@pytest.fixture(params=[sync, in_loop], ids=["dispatch", "adispatch"])
def answers(request) -> Callable[..., list[Any]]:
    """Dispatch, in sync and in async code."""
    return request.param


def built(bus: EventBus, cls: type) -> Any:
    """What a listener gets that asks for `cls`."""

    def listener(event, thing):
        return thing

    listener.__annotations__ = {"thing": cls}
    bus.listen(Shipped, listener)
    return bus.dispatch(Shipped())[-1]


# Building from hints.


@pytest.mark.parametrize("cls", EVERY, ids=lambda one: one.__name__)
def test_a_listener_is_built_from_its_constructors_hints(cls, answers):
    """E6: whatever made the constructor, and what is asked for is built the same way."""
    [mailer] = answers(EventBus(listen={Shipped: cls}))

    assert isinstance(mailer, Mailer)
    assert isinstance(mailer.transport, Transport)


def test_a_listener_is_built_anew_for_each_dispatch(answers):
    """E6."""

    class Counts:
        made = 0

        def __init__(self) -> None:
            type(self).made += 1

        def handle(self, event: Shipped) -> int:
            return id(self)

    bus = EventBus(listen={Shipped: Counts})
    answers(bus)
    answers(bus)

    assert Counts.made == 2


def test_a_listener_behind_one_that_stopped_is_never_built(answers):
    """E9."""

    class Never:
        def __init__(self) -> None:
            raise AssertionError

        def handle(self, event: Shipped) -> None: ...

    bus = EventBus(listen={Shipped: [lambda event: 1, lambda event: False, Never]})

    assert answers(bus) == [1]


def test_a_listener_is_built_when_its_turn_comes(answers):
    """E9: after the ones before it have run."""
    log: list[str] = []

    class Second:
        def __init__(self) -> None:
            log.append("built")

        def handle(self, event: Shipped) -> None:
            log.append("ran")

    answers(EventBus(listen={Shipped: [lambda event: log.append("first"), Second]}))

    assert log == ["first", "built", "ran"]


def test_one_dispatch_has_one_instance_of_each_type(answers):
    """DESIGN 12: one scope per dispatch, shared by its listeners."""
    bus = EventBus(listen={Shipped: [ByAttrs, ByDataclass]})

    [first, second] = answers(bus)
    [third, _] = answers(bus)

    assert first is second
    assert first is not third


def test_functions_and_methods_get_more_than_the_event(answers):
    def function(event: Shipped, mailer: Mailer, *, transport: Transport) -> bool:
        return mailer.transport is transport

    class Method:
        def handle(self, event: Shipped, transport: Transport) -> str:
            return type(transport).__name__

    bus = EventBus(listen={Shipped: [function, Method]})

    assert answers(bus) == [True, "Transport"]


def test_named_events_and_wildcards_get_more_too(answers):
    """A payload is of any length, so only what is keyword-only is supplied."""

    def named(*payload: int, transport: Transport) -> object:
        return (payload, type(transport))

    def wild(name: str, payload: tuple[object, ...], transport: Transport) -> object:
        return (name, payload, type(transport))

    bus = EventBus(listen={"order.in": named, "order.*": wild})

    assert answers(bus, "order.in", 1, 2) == [
        ((1, 2), Transport),
        ("order.in", (1, 2), Transport),
    ]


class ShopBus(EventBus):
    """A bus of the user's own."""


@pytest.mark.parametrize("hint", [EventBus, ShopBus], ids=lambda one: one.__name__)
def test_the_bus_itself_can_be_asked_for(hint):
    bus = ShopBus()

    assert built(bus, hint) is bus


def test_a_default_is_kept_unless_provided(answers):
    class Asks:
        def __init__(
            self, mailer: Mailer | None = None, bus: EventBus | None = None, size: int = 3
        ) -> None:
            self.all = (mailer, bus, size)

        def handle(self, event: Shipped) -> object:
            return self.all

    # Built for another listener before: whether that is there must not change anything.
    plain = EventBus(listen={Shipped: [ByAttrs, Asks]})
    provided = EventBus(listen={Shipped: Asks}, provide={Mailer: lambda: "mailer", int: lambda: 4})

    assert answers(plain)[1] == (None, plain, 3)
    assert answers(provided) == [("mailer", provided, 4)]


def test_a_default_with_a_hint_that_cannot_be_read_is_kept():
    class Asks:
        def __init__(self, other: Ghost = 1, more: Literal[1] = 1, /, x: int = 2) -> None:  # noqa: F821
            self.all = (other, more, x)

        def handle(self, event: Shipped) -> object:
            return self.all

    bus = EventBus(listen={Shipped: Asks}, provide={int: lambda: 5})

    assert bus.dispatch(Shipped()) == [(1, 1, 5)]


# Factories.


def make_function(transport: Transport) -> object:
    return ("function", type(transport))


class MadeByClass:
    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def __eq__(self, other: object) -> bool:
        return other == ("class", type(self.transport))

    __hash__ = None  # type: ignore[assignment]


class Callable_:
    """Unhashable, and called with what it asks for."""

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, transport: Transport) -> object:
        return ("object", type(transport))


async def make_async(transport: Transport) -> object:
    return ("async", type(transport))


def make_generator(transport: Transport) -> Iterator[object]:
    yield ("generator", type(transport))


async def make_async_generator(transport: Transport) -> AsyncIterator[object]:
    yield ("async generator", type(transport))


@pytest.mark.parametrize(
    "factory, kind",
    [
        (make_function, "function"),
        (partial(make_function), "function"),
        (MadeByClass, "class"),
        (Callable_(), "object"),
        (make_async, "async"),
        (partial(make_async), "async"),
        (lambda transport: make_async(Transport()), "async"),
        (make_generator, "generator"),
        (make_async_generator, "async generator"),
    ],
)
def test_a_factory_is_anything_callable_and_asks_for_its_own_needs(factory, kind, answers):
    if kind == "async" and not isinstance(factory, partial) and factory is not make_async:
        factory.__annotations__["transport"] = Transport
    bus = EventBus(listen={Shipped: ByHand}, provide={Mailer: factory})

    assert answers(bus) == [(kind, Transport)]
    assert answers(bus) == [(kind, Transport)]


def test_a_listener_may_have_a_factory_of_its_own(answers):
    bus = EventBus(listen={Shipped: ByHand}, provide={ByHand: lambda: ByHand(mailer="own")})

    assert answers(bus) == ["own"]


def test_a_value_of_a_common_type_may_be_provided():
    bus = EventBus(provide={str: lambda: "text", Path: lambda: Path("/tmp")})

    assert built(bus, str) == "text"
    assert built(bus, Path) == Path("/tmp")


@pytest.mark.parametrize("factory", [17, "Mailer", None])
def test_what_cannot_be_called_is_no_factory(factory):
    with pytest.raises(InvalidOption, match="expected provide of Mailer to be a factory"):
        EventBus(provide={Mailer: factory})


# Closing.


def test_what_was_opened_is_closed_after_the_dispatch_the_last_first(answers):
    log: list[str] = []

    def transport() -> Iterator[Transport]:
        log.append("open transport")
        yield Transport()
        log.append("close transport")

    async def mailer(transport: Transport) -> AsyncIterator[Mailer]:
        log.append("open mailer")
        yield Mailer(transport)
        log.append("close mailer")

    bus = EventBus(
        listen={Shipped: [ByAttrs, lambda event: log.append("second listener")]},
        provide={Transport: transport, Mailer: mailer},
    )
    answers(bus)

    assert log == [
        "open transport",
        "open mailer",
        "second listener",
        "close mailer",
        "close transport",
    ]


def test_a_generator_sees_what_a_listener_raised_and_cannot_hide_it(answers):
    log: list[str] = []

    def transport() -> Iterator[Transport]:
        try:
            yield Transport()
        except LookupError:
            log.append("rolled back")
            raise
        finally:
            log.append("closed")

    async def mailer(transport: Transport) -> AsyncIterator[Mailer]:
        try:
            yield Mailer(transport)
        except LookupError:
            log.append("swallowed")

    def fails(event: Shipped, mailer: Mailer) -> None:
        raise LookupError

    bus = EventBus(listen={Shipped: fails}, provide={Transport: transport, Mailer: mailer})

    with pytest.raises(LookupError):
        answers(bus)
    assert log == ["swallowed", "rolled back", "closed"]


class FalsyError(Exception):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("on_error", ["raise", "collect"])
def test_an_error_that_is_false_is_rolled_back_as_any(answers, on_error):
    """F8: an exception with a length of 0 is still one."""
    log: list[str] = []

    def transport() -> Iterator[Transport]:
        try:
            yield Transport()
        except FalsyError:
            log.append("rolled back")
            raise
        else:
            log.append("committed")

    def fails(event: Shipped, transport: Transport) -> None:
        raise FalsyError

    bus = EventBus(listen={Shipped: fails}, provide={Transport: transport}, on_error=on_error)

    with pytest.raises((FalsyError, ExceptionGroup)):
        answers(bus)
    assert log == ["rolled back"]


class SlyError(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise LookupError("nothing is told")


def test_an_error_of_which_nothing_can_be_asked_is_rolled_back_as_any(answers):
    """F8: what its own methods raise comes in its place; what was built is closed all the same."""
    log: list[str] = []

    def transport() -> Iterator[Transport]:
        try:
            yield Transport()
        except LookupError:
            log.append("rolled back")
            raise
        else:
            log.append("committed")

    def fails(event: Shipped, transport: Transport) -> None:
        raise SlyError

    bus = EventBus(listen={Shipped: fails}, provide={Transport: transport})

    with pytest.raises(LookupError):
        answers(bus)
    assert log == ["rolled back"]


def closing_with(error: BaseException, log: list[str]) -> Callable[[], Iterator[object]]:
    def make() -> Iterator[object]:
        yield object()
        log.append(type(error).__name__)
        raise error

    return make


class A: ...


class B: ...


class C: ...


def three(event: Shipped, a: A, b: B, c: C) -> str:
    return "done"


def test_all_is_closed_whatever_one_raises(answers):
    log: list[str] = []
    one = EventBus(
        listen={Shipped: three},
        provide={A: closing_with(KeyError(), log), B: object, C: object},
    )
    two = EventBus(
        listen={Shipped: three},
        provide={A: closing_with(KeyError(), log), B: object, C: closing_with(OSError(), log)},
    )

    with pytest.raises(KeyError):
        answers(one)
    with pytest.raises(ScopeNotClosed) as caught:
        answers(two)

    assert log == ["KeyError", "OSError", "KeyError"]
    assert [type(error) for error in caught.value.exceptions] == [OSError, KeyError]


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_an_interrupt_while_closing_goes_through_when_all_is_closed(error):
    log: list[str] = []
    bus = EventBus(
        listen={Shipped: three},
        provide={
            A: closing_with(KeyError(), log),
            B: closing_with(error(), log),
            C: closing_with(OSError(), log),
        },
    )

    with pytest.raises(error):
        bus.dispatch(Shipped())

    assert log == ["OSError", error.__name__, "KeyError"]


def test_a_factory_that_fails_leaves_what_was_opened_before_closed(answers):
    log: list[str] = []

    def transport() -> Iterator[Transport]:
        try:
            yield Transport()
        finally:
            log.append("closed")

    def mailer(transport: Transport) -> Iterator[Mailer]:
        raise LookupError
        yield

    bus = EventBus(listen={Shipped: ByAttrs}, provide={Transport: transport, Mailer: mailer})

    with pytest.raises(LookupError):
        answers(bus)
    assert log == ["closed"]


def test_a_walk_that_is_dropped_is_not_held_up():
    closing = EventBus()._resolver.scope().close()
    assert list(closing) == []

    scope = Resolver({A: make_async_generator, Transport: Transport}).scope()
    walk = scope.get(A)
    next(walk).close()
    walk.close()
    assert list(scope.close()) == []


# What cannot be built.


class Abstract(ABC):
    @abstractmethod
    def send(self) -> None: ...


class Shape(Protocol):
    size: int


class Circular:
    def __init__(self, other: Other) -> None: ...


class Other:
    def __init__(self, circular: Circular) -> None: ...


class PositionalOnly:
    def __init__(self, mailer: Mailer, /) -> None: ...


class Unhinted:
    def __init__(self, mailer) -> None: ...


class Unreadable:
    def __init__(self, mailer: Ghost) -> None: ...  # noqa: F821


class Plain:
    def __init__(self, size: int) -> None: ...


class Unhashable:
    def __init__(self, mailer: Literal[[]]) -> None: ...


class Places:
    def __init__(self, folder: Path) -> None: ...


@pytest.mark.parametrize(
    "cls, message",
    [
        (Abstract, "cannot build Abstract: nothing says how. Write EventBus(provide={Abstract: "),
        (Shape, "cannot build Shape: nothing says how"),
        (Mailer | Transport, "may be anything"),
        (Circular, "it needs itself: Circular -> Other -> Circular. Break the circle"),
        (PositionalOnly, "cannot build PositionalOnly: its parameter 'mailer' is positional-only"),
        (
            Unhinted,
            "cannot build parameter 'mailer' of tests.unit.dispatch.test_resolver:Unhinted: it has no hint",
        ),
        (Unreadable, "Import the name at run time"),
        (
            Plain,
            "cannot build parameter 'size' of tests.unit.dispatch.test_resolver:Plain: int may be anything",
        ),
        (Places, "Path may be anything"),
        (Unhashable, "its hint is not a class"),
        (threading.Thread, "Thread may be anything"),
        (list[str], "list may be anything"),
        (Any, "Any may be anything"),
    ],
)
def test_what_cannot_be_built_says_why_and_what_to_do(cls, message):
    bus = EventBus()
    with pytest.raises(ResolveError) as caught:
        built(bus, cls)

    assert message in str(caught.value)


def test_a_failed_build_is_tried_again(answers):
    chances = iter([LookupError, None])

    def mailer() -> str:
        error = next(chances)
        if error:
            raise error
        return "mailer"

    bus = EventBus(listen={Shipped: ByAttrs}, provide={Mailer: mailer})

    with pytest.raises(LookupError):
        answers(bus)
    assert answers(bus) == ["mailer"]


# Containers.


def test_svcs_supplies_by_its_get(answers):
    registry = svcs.Registry()
    registry.register_factory(Mailer, lambda: Mailer("svcs"))
    container = svcs.Container(registry)

    [mailer] = answers(EventBus(listen={Shipped: ByAttrs}, resolver=container.get))

    assert mailer.transport == "svcs"
    container.close()


def test_svcs_supplies_by_its_async_get(answers):
    async def make() -> Mailer:
        return Mailer("async svcs")

    registry = svcs.Registry()
    registry.register_factory(Mailer, make)
    container = svcs.Container(registry)

    [mailer] = answers(EventBus(listen={Shipped: ByAttrs}, resolver=container.aget))

    assert mailer.transport == "async svcs"


def test_what_a_container_does_not_know_is_its_own_error(answers):
    container = svcs.Container(svcs.Registry())
    bus = EventBus(listen={Shipped: ByAttrs}, resolver=container.get)

    with pytest.raises(svcs.exceptions.ServiceNotFoundError) as caught:
        answers(bus)
    assert any("ByAttrs" in note for note in caught.value.__notes__)


def test_provide_goes_before_the_container(answers):
    container = svcs.Container(svcs.Registry())
    bus = EventBus(
        listen={Shipped: ByAttrs}, provide={Mailer: lambda: "mine"}, resolver=container.get
    )

    assert answers(bus) == ["mine"]


class SvcsScopes:
    def __init__(self, registry: svcs.Registry) -> None:
        self.registry = registry

    @contextmanager
    def scope(self) -> Iterator[Callable[[Any], Any]]:
        with svcs.Container(self.registry) as container:
            yield container.get


def test_svcs_opens_a_scope_for_each_dispatch(answers):
    log: list[str] = []

    def make() -> Iterator[Mailer]:
        log.append("open")
        yield Mailer("svcs")
        log.append("close")

    registry = svcs.Registry()
    registry.register_factory(Mailer, make)
    scopes = SvcsScopes(registry)
    bus = EventBus(listen={Shipped: [ByAttrs, ByDataclass]}, resolver=scopes)

    [first, second] = answers(bus)
    answers(bus)

    assert isinstance(scopes, ScopedResolver)
    assert first is second
    assert log == ["open", "close"] * 2


class Dishka(dishka.Provider):
    def __init__(self, log: list[str]) -> None:
        super().__init__(scope=dishka.Scope.REQUEST)
        self.log = log

    @dishka.provide
    def mailer(self) -> Iterator[Mailer]:
        self.log.append("open")
        yield Mailer("dishka")
        self.log.append("close")


def test_dishka_supplies_by_its_get(answers):
    container = dishka.make_container(Dishka([]))
    with container() as request:
        [mailer] = answers(EventBus(listen={Shipped: ByAttrs}, resolver=request.get))

    assert mailer.transport == "dishka"


def test_dishka_opens_a_scope_for_each_dispatch(answers):
    log: list[str] = []
    container = dishka.make_container(Dishka(log))

    class Scopes:
        @contextmanager
        def scope(self) -> Iterator[Callable[[Any], Any]]:
            with container() as request:
                yield request.get

    bus = EventBus(listen={Shipped: [ByAttrs, ByDataclass]}, resolver=Scopes())
    [first, second] = answers(bus)
    answers(bus)

    assert first is second
    assert log == ["open", "close"] * 2


def test_a_scope_is_told_what_a_listener_raised(answers):
    """It may raise that again, or another error that then has the first as its context."""
    told: list[object] = []

    class Scope:
        def __enter__(self) -> Callable[[Any], Any]:
            return lambda wanted: wanted()

        def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
            told.append(error)
            raise error

    class Scopes:
        def scope(self) -> Scope:
            return Scope()

    def fails(event: Shipped, transport: Transport, a: A) -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        answers(EventBus(listen={Shipped: fails}, resolver=Scopes()))

    assert told == [caught.value]


def test_closing_that_is_given_up_ends_at_once():
    scope = Resolver({A: make_async_generator, Transport: Transport}).scope()
    walk = scope.get(A)
    with pytest.raises(StopIteration):
        next(walk).send(None)
    with pytest.raises(StopIteration):
        walk.send("instance")

    closing = scope.close()
    next(closing).close()
    closing.close()


def test_a_scope_that_nobody_asks_is_not_opened():
    class Scopes:
        def scope(self) -> Any:
            raise AssertionError

    assert EventBus(listen={Shipped: lambda event: 1}, resolver=Scopes()).dispatch(Shipped()) == [1]


@pytest.mark.parametrize("resolver", [17, "container", attrs.make_class("S", ["scope"])(1)])
def test_what_cannot_resolve_is_refused(resolver):
    with pytest.raises(InvalidOption, match="expected resolver to be callable"):
        EventBus(resolver=resolver)


class ByPosition:
    def __init__(self, mailer: Mailer, /) -> None: ...


@pytest.mark.parametrize(
    "cls, expected",
    [(Transport, True), (Mailer, False), (ByPosition, False)],
    ids=["needs nothing", "needs something", "cannot be built"],
)
def test_a_bare_class_is_built_by_being_called(cls, expected):
    assert Resolver({}).is_bare(cls) is expected
    assert Resolver({Transport: Transport}).is_bare(Transport) is False
