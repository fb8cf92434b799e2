"""How the tests of chains and batches say what is in a plan, and look at it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from eventbus.backends.base import Backend, Charge, Claim
from eventbus.backends.plans import Milestone, NewBatch, StoredBatch
from eventbus.queue.envelope import Envelope, Member
from eventbus.testing.contract.suite import (
    claim_from,
)

__all__ = [
    "ALL",
    "batch_of",
    "begin",
    "bury",
    "chained",
    "counts",
    "held_members",
    "inner",
    "members",
    "run_all",
    "stored",
    "waits",
]


#: What a batch lets come on its way; it has begun with its first step.
ALL = tuple(one for one in Milestone if one is not Milestone.BEGUN)


def chained(
    *names: str,
    queue: str = "jobs",
    queues: Sequence[str] = (),
    batch: str = "",
    catch: str = "",
    delays: Sequence[float] = (),
) -> list[Envelope]:
    """Return envelopes of which each follows the one before it; all but the first are held."""
    where = queues or [queue] * len(names)
    found = []
    for place, (name, mine) in enumerate(zip(names, where, strict=True)):
        following = place + 1 < len(names)
        member = Member(
            batch=batch,
            next=(where[place + 1], names[place + 1]) if following else None,
            catch=(queue, catch) if catch else None,
            held=place > 0,
        )
        delay = delays[place] if delays else 0.0
        found.append(Envelope(id=name, queue=mine, body=b"{}", delay=delay, member=member))
    if catch:
        found.append(waits(catch, queue=queue))
    return found


def waits(id: str, *, queue: str = "jobs") -> Envelope:
    """Return an envelope that waits for a milestone, or a failure."""
    return Envelope(id=id, queue=queue, body=b"{}", member=Member(held=True))


def members(*names: str, batch: str = "b") -> list[Envelope]:
    """Return members of a batch."""
    return [
        Envelope(id=name, queue="jobs", body=b"{}", member=Member(batch=batch)) for name in names
    ]


def begin(
    backend: Backend,
    envelopes: Sequence[Envelope],
    *,
    id: str = "b",
    allows_failures: bool = False,
    waiting: Sequence[Milestone] = (),
) -> None:
    """Open a batch; what waits for a milestone has its name."""
    batch = NewBatch(
        id=id,
        queue="jobs",
        name="import",
        allows_failures=allows_failures,
        waiting={one: [one.value] for one in waiting},
    )
    backend.plans.open([batch], [*envelopes, *(waits(one.value) for one in waiting)])


def inner(*first: str, also: Sequence[Milestone] = ()) -> NewBatch:
    """Return a batch that begins, with these, when the turn of the envelope `i` comes."""
    waiting = {Milestone.BEGUN: list(first), Milestone.FINISHED: ["i"]}
    return NewBatch(id="i", queue="jobs", waiting={**waiting, **{one: [one.value] for one in also}})


def held_members(*names: str, batch: str = "i") -> list[Envelope]:
    """Return members of a batch whose turn has not come."""
    return [
        Envelope(id=name, queue="jobs", body=b"{}", member=Member(batch=batch, held=True))
        for name in names
    ]


def batch_of(backend: Backend, id: str = "b") -> StoredBatch:
    """Return a batch as it is now."""
    [found] = backend.plans.find(ids=[id], limit=10)
    return found


def counts(backend: Backend, id: str = "b") -> tuple[int, int, int, int]:
    """Return how many are in a batch, came to their end, failed and were skipped."""
    found = batch_of(backend, id)
    return found.total, found.succeeded, found.failed, found.skipped


def stored(backend: Backend) -> set[str]:
    """Return the ids of all that waits, is leased or held."""
    return {one.envelope.id for one in backend.peek(limit=100)}


def bury(backend: Backend, claims: Sequence[Claim]) -> None:
    """Let these fail."""
    assert backend.bury(claims, error="boom", charge=Charge.ERROR) == []


def run_all(backend: Backend, *, failing: Sequence[str] = ()) -> list[str]:
    """Let everything run that is due, one by one; return the ids in their order."""
    ran: list[str] = []
    while found := claim_from(backend, ["jobs", "more"], limit=1):
        [claim] = found
        ran.append(claim.envelope.id)
        if claim.envelope.id in failing:
            bury(backend, [claim])
        else:
            assert backend.ack([replace(claim, skipped=claim.canceled)]) == []
    return ran
