"""The jobs that `eventbus list` shows; and where a listener or a job is, and is queued."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from eventbus.bus import EventBus
from eventbus.console.text import aligned
from eventbus.dispatch.targets import Target, describe
from eventbus.errors import ConfigurationError
from eventbus.queue.catalogue import Entry
from eventbus.queue.options import QueueOptions

__all__ = ["job_facts", "place", "print_jobs", "queued", "queued_mark", "where"]

_COLUMNS: Final = ("MODE", "JOB", "MARKS", "RUNS", "WHERE")


def job_facts(bus: EventBus) -> list[dict[str, Any]]:
    """Return what is told of each class of jobs that the bus knows, by their stored names."""
    return [_facts(bus, one) for one in sorted(bus.catalogue().jobs(), key=_name)]


def _name(entry: Entry) -> str:
    return entry.options.name


def _facts(bus: EventBus, entry: Entry) -> dict[str, Any]:
    file, line = place(entry.target)
    return {
        "job": entry.options.name,
        "class": describe(entry.job),
        "runs": entry.target.name,
        "async": entry.target.is_async,
        "queued": queued(bus, entry.options),
        "file": file,
        "line": line,
    }


def print_jobs(jobs: Sequence[dict[str, Any]]) -> None:
    """Print a table of jobs, where there are any."""
    if not jobs:
        return
    rows = [
        (
            "async" if one["async"] else "sync",
            one["job"],
            queued_mark(one["queued"]),
            "" if one["runs"] == one["job"] else one["runs"],
            where(one),
        )
        for one in jobs
    ]
    click.echo("jobs")
    for line in aligned([_COLUMNS, *rows]):
        click.echo(f"  {line}")


def queued(bus: EventBus, options: QueueOptions) -> dict[str, Any]:
    """Return where something is queued: by name, or by the hook that says it each time."""
    hooks = [one for one in ("via_connection", "via_queue") if getattr(options, one) is not None]
    connection = options.connection or bus.connections.default
    queue = options.queue
    if queue is None:
        # A connection that cannot be is told by dispatch and worker; who listens is true without it.
        with suppress(ConfigurationError):
            queue = bus.connections.default_queue(connection)
    return {"connection": connection, "queue": queue, "hooks": hooks}


def queued_mark(told: dict[str, Any]) -> str:
    """Return in words what `queued` told."""
    hooks = told["hooks"]
    queue = "via_queue" if "via_queue" in hooks else told["queue"] or "?"
    connection = "via_connection" if "via_connection" in hooks else told["connection"]
    return f"queued {queue} on {connection}"


def place(target: Target) -> tuple[str | None, int | None]:
    """Return file and line, the file as seen from the current folder if it is below."""
    file, line = target.location
    if not file:
        return None, None
    path, here = Path(file), Path.cwd()
    return (str(path.relative_to(here)) if path.is_relative_to(here) else file), line


def where(facts: dict[str, Any]) -> str:
    """Return a place in words."""
    return "" if facts["file"] is None else f"{facts['file']}:{facts['line']}"
