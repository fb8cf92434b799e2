"""Many jobs of one worker at once on one loop: what it holds, how each ends, how all end."""

from __future__ import annotations

import asyncio
import contextvars
import select
import threading

import pytest
from attrs import frozen

from eventbus import EventBus, Job, listens
from eventbus.backends.port import Port
from eventbus.defaults import CONCURRENCY_LIMIT
from eventbus.errors import (
    BackendUnavailable,
    InvalidOption,
    JobInterrupted,
    ListenerTimeout,
    StoreDamaged,
)
from eventbus.queue.envelope import Envelope
from eventbus.queue.execution import Execution
from eventbus.queue.spans import Span
from eventbus.worker import ExitCode, Worker
from eventbus.worker.hands import Hands
from eventbus.worker.ledger import Ledger
from eventbus.worker.settings import ledgers_for
from eventbus.worker.tasks import LoopSignals


@frozen
class Ordered:
    number: int


RAN: list[int] = []
TOGETHER = 5
MINE: contextvars.ContextVar[int] = contextvars.ContextVar("MINE", default=-1)


@listens(queue=True, tries=1)
async def note(event: Ordered) -> None:
    assert MINE.get() == -1
    MINE.set(event.number)
    await asyncio.sleep(0)
    assert MINE.get() == event.number
    RAN.append(event.number)


class Meeting:
    """Where so many jobs wait for each other; of the loop that comes first."""

    barrier: asyncio.Barrier | None = None


@listens(queue=True, tries=1)
async def meet(event: Ordered) -> None:
    Meeting.barrier = Meeting.barrier or asyncio.Barrier(TOGETHER)
    async with asyncio.timeout(20):
        await Meeting.barrier.wait()
    RAN.append(event.number)


@pytest.fixture(autouse=True)
def _fresh():
    RAN.clear()
    Meeting.barrier = None


def pushed(bus, count):
    for number in range(count):
        bus.dispatch(Ordered(number))


# How they work.


def test_jobs_run_at_once(bus):
    bus.listen(meet)
    pushed(bus, TOGETHER)

    assert Worker(bus, concurrency=TOGETHER, stop_when_empty=True).run() is ExitCode.DONE

    assert sorted(RAN) == list(range(TOGETHER))


def test_each_job_runs_once_and_in_a_context_of_its_own(bus):
    bus.listen(note)
    pushed(bus, 500)
    worker = Worker(bus, concurrency=16, stop_when_empty=True)

    assert worker.run() is ExitCode.DONE

    assert sorted(RAN) == list(range(500))
    assert worker.processed == 500
    assert bus.connections.port().size("jobs").leased == 0


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_it_runs_as_many_jobs_as_it_may(bus, limit):
    bus.listen(note)
    pushed(bus, 200)

    assert Worker(bus, concurrency=8, max_jobs=limit).run() is ExitCode.DONE

    assert len(RAN) == limit
    assert bus.connections.port().size("jobs").ready == 200 - limit


class Link(Job, name="concurrency.link"):
    number: int

    async def handle(self) -> None:
        RAN.append(self.number)


@pytest.mark.parametrize("options", [{}, {"batch": 1}, {"include_delayed": True}])
def test_a_queue_is_empty_when_what_is_done_lets_no_other_come(store_url, options):
    """An ack that is not written yet may be what the next of a chain waits for."""
    with EventBus(connections={"default": store_url}) as bus:
        bus.chain(Link(0), Link(1), bus.batch(Link(2), Link(3)), Link(4)).enqueue()
        bus.batch(*map(Link, range(10, 30)), on_done=Link(40)).enqueue()

        worker = Worker(bus, concurrency=4, stop_when_empty=True, **options)
        assert worker.run() is ExitCode.DONE

        assert sorted(RAN) == [*range(5), *range(10, 30), 40]
        assert list(bus.connections.port().each_stored()) == []


def test_it_runs_beside_a_block_too(bus):
    bus.listen(meet)

    with bus.worker(concurrency=TOGETHER) as worker:
        pushed(bus, TOGETHER)
        assert worker.drain(20)

    assert len(RAN) == TOGETHER


def test_a_worker_may_run_again(bus):
    bus.listen(note)
    worker = Worker(bus, concurrency=3, stop_when_empty=True)

    for number in range(3):
        bus.dispatch(Ordered(number))
        worker.run()

    assert RAN == [0, 1, 2]


def test_what_breaks_its_store_ends_it_and_is_raised(bus, monkeypatch):
    def damaged(*_, **__):
        raise StoreDamaged(backend="memory", operation="claim", reason="rot")

    monkeypatch.setattr(bus.connections.port().backend, "claim", damaged)

    with pytest.raises(StoreDamaged):
        Worker(bus, concurrency=4).run()

    assert "eventbus-feed" not in {thread.name for thread in threading.enumerate()}


def test_a_store_that_is_broken_when_a_job_is_settled_ends_it(bus, monkeypatch):
    @listens(queue=True, tries=1)
    async def fail(event: Ordered) -> None:
        raise ValueError(event.number)

    def damaged(*_, **__):
        raise StoreDamaged(backend="memory", operation="bury", reason="rot")

    monkeypatch.setitem(globals(), "fail", fail)
    fail.__qualname__ = "fail"
    bus.listen(fail)
    pushed(bus, 1)
    monkeypatch.setattr(bus.connections.port().backend, "bury", damaged)

    with pytest.raises(StoreDamaged):
        Worker(bus, concurrency=4).run()


def test_what_was_held_already_runs_first_and_alone(bus):
    bus.listen(note)
    pushed(bus, 3)
    worker = Worker(bus, concurrency=4, stop_when_empty=True)
    claims = bus.connections.port().claim(["jobs"], limit=2)
    worker._settle_left = lambda _: claims

    worker.run()

    assert RAN == [0, 1, 2]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2", CONCURRENCY_LIMIT + 1])
def test_there_is_a_whole_number_of_them(bus, wrong):
    with pytest.raises(InvalidOption, match="concurrency"):
        Worker(bus, concurrency=wrong)


def test_threads_and_one_loop_do_not_go_together(bus):
    with pytest.raises(InvalidOption, match="sync jobs"):
        Worker(bus, concurrency=2, threads=2)


def test_with_once_one_job_runs(bus):
    bus.listen(note)
    pushed(bus, 3)

    Worker(bus, concurrency=5, once=True).run()

    assert RAN == [0]


def test_each_job_that_is_held_has_a_ledger():
    assert ledgers_for(4, 1) == 4
    assert ledgers_for(1, 100) > 101


# How each ends, without signals: in a thread that is not the main one.


def in_a_thread(work):
    """Do `work` in another thread; return what came of it."""
    found = []

    def do():
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    thread.join(20)
    [one] = found
    if isinstance(one, BaseException):
        raise one
    return one


async def bounded(signals, seconds, work):
    return await signals.waiting(Span("a job", seconds), work)


def waiting(*works):
    """Await works with their limits, at once on one loop; return what came of each."""

    async def all_of_them(signals):
        return await asyncio.gather(
            *(bounded(signals, seconds, work()) for seconds, work in works),
            return_exceptions=True,
        )

    def run():
        with LoopSignals(grace=60) as signals:
            return asyncio.run(all_of_them(signals))

    return in_a_thread(run)


async def for_ever():
    await asyncio.Event().wait()


async def at_once():
    return "done"


def test_each_has_a_limit_of_its_own():
    over, done, unlimited = waiting((0.01, for_ever), (60, at_once), (0, at_once))

    assert isinstance(over, ListenerTimeout)
    assert (over.seconds, done, unlimited) == (0.01, "done", "done")


def test_time_in_which_another_one_blocks_the_loop_is_on_nobodys_account():
    freed = asyncio.Event()

    async def innocent():
        await freed.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        return "done"

    async def blocks():
        select.select([], [], [], 0.7)
        freed.set()

    assert waiting((0.4, innocent), (60, blocks)) == ["done", None]


def test_one_that_swallows_it_is_cancelled_again(monkeypatch):
    monkeypatch.setattr("eventbus.worker.tasks.AGAIN", 0.01)
    swallowed = []

    async def stubborn():
        for _ in range(2):
            try:
                await for_ever()
            except asyncio.CancelledError as error:
                swallowed.append(error)

    [over] = waiting((0.01, stubborn))

    assert isinstance(over, ListenerTimeout)
    assert len(swallowed) == 2


def test_what_leaves_the_program_leaves_no_loop_behind():
    async def leaving():
        raise SystemExit(3)

    def run():
        with LoopSignals(grace=60) as signals:
            return asyncio.run(bounded(signals, 60, leaving()))

    with pytest.raises(SystemExit):
        in_a_thread(run)


def test_when_it_is_time_to_stop_nothing_begins():
    signals = LoopSignals(grace=0)
    signals.hear_stop(15)

    with pytest.raises(JobInterrupted):
        signals.running(Span("a job", 60), lambda: RAN.append(1))

    assert RAN == []
    assert signals.interrupted
    # What follows a run has a moment all the same.
    assert signals.running(Span("its failed()", 60, follows=True), lambda: "told") == "told"


def test_a_limit_may_change_while_it_runs():
    async def work(signals):
        span = Span("a job", 60)
        task = asyncio.ensure_future(signals.waiting(span, for_ever()))
        await asyncio.sleep(0)
        before = signals._limit_at
        signals.change(span, 0)
        after = signals._limit_at
        task.cancel()
        await asyncio.wait([task])
        return before < after, signals.step

    def run():
        with LoopSignals(grace=60) as signals:
            return asyncio.run(work(signals))

    assert in_a_thread(run) == (True, "")


# What it holds.


class Noted(Ledger):
    is_read = True

    def __init__(self):
        self.said = []

    def takes(self, claims):
        self.said.append(("takes", [one.envelope.id for one in claims]))

    def begins(self, claim):
        self.said.append(("begins", claim.envelope.id))

    def runs(self, limit):
        self.said.append(("runs", limit))

    def ran(self):
        self.said.append("ran")

    def holds_none(self):
        self.said.append("none")


@pytest.fixture
def port(bus):
    port = bus.connections.port()
    port.push([Envelope(id=f"job{number}", queue="jobs", body=b"{}") for number in range(3)])
    return port


@pytest.fixture
def ledgers():
    return [Noted() for _ in range(3)]


@pytest.fixture
def woken():
    return []


@pytest.fixture
def hands(port, ledgers, woken):
    return Hands(
        port,
        lambda _: False,
        ledgers=ledgers,
        wake=lambda: woken.append("wake"),
        freed=lambda: woken.append("freed"),
    )


def execution(claim, port, limit=0.0):
    from eventbus.queue.attempt import Attempt

    envelope = claim.envelope
    attempt = Attempt(id=envelope.id, name="", connection=port.name, queue="jobs", number=1)
    return Execution(envelope=envelope, claim=claim, port=port, attempt=attempt, limit=limit)


@pytest.fixture
def claims(port, hands):
    claims = port.claim(["jobs"], limit=3)
    hands.take_up(claims)
    return claims


def test_acks_are_noted_and_written_later(port, hands, claims, ledgers, woken):
    for claim in claims[:2]:
        assert hands.begins(claim)
        run = execution(claim, port, limit=7.0)
        hands.runs(run)
        hands.ack(run)
    assert (hands.busy, hands.room, port.size("jobs").leased) == (1, 0, 3)
    assert woken == ["wake"]

    hands.flush()

    assert (hands.busy, hands.room, port.size("jobs").leased) == (1, 2, 1)
    assert woken == ["wake", "freed"]
    told = sorted(ledger.said for ledger in ledgers if len(ledger.said) > 1)
    assert told == [
        [("takes", [f"job{n}"]), ("begins", f"job{n}"), ("runs", 7.0), "ran", "none"]
        for n in range(2)
    ]


def test_a_claim_that_may_be_somebody_elses_by_now_does_not_begin(port, hands):
    [claim] = port.claim(["jobs"])
    hands.take_up([claim], claimed_at=-1_000_000.0)

    assert not hands.begins(claim)

    assert hands.give_back() == 1
    assert port.size("jobs").ready == 3
    assert hands.room == 3


def test_one_that_another_worker_has_is_forgotten_and_its_ledger_is_free(
    port, hands, claims, ledgers, caplog
):
    hands.begins(claims[0])

    hands.lost(claims[:2])

    assert not hands.begins(claims[1])
    assert (hands.busy, hands.room) == (2, 1)
    run = execution(claims[0], port)
    hands.runs(run)
    hands.ack(run)
    hands.flush()
    assert hands.room == 2
    assert len(hands.ledgers()) == 1


def test_around_one_that_is_stuck_the_others_go_back(port, hands, claims):
    for claim, limit in zip(claims, (0.0, 5.0, 60.0), strict=True):
        hands.begins(claim)
        hands.runs(execution(claim, port, limit=limit))

    claim, run = hands.seize()

    assert (claim, run.limit) == (claims[1], 5.0)
    assert hands.give_back() == 2
    assert {job.envelope.id for job in port.peek() if job.state == "ready"} == {"job0", "job2"}
    assert not hands.begins(claims[0])


def test_one_that_keeps_the_loop_from_turning_is_the_one_that_is_stuck(port):
    hands = Hands(port, lambda _: False, blocker=lambda: "job2")
    claims = port.claim(["jobs"], limit=3)
    hands.take_up(claims)
    for claim, limit in zip(claims, (0.0, 5.0, 60.0), strict=True):
        hands.begins(claim)
        hands.runs(execution(claim, port, limit=limit))

    claim, _ = hands.seize()

    assert claim == claims[2]
    assert hands.give_back() == 2


def test_nothing_is_stuck_where_nothing_runs(hands):
    assert hands.seize() == (None, None)


def test_without_ledgers_there_is_room_for_all(bus, port):
    hands = Hands(port, lambda _: False)
    claims = port.claim(["jobs"], limit=3)

    hands.take_up(claims)
    hands.begins(claims[0])
    hands.let_go()

    assert (hands.busy, hands.room > 1_000_000, hands.runs_for()) == (0, True, 0.0)


def test_a_job_whose_outcome_cannot_be_stored_comes_back_with_its_lease(bus, monkeypatch, caplog):
    """The worker is told to stop while the store is away."""

    @listens(queue=True, tries=1)
    async def fail(event: Ordered) -> None:
        worker.stop()
        raise ValueError(event.number)

    def away(*_, **__):
        raise BackendUnavailable(backend="memory", operation="bury", reason="gone")

    monkeypatch.setitem(globals(), "fail", fail)
    fail.__qualname__ = "fail"
    bus.listen(fail)
    pushed(bus, 1)
    port: Port = bus.connections.port()
    monkeypatch.setattr(port.backend, "bury", away)
    worker = Worker(bus, concurrency=4)

    assert worker.run() is ExitCode.DONE

    assert port.size("jobs").leased == 1
    assert "comes back when its lease ends" in caplog.text


def test_acks_that_cannot_be_stored_come_back_with_their_leases(bus, monkeypatch, caplog):
    def away(*_, **__):
        raise BackendUnavailable(backend="memory", operation="ack", reason="gone")

    @listens(queue=True, tries=1)
    async def last(event: Ordered) -> None:
        worker.stop()

    monkeypatch.setitem(globals(), "last", last)
    last.__qualname__ = "last"
    bus.listen(last)
    pushed(bus, 1)
    monkeypatch.setattr(bus.connections.port().backend, "ack", away)
    worker = Worker(bus, concurrency=4)

    assert worker.run() is ExitCode.DONE

    assert "comes back when its lease" in caplog.text
