"""From a type hint to its form."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args, get_origin

from typing_extensions import TypeAliasType, is_typeddict

from eventbus.queue.codec.choices import Checked, Choice, Flags
from eventbus.queue.codec.containers import ANY, Array, Map, Pairs, Row, Union
from eventbus.queue.codec.forms import SCALARS, SEND_ITS_ID, Form, named, path_text
from eventbus.queue.codec.jsontext import Refused
from eventbus.queue.codec.records import (
    Model,
    Record,
    TypedRecord,
    bound,
    class_slots,
    is_model,
    key_slots,
    scope,
)
from eventbus.text import described

__all__ = ["Compiler"]

#: From what is hinted to its name, the types it takes, what builds it, and whether its order is nothing.
_ARRAYS: Final[Mapping[Any, tuple[str, tuple[type[Any], ...], Callable[..., Any], bool]]] = {
    list: ("list", (list,), list, False),
    collections.abc.Sequence: ("list", (list,), list, False),
    collections.abc.MutableSequence: ("list", (list,), list, False),
    collections.abc.Collection: ("list", (list,), list, False),
    collections.abc.Iterable: ("list", (list,), list, False),
    set: ("set", (set,), set, True),
    collections.abc.MutableSet: ("set", (set,), set, True),
    frozenset: ("frozenset", (frozenset,), frozenset, True),
    collections.abc.Set: ("frozenset", (set, frozenset), frozenset, True),
}
_DICTS: Final[Mapping[Any, type[Any]]] = {
    dict: dict,
    collections.abc.Mapping: collections.abc.Mapping,
    collections.abc.MutableMapping: dict,
}

#: The flag of classes written in C that nobody may change (`Py_TPFLAGS_IMMUTABLETYPE`).
_WRITTEN_IN_C: Final = 1 << 8


class Compiler:
    """
    Makes the forms of type hints, each once.

    What fails leaves nothing behind, so that it fails again, and clearly, when asked again.
    """

    def __init__(self) -> None:
        self._forms: Mapping[Any, Form] = {}

    def form(self, hint: Any) -> Form:
        """
        Return the form of a hint.

        Raises:
            Refused: Nothing is known to write and read such values.
        """
        run = _Run(dict(self._forms))
        try:
            form = run.form(hint)
        except RecursionError as error:
            raise Refused(reason="its type hint never ends") from error
        except Refused:
            raise
        except Exception as error:
            # Annotations are code of others, and typing's own errors are many.
            raise Refused(reason=f"its type hint is unusable: {described(error)}") from error
        self._forms = run.forms
        return form


class _Run:
    """One compilation, with what it has made so far."""

    def __init__(self, forms: dict[Any, Form]) -> None:
        self.forms = forms
        #: The class whose fields are being made, that `Self` stands for.
        self._owner: Any = None

    def form(self, hint: Any) -> Form:
        if hint in (Any, object, inspect.Parameter.empty) or isinstance(hint, typing.TypeVar):
            return ANY
        if (hint is None or isinstance(hint, type)) and hint in SCALARS:
            return SCALARS[hint]
        origin = get_origin(hint) or hint
        arguments = get_args(hint)
        special = self._special(hint, origin, arguments)
        if special is not None:
            return special
        if origin is tuple or origin in _ARRAYS or origin in _DICTS:
            return self._container(hint, origin, arguments)
        if isinstance(origin, type):
            if hint not in self.forms:
                self._class(hint, origin, arguments)
            return self.forms[hint]
        raise Refused(reason=f"{hint!r} has no form in JSON", remedy=SEND_ITS_ID)

    def _special(self, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Form | None:
        """Return the form of what is no class: aliases, qualifiers, unions and literals."""
        meant = self._meant(hint, origin, arguments)
        if meant is not None:
            return self.form(meant)
        if origin is typing.Annotated:
            return Checked.of(self.form(arguments[0]), arguments[0], hint.__metadata__)
        if origin in (typing.Union, types.UnionType):
            return self._union([self.form(one) for one in arguments])
        if origin is typing.Literal:
            return Choice.of(str(hint), [(one, _literal(one)) for one in arguments])
        return None

    def _meant(self, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
        """Return the hint that this one is another way to write; None if it speaks for itself."""
        if isinstance(origin, TypeAliasType):
            variables = dict(zip(origin.__type_params__, arguments, strict=False))
            return bound(origin.__value__, variables) or types.NoneType
        if isinstance(hint, typing.NewType):
            return hint.__supertype__
        if origin is typing.Final:
            return arguments[0]
        if hint is typing.Self:
            return self._owner
        if hint is typing.LiteralString:
            return str
        return None

    def _union(self, members: list[Form]) -> Form:
        if ANY not in members:
            return Union(members)
        if all(member is ANY or member in SCALARS.values() for member in members):
            return ANY
        raise Refused(reason="beside Any nothing in a union can be told", remedy=SEND_ITS_ID)

    def _container(self, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Form:
        if origin is tuple:
            if hint is tuple or arguments[1:] == (Ellipsis,):
                item = self.form(arguments[0]) if arguments else ANY
                return Array("tuple", (tuple,), item, tuple)
            return Row([self.form(one) for one in arguments])
        if origin in _ARRAYS:
            tag, taken, made, unordered = _ARRAYS[origin]
            item = self.form(arguments[0]) if arguments else ANY
            return Array(tag, taken, item, made, unordered)
        key, value = (self.form(one) for one in arguments or (str, Any))
        return (Map if key.kinds == {str} else Pairs)(key, value, (_DICTS[origin],))

    def _class(self, hint: Any, cls: Any, arguments: tuple[Any, ...]) -> None:
        """Make the form of a class, known before its fields are, so that a class may hold itself."""
        _check_class(cls)
        variables = scope(cls, arguments)
        owner, self._owner = self._owner, hint
        if issubclass(cls, enum.Flag):
            self.forms[hint] = Flags(cls)
        elif issubclass(cls, enum.Enum):
            members = [(member, member.value) for member in cls]
            self.forms[hint] = Choice.of(named(cls), members, owner=cls)
        elif issubclass(cls, pathlib.PurePath):
            self.forms[hint] = path_text(cls)
        elif is_model(cls):
            self.forms[hint] = Model(cls)
        elif is_typeddict(cls):
            self.forms[hint] = keyed = TypedRecord(cls)
            keyed.fill(key_slots(cls, variables, self.form))
        else:
            self.forms[hint] = record = Record(cls)
            record.fill(class_slots(cls, variables, self.form))
        # After a refusal this whole run is thrown away.
        self._owner = owner


def _literal(value: Any) -> Any:
    """Return what stands for one value of a `Literal`; a member of an enum travels as its value."""
    return value.value if isinstance(value, enum.Enum) else value


def _check_class(cls: Any) -> None:
    if cls.__flags__ & _WRITTEN_IN_C:
        raise Refused(reason=f"{named(cls)} has no form in JSON", remedy=SEND_ITS_ID)
    if hasattr(cls, "__mapper__"):
        raise Refused(reason=f"{named(cls)} is a row of a database", remedy=SEND_ITS_ID)
    if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
        raise Refused(
            reason=f"{named(cls)} is abstract, so nothing can be built as one",
            remedy="Hint a union of the classes that it can be",
        )
    if getattr(cls, "__pydantic_root_model__", False):
        raise Refused(
            reason=f"{named(cls)} is a root model, which is no object in JSON",
            remedy="Make it a model with one field",
        )
