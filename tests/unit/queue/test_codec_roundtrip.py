"""Whatever an event holds comes back equal, and encodes to the same bytes again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventbus.errors import DecodeError, EncodeError, UnknownName
from eventbus.queue.codec.document import read
from eventbus.queue.codec.typed import EventTypes


class Colour(Enum):
    RED = "r"
    BLUE = "b"


@attrs.frozen
class Inner:
    text: str
    amount: Decimal
    when: datetime | None


Everything = dict[str, list[tuple[int, Inner | None]]]


@attrs.frozen
class AttrsEvent:
    inner: Inner
    many: dict[str, list[tuple[int, Inner | None]]]
    ids: frozenset[UUID]
    choice: int | str | date | Inner


@dataclass(frozen=True, slots=True)
class DataEvent:
    inner: Inner
    blobs: list[bytes]
    spans: dict[int, timedelta]
    clock: time
    colour: Colour


class NamedEvent(NamedTuple):
    number: float
    flags: tuple[bool, ...]
    inner: list[Inner]


class StructEvent(msgspec.Struct):
    inner: Inner
    colours: set[Colour]
    by_day: dict[date, dict[str, int]]


class ModelEvent(pydantic.BaseModel):
    number: int
    text: str
    many: dict[str, list[tuple[int, str | None]]]
    when: datetime
    amount: Decimal
    colour: Colour


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
SMALL = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
INSTANTS = st.datetimes(timezones=st.just(UTC))
UUIDS = st.uuids()
INNER = st.builds(Inner, TEXT, DECIMALS, st.none() | INSTANTS | st.datetimes())
COLOURS = st.sampled_from(Colour)
PLAIN = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@attrs.frozen
class PlainEvent:
    anything: object


SHAPES = {
    AttrsEvent: st.builds(
        AttrsEvent,
        INNER,
        st.dictionaries(
            TEXT, st.lists(st.tuples(INTEGERS, st.none() | INNER), max_size=3), max_size=3
        ),
        st.frozensets(UUIDS, max_size=3),
        INTEGERS | TEXT | st.dates() | INNER,
    ),
    DataEvent: st.builds(
        DataEvent,
        INNER,
        st.lists(st.binary(max_size=8), max_size=3),
        st.dictionaries(INTEGERS, st.timedeltas(), max_size=3),
        st.times(),
        COLOURS,
    ),
    NamedEvent: st.builds(
        NamedEvent,
        FLOATS,
        st.lists(st.booleans(), max_size=3).map(tuple),
        st.lists(INNER, max_size=3),
    ),
    StructEvent: st.builds(
        StructEvent,
        INNER,
        st.sets(COLOURS),
        st.dictionaries(st.dates(), st.dictionaries(TEXT, INTEGERS, max_size=3), max_size=3),
    ),
    ModelEvent: st.builds(
        ModelEvent,
        number=SMALL,
        text=TEXT,
        many=st.dictionaries(
            TEXT, st.lists(st.tuples(SMALL, st.none() | TEXT), max_size=3), max_size=3
        ),
        when=INSTANTS,
        amount=st.decimals(-(10**9), 10**9, places=3),
        colour=COLOURS,
    ),
    PlainEvent: st.builds(PlainEvent, PLAIN),
}
TYPES = EventTypes()
for shape in SHAPES:
    TYPES.add(shape)


@pytest.mark.parametrize("cls", SHAPES, ids=lambda cls: cls.__name__)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_an_event_comes_back_equal_and_encodes_to_the_same_bytes(cls, data):
    sent = data.draw(SHAPES[cls])
    codec = TYPES.codec_for(cls)

    written = codec.encode(sent)
    got = codec.decode(written, 1)

    assert got == sent
    assert type(got) is cls
    assert codec.encode(got) == written
    assert written.isascii()


@given(st.binary(max_size=200))
def test_any_bytes_as_a_document_give_one_typed_error(body: bytes):
    with pytest.raises((DecodeError, UnknownName)):
        read(body)


@given(PLAIN)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_json_as_an_event_gives_the_event_or_one_typed_error(value: object):
    codec = TYPES.codec_for(AttrsEvent)
    data = msgspec.json.encode(value)

    with pytest.raises(DecodeError):
        codec.decode(data, 1)


@given(
    st.recursive(st.just(float("nan")) | st.just(2**64) | st.just("\ud800"), st.lists, max_leaves=3)
)
def test_what_json_cannot_hold_is_never_written(value: object):
    codec = TYPES.codec_for(PlainEvent)

    try:
        data = codec.encode(PlainEvent(value))
    except EncodeError:
        return
    assert codec.decode(data, 1) == PlainEvent(value)
