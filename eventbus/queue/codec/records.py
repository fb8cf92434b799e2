"""The forms of classes: the arguments of a constructor travel, and the constructor builds anew."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable
from typing import Any, Final, NotRequired, Required, get_args, get_origin

import attrs
import msgspec
from attrs import frozen
from typing_extensions import Format, ReadOnly, get_annotations, get_original_bases, override

from eventbus.defaults import DATA_SIZE_LIMIT
from eventbus.queue.codec.containers import ANY
from eventbus.queue.codec.forms import SEND_ITS_ID, Form, Room, class_names, named
from eventbus.queue.codec.jsontext import Refused, text
from eventbus.text import described, short

__all__ = [
    "Model",
    "Record",
    "TypedRecord",
    "bound",
    "class_slots",
    "is_model",
    "key_slots",
    "scope",
]

_ABSENT: Final = object()


@frozen(eq=False)
class Slot:
    """One key of a class's object in JSON."""

    #: The key, and the constructor's argument.
    key: str
    #: The attribute that keeps the argument.
    attribute: str
    form: Form
    #: Whether data must have it.
    required: bool
    #: Whether a value must have it.
    always: bool = True


class _Object(Form):
    """What travels as an object with known keys."""

    kinds = frozenset({dict})

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.tag = named(cls)
        #: Its keys; filled in once all of them are known.
        self.slots: tuple[Slot, ...] = ()
        #: The least that an object with all its keys takes.
        self._size = 0

    def fill(self, slots: tuple[Slot, ...]) -> None:
        """Say what it holds, once that is known: a class may hold itself."""
        self.slots = slots
        self._size = sum(len(slot.key) + len('"":0,') for slot in slots if slot.always)

    @override
    def names(self) -> tuple[str, ...]:
        return class_names(self.cls)

    def _fields(
        self, value: Any, room: Room, get: Callable[[Any, str, Any], Any]
    ) -> dict[str, Any]:
        room.take(self._size)
        made: dict[str, Any] = {}
        key = ""
        try:
            for slot in self.slots:
                key = slot.key
                one = get(value, slot.attribute, _ABSENT)
                if one is not _ABSENT:
                    made[key] = slot.form.dump(one, room)
                elif slot.always:
                    raise Refused(
                        reason=f"a {self.tag} does not keep it as {slot.attribute!r}",
                        remedy="Keep each argument of the constructor as an attribute of its name",
                    )
        except Refused as refused:
            refused.under(key)
            raise
        return made

    def _arguments(self, data: Any) -> dict[str, Any]:
        if type(data) is not dict:
            raise self.wrong(data)
        made: dict[str, Any] = {}
        key = ""
        try:
            for slot in self.slots:
                key = slot.key
                if key in data:
                    made[key] = slot.form.load(data[key])
                elif slot.required:
                    raise Refused(reason="missing")
        except Refused as refused:
            refused.under(key)
            raise
        if len(made) != len(data):
            unknown = sorted(short(str(one)) for one in data.keys() - made.keys())
            raise Refused(reason=f"{self.tag} has no field {', '.join(unknown[:5])}")
        return made

    def _compare_fields(self, sent: Any, got: Any, get: Callable[[Any, str, Any], Any]) -> None:
        key = ""
        try:
            for slot in self.slots:
                key = slot.key
                slot.form.compare(get(sent, slot.attribute, None), get(got, slot.attribute, None))
        except Refused as refused:
            refused.under(key)
            raise


class TypedRecord(_Object):
    """A `TypedDict`."""

    types: tuple[type[Any], ...] = (dict,)

    @override
    def dump(self, value: Any, room: Room) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(value)
        made = self._fields(value, room, dict.get)
        if len(made) != len(value):
            unknown = sorted(short(str(one)) for one in value.keys() - made.keys())
            raise Refused(reason=f"{self.tag} has no key {', '.join(unknown[:5])}")
        return made

    @override
    def load(self, data: Any) -> dict[str, Any]:
        return self._arguments(data)

    @override
    def compare(self, sent: Any, got: Any) -> None:
        if sent != got:
            self._compare_fields(sent, got, dict.get)


class Record(_Object):
    """A class built by its constructor: attrs, dataclass, NamedTuple, Struct or by hand."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls)
        self.types = (cls,)
        #: What `==` compares although it is no argument: to be computed anew, and the same.
        self._computed: tuple[str, ...] = ()
        self._generated = True
        if attrs.has(cls):
            self._computed = tuple(one.name for one in attrs.fields(cls) if one.eq and not one.init)
        elif dataclasses.is_dataclass(cls):
            self._computed = tuple(
                one.name for one in dataclasses.fields(cls) if one.compare and not one.init
            )
        else:
            self._generated = issubclass(cls, (msgspec.Struct, tuple))

    @override
    def dump(self, value: Any, room: Room) -> dict[str, Any]:
        if type(value) is not self.cls:
            raise self.wrong(value)
        return self._fields(value, room, getattr)

    @override
    def load(self, data: Any) -> Any:
        return self.made(self._arguments(data))

    def made(self, arguments: dict[str, Any]) -> Any:
        """Return an object of the class; its constructor's refusal is one of ours."""
        try:
            return self.cls(**arguments)
        except Exception as error:
            raise Refused(reason=f"{self.tag} does not take it: {described(error)}") from error

    @override
    def wrong(self, value: object) -> Refused:
        if isinstance(value, self.cls):
            return Refused(
                reason=f"a {named(type(value))} is more than the {self.tag} of its type hint",
                remedy="Hint a union of the classes that it can be",
            )
        return super().wrong(value)

    @override
    def compare(self, sent: Any, got: Any) -> None:
        if sent == got:
            return
        self._compare_fields(sent, got, getattr)
        for name in self._computed:
            before, after = getattr(sent, name, None), getattr(got, name, None)
            if before != after:
                raise self.changed(before, after).under(name)
        if not self._generated:
            self._compare_by_hand(sent, got)

    def _compare_by_hand(self, sent: Any, got: Any) -> None:
        if any("__eq__" in vars(one) for one in self.cls.__mro__[:-1]):
            raise self.changed(sent, got)
        lost = getattr(sent, "__dict__", {}).keys() - getattr(got, "__dict__", {}).keys()
        for name in sorted(lost):
            if not isinstance(getattr(self.cls, name, None), functools.cached_property):
                raise Refused(
                    reason="it would be lost",
                    remedy="Only what the constructor takes or computes can be stored",
                ).under(name)


class Model(Form):
    """A pydantic model: pydantic itself writes and reads it."""

    kinds = frozenset({dict})

    def __init__(self, cls: Any) -> None:
        self.cls = cls
        self.types = (cls,)
        self.tag = named(cls)

    @override
    def names(self) -> tuple[str, ...]:
        return class_names(self.cls)

    @override
    def dump(self, value: Any, room: Room) -> Any:
        if type(value) is not self.cls:
            raise self.wrong(value)
        try:
            return ANY.dump(self._data(value), room)
        except ValueError as error:
            raise Refused(reason=described(error)) from error

    def _data(self, value: Any) -> Any:
        return value.model_dump(mode="json", by_alias=True, round_trip=True, warnings="error")

    @override
    def load(self, data: Any) -> Any:
        try:
            made = self.cls.model_validate_json(text(data, size=DATA_SIZE_LIMIT), strict=True)
        except Exception as error:
            raise Refused(reason=f"{self.tag} does not take it: {described(error)}") from error
        # A model ignores what it does not know, unless told otherwise; we do not.
        _check_kept(data, self._data(made))
        return made

    @override
    def compare(self, sent: Any, got: Any) -> None:
        for name in self.cls.model_fields:
            before, after = getattr(sent, name, None), getattr(got, name, None)
            if before != after:
                raise self.changed(before, after).under(name)
        super().compare(sent, got)


def _check_kept(data: Any, again: Any) -> None:
    """Refuse `data` if it has a key that `again`, written from what was read of it, has not."""
    if isinstance(data, dict) and isinstance(again, dict):
        for key, value in data.items():
            if key not in again:
                raise Refused(reason="no such field").under(short(key))
            try:
                _check_kept(value, again[key])
            except Refused as refused:
                refused.under(short(key))
                raise
    elif isinstance(data, list) and isinstance(again, list):
        for one, other in zip(data, again, strict=False):
            _check_kept(one, other)


def is_model(cls: type) -> bool:
    """Tell whether `cls` is a pydantic model; pydantic is not imported to find out."""
    return (
        "pydantic" in sys.modules
        and hasattr(cls, "model_validate_json")
        and hasattr(cls, "model_dump")
    )


def scope(cls: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Return what the type variables of `cls[arguments]` and its parents stand for."""
    found = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    for base in get_original_bases(cls) if isinstance(cls, type) else ():
        origin = get_origin(base) or base
        if origin not in (typing.Generic, typing.Protocol, object):
            inner = tuple(bound(one, found) for one in get_args(base))
            found = {**scope(origin, inner), **found}
    return found


def bound(hint: Any, variables: dict[Any, Any]) -> Any:
    """Return `hint` with its type variables replaced; `Any` for what nobody has bound."""
    if isinstance(hint, typing.TypeVar):
        return variables.get(hint, Any)
    free = getattr(hint, "__parameters__", ())
    if free and not isinstance(hint, type):
        return hint[tuple(variables.get(one, Any) for one in free)]
    return hint


def class_slots(
    cls: Any, variables: dict[Any, Any], form: Callable[[Any], Form]
) -> tuple[Slot, ...]:
    """
    Return a slot for each argument of the constructor of `cls`.

    Raises:
        Refused: An argument has no usable type hint, or the class cannot be built from its fields.
    """
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (ValueError, TypeError):
        raise Refused(
            reason=f"{named(cls)} does not tell what its constructor takes", remedy=SEND_ITS_ID
        ) from None
    aliases = {one.alias: one.name for one in attrs.fields(cls)} if attrs.has(cls) else {}
    hints: dict[str, Any] = _hints(cls, cls) if parameters else {}
    made: list[Slot] = []
    for parameter in parameters:
        name = parameter.name
        attribute = aliases.get(name, name)
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise Refused(
                reason=f"the constructor of {named(cls)} takes more than named arguments",
                remedy=SEND_ITS_ID,
            ).under(str(parameter))
        if attribute not in hints:
            hints = {**_hints(cls, cls.__init__), **hints}
        if attribute not in hints:
            raise Refused(
                reason=f"{named(cls)} has no type hint for it",
                remedy=f"Annotate it, if it is data. {SEND_ITS_ID}",
            ).under(name)
        required = parameter.default is parameter.empty
        made.append(
            Slot(name, attribute, _form(form, bound(hints[attribute], variables), name), required)
        )
    return tuple(made)


def key_slots(cls: Any, variables: dict[Any, Any], form: Callable[[Any], Form]) -> tuple[Slot, ...]:
    """Return a slot for each key of a `TypedDict`."""
    made: list[Slot] = []
    for name, hint in _hints(cls, cls).items():
        required = name in cls.__required_keys__
        while (qualifier := get_origin(hint)) in (Required, NotRequired, ReadOnly):
            # `from __future__ import annotations` hides these from `__required_keys__`.
            required = required if qualifier is ReadOnly else qualifier is Required
            (hint,) = get_args(hint)
        made.append(Slot(name, name, _form(form, bound(hint, variables), name), required, required))
    return tuple(made)


def _form(form: Callable[[Any], Form], hint: Any, name: str) -> Form:
    try:
        return form(hint)
    except Refused as refused:
        refused.under(name)
        raise


def _hints(cls: type, holder: Any) -> dict[str, Any]:
    """Return the evaluated annotations of a class, or of its constructor."""
    try:
        return typing.get_type_hints(holder, include_extras=True)
    except NameError as error:
        missing = str(error.name)
        raise Refused(
            reason=f"the name {missing!r} in its type hint does not exist at run time",
            remedy="Import it at the top of the module, not only under TYPE_CHECKING",
        ).under(_annotated_with(cls, missing)) from error


def _annotated_with(cls: type, missing: str) -> str:
    """Return the first field whose annotation has the name `missing` in it."""
    word = re.compile(rf"\b{re.escape(missing)}\b")
    for base in cls.__mro__:
        for holder in (base, vars(base).get("__init__")):
            if isinstance(holder, type) or inspect.isfunction(holder):
                for field, hint in get_annotations(holder, format=Format.STRING).items():
                    if word.search(str(hint)):
                        return field
    return ""
