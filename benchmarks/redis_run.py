"""What is measured on Redis, each in processes and on a server of its own; `run.py` calls it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import contenders
import redis_drains
import redis_goals
import redis_idle
import redis_kills
import redis_pushes
import redis_resident
from apps.ours import MANY
from attrs import frozen
from redis_server import AOF, PLAIN, Server
from report import Result, table

SEED = 2026
Child = Callable[..., Mapping[str, Any]]


@frozen
class Effort:
    """How long to measure."""

    #: Of fresh producers, and of each the rounds and the seconds of a sample.
    processes: int
    rounds: int
    sample: float
    #: Jobs of a drain, and how often it is repeated.
    jobs: int
    drains: int
    #: Pushes to each idle worker.
    pushes: int
    #: Jobs that wait when the memory is looked at.
    stored: int
    #: Jobs of 50 ms, and seconds that a worker has which is started after one that was killed.
    killed: int
    bound: int
    #: Small jobs of a worker whose memory is looked at, and seconds until then.
    small: int
    rest: float


FULL = Effort(
    processes=3, rounds=31, sample=0.1, jobs=50_000, drains=5, pushes=300, stored=10_000, killed=200, bound=60,
    small=2_000, rest=1.0,
)  # fmt: skip
FAST = Effort(
    processes=1, rounds=3, sample=0.01, jobs=1_000, drains=1, pushes=3, stored=300, killed=20, bound=3,
    small=20, rest=0.1,
)  # fmt: skip

#: By name: what, and on which server.
NAMES: Mapping[str, tuple[str, Server]] = {
    f"redis_{what}_{server.name}": (what, server)
    for what, servers in {
        "push": (PLAIN, AOF),
        "many": (PLAIN, AOF),
        "drain": (PLAIN, AOF),
        "latency": (PLAIN,),
        "memory": (PLAIN,),
        "killed": (PLAIN,),
        "resident": (PLAIN,),
    }.items()
    for server in servers
}


@frozen
class RedisRun:
    """One measurement after the other."""

    effort: Effort
    #: Runs a script, and returns what it printed.
    child: Child

    def measure(self, name: str, results: Mapping[str, Result]) -> tuple[Result | None, str]:
        """Return the figures, if they are of a kind that goals are made of, and the section of the report."""
        what, server = NAMES[name]
        found: tuple[Result | None, str] = getattr(self, f"_{what}")(name, server, results)
        return found

    def _timed(self, what: str, server: Server) -> tuple[dict[str, list[float]], Mapping[str, str]]:
        """Return what fresh producers took, all rounds together."""
        effort = self.effort
        values: dict[str, list[float]] = {}
        missing: Mapping[str, str] = {}
        for process in range(effort.processes):
            arguments = (server.name, str(effort.rounds), str(effort.sample), str(SEED + process))
            said = self.child("redis_pushes.py", what, *arguments)
            missing = said["missing"]
            for name, found in said["values"].items():
                values.setdefault(name, []).extend(found)
        return values, missing

    def _push(self, name: str, server: Server, _: Any) -> tuple[Result, str]:
        values, missing = self._timed("one", server)
        title = f"`dispatch` to a queued listener, one by one, {server.title}"
        floors = dict.fromkeys(values, redis_pushes.EVALSHA)
        result = Result(name, title, values, floors, missing, redis_pushes.NOTE)
        return result, table(result)

    def _many(self, name: str, server: Server, _: Any) -> tuple[Result, str]:
        values, missing = self._timed("many", server)
        title = f"`dispatch` to {MANY} queued listeners, {server.title}"
        floors = dict.fromkeys(values, redis_pushes.PIPELINE)
        result = Result(name, title, values, floors, missing, redis_pushes.NOTE_OF_MANY)
        return result, table(result)

    def _drain(self, name: str, server: Server, _: Any) -> tuple[Result, str]:
        effort = self.effort
        said = self.child(
            "redis_drains.py", server.name, str(effort.jobs), str(effort.drains), str(SEED)
        )
        title = f"a job that does nothing, of {effort.jobs:,} that wait, {server.title}"
        floors = dict.fromkeys(said["values"], contenders.RAW)
        result = Result(name, title, said["values"], floors, said["missing"], redis_drains.NOTE)
        return result, table(result) + redis_goals.cost_table(result, said["costs"])

    def _latency(self, name: str, server: Server, _: Any) -> tuple[Result, str]:
        said = self.child("redis_idle.py", str(self.effort.pushes), str(SEED))
        title = f"from before a push to the start of its job, idle worker, {server.title}"
        result = Result(name, title, said["values"], {}, said["missing"], redis_idle.NOTE)
        return result, redis_goals.latency_table(result)

    def _memory(self, name: str, server: Server, _: Any) -> tuple[Result, str]:
        said = self.child(
            "redis_pushes.py", "memory", server.name, str(self.effort.stored), "0", "0"
        )
        title = f"memory of the server for each of {self.effort.stored:,} waiting jobs"
        result = Result(
            name, title, said["values"], {}, said["missing"], redis_pushes.NOTE_OF_MEMORY
        )
        return result, redis_goals.memory_table(result)

    def _killed(self, name: str, _: Server, results: Mapping[str, Result]) -> tuple[None, str]:
        effort = self.effort
        said = self.child("redis_kills.py", str(effort.killed), str(effort.bound))
        title = f"a worker is killed: {effort.killed} jobs, {effort.bound} s after it (`{name}`)"
        drained = results.get(f"redis_drain_{PLAIN.name}")
        return None, redis_goals.fate_table(title, redis_kills.NOTE, said["fates"], drained)

    def _resident(self, name: str, _: Server, __: Any) -> tuple[Result, str]:
        jobs = self.effort.small
        said = self.child("redis_resident.py", str(jobs), str(self.effort.rest))
        sizes = said["sizes"]
        values = {
            redis_resident.ROW.format(who, state): [float(sizes[who][state]["proportional"])]
            for who in sizes
            for state in redis_resident.STATES
        }
        title = f"memory of a worker, idle and after {jobs:,} jobs"
        note = redis_resident.NOTE.format(jobs=jobs)
        result = Result(name, title, values, {}, said["missing"], note)
        return result, redis_goals.resident_table(result, sizes)
