"""What a batch itself has to do: a job of its own, stored with it, so that it is done although workers die."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eventbus.backends.plans import Milestone
from eventbus.dispatch.calling import Dispatcher
from eventbus.errors import BatchFailed, BatchNotFound
from eventbus.queue.attempt import Attempt
from eventbus.queue.batches import BatchState
from eventbus.queue.jobs import Job
from eventbus.queue.lifecycle import BatchCanceled, BatchFinished, BatchStarted

__all__ = ["BatchStep"]


class BatchStep(Job, name="eventbus.batch", no_retry=BatchFailed, run_if_canceled=True):
    """
    What a batch itself has to do when a milestone is reached: it tells of it.

    The one without a milestone stands for the batch in a chain, or in another batch: where members failed that
    were not allowed to, it fails; where it was canceled, it ends the chain. A batch that was pruned meanwhile has
    nothing to tell, and keeps nobody waiting.
    """

    milestone: str = ""

    def handle(self, attempt: Attempt, bus: Dispatcher) -> None:
        """Dispatch the event, or look at how the batch ended."""
        batch = attempt.batch
        assert batch is not None  # of these jobs it is always said
        try:
            state = batch.state()
        except BatchNotFound:
            return
        if self.milestone:
            bus.dispatch(_EVENTS[self.milestone](**_facts(state)))
        elif state.failed and not state.allow_failures:
            raise BatchFailed(id=state.id, failed=state.failed, total=state.total)
        elif state.canceled:
            attempt.delete()  # it counts as skipped, as its members do
            attempt.stop_chain()


_EVENTS: Final[Mapping[str, Any]] = {
    Milestone.STARTED.value: BatchStarted,
    Milestone.CANCELED.value: BatchCanceled,
    Milestone.FINISHED.value: BatchFinished,
}


def _facts(state: BatchState) -> dict[str, Any]:
    return {
        "id": state.id,
        "name": state.name,
        "connection": state.connection,
        "queue": state.queue,
        "total": state.total,
        "succeeded": state.succeeded,
        "failed": state.failed,
        "skipped": state.skipped,
    }
