"""What a worker left behind when it died is settled by the next one."""

from __future__ import annotations

import logging
import os

import pytest
from attrs import frozen

from eventbus import JobFailed, listens
from eventbus.backends.base import Sizes
from eventbus.errors import BackendUnavailable, WorkerDied
from eventbus.queue.envelope import Envelope
from eventbus.worker import ExitCode, Worker
from eventbus.worker.ledger import NOTHING_LEFT, SharedLedger, make_file

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
            ledger.runs(claims[running], 0.0)
        return claims

    return made


def work(bus, ledger, *, died="", **options):
    worker = Worker(bus, stop_when_empty=True, **options)
    worker.ledger, worker.died = ledger, died
    return worker.run()


def test_what_was_finished_does_not_run_again_and_what_waited_runs_at_once(bus, port, ledger, left):
    """F1: only the job that ran runs again."""
    left()

    assert work(bus, ledger, died="signal 11, SIGSEGV") is ExitCode.DONE

    assert sorted(RAN) == [2, 3, 4]
    assert port.size("jobs") == Sizes()
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
    ledger.runs(claims[-1], 0.0)

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
    ledger.runs(claims[0], 0.0)

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
