"""
Drain a queue of jobs that do nothing on Redis: `python redis_drains.py SERVER JOBS ROUNDS SEED`.

The queue is filled first, then the workers are started; what counts is the time from the first job that ran to the
last. Prints, for each contender, the seconds of one job, by round, and what it cost: the processor's time of the
workers and of the server, and how many commands the server was given.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
from typing import Any

import contenders
import marks
import redis
import redis_server
from attrs import frozen
from contenders import BOTH, BY_HAND, OURS, Contender
from processes import Workers, marked, place, producer, workers

NOTE = (
    "Between the first job that ran and the last, in all workers together. Raw: pipelines of 100 RPOPLPUSH, then"
    " `json.loads`, a call and a LREM for each, in one process. Every job leaves 16 bytes in one file, 2 µs."
    " Peers have fewer jobs, as they are slow. Commands: those of scripts are counted too. Nobody logs a job, nobody keeps a result."
)
#: Fewer would be over before all processes of a worker have begun.
_LEAST = 200


@frozen
class Cost:
    """What one job cost, in seconds and commands."""

    seconds: float
    workers: float
    server: float
    commands: float


def drained(contender: Contender, jobs: int, port: int) -> Cost:
    """Fill, drain, and see that every job ran once."""
    jobs = max(round(jobs * contender.share), _LEAST)
    with redis.Redis(port=port) as server, place(f"redis://127.0.0.1:{port}/0") as where:
        server.flushall()
        with producer(contender, where) as one:
            if contender in (OURS, BOTH, BY_HAND):
                one.push("waiting", 1, first=jobs)
            else:
                one.push("note", jobs)
        commands = _commands(server)
        with workers(contender, where) as running:
            running.await_that(lambda: marked(where) > 0, "its first job ran")
            began, before = marked(where), _used(running, server)
            running.await_that(lambda: marked(where) >= jobs, "its last job ran")
            used = [
                after - first for after, first in zip(_used(running, server), before, strict=True)
            ]
            commands = _commands(server) - commands
        found = marks.read(where.marks)
    if sorted(one.number for one in found) != list(range(jobs)):
        sys.exit(f"{contender.name} ran {len(found)} jobs, {jobs} were waiting")
    took = max(one.at for one in found) - min(one.at for one in found)
    rest = jobs - began
    return Cost(took / (jobs - 1), used[0] / rest, used[1] / rest, commands / jobs)


def _commands(server: redis.Redis) -> int:
    return int(server.info("stats")["total_commands_processed"])


def _used(running: Workers, server: redis.Redis) -> tuple[float, float]:
    """Return the processor's time of the workers and of the server, in seconds."""
    said = server.info("cpu")
    return running.used(), said["used_cpu_user"] + said["used_cpu_sys"]


def main(server: str, jobs: str, rounds: str, seed: str) -> None:
    peers, missing = contenders.available()
    chosen = (BY_HAND, OURS, BOTH, *peers)
    found: dict[str, list[Cost]] = {one.name: [] for one in chosen}
    order = random.Random(int(seed))
    with redis_server.running(redis_server.SERVERS[server]) as port:
        for _ in range(int(rounds)):
            for one in order.sample(chosen, len(chosen)):
                found[one.name].append(drained(one, int(jobs), port))
    values = {name: [one.seconds for one in runs] for name, runs in found.items()}
    json.dump({"values": values, "costs": _costs(found), "missing": missing}, sys.stdout)


def _costs(found: dict[str, list[Cost]]) -> dict[str, Any]:
    return {
        name: {
            what: statistics.median(getattr(one, what) for one in runs)
            for what in ("workers", "server", "commands")
        }
        for name, runs in found.items()
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
