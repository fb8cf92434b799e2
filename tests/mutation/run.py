"""
Make mutants, run the tests over each, and keep what became of it: `python tests/mutation/run.py`.

    --sample 500 --seed 1     so many mutants of all, chosen by chance; the same ones for the same seed
    --only retry.py           only those whose key holds this text
    --again --budget 600      those that survived and have no reason, with more seconds of tests for each
    --out build/mutation      where the results are kept; lines.json there is the map of tests to lines

The project is copied first, so it may be worked on meanwhile. `report.py` writes the page.
"""

from __future__ import annotations

import argparse
import compileall
import json
import py_compile
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import examine
from attrs import define, field
from examine import Fork, Lines
from operators import Mutant, mutants_of

ROOT = Path(__file__).parents[2]

#: Why some survive, for who reads the page.
REASONS = Path(__file__).with_name("survivors.toml")

#: What is mutated.
FILES = (
    "eventbus/queue/catalogue.py",
    "eventbus/queue/codec/*.py",
    "eventbus/queue/checks.py",
    "eventbus/queue/deciding.py",
    "eventbus/queue/fixed.py",
    "eventbus/queue/options.py",
    "eventbus/queue/retry.py",
    "eventbus/backends/scripts/sqlite.sql",
    "eventbus/backends/sql.py",
    "eventbus/backends/sqlite.py",
    "eventbus/backends/sqlite_claims.py",
    "eventbus/backends/sqlite_file.py",
    "eventbus/backends/sqlite_limits.py",
    "eventbus/backends/sqlite_plans.py",
    "eventbus/backends/sqlite_unique.py",
)
#: What is to tell a mutant: these, and the examples in the mutated files themselves.
TESTS = ("tests/unit/queue", "tests/unit/backends", "tests/contract/test_sqlite.py")

#: Who reads the statements of a script by their names, and the tests that read them themselves.
READERS = {
    "sqlite.sql": tuple(
        f"eventbus/backends/{name}.py"
        for name in (
            "sqlite",
            "sqlite_claims",
            "sqlite_file",
            "sqlite_limits",
            "sqlite_plans",
            "sqlite_unique",
        )
    )
}
READING = ("tests/unit/backends/test_sqlite_plans.py", "tests/unit/backends/test_sqlite_schema.py")

#: Seconds: a test that takes longer is left out; so much of tests for one mutant, those first that are
#: made for its module and are quick; and a run is ended after these and three times what it should take.
LONGEST = 8.0
BUDGET = 15.0
PATIENCE = 40.0

LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv*", ".*cache", ".coverage*", ".hypothesis"),
    *("__pycache__", "build", "dist", "_build"),
)


def files_of(root: Path, patterns: Collection[str] = FILES) -> list[str]:
    """Return the files to mutate, from the root."""
    found = (path for pattern in patterns for path in sorted(root.glob(pattern)))
    return [path.relative_to(root).as_posix() for path in found if path.name != "__init__.py"]


def all_mutants(root: Path, files: Collection[str]) -> list[Mutant]:
    """Return every mutant of these files."""
    return [one for path in files for one in mutants_of(path, (root / path).read_bytes())]


def copied(root: Path, to: Path) -> Path:
    """Return a copy of the project whose compiled files follow the source, not its time."""
    shutil.copytree(root, to, ignore=LEFT_OUT)
    compileall.compile_dir(
        to / "eventbus",
        quiet=2,
        invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
    )
    return to


def tests_of(mutant: Mutant, lines: Lines, tree: Path) -> set[str]:
    """Return the tests that run the statement of a mutant."""
    readers = READERS.get(Path(mutant.path).name)
    if readers is None:
        return lines.of(mutant.path, *mutant.lines)
    name = mutant.key.partition("::")[2].partition(":")[0]
    found = {one for one in lines.seconds if one.startswith(READING)}
    for reader in readers:
        for number, line in enumerate((tree / reader).read_text("utf-8").splitlines(), 1):
            if f'"{name}"' in line or f'"{name.rstrip("0123456789")}{{' in line:
                found |= lines.of(reader, number, number)
    return found


@define(eq=False)
class Bench:
    """Copies of the project in which mutants are examined, some at a time."""

    trees: list[Path]
    out: Path
    running: dict[int, tuple[Fork, Path, Mutant | str]] = field(factory=dict)

    def measure(self, tests: Collection[str], files: Collection[str], *, longest: float) -> Lines:
        """Run the tests once, to see which runs which line."""
        to = self.out / "lines.json"
        if not to.exists():
            first, *others = self.trees
            python = [one for one in files if one.endswith(".py")]
            work = [
                Fork.start(
                    lambda: examine.map_lines(first, [*tests, *python], python, to),
                    tree=first,
                    limit=3600,
                ),
                *(
                    Fork.start(partial(examine.warm, tree, tests), tree=tree, limit=600)
                    for tree in others
                ),
            ]
            while work:
                for fork in examine.wait(work):
                    work.remove(fork)
                    said = fork.finish()
                    say(f"measured: {said}")
                    if said is None or "status" not in said:
                        sys.exit("the tests as they are could not be run")
        return examine.read_lines(json.loads(to.read_text("utf-8")), longest=longest)

    def examined(
        self, mutants: Collection[Mutant | str], lines: Lines, *, budget: float
    ) -> Iterator[tuple[Mutant | str, examine.Outcome]]:
        """Examine mutants, or as a control a path as it is; yield each with what became of it."""
        waiting = list(reversed(mutants))
        free = list(self.trees)
        while waiting or self.running:
            while waiting and free:
                mutant, tree = waiting.pop(), free.pop()
                chosen = self.chosen(mutant, lines, tree, budget=budget)
                if not chosen:
                    free.append(tree)
                    yield mutant, examine.Outcome(status=0)
                    continue
                self.start(mutant, tree, chosen, lines)
            if not self.running:
                continue
            for fork in examine.wait([fork for fork, _, _ in self.running.values()]):
                _, tree, mutant = self.running.pop(fork.pid)
                outcome = examine.outcome_of(fork)
                if isinstance(mutant, Mutant):
                    shutil.copyfile(tree.with_name("source") / mutant.path, tree / mutant.path)
                free.append(tree)
                yield mutant, outcome

    def chosen(self, mutant: Mutant | str, lines: Lines, tree: Path, *, budget: float) -> list[str]:
        if isinstance(mutant, Mutant):
            found, path = tests_of(mutant, lines, tree), mutant.path
        else:
            found, path = set().union(*lines.tests.get(mutant, {}).values()) - {""}, mutant
        return lines.ordered(found, path, budget=budget)

    def start(self, mutant: Mutant | str, tree: Path, chosen: list[str], lines: Lines) -> None:
        if isinstance(mutant, Mutant):
            place = tree / mutant.path
            place.write_bytes(mutant.applied(place.read_bytes()))
        fork = Fork.start(
            lambda: examine.run_chosen(tree, chosen),
            tree=tree,
            limit=PATIENCE + 3 * sum(lines.seconds[one] for one in chosen),
        )
        self.running[fork.pid] = fork, tree, mutant


def results_in(out: Path) -> dict[str, dict[str, Any]]:
    """Return what became of each mutant, by its key; of several times the last."""
    file = out / "results.jsonl"
    rows = file.read_text("utf-8").splitlines() if file.exists() else []
    return {row["key"]: row for row in map(json.loads, rows)}


def chosen_mutants(mutants: list[Mutant], options: argparse.Namespace) -> list[Mutant]:
    """Return those that are asked for, in the order of the files."""
    before = results_in(options.out)
    if options.again:
        explained = {row["key"] for row in tomllib.loads(REASONS.read_text("utf-8"))["survivor"]}
        survived = {key for key, row in before.items() if not row["killed"]} - explained
        return [one for one in mutants if one.key in survived]
    mutants = [one for one in mutants if options.only in one.key]
    drawn = sorted(mutants, key=lambda one: _lot(one, options.seed))[: options.sample or None]
    return sorted((one for one in drawn if one.key not in before), key=lambda one: one.key)


def _lot(mutant: Mutant, seed: int) -> bytes:
    """Return a mutant's lot: its own, so that a change elsewhere in the code draws no others."""
    return blake2b(f"{seed} {mutant.key}".encode()).digest()


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--budget", type=float, default=BUDGET)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--files", nargs="+", default=FILES)
    parser.add_argument("--tests", nargs="+", default=TESTS)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutation")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Examine what the options ask for; return what became of all, that of earlier runs as well."""
    options.out.mkdir(parents=True, exist_ok=True)
    examine.prepare()
    with tempfile.TemporaryDirectory(prefix="evm-") as place:  # short: sockets have paths too
        folder = Path(place).resolve()
        source = copied(ROOT, folder / "source")
        trees = [shutil.copytree(source, folder / f"{one}") for one in range(options.processes)]
        files = files_of(source, options.files)
        mutants = all_mutants(source, files)
        bench = Bench(trees, options.out)
        lines = bench.measure(options.tests, files, longest=LONGEST)
        chosen = chosen_mutants(mutants, options)
        budget = options.budget
        touched = sorted({one.path for one in chosen if one.path.endswith(".py")})
        for path, outcome in bench.examined(touched, lines, budget=BUDGET):
            # What is not mutated must survive, or no kill says anything.
            say(f"as it is: {path}, {outcome}")
            if outcome.killed:
                sys.exit(f"{path} as it is was refused by {outcome.by}")
        with (options.out / "results.jsonl").open("a", encoding="utf-8") as results:
            for number, (mutant, outcome) in enumerate(
                bench.examined(chosen, lines, budget=budget), 1
            ):
                row = {
                    "key": mutant.key,
                    "killed": outcome.killed,
                    "by": outcome.by,
                    "ran": outcome.ran,
                    "seconds": outcome.seconds,
                }
                results.write(json.dumps(row) + "\n")
                results.flush()
                what = "killed" if outcome.killed else "SURVIVED"
                say(f"{number}/{len(chosen)} {outcome.seconds:5.1f} s {what} {mutant.key}")
    return results_in(options.out)


if __name__ == "__main__":
    run(parsed())
