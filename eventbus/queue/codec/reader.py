"""
Read the documents of a worker, most of which are like one before.

All that two jobs of one listener differ in is the id, the data and the instant. Where the bytes between
these are those of a document that was read in full, they need not be parsed again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from attrs import define
from msgspec.structs import replace

from eventbus.defaults import ALIKE_LIMIT, ALIKE_SIZE_LIMIT, DATA_SIZE_LIMIT
from eventbus.queue.codec.document import RAW, Document, Template, instant, read

__all__ = ["Like", "Reader"]

_START: Final = b'{"v":1,"id":"'
_DATA: Final = b',"data":'
_INSTANT: Final = msgspec.json.Decoder(Annotated[datetime, msgspec.Meta(tz=True)])
#: How long an instant is, with its quotes; shorter on a whole second, which is rare.
_INSTANT_SIZE: Final = len(instant(datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)))


@define(eq=False)
class Like:
    """What documents have in common that are alike."""

    #: One of them, without its data.
    document: Document
    #: The text between data and instant.
    tail: bytes
    #: What follows from it, once somebody has worked that out.
    known: Any = None


class Reader:
    """
    Reads documents as `read` does, but for the data of those that are like one before.

    Those bytes are cut out unseen: who decodes them refuses what is not one value of strict JSON, and
    so nothing that was smuggled into them is taken for the document's own.

    Example:
        >>> from eventbus.queue.codec.document import write
        >>> document = Document(
        ...     id="a1",
        ...     kind="listener",
        ...     name="shop:tell",
        ...     event="order.shipped",
        ...     payload="class",
        ...     data=b'{"order_id":1}',
        ...     dispatched_at=datetime(2026, 1, 1, microsecond=1, tzinfo=UTC),
        ... )
        >>> reader = Reader()
        >>> for _ in range(2):
        ...     reader.read(write(document), envelope="a1")[0].data
        b'{"order_id":1}'
        b'{"order_id":1}'
    """

    def __init__(self) -> None:
        #: By the text between id and data; None for what another program writes in its own way.
        self._known: dict[bytes, Like | None] = {}

    def forget(self) -> None:
        """Forget what was read, and what was known of it."""
        self._known.clear()

    def read(self, body: bytes, *, envelope: str) -> tuple[Document, Like | None]:
        """
        Return the job that a body holds, and what it is like; None where nothing is compared with it.

        Args:
            body: What `write`, or a program in another language, made.
            envelope: The id of the envelope.

        Raises:
            DecodeError: It is no such document, or that of another envelope.
            UnknownName: A newer version of eventbus wrote it.
        """
        begin = len(_START) + len(envelope)
        end = body.find(_DATA, begin)
        head = body[begin:end]
        like = self._known.get(head)
        if like is not None and (found := _alike(like, body, envelope, end)) is not None:
            return found, like
        document = read(body, envelope=envelope)
        # Of a raw job nobody decodes the data here.
        if len(head) > ALIKE_SIZE_LIMIT or head in self._known or document.kind == RAW:
            return document, None
        if len(self._known) >= ALIKE_LIMIT:
            self._known.clear()
        like = self._known[head] = _like(document, body, begin)
        return document, like


def _like(document: Document, body: bytes, begin: int) -> Like | None:
    """Return what others are compared with; None where we would not have written it so."""
    template = Template(document)
    at = instant(document.dispatched_at)
    if template.filled(document.id, document.data, dispatched_at=at) != body:
        return None
    tail_at = body.find(_DATA, begin) + len(_DATA) + len(document.data)
    tail = body[tail_at : len(body) - len(at) - 1]
    return Like(replace(document, data=b""), tail) if len(tail) <= ALIKE_SIZE_LIMIT else None


def _alike(like: Like, body: bytes, envelope: str, end: int) -> Document | None:
    """Return what `body` holds, if it is a document like another; None if it may not be."""
    # Letters and digits: the id itself then needs no look, and can hold no quote.
    if not (envelope.isalnum() and envelope.isascii()):
        return None
    at = len(body) - 1 - _INSTANT_SIZE
    data_at, data_end = end + len(_DATA), at - len(like.tail)
    if not (
        body.startswith(b'%b%b"' % (_START, envelope.encode()))
        and body[data_end:at] == like.tail
        and body.endswith(b"}")
        and 0 < data_end - data_at <= DATA_SIZE_LIMIT
    ):
        return None
    try:
        dispatched_at = _INSTANT.decode(body[at:-1])
    except msgspec.MsgspecError:
        return None
    one = like.document
    return Document(
        id=envelope,
        kind=one.kind,
        name=one.name,
        event=one.event,
        payload=one.payload,
        version=one.version,
        data=body[data_at:data_end],
        options=one.options,
        dispatched_at=dispatched_at
        if dispatched_at.tzinfo is UTC
        else dispatched_at.astimezone(UTC),
    )
