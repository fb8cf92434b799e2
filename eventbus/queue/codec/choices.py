"""The forms of what narrows another type: enums, literals, and bounds."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from attrs import frozen
from typing_extensions import override

from eventbus.queue.codec.forms import SCALARS, Form, Room, class_names, named
from eventbus.queue.codec.jsontext import LARGEST_INTEGER, LEAST_INTEGER, Refused
from eventbus.text import described, shown

__all__ = ["Checked", "Choice", "Flags"]


@frozen(eq=False)
class Choice(Form):
    """A `Literal`, or an enum: one of a few values, each a scalar of JSON."""

    tag: str
    #: The enum, None for a `Literal`.
    owner: type | None
    types: tuple[type[Any], ...]
    kinds: frozenset[type]
    #: From the data, with its type since `True == 1`, to the value.
    values: Mapping[tuple[type, Any], Any]
    #: From the value, with its type, to the data.
    data: Mapping[tuple[type, Any], Any]

    @classmethod
    def of(
        cls, tag: str, values: Iterable[tuple[Any, Any]], *, owner: type | None = None
    ) -> Choice:
        """Return the form of `values`, pairs of a value and what stands for it in JSON."""
        pairs = list(values)
        seen: set[tuple[type, Any]] = set()
        for value, data in pairs:
            if type(data) not in (str, int, bool, type(None)) or (
                type(data) is int and not LEAST_INTEGER <= data <= LARGEST_INTEGER
            ):
                raise Refused(
                    reason=f"{tag} has the value {shown(data)}, and JSON no such scalar",
                    remedy="Give it values that are str or int",
                )
            if (type(data), data) in seen:
                raise Refused(reason=f"{tag} has {shown(value)} and another value, both {data!r}")
            seen.add((type(data), data))
        return cls(
            tag=tag,
            owner=owner,
            types=tuple({type(value) for value, _ in pairs}),
            kinds=frozenset(type(data) for _, data in pairs),
            values={(type(data), data): value for value, data in pairs},
            data={(type(value), value): data for value, data in pairs},
        )

    @override
    def dump(self, value: Any, room: Room) -> Any:
        # The type first: a value of another type need not be hashable.
        if type(value) in self.types and (type(value), value) in self.data:
            data = self.data[type(value), value]
            if type(data) is str:
                room.take(len(data))
            return data
        raise self.wrong(value)

    @override
    def load(self, data: Any) -> Any:
        if type(data) in self.kinds and (type(data), data) in self.values:
            return self.values[type(data), data]
        raise self.wrong(data)

    @override
    def wrong(self, value: object) -> Refused:
        return Refused(reason=f"expected {self.tag}, got {shown(value)}")

    @override
    def names(self) -> tuple[str, ...]:
        return ("literal",) if self.owner is None else class_names(self.owner)


class Flags(Form):
    """A `Flag`: any union of its members, as the integer of its bits."""

    kinds = frozenset({int})

    def __init__(self, cls: type[enum.Flag]) -> None:
        self._cls = cls
        self.types = (cls,)
        self.tag = named(cls)

    @override
    def dump(self, value: Any, room: Room) -> int:
        if isinstance(value, self._cls) and LEAST_INTEGER <= value.value <= LARGEST_INTEGER:
            return int(value.value)
        raise self.wrong(value)

    @override
    def load(self, data: Any) -> Any:
        if type(data) is not int:
            raise self.wrong(data)
        try:
            made = self._cls(data)
        except ValueError as error:
            raise Refused(reason=f"not a {self.tag}: {described(error)}") from error
        # An enum may be told to keep, or to drop, bits that it does not know.
        if isinstance(made, self._cls) and made.value == data:
            return made
        raise Refused(reason=f"not a {self.tag}: {data} has bits that it does not know")

    @override
    def names(self) -> tuple[str, ...]:
        return class_names(self._cls)


class Checked(Form):
    """A type with the bounds of `Annotated[..., msgspec.Meta(...)]`."""

    def __init__(self, inner: Form, bounds: Any) -> None:
        self.kinds, self.types, self.tag = inner.kinds, inner.types, inner.tag
        self._inner = inner
        #: The hint as msgspec understands it.
        self._bounds = bounds

    @classmethod
    def of(cls, inner: Form, base: Any, metadata: Iterable[Any]) -> Form:
        """Return `inner` with the bounds among `metadata`, if there are any."""
        bounds = [one for one in metadata if isinstance(one, msgspec.Meta)]
        if not bounds:
            return inner
        hint = base if base in SCALARS else next(iter(inner.kinds))
        for one in bounds:
            hint = Annotated[hint, one]
        # Raises TypeError for bounds that mean nothing for this type.
        msgspec.json.Decoder(hint)
        return cls(inner, hint)

    @override
    def dump(self, value: Any, room: Room) -> Any:
        return self._inner.dump(value, room)

    @override
    def load(self, data: Any) -> Any:
        value = self._inner.load(data)
        try:
            msgspec.convert(data, self._bounds)
        except msgspec.ValidationError as error:
            raise Refused(reason=str(error)) from error
        return value

    @override
    def compare(self, sent: Any, got: Any) -> None:
        self._inner.compare(sent, got)

    @override
    def names(self) -> tuple[str, ...]:
        return self._inner.names()
