"""
A worker's ways to use a whole machine, beside what Python brings: `python ways.py WAY JOURNAL JOBS ROUNDS SEED`.

Workers and pools are started first and live for all rounds; a round gives each in turn the same work, which is stored
in one step. What counts is the time from the begin of the first job to the end of the last. Prints, for each, the
seconds of a round, by round.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import marks
import work
from apps import bare
from attrs import frozen
from contenders import US, Contender
from drains import interleaved
from journals import JOURNALS, Journal
from processes import Place, Producer, Workers, marked, place, producer, workers

NOTE = (
    "From the begin of the first job to the end of the last; the worker and what it stands beside were started before,"
    " on both sides alike, and a round before the first is not counted. The jobs of a round are stored in one step."
)


@frozen
class Way:
    """What is run how, and the name of what stands beside it."""

    job: str
    title: str
    options: tuple[str, ...]
    bare: str


WAYS: Mapping[str, Way] = {
    "processes": Way(
        "compute",
        "{jobs:,} jobs that compute for about 50 ms, `--processes 2`",
        ("--processes", str(bare.PROCESSES)),
        f"`multiprocessing.Pool({bare.PROCESSES})`",
    ),
    "concurrency": Way(
        "nap",
        "{jobs:,} async jobs that wait for 100 ms, `--concurrency 1000`",
        ("--concurrency", "1000"),
        "`asyncio.gather`",
    ),
    "threads": Way(
        "block",
        "{jobs:,} listeners that block for 50 ms, `--threads 16`",
        ("--threads", str(bare.THREADS)),
        f"`ThreadPoolExecutor({bare.THREADS})`",
    ),
}


def contender(*options: str) -> Contender:
    """Return us, with a worker of such options."""
    command = ("-m", "eventbus.worker", "apps.ways:bus", "--quiet", *options)
    return Contender(US, "ways", command)


@frozen
class Running:
    """Who is given work, and where it leaves its marks."""

    name: str
    ask: Producer
    where: Place
    #: Those that do it, where it is not done when it has been given.
    working: Workers | None

    def seconds(self, job: str, jobs: int) -> float:
        """Have so many jobs done; return the seconds from the first begin to the last end."""
        os.truncate(self.where.marks, 0)
        self.ask.push(job, 1, first=jobs)
        if self.working is not None:
            self.working.await_that(lambda: marked(self.where) >= 2 * jobs, "its last job ended")
        found = marks.read(self.where.marks)
        if sorted((one.number, one.has_ended) for one in found) != [
            (number, has_ended) for number in range(jobs) for has_ended in (False, True)
        ]:
            sys.exit(f"{self.name} left {len(found)} marks of {jobs} jobs")
        return max(one.at for one in found) - min(one.at for one in found)


def started(way: Way, url: str, running: ExitStack) -> dict[str, Running]:
    """Start both."""
    found: dict[str, Running] = {}
    for one in (contender(*way.options), Contender(way.bare, "bare", ())):
        where = running.enter_context(place(url))
        working = running.enter_context(workers(one, where)) if one.worker else None
        ask = running.enter_context(producer(one, where))
        found[one.name] = Running(one.name, ask, where, working)
    return found


def opened(journal: str, running: ExitStack) -> str:
    """Return the URL of a new file, for this process and those that it starts."""
    chosen: Journal = JOURNALS[journal]
    os.environ["BENCH_JOURNAL"] = chosen.name
    folder = running.enter_context(tempfile.TemporaryDirectory())
    return chosen.url(Path(folder) / "queue.db")


def main(name: str, journal: str, jobs: str, rounds: str, seed: str) -> None:
    way = WAYS[name]
    os.environ[work.ROUNDS] = str(work.measured())
    with ExitStack() as running:
        both = started(way, opened(journal, running), running)
        calls = {who: lambda one=one: one.seconds(way.job, int(jobs)) for who, one in both.items()}
        for call in calls.values():
            call()  # what only the first round does is over
        values = interleaved(calls, int(rounds), int(seed))
    json.dump({"values": values}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
