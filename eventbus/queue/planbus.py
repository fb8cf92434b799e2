"""A bus that takes plans: jobs one after the other, and jobs that are counted together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from eventbus.defaults import BATCH_NAME_LENGTH
from eventbus.dispatch.waiting import Walk, adrive, drive
from eventbus.errors import InvalidOption
from eventbus.queue.jobbus import Here, JobBus
from eventbus.values import seconds, valid_name

if TYPE_CHECKING:
    from eventbus.queue.batches import BatchHandle, BatchState
    from eventbus.queue.jobs import Job
    from eventbus.queue.membership import PlanMember
    from eventbus.queue.planning import Planner
    from eventbus.queue.plans import Batch, Chain

__all__ = ["PlanBus"]


class PlanBus(JobBus):
    """What `EventBus` does with chains and batches."""

    def chain(
        self,
        *members: PlanMember | None,
        queue: str | None = None,
        connection: str | None = None,
        delay: float | timedelta | None = None,
        catch: Job | None = None,
    ) -> Chain:
        """
        Return jobs that are to run one after the other; nothing is stored before its `enqueue`.

        Args:
            members: Jobs, batches, and chains, whose members are laid out; None is left out.
            queue: Where members lie that do not say, nor their classes or routes.
            connection: The same; all members must come to lie on one.
            delay: Seconds, or a `timedelta`, until the first may run, where it does not say itself.
            catch: A job that is to run once one of them has failed. Not again if it is retried.

        Raises:
            InvalidJob: A member is no job, no chain and no batch.
            InvalidOption: An argument cannot be.
            UnknownConnection: Nobody configured `connection`.

        Defaults:
            queue, connection = None: those of the bus.
            delay, catch = None.

        Example:
            >>> from eventbus import EventBus, Job
            >>> class Say(Job, name="say"):
            ...     word: str
            ...
            ...     def handle(self) -> None:
            ...         print(self.word)
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> handle = bus.chain(Say("one"), Say("two")).enqueue()
            >>> with bus.worker() as worker:
            ...     worker.drain()
            one
            two
            True
        """
        from eventbus.queue.plans import Chain, members_of

        return Chain(
            enqueue=lambda plan: self.planner().enqueue_chain(plan),
            drive=self._driven,
            adrive=adrive,
            members=members_of(members),
            queue=self._queue_name(queue, "bus.chain"),
            connection=self._connection_name(connection),
            delay=None if delay is None else seconds(delay, option="delay", where="bus.chain"),
            catch=_callback(catch, "catch"),
        )

    def batch(
        self,
        *members: PlanMember | None,
        name: str = "",
        queue: str | None = None,
        connection: str | None = None,
        allow_failures: bool = False,
        on_success: Job | None = None,
        on_error: Job | None = None,
        on_done: Job | None = None,
    ) -> Batch:
        """
        Return jobs that are to run side by side, and are counted; nothing is stored before its `enqueue`.

        What follows are jobs of their own, each of which is due once: they, and the members, find the batch
        in `attempt.batch`.

        Args:
            members: Jobs, chains, whose members all count, and batches, which count as one each; None is left out.
            name: For lists and events.
            queue: Where all of it lies. Without it, where its members say; all must say the same.
            connection: Where members lie that do not say; all must come to lie on one.
            allow_failures: Let the others run on when one fails; else they are skipped, and the batch is canceled.
            on_success: Due when all have come to their end and none has failed; after a retry, too.
            on_error: Due when the first one has failed.
            on_done: Due when none is left to run, whatever became of them.

        Raises:
            InvalidJob: A member is no job, no chain and no batch.
            InvalidOption: An argument cannot be.
            UnknownConnection: Nobody configured `connection`.

        Defaults:
            name = empty.
            queue, connection = None: those of the bus.
            allow_failures = False.
            on_success, on_error, on_done = None.

        Example:
            >>> from eventbus import Attempt, EventBus, Job
            >>> class Import(Job, name="import"):
            ...     row: int
            ...
            ...     def handle(self) -> None: ...
            >>> class Report(Job, name="report"):
            ...     def handle(self, attempt: Attempt) -> None:
            ...         print(attempt.batch.state().succeeded, "rows")
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> batch = bus.batch(*map(Import, range(3)), on_done=Report()).enqueue()
            >>> with bus.worker() as worker:
            ...     worker.drain()
            3 rows
            True
        """
        from eventbus.queue.plans import Batch, members_of

        if not isinstance(name, str) or not name.isprintable() or len(name) > BATCH_NAME_LENGTH:
            expected = f"a text of at most {BATCH_NAME_LENGTH} printable characters"
            raise InvalidOption(option="name", value=name, expected=expected, where="bus.batch")
        return Batch(
            enqueue=lambda plan: self.planner().enqueue_batch(plan),
            drive=self._driven,
            adrive=adrive,
            members=members_of(members),
            name=name,
            queue=self._queue_name(queue, "bus.batch"),
            connection=self._connection_name(connection),
            allow_failures=bool(allow_failures),
            on_success=_callback(on_success, "on_success"),
            on_error=_callback(on_error, "on_error"),
            on_done=_callback(on_done, "on_done"),
        )

    def batch_handle(self, id: str, *, connection: str | None = None) -> BatchHandle:
        """
        Return the handle of a batch that was enqueued elsewhere: by another process, or before a restart.

        Nothing is asked of the store yet.

        Args:
            id: Its id, as its first handle had it.
            connection: What stores it.

        Raises:
            UnknownConnection: Nobody configured the connection.

        Defaults:
            connection = None: that of the bus.

        Example:
            >>> from eventbus import EventBus, Job
            >>> class Import(Job, name="import"):
            ...     def handle(self) -> None: ...
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> id = bus.batch(Import(), Import()).enqueue().id
            >>> bus.batch_handle(id).state().pending
            2
        """
        return self.planner().handle(id, self._connections.checked(connection))

    def batches(self, *, connection: str | None = None) -> list[BatchState]:
        """
        Return how far the batches are that are kept, those of each connection in the order of its store.

        Those of a `sync://` connection are not kept.

        Args:
            connection: Only of this one.

        Raises:
            UnknownConnection: Nobody configured `connection`.
            BackendError: A store cannot be asked.

        Defaults:
            connection = None: of all.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> batch = bus.batch(name="nothing").enqueue()
            >>> [(one.name, one.finished) for one in bus.batches()]
            [('nothing', True)]
        """
        from eventbus.queue.batches import state_of

        return [state_of(one, name) for name, one in self.planner().each_batch(connection)]

    def prune_batches(
        self,
        *,
        older_than: float | timedelta,
        unfinished: bool = False,
        connection: str | None = None,
    ) -> int:
        """
        Forget the batches that finished more than `older_than` seconds ago; return how many.

        Args:
            older_than: Seconds, or a `timedelta`.
            unfinished: Also those that began as long ago and are not finished. What of them still runs counts nowhere
                then, and what waits for them is deleted.
            connection: Only of this one.

        Raises:
            InvalidOption: `older_than` is no duration.
            UnknownConnection: Nobody configured `connection`.
            BackendError: A store cannot be asked.

        Defaults:
            unfinished = False.
            connection = None: of all.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> batch = bus.batch(name="nothing").enqueue()
            >>> bus.prune_batches(older_than=3600)
            0
        """
        from eventbus.queue.batches import is_over

        age = seconds(older_than, option="older_than", where="prune_batches")
        limit = self._connections.now() - timedelta(seconds=age)
        old: dict[str, list[str]] = {}
        for name, one in self.planner().each_batch(connection):
            if is_over(one, limit, unfinished=unfinished):
                old.setdefault(name, []).append(one.id)
        return sum(len(self._connections.port(name).plans.forget(ids)) for name, ids in old.items())

    def planner(self) -> Planner:
        """Return what enqueues plans, and knows those that run."""
        from eventbus.queue.planning import Planner

        return Planner(
            self.job_enqueuer(),
            drive=self._driven,
            tell=self.announce,
            hears=self.hears,
            run_here=lambda *asked: self.executor().run_in_plan(*asked),
        )

    def _driven(self, walk: Walk, call: str) -> Any:
        return drive(walk, Here(self, call))

    def _queue_name(self, queue: str | None, where: str) -> str | None:
        return None if queue is None else valid_name(queue, where=where)

    def _connection_name(self, connection: str | None) -> str | None:
        return None if connection is None else self._connections.checked(connection)


def _callback(job: Any, option: str) -> Any:
    from eventbus.queue.jobs import Job

    if job is None or isinstance(job, Job):
        return job
    expected = "a job: an object of a class that inherits Job"
    raise InvalidOption(option=option, value=job, expected=expected)
