"""What a worker has in its hands whose jobs run at once on one loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from attrs import define
from typing_extensions import override

from eventbus.backends.base import Claim
from eventbus.defaults import LEASE
from eventbus.queue.execution import Execution
from eventbus.worker.hand import Hand
from eventbus.worker.ledger import Ledger

if TYPE_CHECKING:
    from eventbus.backends.port import Port
    from eventbus.errors import BackendUnavailable

__all__ = ["Hands"]

_NOBODY = Ledger()


@define(eq=False)
class _Run:
    claim: Claim
    began: float
    execution: Execution | None = None


class Hands(Hand):
    """
    The claims of a worker that runs many at once: each begins as soon as it can, and none waits for another.

    Acks are only noted; the lease thread writes them.

    Args:
        port: The connection of the claims.
        try_again: Waits after a store was away; False if there is no time to try again.
        lease: Seconds that a claim, or a renewal, lasts.
        ledgers: Each is told of one job at a time, until that is settled; none where nobody reads them.
        wake: Has the lease thread look: something is done.
        freed: Called when there is room again for what there was none.
        blocker: Tells the id of the job that keeps the loop from turning; empty if none does.
    """

    gathers: ClassVar[bool] = True

    def __init__(
        self,
        port: Port,
        try_again: Callable[[BackendUnavailable], bool],
        *,
        lease: float = LEASE,
        ledgers: Sequence[Ledger] = (),
        wake: Callable[[], object] = lambda: None,
        freed: Callable[[], object] = lambda: None,
        blocker: Callable[[], str] = lambda: "",
    ) -> None:
        super().__init__(port, try_again, lease=lease)
        self._runs: dict[str, _Run] = {}
        self._free = list(ledgers)
        self._has_ledgers = bool(ledgers)
        #: By id: who is told of a job.
        self._told: dict[str, Ledger] = {}
        self._wake = wake
        self._freed = freed
        self._blocker = blocker

    @property
    def busy(self) -> int:
        """How many jobs run, or are about to."""
        return len(self._runs) + len(self._waiting)

    @property
    def room(self) -> float:
        """How many more can be told of."""
        return len(self._free) if self._has_ledgers else math.inf

    @override
    def take_up(self, claims: Sequence[Claim], *, claimed_at: float | None = None) -> None:
        super().take_up(claims, claimed_at=claimed_at)
        for claim in claims:
            if self._has_ledgers:
                ledger = self._told[claim.envelope.id] = self._free.pop()
                ledger.takes([claim])

    def ledger(self, claim: Claim) -> Ledger:
        """Return who is told of a job."""
        return self._told.get(claim.envelope.id, _NOBODY)

    def ledgers(self) -> list[Ledger]:
        """Return who is told of the jobs that are held."""
        return list(self._told.values())

    def begins(self, claim: Claim) -> bool:
        """Say whether a claim may begin, and have it run from now on."""
        now = time.monotonic()
        with self._lock:
            # As `begin`: others may have it by now, and around a run that is stuck none begins.
            if self._seized or now >= self._held_until or claim not in self._waiting:
                return False
            self._waiting.remove(claim)
            self._runs[claim.envelope.id] = _Run(claim, now)
        self.ledger(claim).begins(claim)
        return True

    @override
    def runs(self, execution: Execution) -> None:
        self._runs[execution.envelope.id].execution = execution
        assert execution.claim is not None  # it was claimed
        ledger = self.ledger(execution.claim)
        execution.note_tries = ledger.asked
        ledger.runs(execution.limit)

    @override
    def ack(self, execution: Execution) -> None:
        """The job is done: remove it, soon. If somebody else has it, that is a warning in the log."""
        claim = self._finished(execution, done=True)
        self.ledger(claim).ran()
        if len(self._done) == 1:  # for others somebody was woken
            self._wake()

    @override
    def let_go(self) -> None:
        with self._lock:
            self._runs.clear()
        super().let_go()

    @override
    def runs_for(self) -> float:
        return 0.0  # nothing waits for it

    @override
    def lost(self, claims: Sequence[Claim]) -> None:
        with self._lock:
            waiting = [claim for claim in claims if claim in self._waiting]
        super().lost(claims)
        self._let_others(waiting)

    @override
    def seize(self) -> tuple[Claim | None, Execution | None]:
        """
        Take all that runs from the worker, and return the job that keeps the loop from turning.

        If none does, that is the one which is longest over its time. The others are held as if they had not
        begun: they were interrupted, and go back.
        """
        with self._lock:
            self._seized = True
            blocker = self._runs.get(self._blocker())
            runs = sorted(self._runs.values(), key=lambda run: (run is not blocker, _end(run)))
            self._runs.clear()
            self._waiting.extend(run.claim for run in runs[1:])
        return (runs[0].claim, runs[0].execution) if runs else (None, None)

    @override
    def _taken_out(self, execution: Execution) -> None:
        self._runs.pop(execution.envelope.id, None)

    @override
    def _drop(self, claims: Sequence[Claim]) -> None:
        super()._drop(claims)
        self._let_others(claims)

    def _let_others(self, claims: Sequence[Claim]) -> None:
        """Have the ledgers of these tell of others."""
        if not self._has_ledgers:
            return
        was_full = not self._free
        for claim in claims:
            ledger = self._told.pop(claim.envelope.id, None)
            if ledger is not None:
                ledger.holds_none()
                self._free.append(ledger)
        if was_full:
            self._freed()


def _end(run: _Run) -> float:
    """Return when a run should have ended."""
    limit = run.execution.limit if run.execution is not None else 0.0
    return run.began + limit if limit else math.inf
