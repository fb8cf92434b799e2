"""The events about jobs and workers, in their order, for every way in which a run can end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from attrs import frozen
from attrs.exceptions import FrozenInstanceError

from eventbus import (
    Attempt,
    JobAttempted,
    JobExceptionOccurred,
    JobFailed,
    JobProcessed,
    JobProcessing,
    JobReleased,
    ShouldQueue,
    WorkerStarting,
    WorkerStopping,
    listens,
)
from eventbus.backends.base import Charge
from eventbus.dispatch.waiting import drive
from eventbus.errors import ListenerTimeout, MissingRecord
from eventbus.queue.envelope import Envelope
from eventbus.queue.lifecycle import LIFECYCLE, Outcome, WorkerIdle, WorkerLooping


@frozen
class Ordered:
    way: str


WAYS = {
    "return": lambda attempt: None,
    "delete": lambda attempt: attempt.delete(),
    "release": lambda attempt: attempt.release(7),
    "fail": lambda attempt: attempt.fail("no"),
    "raise": lambda attempt: 1 / 0,
    "delete and raise": lambda attempt: (attempt.delete(), 1 / 0),
    "release and raise": lambda attempt: (attempt.release(7), 1 / 0),
    "fail and raise": lambda attempt: (attempt.fail("no"), 1 / 0),
}


def raises(error):
    def way(attempt):
        raise error

    return way


WAYS |= {
    "release spending": lambda attempt: attempt.release(7, spend=True),
    "never again": raises(PermissionError()),
    "the last exception": raises(KeyError()),
    "too long": raises(ListenerTimeout(listener="react", seconds=1)),
    "missing": raises(MissingRecord(record="order", key=1)),
}


class Seen(list):
    """What happened."""


class React(ShouldQueue):
    no_retry = OSError
    fail_on_timeout = True

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def handle(self, event: Ordered, attempt: Attempt) -> None:
        if event.way == "the last exception":
            attempt.exceptions = 2  # as if two runs before this one had raised
        WAYS[event.way](attempt)

    max_exceptions = 3

    def failed(self, event: Ordered, error: BaseException) -> None:
        self.seen.append(error)


@listens(queue=True)
def react(event: Ordered, attempt: Attempt) -> None:
    WAYS[event.way](attempt)


def short(event):
    """An event about a job in one word or two."""
    name = type(event).__name__
    if isinstance(event, BaseException):
        return f"failed {name}"
    if isinstance(event, (JobProcessed, JobAttempted)):
        return f"{name} {event.outcome}"
    if isinstance(event, (JobExceptionOccurred, JobFailed)):
        return f"{name} {type(event.error).__name__}"
    if isinstance(event, JobReleased):
        return f"{name} {event.delay:g}"
    return name


SKIPPED = ["JobProcessed skipped", "JobAttempted skipped"]
RELEASED = ["JobProcessed released", "JobReleased 7", "JobAttempted released"]
FAILED_BY_HAND = [
    "JobProcessed failed",
    "JobFailed JobFailedByHand",
    "failed JobFailedByHand",
    "JobAttempted failed",
]


def failed_by(error):
    return [
        f"JobExceptionOccurred {error}",
        f"JobFailed {error}",
        f"failed {error}",
        "JobAttempted failed",
    ]


#: How a run can end: what the listener does, the worker's tries, what is told behind JobProcessing.
ORDER = [
    ("return", 1, ["JobProcessed succeeded", "JobAttempted succeeded"]),
    ("delete", 1, SKIPPED),
    ("release", 1, RELEASED),
    ("fail", 9, FAILED_BY_HAND),
    ("raise", 1, failed_by("ZeroDivisionError")),
    (
        "raise",
        2,
        ["JobExceptionOccurred ZeroDivisionError", "JobReleased 3", "JobAttempted released"],
    ),
    ("delete and raise", 1, SKIPPED),
    ("release and raise", 1, RELEASED),
    ("fail and raise", 9, FAILED_BY_HAND),
    ("release spending", 2, RELEASED),
    (
        "release spending",
        1,
        [
            "JobProcessed failed",
            "JobFailed TriesExhausted",
            "failed TriesExhausted",
            "JobAttempted failed",
        ],
    ),
    ("never again", 9, failed_by("PermissionError")),
    ("the last exception", 9, failed_by("KeyError")),
    ("too long", 9, failed_by("ListenerTimeout")),
    ("missing", 9, failed_by("MissingRecord")),
]


@pytest.mark.parametrize(
    "way, tries, then", ORDER, ids=[f"{way}, {tries} tries" for way, tries, _ in ORDER]
)
def test_what_is_told_in_which_order(make_bus, work, told, way, tries, then):
    """K19, K20, K21: one order; the record is moved before JobFailed, failed() comes after it."""
    bus = make_bus(React, provide={Seen: lambda: seen})
    bus.dispatch(Ordered(way))
    recorded = []
    bus.listen(JobFailed, lambda event: recorded.append(bus.failed.find(event.id)) and None)
    seen = told(bus)

    work(bus, tries=tries, backoff=3)

    assert [short(one) for one in seen[1:-1]] == ["JobProcessing", *then]
    assert [type(seen[0]), type(seen[-1])] == [WorkerStarting, WorkerStopping]
    assert len(recorded) == ("JobAttempted failed" in then)


class Gone:
    """An event about a record that is not there any more, once it comes from a store."""

    armed = False

    def __init__(self, number: int) -> None:
        self.number = number
        if Gone.armed:
            raise MissingRecord(record="order", key=number)

    def __eq__(self, other):
        return isinstance(other, Gone)

    __hash__ = None


@listens(queue=True, discard_on_missing=True, retry_until=100)
def discard(event: Gone) -> None: ...


def undecodable(bus, clock, monkeypatch):
    bus.connections.port().push([Envelope(id="bad", queue="default", body=b"\xff")])


def lost(bus, clock, monkeypatch):
    bus.dispatch(Ordered("return"))
    for _ in range(3):
        assert bus.connections.port().claim(["default"], lease=1)
        clock.advance(1)


def parked(bus, clock, monkeypatch):
    bus.dispatch(Ordered("return"))
    port = bus.connections.port()
    [claim] = port.claim(["default"])
    port.ack(claim)
    body = claim.envelope.body.replace(b":React", b":Newer")
    port.push([Envelope(id=claim.envelope.id, queue="default", body=body)])


def spent(bus, clock, monkeypatch):
    bus.dispatch(Ordered("return"))
    port = bus.connections.port()
    [claim] = port.claim(["default"])
    port.release(claim, charge=Charge.ERROR)


def late(bus, clock, monkeypatch):
    bus.dispatch(Gone(1))
    clock.advance(101)


def discarded(bus, clock, monkeypatch):
    bus.dispatch(Gone(1))
    monkeypatch.setattr(Gone, "armed", True)


#: What ends before its listener is called, and all that is told of it.
UNCALLED = [
    (undecodable, ["JobFailed DecodeError", "JobAttempted failed"]),
    (lost, ["JobFailed JobLost", "failed JobLost", "JobAttempted failed"]),
    (parked, ["JobReleased 30", "JobAttempted released"]),
    (
        spent,
        [
            "JobProcessing",
            "JobFailed TriesExhausted",
            "failed TriesExhausted",
            "JobAttempted failed",
        ],
    ),
    (late, ["JobProcessing", "JobFailed DeadlinePassed", "JobAttempted failed"]),
    (discarded, ["JobAttempted skipped"]),
]


@pytest.mark.parametrize("how, then", UNCALLED, ids=[how.__name__ for how, _ in UNCALLED])
def test_what_is_told_of_a_job_whose_listener_is_not_called(
    make_bus, work, told, clock, monkeypatch, how, then
):
    """K22, L15: the attempt check comes after JobProcessing; what cannot be read is not processed."""
    bus = make_bus(React, discard, provide={Seen: lambda: seen})
    how(bus, clock, monkeypatch)
    seen = told(bus)

    work(bus)

    assert [short(one) for one in seen[1:-1]] == then


def test_every_event_about_a_job_says_which_one(make_bus, work, told):
    bus = make_bus(react)
    bus.dispatch(Ordered("return"))
    seen = told(bus)

    work(bus)

    about = seen[1:-1]
    assert len({one.id for one in about}) == 1
    assert {(one.name, one.connection, one.queue, one.attempt) for one in about} == {
        (f"{__name__}:react", "default", "default", 1)
    }


def test_a_job_that_cannot_be_read_was_never_processed(make_bus, work, told):
    bus = make_bus(react)
    bus.connections.port().push([Envelope(id="bad", queue="default", body=b"\xff")])
    seen = told(bus)

    work(bus)

    assert [short(one) for one in seen[1:-1]] == ["JobFailed DecodeError", "JobAttempted failed"]
    assert seen[1].name == ""


def test_a_worker_tells_why_it_stops_and_what_it_did(make_bus, work, told):
    bus = make_bus(react)
    bus.dispatch(Ordered("return"))
    bus.dispatch(Ordered("raise"))
    seen = told(bus)
    before = datetime.now(UTC)

    work(bus)

    assert (seen[0].connection, seen[0].queues) == ("default", ("default",))
    stopping = seen[-1]
    assert (stopping.connection, stopping.queues) == ("default", ("default",))
    assert (stopping.reason, stopping.processed) == ("empty", 2)
    assert before <= stopping.started_at <= datetime.now(UTC)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_listener_of_these_that_raises_changes_nothing(make_bus, work, told, error, caplog):
    def broken(event):
        raise error("listener")

    bus = make_bus(react)
    for kind in LIFECYCLE:
        bus.listen(kind, broken)
    bus.dispatch(Ordered("return"))
    bus.dispatch(Ordered("raise"))
    seen = told(bus)

    worker = work(bus)

    assert (worker.code, worker.processed) == (0, 2)
    assert len(bus.failed.all()) == 1
    assert bus.connections.port().size("default").ready == 0
    assert seen == []  # the broken one comes first, and stops those behind it
    assert "JobProcessing" in caplog.text


@pytest.mark.parametrize("is_async", [False, True])
def test_a_listener_of_these_that_leaves_with_generator_exit_changes_nothing(
    make_bus, is_async, caplog
):
    def leave(event: JobProcessed | JobProcessing) -> None:
        raise GeneratorExit

    async def leave_later(event: JobProcessed | JobProcessing) -> None:
        raise GeneratorExit

    bus = make_bus(react)
    bus.listen(leave_later if is_async else leave)
    bus.dispatch(Ordered("return"))
    port = bus.connections.port()
    [claim] = port.claim(["default"])
    executor = bus.executor()

    execution = drive(executor.run(executor.begin(claim, port)), bus)

    assert execution.outcome is Outcome.SUCCEEDED
    assert port.size("default").leased == 0
    assert "left it" in caplog.text


def test_a_worker_tells_of_each_look_and_that_it_found_nothing(make_bus, work):
    """K24, K25: WorkerLooping before each look for jobs, WorkerIdle before a wait."""
    seen = []
    bus = make_bus(react)
    bus.listen([WorkerLooping, WorkerIdle], seen.append)
    bus.dispatch(Ordered("return"))

    work(bus)

    assert {type(one) for one in seen} <= {WorkerLooping, WorkerIdle}
    assert type(seen[0]) is WorkerLooping
    assert (seen[0].connection, seen[0].queues) == ("default", ("default",))


def test_what_nobody_hears_is_not_dispatched(make_bus, work, monkeypatch):
    bus = make_bus(react)
    announced = []
    monkeypatch.setattr(type(bus), "announce", lambda _, event: announced.append(event) or iter(()))
    bus.listen(JobProcessed, announced.append)
    bus.dispatch(Ordered("return"))
    port = bus.connections.port()
    executor = bus.executor()

    drive(executor.run(executor.begin(port.claim(["default"])[0], port)), bus)

    assert [type(one) for one in announced] == [JobProcessed]


def test_an_async_listener_of_these_is_awaited(make_bus, work):
    seen = []

    async def listener(event: JobProcessed) -> None:
        seen.append(event.outcome)

    bus = make_bus(react, listener)
    bus.dispatch(Ordered("return"))

    work(bus)

    assert seen == [Outcome.SUCCEEDED]


def test_a_queued_wildcard_does_not_hear_of_jobs(make_bus, work):
    bus = make_bus(("*", react_to_all))
    bus.dispatch("order.imported")

    assert work(bus).processed == 1


@listens(queue=True)
def react_to_all(name, payload): ...


def test_they_are_records():
    event = JobProcessing(id="a", name="n", connection="c", queue="q", attempt=1)
    with pytest.raises(FrozenInstanceError):
        event.id = "b"
