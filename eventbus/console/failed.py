"""`eventbus failed`, `retry`, `forget` and `flush`: what became of failed jobs, and what now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from typing import Any, Final

import click
from attrs import frozen

from eventbus.bus import EventBus
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.subjects import (
    agreed,
    check_names,
    check_somebody_can_answer,
    connection_option,
    contents,
    counted,
    dry_run_option,
    duration,
    json_option,
    picked,
    queue_option,
    told,
    yes_option,
)
from eventbus.console.text import (
    aligned,
    cut,
    indented,
    instant,
    one_line,
    print_json,
    print_json_list,
)
from eventbus.defaults import BODY_HEAD
from eventbus.errors import ConfigurationError, FailedJobNotFound
from eventbus.queue.failed import FailedJob, ParkedJob

__all__ = ["failed", "flush", "forget", "retry"]

_JOB: Final = "failed job"
_LISTED_BY: Final = "eventbus failed"

_COLUMNS: Final = (
    "ID", "LISTENER", "EVENT", "CONNECTION", "QUEUE", "ATTEMPTS", "LOSSES", "FAILED AT", "REASON",
)  # fmt: skip
_PARKED_COLUMNS: Final = (
    "ID", "LISTENER", "EVENT", "CONNECTION", "QUEUE", "LOOKED AT AGAIN", "REASON",
)  # fmt: skip


@click.command("failed")
@click.argument("id", required=False)
@connection_option
@queue_option
@json_option
@click.option("--body", "whole", is_flag=True,
              help=f"With ID: of bytes that are no job all, not the first {BODY_HEAD:,}.")  # fmt: skip
@click.pass_obj
def failed(
    application: Application,
    id: str | None,
    connection: str | None,
    queue: str | None,
    *,
    as_json: bool,
    whole: bool,
) -> ExitCode:
    """
    List the failed jobs, the oldest failure first; with ID, show one whole.

    Below them stand the jobs that wait for code that knows them; `peek --parked` has more.

    ID is a job's id, or how it begins or ends: at least 6 characters that no other has there.
    """
    with application.bus() as bus:
        jobs = _chosen(bus, connection, queue, ids=None if id is None else [id])
        if id is not None:
            found, unknown = picked(jobs, [id], what=_JOB, listed_by=_LISTED_BY)
            for job in found:
                _show(job, as_json=as_json, whole=whole)
            return told(unknown)
        if as_json:
            print_json_list(map(_facts, jobs))
        else:
            parked = bus.failed.parked(connection=connection, queue=queue)
            _list(list(map(_cells, jobs)), list(map(_parked_cells, parked)))
    return ExitCode.DONE


def _list(failed: Sequence[Sequence[str]], parked: Sequence[Sequence[str]]) -> None:
    for line in aligned([_COLUMNS, *failed] if failed else []):
        click.echo(line)
    if not failed:
        say("no failed jobs")
    if parked:
        click.echo(
            "\nwaiting for code that knows it" if failed else "waiting for code that knows it"
        )
        for line in aligned([_PARKED_COLUMNS, *parked]):
            click.echo(line)


@click.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All failed jobs, instead of IDs.")
@connection_option
@queue_option
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

    Prints the id of each that went. ID may be how an id begins or ends, in 6 characters or more.
    """
    if bool(ids) == every:
        misused("retry which jobs? Write their ids, or --all")
    with application.bus() as bus:
        jobs = _chosen(bus, connection, queue, ids=None if every else ids)
        found, unknown = (jobs, []) if every else picked(jobs, ids, what=_JOB, listed_by=_LISTED_BY)
        done, gone = _each(_named(found), bus.failed.retry)
    say(f"{counted(done, _JOB)} back in the queue")
    return told(unknown if every else [*unknown, *gone])


@click.command("forget")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def forget(application: Application, ids: tuple[str, ...]) -> ExitCode:
    """
    Delete failed jobs for good.

    Prints the id of each that is gone. ID may be how an id begins or ends, in 6 characters or more.
    """
    with application.bus() as bus:
        jobs = _chosen(bus, None, None, ids=ids)
        found, unknown = picked(jobs, ids, what=_JOB, listed_by=_LISTED_BY)
        done, gone = _each(_named(found), bus.failed.forget)
    say(f"{counted(done, _JOB)} deleted")
    return told([*unknown, *gone])


@click.command("flush")
@connection_option
@queue_option
@click.option("--older-than", type=float, metavar="SECONDS",
              help="Only jobs that failed longer ago than this.")  # fmt: skip
@yes_option
@dry_run_option
@click.pass_obj
def flush(
    application: Application,
    connection: str | None,
    queue: str | None,
    older_than: float | None,
    *,
    yes: bool,
    dry_run: bool,
) -> ExitCode:
    """
    Delete all failed jobs for good, after telling how many they are.

    Prints the id of each that is gone. Where nobody can be asked, it needs --yes.
    """
    check_somebody_can_answer(yes=yes, dry_run=dry_run)
    age = None if older_than is None else duration(older_than, "--older-than")
    with application.bus() as bus:
        jobs = _named(_chosen(bus, connection, queue, older_than=age))
        if not jobs:
            say("no failed jobs")
            return ExitCode.DONE
        if dry_run:
            for job in jobs:
                click.echo(one_line(job.id))
        question = f"Delete {counted(jobs, _JOB)} for good?"
        if not agreed(question, yes=yes, dry_run=dry_run):
            return ExitCode.DONE if dry_run else ExitCode.UNDONE
        # Those that were counted, not those that failed while the question stood there.
        done, _ = _each(jobs, bus.failed.forget)
    say(f"{counted(done, _JOB)} deleted")
    return ExitCode.DONE


def _chosen(
    bus: EventBus,
    connection: str | None,
    queue: str | None,
    *,
    older_than: float | None = None,
    ids: Sequence[str] | None = None,
) -> Iterable[FailedJob]:
    """Return the failed jobs that the options are about; where each of `ids` is one, only these."""
    try:
        if connection is not None and bus.connections.is_sync(connection):
            bus.connections.port(connection)  # says why a connection without a store has no jobs
    except ConfigurationError as error:
        misused(str(error))
    if queue is not None:
        check_names([queue])
    if ids is not None:
        named = bus.failed.all(connection=connection, queue=queue, ids=ids)
        if {one.id for one in named}.issuperset(ids):
            return named
    return bus.failed.each(connection=connection, queue=queue, older_than=older_than)


@frozen(kw_only=True)
class _Named:
    """What is to be known of a job to act on it."""

    id: str
    connection: str


def _named(jobs: Iterable[FailedJob]) -> list[_Named]:
    return [_Named(id=one.id, connection=one.connection) for one in jobs]


def _each(jobs: Sequence[_Named], act: Callable[..., list[str]]) -> tuple[list[str], list[str]]:
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


def _facts(job: FailedJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "listener": job.name,
        "event": job.event,
        "connection": job.connection,
        "queue": job.queue,
        "batch": job.batch,
        "attempts": job.attempts,
        "losses": job.losses,
        "pushed_at": job.pushed_at.astimezone(UTC).isoformat(),
        "failed_at": job.failed_at.astimezone(UTC).isoformat(),
        "reason": job.reason,
    }


def _parked_cells(job: ParkedJob) -> list[str]:
    return [
        cut(job.id),
        cut(job.display_name or job.name),
        cut(job.event),
        job.connection,
        job.queue,
        instant(job.due),
        cut(job.reason),
    ]


def _cells(job: FailedJob) -> list[str]:
    return [
        cut(job.id),
        cut(job.display_name or job.name),
        cut(job.event),
        job.connection,
        job.queue,
        str(job.attempts),
        str(job.losses),
        instant(job.failed_at),
        cut(job.reason),
    ]


def _show(job: FailedJob, *, as_json: bool, whole: bool) -> None:
    """Print a job: what it is, its error, and the data of its event."""
    held, facts = contents(job.body, left_out=job.left_out, whole=whole), _facts(job)
    if as_json:
        print_json({**facts, "error": job.error, **held.facts})
        return
    if not job.batch:
        del facts["batch"]
    for line in aligned([(name.replace("_", " "), str(value)) for name, value in facts.items()]):
        click.echo(line)
    click.echo("error")
    click.echo("\n".join(indented(job.error)))
    held.show()
