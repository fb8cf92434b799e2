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
import fresh
import peers
import pyperf
import report
from report import Result
from tables import TABLES, Table

SEED = 2026


@attrs.frozen
class Effort:
    """How long to measure."""

    processes: int
    #: In each process; 31 at least all together.
    rounds: int
    #: Seconds of a sample, at least.
    sample: float
    #: Rounds of what runs in fresh processes, and of the scan.
    imports: int
    scans: int
    #: Listeners, and rounds, of registration.
    listeners: int
    registrations: int


FULL = Effort(
    processes=3, rounds=31, sample=0.002, imports=31, scans=31, listeners=10_000, registrations=5
)
FAST = Effort(
    processes=1, rounds=31, sample=0.0005, imports=5, scans=3, listeners=1_000, registrations=3
)
#: What is measured besides the tables of tables.py.
OTHERS = ("one_event", "many_events", "memory", "imports", "scan")


def main() -> None:
    names = [*(one.name for one in TABLES), *OTHERS]
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").strip().splitlines()[0], epilog=f"Names: {' '.join(names)}"
    )
    parser.add_argument("--fast", action="store_true", help="about a minute, with more noise")
    parser.add_argument(
        "--only", metavar="NAME", help="one table, or a pattern such as 'dispatch*'"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report there")
    options = parser.parse_args()
    chosen = fnmatch.filter(names, options.only or "*")
    if not chosen:
        parser.error(f"no table is called {options.only!r}; there are {' '.join(names)}")
    effort = FAST if options.fast else FULL
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        measuring = Measuring(effort, Path(folder), show=options.only is not None)
        for name in chosen:
            measuring.measure(name)
    found = report.goals(measuring.results)
    text = report.document(
        machine=_machine(effort, load), system=_system(), found=found, sections=measuring.sections
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

    def __init__(self, effort: Effort, folder: Path, *, show: bool) -> None:
        self.effort = effort
        self.folder = folder
        self.show = show
        self.results: dict[str, Result] = {}
        self.sections: list[str] = []

    def measure(self, name: str) -> None:
        started = time.monotonic()
        self._measure(name)
        print(f"{name}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)

    def _measure(self, name: str) -> None:
        table = next((one for one in TABLES if one.name == name), None)
        if table is not None:
            self._add(self._interleaved(table))
        elif name in ("one_event", "many_events"):
            self._registered(name)
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
            arguments = [str(self.effort.rounds), str(self.effort.sample), str(SEED + process)]
            said = _child("worker.py", table.name, str(file), *arguments)
            for benchmark in pyperf.BenchmarkSuite.load(str(file)):
                values.setdefault(benchmark.get_name(), []).extend(benchmark.get_values())
        return Result(table.name, table.title, values, said["floors"], said["missing"], table.note)

    def _registered(self, name: str) -> None:
        count = self.effort.listeners
        said = _child("registering.py", name, str(count), str(self.effort.registrations), str(SEED))
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
        said = _child("registering.py", "memory", str(count), "1", str(SEED))
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


def _child(script: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(checkout.HERE / script), *arguments],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
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
        "attrs, pyperf": f"{attrs.__version__}, {pyperf.__version__}",
        "peers": ", ".join(f"{name} {version}" for name, version in peers.versions().items()),
        "not installed": ", ".join(peers.DISTRIBUTIONS.keys() - peers.versions().keys()) or "none",
        "effort": f"{rounds} rounds in {effort.processes} processes, samples of"
        f" {effort.sample * 1e3:g} ms or more, seed {SEED}",
    }


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
