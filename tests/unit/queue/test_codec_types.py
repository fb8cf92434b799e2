"""What an event may hold: each type comes back as it was, and what cannot is refused by its path."""

from __future__ import annotations

import functools
import io
import json
import re
import threading
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict, namedtuple
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import CONFORM, EJECT, KEEP, Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import (  # noqa: UP035 -- old spellings are read too
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Generic,
    List,
    Literal,
    LiteralString,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    Required,
    Self,
    TypedDict,
    TypeVar,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import ReadOnly, TypeAliasType

from eventbus.defaults import DATA_DEPTH_LIMIT, DATA_SIZE_LIMIT
from eventbus.dispatch.names import event
from eventbus.errors import DecodeError, EncodeError
from eventbus.queue.codec.typed import EventTypes, PayloadCodec, TypeCodec

if TYPE_CHECKING:
    from decimal import Context

T = TypeVar("T")
K = TypeVar("K")


def codec(cls: type) -> TypeCodec:
    types = EventTypes()
    types.add(cls)
    return types.codec_for(cls)


def returned(value: object) -> object:
    """What a worker gets, of the same class; written twice, the bytes are the same."""
    of_class = codec(type(value))
    data = of_class.encode(value)
    again = of_class.decode(data, of_class.version)
    assert of_class.encode(again) == data
    assert type(again) is type(value)
    return again


def through(value: object, hint: object) -> object:
    """What a worker gets of one value with a type hint."""
    payload = PayloadCodec((hint,))
    data = payload.encode((value,))
    (again,) = payload.decode(data)
    assert payload.encode((again,)) == data
    return again


def refusal(value: object) -> EncodeError:
    with pytest.raises(EncodeError) as caught:
        codec(type(value)).encode(value)
    return caught.value


def refused_value(value: object, hint: object = Any) -> EncodeError:
    with pytest.raises(EncodeError) as caught:
        PayloadCodec((hint,)).encode((value,))
    return caught.value


def refused_data(data: bytes, hint: object) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        PayloadCodec((hint,)).decode(b"[" + data + b"]")
    return caught.value


# ----------------------------------------------------------------------------- scalars


class Size(StrEnum):
    SMALL = "s"
    LARGE = "l"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(Enum):
    NUMBER = 1
    TEXT = "1"


class Edge(Enum):
    LEAST = -(2**63)
    LARGEST = 2**64 - 1


class Right(Flag):
    READ = auto()
    WRITE = auto()


class Mode(IntFlag):
    ONE = 1
    FOUR = 4


class Dropping(Flag, boundary=CONFORM):
    ONE = 1


class Leaving(IntFlag, boundary=EJECT):
    ONE = 1


OrderId = NewType("OrderId", int)
Names = TypeAliasType("Names", list[str])
Nothing = TypeAliasType("Nothing", None)
Listed = TypeAliasType("Listed", list[T], type_params=(T,))
Duo = TypeAliasType("Duo", tuple[T, T], type_params=(T,))
BERLIN = ZoneInfo("Europe/Berlin")

VALUES = [
    (None, None),
    (True, bool),
    (0, int),
    (-(2**63), int),
    (2**64 - 1, int),
    (1.5, float),
    (-0.0, float),
    (5e-324, float),
    (3, float),
    (2**53, float),
    (-(2**53), float),
    ("", str),
    ("grüße 😀 \x00 \u2028 \x7f", str),
    (Decimal("1.10"), Decimal),
    (Decimal("-1E+30"), Decimal),
    (UUID(int=7), UUID),
    (datetime(2026, 1, 1, 12, 30, 0, 1, tzinfo=UTC), datetime),
    (datetime(2026, 1, 1, 12, 30, tzinfo=BERLIN), datetime),
    (datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=-1))), datetime),
    (datetime(1, 1, 1), datetime),  # noqa: DTZ001 -- a wall clock's time stays one
    (date(2026, 2, 28), date),
    (time(1, 2, 3, 4), time),
    (time(1, tzinfo=UTC), time),
    (timedelta(0), timedelta),
    (timedelta(days=-1, microseconds=1), timedelta),
    (timedelta.max, timedelta),
    (timedelta.min, timedelta),
    (b"\x00\xff", bytes),
    (bytearray(b"ab"), bytearray),
    (Path("/tmp/a b"), Path),
    (PurePosixPath("a/b"), PurePosixPath),
    (PurePosixPath("a\nb"), PurePosixPath),
    (Size.SMALL, Size),
    (Level.HIGH, Level),
    (Mixed.NUMBER, Mixed),
    (Mixed.TEXT, Mixed),
    (Edge.LEAST, Edge),
    (Edge.LARGEST, Edge),
    (Right.READ | Right.WRITE, Right),
    (Right(0), Right),
    (Mode(5), Mode),
    (Size.SMALL, Literal[Size.SMALL, 7]),
    (7, Literal[Size.SMALL, 7]),
    ("a", Literal["a", "b"]),
    (True, Literal[1, True] | None),
    (1, Literal[1, True] | None),
    (None, Literal[1, True] | None),
    (7, OrderId),
    (["a"], Names),
    (None, Nothing),
    ((1, 2), Duo[int]),
    ([1, "a"], Listed),
    (7, Annotated[int, "a note"]),
    (7, Annotated[int, {"a": ["note"]}]),
    (7, Final[int]),
    ([1, 2], list[int]),
    ([1], List[int]),  # noqa: UP006
    ([1, "a", None, [2.5], {"a": {}}], list),
    ([1], Sequence[int]),
    ([1], Iterable[int]),
    ([1], MutableSequence[int]),
    ({1}, MutableSet[int]),
    ("a", LiteralString),
    ((), tuple[()]),
    ((1, "a"), tuple[int, str]),
    ((1, 2, 3), tuple[int, ...]),
    ((1, "a"), tuple),
    ({3, 1, 2}, set[int]),
    (frozenset({"b", "a"}), frozenset[str]),
    ({"b"}, AbstractSet[str]),
    ({(1, "a"), (0, "b")}, set[tuple[int, str]]),
    ({"a": 1}, dict[str, int]),
    ({"a": [1]}, dict),
    ({1: "a", -2: "b"}, dict[int, str]),
    ({UUID(int=1): 1}, dict[UUID, int]),
    ({Size.SMALL: 1}, dict[Size, int]),
    ({date(2026, 1, 1): []}, dict[date, list[int]]),
    ({(1, 2): {"x": 1}}, dict[tuple[int, int], dict[str, int]]),
    (MappingProxyType({"a": 1}), Mapping[str, int]),
    ({"a": [{"b": (1, 2)}]}, dict[str, list[dict[str, tuple[int, int]]]]),
    ({"a": [None, True, 1, 1.5, "x"]}, Any),
    ("x", object),
    ("x", Any | None),
    ("x", Annotated[int | str, "a note"] | None),
    ((1, "a"), tuple[int, str] | None),
    ((1, "a"), tuple[int, str] | list[int]),
    ([1], tuple[int, str] | list[int]),
    ("x", T),
]


@pytest.mark.parametrize("value, hint", VALUES, ids=range(len(VALUES)))
def test_a_value_comes_back_equal(value, hint):
    again = through(value, hint)

    assert again == value
    if isinstance(value, float | str | bytes | Decimal | Enum | timedelta):
        assert repr(again) == repr(value)


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "LOUD"


def test_a_str_of_another_class_is_the_text_it_holds():
    assert through({"a": Loud("quiet")}, dict[str, str]) == {"a": "quiet"}


@pytest.mark.parametrize("fold", [0, 1])
def test_an_aware_datetime_of_the_hour_that_a_clock_repeats_travels(fold: int):
    repeated = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)

    assert through([repeated], list[datetime])[0].timestamp() == repeated.timestamp()


def test_a_member_of_an_enum_of_str_in_a_field_of_str_is_its_value():
    assert type(through(Size.SMALL, str)) is str


def test_text_of_another_program_may_have_capitals_zulu_time_and_hours():
    payload = PayloadCodec((UUID, datetime, timedelta, float))
    data = b'["AAAAAAAA-0000-0000-0000-000000000000","2026-01-01T00:00:00Z","-PT1H2M3.5S",1]'

    assert payload.decode(data) == (
        UUID("aaaaaaaa-0000-0000-0000-000000000000"),
        datetime(2026, 1, 1, tzinfo=UTC),
        -timedelta(hours=1, minutes=2, seconds=3.5),
        1.0,
    )


#: What each type is called where something else is found.
TAGS = [
    (None, "null"),
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "str"),
    (Decimal, "decimal"),
    (UUID, "uuid"),
    (datetime, "datetime"),
    (date, "date"),
    (time, "time"),
    (timedelta, "timedelta"),
    (bytes, "bytes"),
    (bytearray, "bytearray"),
    (Path, "path"),
    (list[int], "list"),
    (Sequence[int], "list"),
    (MutableSequence[int], "list"),
    (Collection[int], "list"),
    (Iterable[int], "list"),
    (set[int], "set"),
    (MutableSet[int], "set"),
    (frozenset[int], "frozenset"),
    (AbstractSet[int], "frozenset"),
    (tuple[int, ...], "tuple"),
    (tuple[int, str], "tuple"),
    (dict[str, int], "dict"),
    (dict[int, int], "dict"),
    (Mapping[str, int], "dict"),
]


@pytest.mark.parametrize("hint, tag", TAGS, ids=range(len(TAGS)))
def test_what_is_expected_is_named_beside_what_was_found(hint, tag):
    error = refused_value(1j, hint)

    assert (error.field, error.reason) == ("[0]", f"expected {tag}, got complex")
    assert error.remedy == ""
    wrong = b"1" if hint is bool else b"true"
    found = "int" if hint is bool else "bool"
    assert refused_data(wrong, hint).reason == f"a payload.[0]: expected {tag}, got {found}"


def test_what_is_found_is_named_with_its_module():
    assert refused_value(Decimal(1), int).reason == "expected int, got decimal.Decimal"
    assert refused_value(1j, int | str | None).reason == "expected int or str or null, got complex"


STRICT = [
    (b'"1"', int),
    (b"true", int),
    (b"1.0", int),
    (b"null", int),
    (b"1", bool),
    (b'"true"', bool),
    (b'"1.5"', float),
    (b"true", float),
    (b"9007199254740993", float),
    (b"9007199254740994", float),
    (b"-9007199254740994", float),
    (b"1", str),
    (b"null", str),
    (b"0", None),
    (b"1.5", Decimal),
    (b'"NaN"', Decimal),
    (b'"1_000"', Decimal),
    (b'" 1"', Decimal),
    ('"\N{ARABIC-INDIC DIGIT ONE}"'.encode(), Decimal),
    (b'"1E9999999999999999999"', Decimal),
    (b'"{00000000-0000-0000-0000-000000000000}"', UUID),
    (b'"00000000000000000000000000000000"', UUID),
    (b'"2026-01-01"', datetime),
    (b'"2026-01-01 00:00:00"', datetime),
    (b'"2026-13-01T00:00:00"', datetime),
    (b'"2026-01-01T00:00:00.1234567Z"', datetime),
    (b"1767225600", datetime),
    (b'"2026-01-01T00:00:00"', date),
    (b'"20260101"', date),
    (b'"2026-W01-1"', date),
    (b'"24:00:00"', time),
    (b'"01:00"', time),
    (b'"P"', timedelta),
    (b'"PT"', timedelta),
    (b'"P1Y"', timedelta),
    (b'"P999999999DT24H"', timedelta),
    (b"1", timedelta),
    (b'"a"', bytes),
    (b'"a b="', bytes),
    ('"é==="'.encode(), bytes),
    (b'"m"', Size),
    (b"1", Size),
    (b'"SMALL"', Size),
    (b"true", Level),
    (b"3", Level),
    (b"[]", Level),
    (b"4", Right),
    (b"-1", Right),
    (b"true", Right),
    (b'"1"', Right),
    (b"2", Dropping),
    (b"2", Leaving),
    (b'"SMALL"', Literal[Size.SMALL]),
    (b"2", Literal[1]),
    (b'"a"', list[str]),
    (b"{}", list[str]),
    (b"[1, 1]", set[int]),
    (b"[1, 1]", MutableSet[int]),
    (b"[[]]", set[Any]),
    (b"[1]", tuple[int, int]),
    (b"{}", tuple[int, int]),
    (b"[1, 2, 3]", tuple[int, int]),
    (b"[]", dict[str, int]),
    (b"{}", dict[int, int]),
    (b'{"a": "1"}', dict[str, int]),
    (b"[[1, 2], [1, 3]]", dict[int, int]),
    (b"[[1]]", dict[int, int]),
    (b"[[[], 1]]", dict[Any, int]),
    (b'{"1.0": 1, "1.00": 2}', dict[Decimal, int]),
]


@pytest.mark.parametrize("data, hint", STRICT, ids=range(len(STRICT)))
def test_nothing_is_coerced(data, hint):
    assert refused_data(data, hint).reason.startswith("a payload.[0]")


@pytest.mark.parametrize(
    "data, hint, reason",
    [
        (b'"x"', date, "not a date: 'x'"),
        (b'"2026-02-30"', date, "not a date: ValueError: day is out of range for month"),
    ],
    ids=["another form", "no such day"],
)
def test_text_that_is_no_such_value_is_refused_with_the_reason(data, hint, reason):
    assert refused_data(data, hint).reason == f"a payload.[0]: {reason}"


class Money(Decimal):
    pass


class Colour(Flag):
    RED = auto()
    BLUE = auto()


class Endless(Flag, boundary=KEEP):
    ONE = 1


class Huge(Enum):
    NUMBER = 2**64


class Point(Enum):
    ORIGIN = (0, 0)


REFUSED = [
    ("1", int, "expected int, got str"),
    (True, int, "expected int, got bool"),
    (1, bool, "expected bool, got int"),
    (2**64, int, "64 bits"),
    (-(2**63) - 1, Any, "64 bits"),
    (float("nan"), float, "nan is not a finite"),
    (float("-inf"), Any, "-inf is not a finite"),
    (2**60 + 1, float, "too large for a float"),
    ("1", float, "expected float"),
    (1, str, "expected str"),
    (1, None, "expected null"),
    ("a\ud800", str, "surrogate"),
    ("a\ud800", Any, "surrogate"),
    (Path("a\udcff"), Path, "surrogate"),
    ({"\ud800": 1}, Any, "surrogate"),
    ("x" * (DATA_SIZE_LIMIT + 1), str, "more than the 262,144 bytes"),
    (b"x" * (DATA_SIZE_LIMIT + 1), bytes, "more than the 262,144 bytes"),
    (b"x" * (DATA_SIZE_LIMIT - 4), bytes, "more than the 262,144 bytes"),
    ("é" * (DATA_SIZE_LIMIT // 2), str, "bytes, more than"),
    ([0] * DATA_SIZE_LIMIT, list[int], "more than the 262,144 bytes"),
    (dict.fromkeys(range(DATA_SIZE_LIMIT)), dict[int, None], "more than the 262,144 bytes"),
    (dict.fromkeys(map(str, range(10_001))), dict[str, None], "more than 10,000 keys"),
    (Decimal("Infinity"), Decimal, "not a finite"),
    (Decimal("sNaN"), Decimal, "not a finite"),
    (1.0, Decimal, "expected decimal"),
    (datetime(2026, 1, 1, tzinfo=UTC), date, "expected date, got datetime"),
    (date(2026, 1, 1), datetime, "expected datetime"),
    (time(1, tzinfo=BERLIN), time, "no fixed offset"),
    ((1,), list[int], "expected list, got tuple"),
    ((1,), Any, "tuple is not plain JSON"),
    ({1}, Any, "set is not plain JSON"),
    ({1: 2}, Any, "expected str, got int"),
    (Size.SMALL, Any, "not plain JSON"),
    (datetime(2026, 1, 1, tzinfo=UTC), Any, "not plain JSON"),
    (OrderedDict(), Any, "OrderedDict is not plain JSON"),
    ([1], tuple[int], "expected tuple, got list"),
    ((1, 2), tuple[int], "expected 1 items, got 2"),
    ([], set[int], "expected set"),
    ([], dict[str, int], "expected dict"),
    ({"a": "1"}, dict[str, int], "expected int"),
    ("m", Size, "expected .*Size, got 'm'"),
    ([], Literal["a"], "expected .*Literal"),
    (3, Colour, "expected .*Colour, got int"),
    (Endless(2**64), Endless, "expected .*Endless"),
    (None, Literal[Size.SMALL, "s"], "another value, both 's'"),
    (None, Huge, "JSON no such scalar.*Give it values that are str or int"),
    (Point.ORIGIN, Point, "JSON no such scalar.*Give it values that are str or int"),
    (1j, complex, "complex has no form in JSON"),
    (print, Callable[[], None], "Callable is abstract"),
    (int, type[int], "type has no form in JSON"),
    ("x", int | Any | list[int], "beside Any"),
    ("x", "an unresolved hint", "no form in JSON.*id of a thing"),
    (lambda: 1, Any, "function is not plain JSON"),
    (io.StringIO(), io.StringIO, "StringIO has no form in JSON"),
    (threading.Lock(), Any, "lock is not plain JSON"),
    (1, Annotated[int, msgspec.Meta(min_length=1)], "type hint is unusable"),
]


@pytest.mark.parametrize("value, hint, reason", REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_travel_is_refused_before_it_is_stored(value, hint, reason):
    """J7, F34: the producer's error, with the field and the reason."""
    error = refused_value(value, hint)

    assert error.field.startswith("[0]") or "more than" in error.reason
    assert re.search(reason, str(error))


def test_what_holds_itself_is_refused():
    ring: list[Any] = []
    ring.append(ring)

    assert "holds itself" in refused_value(ring).reason


def test_data_is_refused_one_level_deeper_than_the_limit():
    def tower(levels: int) -> list[Any]:
        return functools.reduce(lambda inner, _: [inner], range(levels - 1), [])

    assert through(tower(DATA_DEPTH_LIMIT - 1), Any) == tower(DATA_DEPTH_LIMIT - 1)
    assert "deeper than 64" in refused_value(tower(DATA_DEPTH_LIMIT)).reason


def test_data_of_the_size_limit_travels_and_a_byte_more_does_not():
    room = DATA_SIZE_LIMIT - len('[""]')

    assert through("x" * room, str) == "x" * room
    assert "262,145 bytes" in refused_value("x" * (room + 1), str).reason


# ----------------------------------------------------------------------------- bounds


def test_the_bounds_of_msgspec_hold_when_data_is_read():
    positive = Annotated[int, msgspec.Meta(gt=0)]

    assert through(1, positive) == 1
    assert "Expected `int` >= 1" in refused_value(0, positive).reason
    assert "Expected `int` >= 1" in refused_data(b"0", positive).reason


def test_a_datetime_can_be_bound_to_be_aware():
    aware = Annotated[datetime, msgspec.Meta(tz=True)]

    assert refused_data(b'"2026-01-01T00:00:00"', aware)
    assert through(datetime(2026, 1, 1, tzinfo=UTC), aware | None)


def test_a_list_can_be_bound_in_length():
    few = Annotated[list[int], msgspec.Meta(max_length=1)]

    assert through([1], few) == [1]
    assert refused_value([1, 2], few)


def test_a_bound_datetime_of_a_repeated_hour_travels_in_a_union():
    hint = Annotated[datetime, msgspec.Meta(tz=True)] | date
    repeated = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)

    assert through(repeated, hint).timestamp() == repeated.timestamp()


# ----------------------------------------------------------------------------- classes


@attrs.frozen
class Line:
    sku: str
    quantity: int = 1


@attrs.frozen(kw_only=True)
class Attrs:
    order_id: int
    _secret: str = "s"
    lines: tuple[Line, ...] = ()
    total: int = attrs.field(init=False)
    note: str = attrs.field(default="", converter=str.strip)
    at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "total", sum(line.quantity for line in self.lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    order_id: int
    lines: list[Line] = field(default_factory=list)
    total: int = field(init=False, default=0)
    seen: int = field(init=False, default=0, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(line.quantity for line in self.lines))


class Named(NamedTuple):
    order_id: int
    lines: tuple[Line, ...] = ()


class Struct(msgspec.Struct, frozen=True, rename="camel"):
    order_id: Annotated[int, msgspec.Meta(ge=1)]
    line: Line | None = None


class Model(pydantic.BaseModel):
    order_id: pydantic.PositiveInt = pydantic.Field(alias="orderId")
    at: pydantic.AwareDatetime | None = None
    price: Decimal = Decimal(0)
    tags: set[str] = set()
    line: InnerModel | None = None


class InnerModel(pydantic.BaseModel):
    sku: str


class Plain:
    def __init__(self, order_id: int, note: str = "") -> None:
        self.order_id = order_id
        self.note = note
        self.derived = order_id * 2


class Empty:
    pass


class Keys(TypedDict):
    sku: str
    count: NotRequired[ReadOnly[int]]


class Loose(TypedDict, total=False):
    sku: Required[str]
    count: int


@attrs.frozen
class Holder:
    keys: Keys
    loose: Loose | None = None
    plain: Any = None


@dataclass
class Box(Generic[T]):
    value: T
    more: list[T] = field(default_factory=list)


class Numbers(Box[int]):
    pass


class MoreNumbers(Numbers, Generic[K]):
    pass


@attrs.frozen
class Boxes:
    number: Box[int]
    text: Box[str | None]


@attrs.define
class Tree:
    name: str
    children: list[Tree] = attrs.field(factory=list)
    parent: Optional[Tree] = None  # noqa: UP045


@dataclass(eq=False)
class NoEquality:
    inner: Plain


EVENTS = [
    Attrs(order_id=1, secret="x", lines=(Line("a", 2), Line("b")), note=" n ", at=None),
    Attrs(order_id=1, at=datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)),
    Data(order_id=1, lines=[Line("a", 2)]),
    Named(1, (Line("a"),)),
    Struct(order_id=1, line=Line("a")),
    Holder(keys={"sku": "a"}),
    Holder(keys={"sku": "a", "count": 1}, loose={"sku": "b"}, plain=[1]),
    Box([1, "a"]),
    Numbers(1, [2]),
    MoreNumbers(1),
    Boxes(Box(1, [2]), Box(None)),
    Tree("a", [Tree("b"), Tree("c", [Tree("d")])]),
]


def same_instants(one: object, other: object) -> bool:
    return (
        one == other or attrs.asdict(one)["at"].timestamp() == attrs.asdict(other)["at"].timestamp()
    )


@pytest.mark.parametrize("sent", EVENTS, ids=range(len(EVENTS)))
def test_an_event_comes_back_equal_and_of_its_class(sent):
    assert same_instants(returned(sent), sent)


def test_a_pydantic_model_comes_back_equal():
    sent = Model(orderId=1, at="2026-01-01T00:00:00Z", price="1.5", tags={"a"}, line={"sku": "x"})

    assert returned(sent) == sent


def test_a_class_by_hand_comes_back_through_its_constructor():
    again = returned(Plain(7, note="x"))

    assert vars(again) == {"order_id": 7, "note": "x", "derived": 14}


def test_an_event_without_fields_comes_back():
    assert codec(Empty).encode(Empty()) == b"{}"
    assert isinstance(returned(Empty()), Empty)


def test_fields_of_classes_without_equality_are_compared_one_by_one():
    again = returned(NoEquality(Plain(7)))

    assert again.inner.order_id == 7


def test_a_private_field_of_attrs_travels_as_its_argument():
    assert b'"secret":"s"' in codec(Attrs).encode(Attrs(order_id=1))


def test_a_default_stands_for_what_older_data_does_not_have():
    assert codec(Data).decode(b'{"order_id":1}', 1) == Data(order_id=1)


WRONG = [
    (Attrs, b"[]", "expected .*Attrs, got list"),
    (Attrs, b"{}", r"order_id: missing"),
    (Attrs, b'{"order_id": "1"}', "order_id: expected int, got str"),
    (Attrs, b'{"order_id": 1, "extra": 1}', "no field extra"),
    (Attrs, b'{"order_id": 1, "__class__": 1}', "no field __class__"),
    (Attrs, b'{"order_id": 1, "total": 5}', "no field total"),
    (
        Attrs,
        b'{"order_id": 1, "lines": [{"sku": "a"}, {"sku": 1}]}',
        r"lines\[1\].sku: expected str",
    ),
    (Attrs, b'{"orderId": 1}', "order_id: missing"),
    (Struct, b'{"order_id": 0}', "order_id: Expected `int` >= 1"),
    (Struct, b'{"orderId": 1}', "order_id: missing"),
    (Holder, b'{"keys": {}}', "keys.sku: missing"),
    (Holder, b'{"keys": {"sku": "a", "x": 1}}', "no field x"),
    (Numbers, b'{"value": "1"}', "value: expected int"),
    (Model, b'{"orderId": "1"}', "int_type|valid integer"),
    (Model, b'{"orderId": 0}', "greater than 0"),
    (Model, b'{"orderId": 1, "extra": 1}', "extra: no such field"),
    (Model, b'{"orderId": 1, "line": {"sku": "a", "extra": 1}}', "line.extra: no such field"),
    (Model, b'{"orderId": 1, "at": "2026-01-01T00:00:00"}', "timezone"),
    (Model, b"[]", "object"),
]


@pytest.mark.parametrize("cls, data, reason", WRONG, ids=range(len(WRONG)))
def test_data_of_another_shape_is_rejected(cls, data, reason):
    with pytest.raises(DecodeError, match=reason):
        codec(cls).decode(data, 1)


@pytest.mark.parametrize(
    "data, hint, reason",
    [
        (b"4", Right, "not a .*Right: ValueError"),
        (b"2", Dropping, "not a .*Dropping: 2 has bits that it does not know"),
        (b"2", Leaving, "not a .*Leaving: 2 has bits that it does not know"),
        (b"true", Right, "expected .*Right, got bool"),
    ],
)
def test_bits_that_a_flag_does_not_know_are_rejected(data, hint, reason):
    assert re.search(reason, refused_data(data, hint).reason)


@attrs.frozen
class Careful:
    rate: float = attrs.field(validator=attrs.validators.ge(0))


def test_validators_run_on_decode_and_their_error_is_the_cause():
    with pytest.raises(DecodeError, match="Careful does not take it: ValueError") as caught:
        codec(Careful).decode(b'{"rate":-1.0}', 1)

    assert isinstance(caught.value.__cause__, ValueError)


@attrs.frozen
class Outer:
    inner: Careful


def test_validators_of_nested_classes_run_on_decode():
    with pytest.raises(DecodeError, match=r"Outer.inner: .*Careful does not take it"):
        codec(Outer).decode(b'{"inner":{"rate":-1.0}}', 1)


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Touchy:
    broken = False

    def __init__(self, value: int) -> None:
        if Touchy.broken:
            raise UnspeakableError
        self.value = value

    __repr__ = UnspeakableError.__str__


def test_an_exception_that_cannot_be_shown_does_not_escape(monkeypatch):
    touchy = Touchy(1)
    monkeypatch.setattr(Touchy, "broken", True)

    assert refusal(touchy).reason.endswith("does not take it: UnspeakableError")
    with pytest.raises(DecodeError, match="does not take it: UnspeakableError"):
        codec(Touchy).decode(b'{"value":1}', 1)


@attrs.define
class Drifting:
    """A converter that changes what it made before."""

    value: int = attrs.field(converter=lambda value: value + 1)


@attrs.frozen
class Taxed:
    amount: Decimal = attrs.field(converter=lambda amount: amount * 2)


@attrs.define
class Computed:
    value: int
    double: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.double = self.value * 2


class WithState(Plain):
    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)

    __hash__ = None


class Cached(Plain):
    @functools.cached_property
    def slow(self) -> int:
        return 1


class Forgetful:
    def __init__(self, value: int) -> None:
        pass


class Raising:
    def __init__(self, value: int) -> None:
        pass

    @property
    def value(self) -> int:
        raise UnspeakableError


class Hinted:
    def __init__(self, context: Context) -> None:
        self.context = context


@attrs.frozen
class AttrsHinted:
    number: int
    context: list[Context]


class KeysHinted(TypedDict):
    number: int
    context: list[Context]


class Unequal(Plain):
    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None


class Alone:
    """By hand, with no parent and an equality of its own."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None


@dataclass
class Summed:
    value: int
    double: int = field(init=False)
    asked: int = field(init=False, compare=False, default=0)

    def __post_init__(self) -> None:
        self.double = self.value * 2


class Bare:
    def __init__(self, thing) -> None:
        self.thing = thing


class Variadic:
    def __init__(self, *things: int, **more: int) -> None:
        pass


class Mapped:
    __mapper__ = object()


class Abstract(ABC):
    @abstractmethod
    def act(self) -> None: ...


class Shape(Protocol):
    side: int


class Root(pydantic.RootModel[list[int]]):
    pass


class UserError(KeyError):
    pass


Untyped = namedtuple("Untyped", "x")  # noqa: PYI024


@dataclass
class WithInitVar:
    seed: InitVar[int]


@attrs.frozen
class Fields:
    """One field for each of what cannot be a field."""

    thing: Any


@attrs.frozen
class Payment:
    amount: int


@attrs.frozen
class CardPayment(Payment):
    card: str


@attrs.frozen
class Paid:
    payment: Payment


class Secretive(pydantic.BaseModel):
    password: pydantic.SecretStr
    maximum: float = 1.0


def changed(value: object, name: str, to: object) -> object:
    setattr(value, name, to)
    return value


TROUBLED = [
    (lambda: Drifting(1), "value", "2 would arrive as 3"),
    (lambda: Taxed(Decimal(1)), "amount", "'2'.* would arrive as .*'4'"),
    (lambda: changed(Computed(1), "double", 3), "double", "3 would arrive as 2"),
    (lambda: changed(Summed(1), "double", 3), "double", "3 would arrive as 2"),
    (lambda: Unequal(1), "", "would arrive as"),
    (lambda: Alone(1), "", "would arrive as"),
    (lambda: changed(Plain(1), "late", 3), "late", "would be lost.*takes or computes"),
    (lambda: changed(WithState(1), "late", 3), "", "would arrive as"),
    (lambda: Forgetful(1), "value", "does not keep it as 'value'.*Keep each argument of"),
    (lambda: Raising(1), "", "UnspeakableError"),
    (lambda: Hinted(None), "context", "'Context'.*TYPE_CHECKING"),
    (lambda: AttrsHinted(1, []), "context", "'Context'.*TYPE_CHECKING"),
    (lambda: Bare(1), "thing", "no type hint for it.*id of a thing"),
    (Variadic, "*things: 'int'", "more than named arguments.*id of a thing"),
    (Mapped, "", "row of a database.*id of a thing"),
    (lambda: Root([1]), "", "root model"),
    (lambda: WithInitVar(1), "seed", "no form in JSON"),
    (lambda: KeyError("x"), "", "KeyError has no form in JSON"),
    (lambda: UserError("x"), "", "does not tell what its constructor takes"),
    (lambda: Untyped(1), "x", "no type hint for it"),
    (lambda: Fields([1, {"a": Mapped()}]), "thing[1]['a']", "Mapped is not plain JSON.*id of a"),
    (lambda: Fields(io.TextIOWrapper(io.BytesIO())), "thing", "TextIOWrapper is not plain JSON"),
    (lambda: Line(sku=1), "sku", "expected str, got int"),
    (lambda: Paid(CardPayment(1, "x")), "payment", "is more than the .*union"),
    (lambda: Paid(None), "payment", "expected .*Payment, got NoneType"),
    (lambda: Holder({"sku": "a", "x": 1}), "keys", "has no key x"),
    (lambda: Holder({}), "keys.sku", "does not keep it"),
    (lambda: Holder([]), "keys", "expected .*Keys, got list"),
    (lambda: Tree("a", [Tree("b", parent=Drifting(1))]), r"children[0].parent", "expected"),
    (lambda: Secretive(password="x"), "password", "would arrive as"),
    (lambda: Secretive(password="", maximum=float("inf")), "['maximum']", "inf is not a finite"),
    (lambda: changed(Model(orderId=1), "price", "free"), "", "Serialization"),
]


@pytest.mark.parametrize("make, path, reason", TROUBLED, ids=range(len(TROUBLED)))
def test_an_event_that_would_not_come_back_is_refused_with_the_path(make, path, reason):
    value = make()

    error = refusal(value)

    assert error.field == path
    assert re.search(reason, str(error))


def test_a_hint_of_a_typed_dict_that_does_not_exist_names_its_key():
    error = refused_value({}, KeysHinted)

    assert error.field == "[0].context"
    assert "'Context'" in error.reason


class Dumping:
    """No model: it only has a method that is called like one of a model's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def model_dump(self, **_: object) -> dict[str, int]:
        raise NotImplementedError


def test_a_class_with_a_method_of_a_models_name_is_no_model():
    assert returned(Dumping(1)).value == 1


def test_a_model_that_cannot_be_written_is_refused_without_a_warning():
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        error = refusal(changed(Model(orderId=1), "price", "free"))

    assert "Serialization" in error.reason
    assert warned == []


class Access(TypedDict):
    a: Required[int]
    b: NotRequired[int]
    c: ReadOnly[int]
    d: ReadOnly[NotRequired[int]]


@pytest.mark.parametrize("missing", ["a", "c"])
def test_a_typed_dict_needs_the_keys_that_are_required(missing):
    data = {"a": 1, "c": 1}

    assert through(data, Access) == data
    del data[missing]
    assert f"{missing}: missing" in refused_data(json.dumps(data).encode(), Access).reason
    assert refused_value(data, Access).field == f"[0].{missing}"


def test_what_a_cached_property_left_behind_is_no_loss():
    cached = Cached(1)
    assert cached.slow == 1

    assert returned(cached).order_id == 1


def test_a_subclass_does_not_travel_as_its_parent():
    with pytest.raises(EncodeError, match="more than"):
        codec(Payment).encode(CardPayment(1, "x"))


@pytest.mark.parametrize("hint", [int, Annotated[int, msgspec.Meta(ge=0)], int | str])
def test_an_int_of_a_class_of_its_own_travels_as_a_plain_one_at_once(hint):
    # `in range(...)` would walk to it, number by number.
    again = through(Level.HIGH, hint)

    assert again == Level.HIGH
    assert type(again) is int


@pytest.mark.parametrize("hint", [Abstract, Shape])
def test_an_abstract_hint_is_refused_with_the_remedy(hint):
    assert "Hint a union" in refused_value(None, hint).remedy


def test_a_model_that_hints_at_a_subclass_is_refused():
    class Sub(InnerModel):
        pass

    assert "expected" in refused_value(Sub(sku="a"), InnerModel).reason


# ----------------------------------------------------------------------------- unions


@event("pay.card", aliases=["pay.credit"])
@attrs.frozen
class Card:
    number: str


@event("pay.cash")
@dataclass
class Cash:
    amount: int


@attrs.frozen
class Pay:
    by: Card | Cash | None


UNIONS = [
    (Right.READ, Right | Level, None),
    (None, int | None, b"null"),
    (1, int | str, b"1"),
    (1.0, int | float, b"1.0"),
    (1, int | float, b"1"),
    (1, float | int, b"1"),
    (1.0, float | int, b"1.0"),
    (1, float | str, b"1.0"),
    (True, bool | int, b"true"),
    ("x", str | list[str], b'"x"'),
    ([1], str | list[int], b"[1]"),
    (Card("7"), Card | None, b'{"number":"7"}'),
    (Card("7"), Card | int | float, b'{"number":"7"}'),
    (Card("7"), Card | Cash, b'{"pay.card":{"number":"7"}}'),
    (Cash(7), Card | Cash | None, b'{"pay.cash":{"amount":7}}'),
    (None, Card | Cash | None, b"null"),
    (date(2026, 1, 1), date | datetime, b'{"date":"2026-01-01"}'),
    (
        datetime(2026, 1, 1, tzinfo=UTC),
        date | datetime,
        b'{"datetime":"2026-01-01T00:00:00+00:00"}',
    ),
    (Path("a"), str | Path, b'{"path":"a"}'),
    ("a", str | Path, b'"a"'),
    (UUID(int=0), str | UUID, b'{"uuid":"00000000-0000-0000-0000-000000000000"}'),
    ((1,), list[int] | tuple[int, ...], b'{"tuple":[1]}'),
    ([1], list[int] | tuple[int, ...], b'{"list":[1]}'),
    (Level.LOW, int | Level, None),
    (Size.SMALL, Size | None, b'"s"'),
    ({"a": 1}, dict[str, int] | Card, b'{"dict":{"a":1}}'),
    ("auto", Literal["auto"] | int, b'"auto"'),
    (
        [Card("1"), Cash(2)],
        list[Card | Cash],
        b'[{"pay.card":{"number":"1"}},{"pay.cash":{"amount":2}}]',
    ),
    ("auto", Literal["auto"] | date, b'{"literal":"auto"}'),
    (Decimal(1), Decimal | date, b'{"decimal":"1"}'),
    ([InnerModel(sku="a")], list[InnerModel | Line], None),
    (1, Annotated[int, msgspec.Meta(ge=0)] | date | Decimal, b"1"),
    ("2", Annotated[str, msgspec.Meta(min_length=1)] | date, b'"2"'),
]


@pytest.mark.parametrize("value, hint, data", UNIONS, ids=range(len(UNIONS)))
def test_a_member_of_a_union_comes_back_as_itself(value, hint, data):
    again = through(value, hint)

    assert (again, type(again)) == (value, type(value)) or type(value) is int
    assert data is None or PayloadCodec((hint,)).encode((value,)) == b"[" + data + b"]"


def test_a_member_arrives_under_its_former_name():
    assert PayloadCodec((Card | Cash,)).decode(b'[{"pay.credit":{"number":"7"}}]') == (Card("7"),)


@pytest.mark.parametrize(
    "data",
    [b"{}", b'{"number":"7"}', b'{"pay.card":{},"pay.cash":{}}', b'{"os.system":{}}', b"1", b'"x"'],
)
def test_data_of_no_member_is_rejected(data):
    refused_data(data, Card | Cash)


def test_a_value_of_no_member_is_refused():
    assert refused_value(1.5, Card | Cash | None).reason.startswith("expected ")
    assert refused_value(True, int | str).reason == "expected int, got bool"


class Local:
    """Two makers of a class inside a function."""

    @staticmethod
    def make() -> type:
        @attrs.frozen
        class Inside:
            number: int

        return Inside


def test_a_class_without_a_name_can_be_no_member_that_needs_a_tag():
    inside = Local.make()

    assert through(inside(1), inside | None) == inside(1)
    assert "inside a function" in refused_value(inside(1), inside | Card).reason


@pytest.mark.parametrize(
    "hint",
    [list[int] | list[str], Literal["a"] | str, Keys | Loose, Box[int] | Box[str]],  # noqa: PYI051
    ids=["lists", "literal", "typed dicts", "generics"],
)
def test_a_union_whose_members_a_value_does_not_tell_apart_is_refused(hint):
    assert "does not tell which" in refused_value(None, hint).reason


def test_two_members_of_one_name_are_refused():
    @event("pay.card")
    @attrs.frozen
    class Other:
        number: str

    assert "called 'pay.card'" in refused_value(None, Card | Other).reason


def test_a_difference_inside_a_union_is_found():
    @attrs.frozen
    class Changing:
        by: Drifting | Card | None

    assert refused_value(Changing(Drifting(1)), Changing).field == "[0].by.value"


@pytest.mark.parametrize(
    "hint, value, path",
    [
        (list[Drifting], [Drifting(1)], "[0][0].value"),
        (Annotated[list[Drifting], msgspec.Meta(max_length=1)], [Drifting(1)], "[0][0].value"),
        (tuple[int, Drifting], (1, Drifting(1)), "[0][1].value"),
        (dict[str, Drifting], {"a": Drifting(1)}, "[0]['a'].value"),
        (dict[int, Drifting], {1: Drifting(1)}, "[0][1].value"),
        (Mapping[str, list[Drifting]], {"a": [Drifting(1)]}, "[0]['a'][0].value"),
    ],
)
def test_a_difference_is_found_wherever_it_is(hint, value, path):
    assert refused_value(value, hint).field == path


def test_members_of_a_set_that_change_are_refused():
    @attrs.frozen
    class Moving:
        value: int = attrs.field(converter=lambda value: value + 1)

    assert "would arrive as" in refused_value({Moving(1)}, set[Moving]).reason


def test_keys_of_a_dict_that_change_are_refused():
    @attrs.frozen
    class Moving:
        value: int = attrs.field(converter=lambda value: value + 1)

    assert "would arrive as" in refused_value({Moving(1): 1}, dict[Moving, int]).reason


def test_a_typed_dict_with_a_changing_value_is_refused():
    hint = TypedDict("hint", {"drifting": Drifting})  # noqa: UP013 -- named where it is used

    assert refused_value({"drifting": Drifting(1)}, hint).field == "[0].drifting.value"


# ----------------------------------------------------------------------------- what is left


def test_what_is_equal_beside_a_difference_is_not_blamed():
    hint = tuple[dict[str, int], tuple[int, int], Keys, list[int], Line, Decimal, Drifting]
    value = ({"a": 1}, (1, 2), {"sku": "a"}, [1], Line("a"), Decimal(1), Drifting(1))

    assert refused_value(value, hint).field == "[0][6].value"


@dataclass
class Branch(Generic[T]):
    leaf: T
    around: Line | None = None
    branches: list[Self] = field(default_factory=list)


def test_self_is_the_class_that_says_so():
    tree = Branch(1, Line("a"), [Branch(2, None, [Branch(3)])])

    assert through(tree, Branch[int]) == tree
    assert (
        refused_value(Branch(1, None, [Branch("2")]), Branch[int]).field == "[0].branches[0].leaf"
    )


def test_self_outside_a_class_is_refused():
    assert "Self has no form" in refused_value(1, Self).reason


class Nest(Generic[T]):
    def __init__(self, inner: Nest[list[T]] | None = None) -> None:
        self.inner = inner


def test_a_type_that_never_ends_is_refused():
    assert refused_value(Nest(), Nest[int]).reason == "its type hint never ends"


class Mute(WithState):
    __repr__ = UnspeakableError.__str__


def test_a_value_that_cannot_be_shown_is_called_by_its_class():
    assert refusal(changed(Mute(1), "late", 3)).reason == "a Mute would arrive as a Mute"


class Counted(pydantic.BaseModel):
    first: int
    second: int = 2
    _seen: int = pydantic.PrivateAttr(default=0)


def test_the_private_state_of_a_model_does_not_travel():
    assert "would arrive as" in refusal(changed(Counted(first=1), "_seen", 1)).reason


class Wide(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    first: int
    counted: list[Counted] = []


def test_a_model_that_allows_more_keeps_it():
    assert returned(Wide(first=1, more=[1], counted=[Counted(first=1)])).more == [1]


def test_what_a_model_in_a_list_does_not_know_is_rejected():
    with pytest.raises(DecodeError, match=r"counted.third: no such field"):
        codec(Wide).decode(b'{"first":1,"counted":[{"first":1,"third":3}]}', 1)


Hidden = List["Context"]  # noqa: UP006


@attrs.frozen
class DeepHint:
    hidden: Hidden


def test_a_name_hidden_in_an_alias_is_still_told():
    error = refusal(DeepHint([]))

    assert "'Context'" in error.reason
    assert error.field == ""  # no annotation has it
