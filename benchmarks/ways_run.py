"""What is measured of a worker's ways to use a whole machine; `run.py` calls it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import deaths
import ways
from apps.ways import BLOCKED
from attrs import frozen
from journals import JOURNALS, Journal
from report import Result, table

SEED = 2026
Child = Callable[..., Mapping[str, Any]]


@frozen
class Effort:
    """How long to measure."""

    #: Rounds of each table.
    rounds: Mapping[str, int]
    #: Jobs of a round.
    jobs: Mapping[str, int]

    def said(self) -> str:
        return ", ".join(f"{what} {rounds} rounds" for what, rounds in self.rounds.items())


FULL = Effort(
    rounds={"processes": 15, "concurrency": 15, "threads": 15, "death": 15},
    jobs={"processes": 60, "concurrency": 1_000, "threads": BLOCKED},
)
FAST = Effort(
    rounds={"processes": 1, "concurrency": 1, "threads": 1, "death": 1},
    jobs={"processes": 4, "concurrency": 100, "threads": BLOCKED},
)

#: By name: what, and on which journal.
NAMES: Mapping[str, tuple[str, Journal]] = {
    f"worker_{what}_{journal.name}": (what, journal)
    for what in (*ways.WAYS, "death")
    for journal in JOURNALS.values()
}


@frozen
class WaysRun:
    """One measurement after the other."""

    effort: Effort
    #: Runs a script, and returns what it printed.
    child: Child

    def measure(self, name: str, _: Mapping[str, Result]) -> tuple[Result, str]:
        """Return the figures, and the section of the report."""
        what, journal = NAMES[name]
        result = self._death(name, journal) if what == "death" else self._way(name, what, journal)
        return result, table(result)

    def _way(self, name: str, what: str, journal: Journal) -> Result:
        jobs, rounds = str(self.effort.jobs[what]), str(self.effort.rounds[what])
        said = self.child("ways.py", what, journal.name, jobs, rounds, str(SEED))
        way = ways.WAYS[what]
        title = f"{way.title.format(jobs=int(jobs))}, FULL, {journal.title}"
        floors = dict.fromkeys(said["values"], way.bare)
        return Result(name, title, said["values"], floors, note=ways.NOTE)

    def _death(self, name: str, journal: Journal) -> Result:
        said = self.child("deaths.py", journal.name, str(self.effort.rounds["death"]), str(SEED))
        title = f"from a job that ends its process to the next job, FULL, {journal.title}"
        floors = dict.fromkeys(said["values"], deaths.BARE)
        return Result(name, title, said["values"], floors, note=deaths.NOTE)
