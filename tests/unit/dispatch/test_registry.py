"""Who listens to what, in which order, and what is registered once."""

from __future__ import annotations

import gc
import weakref
from abc import ABC
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import pytest

from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.names import event
from eventbus.dispatch.registry import Registry
from eventbus.dispatch.targets import target_of
from eventbus.errors import ListenError


class Base:
    pass


class Middle(Base):
    pass


class Leaf(Middle):
    pass


class Virtual(ABC):  # noqa: B024 -- for those registered with it
    """An ABC that `Leaf` is registered with and does not inherit."""


Virtual.register(Leaf)


@runtime_checkable
class Named(Protocol):
    def name(self) -> str: ...


@event("order.shipped")
class Declared:
    pass


class Mailer:
    def handle(self, event):
        return "built"


def answering(answer):
    return lambda *_: answer


# order


def test_listeners_run_in_the_order_of_their_registration(bus):
    """E1, E33: unrelated listeners do not know each other."""
    for number in range(5):
        bus.listen(Base, answering(number))

    assert bus.dispatch(Base()) == [0, 1, 2, 3, 4]


def test_a_higher_priority_goes_first(bus):
    """E15."""
    for priority in (0, -1, 10, 1):
        bus.listen(Base, answering(priority), priority=priority)

    assert bus.dispatch(Base()) == [10, 1, 0, -1]


def test_exact_goes_before_wildcard_before_inherited_before_abc(bus):
    """E15, E16, TR1: nearest parent first, ABCs that are no parents last."""
    bus.listen(Virtual, answering("abc"))
    bus.listen(object, answering("object"))
    bus.listen(Base, answering("base"))
    bus.listen(Middle, answering("middle"))
    bus.listen("*", answering("wildcard"))
    bus.listen(Leaf, answering("exact"))

    assert bus.dispatch(Leaf()) == ["exact", "wildcard", "middle", "base", "object", "abc"]


def test_priority_goes_before_kind(bus):
    """E15."""
    bus.listen(Leaf, answering("exact"))
    bus.listen(Base, answering("parent"), priority=1)

    assert bus.dispatch(Leaf()) == ["parent", "exact"]


def test_wildcards_run_in_the_order_of_their_registration(bus):
    """E15, W1."""
    for pattern in ("order.*", "*", "*.shipped"):
        bus.listen(pattern, answering(pattern))

    assert bus.dispatch("order.shipped") == ["order.*", "*", "*.shipped"]


# what matches


def test_the_key_is_the_class_and_not_its_name(bus):
    """E1: two classes of one name are two events."""
    other = type("Base", (), {"__module__": Base.__module__, "__qualname__": "Base"})
    bus.listen(Base, answering(1))

    assert bus.dispatch(other()) == []


def test_a_parent_does_not_become_its_child(bus):
    """E16."""
    bus.listen(Leaf, answering(1))

    assert bus.dispatch(Base()) == []


def test_names_are_exact_and_their_case_counts(bus):
    """E2."""
    bus.listen("order.shipped", answering(1))

    assert bus.dispatch("order.shipped") == [1]
    assert bus.dispatch("Order.shipped") == bus.dispatch("order.shipped.late") == []


def test_a_protocol_hears_who_has_its_methods(bus):
    """E16."""

    class Person:
        def name(self) -> str:
            return "Ada"

    bus.listen(Named, lambda event: event.name())

    assert bus.dispatch(Person()) == ["Ada"]
    assert bus.dispatch(Base()) == []


def test_one_star_hears_class_events_too(bus):
    """W1, W3: by their dotted name, with the object as the payload."""
    bus.listen("*", lambda name, payload: (name, payload))
    one = Base()

    assert bus.dispatch(one) == [(f"{__name__}.Base", (one,))]


def test_a_declared_class_is_heard_by_its_name_and_gets_the_object(bus):
    """E2: classes and names share one namespace."""
    bus.listen("order.shipped", lambda *payload: payload)
    bus.listen("order.*", lambda name, payload: name)
    one = Declared()

    assert bus.dispatch(one) == [(one,), "order.shipped"]


def test_a_name_is_not_heard_by_the_class_declared_so(bus):
    bus.listen(Declared, answering(1))

    assert bus.dispatch("order.shipped", 1) == []


def test_the_member_of_an_enum_is_the_name_that_is_its_value(bus):
    """E2."""

    class Names(str, Enum):  # noqa: UP042 -- str() of a StrEnum's member is its value, of this not
        DONE = "order.done"

    bus.listen(Names.DONE, answering("by member"))
    bus.listen("order.done", answering("by value"))
    bus.listen("order.*", lambda name, payload: name)

    answers = ["by member", "by value", "order.done"]
    assert bus.dispatch(Names.DONE) == bus.dispatch("order.done") == answers


@pytest.mark.parametrize(
    "wanted, reason",
    [
        ("", "cannot be empty"),
        (7, "neither an event class nor a name"),
        (None, "neither an event class nor a name"),
        (list[int], "neither an event class nor a name"),
        (str, "the name of an event"),
        (Any, "cannot be compared"),
        (type("Plain", (Protocol,), {"__module__": __name__}), "cannot be compared"),
    ],
    ids=["empty", "number", "None", "generic", "str", "Any", "protocol"],
)
def test_what_no_event_can_be_is_refused(bus, wanted, reason):
    with pytest.raises(ListenError, match=reason):
        bus.listen(wanted, answering(1))


# has_listeners, listeners_for, why


@pytest.mark.parametrize("listened", [Leaf, Base, object, Virtual, f"{__name__}.*", "*"])
def test_whoever_hears_counts(bus, listened):
    """E17, W8: parents, ABCs and wildcards too."""
    bus.listen(listened, answering(1))

    assert bus.has_listeners(Leaf)


@pytest.mark.parametrize(
    "asked, heard",
    [
        ("order.shipped", True),
        ("order.*", True),
        ("order.ship*", False),
        ("stock.low", False),
        (Base, False),
    ],
)
def test_a_wildcard_counts_for_what_it_matches_and_by_its_own_text(bus, asked, heard):
    """W8."""
    bus.listen("order.*", answering(1))

    assert bus.has_listeners(asked) is heard


def test_listeners_for_are_those_that_run_in_their_order(bus):
    """E18."""
    bus.listen(Base, answering("parent"))
    bus.listen(Leaf, answering("exact"), priority=1)

    assert [one.event for one in bus.listeners_for(Leaf)] == [Leaf, Base]
    assert [one.event for one in bus.listeners()] == [Base, Leaf]


def test_the_listeners_of_a_wildcard_are_those_of_its_own_text(bus):
    """E18."""
    bus.listen("order.*", answering(1))
    bus.listen("*", answering(2))

    [one] = bus.why("order.*")
    assert (one.listener.event, one.how) == ("order.*", "its own text")


def test_why_says_how_each_listener_matches(bus):
    bus.listen(Leaf, answering(1))
    bus.listen("*", answering(1))
    bus.listen(Base, answering(1))
    bus.listen(Virtual, answering(1))

    assert [one.how for one in bus.why(Leaf)] == [
        "exact",
        "wildcard *",
        "parent Base",
        "abc Virtual",
    ]
    bus.listen("order.shipped", answering(1))
    assert [one.how for one in bus.why(Declared)] == ["name", "wildcard *"]


# once each


def test_what_is_registered_four_times_runs_four_times(bus):
    """E5."""
    listener = answering(1)
    for _ in range(4):
        bus.listen(Base, listener)

    assert bus.dispatch(Base()) == [1, 1, 1, 1]


@pytest.mark.parametrize("first", [Leaf, Base, Virtual])
def test_a_target_of_a_class_and_of_its_parents_runs_once_at_its_nearest_place(bus, first):
    """E16, TR1: whichever was registered first."""
    for listened in {first: 0, Leaf: 0, Middle: 0, Base: 0, Virtual: 0}:
        bus.listen(listened, Mailer)

    assert bus.dispatch(Leaf()) == ["built"]
    assert [one.passed_over for one in bus.why(Leaf)] == [
        "",
        *["runs as the listener of Leaf"] * 3,
    ]
    assert [one.event for one in bus.listeners_for(Middle)] == [Middle]


def test_the_nearest_place_of_a_target_is_the_most_specific_one_and_not_the_first(bus):
    """TR1: a higher priority of the parent's registration does not count."""
    bus.listen(Base, Mailer, priority=10)
    bus.listen(Leaf, Mailer)
    bus.listen(Leaf, answering("other"), priority=5)

    assert bus.dispatch(Leaf()) == ["other", "built"]


def test_a_target_of_a_class_and_of_a_wildcard_runs_for_both(bus):
    """The two are called with different things."""
    listener = answering(1)
    bus.listen(Base, listener)
    bus.listen("*", listener)

    assert bus.dispatch(Base()) == [1, 1]


def test_two_objects_are_two_targets_even_if_they_are_equal(bus):
    class Equal(Mailer):
        def __eq__(self, other):
            return True

        __hash__ = object.__hash__

    bus.listen(Base, Equal().handle)
    bus.listen(Leaf, Equal().handle)

    assert bus.dispatch(Leaf()) == ["built", "built"]


def discovered(heard, listener):
    return Listener(event=heard, target=target_of(listener, heard), origin="discovery")


class Forms:
    def handle(self, event: Base) -> str:
        return "handled"

    @staticmethod
    def static(event: Base) -> str:
        return "handled"

    @classmethod
    def of_class(cls, event: Base) -> str:
        return "handled"

    def __call__(self, event: Base) -> str:
        return "handled"


def a_function(event: Base) -> str:
    return "handled"


AN_OBJECT = Forms()


@pytest.mark.parametrize(
    "found, by_hand",
    [
        (Forms, Forms),
        (Forms, (Forms, "handle")),
        (Forms, Forms.handle),
        (Forms, Forms()),
        (Forms, Forms().handle),
        ((Forms, "static"), Forms.static),
        ((Forms, "of_class"), Forms.of_class),
        ((Forms, "__call__"), (Forms(), "__call__")),
        (a_function, a_function),
        (AN_OBJECT, AN_OBJECT),
    ],
    ids=[
        "class",
        "class and method",
        "unbound",
        "object",
        "bound",
        "static",
        "class method",
        "call",
        "function",
        "same object",
    ],
)
@pytest.mark.parametrize("listened", [Base, Leaf])
def test_a_target_found_by_a_scan_and_registered_by_hand_runs_once_with_the_hands_options(
    bus, found, by_hand, listened
):
    """TR20: also when the hand has registered it for a child of what its hint says."""
    bus._registry.add([discovered(Base, found)])
    bus.listen(listened, by_hand, priority=7)

    assert bus.dispatch(Leaf()) == ["handled"]
    assert [one.priority for one in bus.listeners_for(Leaf)] == [7]
    assert "registered by hand as well" in [one.passed_over for one in bus.why(Leaf)]


def test_two_objects_of_one_class_found_by_a_scan_are_two_listeners(bus):
    class Counter:
        def __call__(self, event: Base) -> str:
            return "counted"

    bus._registry.add([discovered(Base, Counter()), discovered(Base, Counter())])

    assert bus.dispatch(Base()) == ["counted", "counted"]


def test_a_target_found_again_is_added_once():
    """TR20: however often it is found, until it is forgotten."""
    registry = Registry(lambda: None)

    assert len(registry.add([discovered(Base, Forms), discovered(Base, Forms)])) == 1
    assert registry.add([discovered(Base, Forms)]) == ()
    registry.forget(Base)
    assert len(registry.add([discovered(Base, Forms)])) == 1


# removing


def test_a_registration_removes_what_it_registered(bus):
    """E20."""
    registration = bus.listen([Base, "done"], answering(1))
    bus.listen(Base, answering(2))

    registration.remove()
    registration.remove()

    assert bus.dispatch(Base()) == [2]
    assert not bus.has_listeners("done")


def test_one_of_several_equal_registrations_is_removed_alone(bus):
    """E5, E20."""
    listener = answering(1)
    bus.listen(Base, listener)
    bus.listen(Base, listener).remove()

    assert bus.dispatch(Base()) == [1]


def test_a_registration_may_be_for_a_block(bus):
    with bus.listen(Base, answering(1)) as registration:
        assert bus.dispatch(Base()) == [1]
        assert repr(registration).startswith("<Registration of test")

    assert bus.dispatch(Base()) == []


def test_a_registration_of_no_events_is_of_nothing(bus):
    assert repr(bus.listen([], answering(1))) == "<Registration of nothing>"


@pytest.mark.parametrize("forgotten", [Base, "order.shipped", "order.*"])
def test_forget_removes_every_listener_of_one_key(bus, forgotten):
    """E20, W5: a class, a name, or a wildcard by its own text."""
    keys = (Base, "order.shipped", "order.*")
    for key in keys:
        bus.listen(key, answering(key))
        bus.listen(key, answering(key))
    bus.dispatch(Base())
    bus.dispatch("order.shipped")

    bus.forget(forgotten)
    bus.forget(forgotten)

    heard = {*bus.dispatch(Base()), *bus.dispatch("order.shipped")}
    assert heard == set(keys) - {forgotten}


def test_forgetting_a_class_leaves_its_parents_listeners(bus):
    """E20."""
    bus.listen(Base, answering("parent"))
    bus.listen(Leaf, answering("exact"))

    bus.forget(Leaf)

    assert bus.dispatch(Leaf()) == ["parent"]


def test_registering_a_wildcard_reaches_names_that_were_dispatched_before(bus):
    """W4: the cache of matches never hides a listener."""
    assert bus.dispatch("order.shipped") == []

    bus.listen("order.*", answering(1))

    assert bus.dispatch("order.shipped") == [1]


def test_the_registry_lets_go_of_what_is_removed(bus):
    class Temporary:
        def handle(self, event: Base) -> None: ...

    one = Temporary()
    gone = weakref.ref(one)
    registration = bus.listen(Base, one)
    bus.dispatch(Base())
    registration.remove()

    del one, registration
    bus.dispatch(Base())
    gc.collect()
    assert gone() is None
