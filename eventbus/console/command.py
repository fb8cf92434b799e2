"""The `eventbus` command, of its parts."""

from __future__ import annotations

import io
import sys
from typing import Any, NoReturn

import click
from typing_extensions import override

from eventbus.console import failed, listeners
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, code_of, say
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
@click.version_option(package_name="eventbus")
@click.pass_context
def command(context: click.Context, app: str | None) -> None:
    """Look at the listeners and the failed jobs of an application."""
    context.obj = Application(app)


for _part in (
    listeners.list_,
    listeners.why,
    failed.failed,
    failed.retry,
    failed.forget,
    failed.flush,
):
    command.add_command(_part)


def main() -> None:
    """Run the command; the process ends with an `ExitCode`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding does not have is shown escaped, not a crash.
        sys.stdout.reconfigure(errors="backslashreplace")
    command(prog_name="eventbus")
