"""Fakes: events that are recorded and go nowhere, and queues that hold jobs until drained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import field, frozen

from eventbus.backends.memory import MemoryBackend
from eventbus.backends.port import Port
from eventbus.bus import EventBus
from eventbus.dispatch.calling import Keep, Walk, adrive, drive
from eventbus.dispatch.listeners import Target, describe, target_of
from eventbus.dispatch.names import concerns, event_name
from eventbus.dispatch.registry import listenable
from eventbus.queue.catalogue import Catalogue
from eventbus.queue.codec import read
from eventbus.queue.enqueue import Enqueued
from eventbus.queue.envelope import Envelope
from eventbus.queue.execute import Execution
from eventbus.queue.lifecycle import Outcome
from eventbus.testing.clock import ManualClock

__all__ = ["Dispatched", "FakeEvents", "FakeQueue", "QueuedJob", "fake_events", "fake_queue"]

#: An event class, a name or a pattern.
Wanted = type | str


@frozen(kw_only=True)
class QueuedJob:
    """A job that was, or would have been, stored: its envelope was encoded and decoded."""

    #: The stored name of the listener.
    name: str
    #: The event, decoded; for a name with a payload, the name.
    event: Any
    #: What a name was dispatched with; for an event object, the object alone.
    payload: tuple[Any, ...]
    connection: str
    queue: str
    #: Seconds.
    delay: float
    id: str
    target: Target = field(repr=False, eq=False)


def _opened(catalogue: Catalogue, connection: str, envelope: Envelope) -> QueuedJob:
    document = read(envelope.body, envelope=envelope.id)
    entry = catalogue.entry(document.name)
    name, payload = catalogue.payload(document, entry)
    return QueuedJob(
        name=entry.options.name,
        event=payload[0] if document.payload == "class" else name,
        payload=payload,
        connection=connection,
        queue=envelope.queue,
        delay=envelope.delay,
        id=envelope.id,
        target=entry.target,
    )


class _Jobs:
    """What both fakes can say about queued jobs."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        #: Every job that was queued, in order.
        self.jobs: list[QueuedJob] = []

    def _keep(self, connection: str, envelopes: Sequence[Envelope]) -> None:
        catalogue = self._bus.enqueuer.catalogue
        self.jobs += [_opened(catalogue, connection, one) for one in envelopes]

    def queued(self, listener: Any, *, queue: str | None = None) -> list[QueuedJob]:
        """Return the queued jobs of a listener: its class, function, `(Class, "method")` or name."""
        fits = _fitting(listener)
        return [one for one in self.jobs if fits(one) and queue in (None, one.queue)]

    def assert_queued(
        self,
        listener: Any,
        *,
        queue: str | None = None,
        where: Callable[[QueuedJob], bool] | None = None,
        times: int | None = None,
    ) -> None:
        """
        Assert that a listener was queued: at least once, or exactly `times`.

        Args:
            listener: Its class, function, `(Class, "method")` or stored name.
            queue: Only there.
            where: Only jobs for which this is true.
            times: How often exactly.

        Raises:
            AssertionError: It was not; says what was.
        """
        __tracebackhide__ = True
        found = [one for one in self.queued(listener) if where is None or where(one)]
        here = [one for one in found if queue in (None, one.queue)]
        _expect(
            len(here),
            times,
            f"{_called(listener)} to be queued" + (f" in {queue!r}" if queue else ""),
            "Queued were",
            [f"{one.name} in {one.queue!r}: {_shown(one)}" for one in self.jobs],
        )

    def assert_not_queued(self, listener: Any, *, queue: str | None = None) -> None:
        """Assert that a listener was not queued."""
        __tracebackhide__ = True
        self.assert_queued(listener, queue=queue, times=0)

    def assert_nothing_queued(self) -> None:
        """Assert that no listener was queued."""
        __tracebackhide__ = True
        _expect(
            len(self.jobs),
            0,
            "nothing to be queued",
            "Queued were",
            [f"{one.name} in {one.queue!r}: {_shown(one)}" for one in self.jobs],
        )


@frozen
class Dispatched:
    """One event that a fake has recorded."""

    name: str
    #: The event object, or the name.
    event: Any
    payload: tuple[Any, ...]

    @property
    def what(self) -> Any:
        """The event object; for a name, its payload."""
        return self.payload if isinstance(self.event, str) else self.event

    def __str__(self) -> str:
        return f"{self.name} {self.payload!r}" if isinstance(self.event, str) else repr(self.event)


class FakeEvents(_Jobs):
    """
    Records events in place of calling their listeners.

    What queued listeners would have stored is encoded, decoded and recorded as well, so an event
    that cannot be stored fails the test that dispatches it.
    """

    def __init__(self, bus: EventBus, only: tuple[Wanted, ...], except_: tuple[Wanted, ...]) -> None:
        super().__init__(bus)
        self._only = only
        self._except = except_
        #: Everything recorded, in order.
        self.events: list[Dispatched] = []

    def _takes(self, event: Any, name: str, payload: tuple[Any, ...]) -> Keep | None:
        if self._only and not concerns(self._only, event, name):
            return None
        if concerns(self._except, event, name):
            return None
        self.events.append(Dispatched(name, event, payload))
        return self._record

    def _record(self, taken: list[Enqueued]) -> None:
        for one in taken:
            self._keep(one.connection, [one.envelope])

    def dispatched(self, event: Wanted) -> list[Any]:
        """
        Return what was dispatched, in order: the events of a class, or of a name or pattern.

        A name's entry is its payload, a tuple.
        """
        return [one.what for one in self.events if concerns([event], one.event, one.name)]

    def assert_dispatched(
        self,
        event: Wanted,
        where: Callable[[Any], bool] | None = None,
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
        fitting = " that fits" if where is not None else ""
        _expect(
            len(found),
            times,
            f"{_event_called(event)}{fitting} to be dispatched",
            "Dispatched were",
            self._all(),
        )

    def assert_dispatched_once(
        self, event: Wanted, where: Callable[[Any], bool] | None = None
    ) -> None:
        """Assert that an event was dispatched exactly once."""
        __tracebackhide__ = True
        self.assert_dispatched(event, where, times=1)

    def assert_not_dispatched(
        self, event: Wanted, where: Callable[[Any], bool] | None = None
    ) -> None:
        """Assert that an event was not dispatched."""
        __tracebackhide__ = True
        self.assert_dispatched(event, where, times=0)

    def assert_nothing_dispatched(self) -> None:
        """Assert that no event was dispatched."""
        __tracebackhide__ = True
        _expect(
            len(self.events), 0, "nothing to be dispatched", "Dispatched were", self._all()
        )

    def assert_listening(self, event: Wanted, listener: Any) -> None:
        """Assert that a listener hears an event."""
        __tracebackhide__ = True
        wanted = target_of(listener, event)
        heard = self._bus.listeners_for(event)
        found = [one for one in heard if _same(one.target, wanted, listener)]
        _expect(
            len(found),
            None,
            f"{wanted.name} to listen to {_event_called(event)}",
            "Listening are",
            [one.name for one in heard],
        )

    def _all(self) -> list[str]:
        return [str(one) for one in self.events]


class _Recording(MemoryBackend):
    """A queue in memory that tells what is pushed."""

    def __init__(self, clock: ManualClock, pushed: Callable[[Sequence[Envelope]], None]) -> None:
        super().__init__(clock=clock)
        self._pushed = pushed

    def push(self, envelopes: Sequence[Envelope]) -> None:
        super().push(envelopes)
        self._pushed(envelopes)


class FakeQueue(_Jobs):
    """
    Stands in for every connection: keeps jobs in memory until `drain` runs them, here.

    Time stands still unless `drain` or `clock.advance` moves it.
    """

    def __init__(self, bus: EventBus) -> None:
        super().__init__(bus)
        #: What judges delays; `clock.advance(60)` makes a minute pass.
        self.clock = ManualClock()
        self._ports: dict[str, Port] = {}

    def port(self, connection: str) -> Port:
        """Return what stands in for a connection."""
        if connection not in self._ports:
            backend = _Recording(self.clock, lambda pushed: self._keep(connection, pushed))
            self._ports[connection] = Port(backend, name=connection)
        return self._ports[connection]

    def size(self, queue: str, *, connection: str | None = None) -> int:
        """Return how many jobs wait in a queue, delayed ones too."""
        sizes = self.port(self._bus.connections.checked(connection)).size(queue)
        return sizes.ready + sizes.delayed

    def drain(self, *, delayed: bool = True, raise_failed: bool = True) -> list[QueuedJob]:
        """
        Run the waiting jobs, and those that they queue in turn, in this process.

        Args:
            delayed: Move the clock to run delayed jobs and further tries as well.
            raise_failed: Raise the error of a job that has used up its tries.

        Returns:
            The jobs that were run, a job as often as it was tried.
        """
        return drive(self._drained(delayed, raise_failed), self._bus)  # type: ignore[no-any-return]

    async def adrain(self, *, delayed: bool = True, raise_failed: bool = True) -> list[QueuedJob]:
        """Run the waiting jobs, as `drain` does, where an event loop runs."""
        return await adrive(self._drained(delayed, raise_failed))  # type: ignore[no-any-return]

    def _drained(self, delayed: bool, raise_failed: bool) -> Walk:
        executor = self._bus.executor()
        ran: list[QueuedJob] = []
        known = {one.id: one for one in self.jobs}
        while True:
            worked = False
            for port in list(self._ports.values()):
                for queue in self._queues(port.name):
                    for claim in port.claim([queue]):
                        worked = True
                        execution: Execution = yield from executor.run(claim, port)
                        known.update((one.id, one) for one in self.jobs)
                        ran.append(known[execution.envelope.id])
                        failed = execution.outcome is Outcome.FAILED and execution.error
                        if failed and raise_failed:
                            raise failed
            if not worked and not (delayed and self._advanced()):
                return ran

    def _queues(self, connection: str) -> list[str]:
        return list(dict.fromkeys(one.queue for one in self.jobs if one.connection == connection))

    def _advanced(self) -> bool:
        """Move the clock to the next delayed job; False if there is none."""
        waits = [
            wait
            for port in self._ports.values()
            if (queues := self._queues(port.name)) and (wait := port.next_due(queues)) is not None
        ]
        if not waits:
            return False
        self.clock.advance(min(waits))
        return True


@contextmanager
def fake_events(
    bus: EventBus, only: Sequence[Wanted] = (), except_: Sequence[Wanted] = ()
) -> Iterator[FakeEvents]:
    """
    Record events in this block; their listeners do not run, on the whole bus.

    Args:
        bus: Whose events.
        only: Classes, names and patterns to fake; the others go through. Default: all.
        except_: Classes, names and patterns that go through.

    Example:
        >>> from eventbus import EventBus
        >>> bus = EventBus()
        >>> with fake_events(bus) as fake:
        ...     _ = bus.dispatch("order.imported", 17)
        >>> fake.dispatched("order.imported")
        [(17,)]
    """
    fake = FakeEvents(
        bus,
        tuple(listenable(one) for one in only),
        tuple(listenable(one) for one in except_),
    )
    with bus.faking(fake._takes):  # noqa: SLF001 -- the fake's own other half
        yield fake


@contextmanager
def fake_queue(bus: EventBus) -> Iterator[FakeQueue]:
    """
    Keep queued jobs in memory in this block; listeners that are not queued run as ever.

    Example:
        >>> from eventbus import EventBus
        >>> with fake_queue(EventBus()) as queue:
        ...     queue.assert_nothing_queued()
    """
    fake = FakeQueue(bus)
    connections = bus.connections
    before = connections.stand_in
    connections.stand_in = fake.port
    try:
        yield fake
    finally:
        connections.stand_in = before


def _fitting(listener: Any) -> Callable[[QueuedJob], bool]:
    if isinstance(listener, str) and "." not in listener and ":" not in listener:
        return lambda job: job.name == listener
    if isinstance(listener, type):
        return lambda job: job.target.owner is listener
    if isinstance(listener, str):
        return lambda job: listener in (job.name, job.target.name)
    wanted = target_of(listener)
    return lambda job: _same(job.target, wanted, listener)


def _same(found: Target, wanted: Target, listener: Any) -> bool:
    if isinstance(listener, type):
        return found.owner is listener
    return found.identity == wanted.identity or found.code == wanted.code


def _called(listener: Any) -> str:
    return listener if isinstance(listener, str) else describe(listener)


def _event_called(event: Wanted) -> str:
    return event_name(event) if isinstance(event, type) else repr(event)


def _shown(job: QueuedJob) -> str:
    return f"{job.event!r}" if not isinstance(job.event, str) else f"{job.event} {job.payload!r}"


def _expect(found: int, times: int | None, what: str, heading: str, seen: list[str]) -> None:
    __tracebackhide__ = True
    if found == times or (times is None and found):
        return
    often = {None: "", 0: " never"}.get(times, f" {times} time{'s' * (times != 1)}")
    count = {0: "it was not", 1: "it was once"}.get(found, f"it was {found} times")
    lines = "".join(f"\n  {one}" for one in seen[:_LINES]) or " none"
    more = f"\n  ... and {len(seen) - _LINES} more" if len(seen) > _LINES else ""
    nothing = what.startswith("nothing")
    said = f"expected {what}" if nothing else f"expected {what}{often}, but {count}"
    raise AssertionError(f"{said}. {heading}:{lines}{more}")


_LINES = 20
