"""Batches that were enqueued: how far they are, and what may still be said to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from eventbus.errors import BatchNotFound

if TYPE_CHECKING:
    from eventbus.backends.plans import StoredBatch
    from eventbus.backends.port import Port
    from eventbus.queue.membership import PlanMember

__all__ = ["BatchHandle", "BatchState", "is_over", "state_of"]

_Answer = TypeVar("_Answer")


@frozen(kw_only=True)
class BatchState:
    """
    How far a batch is.

    Example:
        >>> from eventbus import EventBus
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> state = bus.batch(name="nothing").enqueue().state()
        >>> state.total, state.finished, state.to_dict()["name"]
        (0, True, 'nothing')
    """

    id: str
    name: str
    connection: str
    queue: str
    #: How many members it has, those of its chains too; a batch that is a member is one.
    total: int
    #: Of these: how many are still to come to an end, ...
    pending: int
    #: ... came to it, ...
    succeeded: int
    #: ... are among the failed jobs, or were forgotten there, ...
    failed: int
    #: ... and will not run.
    skipped: int
    #: Whether the others run on when one fails.
    allow_failures: bool
    #: When it was enqueued, in UTC, by the store's clock.
    created_at: datetime
    #: When it was canceled; None if it was not.
    canceled_at: datetime | None
    #: When the last of its members came to an end; None while one has not.
    finished_at: datetime | None

    @property
    def processed(self) -> int:
        """How many are not pending any more."""
        return self.total - self.pending

    @property
    def progress(self) -> int:
        """The same in percent, rounded; 0 of a batch without members."""
        return round(100 * self.processed / self.total) if self.total else 0

    @property
    def canceled(self) -> bool:
        """Whether its members do not begin any more."""
        return self.canceled_at is not None

    @property
    def finished(self) -> bool:
        """Whether all of its members came to an end."""
        return self.finished_at is not None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "connection": self.connection,
            "queue": self.queue,
            "total": self.total,
            "pending": self.pending,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "skipped": self.skipped,
            "processed": self.processed,
            "progress": self.progress,
            "allow_failures": self.allow_failures,
            "created_at": self.created_at.isoformat(),
            "canceled_at": None if self.canceled_at is None else self.canceled_at.isoformat(),
            "finished_at": None if self.finished_at is None else self.finished_at.isoformat(),
        }


def state_of(batch: StoredBatch, connection: str) -> BatchState:
    """Return how far a batch of a connection is."""
    return BatchState(
        id=batch.id,
        name=batch.name,
        connection=connection,
        queue=batch.queue,
        total=batch.total,
        pending=batch.pending,
        succeeded=batch.succeeded,
        failed=batch.failed,
        skipped=batch.skipped,
        allow_failures=batch.allows_failures,
        created_at=batch.created_at,
        canceled_at=batch.canceled_at,
        finished_at=batch.finished_at,
    )


def is_over(batch: BatchState | StoredBatch, before: datetime, *, unfinished: bool) -> bool:
    """Tell whether a batch finished before an instant; with `unfinished`, one that is not: whether it was enqueued."""
    since = batch.finished_at or (batch.created_at if unfinished else None)
    return since is not None and since < before


@frozen(kw_only=True)
class BatchHandle:
    """
    A batch that was enqueued.

    Example:
        >>> from eventbus import EventBus, Job
        >>> class Import(Job, name="import"):
        ...     row: int
        ...
        ...     def handle(self) -> None: ...
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> batch = bus.batch(Import(1), Import(2)).enqueue()
        >>> with bus.worker() as worker:
        ...     worker.drain()
        True
        >>> batch.state().succeeded, batch.state().finished
        (2, True)
    """

    id: str
    connection: str
    #: Gives the store.
    _port: Callable[[], Port] = field(alias="port", repr=False, eq=False)
    #: Stores more members.
    _add: Callable[[BatchHandle, Iterable[Any]], int] = field(alias="add", repr=False, eq=False)

    def state(self) -> BatchState:
        """
        Return how far the batch is now.

        Raises:
            BatchNotFound: It was pruned, or never was there.
            BackendError: The store cannot be asked.
        """
        found = self._port().plans.batch(self.id)
        if found is None:
            raise BatchNotFound(id=self.id, connection=self.connection)
        return state_of(found, self.connection)

    async def astate(self) -> BatchState:
        """Return how far the batch is now, as `state` does, without blocking the loop."""
        return await _in_thread(self.state)

    def cancel(self) -> bool:
        """
        Let the members that have not begun not run any more; False if the batch is not there.

        They count as skipped as their turns come. One that runs is left alone; it may ask `attempt.batch`.

        Raises:
            BackendError: The store cannot be asked.
        """
        return self._port().plans.cancel(self.id)

    async def acancel(self) -> bool:
        """Cancel the batch, as `cancel` does, without blocking the loop."""
        return await _in_thread(self.cancel)

    def add(self, *members: PlanMember | None) -> int:
        """
        Put more members in; return how many jobs these are. In a batch that was canceled they are skipped.

        Best in a member, so that the batch is not finished meanwhile; one that is, is open again then. What waited
        for its end has come, and does not come twice.

        Args:
            members: Jobs, and chains of them; None is left out. They lie in the queue of the batch.

        Raises:
            BatchNotFound: The batch is not there.
            InvalidJob: One of them is no job and no chain.
            InvalidOption: One of them lies on another connection, has `debounce`, or is a batch.
            Exception: What `enqueue` of a job raises.
        """
        return self._add(self, members)

    async def aadd(self, *members: PlanMember | None) -> int:
        """Put more members in, as `add` does and with its errors, without blocking the loop."""
        return await _in_thread(partial(self._add, self, members))

    def failed_ids(self) -> list[str]:
        """
        Return the ids of its members among the failed jobs; none if the batch is not there.

        Raises:
            BackendError: The store cannot be asked.
        """
        return list(self._failed())

    def retry(self) -> list[str]:
        """
        Put its failed members back into their queue, with all their tries; return their ids.

        A batch that one of them had canceled goes on; those that were skipped meanwhile stay so. None is put back if
        the batch is not there.

        Raises:
            BackendError: The store cannot be asked.
        """
        return self._port().revive(list(self._failed()))

    async def aretry(self) -> list[str]:
        """Retry the failed members, as `retry` does, without blocking the loop."""
        return await _in_thread(self.retry)

    def _failed(self) -> Iterator[str]:
        port = self._port()
        stored = port.plans.batch(self.id)
        if stored is not None:
            for one in port.each_failed(queues=[stored.queue]):
                member = one.envelope.member
                if member is not None and member.batch == self.id:
                    yield one.envelope.id


async def _in_thread(call: Callable[[], _Answer]) -> _Answer:
    import asyncio

    return await asyncio.to_thread(call)
