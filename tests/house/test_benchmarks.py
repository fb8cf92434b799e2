"""The benchmarks run, so that they can be relied on when a figure is wanted."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: What the run cannot do without, and the peers that its smallest table stands beside.
NEEDED = (
    "psutil",
    "pyperf",
    "blinker",
    "django",
    "eventkit",
    "psygnal",
    "pydispatch",
    "pyee",
    "pymitter",
    "zope.event",
)
#: What the tables of the queue stand beside, and the driver of one of its journals.
NEEDED_BY_QUEUE = ("huey", "psutil", "pyperf", "pysqlite3")
#: What the tables of Redis stand beside; the other peers are installed by the run itself.
NEEDED_BY_REDIS = ("celery", "dramatiq", "hiredis", "huey", "psutil", "pyperf", "redis", "rq")


def missing(needed: tuple[str, ...] = NEEDED) -> list[str]:
    def found(name: str) -> bool:
        parent = name.partition(".")[0]
        return importlib.util.find_spec(parent) is not None and (
            importlib.util.find_spec(name) is not None
        )

    return [name for name in needed if not found(name)]


def measured(root: Path, report: Path, table: str) -> tuple[str, str]:
    """Return what is printed and what is written when `table` is measured in a hurry."""
    command = [sys.executable, "benchmarks/run.py", "--fast", "--only", table]
    done = subprocess.run(
        [*command, "--output", str(report)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = report.read_text("utf-8")
    assert "Not measured" not in written
    return done.stdout, written


@pytest.mark.skipif(bool(missing()), reason=f"not installed, see `make bench`: {missing()}")
def test_a_table_is_measured_beside_every_peer(root: Path, tmp_path: Path):
    printed, written = measured(root, tmp_path / "RESULTS.md", "dispatch_1")

    assert "| `dispatch`, 1 function |" in printed
    for name in ("floor", "**eventbus**", "blinker", "Django signals", "eventkit", "psygnal"):
        assert f"| {name} |" in written


needs_queue = pytest.mark.skipif(
    bool(missing(NEEDED_BY_QUEUE)),
    reason=f"not installed, see `make bench`: {missing(NEEDED_BY_QUEUE)}",
)


@needs_queue
@pytest.mark.parametrize("journal", ["rollback", "wal"])
def test_a_stored_dispatch_is_measured_beside_sqlite_by_hand_and_huey(
    root: Path, tmp_path: Path, journal: str
):
    printed, written = measured(root, tmp_path / "RESULTS.md", f"queue_full_{journal}")

    assert "as quick as by hand | ≥ 0.90" in printed
    for name in ("by hand", "**eventbus**", "**eventbus, `Port.push`**", "huey, FULL"):
        assert f"| {name} |" in written


@needs_queue
@pytest.mark.timeout(90)  # five drains, each by processes of its own
def test_a_drain_is_measured_by_real_workers_that_run_every_job(root: Path, tmp_path: Path):
    printed, written = measured(root, tmp_path / "RESULTS.md", "queue_drain_wal")

    assert "as quick as huey, OFF | ≥ 2.50" in printed
    for name in ("by hand, batches of 100", "eventbus, two workers", "huey, FULL", "huey, OFF"):
        assert f"| {name} | " in written.replace("**", "")


NEEDED_BY_WAYS = ("psutil", "pyperf", "pysqlite3", "redis")


@pytest.mark.skipif(
    bool(missing(NEEDED_BY_WAYS)),
    reason=f"not installed, see `make bench`: {missing(NEEDED_BY_WAYS)}",
)
@pytest.mark.timeout(90)  # a worker, a pool, and a process that dies and is replaced
@pytest.mark.parametrize("journal", ["rollback", "wal"])
@pytest.mark.parametrize(
    "way, told, beside",
    [
        ("processes", "`multiprocessing.Pool(2)` | ≥ 0.95", "`multiprocessing.Pool(2)`"),
        ("concurrency", "`asyncio.gather` | ≤ 3.00", "`asyncio.gather`"),
        ("threads", "`ThreadPoolExecutor(16)` | ≤ 1.30", "`ThreadPoolExecutor(16)`"),
        ("death", "a bare spawn | ≤ 1.50", "a bare spawn that imports the worker too"),
    ],
)
def test_a_workers_way_is_measured_beside_what_python_has(
    root: Path, tmp_path: Path, journal: str, way: str, told: str, beside: str
):
    printed, written = measured(root, tmp_path / "RESULTS.md", f"worker_{way}_{journal}")

    assert told in printed
    for name in ("**eventbus**", beside):
        assert f"| {name} | " in written


@needs_queue
@pytest.mark.parametrize("journal", ["rollback", "wal"])
def test_what_chains_and_batches_cost_is_measured(root: Path, tmp_path: Path, journal: str):
    printed, written = measured(root, tmp_path / "RESULTS.md", f"plans_settle_{journal}")

    assert "a job by itself | ≤ 1.30" in printed
    for name in ("a member of a batch, 100 at once", "one of a chain, one by one"):
        assert f"| {name} | " in written


@needs_queue
@pytest.mark.parametrize(
    "journal, module", [("rollback", "_sqlite3"), ("wal", "pysqlite3._sqlite3")]
)
def test_all_that_run_in_a_measured_process_have_one_driver(root: Path, journal: str, module: str):
    code = (
        f"from journals import JOURNALS; JOURNALS[{journal!r}].use();"
        "import huey.storage, sqlite3; from eventbus.backends.sqlite import load_driver;"
        "drivers = (load_driver(), sqlite3, huey.storage.sqlite3);"
        "print(*{one.connect.__module__ for one in drivers})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root / "benchmarks", capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.split() == [module]


needs_redis = pytest.mark.skipif(
    bool(missing(NEEDED_BY_REDIS)) or shutil.which("redis-server") is None,
    reason=f"not installed, see `make bench`: redis-server, or {missing(NEEDED_BY_REDIS)}",
)
PEERS_ON_REDIS = ("arq", "celery", "dramatiq", "huey", "rq", "saq", "streaq", "taskiq")


@needs_redis
@pytest.mark.timeout(300)  # the first makes environments; then there are eleven fresh producers
def test_a_push_to_redis_is_measured_beside_redis_py_and_every_peer(root: Path, tmp_path: Path):
    printed, written = measured(root, tmp_path / "RESULTS.md", "redis_push_plain")

    assert "as quick as raw redis-py, the same EVALSHA | ≥ 0.85" in printed
    assert "as quick as the fastest peer, " in printed
    for name in ("raw redis-py, the same EVALSHA", "**eventbus, `Port.push`**", *PEERS_ON_REDIS):
        assert f"| {name} | " in written


@needs_redis
@pytest.mark.timeout(300)  # eleven drains, each by processes of its own
def test_a_drain_of_redis_is_measured_by_real_workers_that_run_every_job(
    root: Path, tmp_path: Path
):
    printed, written = measured(root, tmp_path / "RESULTS.md", "redis_drain_plain")

    assert "as quick as raw redis-py, by 100 | ≥ 0.60" in printed
    assert "as quick as the fastest peer, " in printed
    for name in ("raw redis-py, by 100", "eventbus, two workers", *PEERS_ON_REDIS):
        assert f"| {name} | " in written.replace("**", "")


@needs_redis
@pytest.mark.timeout(300)  # ten workers, all at once
@pytest.mark.parametrize(
    "table, told",
    [
        ("redis_many_plain", "as quick as raw redis-py, pipeline of LPUSH | ≥ 0.50"),
        ("redis_latency_plain", "idle worker, p99, Redis | "),
        ("redis_memory_plain", "| **eventbus** | "),
        ("redis_killed_plain", "| **eventbus** | "),
        ("redis_resident_plain", "memory of a worker, busy: eventbus, SQLite | "),
    ],
)
def test_what_else_is_promised_on_redis_is_measured(
    root: Path, tmp_path: Path, table: str, told: str
):
    printed, written = measured(root, tmp_path / "RESULTS.md", table)

    assert told in printed
    for name in () if table == "redis_many_plain" else PEERS_ON_REDIS:
        assert f"| {name} | " in written


@needs_redis
@pytest.mark.timeout(90)
def test_what_jobs_are_kept_in_is_measured_beside_streams_and_lists(root: Path):
    done = subprocess.run(
        [sys.executable, "benchmarks/structures.py", "--fast"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    for name in ("streams", "lists", "our scripts"):
        assert f"| {name} | " in done.stdout


def goals_of(modules: str, root: Path) -> list[list[str]]:
    """Return the names of the goals in these modules, and beside what the figure of each stands."""
    code = (
        "import json;"
        f"import {modules};"
        f"print(json.dumps([goal for one in ({modules},) for goal in one.wanted()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root / "benchmarks", capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


NEEDED_BY_GOALS = ("psutil", "pyperf", "redis")


@pytest.mark.skipif(
    bool(missing(NEEDED_BY_GOALS)),
    reason=f"not installed, see `make bench`: {missing(NEEDED_BY_GOALS)}",
)
def test_every_goal_of_a_queue_has_a_figure_in_the_results(root: Path):
    rows = [
        line.split(" | ")
        for line in (root / "benchmarks" / "RESULTS.md").read_text("utf-8").splitlines()
        if line.startswith("| ") and line.endswith(" |")
    ]
    told = {(row[0].removeprefix("| "), row[1]) for row in rows if len(row) == 4}

    goals = goals_of("queue_goals, ways_goals, redis_goals", root)
    without = [
        (what, of)
        for what, of in goals
        if not any(what == goal and f" {of}" in figure for goal, figure in told)
    ]

    assert len(goals) > 52
    assert without == []
