"""The document that an envelope's body holds: one job, as JSON (`docs/reference/wire-format.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

from eventbus.defaults import (
    DATA_DEPTH_LIMIT,
    DATA_KEYS_LIMIT,
    DATA_SIZE_LIMIT,
    DOCUMENT_SIZE_LIMIT,
)
from eventbus.dispatch.names import declaration, real_module
from eventbus.errors import DecodeError, EncodeError, UnknownName
from eventbus.queue.codec.jsontext import JSON, Refused, fitted, parse, text
from eventbus.structs import FrozenStruct
from eventbus.text import described, short

__all__ = [
    "KINDS",
    "RAW",
    "WIRE_VERSION",
    "Document",
    "Template",
    "instant",
    "read",
    "wire_name",
    "write",
]

#: The version of the document's own form. A reader parks what is newer.
WIRE_VERSION: Final = 1

#: A job of no listener: JSON for whoever claims it by hand (`bus.queue`).
RAW: Final = "raw"

#: What a job can be.
KINDS: Final = ("listener", "job", RAW)


class Document(FrozenStruct, frozen=True, kw_only=True):
    """One job, as it is stored."""

    hidden: ClassVar[frozenset[str]] = frozenset({"data"})

    #: The job's id, that of its envelope.
    id: str
    #: What it is, one of `KINDS`.
    kind: str
    #: The registered name of the listener or job.
    name: str
    #: The wire name of the event's class, or the name that was dispatched; None of a job.
    event: str | None
    #: What `data` is: the fields of one event or job, the array of arguments that a name was
    #: dispatched with, or, of a raw job, any value.
    payload: Literal["class", "args", "value"]
    #: The version of the fields.
    version: int = 1
    #: The event, its arguments or the job: JSON that `TypeCodec` or `PayloadCodec` wrote.
    data: bytes
    #: What was fixed at dispatch, or overridden for this dispatch alone.
    options: Mapping[str, JSON] = msgspec.field(default_factory=dict[str, JSON])
    #: When it was dispatched, in UTC.
    dispatched_at: datetime


# The letters that every backend can have in an id or a key, and no more.
_Id = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


#: Most keys of the document itself, its options included: far more than there are.
_KEYS: Final = 1_000


class _Wire(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    v: int
    id: _Id
    kind: _Name
    name: _Name
    event: _Name | None
    payload: Literal["class", "args", "value"]
    version: Annotated[int, msgspec.Meta(ge=1)]
    data: msgspec.Raw
    options: dict[str, Any]
    dispatched_at: Annotated[datetime, msgspec.Meta(tz=True)]


_WIRE: Final = msgspec.json.Decoder(_Wire)


def write(document: Document) -> bytes:
    """
    Return the body of the envelope of a job.

    Raises:
        EncodeError: Names and options make it larger than `DOCUMENT_SIZE_LIMIT`.

    Example:
        >>> write(
        ...     Document(
        ...         id="a1",
        ...         kind="listener",
        ...         name="shop:tell",
        ...         event="order.shipped",
        ...         payload="class",
        ...         data=b'{"order_id":1}',
        ...         dispatched_at=datetime(2026, 1, 1, tzinfo=UTC),
        ...     )
        ... )
        b'{"v":1,"id":"a1","kind":"listener","name":"shop:tell","event":"order.shipped",...}'
    """
    return Template(document).filled(
        document.id, document.data, dispatched_at=instant(document.dispatched_at)
    )


def instant(when: datetime) -> bytes:
    """Return an instant as a document has it, in UTC."""
    return msgspec.json.encode(when.astimezone(UTC))


class Template:
    """
    What the documents of many jobs have in common: all but the id, the data and the instant.

    Args:
        document: One of them.

    Raises:
        EncodeError: Names and options alone are larger than `DOCUMENT_SIZE_LIMIT`.
    """

    def __init__(self, document: Document) -> None:
        #: What errors call the event.
        self._event = document.event or document.name
        known = {
            "kind": document.kind,
            "name": document.name,
            "event": document.event,
            "version": document.version,
            "payload": document.payload,
        }
        options = self._text(dict(document.options))
        # The text around what is filled in.
        self._before_id = b'{"v":%d,"id":' % WIRE_VERSION
        self._before_data = b',%b,"data":' % self._text(known)[1:-1]
        self._before_instant = b',"options":%b,"dispatched_at":' % options

    def filled(self, id: str, data: bytes, *, dispatched_at: bytes) -> bytes:
        """
        Return the body of the envelope of one job.

        Args:
            id: Of the job.
            data: What a codec wrote.
            dispatched_at: What `instant` wrote.

        Raises:
            EncodeError: It is larger than `DOCUMENT_SIZE_LIMIT`.
        """
        body = b"".join(
            (
                self._before_id,
                msgspec.json.encode(id),
                self._before_data,
                data,
                self._before_instant,
                dispatched_at,
                b"}",
            )
        )
        try:
            return fitted(body, size=DOCUMENT_SIZE_LIMIT)
        except Refused as refused:
            raise self._too_large(refused) from None

    def _text(self, value: dict[str, Any]) -> bytes:
        try:
            return text(value, size=DOCUMENT_SIZE_LIMIT)
        except Refused as refused:
            raise self._too_large(refused) from None

    def _too_large(self, refused: Refused) -> EncodeError:
        return EncodeError(event=self._event, field="", reason=f"the whole job is {refused.reason}")


def read(body: bytes, *, envelope: str = "") -> Document:
    """
    Return the job that a body holds; nothing in it is trusted, and nothing is looked up here.

    Args:
        body: What `write`, or a program in another language, made.
        envelope: The id of the envelope, which the document is to have as well; empty if nobody knows.

    Raises:
        DecodeError: It is no such document, or that of another envelope.
        UnknownName: A newer version of eventbus wrote it.
    """
    try:
        # The data lies one level below the document, so its own depth is bounded as promised.
        known = parse(
            body,
            size=DOCUMENT_SIZE_LIMIT,
            depth=DATA_DEPTH_LIMIT + 1,
            keys=DATA_KEYS_LIMIT + _KEYS,
        )
        _check_known(known)
        wire = _WIRE.decode(body)
        if envelope and wire.id != envelope:
            # Else one stored job could be run again and again, each time under a new id.
            raise Refused(reason=f"it is the document of another job, {wire.id}")
        _check_kind(wire)
        if len(body) > DATA_SIZE_LIMIT and len(memoryview(wire.data)) > DATA_SIZE_LIMIT:
            raise Refused(reason=f"its data is longer than {DATA_SIZE_LIMIT:,} bytes")
        dispatched_at = wire.dispatched_at.astimezone(UTC)
    except (Refused, msgspec.ValidationError, OverflowError) as error:
        reason = error.reason if isinstance(error, Refused) else described(error)
        raise DecodeError(reason=reason, envelope=envelope) from error
    return Document(
        id=wire.id,
        kind=wire.kind,
        name=wire.name,
        event=wire.event,
        payload=wire.payload,
        version=wire.version,
        data=bytes(wire.data),
        options=wire.options,
        dispatched_at=dispatched_at,
    )


def _check_known(known: object) -> None:
    """Refuse what a newer version wrote, before anything else: its form may have other keys."""
    if not isinstance(known, dict):
        raise Refused(reason="not a JSON object")
    version = known.get("v")
    if type(version) is not int or version < 1:
        raise Refused(reason='no wire version: "v" is to be a whole number from 1')
    if version > WIRE_VERSION:
        raise UnknownName(kind="wire version", name=str(version), known=[str(WIRE_VERSION)])
    kind = known.get("kind")
    if isinstance(kind, str) and kind and kind not in KINDS:
        raise UnknownName(kind="kind of job", name=short(kind), known=KINDS)


def _check_kind(wire: _Wire) -> None:
    if wire.kind == RAW:
        if wire.payload != "value" or wire.event is not None or wire.options:
            raise Refused(reason='a raw job has the payload "value", no event and no options')
    elif wire.kind == "job":
        if wire.event is not None or wire.payload != "class" or "wildcard" in wire.options:
            raise Refused(reason="a job that hears an event")
    elif wire.payload == "value":
        raise Refused(reason=f"a {wire.kind}'s job with the payload of a raw one")
    elif wire.event is None:
        raise Refused(reason="a listener's job without an event")


def wire_name(cls: type) -> str:
    """
    Return what a class is called in a queue: its declared name, else `module:QualName`.

    Raises:
        EncodeError: No other process could find a class of that name.

    Example:
        >>> wire_name(KeyError)
        'builtins:KeyError'
    """
    declared = declaration(cls)
    if declared is not None:
        return declared.name
    name = f"{real_module(cls)}:{cls.__qualname__}"
    if "<locals>" in cls.__qualname__:
        reason = (
            "its class is made inside a function, so its name tells no other process where it is"
        )
    elif name.startswith("__main__:"):
        reason = "its class is in a script, which no other process can import"
    else:
        return name
    raise EncodeError(
        event=name,
        field="",
        reason=reason,
        remedy='Move it to the top of a module, or name it: @event("...")',
    )
