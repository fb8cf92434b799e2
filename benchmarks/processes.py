"""The processes of a contender: a fresh producer that enqueues when it is told to, and workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import checkout
import marks
import psutil
from attrs import frozen
from contenders import Contender

#: Seconds until a process that does not do what is awaited is given up.
PATIENCE = 600.0
_LOOK = 0.005


@frozen
class Place:
    """Where a contender's jobs lie, and where they leave their marks."""

    url: str
    folder: Path

    @property
    def marks(self) -> Path:
        return self.folder / "marks"

    @property
    def answers(self) -> Path:
        return self.folder / "answers"

    def environment(self) -> dict[str, str]:
        said = {"BENCH_URL": self.url, "RQ_REDIS_URL": self.url}
        said |= {"BENCH_MARKS": str(self.marks), "BENCH_ANSWERS": str(self.answers)}
        return {**os.environ, **said}


@contextmanager
def place(url: str) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        made = Place(url, Path(folder))
        made.marks.touch()
        os.mkfifo(made.answers)
        yield made


class Producer:
    """A process of `producing.py`."""

    def __init__(self, contender: Contender, where: Place) -> None:
        self._name = contender.name
        self._log = (where.folder / "producer").open("w+b")
        self._process = subprocess.Popen(
            [contender.python(), "producing.py", contender.app],
            cwd=checkout.HERE,
            env=where.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._heard()

    def push(self, name: str, count: int, *, first: int = 0) -> float:
        """Have so many jobs enqueued, one by one; return the seconds that this took."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, first, count]) + "\n")
        self._process.stdin.flush()
        return float(self._heard())

    def _heard(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the producer of {self._name} ended: {_tail(self._log)}")
        return line

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._log.close()


@contextmanager
def producer(contender: Contender, where: Place) -> Iterator[Producer]:
    made = Producer(contender, where)
    try:
        yield made
    finally:
        made.close()


class Workers:
    """
    The processes that work a contender's jobs off, in groups of their own.

    Not in sessions: a kernel that shares its time out between sessions would favour who has more of them.
    """

    def __init__(self, contender: Contender, where: Place) -> None:
        self._name = contender.name
        self._log = (where.folder / "workers").open("w+b")
        self._started = [
            subprocess.Popen(
                [contender.python(), *contender.worker],
                cwd=checkout.HERE,
                env=where.environment(),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                process_group=0,
            )
            for _ in range(contender.processes)
        ]

    def processes(self) -> list[psutil.Process]:
        """Return those that are running, with all that they have started."""
        found: list[psutil.Process] = []
        for started in self._started:
            with suppress(psutil.NoSuchProcess):
                found += [psutil.Process(started.pid), *_family(started.pid)]
        return found

    def used(self) -> float:
        """Return the processor's time of all of them, in seconds."""
        total = 0.0
        for one in self.processes():
            with suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
        return total

    def await_that(self, fact: Callable[[], bool], said: str, patience: float = PATIENCE) -> None:
        """Wait until `fact` is so."""
        over = time.monotonic() + patience
        while not fact():
            if time.monotonic() > over:
                sys.exit(f"{self._name}: not in {patience:g} s: {said}: {self.said()}")
            time.sleep(_LOOK)

    def said(self) -> str:
        """Return the end of what they have printed."""
        return _tail(self._log)

    def kill(self) -> None:
        """Kill them with all that they have started, as a machine that goes away does."""
        for started in self._started:
            # Some put their children into others.
            family = _family(started.pid)
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            started.wait()

    def close(self) -> None:
        self.kill()
        self._log.close()


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read()[-2_000:].decode("utf-8", "replace")


@contextmanager
def workers(contender: Contender, where: Place) -> Iterator[Workers]:
    made = Workers(contender, where)
    try:
        yield made
    finally:
        made.close()


def marked(where: Place) -> int:
    """Return how many marks there are."""
    return marks.count(where.marks)
