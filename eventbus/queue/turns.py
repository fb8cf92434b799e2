"""Members of plans as their turns come: whether they are to run at all, and what they may ask of their plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import BATCH_TIME, KNOWN_CLAIMS
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.errors import BackendError
from eventbus.queue.execution import Execution
from eventbus.queue.lifecycle import UniqueJobSkipped

if TYPE_CHECKING:
    from eventbus.queue.attempt import RunningPlans

    MakeRunning = Callable[[Port, Callable[[], None]], RunningPlans]

__all__ = ["Turns"]


class Turns:
    """
    What one executor knows of the plans whose members it runs.

    Args:
        running: Returns what a job asks of its chain and its batch, of those of a port; it is told here when
            one asks for its batch, since it may cancel that.
        tell: Dispatches an event about a job.
        hears: Tells whether anybody would hear an event of this class.
    """

    def __init__(
        self,
        running: MakeRunning,
        *,
        tell: Callable[[object], Walk],
        hears: Callable[[type], bool],
    ) -> None:
        self._make_running = running
        self._tell = tell
        self._hears = hears
        self._running: tuple[Port, RunningPlans] | None = None
        #: Of claims, by token, when each was first seen; and of batches of theirs, when it was last looked whether
        #: they are canceled, and whether they were.
        self._claims: dict[str, float] = {}
        self._looks: dict[tuple[str, str], tuple[float, bool]] = {}
        #: When something happened here that may have canceled a batch.
        self._changed = 0.0

    def note(self, execution: Execution, port: Port) -> None:
        """Let a job know its batch, and not run where that was canceled."""
        attempt, member = execution.attempt, execution.envelope.member
        if self._running is None or self._running[0] is not port:
            self._running = port, self._make_running(port, self.note_change)
        attempt.plans = self._running[1]
        claim, entry = execution.claim, execution.entry
        if claim is not None and claim.token not in self._claims:
            self._see(claim)
        if member is None or claim is None or entry is None:
            return
        execution.takes_key = entry.options.unique is not None
        if member.batch:
            # What a batch itself has to do is about that one, and may be a member of another.
            attempt.batch_id = attempt.batch_id or member.batch
            if not entry.options.run_if_canceled:
                as_claimed = self._claims.get(claim.token, 0.0), claim.canceled
                at, execution.canceled = self._looks.get((claim.token, member.batch), as_claimed)
                # Others of its claim ran before it, and who cancels tells nobody.
                execution.unsure = at <= self._changed or time.monotonic() - at >= BATCH_TIME

    def come(self, execution: Execution) -> Walk:
        """
        Let the turn of a member come, as far as that takes a look at the store.

        Raises:
            BackendError: The store cannot be asked about its key.
        """
        if execution.unsure:
            yield from self._look(execution)
        if execution.takes_key and not execution.canceled:
            yield from self._take_key(execution)

    def _look(self, execution: Execution) -> Walk:
        """See whether the batch of a member was canceled since its claim."""
        claim, member, port = execution.claim, execution.envelope.member, execution.port
        if claim is None or member is None or port is None:
            return
        at = time.monotonic()
        try:
            found = yield Blocking(partial(port.plans.batch, member.batch))
        except BackendError:
            return  # it is as it was claimed
        execution.canceled = found is not None and found.canceled_at is not None
        self._looks[claim.token, member.batch] = at, execution.canceled

    def note_change(self) -> None:
        """Know that a member failed, or asked for its batch: one that is held may have been canceled by that."""
        self._changed = time.monotonic()

    def _see(self, claim: Claim) -> None:
        if len(self._claims) >= KNOWN_CLAIMS:
            # Threads share this: what a copy holds, nobody changes. One that is forgotten is seen anew.
            newest = list(self._claims)[-KNOWN_CLAIMS // 2 :]
            self._claims = {one: self._claims.get(one, 0.0) for one in newest}
            kept = [look for look in list(self._looks.items()) if look[0][0] in self._claims]
            self._looks = dict(kept)
        self._claims[claim.token] = time.monotonic()

    def _take_key(self, execution: Execution) -> Walk:
        """Let a unique job of a plan have its key; where another job has it, it is passed over."""
        entry, port, claim = execution.entry, execution.port, execution.claim
        assert entry is not None  # it was read
        if port is None or claim is None:
            return
        try:
            unique = entry.options.key(execution.arguments or ())
        except BaseException as error:  # noqa: BLE001 -- decided about, as what its `handle` raises
            execution.raised = error
            return
        assert unique is not None  # its class says so
        execution.canceled = not (yield Blocking(partial(port.take, claim, unique)))
        if execution.canceled and self._hears(UniqueJobSkipped):
            facts = execution.facts
            del facts["attempt"]
            yield from self._tell(UniqueJobSkipped(**facts))
