"""
Workers that wait: `python idle.py latency JOURNAL ROUNDS SEED`, or `cpu JOURNAL SECONDS SEED`.

All wait at the same time, each on a file of its own. `latency` prints, for each contender, the
seconds from before a push to the first line of its job, by round. `cpu` prints the part of one
processor that each uses while nothing comes.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import checkout
from attrs import frozen
from drains import US, worker
from journals import JOURNALS, Journal

POLL = "by hand, a poll each millisecond"
HUEY = "huey"
NOTE = (
    "All three workers wait at the same time. The push is in it: as durable as FULL makes it, for each."
    " huey's consumer polls as it does by default: at first each 0.1 s, less often the longer it waits."
)
#: Seconds until a worker that says nothing is given up.
_PATIENCE = 60.0


@frozen
class Waiting:
    """A worker that waits, and what pushes a job to it that tells how long it was on its way."""

    process: subprocess.Popen[bytes]
    push: Callable[[], Any]

    def asked(self) -> float:
        """Push a job; return the seconds until it ran."""
        self.push()
        found, _, _ = select.select([self.process.stdout], [], [], _PATIENCE)
        if not found:
            sys.exit(f"{self.process.args} did not answer in {_PATIENCE:g} s")
        return float(self.process.stdout.readline())

    def used(self) -> float:
        """Return the processor's time of the process, all its threads together, in seconds."""
        # The clock that clock_getcpuclockid(3) returns; psutil counts in hundredths of a second.
        return time.clock_gettime((~self.process.pid << 3) | 2)


@contextmanager
def started(
    command: tuple[str, ...], environment: dict[str, str], push: Callable[[], Any]
) -> Iterator[Waiting]:
    process = subprocess.Popen(
        command, cwd=checkout.HERE, env={**os.environ, **environment}, stdout=subprocess.PIPE
    )
    try:
        waiting = Waiting(process, push)
        waiting.asked()  # it has begun
        yield waiting
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def contenders(journal: Journal, folder: Path, running: ExitStack) -> dict[str, Waiting]:
    """Start a worker of each kind."""
    import jobs
    import jobs_huey
    from byhand import ByHand, opened

    named = {"BENCH_JOURNAL": journal.name}

    url = journal.url(folder / "ours.db")
    bus = jobs.made(url)
    ours = started(
        worker(), {**named, "BENCH_URL": url}, lambda: bus.dispatch(jobs.Asked(time.monotonic()))
    )

    path = folder / "byhand.db"
    opened(journal.url(path)).close()
    store = ByHand(path, journal.mode)
    by_hand = started(
        (sys.executable, "jobs_byhand.py", "poll", str(path)),
        named,
        lambda: store.push(json.dumps({"data": {"sent": time.monotonic()}}).encode()),
    )

    path = folder / "huey.db"
    _, _, answer = jobs_huey.made(path, journal, fsync=True)
    huey = started(
        (sys.executable, "-c", "import jobs_huey; jobs_huey.consume()"),
        {**named, "BENCH_PATH": str(path), "BENCH_FSYNC": "1"},
        lambda: answer(time.monotonic()),
    )
    all_of_them = {US: ours, POLL: by_hand, HUEY: huey}
    return {name: running.enter_context(one) for name, one in all_of_them.items()}


def latency(waiting: dict[str, Waiting], rounds: int, seed: int) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {name: [] for name in waiting}
    order = random.Random(seed)
    for _ in range(rounds):
        for name in order.sample(list(waiting), len(waiting)):
            time.sleep(order.uniform(0.05, 0.15))  # no phase of anybody's poll is met on purpose
            values[name].append(waiting[name].asked())
    return values


def cpu(waiting: dict[str, Waiting], seconds: float) -> dict[str, list[float]]:
    time.sleep(1.0)  # what the first job began is over
    began = time.monotonic()
    before = {name: one.used() for name, one in waiting.items()}
    time.sleep(seconds)
    took = time.monotonic() - began
    return {name: [(one.used() - before[name]) / took] for name, one in waiting.items()}


def main(what: str, journal: str, effort: str, seed: str) -> None:
    chosen = JOURNALS[journal]
    chosen.use()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        waiting = contenders(chosen, Path(folder), running)
        if what == "latency":
            values = latency(waiting, int(effort), int(seed))
        else:
            values = cpu(waiting, float(effort))
    json.dump({"values": values}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
