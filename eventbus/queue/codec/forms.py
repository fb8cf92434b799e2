"""How a value of a type becomes JSON and comes back: what a form is, and those of the scalars."""

from __future__ import annotations

import base64
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from attrs import frozen
from typing_extensions import override

from eventbus.defaults import DATA_SIZE_LIMIT
from eventbus.dispatch.names import declaration
from eventbus.errors import EncodeError
from eventbus.queue.codec.document import wire_name
from eventbus.queue.codec.jsontext import LARGEST_INTEGER, LEAST_INTEGER, Refused, too_large
from eventbus.text import described, short, shown

__all__ = [
    "SCALARS",
    "SEND_ITS_ID",
    "Form",
    "Room",
    "Text",
    "class_names",
    "named",
    "path_text",
]

SEND_ITS_ID: Final = "Send plain values: the id of a thing, not the thing"


def class_names(cls: type) -> tuple[str, ...]:
    """Return what a class is called in data: its wire name, then its former names."""
    try:
        name = wire_name(cls)
    except EncodeError as error:
        raise Refused(reason=f"{named(cls)}: {error.reason}", remedy=error.remedy) from None
    declared = declaration(cls)
    return (name, *declared.aliases) if declared else (name,)


def named(cls: type) -> str:
    """Return what a message calls a class."""
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


class Room:
    """
    How many bytes may still be written of one event.

    What holds others takes the least that it needs before they are looked at, so that work ends at
    the limit, however large the event is, and however often it holds the same thing.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = DATA_SIZE_LIMIT

    def take(self, size: int) -> None:
        """Refuse what needs more than there is left."""
        self._left -= size
        if self._left < 0:
            raise too_large(DATA_SIZE_LIMIT)


class Form(ABC):
    """How the values of one type are written and read. `dump` and `load` refuse everything else."""

    #: What `load` takes: the Python types of JSON's kinds.
    kinds: frozenset[type]
    #: The types of the values that `dump` takes, or their parents.
    types: tuple[type[Any], ...]
    #: What the type is called in messages, and in a union of types that JSON cannot tell apart.
    tag: str
    #: Of `types` those whose values are in JSON what they are in Python, if JSON can hold them at all.
    plain: frozenset[type] = frozenset()

    @abstractmethod
    def dump(self, value: Any, room: Room) -> Any:
        """Return `value` as JSON holds it, in the room that is left."""

    @abstractmethod
    def load(self, data: Any) -> Any:
        """Return the value that `dump` was given."""

    def compare(self, sent: Any, got: Any) -> None:
        """Refuse what was loaded, `got`, unless it is the same as what was dumped."""
        if sent != got:
            raise self.changed(sent, got)

    def names(self) -> tuple[str, ...]:
        """Return what the type is called in a union that has to tell: its name, then former ones."""
        return (self.tag,)

    def changed(self, sent: object, got: object) -> Refused:
        """Return the refusal of a value that would not come back as it was."""
        return Refused(reason=f"{shown(sent)} would arrive as {shown(got)}")

    def wrong(self, value: object) -> Refused:
        """Return the refusal of a value or data of another type."""
        return Refused(reason=f"expected {self.tag}, got {named(type(value))}")


class _Null(Form):
    kinds = frozenset({type(None)})
    types: tuple[type[Any], ...] = (type(None),)
    plain = frozenset({type(None)})
    tag = "null"

    @override
    def dump(self, value: Any, room: Room) -> None:
        self.load(value)

    @override
    def load(self, data: Any) -> None:
        if data is not None:
            raise self.wrong(data)


class _Boolean(Form):
    kinds = frozenset({bool})
    types: tuple[type[Any], ...] = (bool,)
    plain = frozenset({bool})
    tag = "bool"

    @override
    def dump(self, value: Any, room: Room) -> bool:
        return self.load(value)

    @override
    def load(self, data: Any) -> bool:
        if data is True or data is False:
            return data
        raise self.wrong(data)


class _Integer(Form):
    kinds = frozenset({int})
    types: tuple[type[Any], ...] = (int,)
    plain = frozenset({int})
    tag = "int"

    @override
    def dump(self, value: Any, room: Room) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            if LEAST_INTEGER <= (number := int(value)) <= LARGEST_INTEGER:
                return number
            raise Refused(reason="the integer does not fit in 64 bits", remedy="Send it as a str")
        raise self.wrong(value)

    @override
    def load(self, data: Any) -> int:
        if type(data) is int:
            return data
        raise self.wrong(data)


class _Float(Form):
    # As for a type checker, an int will do where a float is meant.
    kinds = frozenset({float, int})
    types: tuple[type[Any], ...] = (float, int)
    plain = frozenset({float})
    tag = "float"

    @override
    def dump(self, value: Any, room: Room) -> float:
        return self.load(value)

    @override
    def load(self, data: Any) -> float:
        if isinstance(data, float):
            if isfinite(data):
                return float(data)
            raise Refused(reason=f"{float(data)} is not a finite number")
        if isinstance(data, int) and not isinstance(data, bool):
            if -(2**53) <= data <= 2**53:
                return float(data)
            raise Refused(reason="the integer is too large for a float to hold exactly")
        raise self.wrong(data)


class _String(Form):
    kinds = frozenset({str})
    types: tuple[type[Any], ...] = (str,)
    plain = frozenset({str})
    tag = "str"

    @override
    def dump(self, value: Any, room: Room) -> str:
        if isinstance(value, str):
            room.take(len(value))
            # Not str(): that of an enum's member is its name.
            return _writable(value if type(value) is str else str.__str__(value))
        raise self.wrong(value)

    @override
    def load(self, data: Any) -> str:
        if type(data) is str:
            return data
        raise self.wrong(data)


def _writable(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Refused(
                reason=f"half a surrogate pair at {error.start}, which is no text"
            ) from error
    return value


@frozen(eq=False)
class Text(Form):
    """A scalar that travels as a string."""

    tag: str
    types: tuple[type[Any], ...]
    written: Callable[[Any], str]
    pattern: re.Pattern[str]
    made: Callable[[str], Any]
    not_types: tuple[type[Any], ...] = ()
    kinds = frozenset({str})

    @override
    def dump(self, value: Any, room: Room) -> str:
        if isinstance(value, self.types) and not isinstance(value, self.not_types):
            written = self.written(value)
            room.take(len(written))
            return _writable(written)
        raise self.wrong(value)

    @override
    def load(self, data: Any) -> Any:
        if type(data) is not str:
            raise self.wrong(data)
        if self.pattern.fullmatch(data):
            try:
                return self.made(data)
            except (ValueError, ArithmeticError) as error:
                raise Refused(reason=f"not a {self.tag}: {described(error)}") from error
        raise Refused(reason=f"not a {self.tag}: {short(data)!r}")

    @override
    def compare(self, sent: Any, got: Any) -> None:
        # In the hour that a clock repeats, an aware datetime equals none of another zone (PEP 495).
        # What is written tells the instant, and all that the other types have.
        if sent != got and self.written(sent) != self.written(got):
            raise self.changed(sent, got)


def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.ASCII | re.DOTALL)


def _decimal(value: Decimal) -> str:
    if value.is_finite():
        return str(value)
    raise Refused(reason=f"{value} is not a finite number")


def _time(value: time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise Refused(reason="a time whose zone has no fixed offset", remedy="Send a datetime")
    return value.isoformat()


def _base64(value: bytes | bytearray) -> str:
    if len(value) > DATA_SIZE_LIMIT:
        raise too_large(DATA_SIZE_LIMIT)
    return base64.b64encode(value).decode("ascii")


def _unbase64(data: str) -> bytes:
    return base64.b64decode(data, validate=True)


def _duration(value: timedelta) -> str:
    size = abs(value)
    fraction = f".{size.microseconds:06d}" if size.microseconds else ""
    return f"{'-' if value.days < 0 else ''}P{size.days}DT{size.seconds}{fraction}S"


def _undo_duration(data: str) -> timedelta:
    found = _DURATION.fullmatch(data)
    assert found is not None  # `Text.load` has matched it
    days, hours, minutes, seconds = (int(one or 0) for one in found.group(2, 3, 4, 5))
    microseconds = int((found[6] or "").ljust(6, "0"))
    size = timedelta(days, seconds, microseconds, minutes=minutes, hours=hours)
    return -size if found[1] else size


_DAY: Final = r"\d{4}-\d\d-\d\d"
_CLOCK: Final = r"\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d(:\d\d(\.\d{6})?)?)?"
_DURATION: Final = _pattern(
    r"(-)?P(?=.)(?:(\d{1,9})D)?"
    r"(?:T(?=.)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.(\d{1,6}))?S)?)?"
)
_HEX: Final = "[0-9a-fA-F]"
#: Python's own types, and what they are to JSON.
SCALARS: Final[Mapping[Any, Form]] = {
    None: (_NULL := _Null()),
    type(None): _NULL,
    bool: _Boolean(),
    int: _Integer(),
    float: _Float(),
    str: _String(),
    Decimal: Text(
        "decimal", (Decimal,), _decimal, _pattern(r"-?\d+(\.\d+)?([eE][+-]?\d+)?"), Decimal
    ),
    uuid.UUID: Text(
        "uuid",
        (uuid.UUID,),
        str,
        _pattern(f"{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"),
        uuid.UUID,
    ),
    datetime: Text(
        "datetime",
        (datetime,),
        datetime.isoformat,
        _pattern(f"{_DAY}T{_CLOCK}"),
        datetime.fromisoformat,
    ),
    date: Text(
        "date", (date,), date.isoformat, _pattern(_DAY), date.fromisoformat, not_types=(datetime,)
    ),
    time: Text("time", (time,), _time, _pattern(_CLOCK), time.fromisoformat),
    timedelta: Text("timedelta", (timedelta,), _duration, _DURATION, _undo_duration),
    bytes: Text("bytes", (bytes,), _base64, _pattern(".*"), _unbase64),
    bytearray: Text(
        "bytearray", (bytearray,), _base64, _pattern(".*"), lambda data: bytearray(_unbase64(data))
    ),
}


def path_text(cls: type) -> Text:
    """Return the form of `Path` or another class of pathlib."""
    return Text("path", (cls,), str, _pattern(".*"), cls)
