"""`eventbus batches`, `retry-batch`, `cancel-batch` and `prune-batches`: the batches that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import click

from eventbus.bus import EventBus
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.subjects import (
    agreed,
    check_somebody_can_answer,
    connection_option,
    counted,
    dry_run_option,
    duration,
    json_option,
    picked,
    stores,
    told,
    yes_option,
)
from eventbus.console.text import aligned, cut, instant, one_line, print_json
from eventbus.queue.batches import BatchState, is_over, state_of

__all__ = ["batches", "cancel_batch", "prune_batches", "retry_batch"]

_BATCH: Final = "batch"
_HEADS: Final = (
    "ID", "NAME", "CONNECTION", "QUEUE", "STATE", "TOTAL", "PENDING", "SUCCEEDED", "FAILED",
    "SKIPPED", "PROGRESS", "CREATED",
)  # fmt: skip
_LISTED: Final = "eventbus batches"
#: Unit: seconds.
_HOUR: Final = 3600


def _state(batch: BatchState) -> str:
    if batch.canceled:
        return "canceled"
    return "finished" if batch.finished else "running"


def _facts(batch: BatchState) -> dict[str, Any]:
    return {**batch.to_dict(), "state": _state(batch)}


def _cells(batch: BatchState) -> list[str]:
    numbers = (batch.total, batch.pending, batch.succeeded, batch.failed, batch.skipped)
    return [
        cut(batch.id),
        cut(batch.name),
        batch.connection,
        cut(batch.queue),
        _state(batch),
        *map(str, numbers),
        f"{batch.progress}%",
        instant(batch.created_at),
    ]


def _kept(bus: EventBus, connection: str | None) -> list[BatchState]:
    ports = [one for one in stores(bus, connection) if one.backend.capabilities.plans]
    if connection is not None and not ports:
        misused(f"connection {connection!r} has a store that keeps no batches")
    return [state_of(one, port.name) for port in ports for one in port.plans.each()]


@click.command("batches")
@click.argument("id", required=False)
@connection_option
@json_option
@click.pass_obj
def batches(
    application: Application, id: str | None, connection: str | None, *, as_json: bool
) -> ExitCode:
    """
    Show the batches that are kept, and how far each is; with ID one of them, and its failed members.

    ID may be how an id begins or ends, in 6 characters or more.
    """
    with application.bus() as bus:
        kept = _kept(bus, connection)
        if id is None:
            _show_all(kept, as_json=as_json)
            return ExitCode.DONE
        found, problems = picked(kept, [id], what=_BATCH, listed_by=_LISTED)
        for one in found:
            failed = bus.batch_handle(one.id, connection=one.connection).failed_ids()
            _show(one, failed, as_json=as_json)
    return told(problems)


def _show_all(kept: Sequence[BatchState], *, as_json: bool) -> None:
    if as_json:
        print_json(list(map(_facts, kept)))
    elif kept:
        for line in aligned([_HEADS, *map(_cells, kept)]):
            click.echo(line)
    else:
        say("no batches")


def _show(batch: BatchState, failed: Sequence[str], *, as_json: bool) -> None:
    facts: dict[str, Any] = {**_facts(batch), "failed_ids": list(failed)}
    if as_json:
        print_json(facts)
        return
    facts["failed_ids"] = " ".join(failed) or "-"
    rows = [(name.replace("_", " "), one_line(f"{value}")) for name, value in facts.items()]
    for line in aligned(rows):
        click.echo(line)


@click.command("retry-batch")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@connection_option
@click.pass_obj
def retry_batch(application: Application, ids: tuple[str, ...], connection: str | None) -> ExitCode:
    """
    Put the failed members of batches back into their queues, with all their tries.

    Prints the id of each. A batch that one of them had canceled goes on. ID may be how an id begins or ends, in 6
    characters or more.
    """
    done = 0
    with application.bus() as bus:
        found, problems = picked(_kept(bus, connection), ids, what=_BATCH, listed_by=_LISTED)
        for one in found:
            for name in bus.batch_handle(one.id, connection=one.connection).retry():
                click.echo(one_line(name))
                done += 1
    say(f"{counted(done, 'failed job')} back in the queue")
    return told(problems)


@click.command("cancel-batch")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@connection_option
@yes_option
@click.option("--dry-run", is_flag=True, help="Only tell what would be canceled; needs no --yes.")
@click.pass_obj
def cancel_batch(
    application: Application,
    ids: tuple[str, ...],
    connection: str | None,
    *,
    yes: bool,
    dry_run: bool,
) -> ExitCode:
    """
    Let the members of batches that have not begun not run any more; they count as skipped.

    Prints the id of each batch; one that is finished is left alone. ID may be how an id begins or ends, in 6
    characters or more. Where nobody can be asked, it needs --yes.
    """
    check_somebody_can_answer(yes=yes, dry_run=dry_run, verb="cancel")
    with application.bus() as bus:
        found, problems = picked(_kept(bus, connection), ids, what=_BATCH, listed_by=_LISTED)
        going = [one for one in found if not one.finished]
        problems += [
            f"batch {one.id} is finished, and was left alone" for one in found if one.finished
        ]
        if dry_run:
            for one in going:
                click.echo(one_line(one.id))
        question = f"Skip what has not begun of {counted(going, _BATCH)}?"
        if not going or not agreed(question, yes=yes, dry_run=dry_run, done="canceled"):
            code = told(problems)
            return ExitCode.UNDONE if going and not dry_run else code
        done = [one for one in going if _canceled(bus, one)]
    problems += [f"batch {one.id} was pruned meanwhile" for one in going if one not in done]
    say(f"{counted(done, _BATCH)} canceled")
    return told(problems)


def _canceled(bus: EventBus, batch: BatchState) -> bool:
    """Cancel a batch, print its id, and return whether it was there."""
    is_there = bus.batch_handle(batch.id, connection=batch.connection).cancel()
    if is_there:
        click.echo(one_line(batch.id))
    return is_there


@click.command("prune-batches")
@connection_option
@click.option("--older-than", type=float, metavar="SECONDS",
              help="Only batches that finished longer ago than this. Default: a day.")  # fmt: skip
@click.option("--hours", type=float, metavar="N", help="The same, in hours.")
@click.option("--unfinished", is_flag=True,
              help="Also those that were enqueued as long ago and are not finished.")  # fmt: skip
@yes_option
@dry_run_option
@click.pass_obj
def prune_batches(
    application: Application,
    connection: str | None,
    older_than: float | None,
    hours: float | None,
    *,
    unfinished: bool,
    yes: bool,
    dry_run: bool,
) -> ExitCode:
    """
    Forget batches that are long finished, after telling how many they are.

    Prints the id of each. Of one that is not finished, members that still wait run all the same, and count nowhere;
    what waits for its end is deleted. Where nobody can be asked, it needs --yes.
    """
    check_somebody_can_answer(yes=yes, dry_run=dry_run)
    age = _age(older_than, hours)
    with application.bus() as bus:
        limit = bus.connections.now() - timedelta(seconds=age)
        old = [one for one in _kept(bus, connection) if is_over(one, limit, unfinished=unfinished)]
        if not old:
            say("no such batches")
            return ExitCode.DONE
        if dry_run:
            for one in old:
                click.echo(one_line(one.id))
        question = f"Forget {counted(old, _BATCH)} for good?"
        if not agreed(question, yes=yes, dry_run=dry_run):
            return ExitCode.DONE if dry_run else ExitCode.UNDONE
        # Those that were counted, not those that finished while the question stood there.
        done = [one for one in old if _forgotten(bus, one, limit, unfinished=unfinished)]
    say(f"{counted(done, _BATCH)} forgotten")
    return ExitCode.DONE


def _age(older_than: float | None, hours: float | None) -> float:
    """Return the seconds that one of two options was given, or a day; end the command if both were."""
    if older_than is not None and hours is not None:
        misused("how old? Write --older-than or --hours, not both")
    if older_than is not None:
        return duration(older_than, "--older-than")
    return duration((24 if hours is None else hours) * _HOUR, "--hours")


def _forgotten(bus: EventBus, batch: BatchState, limit: datetime, *, unfinished: bool) -> bool:
    """Forget a batch, unless it went on while the question stood there; print its id, and return whether it is gone."""
    plans = bus.connections.port(batch.connection).plans
    now = plans.batch(batch.id)
    if now is None or not is_over(now, limit, unfinished=unfinished) or not plans.forget([now.id]):
        return False
    click.echo(one_line(batch.id))
    return True
