"""The short way of records of plain fields finds what their forms find, or leaves it to them."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import NamedTuple

import attrs
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventbus.defaults import DATA_SIZE_LIMIT
from eventbus.errors import DecodeError, EncodeError
from eventbus.queue.codec import typed
from eventbus.queue.codec.flat import flat
from eventbus.queue.codec.typed import EventTypes


@attrs.frozen
class Plain:
    number: int
    text: str | None
    real: float
    flag: bool = False
    either: int | str | None = None
    _hidden: float | None = None


@dataclass
class DataPlain:
    number: int
    text: str = ""


class NamedPlain(NamedTuple):
    number: int
    text: str = ""


class StructPlain(msgspec.Struct):
    number: int
    text: str = ""


@attrs.frozen(eq=False)
class Unequal:
    number: int


class ByHand:
    def __init__(self, number: int) -> None:
        self.number = number


@attrs.define
class Picky:
    """Its constructor changes what it is given, and refuses some of it."""

    number: int = attrs.field(converter=abs)

    @number.validator
    def _check(self, _, value):
        if value > 10:
            raise ValueError("too many")


@attrs.frozen
class Odd:
    """Its comparison raises."""

    number: int

    def __eq__(self, other):
        raise KeyError("eq")

    __hash__ = None


@attrs.frozen
class Nothing:
    pass


@attrs.frozen
class Dated:
    number: int
    anything: object


class Whole(enum.IntEnum):
    ONE = 1


class Letter(str):
    __slots__ = ()


def codecs(cls):
    """Return a codec with the short way, and one without."""
    found = []
    for _ in range(2):
        types = EventTypes()
        types.add(cls)
        found.append(types.codec_for(cls))
    found[1]._flat = None
    return found


def outcome(call, *arguments):
    """Return what a call returns, with its type; or what it raises."""
    try:
        found = call(*arguments)
    except (EncodeError, DecodeError) as error:
        return type(error), str(error)
    return type(found), repr(found)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.sampled_from(
        [Whole.ONE, Letter("a"), "\ud800", 2**64, 2**64 - 1, -(2**63), -(2**63) - 1, -0.0, b"x", []]
    ),
)


@given(st.tuples(*[VALUES] * 6))
@example((1, "a", 1.0, True, 5, None))
@example((1, None, -0.0, False, "é", 1.5))
@example((1, "", float("nan"), False, None, float("inf")))
@example((Whole.ONE, "a", 1.0, True, 5, None))
def test_whatever_a_record_holds_is_written_or_refused_alike(values):
    short, long = codecs(Plain)
    event = Plain(*values)

    assert outcome(short.encode, event) == outcome(long.encode, event)


KEYS = ["number", "text", "real", "flag", "either", "hidden", "other"]


@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES.filter(lambda one: not isinstance(one, bytes)))
)
@example({"number": 1, "text": "a", "real": 1.0, "flag": True, "either": 1, "hidden": None})
@example({"number": 1, "text": "a", "real": 1, "flag": True, "either": 1, "hidden": 2})
@example({"number": 1, "real": 1.0, "flag": True, "either": 1, "hidden": None, "other": None})
def test_whatever_data_holds_is_read_or_refused_alike(data):
    short, long = codecs(Plain)
    written = json.dumps(data).encode()

    assert outcome(short.decode, written, 1) == outcome(long.decode, written, 1)


@pytest.mark.parametrize("cls", [DataPlain, NamedPlain, StructPlain])
@pytest.mark.parametrize("number", [1, True, 1.0, "1", None, 2**64], ids=repr)
def test_every_kind_of_class_does(cls, number):
    short, long = codecs(cls)

    assert outcome(short.encode, cls(number, "a")) == outcome(long.encode, cls(number, "a"))


@pytest.mark.parametrize("number", [1, -1, 11])
def test_the_constructor_has_its_say(number):
    short, long = codecs(Picky)
    event = Picky(1)
    object.__setattr__(event, "number", number)
    written = b'{"number":%d}' % number

    assert outcome(short.encode, event) == outcome(long.encode, event)
    assert outcome(short.decode, written, 1) == outcome(long.decode, written, 1)


@pytest.mark.parametrize("cls", [Unequal, ByHand, Odd])
def test_what_cannot_be_compared_is_left_to_the_form(cls):
    short, long = codecs(cls)

    assert short._flat.encode(cls(1)) is None
    assert outcome(short.encode, cls(1)) == outcome(long.encode, cls(1))


def test_an_object_without_its_attribute_and_one_of_another_class_are_left_to_the_form():
    short, long = codecs(ByHand)
    event = ByHand(1)
    del event.number

    for wrong in (event, "other"):
        assert outcome(short.encode, wrong) == outcome(long.encode, wrong)


@pytest.mark.parametrize("length", [DATA_SIZE_LIMIT - 30, DATA_SIZE_LIMIT, 10 * DATA_SIZE_LIMIT])
@pytest.mark.parametrize("letter", ["x", "\n", "é"])
def test_the_size_is_bounded_alike(length, letter):
    short, long = codecs(DataPlain)
    event = DataPlain(1, letter * length)

    assert outcome(short.encode, event) == outcome(long.encode, event)


def test_a_text_that_is_too_long_is_not_written_to_see_that(monkeypatch):
    short, _ = codecs(DataPlain)
    monkeypatch.setattr("eventbus.queue.codec.flat._ENCODER", None)

    assert short._flat.encode(DataPlain(1, "x" * (DATA_SIZE_LIMIT + 1))) is None


@pytest.mark.parametrize("cls, has", [(Plain, True), (Nothing, False), (Dated, False)])
def test_only_records_of_plain_fields_have_it(cls, has):
    types = EventTypes()
    types.add(cls)

    assert (flat(types.codec_for(cls)._form) is not None) is has


@pytest.mark.parametrize("count, has", [(64, True), (65, False)])
def test_a_record_of_very_many_fields_has_none(count, has):
    cls = attrs.make_class("Many", {f"f{n}": attrs.field(type=int) for n in range(count)})
    cls.__module__, cls.__qualname__ = __name__, "Many"
    types = EventTypes()
    types.add(cls)

    assert (types.codec_for(cls)._flat is not None) is has


def test_it_is_the_way_that_is_taken(monkeypatch):
    short, _ = codecs(Plain)
    event = Plain(1, "a", 1.0)
    monkeypatch.setattr(typed, "_encoded", None)
    monkeypatch.setattr(short, "_form", None)

    data = short.encode(event)

    assert data == b'{"number":1,"text":"a","real":1.0,"flag":false,"either":null,"hidden":null}'
    assert short.decode(data, 1) == event
