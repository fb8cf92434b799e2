"""
Measure everything, and write RESULTS.md: `python benchmarks/run.py [--fast] [--only NAME]`.

`--fast` and `--only` print what they measure and write nothing, unless `--output` names a file.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import checkout
import contenders
import drains
import fresh
import idle
import peers
import plans_run
import psutil
import pyperf
import queue_goals
import queued
import redis_goals
import redis_run
import redis_server
import redis_tables
import report
import tables
import ways_goals
import ways_run
from journals import JOURNALS, Journal
from report import Result
from tables import Table

SEED = 2026


@attrs.frozen
class Effort:
    """How long to measure."""

    processes: int
    #: In each process; 31 at least all together.
    rounds: int
    #: Seconds of a sample, at least; of one that waits for the disk.
    sample: float
    synced: float
    #: Rounds of what runs in fresh processes, and of the scan.
    imports: int
    scans: int
    #: Listeners, and rounds, of registration.
    listeners: int
    registrations: int
    #: Jobs of a drain, and how often it is repeated.
    jobs: int
    drains: int
    #: Pushes to each idle worker, and seconds that it is left alone.
    pushes: int
    idle: float


FULL = Effort(
    processes=3, rounds=31, sample=0.002, synced=0.02, imports=31, scans=31, listeners=10_000,
    registrations=5, jobs=50_000, drains=5, pushes=40, idle=30.0,
)  # fmt: skip
FAST = Effort(
    processes=1, rounds=31, sample=0.0005, synced=0.002, imports=5, scans=3, listeners=1_000,
    registrations=3, jobs=2_000, drains=1, pushes=3, idle=3.0,
)  # fmt: skip
TABLES = (*tables.TABLES, *queued.TABLES, *redis_tables.TABLES)
#: What is measured besides the tables.
OTHERS = ("one_event", "many_events", "memory", "imports", "scan")
#: The same for the queue, once for each journal.
OF_QUEUE = {
    f"{what}_{journal.name}": (what, journal)
    for what in ("queue_drain", "queue_latency", "queue_idle", "queue_job")
    for journal in JOURNALS.values()
}


def main() -> None:
    names = [one.name for one in tables.TABLES] + list(OTHERS)
    names += [one.name for one in queued.TABLES] + list(OF_QUEUE)
    names += [*ways_run.NAMES, *plans_run.NAMES]
    names += [one.name for one in redis_tables.TABLES] + list(redis_run.NAMES)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").strip().splitlines()[0], epilog=f"Names: {' '.join(names)}"
    )
    parser.add_argument("--fast", action="store_true", help="about a minute, with more noise")
    parser.add_argument("--only", metavar="NAME", help="one table, or a pattern such as 'queue*'")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report there")
    options = parser.parse_args()
    chosen = fnmatch.filter(names, options.only or "*")
    if not chosen:
        parser.error(f"no table is called {options.only!r}; there are {' '.join(names)}")
    effort = FAST if options.fast else FULL
    on_redis = redis_run.FAST if options.fast else redis_run.FULL
    of_ways = ways_run.FAST if options.fast else ways_run.FULL
    of_plans = plans_run.FAST if options.fast else plans_run.FULL
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        show = options.only is not None
        measuring = Measuring(effort, on_redis, of_ways, of_plans, Path(folder), show=show)
        for name in chosen:
            measuring.measure(name)
    results = measuring.results
    found = [*report.goals(results), *queue_goals.goals(results)]
    found += [*ways_goals.goals(results), *plans_run.goals(results), *redis_goals.goals(results)]
    machine = _machine(effort, load)
    if any(name in ways_run.NAMES for name in chosen):
        machine["effort of workers' ways"] = of_ways.said()
    if any(_needs_redis(name) for name in chosen):
        machine |= _machine_of_redis(on_redis)
    text = report.document(
        machine=machine, system=_system(), found=found, sections=measuring.sections
    )
    output = options.output
    if output is None and not options.fast and options.only is None:
        output = checkout.HERE / "RESULTS.md"
    if output is not None:
        output.write_text(text, encoding="utf-8")
        print(f"written: {output}", file=sys.stderr)
    if found:
        print(report.goal_table(found))


class Measuring:
    """What has been measured so far."""

    def __init__(
        self,
        effort: Effort,
        on_redis: redis_run.Effort,
        of_ways: ways_run.Effort,
        of_plans: plans_run.Effort,
        folder: Path,
        *,
        show: bool,
    ) -> None:
        self.effort = effort
        of_redis = redis_run.RedisRun(on_redis, self._child)
        of_worker = ways_run.WaysRun(of_ways, self._child)
        #: Who measures it, by its name.
        self._runs = {
            **dict.fromkeys(redis_run.NAMES, of_redis),
            **dict.fromkeys(ways_run.NAMES, of_worker),
            **dict.fromkeys(plans_run.NAMES, plans_run.PlansRun(of_plans, self._child)),
        }
        self.folder = folder
        self.show = show
        self.results: dict[str, Result] = {}
        self.sections: list[str] = []

    def measure(self, name: str) -> None:
        started = time.monotonic()
        self._measure(name)
        print(f"{name}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)

    def _measure(self, name: str) -> None:
        if _needs_redis(name) and not redis_server.is_installed():
            self._say(f"### `{name}`\n\nNot measured: redis-server is not installed.\n")
            return
        table = next((one for one in TABLES if one.name == name), None)
        if table is not None:
            self._add(self._interleaved(table))
        elif name in ("one_event", "many_events"):
            self._registered(name)
        elif name in OF_QUEUE:
            what, journal = OF_QUEUE[name]
            getattr(self, f"_{what}")(name, journal)
        elif name in self._runs:
            result, section = self._runs[name].measure(name, self.results)
            if result is not None:
                self.results[name] = result
            self._say(section)
        else:
            getattr(self, f"_{name}")()

    def _add(self, result: Result, more: str = "") -> None:
        self.results[result.name] = result
        self._say(report.table(result) + more)

    def _say(self, section: str) -> None:
        self.sections.append(section)
        if self.show:
            print(section)

    def _interleaved(self, table: Table) -> Result:
        values: dict[str, list[float]] = {}
        said: dict[str, Any] = {"missing": {}, "floors": {}}
        for process in range(self.effort.processes):
            file = self.folder / f"{table.name}-{process}.json"
            sample = self.effort.synced if table.is_stored else self.effort.sample
            arguments = [str(self.effort.rounds), str(sample), str(SEED + process)]
            said = self._child("worker.py", table.name, str(file), *arguments)
            for benchmark in pyperf.BenchmarkSuite.load(str(file)):
                values.setdefault(benchmark.get_name(), []).extend(benchmark.get_values())
        return Result(table.name, table.title, values, said["floors"], said["missing"], table.note)

    def _registered(self, name: str) -> None:
        count = self.effort.listeners
        said = self._child(
            "registering.py", name, str(count), str(self.effort.registrations), str(SEED)
        )
        values: dict[str, list[float]] = {}
        for who, rounds in said["values"].items():
            values[who] = [rest for _, rest in rounds]
            values[report.FIRST.format(who)] = [first for first, _ in rounds]
        where = "one event" if name == "one_event" else "an event each"
        title = f"registering {count:,} listeners on {where}, the time of one"
        result = Result(name, title, values, dict.fromkeys(values, "floor"), said["missing"])
        self.results[name] = result
        self._say(report.registration_table(result))

    def _memory(self) -> None:
        count = self.effort.listeners
        said = self._child("registering.py", "memory", str(count), "1", str(SEED))
        title = f"### Memory of {count:,} listeners on one event (`memory`)\n\n"
        self._say(title + report.memory_table(said["values"]))

    def _imports(self) -> None:
        found = fresh.imports(self.folder, self.effort.imports, SEED)
        floors = dict.fromkeys(found.values, "attrs")
        result = Result(
            "imports", "import, in fresh processes", found.values, floors, found.missing
        )
        loaded = {name: set(modules) for name, modules in found.said.items()}
        broken = sorted(loaded[report.US].intersection(fresh.FORBIDDEN))
        promise = (
            f"**`import eventbus` loads {', '.join(broken)}, which it must not.**"
            if broken
            else f"`import eventbus` loads none of {', '.join(fresh.FORBIDDEN)}: as it must be."
        )
        more = len(loaded[report.US] - loaded["attrs"])
        self._add(
            result,
            f"\n{promise}\n\nBeyond attrs, `import eventbus` loads {more} modules"
            f" (`-X importtime`, which itself slows them):\n\n"
            + report.cost_table(fresh.import_costs(self.folder)),
        )

    def _scan(self) -> None:
        found = fresh.scan(self.folder, self.effort.scans, SEED)
        title = f"scan of a package of {fresh.MODULES} modules, in fresh processes"
        note = (
            "Each has a class with a handler and two functions. `import` imports the same modules"
            f" and nothing more; `eventbus` found {found.said[report.US]} listeners."
        )
        floors = dict.fromkeys(found.values, "import")
        self._add(Result("scan", title, found.values, floors, found.missing, note))

    # The queue: workers are processes, and what is measured begins and ends in them.

    def _queue_drain(self, name: str, journal: Journal) -> None:
        effort = self.effort
        said = self._child(
            "drains.py", journal.name, str(effort.jobs), str(effort.drains), str(SEED)
        )
        title = f"a job that does nothing, of {effort.jobs:,} that wait, FULL, {journal.title}"
        floors = dict.fromkeys(said["values"], drains.BY_HAND)
        result = Result(name, title, said["values"], floors, note=drains.NOTE)
        self._add(result, queue_goals.cost_of_drain(said["cpu"]))

    def _queue_latency(self, name: str, journal: Journal) -> None:
        said = self._child("idle.py", "latency", journal.name, str(self.effort.pushes), str(SEED))
        title = f"from before a push to the start of its job, idle worker, FULL, {journal.title}"
        floors = dict.fromkeys(said["values"], idle.POLL)
        self._add(Result(name, title, said["values"], floors, note=idle.NOTE))

    def _queue_idle(self, name: str, journal: Journal) -> None:
        said = self._child("idle.py", "cpu", journal.name, str(self.effort.idle), str(SEED))
        title = f"a worker that waits for {self.effort.idle:g} s, {journal.title}"
        result = self.results[name] = Result(name, title, said["values"], {})
        self._say(queue_goals.idle_table(result))

    def _queue_job(self, name: str, journal: Journal) -> None:
        jobs, rounds = str(self.effort.jobs // 5), str(self.effort.drains)
        said = self._child("job_cpu.py", journal.name, jobs, rounds)
        title = f"the processor's time of one job, FULL, {journal.title} (`{name}`)"
        self._say(queue_goals.stage_table(title, said))

    def _child(self, script: str, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(checkout.HERE / script), *arguments],
            check=False,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.folder)},
        )
        if done.returncode:
            sys.exit(f"{script} {' '.join(arguments)} ended with {done.returncode}")
        return json.loads(done.stdout)


def _machine(effort: Effort, load: tuple[float, float, float]) -> dict[str, str]:
    described = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    keys = ("platform", "cpu_model_name", "cpu_count", "cpu_config", "python_version", "timer")
    rounds = effort.processes * effort.rounds
    return {
        **{key.replace("_", " "): str(described[key]) for key in keys if key in described},
        "load when it began, 1 / 5 / 15 minutes": " / ".join(f"{one:.2f}" for one in load),
        "SQLite": ", ".join(f"{one.driver} {one.version()}" for one in JOURNALS.values()),
        "file system of the queue": _file_system(Path(tempfile.gettempdir())),
        "attrs, pyperf": f"{attrs.__version__}, {pyperf.__version__}",
        "peers": ", ".join(f"{name} {version}" for name, version in peers.versions().items()),
        "not installed": ", ".join(peers.DISTRIBUTIONS.keys() - peers.versions().keys()) or "none",
        "effort": f"{rounds} rounds in {effort.processes} processes, samples of"
        f" {effort.sample * 1e3:g} ms or more (what is stored: {effort.synced * 1e3:g} ms), seed"
        f" {SEED}; drains: {effort.drains} rounds, latency: {effort.pushes}",
    }


def _needs_redis(name: str) -> bool:
    return name.startswith("redis_")


def _machine_of_redis(effort: redis_run.Effort) -> dict[str, str]:
    return {
        "Redis": redis_server.version(),
        "on Redis": contenders.versions(),
        "effort on Redis": f"pushes: {effort.rounds} rounds in {effort.processes} processes each, samples of"
        f" {effort.sample * 1e3:g} ms; drains: {effort.drains} rounds, latency: {effort.pushes}",
    }


def _file_system(folder: Path) -> str:
    """Return the kind of file system that `folder` lies on: what a sync costs depends on it."""
    folder = folder.resolve()
    mounted = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    return next(mounted[one] for one in (folder, *folder.parents) if one in mounted)


def _system() -> str:
    """Return what pyperf knows of the system's settings that matter to timings."""
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", "system", "show"],
        check=False,
        capture_output=True,
        text=True,
    )

    def lines() -> Iterator[str]:
        wanted = False
        for line in done.stdout.splitlines():
            if line in ("System state", "Advices", "Warnings"):
                wanted = line != "Warnings"
            elif wanted and line.strip("= "):
                yield line

    return "pyperf system show\n" + "\n".join(lines())


if __name__ == "__main__":
    main()
