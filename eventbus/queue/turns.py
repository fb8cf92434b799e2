"""Members of plans as their turns come: whether they are to run at all, and what they may ask of their plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from eventbus.backends.port import Port
from eventbus.defaults import CANCELED_CLAIMS
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.errors import BackendError
from eventbus.queue.execution import Execution
from eventbus.queue.lifecycle import UniqueJobSkipped

if TYPE_CHECKING:
    from eventbus.queue.attempt import RunningPlans

__all__ = ["Turns"]


class Turns:
    """
    What one executor knows of the plans whose members it runs.

    Args:
        running: Returns what a job asks of its chain and its batch, of those of a port.
        tell: Dispatches an event about a job.
        hears: Tells whether anybody would hear an event of this class.
    """

    def __init__(
        self,
        running: Callable[[Port], RunningPlans],
        *,
        tell: Callable[[object], Walk],
        hears: Callable[[type], bool],
    ) -> None:
        self._make_running = running
        self._tell = tell
        self._hears = hears
        self._running: tuple[Port, RunningPlans] | None = None
        #: Claims, and batches that were canceled by what they held: others of theirs were claimed before that.
        self._canceled: deque[tuple[str, str]] = deque(maxlen=CANCELED_CLAIMS)

    def note(self, execution: Execution, port: Port) -> None:
        """Let a job know its batch, and not run where that was canceled."""
        attempt, member = execution.attempt, execution.envelope.member
        if self._running is None or self._running[0] is not port:
            self._running = port, self._make_running(port)
        attempt.plans = self._running[1]
        claim, entry = execution.claim, execution.entry
        if member is None or claim is None or entry is None:
            return
        execution.takes_key = entry.options.unique is not None
        if member.batch:
            # What a batch itself has to do is about that one, and may be a member of another.
            attempt.batch_id = attempt.batch_id or member.batch
            canceled = claim.canceled or (claim.token, member.batch) in self._canceled
            execution.canceled = canceled and not entry.options.run_if_canceled

    def take_key(self, execution: Execution) -> Walk:
        """
        Let a unique job of a plan have its key; where another job has it, it is passed over.

        Raises:
            BackendError: The store cannot be asked.
        """
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

    def note_failure(self, execution: Execution) -> None:
        """See whether a job that failed has canceled its batch: those that were claimed with it do not run then."""
        member, claim, port = execution.envelope.member, execution.claim, execution.port
        if member is None or not member.batch or claim is None or port is None:
            return
        try:
            found = port.plans.batch(member.batch)
        except BackendError:
            return  # they run: whoever takes the next from the store is told
        if found is not None and found.canceled_at is not None:
            self._canceled.append((claim.token, member.batch))
