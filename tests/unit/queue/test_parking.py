"""A job whose names this code does not know waits, spends nothing, and fills no log."""

from __future__ import annotations

import logging

import pytest
from attrs import frozen

from eventbus import listens
from eventbus.backends.base import Charge
from eventbus.defaults import PARK_DELAY, UNKNOWN_NAMES
from eventbus.dispatch.waiting import drive
from eventbus.errors import UnknownName
from eventbus.queue.envelope import Envelope
from eventbus.queue.lifecycle import Outcome


@frozen
class Ordered:
    number: int = 1


@listens(queue=True)
def tell(event: Ordered) -> None: ...


@pytest.fixture
def bus(make_bus):
    return make_bus(tell)


@pytest.fixture
def body(bus):
    """Return the body of a job whose listener nobody has."""
    bus.dispatch(Ordered())
    port = bus.connections.port()
    [claim] = port.claim(["default"])
    port.ack(claim)
    sound = claim.envelope
    return lambda name, job: sound.body.replace(b":tell", b":" + name.encode()).replace(
        sound.id.encode(), job.encode()
    )


@pytest.fixture
def park(bus, body):
    """Run jobs of unknown names by one executor; return the runs."""

    def park(*names):
        port = bus.connections.port()
        executor = bus.executor()
        runs = []
        for number, name in enumerate(names):
            job = f"job{number}"
            envelope = Envelope(id=job, queue="default", body=body(name, job))
            port.push([envelope])
            [claim] = port.claim(["default"])
            runs.append(drive(executor.run(executor.begin(claim, port)), bus))
        return runs

    return park


def test_a_job_of_an_unknown_name_waits_and_counts_as_nothing(bus, park, clock):
    """A rolling deploy: attempts are not spent, and releases not counted."""
    [run] = park("newer")

    assert (run.outcome, run.delay, run.charge) == (Outcome.RELEASED, PARK_DELAY, Charge.NOTHING)
    assert "newer" in run.parked
    assert isinstance(run.error, UnknownName)
    clock.advance(PARK_DELAY)
    [claim] = bus.connections.port().claim(["default"])
    assert (claim.attempts, claim.exceptions, claim.releases, claim.losses) == (0, 0, 0, 0)


def test_a_parked_job_is_listed_with_its_reason(bus, park):
    park("newer")

    [parked] = bus.failed.parked()

    assert (parked.id, parked.name) == ("job0", f"{__name__}:newer")
    assert (parked.event, parked.connection, parked.queue) == (
        f"{__name__}:Ordered",
        "default",
        "default",
    )
    assert "no listener is called" in parked.reason
    assert (parked.due - parked.pushed_at).total_seconds() == PARK_DELAY
    assert bus.failed.parked(connection="default", queue="default") == [parked]
    assert bus.failed.parked(queue="other") == []
    assert bus.failed.all() == []


def test_a_parked_job_that_cannot_be_read_is_listed_without_names(bus):
    port = bus.connections.port()
    for job, stored in {"a": b"\xff", "b": b"{}"}.items():
        port.push([Envelope(id=job, queue="default", body=stored)])
        [claim] = port.claim(["default"])
        port.release(claim, delay=30, parked="another version parked it")

    assert [(one.name, one.event) for one in bus.failed.parked()] == [("", "")] * 2


def levels(caplog):
    return [one.levelname for one in caplog.records if one.name == "eventbus.queue"]


def test_an_unknown_name_is_warned_of_once(park, caplog):
    caplog.set_level(logging.DEBUG)

    park("newer", "newer", "other", "newer")

    assert levels(caplog) == ["WARNING", "DEBUG", "WARNING", "DEBUG"]


def test_names_by_the_thousand_fill_no_log(park, caplog):
    """A11: beyond so many names, a warning at each power of ten."""
    park(*(f"name{number}" for number in range(UNKNOWN_NAMES + 1234)))

    assert levels(caplog) == ["WARNING"] * (UNKNOWN_NAMES + 4)
    told = [one.getMessage() for one in caplog.records if "still other names" in one.getMessage()]
    assert [int(one.split()[0]) for one in told] == [1, 10, 100, 1000]


def test_a_hostile_name_makes_no_second_line(park, caplog):
    caplog.set_level(logging.DEBUG)

    park("x\\n" + "y" * 5000)

    assert levels(caplog) == ["WARNING"]
    assert "\n" not in caplog.records[-1].getMessage()
    assert len(caplog.records[-1].getMessage()) < 500
