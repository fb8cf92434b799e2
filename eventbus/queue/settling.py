"""Telling a store what was decided about a run."""

from __future__ import annotations

import logging
from functools import partial
from typing import ClassVar, Final, Protocol

from msgspec.structs import replace

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.errors import BackendError, LeaseLost
from eventbus.queue.execution import Execution, error_text
from eventbus.queue.following import followed
from eventbus.queue.lifecycle import Outcome
from eventbus.queue.results import kept
from eventbus.text import short

__all__ = ["PortSettler", "Settler", "follow", "free_key", "note_loss", "settled", "write_result"]

#: After which a chain goes on.
_DONE: Final = frozenset({Outcome.SUCCEEDED, Outcome.SKIPPED})

_log = logging.getLogger("eventbus.queue")


class Settler(Protocol):
    """
    Tells a store what was decided about a claimed job.

    `keep`, `release` and `bury` return once the store has it; `ack` may gather several first. Each may be
    called again when the store was away.
    """

    #: `ack` only notes what is done: to call it does not block.
    gathers: ClassVar[bool]

    def keep(self, execution: Execution) -> None:
        """Keep the result of the job, before it is removed."""
        ...

    def ack(self, execution: Execution) -> None:
        """Remove the job: it is done."""
        ...

    def release(self, execution: Execution) -> None:
        """Give the job back; `LeaseLost` if somebody else has it."""
        ...

    def bury(self, execution: Execution) -> None:
        """Move the job to the failed ones; `LeaseLost` if somebody else has it."""
        ...


class PortSettler:
    """Tells the store at once, and waits for it."""

    gathers: ClassVar[bool] = False

    def keep(self, execution: Execution) -> None:
        """Keep the result of the job, before it is removed."""
        assert execution.result is not None  # asked only then
        execution.result.keep(_stored(execution)[0])

    def ack(self, execution: Execution) -> None:
        """Remove the job; `LeaseLost` if somebody else has it."""
        port, claim = _stored(execution)
        port.ack(claim)

    def release(self, execution: Execution) -> None:
        """Give the job back; `LeaseLost` if somebody else has it."""
        port, claim = _stored(execution)
        decision = execution.decision
        port.release(claim, delay=decision.delay, charge=decision.charge, parked=decision.parked)

    def bury(self, execution: Execution) -> None:
        """Move the job to the failed ones; `LeaseLost` if somebody else has it."""
        port, claim = _stored(execution)
        decision = execution.decision
        port.bury(claim, error=error_text(decision.error), charge=decision.charge)


def _stored(execution: Execution) -> tuple[Port, Claim]:
    assert execution.port is not None  # only claimed jobs are settled
    assert execution.claim is not None
    return execution.port, execution.claim


def settled(execution: Execution, settler: Settler) -> Walk:
    """Tell the store of the outcome."""
    if execution.outcome in _DONE and execution.claim is not None:
        if execution.attempt.followers is not None:
            yield Blocking(partial(follow, execution))
        if execution.outcome is Outcome.SKIPPED and execution.claim.envelope.member is not None:
            execution.claim = replace(execution.claim, skipped=True)
    if execution.result is not None and execution.outcome is Outcome.SUCCEEDED:
        yield Blocking(partial(settler.keep, execution))
    settle = {Outcome.RELEASED: settler.release, Outcome.FAILED: settler.bury}.get(
        execution.outcome
    )
    if settle is None and settler.gathers:
        settler.ack(execution)
    else:
        yield Blocking(partial(settle or settler.ack, execution))


def follow(execution: Execution) -> None:
    """Store what the run has said of those that follow it."""
    port, claim = _stored(execution)
    followers = execution.attempt.followers
    assert followers is not None  # asked for only then
    execution.claim = followed(port, claim, followers)


def note_loss(execution: Execution, error: LeaseLost) -> None:
    """Know that somebody else has the job, and log it."""
    execution.lost = True
    logging.getLogger("eventbus.queue").warning(
        "%s", short(str(error)), extra={"job": execution.facts}
    )


def write_result(execution: Execution) -> BaseException | None:
    """Write what is to be kept of what the run returned; return why that cannot be."""
    entry = execution.entry
    assert entry is not None  # it ran
    name, life = entry.options.name, entry.options.keep_result
    # A run that has settled its job has nothing to answer.
    if life is None or execution.claim is None or execution.attempt.settled is not None:
        return None
    id_, answer = execution.envelope.id, execution.answer
    try:
        execution.result = kept(answer, id_, codec=entry.answer, name=name, life=life)
    except BaseException as error:  # noqa: BLE001 -- decided about, as what its `handle` raises
        return error
    return None


def free_key(execution: Execution) -> None:
    """Let others be enqueued: the job begins. Where the store is away they have to wait for its end."""
    port, claim = execution.port, execution.claim
    assert port is not None  # asked for only then
    assert claim is not None
    try:
        port.free(claim)
    except BackendError as error:
        _log.warning(
            "no other job %s is enqueued until it ends: %s",
            execution.attempt.name,
            short(str(error)),
            extra={"job": execution.facts},
        )
