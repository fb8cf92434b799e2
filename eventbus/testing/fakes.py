"""Fakes: events that are recorded and go nowhere, and queues that hold jobs until drained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from eventbus.backends.base import Claim
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.port import Port
from eventbus.bus import EventBus
from eventbus.dispatch.names import concerns, event_name
from eventbus.dispatch.plans import Keep
from eventbus.dispatch.registry import listenable
from eventbus.dispatch.waiting import Walk, adrive, drive
from eventbus.queue.enqueue import Enqueued
from eventbus.queue.envelope import Envelope
from eventbus.queue.execution import Execution
from eventbus.queue.jobs import Job
from eventbus.queue.lifecycle import Outcome
from eventbus.testing.clock import ManualClock
from eventbus.testing.recorded import (
    Dispatched,
    QueuedJob,
    RecordedJobs,
    called,
    expect,
    fail,
    fitting,
    is_raw,
    listed,
)

__all__ = ["FakeEvents", "FakeQueue", "fake_events", "fake_queue"]

#: An event class, a name or a pattern.
Wanted = type[Any] | str
#: What a fake takes: the same, or a function that is asked about each event object or name.
Filter = Wanted | Callable[[Any], object]

#: How many jobs one `drain` runs before it says that there is no end to them: more than a test
#: queues, and few enough to fail in seconds.
_RUNS: Final = 10_000


class FakeEvents(RecordedJobs):
    """
    Records events in place of calling their listeners, and jobs in place of storing them.

    What would have been stored is encoded, decoded and recorded as well, so an event or a job that
    cannot be stored fails the test that dispatches or enqueues it.
    """

    def __init__(self, bus: EventBus, only: Sequence[Filter], except_: Sequence[Filter]) -> None:
        super().__init__(bus)
        self._only = only
        self._except = except_
        #: Everything recorded, in order.
        self.events: list[Dispatched] = []

    def __repr__(self) -> str:
        return f"<FakeEvents: {len(self.events)} dispatched, {len(self.jobs)} queued>"

    def take(self, event: Any, name: str, payload: tuple[Any, ...]) -> Keep | None:
        """Record an event, and return where its envelopes go; None to let it through."""
        if self._only and not _is_one_of(self._only, event, name):
            return None
        if _is_one_of(self._except, event, name):
            return None
        self.events.append(Dispatched(name, event, payload))
        return self._record

    def take_job(self, job: Job) -> Keep | None:
        """Return where the envelope of a job goes; None to let it through."""
        if self._only and not _is_of_class(self._only, job):
            return None
        return None if _is_of_class(self._except, job) else self._record

    def _record(self, taken: list[Enqueued]) -> None:
        opened = [self._opened(one.connection, one.envelope) for one in taken]
        self.jobs += [one for one in opened if not one.is_step]

    def dispatched(self, event: Wanted) -> list[Any]:
        """
        Return what was dispatched, in order: the events of a class, or of a name or pattern.

        A class stands for its subclasses too. A name's entry is its payload, a tuple.
        """
        wanted = [listenable(event)]
        return [one.what for one in self.events if concerns(wanted, one.event, one.name)]

    def assert_dispatched(
        self,
        event: Wanted,
        where: Callable[[Any], object] | None = None,
        times: int | None = None,
    ) -> None:
        """
        Assert that an event was dispatched: at least once, or exactly `times`.

        Args:
            event: Its class, a name or a pattern.
            where: Only events, or payloads, for which this is true.
            times: How often exactly.

        Raises:
            AssertionError: It was not; says what was.
        """
        __tracebackhide__ = True
        found = [one for one in self.dispatched(event) if where is None or where(one)]
        expect(
            len(found),
            times,
            _event_called(event) + (", where it fits," if where else ""),
            "dispatched",
            listed("dispatched", self.events),
        )

    def assert_dispatched_once(
        self, event: Wanted, where: Callable[[Any], object] | None = None
    ) -> None:
        """Assert that an event was dispatched exactly once."""
        __tracebackhide__ = True
        self.assert_dispatched(event, where, times=1)

    def assert_not_dispatched(
        self, event: Wanted, where: Callable[[Any], object] | None = None
    ) -> None:
        """Assert that an event was not dispatched."""
        __tracebackhide__ = True
        self.assert_dispatched(event, where, times=0)

    def assert_nothing_dispatched(self) -> None:
        """Assert that no event was dispatched."""
        __tracebackhide__ = True
        if self.events:
            fail("expected nothing to be dispatched.", "dispatched", self.events)

    def assert_listening(self, event: Wanted, listener: Any) -> None:
        """
        Assert that a listener hears an event.

        Args:
            event: Its class, name or pattern.
            listener: A class, function, object, `(Class, "method")` or name.

        Raises:
            AssertionError: It does not; says who does.
        """
        __tracebackhide__ = True
        fits = fitting(listener, event)
        heard = self._bus.listeners_for(event)
        if not any(fits(one.target, one.name) for one in heard):
            who = "".join(f"\n  {one.name}" for one in heard)
            text = (
                f"expected {called(listener)} to listen to {_event_called(event)}, but it does"
                f" not. {'Listening are:' + who if heard else 'Nobody listens.'}"
            )
            raise AssertionError(text)


class _Recording(MemoryBackend):
    """A queue in memory that tells what is pushed."""

    def __init__(
        self, clock: ManualClock, pushed: Callable[[Sequence[Envelope], Collection[str]], None]
    ) -> None:
        self._pushed = pushed
        super().__init__(clock=clock)

    def note_stored(self, envelopes: Sequence[Envelope], gone: Collection[str]) -> None:
        self._pushed(envelopes, gone)


class FakeQueue(RecordedJobs):
    """
    Stands in for every connection: keeps jobs in memory until `drain` runs them, here.

    Time stands still unless `drain` or `clock.advance` moves it.
    """

    def __init__(self, bus: EventBus) -> None:
        super().__init__(bus)
        #: What judges delays; `clock.advance(60)` makes a minute pass.
        self.clock = ManualClock(bus.connections.now())
        self._ports: dict[str, Port] = {}
        self._by_id: dict[str, QueuedJob] = {}
        #: Connections and their queues, in the order in which they were first used.
        self._lines: dict[tuple[str, str], None] = {}

    def __repr__(self) -> str:
        return f"<FakeQueue: {len(self.jobs)} queued>"

    def port(self, connection: str) -> Port:
        """Return what stands in for a connection."""
        found = self._ports.get(connection)
        if found is None:
            made = Port(
                _Recording(self.clock, lambda pushed, gone: self._record(connection, pushed, gone)),
                name=connection,
                default_queue=self._bus.connections.default_queue(connection),
            )
            # Two threads may come here at once: both go on with the one that was first.
            found = self._ports.setdefault(connection, made)
        return found

    def _record(
        self, connection: str, envelopes: Sequence[Envelope], gone: Collection[str]
    ) -> None:
        # What another one with its key kept out was not queued; what gave way to it is not any more.
        self.jobs[:] = [job for job in self.jobs if job.id not in gone]
        for envelope in envelopes:
            if is_raw(envelope) or envelope.id in gone:
                continue  # a raw job is of no listener: the handle itself shows it
            job = self._opened(connection, envelope)
            self._by_id[job.id] = job
            self._lines[connection, job.queue] = None
            if not job.is_step:
                self.jobs.append(job)

    def size(self, queue: str, *, connection: str | None = None) -> int:
        """Return how many jobs wait in a queue, delayed ones and those of plans too."""
        sizes = self.port(self._bus.connections.checked(connection)).size(queue)
        return sizes.ready + sizes.delayed + sizes.held

    def drain(
        self, *, delayed: bool = True, raise_failed: bool = True, limit: int = _RUNS
    ) -> list[QueuedJob]:
        """
        Run the waiting jobs, and those that they queue in turn, in this process.

        Queue by queue, in the order in which they were first used; each in order.

        Args:
            delayed: Move the clock to run delayed jobs and further tries as well.
            raise_failed: Raise the error of a job that has used up its tries. Otherwise it is among
                `bus.failed.all()`.
            limit: How many jobs to run at most.

        Returns:
            The jobs that were run, a job as often as it was tried.

        Raises:
            AssertionError: More than `limit` ran: one comes back, or queues itself, without end.
        """
        walk = self._drained(delayed=delayed, raise_failed=raise_failed, limit=limit)
        return drive(walk, self._bus)  # type: ignore[no-any-return]

    async def adrain(
        self, *, delayed: bool = True, raise_failed: bool = True, limit: int = _RUNS
    ) -> list[QueuedJob]:
        """Run the waiting jobs, as `drain` does, where an event loop runs."""
        walk = self._drained(delayed=delayed, raise_failed=raise_failed, limit=limit)
        return await adrive(walk)  # type: ignore[no-any-return]

    def _drained(self, *, delayed: bool, raise_failed: bool, limit: int) -> Walk:
        executor = self._bus.executor()
        ran: list[QueuedJob] = []
        while True:
            claimed = self._claimed()
            if claimed is None:
                if delayed and self._advanced():
                    continue
                return ran
            execution: Execution = yield from executor.run(executor.begin(*claimed))
            job = self._by_id[execution.envelope.id]
            if not job.is_step:
                ran.append(job)
            error = execution.error
            if raise_failed and execution.outcome is Outcome.FAILED and error is not None:
                with suppress(Exception):  # a frozen one takes no note
                    what = "job" if job.kind == "job" else "queued listener"
                    error.add_note(f"the {what} failed in try {_try(execution)}: {job}")
                raise error
            if len(ran) >= limit and (self._claimed() or (delayed and self._advanced())):
                fail(
                    f"expected the queue to be empty after {limit} jobs, but a job comes back, or"
                    " queues itself, without end; `limit=` allows more.",
                    "run last",
                    ran[-3:],
                )

    def _claimed(self) -> tuple[Claim, Port] | None:
        """Return the next job that is due, claimed; None if there is none."""
        for connection, queue in list(self._lines):
            port = self._ports[connection]
            for claim in port.claim([queue]):
                if claim.envelope.id not in self._by_id:
                    fail(
                        f"expected only jobs of listeners in {queue!r}, but one is raw: give those a"
                        " queue of their own, and claim them with `bus.queue(...)`.",
                        "queued",
                        self.jobs,
                    )
                return claim, port
        return None

    def _advanced(self) -> bool:
        """Move the clock to the next delayed job; False if there is none."""
        dues = [self._ports[name].next_due([queue]) for name, queue in list(self._lines)]
        waits = [one for one in dues if one is not None]
        if waits:
            self.clock.advance(min(waits))
        return bool(waits)


@contextmanager
def fake_events(
    bus: EventBus,
    only: Filter | Sequence[Filter] = (),
    except_: Filter | Sequence[Filter] = (),
) -> Generator[FakeEvents]:
    """
    Record events, and jobs that are enqueued, in this block; none of them runs, on the whole bus.

    Args:
        bus: Whose events.
        only: Classes, names, patterns, and functions that are asked with the event object or the
            name: what to fake, classes of jobs among them. The others go through. Default: all.
        except_: The same: what goes through.

    Example:
        >>> from eventbus import EventBus
        >>> bus = EventBus()
        >>> with fake_events(bus) as fake:
        ...     _ = bus.dispatch("order.imported", 17)
        >>> fake.dispatched("order.imported")
        [(17,)]
    """
    fake = FakeEvents(bus, _filters(only), _filters(except_))
    with bus.faking(fake.take), bus.faking_jobs(fake.take_job):
        yield fake


@contextmanager
def fake_queue(bus: EventBus) -> Generator[FakeQueue]:
    """
    Keep queued jobs in memory in this block; listeners that are not queued run as ever.

    Example:
        >>> from eventbus import EventBus
        >>> with fake_queue(EventBus()) as queue:
        ...     queue.assert_nothing_queued()
    """
    fake = FakeQueue(bus)
    with bus.connections.standing_in(fake.port, fake.clock):
        yield fake


def _filters(given: Filter | Sequence[Filter]) -> tuple[Filter, ...]:
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    return tuple(one if _is_function(one) else listenable(one) for one in several)


def _is_function(one: object) -> bool:
    return callable(one) and not isinstance(one, type)


def _is_one_of(filters: Sequence[Filter], event: Any, name: str) -> bool:
    return any(
        concerns([one], event, name) if isinstance(one, type | str) else one(event)
        for one in filters
    )


def _is_of_class(filters: Sequence[Filter], job: Job) -> bool:
    # Names are those of events, and functions are asked about events.
    return any(isinstance(one, type) and isinstance(job, one) for one in filters)


def _event_called(event: Wanted) -> str:
    return event_name(event) if isinstance(event, type) else repr(event)


def _try(execution: Execution) -> str:
    return f"{execution.attempt.number} of {execution.attempt.tries or 'any number'}"
