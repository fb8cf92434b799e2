"""The `eventbus` command, of its parts."""

from __future__ import annotations

import io
import sys
from datetime import tzinfo
from typing import Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from typing_extensions import override

from eventbus.console import (
    batches,
    check,
    control,
    doctor,
    failed,
    health,
    listeners,
    make,
    queues,
    schema,
    supervision,
)
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, code_of, say
from eventbus.console.text import ZONE
from eventbus.errors import EventBusError

__all__ = ["command", "main"]


class _Console(click.Group):
    """Commands that return an `ExitCode`, and that tell of every error in one line."""

    @override
    def main(self, *args: Any, **extra: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            say(_advised(error))
            code = error.exit_code
        except click.Abort:
            say("interrupted")
            code = ExitCode.UNDONE
        except EventBusError as error:
            say(error)
            code = code_of(error)
        except Exception as error:  # noqa: BLE001 -- the application's code runs here, and raises anything
            say(f"the application raised {type(error).__name__}: {error}")
            code = ExitCode.APPLICATION
        sys.exit(code)


class _Zone(click.ParamType[tzinfo]):
    """The name of a time zone, as the system has them."""

    name = "zone"

    @override
    def convert(self, value: Any, param: Any, ctx: Any) -> tzinfo:
        try:
            return ZoneInfo(value)
        except (OSError, ValueError, ZoneInfoNotFoundError):
            self.fail(f"expected a time zone such as Europe/Lisbon, got: {value!r}", param, ctx)


def _advised(error: click.ClickException) -> str:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    end = "" if message.endswith((".", "?")) else "."
    return f"{message}{end} See {context.command_path} --help"


@click.group(cls=_Console, no_args_is_help=False)
@click.option("--app", metavar="MODULE:BUS", envvar="EVENTBUS_APP", show_envvar=True,
              help="The application, such as shop.app:bus. Default: `app` of [tool.eventbus] in"
                   " pyproject.toml.")  # fmt: skip
@click.option("--tz", type=_Zone(), envvar="EVENTBUS_TZ", metavar="ZONE",
              help="The time zone of instants in tables, such as Europe/Lisbon. Default: UTC.")  # fmt: skip
@click.version_option(package_name="eventbus")
@click.pass_context
def command(context: click.Context, app: str | None, tz: tzinfo | None) -> None:
    """Look at listeners, queues and failed jobs of an application, and tell its workers what to do."""
    context.obj = Application(app)
    if tz is not None:
        context.meta[ZONE] = tz


for _part in (
    listeners.list_,
    listeners.why,
    failed.failed,
    failed.retry,
    failed.forget,
    failed.flush,
    queues.size,
    queues.peek,
    queues.cancel,
    queues.clear,
    batches.batches,
    batches.retry_batch,
    batches.cancel_batch,
    batches.prune_batches,
    control.pause,
    control.resume,
    control.restart,
    check.check,
    doctor.doctor,
    schema.schema,
    health.health,
    supervision.supervisor,
    make.make,
):
    command.add_command(_part)


def main() -> None:
    """Run the command; the process ends with an `ExitCode`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding does not have is shown escaped, not a crash.
        sys.stdout.reconfigure(errors="backslashreplace")
    command(prog_name="eventbus")
