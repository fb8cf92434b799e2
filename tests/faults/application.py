"""
The application that is killed: a listener that does as it is told, and writes down what it did.

It is imported as `faults.application`: an installed package may be called `tests`, too.
`FAULTS_URL` says where its queue is, `FAULTS_LOG` where it writes, `FAULTS_WORKER` who it is.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import os
import resource
import select
import signal
import sqlite3
import sys
import threading
import time
from asyncio import CancelledError
from collections import defaultdict
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import frozen

if os.environ.get("FAULTS_DRIVER") == "sqlite3":
    sys.modules["pysqlite3"] = None  # as if it were not installed

from eventbus import Attempt, EventBus, JobFailed, ShouldQueue, event
from eventbus.backends.port import Port

from .history import Log

log = Log(os.environ["FAULTS_LOG"])
worker = os.environ.get("FAULTS_WORKER", "")
#: What they are called who have run jobs here: this process, or what in it counts as a worker of its own.
names: set[str] = set()
#: Who ran a job that is not acknowledged yet, by its id.
runners: dict[str, str] = {}
if "FAULTS_EACH" in os.environ:
    worker = f"{worker}/{os.getpid()}/{time.monotonic_ns()}"


def me() -> str:
    """Return what the worker is called that runs here: a process, or a thread of one of several."""
    return f"{worker}/{threading.get_native_id()}" if "/" in worker else worker


folder = Path(os.environ["FAULTS_LOG"]).parent
bus = EventBus(connections={"default": os.environ["FAULTS_URL"]})


@event("faults.work")
@frozen
class Work:
    """A job, called `key`, that does what `does` says: the name of a function below, and its arguments."""

    key: str
    does: str = "pause 0"
    payload: str = ""
    tries: int = 1
    delay: float = 0.0


def digest(payload: str) -> str:
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Perform(ShouldQueue):
    """Does one piece of work."""

    name = "faults.perform"

    def tries(self, work: Work) -> int:
        return work.tries

    @staticmethod
    def with_delay(work: Work) -> float:
        return work.delay

    def handle(self, work: Work, attempt: Attempt) -> None:
        carry_out(work, attempt)


def carry_out(work: Work, attempt: Attempt) -> None:
    """Do as `work` says, and write down that it began and how it ended."""
    with Run(work, attempt, me()) as run:
        run.perform()


@frozen
class Run:
    """One run of a job, as whoever runs it writes it down, and what a deed can ask about it."""

    work: Work
    attempt: Attempt
    worker: str

    def __enter__(self) -> Self:
        names.add(self.worker)
        runners[self.attempt.id] = self.worker
        attempt = self.attempt
        self.note(
            "start",
            attempt=attempt.number,
            losses=attempt.losses,
            digest=digest(self.work.payload),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        if kind is None:
            self.note("end")
        else:
            runners.pop(self.attempt.id, None)
            self.note("raised", note=kind.__name__)

    def note(self, what: str, **said: object) -> None:
        log.add(what, job=self.work.key, id=self.attempt.id, worker=self.worker, **said)

    def perform(self) -> object:
        """Do as the work says; return what there is to await."""
        name, *arguments = self.work.does.split(" ")
        return DEEDS[name](self, *arguments)

    def doomed(self) -> None:
        """Write down that this process is about to end."""
        for name in names - {self.worker}:
            log.add("died", worker=name)
        self.note("doomed", note=self.work.does)


bus.listen(Perform)


@bus.listen
def note_failure(event: JobFailed) -> None:
    log.add("failed", id=event.id, worker=me(), note=type(event.error).__name__)


# What a worker says to its store, and when: for the judge, and for the figures.


def witness_acks(sound):
    def verb(self, claims, *arguments, **options):
        told = defaultdict(list)
        for claim in claims:
            # A lease thread acknowledges what others ran.
            told[runners.get(claim.envelope.id) or me()].append(claim.envelope.id)
        for name, ids in told.items():
            log.add("told", worker=name, note=" ".join(ids))
        answer = sound(self, claims, *arguments, **options)
        for name, ids in told.items():
            log.add("acked", worker=name, note=" ".join(ids))
            for one in ids:
                runners.pop(one, None)
        return answer

    return verb


def witness_claims(sound):
    def verb(self, *arguments, **options):
        began = time.perf_counter()
        answer = sound(self, *arguments, **options)
        took = (time.perf_counter() - began) * 1000
        claims = answer[1] if isinstance(answer, tuple) else answer
        log.add("claimed", worker=me(), note=f"{took:.3f} {len(claims)}")
        return answer

    return verb


Port.ack_all, Port.exchange = witness_acks(Port.ack_all), witness_acks(Port.exchange)
if os.environ.get("FAULTS_CLAIMS"):
    Port.claim, Port.exchange = witness_claims(Port.claim), witness_claims(Port.exchange)


# What a job can do.


def pause(_run: Run, seconds: str) -> None:
    select.select([], [], [], float(seconds))


def hold(_run: Run, seconds: str) -> None:
    """Keep every other thread of the process from running: a call into C that never lets go."""
    ctypes.PyDLL(None).usleep(int(float(seconds) * 1_000_000))


def count_up(_run: Run, million: str) -> None:
    """The same, busy instead of idle."""
    sum(repeat(1, int(million) * 1_000_000))


def gate(run: Run) -> None:
    """Wait until the gate of this run is open: a file that its test makes."""
    place = folder / f"{run.work.key}.{run.attempt.losses}.open"
    while not place.exists():
        select.select([], [], [], 0.01)


def once(run: Run, seconds: str) -> None:
    """Have an effect in a transaction that also keeps the job's id, so that there is one of it."""
    with sqlite3.connect(folder / "effects.db", timeout=20) as effects:
        effects.execute("BEGIN IMMEDIATE")
        if effects.execute(
            "INSERT OR IGNORE INTO done (id) VALUES (?)", (run.attempt.id,)
        ).rowcount:
            effects.execute("INSERT INTO effects (job) VALUES (?)", (run.work.key,))
        pause(run, seconds)
    effects.close()


def end_process(run: Run, way: str) -> None:
    run.doomed()
    if way == "segfault":
        ctypes.string_at(0)
    elif way == "abort":
        os.abort()
    elif way == "exit":
        os._exit(0)
    elif way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def exhaust(_run: Run, megabytes: str) -> None:
    """Ask for more memory than the process may have."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + int(megabytes) * 1024 * 1024
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        kept = []
        while True:
            kept.append(bytearray(1024 * 1024))
    finally:
        kept = None
        resource.setrlimit(resource.RLIMIT_AS, before)


def pass_on(run: Run, number: str) -> None:
    """Dispatch the next job of a chain without end."""
    following = int(number) + 1
    bus.dispatch(Work(f"{run.work.key.partition('-')[0]}-{following}", f"pass_on {following}"))


class Plain(BaseException):
    """Of nobody's family."""


class SilentError(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def recurse() -> None:
    recurse()


ODD = {
    "SystemExit": lambda: sys.exit("bye"),
    "SystemExitZero": lambda: sys.exit(0),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "RecursionError": recurse,
    "CancelledError": CancelledError,
    "Plain": Plain,
    "Silent": SilentError,
    "Huge": lambda: ValueError("x" * 50_000_000),
    "Surrogate": lambda: ValueError("\udc80\0"),
    "ValueError": lambda: ValueError("an ordinary one"),
}


def fail(_run: Run, name: str) -> None:
    make = ODD[name]
    raise make()


def fail_once(run: Run, name: str) -> None:
    if run.attempt.number == 1:
        fail(run, name)


DEEDS = {
    deed.__name__: deed
    for deed in (pause, hold, count_up, gate, once, end_process, exhaust, pass_on, fail, fail_once)
}

# A parked job is looked at again after half a minute: more than a test has.
if delay := os.environ.get("FAULTS_PARK_DELAY"):
    for module in [one for name, one in sys.modules.items() if name.startswith("eventbus.")]:
        if hasattr(module, "PARK_DELAY"):
            module.PARK_DELAY = float(delay)

if variant := os.environ.get("FAULTS_BROKEN"):
    getattr(importlib.import_module("faults.broken"), variant)()
