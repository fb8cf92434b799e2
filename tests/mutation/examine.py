"""
Run pytest over a copy of the project, in a fork of this process: once to see which test runs which
line, then once for each mutant, with the tests that run its lines.

The parent has imported pytest and what it needs, and nothing of ours, so a fork starts quickly and
still imports the mutated package anew.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

#: What tests import that is not ours: once, in the parent.
IMPORTED = (
    "attrs", "asyncio", "click", "click.testing", "coverage", "hypothesis", "msgspec", "pydantic",
    "pysqlite3", "sqlite3", "unittest.mock",
)  # fmt: skip

#: Seconds that one test may take, and the memory that one process may.
TEST_LIMIT = 20
MEMORY_LIMIT = 8 * 2**30

OPTIONS = (
    "-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=short",
    "-o", f"timeout={TEST_LIMIT}",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # of what the parent has imported
)  # fmt: skip


def prepare() -> None:
    """Import what every fork would import."""
    for name in IMPORTED:
        with suppress(ImportError):
            importlib.import_module(name)
    assert "eventbus" not in sys.modules


@frozen(kw_only=True)
class Outcome:
    """What became of one run of tests."""

    #: That of pytest; negative for a signal; None if it took too long.
    status: int | None
    #: The first test that failed, and how many ran.
    failed: str = ""
    ran: int = 0
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        """Whether a test, or the import, has told the mutant from the original."""
        # 5: none of the tests was there, which says nothing.
        return self.status not in (0, 5)

    @property
    def by(self) -> str:
        """Return what has told it."""
        if self.failed or not self.killed:
            return self.failed
        return (
            "the time limit"
            if self.status is None
            else f"exit status {self.status}, before any test"
        )


@define(eq=False)
class Chooser:
    """The plugin of one run: chooses the tests and their order, and keeps the first that fails."""

    wanted: list[str]
    failed: str = ""
    ran: int = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: [item] for item in items}
        examples = [item for item in items if "::line:" in item.nodeid]
        for item in examples:
            # One goes on where the one before it in the file ended.
            found[item.nodeid] = [one for one in examples if one.path == item.path]
        items[:] = dict.fromkeys(item for wanted in self.wanted for item in found.get(wanted, ()))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran += report.when == "call"
        if report.failed and not self.failed:
            self.failed = report.nodeid


@define(eq=False)
class Mapper:
    """The plugin of the first run: says to coverage which test is running, and times it."""

    coverage: Any
    seconds: dict[str, float] = field(factory=lambda: defaultdict(float))
    failed: set[str] = field(factory=set)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)


@define(eq=False)
class Lines:
    """Which tests run which lines, and how long they take."""

    #: From a file to its lines, to the tests that run each; `""` is an import.
    tests: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]

    def of(self, path: str, first: int, last: int) -> set[str]:
        """Return the tests that run one of these lines; all of the file's, if an import does."""
        lines = self.tests.get(path, {})
        found = set[str]().union(*(lines.get(one, ()) for one in range(first, last + 1)))
        if "" in found:
            found = set[str]().union(*lines.values())
        return found - {""}

    def ordered(self, tests: Iterable[str], path: str, *, budget: float) -> list[str]:
        """Return the tests in the order that tells soonest, until they take `budget` seconds."""
        words = {Path(path).stem, Path(path).parent.name}

        def rank(test: str) -> tuple[bool, float, str]:
            name = test.partition("::")[0]
            fits = name == path or any(word in Path(name).stem.split("_") for word in words)
            return not fits and Path(path).stem not in name, self.seconds[test], test

        chosen: list[str] = []
        for test in sorted(tests, key=rank):
            budget -= self.seconds[test]
            if budget < 0:
                break
            chosen.append(test)
        return chosen


@define(eq=False)
class Fork:
    """One process that works in a copy of the tree, and says at its end what it found."""

    pid: int
    reading: int
    ends: float
    began: float
    said: bytes = b""

    @classmethod
    def start(cls, work: Callable[[], dict[str, Any]], *, tree: Path, limit: float) -> Fork:
        """Fork; `work` runs in the child, its answer is read here."""
        reading, writing = os.pipe()
        sys.stdout.flush()
        now = time.monotonic()
        pid = os.fork()
        if pid:
            os.close(writing)
            return cls(pid=pid, reading=reading, began=now, ends=now + limit)
        try:
            os.setsid()
            _settle_in(tree)
            said = work()
            os.write(writing, json.dumps(said).encode())
            os._exit(0)
        except BaseException as error:
            os.write(writing, json.dumps({"error": repr(error)}).encode())
        finally:
            os._exit(70)

    def finish(self) -> dict[str, Any] | None:
        """Return what it said, and end what it left behind; None if it said nothing."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.reading)
        if not self.said:
            return {"died": status} if time.monotonic() < self.ends else None
        return json.loads(self.said)


def _settle_in(tree: Path) -> None:
    """Make `tree` the place that everything is imported from, in this process and its children."""
    out = os.open(tree.with_name(f"{tree.name}.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(out, stream)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chdir(tree)
    sys.path[:] = [str(tree), *(one for one in sys.path if Path(one) != Path(__file__).parent)]
    sys.argv[:] = ["pytest"]
    os.environ["PYTHONPATH"] = str(tree)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ImportError):
        from hypothesis import Phase, settings

        # The same examples each time; the first that fails is enough. A machine that is busy is no mistake.
        settings.register_profile(
            "mutation",
            derandomize=True,
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate),
        )
        settings.load_profile("mutation")


def _pytest(tree: Path, tests: Iterable[str], plugin: object, *more: str) -> int:
    place = tree.with_name(f"{tree.name}-t")
    return int(
        pytest.main(
            [*OPTIONS, *more, f"--rootdir={tree}", f"--basetemp={place}", *tests], plugins=[plugin]
        )
    )


def _no_bytecode() -> None:
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def run_chosen(tree: Path, tests: list[str]) -> dict[str, Any]:
    """In a fork: run these tests until one fails."""
    # What a mutant was compiled to must not outlive it.
    _no_bytecode()
    chooser = Chooser(tests)
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    status = _pytest(tree, files, chooser)
    return {"status": status, "failed": chooser.failed, "ran": chooser.ran}


def map_lines(
    tree: Path, tests: Collection[str], files: Collection[str], to: Path
) -> dict[str, Any]:
    """In a fork: run all tests, and write which of them run which lines of `files`."""
    from coverage import Coverage

    os.environ["COVERAGE_CORE"] = "ctrace"  # the one that tells tests apart
    coverage = Coverage(
        data_file=None,
        config_file=False,
        include=[str(tree / one) for one in files],
        messages=False,
    )
    mapper = Mapper(coverage)
    coverage.start()
    status = _pytest(tree, tests, mapper, "--maxfail=1000000")
    coverage.stop()
    data = coverage.get_data()
    names = [one for one in mapper.seconds if one not in mapper.failed]
    numbers = {one: number for number, one in enumerate(names)} | {"": -1}
    lines = {
        path: {
            line: [numbers[one] for one in contexts if one in numbers]
            for line, contexts in data.contexts_by_lineno(str(tree / path)).items()
        }
        for path in files
    }
    found = {
        "tests": names,
        "seconds": [mapper.seconds[one] for one in names],
        "lines": lines,
        "left_out": sorted(mapper.failed),
    }
    to.write_text(json.dumps(found), encoding="utf-8")
    return {"status": status, "ran": len(mapper.seconds), "left_out": len(mapper.failed)}


def warm(tree: Path, tests: Collection[str]) -> dict[str, Any]:
    """In a fork: have the tests compiled."""
    return {"status": _pytest(tree, tests, object(), "--collect-only")}


def read_lines(found: dict[str, Any], *, longest: float) -> Lines:
    """Return what `map_lines` wrote, without tests that take more than `longest` seconds."""
    names, seconds = found["tests"], found["seconds"]
    kept = {number for number, one in enumerate(seconds) if one <= longest} | {-1}
    return Lines(
        tests={
            path: {
                int(line): {"" if one < 0 else names[one] for one in tests if one in kept}
                for line, tests in lines.items()
            }
            for path, lines in found["lines"].items()
        },
        seconds=dict(zip(names, seconds, strict=True)),
    )


def wait(forks: Collection[Fork]) -> list[Fork]:
    """Wait until some have said what they found, died, or taken too long; return them."""
    by_pipe = {fork.reading: fork for fork in forks}
    over: list[Fork] = []
    while not over:
        left = max(0.0, min(fork.ends for fork in forks) - time.monotonic())
        for pipe in select.select(list(by_pipe), [], [], left)[0]:
            fork = by_pipe[pipe]
            chunk = os.read(pipe, 2**16)
            fork.said += chunk
            # A test's own child may hold the pipe open: what was said whole is enough.
            if not chunk or fork.said.endswith(b"}"):
                over.append(fork)
        now = time.monotonic()
        over += [fork for fork in forks if fork.ends <= now and fork not in over]
    return over


def outcome_of(fork: Fork) -> Outcome:
    """Return what became of the run of a fork that is over."""
    said = fork.finish()
    seconds = round(time.monotonic() - fork.began, 2)
    if said is None:
        return Outcome(status=None, seconds=seconds)
    if "error" in said or "died" in said:
        return Outcome(status=said.get("died", 70), seconds=seconds)
    return Outcome(**said, seconds=seconds)
