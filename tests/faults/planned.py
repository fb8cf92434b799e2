"""What became of the chains and batches of `application_plans`, by the log and by what is left in the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from attrs import define, field, frozen

from eventbus.backends.port import Port

from .harness import key_in
from .history import Entry

__all__ = ["Outcome", "look"]


@frozen
class Outcome:
    """What became of plans."""

    #: Plans that ran.
    plans: int
    #: Those of which nobody can tell whether they were stored: who enqueued them was killed.
    cut: int
    #: What must never be, by its kind: steps, batches and plans, by name.
    complaints: dict[str, list[str]]


@define
class _Plan:
    stored: bool = False
    after: dict[str, list[str]] = field(factory=dict)
    fails: set[str] = field(factory=set)
    held: set[str] = field(factory=set)
    counts: dict[str, list[int]] = field(factory=dict)
    starts: dict[str, list[float]] = field(factory=lambda: defaultdict(list))


def look(history: Iterable[Entry], port: Port) -> Outcome:
    """Look at plans when all has run that can."""
    plans = _read(history)
    ran = {name: plan for name, plan in plans.items() if plan.starts}
    held = {key_in(one.envelope.body) for one in port.each_stored()}
    failed = {key_in(one.envelope.body) for one in port.each_failed()}
    batches = {
        one.name: [one.succeeded, one.failed, one.skipped]
        for one in port.plans.each()
        if one.finished_at
    }
    found = {
        # Each begins when those before it have ended for good, and none of these is begun again.
        "too early": [key for plan in ran.values() for key in _too_early(plan)],
        # The whole of a plan is stored, or nothing.
        "torn": [name for name, plan in ran.items() if plan.starts.keys() != plan.after.keys()],
        "lost": [name for name, plan in plans.items() if plan.stored and name not in ran],
        "miscounted": _differences(
            {name: counts for plan in ran.values() for name, counts in plan.counts.items()}, batches
        ),
        "not held": sorted({key for plan in ran.values() for key in plan.held} ^ held),
        "not failed": sorted({key for plan in ran.values() for key in plan.fails} ^ failed),
    }
    return Outcome(
        plans=len(ran),
        cut=sum(not plan.stored for plan in plans.values()),
        complaints={kind: names for kind, names in found.items() if names},
    )


def _read(history: Iterable[Entry]) -> dict[str, _Plan]:
    plans: dict[str, _Plan] = defaultdict(_Plan)
    for entry in history:
        plan = plans[entry.job.partition(".")[0]]
        if entry.what == "planned":
            plan.after[entry.job] = entry.note.split()
        elif entry.what == "fails":
            plan.fails.add(entry.job)
        elif entry.what == "held":
            plan.held.add(entry.job)
        elif entry.what == "counts":
            plan.counts[entry.job] = [int(one) for one in entry.note.split()]
        elif entry.what == "stored":
            plan.stored = True
        elif entry.what == "start":
            plan.starts[entry.job].append(entry.at)
    # Entries that are not about a step, and a plan whose author was killed before all was written down.
    return {name: plan for name, plan in plans.items() if plan.after}


def _too_early(plan: _Plan) -> list[str]:
    return [
        key
        for key, after in plan.after.items()
        for begun in plan.starts.get(key, [])[:1]
        if any(one not in plan.starts or plan.starts[one][-1] > begun for one in after)
    ]


def _differences(expected: dict[str, list[int]], found: dict[str, list[int]]) -> list[str]:
    return [
        f"{name}: {found.get(name)} instead of {expected.get(name)}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
