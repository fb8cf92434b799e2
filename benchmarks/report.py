"""Turn figures into goals met or missed, and into RESULTS.md."""

# ruff: noqa: RUF001 -- the sign of multiplication is meant

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import peers
from attrs import field, frozen

US = "eventbus"

#: Why a goal is missed, in a sentence, by the start of its name; shown only while it is missed.
EXPLAINED: dict[str, str] = {
    "`import eventbus`": (
        "attrs builds the methods of each of our records when its class is made, about half a"
        " millisecond each; the rest is bytecode, by module in the table of the imports."
    ),
    "listeners that block": (
        "each job is claimed and acked alone, as all are that take long: the 128 commits of a round go through one file,"
        " one after the other, and those of a rollback journal take longest."
    ),
    "a job ends its process": (
        "the process that follows imports the worker too, as the other bare spawn of the table does; the rest is the"
        " worker's start, and the job that died, which it settles first."
    ),
}


#: What the early listeners of a registration are called.
FIRST = "{}, first tenth"


@frozen
class Result:
    """The figures of one table."""

    name: str
    title: str
    #: Seconds by contender, one value a round; the same place is the same round for all.
    values: Mapping[str, list[float]]
    #: What each is a ratio of.
    floors: Mapping[str, str]
    missing: Mapping[str, str] = field(factory=dict)
    note: str = ""

    def median(self, name: str) -> float:
        return statistics.median(self.values[name])

    def ratios(self, name: str, floor: str = "") -> list[float]:
        """Return the ratio of each round."""
        own, base = self.values[name], self.values[floor or self.floors[name]]
        return [one / other for one, other in zip(own, base, strict=True)]

    def ratio(self, name: str, floor: str = "") -> float:
        return statistics.median(self.ratios(name, floor))


@frozen
class Goal:
    """One goal of DESIGN, and what was measured."""

    what: str
    figure: float
    limit: float
    #: Of what the figure is a multiple.
    of: str
    #: Whether the figure is a speed, that must reach the limit, and no cost.
    is_speed: bool = False

    @property
    def missed_by(self) -> float:
        """How many times as good it should be; 1 or less if it is met."""
        return self.limit / self.figure if self.is_speed else self.figure / self.limit

    @property
    def verdict(self) -> str:
        over = self.missed_by
        if over <= 1:
            return "met"
        return f"**missed** by {over - 1:.1%}" if over < 2 else f"**missed**, by {over:.1f} times"

    def row(self) -> str:
        sign = "≥" if self.is_speed else "≤"
        return (
            f"| {self.what} | {_times(self.figure)} {self.of} | {sign} {_times(self.limit)}"
            f" | {self.verdict} |"
        )


def goals(results: Mapping[str, Result]) -> list[Goal]:
    """Return the goals of DESIGN §9 that these results speak of."""
    found: list[Goal] = []
    for name, what in (
        ("dispatch_1", "`dispatch`, 1 function"),
        ("dispatch_10", "`dispatch`, 10 functions"),
        ("types_1000", "… with 1,000 other event types"),
        ("wildcards_100", "… with 100 wildcards that do not match"),
    ):
        if name in results:
            found.append(Goal(what, results[name].ratio(US), 1.25, "the floor"))
    found += _growth(results)
    if "first_dispatch" in results:
        ratio = results["first_dispatch"].ratio(f"{US}, 10,000")
        found.append(
            Goal("the first dispatch of a type, beside 10,000 others", ratio, 2, "beside 1")
        )
    if "adispatch_1" in results:
        ratio = results["adispatch_1"].ratio(US)
        found.append(Goal("`adispatch`, 1 async function", ratio, 1.3, "the floor with `await`"))
    if "new_names" in results:
        new = results["new_names"]
        worst = max((one for one in new.values if one.startswith("never")), key=new.ratio)
        what = f"a name never seen before, 1,000 wildcards ({worst.partition(', ')[2]})"
        found.append(Goal(what, new.ratio(worst), 100, "a seen one"))
    found += _rivalries(results)
    if "imports" in results:
        ratio = results["imports"].ratio(US)
        found.append(Goal("`import eventbus`", ratio, 1.15, "`import attrs`"))
    found += [
        Goal(
            f"registering on {what}: one of the last nine tenths",
            results[name].ratio(US, FIRST.format(US)),
            2,
            "one of the first tenth",
        )
        for name, what in (("one_event", "one event"), ("many_events", "an event each"))
        if name in results
    ]
    return found


def _growth(results: Mapping[str, Result]) -> Iterable[Goal]:
    for name, what in (
        ("growing_types", "… at the worst of 1 to 10,000 event types"),
        ("growing_wildcards", "… at the worst of 0 to 1,000 wildcards"),
    ):
        if name in results:
            sizes = [one for one in results[name].values if one.startswith(f"{US}, ")]
            yield Goal(what, max(map(results[name].ratio, sizes)), 1.25, "the floor")


def _rivalries(results: Mapping[str, Result]) -> Iterable[Goal]:
    """In every row with a listener, the fastest of the peers is slower than we are."""
    for name, suffix in (
        ("dispatch_1", ""),
        ("dispatch_10", ""),
        ("construct_1", ""),
        ("types_1000", ""),
        ("wildcards_100", ""),
        ("wildcard", ", a name"),
        ("named", ""),
        ("adispatch_1", ""),
        ("adispatch_10", ""),
    ):
        if name not in results:
            continue
        result = results[name]
        rivals = [f"{one}{suffix}" for one in peers.RIVALS if f"{one}{suffix}" in result.values]
        if rivals:
            best = max(rivals, key=lambda one: result.ratio(US + suffix, one))
            what = f"faster than each peer: {result.title}"
            yield Goal(what, result.ratio(US + suffix, best), 1, f"the fastest, {best}")


# Markdown.


def goal_table(found: list[Goal]) -> str:
    lines = ["| what | figure | goal | |", "|---|---:|---:|---|", *(one.row() for one in found)]
    for goal in found:
        reason = next((why for what, why in EXPLAINED.items() if goal.what.startswith(what)), "")
        if reason and goal.missed_by > 1:
            lines += ["", f"- {goal.what}: {reason}"]
    return "\n".join(lines)


def table(result: Result) -> str:
    """Return the section of one table."""
    ours = US in result.values
    lines = [f"### {result.title} (`{result.name}`)", ""]
    if result.note:
        lines += [result.note, ""]
    lines += [
        "| | median | × floor | quartiles |" + (" × eventbus |" if ours else ""),
        "|---|---:|---:|---:|" + ("---:|" if ours else ""),
    ]
    # Tables about one library keep their order, in which they grow.
    for name in sorted(result.values, key=result.median) if ours else result.values:
        ratios = result.ratios(name)
        low, high = _quartiles(ratios)
        shown = f"**{name}**" if name.startswith(US) else name
        line = f"| {shown} | {_duration(result.median(name))} | {statistics.median(ratios):.2f}"
        line += f" | {low:.2f}-{high:.2f} |"
        if ours:
            line += f" {result.ratio(name, US):.2f} |"
        lines.append(line)
    return "\n".join([*lines, *_not_measured(result)]).rstrip() + "\n"


def registration_table(result: Result) -> str:
    """Return the section of a registration, whose cost must not grow with what is registered."""
    names = sorted(
        (one for one in result.values if FIRST.format(one) in result.values), key=result.median
    )
    lines = [
        f"### {result.title} (`{result.name}`)",
        "",
        "| | among the first tenth | among the rest | rest / first | × eventbus |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in names:
        early = FIRST.format(name)
        shown = f"**{name}**" if name == US else name
        lines.append(
            f"| {shown} | {_duration(result.median(early))} | {_duration(result.median(name))}"
            f" | {result.ratio(name, early):.2f} | {result.ratio(name, US):.2f} |"
        )
    return "\n".join([*lines, *_not_measured(result)]).rstrip() + "\n"


def _not_measured(result: Result) -> list[str]:
    return ["", *(f"Not measured: {name}: {why}." for name, why in result.missing.items())]


def memory_table(figures: Mapping[str, float]) -> str:
    lines = ["| | bytes a listener |", "|---|---:|"]
    lines += [f"| {name} | {figures[name]:,.0f} |" for name in sorted(figures, key=figures.get)]
    return "\n".join(lines) + "\n"


def cost_table(costs: Mapping[str, float]) -> str:
    lines = ["| module | ms of its own |", "|---|---:|"]
    lines += [
        f"| `{name}` | {costs[name] * 1e3:.1f} |" for name in sorted(costs, key=costs.get)[::-1]
    ]
    return "\n".join(lines) + f"\n| together | {sum(costs.values()) * 1e3:.1f} |\n"


def document(
    *, machine: Mapping[str, str], system: str, found: list[Goal], sections: list[str]
) -> str:
    """Return RESULTS.md."""
    facts = "\n".join(f"| {name} | {value} |" for name, value in machine.items())
    return f"""# Results

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}; not by hand. The goals are those of the design (ratios,
because machines differ), measured against a floor or a peer in the same run; those for registering
and for first dispatches say that neither may grow with what is registered.

## Goals

{goal_table(found)}

## Method

- **Floor**: a hand-written method that looks a tuple up by the event's type, calls, stops at `False`
  and returns the answers in a list (`listeners.py`); the same with `await`; each form has its own.
- **Interleaved**: the contenders of a table share a process. In every round each gives one sample, in
  random order from a fixed seed; a ratio is taken between samples of the same round, and the figure
  is the median of these ratios. The quartiles show the noise. The garbage collector is off within a sample.
  Each table is run in several processes, so that no figure hangs on one seed of the hashes.
- **Peers**: each as its documentation says it is fastest (`peers.py`): signal objects are held, not looked
  up; psygnal by `emit_fast`; Django with `use_caching`. zope.event keeps one list for all events, so it
  is shown and is no rival. Listeners are distinct functions that do nothing. Where a library only
  starts async listeners, the time runs until they have run.
- **pyperf** calibrates how often a sample repeats its statement and describes machine and system. Its own
  way, a process for each contender, is used where a process is what is measured: imports and the
  scan run in fresh processes, interleaved too, after a first one that writes the bytecode; what counts
  there is the time of the processor.
- **The queue**: the floor is what one would write by hand with the driver (`byhand.py`), on the table that
  eventbus makes, with the same bytes, journal and `synchronous`. Every contender has a file of its own, all
  on one disk. Each journal is measured with the driver that it is used with: WAL with `pysqlite3`, the
  rollback journal with `sqlite3`; peers use the same. Workers are processes that `eventbus-worker` starts.
  A figure "as quick as" is the median of the ratios of a round, the other one's time over ours.
- **Redis**: a server of our own for each table, on the loopback, without persistence or with AOF; each contender
  has a database of it. Producers are fresh processes that live side by side and take turns as above; the raw
  command is the one that a push of ours was heard to send (`overheard.py`). Peers have the settings that are
  fastest on two cores, and those that can give back a killed worker's jobs within a minute are set to
  (`apps`, `contenders.py`); some live in environments of their own, as they want other drivers.
- **Workers**: a worker of several processes, threads or async jobs is beside the part of Python that does the same
  work without a queue (`ways.py`); both have been started before, and each journal has its table. A death is beside a
  bare spawn (`deaths.py`). The memory of a worker is looked at with one process that runs jobs, also of the peers
  (`redis_resident.py`), one worker after the other; the goal is judged by PSS.
- Medians of times are shown for orientation; they wander with the machine far more than the ratios do.

## Machine

| | |
|---|---|
{facts}

```text
{system}
```

## Tables

{chr(10).join(sections)}"""


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _times(value: float) -> str:
    return f"{value:.2f} ×" if value >= 0.1 else f"{value:.2g} ×"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:,.2f} {unit}"
    return f"{seconds / 1e-9:,.0f} ns"
