"""The connections of a bus: names, and the port behind each, opened when first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from eventbus.defaults import QUEUE
from eventbus.errors import InvalidOption, UnknownConnection
from eventbus.values import valid_name

if TYPE_CHECKING:
    from datetime import datetime

    from eventbus.backends.base import Backend, Clock
    from eventbus.backends.port import Port

__all__ = ["SYNC", "Connections"]

#: The URL of a connection whose jobs run at once, inside the dispatch.
SYNC: Final = "sync://"


class Connections:
    """
    Opens each connection once, when it is first asked for.

    Args:
        stores: Names, and of each its URL, or a backend that the application has made itself.
        default: The name of the one for what names none; it may have no URL of its own.
        maker: The file that makes the bus: the default database lies beside its `pyproject.toml`.
        clock: What judges delays and leases where no server does.

    Raises:
        InvalidOption: A name or URL is none.
    """

    def __init__(
        self,
        stores: Mapping[str, str | Backend],
        default: str,
        *,
        maker: str,
        clock: Clock | None,
    ) -> None:
        for name, store in stores.items():
            valid_name(name, option="connection")
            _check(name, store)
        self.default = valid_name(default, option="default")
        self.clock = clock
        self._stores = dict(stores)
        self._maker = maker
        self._ports: dict[str, Port] = {}
        #: Reentrant: a signal handler may dispatch while its own thread opens a connection.
        self._lock = threading.RLock()
        #: What gives the ports in place of the real ones, the innermost first.
        self._stand_ins: tuple[tuple[Callable[[str], Port], Clock], ...] = ()

    def names(self) -> list[str]:
        """Return the names of the configured connections, the default's too."""
        return sorted({*self._stores, self.default})

    def checked(self, name: str | None) -> str:
        """
        Return the name of a connection that exists; the default's for None.

        Raises:
            UnknownConnection: Nobody configured it.
        """
        if name is None:
            return self.default
        if name not in self._stores and name != self.default:
            raise UnknownConnection(connection=name, known=self.names())
        return str(name)

    def is_sync(self, name: str | None) -> bool:
        """Tell whether the jobs of a connection run at once, here."""
        return self._store(self.checked(name)) == SYNC and not self._stand_ins

    def port(self, name: str | None = None) -> Port:
        """
        Return the port of a connection; the default's for None.

        Raises:
            UnknownConnection: Nobody configured it.
            ConfigurationError: Its URL cannot be.
        """
        name = self.checked(name)
        for stand_in, _ in self._stand_ins:
            return stand_in(name)
        return self._real(name)

    def open_port(self, name: str) -> Port | None:
        """Return the port of a connection that is open; None if it is not, or another stands in."""
        return None if self._stand_ins else self._ports.get(name)

    def in_process(self, name: str) -> Port:
        """Return a port of an empty store in this process, for a plan that runs at once on a `sync://` connection."""
        from eventbus.backends.port import Port
        from eventbus.backends.urls import open_backend

        return Port(open_backend("memory://", clock=self.clock).backend, name=name)

    def now(self) -> datetime:
        """Return the instant, aware and in UTC, by the clock that judges delays."""
        for _, clock in self._stand_ins:
            return clock.now()
        if self.clock is not None:
            return self.clock.now()
        from datetime import UTC, datetime

        return datetime.now(UTC)

    @contextmanager
    def standing_in(self, port: Callable[[str], Port], clock: Clock) -> Generator[None]:
        """
        Let `port` give the ports in this block, in place of every connection; nothing is opened.

        Args:
            port: Called with the name of a connection.
            clock: What judges delays and deadlines meanwhile.
        """
        mine = (port, clock)
        with self._lock:
            self._stand_ins = (mine, *self._stand_ins)
        try:
            yield
        finally:
            # Only this one: blocks in several threads may end in another order than they began.
            with self._lock:
                self._stand_ins = tuple(one for one in self._stand_ins if one is not mine)

    def _real(self, name: str) -> Port:
        # Without the lock where it is open: a forked process might find it held, for ever.
        port = self._ports.get(name)
        if port is not None:
            return port
        with self._lock:
            return self._ports.get(name) or self._ports.setdefault(name, self._opened(name))

    def default_queue(self, name: str | None) -> str:
        """Return the queue for what names none on this connection."""
        name = self.checked(name)
        # The embedded file that nobody configured has no options, and a fake must not look for it.
        return QUEUE if self._store(name) in (None, SYNC) else self._real(name).default_queue

    def _store(self, name: str) -> str | Backend | None:
        """Return the URL or backend of a connection; None for the file that nobody configured."""
        return self._stores.get(name) or os.environ.get("EVENTBUS_URL")

    def _opened(self, name: str) -> Port:
        from pathlib import Path

        from eventbus.backends.port import Port
        from eventbus.backends.urls import default_url, open_backend

        store = self._store(name)
        if store is None:
            store = default_url(Path(self._maker).parent if self._maker else Path.cwd())
        if store == SYNC:
            raise InvalidOption(
                option="connection",
                value=name,
                expected="one that stores jobs; those of a sync:// connection run inside dispatch",
            )
        if not isinstance(store, str):
            return Port(store, name=name)
        opened = open_backend(store, clock=self.clock)
        return Port(opened.backend, name=name, default_queue=opened.default_queue)

    def close(self) -> None:
        """Close what is open; it is opened anew when it is asked for again."""
        with self._lock:
            ports = list(self._ports.values())
            self._ports.clear()
        # All of them, whatever closing one of them raises.
        with ExitStack() as closing:
            for port in ports:
                closing.callback(port.close)

    async def aclose(self) -> None:
        """Close, as `close` does, without blocking the event loop that runs."""
        with self._lock:
            ports = list(self._ports.values())
            self._ports.clear()
        async with AsyncExitStack() as closing:
            for port in ports:
                closing.push_async_callback(port.aclose)


def _check(name: str, store: object) -> None:
    if not isinstance(store, str):
        from eventbus.backends.base import Backend

        if isinstance(store, Backend):
            return
    elif "://" in store and (store == SYNC or not store.startswith(SYNC)):
        return
    from eventbus.backends.urls import redacted

    raise InvalidOption(
        option="connections",
        value=redacted(store) if isinstance(store, str) else store,
        expected='a URL such as "sqlite:///shop.db", "sync://" alone, or a backend',
        where=f"connection {name!r}",
    )
