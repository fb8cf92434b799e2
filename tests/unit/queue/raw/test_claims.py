"""Raw jobs: pushed as JSON, claimed by hand, settled in each of the ways; in three stores."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from eventbus import EventBus, listens
from eventbus.defaults import DATA_DEPTH_LIMIT, DATA_SIZE_LIMIT, LEASE, MAX_LOST, PARK_DELAY
from eventbus.errors import (
    DecodeError,
    EncodeError,
    InvalidOption,
    LeaseLost,
    UnknownConnection,
    UnknownName,
)
from eventbus.queue.codec.document import read
from eventbus.queue.envelope import Envelope
from eventbus.testing import fake_queue

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "wire-format.md").read_text("utf-8")
RAW = re.search(r"### Raw jobs.*?```json\n(.*?)```", PAGE, re.DOTALL)[1].encode()
LISTENERS = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1].encode()


@listens(queue="mixed", name="listener")
def listener(name: str, payload: tuple[object, ...]) -> None: ...


#: Seconds after which what did not happen is a failure.
DEADLINE = 20

PAYLOADS = [
    None,
    True,
    -(2**63),
    1.5,
    "",
    "é\x00\u2028",
    [],
    {},
    {"to": ["a@example.com", None], "nested": {"": [[0]]}},
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
def test_a_payload_comes_back_as_it_was(emails, payload):
    emails.push(payload)

    found = emails.claim().payload

    assert (found, type(found)) == (payload, type(payload))


DEEP: list = []
for _ in range(DATA_DEPTH_LIMIT):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "payload",
    [
        (1,),
        {1: 2},
        float("nan"),
        b"",
        {1, 2},
        object(),
        DEEP,
        "x" * DATA_SIZE_LIMIT,
        "\ud800",
        2**64,
    ],
    ids=["tuple", "key", "nan", "bytes", "set", "object", "deep", "long", "surrogate", "integer"],
)
def test_what_is_no_json_is_the_producers_error_and_stores_nothing(emails, payload):
    with pytest.raises(EncodeError, match="a raw job cannot be stored"):
        emails.push_many([1, payload])

    assert emails.claim() is None


def test_an_id_is_stored_once(emails):
    assert emails.push(1, id="welcome-17") == "welcome-17"
    assert emails.push(2, id="welcome-17") == "welcome-17"

    assert [(job.id, job.payload) for job in emails] == [("welcome-17", 1)]


def test_several_are_pushed_in_order(emails):
    ids = emails.push_many(["a", "b", "c"])
    assert emails.push_many([7, 8], ids=["seven", "eight"]) == ["seven", "eight"]
    assert emails.push_many([]) == []

    found = [(job.id, job.payload) for job in emails]

    assert found == [*zip(ids, "abc", strict=True), ("seven", 7), ("eight", 8)]


def test_a_coroutine_pushes_too(emails):
    async def push():
        return [await emails.apush("a", id="a"), *await emails.apush_many(["b"], ids=["b"])]

    assert asyncio.run(push()) == ["a", "b"]
    assert [job.payload for job in emails] == ["a", "b"]


def test_a_coroutine_pushes_without_a_thread_where_the_store_can(emails, port, monkeypatch):
    threads = []

    async def apush(envelopes):
        threads.append(threading.current_thread())
        port.push(envelopes)

    monkeypatch.setattr(type(port), "pushes_async", True)
    monkeypatch.setattr(port, "apush", apush)

    asyncio.run(emails.apush("a"))

    assert threads == [threading.current_thread()]
    assert emails.claim().payload == "a"


@pytest.mark.parametrize(
    "options",
    [
        {"ids": ["one"]},
        {"ids": ["one", "two words"]},
        {"ids": ["one", ""]},
        {"delay": -1},
        {"delay": "soon"},
    ],
)
def test_what_cannot_be_pushed_so_is_refused_and_stores_nothing(emails, options):
    with pytest.raises(InvalidOption):
        emails.push_many([1, 2], **options)

    assert emails.claim() is None


@pytest.mark.parametrize("delay", [30, timedelta(seconds=30)])
def test_a_delayed_job_is_claimed_when_it_is_due(emails, clock, delay):
    emails.push("later", delay=delay)
    assert emails.claim() is None

    clock.advance(30)

    assert emails.claim().payload == "later"


def test_a_claim_says_what_it_is_of(emails, clock):
    job_id = emails.push("a")

    job = emails.claim()

    assert (job.id, job.queue, job.attempts, job.losses) == (job_id, "emails", 0, 0)
    assert job.pushed_at == clock.now()
    assert not job.settled
    assert "payload" not in repr(job)  # it may be anybody's data


def test_an_acked_job_is_gone(emails, port):
    emails.push("a")

    job = emails.claim()
    job.ack()

    assert job.settled
    assert port.peek(queues=["emails"]) == []


@pytest.mark.parametrize("spend, attempts", [(False, 0), (True, 1)])
def test_a_released_job_is_due_after_its_delay(emails, clock, spend, attempts):
    emails.push("a")

    emails.claim().release(10, spend=spend)

    assert emails.claim() is None
    clock.advance(10)
    job = emails.claim()
    assert (job.payload, job.attempts, job.losses) == ("a", attempts, 0)


def test_a_job_that_is_given_back_keeps_its_place(emails):
    emails.push_many(["a", "b"])

    emails.claim().give_back()

    assert [job.payload for job in emails] == ["a", "b"]


def raised() -> ValueError:
    try:
        raise ValueError("no such address")
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    "error, kept", [("", ""), ("bounced", "bounced"), (raised(), "ValueError: no such address")]
)
def test_a_buried_job_is_among_the_failed(bus, emails, error, kept):
    job_id = emails.push("a")

    emails.claim().bury(error)

    [failed] = bus.failed.all()
    assert (failed.id, failed.name, failed.event, failed.queue) == (job_id, "raw", "", "emails")
    assert failed.error.strip().endswith(kept)
    assert emails.claim() is None


def test_a_claim_is_held_for_its_lease(emails, clock):
    emails.push("a")
    first = emails.claim()
    clock.advance(LEASE - 1)
    assert emails.claim() is None
    first.extend(30)
    clock.advance(29)
    assert emails.claim() is None

    clock.advance(1)

    second = emails.claim()
    assert (second.id, second.losses) == (first.id, 1)
    for settle in (first.ack, first.release, first.bury, first.extend, first.give_back):
        with pytest.raises(LeaseLost):
            settle()
    assert not first.settled
    second.ack()


def test_a_job_is_settled_once(emails):
    emails.push("a")
    job = emails.claim()
    job.ack()

    with pytest.raises(LeaseLost):
        job.ack()


def test_queues_are_looked_at_in_the_order_given(bus):
    bus.queue("low").push_many([1, 2])
    bus.queue("high").push(3)

    found = [(job.queue, job.payload) for job in bus.queue("high", "low", "empty", "high")]

    assert found == [("high", 3), ("low", 1), ("low", 2)]


def test_a_handle_of_several_queues_pushes_nothing(bus):
    with pytest.raises(InvalidOption, match="one queue to push to"):
        bus.queue("high", "low").push(1)


def test_a_handle_says_what_it_is_of(bus):
    handle = bus.queue("high", "low", "high")

    assert (handle.names, handle.connection) == (("high", "low"), "default")
    assert repr(handle) == "<RawQueue high, low of default>"


def test_what_cannot_be_a_handle_is_refused(bus):
    with pytest.raises(InvalidOption):
        bus.queue("two words")
    with pytest.raises(UnknownConnection):
        bus.queue("emails", connection="nowhere")


def test_a_handle_is_of_the_connection_that_it_was_asked_for():
    with EventBus(connections={"default": "memory://", "mail": "memory://"}) as bus:
        bus.queue("emails", connection="mail").push(1)

        assert bus.queue("emails").claim() is None
        assert bus.queue("emails", connection="mail").claim().payload == 1


def test_a_sync_connection_has_no_queues():
    with (
        EventBus(connections={"default": "sync://"}) as bus,
        pytest.raises(InvalidOption, match="one that stores jobs"),
    ):
        bus.queue("emails").push(1)


# What others have put there.


def test_what_the_page_of_the_wire_format_says_is_all_that_is_needed(emails, port):
    port.push([Envelope(id="mail-17", queue="emails", body=RAW)])

    job = emails.claim()

    assert (job.id, job.payload) == ("mail-17", {"to": "a@example.com", "subject": "Welcome"})


def test_what_is_pushed_is_what_the_page_says(emails, port):
    emails.push({"to": "a@example.com", "subject": "Welcome"}, id="mail-17")

    [stored] = port.peek(queues=["emails"])

    same = {"dispatched_at": ""}
    assert {**json.loads(stored.envelope.body), **same} == {**json.loads(RAW), **same}


@pytest.mark.parametrize(
    "change",
    [{"event": "a"}, {"payload": "class"}, {"options": {"hops": 1}}],
    ids=["event", "payload", "options"],
)
def test_a_raw_document_with_anything_of_a_listeners_is_refused(change):
    with pytest.raises(DecodeError, match="a raw job has"):
        read(json.dumps({**json.loads(RAW), **change}).encode())


def test_a_listeners_document_with_a_raw_payload_is_refused():
    with pytest.raises(DecodeError, match="the payload of a raw one"):
        read(json.dumps({**json.loads(LISTENERS), "payload": "value"}).encode())


def test_a_later_kind_may_have_another_form():
    with pytest.raises(UnknownName, match="no kind of job is called 'stream'"):
        read(json.dumps({"v": 1, "kind": "stream", "frames": []}).encode())


@pytest.mark.parametrize(
    "body, why",
    [
        (b"\xff\xfe", "not UTF-8"),
        (b'{"to": "a@example.com"}', "no wire version"),
        (RAW.replace(b'"mail-17"', b'"mail-18"'), "the document of another job"),
        (RAW.replace(b'"a@example.com"', b"NaN"), "NaN is not JSON"),
    ],
    ids=["bytes", "bare", "another", "nan"],
)
def test_bytes_that_are_no_raw_job_are_buried_and_the_next_is_claimed(bus, emails, port, body, why):
    port.push([Envelope(id="mail-17", queue="emails", body=body)])
    emails.push("next")

    assert emails.claim().payload == "next"

    [failed] = bus.failed.all()
    assert (failed.id, failed.body, failed.attempts) == ("mail-17", body, 0)
    assert why in failed.reason


def test_a_listeners_job_is_parked_for_its_worker(bus, emails, port, clock):
    job_id = json.loads(LISTENERS)["id"]
    port.push([Envelope(id=job_id, queue="emails", body=LISTENERS)])
    emails.push("next")

    assert [job.payload for job in emails] == ["next"]

    [parked] = bus.failed.parked()
    assert (parked.id, "a worker is to run it" in parked.reason) == (job_id, True)
    clock.advance(PARK_DELAY)
    [claim] = port.claim(["emails"])
    assert (claim.attempts, claim.losses, claim.releases) == (0, 0, 0)


def test_a_job_that_is_lost_too_often_is_buried(bus, emails, clock):
    job_id = emails.push("deadly")
    for losses in range(MAX_LOST):
        assert emails.claim().losses == losses
        clock.advance(LEASE)

    assert emails.claim() is None

    [failed] = bus.failed.all()
    assert (failed.id, failed.losses, failed.attempts) == (job_id, MAX_LOST, 0)
    assert failed.reason.startswith("eventbus.errors.JobLost")


def test_a_bad_job_that_somebody_else_buries_first_is_passed_over(emails, port, monkeypatch):
    port.push([Envelope(id="bad", queue="emails", body=b"")])
    emails.push("next")
    bury = port.bury

    def overtaken(claim, **more):
        bury(claim, error="by another")
        bury(claim, **more)

    monkeypatch.setattr(port, "bury", overtaken)

    assert emails.claim().payload == "next"


def test_a_worker_parks_a_raw_job(bus, emails, port, work, clock):
    job_id = emails.push("a")

    work(bus, queues=["emails"])

    [parked] = bus.failed.parked()
    assert (parked.id, parked.name) == (job_id, "raw")
    assert "no worker runs it: `bus.queue(...)` claims it" in parked.reason
    clock.advance(PARK_DELAY)
    job = emails.claim()
    assert (job.payload, job.attempts, job.losses) == ("a", 0, 0)


# Waiting.


@pytest.fixture
def waiting(port, monkeypatch):
    """Set when somebody has found nothing, and goes to wait."""
    begun = threading.Event()
    next_due = port.next_due

    def asked(*arguments, **options):
        begun.set()
        return next_due(*arguments, **options)

    monkeypatch.setattr(port, "next_due", asked)
    return begun


@pytest.mark.parametrize("wait", [None, DEADLINE, timedelta(seconds=DEADLINE)])
@pytest.mark.parametrize("bells", [True, False], ids=["bell", "no bell"])
def test_a_claim_waits_for_what_comes(emails, port, waiting, monkeypatch, wait, bells):
    if not bells:
        monkeypatch.setattr(port, "bell", lambda queues: None)
    found = []
    thread = threading.Thread(target=lambda: found.append(emails.claim(wait=wait)), daemon=True)
    thread.start()
    assert waiting.wait(DEADLINE)

    emails.push("a")

    thread.join(DEADLINE)
    assert [job.payload for job in found] == ["a"]


def test_a_claim_waits_no_longer_than_it_was_told(emails):
    assert emails.claim(wait=0.01) is None


def test_a_claim_waits_not_at_all_unless_told(emails, waiting):
    assert emails.claim() is None
    assert not waiting.is_set()


@pytest.mark.parametrize("options", [{"wait": -1}, {"wait": "long"}, {"lease": 0}, {"lease": -1}])
def test_a_claim_needs_durations(emails, options):
    with pytest.raises(InvalidOption):
        emails.claim(**options)


# Under the fake.


def test_a_fake_queue_stands_in_for_the_store(bus, emails, port):
    with fake_queue(bus) as fake:
        emails.push("a", delay=10)
        assert fake.jobs == []
        assert fake.drain() == []
        fake.clock.advance(10)
        assert [job.payload for job in emails] == ["a"]

    assert port.queues() == []


def test_a_drain_does_not_run_raw_jobs(bus):
    bus.listen("order.*", listener)
    with fake_queue(bus) as fake:
        bus.queue("mixed").push("a")
        bus.dispatch("order.shipped")
        with pytest.raises(
            AssertionError, match="only jobs of listeners in 'mixed', but one is raw"
        ):
            fake.drain()
