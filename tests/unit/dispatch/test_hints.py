"""What a listener hears is what its hint says (D5, D6), however the hint is written."""

from __future__ import annotations

import functools
import sys
import types
from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, NewType, Optional, TypeVar, Union

import attrs
import pytest
from typing_extensions import TypeAliasType

from eventbus.dispatch.hints import (
    NO_HINT,
    UnusableHint,
    hint_of,
    is_async,
    parameters,
    unwrapped,
)
from eventbus.dispatch.targets import target_of


class Placed:
    """An event."""


class Shipped:
    """An event."""


class Late(Shipped):
    """An event with a parent."""


Item = TypeVar("Item")


class Created(Generic[Item]):
    """A generic event."""


Either = Placed | Shipped
Alias = TypeAliasType("Alias", Placed | Late)
E = TypeVar("E")
F = TypeVar("F")
Bound = TypeVar("Bound", bound=Shipped)
BoundLater = TypeVar("BoundLater", bound="Shipped")
Constrained = TypeVar("Constrained", Placed, Shipped)
Unbound = TypeVar("Unbound")
OrderId = NewType("OrderId", int)


def hears(listener: Any) -> tuple[type, ...]:
    return target_of(listener).hears()


def method(cls: type, name: str = "handle") -> tuple[type, str]:
    return (cls, name)


def reason(listener: Any) -> str:
    with pytest.raises(UnusableHint) as caught:
        hears(listener)
    return caught.value.reason


def taking(hint: Any) -> Callable[..., None]:
    """A function whose hint is there as an object, as without the future import."""

    def listener(event): ...

    listener.__annotations__["event"] = hint
    return listener


def module_of(text: str, monkeypatch: pytest.MonkeyPatch, name: str = "made_for_hints"):
    """A module with this text."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(text, f"{name}.py", "exec"), vars(module))
    return module


# One hint, in its many spellings.


@pytest.mark.parametrize(
    "hint, expected",
    [
        (Shipped, (Shipped,)),
        ("Shipped", (Shipped,)),
        (Placed | Shipped, (Placed, Shipped)),
        ("Placed | Shipped", (Placed, Shipped)),
        (Union[Placed, Shipped], (Placed, Shipped)),  # noqa: UP007
        (Union["Placed", Shipped], (Placed, Shipped)),
        ("Either", (Placed, Shipped)),
        (Alias, (Placed, Late)),
        ("Alias | Shipped", (Placed, Late, Shipped)),
        (Optional[Shipped], (Shipped,)),  # noqa: UP045
        ("Shipped | None", (Shipped,)),
        (Annotated[Shipped, "of today"], (Shipped,)),
        ("Annotated[Placed | Annotated[Late, 1], 'x']", (Placed, Late)),
        ("Created", (Created,)),
        ("Created[Any]", (Created,)),
        ("Created[Item]", (Created,)),
        (Bound, (Shipped,)),
        ("BoundLater", (Shipped,)),
        ("Bound | Placed", (Shipped, Placed)),
        ("Constrained", (Placed, Shipped)),
        (KeyError, (KeyError,)),
        (ABC, (ABC,)),
    ],
)
def test_a_hint_names_event_classes(hint, expected):
    """D5, D6: one class, or each member of a union, through aliases, `Annotated` and strings."""
    assert hears(taking(hint)) == expected


@pytest.mark.parametrize(
    "hint, why",
    [
        (int, "'int' is a builtin"),
        ("str | Shipped", "'str' is a builtin"),
        (object, "'object' is a builtin"),
        (Any, "typing.Any"),
        (list[Shipped], "is not a class"),
        (type[Shipped], "is not a class"),
        (Callable[[], None], "is not a class"),
        (OrderId, "is not a class"),
        (17, "is not a class"),
        ("Created[Shipped]", "make it a class of its own"),
        (Unbound, "which nothing has bound"),
    ],
)
def test_a_hint_that_names_no_event_says_why(hint, why):
    """D7."""
    if hint is Any:
        why = "builtin" if sys.version_info < (3, 14) else "class"
    assert why in reason(taking(hint))


def test_no_hint_is_told_apart_from_a_useless_one():
    with pytest.raises(UnusableHint, match="has no hint") as missing:
        hears(lambda event: None)
    with pytest.raises(UnusableHint) as useless:
        hears(taking(int))

    assert (missing.value.unhinted, useless.value.unhinted) == (True, False)


def test_a_listener_without_a_parameter_hears_nothing():
    assert reason(lambda: None) == "it has no parameter for the event"


def test_a_name_that_is_there_for_type_checkers_only_is_named():
    with pytest.raises(UnusableHint, match="'Ghost', which does not exist at run time") as caught:
        hears(taking("Ghost"))

    assert caught.value.missing == "Ghost"


@pytest.mark.parametrize("hint", ["the event", "Shipped.inner", "Shipped[int]", "1 / 0"])
def test_a_hint_that_raises_is_no_accident_of_the_scan(hint):
    with pytest.raises(UnusableHint, match="cannot be evaluated") as caught:
        hears(taking(hint))

    assert caught.value.missing == hint


class Endless:
    """Whose attribute is asked for where there is no stack left."""

    def __getattr__(self, name):
        raise RecursionError


endless = Endless()


def test_a_hint_is_not_at_fault_where_there_is_no_stack_left():
    with pytest.raises(RecursionError):
        hears(taking("endless.hint"))


def test_only_the_hint_that_is_asked_for_is_evaluated():
    def listener(event: Shipped, other: Ghost) -> Phantom: ...  # noqa: F821

    assert hears(listener) == (Shipped,)


# Where the function is found.


def keeping(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Ledger:
    @keeping
    def handle(self, event: Shipped) -> None: ...

    @staticmethod
    def handle_static(event: Placed) -> None: ...

    @classmethod
    def handle_class(cls, event: Late) -> None: ...

    def both(self, kind: str, event: Shipped | Placed) -> None: ...

    handle_part = functools.partialmethod(both, "part")

    def __call__(self, event: Placed) -> None: ...


def test_a_decorator_made_with_wraps_is_seen_through():
    @keeping
    @keeping
    def listener(event: Late) -> None: ...

    assert hears(listener) == (Late,)
    assert hears(method(Ledger)) == (Shipped,)


def test_methods_of_every_kind_are_read():
    assert hears(method(Ledger, "handle_static")) == (Placed,)
    assert hears(method(Ledger, "handle_class")) == (Late,)
    assert hears(method(Ledger, "handle_part")) == (Shipped, Placed)
    assert hears(Ledger().handle) == (Shipped,)
    assert hears(Ledger.handle_class) == (Late,)


def test_partials_are_seen_through():
    def listener(kind: str, event: Shipped) -> None: ...

    assert hears(functools.partial(listener, "x")) == (Shipped,)
    assert unwrapped(functools.partial(keeping(listener), "x")) is listener


def test_a_callable_object_is_read_by_its_call():
    class Audit:
        def __call__(self, event: Shipped) -> None: ...

    assert hears(Audit()) == (Shipped,)


def test_a_class_of_events_may_stand_in_the_body_of_the_listener():
    class Outer:
        class Inner: ...

        def handle(self, event: Inner) -> None: ...

    class Below(Outer): ...

    assert hears(method(Outer)) == hears(method(Below)) == (Outer.Inner,)


def test_a_callable_that_does_not_tell_has_no_parameters():
    assert parameters(dict.update) is None
    assert target_of({}.update).parameters is None


def test_what_has_no_annotations_has_no_hint():
    assert hint_of(len, "obj") is NO_HINT
    assert hint_of(lambda event: None, "event") is NO_HINT
    assert hint_of(Ledger, "nothing") is NO_HINT


def test_parameters_tell_how_each_can_be_given():
    def plain(a, b=1): ...

    def full(a, /, b, *rest, c, d=1, **more): ...

    def told(function):
        return [
            (one.name, one.positional, one.keyword, one.variadic, one.required)
            for one in parameters(function)
        ]

    assert told(plain) == [("a", True, True, False, True), ("b", True, True, False, False)]
    assert told(full) == [
        ("a", True, False, False, True),
        ("b", True, True, False, True),
        ("rest", True, False, True, False),
        ("c", False, True, False, True),
        ("d", False, True, False, False),
        ("more", False, True, True, False),
    ]


def test_async_is_told_without_calling():
    class Sync:
        def __call__(self, event): ...

    class Async:
        async def __call__(self, event): ...

    async def function(event): ...

    assert [is_async(one) for one in (function, functools.partial(function, 1), Async())] == [
        True
    ] * 3
    assert [is_async(one) for one in (Sync(), Sync, len, lambda event: None)] == [False] * 4


# Generic listeners.


class Base(Generic[E]):
    def handle(self, event: E) -> None: ...

    def handle_either(self, event: E | Placed) -> None: ...

    def handle_annotated(self, event: Annotated[E, "x"]) -> None: ...

    def handle_created(self, event: Created[E]) -> None: ...


class OfShipped(Base[Shipped]): ...


class Again(OfShipped): ...


class Middle(Base[F], Generic[F]): ...


class SameName(Base[E], Generic[E]): ...


class Pair(Generic[E, F]):
    def handle_first(self, event: E) -> None: ...

    def handle_second(self, event: F) -> None: ...


class Swapped(Pair[F, E], Generic[E, F]): ...


class Repository(Generic[E]):
    def handle_stored(self, event: E) -> None: ...


def test_a_subclass_fills_in_the_type_variable():
    assert hears(method(OfShipped)) == hears(method(Again)) == (Shipped,)
    assert hears(OfShipped().handle) == (Shipped,)


def test_a_type_variable_is_filled_in_wherever_it_stands_in_the_hint():
    assert hears(method(OfShipped, "handle_either")) == (Shipped, Placed)
    assert hears(method(OfShipped, "handle_annotated")) == (Shipped,)
    assert "make it a class of its own" in reason(method(OfShipped, "handle_created"))


@pytest.mark.parametrize("middle", [Middle, SameName], ids=lambda one: one.__name__)
def test_a_chain_of_generic_bases_is_followed(middle):
    class Leaf(middle[Late]): ...

    assert hears(method(Leaf)) == (Late,)


def test_a_chain_may_change_the_order_of_the_variables():
    class Leaf(Swapped[Placed, Shipped]): ...

    assert hears(method(Leaf, "handle_first")) == (Shipped,)
    assert hears(method(Leaf, "handle_second")) == (Placed,)


def test_two_generic_bases_with_one_variable_are_told_apart():
    class Leaf(Base[Shipped], Repository[Placed]): ...

    assert hears(method(Leaf)) == (Shipped,)
    assert hears(method(Leaf, "handle_stored")) == (Placed,)


def test_an_argument_may_be_a_string():
    class Leaf(Base["Late"]): ...

    assert hears(method(Leaf)) == (Late,)


@pytest.mark.parametrize("cls", [Base, Middle, SameName], ids=lambda one: one.__name__)
def test_what_is_still_generic_waits_for_a_subclass(cls):
    """D7: a base that is filled in by its subclasses is no listener of its own."""
    assert "for a subclass to fill in" in reason(method(cls))


def test_an_argument_left_out_is_the_bound():
    class Bounded(Generic[Bound]):
        def handle(self, event: Bound) -> None: ...

    class Leaf(Bounded): ...

    class Bare(Base): ...

    assert hears(method(Leaf)) == (Shipped,)
    assert "nothing has bound" in reason(method(Bare))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`class Base[E]` came with Python 3.12")
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_the_new_syntax_of_type_parameters_is_read(future, monkeypatch):
    module = module_of(
        future
        + "class Shipped: ...\n"
        + "type Alias = Shipped\n"
        + "class Base[E]:\n    def handle(self, event: E): ...\n"
        + "class Leaf(Base[Shipped]): ...\n"
        + "def bound[T: Shipped](event: T): ...\n"
        + "def alias(event: Alias): ...\n",
        monkeypatch,
    )

    assert hears(method(module.Leaf)) == (module.Shipped,)
    assert hears(module.bound) == hears(module.alias) == (module.Shipped,)
    assert "for a subclass to fill in" in reason(method(module.Base))


# Constructors, whose hints the resolver reads.


class Mailer: ...


@attrs.frozen
class ByAttrs:
    _mailer: Mailer


@dataclass
class ByDataclass:
    mailer: Mailer


class ByNamedTuple(NamedTuple):
    mailer: Mailer


class ByNew:
    def __new__(cls, mailer: Mailer):
        return super().__new__(cls)


class ByHand:
    @keeping
    def __init__(self, mailer: Mailer) -> None: ...


@pytest.mark.parametrize(
    "cls", [ByAttrs, ByDataclass, ByNamedTuple, ByNew, ByHand], ids=lambda one: one.__name__
)
def test_a_constructor_is_read_however_it_was_made(cls):
    assert hint_of(cls, "mailer") is Mailer
    assert hint_of(type("Below", (cls,), {}), "mailer") is Mailer


def test_a_generic_constructor_is_filled_in():
    class Sender(Generic[E]):
        def __init__(self, transport: E) -> None: ...

    class MailSender(Sender[Mailer]): ...

    assert hint_of(MailSender, "transport") is Mailer


@pytest.mark.parametrize("make", ["attrs.define", "dataclasses.dataclass"])
def test_a_field_means_what_it_means_where_it_was_written(make, monkeypatch):
    """The constructor is generated for the subclass, whose module need not know the parent's hints."""
    head = "from __future__ import annotations\nimport attrs, dataclasses\n"
    base = module_of(
        f"{head}class Mailer: ...\n@{make}\nclass Base:\n    mailer: Mailer\n",
        monkeypatch,
        "hints_a",
    )
    below = module_of(
        f"{head}from hints_a import Base\n@{make}\nclass Below(Base):\n    own: Base\n",
        monkeypatch,
        "hints_b",
    )

    assert hint_of(below.Below, "mailer") is base.Mailer
    assert hint_of(below.Below, "own") is base.Base


def test_a_module_that_is_gone_leaves_the_globals_of_the_function(monkeypatch):
    module = module_of(
        "class Mailer: ...\nclass Plain:\n    def __init__(self, mailer: 'Mailer'): ...",
        monkeypatch,
    )
    monkeypatch.delitem(sys.modules, module.__name__)

    assert hint_of(module.Plain, "mailer") is module.Mailer
