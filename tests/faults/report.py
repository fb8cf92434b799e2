"""
Write docs/explain/fault-results.md: `python tests/faults/report.py RESULTS... [--page PAGE] [--section TITLE]`.

From the lines that the tests wrote as they ran, so that no figure of the page is typed by hand. With
`--section` one section of the page is written anew and the others stay: a run of all takes hours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attrs import frozen

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "fault-results.md"

HEAD = """\
# What the faults did

Made from what runs of `tests/faults` recorded (`make faults`); not by hand. {form}

Real `eventbus-worker` processes work on one store and are killed, paused and stopped. Listeners
and producers append what they do to a log, and the log alone is judged:

- **lost**: dispatched, and neither run to its end nor among the failed jobs.
- **unexpected**: run, although nobody dispatched it; **altered**: run with other bytes.
- **unexplained**: started again, although no run of it had raised, was cut, or was held up.
- **too often**: started more often than its tries and the three losses it may have.
- **in flight**: runs that the death of a worker cut, or whose ack it may have kept back: a job that is
  done is acknowledged with others, within 20 ms.
- **extra**: all starts that a queue without faults would not have made. That a job which was running
  when its worker died runs again is what "at least once" means.

Measured on {machine}, Python {python}. PERSIST is the rollback journal, with the SQLite {standard} of
Python itself; WAL is with the SQLite {bundled} that pysqlite3 brings. Redis is {redis}: one server, with
`appendfsync always` or `everysec`, with snapshots only, or with nothing kept where only its network is
harmed; a master and a replica under three Sentinels; three masters with a replica each.
"""

COUNTS = (
    ("jobs", "stored"),
    ("starts", "starts"),
    ("workers that died", "deaths"),
    ("of those, killed in a job", "hits"),
    ("lost", "lost"),
    ("unexpected", "unexpected"),
    ("altered", "altered"),
    ("unexplained", "unexplained"),
    ("too often", "overstarted"),
    ("in flight at the deaths", "at_risk"),
    ("extra", "extra"),
    ("failed jobs", "failed"),
)

#: What the judge says of each scenario that it is asked about.
JUDGED = tuple(name for _, name in COUNTS)

#: What else a line may say, and how the page puts it.
FIGURES = {
    "seed": "seed {}",
    "kills": "{} kills",
    "plans": "{} plans",
    "authors_cut": "{} authors killed amid one",
    "passed": "{} went through, and never too many",
    "used": "{} % of the limit used",
    "doubled_effects": "{} effects doubled where the listener guards its own",
    "refused": "{} stale settlements refused",
    "not_stored": "{} dispatches refused",
    "cycles": "of {} pauses",
    "pauses": "{} pauses",
    "stops": "{} stops",
    "slowest": "the slowest took {} s",
    "lease": "lease {} s",
    "bar": "to be at most {} s",
    "most_extra_of_one": "{} extra starts of one job at most",
    "reloads": "{} workers replaced",
    "kinds": "{} kinds of exception",
    "ways": "{} ways to end",
    "of_each": "{} of each",
    "good_rate": "{} good jobs a second",
    "links": "ended after {} links",
    "exits": "{} exits, none hung",
    "positions": "at each of {} positions",
    "resets": "{} resets of all connections",
    "pushes": "{} pushes",
    "acks": "{} acks",
    "unknown": "{} times it could not be told whether it was stored, and was said again",
    "broken": "{} broken off",
    "noticed": "noticed after {} s",
    "taken": "taken over after {} s",
    "forgotten": "{} bodies taken away",
    "told": "{} failed jobs that say so",
    "jumps": "{} jumps",
    "cuts": "{} cuts",
    "undone": "{} acks undone",
    "unsound": "{} files that are not sound",
    "damages": "{} damages",
    "held_mb": "{} MiB while it hangs",
    "kept_mb": "{} MiB after it",
    "programs": "{} programs",
    "steps": "of up to {} steps",
    "dispatch": "a dispatch took {p50_ms} ms (median), {p99_ms} ms (99 of 100), {max_ms} ms (most)",
    "claim": "a claim took {p50_ms} ms (median), {p99_ms} ms (99 of 100), {max_ms} ms (most)",
}

#: Figures that several lines of one scenario add up to; of others the worst counts.
ADDED = {"exits", "stops", "cuts", "damages"}


@frozen
class Expected:
    """A scenario without which there is no page."""

    scenario: str
    stores: tuple[str, ...]
    #: What its line must say, beside what the judge does.
    figures: tuple[str, ...] = ()
    is_judged: bool = True


PERSIST, WAL = "SQLite, PERSIST", "SQLite, WAL"
ALWAYS, EVERYSEC, SNAPSHOTS, NOTHING = (
    "Redis, AOF always",
    "Redis, AOF everysec",
    "Redis, RDB",
    "Redis, nothing kept",
)
BOTH = (PERSIST, WAL)
ONE = (PERSIST,)
ALL = (PERSIST, WAL, ALWAYS)

#: What is done to workers, whatever their store.
OF_WORKERS = (
    Expected("kills, 20 ms jobs", ALL, ("seed", "doubled_effects")),
    Expected("kills every 200 ms, 2 ms jobs", ALL, ("seed", "kills")),
    Expected("takeover by an idle worker, sleep 0.05 s", ONE, ("slowest", "bar")),
    Expected("takeover by an idle worker, sleep 3 s", ONE, ("slowest", "bar")),
    Expected("jobs that end their worker", ALL, ("good_rate",)),
    Expected("the same jobs, none bad", ALL, ("good_rate",)),
    Expected("jobs that exhaust memory", ONE),
    Expected("odd exceptions", ONE, ("kinds",)),
    Expected("pause past the lease", ALL, ("refused", "cycles")),
    Expected("pause under load", ALL, ("pauses",)),
    Expected("jobs of 3 leases", ALL),
    Expected("jobs that let no thread run: hold", ONE, ("most_extra_of_one",)),
    Expected("jobs that let no thread run: count_up", ONE, ("most_extra_of_one",)),
    Expected("stop under load", ALL, ("stops", "slowest")),
    Expected("stop when idle, SIGTERM", ONE, ("stops",), is_judged=False),
    Expected("stop when idle, SIGINT", ONE, ("stops",), is_judged=False),
    Expected("second signal", ONE, ("stops", "slowest")),
    Expected("rolling deploy", ONE, ("reloads",)),
    *(
        Expected(f"processes, {threads} threads: {what}", ALL, figures)
        for threads in (1, 4)
        for what, figures in (
            ("kills, 20 ms jobs", ("kills",)),
            ("jobs that end their process", ("good_rate",)),
            ("stop under load", ("stops",)),
        )
    ),
    Expected("processes: jobs that let no thread run", ALL),
    Expected("processes: the watcher killed", ALL, ("kills",)),
    Expected("8 processes, one store", ALL, ("dispatch", "claim")),
    Expected("no fault", ALL, ("dispatch",)),
    Expected("a chain of jobs without end", ONE, ("links",), is_judged=False),
    Expected("programs that end with queued work", ONE, ("exits",), is_judged=False),
    Expected("programs over a model", ("memory", *BOTH, "Redis"), ("programs",), is_judged=False),
)

#: What is done to workers that run several jobs at once on a loop.
OF_LOOPS = tuple(
    Expected(f"concurrency 4, {what}", ALL, figures)
    for what, figures in (
        ("2 processes: kills, 20 ms jobs", ("kills",)),
        ("1 process: kills, 20 ms jobs", ("kills",)),
        ("2 processes: jobs that end their process", ("good_rate",)),
        ("2 processes: jobs that outrun their timeout", ("of_each",)),
        ("2 processes: the watcher killed", ("kills",)),
        ("1 process: stop under load", ("stops",)),
        ("2 processes: stop under load", ("stops",)),
    )
)

#: What many processes are limited to.
OF_LIMITS = (
    Expected("a throttle of 50 a second, 8 processes", ALL, ("passed", "used"), is_judged=False),
    Expected("a funnel of one, its holders killed", ALL, ("passed", "kills"), is_judged=False),
)

#: Chains and batches whose authors and workers are killed, and a chain with a batch in it that is cut
#: between any two steps.
OF_PLANS = (
    *(
        Expected(f"plans: authors and {those} killed", ALL, ("kills", "plans", "authors_cut"))
        for those in ("workers", "processes")
    ),
    *(
        Expected(
            f"a plan in which {who} fails, cut {side} each {step}",
            (store,),
            ("positions",),
            is_judged=False,
        )
        for step, store in (("statement", PERSIST), ("message", NOTHING))
        for who in ("nobody", "x", "c1")
        for side in ("before", "after")
    ),
)

#: What is done to a SQLite file, its disk, and those who write to it.
OF_SQLITE = (
    Expected("full disk", BOTH, ("not_stored",)),
    Expected("file away", BOTH, ("not_stored",)),
    Expected(
        "a dispatch of 3 jobs, killed at each statement", BOTH, ("positions",), is_judged=False
    ),
    *(
        Expected(
            f"a worker whose job ends by {way}, killed at each statement",
            BOTH,
            ("positions",),
            is_judged=False,
        )
        for way in ("ack", "release", "bury")
    ),
    Expected(
        "power cuts, FULL",
        (PERSIST, "SQLite, TRUNCATE", WAL),
        ("cuts", "lost", "undone", "unsound", "unexpected", "altered"),
        is_judged=False,
    ),
    Expected("power cuts, EXTRA", ("SQLite, DELETE",), ("cuts", "lost"), is_judged=False),
    Expected("power cuts, NORMAL", (WAL,), ("cuts", "lost", "unsound"), is_judged=False),
    Expected("damaged files", BOTH, ("damages", "altered"), is_judged=False),
    Expected("a reader that hangs", BOTH, ("held_mb", "kept_mb"), is_judged=False),
)


def killed_on_the_way(what: str, *, is_judged: bool) -> list[Expected]:
    return [
        Expected(
            f"{what}, killed on the way {way}", (NOTHING,), ("positions",), is_judged=is_judged
        )
        for way in ("up", "down")
    ]


#: What is done to Redis servers, the network before them, and those who speak with them.
OF_REDIS = (
    Expected("server killed under load", (ALWAYS, EVERYSEC), ("kills", "slowest", "bar")),
    Expected("server killed, snapshots only: the documented loss", (SNAPSHOTS,)),
    Expected("no server at the start", (ALWAYS,), ("slowest", "bar")),
    Expected("Sentinel failover under load", ("Redis, Sentinel",), ("kills", "slowest", "bar")),
    Expected("cluster node killed under load", ("Redis, cluster",), ("kills", "slowest", "bar")),
    Expected("refusals under load", (NOTHING,), ("kinds",)),
    Expected("forgotten scripts and bodies", (NOTHING,), ("forgotten", "told"), is_judged=False),
    Expected("stale settlements after a restart", (NOTHING,), ("refused",), is_judged=False),
    Expected("resets under load", (NOTHING,), ("resets",)),
    Expected("a worker in a black hole", (NOTHING,), ("refused", "noticed", "taken")),
    *(
        Expected(f"a slow network: {how}", (NOTHING,))
        for how in ("50 ms", "500 ms", "jitter of 100 ms", "bytes one by one", "1 KB a second")
    ),
    Expected("clocks: producer +300 s, worker -300 s", (NOTHING,), ("slowest", "bar")),
    Expected("clocks: producer -300 s, worker +300 s", (NOTHING,), ("slowest", "bar")),
    Expected("a clock that jumps", (NOTHING,), ("jumps",)),
    *killed_on_the_way("a dispatch of 3 jobs", is_judged=False),
    *(
        one
        for way in ("ack", "release", "bury")
        for one in killed_on_the_way(f"a worker whose job ends by {way}", is_judged=True)
    ),
    *killed_on_the_way("a worker that renews a lease", is_judged=True),
    *(
        one
        for verb in ("revive", "purge", "cancel", "clear", "pause", "look")
        for one in killed_on_the_way(f"an operator: {verb}", is_judged=False)
    ),
    *(
        Expected(name, ("Redis",), figures, is_judged=False)
        for name, figures in (
            ("reset after any byte on the way up", ("positions",)),
            ("reset after any byte on the way down", ("positions",)),
            ("requests: cut", ("positions",)),
            ("requests: lose", ("positions",)),
            ("pushes whose answers are lost", ("pushes", "unknown")),
            ("acks whose answers are lost", ("acks",)),
            ("verbs while the server is away", ("slowest",)),
            ("verbs that are never answered", ("slowest",)),
            ("calls that are broken off", ("broken",)),
            ("async pushes that are cancelled", ("broken",)),
        )
    ),
)

#: What is wrong on purpose.
BROKEN = (
    Expected("broken: ack before the run", ONE),
    Expected("broken: no look at the token", ONE, is_judged=False),
    Expected("broken: losses not counted", ONE),
    Expected("broken: delete before decode", ONE),
    Expected("broken: lease never renewed", ONE),
)

#: In the order of the page.
SECTIONS = (
    ("Workers that die, sleep and stop", OF_WORKERS),
    ("Several jobs at once on a loop", OF_LOOPS),
    ("Limits that processes share", OF_LIMITS),
    ("Chains and batches that are cut", OF_PLANS),
    ("SQLite: its file and its disk", OF_SQLITE),
    ("Redis: its servers, the network and the clocks", OF_REDIS),
)
EXPECTED = (*OF_WORKERS, *OF_LOOPS, *OF_LIMITS, *OF_PLANS, *OF_SQLITE, *OF_REDIS, *BROKEN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "results", nargs="+", type=Path, help="one that is not there is passed over"
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--section", choices=[title for title, _ in SECTIONS])
    options = parser.parse_args()
    texts = [path.read_text("utf-8") for path in options.results if path.exists()]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    place = options.page
    expected = dict(SECTIONS)[options.section] if options.section else EXPECTED
    if gaps := missing(lines, expected):
        sys.exit("\n".join([f"{place.name} stays as it was: it would lack", *gaps]))
    if options.section:
        text = with_section(place.read_text("utf-8"), options.section, lines)
    else:
        text = page(lines)
    place.write_text(text, "utf-8")


def with_section(text: str, title: str, lines: Iterable[dict[str, Any]]) -> str:
    """Return a page with one of its sections made anew, or put where it belongs."""
    head, *others = text.split("\n## ")
    found = {one.partition("\n")[0]: one for one in others}
    merged = sorted(merge(lines), key=place_of)
    found[title] = "\n".join(section(title, dict(SECTIONS)[title], merged)).removeprefix("## ")
    titles = [one for one, _ in SECTIONS if one in found]
    rest = [one for one in found if one not in titles]
    parts = [head.strip("\n"), *(found[one].strip("\n") for one in [*titles, *rest])]
    return "\n\n## ".join(parts) + "\n"


def missing(lines: Iterable[dict[str, Any]], expected: Sequence[Expected] = EXPECTED) -> list[str]:
    """
    Return what these results do not say, a line each.

    Of a short form, which has fewer stores, one store of each scenario is enough; and of what is not
    installed there is nothing to say.
    """
    found = list(lines)
    gaps: list[str] = []
    for one in expected:
        own = [line for line in found if line["scenario"] == one.scenario]
        stores = [store for store in one.stores if is_here(store)]
        if any(line.get("form") == "full" for line in found):
            gaps += [
                f"- {one.scenario}, {store}"
                for store in stores
                if store not in {line["store"] for line in own}
            ]
        elif stores and not own:
            gaps.append(f"- {one.scenario}")
        keys = (*one.figures, *(JUDGED if one.is_judged else ()))
        gaps += [
            f"- {one.scenario}, {line['store']}: {key}"
            for line in own
            for key in keys
            if key not in line
        ]
    known = {one.scenario for one in expected} | {"soak"}
    gaps += [
        f"- {name}: not expected" for name in sorted({line["scenario"] for line in found} - known)
    ]
    return gaps


def is_here(store: str) -> bool:
    """Tell whether what this store needs is installed."""
    if store.startswith("Redis"):
        return shutil.which("redis-server") is not None
    return store != WAL or not bundled().startswith("(")


def page(lines: Iterable[dict[str, Any]]) -> str:
    """Return the page of these results."""
    soaks = [line for line in lines if line["scenario"] == "soak"]
    others = [line for line in lines if line["scenario"] != "soak"]
    broken = [line for line in others if line["scenario"].startswith("broken: ")]
    merged = sorted(merge([line for line in others if line not in broken]), key=place_of)
    full = all(line.get("form") == "full" for line in others)
    parts = [
        HEAD.format(
            form="" if full else "**In their short form**: `make faults` runs more of everything.",
            machine=f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
            python=platform.python_version(),
            standard=sqlite3.sqlite_version,
            bundled=bundled(),
            redis=redis_version(),
        ),
        *(part for title, own in SECTIONS for part in section(title, own, merged)),
        "## Does it bite?\n",
        "Workers that are wrong on purpose, by the same tests:\n",
        table(["variant", "noticed by"], [(one["scenario"][8:], noticed(one)) for one in broken]),
    ]
    if soaks:
        parts += ["## An hour\n", *map(soak, soaks)]
    return "\n".join(parts).replace("\n\n\n", "\n\n")


def section(
    title: str, expected: Sequence[Expected], lines: Sequence[dict[str, Any]]
) -> Iterable[str]:
    """Return a part of the page: what was counted, and what else there is to say."""
    names = {one.scenario for one in expected}
    own = [line for line in lines if line["scenario"] in names]
    counted = [line for line in own if "starts" in line or "lost" in line]
    said = [row for row in map(figures, own) if row[2]]
    yield f"## {title}\n"
    yield f"Measured on {datetime.now(UTC).date()}.\n"
    if counted:
        yield table(["scenario", "store", *(head for head, _ in COUNTS)], map(counts, counted))
    yield table(["scenario", "store", "figures"], said)


def place_of(line: dict[str, Any]) -> tuple[int, int, int]:
    """Return where a line belongs on the page."""
    for place, one in enumerate(EXPECTED):
        if one.scenario == line["scenario"] and line["store"] in one.stores:
            return place, one.stores.index(line["store"]), line.get("seed", 0)
    return len(EXPECTED), 0, 0


def merge(lines: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Make one line of those of one scenario, store and seed."""
    groups: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(dict)
    for line in lines:
        one = groups[line["scenario"], line["store"], line.get("seed")]
        for name, value in line.items():
            if name in ADDED:
                one[name] = one.get(name, 0) + value
            elif isinstance(value, int | float):
                one[name] = max(one.get(name, value), value)
            else:
                one.setdefault(name, value)
    return groups.values()


def counts(line: dict[str, Any]) -> list[str]:
    cells = [f"{line[name]:,}" if name in line else "" for _, name in COUNTS]
    return [line["scenario"], line["store"], *cells]


def figures(line: dict[str, Any]) -> list[str]:
    said = [
        text.format(**line[name]) if isinstance(line[name], dict) else text.format(line[name])
        for name, text in FIGURES.items()
        if name in line
    ]
    return [line["scenario"], line["store"], "; ".join(said)]


def noticed(line: dict[str, Any]) -> str:
    names = ("lost", "unexpected", "altered", "unexplained", "overstarted")
    found = [f"{line[name]} {name}" for name in names if line.get(name)]
    return ", ".join(found) or "no stale settlement refused, and the job gone while it runs"


def soak(line: dict[str, Any]) -> str:
    """Tell of one long run."""
    told = (
        f"{line['minutes']:g} minutes, {line['stored']:,} jobs, a worker killed {line['kills']} times "
        f"({line['hits']} in a job): {line['lost']} lost, {line['unexpected']} unexpected, "
        f"{line['extra']} extra starts. The store took {line['file_max'] / 2**20:.1f} MiB at most, for "
        f"{line['waiting_max']:,} jobs waiting at most, and grew by {line['file_mb_per_hour']} MiB an hour.\n"
    )
    rows = [
        (
            name,
            f"{line[name]['rss_mb']} MiB",
            f"{line[name]['rss_mb_per_hour']} MiB an hour",
            "-".join(str(one) for one in line[name]["fds"]),
            "-".join(str(one) for one in line[name]["threads"]),
        )
        for name in ("steady worker", "producer")
        if name in line
    ]
    return f"{told}\n{table(['process', 'memory', 'growth', 'open files', 'threads'], rows)}"


def table(heads: list[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in lines) + "\n"


def redis_version() -> str:
    if not is_here("Redis"):
        return "(not installed)"
    said = subprocess.run(["redis-server", "--version"], check=True, capture_output=True, text=True)
    return said.stdout.partition("v=")[2].partition(" ")[0]


def bundled() -> str:
    try:
        version("pysqlite3")
    except PackageNotFoundError:
        return "(not installed)"
    import pysqlite3

    return str(pysqlite3.sqlite_version)


if __name__ == "__main__":
    main()
