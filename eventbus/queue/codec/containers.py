"""The forms of what holds other values: lists, tuples, sets, dicts, unions, and `Any`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import repeat
from types import NoneType
from typing import Any, Final

import msgspec
from attrs import frozen
from typing_extensions import override

from eventbus.defaults import EQUAL_HASHES_LIMIT
from eventbus.queue.codec.forms import SCALARS, SEND_ITS_ID, Form, Room, named
from eventbus.queue.codec.jsontext import Refused
from eventbus.text import described, shown

__all__ = ["ANY", "Array", "Map", "Pairs", "Row", "Union"]


def _each(results: Iterable[Any]) -> list[Any]:
    """Return what each item became; a refusal learns the index."""
    made: list[Any] = []
    try:
        made.extend(results)
    except Refused as refused:
        # What came before the refusal is in it.
        refused.under(f"[{len(made)}]")
        raise
    return made


def _check_hashes(values: Collection[Any]) -> None:
    """Refuse items that were chosen to have one hash: each would be compared with each."""
    if len(values) > EQUAL_HASHES_LIMIT:
        ((_, equal),) = Counter(map(hash, values)).most_common(1)
        if equal > EQUAL_HASHES_LIMIT:
            raise Refused(reason=f"{equal:,} items have the same hash")


@frozen(eq=False)
class Array(Form):
    """A list, tuple, set or frozenset of values of one type."""

    tag: str
    types: tuple[type[Any], ...]
    item: Form
    made: Callable[[Iterable[Any]], Any]
    unordered: bool = False
    kinds = frozenset({list})

    @override
    def dump(self, value: Any, room: Room) -> list[Any]:
        if not isinstance(value, self.types):
            raise self.wrong(value)
        room.take(2 * len(value))
        made = _each(map(self.item.dump, value, repeat(room)))
        # The same set is the same bytes, whatever the order of its hashes.
        return sorted(made, key=msgspec.json.encode) if self.unordered else made

    @override
    def load(self, data: Any) -> Any:
        if type(data) is not list:
            raise self.wrong(data)
        items = _each(map(self.item.load, data))
        if not self.unordered:
            return self.made(items)
        try:
            _check_hashes(items)
            made = self.made(items)
        except Refused:
            raise
        except Exception as error:
            raise Refused(reason=f"not what a {self.tag} can hold: {described(error)}") from error
        if len(made) != len(items):
            raise Refused(reason=f"the same item twice in a {self.tag}")
        return made

    @override
    def compare(self, sent: Any, got: Any) -> None:
        if sent == got:
            return
        if self.unordered or type(sent) is not type(got):
            raise self.changed(sent, got)
        _each(map(self.item.compare, sent, got))


class Row(Form):
    """A tuple with a type for each place."""

    tag = "tuple"
    types: tuple[type[Any], ...] = (tuple,)
    kinds = frozenset({list})

    def __init__(self, items: Sequence[Form]) -> None:
        self.items = items

    @override
    def dump(self, value: Any, room: Room) -> list[Any]:
        if not isinstance(value, tuple):
            raise self.wrong(value)
        self._check(len(value))
        room.take(2 * len(value))
        return _each(item.dump(one, room) for item, one in zip(self.items, value, strict=True))

    @override
    def load(self, data: Any) -> tuple[Any, ...]:
        if type(data) is not list:
            raise self.wrong(data)
        self._check(len(data))
        return tuple(_each(item.load(one) for item, one in zip(self.items, data, strict=True)))

    def _check(self, length: int) -> None:
        if length != len(self.items):
            raise Refused(reason=f"expected {len(self.items)} items, got {length}")

    @override
    def compare(self, sent: Any, got: Any) -> None:
        if sent != got:
            ways = [item.compare for item in self.items]
            _each(map(lambda way, before, after: way(before, after), ways, sent, got))


class Pairs(Form):
    """A dict whose keys are no strings in JSON: an array of arrays of a key and its value."""

    tag = "dict"
    kinds = frozenset({list})

    def __init__(self, key: Form, value: Form, types: tuple[type[Any], ...] = (dict,)) -> None:
        self.key = key
        self.value = value
        self.types = types

    @override
    def dump(self, value: Any, room: Room) -> Any:
        if not isinstance(value, self.types):
            raise self.wrong(value)
        room.take(5 * len(value))
        key, item = self.key.dump, self.value.dump
        return self._items(value.items(), lambda one: key(one, room), lambda one: item(one, room))

    @override
    def load(self, data: Any) -> dict[Any, Any]:
        if type(data) is not list:
            raise self.wrong(data)
        pairs = _each(map(Row((self.key, self.value)).load, data))
        return self._distinct(pairs)

    @override
    def compare(self, sent: Any, got: Any) -> None:
        if sent == got:
            return
        if sent.keys() != got.keys():
            raise self.changed(sent, got)
        self._items(
            [(key, (sent[key], got[key])) for key in sent],
            lambda key: key,
            lambda pair: self.value.compare(*pair),
        )

    def _items(
        self,
        items: Iterable[tuple[Any, Any]],
        key_way: Callable[[Any], Any],
        value_way: Callable[[Any], Any],
    ) -> list[tuple[Any, Any]]:
        made: list[tuple[Any, Any]] = []
        key: Any = None
        try:
            for key, value in items:
                made.append((key_way(key), value_way(value)))
        except Refused as refused:
            refused.under(f"[{shown(key)}]")
            raise
        return made

    def _distinct(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        try:
            _check_hashes([key for key, _ in pairs])
            made = dict(pairs)
        except Refused:
            raise
        except Exception as error:
            raise Refused(reason=f"not what a dict's key can be: {described(error)}") from error
        if len(made) != len(pairs):
            raise Refused(reason="the same key twice in a dict")
        return made


class Map(Pairs):
    """A dict whose keys are strings in JSON: an object."""

    kinds = frozenset({dict})

    @override
    def dump(self, value: Any, room: Room) -> dict[str, Any]:
        return dict(super().dump(value, room))

    @override
    def load(self, data: Any) -> dict[Any, Any]:
        if type(data) is not dict:
            raise self.wrong(data)
        return self._distinct(self._items(data.items(), self.key.load, self.value.load))


#: What JSON itself tells apart: in no union do these need a tag.
_BARE: Final = ("null", "bool", "int", "float", "str")


class Union(Form):
    """
    One of several types.

    Where each has kinds of JSON of its own, those tell which it is. Else every member but null,
    bool, int, float and str is wrapped in its name: `{"shop.card": {...}}`.
    """

    def __init__(self, members: Iterable[Form]) -> None:
        # A float takes an int too, but only what no other member takes.
        ordered = sorted(members, key=lambda member: member.tag == "float")
        self.tag = " or ".join(member.tag for member in ordered)
        self._by_type: dict[type, Form] = {}
        self._loads: dict[type, Callable[[Any], Any]] = {}
        self._by_name: dict[str, Form] = {}
        self._names: dict[Form, str] = {}
        for member in ordered:
            self._add_types(member)
        tagged = _share_a_kind(ordered)
        for member in ordered:
            if tagged and member.tag not in _BARE:
                self._add_names(member)
            else:
                for kind in member.kinds:
                    self._loads.setdefault(kind, member.load)
        if tagged:
            self._loads[dict] = self._load_named
        self.types = tuple(self._by_type)
        self.kinds = frozenset(self._loads)
        if not tagged and all(member.plain for member in ordered):
            self.plain = frozenset().union(*(member.plain for member in ordered))

    def _add_types(self, member: Form) -> None:
        for one in member.types:
            other = self._by_type.setdefault(one, member)
            if other is not member and member.tag != "float":
                raise Refused(
                    reason=f"{other.tag} and {member.tag} in one union are both {named(one)}, so a"
                    " value does not tell which of them it is"
                )

    def _add_names(self, member: Form) -> None:
        names = member.names()
        self._names[member] = names[0]
        for name in names:
            if self._by_name.setdefault(name, member) is not member:
                raise Refused(reason=f"two members of one union are called {name!r}")

    def _member(self, value: object) -> Form:
        found = self._by_type.get(type(value))
        if found is None:
            matches = (form for one, form in self._by_type.items() if isinstance(value, one))
            found = next(matches, None)
        if found is None:
            raise self.wrong(value)
        return found

    @override
    def dump(self, value: Any, room: Room) -> Any:
        member = self._member(value)
        data = member.dump(value, room)
        return {self._names[member]: data} if member in self._names else data

    @override
    def load(self, data: Any) -> Any:
        load = self._loads.get(type(data))
        if load is None:
            raise self.wrong(data)
        return load(data)

    def _load_named(self, data: dict[str, Any]) -> Any:
        if len(data) == 1:
            ((name, inner),) = data.items()
            if name in self._by_name:
                return self._by_name[name].load(inner)
        expected = " or ".join(repr(name) for name in self._by_name)
        raise Refused(reason=f"expected an object with one key, {expected}")

    @override
    def compare(self, sent: Any, got: Any) -> None:
        self._member(sent).compare(sent, got)


def _share_a_kind(members: list[Form]) -> bool:
    claimed: set[type] = set()
    for member in members:
        kinds = {float} if member.tag == "float" else member.kinds
        if claimed & kinds:
            return True
        claimed |= kinds
    return False


class _Plain(Form):
    """`Any`: what JSON holds as it is, and comes back as it was."""

    kinds = frozenset({NoneType, bool, int, float, str, list, dict})
    types: tuple[type[Any], ...] = (object,)
    tag = "plain JSON"

    @override
    def dump(self, value: Any, room: Room) -> Any:
        kind = type(value)
        form = _PLAIN.get(kind)
        if form is not None:
            return form.dump(value, room)
        raise Refused(
            reason=f"{named(kind)} is not plain JSON, and no type hint tells how to read it",
            remedy=f"Give it a type hint if it is data. {SEND_ITS_ID}",
        )

    @override
    def load(self, data: Any) -> Any:
        return data


#: `Any`, `object` and what has no type hint.
ANY: Final = _Plain()
_PLAIN: Final[Mapping[type, Form]] = {
    **{kind: SCALARS[kind] for kind in (NoneType, bool, int, float, str)},
    list: Array("list", (list,), ANY, list),
    dict: Map(SCALARS[str], ANY),
}
