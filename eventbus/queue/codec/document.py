"""The document that an envelope's body holds: one job, as JSON (`docs/reference/wire-format.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from attrs import field, frozen

from eventbus.defaults import DATA_DEPTH_LIMIT, DATA_SIZE_LIMIT, DOCUMENT_SIZE_LIMIT
from eventbus.dispatch.names import declaration, real_module
from eventbus.errors import DecodeError, EncodeError, UnknownName
from eventbus.queue.codec.jsontext import JSON, Refused, described, parse, short, text

__all__ = ["KINDS", "WIRE_VERSION", "Document", "read", "wire_name", "write"]

#: The version of the document's own form. A reader parks what is newer.
WIRE_VERSION: Final = 1

#: What a job can be.
KINDS: Final = ("listener",)


@frozen(kw_only=True)
class Document:
    """One job, as it is stored."""

    #: The job's id, that of its envelope.
    id: str
    #: What it is, one of `KINDS`.
    kind: str
    #: The registered name of the listener or job.
    name: str
    #: The wire name of the event's class, or the name that was dispatched.
    event: str | None
    #: What `data` is: the fields of one event, or the array of arguments that a name was dispatched with.
    payload: Literal["class", "args"]
    #: The version of the event's fields.
    version: int = 1
    #: The event or its arguments: JSON that `TypeCodec` or `encode_payload` wrote.
    data: bytes = field(repr=False)
    #: What was fixed at dispatch, or overridden for this dispatch alone.
    options: Mapping[str, JSON] = field(factory=dict[str, JSON])
    #: When it was dispatched, in UTC.
    dispatched_at: datetime


# The letters that every backend can have in an id or a key, and no more.
_Id = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Wire(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    v: int
    id: _Id
    kind: _Name
    name: _Name
    event: _Name | None
    payload: Literal["class", "args"]
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
    fields = {
        "v": WIRE_VERSION,
        "id": document.id,
        "kind": document.kind,
        "name": document.name,
        "event": document.event,
        "version": document.version,
        "payload": document.payload,
        "data": msgspec.Raw(document.data),
        "options": dict(document.options),
        "dispatched_at": document.dispatched_at.astimezone(UTC),
    }
    try:
        return text(fields, size=DOCUMENT_SIZE_LIMIT)
    except Refused as refused:
        raise EncodeError(
            event=document.event or document.name,
            field="",
            reason=f"the whole job is {refused.reason}",
        ) from None


def read(body: bytes, *, envelope: str = "") -> Document:
    """
    Return the job that a body holds; nothing in it is trusted, and nothing is looked up here.

    Args:
        body: What `write`, or a program in another language, made.
        envelope: The id of the envelope, for the error.

    Raises:
        DecodeError: It is no such document.
        UnknownName: A newer version of eventbus wrote it.
    """
    try:
        # The data lies one level below the document, so its own depth is bounded as promised.
        known = parse(body, size=DOCUMENT_SIZE_LIMIT, depth=DATA_DEPTH_LIMIT + 1)
        _check_version(known)
        wire = _WIRE.decode(body)
        if wire.kind not in KINDS:
            raise UnknownName(kind="kind of job", name=short(wire.kind), known=KINDS)
        if wire.event is None:
            raise Refused(reason="a listener's job without an event")
        if len(memoryview(wire.data)) > DATA_SIZE_LIMIT:
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


def _check_version(known: object) -> None:
    if not isinstance(known, dict):
        raise Refused(reason="not a JSON object")
    version = known.get("v")
    if type(version) is not int or version < 1:
        raise Refused(reason='no wire version: "v" is to be a whole number from 1')
    if version > WIRE_VERSION:
        # Before anything else: a newer form may have keys that this one does not.
        raise UnknownName(kind="wire version", name=str(version), known=[str(WIRE_VERSION)])


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
