"""`eventbus size`, `peek`, `cancel` and `clear`: what lies in the queues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC
from itertools import islice
from typing import Any, Final

import click
from attrs import asdict, frozen

from eventbus.backends.base import Sizes, State, StoredJob
from eventbus.backends.port import Port
from eventbus.bus import EventBus
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.subjects import (
    Contents,
    agreed,
    check_names,
    check_somebody_can_answer,
    connection_option,
    contents,
    counted,
    dry_run_option,
    json_option,
    picked,
    sound_queues,
    stores,
    told,
    yes_option,
)
from eventbus.console.text import aligned, cut, instant, one_line, print_json
from eventbus.defaults import PEEK_LIMIT

__all__ = ["cancel", "clear", "peek", "size"]

_SIZES: Final = ("CONNECTION", "QUEUE", "READY", "DELAYED", "LEASED", "FAILED", "HELD", "PAUSED")
_JOBS: Final = (
    "ID", "CONNECTION", "QUEUE", "STATE", "DUE", "ATTEMPTS", "LOSSES", "RELEASES", "LISTENER",
    "EVENT", "PARKED",
)  # fmt: skip
_JOB: Final = "waiting job"
#: The queue of a pause that is about every queue.
_ALL: Final = "*"


@frozen(kw_only=True)
class _Line:
    """One queue of one connection."""

    port: Port
    queue: str
    sizes: Sizes
    paused: bool

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "connection": self.port.name,
            "queue": self.queue,
            **asdict(self.sizes),
            "paused": self.paused,
        }

    @property
    def cells(self) -> list[str]:
        *facts, paused = self.facts.values()
        return [*map(str, facts), "yes" if paused else "no"]

    @property
    def waiting(self) -> int:
        return self.sizes.ready + self.sizes.delayed + self.sizes.held


@click.command("size")
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@connection_option
@click.option("--max", "limit", type=click.IntRange(min=1), metavar="N",
              help="Exit with 1 if N jobs or more are ready in one of the queues.")  # fmt: skip
@json_option
@click.pass_obj
def size(
    application: Application,
    queues: tuple[str, ...],
    connection: str | None,
    limit: int | None,
    *,
    as_json: bool,
) -> ExitCode:
    """
    Count the jobs of QUEUEs by state, and tell which queues are paused.

    Without QUEUE, all in which something lies or which are paused; * stands for a pause of all.
    """
    check_names(queues)
    with application.bus() as bus:
        lines = [line for port in stores(bus, connection) for line in _lines(port, queues)]
    if as_json:
        print_json([one.facts for one in lines])
    elif lines:
        for row in aligned([_SIZES, *(one.cells for one in lines)]):
            click.echo(row)
    else:
        say("nothing lies in any queue")
    return told(
        [
            f"{one.sizes.ready} jobs are ready in {one.queue} of {one.port.name}, {limit} or more"
            for one in lines
            if limit is not None and one.sizes.ready >= limit
        ]
    )


def _lines(port: Port, queues: Sequence[str]) -> Iterator[_Line]:
    """Yield the queues that were named; of none, all that the connection knows of, and `*`."""
    orders = port.orders()
    if not queues and orders.is_paused(_ALL):
        # A pause of all is about queues, too, in which nothing lies yet.
        yield _Line(port=port, queue=_ALL, sizes=Sizes(), paused=True)
    known = dict.fromkeys(queues) or sorted({*port.queues(), *orders.paused} - {_ALL})
    for queue in sound_queues(port, known):
        yield _Line(port=port, queue=queue, sizes=port.size(queue), paused=orders.is_paused(queue))


@frozen(kw_only=True)
class _Stored:
    """A job that waits or is leased, and where."""

    connection: str
    stored: StoredJob

    @property
    def id(self) -> str:
        return self.stored.envelope.id

    def contents(self) -> Contents:
        return contents(self.stored.envelope.body, left_out=self.stored.left_out)

    def facts(self, held: Contents) -> dict[str, Any]:
        job = self.stored
        return {
            "id": self.id,
            "listener": held.listener,
            "event": held.event,
            "connection": self.connection,
            "queue": job.envelope.queue,
            "state": str(job.state),
            "due": None if job.state is State.HELD else job.due.astimezone(UTC).isoformat(),
            "attempts": job.attempts,
            "losses": job.losses,
            "releases": job.releases,
            "pushed_at": job.pushed_at.astimezone(UTC).isoformat(),
            "parked": job.parked,
        }

    def cells(self, held: Contents) -> list[str]:
        job = self.stored
        return [
            cut(self.id),
            self.connection,
            cut(job.envelope.queue),
            str(job.state),
            "-" if job.state is State.HELD else instant(job.due),
            str(job.attempts),
            str(job.losses),
            str(job.releases),
            cut(held.listener),
            cut(held.event),
            cut(job.parked),
        ]


@click.command("peek")
@click.argument("queue", required=False)
@connection_option
@click.option("--state", type=click.Choice([str(one) for one in State]), metavar="STATE",
              help="Only jobs in this state: ready, delayed, leased or held.")  # fmt: skip
@click.option("--parked", is_flag=True, help="Only jobs that wait for other code, and why.")
@click.option("--limit", type=click.IntRange(min=1), default=PEEK_LIMIT, metavar="N",
              help=f"Most jobs to show. Default: {PEEK_LIMIT}.")  # fmt: skip
@click.option("--data", is_flag=True, help="Also the data of their events.")
@json_option
@click.pass_obj
def peek(
    application: Application,
    queue: str | None,
    connection: str | None,
    state: str | None,
    limit: int,
    *,
    parked: bool,
    data: bool,
    as_json: bool,
) -> ExitCode:
    """
    Show jobs that wait or run, of QUEUE or of all queues, and change nothing.

    DUE is when a job may run; of one that runs, when its lease ends unless it is renewed. One that is held waits for
    its turn in a chain or a batch.
    """
    queues = None if queue is None else [queue]
    check_names(queues or ())
    with application.bus() as bus:
        found = (
            one
            for one in _stored(bus, connection, queues=queues, parked=parked)
            if state is None or one.stored.state == state
        )
        jobs = list(islice(found, limit + 1))
    _show_jobs([(one, one.contents()) for one in jobs[:limit]], data=data, as_json=as_json)
    if not jobs:
        say("no such jobs" if parked or state else "no jobs wait or run")
    elif len(jobs) > limit:
        say(f"there are more than {limit}; --limit shows more")
    return ExitCode.DONE


def _stored(
    bus: EventBus,
    connection: str | None,
    *,
    queues: Sequence[str] | None = None,
    parked: bool = False,
) -> Iterator[_Stored]:
    for port in stores(bus, connection):
        for one in port.each_stored(queues=queues, parked=parked):
            yield _Stored(connection=port.name, stored=one)


def _show_jobs(jobs: Sequence[tuple[_Stored, Contents]], *, data: bool, as_json: bool) -> None:
    if as_json:
        print_json([{**job.facts(held), **(held.facts if data else {})} for job, held in jobs])
    elif data:
        for number, (job, held) in enumerate(jobs):
            if number:
                click.echo()
            facts = job.facts(held).items()
            for line in aligned([(name.replace("_", " "), str(value)) for name, value in facts]):
                click.echo(line)
            held.show()
    elif jobs:
        for line in aligned([_JOBS, *(job.cells(held) for job, held in jobs)]):
            click.echo(line)


@click.command("cancel")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@connection_option
@yes_option
@dry_run_option
@click.pass_obj
def cancel(
    application: Application,
    ids: tuple[str, ...],
    connection: str | None,
    *,
    yes: bool,
    dry_run: bool,
) -> ExitCode:
    """
    Delete jobs that wait, delayed ones too, and those that were to follow in a chain; one that runs is left alone.

    Prints the id of each that is gone. ID may be how an id begins or ends, in 6 characters or more. Where
    nobody can be asked, it needs --yes.
    """
    check_somebody_can_answer(yes=yes, dry_run=dry_run)
    with application.bus() as bus:
        stored = _stored(bus, connection)
        found, problems = picked(stored, ids, what=_JOB, listed_by="eventbus peek")
        waiting = [one for one in found if one.stored.state is not State.LEASED]
        problems += [
            f"job {one.id} runs now, and was left alone" for one in found if one not in waiting
        ]
        if dry_run:
            for one in waiting:
                click.echo(one_line(one.id))
        question = f"Delete {counted(waiting, _JOB)} for good?"
        if not waiting or not agreed(question, yes=yes, dry_run=dry_run):
            code = told(problems)
            return ExitCode.UNDONE if waiting and not dry_run else code
        done = _cancelled(bus, waiting)
    problems += [
        f"job {one.id} was begun meanwhile, and left alone" for one in waiting if one not in done
    ]
    say(f"{counted(done, _JOB)} deleted")
    return told(problems)


def _cancelled(bus: EventBus, jobs: Sequence[_Stored]) -> list[_Stored]:
    """Cancel jobs, print the id of each that is gone, and return them."""
    done: list[_Stored] = []
    missed: list[_Stored] = []
    for one in jobs:
        if bus.connections.port(one.connection).cancel([one.id]):
            click.echo(one_line(one.id))
            done.append(one)
        else:
            missed.append(one)
    for one in missed:
        if one.stored.state is State.HELD and not _is_there(bus, one):
            # It went with the one that it was to follow.
            click.echo(one_line(one.id))
            done.append(one)
    return done


def _is_there(bus: EventBus, job: _Stored) -> bool:
    port = bus.connections.port(job.connection)
    queues = [job.stored.envelope.queue]
    return any(one.envelope.id == job.id for one in port.each_stored(queues=queues))


@click.command("clear")
@click.argument("queues", nargs=-1, metavar="QUEUE...")
@connection_option
@yes_option
@dry_run_option
@click.pass_obj
def clear(
    application: Application,
    queues: tuple[str, ...],
    connection: str | None,
    *,
    yes: bool,
    dry_run: bool,
) -> ExitCode:
    """
    Delete all that waits in QUEUEs, delayed and held jobs too; what runs and what failed is left alone.

    Prints connection, queue and number of what is gone. Where nobody can be asked, it needs --yes.
    """
    if not queues:
        misused("clear which queues? Write their names")
    check_names(queues)
    check_somebody_can_answer(yes=yes, dry_run=dry_run)
    with application.bus() as bus:
        lines = [
            line
            for port in stores(bus, connection)
            for line in _lines(port, queues)
            if line.waiting
        ]
        if not lines:
            say("nothing waits there")
            return ExitCode.DONE
        if dry_run:
            for one in lines:
                click.echo(f"{one.port.name} {one.queue} {one.waiting}")
        where = ", ".join(f"{one.waiting} in {one.queue} of {one.port.name}" for one in lines)
        question = f"Delete {counted(sum(one.waiting for one in lines), _JOB)} for good ({where})?"
        if not agreed(question, yes=yes, dry_run=dry_run):
            return ExitCode.DONE if dry_run else ExitCode.UNDONE
        gone = 0
        for one in lines:
            number = one.port.clear(one.queue)
            gone += number
            click.echo(f"{one.port.name} {one.queue} {number}")
    say(f"{counted(gone, _JOB)} deleted")
    return ExitCode.DONE
