"""`eventbus list` and `eventbus why`: who listens to what, and which jobs there are."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final

import click

from eventbus.bus import EventBus
from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused, say
from eventbus.console.jobs import job_facts, place, print_jobs, queued, queued_mark, where
from eventbus.console.text import aligned, one_line, print_json
from eventbus.dispatch.discovery import Discovery
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.names import declaration, event_name, real_module
from eventbus.dispatch.registry import Match
from eventbus.dispatch.targets import load
from eventbus.errors import ListenError
from eventbus.queue.options import read_options

__all__ = ["list_", "why"]

_COLUMNS: Final = ("PRIORITY", "MODE", "LISTENER", "MARKS", "WHERE", "ORIGIN")


@click.command("list")
@click.option("--event", "part", metavar="TEXT",
              help="Only events with TEXT in their name, whatever its case; no jobs.")  # fmt: skip
@click.option("--skipped", is_flag=True, help="Also what discovery passed over, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(application: Application, part: str | None, *, skipped: bool, as_json: bool) -> ExitCode:
    """
    List every event with its own listeners, in the order in which they run; then the jobs.

    What an event inherits from its parents and from wildcards is told by `eventbus why EVENT`.
    """
    with application.bus(scanned=True) as bus:
        found = bus.discover()
        events = [one for one in _events(bus) if _named(one, part)]
        jobs = job_facts(bus) if part is None else []
        if as_json:
            print_json(
                {
                    "events": [
                        {
                            **_event_facts(event),
                            "listeners": [_facts(bus, one.listener) for one in _own(bus, event)],
                        }
                        for event in events
                    ],
                    "jobs": jobs,
                    "skipped": [{"what": one.what, "reason": one.reason} for one in found.skipped],
                }
            )
            return ExitCode.DONE
        _print_list(bus, events)
        print_jobs(jobs)
        if not events:
            say("no event has listeners" if part is None else f"no event has {part!r} in its name")
        if skipped:
            _print_skipped(found)
    return ExitCode.DONE


def _events(bus: EventBus) -> list[type | str]:
    events = dict.fromkeys(one.event for one in bus.listeners())
    return sorted(events, key=lambda one: (_name(one), _class_name(one) or ""))


def _named(event: type | str, part: str | None) -> bool:
    if part is None:
        return True
    names = (_name(event), _class_name(event) or "")
    return any(part.casefold() in one.casefold() for one in names)


def _own(bus: EventBus, event: type | str) -> list[Match]:
    """Return those that are registered for this very event, and run."""
    return [one for one in bus.why(event) if one.listener.event == event and not one.passed_over]


def _name(event: type | str) -> str:
    return event if isinstance(event, str) else event_name(event)


def _class_name(event: type | str) -> str | None:
    return None if isinstance(event, str) else f"{real_module(event)}:{event.__qualname__}"


def _event_facts(event: type | str) -> dict[str, Any]:
    return {"event": _name(event), "class": _class_name(event)}


def _heading(event: type | str) -> str:
    of = _class_name(event)
    return one_line(_name(event) if of is None else f"{_name(event)} ({of})")


def _facts(bus: EventBus, listener: Listener) -> dict[str, Any]:
    file, line = place(listener.target)
    return {
        "listener": listener.name,
        "priority": listener.priority,
        "async": listener.target.is_async,
        "queued": _queued(bus, listener),
        "once": listener.once,
        "file": file,
        "line": line,
        "origin": listener.origin,
    }


def _queued(bus: EventBus, listener: Listener) -> dict[str, Any] | None:
    options = read_options(listener)
    return None if options is None else queued(bus, options)


def _cells(facts: dict[str, Any]) -> list[str]:
    return [
        str(facts["priority"]),
        "async" if facts["async"] else "sync",
        facts["listener"],
        _marks(facts),
        where(facts),
        facts["origin"],
    ]


def _marks(facts: dict[str, Any]) -> str:
    found: list[str] = []
    if facts["queued"] is not None:
        found.append(queued_mark(facts["queued"]))
    if facts["once"]:
        found.append("once")
    return ", ".join(found)


def _print_list(bus: EventBus, events: Iterable[type | str]) -> None:
    grouped = {
        event: [_cells(_facts(bus, one.listener)) for one in _own(bus, event)] for event in events
    }
    lines = iter(aligned([_COLUMNS, *(row for rows in grouped.values() for row in rows)]))
    if grouped:
        click.echo(f"  {next(lines)}")
    for event, rows in grouped.items():
        click.echo(_heading(event))
        for _ in rows:
            click.echo(f"  {next(lines)}")


def _print_skipped(found: Discovery) -> None:
    if not found.skipped:
        say("discovery passed over nothing")
        return
    click.echo("passed over by discovery")
    for line in aligned([one.what, one.reason] for one in found.skipped):
        click.echo(f"  {line}")


@click.command("why")
@click.argument("event")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def why(application: Application, event: str, *, as_json: bool) -> ExitCode:
    """
    Tell who runs when EVENT is dispatched, in order, and how each matched.

    EVENT is a class, written shop.events.OrderShipped, shop.events:OrderShipped or, if only one is
    called so, OrderShipped; or the name of an event.
    """
    with application.bus(scanned=True) as bus:
        found = _resolved(bus, event)
        try:
            matches = bus.why(found)
        except ListenError as error:
            misused(error.reason)
        rows = [
            {
                **_facts(bus, one.listener),
                "event": _name(one.listener.event),
                "matched": one.how,
                "passed_over": one.passed_over,
            }
            for one in matches
        ]
        running = [one for one in rows if not one["passed_over"]]
        resting = [one for one in rows if one["passed_over"]]
        if as_json:
            print_json({**_event_facts(found), "listeners": running, "not_run": resting})
            return ExitCode.DONE
        click.echo(_heading(found))
        _print_why(running, resting)
        if not rows:
            say(f"nobody hears {_name(found)}{_hint(bus, event)}")
    return ExitCode.DONE


def _print_why(running: list[dict[str, Any]], resting: list[dict[str, Any]]) -> None:
    if running:
        numbered = [
            [str(number), one["matched"], *_cells(one)]
            for number, one in enumerate(running, start=1)
        ]
        for line in aligned([("#", "MATCH", *_COLUMNS), *numbered]):
            click.echo(f"  {line}")
    if resting:
        click.echo("does not run")
        for line in aligned(
            [one["matched"], one["listener"], one["passed_over"]] for one in resting
        ):
            click.echo(f"  {line}")


def _resolved(bus: EventBus, event: str) -> type | str:
    """Return the class that is called so, else the name itself."""
    classes = list(dict.fromkeys(_classes(bus)))
    full = [one for one in classes if event in _names(one)]
    if not full and event not in {one.event for one in bus.listeners()}:
        full = [one for one in classes if event == one.__qualname__]
    if len(full) > 1:
        named = ", ".join(sorted(str(_class_name(one)) for one in full))
        misused(f"{len(full)} classes are called {event!r}: {named}")
    return full[0] if full else _imported(event)


def _classes(bus: EventBus) -> Iterator[type]:
    """Yield the classes that listeners hear, those below them, and those of the scanned modules."""
    waiting = [one.event for one in bus.listeners() if isinstance(one.event, type)]
    for name in bus.discover().modules:
        waiting += [one for one in vars(sys.modules[name]).values() if isinstance(one, type)]
    seen: set[type] = set()
    while waiting:
        cls = waiting.pop()
        if cls in seen:
            continue
        seen.add(cls)
        yield cls
        if cls is not object:
            waiting += type.__subclasses__(cls)


def _names(cls: type) -> set[str]:
    declared = declaration(cls)
    module = real_module(cls)
    aliases = declared.aliases if declared else ()
    return {
        event_name(cls),
        f"{module}:{cls.__qualname__}",
        f"{module}.{cls.__qualname__}",
        *aliases,
    }


def _imported(event: str) -> type | str:
    """Return the class of a module that nobody listens in; the name itself if it is none."""
    if ":" in event:
        try:
            found = load(event)
        except ListenError:
            return event
        return found if isinstance(found, type) else event
    module, _, name = event.rpartition(".")
    # Not imported: `order.shipped` is a name first, and there may be a module `order`.
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else event


def _hint(bus: EventBus, event: str) -> str:
    known = {name: None for one in _events(bus) for name in (_name(one), _class_name(one) or "")}
    close = get_close_matches(event, known, n=1)
    return f", did you mean {close[0]}?" if close else ""
