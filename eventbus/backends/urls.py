"""From a URL to a backend, imported only when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from attrs import frozen

from eventbus.backends.base import Backend, Clock
from eventbus.defaults import QUEUE
from eventbus.errors import InvalidOption, UnknownOption
from eventbus.queue.envelope import valid_name

__all__ = ["OpenBackend", "default_url", "open_backend", "redacted"]

#: The file that is made where nobody chose another.
_FILE: Final = "eventbus.db"


@frozen(kw_only=True)
class OpenBackend:
    """What a URL stands for."""

    backend: Backend
    #: The queue for what names none: `?queue=` of the URL.
    default_queue: str


@frozen(kw_only=True)
class _Url:
    """A URL that was taken apart; `shown` is what may be shown of it."""

    shown: str
    parts: SplitResult
    options: Mapping[str, str]

    def without_place(self) -> None:
        """Refuse a host or path: this kind of backend is nowhere."""
        if self.parts.netloc or self.parts.path:
            raise self.refused(expected=f"just {self.parts.scheme}://")

    def only(self, *known: str) -> None:
        """Refuse an option that is not among `known` or what every URL takes."""
        for option in self.options:
            if option not in known and option != "queue":
                raise UnknownOption(option=option, known=("queue", *known), where=self.shown)

    def refused(self, *, expected: str) -> InvalidOption:
        return InvalidOption(option="url", value=self.shown, expected=expected)


class _Opener(Protocol):
    def __call__(self, url: _Url, clock: Clock | None) -> Backend: ...


def _memory(url: _Url, clock: Clock | None) -> Backend:
    from eventbus.backends.memory import MemoryBackend

    url.without_place()
    url.only()
    return MemoryBackend(clock=clock)


def _null(url: _Url, clock: Clock | None) -> Backend:  # noqa: ARG001 - as its siblings
    from eventbus.backends.null import NullBackend

    url.without_place()
    url.only()
    return NullBackend()


def _sqlite(url: _Url, clock: Clock | None) -> Backend:
    from eventbus.backends.sqlite import SqliteBackend

    url.only("journal", "synchronous")
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
    )


_OPENERS: Final[Mapping[str, _Opener]] = {"memory": _memory, "null": _null, "sqlite": _sqlite}

_PLANNED: Final = (
    "beanstalkd",
    "mariadb",
    "mysql",
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "sqs",
)


def open_backend(url: str, *, clock: Clock | None = None) -> OpenBackend:
    """
    Make the backend that `url` describes. Nothing is connected to yet.

    Args:
        url: `memory://`, `null://`, `sqlite:///relative.db` or `sqlite:////absolute.db`, and as
            options `?queue=NAME`, for SQLite also `synchronous` and `journal`.
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
    taken = _apart(url)
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


def redacted(url: str) -> str:
    """
    Return what may be shown of `url`: no user, no password, no options.

    Example:
        >>> redacted("redis://me:secret@localhost/0?password=secret")
        'redis://***@localhost/0'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return f"{scheme.partition(':')[0]}:..."
    # The last "@", wherever it is: a password that was not quoted may hold "/", "?" and "#".
    _, at, place = rest.rpartition("@")
    place = place.partition("?")[0].partition("#")[0]
    return f"{scheme}://***@{place}" if at else f"{scheme}://{place}"


def _apart(url: object) -> _Url:
    if not isinstance(url, str) or "://" not in url:
        shown = redacted(url) if isinstance(url, str) else url
        raise InvalidOption(
            option="url", value=shown, expected="a URL such as sqlite:///eventbus.db"
        )
    shown = redacted(url)
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        # Not chained: the parser's error may repeat the password.
        raise InvalidOption(option="url", value=shown, expected="a well-formed URL") from None
    taken = _Url(shown=shown, parts=parts, options=dict(pairs))
    if parts.fragment:
        raise taken.refused(expected="a URL without '#'; in a path write %23")
    if len(taken.options) < len(pairs):
        raise taken.refused(expected="a URL that gives each option once")
    return taken


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
