"""JSON text as the wire has it: ASCII out; strict, and bounded before it is parsed, in."""

from __future__ import annotations

import json
import re
from collections import Counter
from math import isfinite
from typing import Any, Final, NoReturn, Self, TypeAlias

import msgspec

from eventbus.defaults import ACTION_TEXT_LIMIT

__all__ = ["INTEGERS", "JSON", "Refused", "described", "parse", "short", "shown", "text"]

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

#: The integers that travel: those that fit in 64 bits, signed or unsigned.
INTEGERS: Final = range(-(2**63), 2**64)

_LONGEST_INTEGER: Final = len(str(INTEGERS[0]))
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
# Possessive, and content with a string that never ends: the scan is linear whatever it is given.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS: Final = b"[]{}"
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(_BRACKETS))


class Refused(Exception):  # noqa: N818 -- becomes an EncodeError or a DecodeError at the border
    """
    Something cannot travel: `reason` says why, `remedy` what to do, `path` where.

    The path is built on the way out, so that the happy path pays nothing for it.
    """

    def __init__(self, *, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.path = ""

    def under(self, step: str) -> Self:
        """Put `step`, `"name"` or `"[0]"`, before the path."""
        self.path = step + ("." if self.path and not self.path.startswith("[") else "") + self.path
        return self


def short(value: str) -> str:
    r"""
    Return `value` as a message may repeat it: one line, printable, not long.

    Example:
        >>> short("a\nb")
        'a\\nb'
    """
    cut = value[: ACTION_TEXT_LIMIT + 1]
    if not cut.isascii() or not cut.isprintable():
        # Control and direction marks would rewrite the line of a log or a terminal.
        cut = ascii(cut)[1:-1]
    return cut if len(cut) <= ACTION_TEXT_LIMIT else cut[:ACTION_TEXT_LIMIT] + "..."


def described(error: BaseException) -> str:
    """Return the type and text of a user's exception, even of one whose `str()` raises."""
    try:
        said = short(str(error))
    except Exception:  # noqa: BLE001 -- a user's __str__ may raise anything
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def shown(value: object) -> str:
    """Return the `repr` of a user's value, as a message may repeat it."""
    try:
        return short(repr(value))
    except Exception:  # noqa: BLE001 -- a user's __repr__ may raise anything
        return f"a {type(value).__qualname__}"


def text(value: object, *, size: int) -> bytes:
    """
    Return `value`, made of what JSON holds, as ASCII JSON of at most `size` bytes.

    ASCII survives every column type, proxy and protocol on the way.

    Raises:
        Refused: It is longer.
    """
    written = msgspec.json.encode(value)
    if len(written) <= size and not written.isascii():
        # Beyond ASCII there are only letters inside strings.
        written = _NOT_ASCII.sub(_escaped, written.decode()).encode("ascii")
    if len(written) > size:
        raise Refused(
            reason=f"{len(written):,} bytes, more than the {size:,} allowed",
            remedy="Store it elsewhere and send where it is",
        )
    return written


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def parse(data: bytes, *, size: int, depth: int) -> Any:
    """
    Return the value of strict JSON: UTF-8, no duplicate key, only finite numbers within 64 bits.

    Size and depth are checked first, so that hostile bytes cost neither memory nor stack.

    Args:
        data: One JSON document.
        size: Most bytes.
        depth: Most levels of arrays and objects.

    Raises:
        Refused: It is not that.
    """
    if len(data) > size:
        raise Refused(reason=f"{len(data):,} bytes, more than the {size:,} allowed")
    if data.count(b"[") + data.count(b"{") > depth:
        _check_depth(data, depth)
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        if _SURROGATE.search(data):
            # Half a surrogate pair is a str that cannot be written again. msgspec refuses it.
            msgspec.json.decode(data)
    except UnicodeDecodeError as error:
        raise Refused(reason=f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise Refused(reason=f"not JSON: {error.msg} at {error.pos}") from error
    except msgspec.DecodeError as error:
        raise Refused(reason=f"not JSON: {described(error)}") from error
    return value


def _check_depth(data: bytes, limit: int) -> None:
    depth = 0
    for bracket in _STRING.sub(b"", data).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            raise Refused(reason=f"nested deeper than {limit} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise Refused(reason=f"the key {short(twice)!r} occurs twice")
    return made


def _integer(digits: str) -> int:
    # The length first: int() of very many digits is slow, and refused by Python itself.
    if len(digits) <= _LONGEST_INTEGER and (value := int(digits)) in INTEGERS:
        return value
    raise Refused(reason=f"the integer {short(digits)} does not fit in 64 bits")


def _number(digits: str) -> float:
    if isfinite(value := float(digits)):
        return value
    raise Refused(reason=f"the number {short(digits)} is not finite")


def _constant(name: str) -> NoReturn:
    raise Refused(reason=f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
