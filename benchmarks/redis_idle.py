"""
Workers that wait on Redis: `python redis_idle.py PUSHES SEED`.

All wait at the same time on one server. Prints, for each contender, the seconds from before a push to the first line
of its job, by round.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from contextlib import ExitStack

import contenders
import redis_server
from attrs import evolve, frozen
from contenders import BY_HAND, OURS
from processes import Place, Producer, Workers, place, producer, workers

WAIT = "raw redis-py, BLMOVE"
NOTE = (
    "From before the call that enqueues to the first line of the job; the workers of all contenders wait at the same"
    " time, and each is asked in every round, in random order. Raw: LPUSH, and a process that waits in BLMOVE."
)
#: Seconds between two pushes, to whomever.
_PAUSE = (0.01, 0.04)
#: Seconds until a worker that says nothing is given up.
_PATIENCE = 60.0


@frozen
class Waiting:
    """A worker that waits, and what asks it."""

    name: str
    running: Workers
    ask: Producer
    answers: int

    def asked(self) -> float:
        """Push a job; return the seconds until it ran."""
        self.ask.push("answer", 1)
        found, _, _ = select.select([self.answers], [], [], _PATIENCE)
        if not found:
            sys.exit(f"{self.name} did not answer in {_PATIENCE:g} s: {self.running.said()}")
        lines = os.read(self.answers, 4096).splitlines()
        if len(lines) != 1:
            sys.exit(f"{self.name} answered {len(lines)} times")
        return float(lines[0])


def started(port: int, running: ExitStack) -> tuple[dict[str, Waiting], dict[str, str]]:
    """Start a worker of each kind."""
    peers, missing = contenders.available()
    raw = evolve(BY_HAND, name=WAIT, worker=("-m", "apps.raw", "wait"))
    found: dict[str, Waiting] = {}
    for database, one in enumerate((raw, OURS, *peers)):
        where = running.enter_context(place(f"redis://127.0.0.1:{port}/{database}"))
        work = running.enter_context(workers(one, where))
        ask = running.enter_context(producer(one, where))
        found[one.name] = Waiting(one.name, work, ask, reading(where))
    return found, missing


def reading(where: Place) -> int:
    """Return where the answers are read."""
    # Open for writing too: a pipe that nobody writes to is at its end.
    return os.open(where.answers, os.O_RDWR)


def latency(waiting: dict[str, Waiting], rounds: int, seed: int) -> dict[str, list[float]]:
    for one in waiting.values():
        one.asked()  # it has begun
    values: dict[str, list[float]] = {name: [] for name in waiting}
    order = random.Random(seed)
    for _ in range(rounds):
        for name in order.sample(list(waiting), len(waiting)):
            time.sleep(order.uniform(*_PAUSE))  # no phase of anybody's poll is met on purpose
            values[name].append(waiting[name].asked())
    return values


def main(pushes: str, seed: str) -> None:
    with redis_server.running(redis_server.PLAIN) as port, ExitStack() as running:
        waiting, missing = started(port, running)
        values = latency(waiting, int(pushes), int(seed))
    json.dump({"values": values, "missing": missing}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
