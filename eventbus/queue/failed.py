"""Failed jobs and parked ones: what a connection keeps of them, and what an operator does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge

from attrs import frozen

from eventbus.backends import base
from eventbus.backends.port import Port
from eventbus.errors import CodecError, FailedJobNotFound, InvalidOption
from eventbus.queue.codec.document import read
from eventbus.queue.connections import Connections
from eventbus.queue.fixed import read_fixed
from eventbus.values import seconds, valid_name

__all__ = ["FailedJob", "FailedJobs", "ParkedJob", "shown_failure"]


@frozen(kw_only=True)
class _StoredJob:
    id: str
    #: The stored name of its listener; empty if its bytes cannot be read.
    name: str
    #: What its listener is to be called in lists; empty if it does not say.
    display_name: str = ""
    #: The name of its event; empty if its bytes cannot be read.
    event: str
    connection: str
    queue: str


@frozen(kw_only=True)
class FailedJob(_StoredJob):
    """A job that used up its tries, or that could not be run at all."""

    attempts: int
    losses: int
    pushed_at: datetime
    failed_at: datetime
    #: The id of the batch that it is a member of; empty if there is none.
    batch: str = ""
    #: Type, message and traceback, as text.
    error: str
    #: The stored bytes; only the first of them, if they are far more than a job can have.
    body: bytes
    #: How many bytes of it are stored and not in `body`.
    left_out: int = 0

    @property
    def reason(self) -> str:
        """The error's type and the first line of its message."""
        lines = self.error.strip().splitlines()
        # Behind the last traceback's frames, which are indented; then more of the message, and notes.
        heads = [at for at, line in enumerate(lines) if line.startswith("Traceback (most recent")]
        below = lines[heads[-1] + 1 :] if heads else lines
        return next((one for one in below if one and not one.startswith(" ")), "")


@frozen(kw_only=True)
class ParkedJob(_StoredJob):
    """A job that waits for code that knows it; no try is spent."""

    pushed_at: datetime
    #: When a worker looks at it again.
    due: datetime
    #: What is not known.
    reason: str


class FailedJobs:
    """
    The failed jobs of a bus, on all of its connections.

    Args:
        connections: Those of the bus.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def __repr__(self) -> str:
        return f"<FailedJobs of {', '.join(self._connections.names())}>"

    def _ports(self, connection: str | None) -> Iterator[Port]:
        for port in self._stores(connection):
            if connection is not None or port.backend.capabilities.failed_jobs:
                yield port

    def _stores(self, connection: str | None) -> Iterator[Port]:
        if connection is not None:
            yield self._connections.port(connection)
            return
        for name in self._connections.names():
            if not self._connections.is_sync(name):
                yield self._connections.port(name)

    def all(
        self,
        *,
        connection: str | None = None,
        queue: str | None = None,
        older_than: float | timedelta | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[FailedJob]:
        """
        Return the failed jobs, the oldest failure first.

        Args:
            connection: Only of this one. Default: of all.
            queue: Only of this one. Default: of all.
            older_than: Only those that failed more than so many seconds ago. Default: of any age.
            ids: Only these; one that is not there is left out. Default: all.

        Raises:
            InvalidOption: `older_than` is no duration.
            UnknownConnection: Nobody configured `connection`.
            BackendError: A store cannot be asked.
        """
        found = self.each(connection=connection, queue=queue, older_than=older_than, ids=ids)
        return sorted(found, key=_failed_at)

    def each(
        self,
        *,
        connection: str | None = None,
        queue: str | None = None,
        older_than: float | timedelta | None = None,
        ids: Sequence[str] | None = None,
    ) -> Iterator[FailedJob]:
        """
        Go through the failed jobs, the oldest failure first, a page of each store in memory at a time.

        Args, errors and defaults are those of `all`. Of one store they come in the order in which
        they were buried, whatever its clock said.

        Raises:
            InvalidOption: As `all`.
            UnknownConnection: As `all`.
            BackendError: As `all`; while it goes on, too.
        """
        queues = None if queue is None else [valid_name(queue)]
        limit = None if older_than is None else self._ago(older_than)
        each = [
            self._each_of(port, ids=ids, queues=queues, limit=limit)
            for port in self._ports(connection)
        ]
        return merge(*each, key=_failed_at)

    def _each_of(
        self,
        port: Port,
        *,
        ids: Sequence[str] | None,
        queues: Sequence[str] | None,
        limit: datetime | None,
    ) -> Iterator[FailedJob]:
        for one in port.each_failed(ids=ids, queues=queues):
            if limit is None or one.failed_at < limit:
                yield shown_failure(one, port.name)

    def parked(self, *, connection: str | None = None, queue: str | None = None) -> list[ParkedJob]:
        """
        Return the jobs that wait for code that knows them, in the order of their store.

        Args:
            connection: Only of this one. Default: of all.
            queue: Only of this one. Default: of all.

        Raises:
            UnknownConnection: Nobody configured `connection`.
            BackendError: A store cannot be asked.
        """
        queues = None if queue is None else [valid_name(queue)]
        return [
            _shown_parked(one, port.name)
            for port in self._stores(connection)
            for one in port.each_stored(queues=queues, parked=True)
        ]

    def find(self, id: str, *, connection: str | None = None) -> FailedJob:
        """
        Return one failed job.

        Raises:
            FailedJobNotFound: No connection has it.
        """
        for port in self._ports(connection):
            for one in port.failed(ids=[id]):
                return shown_failure(one, port.name)
        raise self._missing(id, connection)

    def retry(self, *ids: str, connection: str | None = None) -> list[str]:
        """
        Put failed jobs back into their queues, with all their tries; return the ids that moved.

        Raises:
            FailedJobNotFound: One of them is no failed job. The others were moved.
        """
        return self._each(ids, connection, lambda port, some: port.revive(some))

    def forget(self, *ids: str, connection: str | None = None) -> list[str]:
        """
        Delete failed jobs for good; return the ids that were there.

        Raises:
            FailedJobNotFound: One of them is no failed job. The others were deleted.
        """
        return self._each(ids, connection, lambda port, some: port.purge(some))

    def flush(self, *, connection: str | None = None, queue: str | None = None) -> int:
        """Delete all failed jobs of a connection and queue, by default of all; return how many."""
        return self._purged(self.each(connection=connection, queue=queue))

    def prune(
        self,
        *,
        older_than: float | timedelta,
        connection: str | None = None,
        queue: str | None = None,
    ) -> int:
        """Delete the jobs that failed more than `older_than` seconds ago; return how many."""
        age = seconds(older_than, option="older_than")
        return self._purged(self.each(connection=connection, queue=queue, older_than=age))

    def _ago(self, age: float | timedelta) -> datetime:
        return self._connections.now() - timedelta(seconds=seconds(age, option="older_than"))

    def _purged(self, jobs: Iterable[FailedJob]) -> int:
        ids: dict[str, list[str]] = {}
        for one in jobs:
            ids.setdefault(one.connection, []).append(one.id)
        return sum(len(self._connections.port(name).purge(some)) for name, some in ids.items())

    def _each(
        self,
        ids: Sequence[str],
        connection: str | None,
        act: Callable[[Port, Sequence[str]], list[str]],
    ) -> list[str]:
        for one in ids:
            if not isinstance(one, str):
                expected = "ids one by one, as texts: bus.failed.retry(*ids)"
                raise InvalidOption(option="id", value=one, expected=expected)
        done: list[str] = []
        for port in self._ports(connection):
            rest = [one for one in ids if one not in done]
            if rest:
                done += act(port, rest)
        for one in ids:
            if one not in done:
                raise self._missing(one, connection)
        return done

    def _missing(self, id: str, connection: str | None) -> FailedJobNotFound:
        names = [connection] if connection is not None else self._connections.names()
        return FailedJobNotFound(id=id, connection=", ".join(names))


def _failed_at(job: FailedJob) -> datetime:
    return job.failed_at


def _names(job: base.FailedJob | base.StoredJob) -> tuple[str, str, str]:
    """Return the names of a job's listener, as stored and as shown, and of its event."""
    if job.left_out:
        return "", "", ""
    try:
        document = read(job.envelope.body)
    except CodecError:
        return "", "", ""
    try:
        shown = read_fixed(document.options).display_name
    except CodecError:
        shown = ""
    return document.name, shown, document.event or ""


def _shown_parked(job: base.StoredJob, connection: str) -> ParkedJob:
    name, display_name, event = _names(job)
    return ParkedJob(
        id=job.envelope.id,
        name=name,
        display_name=display_name,
        event=event,
        connection=connection,
        queue=job.envelope.queue,
        pushed_at=job.pushed_at,
        due=job.due,
        reason=job.parked,
    )


def shown_failure(job: base.FailedJob, connection: str) -> FailedJob:
    """Return a failed job as it is shown."""
    name, display_name, event = _names(job)
    return FailedJob(
        id=job.envelope.id,
        name=name,
        display_name=display_name,
        event=event,
        connection=connection,
        queue=job.envelope.queue,
        attempts=job.attempts,
        losses=job.losses,
        pushed_at=job.pushed_at,
        failed_at=job.failed_at,
        batch="" if job.envelope.member is None else job.envelope.member.batch,
        error=job.error,
        body=job.envelope.body,
        left_out=job.left_out,
    )
