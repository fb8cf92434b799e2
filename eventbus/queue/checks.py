"""What the value of one option may be: read once, and refused where it was said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from eventbus.errors import InvalidOption
from eventbus.values import seconds, valid_name

__all__ = [
    "choice",
    "deadline_of",
    "error_classes",
    "instant_or_seconds",
    "life",
    "name",
    "names",
    "place",
    "whole_number",
    "whole_tries",
]

#: Characters of a stored name: what an event may declare, too.
_LONGEST: Final = 200


def whole_tries(value: Any, *, where: str = "") -> int:
    """Return a number of tries, 0 for no limit; `InvalidOption` if it is none."""
    return whole_number(value, option="tries", least=0, note="; 0 is no limit", where=where)


def whole_number(value: Any, *, option: str, least: int, note: str = "", where: str) -> int:
    """Return a whole number from `least`; `InvalidOption` if it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise InvalidOption(
        option=option, value=value, expected=f"a whole number >= {least}{note}", where=where
    )


def life(value: Any, *, option: str, where: str) -> float:
    """Return a duration of more than 0 seconds; `InvalidOption` if it is none."""
    if found := seconds(value, option=option, where=where):
        return found
    raise InvalidOption(
        option=option, value=value, expected="more than 0 seconds, or a timedelta", where=where
    )


def choice(value: Any, *, option: str, where: str) -> bool:
    """Return True or False; `InvalidOption` if it is neither."""
    if isinstance(value, bool):
        return value
    raise InvalidOption(option=option, value=value, expected="True or False", where=where)


def deadline_of(value: Any, *, where: str) -> Any:
    """
    Return until when a job may be tried: seconds from its dispatch, or an aware instant.

    Raises:
        InvalidOption: It is neither; nor is a datetime that does not say its zone.
    """
    return instant_or_seconds(value, option="retry_until", where=where)


def instant_or_seconds(value: Any, *, option: str, where: str) -> Any:
    """Return an aware instant as it is, and a duration in seconds; `InvalidOption` if it is neither."""
    if hasattr(value, "utcoffset"):  # a datetime, without importing it for those who give none
        if value.utcoffset() is not None:
            return value
        raise InvalidOption(
            option=option,
            value=value,
            expected="an aware datetime, one with tzinfo; UTC where in doubt",
            where=where,
        )
    return seconds(value, option=option, where=where)


def error_classes(value: Any, *, option: str, where: str) -> tuple[type[BaseException], ...]:
    """Return classes of errors, given as one or several; `InvalidOption` if one is none."""
    several: Iterable[Any] = value if isinstance(value, list | tuple) else (value,)
    found = tuple(several)
    if all(isinstance(one, type) and issubclass(one, BaseException) for one in found):
        return found
    raise InvalidOption(
        option=option,
        value=value,
        expected="classes of errors: (ValueError, KeyError)",
        where=where,
    )


def names(value: Any, *, option: str, where: str) -> tuple[str, ...]:
    """Return several names; `InvalidOption` if one is none."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidOption(
            option=option, value=value, expected='names, such as ("shop:Old",)', where=where
        )
    return tuple(name(one, option=option, where=where) for one in value)


def name(value: Any, *, option: str, where: str) -> str:
    """Return a name of a listener; `InvalidOption` if it is none."""
    if isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST:
        return str(value)
    raise InvalidOption(
        option=option,
        value=value,
        expected=f"1 to {_LONGEST} printable characters",
        where=where,
    )


def place(value: Any, *, option: str, where: str) -> str:
    """Return the name of a queue or a connection; `InvalidOption` if it is none."""
    return valid_name(value, option=option, where=where)
