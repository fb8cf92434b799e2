"""`eventbus schema`: the tables of a store."""

from __future__ import annotations

import click

from eventbus.backends.port import Port
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.subjects import connection_option, stores
from eventbus.console.text import one_line
from eventbus.errors import UnsupportedOption

__all__ = ["schema"]


@click.command("schema")
@click.option("--print", "shown", is_flag=True, help="Print the statements that make the tables.")
@click.option("--apply", "applied", is_flag=True,
              help="Make the tables, or bring those of an older version up to this one.")  # fmt: skip
@connection_option
@click.pass_obj
def schema(
    application: Application, connection: str | None, *, shown: bool, applied: bool
) -> ExitCode:
    """
    Print or apply the tables of a store; one that has no tables is passed over.

    Applying prints what was done, a sentence each, and nothing where the tables are up to date.
    """
    if shown == applied:
        misused("what of the tables? Write --print or --apply")
    with application.bus() as bus:
        done = 0
        for port in stores(bus, connection):
            try:
                _print(port) if shown else _apply(port)
            except UnsupportedOption:
                if connection is not None:
                    raise
            else:
                done += 1
    if not done:
        say("no connection has a store with tables")
    return ExitCode.DONE


def _print(port: Port) -> None:
    statements = port.schema().strip()
    click.echo(f"-- connection {port.name}: {one_line(port.backend.name)}")
    click.echo(statements)


def _apply(port: Port) -> None:
    done = port.apply_schema()
    for one in done:
        click.echo(one_line(one))
    if not done:
        say(f"the tables of {port.name} are up to date")
