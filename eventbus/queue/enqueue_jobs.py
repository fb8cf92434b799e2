"""Jobs become envelopes: where each goes, and what of it is fixed now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from eventbus.defaults import NAME_LENGTH
from eventbus.dispatch.hints import is_async
from eventbus.dispatch.targets import describe
from eventbus.dispatch.waiting import Walk
from eventbus.errors import InvalidJob, InvalidOption, UnsupportedOption
from eventbus.queue.checks import deadline_of, instant_or_seconds
from eventbus.queue.codec.document import write
from eventbus.queue.connections import Connections
from eventbus.queue.enqueue import Enqueued, Enqueuer
from eventbus.queue.envelope import Envelope
from eventbus.queue.fixed import Fixed
from eventbus.queue.handles import JobHandle, JobStatus
from eventbus.queue.jobs import Job
from eventbus.queue.options import Method
from eventbus.queue.routes import Routes
from eventbus.text import shown
from eventbus.values import new_id, seconds, valid_id

if TYPE_CHECKING:
    from datetime import timedelta

    from eventbus.dispatch.plans import Keep
    from eventbus.queue.catalogue import Entry
    from eventbus.queue.codec.typed import PayloadCodec

__all__ = ["JobEnqueuer", "Made", "Said", "checked_job", "checked_kind"]


@frozen(kw_only=True)
class Said:
    """What one call of `enqueue` says, in place of what the job and its class do."""

    queue: str | None = None
    connection: str | None = None
    delay: float | timedelta | datetime | None = None
    #: Where a job goes that does not say, nor its class, nor its route.
    or_queue: str | None = None
    or_connection: str | None = None
    #: How long one waits that does not say, nor its class.
    or_delay: float | None = None
    #: The id of the batch about which it is.
    batch: str = ""
    #: Its own id, where that is known already.
    id: str = ""


@frozen(kw_only=True)
class Made:
    """A job that is ready to go."""

    handle: JobHandle
    #: None for one that does not want to be enqueued.
    enqueued: Enqueued | None = None
    #: It runs here, on a `sync://` connection.
    here: bool = False
    #: Where it goes in place of its connection.
    keep: Keep | None = field(default=None, eq=False)


@frozen(kw_only=True)
class JobEnqueuer:
    """
    Brings jobs where they belong.

    Args:
        enqueuer: That of the listeners: jobs go the same way.
        connections: Where envelopes go.
        routes: Where the jobs go of classes that do not say.
        diverted: Asked about each job: where its envelope goes in place of its connection.
    """

    enqueuer: Enqueuer
    connections: Connections
    routes: Routes
    diverted: Callable[[Job], Keep | None]

    def enqueue(self, jobs: Iterable[Job], said: Said) -> Walk:
        """
        Store jobs: all that go to one connection in one step. The result is a list of handles.

        Nothing is stored if one of them cannot be. Those of `sync://` connections run last, in
        their order.
        """
        made: list[Made] = []
        for job in jobs:
            made.append((yield from self.made(job, said)))  # noqa: PERF401 -- it yields
        for one in made:
            if one.keep is not None and one.enqueued is not None:
                one.keep([one.enqueued])
        stored = [one for one in made if one.keep is None and not one.here]
        refused = yield from self.enqueuer.deliver([one.enqueued for one in stored if one.enqueued])
        handles: list[JobHandle] = []
        for one in made:
            handle = one.handle
            if one.here and one.enqueued is not None:
                execution = yield from self.enqueuer.run_here(
                    one.enqueued.envelope, one.enqueued.connection
                )
                handle = evolve(handle, answer=(execution.answer,))
            if handle.id in refused:
                handle = evolve(handle, port=None, unstored=JobStatus.SKIPPED)
            handles.append(handle)
        return handles

    def handle(self, cls: Any, id: str, *, queue: str | None, connection: str | None) -> JobHandle:
        """Return the handle of a job that was enqueued, here or elsewhere."""
        checked_kind(cls, remedy="Write bus.job_handle(ProcessPodcast, id)")
        where = f"job_handle {describe(cls)}"
        if not valid_id(id):
            expected = f"an id: 1 to {NAME_LENGTH} printable ASCII characters"
            raise InvalidOption(option="id", value=id, expected=expected, where=where)
        entry = self.enqueuer.catalogue.job_entry(cls)
        place, here = self.enqueuer.place(
            connection or entry.options.connection or self.routes.of_job(cls).connection
        )
        return JobHandle(
            id=id,
            name=entry.options.name,
            connection=place,
            queue="" if queue is None else self.enqueuer.queue(place, queue, where),
            port=None if here else partial(self.connections.port, place),
            codec=_codec(entry),
        )

    def skipped(self, job: Job) -> JobHandle:
        """Return the handle of a job that is not enqueued."""
        entry = self._entry(job)
        name, where = entry.options.name, self.connections.checked(entry.options.connection)
        return JobHandle(
            id=new_id(),
            name=name,
            connection=where,
            queue="",
            codec=_codec(entry),
            unstored=JobStatus.SKIPPED,
        )

    def _entry(self, job: Any) -> Entry:
        return self.enqueuer.catalogue.job_entry(type(checked_job(job)))

    def made(self, job: Job, said: Said) -> Walk:
        """Return a job as it is to be stored: a `Made`; its hooks are asked."""
        entry = self._entry(job)
        options, where = entry.options, describe(type(job))
        if not (yield from _wants(job)):
            return Made(handle=self.skipped(job))
        route = self.routes.of_job(type(job))
        via = said.connection or (yield from _asked(job, options.via_connection))
        via = via or options.connection or route.connection or said.or_connection
        connection, here = self.enqueuer.place(via)
        via = said.queue if said.queue is not None else (yield from _asked(job, options.via_queue))
        via = via if via is not None else options.queue or route.queue or said.or_queue
        queue = self.enqueuer.queue(connection, via, where)
        delay = yield from self._delay(job, said, entry)
        hops, trail = self.enqueuer.chain(options.name, delay)
        fixed = Fixed(
            deadline=self.enqueuer.deadline((yield from self._until(job, entry))),
            display_name=options.display_name or "",
            hops=hops,
            trail=trail,
            context=self.enqueuer.carried.taken(event=options.name),
            batch=said.batch,
        )
        keep = self.diverted(job)
        id_ = said.id or new_id()
        document = self.enqueuer.catalogue.job_document(
            entry, job, id=id_, options=fixed.written(), dispatched_at=datetime.now(UTC)
        )
        stored = keep is None and not here
        unique = options.key((job,)) if stored else None
        envelope = Envelope(id=id_, queue=queue, body=write(document), delay=delay, unique=unique)
        if stored and options.keep_result is not None:
            self._check_keeps(connection)
        return Made(
            handle=JobHandle(
                id=id_,
                name=options.name,
                connection=connection,
                queue=queue,
                port=partial(self.connections.port, connection) if stored else None,
                codec=_codec(entry),
            ),
            enqueued=Enqueued(connection=connection, envelope=envelope, name=options.name),
            here=here and keep is None,
            keep=keep,
        )

    def _check_keeps(self, connection: str) -> None:
        """Refuse a job whose result its store could not keep: its worker would end over it."""
        backend = self.connections.port(connection).backend
        if not backend.capabilities.results:
            raise UnsupportedOption(backend=backend.name, capability="results (keep_result)")

    def _delay(self, job: Job, said: Said, entry: Entry) -> Walk:
        """Return in how many seconds a job may run: 0 for an instant that is over."""
        where = describe(type(job))
        if said.delay is not None:
            found = instant_or_seconds(said.delay, option="delay", where=where)
            if isinstance(found, datetime):
                found = max(0.0, (found - self.connections.now()).total_seconds())
            return seconds(found, option="delay", where=where)
        delay = yield from _asked(job, entry.options.with_delay)
        if delay is None:
            debounce = entry.options.debounce
            wait = entry.options.delay if debounce is None else debounce.wait
            return wait if wait is not None else said.or_delay or 0.0
        return seconds(delay, option="with_delay", where=where)

    def _until(self, job: Job, entry: Entry) -> Walk:
        """Return until when a job is to be tried: seconds from now, an instant, or None."""
        until = entry.options.retry_until
        if not isinstance(until, Method):
            return until  # checked when it was read
        until = yield from _asked(job, until.name)
        return None if until is None else deadline_of(until, where=describe(type(job)))


def _codec(entry: Entry) -> PayloadCodec | None:
    return None if entry.options.keep_result is None else entry.answer


def checked_kind(cls: Any, *, remedy: str) -> type[Job]:
    """Return a class of jobs as it is; `InvalidJob` if it is none."""
    if isinstance(cls, type) and issubclass(cls, Job):
        return cls
    raise InvalidJob(job=shown(cls), reason="it is no class that inherits Job", remedy=remedy)


def checked_job(job: Any) -> Job:
    """Return a job as it is; `InvalidJob` if it is none."""
    if isinstance(job, Job):
        return job
    if isinstance(job, type) and issubclass(job, Job):
        raise InvalidJob(
            job=describe(job),
            reason="it is the class, and no job of it",
            remedy=f"Write {job.__name__}(...)",
        )
    raise InvalidJob(
        job=shown(job),
        reason="its class does not inherit Job",
        remedy="What has happened is dispatched; what is to be done is enqueued",
    )


def _wants(job: Job) -> Walk:
    """Tell whether a job wants to be enqueued; `prepare` may well return nothing."""
    if hasattr(job, "prepare") and (yield from _asked(job, "prepare")) is False:
        return False
    return not hasattr(job, "should_queue") or bool((yield from _asked(job, "should_queue")))


def _asked(job: Job, hook: Any) -> Walk:
    """Return what a method of a job says; None where there is none."""
    if hook is None:
        return None
    call = getattr(job, hook)
    answer = call()
    return (yield answer) if is_async(call) else answer
