"""What a Redis server says of itself: its state, its settings, and what it lets us do."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from eventbus.backends.redis_calls import Script, driver_error
from eventbus.backends.redis_permissions import CLUSTER, NEEDED, permitted_words

__all__ = ["Server", "Shard", "read_server"]

#: What is asked of a server's settings.
_SETTINGS: Final = (
    "appendfsync",
    "appendonly",
    "bind",
    "min-replicas-to-write",
    "no-appendfsync-on-rewrite",
    "protected-mode",
    "save",
    "tcp-keepalive",
    "timeout",
)
#: Where a connection has what it logs in with.
_LOGIN: Final = ("username", "password", "credential_provider")


@frozen(kw_only=True)
class Shard:
    """The servers that have some slots of a cluster."""

    master: str
    replicas: int
    slots: int


@frozen(kw_only=True)
class Server:
    """One server, as it is now."""

    #: What it calls its state, and its settings; empty where it does not let us ask.
    info: Mapping[str, str]
    config: Mapping[str, str]
    #: How far its clock and ours are apart, at least; s.
    skew: float
    #: Whether it lets in, and to our keys, who gives no password.
    is_open: bool
    is_encrypted: bool
    #: Whether the way to it does not leave this machine.
    is_near: bool
    #: The commands that we need and may not say; where none could be tried, why.
    denied: tuple[str, ...]
    #: Of a cluster, as this server sees it: who has the slots, and what it calls the state.
    shards: tuple[Shard, ...] = ()
    cluster: Mapping[str, str] = field(factory=dict[str, str])


def read_server(
    connection: Any, errors: Any, *, prefix: str, script: Script, in_cluster: bool
) -> Server:
    """
    Ask a server about itself.

    Args:
        connection: One of a driver, connected; nobody else uses it.
        errors: The module with the driver's exceptions.
        prefix: What the names of our keys begin with.
        script: The one that tells what we may do.
        in_cluster: Whether it is asked as a part of a cluster.

    Raises:
        RedisError: Of the driver: it hung up, or did not answer.
        OSError: As that.
    """
    asked = _Asked(connection, errors)
    slots = asked.ask("CLUSTER", "SLOTS") if in_cluster else None
    commands = (*NEEDED, *CLUSTER) if in_cluster else NEEDED
    return Server(
        info=_lines(asked.ask("INFO")),
        config=_pairs(asked.ask("CONFIG", "GET", *_SETTINGS)),
        skew=_skew(asked),
        denied=_denied(asked, script, [*permitted_words(commands, prefix), *_database(connection)]),
        shards=tuple(map(_shard, slots)) if isinstance(slots, list) else (),
        cluster=_lines(asked.ask("CLUSTER", "INFO")) if in_cluster else {},
        is_encrypted=any(cls.__name__ == "SSLConnection" for cls in type(connection).__mro__),
        is_near=_is_near(connection),
        is_open=_is_open(asked, prefix),  # the last: it logs out
    )


class _Asked:
    """A connection that is asked one thing after the other."""

    def __init__(self, connection: Any, errors: Any) -> None:
        self.connection = connection
        self.errors = errors

    def ask(self, *words: Any) -> Any:
        """Return the answer; an error where that was it."""
        self.connection.send_command(*words, check_health=False)
        try:
            return self.connection.read_response(disable_decoding=True)
        except self.errors.ResponseError as error:
            return error


def _lines(answer: Any) -> Mapping[str, str]:
    if not isinstance(answer, bytes):
        return {}
    lines = answer.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _pairs(answer: Any) -> Mapping[str, str]:
    if not isinstance(answer, list):
        return {}
    words = [word.decode("utf-8", "replace") for word in answer]
    return dict(zip(words[::2], words[1::2], strict=True))


def _skew(asked: _Asked) -> float:
    before = time.time()
    said = asked.ask("TIME")
    after = time.time()
    if not isinstance(said, list):
        return 0.0
    seconds, micros = map(int, said)
    # It looked at its clock at some time between the two.
    there = seconds + micros / 1_000_000
    return max(0.0, before - there, there - after)


def _denied(asked: _Asked, script: Script, commands: Sequence[Sequence[str]]) -> tuple[str, ...]:
    loaded = asked.ask("SCRIPT", "LOAD", script.source)
    if isinstance(loaded, Exception):
        return (f"SCRIPT LOAD ({loaded})",)
    words = [word for command in commands for word in (len(command), *command)]
    said = asked.ask("EVALSHA", script.sha, 0, "", *words)
    if isinstance(said, Exception):
        return (f"EVALSHA ({said})",)
    return tuple(_called(command) for command, may in zip(commands, said, strict=True) if not may)


def _called(command: Sequence[str]) -> str:
    """Return the name of a command, of two words where it has a part of its own."""
    return " ".join(command[:2] if command[0] in {"CLUSTER", "SCRIPT"} else command[:1])


def _database(connection: Any) -> list[list[str]]:
    number = getattr(connection, "db", 0)
    return [["SELECT", str(number)]] if number else []


def _shard(found: Sequence[Any]) -> Shard:
    first, last, master, *replicas = found
    host, port = master[0] or b"", master[1]
    return Shard(
        master=f"{host.decode('utf-8', 'replace')}:{port}",
        replicas=len(replicas),
        slots=last - first + 1,
    )


def _is_near(connection: Any) -> bool:
    opened = getattr(connection, "_sock", None)
    peer = None if opened is None else opened.getpeername()
    if not isinstance(peer, tuple):
        return True  # a socket in the file system
    return ipaddress.ip_address(peer[0]).is_loopback


def _is_open(asked: _Asked, prefix: str) -> bool:
    """Try the same connection without what it logs in with."""
    connection, errors = asked.connection, asked.errors
    login = {name: getattr(connection, name) for name in _LOGIN if hasattr(connection, name)}
    connection.disconnect()
    try:
        for name in login:
            setattr(connection, name, None)
        connection.connect()
        said = asked.ask("EXISTS", f"{prefix}:queues")
    except (driver_error(errors), OSError):
        return False
    finally:
        connection.disconnect()
        for name, value in login.items():
            setattr(connection, name, value)
    # In a cluster another node may have the key: whoever is sent there was let in.
    return isinstance(said, int) or type(said).__name__ == "MovedError"
