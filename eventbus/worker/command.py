"""The `eventbus-worker` command."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import click

from eventbus.defaults import GRACE, LEASE, SLEEP, TIMEOUT, TRIES
from eventbus.errors import ApplicationNotFound, BackendError, ConfigurationError, EventBusError
from eventbus.locate import configured_application, find_bus
from eventbus.worker.loop import ExitCode, Worker

__all__ = ["main"]


class _Backoff(click.ParamType[tuple[float, ...]]):
    """`5`, or `1,5,30`: seconds before the second try, the third, and all that follow."""

    name = "seconds"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        try:
            return tuple(float(one) for one in str(value).split(","))
        except ValueError:
            self.fail(f"expected seconds such as 5 or 1,5,30, got: {value!r}", param, ctx)


_WHICH: Final = "which application? Write eventbus-worker shop.app:bus, or set EVENTBUS_APP"


@click.command(context_settings={"auto_envvar_prefix": "EVENTBUS", "show_default": True})
@click.argument("app", required=False, metavar="MODULE:BUS")
@click.option("--connection", help="The connection to work on. Default: the bus's default.")
@click.option("--queue", help="Queues, in the order in which they are looked at: emails,default.")
@click.option("--once", is_flag=True, help="Run one job, or none if none is due, then stop.")
@click.option("--stop-when-empty", is_flag=True, help="Stop when nothing is due.")
@click.option("--tries", type=click.IntRange(min=0), default=TRIES,
              help="Tries for listeners that do not say; 0 is no limit.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=0), default=TIMEOUT,
              help="Seconds for listeners that do not say; 0 is no limit.")  # fmt: skip
@click.option("--backoff", type=_Backoff(), default="0",
              help="Seconds before each further try, for listeners that do not say.")  # fmt: skip
@click.option("--sleep", type=click.FloatRange(min=0, min_open=True), default=SLEEP,
              help="Seconds between two looks at empty queues.")  # fmt: skip
@click.option("--lease", type=click.FloatRange(min=0, min_open=True), default=LEASE,
              help="Seconds after which others take over what a dead worker left.")  # fmt: skip
@click.option("--grace", type=click.FloatRange(min=0), default=GRACE,
              help="Seconds that the running job has once the worker is to stop.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print warnings only.")
@click.version_option(package_name="eventbus")
def command(app: str | None, queue: str | None, *, quiet: bool, **options: Any) -> None:
    """
    Run the queued listeners of MODULE:BUS, such as shop.app:bus.

    Left out, MODULE:BUS is EVENTBUS_APP, or `app` of [tool.eventbus] in pyproject.toml. SIGTERM and
    Ctrl-C end the worker after the running job; a second one, at once.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if quiet else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        named = app or configured_application()
        if named is None:
            raise click.UsageError(_WHICH)
        bus = find_bus(named)
        queues = tuple(one.strip() for one in queue.split(",")) if queue else ()
        try:
            worker = Worker(bus, queues=queues, **options)
        except ConfigurationError as error:
            raise click.UsageError(str(error)) from error
        code = worker.run()
    except BackendError as error:
        _end(ExitCode.BACKEND, error)
    except (ApplicationNotFound, EventBusError) as error:
        _end(ExitCode.APPLICATION, error)
    else:
        bus.close()
        sys.exit(code)


def _end(code: ExitCode, error: EventBusError) -> None:
    click.echo(f"eventbus-worker: {error}", err=True)
    cause = error.__cause__
    if cause is not None:
        logging.getLogger("eventbus.worker").info("it was caused by this", exc_info=cause)
    sys.exit(code)


def main() -> None:
    """Run the command; the process ends with an `ExitCode`."""
    command(prog_name="eventbus-worker")
