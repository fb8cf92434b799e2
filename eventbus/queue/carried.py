"""Context variables that travel with jobs: taken where one is dispatched, set again where it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from eventbus.errors import EncodeError, InvalidOption

if TYPE_CHECKING:
    from eventbus.queue.codec.jsontext import JSON

__all__ = ["Carried"]

#: The variable of this name holds a W3C trace context, and travels only as one.
_TRACEPARENT: Final = "traceparent"
#: Of version 00, or of a later one, which may say more at its end.
_TRACE: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{1,64})?"
)
_UNSET: Final = object()


class Carried:
    """
    The context variables that a bus lets travel.

    Args:
        variables: Which. Each is known by its name.

    Raises:
        InvalidOption: One is no context variable, or two have one name.

    Example:
        >>> tenant = ContextVar("tenant")
        >>> carried = Carried([tenant])
        >>> carried.taken()
        {}
        >>> carried.restore({"tenant": "acme", "other": 1})
        >>> tenant.get(), carried.taken()
        ('acme', {'tenant': 'acme'})
    """

    def __init__(self, variables: Iterable[ContextVar[Any]] = ()) -> None:
        self._variables: dict[str, ContextVar[Any]] = {}
        for one in variables:
            if not isinstance(one, ContextVar) or not one.name:
                raise InvalidOption(option="carry", value=one, expected="context variables")
            if self._variables.setdefault(one.name, one) is not one:
                raise InvalidOption(
                    option="carry",
                    value=one.name,
                    expected="variables with a name of their own each",
                )

    @property
    def is_empty(self) -> bool:
        """Whether none of them is set here and now."""
        for one in self._variables.values():  # noqa: SIM110 -- each dispatch asks; a generator costs more
            if one.get(_UNSET) is not _UNSET:
                return False
        return True

    def taken(self, *, event: str = "") -> dict[str, JSON]:
        """
        Return those that are set here and now, by name.

        Args:
            event: What they travel with, for the error.

        Raises:
            EncodeError: One has a value that does not come back from JSON as it is.
        """
        found: dict[str, JSON] = {}
        for name, variable in self._variables.items():
            value = variable.get(_UNSET)
            # A header that came from outside may be anything; whose form is wrong is left out, as W3C says.
            if value is not _UNSET and _may_travel(name, value):
                found[name] = _checked(name, value, event)
        return found

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Set those that were taken, in this context; a name that is none of them is passed over."""
        for name, value in stored.items():
            variable = self._variables.get(name)
            if variable is not None and _may_travel(name, value):
                variable.set(value)


def _may_travel(name: str, value: object) -> bool:
    if name != _TRACEPARENT:
        return True
    return isinstance(value, str) and _TRACE.fullmatch(value) is not None


def _checked(name: str, value: Any, event: str) -> JSON:
    from eventbus.queue.codec.typed import PayloadCodec

    try:
        PayloadCodec().encode((value,), event=event)
    except EncodeError as error:
        raise EncodeError(
            event=event,
            field=f"the context variable {name!r}",
            reason=error.reason,
            remedy="Carry plain JSON: a text, a number, or a list or dict of them",
        ) from error
    plain: JSON = value
    return plain
