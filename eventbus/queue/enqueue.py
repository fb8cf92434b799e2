"""A queued listener and an event become an envelope; the envelopes of a dispatch go off together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from attrs import define, field, frozen

from eventbus.backends.port import Port
from eventbus.dispatch.hints import is_async
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.plans import Run, Take
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.queue.catalogue import Catalogue, is_wildcard
from eventbus.queue.codec.document import Document, write
from eventbus.queue.codec.typed import encode_payload
from eventbus.queue.connections import Connections
from eventbus.queue.envelope import Envelope, new_id, valid_name
from eventbus.queue.execute import Executor
from eventbus.queue.lifecycle import LIFECYCLE
from eventbus.queue.options import QueueOptions, seconds

__all__ = ["Enqueued", "Enqueuer"]


@frozen(kw_only=True)
class Enqueued:
    """An envelope on its way to a connection."""

    connection: str
    envelope: Envelope


class Enqueuer:
    """
    Takes the turn of queued listeners in a dispatch.

    Args:
        connections: Where envelopes go.
        catalogue: Makes the table of names, once the listeners are known.
        executor: Runs what lies on a `sync://` connection, here and at once.
    """

    def __init__(
        self,
        connections: Connections,
        catalogue: Callable[[], Catalogue],
        executor: Callable[[], Executor],
    ) -> None:
        self._connections = connections
        self._make_catalogue = catalogue
        self._executor = executor

    @cached_property
    def catalogue(self) -> Catalogue:
        """The table of names."""
        return self._make_catalogue()

    def taker(self, listener: Listener, options: QueueOptions) -> Take:
        """Return what takes a queued listener's turn."""
        turn = _Turn(listener=listener, options=options, enqueuer=self)
        return turn.take

    def place(self, connection: str | None) -> tuple[str, bool]:
        """Return the checked name of a connection, and whether its jobs run at once."""
        name = self._connections.checked(connection)
        return name, self._connections.is_sync(name)

    def queue(self, connection: str, queue: Any, where: str) -> str:
        """Return the name of the queue, that of the connection for None."""
        if queue is None:
            return self._connections.default_queue(connection)
        return valid_name(queue, where=where)

    def body(self, listener: Listener, options: QueueOptions, run: Run, id: str) -> bytes:
        """
        Write the job of a listener as its turn comes: later changes of the event do not show.

        Raises:
            EncodeError: The event cannot be stored.
        """
        if run.typed:
            cls = type(run.payload[0])
            codec = self.catalogue.types.codec_for(cls)
            event, payload, version = codec.name, "class", codec.version
            data = codec.encode(run.payload[0])
        else:
            event, payload, version = run.plan.name, "args", 1
            hints = None
            if not is_wildcard(listener.event):
                hints = self.catalogue.entry(options.name).payload_hints()
            data = encode_payload(run.payload, hints, event=event)
        return write(
            Document(
                id=id,
                kind="listener",
                name=options.name,
                event=event,
                payload=payload,  # type: ignore[arg-type]
                version=version,
                data=data,
                options={"wildcard": True} if is_wildcard(listener.event) else {},
                dispatched_at=datetime.now(UTC),
            )
        )

    def run_here(self, envelope: Envelope, connection: str) -> Walk:
        """Run a job at its listener's turn, on a `sync://` connection."""
        return self._executor().run_here(envelope, connection)

    def deliver(self, taken: list[Enqueued]) -> Walk:
        """
        Push what a dispatch has taken: one `push_many` for each connection.

        Every connection gets its own, whatever another one raises.
        """
        by_connection: dict[str, list[Envelope]] = {}
        for one in taken:
            by_connection.setdefault(one.connection, []).append(one.envelope)
        failed: BaseException | None = None
        for name, envelopes in by_connection.items():
            try:
                yield _push(self._connections.port(name), envelopes)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 -- raised below, once the others are stored
                # A cancellation, too: what was reached is pushed whole, on every connection.
                if failed is None:
                    failed = error
                else:
                    failed.add_note(f"pushing to {name!r} raised {type(error).__name__}: {error}")
        if failed is not None:
            raise failed


def _push(port: Port, envelopes: list[Envelope]) -> Blocking:
    return Blocking(lambda: port.push(envelopes))


@frozen(kw_only=True, eq=False)
class _Turn:
    """The turn of one queued listener, whatever the event."""

    listener: Listener
    options: QueueOptions
    enqueuer: Enqueuer

    def take(self, run: Run) -> Walk:
        """Ask the hooks, write the job, leave its envelope for the end of the dispatch."""
        if run.typed and isinstance(run.payload[0], LIFECYCLE):
            return
        options, enqueuer = self.options, self.enqueuer
        where = self.listener.name
        asking = _Asking(listener=self.listener, run=run)
        wanted = yield from asking.ask(options.should_queue)
        if options.should_queue is not None and not wanted:
            run.log.append(f"{where} did not want it")
            return
        via = yield from asking.ask(options.via_connection)
        connection, here = enqueuer.place(options.connection if via is None else via)
        via = yield from asking.ask(options.via_queue)
        queue = enqueuer.queue(connection, options.queue if via is None else via, where)
        delay = yield from asking.ask(options.with_delay)
        delay = options.delay if delay is None else seconds(delay, option="with_delay", where=where)
        job = new_id()
        envelope = Envelope(
            id=job,
            queue=queue,
            body=enqueuer.body(self.listener, options, run, job),
            delay=delay or 0.0,
        )
        if here and run.keep is None:
            run.log.append(f"{where} runs on {connection}")
            yield from enqueuer.run_here(envelope, connection)
            return
        run.log.append(f"{where} queued in {queue} of {connection}")
        run.taken.append(Enqueued(connection=connection, envelope=envelope))


@define(kw_only=True, eq=False)
class _Asking:
    """Asks the hooks of one listener about one event."""

    listener: Listener
    run: Run
    #: Built for the first hook that is an instance method, and only for one.
    _instance: object = field(init=False, default=None)

    def ask(self, hook: Callable[..., Any] | str | None) -> Walk:
        """Return what a hook says; None where there is none."""
        if hook is None:
            return None
        call = (yield from self._method(hook)) if isinstance(hook, str) else hook
        run = self.run
        if is_wildcard(self.listener.event):
            answer = call(run.plan.name, run.payload)
        else:
            answer = call(*run.payload)
        return (yield answer) if is_async(call) else answer

    def _method(self, name: str) -> Walk:
        if self._instance is None:
            owner = self.listener.target.owner
            assert owner is not None  # only a class has hooks by name
            self._instance = yield from self.run.scope.instance(owner)
        return getattr(self._instance, name)
