"""A queued listener and an event become an envelope; the envelopes of a dispatch go off together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any

from attrs import define, evolve, field, frozen

from eventbus.backends.port import Port
from eventbus.defaults import HOP_LIMIT, HOP_TRAIL
from eventbus.dispatch.hints import is_async
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.plans import Run, Take
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.errors import TooManyHops
from eventbus.queue.carried import Carried
from eventbus.queue.catalogue import Catalogue, is_wildcard
from eventbus.queue.checks import deadline_of
from eventbus.queue.codec.document import write
from eventbus.queue.connections import Connections
from eventbus.queue.direct import Direct, Plain
from eventbus.queue.envelope import Envelope
from eventbus.queue.execute import Executor
from eventbus.queue.execution import Execution
from eventbus.queue.fixed import Fixed
from eventbus.queue.lifecycle import LIFECYCLE, JobDebounced, UniqueJobSkipped
from eventbus.queue.options import Method, QueueOptions
from eventbus.queue.routes import Routes
from eventbus.text import short
from eventbus.values import new_id, seconds, valid_name

__all__ = ["Enqueued", "Enqueuer"]


@frozen(kw_only=True)
class Enqueued:
    """An envelope on its way to a connection."""

    connection: str
    envelope: Envelope
    #: That of the listener, or of the class of jobs.
    name: str


class Enqueuer:
    """
    Takes the turn of queued listeners in a dispatch.

    Args:
        connections: Where envelopes go.
        catalogue: Makes the table of names, once the listeners are known.
        executor: Runs what lies on a `sync://` connection, here and at once.
        routes: Where the jobs of listeners go that do not say.
        carried: The context variables that travel.
        current: Holds the run that is under way where something is dispatched.
        tell: Dispatches an event about a job.
        hears: Tells whether anybody would hear an event of this class.
    """

    def __init__(
        self,
        connections: Connections,
        catalogue: Callable[[], Catalogue],
        executor: Callable[[], Executor],
        *,
        routes: Routes,
        carried: Carried,
        current: ContextVar[Execution | None],
        tell: Callable[[object], Walk],
        hears: Callable[[type], bool],
    ) -> None:
        #: The context variables that travel.
        self.carried = carried
        self._connections = connections
        self._make_catalogue = catalogue
        self._executor = executor
        self._routes = routes
        self._current = current
        self._tell = tell
        self._hears = hears

    @cached_property
    def catalogue(self) -> Catalogue:
        """The table of names."""
        return self._make_catalogue()

    def taker(self, listener: Listener, options: QueueOptions) -> Take:
        """Return what takes a queued listener's turn."""
        route = self._routes.of(listener.target)
        connection, queue = options.connection or route.connection, options.queue or route.queue
        options = evolve(options, connection=connection, queue=queue)
        return _Turn(listener=listener, options=options, enqueuer=self)

    def direct(self, event: type, takes: Iterable[Take | None]) -> Direct | None:
        """Return the short way of an event's class, if it does for all who take a turn."""
        if issubclass(event, LIFECYCLE):
            return None
        listeners: list[Plain] = []
        for take in takes:
            plain = take.plain() if isinstance(take, _Turn) else None
            if plain is None or plain.connection != (listeners or [plain])[0].connection:
                return None
            listeners.append(plain)
        return Direct(
            listeners,
            connection=listeners[0].connection or self._connections.default,
            connections=self._connections,
            catalogue=lambda: self.catalogue,
            carried=self.carried,
            current=self._current,
        )

    def place(self, connection: str | None) -> tuple[str, bool]:
        """Return the checked name of a connection, and whether its jobs run at once."""
        name = self._connections.checked(connection)
        return name, self._connections.is_sync(name)

    def queue(self, connection: str, queue: Any, where: str) -> str:
        """Return the name of the queue, that of the connection for None."""
        if queue is None:
            return self._connections.default_queue(connection)
        return valid_name(queue, where=where)

    def deadline(self, until: float | datetime | None) -> datetime | None:
        """Return the instant until which a job dispatched now is tried."""
        if until is None:
            return None
        if isinstance(until, datetime):
            return until.astimezone(UTC)
        return self._connections.now() + timedelta(seconds=until)

    def chain(self, event: str, delay: float) -> tuple[int, tuple[str, ...]]:
        """
        Return how many jobs in a row each queued the next, until one that is queued now; and events.

        A job that waits counts anew: what repeats itself now and then may do so for ever.

        Raises:
            TooManyHops: They are more than the limit.
        """
        running = self._current.get()
        if running is None or delay:
            return 0, ()
        document = running.document
        known = (document.event or document.name) if document is not None else ""
        trail = (*running.trail, short(known))[-HOP_TRAIL:]
        if running.hops >= HOP_LIMIT:
            raise TooManyHops(events=(*trail, short(event)), limit=HOP_LIMIT)
        return running.hops + 1, trail

    def body(self, options: QueueOptions, run: Run, id: str, fixed: Fixed) -> bytes:
        """
        Write the job of a listener as its turn comes: later changes of the event do not show.

        Raises:
            EncodeError: The event cannot be stored.
        """
        return write(
            self.catalogue.document(
                options.name,
                run.payload,
                id=id,
                event=None if run.typed else run.plan.name,
                options=fixed.written(),
                dispatched_at=datetime.now(UTC),
            )
        )

    def run_here(self, envelope: Envelope, connection: str) -> Walk:
        """Run a job at its listener's turn, on a `sync://` connection."""
        return self._executor().run_here(envelope, connection)

    def deliver(self, taken: list[Enqueued]) -> Walk:
        """
        Push what a dispatch has taken: one `push_many` for each connection.

        Every connection gets its own, whatever another one raises. The result is the ids of those that are
        not stored, since another has their key.
        """
        by_connection: dict[str, list[Envelope]] = {}
        for one in taken:
            by_connection.setdefault(one.connection, []).append(one.envelope)
        failed: BaseException | None = None
        gone: dict[str, dict[str, str]] = {}
        for name, envelopes in by_connection.items():
            try:
                gone[name] = yield _push(self._connections.port(name), envelopes)
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
        refused: list[str] = []
        for one in taken:
            other = (gone.get(one.connection) or {}).get(one.envelope.id)
            if other is not None:
                yield from self._tell_of(one, other)
                refused += [other] if other == one.envelope.id else []
        return refused

    def _tell_of(self, one: Enqueued, other: str) -> Walk:
        """Tell of a job that its key kept out, or of the other one, which gave way to it."""
        queue = one.envelope.queue
        kind = UniqueJobSkipped if other == one.envelope.id else JobDebounced
        if self._hears(kind):
            yield from self._tell(
                kind(id=other, name=one.name, connection=one.connection, queue=queue)
            )


def _push(port: Port, envelopes: list[Envelope]) -> Blocking:
    call = partial(port.push, envelopes)
    return Blocking(call, partial(port.apush, envelopes) if port.pushes_async else None)


@frozen(kw_only=True, eq=False)
class _Turn:
    """The turn of one queued listener, whatever the event."""

    listener: Listener
    options: QueueOptions
    enqueuer: Enqueuer

    def plain(self) -> Plain | None:
        """Return what is stored for it, if nothing of that depends on the event or the time."""
        options = self.options
        if options.asks or options.retry_until is not None:
            return None
        if options.unique is not None or options.debounce is not None:
            return None
        return Plain(
            name=options.name,
            connection=options.connection,
            queue=options.queue,
            delay=options.delay or 0.0,
            options=self.fixed().written(),
        )

    def fixed(self, **more: Any) -> Fixed:
        """Return what its jobs have fixed, and `more` of it."""
        return Fixed(
            wildcard=is_wildcard(self.listener.event),
            display_name=self.options.display_name or "",
            **more,
        )

    def __call__(self, run: Run) -> Walk:
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
        waits = options.delay if options.debounce is None else options.debounce.wait
        delay = waits if delay is None else seconds(delay, option="with_delay", where=where)
        hops, trail = enqueuer.chain(run.plan.name, delay or 0.0)
        deadline = enqueuer.deadline((yield from self._until(asking)))
        context = enqueuer.carried.taken(event=run.plan.name)
        fixed = self.fixed(deadline=deadline, hops=hops, trail=trail, context=context)
        job = new_id()
        envelope = Envelope(
            id=job,
            queue=queue,
            body=enqueuer.body(options, run, job, fixed),
            delay=delay or 0.0,
            unique=None if here else options.key(asking.arguments),
        )
        if here and run.keep is None:
            run.log.append(f"{where} runs on {connection}")
            yield from enqueuer.run_here(envelope, connection)
            return
        run.log.append(f"{where} queued in {queue} of {connection}")
        run.taken.append(Enqueued(connection=connection, envelope=envelope, name=options.name))

    def _until(self, asking: _Asking) -> Walk:
        """Return until when the job is to be tried: seconds from now, an instant, or None."""
        until = self.options.retry_until
        if isinstance(until, Method):
            until = yield from asking.ask(until.name)
        elif callable(until):
            until = yield from asking.ask(until)
        else:
            return until  # checked when it was read
        return None if until is None else deadline_of(until, where=self.listener.name)


@define(kw_only=True, eq=False)
class _Asking:
    """Asks the hooks of one listener about one event."""

    listener: Listener
    run: Run
    #: Built for the first hook that is an instance method, and only for one.
    _instance: object = field(init=False, default=None)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the listener is called with."""
        run = self.run
        if is_wildcard(self.listener.event):
            return run.plan.name, run.payload
        return tuple(run.payload)

    def ask(self, hook: Callable[..., Any] | str | None) -> Walk:
        """Return what a hook says; None where there is none."""
        if hook is None:
            return None
        call = (yield from self._method(hook)) if isinstance(hook, str) else hook
        answer = call(*self.arguments)
        return (yield answer) if is_async(call) else answer

    def _method(self, name: str) -> Walk:
        if self._instance is None:
            owner = self.listener.target.owner
            assert owner is not None  # only a class has hooks by name
            self._instance = yield from self.run.scope.instance(owner)
        return getattr(self._instance, name)
