"""What a command is about, connections and jobs, and whether it may go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

import click
from attrs import frozen

from eventbus.backends.port import Port
from eventbus.bus import EventBus
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.text import indented, json_lines
from eventbus.defaults import BODY_HEAD
from eventbus.errors import CodecError, ConfigurationError
from eventbus.queue.codec.document import read
from eventbus.queue.options import seconds
from eventbus.text import shown
from eventbus.values import valid_name

__all__ = [
    "Contents",
    "agreed",
    "check_names",
    "check_somebody_can_answer",
    "connection_option",
    "contents",
    "counted",
    "dry_run_option",
    "duration",
    "json_option",
    "picked",
    "queue_option",
    "sound_queues",
    "stands_for",
    "stores",
    "told",
    "yes_option",
]

#: Characters of an id that stand for the whole of it, if no other begins or ends so.
#: Unit: characters. Fewer are soon ambiguous: 6 hexadecimal digits tell 16.7 million ids apart, at the
#: end of ids; they begin with the time, so that those of one day begin alike.
_SHORTEST: Final = 6

connection_option = click.option("--connection", metavar="NAME", help="Only of this connection.")
queue_option = click.option("--queue", metavar="NAME", help="Only of this queue.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only tell what would be deleted; needs no --yes."
)


class _Job(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def connection(self) -> str: ...


_J = TypeVar("_J", bound=_Job)


def stores(bus: EventBus, connection: str | None) -> list[Port]:
    """
    Return the ports of a connection, or of all whose stores are seen from this process.

    Where none is, the command is used wrongly.
    """
    connections = bus.connections
    if connection is None:
        ports = [
            connections.port(name) for name in connections.names() if not connections.is_sync(name)
        ]
    else:
        try:
            ports = [connections.port(connection)]
        except ConfigurationError as error:
            misused(str(error))
    shared = [one for one in ports if one.backend.capabilities.shared]
    if not shared:
        which = "no connection has" if connection is None else f"connection {connection!r} has not"
        misused(f"{which} a store that this command shares with workers")
    return shared


def sound_queues(port: Port, queues: Iterable[str]) -> Iterator[str]:
    """Yield those of the names in a store that a queue can have, and tell of the others."""
    for one in queues:
        try:
            yield valid_name(one)
        except ConfigurationError:
            say(f"passed over on {port.name}: {shown(one)} can be no queue's name; who wrote it?")


def check_names(queues: Iterable[str]) -> None:
    """End the command if one of `queues` can be no queue's name."""
    try:
        for one in queues:
            valid_name(one)
    except ConfigurationError as error:
        misused(str(error))


def duration(given: float, option: str) -> float:
    """Return the seconds that an option was given; end the command if they are none."""
    try:
        return seconds(given, option=option)
    except ConfigurationError as error:
        misused(str(error))


def stands_for(text: str, id: str) -> bool:
    """
    Tell whether `text` may stand for a job's id: it is how the id begins, or how it ends.

    Example:
        >>> stands_for("8f14e4", "01a2025c8cd5837132938f14e4"), stands_for("e4", "8f14e4")
        (True, False)
    """
    return len(text) >= _SHORTEST and (id.startswith(text) or id.endswith(text))


def picked(
    jobs: Iterable[_J], wanted: Sequence[str], *, what: str, listed_by: str
) -> tuple[list[_J], list[str]]:
    """
    Return the jobs that ids, or parts of ids, stand for; and what is wrong with the rest.

    `jobs` are looked at one by one: of all there are, only those that may be meant are kept.
    """
    jobs = [
        one for one in jobs if any(text == one.id or stands_for(text, one.id) for text in wanted)
    ]
    found: dict[tuple[str, str], _J] = {}
    problems: list[str] = []
    for text in wanted:
        exact = [one for one in jobs if one.id == text]
        near = exact or [one for one in jobs if stands_for(text, one.id)]
        ids = {one.id for one in near}
        if len(ids) == 1:
            found.update({(one.connection, one.id): one for one in near})
        elif ids:
            problems.append(
                f"{counted(len(ids), what)} have ids that begin or end with {text!r}: write more"
            )
        else:
            short = f"; write at least {_SHORTEST} characters" if len(text) < _SHORTEST else ""
            problems.append(f"no {what} {text!r}, `{listed_by}` lists them{short}")
    return list(found.values()), problems


def told(problems: Sequence[str]) -> ExitCode:
    """Tell what was not done."""
    for one in problems:
        say(one)
    return ExitCode.UNDONE if problems else ExitCode.DONE


def counted(many: Sequence[object] | int, what: str) -> str:
    """
    Return how many of something there are.

    Example:
        >>> counted(["a", "b"], "failed job")
        '2 failed jobs'
        >>> counted(2, "batch")
        '2 batches'
    """
    number = many if isinstance(many, int) else len(many)
    ending = "es" if what.endswith("ch") else "s"
    return f"{number} {what}{ending if number != 1 else ''}"


def check_somebody_can_answer(*, yes: bool, dry_run: bool, verb: str = "delete") -> None:
    """End a command that is to ask before it deletes, or whatever `verb` says, where there is nobody to ask."""
    if not yes and not dry_run and not sys.stdin.isatty():
        misused(f"this is no terminal, so nobody can be asked: add --yes to {verb}")


def agreed(question: str, *, yes: bool, dry_run: bool, done: str = "deleted") -> bool:
    """Ask whether to delete, unless told before; tell that nothing was deleted, or whatever `done` says."""
    if dry_run:
        say(f"nothing was {done}: this was a dry run")
        return False
    if yes or click.confirm(question, err=True):
        return True
    say(f"nothing was {done}")
    return False


@frozen(kw_only=True)
class Contents:
    """What a stored body holds, as far as it can be read."""

    #: The stored name of the listener, and that of the event; empty if it cannot be read.
    listener: str
    event: str
    #: The data of the event as JSON; `null` if it cannot be read.
    data: bytes
    #: Why it cannot be read, and its bytes as text; None if it can.
    unreadable: str | None = None
    body: str | None = None
    #: How many bytes it has, of which `body` may be the first.
    size: int

    @property
    def facts(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {
            "data": json.loads(self.data),
            "unreadable": self.unreadable,
            "body": self.body,
            "body_size": self.size,
        }

    def show(self) -> None:
        """Print the data; of what cannot be read, the bytes."""
        if self.body is None:
            click.echo("data")
            click.echo("\n".join(json_lines(self.data)))
        else:
            say(self.unreadable)
            click.echo(f"body ({self.size:,} bytes)")
            click.echo("\n".join(indented(self.body)))


def contents(body: bytes, *, left_out: int, whole: bool = False) -> Contents:
    """
    Return what a stored body holds; nothing in it is trusted.

    Args:
        body: Its bytes.
        left_out: How many more of them the store has not handed out.
        whole: Show all the bytes of one that cannot be read, and not `BODY_HEAD` of them.
    """
    size = len(body) + left_out
    try:
        document = read(body) if not left_out else None
        unreadable = f"{size:,} bytes are more than a job can have"
    except CodecError as error:
        document, unreadable = None, str(error)
    if document is None:
        some = body if whole else body[:BODY_HEAD]
        if len(some) < size:
            unreadable += f". Below are the first {len(some):,} of its bytes"
        return Contents(
            listener="",
            event="",
            data=b"null",
            unreadable=unreadable,
            body=some.decode("utf-8", "backslashreplace"),
            size=size,
        )
    return Contents(
        listener=document.name, event=document.event or "", data=document.data, size=size
    )
