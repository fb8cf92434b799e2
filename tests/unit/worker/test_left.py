"""What a worker left behind when it died is settled by the next one."""

from __future__ import annotations

import logging
import os

import pytest
from attrs import frozen

from eventbus import EventBus, Job, JobFailed, ShouldQueue, listens
from eventbus.backends.base import Sizes
from eventbus.errors import BackendUnavailable, WorkerDied
from eventbus.queue.envelope import Envelope
from eventbus.worker import ExitCode, Worker, shift
from eventbus.worker.claiming import ClaimingPort
from eventbus.worker.ledger import NOTHING_LEFT, SharedLedger, make_file
from eventbus.worker.left import settle_left

RAN: list[int] = []


@frozen
class Ordered:
    number: int


@listens(queue=True, tries=2, backoff=0)
def note(event: Ordered) -> None:
    RAN.append(event.number)


@listens(queue=True, tries=lambda event: 1)
def ask(event: Ordered) -> None:
    RAN.append(event.number)


@pytest.fixture
def ledger():
    RAN.clear()
    file = make_file()
    yield SharedLedger(file)
    os.close(file)


@pytest.fixture
def port(bus):
    return bus.connections.port()


@pytest.fixture
def left(bus, port, ledger):
    """Five jobs that a worker held when it died, of which it ran the third."""

    def made(listener=note, *, running=2):
        bus.listen(listener)
        for number in range(5):
            bus.dispatch(Ordered(number))
        claims = port.claim(["jobs"], limit=5)
        ledger.takes(claims)
        if running is not None:
            ledger.begins(claims[running])
            ledger.runs(0.0)
        return claims

    return made


def work(bus, ledger, *, died="", **options):
    worker = Worker(bus, stop_when_empty=True, **options)
    worker.ledgers, worker.died = [ledger], died
    return worker.run()


def test_what_was_finished_does_not_run_again_and_what_waited_runs_at_once(bus, port, ledger, left):
    """F1: only the job that ran runs again."""
    left()

    assert work(bus, ledger, died="signal 11, SIGSEGV") is ExitCode.DONE

    assert sorted(RAN) == [2, 3, 4]
    assert port.size("jobs") == Sizes()
    assert ledger.left() == NOTHING_LEFT


def test_what_a_claim_took_is_given_back_although_nobody_noted_what(bus, port, ledger):
    bus.listen(note)
    for number in range(3):
        bus.dispatch(Ordered(number))
    ClaimingPort(port, ledger).claim(["jobs"], limit=3)

    assert work(bus, ledger) is ExitCode.DONE

    assert RAN == [0, 1, 2]
    assert port.size("jobs") == Sizes()


@pytest.mark.parametrize("was_made", [False, True])
def test_who_died_as_it_claimed_and_acked_in_one_step_leaves_neither(
    bus, port, ledger, left, was_made
):
    """F1: what had run does not run again, and what was claimed runs at once, whether or not the step was made."""
    claims = left(running=None)
    for claim in claims:
        ledger.begins(claim)
        ledger.runs(0.0)
        ledger.ran()
    bus.dispatch(Ordered(9))
    ledger.claims(["jobs"], "b1")
    if was_made:
        port.exchange(claims, ["jobs"], token="b1")

    assert work(bus, ledger, died="signal 9, SIGKILL") is ExitCode.DONE

    assert RAN == [9]
    assert port.size("jobs") == Sizes()
    assert ledger.left() == NOTHING_LEFT


def test_a_claim_is_noted_before_it_is_made(bus, port, ledger, monkeypatch):
    bus.listen(note)
    bus.dispatch(Ordered(1))
    claim, noted = port.backend.claim, []

    def watched(queues, *, token, **options):
        noted.append(ledger.left().claim == (list(queues), token))
        return claim(queues, token=token, **options)

    monkeypatch.setattr(port.backend, "claim", watched)

    work(bus, ledger)

    assert noted == [True, True]
    assert RAN == [1]
    assert ledger.left() == NOTHING_LEFT


def test_the_job_that_did_it_has_had_an_attempt(bus, port, ledger, left):
    claims = left()
    work(bus, ledger, died="signal 11, SIGSEGV", paused_when=lambda: True)

    found = {job.envelope.id: job for job in port.peek()}

    assert set(found) == {claim.envelope.id for claim in claims[2:]}
    assert [(found[c.envelope.id].attempts, found[c.envelope.id].losses) for c in claims[2:]] == [
        (1, 0),
        (0, 0),
        (0, 0),
    ]


@pytest.mark.parametrize("size, losses", [(1, 1), (2, 0)])
def test_the_job_that_may_not_have_done_it_is_lost_as_when_its_lease_ends(
    bus, port, clock, ledger, size, losses
):
    """F1: in a batch it may have been any of it, so the next claim is of it alone, and that one counts."""
    bus.listen(note)
    for number in range(size):
        bus.dispatch(Ordered(number))
    claims = port.claim(["jobs"], limit=size)
    ledger.takes(claims)
    ledger.begins(claims[-1])
    ledger.runs(0.0)

    work(bus, ledger, paused_when=lambda: True)

    clock.advance(1)
    [again] = port.claim(["jobs"], limit=5)
    assert (again.envelope.id, again.attempts) == (claims[-1].envelope.id, 0)
    assert again.losses == losses


@listens(queue=True, tries=1)
def once(event: Ordered) -> None:
    RAN.append(event.number)


@pytest.mark.parametrize("listener", [once, ask])
def test_after_its_last_try_it_is_failed_with_what_happened(bus, ledger, left, listener):
    heard = []
    bus.listen(JobFailed, lambda event: heard.append(event.error))
    left(listener)

    work(bus, ledger, died="exit code 0")

    [failed] = bus.failed.all()
    assert failed.attempts == 1
    assert "WorkerDied: the worker died (exit code 0) while" in failed.error
    [error] = heard
    assert isinstance(error, WorkerDied)
    assert error.how == "exit code 0"
    assert RAN == [3, 4]


class Twice(ShouldQueue):
    """Says how often by a method, for which it has to be built."""

    def tries(self, event: Ordered) -> int:
        return 2

    def handle(self, event: Ordered) -> None:
        RAN.append(event.number)


@pytest.mark.parametrize("deaths, outcome", [(1, "runs"), (2, "failed"), (3, "failed")])
def test_one_that_nobody_could_ask_how_often_is_asked_before_its_next_run(
    bus, port, ledger, deaths, outcome
):
    """It is not built around a death: that may be what ended the process. Three deaths are the end of it."""
    bus.listen(Twice)
    bus.dispatch(Ordered(1))
    for _ in range(deaths):
        claims = port.claim(["jobs"], limit=1)
        ledger.takes(claims)
        ledger.begins(claims[0])
        ledger.runs(0.0)
        work(bus, ledger, died="exit code 0", paused_when=lambda: True)

    work(bus, ledger)

    failed = [job.attempts for job in bus.failed.all()]
    assert (RAN, failed) == (([1], []) if outcome == "runs" else ([], [deaths]))


@pytest.mark.parametrize("deaths", [1, 2])
def test_what_it_said_before_it_died_is_known(bus, port, ledger, deaths):
    """So it fails after its tries, and with what happened."""
    bus.listen(Twice)
    bus.dispatch(Ordered(1))
    for _ in range(deaths):
        claims = port.claim(["jobs"], limit=1)
        ledger.takes(claims)
        ledger.begins(claims[0])
        ledger.runs(0.0)
        ledger.asked(2)
        work(bus, ledger, died="exit code 0", paused_when=lambda: True)

    failed = bus.failed.all()
    assert [job.attempts for job in failed] == ([2] if deaths == 2 else [])
    assert all("WorkerDied: the worker died (exit code 0)" in job.error for job in failed)
    assert [job.attempts for job in port.peek()] == ([1] if deaths == 1 else [])


def test_between_two_jobs_nobody_did_it(bus, port, ledger, left):
    left(running=None)

    work(bus, ledger, died="exit code 1")

    assert sorted(RAN) == [0, 1, 2, 3, 4]
    assert bus.failed.all() == []


def test_what_another_worker_has_by_now_is_left_to_it(bus, port, clock, ledger, left):
    left()
    clock.advance(61)
    others = [claim for _ in range(5) for claim in port.claim(["jobs"], limit=5)]

    work(bus, ledger, died="exit code 1")

    assert RAN == []
    for claim in others:
        port.ack(claim)
    assert port.size("jobs") == Sizes()


def test_a_job_that_is_gone_by_now_is_no_trouble(bus, port, ledger, left):
    for claim in left():
        port.ack(claim)

    assert work(bus, ledger, died="exit code 1") is ExitCode.DONE
    assert RAN == []


def test_a_job_that_cannot_be_read_is_failed_for_that(bus, port, ledger):
    port.push([Envelope(id="a", queue="jobs", body=b"nonsense")])
    claims = port.claim(["jobs"], limit=1)
    ledger.takes(claims)
    ledger.begins(claims[0])
    ledger.runs(0.0)

    work(bus, ledger, died="exit code 1")

    [failed] = bus.failed.all()
    assert "DecodeError" in failed.error


def test_a_store_that_is_away_gives_them_back_when_their_leases_end(
    bus, port, ledger, left, monkeypatch, caplog
):
    left()

    def away(*_, **__):
        raise BackendUnavailable(backend="memory", operation="ack", reason="away")

    monkeypatch.setattr(port.backend, "ack", away)
    with caplog.at_level(logging.WARNING):
        work(bus, ledger, died="exit code 1")

    assert "comes back when its leases end" in caplog.text
    assert port.size("jobs").leased == 5


# Of several threads.


@pytest.fixture
def several(bus, port, clock):
    """Three threads, each with a batch of two, of which it ran the first."""
    RAN.clear()
    bus.listen(note)
    for number in range(6):
        bus.dispatch(Ordered(number))
    file = make_file(3)
    ledgers = [SharedLedger(file, number) for number in range(3)]
    claims = []
    for ledger in ledgers:
        batch = port.claim(["jobs"], limit=2)
        ledger.takes(batch)
        ledger.begins(batch[0])
        ledger.runs(0.0)
        claims.append(batch)
    yield ledgers, claims
    os.close(file)


def settle(bus, port, ledgers, how=""):
    return settle_left(ledgers, how, port=port, lease=60.0, executor=bus.executor, here=bus)


@pytest.mark.parametrize("how", ["", "signal 11, SIGSEGV"])
def test_of_several_that_ran_each_is_held_to_run_alone(bus, port, several, how):
    """F9: nobody is blamed, and the rest goes back."""
    ledgers, claims = several

    alone = settle(bus, port, ledgers, how)

    ran = [batch[0].envelope.id for batch in claims]
    assert sorted(claim.envelope.id for claim in alone) == sorted(ran)
    assert all(claim.envelope.body for claim in alone)
    assert port.size("jobs") == Sizes(ready=3, leased=3)
    for claim in alone:
        port.ack(claim)  # the claims are good
    assert all(ledger.left() == NOTHING_LEFT for ledger in ledgers)


def test_those_that_are_to_run_alone_do_so_however_long_they_take(bus, several, monkeypatch):
    """F9: nothing of them goes back to where others would run beside it."""
    monkeypatch.setattr(shift, "BATCH_SLACK", 0)
    ledgers, _ = several
    worker = Worker(bus, threads=3, stop_when_empty=True)
    worker.ledgers, worker.died = ledgers, "signal 11, SIGSEGV"

    assert worker.run() is ExitCode.DONE

    assert RAN[:3] == [0, 2, 4]
    assert sorted(RAN[3:]) == [1, 3, 5]


def test_the_one_that_is_over_its_time_is_the_one(bus, port, several):
    ledgers, claims = several
    ledgers[1].begins(claims[1][0])
    ledgers[1].runs(0.000001)

    [alone] = settle(bus, port, ledgers, "its job let no thread run")

    assert alone.envelope.id == claims[1][0].envelope.id
    assert port.size("jobs") == Sizes(ready=5, leased=1)


def test_one_that_another_worker_has_by_now_does_not_run_here(bus, port, several):
    ledgers, claims = several
    port.release(claims[0][0])

    alone = settle(bus, port, ledgers)

    assert claims[0][0].envelope.id not in {claim.envelope.id for claim in alone}
    assert len(alone) == 2


def test_where_one_thread_alone_ran_something_it_is_the_one(bus, port, several):
    ledgers, claims = several
    for ledger in ledgers[1:]:
        ledger.ran()

    assert settle(bus, port, ledgers, "exit code 1") == ()

    found = {job.envelope.id: job for job in port.peek()}
    assert found[claims[0][0].envelope.id].attempts == 1
    assert claims[1][0].envelope.id not in found  # acked


def test_they_run_before_anything_else_is_claimed(bus, port, several):
    ledgers, _ = several
    worker = Worker(bus, threads=3, stop_when_empty=True)
    worker.ledgers = ledgers

    worker.run()

    assert sorted(RAN[:3]) == [0, 2, 4]
    assert sorted(RAN) == [0, 1, 2, 3, 4, 5]


class Step(Job, name="left.step"):
    number: int

    def handle(self) -> None:
        RAN.append(self.number)


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_what_was_finished_in_a_plan_counts_and_is_gone_on_with(
    ledger, tmp_path, redis_server, store
):
    """What the ledger has of a claim does not say that others are to follow."""
    redis_server.ask("FLUSHALL")
    url = f"sqlite:///{tmp_path}/queue.db" if store == "sqlite" else redis_server.url
    with EventBus(connections={"default": url}) as bus:
        batch = bus.batch(bus.chain(Step(1), Step(2), Step(3))).enqueue()
        port = bus.connections.port()
        claims = port.claim(["default"], limit=5)
        ledger.takes(claims)
        ledger.begins(claims[0])
        ledger.runs(0.0)
        ledger.ran()

        assert work(bus, ledger, died="signal 9, SIGKILL") is ExitCode.DONE

        assert RAN == [2, 3]
        assert batch.state().succeeded == 3
        assert batch.state().finished
