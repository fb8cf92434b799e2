"""`eventbus failed`, `retry`, `forget` and `flush`: what became of failed jobs, and what now."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from typing import Any, Final

import click

from eventbus.bus import EventBus
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.text import aligned, cut, indented, instant, json_lines, one_line, print_json
from eventbus.errors import CodecError, ConfigurationError, FailedJobNotFound
from eventbus.queue.codec.document import read
from eventbus.queue.envelope import valid_name
from eventbus.queue.failed import FailedJob
from eventbus.queue.options import seconds

__all__ = ["failed", "flush", "forget", "retry"]

#: Characters of an id that stand for the whole of it, if no other begins so.
#: Unit: characters. Fewer are soon ambiguous: 6 hexadecimal digits tell 16.7 million ids apart.
_PREFIX: Final = 6

_COLUMNS: Final = (
    "ID", "LISTENER", "EVENT", "CONNECTION", "QUEUE", "ATTEMPTS", "LOSSES", "FAILED AT", "REASON",
)  # fmt: skip

_connection = click.option("--connection", metavar="NAME", help="Only of this connection.")
_queue = click.option("--queue", metavar="NAME", help="Only of this queue.")


@click.command("failed")
@click.argument("id", required=False)
@_connection
@_queue
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def failed(
    application: Application,
    id: str | None,
    connection: str | None,
    queue: str | None,
    *,
    as_json: bool,
) -> ExitCode:
    """
    List the failed jobs, the oldest failure first; with ID, show one whole.

    ID is a job's id, or how it begins: at least 6 characters that no other begins with.
    """
    with application.bus() as bus:
        jobs = _chosen(bus, connection, queue)
    if id is not None:
        found, unknown = _picked(jobs, [id])
        for job in found:
            _show(job, as_json=as_json)
        return _told(unknown)
    if as_json:
        print_json([_facts(one) for one in jobs])
    elif jobs:
        for line in aligned([_COLUMNS, *map(_cells, jobs)]):
            click.echo(line)
    else:
        say("no failed jobs")
    return ExitCode.DONE


@click.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All failed jobs, instead of IDs.")
@_connection
@_queue
@click.pass_obj
def retry(
    application: Application,
    ids: tuple[str, ...],
    connection: str | None,
    queue: str | None,
    *,
    every: bool,
) -> ExitCode:
    """
    Put failed jobs back into their queues, with all their tries.

    Prints the id of each that went. ID may be how an id begins, in 6 characters or more.
    """
    if bool(ids) == every:
        misused("retry which jobs? Write their ids, or --all")
    with application.bus() as bus:
        jobs = _chosen(bus, connection, queue)
        found, unknown = (jobs, []) if every else _picked(jobs, ids)
        done, gone = _each(found, bus.failed.retry)
    say(f"{_counted(done)} back in the queue")
    return _told(unknown if every else [*unknown, *gone])


@click.command("forget")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def forget(application: Application, ids: tuple[str, ...]) -> ExitCode:
    """
    Delete failed jobs for good.

    Prints the id of each that is gone. ID may be how an id begins, in 6 characters or more.
    """
    with application.bus() as bus:
        found, unknown = _picked(_chosen(bus, None, None), ids)
        done, gone = _each(found, bus.failed.forget)
    say(f"{_counted(done)} deleted")
    return _told([*unknown, *gone])


@click.command("flush")
@_connection
@_queue
@click.option("--older-than", type=float, metavar="SECONDS",
              help="Only jobs that failed longer ago than this.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def flush(
    application: Application,
    connection: str | None,
    queue: str | None,
    older_than: float | None,
    *,
    yes: bool,
) -> ExitCode:
    """
    Delete all failed jobs for good, after telling how many they are.

    Prints the id of each that is gone. Where nobody can be asked, it needs --yes.
    """
    if not yes and not sys.stdin.isatty():
        misused("this is no terminal, so nobody can be asked: add --yes to delete")
    age = None if older_than is None else _age(older_than)
    with application.bus() as bus:
        jobs = _chosen(bus, connection, queue, older_than=age)
        if not jobs:
            say("no failed jobs")
            return ExitCode.DONE
        if not yes and not click.confirm(f"Delete {_counted(jobs)} for good?", err=True):
            say("nothing was deleted")
            return ExitCode.UNDONE
        # Those that were counted, not those that failed while the question stood there.
        done, _ = _each(jobs, bus.failed.forget)
    say(f"{_counted(done)} deleted")
    return ExitCode.DONE


def _chosen(
    bus: EventBus, connection: str | None, queue: str | None, *, older_than: float | None = None
) -> list[FailedJob]:
    """Return the failed jobs that the options are about."""
    try:
        if connection is not None and bus.connections.is_sync(connection):
            bus.connections.port(connection)  # says why a connection without a store has no jobs
        if queue is not None:
            valid_name(queue)
    except ConfigurationError as error:
        misused(str(error))
    return bus.failed.all(connection=connection, queue=queue, older_than=older_than)


def _age(given: float) -> float:
    try:
        return seconds(given, option="--older-than")
    except ConfigurationError as error:
        misused(str(error))


def _picked(jobs: Sequence[FailedJob], wanted: Iterable[str]) -> tuple[list[FailedJob], list[str]]:
    """Return the jobs that ids, or beginnings of ids, stand for; and what is wrong with the rest."""
    found: dict[tuple[str, str], FailedJob] = {}
    problems: list[str] = []
    for text in wanted:
        exact = [one for one in jobs if one.id == text]
        near = exact or [one for one in jobs if len(text) >= _PREFIX and one.id.startswith(text)]
        ids = {one.id for one in near}
        if len(ids) == 1:
            found.update({(one.connection, one.id): one for one in near})
        elif ids:
            problems.append(f"{len(ids)} failed jobs have ids that begin with {text!r}: write more")
        else:
            short = f"; write at least {_PREFIX} characters" if len(text) < _PREFIX else ""
            problems.append(f"no failed job {text!r}, `eventbus failed` lists them{short}")
    return list(found.values()), problems


def _each(jobs: Sequence[FailedJob], act: Callable[..., list[str]]) -> tuple[list[str], list[str]]:
    """
    Act on every job, and print the id of each at once; return them, and what was gone already.

    One by one: somebody else may be quicker with one of them, and the others are done all the same.
    """
    done: list[str] = []
    problems: list[str] = []
    for job in jobs:
        try:
            act(job.id, connection=job.connection)
        except FailedJobNotFound as error:
            problems.append(str(error))
        else:
            done.append(job.id)
            click.echo(one_line(job.id))
    return done, problems


def _told(problems: Sequence[str]) -> ExitCode:
    for one in problems:
        say(one)
    return ExitCode.UNDONE if problems else ExitCode.DONE


def _counted(jobs: Sequence[object]) -> str:
    return f"{len(jobs)} failed job{'s' if len(jobs) != 1 else ''}"


def _facts(job: FailedJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "listener": job.name,
        "event": job.event,
        "connection": job.connection,
        "queue": job.queue,
        "attempts": job.attempts,
        "losses": job.losses,
        "pushed_at": job.pushed_at.astimezone(UTC).isoformat(),
        "failed_at": job.failed_at.astimezone(UTC).isoformat(),
        "reason": job.reason,
    }


def _cells(job: FailedJob) -> list[str]:
    return [
        job.id,
        cut(job.name),
        cut(job.event),
        job.connection,
        job.queue,
        str(job.attempts),
        str(job.losses),
        instant(job.failed_at),
        cut(job.reason),
    ]


def _show(job: FailedJob, *, as_json: bool) -> None:
    """Print a job whole: what it is, its error, and the data of its event."""
    try:
        data, unreadable = read(job.body).data, None
    except CodecError as error:
        data, unreadable = b"null", str(error)
    body = None if unreadable is None else job.body.decode("utf-8", "backslashreplace")
    facts = _facts(job)
    if as_json:
        rest = {"data": json.loads(data), "unreadable": unreadable, "body": body}
        print_json({**facts, "error": job.error, **rest})
        return
    for line in aligned([(name.replace("_", " "), str(value)) for name, value in facts.items()]):
        click.echo(line)
    click.echo("error")
    click.echo("\n".join(indented(job.error)))
    if body is None:
        click.echo("data")
        click.echo("\n".join(json_lines(data)))
    else:
        say(unreadable)
        click.echo("body")
        click.echo("\n".join(indented(body)))
