"""The connections of a bus: names, and the port behind each, opened when first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from eventbus.defaults import QUEUE
from eventbus.errors import InvalidOption, UnknownConnection
from eventbus.queue.envelope import valid_name

if TYPE_CHECKING:
    from eventbus.backends.base import Clock
    from eventbus.backends.port import Port

__all__ = ["SYNC", "Connections"]

#: The URL of a connection whose jobs run at once, inside the dispatch.
SYNC: Final = "sync://"


class Connections:
    """
    Opens each connection once, when it is first asked for.

    Args:
        urls: Names, and the URL of each.
        default: The name of the one for what names none; it may have no URL of its own.
        maker: The file that makes the bus: the default database lies beside its `pyproject.toml`.
        clock: What judges delays and leases where no server does.

    Raises:
        InvalidOption: A name or URL is none.
    """

    def __init__(
        self, urls: Mapping[str, str], default: str, *, maker: str, clock: Clock | None
    ) -> None:
        for name, url in urls.items():
            valid_name(name, option="connection")
            _check_url(name, url)
        self.default = valid_name(default, option="default")
        self.clock = clock
        self._urls = dict(urls)
        self._maker = maker
        self._ports: dict[str, Port] = {}
        #: Reentrant: a signal handler may dispatch while its own thread opens a connection.
        self._lock = threading.RLock()
        #: What gives the ports in place of the real ones, the innermost first.
        self._stand_ins: tuple[Callable[[str], Port], ...] = ()

    def names(self) -> list[str]:
        """Return the names of the configured connections, the default's too."""
        return sorted({*self._urls, self.default})

    def checked(self, name: str | None) -> str:
        """
        Return the name of a connection that exists; the default's for None.

        Raises:
            UnknownConnection: Nobody configured it.
        """
        if name is None:
            return self.default
        if name not in self._urls and name != self.default:
            raise UnknownConnection(connection=name, known=self.names())
        return str(name)

    def is_sync(self, name: str | None) -> bool:
        """Tell whether the jobs of a connection run at once, here."""
        return self._url(self.checked(name)) == SYNC and not self._stand_ins

    def port(self, name: str | None = None) -> Port:
        """
        Return the port of a connection; the default's for None.

        Raises:
            UnknownConnection: Nobody configured it.
            ConfigurationError: Its URL cannot be.
        """
        name = self.checked(name)
        for stand_in in self._stand_ins:
            return stand_in(name)
        return self._real(name)

    @contextmanager
    def standing_in(self, port: Callable[[str], Port]) -> Generator[None]:
        """Let `port` give the ports in this block, in place of every connection; nothing is opened."""
        with self._lock:
            self._stand_ins = (port, *self._stand_ins)
        try:
            yield
        finally:
            # Only this one: blocks in several threads may end in another order than they began.
            with self._lock:
                self._stand_ins = tuple(one for one in self._stand_ins if one is not port)

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
        return QUEUE if self._url(name) in (None, SYNC) else self._real(name).default_queue

    def _url(self, name: str) -> str | None:
        """Return the URL of a connection; None for the embedded file that nobody configured."""
        return self._urls.get(name) or os.environ.get("EVENTBUS_URL")

    def _opened(self, name: str) -> Port:
        from pathlib import Path

        from eventbus.backends.port import Port
        from eventbus.backends.urls import default_url, open_backend

        url = self._url(name)
        if url is None:
            url = default_url(Path(self._maker).parent if self._maker else Path.cwd())
        if url == SYNC:
            raise InvalidOption(
                option="connection",
                value=name,
                expected="one that stores jobs; those of a sync:// connection run inside dispatch",
            )
        opened = open_backend(url, clock=self.clock)
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


def _check_url(name: str, url: object) -> None:
    if isinstance(url, str) and "://" in url and (url == SYNC or not url.startswith(SYNC)):
        return
    from eventbus.backends.urls import redacted

    raise InvalidOption(
        option="connections",
        value=redacted(url) if isinstance(url, str) else url,
        expected='a URL such as "sqlite:///shop.db", or "sync://" alone',
        where=f"connection {name!r}",
    )
