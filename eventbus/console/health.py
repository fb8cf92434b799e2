"""`eventbus health`: whether a worker works, by the file that it keeps current."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from eventbus.console.exits import ExitCode
from eventbus.console.subjects import counted, duration, json_option
from eventbus.console.text import one_line, print_json
from eventbus.defaults import HEALTH_MAX_AGE

if TYPE_CHECKING:
    from eventbus.worker.vital import Vital

__all__ = ["health"]


@click.command("health")
@click.option("--file", "file", required=True, envvar="EVENTBUS_HEALTH_FILE", metavar="PATH",
              help="The worker's --health-file.")  # fmt: skip
@click.option("--max-age", type=float, default=HEALTH_MAX_AGE, metavar="SECONDS",
              help=f"How old its last sign of life may be. Default: {HEALTH_MAX_AGE:g}.")  # fmt: skip
@click.option("--max-job-age", type=float, metavar="SECONDS",
              help="How long its running job may have taken. Default: no limit.")  # fmt: skip
@json_option
def health(file: str, max_age: float, max_job_age: float | None, *, as_json: bool) -> ExitCode:
    """
    Tell whether a worker works: 0 if it does, 1 if not, and why.

    It reads the file alone, and needs no application: a probe of a container.
    """
    from eventbus.worker.vital import check_health

    age = duration(max_age, "--max-age")
    limit = None if max_job_age is None else duration(max_job_age, "--max-job-age")
    vital = check_health(file, max_age=age, max_job_age=limit)
    if as_json:
        print_json(_facts(vital))
    else:
        click.echo(one_line(_told(vital)))
    return ExitCode.DONE


def _told(vital: Vital) -> str:
    name = f" {vital.name}" if vital.name else ""
    said = f"worker{name} (process {vital.pid}) is {vital.state}"
    if vital.job is not None:
        job, listener, since = vital.job
        said += (
            f" on job {job} of {listener} for {(datetime.now(UTC) - since).total_seconds():.0f} s"
        )
    return f"{said}; {counted(vital.processed, 'job')} done, {vital.failed} raised"


def _facts(vital: Vital) -> dict[str, Any]:
    job = vital.job
    return {
        "pid": vital.pid,
        "host": vital.host,
        "name": vital.name,
        "connection": vital.connection,
        "queues": list(vital.queues),
        "state": vital.state,
        "job": None
        if job is None
        else {"id": job[0], "listener": job[1], "since": job[2].isoformat()},
        "processed": vital.processed,
        "failed": vital.failed,
        "started_at": vital.started_at.isoformat(),
        "alive_at": vital.alive_at.isoformat(),
        "loop_at": vital.loop_at.isoformat(),
        "loop_due": vital.loop_due.isoformat(),
        "memory": vital.memory,
    }
