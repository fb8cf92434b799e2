"""From a URL to a backend, imported only when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, unquote

from attrs import frozen

from eventbus.backends.address import Address, apart, redacted
from eventbus.backends.base import Backend, Clock
from eventbus.defaults import QUEUE, SQLITE_BUSY_TIMEOUT
from eventbus.errors import InvalidOption
from eventbus.values import valid_name

__all__ = ["OpenBackend", "default_url", "open_backend", "redacted"]

#: The file that is made where nobody chose another.
_FILE: Final = "eventbus.db"


@frozen(kw_only=True)
class OpenBackend:
    """What a URL stands for."""

    backend: Backend
    #: The queue for what names none: `?queue=` of the URL.
    default_queue: str


class _Opener(Protocol):
    def __call__(self, url: Address, clock: Clock | None) -> Backend: ...


def _memory(url: Address, clock: Clock | None) -> Backend:
    from eventbus.backends.memory import MemoryBackend

    url.without_place()
    url.only()
    return MemoryBackend(clock=clock)


def _null(url: Address, clock: Clock | None) -> Backend:  # noqa: ARG001 - as its siblings
    from eventbus.backends.null import NullBackend

    url.without_place()
    url.only()
    return NullBackend()


def _sqlite(url: Address, clock: Clock | None) -> Backend:
    from eventbus.backends.sqlite import SqliteBackend

    url.only("busy_timeout", "journal", "synchronous")
    path = unquote(url.parts.path).removeprefix("/")
    if url.parts.netloc or path in {"", ":memory:"}:
        raise url.refused(
            expected="sqlite:///relative/path or sqlite:////absolute/path; in memory is memory://"
        )
    return SqliteBackend(
        path,
        clock=clock,
        synchronous=url.options.get("synchronous", "FULL"),
        journal=url.options.get("journal"),
        busy_timeout=url.seconds("busy_timeout", SQLITE_BUSY_TIMEOUT),
    )


def _redis(url: Address, clock: Clock | None) -> Backend:  # noqa: ARG001 - the server's clock rules
    from eventbus.backends.redis_clients import opened

    return opened(url)


_OPENERS: Final[Mapping[str, _Opener]] = {
    "memory": _memory,
    "null": _null,
    "redis": _redis,
    "redis+cluster": _redis,
    "redis+sentinel": _redis,
    "rediss": _redis,
    "rediss+cluster": _redis,
    "rediss+sentinel": _redis,
    "sqlite": _sqlite,
    "unix": _redis,
}

_PLANNED: Final = ("beanstalkd", "mariadb", "mysql", "postgres", "postgresql", "sqs")


def open_backend(url: str, *, clock: Clock | None = None) -> OpenBackend:
    """
    Make the backend that `url` describes. Nothing is connected to yet.

    Args:
        url: `memory://`, `null://`, `sqlite:///relative.db` or `sqlite:////absolute.db`, and as
            options `?queue=NAME`, for SQLite also those of `SqliteBackend`: `synchronous`, `journal`
            and `busy_timeout`. `redis://`, `rediss://`, `unix://`, `redis+sentinel://` and
            `redis+cluster://` as `eventbus.backends.redis_clients` describes them.
        clock: What judges delays and leases where no server does.

    Raises:
        InvalidOption: The URL is none of these.
        UnknownOption: It has an option that this kind of backend does not take.
        MissingDependency: The package that this kind of backend needs is not installed.

    Defaults:
        clock = the machine's.

    Example:
        >>> opened = open_backend("memory://?queue=emails")
        >>> opened.backend.name, opened.default_queue
        ('memory://', 'emails')
    """
    taken = apart(url)
    scheme = taken.parts.scheme
    opener = _OPENERS.get(scheme)
    if opener is None:
        known = ", ".join(f"{name}://" for name in sorted(_OPENERS))
        if scheme in _PLANNED:
            raise taken.refused(
                expected=f"one of {known}; this version has no backend for {scheme} yet"
            )
        raise taken.refused(expected=f"one of {known}")
    queue = valid_name(taken.options.get("queue", QUEUE), where=taken.shown)
    return OpenBackend(backend=opener(taken, clock), default_queue=queue)


def default_url(anchor: Path) -> str:
    """
    Return the URL of the connection that nobody configured.

    It is `EVENTBUS_URL`, else the file `eventbus.db` beside the nearest `pyproject.toml` at or
    above `anchor`, else in `anchor` itself.

    Args:
        anchor: The folder of the module that makes the bus.

    Raises:
        InvalidOption: Tests run, and no URL was given: they would fill, or empty, a real queue.
    """
    if url := os.environ.get("EVENTBUS_URL"):
        return url
    if "PYTEST_VERSION" in os.environ:
        raise InvalidOption(
            option="connections",
            value=None,
            expected=(
                "given while pytest runs, where the default file is refused: use the fixture"
                " `fake_queue` or `fake_events`, set EVENTBUS_URL, or write"
                ' EventBus(connections={"default": "memory://"})'
            ),
        )
    anchor = anchor.resolve()
    folders = (
        folder for folder in (anchor, *anchor.parents) if (folder / "pyproject.toml").is_file()
    )
    return f"sqlite:///{quote(str(next(folders, anchor) / _FILE))}"
