"""The `eventbus-worker` command."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Final

import click

from eventbus.bus import EventBus
from eventbus.defaults import BATCH_LIMIT, CONCURRENCY_LIMIT, GRACE, LEASE, SLEEP, TIMEOUT, TRIES
from eventbus.errors import ApplicationNotFound, BackendError, ConfigurationError, EventBusError
from eventbus.locate import configured_application, find_bus
from eventbus.worker.exits import ExitCode
from eventbus.worker.logs import configure
from eventbus.worker.loop import Worker
from eventbus.worker.processes import run_processes
from eventbus.worker.reload import run_reloading
from eventbus.worker.settings import ledgers_for
from eventbus.worker.slot import Slot

__all__ = ["main"]


class _Backoff(click.ParamType[tuple[float, ...]]):
    """`5`, or `1,5,30`: seconds before the second try, the third, and all that follow."""

    name = "seconds"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        try:
            return tuple(float(one) for one in str(value).split(","))
        except ValueError:
            self.fail(f"expected seconds such as 5 or 1,5,30, got: {value!r}", param, ctx)


class _Queues(click.ParamType["tuple[str, ...] | dict[str, int]"]):
    """`emails,default`: strictly in this order; or `emails=3,default=1`: by weight."""

    name = "names"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...] | dict[str, int]:
        parts = [one.strip().partition("=") for one in str(value).split(",")]
        if not any(equals for _, equals, _ in parts):
            return tuple(name for name, _, _ in parts)
        try:
            return {name: int(weight) for name, _, weight in parts}
        except ValueError:
            self.fail(
                f"expected a weight for each queue, such as emails=3,default=1, got: {value!r}",
                param,
                ctx,
            )


_WHICH: Final = "which application? Write eventbus-worker shop.app:bus, or set EVENTBUS_APP"
_SECONDS: Final = click.FloatRange(min=0)
_SOME_SECONDS: Final = click.FloatRange(min=0, min_open=True)


@click.command(context_settings={"auto_envvar_prefix": "EVENTBUS", "show_default": True})
@click.argument("app", required=False, metavar="MODULE:BUS")
@click.option("--connection", help="The connection to work on. Default: the bus's default.")
@click.option("--queue", type=_Queues(), default=None,
              help="Queues, in the order in which they are looked at: emails,default."
              " With weights, drawn anew each time: emails=3,default=1.")  # fmt: skip
@click.option("--name", help="What logs call this worker. Default: machine and process.")
@click.option("--once", is_flag=True, help="Run one job, or none if none is due, then stop.")
@click.option("--stop-when-empty", is_flag=True, help="Stop when nothing is due.")
@click.option("--include-delayed", is_flag=True,
              help="With --stop-when-empty: stop when nothing is delayed either.")  # fmt: skip
@click.option("--max-jobs", type=click.IntRange(min=0), default=0,
              help="Stop after so many jobs; 0 is no limit.")  # fmt: skip
@click.option("--max-time", type=_SECONDS, default=0,
              help="Stop after so many seconds; 0 is no limit.")  # fmt: skip
@click.option("--memory", type=click.IntRange(min=0), default=0,
              help="Stop when the process holds so many MiB; 0 is no limit.")  # fmt: skip
@click.option("--tries", type=click.IntRange(min=0), default=TRIES,
              help="Tries for listeners that do not say; 0 is no limit.")  # fmt: skip
@click.option("--timeout", type=_SECONDS, default=TIMEOUT,
              help="Seconds for listeners that do not say; 0 is no limit.")  # fmt: skip
@click.option("--backoff", type=_Backoff(), default="0",
              help="Seconds before each further try, for listeners that do not say.")  # fmt: skip
@click.option("--sleep", type=_SOME_SECONDS, default=SLEEP,
              help="Seconds between two looks at empty queues, where nothing wakes the worker.")  # fmt: skip
@click.option("--rest", type=_SECONDS, default=0, help="Seconds between two jobs.")
@click.option("--lease", type=_SOME_SECONDS, default=LEASE,
              help="Seconds after which others take over what a dead worker left.")  # fmt: skip
@click.option("--grace", type=_SECONDS, default=GRACE,
              help="Seconds that the running job has once the worker is to stop.")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=BATCH_LIMIT,
              help="Most jobs claimed at once, fewer where they are slow; 1 is one by one.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), default=1,
              help="Jobs that run at once in a process, each in a thread of its own.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, CONCURRENCY_LIMIT), default=1,
              help="Async jobs that run at once in a process, on one loop.")  # fmt: skip
@click.option("--processes", type=click.IntRange(min=1), default=1,
              help="Worker processes to keep running; more than 1 are watched and replaced by another.")  # fmt: skip
@click.option("--health-file", type=click.Path(dir_okay=False, path_type=Path),
              help="A file to keep current, for `eventbus health`.")  # fmt: skip
@click.option("--reload", is_flag=True,
              help="Start anew when a file below the current folder changes: for development.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["console", "json"]), default="console",
              help="What lines on stderr look like.")  # fmt: skip
@click.option("--json", is_flag=True, help="The same as --log-format json.")
@click.option("-q", "--quiet", is_flag=True, help="Print warnings only.")
@click.option("-v", "--verbose", is_flag=True, help="Print more of each job, and when it begins.")
@click.version_option(package_name="eventbus")
def command(
    app: str | None,
    name: str | None,
    queue: Any,
    *,
    reload: bool,
    processes: int,
    health_file: Path | None,
    log_format: Any,
    json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """
    Run the queued listeners of MODULE:BUS, such as shop.app:bus.

    Left out, MODULE:BUS is EVENTBUS_APP, or `app` of [tool.eventbus] in pyproject.toml. SIGTERM and
    Ctrl-C end the worker after the running job; a second one, at once.
    """
    slot = Slot.taken()
    if slot is not None:
        slot.follow()
        name = name and f"{name}:{slot.number}"
        health_file = health_file and health_file.with_name(f"{health_file.name}.{slot.number}")
    configure(
        "json" if json else log_format,
        logging.WARNING if quiet else logging.INFO,
        verbose=verbose,
        worker=name or "",
    )
    if verbose:
        logging.getLogger("eventbus.worker").setLevel(logging.DEBUG)
    try:
        named = app or configured_application()
        if named is None:
            raise click.UsageError(_WHICH)
        if reload:
            sys.exit(run_reloading([one for one in sys.argv[1:] if one != "--reload"]))
        if processes > 1 and slot is None:
            ledgers = ledgers_for(options["threads"], options["concurrency"])
            grace = options["grace"]
            sys.exit(run_processes(sys.argv[1:], processes, ledgers=ledgers, grace=grace))
        bus = find_bus(named)
        options |= {"queues": queue or (), "name": name, "health_file": health_file}
        code = _worker(bus, slot, options).run()
    except BackendError as error:
        _end(ExitCode.BACKEND, error)
    except (ApplicationNotFound, EventBusError) as error:
        _end(ExitCode.APPLICATION, error)
    else:
        bus.close()
        sys.exit(code)


def _worker(bus: EventBus, slot: Slot | None, options: dict[str, Any]) -> Worker:
    try:
        worker = Worker(bus, **options)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    if slot is not None:
        worker.ledgers, worker.died = slot.ledgers(worker.settings.ledgers), slot.how
        worker.signals.paused = slot.paused
    return worker


def _end(code: ExitCode, error: EventBusError) -> None:
    click.echo(f"eventbus-worker: {error}", err=True)
    cause = error.__cause__
    if cause is not None:
        logging.getLogger("eventbus.worker").info("it was caused by this", exc_info=cause)
    sys.exit(code)


def main() -> None:
    """Run the command; the process ends with an `ExitCode`."""
    command(prog_name="eventbus-worker")
