"""
The memory of a worker: `python redis_resident.py JOBS SECONDS`.

One worker after the other is started, with one process that runs jobs, and looked at twice: when its first job has
run, and when so many small ones have, so many seconds later each time. Prints, for each contender, how many processes it is, and their resident and
proportional sizes, in bytes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress

import contenders
import psutil
import redis_server
from attrs import asdict, evolve, frozen
from contenders import OURS, US, Contender
from processes import Place, Workers, marked, place, producer, workers
from redis_idle import Waiting, reading

ON_SQLITE = f"{US}, SQLite"
ON_REDIS = f"{US}, Redis"
STATES = ("idle", "busy")
#: The figures of whom, and when.
ROW = "{}, {}"
NOTE = (
    "Each with one process that runs jobs, where it allows that, in its smallest way; what it starts beside that"
    " counts too. Idle: its first job has run. Busy: {jobs:,} more, that do nothing, have. RSS counts what processes"
    " share once for each of them, PSS its part for each. Nothing else of the contenders runs at the time."
)
_SMALL = {"2": "1"}
#: What is said instead of the words of the other tables, "" being nothing; and what that is.
_ALONE: Mapping[str, tuple[Mapping[str, str], str]] = {
    "huey": ({**_SMALL, "process": "thread"}, "a thread"),
    "dramatiq": (_SMALL, "a process of 8 threads"),
    "taskiq": (_SMALL, "a process of 100 tasks"),
    "saq": (_SMALL, "a process of 10 jobs"),
    "arq": ({}, "a process of 100 jobs"),
    "streaq": (_SMALL, "a process of 64 jobs"),
    "celery": ({**_SMALL, "prefork": "solo"}, "the solo pool"),
    "rq": ({"worker-pool": "worker", "-n": "", "2": ""}, "a `SimpleWorker`"),
}


@frozen
class Size:
    """What the processes of a worker hold, in bytes."""

    processes: int
    resident: int
    proportional: int


@frozen
class Held:
    """What a worker holds, and how it was started."""

    setting: str
    idle: Size
    busy: Size


def alone(one: Contender) -> Contender:
    """Return it with one process that runs jobs."""
    words, setting = _ALONE[one.name]
    worker = tuple(filter(None, (words.get(word, word) for word in one.worker)))
    return evolve(one, worker=worker, setting=setting, processes=1)


def held(one: Contender, url: str, jobs: int, rest: float) -> Held:
    """Start its worker, and look at it when it is idle and when it has been busy."""
    with place(url) as where, workers(one, where) as working:
        _begun(one, where, working)
        idle = _looked_at(working, rest)
        with producer(one, where) as ask:
            ask.push("note", jobs)
        working.await_that(lambda: marked(where) >= jobs, "its last job ran")
        return Held(one.setting, idle, _looked_at(working, rest))


def _begun(one: Contender, where: Place, working: Workers) -> None:
    """Have it answer."""
    answers = reading(where)
    try:
        with producer(one, where) as ask:
            Waiting(one.name, working, ask, answers).asked()
    finally:
        os.close(answers)


def _looked_at(working: Workers, rest: float) -> Size:
    time.sleep(rest)  # what a worker does after its jobs is over
    found = []
    for one in working.processes():
        with suppress(psutil.NoSuchProcess):
            found.append(one.memory_full_info())
    return Size(len(found), sum(one.rss for one in found), sum(one.pss for one in found))


def main(jobs: str, rest: str) -> None:
    peers, missing = contenders.available()
    with (
        redis_server.running(redis_server.PLAIN) as port,
        tempfile.TemporaryDirectory() as folder,
    ):
        chosen = [(evolve(OURS, name=ON_SQLITE), f"sqlite:///{folder}/queue.db")]
        for database, one in enumerate((evolve(OURS, name=ON_REDIS), *map(alone, peers))):
            chosen.append((one, f"redis://127.0.0.1:{port}/{database}"))
        found = {one.name: held(one, url, int(jobs), float(rest)) for one, url in chosen}
    sizes = {name: asdict(one) for name, one in found.items()}
    json.dump({"sizes": sizes, "missing": missing}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
