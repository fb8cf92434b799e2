"""`eventbus doctor`: which promises hold, by the live settings of each store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import click
from attrs import asdict, frozen

from eventbus.backends.base import Examination, Finding, Promise, Verdict
from eventbus.bus import EventBus
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.subjects import counted, json_option
from eventbus.console.text import aligned, cut, one_line, print_json
from eventbus.errors import ConfigurationError, EventBusError, UnknownConnection

__all__ = ["AT_ONCE", "doctor"]

#: What a `sync://` connection promises: it stores nothing, so it is no backend.
AT_ONCE: Final = Promise(
    store="sync://",
    dispatched="it has run",
    worker_killed="no worker",
    server_killed="no server",
    power_cut="what had not run is lost",
    failover="no other server",
    stale_ack="no ack",
)

_FINDINGS: Final = ("LOOKED AT", "FOUND", "VERDICT", "WHAT IT MEANS")
#: The fields of a promise, as a reader is told them.
_CASES: Final = (
    ("dispatch has returned", "dispatched"),
    ("a worker is killed", "worker_killed"),
    ("the server is killed", "server_killed"),
    ("the power fails", "power_cut"),
    ("another server takes over", "failover"),
    ("a stale ack comes", "stale_ack"),
)


@frozen(kw_only=True)
class _Report:
    """A connection, and what its store is like."""

    connection: str
    #: Where it is, without a password; empty where that cannot be told.
    store: str
    examination: Examination

    @property
    def facts(self) -> dict[str, Any]:
        promise = self.examination.promise
        return {
            "connection": self.connection,
            "store": self.store,
            "promise": None if promise is None else asdict(promise),
            "findings": [asdict(one) for one in self.examination.findings],
        }

    def show(self) -> None:
        click.echo(one_line(f"{self.connection}: {self.store}".rstrip(": ")))
        findings = self.examination.findings
        if findings:
            rows = [(one.subject, cut(one.found), one.verdict, one.advice) for one in findings]
            for line in aligned([_FINDINGS, *rows]):
                click.echo(f"  {line}")
        else:
            click.echo("  it says nothing of itself")
        promise = self.examination.promise
        if promise is None:
            click.echo("  what it promises cannot be told, or does not hold")
            return
        click.echo(f"  {promise.store}")
        cases = [(f"{case}:", getattr(promise, name)) for case, name in _CASES]
        for line in aligned(cases):
            click.echo(f"    {line}")

    def count(self, verdict: Verdict) -> int:
        return sum(one.verdict is verdict for one in self.examination.findings)


@click.command("doctor")
@click.option("--connection", "names", multiple=True, metavar="NAME",
              help="Only of this connection. May be given several times.")  # fmt: skip
@click.option("--integrity", is_flag=True,
              help="Also read all that a SQLite file holds, and see whether it is whole.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 1 for a warning, too.")
@json_option
@click.pass_obj
def doctor(
    application: Application, names: Sequence[str], *, integrity: bool, strict: bool, as_json: bool
) -> ExitCode:
    """
    Read the live settings of each connection's store, and tell which promises hold.

    Nothing is changed. Exits with 1 if a promise does not hold: if jobs that were acknowledged may be
    lost although no power fails, or a store cannot be used as it is.
    """
    with application.bus() as bus:
        reports = list(_reports(bus, names, integrity=integrity))
    if as_json:
        print_json([one.facts for one in reports])
    else:
        for number, one in enumerate(reports):
            if number:
                click.echo()
            one.show()
    broken, warnings = (
        sum(one.count(verdict) for one in reports) for verdict in (Verdict.BROKEN, Verdict.WARNING)
    )
    said = f"{broken or 'nothing'} broken, {counted(warnings, 'warning') if warnings else 'no warning'}"
    say(f"{counted(reports, 'connection')} examined: {said}")
    return ExitCode.UNDONE if broken or (strict and warnings) else ExitCode.DONE


def _reports(bus: EventBus, names: Sequence[str], *, integrity: bool) -> Iterator[_Report]:
    connections = bus.connections
    try:
        chosen = [connections.checked(name) for name in dict.fromkeys(names)]
    except UnknownConnection as error:
        misused(str(error))
    for name in chosen or connections.names():
        if connections.is_sync(name):
            finding = Finding(subject="storage", found="none: jobs run inside dispatch")
            found = Examination(promise=AT_ONCE, findings=(finding,))
            yield _Report(connection=name, store="sync://", examination=found)
        else:
            yield _examined(bus, name, integrity=integrity)


def _examined(bus: EventBus, name: str, *, integrity: bool) -> _Report:
    store = ""
    try:
        port = bus.connections.port(name)
        store = port.backend.name
        found = port.examine(integrity=integrity)
    except EventBusError as error:
        wrong = isinstance(error, ConfigurationError)
        finding = Finding(
            subject="connection",
            found="it cannot be opened" if wrong else "it cannot be used",
            verdict=Verdict.BROKEN,
            advice=str(error),
        )
        found = Examination(findings=(finding,))
    return _Report(connection=name, store=store, examination=found)
