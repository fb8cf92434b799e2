"""One run of a worker: claim, run one after the other, settle, until there is a reason to stop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Self

from typing_extensions import override

from eventbus.backends.base import Claim
from eventbus.backends.orders import Orders
from eventbus.backends.port import Port
from eventbus.bus import EventBus
from eventbus.defaults import BATCH_SLACK, BATCH_TIME
from eventbus.dispatch.waiting import drive
from eventbus.queue.execute import Executor
from eventbus.queue.execution import Execution
from eventbus.worker.claiming import ClaimingPort
from eventbus.worker.hand import Hand
from eventbus.worker.health import Health
from eventbus.worker.leases import Leases
from eventbus.worker.ledger import Ledger
from eventbus.worker.pace import Pace
from eventbus.worker.rounds import Rounds
from eventbus.worker.settings import Settings
from eventbus.worker.signals import Signals
from eventbus.worker.stops import Tally
from eventbus.worker.stuck import end_around
from eventbus.worker.telling import report_ended, report_running
from eventbus.worker.turns import Turns
from eventbus.worker.vital import State

__all__ = ["Shift"]

_log = logging.getLogger("eventbus.worker")


class Shift(Rounds):
    """
    The loop of a worker, and what it knows while it runs. As a context, its lease thread lives.

    Args:
        settings: What the worker was given.
        port: The connection.
        turns: Its queues.
        orders: What operators had ordered when it began.
        executor: Runs jobs.
        bus: Is told what happens.
        signals: Stops, pauses and timeouts.
        tally: Counts the jobs of all shifts of the worker.
        ledger: Is told what it holds.
        health: The health file, if there is to be one.
        limit: Seconds that each listener of what happens to the worker may take; 0 is no limit.
        others: What else the process holds, should it have to be ended.
    """

    #: How many jobs ran, and whether the last raised.
    processed = 0
    raised = False

    def __init__(
        self,
        settings: Settings,
        *,
        port: Port,
        turns: Turns,
        orders: Orders | None,
        executor: Executor,
        bus: EventBus,
        signals: Signals,
        tally: Tally,
        ledger: Ledger,
        health: Health | None,
        limit: float,
        others: Callable[[], Sequence[Hand]] = lambda: (),
    ) -> None:
        super().__init__(
            settings,
            port=port,
            turns=turns,
            orders=orders,
            bus=bus,
            signals=signals,
            tally=tally,
            health=health,
            limit=limit,
        )
        self._executor = executor
        self._ledger = ledger
        self.hand = Hand(
            port,
            self.try_again,
            lease=settings.lease,
            # Else nothing is claimed soon.
            defers=port.backend.capabilities.exchange and not (settings.once or settings.rest),
            ran=ledger.ran,
        )
        self._claims_from = ClaimingPort(port, ledger, self.hand)
        self._leases = Leases(
            port,
            self.hand,
            lease=settings.lease,
            watch=signals,
            end=partial(
                end_around, self.hand, port=port, executor=executor, signals=signals, others=others
            ),
            beat=None if health is None and not ledger.is_read else self._lives,
        )
        self._pace = Pace(settings.batch)

    def _lives(self) -> None:
        self._ledger.lives()
        if self._health is not None:
            self._health.alive()

    def __enter__(self) -> Self:
        self._leases.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._leases.__exit__(kind, error, where)

    @override
    def _room(self) -> int:
        return self._pace.size

    @override
    def _work(self, claims: Sequence[Claim], claimed_at: float, *, all_here: bool = False) -> None:
        began, before = time.monotonic(), self.processed
        slack = math.inf if all_here else BATCH_SLACK * BATCH_TIME
        self.hand.take_up(claims, claimed_at=claimed_at)
        self._ledger.takes(claims)
        if len(claims) > 1:
            self._leases.wake()
        acks_wait = False
        try:
            while (claim := self.hand.begin()) is not None:
                self._run(claim)
                # Jobs that became slow keep no others waiting: whoever is idle takes what has not begun.
                if self._stops.at_once() or time.monotonic() - began >= slack:
                    break
            acks_wait = self.hand.defers and not all_here
        finally:
            # Members that have not begun never outlive their batch; acks go with the next claim at the latest.
            try:
                self.hand.give_back()
                if not acks_wait:
                    self.hand.flush()
            finally:
                self.hand.let_go()
                if not self.hand.has_done:
                    self._ledger.holds_none()
                self._tally.give_back(len(claims) - (self.processed - before))
        self._pace.worked(jobs=self.processed - before, seconds=time.monotonic() - began)

    @override
    def _settle(self) -> None:
        self.hand.flush()  # that is noted as finished still: to ack it once more changes nothing

    def _run(self, claim: Claim) -> None:
        """Run one job in a context of its own: what it sets in context variables ends with it."""
        copy_context().run(self._run_here, claim)

    def _run_here(self, claim: Claim) -> None:
        began = time.perf_counter()
        self._ledger.begins(claim)
        execution: Execution = self._executor.begin(claim, self._port)
        self.hand.runs(execution)
        self._ledger.runs(execution.limit)
        execution.note_tries = self._ledger.asked
        report_running(execution)
        if self._health is not None:
            job = (claim.envelope.id, execution.shown)
            self._beat(State.WORKING, job=job)
        self.raised = True  # until it is settled: it ran, and will run again if it never is
        if (left := self._executor.run_at_once(execution, self.hand)) is not None:
            drive(left, self._bus)
        self.processed += 1
        self.raised = execution.error is not None
        self._tally.count(raised=self.raised)
        report_ended(execution, began)
        execution.forget_error()
