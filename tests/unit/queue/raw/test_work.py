"""`work`: exactly True acks, all else buries; leases, interruptions, orders, and a store that is away."""

from __future__ import annotations

import functools
import logging
import threading

import pytest

from eventbus import EventBus
from eventbus.backends.base import Sizes
from eventbus.defaults import LEASE
from eventbus.errors import (
    BackendUnavailable,
    InvalidOption,
    LeaseLost,
    SchemaMismatch,
    UnsupportedOption,
)
from eventbus.queue.envelope import Envelope
from eventbus.queue.raw import work as work_module

#: Seconds after which what did not happen is a failure.
DEADLINE = 20


class Truth:
    """True in every way but one."""

    def __eq__(self, other):
        return other is True

    def __bool__(self):
        return True

    __hash__ = None


def test_exactly_true_acks(emails):
    emails.push_many(["a", "b"])
    seen = []

    def send(job):
        seen.append(job.payload)
        return True

    assert emails.work(send, stop_when_empty=True) == 2

    assert seen == ["a", "b"]
    assert emails.size() == Sizes()


@pytest.mark.parametrize(
    "answer", [None, False, 1, "yes", Truth()], ids=["none", "false", "one", "text", "equal"]
)
def test_any_other_answer_buries(emails, answer):
    job_id = emails.push("a")

    emails.work(lambda job: answer, stop_when_empty=True)

    [job] = emails.buried()
    assert (job.id, job.payload, job.attempts) == (job_id, "a", 1)
    assert "only True says that a job is done" in job.error
    assert emails.size() == Sizes(failed=1)


def raising(error):
    def handler(job):
        raise error

    return handler


@pytest.mark.parametrize(
    "error", [ValueError("no such address"), MemoryError("full"), GeneratorExit("odd")]
)
def test_an_exception_buries_and_the_work_goes_on(emails, error):
    emails.push_many(["a", "b"])

    assert emails.work(raising(error), stop_when_empty=True) == 2

    for job in emails.buried():
        assert f"{type(error).__name__}: {error}" in job.error
        assert "in handler" in job.error  # the traceback


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit(3)])
def test_an_interruption_gives_the_job_back_unspent(emails, error):
    emails.push_many(["a", "b"])

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        emails.work(raising(error))

    first = emails.claim()
    assert (first.payload, first.attempts, first.losses) == ("a", 0, 0)
    assert emails.size() == Sizes(ready=1, leased=1)


def test_an_interruption_after_the_job_was_settled_changes_nothing(emails):
    emails.push("a")

    def handler(job):
        job.ack()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        emails.work(handler)

    assert emails.size() == Sizes()


def test_an_interruption_while_the_store_is_away_goes_on(emails, monkeypatch, caplog):
    emails.push("a")

    def handler(job):
        monkeypatch.setattr(job._port, "release", away())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        emails.work(handler)

    assert "release did not happen" in caplog.text


def away(times=1_000_000, then=None):
    """Return what raises so often as if the store were away."""
    left = [times]

    def call(*arguments, **options):
        if left[0]:
            left[0] -= 1
            operation = "release" if then is None else then.__name__
            raise BackendUnavailable(backend="store", operation=operation, reason="unplugged")
        return then(*arguments, **options)

    return call


@pytest.mark.parametrize(
    "settle, sizes",
    [
        (lambda job: job.ack(), Sizes()),
        (lambda job: job.release(60), Sizes(delayed=1)),
        (lambda job: job.bury("by hand"), Sizes(failed=1)),
    ],
    ids=["ack", "release", "bury"],
)
@pytest.mark.parametrize("answer", [True, None])
def test_what_the_handler_settles_itself_holds(emails, settle, sizes, answer):
    emails.push("a")

    def handler(job):
        settle(job)
        return answer

    assert emails.work(handler, stop_when_empty=True) == 1
    assert emails.size() == sizes


def test_an_error_after_a_settlement_is_logged(emails, caplog):
    emails.push("a")

    def handler(job):
        job.release(60)
        raise ValueError("too late")

    emails.work(handler, stop_when_empty=True)

    assert emails.size() == Sizes(delayed=1)
    assert "settled itself, and raised afterwards" in caplog.text
    assert "too late" in caplog.text


def test_a_claim_tells_of_tries_that_count(emails, clock):
    emails.push("a")
    seen = []

    def handler(job):
        seen.append(job.attempts)
        if job.attempts < 2:
            job.release(spend=True)
        return True

    emails.work(handler, stop_when_empty=True)

    assert seen == [0, 1, 2]
    assert emails.size() == Sizes()


def test_a_job_whose_lease_was_lost_is_left_to_the_other(emails, clock, caplog):
    emails.push("a")
    others = []

    def handler(job):
        clock.advance(LEASE)
        others.append(emails.claim())
        return True

    assert emails.work(handler, stop_when_empty=True) == 1

    assert "changed nothing: its lease was lost" in caplog.text
    others[0].ack()


def test_a_job_that_is_lost_while_it_raises_is_left_to_the_other(emails, clock, caplog):
    emails.push("a")
    others = []

    def handler(job):
        clock.advance(LEASE)
        others.append(emails.claim())
        raise ValueError

    emails.work(handler, stop_when_empty=True)

    assert "is buried" not in caplog.text
    others[0].ack()


def test_the_lease_is_renewed_while_the_handler_runs(emails, port, monkeypatch):
    emails.push("a")
    renewed = threading.Semaphore(0)
    extend = port.extend

    def counted(claims, *, lease):
        lost = extend(claims, lease=lease)
        renewed.release()
        return lost

    monkeypatch.setattr(port, "extend", counted)

    def handler(job):
        return all(renewed.acquire(timeout=DEADLINE) for _ in range(3))

    emails.work(handler, lease=0.06, stop_when_empty=True)

    assert emails.size() == Sizes()


def test_a_renewal_that_fails_is_tried_again(emails, port, monkeypatch, caplog):
    emails.push("a")
    renewed = threading.Event()
    extend = port.extend

    def told(claims, *, lease):
        renewed.set()
        return extend(claims, lease=lease)

    monkeypatch.setattr(port, "extend", away(2, then=told))

    assert emails.work(lambda job: renewed.wait(DEADLINE), lease=0.06, stop_when_empty=True) == 1
    assert caplog.text.count("was not renewed: BackendUnavailable") == 2


def test_a_lost_lease_is_not_renewed_for_ever(emails, port, monkeypatch):
    emails.push("a")
    asked = threading.Event()
    calls = []

    def lost(claims, *, lease):
        calls.append(claims)
        asked.set()
        return list(claims)

    monkeypatch.setattr(port, "extend", lost)
    held = threading.Event()

    def handler(job):
        assert asked.wait(DEADLINE)
        monkeypatch.setattr(port, "orders", functools.partial(told_then, held, port.orders))
        return True

    assert emails.work(handler, lease=0.06, stop_when_empty=True) == 1
    assert len(calls) == 1


def told_then(event, call):
    event.set()
    return call()


# When to stop, and orders.


def test_it_goes_on_until_it_is_told_to_stop(emails):
    stop = threading.Event()
    emails.push_many(["a", "b", "c"])

    def handler(job):
        if job.payload == "b":
            stop.set()
        return True

    assert emails.work(handler, stop=stop.is_set) == 2
    assert emails.size() == Sizes(ready=1)


def test_what_comes_while_it_waits_is_handled(emails, port, monkeypatch):
    """With the bell's help where there is one; the poll is the net."""
    waits, stop = threading.Event(), threading.Event()
    next_due = port.next_due

    def asked(*arguments, **options):
        waits.set()
        return next_due(*arguments, **options)

    monkeypatch.setattr(port, "next_due", asked)
    seen = []

    def handler(job):
        seen.append(job.payload)
        stop.set()
        return True

    thread = threading.Thread(target=lambda: emails.work(handler, stop=stop.is_set), daemon=True)
    thread.start()
    assert waits.wait(DEADLINE)

    emails.push("a")

    thread.join(DEADLINE)
    assert (seen, thread.is_alive()) == (["a"], False)


def test_a_restart_ends_it(emails, port, monkeypatch):
    monkeypatch.setattr(work_module, "ORDERS_INTERVAL", 0)
    emails.push_many(["a", "b"])
    port.restart()  # that of before it began is for others

    def handler(job):
        port.restart()
        return True

    assert emails.work(handler) == 1
    assert emails.size() == Sizes(ready=1)


def test_a_paused_queue_rests(bus, port, monkeypatch):
    monkeypatch.setattr(work_module, "ORDERS_INTERVAL", 0)
    bus.queue("high").push("a")
    bus.queue("low").push("b")
    port.pause(["high"])
    seen = []

    def handler(job):
        seen.append(job.payload)
        return True

    both = bus.queue("high", "low")
    assert both.work(handler, stop_when_empty=True) == 1
    port.resume(["high"])
    assert both.work(handler, stop_when_empty=True) == 1
    assert seen == ["b", "a"]


@pytest.mark.parametrize("paused", [["emails"], ["*"]])
def test_it_waits_while_all_is_paused(emails, port, monkeypatch, paused):
    monkeypatch.setattr(work_module, "ORDERS_INTERVAL", 0)
    emails.push("a")
    port.pause(paused)
    asked = []

    def stop():
        asked.append(None)
        if len(asked) == 3:
            port.resume(paused)
        return emails.size() == Sizes()

    assert emails.work(lambda job: True, stop=stop, idle=0.01) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"lease": 0},
        {"lease": -1},
        {"idle": 0},
        {"idle": "long"},
    ],
)
def test_what_cannot_be_is_refused(emails, options):
    with pytest.raises(InvalidOption):
        emails.work(lambda job: True, stop_when_empty=True, **options)


async def coroutine(job):
    return True


@pytest.mark.parametrize("handler", [None, "send", coroutine])
def test_a_handler_is_a_sync_function(emails, handler):
    with pytest.raises(InvalidOption, match="handler"):
        emails.work(handler, stop_when_empty=True)


# What is no job of ours, and a store that is away.


def test_bytes_that_are_no_job_never_reach_the_handler(emails, port):
    port.push([Envelope(id="bad", queue="emails", body=b"\xff")])
    emails.push("a")
    seen = []

    emails.work(lambda job: seen.append(job.payload) or True, stop_when_empty=True)

    assert seen == ["a"]
    assert [job.id for job in emails.buried()] == ["bad"]


@pytest.mark.parametrize("verb", ["claim", "ack", "next_due", "orders"])
def test_a_store_that_is_away_is_waited_for(emails, port, monkeypatch, caplog, verb):
    monkeypatch.setattr(work_module, "STORE_BACKOFF_LIMIT", 0)
    monkeypatch.setattr(work_module, "ORDERS_INTERVAL", 0)
    emails.push("a")
    stop = threading.Event()
    real = getattr(port, verb)
    # The first look at the orders says that the store can be used at all.
    begun = [] if verb == "orders" else [None]
    gone = away(2, then=real)
    monkeypatch.setattr(
        port, verb, lambda *a, **o: gone(*a, **o) if begun else begun.append(None) or real(*a, **o)
    )

    def idle(*arguments, **options):
        stop.set()
        return real_due(*arguments, **options)

    real_due = port.next_due
    monkeypatch.setattr(port, "next_due", idle)

    assert emails.work(lambda job: True, stop=stop.is_set if verb != "next_due" else later(3)) == 1

    assert emails.size() == Sizes()
    expected = 1 if verb == "next_due" else 2
    assert caplog.text.count("the store is away") >= expected


def later(rounds):
    """Return what says True after it was asked so often."""
    left = [rounds]

    def stop():
        left[0] -= 1
        return left[0] < 0

    return stop


def test_a_store_that_cannot_be_used_ends_it(emails, port, monkeypatch):
    emails.push("a")

    def claim(*arguments, **options):
        raise SchemaMismatch(backend="store", found="9", wanted="2")

    monkeypatch.setattr(port, "claim", claim)

    with pytest.raises(SchemaMismatch):
        emails.work(lambda job: True)


def test_a_job_that_cannot_be_settled_when_it_is_to_stop_comes_back(
    emails, port, monkeypatch, clock, caplog
):
    emails.push("a")
    stop = threading.Event()
    monkeypatch.setattr(port, "ack", away(then=port.ack))

    def handler(job):
        stop.set()
        return True

    assert emails.work(handler, stop=stop.is_set) == 1

    assert "could not be settled, and comes back when its lease ends" in caplog.text
    clock.advance(LEASE)
    job = emails.claim()
    assert (job.payload, job.losses) == ("a", 1)


def test_a_store_that_keeps_no_failed_jobs_says_so():
    with EventBus(connections={"default": "memory://"}) as bus:
        port, emails = bus.connections.port(), bus.queue("emails")
        emails.push("a")

        def bury(claim, **more):
            raise UnsupportedOption(backend="store", capability="failed_jobs")

        port.bury = bury
        with pytest.raises(UnsupportedOption):
            emails.work(raising(ValueError()), stop_when_empty=True)


def test_a_record_about_a_job_says_which(emails, caplog):
    job_id = emails.push("a")

    with caplog.at_level(logging.WARNING):
        emails.work(lambda job: None, stop_when_empty=True)

    [record] = [one for one in caplog.records if "is buried" in one.getMessage()]
    assert record.job == {
        "id": job_id,
        "name": "raw",
        "connection": "default",
        "queue": "emails",
        "attempt": 1,
    }


def test_a_lease_that_is_lost_says_so(emails, clock):
    emails.push("a")
    job = emails.claim()
    clock.advance(LEASE)
    emails.claim()

    with pytest.raises(LeaseLost, match="extend"):
        job.extend()
