"""How the `eventbus` command ends: its exit codes, and what it says before."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

import click

from eventbus.console.text import one_line
from eventbus.errors import BackendError, EventBusError, Unhealthy, UnsupportedOption

__all__ = ["ExitCode", "code_of", "misused", "say"]


class ExitCode(IntEnum):
    """What `eventbus` exits with; where it means the same, as `eventbus-worker` does."""

    #: Everything that was asked for was done.
    DONE = 0
    #: Something was not: an id is unknown, the question was answered with no, or what was looked
    #: at is not as it should be.
    UNDONE = 1
    #: The command was used wrongly.
    USAGE = 2
    #: The application cannot be loaded, or its listeners cannot.
    APPLICATION = 3
    #: The store cannot be reached.
    BACKEND = 4


def code_of(error: EventBusError) -> ExitCode:
    """Return what the command exits with after an error."""
    match error:
        case UnsupportedOption():
            return ExitCode.USAGE
        case BackendError():
            return ExitCode.BACKEND
        case Unhealthy():
            return ExitCode.UNDONE
        case _:
            return ExitCode.APPLICATION


def misused(message: str) -> NoReturn:
    """End the running command with `ExitCode.USAGE`."""
    click.get_current_context().fail(message)


def say(message: object) -> None:
    """Tell the user something, on stderr: stdout is for data."""
    click.echo(f"eventbus: {one_line(message)}", err=True)
