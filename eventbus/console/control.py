"""`eventbus restart`, `pause` and `resume`: orders that every worker of a connection follows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import click

from eventbus.backends.port import Port
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.subjects import check_names, connection_option, duration, stores, told
from eventbus.console.text import one_line
from eventbus.errors import ConfigurationError
from eventbus.values import valid_name

__all__ = ["pause", "restart", "resume"]

#: What stands for all queues, in orders.
_ALL: Final = "*"

_all_option = click.option("--all", "every", is_flag=True, help="All queues, instead of names.")


@click.command("restart")
@connection_option
@click.pass_obj
def restart(application: Application, connection: str | None) -> ExitCode:
    """
    Let all workers end after their running jobs; whoever watches over them starts new ones.

    Prints the name of each connection. Workers look for orders every few seconds.
    """
    with application.bus() as bus:
        for port in stores(bus, connection):
            port.restart()
            click.echo(port.name)
    say("workers end after their running jobs, with exit code 0")
    return ExitCode.DONE


@click.command("pause")
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@_all_option
@connection_option
@click.option("--for", "life", type=float, metavar="SECONDS",
              help="How long. Default: until it is resumed.")  # fmt: skip
@click.pass_obj
def pause(
    application: Application,
    queues: tuple[str, ...],
    connection: str | None,
    life: float | None,
    *,
    every: bool,
) -> ExitCode:
    """
    Let workers claim nothing more from queues; jobs that run go on, and pushes are taken.

    Prints connection and queue of each that is paused now.
    """
    names = _named(queues, every=every, verb="pause")
    seconds = None if life is None else duration(life, "--for")
    if seconds == 0:
        misused("pause for how long? --for takes more than 0 seconds")
    with application.bus() as bus:
        for port in stores(bus, connection):
            before, known = port.orders(), port.queues()
            port.pause(names, life=seconds)
            for name in names:
                click.echo(f"{port.name} {name}")
                if name in before.paused:
                    say(f"{_called(name)} of {port.name} had been paused before")
                elif name not in {_ALL, *known}:
                    say(f"nothing lies in {name} of {port.name} at present: is it called so?")
    say("paused" + ("" if seconds is None else f" for {seconds:g} s"))
    return ExitCode.DONE


@click.command("resume")
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@click.option("--all", "every", is_flag=True, help="All that is paused, instead of names.")
@connection_option
@click.pass_obj
def resume(
    application: Application, queues: tuple[str, ...], connection: str | None, *, every: bool
) -> ExitCode:
    """
    Let workers claim from paused queues again.

    Prints connection and queue of each that had been paused.
    """
    names = _named(queues, every=every, verb="resume")
    problems: list[str] = []
    with application.bus() as bus:
        for port in stores(bus, connection):
            problems += _resumed(port, names, every=every)
    return told(problems)


def _resumed(port: Port, names: Sequence[str], *, every: bool) -> list[str]:
    """End the pauses of a connection; return what still rests although it was named."""
    before = port.orders()
    resting = [name for name in sorted(before.paused) if _possible(name)]
    wanted = resting if every else names
    if wanted:
        port.resume(wanted)
    for name in wanted:
        if name in before.paused:
            click.echo(f"{port.name} {name}")
        else:
            say(f"{name} of {port.name} was not paused by its name")
    if every and not wanted:
        say(f"nothing of {port.name} was paused")
    if every or _ALL not in before.paused:
        return []
    return [
        f"{name} of {port.name} still rests, as all its queues do: eventbus resume --all"
        for name in names
    ]


def _named(queues: Sequence[str], *, every: bool, verb: str) -> list[str]:
    """Return the queues that were named, each once."""
    if bool(queues) == every:
        misused(f"{verb} which queues? Write their names, or --all")
    check_names(queues)
    return [_ALL] if every else list(dict.fromkeys(queues))


def _called(name: str) -> str:
    return "every queue" if name == _ALL else one_line(name)


def _possible(name: str) -> bool:
    """Tell whether a stored name can be that of a queue; others may have written it."""
    if name == _ALL:
        return True
    with suppress(ConfigurationError):
        valid_name(name)
        return True
    return False
