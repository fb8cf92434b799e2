"""A bus that takes jobs: work that is enqueued, and that no event asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, overload

from attrs import frozen

from eventbus.defaults import QUEUE
from eventbus.dispatch.listeners import check
from eventbus.dispatch.local import LocalBus
from eventbus.dispatch.targets import Target, target_of
from eventbus.dispatch.waiting import Waits, Walk, adrive, drive, loop_runs
from eventbus.errors import AsyncListenerInSyncDispatch

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from typing import TypeVar

    from eventbus.dispatch.accepts import ListenerOf
    from eventbus.dispatch.plans import Keep
    from eventbus.queue.connections import Connections
    from eventbus.queue.enqueue import Enqueuer
    from eventbus.queue.enqueue_jobs import JobEnqueuer
    from eventbus.queue.execute import Executor
    from eventbus.queue.handles import JobHandle
    from eventbus.queue.jobs import Job
    from eventbus.queue.routes import Routes

    Delay = float | timedelta | datetime
    #: Asked about each job: takes it, or lets it through with None.
    JobFake = Callable[[Job], Keep | None]
    J = TypeVar("J", bound=Job)

__all__ = ["Here", "JobBus"]

#: The connection that a job is told of which `run` runs.
_HERE: Final = "sync"


class JobBus(LocalBus):
    """What `EventBus` does with jobs."""

    if TYPE_CHECKING:
        # What `EventBus` has, which knows of queues.
        _connections: Connections
        _routes: Routes

        @property
        def enqueuer(self) -> Enqueuer: ...  # noqa: D102 -- of `EventBus`
        def executor(self) -> Executor: ...  # noqa: D102 -- of `EventBus`
        def hears(self, event: type) -> bool: ...  # noqa: D102 -- of `EventBus`

    def __init__(self, **options: Any) -> None:
        #: The classes of jobs that this bus has met, and what runs them in place of their `handle`.
        self._kinds: dict[type[Job], Target | None] = {}
        self._job_fakes: tuple[JobFake, ...] = ()
        super().__init__(**options)

    @overload
    def bind(self, job: type[J], listener: Callable[[J], object]) -> None: ...
    @overload
    def bind(self, job: type[J], listener: ListenerOf[J]) -> None: ...
    def bind(self, job: Any, listener: Any) -> None:
        """
        Let something else run the jobs of a class, in place of its `handle`.

        Args:
            job: The class; not those that inherit from it.
            listener: In any of the forms of a listener: it is called with the job, and what else it
                asks for by hints is supplied. The last one that was bound counts.

        Raises:
            InvalidJob: `job` is no class of jobs.
            ListenError: `listener` cannot be called with such a job.

        Example:
            >>> from eventbus import EventBus, Job
            >>> class Greet(Job, name="greet"):
            ...     name_of: str
            >>> bus = EventBus()
            >>> bus.bind(Greet, lambda job: f"Good day, {job.name_of}.")
            >>> bus.run(Greet("Ada"))
            'Good day, Ada.'
        """
        from eventbus.queue.enqueue_jobs import checked_kind

        checked_kind(job, remedy="Write bus.bind(ProcessPodcast, function)")
        target = target_of(listener, job)
        check(target, job)
        with self._registry.lock:
            self._kinds[job] = target
            self._changed()

    # Enqueueing.

    def enqueue(
        self,
        job: Job,
        *,
        queue: str | None = None,
        connection: str | None = None,
        delay: Delay | None = None,
    ) -> JobHandle:
        """
        Store a job for a worker; on a `sync://` connection, run it.

        Args:
            job: An object of a class that inherits `Job`.
            queue: Where it is to lie. Default: what `via_queue` of the job says, its class, its
                route, or the connection.
            connection: What is to store it. Default: what `via_connection` of the job says, its
                class, its route, or the bus.
            delay: Seconds, a `timedelta` or an aware `datetime` until it may run; an instant that is
                over is now, and 0 overrides the class. Default: what `with_delay` or the class says.

        Returns:
            A handle, to ask what became of it. Its status is `skipped` where the job itself, in
            `prepare` or `should_queue`, refused to be enqueued, and where its class is `unique` and one
            that is the same was there.

        Raises:
            InvalidJob: It is none, or no worker could find its class.
            InvalidOption: An argument, or what a hook says, cannot be.
            UnknownConnection: Nobody configured the connection.
            EncodeError: A field cannot be stored; nothing was.
            UnsupportedOption: Its class says `keep_result`, and the store keeps none.
            TooManyHops: A job that enqueues it was itself enqueued by one, and so on.
            BackendError: The store did not take it; `StoredUnknown` if that cannot be told.

        Example:
            >>> from eventbus import EventBus, Job
            >>> class Greet(Job, name="greet", queue="greetings"):
            ...     name_of: str
            ...
            ...     def handle(self) -> None:
            ...         print(f"Good day, {self.name_of}.")
            >>> bus = EventBus(connections={"default": "sync://"})
            >>> handle = bus.enqueue(Greet("Ada"))
            Good day, Ada.
        """
        walk = self._enqueued([job], queue, connection, delay)
        return drive(walk, Here(self, "enqueue"))[0]  # type: ignore[no-any-return]

    async def aenqueue(
        self,
        job: Job,
        *,
        queue: str | None = None,
        connection: str | None = None,
        delay: Delay | None = None,
    ) -> JobHandle:
        """Store a job, as `enqueue` does, without blocking the loop."""
        return (await adrive(self._enqueued([job], queue, connection, delay)))[0]  # type: ignore[no-any-return]

    def enqueue_many(
        self,
        jobs: Iterable[Job],
        *,
        queue: str | None = None,
        connection: str | None = None,
        delay: Delay | None = None,
    ) -> list[JobHandle]:
        """
        Store several jobs, of one class or many: all that go to one connection in one step.

        The arguments and errors are those of `enqueue`. If one of the jobs cannot be stored, none is.

        Returns:
            A handle for each, in their order.
        """
        walk = self._enqueued(jobs, queue, connection, delay)
        return drive(walk, Here(self, "enqueue_many"))  # type: ignore[no-any-return]

    async def aenqueue_many(
        self,
        jobs: Iterable[Job],
        *,
        queue: str | None = None,
        connection: str | None = None,
        delay: Delay | None = None,
    ) -> list[JobHandle]:
        """Store several jobs, as `enqueue_many` does, without blocking the loop."""
        return await adrive(self._enqueued(jobs, queue, connection, delay))  # type: ignore[no-any-return]

    def enqueue_if(
        self,
        condition: object,
        job: Job,
        *,
        queue: str | None = None,
        connection: str | None = None,
        delay: Delay | None = None,
    ) -> JobHandle:
        """Enqueue a job if `condition` is true; else return a handle whose status is `skipped`."""
        if not condition:
            return self.job_enqueuer().skipped(job)
        return self.enqueue(job, queue=queue, connection=connection, delay=delay)

    def enqueue_unless(
        self,
        condition: object,
        job: Job,
        *,
        queue: str | None = None,
        connection: str | None = None,
        delay: Delay | None = None,
    ) -> JobHandle:
        """Enqueue a job if `condition` is false; else return a handle whose status is `skipped`."""
        return self.enqueue_if(not condition, job, queue=queue, connection=connection, delay=delay)

    def job_handle(
        self,
        job: type[Job],
        id: str,
        *,
        queue: str | None = None,
        connection: str | None = None,
    ) -> JobHandle:
        """
        Return the handle of a job that was enqueued elsewhere: by another process, or before a restart.

        Nothing is asked of the store yet; the status of a job that it does not have is `gone`.

        Args:
            job: The class of the job.
            id: Its id, as its first handle had it.
            queue: Where it lies, which spares a look at every queue.
            connection: What stores it. Default: what its class says, its route, or the bus.

        Raises:
            InvalidJob: `job` is no class of jobs.
            InvalidOption: `id` cannot be one, or an argument cannot be.
            UnknownConnection: Nobody configured the connection.

        Example:
            >>> from eventbus import EventBus, Job
            >>> class Greet(Job, name="greet"):
            ...     def handle(self) -> None: ...
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> bus.job_handle(Greet, bus.enqueue(Greet()).id).status()
            <JobStatus.WAITING: 'waiting'>
        """
        return self.job_enqueuer().handle(job, id, queue=queue, connection=connection)

    # Running.

    def run(self, job: Job) -> Any:
        """
        Run a job here and now: nothing is stored, and there is no second try.

        What hears of jobs hears of it, on a connection called `sync`; its `failed` is called if it
        raises. Its hooks about being enqueued are not asked.

        Returns:
            What its `handle` returned.

        Raises:
            InvalidJob: It is none, or has no `handle`.
            AsyncListenerInSyncDispatch: It is async and an event loop runs in this thread.
            Exception: What its `handle` raised.
        """
        return drive(self._run(job), Here(self, "run"))

    async def arun(self, job: Job) -> Any:
        """Run a job here and now, as `run` does, and wait for an async one."""
        return await adrive(self._run(job))

    # For fakes.

    @contextmanager
    def faking_jobs(self, fake: JobFake) -> Generator[None]:
        """Let `fake` have every job that is enqueued in this block, on the whole bus."""
        with self._registry.lock:
            self._job_fakes = (fake, *self._job_fakes)
        try:
            yield
        finally:
            with self._registry.lock:
                self._job_fakes = tuple(one for one in self._job_fakes if one is not fake)

    def _diverted(self, job: Job) -> Keep | None:
        kept = (fake(job) for fake in self._job_fakes)
        return next((one for one in kept if one is not None), None)

    def job_enqueuer(self) -> JobEnqueuer:
        """Return what brings jobs where they belong."""
        from eventbus.queue.enqueue_jobs import JobEnqueuer

        return JobEnqueuer(
            enqueuer=self.enqueuer,
            connections=self._connections,
            routes=self._routes,
            diverted=self._diverted,
        )

    def _enqueued(
        self,
        jobs: Iterable[Job],
        queue: str | None,
        connection: str | None,
        delay: Delay | None,
    ) -> Walk:
        from eventbus.queue.enqueue_jobs import Said

        said = Said(queue=queue, connection=connection, delay=delay)
        return self.job_enqueuer().enqueue(jobs, said)

    def _run(self, job: Job) -> Walk:
        from eventbus.queue.enqueue_jobs import checked_job

        return self.executor().run_job(checked_job(job), connection=_HERE, queue=QUEUE)


@frozen
class Here(Waits):
    """Waits in sync code; where that cannot be, it says what to call."""

    bus: JobBus
    call: str

    def wait(self, awaitable: Awaitable[Any], /) -> Any:
        """Run it to its end."""
        if not loop_runs():
            return self.bus.wait(awaitable)
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        raise AsyncListenerInSyncDispatch(
            event="it", listener="the job, or something it needs,", call=self.call, begun=True
        )
