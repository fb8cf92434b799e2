"""
Producers and workers that die at each statement that they say to SQLite, one after the other.

The process that dies is a real one. It writes down each statement before it is begun, so it is known
which were done; from that, and from whether the listener had begun, follows exactly how often the job
is to run in all. A lease that a dead worker left behind is ended in the file, not waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from attrs import frozen

from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend, load_driver
from tests.faults.stores import STORES, integrity
from tests.forms import FULL

pytestmark = pytest.mark.timeout(900)

APPLICATION = """
import os, signal, sys
from itertools import count
from attrs import frozen
if os.environ["DRIVER"] == "sqlite3":
    sys.modules["pysqlite3"] = None
from eventbus import Attempt, EventBus, event, listens
from eventbus.backends import sqlite_file

DRIVER = sqlite_file.load_driver()
HERE = os.path.dirname(os.path.abspath(__file__))

def write(name, text):
    file = os.open(os.path.join(HERE, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, (text + chr(10)).encode())
    os.close(file)

class Deadly:
    numbers = count()

    def __getattr__(self, name):
        return getattr(DRIVER, name)

    def connect(self, *arguments, **options):
        db = DRIVER.connect(*arguments, **options)
        db.set_trace_callback(self.trace)
        return db

    def trace(self, statement):
        write("statements", " ".join(statement.split()))
        if next(self.numbers) == int(os.environ.get("KILL_AT", -1)):
            os.kill(os.getpid(), signal.SIGKILL)

sqlite_file.load_driver = Deadly
bus = EventBus(connections={"default": f"sqlite:///{HERE}/queue.db?journal={os.environ['JOURNAL']}"})

@event("steps.happened")
@frozen
class Happened:
    way: str

@bus.listen
@listens(queue=True, tries=2, name="steps.first")
def first(event: Happened, attempt: Attempt):
    write("runs", f"first {attempt.number}")
    if event.way == "bury" or (event.way == "release" and attempt.number == 1):
        raise ValueError(event.way)

if os.environ["LISTENERS"] == "3":
    @bus.listen
    @listens(queue=True, name="steps.second")
    def second(event: Happened):
        write("runs", "second 1")

    @bus.listen
    @listens(queue=True, name="steps.third")
    def third(event: Happened):
        write("runs", "third 1")
"""

DISPATCH = "import steps, sys; steps.bus.dispatch(steps.Happened(sys.argv[1])); steps.bus.close()"
WORK = "from eventbus.worker.command import main; main()"


@frozen
class Steps:
    """A folder with the application, its queue, and what its processes write down."""

    folder: Path
    journal: str
    listeners: int = 1

    @classmethod
    def make(cls, folder, journal, listeners=1):
        folder.mkdir(0o700)
        (folder / "steps.py").write_text(APPLICATION)
        return cls(folder, journal, listeners)

    def run(self, *arguments, kill_at=-1):
        """Run Python; return its exit code."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("EVENTBUS_", "PYTEST_"))}
        done = subprocess.run(
            [sys.executable, "-c", *arguments],
            cwd=self.folder,
            env={
                **kept,
                "PYTHONPATH": os.pathsep.join([str(self.folder), str(Path(__file__).parents[2])]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "DRIVER": "" if self.journal == "WAL" else "sqlite3",
                "JOURNAL": self.journal,
                "LISTENERS": str(self.listeners),
                "KILL_AT": str(kill_at),
            },
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode

    def dispatch(self, way="ack", **more):
        return self.run(DISPATCH, way, **more)

    def work(self, **more):
        # It looks once more, after the last settlement.
        options = (
            "--stop-when-empty",
            "--include-delayed",
            "--tries",
            "1",
            "--sleep",
            "0.01",
            "--lease",
            "60",
        )
        return self.run(WORK, "steps:bus", *options, **more)

    def lines(self, name):
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def forget(self, name):
        (self.folder / name).unlink(missing_ok=True)

    def end_leases(self):
        with closing(load_driver().connect(self.folder / "queue.db", isolation_level=None)) as db:
            db.execute("UPDATE envelopes SET due = 0 WHERE token IS NOT NULL")

    @property
    def port(self):
        return Port(SqliteBackend(self.folder / "queue.db"), name="default")

    def sizes(self):
        with closing(self.port) as port:
            assert integrity(self.folder / "queue.db") == "ok"
            found = port.size("default")
            return found.ready + found.delayed + found.leased, found.failed


def test_a_dispatch_that_dies_has_stored_all_its_jobs_or_none(tmp_path, journal, results):
    """F3, T3: three queued listeners of one event, on one connection; each stored job runs."""
    stored = []
    for statement in count():
        steps = Steps.make(tmp_path / str(statement), journal, listeners=3)
        with closing(steps.port) as port:
            port.size("default")  # makes the file
        code = steps.dispatch(kill_at=statement)
        waiting, failed = steps.sizes()
        stored.append(waiting)
        assert failed == 0
        if code == 0:
            break

    assert statement > 5  # the kills were real
    assert set(stored) == {0, 3}
    assert stored == sorted(stored)
    assert steps.work() == 0
    assert sorted(steps.lines("runs")) == ["first 1", "second 1", "third 1"]
    results.add(
        "a dispatch of 3 jobs, killed at each statement",
        STORES[journal]().name,
        positions=statement,
    )


#: How often a job runs in all that nobody disturbs, and how many are among the failed then.
WAYS = {"ack": (1, 0), "release": (2, 0), "bury": (2, 1)}

#: What the statements begin with that settle a run.
SETTLEMENTS = (
    "DELETE FROM envelopes",
    "UPDATE envelopes SET token = NULL",
    "INSERT INTO failed",
)


def settlements(said):
    """Count the settlements that were committed: each statement but the last one was done."""
    committed, settling = 0, False
    for statement in said[:-1]:
        settling |= statement.startswith(SETTLEMENTS)
        if statement == "COMMIT":
            committed += settling
            settling = False
    return committed


@pytest.mark.parametrize("way", list(WAYS) if FULL else ["ack"])
def test_a_worker_that_dies_repeats_the_run_that_was_not_settled(tmp_path, journal, results, way):
    """F2, T3: before the claim, after it, in the run, before the ack, during it and after it."""
    runs, failures = WAYS[way]
    seen = Counter()
    for statement in count(step=1 if FULL else 5):
        steps = Steps.make(tmp_path / str(statement), journal)
        steps.dispatch(way)
        steps.forget("statements")
        code = steps.work(kill_at=statement)
        started, said = len(steps.lines("runs")), steps.lines("statements")
        if code == 0:
            break
        unsettled = started - settlements(said)
        assert unsettled in (0, 1)
        seen[bool(started), unsettled] += 1
        steps.end_leases()
        assert steps.work() == 0
        assert len(steps.lines("runs")) == runs + unsettled, (statement, said[-1])
        assert steps.sizes() == (0, failures)

    assert started == runs
    # It died before its first run, between a run and its settlement, and after one.
    assert seen.keys() == {(False, 0), (True, 1), (True, 0)}
    name = STORES[journal]().name
    results.add(
        f"a worker whose job ends by {way}, killed at each statement",
        name,
        positions=sum(seen.values()),
    )
