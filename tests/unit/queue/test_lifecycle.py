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
    WorkerStarting,
    WorkerStopping,
    listens,
)
from eventbus.queue.envelope import Envelope
from eventbus.queue.lifecycle import LIFECYCLE, Outcome


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


@listens(queue=True)
def react(event: Ordered, attempt: Attempt) -> None:
    WAYS[event.way](attempt)


def short(event):
    """An event about a job in one word or two."""
    name = type(event).__name__
    if isinstance(event, (JobProcessed, JobAttempted)):
        return f"{name} {event.outcome}"
    if isinstance(event, (JobExceptionOccurred, JobFailed)):
        return f"{name} {type(event.error).__name__}"
    if isinstance(event, JobReleased):
        return f"{name} {event.delay:g}"
    return name


ORDER = [
    ("return", 1, ["JobProcessed succeeded", "JobAttempted succeeded"]),
    ("delete", 1, ["JobProcessed skipped", "JobAttempted skipped"]),
    ("release", 1, ["JobProcessed released", "JobReleased 7", "JobAttempted released"]),
    (
        "fail",
        9,
        ["JobProcessed failed", "JobFailed JobFailedByHand", "JobAttempted failed"],
    ),
    (
        "raise",
        1,
        [
            "JobExceptionOccurred ZeroDivisionError",
            "JobFailed ZeroDivisionError",
            "JobAttempted failed",
        ],
    ),
    (
        "raise",
        2,
        ["JobExceptionOccurred ZeroDivisionError", "JobReleased 3", "JobAttempted released"],
    ),
    ("delete and raise", 1, ["JobProcessed skipped", "JobAttempted skipped"]),
    ("release and raise", 1, ["JobProcessed released", "JobReleased 7", "JobAttempted released"]),
    (
        "fail and raise",
        9,
        ["JobProcessed failed", "JobFailed JobFailedByHand", "JobAttempted failed"],
    ),
]


@pytest.mark.parametrize(
    "way, tries, then", ORDER, ids=[f"{way}, {tries} tries" for way, tries, _ in ORDER]
)
def test_what_is_told_in_which_order(make_bus, work, told, way, tries, then):
    bus = make_bus(react)
    bus.dispatch(Ordered(way))
    seen = told(bus)

    work(bus, tries=tries, backoff=3)

    assert [short(one) for one in seen[1:-1]] == ["JobProcessing", *then]
    assert [type(seen[0]), type(seen[-1])] == [WorkerStarting, WorkerStopping]


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

    assert seen[0] == WorkerStarting(connection="default", queues=("default",))
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
