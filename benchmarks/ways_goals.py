"""The goals of a worker's ways to use a whole machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import deaths
import ways
from attrs import frozen
from contenders import US
from journals import JOURNALS, Journal
from report import Goal, Result
from speeds import Speed


@frozen
class Cost:
    """So many times what another row of the same table takes, at most."""

    what: str
    #: The name of the table, to which that of the journal is added.
    table: str
    than: str
    times: float

    def called(self, journal: Journal) -> str:
        return f"{self.what}, {journal.short}"


SPEED = Speed(
    "jobs that compute, `--processes 2`",
    "worker_processes",
    US,
    ways.WAYS["processes"].bare,
    0.95,
)
COSTS = (
    Cost(
        "async jobs that wait, `--concurrency 1000`",
        "worker_concurrency",
        ways.WAYS["concurrency"].bare,
        3.0,
    ),
    Cost(
        "listeners that block, `--threads 16`",
        "worker_threads",
        ways.WAYS["threads"].bare,
        1.3,
    ),
    Cost("a job ends its process: until the next begins", "worker_death", deaths.BARE, 1.5),
)


def goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    """Yield the goals that these results speak of."""
    yield from SPEED.found(JOURNALS.values(), results)
    for cost in COSTS:
        for journal in JOURNALS.values():
            result = results.get(f"{cost.table}_{journal.name}")
            if result is not None:
                figure = result.ratio(US, cost.than)
                yield Goal(cost.called(journal), figure, cost.times, cost.than)


def wanted() -> Iterator[tuple[str, str]]:
    """Yield the name of each goal, and beside what its figure stands."""
    yield from SPEED.wanted(JOURNALS.values())
    for cost in COSTS:
        for journal in JOURNALS.values():
            yield cost.called(journal), cost.than
