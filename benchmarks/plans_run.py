"""What is measured of chains and batches, and their goals; `run.py` calls it by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import plans
from attrs import frozen
from journals import JOURNALS
from report import Goal, Result, table

SEED = 2026
Child = Callable[..., Mapping[str, Any]]

#: By name: what, and where. What is on Redis is called so.
NAMES: Mapping[str, tuple[str, str]] = {
    **{f"plans_{what}_{one}": (what, one) for what in ("settle", "grow") for one in JOURNALS},
    **{f"redis_plans_{what}": (what, "redis") for what in ("settle", "grow")},
}
_TITLES = {
    "settle": "the ack of one job, {}",
    "grow": "one member of a plan, small and large, {}",
}
_NOTES = {
    "settle": "The ack alone, of what was claimed before; a member is counted in its batch, and one of a chain lets the next"
    " come, in the same step. Small bodies; FULL on SQLite.",
    "grow": "Stored in one step; then claimed and acked by one client, a hundred at once, of a chain one after the other.",
}


@frozen
class Effort:
    """How long to measure: rounds."""

    settle: int
    grow: int


FULL = Effort(settle=101, grow=5)
FAST = Effort(settle=3, grow=1)


@frozen
class PlansRun:
    """One measurement after the other."""

    effort: Effort
    #: Runs a script, and returns what it printed.
    child: Child

    def measure(self, name: str, _: Mapping[str, Result]) -> tuple[Result, str]:
        """Return the figures, and the section of the report."""
        what, place = NAMES[name]
        said = self.child("plans.py", what, place, str(getattr(self.effort, what)), str(SEED))
        values = said["values"]
        title = _TITLES[what].format(where(place))
        floors = {one: _floor(one, what) for one in values}
        result = Result(name, title, values, floors, note=_NOTES[what])
        return result, table(result)


def where(place: str) -> str:
    return "Redis" if place == "redis" else JOURNALS[place].title


def _floor(name: str, what: str) -> str:
    if what == "settle":
        return plans.PLAIN.format(name.rpartition(", ")[2])
    for said in (plans.STORED, plans.DONE):
        if name == said.format(plans.BATCHES[1]):
            return said.format(plans.BATCHES[0])
    for said in (plans.CHAIN_STORED, plans.CHAIN_DONE):
        if name == said.format(plans.CHAINS[1]):
            return said.format(plans.CHAINS[0])
    return name


def goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    """Yield the goals that these results speak of."""
    for name, (what, place) in NAMES.items():
        result = results.get(name)
        if result is None:
            continue
        short = "Redis" if place == "redis" else JOURNALS[place].short
        if what == "settle":
            for how in plans.SIZES.values():
                member = plans.MEMBER.format(how)
                yield Goal(
                    f"the ack of {member}, {short}",
                    result.ratio(member),
                    1.3,
                    "a job by itself",
                )
        else:
            for one in (
                *(said.format(plans.BATCHES[1]) for said in (plans.STORED, plans.DONE)),
                *(said.format(plans.CHAINS[1]) for said in (plans.CHAIN_STORED, plans.CHAIN_DONE)),
            ):
                yield Goal(f"{one}, {short}", result.ratio(one), 1.3, "of a tenth of it")
