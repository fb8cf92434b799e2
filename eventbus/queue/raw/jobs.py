"""A raw job: one JSON value in a document of its own kind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from eventbus.errors import UnknownName
from eventbus.queue.codec.document import RAW, Document, read, write
from eventbus.queue.codec.typed import decode_value, encode_value
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id, valid_name

__all__ = ["payload_of", "written"]

#: What errors call it.
_SHOWN: Final = "a raw job"
_FOR_A_WORKER: Final = "`bus.queue(...)` claims raw jobs only: a worker is to run it"


def written(payload: Any, *, queue: str, delay: float, id: str | None = None) -> Envelope:
    """
    Return the envelope of a raw job.

    Raises:
        EncodeError: The payload is no JSON, or breaks a limit.
        InvalidOption: `id` is none.
    """
    job = new_id() if id is None else valid_name(id, option="id", where=_SHOWN)
    document = Document(
        id=job,
        kind=RAW,
        name=RAW,
        event=None,
        payload="value",
        data=encode_value(payload, event=_SHOWN),
        dispatched_at=datetime.now(UTC),
    )
    return Envelope(id=job, queue=queue, body=write(document), delay=delay)


def payload_of(envelope: Envelope) -> Any:
    """
    Return the JSON value that an envelope holds.

    Raises:
        DecodeError: Its bytes are no job.
        UnknownName: It is the job of a listener, or of a newer version.
    """
    document = read(envelope.body, envelope=envelope.id)
    if document.kind != RAW:
        raise UnknownName(
            kind="kind of raw job", name=document.kind, known=(RAW,), remedy=_FOR_A_WORKER
        )
    return decode_value(document.data, event=_SHOWN, envelope=envelope.id)
