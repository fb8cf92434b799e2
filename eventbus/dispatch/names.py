"""Event names: what a class is called, what a pattern matches, what a filter lets through."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from attrs import field, frozen

from eventbus.errors import InvalidOption

__all__ = [
    "Declaration",
    "Patterns",
    "concerns",
    "declaration",
    "event",
    "event_name",
    "is_pattern",
    "matches",
    "real_module",
]

_E = TypeVar("_E", bound=type)

_DECLARED: Final = "__eventbus_event__"
_LONGEST: Final = 200


@frozen(kw_only=True)
class Declaration:
    """What `@event` says of a class."""

    name: str
    version: int = 1
    aliases: tuple[str, ...] = ()
    #: From a version to the function that turns its data into that of the next version.
    upcast: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = field(
        factory=lambda: MappingProxyType({})
    )


def event(
    name: str,
    *,
    version: int = 1,
    aliases: Iterable[str] = (),
    upcast: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] | None = None,
) -> Callable[[_E], _E]:
    """
    Give an event class a stable name, for wildcards and for what is stored.

    Without it a class is called `module.QualName` by wildcards and `module:QualName` in a queue,
    and moving or renaming it changes both.

    Args:
        name: 1 to 200 printable characters, no `*`.
        version: Of its fields, from 1. Raise it when stored data of the old form needs an upcast.
        aliases: Former names, under which stored jobs are still understood.
        upcast: For each older version, a function from its data to the next version's.

    Raises:
        InvalidOption: A name, version or upcast that cannot be one.

    Example:
        >>> @event("order.shipped", version=2, upcast={1: lambda data: {**data, "carrier": "post"}})
        ... class OrderShipped:
        ...     pass
    """
    declared = Declaration(
        name=_checked(name, "name"),
        version=_checked_version(version),
        aliases=tuple(_checked(alias, "aliases") for alias in aliases),
        upcast=MappingProxyType(dict(upcast or {})),
    )
    for older in declared.upcast:
        if not 1 <= older < version:
            raise InvalidOption(
                option="upcast",
                value=older,
                expected=f"a map from versions below {version}",
                where=name,
            )

    def declare(cls: _E) -> _E:
        setattr(cls, _DECLARED, declared)
        return cls

    return declare


def _checked(name: object, option: str) -> str:
    if (
        isinstance(name, str)
        and 0 < len(name) <= _LONGEST
        and name.isprintable()
        and "*" not in name
    ):
        return name
    raise InvalidOption(
        option=option,
        value=name,
        expected=f"1 to {_LONGEST} printable characters without '*'",
        where="@event",
    )


def _checked_version(version: object) -> int:
    if isinstance(version, int) and not isinstance(version, bool) and version >= 1:
        return version
    raise InvalidOption(
        option="version", value=version, expected="a whole number from 1", where="@event"
    )


def declaration(cls: type) -> Declaration | None:
    """Return what `@event` said of this very class, not of a parent."""
    found = cls.__dict__.get(_DECLARED)
    return found if isinstance(found, Declaration) else None


def event_name(cls: type) -> str:
    """
    Return the name under which wildcards and exact names hear a class.

    Example:
        >>> event_name(KeyError)
        'builtins.KeyError'
    """
    declared = declaration(cls)
    return declared.name if declared else f"{real_module(cls)}.{cls.__qualname__}"


def real_module(thing: Any) -> str:
    """
    Return the module of `thing`; for `__main__` run by `python -m`, the name it is imported by.

    The result is `"__main__"` only for a script that cannot be imported.
    """
    module: str = thing.__module__
    if module == "__main__":
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec is not None and spec.name:
            return str(spec.name)
    return module


def is_pattern(name: str) -> bool:
    """Tell whether `name` is a wildcard."""
    return "*" in name


def _compiled(pattern: str) -> re.Pattern[str]:
    # Not fnmatch: "?" and "[" are ordinary characters here, and case always counts.
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """
    Tell whether the whole of `name` matches `pattern`, whose `*` is any run of characters.

    Example:
        >>> matches("order.*", "order.line.added")
        True
        >>> matches("order.*", "order")
        False
    """
    return _compiled(pattern).fullmatch(name) is not None


class Patterns:
    """
    A set of patterns that finds those matching a name without trying each.

    Patterns are kept by their literal beginning, or by their literal end where they begin with `*`:
    a name is compared only with the patterns that share it, so a thousand patterns for other names
    cost nothing.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._by_prefix: dict[str, list[tuple[str, re.Pattern[str] | None]]] = {}
        self._by_suffix: dict[str, list[tuple[str, re.Pattern[str] | None]]] = {}
        for pattern in patterns:
            prefix, suffix = pattern.partition("*")[0], pattern.rpartition("*")[2]
            by, end = (self._by_prefix, prefix) if prefix else (self._by_suffix, suffix)
            # Most patterns have one "*", first or last, and then a shared end is the whole match.
            rest = None if len(pattern) == len(end) + 1 else _compiled(pattern)
            by.setdefault(end, []).append((pattern, rest))
        self._prefixes = sorted({len(prefix) for prefix in self._by_prefix})
        self._suffixes = sorted({len(suffix) for suffix in self._by_suffix})

    def matching(self, name: str) -> list[str]:
        """Return the patterns that match `name`."""
        candidates: list[tuple[str, re.Pattern[str] | None]] = []
        size = len(name)
        for length in self._prefixes:
            if length > size:
                break
            candidates += self._by_prefix.get(name[:length], ())
        for length in self._suffixes:
            if length > size:
                break
            candidates += self._by_suffix.get(name[size - length :], ())
        return [pattern for pattern, rest in candidates if rest is None or rest.fullmatch(name)]


def concerns(filters: Iterable[type | str], event: object, name: str) -> bool:
    """
    Tell whether an event is one of `filters`: its class or a parent, its name, or a pattern.

    Args:
        filters: Classes, names and wildcards.
        event: The event object, or the name it was dispatched by.
        name: What `event_name` calls it.

    Example:
        >>> concerns([LookupError, "order.*"], KeyError(), "builtins.KeyError")
        True
    """
    for wanted in filters:
        if isinstance(wanted, str):
            if matches(wanted, name):
                return True
        elif not isinstance(event, str) and isinstance(event, wanted):
            return True
    return False
