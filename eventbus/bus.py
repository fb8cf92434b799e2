"""The one object that an application holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from eventbus.defaults import CONNECTION
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.plans import Away, Plan, Take
from eventbus.dispatch.resolver import Resolver, ScopedResolver
from eventbus.dispatch.waiting import Walk
from eventbus.errors import InvalidOption
from eventbus.queue.carried import Carried
from eventbus.queue.connections import Connections
from eventbus.queue.jobbus import JobBus
from eventbus.queue.limitbus import LimitBus
from eventbus.queue.options import note_answer, read_options
from eventbus.queue.planbus import PlanBus
from eventbus.queue.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventbus.backends.base import Backend, Clock
    from eventbus.dispatch.accepts import AnyListener, AsyncGet, Get
    from eventbus.queue.catalogue import Catalogue
    from eventbus.queue.enqueue import Enqueuer
    from eventbus.queue.execute import Executor
    from eventbus.queue.execution import Execution, Rules
    from eventbus.queue.failed import FailedJobs
    from eventbus.queue.raw.handle import RawQueue
    from eventbus.queue.spans import TimeLimits
    from eventbus.worker.loop import Worker
    from eventbus.worker.settings import WorkerOptions

__all__ = ["EventBus"]


class EventBus(LimitBus, PlanBus, JobBus):
    """
    Dispatches events to their listeners, at once or through a queue, and enqueues jobs.

    Args:
        discover: Packages and modules to scan for listeners. Only noted here; they are scanned by
            the first dispatch, by the worker, or by `discover()`, so that they may import the
            module that makes the bus.
        listen: Events, and the listener or list of listeners of each. Import strings are looked up
            with the first dispatch.
        subscribe: Subscribers: classes or objects with a `subscribe` method, or import strings.
        provide: Types, and a factory of each, for what listeners ask for.
        resolver: A container's `get`, called with a type; or a `ScopedResolver`.
        connections: Names, and the URL of each: `sqlite:///shop.db`, `redis://localhost`, `memory://`,
            `null://`, `sync://`; or a backend made by hand, over a client of your own. Opened when
            first used.
        default: The connection of listeners that name none. Without a URL it is an embedded SQLite
            file: `EVENTBUS_URL`, else `eventbus.db` beside the nearest `pyproject.toml`.
        on_error: "raise" hands a listener's error to the caller at once; "collect" lets all
            listeners run and raises one `ListenersFailed`.
        clock: Tells the time; for tests. Default: the system's.
        carry: Context variables that travel with jobs: their values, plain JSON, are set again around
            each run. One that is called "traceparent" holds a W3C trace context.

    Raises:
        ConfigurationError: An argument that cannot be.
        ListenError: Something in `listen` or `subscribe` that cannot listen.

    Example:
        >>> bus = EventBus()
        >>> registration = bus.listen(KeyError, lambda event: f"heard {event!r}")
        >>> bus.dispatch(KeyError(1))
        ['heard KeyError(1)']
    """

    def __init__(  # noqa: PLR0917 -- called by name; the order is that of the docs
        self,
        discover: str | Iterable[str] = (),
        listen: Mapping[Any, AnyListener | Sequence[AnyListener]] | None = None,
        subscribe: Iterable[Any] = (),
        provide: Mapping[type[Any], Callable[..., Any]] | None = None,
        resolver: Get | AsyncGet | ScopedResolver | None = None,
        connections: Mapping[str, str | Backend] | None = None,
        default: str = CONNECTION,
        on_error: Literal["raise", "collect"] = "raise",
        clock: Clock | None = None,
        carry: Iterable[ContextVar[Any]] = (),
    ) -> None:
        if on_error not in ("raise", "collect"):
            raise InvalidOption(option="on_error", value=on_error, expected='"raise" or "collect"')
        # The module that makes the bus: the default queue lies beside its project.
        maker = sys._getframe(1).f_globals.get("__file__", "")  # noqa: SLF001 -- there is no public way
        self._connections = Connections(connections or {}, default, maker=maker, clock=clock)
        self._enqueuer: Enqueuer | None = None
        self._routes = Routes()
        self._carried = Carried(carry)
        #: The run of a job that is under way in this thread or task.
        self._current: ContextVar[Execution | None] = ContextVar("eventbus_run", default=None)
        super().__init__(
            discover=discover,
            listen=listen or {},
            subscribe=subscribe,
            resolver=Resolver(provide or {}, resolver),
            collect=on_error == "collect",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        listeners, packages = len(self._registry.all()), len(self._packages)
        waiting = f", {packages} package{'s' * (packages != 1)} to scan" if packages else ""
        return f"<EventBus: {listeners} listener{'s' * (listeners != 1)}{waiting}>"

    # Queued listeners. What knows queues is imported with the first of them.

    def _check(self, listener: Listener) -> None:
        if read_options(listener) is not None:
            note_answer(listener)

    def _taker(self, listener: Listener) -> Take | None:
        options = read_options(listener)
        return self.enqueuer.taker(listener, options) if options is not None else None

    def route(
        self, listener: Any, *, queue: str | None = None, connection: str | None = None
    ) -> None:
        """
        Say where the jobs go of listeners, and of classes of jobs, that do not say themselves.

        Args:
            listener: A queued listener: a class, a function or `(Class, "method")`; a class of jobs;
                or a parent of such classes. Of several parents the nearest counts.
            queue: The queue. Default: as if there were no route.
            connection: The connection. Default: as if there were no route.

        Raises:
            InvalidOption: Neither is given, or one cannot be.
            UnknownConnection: Nobody configured `connection`.
            ListenError: `listener` is nothing that could listen.

        Example:
            >>> from eventbus import ShouldQueue
            >>> class Report(ShouldQueue): ...
            >>> class Monthly(Report):
            ...     def handle(self, event: KeyError) -> None: ...
            >>> bus = EventBus(connections={"reports": "memory://"})
            >>> bus.route(Report, queue="slow", connection="reports")
        """
        if connection is not None:
            self._connections.checked(connection)
        self._routes.add(listener, queue=queue, connection=connection)
        with self._registry.lock:
            self._changed()

    def _short_away(self, event: type, plan: Plan) -> Away | None:
        return self.enqueuer.direct(event, [step.take for step in plan.steps])

    def _deliver(self, taken: list[Any]) -> Walk:
        return self.enqueuer.deliver(taken)

    def _changed(self) -> None:
        super()._changed()
        # The table of stored names is made from the listeners; it is read again after a change.
        self._enqueuer = None

    @property
    def enqueuer(self) -> Enqueuer:
        """What turns a queued listener and an event into an envelope."""
        # Held here: another thread that registers a listener drops the bus's own meanwhile.
        enqueuer = self._enqueuer
        if enqueuer is None:
            from eventbus.queue.enqueue import Enqueuer

            enqueuer = self._enqueuer = Enqueuer(
                self._connections,
                self.catalogue,
                self.executor,
                routes=self._routes,
                carried=self._carried,
                current=self._current,
                tell=self.announce,
                hears=self.hears,
            )
        return enqueuer

    def catalogue(self) -> Catalogue:
        """Return the table of stored names: what they stand for in this program."""
        from eventbus.queue.catalogue import Catalogue

        return Catalogue(self.listeners(), self._found.modules, self._kinds)

    def executor(self, rules: Rules | None = None, limits: TimeLimits | None = None) -> Executor:
        """Return what runs a job: for the worker, and for `sync://` connections."""
        from eventbus.queue.execute import Executor
        from eventbus.queue.planning import Running

        return Executor(
            catalogue=lambda: self.enqueuer.catalogue,
            scope=lambda given: self._resolver.scope({**self._given, **given}),
            is_bare=self._resolver.is_bare,
            tell=self.announce,
            hears=self.hears,
            now=self._connections.now,
            carried=self._carried,
            current=self._current,
            limiters=lambda: self.limiters,
            running=lambda port, asked: Running(self.planner, port, asked),
            rules=rules,
            limits=limits,
        )

    def hears(self, event: type) -> bool:
        """Tell whether a dispatch of an event of this class would reach anybody, a fake included."""
        if self._diversions:
            return True
        plan = self._tables.plans.get(event)  # asked several times for each job
        return bool((self._plan(event) if plan is None else plan).steps)

    @property
    def connections(self) -> Connections:
        """The connections of the bus, by name."""
        return self._connections

    @property
    def failed(self) -> FailedJobs:
        """
        The failed jobs: list, find, retry, forget, flush and prune them.

        Example:
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> bus.failed.all()
            []
        """
        from eventbus.queue.failed import FailedJobs

        return FailedJobs(self._connections)

    def queue(self, name: str, *others: str, connection: str | None = None) -> RawQueue:
        """
        Return the handle of a queue of raw jobs: JSON that is pushed and claimed by hand.

        Args:
            name: The queue.
            others: More of them, to claim from in this order; such a handle pushes nothing.
            connection: Where they lie. Default: the default connection.

        Raises:
            InvalidOption: A name is none.
            UnknownConnection: Nobody configured `connection`.

        Example:
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> bus.queue("emails").push({"to": "a@example.com"}, id="welcome-17")
            'welcome-17'
            >>> [job.id for job in bus.queue("urgent", "emails")]
            ['welcome-17']
        """
        from eventbus.queue.raw.handle import RawQueue

        return RawQueue(self._connections, (name, *others), connection)

    def worker(
        self,
        connection: str | None = None,
        queues: Sequence[str] | Mapping[str, int] = (),
        **options: Unpack[WorkerOptions],
    ) -> Worker:
        """
        Return a worker of this bus, to run in this process: in a `with` block beside what you do, or by `run`.

        Args:
            connection: Where jobs lie. Default: the default connection.
            queues: As for `Worker`.
            options: Those of `Worker`.

        Raises:
            InvalidOption: One of these cannot be.
            UnknownConnection: Nobody configured `connection`.

        Example:
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> with bus.worker() as worker:
            ...     worker.drain()
            True
        """
        from eventbus.worker.loop import Worker

        return Worker(self, connection, queues, **options)

    # Ending.

    def close(self) -> None:
        """
        Close the connections, and this thread's loop for async listeners.

        The bus can be used again: what is needed is opened anew.
        """
        self._close_runner()
        self._connections.close()

    async def aclose(self) -> None:
        """Close, as `close` does, without blocking the loop."""
        await self._connections.aclose()
