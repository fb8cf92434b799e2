"""What fakes record, how it is asked for, and the sentences that say what was expected and seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from attrs import field, frozen

from eventbus.bus import EventBus
from eventbus.dispatch.targets import Target, describe, target_of
from eventbus.queue.batch_step import BatchStep
from eventbus.queue.codec.document import RAW, read
from eventbus.queue.envelope import Envelope
from eventbus.queue.jobs import Job

__all__ = [
    "Dispatched",
    "QueuedJob",
    "RecordedJobs",
    "called",
    "expect",
    "fail",
    "fitting",
    "is_raw",
    "listed",
]

#: Tells whether a target, and the name it is stored under, are the listener that is asked for.
Fits = Callable[[Target, str], bool]
J = TypeVar("J", bound=Job)

#: How many lines a failure shows of what was seen: enough to find a slip, not a screenful.
_LINES: Final = 20


@frozen
class Dispatched:
    """One event that a fake has recorded."""

    #: What wildcards match: the name, or what the class is called.
    name: str
    #: The event object, or the name.
    event: Any
    #: What a name was dispatched with; for an event object, the object alone.
    payload: tuple[Any, ...]

    @property
    def what(self) -> Any:
        """The event object; for a name, its payload."""
        return self.payload if isinstance(self.event, str) else self.event

    def __str__(self) -> str:
        return f"{self.name} {self.payload!r}" if isinstance(self.event, str) else repr(self.event)


@frozen(kw_only=True)
class QueuedJob:
    """A job that was, or would have been, stored: its envelope was encoded and decoded."""

    #: The stored name of the listener, or of the class of the job.
    name: str
    #: "listener", or "job" for what was enqueued.
    kind: str = "listener"
    #: The event, decoded; for a name with a payload, the name; for a job, the job itself.
    event: Any
    #: What a name was dispatched with; for an event object, the object alone.
    payload: tuple[Any, ...]
    connection: str
    queue: str
    #: Seconds.
    delay: float
    id: str
    target: Target = field(repr=False, eq=False)

    @property
    def is_step(self) -> bool:
        """Whether it is what a batch itself has to do: nobody has enqueued it."""
        return isinstance(self.event, BatchStep)

    def __str__(self) -> str:
        what = f"{self.event} {self.payload!r}" if isinstance(self.event, str) else repr(self.event)
        later = f", in {self.delay:g} s" if self.delay else ""
        return f"{self.name} in {self.queue!r}: {what}{later}"


class RecordedJobs:
    """
    What both fakes can say about queued jobs.

    Args:
        bus: Whose jobs; its table of names says what an envelope stands for.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        #: Every job that was queued, in order.
        self.jobs: list[QueuedJob] = []

    def _opened(self, connection: str, envelope: Envelope) -> QueuedJob:
        document = read(envelope.body, envelope=envelope.id)
        catalogue = self._bus.enqueuer.catalogue
        entry = catalogue.entry(document.name, document.kind)
        name, payload = catalogue.payload(document, entry)
        return QueuedJob(
            name=entry.options.name,
            kind=document.kind,
            event=payload[0] if document.payload == "class" else name,
            payload=payload,
            connection=connection,
            queue=envelope.queue,
            delay=envelope.delay,
            id=envelope.id,
            target=entry.target,
        )

    def queued(self, listener: Any, *, queue: str | None = None) -> list[QueuedJob]:
        """
        Return the queued jobs of a listener: its class, function, `(Class, "method")` or name.

        Of a `Job` it is its class; or a parent of it.
        """
        if isinstance(listener, type) and issubclass(listener, Job):
            found = [one for one in self._enqueued() if isinstance(one.event, listener)]
        else:
            fits = fitting(listener)
            found = [one for one in self.jobs if fits(one.target, one.name)]
        return [one for one in found if queue in (None, one.queue)]

    def _enqueued(self) -> list[QueuedJob]:
        return [one for one in self.jobs if one.kind == "job"]

    def enqueued(self, job: type[J], *, queue: str | None = None) -> list[J]:
        """
        Return the jobs of a class that were enqueued, decoded: equal to those that went in.

        `queued` has the queue, the connection and the delay of each.
        """
        return [one.event for one in self.queued(job, queue=queue)]

    def assert_enqueued(
        self,
        job: type[J] | J,
        *,
        queue: str | None = None,
        where: Callable[[J], object] | None = None,
        times: int | None = None,
    ) -> None:
        """
        Assert that a job was enqueued: at least once, or exactly `times`.

        Args:
            job: A class; or a job, and one that is equal to it was enqueued.
            queue: Only there.
            where: Only jobs for which this is true.
            times: How often exactly.

        Raises:
            AssertionError: It was not; says what was.
        """
        __tracebackhide__ = True
        cls: type[J] = job if isinstance(job, type) else type(job)
        found = [
            one
            for one in self.enqueued(cls, queue=queue)
            if (job is cls or one == job) and (where is None or where(one))
        ]
        place = "" if queue is None else f" in {queue!r}"
        expect(
            len(found),
            times,
            (describe(cls) if job is cls else repr(job)) + (", where it fits," if where else ""),
            f"enqueued{place}",
            listed("enqueued", self._enqueued()),
        )

    def assert_not_enqueued(
        self,
        job: type[J] | J,
        *,
        queue: str | None = None,
        where: Callable[[J], object] | None = None,
    ) -> None:
        """Assert that a job was not enqueued."""
        __tracebackhide__ = True
        self.assert_enqueued(job, queue=queue, where=where, times=0)

    def assert_nothing_enqueued(self) -> None:
        """Assert that no job was enqueued, whatever listeners were queued."""
        __tracebackhide__ = True
        if found := self._enqueued():
            fail("expected nothing to be enqueued.", "enqueued", found)

    def assert_queued(
        self,
        listener: Any,
        *,
        queue: str | None = None,
        where: Callable[[QueuedJob], object] | None = None,
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
        found = [one for one in self.queued(listener, queue=queue) if where is None or where(one)]
        place = "" if queue is None else f" in {queue!r}"
        expect(
            len(found),
            times,
            called(listener) + (", where it fits," if where else ""),
            f"queued{place}",
            listed("queued", self.jobs),
        )

    def assert_queued_once(
        self,
        listener: Any,
        *,
        queue: str | None = None,
        where: Callable[[QueuedJob], object] | None = None,
    ) -> None:
        """Assert that a listener was queued exactly once."""
        __tracebackhide__ = True
        self.assert_queued(listener, queue=queue, where=where, times=1)

    def assert_not_queued(
        self,
        listener: Any,
        *,
        queue: str | None = None,
        where: Callable[[QueuedJob], object] | None = None,
    ) -> None:
        """Assert that a listener was not queued."""
        __tracebackhide__ = True
        self.assert_queued(listener, queue=queue, where=where, times=0)

    def assert_queued_count(self, number: int) -> None:
        """Assert how many jobs were queued, whatever their listeners and classes."""
        __tracebackhide__ = True
        if len(self.jobs) != number:
            plural = "s" * (number != 1)
            count = f"{len(self.jobs)} {'was' if len(self.jobs) == 1 else 'were'}"
            fail(f"expected {number} job{plural} to be queued, but {count}.", "queued", self.jobs)

    def assert_nothing_queued(self) -> None:
        """Assert that no listener was queued, and no job enqueued."""
        __tracebackhide__ = True
        if self.jobs:
            fail("expected nothing to be queued.", "queued", self.jobs)


def is_raw(envelope: Envelope) -> bool:
    """Tell whether an envelope holds a raw job, which has no listener."""
    return read(envelope.body, envelope=envelope.id).kind == RAW


def fitting(listener: Any, event: type | str | None = None) -> Fits:
    """
    Return what tells whether a target is `listener`: a class, any of its methods; else itself.

    Raises:
        ListenError: It is nothing that could listen.
    """
    if isinstance(listener, str):
        return lambda target, name: listener in (name, target.name)
    if isinstance(listener, type):
        return lambda target, _: listener in (target.owner, _class_of(target))
    wanted = target_of(listener, event)
    return lambda target, _: target.identity == wanted.identity or target.code == wanted.code


def _class_of(target: Target) -> type:
    """Return the class of the object whose method this is."""
    return type(getattr(target.function, "__self__", None))


def called(listener: Any) -> str:
    """Return how a sentence calls a listener."""
    return listener if isinstance(listener, str) else describe(listener)


def expect(found: int, times: int | None, subject: str, done: str, seen: str) -> None:
    """
    Assert how often something was done: `times`, or at least once for None.

    Args:
        found: How often it was.
        times: How often it should have been.
        subject: What: "shop.events.OrderShipped".
        done: "dispatched", or "queued in 'emails'".
        seen: The sentence that says what was done.

    Raises:
        AssertionError: It was not.
    """
    __tracebackhide__ = True
    if found == times or (times is None and found):
        return
    wanted = f"not to be {done}" if times == 0 else f"to be {done}"
    often = f" {_often(times)}" if times else ""
    count = f"it was {_often(found)}" if found else "it was not"
    text = f"expected {subject} {wanted}{often}, but {count}. {seen}"
    raise AssertionError(text)


def fail(sentence: str, done: str, seen: Sequence[object]) -> None:
    """Raise an `AssertionError` that says what was done."""
    __tracebackhide__ = True
    text = f"{sentence} {listed(done, seen)}"
    raise AssertionError(text)


def listed(done: str, seen: Sequence[object]) -> str:
    """Return the sentence that says what was done."""
    if not seen:
        return f"Nothing was {done}."
    lines = "".join(f"\n  {one}" for one in seen[:_LINES])
    more = f"\n  ... and {len(seen) - _LINES} more" if len(seen) > _LINES else ""
    return f"{done.capitalize()} were:{lines}{more}"


def _often(times: int) -> str:
    return "once" if times == 1 else f"{times} times"
