"""JSON text as the wire has it: ASCII out; strict, and bounded before it is parsed, in."""

from __future__ import annotations

import json
import re
from collections import Counter
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any, Final, NoReturn, Self, TypeAlias

import msgspec

from eventbus.text import described, short, shown

__all__ = [
    "JSON",
    "LARGEST_INTEGER",
    "LEAST_INTEGER",
    "Refused",
    "described",
    "fitted",
    "parse",
    "reread",
    "short",
    "shown",
    "text",
    "too_large",
]

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

#: The integers that travel lie between these: they fit in 64 bits, signed or unsigned. No range: to
#: ask one for a number whose class derives from int, as an IntEnum does, walks through all of it.
LEAST_INTEGER: Final = -(2**63)
LARGEST_INTEGER: Final = 2**64 - 1

_STORE_IT: Final = "Store it elsewhere and send where it is"
_LONGEST_INTEGER: Final = len(str(LEAST_INTEGER))
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
# Possessive, and content with a string that never ends: the scan is linear whatever it is given.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
#: Digits as long as the shortest integer beyond 64 bits, and from each digit to the one they are of.
_LONG: Final = b"0" * len(str(2**63))
_DIGITS: Final = bytes(48 if one in b"0123456789" else one for one in range(256))
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


def text(value: object, *, size: int) -> bytes:
    """
    Return `value`, made of what JSON holds, as ASCII JSON of at most `size` bytes.

    ASCII survives every column type, proxy and protocol on the way.

    Raises:
        Refused: It is longer.
    """
    return fitted(_ENCODER.encode(value), size=size)


def fitted(written: bytes, *, size: int) -> bytes:
    """
    Return JSON as `text` does: in ASCII, and at most `size` bytes of it.

    Raises:
        Refused: It is longer.
    """
    if len(written) <= size and not written.isascii():
        written = _in_ascii(written)
    if len(written) > size:
        raise too_large(size, f"{len(written):,} bytes, ")
    return written


def too_large(size: int, found: str = "") -> Refused:
    """Return the refusal of what needs more than `size` bytes."""
    return Refused(reason=f"{found}more than the {size:,} bytes allowed", remedy=_STORE_IT)


def _in_ascii(written: bytes) -> bytes:
    # Beyond ASCII there are only letters inside strings.
    return _NOT_ASCII.sub(_escaped, written.decode()).encode("ascii")


def _escaped(found: re.Match[str]) -> str:
    return encode_basestring_ascii(found[0])[1:-1]


def parse(data: bytes, *, size: int, depth: int, keys: int) -> Any:
    """
    Return the value of strict JSON: UTF-8, no duplicate key, only finite numbers within 64 bits.

    Size, depth and number of keys are checked first, so that hostile bytes cost neither memory nor
    stack.

    Args:
        data: One JSON document.
        size: Most bytes.
        depth: Most levels of arrays and objects.
        keys: Most keys of all objects.

    Raises:
        Refused: It is not that.
    """
    _check_bounds(data, size, depth, keys)
    return _own(data) or _parsed(data)


def reread(written: bytes, *, size: int, depth: int, keys: int) -> Any:
    """
    Return the value of what `text` has just written; bounded as `parse` does.

    That it is strict JSON need not be asked. Arguments as those of `parse`.

    Raises:
        Refused: It is more than is allowed.
    """
    _check_bounds(written, size, depth, keys)
    return _OWN_DECODER.decode(written)


def _check_bounds(data: bytes, size: int, depth: int, keys: int) -> None:
    length = len(data)
    if length > size:
        raise Refused(reason=f"{length:,} bytes, more than the {size:,} allowed")
    # Cheap questions first: each level and each key takes a byte, and most data has few of both.
    if length > depth and data.count(b"[") + data.count(b"{") > depth:
        _check_depth(data, depth)
    if length > keys and data.count(b":") > keys:
        _check_keys(data, keys)


def _own(data: bytes) -> Any:
    """
    Return the value of `data` if it is what `text` writes of that value, byte for byte; else None.

    Then each key occurs once, and all else is as it should be: nothing need be looked at one by
    one. That is the case for nearly all data, and several times as quick.
    """
    try:
        value = _OWN_DECODER.decode(data)
        written = _ENCODER.encode(value)
        if not written.isascii():
            written = _in_ascii(written)
    except (ValueError, OverflowError, msgspec.MsgspecError):
        return None
    # Integers that are longer than 64 bits may come back the same. Their length tells.
    same = written == data and _LONG not in data.translate(_DIGITS)
    return value if same else None


def _parsed(data: bytes) -> Any:
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


def _check_keys(data: bytes, limit: int) -> None:
    # A colon in a string is no key.
    if _STRING.sub(b"", data).count(b":") > limit:
        raise Refused(reason=f"more than {limit:,} keys", remedy=_STORE_IT)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise Refused(reason=f"the key {short(twice)!r} occurs twice")
    return made


def _integer(digits: str) -> int:
    # The length first: int() of very many digits is slow, and refused by Python itself.
    if (
        len(digits) <= _LONGEST_INTEGER
        and LEAST_INTEGER <= (value := int(digits)) <= LARGEST_INTEGER
    ):
        return value
    raise Refused(reason=f"the integer {short(digits)} does not fit in 64 bits")


def _number(digits: str) -> float:
    if isfinite(value := float(digits)):
        return value
    raise Refused(reason=f"the number {short(digits)} is not finite")


def _constant(name: str) -> NoReturn:
    raise Refused(reason=f"{name} is not JSON")


_ENCODER: Final = msgspec.json.Encoder()
_OWN_DECODER: Final = msgspec.json.Decoder()
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
