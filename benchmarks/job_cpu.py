"""
Where a worker's processor time goes: `python job_cpu.py JOURNAL JOBS ROUNDS`.

A worker in this process drains the same file several times. First as it is, with a clock around each
verb of the backend: these figures are what they are. Then once under cProfile outside these verbs: as it
slows Python's own calls, what it finds only shares out the rest, by the room of the house that spent
it. Prints seconds by stage, by round, and how many calls of functions one job takes there.
"""

from __future__ import annotations

import cProfile
import json
import logging
import pstats
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkout  # noqa: F401 -- this checkout is what is measured
from journals import JOURNALS, Journal

VERBS = ("claim", "ack", "extend", "next_due")
#: The room of a file of ours; of other files, the name of the package.
_ROOM = re.compile(r"/eventbus/(?:(dispatch|queue/codec|queue|backends|worker)/|\w+\.py)")
_PACKAGE = re.compile(r"/(?:site-packages|python3\.\d+)/(\w+)")
JOB = "the job itself"
_MEASURING = "measuring"
#: What takes less than this part of the rest is not shown by its name.
_LEAST = 0.01


class _Clock:
    """The processor's time that each verb of a backend takes, none of it profiled."""

    def __init__(self, backend: Any, profile: cProfile.Profile | None) -> None:
        self._profile = profile
        self.spent = dict.fromkeys(VERBS, 0.0)
        for verb in VERBS:
            setattr(backend, verb, self._timed(verb, getattr(backend, verb)))

    def _timed(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            if self._profile is not None:
                self._profile.disable()
            before = time.thread_time()
            try:
                return call(*arguments, **options)
            finally:
                self.spent[verb] += time.thread_time() - before
                if self._profile is not None:
                    self._profile.enable()

        return timed


def drained(journal: Journal, file: Path, profile: cProfile.Profile | None) -> dict[str, float]:
    """Drain a copy of `file`; return the seconds of each verb, and of everything."""
    import jobs

    from eventbus.worker import Worker

    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(file, Path(folder) / "queue.db"))
        with jobs.made(journal.url(path)) as bus:
            clock = _Clock(bus.connections.port().backend, profile)
            work = Worker(bus, stop_when_empty=True).run
            before = time.process_time()
            if profile is None:
                work()
            else:
                profile.runcall(work)
            return {**clock.spent, "all": time.process_time() - before}


def rooms(profile: cProfile.Profile) -> tuple[dict[str, float], int]:
    """Return the profiled seconds by room, and the number of calls."""
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    found: dict[str, float] = {}
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        if _room(file) is not None:
            spent = {_room(file): own}
        else:  # written in C, or made at run time: it is its caller's
            spent = {}
            for (caller, _, _), (_, _, part, _) in callers.items():
                room = _room(caller) or "other"
                spent[room] = spent.get(room, 0.0) + part
        for room, seconds in spent.items():
            found[room] = found.get(room, 0.0) + seconds
    found.pop(_MEASURING, None)
    return found, sum(calls for _, calls, *_ in stats.values())


def _room(file: str) -> str | None:
    if file.endswith(("benchmarks/jobs.py", "benchmarks/stamps.py")):
        return JOB
    if file.endswith("benchmarks/job_cpu.py"):
        return _MEASURING
    if inside := _ROOM.search(file):
        return inside[1] or "bus"
    if inside := _PACKAGE.search(file):
        return inside[1]
    return None


def main(journal: str, count: str, rounds: str) -> None:
    chosen = JOURNALS[journal]
    chosen.use()
    logging.basicConfig(level=logging.WARNING)  # as --quiet does
    import jobs
    from byhand import filled

    with tempfile.TemporaryDirectory() as folder:
        file = filled(Path(folder) / "waiting.db", jobs.envelope(), int(count))
        plain = [drained(chosen, file, None) for _ in range(int(rounds))]
        profile = cProfile.Profile()
        drained(chosen, file, profile)
    shares, calls = rooms(profile)
    whole = sum(shares.values())
    values: dict[str, list[float]] = {}
    small = [room for room, seconds in shares.items() if seconds < _LEAST * whole]
    shares["other"] = sum(shares.pop(room) for room in small)
    for one in plain:
        rest = one["all"] - sum(one[verb] for verb in VERBS)
        for verb in VERBS:
            values.setdefault(f"backend: {verb}", []).append(one[verb] / int(count))
        for room, seconds in shares.items():
            values.setdefault(room, []).append(rest * seconds / whole / int(count))
        values.setdefault("all", []).append(one["all"] / int(count))
    json.dump({"values": values, "calls": calls / int(count)}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
