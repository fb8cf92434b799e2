"""The goals of Redis, each with its row and what stands beside it; and tables of its own."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import contenders
import redis_pushes
import redis_resident
from contenders import RAW, TWO, US
from queue_goals import FEWEST, MOST
from redis_server import PLAIN, SERVERS
from report import Goal, Result
from speeds import Speed, by_percentile, quantile

_PEERS = tuple(one.name for one in contenders.PEERS)
_GIVE_BACK = tuple(one.name for one in contenders.PEERS if one.gives_back)
_DISPATCH = "`dispatch` to a queued listener"
_DRAIN = "a worker's job that does nothing"
_OF_TWO = "two workers' job that does nothing"
_LATENCY = "from the push to the start, idle worker"
SPEEDS = (
    Speed(_DISPATCH, "redis_push", US, redis_pushes.EVALSHA, 0.85),
    Speed("`Port.push`", "redis_push", redis_pushes.PORT, redis_pushes.EVALSHA, 0.85),
    Speed(_DISPATCH, "redis_push", US, _PEERS, 1.0, "the fastest peer"),
    Speed("`dispatch` to 100 queued listeners", "redis_many", US, redis_pushes.PIPELINE, 0.5),
    Speed("`Port.push` of 100", "redis_many", redis_pushes.PORT, redis_pushes.PIPELINE, 0.5),
    Speed(_DRAIN, "redis_drain", US, RAW, 0.6),
    Speed(
        _OF_TWO, "redis_drain", TWO, _GIVE_BACK, 10.0, "the fastest that gives back what a killed worker held"
    ),
    Speed(_OF_TWO, "redis_drain", TWO, _PEERS, 5.0, "the fastest peer"),
    Speed(
        f"{_LATENCY}, p50", "redis_latency", US, _PEERS, 1.0, "the fastest peer",
        PLAIN.name, by_percentile(50),
    ),
    Speed(
        f"{_LATENCY}, p99", "redis_latency", US, _PEERS, 1.0, "the fastest peer",
        PLAIN.name, by_percentile(99),
    ),
    Speed(
        f"a push while {MOST:,} wait", "redis_waiting", f"push, {MOST:,}", f"push, {FEWEST:,}", 0.8,
        f"while {FEWEST:,} do", PLAIN.name,
    ),
    Speed(
        f"a claim and its ack while {MOST:,} wait", "redis_waiting", f"claim and ack, {MOST:,}",
        f"claim and ack, {FEWEST:,}", 0.8, f"while {FEWEST:,} do", PLAIN.name,
    ),
)  # fmt: skip


#: The worker of each kind of ours, and when it is looked at.
_RESIDENT = tuple(
    (ours, state)
    for ours in (redis_resident.ON_SQLITE, redis_resident.ON_REDIS)
    for state in redis_resident.STATES
)
_MEMORY = "memory of a worker, {1}: {0}"
_MEDIAN = "the median of the peers"


def goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    """Yield the goals that these results speak of."""
    for speed in SPEEDS:
        yield from speed.found(SERVERS.values(), results)
    result = results.get(f"redis_resident_{PLAIN.name}")
    if result is not None:
        for ours, state in _RESIDENT:
            rows = [redis_resident.ROW.format(one, state) for one in _PEERS]
            peers = statistics.median(result.median(one) for one in rows if one in result.values)
            figure = result.median(redis_resident.ROW.format(ours, state)) / peers
            yield Goal(_MEMORY.format(ours, state), figure, 1.0, _MEDIAN)


def wanted() -> Iterator[tuple[str, str]]:
    """Yield the name of each goal, and beside what its figure stands."""
    for speed in SPEEDS:
        yield from speed.wanted(SERVERS.values())
    for ours, state in _RESIDENT:
        yield _MEMORY.format(ours, state), _MEDIAN


# Markdown.

_COSTS = (
    "| | setting | jobs a second | processor, workers | processor, server | commands"
    " | what a killed worker held |"
)
_FATES = (
    "| | ended / in flight at the kill | ended in the end | last end, after the kill"
    " | missing: in flight | missing: not begun | begun twice | drain, jobs a second |"
)


def _shown(name: str) -> str:
    return f"**{name}**" if name.startswith(US) else name


def cost_table(result: Result, costs: Mapping[str, Mapping[str, float]]) -> str:
    """Return what a job of a drain cost, and what a killed worker does to those it held."""
    known = {one.name: one for one in (contenders.OURS, contenders.BOTH, contenders.BY_HAND)}
    known |= {one.name: one for one in contenders.PEERS}
    lines = [
        "",
        _COSTS,
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for name in sorted(costs, key=result.median):
        cost = costs[name]
        lines.append(
            f"| {_shown(name)} | {known[name].setting} | {1 / result.median(name):,.0f}"
            f" | {cost['workers'] * 1e6:,.0f} µs | {cost['server'] * 1e6:,.0f} µs"
            f" | {cost['commands']:.1f} | {known[name].killed} |"
        )
    return "\n".join(lines) + "\n"


def latency_table(result: Result) -> str:
    lines = [
        f"### {result.title} (`{result.name}`)",
        "",
        result.note,
        "",
        "| | p50 | p99 | longest |",
        "|---|---:|---:|---:|",
    ]
    for name in sorted(result.values, key=result.median):
        values = result.values[name]
        figures = (quantile(values, 50), quantile(values, 99), max(values))
        lines.append(
            f"| {_shown(name)} | " + " | ".join(f"{one * 1e3:.2f} ms" for one in figures) + " |"
        )
    return "\n".join([*lines, "", *not_measured(result)]).rstrip() + "\n"


def memory_table(result: Result) -> str:
    lines = [
        f"### {result.title} (`{result.name}`)",
        "",
        result.note,
        "",
        "| | bytes a waiting job |",
        "|---|---:|",
    ]
    lines += [
        f"| {_shown(name)} | {result.median(name):,.0f} |"
        for name in sorted(result.values, key=result.median)
    ]
    return "\n".join([*lines, "", *not_measured(result)]).rstrip() + "\n"


def resident_table(result: Result, sizes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what a worker holds, by the proportional size when it is idle."""
    lines = [
        f"### {result.title} (`{result.name}`)",
        "",
        result.note,
        "",
        "| | setting | processes | RSS, idle | RSS, busy | PSS, idle | PSS, busy |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name in sorted(sizes, key=lambda one: sizes[one]["idle"]["proportional"]):
        states = [sizes[name][state] for state in redis_resident.STATES]
        figures = [one[kind] for kind in ("resident", "proportional") for one in states]
        lines.append(
            f"| {_shown(name)} | {sizes[name]['setting']} | {states[-1]['processes']} | "
            + " | ".join(f"{one / 2**20:.1f} MiB" for one in figures)
            + " |"
        )
    return "\n".join([*lines, "", *not_measured(result)]).rstrip() + "\n"


def fate_table(
    title: str, note: str, fates: Mapping[str, Mapping[str, Any]], drained: Result | None
) -> str:
    """Return what became of the jobs, beside how many of those that do nothing are run in a second."""
    lines = [
        f"### {title}",
        "",
        note,
        "",
        _FATES,
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, fate in fates.items():
        has_speed = drained is not None and name in drained.values
        speed = f"{1 / drained.median(name):,.0f}" if has_speed else "-"
        after = f"{fate['seconds']:.1f} s" if fate["seconds"] > 0 else "-"
        lines.append(
            f"| {_shown(name)} | {fate['done_at_kill']} / {fate['in_flight']} | {fate['completed']}"
            f" | {after} | {fate['lost_in_flight']} | {fate['lost_before']} | {fate['started_twice']}"
            f" | {speed} |"
        )
    return "\n".join(lines) + "\n"


def not_measured(result: Result) -> list[str]:
    return [f"Not measured: {name}: {why}." for name, why in result.missing.items()]
