"""Events to typed JSON and back: a codec for each class, and the table of what may arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from eventbus.defaults import DATA_DEPTH_LIMIT, DATA_KEYS_LIMIT, DATA_SIZE_LIMIT
from eventbus.dispatch.names import Declaration, declaration, real_module
from eventbus.errors import DecodeError, EncodeError, InvalidOption, UnknownName
from eventbus.queue.codec.compiling import Compiler
from eventbus.queue.codec.containers import ANY, Row
from eventbus.queue.codec.document import wire_name
from eventbus.queue.codec.flat import flat
from eventbus.queue.codec.forms import Form, Room, named
from eventbus.queue.codec.jsontext import Refused, parse, reread, text
from eventbus.text import described, short

__all__ = ["EventTypes", "PayloadCodec", "TypeCodec", "decode_value", "encode_value"]


#: What a payload is called where its event's name is not given.
_PAYLOAD: Final = "a payload"
#: Most arguments of a payload whose row of forms is kept.
_MANY: Final = 32


#: What data may hold.
_BOUNDS: Final[Mapping[str, int]] = {
    "size": DATA_SIZE_LIMIT,
    "depth": DATA_DEPTH_LIMIT,
    "keys": DATA_KEYS_LIMIT,
}


def _parsed(data: bytes) -> Any:
    return parse(data, **_BOUNDS)


def _encoded(form: Form, value: Any, event: str) -> bytes:
    """Return `value` as JSON that was read back, as a worker will, and is still the same."""
    try:
        data = text(form.dump(value, Room()), size=DATA_SIZE_LIMIT)
        again = form.load(reread(data, **_BOUNDS))
        if value != again:
            form.compare(value, again)
    except Refused as refused:
        raise _unstorable(refused, event) from refused.__cause__
    except RecursionError as error:
        raise EncodeError(
            event=event, field="", reason="it holds itself, or is nested too deep"
        ) from error
    except Exception as error:
        # A property or an `__eq__` of the user's own may raise anything.
        raise EncodeError(event=event, field="", reason=described(error)) from error
    return data


def _unstorable(refused: Refused, event: str) -> EncodeError:
    return EncodeError(
        event=event, field=refused.path, reason=refused.reason, remedy=refused.remedy
    )


def _rejected(refused: Refused, event: str, envelope: str) -> NoReturn:
    place = f"{event}.{refused.path}" if refused.path else event
    raise DecodeError(
        reason=f"{short(place)}: {refused.reason}", envelope=envelope
    ) from refused.__cause__


class TypeCodec:
    """
    How the events, or jobs, of one class are written and read; made once a class, by `EventTypes`.

    Example:
        >>> from attrs import frozen
        >>> from eventbus.dispatch.names import event
        >>> @event("order.shipped")
        ... @frozen
        ... class OrderShipped:
        ...     order_id: int
        >>> types = EventTypes()
        >>> types.add(OrderShipped)
        >>> codec = types.codec_for(OrderShipped)
        >>> codec.encode(OrderShipped(order_id=1))
        b'{"order_id":1}'
        >>> codec.decode(b'{"order_id":1}', version=1)
        OrderShipped(order_id=1)
    """

    def __init__(self, cls: type, form: Form, declared: Declaration | None = None) -> None:
        declared = declared or declaration(cls) or Declaration(name=wire_name(cls))
        #: The class whose events these are.
        self.cls: Final = cls
        #: What the class is called in a queue.
        self.name: Final = declared.name
        #: The version that `encode` writes.
        self.version: Final = declared.version
        self._upcast = declared.upcast
        self._form = form
        self._flat = flat(form)

    def encode(self, event: object) -> bytes:
        """
        Return an event as JSON that decodes to the same event.

        It is decoded once to make sure of that: the event's constructor, converters and validators
        run, and what they refuse or change is the producer's error, not the worker's.

        Raises:
            EncodeError: Something in it cannot be stored, or would not come back as it is.
        """
        data = None if self._flat is None else self._flat.encode(event)
        return _encoded(self._form, event, self.name) if data is None else data

    def decode(self, data: bytes, version: int, *, envelope: str = "") -> Any:
        """
        Return the event that `data` holds.

        Args:
            data: What `encode`, or a program in another language, wrote.
            version: Of the class that wrote it.
            envelope: The id of the envelope, for the error.

        Raises:
            DecodeError: It is no event of this class.
            UnknownName: A newer version of the class wrote it.
        """
        self.check_version(version)
        try:
            value = _parsed(data)
            if version < self.version:
                value = self._raised(value, version)
            made = None if self._flat is None else self._flat.load(value)
            return self._form.load(value) if made is None else made
        except Refused as refused:
            _rejected(refused, self.name, envelope)
        except RecursionError as error:
            if version == self.version:
                raise  # text is not that deep: whoever reads it is
            # What an upcast returns may hold itself.
            raise DecodeError(
                reason=f"{self.name}: its data never ends", envelope=envelope
            ) from error

    def check_version(self, version: int) -> None:
        """
        Refuse data of a newer version of the class than this code has.

        Raises:
            UnknownName: It is newer.
        """
        if version > self.version:
            raise UnknownName(
                kind=f"version of event {self.name}", name=str(version), known=[str(self.version)]
            )

    def _raised(self, value: Any, version: int) -> Any:
        """Return data of an older version, taken through the steps to today's."""
        if not isinstance(value, dict):
            raise Refused(reason=f"version {version} is no object")
        for older in range(version, self.version):
            step = self._upcast.get(older)
            if step is None:
                raise Refused(reason=f"no upcast from version {older} to {older + 1} is declared")
            try:
                value = step(value)
            except Exception as error:
                raise Refused(
                    reason=f"the upcast from version {older} raised {described(error)}"
                ) from error
            if not isinstance(value, dict):
                raise Refused(
                    reason=f"the upcast from version {older} returned {named(type(value))}, no dict"
                )
        return value


class EventTypes:
    """
    The table of the classes whose events may arrive, built at start-up.

    A name from a queue is a key of this table and nothing else. Building is for one thread,
    looking up for any number.
    """

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}
        self._codecs: dict[type, TypeCodec] = {}
        self._compiler = Compiler()

    def add(self, cls: type) -> None:
        """
        Let events of `cls` arrive, under its declared name, its aliases and its `module:QualName`.

        A class that has no name to be found by is left out; `codec_for` says why.

        Raises:
            InvalidOption: Another class has one of these names.
        """
        declared = declaration(cls)
        names = [declared.name, *declared.aliases] if declared else []
        if "<locals>" not in cls.__qualname__ and real_module(cls) != "__main__":
            names.append(f"{real_module(cls)}:{cls.__qualname__}")
        for name in names:
            other = self._classes.setdefault(name, cls)
            if other is not cls:
                raise InvalidOption(
                    option="name",
                    value=name,
                    expected=f"a name of its own, {named(other)} has this one",
                    where=f"event {named(cls)}",
                )

    def codec_for(self, cls: type) -> TypeCodec:
        """
        Return the codec of a class, to encode its events.

        Raises:
            EncodeError: The class is not in the table, or has a field that cannot be stored.
        """
        codec = self._codecs.get(cls)
        if codec is not None:
            return codec
        name = wire_name(cls)
        if self._classes.get(name) is not cls:
            raise EncodeError(
                event=name,
                field="",
                reason="no worker would know its class",
                remedy="Declare it with @event in a module that discovery scans, or hint it in a listener",
            )
        try:
            return self._compiled(cls)
        except Refused as refused:
            raise _unstorable(refused, name) from refused.__cause__

    def codec_for_jobs(self, cls: type, name: str) -> TypeCodec:
        """
        Return the codec of a class of jobs, stored under `name`; no event can have that class.

        Raises:
            EncodeError: It has a field that cannot be stored.
        """
        try:
            return TypeCodec(cls, self._compiler.form(cls), Declaration(name=name))
        except Refused as refused:
            raise _unstorable(refused, name) from refused.__cause__

    def lookup(self, name: str, version: int = 1, *, envelope: str = "") -> TypeCodec:
        """
        Return the codec of the class that an event was stored as, to decode it.

        Args:
            name: As the document has it.
            version: As the document has it.
            envelope: The id of the envelope, for the error.

        Raises:
            UnknownName: This code has no such class, or an older version of it.
            DecodeError: The class has a field that cannot be read.
        """
        cls = self._classes.get(name)
        if cls is None:
            raise UnknownName(kind="event", name=short(name), known=tuple(self._classes))
        codec = self._codecs.get(cls)
        if codec is None:
            try:
                codec = self._compiled(cls)
            except Refused as refused:
                _rejected(refused, short(name), envelope)
        codec.check_version(version)
        return codec

    def _compiled(self, cls: type) -> TypeCodec:
        # Two threads may do this at once; both make the same.
        return self._codecs.setdefault(cls, TypeCodec(cls, self._compiler.form(cls)))


class PayloadCodec:
    """
    How the positional payload of a named event is written and read.

    Args:
        hints: The type hints of the listener's parameters; None where there are none. An argument
            without a hint is plain JSON, and has to come back as it was: a tuple would not.

    Example:
        >>> payload = PayloadCodec((int, str))
        >>> payload.encode((17, "csv"))
        b'[17,"csv"]'
        >>> payload.decode(b'[17,"csv"]')
        (17, 'csv')

    Raises:
        EncodeError: A hint is of a type that cannot be stored.
    """

    def __init__(self, hints: Sequence[Any] | None = None, *, event: str = _PAYLOAD) -> None:
        compiler = Compiler()
        forms: list[Form] = []
        for index, hint in enumerate(hints or ()):
            try:
                forms.append(compiler.form(hint))
            except Refused as refused:
                raise EncodeError(
                    event=event,
                    field=refused.under(f"[{index}]").path,
                    reason=refused.reason,
                    remedy=refused.remedy,
                ) from refused.__cause__
        self._forms = tuple(forms)
        #: By how many arguments there are; a payload of very many is made anew each time.
        self._rows: dict[int, Row] = {}

    def _row(self, length: int) -> Row:
        row = self._rows.get(length)
        if row is None:
            # A listener may take fewer, with `*args`, or more, with defaults.
            row = Row([*self._forms[:length], *[ANY] * (length - len(self._forms))])
            if length <= _MANY:
                self._rows[length] = row
        return row

    def encode(self, args: tuple[Any, ...], *, event: str = _PAYLOAD) -> bytes:
        """
        Return a payload as a JSON array that decodes to the same payload.

        Raises:
            EncodeError: An argument cannot be stored, or would not come back as it is.
        """
        return _encoded(self._row(len(args)), args, event)

    def decode(self, data: bytes, *, event: str = _PAYLOAD, envelope: str = "") -> tuple[Any, ...]:
        """
        Return the payload that `data` holds.

        Raises:
            DecodeError: It is no such payload.
        """
        try:
            value = _parsed(data)
            return self._row(len(value) if isinstance(value, list) else 0).load(value)
        except Refused as refused:
            _rejected(refused, event, envelope)


def encode_value(value: Any, *, event: str) -> bytes:
    """
    Return a plain value as JSON that reads back as the same value.

    Args:
        value: What JSON holds; a tuple, say, would come back as a list.
        event: What it is called in the error.

    Raises:
        EncodeError: It is not that, or breaks a limit.

    Example:
        >>> encode_value({"to": "a@example.com"}, event="a raw job")
        b'{"to":"a@example.com"}'
    """
    return _encoded(ANY, value, event)


def decode_value(data: bytes, *, event: str, envelope: str = "") -> Any:
    """
    Return the plain value that `data` holds.

    Raises:
        DecodeError: It is no strict JSON, or breaks a limit.
    """
    try:
        return _parsed(data)
    except Refused as refused:
        _rejected(refused, event, envelope)
