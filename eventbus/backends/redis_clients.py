"""
What the URLs of Redis lead to; nothing is connected to before the first command.

| URL | is |
| --- | --- |
| `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]` | one server |
| `rediss://…` | the same, over TLS; the server's certificate is checked |
| `unix://[USER:PASSWORD@]/PATH` | one server, by its socket; `?db=` |
| `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/SERVICE[/DATABASE]` | who the Sentinels call the master |
| `redis+cluster://[USER:PASSWORD@]HOST[:PORT],…` | a cluster, found by some of its nodes |

`rediss+sentinel://` and `rediss+cluster://` are those over TLS. All take `?prefix=` and `?timeout=`; over TLS
also `?ssl_ca_certs=`, `?ssl_certfile=` and `?ssl_keyfile=`, which are paths; Sentinels of their own password
`?sentinel_username=` and `?sentinel_password=`. What is special in a password is written as in any URL, `%40`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from attrs import field, frozen

from eventbus.backends.address import Address, apart
from eventbus.backends.base import Backend
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_cluster import ClusterLink
from eventbus.backends.redis_lines import Maker, OwnLine, WatchedMaker
from eventbus.backends.redis_link import Link, ServerLink
from eventbus.defaults import REDIS_PREFIX, REDIS_TIMEOUT
from eventbus.errors import InvalidOption, MissingDependency

__all__ = ["linked", "opened"]

_HOST: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@/?#,\s]+))(?::(?P<port>\d{1,5}))?"
)
_TLS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_PORTS: Final[Mapping[str, int]] = {"sentinel": 26379}
_PORT: Final = 6379


@frozen
class _Place:
    """What a URL says besides its options."""

    hosts: tuple[tuple[str, int], ...]
    #: What follows the hosts, in parts.
    path: tuple[str, ...]
    username: str | None
    password: str | None = field(repr=False)


def opened(url: Address) -> Backend:
    """
    Return the backend of a URL.

    Raises:
        InvalidOption: The URL is none of these.
        UnknownOption: It has an option that this kind does not take.
        MissingDependency: redis-py is not installed.
    """
    scheme, kind = _kind(url)
    known = ["prefix", "timeout"]
    if scheme == "rediss":
        known += _TLS
    if kind == "sentinel":
        known += _OF_SENTINELS
    if scheme == "unix":
        known.append("db")
    url.only(*known)
    prefix = url.options.get("prefix", REDIS_PREFIX)
    return RedisBackend(_link(url, waits=False), prefix=prefix, name=url.shown)


def linked(url: str) -> Link:
    """
    Return what speaks with the servers of a URL, for `RedisBackend`.

    Raises:
        InvalidOption: The URL is none of these.
        MissingDependency: redis-py is not installed.

    Example:
        >>> linked("redis://localhost").name
        'redis://localhost'
    """
    return _link(apart(url), waits=False)


def _kind(url: Address) -> tuple[str, str]:
    scheme, _, kind = url.parts.scheme.partition("+")
    return scheme, kind


def _link(url: Address, *, waits: bool) -> Link:
    scheme, kind = _kind(url)
    place = _place(url, kind, is_local=scheme == "unix")
    maker = _maker(url, place, waits=waits)
    twin = None if waits else partial(_link, url, waits=True)
    if kind == "cluster":
        if place.path:
            raise url.refused(expected="a cluster without a database: it has but one")
        return ClusterLink(maker, place.hosts, name=url.shown, twin=twin)
    if kind == "sentinel":
        maker = _watched(url, place, maker)
    elif scheme == "unix":
        database = _database(url, (url.options.get("db", "0"),))
        maker = maker.with_settings(path="/" + "/".join(place.path), db=database)
    else:
        if len(place.hosts) > 1:
            raise url.refused(
                expected="one server; several are redis+sentinel:// or redis+cluster://"
            )
        host, port = next(iter(place.hosts))
        maker = maker.at(host, port).with_settings(db=_database(url, place.path))
    return ServerLink(OwnLine(maker), name=url.shown, twin=twin)


def _place(url: Address, kind: str, *, is_local: bool) -> _Place:
    netloc = url.parts.netloc
    login, at, hosts = netloc.rpartition("@")
    username, colon, password = login.partition(":")
    found: list[tuple[str, int]] = []
    for text in [] if is_local else (hosts or "localhost").split(","):
        match = _HOST.fullmatch(text)
        port = int(match["port"] or _PORTS.get(kind, _PORT)) if match else 0
        if match is None or not 0 < port < 65_536:
            raise url.refused(
                expected="HOST or HOST:PORT after redis://, several with a comma between them"
            )
        found.append((match["six"] or unquote(match["name"]), port))
    if is_local and (hosts or not url.parts.path.strip("/")):
        raise url.refused(expected="unix:///absolute/path/of/the/socket")
    return _Place(
        hosts=tuple(found),
        path=tuple(unquote(part) for part in url.parts.path.split("/") if part),
        username=unquote(username) or None if at else None,
        password=unquote(password) if colon else None,
    )


def _maker(url: Address, place: _Place, *, waits: bool) -> Maker:
    """Return what makes connections, once it is told where to and to which database."""
    try:
        import redis.asyncio
        import redis.exceptions
    except ImportError:
        raise MissingDependency(extra="redis", needed_for=f"{url.parts.scheme}://") from None
    driver: Any = redis.asyncio if waits else redis
    scheme, _ = _kind(url)
    timeout = url.seconds("timeout", REDIS_TIMEOUT)
    if not (math.isfinite(timeout) and timeout > 0):
        raise InvalidOption(
            option="timeout", value=timeout, expected="more than 0 seconds", where=url.shown
        )
    settings: dict[str, Any] = {
        "username": place.username,
        "password": place.password,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # The older form of answers: what is asked needs no other, and nothing comes unasked.
        "protocol": 2,
    }
    if scheme == "unix":
        return Maker(driver.UnixDomainSocketConnection, settings, redis.exceptions, waits)
    settings["socket_keepalive"] = True
    if scheme == "redis":
        return Maker(driver.Connection, settings, redis.exceptions, waits)
    settings |= {name: url.options[name] for name in _TLS if name in url.options}
    settings |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return Maker(driver.SSLConnection, settings, redis.exceptions, waits)


def _watched(url: Address, place: _Place, master: Maker) -> Maker:
    """Return what makes connections to whom the Sentinels of a URL call the master."""
    if not place.path:
        raise url.refused(
            expected="the name of the service at the end, redis+sentinel://HOST/mymaster"
        )
    service, *rest = place.path
    login = {name.removeprefix("sentinel_"): url.options.get(name) for name in _OF_SENTINELS}
    sentinel = master.with_settings(**login)
    found = master.with_settings(db=_database(url, rest))
    return WatchedMaker(
        found.kind,
        found.settings,
        found.errors,
        found.waits,
        service=service,
        sentinels=[sentinel.at(host, port) for host, port in place.hosts],
    )


def _database(url: Address, path: Sequence[str]) -> int:
    text = path[0] if path else "0"
    if len(path) > 1 or not (text.isascii() and text.isdecimal()):
        raise url.refused(expected="a database's number at the end, or nothing")
    return int(text)
