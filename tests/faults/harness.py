"""
Real workers on a real store, and what is done to them.

An `Arena` is a folder with a store, a log and the processes at work on it. Nothing outlives it, and
nothing is waited for without a deadline.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from eventbus import EventBus
from eventbus.queue.envelope import Envelope

from .checker import Verdict, check
from .history import Entry, Log, Tail, read
from .stores import Sqlite, Store

__all__ = ["DEADLINE", "Arena", "Fleet", "Process", "arena", "pause"]

ROOT = Path(__file__).parents[2]

#: Seconds after which what did not happen is a failure.
DEADLINE = 60.0

#: How a worker says that it was told no: its lease was another's.
REFUSED = re.compile(r"lease.*lost", re.IGNORECASE)


@define
class Process:
    """A process of the arena, and the file it writes to."""

    name: str
    popen: subprocess.Popen[bytes]
    written: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def output(self) -> str:
        return self.written.read_text("utf-8", errors="replace")

    def tell(self, number: int) -> None:
        self.popen.send_signal(number)

    def await_exit(self, deadline: float = DEADLINE) -> int:
        try:
            return self.popen.wait(deadline)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} did not end:\n{self.output[-4000:]}")


class Arena:
    """
    A folder with a queue in it.

    Args:
        folder: Empty.
        store: Where the queue is; by default a SQLite file.
        lease: Seconds.
        broken: A variant of `tests.faults.broken`, which all workers are.
    """

    def __init__(
        self, folder: Path, *, store: Store | None = None, lease: float = 2.0, broken: str = ""
    ) -> None:
        self.folder = folder
        self.store = store or Sqlite()
        self.lease = lease
        self.log = Log(folder / "log")
        self.tail = Tail(folder / "log")
        self.processes: list[Process] = []
        self._entries: list[Entry] = []
        self._running: dict[str, str] = {}
        self._worked: set[str] = set()
        #: The jobs that workers were in the middle of as they were killed.
        self.cut: set[str] = set()
        kept = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("EVENTBUS_", "FAULTS_", "PYTEST_"))
        }
        self.environment = {
            **kept,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FAULTS_LOG": str(folder / "log"),
            "FAULTS_BROKEN": broken,
        }
        self.store.open(folder)
        self.environment |= {"FAULTS_URL": self.store.url, **self.store.environment}
        self.bus = EventBus(connections={"default": self.store.url})

    # Processes.

    def spawn(self, name: str, *arguments: str, **environment: str) -> Process:
        """Start `python ARGUMENTS`."""
        name = f"{name}-{len(self.processes)}"
        written = self.folder / f"{name}.out"
        with written.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env={**self.environment, "FAULTS_WORKER": name, **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        process = Process(name, popen, written)
        self.processes.append(process)
        return process

    def worker(
        self, *options: str, app: str = "faults.application:bus", **environment: str
    ) -> Process:
        program = "from eventbus.worker.command import main; main()"
        common = ("--lease", f"{self.lease:g}", "--sleep", "0.05")
        return self.spawn("worker", "-c", program, app, *common, *options, **environment)

    def producer(self, prefix: str, count: int, does: str, *options: str, **more: str) -> Process:
        """Start a process that dispatches `count` jobs (0: until it is told to stop)."""
        module = ("-m", "faults.producing")
        return self.spawn("producer", *module, prefix, str(count), does, *options, **more)

    def produce(self, prefix: str, count: int, does: str, *options: str, **more: str) -> None:
        """Dispatch `count` jobs, in a process of their own, before anything else."""
        made = self.producer(prefix, count, does, *options, **more)
        assert made.await_exit() == 0, made.output

    def produce_all(self, jobs: Iterable[tuple[str, int, str]], *options: str) -> None:
        """Dispatch jobs of several kinds, one kind after the other, in one process."""
        (first, *rest) = jobs
        also = [str(word) for kind in rest for word in ("--also", *kind)]
        self.produce(*first, *also, *options)

    def push_bytes(self, id: str, body: bytes) -> None:
        """Store an envelope whose body nobody has looked at."""
        self.log.add("attempted", job=id)
        self.bus.connections.port().push([Envelope(id=id, queue="default", body=body)])
        self.log.add("stored", job=id)

    @contextmanager
    def paused(self, process: Process) -> Generator[None]:
        """Pause a worker in this block, as a machine that sleeps would."""
        process.tell(signal.SIGSTOP)
        with self.away(process):
            yield
            process.tell(signal.SIGCONT)

    @contextmanager
    def away(self, process: Process) -> Generator[None]:
        """Write down that in this block nobody hears of a worker, nor it of anybody."""
        self.log.add("paused", worker=process.name)
        yield
        self.log.add("resumed", worker=process.name)

    def close(self) -> None:
        for process in self.processes:
            if process.is_alive:
                process.tell(signal.SIGKILL)
                process.popen.wait()
        self.bus.close()
        self.store.close()
        self.log.close()

    # Facts.

    @property
    def entries(self) -> list[Entry]:
        """What has been written down so far."""
        for entry in self.tail.news():
            self._entries.append(entry)
            if entry.what == "start":
                self._running[entry.worker] = entry.job
                self._worked.add(entry.worker)
            elif entry.what in ("end", "raised", "killed", "died"):
                self._running.pop(entry.worker, None)
        return self._entries

    def count(self, what: str, **facts: object) -> int:
        return sum(says(entry, what, facts) for entry in self.entries)

    def await_fact(
        self,
        fact: Callable[[], Any],
        *,
        said: str,
        deadline: float = DEADLINE,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Any:
        """Wait until `fact` is so; return it."""
        over = time.monotonic() + deadline
        while not (found := fact()):
            meanwhile()
            if time.monotonic() > over:
                alive = [process.name for process in self.processes if process.is_alive]
                told = "\n".join(
                    f"{process.name}:\n{process.output[-3000:]}" for process in self.processes[-5:]
                )
                pytest.fail(
                    f"not within {deadline:g} s: {said}; alive: {alive}; "
                    f"waiting: {self.waiting()}\n{told}"
                )
            pause(0.01)
        return found

    def await_entry(
        self, what: str, *, times: int = 1, deadline: float = DEADLINE, **facts: object
    ) -> None:
        """Wait until so many entries of the log say this."""
        seen = found = 0

        def written() -> bool:
            nonlocal seen, found
            news = self.entries[seen:]  # each is looked at once, however long the log
            seen += len(news)
            found += sum(says(entry, what, facts) for entry in news)
            return found >= times

        self.await_fact(written, said=f"{what} {facts}, {times} times", deadline=deadline)

    def waiting(self) -> int:
        size = self.bus.connections.port().size("default")
        return size.ready + size.delayed + size.leased

    def running(self) -> dict[str, str]:
        """Return which worker is in the middle of which job."""
        return dict(self._running) if self.entries else {}

    def has_worked(self) -> set[str]:
        """Return the names of the workers that have started a job, ever."""
        return set(self._worked) if self.entries else set()

    def within(self, worker: str) -> list[str]:
        """Return the names in a process that have started a job: its own, or those of its threads, say."""
        return sorted(
            name for name in self.has_worked() if name == worker or name.startswith(f"{worker}/")
        )

    def note_end(self, what: str, worker: str, **said: object) -> None:
        """Write down that a process was killed, or died, and with it all that worked in it."""
        names = self.within(worker) or [worker]
        self.cut |= {job for name, job in self.running().items() if name in names}
        for name in names:
            self.log.add(what, worker=name, **said)

    def at_work(self, *, uncut: bool = False) -> list[str]:
        """Return the names of workers that are in the middle of a job: of one that was never cut, where asked."""
        return sorted(
            name for name, job in self.running().items() if not uncut or job not in self.cut
        )

    def running_where(self, job: str) -> str:
        """Return the name of the worker that is in the middle of `job`."""
        return next(worker for worker, own in self.running().items() if own == job)

    def refusals(self, process: Process) -> list[str]:
        """Return the lines in which a worker said that a lease had been lost."""
        return [line for line in process.output.splitlines() if REFUSED.search(line)]

    def dispatch_times(self) -> dict[str, float]:
        """Return how long a dispatch took, in milliseconds, its two lines of the log included."""
        began: dict[str, float] = {}
        took: list[float] = []
        for entry in self.entries:
            if entry.what == "attempted":
                began[entry.job] = entry.at
            elif entry.what == "stored":
                took.append((entry.at - began[entry.job]) * 1000)
        return spread(took)

    def claim_times(self) -> dict[str, float]:
        """Return how long a claim took that got something, where workers were told to note it."""
        told = [entry.note.split() for entry in self.entries if entry.what == "claimed"]
        return spread([float(took) for took, size in told if size != "0"])

    def rate(self, prefix: str) -> float:
        """Return how many jobs whose names begin so came to their end in a second."""
        own = [entry for entry in self.entries if entry.job.startswith(prefix)]
        first = min(entry.at for entry in own if entry.what == "start")
        ends = [entry.at for entry in own if entry.what == "end"]
        return round(len(ends) / (max(ends) - first), 1)

    # Judgement.

    def history(self) -> list[Entry]:
        """Return what was written down, and who is among the failed jobs at the end."""
        failed = [
            Entry(what="failed", id=job.envelope.id, job=key_in(job.envelope.body))
            for job in self.bus.connections.port().each_failed()
        ]
        return [*read(self.folder / "log"), *failed]

    def judge(self, **options: Any) -> Verdict:
        assert self.store.integrity() == "ok"
        outputs = "".join(process.output for process in self.processes)
        assert [words for words in self.store.unsaid if words in outputs] == []
        return check(self.history(), **options)


class Fleet:
    """Keeps so many workers at work: who dies is replaced at once."""

    def __init__(self, arena: Arena, size: int, *options: str, seed: int = 0, **more: str) -> None:
        self._arena = arena
        self._options = options
        self._more = more
        self.random = random.Random(seed)
        #: Why workers ended that nobody here killed.
        self.codes: list[int] = []
        self.workers = [self._start() for _ in range(size)]

    def _start(self) -> Process:
        return self._arena.worker(*self._options, **self._more)

    def tend(self) -> None:
        """Replace the workers that have ended."""
        for place, worker in enumerate(self.workers):
            if not worker.is_alive:
                self._arena.note_end("died", worker.name, note=str(worker.popen.returncode))
                self.codes.append(worker.popen.returncode)
                self.workers[place] = self._start()

    def kill(self, worker: Process) -> None:
        """Kill a worker and put another in its place."""
        at = time.monotonic()
        worker.tell(signal.SIGKILL)
        worker.popen.wait()
        self._arena.note_end("killed", worker.name, at=at)
        self.workers[self.workers.index(worker)] = self._start()

    def kill_one_at_work(self, *, uncut: bool = False) -> None:
        """
        Wait until a worker is in the middle of a job, any job, and kill one that is.

        Args:
            uncut: Only one whose job was never cut before, as far as can be seen.
        """
        alive = {worker.name: worker for worker in self.workers}

        def at_work() -> list[str]:
            found = self._arena.at_work(uncut=uncut)
            return sorted({name.partition("/")[0] for name in found} & alive.keys())

        names = self._arena.await_fact(at_work, said="somebody works", meanwhile=self.tend)
        self.kill(alive[self.random.choice(names)])

    def drain(self, deadline: float = DEADLINE) -> None:
        """Wait until nothing is left to do."""
        self._arena.await_fact(
            lambda: self._arena.waiting() == 0,
            said="the queue is drained",
            deadline=deadline,
            meanwhile=self.tend,
        )

    def finish(self, producer: Process) -> None:
        """Let a producer end, and all that it has dispatched be done; stop."""
        producer.tell(signal.SIGTERM)
        assert producer.await_exit() == 0
        self.drain()
        assert set(self.stop()) <= {0}

    def stop(self) -> list[int]:
        """Ask all to stop; return the exit codes of those that had come as far as a job."""
        for worker in self.workers:
            worker.tell(signal.SIGTERM)
        # One that has only just been started may end before it knows what the signal means.
        codes = {worker.name: worker.await_exit() for worker in self.workers}
        return [code for name, code in codes.items() if self._arena.within(name)]


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process, one that nobody has buried yet included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and not buried."""
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(one) for one in told.split()]


def spread(took: list[float]) -> dict[str, float]:
    """Return how long something took: half of the times less than, nearly always, at most."""
    took = sorted(took)
    return {
        "p50_ms": round(took[len(took) // 2], 2),
        "p99_ms": round(took[len(took) * 99 // 100], 2),
        "max_ms": round(took[-1], 2),
    }


def key_in(body: bytes) -> str:
    """Return what the producer calls a job; empty if it is not ours, or cannot be read."""
    found = re.search(rb'"key":\s*"([^"]*)"', body)
    return found[1].decode() if found else ""


def says(entry: Entry, what: str, facts: Mapping[str, object]) -> bool:
    return entry.what == what and all(getattr(entry, name) == facts[name] for name in facts)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


@contextmanager
def arena(folder: Path, **options: Any) -> Generator[Arena]:
    """An arena that is left empty of processes."""
    made = Arena(folder, **options)
    try:
        yield made
    finally:
        made.close()
