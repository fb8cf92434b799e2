"""`eventbus check`: would today's code still understand what is stored?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click
from attrs import define, field, frozen

from eventbus.backends.base import FailedJob, StoredJob
from eventbus.backends.port import Port
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, say
from eventbus.console.subjects import (
    check_names,
    connection_option,
    counted,
    json_option,
    queue_option,
    stores,
)
from eventbus.console.text import aligned, cut, print_json
from eventbus.errors import CodecError, DecodeError, UnknownName
from eventbus.queue.catalogue import Catalogue
from eventbus.queue.codec.document import RAW, Document, read
from eventbus.queue.fixed import read_fixed
from eventbus.text import described, short

__all__ = ["check"]

_COLUMNS: Final = (
    "CONNECTION", "LISTENER", "EVENT", "VERSION", "WAITING", "FAILED", "IDS", "PROBLEM",
)  # fmt: skip
#: Ids that are told of one problem; `eventbus peek` and `eventbus failed` show the jobs.
_IDS: Final = 3
#: Problems that are told apart. Stored bytes can be wrong in more ways than there is memory for.
_PROBLEMS: Final = 100


@frozen(kw_only=True)
class _Problem:
    """Why jobs would not run, and which."""

    connection: str
    listener: str = ""
    event: str = ""
    #: Of the event's fields; None where the document cannot be read.
    version: int | None = None
    problem: str


@define(eq=False)
class _Jobs:
    """The jobs that have one problem."""

    waiting: int = 0
    failed: int = 0
    ids: list[str] = field(factory=list[str])


@click.command("check")
@connection_option
@queue_option
@json_option
@click.pass_obj
def check(
    application: Application, connection: str | None, queue: str | None, *, as_json: bool
) -> ExitCode:
    """
    Try every stored job against the code as it is here: before a deploy, with the new code.

    Waiting, delayed, leased and failed jobs are read and their events are built, so constructors,
    converters, validators and upcasts run; no listener does, and nothing is changed. Prints what
    would not run, and why. Exits with 1 if there is any.
    """
    queues = None if queue is None else [queue]
    check_names(queues or ())
    found: dict[_Problem, _Jobs] = {}
    checked = 0
    with application.bus(scanned=True) as bus:
        catalogue = bus.catalogue()
        for port in stores(bus, connection):
            for job, failed in _stored(port, queues):
                checked += 1
                # What constructors print is not our data.
                with contextlib.redirect_stdout(sys.stderr):
                    problem = _tried(job, port.name, catalogue)
                if problem is not None:
                    _count(found, problem, job.envelope.id, failed=failed)
    if as_json:
        print_json({"checked": checked, "problems": [_facts(*one) for one in found.items()]})
    elif found:
        for line in aligned([_COLUMNS, *(_cells(*one) for one in found.items())]):
            click.echo(line)
    bad = sum(jobs.waiting + jobs.failed for jobs in found.values())
    say(f"{counted(checked, 'stored job')}, {bad or 'none'} of them would not run")
    return ExitCode.UNDONE if found else ExitCode.DONE


def _stored(
    port: Port, queues: Sequence[str] | None
) -> Iterator[tuple[StoredJob | FailedJob, bool]]:
    """Yield every job, and whether it has failed."""
    for job in port.each_stored(queues=queues):
        yield job, False
    if port.backend.capabilities.failed_jobs:
        for failed in port.each_failed(queues=queues):
            yield failed, True


def _tried(job: StoredJob | FailedJob, connection: str, catalogue: Catalogue) -> _Problem | None:
    """Return why a job would not run; None if it would."""
    if job.left_out:
        return _Problem(connection=connection, problem="it is larger than a job can be")
    envelope = job.envelope
    document: Document | None = None
    try:
        document = read(envelope.body, envelope=envelope.id)
        if document.kind == RAW:
            return None  # what it is to be is known to whoever claims it, and to nobody here
        read_fixed(document.options)
        catalogue.payload(document, catalogue.entry(document.name, document.kind))
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- constructors raise anything
        said = _said(error)
    else:
        return None
    if document is None:
        return _Problem(connection=connection, problem=said)
    return _Problem(
        connection=connection,
        listener=short(document.name),
        event=short(document.event or ""),
        version=document.version,
        problem=said,
    )


def _said(error: BaseException) -> str:
    match error:
        case UnknownName():
            return f"no {error.kind} is called {error.name!r} here"
        case DecodeError():
            return error.reason
        case CodecError():
            return short(str(error))
        case _:
            return described(error)


def _count(found: dict[_Problem, _Jobs], problem: _Problem, id: str, *, failed: bool) -> None:
    if problem not in found and len(found) >= _PROBLEMS:
        problem = _Problem(connection=problem.connection, problem="problems beyond those above")
    jobs = found.setdefault(problem, _Jobs())
    if failed:
        jobs.failed += 1
    else:
        jobs.waiting += 1
    if len(jobs.ids) < _IDS:
        jobs.ids.append(id)


def _facts(problem: _Problem, jobs: _Jobs) -> dict[str, Any]:
    return {
        "connection": problem.connection,
        "listener": problem.listener,
        "event": problem.event,
        "version": problem.version,
        "waiting": jobs.waiting,
        "failed": jobs.failed,
        "ids": jobs.ids,
        "problem": problem.problem,
    }


def _cells(problem: _Problem, jobs: _Jobs) -> list[str]:
    return [
        problem.connection,
        cut(problem.listener),
        cut(problem.event),
        "" if problem.version is None else str(problem.version),
        str(jobs.waiting),
        str(jobs.failed),
        cut(" ".join(jobs.ids)),
        cut(problem.problem),
    ]
