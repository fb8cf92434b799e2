"""
`make soak`: an hour of work with a kill every half minute, to see what grows.

Three workers and a producer on one store. Two of the workers are killed in turn; the third never is,
and it is its memory, threads and open files, and the producer's, that must not grow. A sample every
ten seconds goes to `samples.jsonl` of the folder as it is taken, the verdict to `result.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .checker import check
from .harness import Arena, Fleet, Process, arena, pause
from .stores import STORES

PAGE = os.sysconf("SC_PAGE_SIZE")

#: The part of the run in which memory may still grow: caches fill, the allocator finds its size.
WARM_UP = 0.2

JOB = "pause 0.005"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=100.0, help="jobs a second")
    parser.add_argument("--kill-every", type=float, default=30.0, help="seconds")
    parser.add_argument("--sample-every", type=float, default=10.0, help="seconds")
    parser.add_argument("--lease", type=float, default=5.0, help="seconds")
    parser.add_argument("--store", choices=STORES, default="PERSIST")
    parser.add_argument("--folder", type=Path, help="kept; by default a temporary one")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="eventbus-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    say(f"soak: {options.minutes:g} minutes in {folder}")
    with arena(folder, store=STORES[options.store](), lease=options.lease) as made:
        return Soak(made, options).run()


class Soak:
    """One run."""

    def __init__(self, arena: Arena, options: argparse.Namespace) -> None:
        self._arena = arena
        self._options = options
        self._samples: list[dict[str, Any]] = []
        self._kills = 0
        self._began = time.monotonic()
        #: SIGTERM and Ctrl-C end the run early; it is judged all the same.
        self._told = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        self._told = True

    def run(self) -> int:
        options = self._options
        producer = self._arena.producer(
            "soak", 0, JOB, "--rate", f"{options.rate:g}", "--backlog", "5000", "--payload", "200"
        )
        steady = self._arena.worker("--quiet")
        fleet = Fleet(self._arena, 2, "--quiet", seed=1)
        watched = {"producer": producer, "steady worker": steady}
        over = self._began + options.minutes * 60
        next_kill = self._began + options.kill_every
        next_sample = self._began
        while not self._told and (now := time.monotonic()) < over:
            if now >= next_sample:
                next_sample += options.sample_every
                self._sample(watched, fleet)
            if now >= next_kill:
                next_kill += options.kill_every
                fleet.kill(fleet.workers[self._kills % len(fleet.workers)])
                self._kills += 1
            fleet.tend()
            if not all(process.is_alive for process in watched.values()):
                say("soak: what was to live has died")
                break
            pause(0.2)
        alive = all(process.is_alive for process in watched.values())
        producer.tell(signal.SIGTERM)
        drained = self._drain(fleet)
        for process in (steady, *fleet.workers):
            process.tell(signal.SIGTERM)
        codes = [process.popen.wait(60) for process in (producer, steady, *fleet.workers)]
        return self._end(watched, alive=alive, drained=drained, codes=codes, deaths=fleet.codes)

    def _drain(self, fleet: Fleet) -> bool:
        over = time.monotonic() + 120
        while self._arena.waiting():
            fleet.tend()
            if time.monotonic() > over:
                return False
            pause(0.2)
        return True

    def _sample(self, watched: dict[str, Process], fleet: Fleet) -> None:
        sample: dict[str, Any] = {
            "at": round(time.monotonic() - self._began, 1),
            "kills": self._kills,
            "waiting": self._arena.waiting(),
            "file": self._arena.store.size(),
            "log": (self._arena.folder / "log").stat().st_size,
        }
        processes = {**watched, **{f"killed {n}": one for n, one in enumerate(fleet.workers)}}
        for name, process in processes.items():
            sample[name] = figures(process.pid)
        self._samples.append(sample)
        with (self._arena.folder / "samples.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample) + "\n")
        self._write({"unfinished": True, **self._slopes(watched)})

    def _slopes(self, watched: Iterable[str]) -> dict[str, Any]:
        first = self._samples[0]["at"] + WARM_UP * (
            self._samples[-1]["at"] - self._samples[0]["at"]
        )
        warm = [sample for sample in self._samples if sample["at"] >= first]
        found: dict[str, Any] = {
            "minutes": round(self._samples[-1]["at"] / 60, 1),
            "kills": self._kills,
            "file_max": max(sample["file"] for sample in self._samples),
            "file_last": self._samples[-1]["file"],
            "file_mb_per_hour": per_hour([(sample["at"], sample["file"]) for sample in warm]),
            "waiting_max": max(sample["waiting"] for sample in self._samples),
        }
        for name in watched:
            own = [(sample["at"], sample[name]) for sample in warm if sample[name]]
            if len(own) < 2:
                continue
            found[name] = {
                "rss_mb": round(own[-1][1]["rss"] / 2**20, 1),
                "rss_mb_per_hour": per_hour([(at, one["rss"]) for at, one in own]),
                "fds": [min(one["fds"] for _, one in own), max(one["fds"] for _, one in own)],
                "threads": [
                    min(one["threads"] for _, one in own),
                    max(one["threads"] for _, one in own),
                ],
            }
        return found

    def _end(self, watched: Iterable[str], **facts: Any) -> int:
        verdict = check(self._arena.history())
        result = {
            "scenario": "soak",
            "store": self._arena.store.name,
            "seconds": round(time.monotonic() - self._began, 1),
            **self._slopes(watched),
            **facts,
            "integrity": self._arena.store.integrity(),
            "stored": verdict.stored,
            "starts": verdict.starts,
            "hits": verdict.hits,
            "extra": verdict.extra,
            "failed": len(verdict.failed),
            "lost": len(verdict.lost),
            "unexpected": len(verdict.unexpected),
            "complaints": {name: jobs[:20] for name, jobs in verdict.complaints.items()},
        }
        self._write(result)
        say(json.dumps(result, indent=1))
        results = os.environ.get("FAULTS_RESULTS")
        if results:
            with Path(results).open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
        sound = facts["alive"] and facts["drained"] and not verdict.complaints
        return 0 if sound and result["integrity"] == "ok" else 1

    def _write(self, result: dict[str, Any]) -> None:
        # Whole or not at all: it may be read at any time.
        place = self._arena.folder / "result.json"
        place.with_suffix(".new").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        place.with_suffix(".new").replace(place)


def figures(pid: int) -> dict[str, int] | None:
    """Return what a process uses, or None if it has ended meanwhile."""
    place = Path(f"/proc/{pid}")
    try:
        status = (place / "status").read_text()
        return {
            "rss": int((place / "statm").read_text().split()[1]) * PAGE,
            "fds": len(list((place / "fd").iterdir())),
            "threads": int(status.partition("Threads:")[2].split()[0]),
        }
    except (OSError, ValueError, IndexError):
        return None


def slope(points: list[tuple[float, float]]) -> float:
    """Return how much is added in each second: the line of least squares."""
    middle = sum(at for at, _ in points) / len(points)
    spread = sum((at - middle) ** 2 for at, _ in points)
    return sum((at - middle) * value for at, value in points) / spread if spread else 0.0


def per_hour(points: list[tuple[float, float]]) -> float:
    """Return by how many MiB bytes grow in an hour."""
    return round(slope(points) * 3600 / 2**20, 2)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
