"""The goals of the queue, each with its row and the floor or peer beside it; and tables of its own."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import drains
import idle
import queued
from journals import JOURNALS, WAL
from report import Goal, Result
from speeds import Speed
from tables import US

#: Most of one processor that a worker may use while nothing comes.
IDLE = 0.003
_IDLE = "the processor, of a worker that waits"
_OF_ONE = f"{IDLE:.1%} of one"
FEWEST, *_, MOST = queued.WAITING


_FULL = "`dispatch` to a queued listener, FULL"
_NORMAL = "`dispatch` to a queued listener, NORMAL"
_DRAIN = "a worker's job that does nothing, FULL"
SPEEDS = (
    Speed(_FULL, "queue_full", US, queued.BY_HAND, 0.9),
    Speed("`Port.push`, FULL", "queue_full", queued.PORT, queued.BY_HAND, 0.9),
    Speed(_FULL, "queue_full", US, queued.HUEY["FULL"], 1.0),
    Speed(_NORMAL, "queue_normal", US, queued.BY_HAND, 0.6, only=WAL.name),
    Speed("`Port.push`, NORMAL", "queue_normal", queued.PORT, queued.BY_HAND, 0.6, only=WAL.name),
    Speed("`dispatch` to 100 queued listeners", "queue_many", US, queued.BY_HAND, 0.4),
    Speed("`Port.push` of 100", "queue_many", queued.PORT, queued.BY_HAND, 0.4),
    Speed(_DRAIN, "queue_drain", US, drains.BY_HAND, 0.5),
    Speed(_DRAIN, "queue_drain", US, drains.HUEY_FULL, 5.0),
    Speed(_DRAIN, "queue_drain", US, drains.HUEY_OFF, 2.5),
    Speed("two workers on one file", "queue_drain", drains.TWO, US, 1.0, "one"),
    Speed(
        f"a push while {MOST:,} wait",
        "queue_waiting",
        f"push, {MOST:,}",
        f"push, {FEWEST:,}",
        0.8,
        f"while {FEWEST:,} do",
    ),
    Speed(
        f"a claim and its ack while {MOST:,} wait",
        "queue_waiting",
        f"claim and ack, {MOST:,}",
        f"claim and ack, {FEWEST:,}",
        0.8,
        f"while {FEWEST:,} do",
    ),
    Speed("from the push to the start, idle worker", "queue_latency", US, idle.HUEY, 10.0),
    Speed("from the push to the start, idle worker", "queue_latency", US, idle.POLL, 0.5),
)


def goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    """Yield the goals that these results speak of."""
    for speed in SPEEDS:
        yield from speed.found(JOURNALS.values(), results)
    for journal in JOURNALS.values():
        result = results.get(f"queue_idle_{journal.name}")
        if result is not None:
            yield Goal(f"{_IDLE}, {journal.short}", result.median(US) / IDLE, 1.0, _OF_ONE)


def wanted() -> Iterator[tuple[str, str]]:
    """Yield the name of each goal, and beside what its figure stands."""
    for speed in SPEEDS:
        yield from speed.wanted(JOURNALS.values())
    for journal in JOURNALS.values():
        yield f"{_IDLE}, {journal.short}", _OF_ONE


# Markdown.


def cost_of_drain(cpu: Mapping[str, float]) -> str:
    """Return what a job costs the processor, and what it is to be killed."""
    lines = [
        "",
        "| | processor's time of a job | lost when its worker is killed |",
        "|---|---:|---|",
    ]
    lines += [f"| {name} | {cpu[name] * 1e6:,.0f} µs | {drains.LOSES[name]} |" for name in cpu]
    return "\n".join(lines) + "\n"


def idle_table(result: Result) -> str:
    lines = [f"### {result.title} (`{result.name}`)", "", "| | of one processor |", "|---|---:|"]
    lines += [f"| {name} | {result.median(name):.3%} |" for name in result.values]
    return "\n".join(lines) + "\n"


def stage_table(title: str, told: Mapping[str, Any]) -> str:
    """Return the stages of a job, the dearest first."""
    medians = {name: statistics.median(found) for name, found in told["values"].items()}
    whole = medians.pop("all")
    lines = [f"### {title}", "", "| stage | µs | of all |", "|---|---:|---:|"]
    lines += [
        f"| {name} | {medians[name] * 1e6:.1f} | {medians[name] / whole:.0%} |"
        for name in sorted(medians, key=medians.get)[::-1]
        if medians[name] > 0
    ]
    lines.append(f"| all | {whole * 1e6:.1f} | 100% |")
    calls = f"Outside the backend one job takes {told['calls']:,.0f} calls of functions."
    return "\n".join([*lines, "", calls]) + "\n"
