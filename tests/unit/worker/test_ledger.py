"""What a process holds is noted where another one reads it."""

from __future__ import annotations

import os
import time

import pytest

from eventbus.defaults import HEALTH_BEAT, STUCK_AFTER
from eventbus.queue.envelope import Envelope
from eventbus.worker.ledger import NOTHING_LEFT, Ledger, Left, SharedLedger, make_file


@pytest.fixture
def file():
    file = make_file()
    yield file
    os.close(file)


@pytest.fixture
def written(file):
    return SharedLedger(file)


@pytest.fixture
def read(file):
    """The same ledger, as another process has it."""
    return SharedLedger(file)


@pytest.fixture
def claims(bus):
    port = bus.connections.port()
    port.push([Envelope(id=f"job{number}", queue="jobs", body=b"{}") for number in range(4)])
    return port.claim(["jobs"], limit=4)


def ids(claims):
    return [claim.envelope.id for claim in claims]


def test_nothing_is_left_before_anything_was_held(read):
    assert read.left() == NOTHING_LEFT
    assert read.is_empty
    assert not read.has_worked
    assert read.reason == ""


def test_a_batch_waits_until_one_of_it_runs(written, read, claims):
    written.takes(claims)

    left = read.left()

    assert (left.finished, left.running) == ((), None)
    assert ids(left.waiting) == ids(claims)
    assert read.has_worked
    assert not read.is_empty


def test_what_is_left_has_all_that_settling_needs_but_the_body(written, read, claims):
    written.takes(claims)
    written.begins(claims[0])
    written.runs(1.0)

    running = read.left().running

    assert running.token == claims[0].token
    assert running.envelope == Envelope(id="job0", queue="jobs", body=b"")
    assert running.pushed_at == claims[0].pushed_at


@pytest.mark.parametrize("at", range(4))
def test_those_before_the_one_that_runs_are_finished(written, read, claims, at):
    written.takes(claims)
    written.begins(claims[at])
    written.runs(0.0)

    left = read.left()

    assert ids(left.finished) == ids(claims[:at])
    assert left.running.envelope.id == claims[at].envelope.id
    assert ids(left.waiting) == ids(claims[at + 1 :])


@pytest.mark.parametrize("at", range(4))
def test_one_that_ran_is_finished_too(written, read, claims, at):
    written.takes(claims)
    written.begins(claims[at])
    written.runs(0.0)
    written.ran()

    left = read.left()

    assert ids(left.finished) == ids(claims[: at + 1])
    assert left.running is None
    assert ids(left.waiting) == ids(claims[at + 1 :])


def test_one_that_is_being_read_is_told_from_one_that_runs(written, read, claims):
    written.takes(claims)
    written.begins(claims[1])

    assert (read.left().running.envelope.id, read.left().is_read) == ("job1", True)
    assert not read.is_overdue(now=time.monotonic() + 1_000_000)
    written.runs(1.0)
    assert (read.left().running.envelope.id, read.left().is_read) == ("job1", False)


def test_what_settles_nothing_does_not_count_as_a_batch(written, read):
    written.ran()

    assert read.left() == NOTHING_LEFT


def test_nothing_is_left_of_a_batch_that_was_settled(written, read, claims):
    written.takes(claims)
    written.begins(claims[3])
    written.runs(0.0)

    written.holds_none()

    assert read.left() == NOTHING_LEFT
    assert read.has_worked


def test_a_batch_that_does_not_fit_is_not_noted(written, read, claims):
    written.takes(claims)

    written.takes(claims * 2_000)

    assert read.is_empty
    written.begins(claims[0])
    written.runs(1.0)
    assert read.is_empty


def test_a_claim_that_is_being_made_is_known_by_its_token(written, read, claims):
    written.claims(["high", "low"], "a1")

    assert read.left() == Left(finished=(), running=None, waiting=(), claim=(["high", "low"], "a1"))
    assert read.is_empty
    assert not read.has_worked


def test_a_batch_takes_the_place_of_its_claim(written, read, claims):
    written.claims(["jobs"], "a1")

    written.takes(claims)

    assert read.left().claim is None
    assert ids(read.left().waiting) == ids(claims)


def test_a_claim_takes_the_place_of_the_batch_before_it(written, read, claims):
    written.takes(claims)
    written.begins(claims[3])
    written.runs(1.0)

    written.claims(["jobs"], "a1")
    written.ran()  # of the batch before

    assert read.left() == Left(finished=(), running=None, waiting=(), claim=(["jobs"], "a1"))
    assert not read.is_overdue(now=time.monotonic() + 1_000_000)


def test_what_is_finished_stands_beside_the_claim_that_is_to_ack_it(written, read, claims):
    written.takes(claims)
    written.begins(claims[3])
    written.runs(0.0)
    written.ran()

    written.claims(["jobs"], "a1")

    assert ids(read.left().finished) == ids(claims)
    assert (read.left().running, read.left().waiting) == (None, ())
    assert read.left().claim == (["jobs"], "a1")
    assert read.is_empty
    read.settled()
    assert ids(read.left().finished) == ids(claims)

    written.takes(claims[:1])

    assert read.left() == Left(finished=(), running=None, waiting=read.left().waiting)
    assert ids(read.left().waiting) == ids(claims[:1])


def test_a_claim_that_does_not_fit_is_not_noted(written, read, claims):
    written.takes(claims)
    written.begins(claims[3])

    written.claims([f"queue-{number:0100}" for number in range(1_000)], "a1")

    assert read.left() == NOTHING_LEFT
    written.takes(claims)
    assert ids(read.left().waiting) == ids(claims)


def test_who_has_settled_what_it_held_may_have_been_claiming(written, read, claims):
    written.claims(["jobs"], "a1")
    read.settled()
    assert written.left().claim == (["jobs"], "a1")

    written.takes(claims)
    read.settled()
    assert written.left() == NOTHING_LEFT


@pytest.mark.parametrize("reason", ["signal", "max_jobs", ""])
def test_it_says_why_a_worker_stopped(written, read, reason):
    written.ends(reason)

    assert read.reason == reason


def test_who_begins_anew_forgets_what_was_done_and_not_what_is_held(written, read, claims):
    written.takes(claims)
    written.ends("error")

    read.begin_anew()

    assert (written.reason, written.has_worked) == ("", False)
    assert ids(written.left().waiting) == ids(claims)


def test_a_run_is_overdue_once_the_process_should_have_ended_it_and_lets_no_thread_run(
    written, read, claims
):
    now = time.monotonic()
    written.lives()
    written.takes(claims)
    written.begins(claims[0])
    written.runs(10.0)

    assert not read.is_overdue(now=now + 10 + STUCK_AFTER)
    assert read.is_overdue(now=now + 20)


def test_a_run_is_not_overdue_while_its_lease_thread_lives(written, read, claims):
    written.takes(claims)
    written.begins(claims[0])
    written.runs(1e-9)
    time_of_run = time.monotonic()
    written.lives()

    assert not read.is_overdue(now=time_of_run + STUCK_AFTER + HEALTH_BEAT)
    assert read.is_overdue(now=time_of_run + 1 + 3 * HEALTH_BEAT)


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_what_has_no_limit_or_does_not_run_is_never_overdue(written, read, claims, limit):
    written.takes(claims)
    written.begins(claims[0])
    written.runs(limit)
    if limit:
        written.holds_none()

    assert not read.is_overdue(now=time.monotonic() + 1_000_000)


def test_a_ledger_that_nobody_reads_keeps_nothing(claims):
    ledger = Ledger()

    ledger.takes(claims)
    ledger.begins(claims[0])
    ledger.runs(1.0)
    ledger.lives()
    ledger.ends("signal")

    assert ledger.left() == NOTHING_LEFT
    ledger.holds_none()
