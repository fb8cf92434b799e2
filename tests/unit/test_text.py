"""Text of others: whatever its own methods do, a message of ours has one short line of it."""

from __future__ import annotations

import asyncio

import pytest

from eventbus.defaults import ACTION_TEXT_LIMIT
from eventbus.errors import InvalidOption, NotAnEvent
from eventbus.text import class_name, described, one_line, plain, short, shown


def throwing(error):
    def throw(*_, **__):
        raise error

    return throw


class Text(str):
    """A text whose every method ends the program."""

    __slots__ = ()
    __len__ = __getitem__ = __iter__ = __add__ = __radd__ = throwing(SystemExit(3))
    __format__ = __str__ = isprintable = encode = throwing(SystemExit(3))


class Meta(type):
    """A class that does not even tell its name."""

    def __getattribute__(cls, name):
        if name in ("__module__", "__name__", "__qualname__"):
            raise SystemExit(3)
        return type.__getattribute__(cls, name)


class NamelessError(Exception, metaclass=Meta):
    """Nothing can be asked of its class."""

    __str__ = __repr__ = throwing(SystemExit(3))


RAISED = [
    ValueError(),
    SystemExit(0),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    MemoryError(),
    StopIteration(),
    NamelessError(),
]


@pytest.mark.parametrize("at", range(len(RAISED)))
def test_nothing_that_a_method_of_others_raises_gets_out(at):
    """F8: not even what would end the process."""
    throw = throwing(RAISED[at])
    odd = type("Odd", (Exception,), {"__str__": throw, "__repr__": throw})()

    assert described(odd) == "Odd"
    assert shown(odd) == "a Odd"


def test_a_text_of_a_class_of_its_own_is_copied():
    """F8: what `str()` returns may be one, and its methods anything."""
    said = type("Odd", (Exception,), {"__str__": lambda self: Text("said")})()

    assert described(said) == "Odd: said"
    assert type(plain(said)) is str
    assert short(Text("x" * 1_000)) == "x" * ACTION_TEXT_LIMIT + "..."
    assert one_line(said) == "said"


def test_a_class_is_named_against_its_will():
    """F8: a metaclass answers for the class, and may raise."""
    assert class_name(NamelessError) == "NamelessError"
    assert described(NamelessError()) == "NamelessError"
    assert shown(NamelessError()) == "a NamelessError"
    assert class_name(type(Text("x" * 1_000), (), {})) == "x" * ACTION_TEXT_LIMIT + "..."
    assert class_name(type("a\nb", (), {})) == r"a\nb"


@pytest.mark.parametrize(
    "value",
    ["x" * 1_000_000, "\x1b[2J\n", NamelessError(), b"\0" * 1_000_000],
    ids=["long", "painted", "nameless", "bytes"],
)
def test_a_message_repeats_of_a_value_what_fits_a_line(value):
    """A11: the value itself is whole, in the error's field."""
    error = InvalidOption(option="queue", value=value, expected="a name")

    assert error.value is value
    for one in (error, NotAnEvent(value=value, reason="it is none")):
        assert str(one).isprintable()
        assert len(str(one)) < 500
