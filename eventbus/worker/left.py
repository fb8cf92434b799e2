"""What a worker process left behind when it died is settled by the one that takes its place."""

from __future__ import annotations

import logging
from contextvars import copy_context
from typing import Final

from attrs import evolve

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.dispatch.waiting import Waits, drive
from eventbus.errors import BackendError, WorkerDied
from eventbus.queue.execute import Executor
from eventbus.text import short
from eventbus.worker.ledger import NOTHING_LEFT, Ledger

__all__ = ["settle_left"]

_log = logging.getLogger("eventbus.worker")

#: Seconds: the shortest lease that every backend can keep.
_AT_ONCE: Final = 0.001


def settle_left(
    ledger: Ledger,
    how: str,
    *,
    port: Port,
    executor: Executor,
    here: Waits,
) -> None:
    """
    Settle what a worker held when it died, so that nobody waits for its leases.

    Args:
        ledger: Its ledger; empty afterwards.
        how: What it died of, where the job that ran must have done it: that job has had an attempt. Empty
            where it may have been anybody: then the job was lost.
        port: The connection of its claims.
        executor: Decides about the job that ran.
        here: Waits for what the executor waits for.
    """
    left = ledger.left()
    if left == NOTHING_LEFT:
        return
    # First: should one of these jobs end this process too, the next one is not to try it again.
    ledger.holds_none()
    try:
        port.ack_all(left.finished)
        port.give_back(left.waiting)
        if left.running is not None:
            copy_context().run(_settle, left.running, how, port, executor, here)
    except BackendError as error:
        _log.warning("what a worker left behind comes back when its leases end: %s", error)


def _settle(claim: Claim, how: str, port: Port, executor: Executor, here: Waits) -> None:
    envelope = claim.envelope
    said = "another worker runs it"
    if how:
        for stored in port.find([envelope.id], queues=[envelope.queue]):
            execution = executor.begin(evolve(claim, envelope=stored.envelope), port)
            executor.ended(execution, WorkerDied(listener=execution.attempt.name, how=how))
            drive(executor.run(execution), here)
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
