"""Failed jobs: what a connection keeps of them, and what an operator does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from attrs import frozen

from eventbus.backends import base
from eventbus.backends.port import Port
from eventbus.errors import CodecError, FailedJobNotFound
from eventbus.queue.codec.document import read
from eventbus.queue.connections import Connections
from eventbus.queue.options import seconds

__all__ = ["FailedJob", "FailedJobs"]


@frozen(kw_only=True)
class FailedJob:
    """A job that used up its tries, or that could not be run at all."""

    id: str
    #: The stored name of its listener; empty if its bytes cannot be read.
    name: str
    #: The name of its event; empty if its bytes cannot be read.
    event: str
    connection: str
    queue: str
    attempts: int
    losses: int
    pushed_at: datetime
    failed_at: datetime
    #: Type, message and traceback, as text.
    error: str
    #: The stored bytes.
    body: bytes

    @property
    def reason(self) -> str:
        """The error's type and the first line of its message."""
        lines = self.error.strip().splitlines()
        # Behind the last traceback's frames, which are indented; then more of the message, and notes.
        heads = [at for at, line in enumerate(lines) if line.startswith("Traceback (most recent")]
        below = lines[heads[-1] + 1 :] if heads else lines
        return next((one for one in below if one and not one.startswith(" ")), "")


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
        if connection is not None:
            yield self._connections.port(connection)
            return
        for name in self._connections.names():
            if not self._connections.is_sync(name):
                port = self._connections.port(name)
                if port.backend.capabilities.failed_jobs:
                    yield port

    def all(
        self,
        *,
        connection: str | None = None,
        queue: str | None = None,
        older_than: float | timedelta | None = None,
    ) -> list[FailedJob]:
        """
        Return the failed jobs, the oldest failure first.

        Args:
            connection: Only of this one. Default: of all.
            queue: Only of this one. Default: of all.
            older_than: Only those that failed more than so many seconds ago. Default: of any age.

        Raises:
            InvalidOption: `older_than` is no duration.
            UnknownConnection: Nobody configured `connection`.
            BackendError: A store cannot be asked.
        """
        queues = None if queue is None else [queue]
        limit = None if older_than is None else self._ago(older_than)
        found = [
            _shown(one, port.name)
            for port in self._ports(connection)
            for one in port.failed(queues=queues)
            if limit is None or one.failed_at < limit
        ]
        return sorted(found, key=lambda one: one.failed_at)

    def find(self, id: str, *, connection: str | None = None) -> FailedJob:
        """
        Return one failed job.

        Raises:
            FailedJobNotFound: No connection has it.
        """
        for port in self._ports(connection):
            for one in port.failed(ids=[id]):
                return _shown(one, port.name)
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
        return self._purged(self.all(connection=connection, queue=queue))

    def prune(
        self,
        *,
        older_than: float | timedelta,
        connection: str | None = None,
        queue: str | None = None,
    ) -> int:
        """Delete the jobs that failed more than `older_than` seconds ago; return how many."""
        age = seconds(older_than, option="older_than")
        return self._purged(self.all(connection=connection, queue=queue, older_than=age))

    def _ago(self, age: float | timedelta) -> datetime:
        clock = self._connections.clock
        now = datetime.now(UTC) if clock is None else clock.now()
        return now - timedelta(seconds=seconds(age, option="older_than"))

    def _purged(self, jobs: Sequence[FailedJob]) -> int:
        gone = 0
        for name in sorted({one.connection for one in jobs}):
            ids = [one.id for one in jobs if one.connection == name]
            gone += len(self._connections.port(name).purge(ids))
        return gone

    def _each(
        self,
        ids: Sequence[str],
        connection: str | None,
        act: Callable[[Port, Sequence[str]], list[str]],
    ) -> list[str]:
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


def _shown(job: base.FailedJob, connection: str) -> FailedJob:
    try:
        document = read(job.envelope.body)
        name, event = document.name, document.event or ""
    except CodecError:
        name = event = ""
    return FailedJob(
        id=job.envelope.id,
        name=name,
        event=event,
        connection=connection,
        queue=job.envelope.queue,
        attempts=job.attempts,
        losses=job.losses,
        pushed_at=job.pushed_at,
        failed_at=job.failed_at,
        error=job.error,
        body=job.envelope.body,
    )
