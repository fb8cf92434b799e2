"""A worker claims and runs until there is a reason to stop, and says how it went."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest
from attrs import frozen

from eventbus import Attempt, EventBus, ShouldQueue, WorkerStopping, listens
from eventbus.errors import (
    BackendUnavailable,
    DiscoveryError,
    InvalidOption,
    ListenError,
    UnknownConnection,
)
from eventbus.queue.envelope import Envelope
from eventbus.worker import ExitCode, Worker
from eventbus.worker.loop import printable, short


@frozen
class Ordered:
    number: int = 0


class Seen(list):
    pass


@listens(queue=True)
def note(event: Ordered, bus: EventBus) -> None:
    RAN.append(event.number)
    if event.number < 0:
        raise ValueError("negative")
    if event.number == 99:
        WORKERS[-1].stop()


RAN: list[int] = []
WORKERS: list[Worker] = []


@pytest.fixture
def make(bus):
    RAN.clear()
    WORKERS.clear()
    bus.listen(note)

    def made(*numbers, **options):
        for number in numbers:
            bus.dispatch(Ordered(number))
        WORKERS.append(Worker(bus, **options))
        return WORKERS[-1]

    return made


@pytest.fixture
def reasons(bus):
    heard = []
    bus.listen(WorkerStopping, lambda event: heard.append((event.reason, event.processed)))
    return heard


def test_it_stops_when_nothing_is_due(make, reasons):
    assert make(1, 2, stop_when_empty=True).run() is ExitCode.DONE
    assert (RAN, reasons) == ([1, 2], [("empty", 2)])


def test_a_delayed_job_is_not_due(make, bus):
    bus.listen(Ordered, Late)
    assert make(1, stop_when_empty=True).run() is ExitCode.DONE
    assert bus.connections.port().size("jobs").delayed == 1


class Late(ShouldQueue):
    delay = 60

    def handle(self, event: Ordered) -> None: ...


@pytest.mark.parametrize(
    "numbers, code", [((1, 2), 0), ((-1, 2), 1), ((), 0)], ids=["ran", "raised", "none"]
)
def test_once_is_one_job_or_none(make, reasons, numbers, code):
    assert make(*numbers, once=True).run() == code
    assert (RAN, reasons) == (list(numbers[:1]), [("once", len(numbers[:1]))])


def test_a_job_that_raises_is_no_failure_of_a_worker_that_goes_on(make):
    assert make(-1, 2, stop_when_empty=True).run() is ExitCode.DONE
    assert RAN == [-1, 2]


def test_stop_ends_it_after_the_running_job(make, reasons):
    assert make(99, 1).run() is ExitCode.DONE
    assert (RAN, reasons) == ([99], [("signal", 1)])


def test_it_waits_for_the_next_delayed_job_no_longer_than_sleep(make, bus, monkeypatch):
    port = bus.connections.port()
    for due, expected in [(None, 3), (10, 3), (1, 1), (0, 0.001)]:
        waits = []
        worker = make(sleep=3)

        def wait(limit, waits=waits, worker=worker):
            waits.append(limit)
            worker.stop()

        monkeypatch.setattr(worker.signals, "wait", wait)
        monkeypatch.setattr(port, "next_due", lambda queues, due=due: due)
        worker.run()
        assert waits == [expected]


def test_it_runs_in_a_thread_without_signals(make):
    worker = make(1, 99)
    codes = []
    thread = threading.Thread(target=lambda: codes.append(worker.run()))
    thread.start()
    thread.join(10)
    assert (codes, RAN) == ([0], [1, 99])


def away(*_, **__):
    raise BackendUnavailable(backend="memory://", operation="claim", reason="away")


def test_a_store_that_goes_away_is_asked_again_ever_more_rarely(make, bus, monkeypatch, caplog):
    worker = make(1, stop_when_empty=True)
    port = bus.connections.port()
    claim, waits = port.claim, []

    def wait(limit):
        waits.append(limit)
        if len(waits) == 7:
            monkeypatch.setattr(port, "claim", claim)

    monkeypatch.setattr(port, "claim", away)
    monkeypatch.setattr(worker.signals, "wait", wait)

    assert worker.run() is ExitCode.DONE
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert RAN == [1]
    assert "the store is away, next try in 1 s" in caplog.text


def test_a_store_that_is_away_for_ever_does_not_overflow(make, bus, monkeypatch):
    worker = make()
    port = bus.connections.port()
    monkeypatch.setattr(port, "claim", away)
    waits = []

    def wait(limit):
        waits.append(limit)
        if len(waits) == 2000:
            worker.stop()

    monkeypatch.setattr(worker.signals, "wait", wait)
    worker.run()
    assert waits[-1] == 30


def test_once_is_one_job_also_when_it_cannot_be_settled(make, bus, monkeypatch, reasons):
    worker = make(1, 2, once=True)
    monkeypatch.setattr(bus.connections.port(), "ack", away)

    assert worker.run() is ExitCode.JOB_RAISED
    assert (RAN, reasons) == ([1], [("once", 0)])


def test_a_store_that_cannot_be_used_at_the_start_is_an_exit_code(make, bus, monkeypatch):
    worker = make()
    monkeypatch.setattr(bus.connections.port(), "next_due", away)
    assert worker.run() is ExitCode.BACKEND


def test_an_error_of_our_own_ends_it_and_is_told(make, bus, monkeypatch, reasons):
    worker = make()

    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(bus.connections.port(), "claim", broken)
    with pytest.raises(ZeroDivisionError):
        worker.run()
    assert reasons == [("error", 0)]


def test_its_queues_are_those_given_or_the_connections_own(bus):
    assert Worker(bus, queues="emails").queues == ("emails",)
    assert Worker(bus, queues=["a", "b"]).queues == ("a", "b")
    assert Worker(bus).queues == ()


def test_its_repr_says_where_it_works(bus):
    assert repr(Worker(bus, queues=["a", "b"])) == "<Worker on a, b of default>"
    assert repr(Worker(bus)) == "<Worker on the default queue of default>"


def test_what_is_given_is_turned_into_seconds(bus):
    worker = Worker(
        bus,
        tries=3,
        timeout=timedelta(minutes=1),
        backoff=[1, timedelta(seconds=2)],
        lease=timedelta(seconds=5),
    )
    assert (worker.rules.tries, worker.rules.timeout) == (3, 60)
    assert (worker.rules.backoff, worker.lease) == ((1.0, 2.0), 5)


@pytest.mark.parametrize(
    "options",
    [
        {"queues": ["a b"]},
        {"tries": -1},
        {"timeout": -1},
        {"backoff": []},
        {"sleep": 0},
        {"sleep": "1"},
        {"lease": 0},
        {"grace": -1},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_once(bus, options):
    with pytest.raises(InvalidOption, match="of a worker"):
        Worker(bus, **options)


def test_a_connection_that_nobody_configured_is_refused_at_once(bus):
    with pytest.raises(UnknownConnection):
        Worker(bus, "nowhere")


def test_two_listeners_of_one_name_end_it_before_a_job_does(bus):
    for function in (lambda event: 1, lambda event: 2):
        listens(queue=True, name="same")(function)
        bus.listen(Ordered, function)

    with pytest.raises(ListenError, match="same"):
        Worker(bus).run()


def test_a_package_that_does_not_exist_ends_it(bus):
    bus._note(["no_such_package_at_all"])
    with pytest.raises(DiscoveryError):
        Worker(bus).run()


def test_the_log_says_what_became_of_each_job_with_fields_beside_it(make, caplog):
    with caplog.at_level(logging.INFO, "eventbus.worker"):
        make(1, -1, stop_when_empty=True).run()

    [ran, raised] = [one for one in caplog.records if hasattr(one, "job")]
    assert (ran.levelname, raised.levelname) == ("INFO", "WARNING")
    assert ": succeeded, " in ran.getMessage()
    assert "(ValueError: negative)" in raised.getMessage()
    assert (ran.job["outcome"], raised.job["outcome"]) == ("succeeded", "failed")
    assert ran.job["duration_ms"] >= 0


def test_an_id_that_somebody_else_wrote_cannot_break_the_line_of_a_log(bus, caplog):
    hostile = Envelope(id="a\n\x1b[2Jforged", queue="jobs", body=b"{}")
    bus.connections.port().backend.push([hostile])

    with caplog.at_level(logging.INFO, "eventbus.worker"):
        Worker(bus, stop_when_empty=True).run()

    assert not [one for one in caplog.messages if not one.isprintable()]
    assert "a\\n\\x1b[2Jforged" in caplog.text


class UnshowableError(Exception):
    def __str__(self):
        raise SystemExit


def test_an_error_is_shown_on_one_line_whatever_it_does():
    assert short(KeyError("a")) == "KeyError: 'a'"
    assert short(UnshowableError()) == "UnshowableError: its message cannot be shown"


def test_what_is_logged_has_no_control_characters_and_an_end():
    assert printable("a\n\x1b[2J") == "a\\n\\x1b[2J"
    assert printable("x" * 400) == "x" * 200 + "..."


def test_an_attempt_is_injected_where_it_is_asked_for(bus):
    numbers = []

    @listens(queue=True, name="asks")
    def asks(event: Ordered, attempt: Attempt) -> None:
        numbers.append(attempt.number)

    bus.listen(asks)
    bus.dispatch(Ordered())
    Worker(bus, stop_when_empty=True).run()
    assert numbers == [1]
