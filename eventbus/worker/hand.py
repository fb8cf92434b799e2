"""What a worker has in its hands: claimed and not begun, running, done and not yet acked."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import ACK_WINDOW, LEASE
from eventbus.errors import BackendUnavailable, LeaseLost
from eventbus.queue.execution import Execution, error_text
from eventbus.queue.lifecycle import Outcome
from eventbus.text import short

__all__ = ["Hand"]

_log = logging.getLogger("eventbus.worker")


class Hand:
    """
    The claims of a worker, from their claim to their settlement; its lease thread looks after them.

    It settles jobs for the `Executor`. Acks are gathered for `ACK_WINDOW` within a batch. Whoever
    takes a claim out of a list is the only one to settle it: taking is one step under one lock,
    which is never held while a store is asked or a listener runs.

    Args:
        port: The connection of the claims.
        try_again: Waits after a store was away; False if there is no time to try again.
        lease: Seconds that a claim, or a renewal, lasts.
        defers: The acks of a batch may wait for the next claim: whoever makes it takes them along.
        ran: Told that the running job is settled, or that all that is left is to ack it.
    """

    #: An ack may find that several are to be written, and write them.
    gathers: ClassVar[bool] = False

    def __init__(
        self,
        port: Port,
        try_again: Callable[[BackendUnavailable], bool],
        *,
        lease: float = LEASE,
        defers: bool = False,
        ran: Callable[[], object] = lambda: None,
    ) -> None:
        self._port = port
        self.defers = defers
        self._ran = ran
        self._lease = lease
        #: By our own clock: what has not begun by then may be somebody else's.
        self._held_until = 0.0
        self._try_again = try_again
        self._lock = threading.Lock()
        #: Held while the lease thread settles something: what it has taken is still to be settled.
        self._late = threading.Lock()
        #: By id: what others may not take, until it is settled.
        self._held: dict[str, Claim] = {}
        self._waiting: deque[Claim] = deque()
        self._running: Claim | None = None
        self._execution: Execution | None = None
        self._began = 0.0
        self._done: list[Claim] = []
        self._done_since = 0.0
        #: A job was settled, and what follows it has not ended.
        self._follows = False
        self._seized = False

    # What the worker does.

    def take_up(self, claims: Sequence[Claim], *, claimed_at: float | None = None) -> None:
        """
        Put the claims of a batch, asked for at an instant of the monotonic clock, into the hand.

        Never returns where the lease thread has seized it: nobody would give them back any more. That their
        claim was about to be made is noted still, and whoever comes next undoes it.
        """
        at = time.monotonic() if claimed_at is None else claimed_at
        with self._lock:
            seized = self._seized
            if not seized:
                self._held_until = at + self._lease
                self._waiting.extend(claims)
                for claim in claims:
                    self._held[claim.envelope.id] = claim
        if seized:
            threading.Event().wait()  # this process is being ended

    def begin(self) -> Claim | None:
        """Return the next claim, which runs from now on; None if none may begin."""
        with self._lock:
            self._execution = None
            self._follows = False
            self._began = time.monotonic()
            if self._seized:
                return None  # this process is being ended
            # If this process stood still for longer than a lease, others may have them by now: they
            # are given back with the batch, and those that are somebody else's stay so.
            is_ours = self._began < self._held_until
            self._running = self._waiting.popleft() if self._waiting and is_ours else None
            return self._running

    def runs(self, execution: Execution) -> None:
        """Know the run of the claim that has begun."""
        self._execution = execution

    def let_go(self) -> None:
        """Hold only what is done, and to be acked still: what could not be settled comes back when its lease ends."""
        with self._lock:
            self._running = self._execution = None
            self._follows = False
            self._waiting.clear()
            self._held = {claim.envelope.id: claim for claim in self._done}

    # What the executor asks for: the settler of `Executor.run`.

    def keep(self, execution: Execution) -> None:
        """Keep the result of the job, before it is taken as done."""
        assert execution.result is not None  # asked only then
        self._persist(partial(execution.result.keep, self._port))

    def ack(self, execution: Execution) -> None:
        """
        The job is done: remove it, together with others that are done.

        Raises:
            LeaseLost: Somebody else has it. A job that waits for others may be found lost later, and
                then it is a warning in the log.
        """
        claim = self._finished(execution, done=True)
        self._ran()
        due = time.monotonic() - self._done_since >= ACK_WINDOW or (
            not self._waiting and not self._may_wait(claim)
        )
        lost = self._written(self._taken(self._done)) if due else []
        self._follows = True
        for one in lost:
            if one is not claim:
                _warn_of_loss(one)
        if claim in lost:
            raise LeaseLost(id=claim.envelope.id, operation="ack")

    def release(self, execution: Execution) -> None:
        """
        Give the job back, as was decided.

        Raises:
            LeaseLost: Somebody else has it.
        """
        claim = self._finished(execution)
        self._settled(
            claim,
            lambda: self._port.release(
                claim,
                delay=execution.delay,
                charge=execution.charge,
                parked=execution.parked,
            ),
        )

    def bury(self, execution: Execution) -> None:
        """
        Move the job to the failed ones, as was decided.

        Raises:
            LeaseLost: Somebody else has it.
        """
        claim = self._finished(execution)
        text = error_text(execution.error)
        self._settled(claim, lambda: self._port.bury(claim, error=text, charge=execution.charge))

    def flush(self) -> None:
        """Write the acks of what is done; once this has returned, also those of the lease thread are written."""
        with self._late:
            done = self._taken(self._done)
        for claim in self._written(done):
            _warn_of_loss(claim)

    def _written(self, done: list[Claim]) -> list[Claim]:
        """Write the acks of what is done; return those that somebody else has."""
        lost: list[Claim] = []
        if done:
            self._persist(lambda: lost.extend(self._acked(done)))
        return lost

    def _may_wait(self, claim: Claim) -> bool:
        """Tell whether the ack of a job, the last of its batch, may go with the next claim."""
        # While the lease surely holds, nobody else can have it. And who hears that a member of a batch was
        # processed wants to see it counted.
        return (
            self.defers
            and claim.envelope.member is None
            and claim.envelope.id in self._held
            and time.monotonic() < self._held_until
        )

    @property
    def has_done(self) -> bool:
        """Whether there is something to be acked."""
        return bool(self._done)

    @contextmanager
    def acking(self) -> Generator[tuple[list[Claim], list[Claim]]]:
        """Have what is done acked in the block, which fills in what was lost; where it raises, it is to be acked still."""
        with self._late:  # as `flush`: what the lease thread was about to ack is acked
            done = self._taken(self._done)
        lost: list[Claim] = []
        try:
            yield done, lost
        except BaseException:
            with self._lock:
                self._done.extend(done)
            raise
        self._drop(done)
        for claim in lost:
            _warn_of_loss(claim)

    def give_back(self) -> int:
        """Give back what was claimed and has not begun; return how many."""
        with self._late:
            waiting = self._taken(self._waiting)
        if waiting:
            self._persist(lambda: self._returned(waiting))
        return len(waiting)

    # What the lease thread asks for. It never waits for a store that is away: its next round tries.

    @property
    def restless(self) -> bool:
        """Whether there is something that a slow job must not keep: acks, or members not begun."""
        return bool(self._waiting or self._done)

    def held(self) -> list[Claim]:
        """Return everything whose lease is to be renewed."""
        with self._lock:
            return list(self._held.values())

    def renewed(self, *, at: float) -> None:
        """Know that what is held was renewed, by a call that began at this instant."""
        with self._lock:
            self._held_until = at + self._lease

    def lost(self, claims: Sequence[Claim]) -> None:
        """Forget claims that somebody else has, but for those that were settled meanwhile."""
        for claim in claims:
            with self._lock:
                held = self._held.get(claim.envelope.id)
                if held is None or held.token != claim.token:
                    continue
                del self._held[claim.envelope.id]
                if claim in self._waiting:
                    self._waiting.remove(claim)  # the other one runs it
            _warn_of_loss(claim)

    def runs_for(self) -> float:
        """Return for how many seconds the current job, or what follows it, has run; 0 if none does."""
        with self._lock:
            runs = self._running is not None or self._follows
            return time.monotonic() - self._began if runs else 0.0

    def flush_late(self) -> None:
        """Write acks whose window is over, once."""
        if not self._done or time.monotonic() - self._done_since < ACK_WINDOW:
            return
        lost: list[Claim] = []
        with self._late:
            done = self._taken(self._done)
            self._once(lambda: lost.extend(self._acked(done)), lambda: self._done.extend(done))
        for claim in lost:
            _warn_of_loss(claim)

    def give_back_late(self) -> int:
        """Give back what has not begun, once; return how many."""
        with self._late:
            waiting = self._taken(self._waiting)
            if waiting:
                self._once(
                    lambda: self._returned(waiting), lambda: self._waiting.extendleft(waiting[::-1])
                )
        return len(waiting)

    def settle_seized(self, execution: Execution) -> None:
        """Settle the run that was seized, as was decided about it."""
        claim = execution.claim
        assert claim is not None  # only claimed jobs are seized
        match execution.outcome:
            case Outcome.FAILED:
                text = error_text(execution.error)
                self._port.bury(claim, error=text, charge=execution.charge)
            case Outcome.RELEASED:
                self._port.release(claim, delay=execution.delay, charge=execution.charge)
            case _:  # it came to an end just as it was seized
                self._port.ack(claim)

    def seize(self) -> tuple[Claim | None, Execution | None]:
        """
        Take the running job from the worker, which never settles it, and begins no other.

        The job is None if none runs; its run, if it is not read yet.
        """
        with self._lock:
            self._seized = True
            return self._running, self._execution

    # Below.

    def _finished(self, execution: Execution, *, done: bool = False) -> Claim:
        """
        Take the running claim to settle it; never returns where the lease thread was first.

        Args:
            execution: Its run.
            done: It is to be acked, together with others: put it to those.
        """
        claim = execution.claim
        assert claim is not None  # only claimed jobs are settled
        with self._lock:
            seized = self._seized
            if not seized:
                self._taken_out(execution)
                if done:
                    if not self._done:
                        self._done_since = time.monotonic()
                    self._done.append(claim)
        if seized:
            threading.Event().wait()  # this process is being ended
        return claim

    def _taken_out(self, execution: Execution) -> None:  # noqa: ARG002 - there is one
        """Have a run no longer running; the lock is held."""
        self._running = self._execution = None

    def _taken(self, claims: deque[Claim] | list[Claim]) -> list[Claim]:
        with self._lock:
            taken = list(claims)
            claims.clear()
        return taken

    def _settled(self, claim: Claim, call: Callable[[], None]) -> None:
        try:
            self._persist(call)
        finally:
            self._drop([claim])
            self._follows = True
        self._ran()

    def _acked(self, claims: list[Claim]) -> list[Claim]:
        lost = self._port.ack_all(claims)
        self._drop(claims)
        return lost

    def _returned(self, claims: list[Claim]) -> None:
        self._port.give_back(claims)  # one that somebody else has needs no giving back
        self._drop(claims)

    def _drop(self, claims: Sequence[Claim]) -> None:
        with self._lock:
            for claim in claims:
                self._held.pop(claim.envelope.id, None)

    def _persist(self, call: Callable[[], None]) -> None:
        """
        Settle, and try again for as long as there is time: the lease is held meanwhile.

        Raises:
            BackendUnavailable: The worker has to stop. The jobs come back when their leases end.
        """
        while True:
            try:
                return call()
            except BackendUnavailable as error:
                # Around a run that is stuck the process is to end, whatever the store does.
                if self._seized or not self._try_again(error):
                    raise

    def _once(self, call: Callable[[], None], undo: Callable[[], object]) -> None:
        try:
            call()
        except BackendUnavailable:
            with self._lock:
                undo()
            raise


def _warn_of_loss(claim: Claim) -> None:
    _log.warning(
        "the lease of job %s was lost: another worker has it, or had it",
        short(claim.envelope.id),
        extra={"job": {"id": claim.envelope.id, "queue": claim.envelope.queue}},
    )
