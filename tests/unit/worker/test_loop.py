"""A worker claims and runs until there is a reason to stop, and says how it went."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from datetime import timedelta

import pytest
from attrs import evolve, frozen

from eventbus import (
    Attempt,
    EventBus,
    ShouldQueue,
    WorkerLooping,
    WorkerStarting,
    WorkerStopping,
    listens,
)
from eventbus.backends.base import Sizes
from eventbus.errors import (
    BackendError,
    BackendUnavailable,
    DiscoveryError,
    InvalidOption,
    ListenError,
    StoreDamaged,
    UnknownConnection,
)
from eventbus.queue.envelope import Envelope
from eventbus.worker import ExitCode, Worker
from eventbus.worker.vital import check_health


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

        def wait(limit, bell=None, waits=waits, worker=worker):
            waits.append(limit)
            worker.stop()

        monkeypatch.setattr(worker.signals, "wait", wait)
        monkeypatch.setattr(port, "next_due", lambda queues, leased=False, due=due: due)
        worker.run()
        assert waits == [expected]


@pytest.mark.parametrize(
    "options, state, wait",
    [
        ({"sleep": 600}, "idle", 600),
        ({"sleep": 600, "paused_when": lambda: True}, "paused", 600),
        ({"sleep": 600, "max_time": 60}, "idle", 60),
        ({"rest": 300}, "idle", 300),
    ],
    ids=["idle", "paused", "not beyond its time", "rest"],
)
def test_its_health_file_says_until_when_it_means_to_wait(
    make, tmp_path, monkeypatch, options, state, wait
):
    file = tmp_path / "worker.json"
    worker = make(*[1] * ("rest" in options), health_file=file, **options)
    seen = []

    def look(limit, bell=None):
        vital = check_health(file)
        seen.append((vital.state, (vital.loop_due - vital.loop_at).total_seconds()))
        worker.stop()

    monkeypatch.setattr(worker.signals, "wait", look)
    worker.run()
    assert seen == [(state, pytest.approx(wait, abs=5))]


def test_its_health_file_says_how_long_it_waits_for_a_store_that_is_away(
    make, bus, tmp_path, monkeypatch
):
    file = tmp_path / "worker.json"
    worker = make(health_file=file)
    seen = []

    def look(limit, bell=None):
        vital = check_health(file)
        seen.append((vital.state, (vital.loop_due - vital.loop_at).total_seconds()))
        worker.stop()

    monkeypatch.setattr(worker.signals, "wait", look)
    monkeypatch.setattr(bus.connections.port(), "claim", away)
    worker.run()
    assert seen == [("away", 1)]


def test_it_runs_in_a_thread_without_signals(make):
    worker = make(1, 99)
    codes = []
    thread = threading.Thread(target=lambda: codes.append(worker.run()))
    thread.start()
    thread.join(10)
    assert (codes, RAN) == ([0], [1, 99])


def away(*_, **__):
    raise BackendUnavailable(backend="memory://", operation="claim", reason="away")


def test_a_store_that_goes_away_is_asked_again_every_two_seconds(make, bus, monkeypatch, caplog):
    worker = make(1, stop_when_empty=True)
    port = bus.connections.port()
    claim, waits = port.claim, []

    def wait(limit, bell=None):
        waits.append(limit)
        if len(waits) == 7:
            monkeypatch.setattr(port, "claim", claim)

    monkeypatch.setattr(port, "claim", away)
    monkeypatch.setattr(worker.signals, "wait", wait)

    assert worker.run() is ExitCode.DONE
    assert waits == [1, 2, 2, 2, 2, 2, 2]
    assert RAN == [1]
    assert "the store is away, next try in 1 s" in caplog.text


def test_a_store_that_is_away_for_ever_does_not_overflow(make, bus, monkeypatch):
    worker = make()
    port = bus.connections.port()
    monkeypatch.setattr(port, "claim", away)
    waits = []

    def wait(limit, bell=None):
        waits.append(limit)
        if len(waits) == 2000:
            worker.stop()

    monkeypatch.setattr(worker.signals, "wait", wait)
    worker.run()
    assert waits[-1] == 2


def test_a_store_that_is_damaged_is_not_waited_for(make, bus, monkeypatch, reasons):
    def damaged(*_, **__):
        raise StoreDamaged(backend="memory://", operation="claim", reason="malformed")

    worker = make(1)
    monkeypatch.setattr(bus.connections.port(), "claim", damaged)
    with pytest.raises(StoreDamaged):
        worker.run()
    assert reasons == [("error", 0)]


def test_what_is_wrong_with_a_store_is_logged_when_it_changes(make, bus, monkeypatch, caplog):
    worker = make(sleep=600)
    troubles = ["", "slow", "slow", "", "slow", "full"]
    monkeypatch.setattr(bus.connections.port(), "trouble", lambda: troubles.pop(0))

    def wait(limit, bell=None):
        if not troubles:
            worker.stop()

    monkeypatch.setattr(worker.signals, "wait", wait)
    worker.run()

    said = [one for one in caplog.messages if "the store works, but" in one]
    assert said == [f"the store works, but: {one}" for one in ("slow", "slow", "full")]


def test_a_settlement_is_tried_again_when_the_store_is_back(make, bus, monkeypatch, reasons):
    worker = make(1, 2, once=True)
    port = bus.connections.port()
    ack_all, waits = port.ack_all, []

    def wait(limit, bell=None):
        waits.append(limit)
        if len(waits) == 3:
            monkeypatch.setattr(port, "ack_all", ack_all)

    monkeypatch.setattr(port, "ack_all", away)
    monkeypatch.setattr(worker.signals, "wait", wait)

    assert worker.run() is ExitCode.DONE
    assert (RAN, waits, reasons) == ([1], [1, 2, 2], [("once", 1)])
    assert port.size("jobs").ready == 1


@pytest.mark.parametrize("once, code, ran", [(False, 0, 1), (True, 1, 0)])
def test_a_settlement_is_given_up_when_the_worker_is_told_to_stop(
    make, bus, monkeypatch, reasons, once, code, ran
):
    worker = make(1, 2, once=once)
    port = bus.connections.port()
    for verb in ("ack_all", "exchange"):
        monkeypatch.setattr(port, verb, away)
    monkeypatch.setattr(worker.signals, "wait", lambda limit, bell=None: worker.stop())

    assert worker.run() == code
    assert (RAN, reasons) == ([1], [("signal", ran)])
    assert port.size("jobs").leased == 1


def test_a_store_that_cannot_be_used_at_the_start_is_an_exit_code(make, bus, monkeypatch):
    worker = make()

    def damaged():
        raise StoreDamaged(backend="memory://", operation="orders", reason="torn")

    monkeypatch.setattr(bus.connections.port(), "orders", damaged)
    assert worker.run() is ExitCode.BACKEND


def test_a_store_that_is_away_at_the_start_is_waited_for(make, bus, monkeypatch, reasons):
    worker = make(1, stop_when_empty=True)
    port = bus.connections.port()
    orders, waits = port.orders, []

    def back(limit, bell=None):
        waits.append(limit)
        if len(waits) == 3:
            monkeypatch.setattr(port, "orders", orders)

    monkeypatch.setattr(port, "orders", away)
    monkeypatch.setattr(worker.signals, "wait", back)

    assert worker.run() is ExitCode.DONE
    assert waits == [1.0, 2.0, 2.0]
    assert (RAN, reasons) == ([1], [("empty", 1)])


def test_who_waits_for_a_store_at_the_start_still_obeys(make, bus, monkeypatch, reasons):
    worker = make(1, max_time=3600)
    monkeypatch.setattr(bus.connections.port(), "orders", away)
    monkeypatch.setattr(worker.signals, "wait", lambda limit, bell=None: worker.stop())

    assert worker.run() is ExitCode.DONE
    assert (RAN, reasons) == ([], [("signal", 0)])


def test_a_store_that_turns_out_to_be_unusable_ends_who_waits_for_it(
    make, bus, monkeypatch, reasons
):
    worker = make(1)
    port = bus.connections.port()

    def damaged():
        raise StoreDamaged(backend="memory://", operation="orders", reason="torn")

    monkeypatch.setattr(port, "orders", away)
    monkeypatch.setattr(
        worker.signals,
        "wait",
        lambda limit, bell=None: monkeypatch.setattr(port, "orders", damaged),
    )

    with pytest.raises(BackendError):
        worker.run()
    assert reasons == [("error", 0)]


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
    assert (worker.rules.backoff, worker.settings.lease) == ((1.0, 2.0), 5)


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
        {"rest": -1},
        {"max_time": -1},
        {"max_jobs": -1},
        {"max_jobs": 1.5},
        {"memory": True},
        {"batch": 0},
        {"queues": {"a": 0}},
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
        raise ValueError


def test_an_error_is_told_on_one_line_whatever_it_does(bus, caplog):
    @listens(queue=True, name="raises")
    def raises(event: Ordered) -> None:
        raise UnshowableError

    bus.listen(raises)
    bus.dispatch(Ordered())
    Worker(bus, stop_when_empty=True).run()
    assert "(UnshowableError)" in caplog.text


def test_an_attempt_is_injected_where_it_is_asked_for(bus):
    numbers = []

    @listens(queue=True, name="asks")
    def asks(event: Ordered, attempt: Attempt) -> None:
        numbers.append(attempt.number)

    bus.listen(asks)
    bus.dispatch(Ordered())
    Worker(bus, stop_when_empty=True).run()
    assert numbers == [1]


def test_the_jobs_of_a_batch_are_claimed_and_acked_together(make, bus, monkeypatch):
    port = bus.connections.port()
    steps = []
    claim, exchange = port.claim, port.exchange
    monkeypatch.setattr(
        port,
        "claim",
        lambda *queues, **more: steps.append((0, more["limit"])) or claim(*queues, **more),
    )
    monkeypatch.setattr(
        port,
        "exchange",
        lambda done, *queues, **more: (
            steps.append((len(done), more["limit"])) or exchange(done, *queues, **more)
        ),
    )
    # However slow this machine is just now.
    monkeypatch.setattr("eventbus.worker.hand.ACK_WINDOW", 99)
    monkeypatch.setattr("eventbus.worker.pace.BATCH_TIME", 99)
    monkeypatch.setattr("eventbus.worker.leases.BATCH_TIME", 99)

    make(*range(1, 90), stop_when_empty=True).run()

    assert list(range(1, 90)) == RAN
    assert [one for one, _ in steps] == [0, 1, 4, 16, 64, 4]
    assert [most for _, most in steps[:4]] == [1, 4, 16, 64]


def test_a_job_that_is_claimed_alone_is_acked_as_the_next_is_claimed(make, bus, monkeypatch):
    port = bus.connections.port()
    steps = []
    for verb in ("claim", "ack_all", "exchange"):
        call = getattr(port, verb)

        def told(*arguments, verb=verb, call=call, **options):
            steps.append(verb)
            return call(*arguments, **options)

        monkeypatch.setattr(port, verb, told)

    make(1, 2, 3, stop_when_empty=True, batch=1).run()

    assert RAN == [1, 2, 3]
    assert steps == ["claim", "exchange", "exchange", "exchange"]


def test_where_the_store_takes_two_steps_so_does_the_worker(make, bus, monkeypatch):
    port = bus.connections.port()
    monkeypatch.setattr(
        port.backend, "capabilities", evolve(port.backend.capabilities, exchange=False)
    )
    monkeypatch.setattr(port, "exchange", None)

    make(1, 2, 3, stop_when_empty=True, batch=1).run()

    assert RAN == [1, 2, 3]
    assert port.size("jobs") == Sizes()


@pytest.mark.parametrize(
    "options", [{"paused_when": lambda: bool(RAN)}, {"once": True}, {"rest": 60.0}, {"max_jobs": 1}]
)
def test_no_ack_waits_for_a_claim_that_is_not_made(make, bus, monkeypatch, options):
    worker = make(1, 2, **options)
    port, leased = bus.connections.port(), []

    def wait(limit, bell=None):
        leased.append(port.size("jobs").leased)
        worker.stop()

    monkeypatch.setattr(worker.signals, "wait", wait)

    worker.run()

    assert (RAN, port.size("jobs").leased, sum(leased)) == ([1], 0, 0)


def test_no_more_is_claimed_than_may_run(make, bus):
    worker = make(*range(1, 40), max_jobs=7)
    assert worker.run() is ExitCode.DONE
    assert (len(RAN), bus.connections.port().size("jobs").ready) == (7, 32)
    assert worker.processed == 7


def test_one_by_one_means_one_by_one(make, bus, monkeypatch):
    port = bus.connections.port()
    limits, claim = [], port.claim
    monkeypatch.setattr(
        port,
        "claim",
        lambda *queues, **more: limits.append(more["limit"]) or claim(*queues, **more),
    )
    make(*range(1, 20), stop_when_empty=True, batch=1).run()
    assert set(limits) == {1}


def test_what_was_claimed_and_has_not_begun_goes_back_when_it_stops(make, bus):
    """The rest of a batch is given back at once, in its place, with nothing counted."""
    make(*range(1, 20), 99, *range(20, 60)).run()
    assert RAN[-1] == 99
    [head] = bus.connections.port().claim(["jobs"])
    assert (head.attempts, head.releases, head.losses) == (0, 0, 0)
    assert bus.connections.port().size("jobs").ready == 60 - len(RAN) - 1


def test_it_asks_before_each_claim_whether_it_is_paused(make):
    """K14."""
    answers = [True, True, False, False]
    worker = make(1, 99, paused_when=lambda: answers.pop(0), sleep=0.001)
    assert worker.run() is ExitCode.DONE
    assert (RAN, answers) == ([1, 99], [])


def paused_by_an_operator(bus, worker):
    bus.connections.port().pause(["*"])


def paused_by_a_signal(bus, worker):
    worker.signals.paused = True


def vetoed(bus, worker):
    bus.listen(WorkerLooping, lambda event: False)


def paused_by_a_callable(bus, worker):
    """`paused_when`, as below."""


PAUSES = [paused_by_an_operator, paused_by_a_signal, vetoed, paused_by_a_callable]


@pytest.mark.parametrize("limit", ["once", "stop_when_empty"])
@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("pause", PAUSES)
def test_with_all_its_queues_paused_there_is_no_job_for_it(
    make, bus, reasons, pause, limit, delayed
):
    """What would never end before somebody resumed them ends as if they were empty."""
    asked = (lambda: True) if pause is paused_by_a_callable else None
    worker = make(1, **{limit: True}, include_delayed=delayed, paused_when=asked)
    pause(bus, worker)

    assert worker.run() is ExitCode.DONE

    assert (RAN, reasons) == ([], [("once" if limit == "once" else "empty", 0)])
    assert bus.connections.port().size("jobs").ready == 1


def test_a_paused_queue_does_not_keep_it_and_the_others_are_worked_off(make, bus, reasons):
    port = bus.connections.port()
    port.pause(["resting"])
    port.push([Envelope(id="rests", queue="resting", body=b"{}", delay=600)])

    worker = make(1, queues=["resting", "jobs"], stop_when_empty=True, include_delayed=True)

    assert worker.run() is ExitCode.DONE
    assert (RAN, reasons) == ([1], [("empty", 1)])


@pytest.mark.parametrize(
    "numbers, limits, reason",
    [
        ((99, 1), {"once": True}, "signal"),
        ((1, 2), {"once": True, "max_jobs": 1}, "once"),
        ((1, 2), {"stop_when_empty": True, "max_jobs": 2}, "empty"),
        ((1, 2, 3), {"stop_when_empty": True, "max_jobs": 2}, "max_jobs"),
        ((), {"stop_when_empty": True, "max_time": 1e-9}, "empty"),
        ((1,), {"stop_when_empty": True, "max_time": 1e-9}, "max_time"),
    ],
)
def test_the_first_reason_that_holds_counts(make, reasons, numbers, limits, reason):
    """K10."""
    make(*numbers, **limits).run()
    assert [one for one, _ in reasons] == [reason]


@pytest.mark.parametrize("delayed, reason", [(False, "empty"), (True, "max_jobs")])
def test_what_is_delayed_counts_as_it_was_told_to(make, bus, reasons, delayed, reason):
    bus.listen(Ordered, Late)
    make(1, stop_when_empty=True, include_delayed=delayed, max_jobs=1).run()
    assert reasons == [(reason, 1)]


def test_a_store_that_is_away_cannot_say_whether_it_is_empty(make, bus, monkeypatch, reasons):
    worker = make(1, 2, stop_when_empty=True, max_jobs=1)
    monkeypatch.setattr(bus.connections.port(), "next_due", away)
    worker.run()
    assert reasons == [("max_jobs", 1)]


def test_jobs_may_be_claimed_by_something_else(make, bus):
    """K17."""
    asked = []

    def claim(port, queues, limit, lease):
        asked.append((queues, lease))
        return port.claim(queues, limit=limit, lease=lease)

    make(1, stop_when_empty=True, claim=claim, lease=9).run()
    assert (RAN, asked[0]) == ([1], (("jobs",), 9))


@pytest.fixture
def lost(bus, clock):
    """A job whose worker died, and how long whoever runs it now may be silent."""
    found = []

    @listens(queue=True)
    def look(event: Ordered, bus: EventBus) -> None:
        port = bus.connections.port()
        [job] = port.peek()
        found.append((job.due - clock.now()).total_seconds())

    globals()["look"] = look
    look.__qualname__ = "look"
    bus.listen(look)
    bus.dispatch(Ordered(1))
    bus.connections.port().claim(["jobs"], lease=5)
    clock.advance(6)
    yield found
    del globals()["look"]


def test_a_job_that_was_lost_is_held_longer(bus, lost):
    """F7: whoever had it may be at work still, where no thread can renew a lease; so may this one be."""
    Worker(bus, stop_when_empty=True, lease=5).run()

    assert lost == [20.0]


def test_a_job_that_somebody_took_before_it_was_held_longer_does_not_run(
    bus, clock, lost, monkeypatch
):
    backend = bus.connections.port().backend
    monkeypatch.setattr(backend, "extend", lambda claims, **_: list(claims))

    Worker(bus, stop_when_empty=True, lease=5).run()

    assert lost == []


def test_a_job_that_was_lost_runs_although_it_cannot_be_held_longer(bus, lost, monkeypatch):
    monkeypatch.setattr(bus.connections.port().backend, "extend", away)

    Worker(bus, stop_when_empty=True, lease=5).run()

    assert lost == [5.0]


def test_without_a_name_it_is_called_by_its_machine_and_process(bus):
    import os

    assert Worker(bus).name.endswith(f":{os.getpid()}")
    assert Worker(bus, name="w1").name == "w1"


def test_it_says_who_starts_and_stops(make, bus):
    """K26."""
    heard = []
    bus.listen(WorkerStarting, heard.append)
    bus.listen(WorkerStopping, heard.append)
    make(1, name="w1", stop_when_empty=True).run()
    starting, stopping = heard
    assert (starting.name, starting.queues) == ("w1", ("jobs",))
    assert (stopping.name, stopping.reason, stopping.processed) == ("w1", "empty", 1)


def test_when_the_memory_is_used_up_the_code_says_so(make, monkeypatch, reasons):
    """K3, K11."""
    monkeypatch.setattr("eventbus.worker.stops.Stops._is_too_large", lambda self: bool(RAN))
    assert make(1, 2, memory=1).run() is ExitCode.MEMORY
    assert (RAN, reasons) == ([1], [("memory", 1)])


# What a job raised.


class RefusedError(Exception):
    """One that can be watched."""


@frozen
class Tried:
    pass


RAISED: list[weakref.ref[BaseException]] = []


def refused() -> RefusedError:
    error = RefusedError("no")
    RAISED.append(weakref.ref(error))
    return error


def refuse(event: Tried) -> None:
    raise refused()


def refuse_knowing_the_attempt(event: Tried, attempt: Attempt) -> None:
    raise refused()


@pytest.fixture
def uncollected(caplog):
    caplog.set_level(logging.CRITICAL)  # its records have the errors
    RAISED.clear()
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("listener", [refuse, refuse_knowing_the_attempt])
def test_what_a_job_raised_is_gone_when_the_next_one_begins(
    bus, clock, uncollected, listener, tries
):
    """F38: an error, its traceback and all that their frames hold do not wait for a collection."""
    bus.listen(listens(queue=True, tries=tries, backoff=0)(listener))
    for _ in range(5):
        bus.dispatch(Tried())

    assert Worker(bus, stop_when_empty=True).run() is ExitCode.DONE

    assert len(RAISED) == 5 * tries
    assert [error() for error in RAISED[:-1] if error() is not None] == []
    assert len(bus.failed.all()) == 5
