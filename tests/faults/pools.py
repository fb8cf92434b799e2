"""`eventbus-worker --processes` on an arena, and what is done to its processes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from .harness import DEADLINE, Arena, Process, children, is_alive, key_in, pause

__all__ = ["DEADLY", "Pool", "failures", "kill_watchers", "produce_deadly", "stop_often"]

#: The ways in which a job can end its process, and what then is said of it.
DEADLY = {"segfault": "SIGSEGV", "abort": "SIGABRT", "exit": "exit code 0", "kill": "JobLost"}


class Pool:
    """
    One `eventbus-worker --processes`, and the processes that it watches.

    Each thread of them counts as a worker of its own, or each of so many jobs at once.
    """

    def __init__(self, arena: Arena, size: int, *options: str, seed: int = 0, **more: str) -> None:
        self._arena = arena
        self.random = random.Random(seed)
        self.watcher = arena.worker("--processes", str(size), *options, FAULTS_EACH="1", **more)
        #: The processes that have died, before all was told to stop.
        self.dead: set[str] = set()

    def at_work(self, *, uncut: bool = False) -> list[str]:
        """Return the names of those who are in the middle of a job: of one that was never cut, where asked."""
        return [
            name
            for name in self._arena.at_work(uncut=uncut)
            if name.startswith(f"{self.watcher.name}/") and is_alive(_pid(name))
        ]

    def busy(self) -> int:
        """Return how many of the processes are in the middle of a job."""
        return len({_pid(name) for name in self.at_work()})

    def tend(self) -> None:
        """Write down which processes have died."""
        for name in self._arena.within(self.watcher.name):
            process = _process(name)
            if process not in self.dead and not is_alive(_pid(name)):
                self.dead.add(process)
                self._arena.note_end("died", process)

    def kill_one_at_work(self, *, uncut: bool = False) -> None:
        """Wait until a process is in the middle of a job, and kill one that is."""
        names = self._arena.await_fact(partial(self.at_work, uncut=uncut), said="somebody works")
        name = self.random.choice(names)
        process, at = _process(name), time.monotonic()
        os.kill(_pid(name), signal.SIGKILL)
        self.dead.add(process)
        self._arena.note_end("killed", process, at=at)

    def kill_often(self, times: int) -> None:
        """Kill so many processes, each in the middle of a job, as others may be."""
        for _ in range(times):
            self._arena.await_fact(lambda: len(self.at_work()) >= 2, said="several work")
            self.kill_one_at_work()
            pause(self.random.uniform(0.05, 0.2))

    def kill_watcher(self) -> list[int]:
        """Kill the process that watches; return those that it leaves behind."""
        left = children(self.watcher.pid)
        self.watcher.tell(signal.SIGKILL)
        self.watcher.popen.wait()
        return left

    def drain(self, deadline: float = DEADLINE) -> None:
        """Wait until nothing is left to do."""
        self._arena.await_fact(
            lambda: self._arena.waiting() == 0,
            said="the queue is drained",
            deadline=deadline,
            meanwhile=self.tend,
        )
        self.tend()

    def stop(self) -> int:
        """Ask all to stop; return the exit code."""
        self.watcher.tell(signal.SIGTERM)
        return self.watcher.await_exit()

    def finish(self, producer: Process) -> None:
        """Let a producer end, and all that it has dispatched be done; stop."""
        producer.tell(signal.SIGTERM)
        assert producer.await_exit() == 0
        self.drain()
        assert self.stop() == 0


def _process(name: str) -> str:
    return name.rpartition("/")[0]


def _pid(name: str) -> int:
    return int(name.split("/")[1])


def kill_watchers(arena: Arena, start: Callable[[], Pool], times: int) -> None:
    """Kill so many watchers, one after the other, while both of their processes work."""
    for _ in range(times):
        pool = start()
        arena.await_fact(lambda pool=pool: pool.busy() == 2, said="both work")
        left = pool.kill_watcher()
        assert len(left) == 2
        arena.await_fact(lambda left=left: not any(map(is_alive, left)), said="they are gone")


def stop_often(arena: Arena, start: Callable[[], Pool], times: int, *, seed: int) -> Pool:
    """Tell so many to stop that are at work, each beside the next one; return the last."""
    chance = random.Random(seed)
    pool = start()
    for _ in range(times):
        arena.await_fact(pool.at_work, said="somebody works")
        following = start()
        pause(chance.uniform(0, 0.3))
        assert pool.stop() == 0, pool.watcher.output
        pool = following
    return pool


def produce_deadly(arena: Arena, does: str, *options: str, good: int, times: int) -> None:
    """Dispatch jobs that end their process, so many in each way, and between them good ones."""
    jobs = []
    for way in DEADLY:
        jobs.append((f"good{way}-", good // len(DEADLY), does))
        jobs.append((f"{way}-", times, f"end_process {way}"))
    arena.produce_all(jobs, *options)


def failures(arena: Arena, reasons: Mapping[str, str]) -> Counter[tuple[object, ...]]:
    """
    Return how often a job failed: of which kind, after how many attempts and losses, and if for its reason.

    Args:
        arena: Where.
        reasons: What is said of each kind; a kind is what its name has before a hyphen.
    """
    found: Counter[tuple[object, ...]] = Counter()
    for job in arena.bus.connections.port().each_failed():
        kind = key_in(job.envelope.body).partition("-")[0]
        found[kind, job.attempts, job.losses, reasons.get(kind, "none") in job.error] += 1
    return found
