"""
The short way of an event whose listeners are all queued and have nothing to be asked.

Nothing of the user's runs between such listeners but the encoding of the event, so it is encoded once
for all of them. What goes wrong before anything is pushed is left to the long way, which comes to it
again and tells of it in full: what becomes of a dispatch is decided in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime

from attrs import frozen

from eventbus.backends.port import Port
from eventbus.queue.carried import Carried
from eventbus.queue.catalogue import Catalogue
from eventbus.queue.codec.document import Template, instant
from eventbus.queue.codec.jsontext import JSON
from eventbus.queue.codec.typed import TypeCodec
from eventbus.queue.connections import Connections
from eventbus.queue.envelope import Envelope
from eventbus.queue.execution import Execution
from eventbus.values import new_id

__all__ = ["Direct", "Plain"]


@frozen(kw_only=True, eq=False)
class Plain:
    """A queued listener, of which nothing depends on the event or on the time."""

    #: Its stored name.
    name: str
    #: None: that of the bus.
    connection: str | None
    #: None: that of the connection.
    queue: str | None
    delay: float
    #: What is fixed at dispatch.
    options: Mapping[str, JSON]


@frozen(kw_only=True, eq=False)
class _Ready:
    """What a dispatch needs, worked out once for each port that is opened."""

    port: Port
    codec: TypeCodec
    #: Of each listener the text of its jobs, their queue and their delay.
    jobs: tuple[tuple[Template, str, float], ...]


class Direct:
    """
    Queues the listeners of an event's class, or leaves it to the long way.

    Args:
        listeners: Who hears it, in order.
        connection: Where all of them are stored.
        connections: Of the bus.
        catalogue: Makes the table of names.
        carried: The context variables that travel.
        current: Holds the run that is under way where something is dispatched.
    """

    def __init__(
        self,
        listeners: Sequence[Plain],
        *,
        connection: str,
        connections: Connections,
        catalogue: Callable[[], Catalogue],
        carried: Carried,
        current: ContextVar[Execution | None],
    ) -> None:
        self._listeners = listeners
        self._connection = connection
        self._connections = connections
        self._catalogue = catalogue
        self._carried = carried
        self._current = current
        self._ready: _Ready | None = None

    def __call__(self, event: object) -> bool:
        """Store a job for each listener; False if nothing was done, and the long way is to be taken."""
        port = self._connections.open_port(self._connection)
        # A job that queues another counts how many have done so in a row; and what is set here travels.
        if port is None or self._current.get() is not None or not self._carried.is_empty:
            return False
        try:
            ready = self._ready
            if ready is None or ready.port is not port:
                ready = self._ready = self._prepared(event, port)
            data = ready.codec.encode(event)
            now = instant(datetime.now(UTC))
            envelopes: list[Envelope] = []
            for template, queue, delay in ready.jobs:
                job = new_id()
                body = template.filled(job, data, dispatched_at=now)
                envelopes.append(Envelope(id=job, queue=queue, body=body, delay=delay))
        except Exception:  # noqa: BLE001 -- raised by the long way, at the turn of its listener
            return False
        port.push(envelopes)
        return True

    def _prepared(self, event: object, port: Port) -> _Ready:
        catalogue = self._catalogue()
        jobs: list[tuple[Template, str, float]] = []
        for one in self._listeners:
            document = catalogue.document(
                one.name,
                (event,),
                id="",
                event=None,
                options=one.options,
                dispatched_at=datetime.now(UTC),
            )
            jobs.append((Template(document), one.queue or port.default_queue, one.delay))
        return _Ready(port=port, codec=catalogue.types.codec_for(type(event)), jobs=tuple(jobs))
