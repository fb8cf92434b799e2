"""The failed jobs of all connections: listed, found, retried, forgotten, flushed and pruned."""

from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import frozen

from eventbus import listens
from eventbus.errors import FailedJobNotFound, InvalidOption, UnknownConnection
from eventbus.queue.envelope import Envelope
from eventbus.queue.failed import FailedJob


@frozen
class Ordered:
    number: int


@listens(queue="orders")
def ship(event: Ordered) -> None:
    raise ValueError(f"no stock\nof {event.number}")


@listens(queue="mails", connection="mail")
def write(event: Ordered) -> None:
    raise ConnectionError("no server")


@pytest.fixture
def bus(make_bus, work, clock):
    """A bus whose shipping failed at 0 s and whose mail failed at 60 s."""
    bus = make_bus(
        ship,
        write,
        connections={
            "default": "memory://",
            "mail": "memory://",
            "nothing": "null://",
            "now": "sync://",
        },
    )
    bus.dispatch(Ordered(7))
    work(bus, queues=["orders"])
    clock.advance(60)
    work(bus, "mail", queues=["mails"])
    return bus


def names(jobs):
    return [one.name.partition(":")[2] for one in jobs]


def test_the_repr_names_the_connections_and_asks_none(bus):
    assert repr(bus.failed) == "<FailedJobs of default, mail, nothing, now>"


def test_all_lists_those_of_every_connection_the_oldest_first(bus):
    assert names(bus.failed.all()) == ["ship", "write"]


def test_each_goes_through_those_of_every_connection_the_oldest_first(bus, clock, work):
    bus.dispatch(Ordered(8))
    clock.advance(60)
    work(bus, queues=["orders"])

    assert names(bus.failed.each()) == ["ship", "write", "ship"]
    assert list(bus.failed.each()) == bus.failed.all()
    assert names(bus.failed.each(connection="default", older_than=30)) == ["ship"]
    assert names(bus.failed.each(queue="mails")) == ["write"]
    ids = [one.id for one in bus.failed.each()][1:]
    assert names(bus.failed.each(ids=ids)) == ["write", "ship"]


def test_each_says_what_is_wrong_before_it_is_gone_through(bus):
    for wrong in ({"connection": "nowhere"}, {"queue": "a b"}, {"older_than": "1d"}):
        with pytest.raises((UnknownConnection, InvalidOption)):
            bus.failed.each(**wrong)


def test_all_may_be_of_one_connection_or_queue(bus):
    assert names(bus.failed.all(connection="mail")) == ["write"]
    assert names(bus.failed.all(queue="orders")) == ["ship"]
    assert names(bus.failed.all(connection="mail", queue="orders")) == []


def test_a_failed_job_says_what_it_was(bus):
    [job] = bus.failed.all(queue="orders")

    assert (job.event, job.connection, job.queue) == (f"{__name__}:Ordered", "default", "orders")
    assert (job.attempts, job.losses) == (1, 0)
    assert job.reason == "ValueError: no stock"
    assert "of 7" in job.error
    assert b'"number":7' in job.body


def test_find_asks_every_connection(bus):
    for job in bus.failed.all():
        assert bus.failed.find(job.id) == job


def test_find_names_what_it_did_not_find(bus):
    with pytest.raises(FailedJobNotFound, match="default, mail"):
        bus.failed.find("unknown")
    [job] = bus.failed.all(connection="mail")
    with pytest.raises(FailedJobNotFound):
        bus.failed.find(job.id, connection="default")


def test_retry_puts_them_back_wherever_they_lie(bus):
    ids = [one.id for one in bus.failed.all()]

    assert bus.failed.retry(*ids) == ids

    assert bus.failed.all() == []
    assert bus.connections.port().size("orders").ready == 1
    assert bus.connections.port("mail").size("mails").ready == 1


def test_retry_and_forget_do_the_others_when_one_is_unknown(bus):
    [first, second] = [one.id for one in bus.failed.all()]

    with pytest.raises(FailedJobNotFound, match="unknown"):
        bus.failed.retry("unknown", second)
    with pytest.raises(FailedJobNotFound, match="unknown"):
        bus.failed.forget(first, "unknown")

    assert bus.failed.all() == []


def test_forget_deletes_them(bus):
    [job] = bus.failed.all(connection="mail")

    assert bus.failed.forget(job.id) == [job.id]

    assert names(bus.failed.all()) == ["ship"]
    assert bus.connections.port("mail").size("mails").ready == 0


def test_flush_deletes_all_of_a_connection_or_queue(bus):
    assert bus.failed.flush(queue="elsewhere") == 0
    assert bus.failed.flush(connection="mail") == 1
    assert bus.failed.flush() == 1
    assert bus.failed.flush() == 0


def test_flush_deletes_the_rest_if_somebody_else_is_quicker_with_one(bus, monkeypatch):
    bus.dispatch(Ordered(8))
    port = bus.connections.port()
    port.bury(port.claim(["orders"])[0], error="no stock")
    listed = port.failed

    def overtaken(**only):
        jobs = listed(**only)
        port.revive([one.envelope.id for one in jobs[:1]])
        return jobs

    monkeypatch.setattr(port, "failed", overtaken)

    assert bus.failed.flush(connection="default") == 1

    assert listed() == []
    assert port.size("orders").ready == 1


@pytest.mark.parametrize("age", [30, timedelta(seconds=30)])
def test_all_may_be_of_those_that_failed_longer_ago(bus, age):
    assert names(bus.failed.all(older_than=age)) == ["ship"]


@pytest.mark.parametrize("age", [30, timedelta(seconds=30)])
def test_prune_deletes_what_failed_longer_ago(bus, age):
    assert bus.failed.prune(older_than=age) == 1
    assert names(bus.failed.all()) == ["write"]


def test_prune_without_a_clock_of_its_own_asks_the_machines(make_bus, bus):
    bus.connections.clock = None  # the jobs of the fixture failed in 2025

    assert bus.failed.prune(older_than=60) == 2


@pytest.mark.parametrize("age", [-1, "1d", None])
def test_prune_needs_a_duration(bus, age):
    with pytest.raises(InvalidOption, match="older_than"):
        bus.failed.prune(older_than=age)


def test_a_connection_nobody_configured_is_an_error(bus):
    with pytest.raises(UnknownConnection):
        bus.failed.all(connection="nowhere")


def test_bytes_that_cannot_be_read_are_shown_all_the_same(bus, work):
    bus.connections.port().push([Envelope(id="bad", queue="orders", body=b"\xff")])
    work(bus, queues=["orders"])

    job = bus.failed.find("bad")

    assert (job.name, job.event, job.body) == ("", "", b"\xff")
    assert "DecodeError" in job.reason


def job(error):
    fields = dict.fromkeys(("id", "name", "event", "connection", "queue"), "")
    return FailedJob(
        **fields, attempts=1, losses=0, pushed_at=None, failed_at=None, body=b"", error=error
    )


@pytest.mark.parametrize(
    "error, reason",
    [
        ("", ""),
        ("KeyError: 'a'\n", "KeyError: 'a'"),
        ("Traceback (most recent call last):\n  File x\n    f()\nKeyError: 1\nnote", "KeyError: 1"),
        (
            (
                "Traceback (most recent call last):\n  File x\nOSError: 1\n\nDuring handling\n\n"
                "Traceback (most recent call last):\n  File y\nKeyError: 2\n  more\n"
            ),
            "KeyError: 2",
        ),
        ("Traceback (most recent call last):\n  File x\n", ""),
    ],
    ids=["none", "plain", "traceback", "chain", "cut"],
)
def test_the_reason_is_the_type_and_the_first_line_of_the_message(error, reason):
    assert job(error).reason == reason


@listens(queue="orders", name="shown", display_name="As a person calls it")
def shown(event: Ordered) -> None:
    raise ValueError


def test_a_failed_job_says_what_its_listener_is_to_be_called(make_bus, work):
    """J25, L17."""
    bus = make_bus(shown)
    bus.dispatch(Ordered(7))
    work(bus, queues=["orders"])

    [failed] = bus.failed.all()
    assert (failed.name, failed.display_name) == ("shown", "As a person calls it")


def test_a_display_name_that_is_none_is_left_out(make_bus, work):
    bus = make_bus(shown)
    bus.dispatch(Ordered(7))
    port = bus.connections.port()
    [claim] = port.claim(["orders"])
    port.ack(claim)
    body = claim.envelope.body.replace(b'"As a person calls it"', b"7")
    port.push([Envelope(id="bad", queue="orders", body=body)])
    work(bus, queues=["orders"])

    [failed] = bus.failed.all()
    assert (failed.name, failed.display_name) == ("shown", "")
    assert "DecodeError" in failed.reason
