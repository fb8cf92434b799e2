"""Work on raw queues: a handler that returns exactly True has done its job, else the job is buried."""

from __future__ import annotations

import logging
import math
import select
import time
from collections.abc import Callable, Sequence
from functools import partial

from eventbus.backends.orders import Orders
from eventbus.backends.port import Port
from eventbus.defaults import ORDERS_INTERVAL, STORE_BACKOFF_LIMIT
from eventbus.dispatch.targets import describe
from eventbus.errors import BackendError, JobFailedByHand, LeaseLost
from eventbus.queue.raw.claims import Lookout, RawClaim, next_claim
from eventbus.queue.renewal import Renewals
from eventbus.text import described, short, shown

__all__ = ["RawWork"]

_log = logging.getLogger("eventbus.queue")


class RawWork:
    """
    Claims raw jobs one by one, and hands them to a handler, until there is a reason to stop.

    Args:
        port: The connection.
        queues: In the order in which claims look at them.
        handler: Called with each claim.
        lease: Seconds that a claim is held; renewed while the handler runs.
        idle: Longest wait in seconds before an empty queue, or `stop`, is looked at again.
        stop: Asked before each claim.
        stop_when_empty: Stop when nothing is due.
    """

    def __init__(
        self,
        port: Port,
        queues: Sequence[str],
        handler: Callable[[RawClaim], object],
        *,
        lease: float,
        idle: float,
        stop: Callable[[], bool],
        stop_when_empty: bool,
    ) -> None:
        self._port = port
        self._queues = queues
        self._handler = handler
        self._lease = lease
        self._idle = idle
        self._stop = stop
        self._stop_when_empty = stop_when_empty
        #: Of its own: a slot elsewhere, whose store does not answer, is not to hold leases up.
        self._renewals = Renewals()
        self._orders = Orders()
        self._look_at = 0.0
        self._restart = False
        #: How often in a row the store was away.
        self._away = 0
        self._handled = 0

    def run(self) -> int:
        """Work; return how many jobs the handler was given."""
        self._orders = self._port.orders()  # what was ordered before it began was for others
        with Lookout(self._port, self._queues, idle=self._idle) as lookout:
            while not self._stop() and not self._restart:
                try:
                    if not self._round(lookout):
                        break
                except BackendError as error:
                    if not error.retryable:
                        raise
                    self._wait_for_store(error)
        return self._handled

    def _round(self, lookout: Lookout) -> bool:
        """Claim once, and handle what was claimed, or wait; False if it is time to stop."""
        # Before orders and claim are looked at: what comes after it rings again.
        lookout.silence()
        self._look_at_orders()
        if self._restart:
            return False
        queues = [one for one in self._queues if not self._orders.is_paused(one)]
        claim = next_claim(self._port, queues, lease=self._lease) if queues else None
        self._away = 0
        if claim is not None:
            name, renew = f"the lease of raw job {claim.id}", partial(_extended, claim, self._lease)
            with self._renewals.of(name, renew, lasts=self._lease):
                self._handle(claim)
            self._handled += 1
        elif self._stop_when_empty:
            return False
        elif queues:
            lookout.wait(math.inf, queues)
        else:
            self._pause(self._idle)
        return True

    def _handle(self, claim: RawClaim) -> None:
        problem: BaseException | None = None
        try:
            answer = self._handler(claim)
        except (KeyboardInterrupt, SystemExit):
            self._give_back(claim)
            raise
        except BaseException as error:  # noqa: BLE001 -- kept with the job
            problem = error
        else:
            if answer is not True and not claim.settled:
                problem = JobFailedByHand(
                    listener=describe(self._handler),
                    reason=f"it returned {shown(answer)}, and only True says that a job is done",
                )
        if claim.settled:
            if problem is not None:
                _log.warning(
                    "job %s settled itself, and raised afterwards",
                    short(claim.id),
                    exc_info=problem,
                    extra={"job": claim.facts},
                )
        elif problem is None:
            self._settle(claim, claim.ack)
        elif self._settle(claim, partial(claim.bury, problem)):
            _log.warning(
                "raw job %s of %s is buried: %s",
                short(claim.id),
                claim.queue,
                described(problem),
                extra={"job": claim.facts},
            )

    def _settle(self, claim: RawClaim, call: Callable[[], None]) -> bool:
        """Settle, however long the store is away: the lease is renewed meanwhile; False if it is lost."""
        while True:
            try:
                call()
            except LeaseLost as error:
                _log.warning("%s", short(str(error)), extra={"job": claim.facts})
                return False
            except BackendError as error:
                if not error.retryable:
                    raise
                if self._stop():
                    _warn_unsettled(claim, error)
                    return False
                self._wait_for_store(error)
            else:
                return True

    def _give_back(self, claim: RawClaim) -> None:
        """Give an interrupted job back."""
        if claim.settled:
            return
        try:
            claim.give_back()
        except BackendError as error:
            _warn_unsettled(claim, error)

    def _look_at_orders(self) -> None:
        """Look, once a second, at what operators ordered."""
        now = time.monotonic()
        if now >= self._look_at:
            before, self._orders = self._orders, self._port.orders()
            self._look_at = now + ORDERS_INTERVAL
            self._restart = self._orders.restart != before.restart

    # Waiting.

    def _wait_for_store(self, error: BackendError) -> None:
        """Wait a while, longer each time: the store is away."""
        pause = float(min(2**self._away, STORE_BACKOFF_LIMIT))  # of whole numbers: no overflow
        self._away += 1
        _log.warning("the store is away, next try in %g s: %s", pause, error)
        self._pause(pause)

    def _pause(self, limit: float) -> None:
        until = time.monotonic() + limit
        while (left := until - time.monotonic()) > 0 and not self._stop():
            select.select([], [], [], min(left, self._idle))


def _extended(claim: RawClaim, lease: float) -> bool:
    """Extend a claim; False if it was settled just now, or somebody else has it: its settlement will say so."""
    try:
        claim.extend(lease)
    except LeaseLost:
        return False
    return True


def _warn_unsettled(claim: RawClaim, error: BackendError) -> None:
    _log.warning(
        "raw job %s could not be settled, and comes back when its lease ends: %s",
        short(claim.id),
        short(str(error)),
        extra={"job": claim.facts},
    )
