"""The rounds of a worker: look at what was ordered, claim, have it worked on, wait."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress

from eventbus.backends.base import Bell, Claim
from eventbus.backends.orders import Orders
from eventbus.backends.port import Port
from eventbus.bus import EventBus
from eventbus.defaults import LEASES_AFTER_LOSS, ORDERS_INTERVAL, STORE_BACKOFF_LIMIT
from eventbus.errors import BackendError, BackendUnavailable
from eventbus.queue.lifecycle import WorkerIdle, WorkerLooping
from eventbus.worker.exits import StopReason
from eventbus.worker.health import Health
from eventbus.worker.settings import Settings
from eventbus.worker.signals import Signals
from eventbus.worker.stops import Stops, Tally
from eventbus.worker.telling import tell
from eventbus.worker.turns import Turns
from eventbus.worker.vital import State

__all__ = ["Rounds"]

_log = logging.getLogger("eventbus.worker")


class Rounds(ABC):
    """
    Claims until there is a reason to stop; how what was claimed is worked on, a subclass says.

    Args:
        settings: What the worker was given.
        port: The connection.
        turns: Its queues.
        orders: What operators had ordered when it began.
        bus: Is told what happens.
        signals: Stops, pauses and timeouts.
        tally: Counts the jobs of all who work for the worker.
        health: The health file, if there is to be one.
        limit: Seconds that each listener of what happens to the worker may take; 0 is no limit.
    """

    _bell: Bell | None = None
    _look_at = 0.0
    #: What was last wrong with the store, and how often in a row it was away.
    _trouble = ""
    _away = 0

    def __init__(
        self,
        settings: Settings,
        *,
        port: Port,
        turns: Turns,
        orders: Orders | None,
        bus: EventBus,
        signals: Signals,
        tally: Tally,
        health: Health | None,
        limit: float,
    ) -> None:
        self._settings = settings
        self._port = port
        #: What claims go through: a subclass has more done with them.
        self._claims_from = port
        self._turns = turns
        self._bus = bus
        self._signals = signals
        self._tally = tally
        self._health = health
        self._limit = limit
        self._stops = Stops(settings, signals)
        #: What was ordered before it began was for others.
        self._orders = orders or Orders()
        #: Whether the store was ever there.
        self._found = orders is not None

    @abstractmethod
    def _work(self, claims: Sequence[Claim], claimed_at: float, *, all_here: bool = False) -> None:
        """
        Work on what was claimed, asked for at an instant of the monotonic clock.

        Args:
            claims: What was claimed.
            claimed_at: When.
            all_here: None of it is for others, however long it takes.
        """

    @abstractmethod
    def _room(self) -> int:
        """Return how many jobs may be claimed now."""

    @abstractmethod
    def _settle(self) -> None:
        """Write what could wait for the next claim: there may be none soon."""

    def work(
        self, first: Sequence[Claim] = (), *, ready: Callable[[], object] = lambda: None
    ) -> StopReason:
        """
        Work until there is a reason to stop; return it.

        Args:
            first: What is held already, and runs before anything is claimed.
            ready: Called once that has run.

        Raises:
            BackendError: The store cannot be used, and trying again would not help.
        """
        try:
            if reason := self._await_store():
                return reason
            if first:
                # Each is to run alone; whoever else took one would have others beside it.
                self._work(first, time.monotonic(), all_here=True)
        finally:
            ready()
        self._bell = self._port.bell(self._turns.queues)
        try:
            return self._loop()
        finally:
            # Whatever has ended it; where the store was away it has been told.
            with suppress(BackendError):
                self._settle()
            if self._bell is not None:
                self._bell.close()

    def _await_store(self) -> StopReason | None:
        """Wait until the store is there; return why to stop before."""
        while not self._found:
            if reason := self._ends():
                return reason
            try:
                self._orders, self._found = self._port.orders(), True
            except BackendError as error:
                self._absorb(error)
        return None

    def _loop(self) -> StopReason:
        reason: StopReason | None = None
        while reason is None:
            try:
                reason = self._ends() or self._round()
                if reason is not None:
                    self._settle()
            except BackendError as error:
                self._absorb(error)
        return reason

    def _ends(self, *, looked: bool = False, nothing: bool = False) -> StopReason | None:
        return self._stops.after(
            self._tally.taken, looked=looked, nothing=nothing, is_empty=self._is_empty
        )

    def _is_empty(self) -> bool:
        """Tell whether there is nothing for this worker; not, where the store cannot be asked."""
        queues = self._turns.next(self._is_paused)
        try:
            self._settle()  # which may let others come
            return not queues or self._is_nothing(self._port.next_due(queues))
        except BackendError:
            return False

    def _is_nothing(self, due: float | None) -> bool:
        """Tell whether a worker that stops when nothing is due stops for what is next due then."""
        return due is None or (due > 0 and not self._settings.include_delayed)

    def _round(self) -> StopReason | None:
        """Claim once, and run what was claimed; return why to stop after it."""
        settings = self._settings
        # Before orders and claim are looked at: what comes after it rings again.
        if self._bell is not None and self._bell.silence():
            self._look_at = 0.0
        if self._look_at_orders():
            return None  # what they say comes first
        queues = self._turns.next(self._is_paused)
        if not queues or not self._tell(WorkerLooping(connection=self._port.name, queues=queues)):
            # Nobody knows until when: to whoever waits for its end, there is no job for it.
            if reason := self._ends(looked=True, nothing=True):
                return reason
            self._rest(State.PAUSED, settings.sleep)
            return None
        asked_at = time.monotonic()
        claims = self._claim(queues)
        self._away = 0
        if claims:
            self._work(claims, asked_at)
            if reason := self._ends(looked=True):
                return reason
            if settings.rest:
                self._rest(State.IDLE, settings.rest)
            return None
        nothing = not settings.include_delayed or self._port.next_due(queues) is None
        if reason := self._ends(looked=True, nothing=nothing):
            return reason
        # What others hold counts: nobody rings when a worker dies and its lease ends.
        due = self._port.next_due(queues, leased=True)
        self._tell(WorkerIdle(connection=self._port.name, queues=queues))
        self._rest(
            State.IDLE, settings.sleep if due is None else min(max(due, 0.001), settings.sleep)
        )
        return None

    def _claim(self, queues: Sequence[str]) -> list[Claim]:
        settings = self._settings
        room = self._tally.take(1 if settings.once or settings.rest else self._room())
        claims: list[Claim] = []
        try:
            if room:  # else another thread took the last one
                claims = self._held_longer(
                    settings.claim(self._claims_from, queues, room, settings.lease)
                )
        finally:
            self._tally.give_back(room - len(claims))
        return claims

    def _held_longer(self, claims: list[Claim]) -> list[Claim]:
        """
        Hold a job that was lost for longer; return what is held.

        Its worker may be at work still, in code that lets no thread renew a lease, and so may this one be.
        """
        if not (len(claims) == 1 and claims[0].alone):
            return claims
        with suppress(BackendUnavailable):  # it is held as others are
            if self._port.extend(claims, lease=self._settings.lease * LEASES_AFTER_LOSS):
                return []
        return claims

    def _tell(self, event: object) -> bool:
        return tell(event, bus=self._bus, limits=self._signals, limit=self._limit)

    # Waiting.

    def _rest(self, state: State, limit: float) -> None:
        self._settle()
        wait = self._stops.left(limit)
        self._beat(state, wait=wait)
        self._signals.wait(wait, self._bell)
        self._beat(state)  # it turns again, maybe long before it had to
        self._look_at = 0.0  # an order may be what ended the wait

    def _beat(self, state: State, *, job: tuple[str, str] | None = None, wait: float = 0.0) -> None:
        if self._health is not None:
            ran, raised = self._tally.ran, self._tally.raised
            self._health.beat(state, job=job, processed=ran, failed=raised, wait=wait)

    def _is_paused(self, queue: str) -> bool:
        settings = self._settings
        return (
            self._signals.paused
            or self._orders.is_paused(queue)
            or (settings.paused_when is not None and settings.paused_when())
        )

    def _look_at_orders(self) -> bool:
        """Look, once a second, at the store and at what was ordered; return whether to restart."""
        now = time.monotonic()
        if now >= self._look_at:
            before, self._orders = self._orders, self._port.orders()
            self._look_at = now + ORDERS_INTERVAL
            trouble = self._port.trouble()
            if trouble and trouble != self._trouble:
                _log.warning("the store works, but: %s", trouble)
            self._trouble = trouble
            if self._orders.restart != before.restart:
                self._stops.restart = True
        return self._stops.restart

    def _absorb(self, error: BackendError) -> None:
        """Wait for a store that is away."""
        if not error.retryable:
            raise error  # a store that is damaged, or another version's, does not come back
        self._wait_for_store(error)

    def _wait_for_store(self, error: BackendError) -> None:
        """Wait a while, longer each time: the store is away."""
        pause = float(min(2**self._away, STORE_BACKOFF_LIMIT))  # of whole numbers: no overflow
        self._away += 1
        _log.warning("the store is away, next try in %g s: %s", pause, error)
        self._beat(State.AWAY, wait=pause)
        self._signals.wait(pause)

    def try_again(self, error: BackendUnavailable) -> bool:
        """Wait for a store that is away, before something is settled again; False if there is no time for it."""
        if self._signals.stopping:
            return False
        self._wait_for_store(error)
        return True
