"""What a worker process left behind when it died is settled by the one that takes its place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Final

from msgspec.structs import replace

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.dispatch.waiting import Waits, drive
from eventbus.errors import BackendError, WorkerDied
from eventbus.queue.execute import Executor
from eventbus.text import short
from eventbus.worker.ledger import NOTHING_LEFT, Ledger, Left

__all__ = ["settle_left"]

_log = logging.getLogger("eventbus.worker")

#: Seconds: the shortest lease that every backend can keep.
_AT_ONCE: Final = 0.001


def settle_left(
    ledgers: Sequence[Ledger],
    how: str,
    *,
    port: Port,
    lease: float,
    executor: Callable[[], Executor],
    here: Waits,
) -> Sequence[Claim]:
    """
    Settle what a worker held when it died, so that nobody waits for its leases.

    Args:
        ledgers: Its ledgers, one of each thread; empty afterwards.
        how: What it died of, where the job that ran must have done it: it has had an attempt. Empty
            where it may have been anybody: then what ran was lost.
        port: The connection of its claims.
        lease: Seconds for which what is returned is held.
        executor: Makes who decides about the job that ran.
        here: Waits for what the executor waits for.

    Returns:
        Of several jobs that ran, those that may have done it. Who runs each of them alone will know.
    """
    left = [one for one in (ledger.left() for ledger in ledgers) if one != NOTHING_LEFT]
    # First: should one of these jobs end this process too, the next one is not to try it again.
    for ledger in ledgers:
        ledger.holds_none()
    running = [one for one in left if one.running is not None]
    try:
        for one in left:
            if one.claim is not None:
                queues, token = one.claim
                port.unclaim(queues, token=token)
            port.ack_all(_as_stored(one.finished, port))
            port.give_back(one.waiting)
        if len(running) > 1:
            return _suspects(running, port, lease)
        for one in running:
            assert one.running is not None  # those are the running ones
            # What was being read is not read again here: it would end this process too.
            said = "" if one.is_read else how
            copy_context().run(_settle, one.running, said, port, executor, here, tries=one.tries)
    except BackendError as error:
        _log.warning("what a worker left behind comes back when its leases end: %s", error)
    return ()


def _as_stored(claims: Sequence[Claim], port: Port) -> list[Claim]:
    """Return claims with their envelopes: what a ledger has of them does not say who is to follow, or counts them."""
    if not claims:
        return []
    queues = sorted({one.envelope.queue for one in claims})
    found = port.find([one.envelope.id for one in claims], queues=queues)
    stored = {one.envelope.id: one.envelope for one in found}
    return [replace(one, envelope=stored.get(one.envelope.id, one.envelope)) for one in claims]


def _suspects(running: Sequence[Left], port: Port, lease: float) -> Sequence[Claim]:
    """Give back what cannot have done it, and hold the others."""
    overdue = [one for one in running if one.is_overdue]
    claims = [one.running for one in overdue or running if one.running is not None]
    port.give_back([one.running for one in running if one.running and one.running not in claims])
    lost = port.extend(claims, lease=lease)
    held = {claim.envelope.id: claim for claim in claims if claim not in lost}
    queues = sorted({claim.envelope.queue for claim in claims})
    found = port.find(list(held), queues=queues) if held else []
    _log.warning(
        "a worker died with %d jobs, and any may have done it: each runs alone", len(found)
    )
    return [replace(held[one.envelope.id], envelope=one.envelope) for one in found]


def _settle(
    claim: Claim,
    how: str,
    port: Port,
    executor: Callable[[], Executor],
    here: Waits,
    *,
    tries: int | None,
) -> None:
    envelope = claim.envelope
    said = "another worker runs it"
    if how:
        for stored in port.find([envelope.id], queues=[envelope.queue]):
            deciding = executor()
            execution = deciding.begin(replace(claim, envelope=stored.envelope), port)
            died = WorkerDied(listener=execution.attempt.name, how=how)
            deciding.ended(execution, died, tries=tries)
            drive(deciding.run(execution), here)
            said = str(execution.outcome)
            execution.forget_error()
    elif port.extend([claim], lease=_AT_ONCE):
        said = "it was settled"
    else:
        said = "lost"
    _log.warning(
        "a worker died with job %s: %s%s",
        short(envelope.id),
        said,
        f" ({how})" if how else "",
        extra={"job": {"id": envelope.id, "queue": envelope.queue}},
    )
