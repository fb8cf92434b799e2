"""The one object that an application holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from eventbus.defaults import CONNECTION
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.local import LocalBus
from eventbus.dispatch.plans import Take
from eventbus.dispatch.resolver import Resolver, ScopedResolver
from eventbus.dispatch.waiting import Walk
from eventbus.errors import InvalidOption
from eventbus.queue.connections import Connections
from eventbus.queue.options import read_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventbus.backends.base import Clock
    from eventbus.dispatch.accepts import AnyListener, AsyncGet, Get
    from eventbus.queue.catalogue import Catalogue
    from eventbus.queue.enqueue import Enqueuer
    from eventbus.queue.execute import Executor
    from eventbus.queue.execution import Limits, Rules
    from eventbus.queue.failed import FailedJobs

__all__ = ["EventBus"]


class EventBus(LocalBus):
    """
    Dispatches events to their listeners: at once, or through a queue for those marked so.

    Args:
        discover: Packages and modules to scan for listeners. Only noted here; they are scanned by
            the first dispatch, by the worker, or by `discover()`, so that they may import the
            module that makes the bus.
        listen: Events, and the listener or list of listeners of each. Import strings are looked up
            with the first dispatch.
        subscribe: Subscribers: classes or objects with a `subscribe` method, or import strings.
        provide: Types, and a factory of each, for what listeners ask for.
        resolver: A container's `get`, called with a type; or a `ScopedResolver`.
        connections: Names, and the URL of each: `sqlite:///shop.db`, `memory://`, `null://`,
            `sync://`. Opened when first used.
        default: The connection of listeners that name none. Without a URL it is an embedded SQLite
            file: `EVENTBUS_URL`, else `eventbus.db` beside the nearest `pyproject.toml`.
        on_error: "raise" hands a listener's error to the caller at once; "collect" lets all
            listeners run and raises one `ListenersFailed`.
        clock: Tells the time; for tests. Default: the system's.

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
        connections: Mapping[str, str] | None = None,
        default: str = CONNECTION,
        on_error: Literal["raise", "collect"] = "raise",
        clock: Clock | None = None,
    ) -> None:
        if on_error not in ("raise", "collect"):
            raise InvalidOption(option="on_error", value=on_error, expected='"raise" or "collect"')
        # The module that makes the bus: the default queue lies beside its project.
        maker = sys._getframe(1).f_globals.get("__file__", "")  # noqa: SLF001 -- there is no public way
        self._connections = Connections(connections or {}, default, maker=maker, clock=clock)
        self._enqueuer: Enqueuer | None = None
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
        read_options(listener)

    def _taker(self, listener: Listener) -> Take | None:
        options = read_options(listener)
        return self.enqueuer.taker(listener, options) if options is not None else None

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

            enqueuer = self._enqueuer = Enqueuer(self._connections, self.catalogue, self.executor)
        return enqueuer

    def catalogue(self) -> Catalogue:
        """Return the table of stored names: what they stand for in this program."""
        from eventbus.queue.catalogue import Catalogue

        return Catalogue(self.listeners(), self._found.modules)

    def executor(self, rules: Rules | None = None, limits: Limits | None = None) -> Executor:
        """Return what runs a job: for the worker, and for `sync://` connections."""
        from eventbus.queue.execute import Executor

        return Executor(
            catalogue=lambda: self.enqueuer.catalogue,
            scope=lambda given: self._resolver.scope({**self._given, **given}),
            tell=self.announce,
            rules=rules,
            limits=limits,
        )

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
        import asyncio

        await asyncio.to_thread(self._connections.close)
