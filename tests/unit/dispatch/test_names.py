"""What events are called, what a wildcard matches, what a filter lets through."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.dispatch.names import (
    Patterns,
    concerns,
    declaration,
    event,
    event_name,
    matches,
    real_module,
)
from eventbus.errors import InvalidOption


class Shipped:
    pass


@event("order.shipped", version=2, aliases=["shop.Shipped"], upcast={1: dict})
class Declared:
    pass


class Child(Declared):
    pass


def test_a_class_is_called_by_its_module_and_qualified_name():
    """W3: class events have a dotted name."""
    assert event_name(Shipped) == f"{__name__}.Shipped"


def test_a_declared_name_goes_before_the_dotted_one():
    assert event_name(Declared) == "order.shipped"


def test_a_declaration_is_of_its_own_class_only():
    """A child without `@event` must not be stored under its parent's name."""
    assert declaration(Child) is None
    assert event_name(Child) == f"{__name__}.Child"


def test_a_declaration_keeps_version_aliases_and_upcasts():
    said = declaration(Declared)

    assert (said.version, said.aliases, dict(said.upcast)) == (2, ("shop.Shipped",), {1: dict})


@pytest.mark.parametrize("name", ["", "order.*", "a\nb", "x" * 201, None, 7])
def test_a_name_that_could_not_be_told_from_a_wildcard_or_printed_is_refused(name):
    with pytest.raises(InvalidOption, match="name of @event"):
        event(name)


def test_an_alias_is_checked_as_a_name_is():
    with pytest.raises(InvalidOption, match="aliases"):
        event("order.shipped", aliases=["order.*"])


@pytest.mark.parametrize("version", [0, -1, "2", 1.0, True, None])
def test_a_version_is_a_whole_number_from_one(version):
    with pytest.raises(InvalidOption, match="version"):
        event("order.shipped", version=version)


@pytest.mark.parametrize("older", [0, 2, 3])
def test_an_upcast_is_from_an_older_version(older):
    with pytest.raises(InvalidOption, match="below 2"):
        event("order.shipped", version=2, upcast={older: dict})


def test_the_module_of_a_program_is_the_name_it_is_imported_by(monkeypatch):
    program = ModuleType("__main__")
    program.__spec__ = SimpleNamespace(name="shop.app")
    monkeypatch.setitem(sys.modules, "__main__", program)

    assert real_module(SimpleNamespace(__module__="__main__")) == "shop.app"


def test_the_module_of_a_script_stays_main(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))

    assert real_module(SimpleNamespace(__module__="__main__")) == "__main__"


@pytest.mark.parametrize(
    "pattern, name, matched",
    [
        ("order.*", "order.shipped", True),
        ("order.*", "order.line.added", True),
        ("order.*", "order.", True),
        ("order.*", "order", False),
        ("order.*", "Order.shipped", False),
        ("order.*", "my.order.shipped", False),
        ("*", "", True),
        ("*", "any\nthing", True),
        ("*.shipped", "order.shipped", True),
        ("*.shipped", "order.shipped.late", False),
        ("a*c*e", "abcde", True),
        ("a*c*e", "ace", True),
        ("a*c*e", "aec", False),
        ("order?[a].*", "order?[a].b", True),
        ("order?[a].*", "orderxa.b", False),
    ],
)
def test_a_star_is_any_run_of_characters_and_nothing_else_is_special(pattern, name, matched):
    """W2: dots, newlines and the empty run too; the whole name; case counts."""
    assert matches(pattern, name) is matched
    assert Patterns([pattern]).matching(name) == ([pattern] if matched else [])


@given(
    st.lists(st.text("ab.*", min_size=1, max_size=5).filter(lambda one: "*" in one), max_size=8),
    st.text("ab.", max_size=6),
)
def test_a_set_of_patterns_finds_what_each_of_them_matches(patterns, name):
    """W4: finding them by their beginning or end is the same as trying each."""
    found = Patterns(patterns).matching(name)

    assert sorted(found) == sorted(one for one in patterns if matches(one, name))


@pytest.mark.parametrize(
    "wanted, concerned",
    [
        (Declared, True),
        (object, True),
        (Shipped, False),
        ("order.shipped", True),
        ("order.*", True),
        ("stock.*", False),
    ],
)
def test_a_filter_is_a_class_a_parent_a_name_or_a_wildcard(wanted, concerned):
    assert concerns([wanted], Declared(), "order.shipped") is concerned


def test_a_class_does_not_concern_an_event_that_is_only_a_name():
    assert not concerns([object], "order.shipped", "order.shipped")
