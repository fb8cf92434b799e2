"""
Drain a queue of jobs that do nothing: `python drains.py JOURNAL JOBS ROUNDS SEED`.

Every worker is a process of its own, and every drain begins with a fresh copy of the same file. What
counts is the time from the first job taken to the last, in all workers together, so neither the
start of a process nor its end. Prints, for each contender, the seconds of one job, by round.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import checkout
from attrs import frozen
from journals import JOURNALS, Journal

US = "eventbus"
BY_HAND = "by hand, batches of 100"
TWO = "eventbus, two workers"
HUEY_FULL = "huey, FULL"
HUEY_OFF = "huey, OFF"

#: What a worker that is killed takes with it.
LOSES = {
    US: "nothing: a batch at most runs again",
    TWO: "nothing: a batch at most runs again",
    BY_HAND: "nothing: a batch at most runs again",
    HUEY_FULL: "the job that runs: its row is deleted before",
    HUEY_OFF: "the job that runs; a power cut may take what was acknowledged, or the file",
}
#: Seconds until a worker that does not end is given up.
_PATIENCE = 600.0

NOTE = (
    "Between the first job taken and the last, in all workers together: without the start and the end of"
    " the processes. By hand: `UPDATE … RETURNING` of 100 rows, `json.loads` and a call for each,"
    " `DELETE`. huey's consumer as it is by default, with a tenth of the jobs. Nobody logs a job."
)


@frozen
class Drain:
    """One contender: what is run, how often at once, and on what file."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    file: Path
    jobs: int
    workers: int = 1

    def run(self) -> tuple[float, float]:
        """Drain a copy of the file; return the seconds of one job, and those of the processor."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(self.file, Path(folder) / "queue.db")
            filled = {name: one.format(folder=folder) for name, one in self.environment.items()}
            command = [one.format(folder=folder) for one in self.command]
            environment = {**os.environ, **filled, "BENCH_REPORTS": folder}
            running = [
                subprocess.Popen(command, cwd=checkout.HERE, env=environment)
                for _ in range(self.workers)
            ]
            try:
                codes = [process.wait(_PATIENCE) for process in running]
            finally:
                for process in running:
                    process.kill()
            if any(codes):
                sys.exit(f"{' '.join(command)} ended with {codes}")
            told = [json.loads(one.read_text("utf-8")) for one in Path(folder).glob("*.json")]
        done = sum(one["count"] for one in told)
        if done != self.jobs:
            sys.exit(f"{' '.join(command)} ran {done} of {self.jobs} jobs")
        took = max(one["last"] for one in told) - min(one["first"] for one in told)
        return took / self.jobs, sum(one["cpu"] for one in told) / self.jobs


def worker(*options: str) -> tuple[str, ...]:
    """Return the command of our worker."""
    start = "from eventbus.worker.command import main; main()"
    return (sys.executable, "-c", start, "jobs:bus", "--quiet", *options)


def contenders(journal: Journal, jobs: int, folder: Path) -> dict[str, Drain]:
    import jobs as ours
    from byhand import filled

    file = filled(folder / "ours.db", ours.envelope(), jobs)
    path = Path("{folder}/queue.db")
    environment = {"BENCH_JOURNAL": journal.name, "BENCH_URL": journal.url(path)}
    drain = worker("--stop-when-empty")
    found = {
        BY_HAND: Drain(
            (sys.executable, "jobs_byhand.py", "drain", str(path)), environment, file, jobs
        ),
        US: Drain(drain, environment, file, jobs),
        TWO: Drain(drain, environment, file, jobs, workers=2),
    }
    # It is slow, and as quick with few jobs as with many.
    jobs = max(jobs // 10, 1)
    file = _filled_huey(folder / "huey.db", journal, jobs)
    for name, fsync in ((HUEY_FULL, "1"), (HUEY_OFF, "0")):
        found[name] = Drain(
            (sys.executable, "-c", "import jobs_huey; jobs_huey.consume()"),
            {
                "BENCH_JOURNAL": journal.name,
                "BENCH_PATH": str(path),
                "BENCH_FSYNC": fsync,
                "BENCH_JOBS": str(jobs),
            },
            file,
            jobs,
        )
    return found


def _filled_huey(path: Path, journal: Journal, jobs: int) -> Path:
    import jobs_huey

    huey, note, _ = jobs_huey.made(path, journal, fsync=False)
    for _ in range(jobs):
        note(1, "a@example.com")
    huey.storage.close()
    return path


def interleaved(
    contenders: Mapping[str, Callable[[], Any]], rounds: int, seed: int
) -> dict[str, list[Any]]:
    """Call every contender once a round, in random order."""
    found: dict[str, list[Any]] = {name: [] for name in contenders}
    order = random.Random(seed)
    for _ in range(rounds):
        for name in order.sample(list(contenders), len(contenders)):
            found[name].append(contenders[name]())
    return found


def main(journal: str, jobs: str, rounds: str, seed: str) -> None:
    chosen = JOURNALS[journal]
    chosen.use()
    with tempfile.TemporaryDirectory() as folder:
        drains = contenders(chosen, int(jobs), Path(folder))
        found = interleaved({name: one.run for name, one in drains.items()}, int(rounds), int(seed))
    values = {name: [took for took, _ in runs] for name, runs in found.items()}
    cpu = {name: statistics.median(used for _, used in runs) for name, runs in found.items()}
    json.dump({"values": values, "cpu": cpu}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
