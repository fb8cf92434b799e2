"""
What each loses when its worker is killed: `python redis_kills.py JOBS SECONDS`.

Jobs of 50 ms are enqueued, the workers are started, and killed with all their processes when three in ten of the jobs
have ended; then they are started again, and have so many seconds. All contenders at the same time, each with a
database of its own. Prints what became of the jobs of each.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import contenders
import marks
import redis_server
from attrs import asdict, frozen
from contenders import OURS, Contender
from processes import PATIENCE, place, producer, workers

NOTE = (
    "Jobs of 50 ms; the processes are killed (`SIGKILL`) when three in ten have ended, started again at once, and have"
    " so many seconds. In flight: had begun and not ended. Settings as in the other tables."
)


@frozen
class Fate:
    """What became of the jobs."""

    done_at_kill: int
    in_flight: int
    completed: int
    lost_in_flight: int
    lost_before: int
    started_twice: int
    #: From the kill to the end of the last job that ended.
    seconds: float


def killed(contender: Contender, jobs: int, bound: float, url: str) -> Fate:
    with place(url) as where:
        with producer(contender, where) as one:
            one.push("slow", jobs)
        with workers(contender, where) as running:
            running.await_that(
                lambda: sum(mark.has_ended for mark in marks.read(where.marks)) >= jobs * 0.3,
                "three in ten of its jobs have ended",
            )
        at = time.monotonic()
        before = marks.read(where.marks)
        with workers(contender, where) as running:
            over = at + bound
            running.await_that(
                lambda: (
                    _ended(marks.read(where.marks)) == set(range(jobs)) or time.monotonic() > over
                ),
                "its time is over",
                PATIENCE + bound,
            )
        found = marks.read(where.marks)
    begun = [mark.number for mark in found if not mark.has_ended]
    in_flight = {mark.number for mark in before} - _ended(before)
    lost = set(range(jobs)) - _ended(found)
    return Fate(
        done_at_kill=len(_ended(before)),
        in_flight=len(in_flight),
        completed=len(_ended(found)),
        lost_in_flight=len(lost & in_flight),
        lost_before=len(lost - in_flight),
        started_twice=len(begun) - len(set(begun)),
        seconds=max(0.0, max(mark.at for mark in found if mark.has_ended) - at),
    )


def _ended(found: list[marks.Mark]) -> set[int]:
    return {mark.number for mark in found if mark.has_ended}


def main(jobs: str, seconds: str) -> None:
    peers, missing = contenders.available()
    chosen = (OURS, *peers)
    with redis_server.running(redis_server.PLAIN) as port, ThreadPoolExecutor(len(chosen)) as pool:
        urls = [f"redis://127.0.0.1:{port}/{database}" for database in range(len(chosen))]
        fates = pool.map(
            killed, chosen, [int(jobs)] * len(chosen), [float(seconds)] * len(chosen), urls
        )
        found = {one.name: asdict(fate) for one, fate in zip(chosen, fates, strict=True)}
    json.dump({"fates": found, "missing": missing}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
