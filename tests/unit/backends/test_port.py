"""The port checks what it is given, and lets only our own errors out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eventbus.backends.base import Sizes
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.null import NullBackend
from eventbus.backends.port import Port
from eventbus.defaults import DURATION_LIMIT, ERROR_TEXT_LIMIT
from eventbus.errors import (
    BackendUnavailable,
    InvalidOption,
    LeaseLost,
    UnsupportedOption,
)
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock


def job(id="a", *, queue="jobs", delay=0.0):
    return Envelope(id=id, queue=queue, body=b"{}", delay=delay)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def port(clock):
    return Port(MemoryBackend(clock=clock), name="default")


def test_it_has_a_name_a_default_queue_and_a_backend(port):
    assert (port.name, port.default_queue) == ("default", "default")
    assert repr(port) == "Port('default', memory://)"
    assert Port(port.backend, name="mail", default_queue="emails").default_queue == "emails"


@pytest.mark.parametrize("options", [{"name": ""}, {"name": "a", "default_queue": "b c"}])
def test_its_own_names_are_checked(options):
    with pytest.raises(InvalidOption):
        Port(NullBackend(), **options)


def test_the_whole_life_of_a_job(port, clock):
    port.push([job()])
    [claim] = port.claim(["jobs"], lease=timedelta(minutes=1))
    port.release(claim, delay=timedelta(seconds=5), spend=True)
    assert port.next_due(["jobs"]) == 5
    clock.advance(5)
    [claim] = port.claim(["jobs"])
    assert port.extend([claim], lease=60) == []
    port.bury(claim, error="boom")
    assert [failed.attempts for failed in port.failed(queues=["jobs"])] == [2]
    assert port.revive(["a"]) == ["a"]
    [claim] = port.claim(["jobs"])
    port.ack(claim)
    assert port.size("jobs") == Sizes()
    assert port.clear("jobs") == 0
    port.close()


def test_nothing_to_do_is_not_asked_of_the_backend():
    port = Port(Broken(), name="default")

    port.push([])

    assert port.extend([]) == []


@pytest.mark.parametrize("verb", ["ack", "release", "bury"])
def test_a_stale_claim_is_an_error_that_names_job_and_verb(port, clock, verb):
    port.push([job()])
    [stale] = port.claim(["jobs"], lease=1)
    clock.advance(1)
    port.claim(["jobs"])
    verbs = {
        "ack": lambda: port.ack(stale),
        "release": lambda: port.release(stale),
        "bury": lambda: port.bury(stale, error="boom"),
    }

    with pytest.raises(LeaseLost) as caught:
        verbs[verb]()

    assert (caught.value.id, caught.value.operation) == ("a", verb)
    assert port.extend([stale]) == [stale]


@pytest.mark.parametrize("queue", ["", "a b", "x" * 64, "'; DROP TABLE", "a\r\nb", "*", 7, None])
def test_a_name_that_some_server_gives_a_meaning_is_refused(port, queue):
    for verb in (
        lambda: port.push([job(queue=queue)]),
        lambda: port.claim([queue]),
        lambda: port.failed(queues=[queue]),
        lambda: port.clear(queue),
        lambda: port.size(queue),
        lambda: port.next_due([queue]),
    ):
        with pytest.raises(InvalidOption):
            verb()


@pytest.mark.parametrize("queues", ["jobs", [], ()])
def test_queues_are_several_names(port, queues):
    with pytest.raises(InvalidOption, match="at least one"):
        port.claim(queues)


def test_a_queue_named_twice_counts_once(port):
    port.push([job()])

    assert len(port.claim(["jobs", "jobs"], limit=9)) == 1


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "1", None])
def test_a_limit_is_a_whole_number_from_one(port, limit):
    with pytest.raises(InvalidOption, match="limit"):
        port.claim(["jobs"], limit=limit)


@pytest.mark.parametrize(
    "seconds",
    [-1, float("nan"), float("inf"), DURATION_LIMIT * 2, True, "1", None, timedelta(seconds=-1)],
)
def test_a_duration_is_finite_and_not_negative(port, seconds):
    for verb in (
        lambda: port.push([job(delay=seconds)]),
        lambda: port.claim(["jobs"], lease=seconds),
        lambda: port.extend([], lease=seconds),
        lambda: port.release(object(), delay=seconds),
    ):
        with pytest.raises(InvalidOption, match="seconds"):
            verb()


def test_a_lease_is_more_than_nothing(port):
    with pytest.raises(InvalidOption, match="lease"):
        port.claim(["jobs"], lease=0)


@pytest.mark.parametrize("id", ["", "a\nb", "\u00e9", 7, None])
def test_an_id_is_printable_ascii(port, id):
    with pytest.raises(InvalidOption, match="id"):
        port.push([job(id)])


@pytest.mark.parametrize("verb", ["revive", "purge"])
def test_an_id_that_did_not_fail_is_left_out_and_one_named_twice_counts_once(port, verb):
    port.push([job()])
    port.bury(port.claim(["jobs"])[0], error="boom")

    assert getattr(port, verb)(["unknown", "a", "a"]) == ["a"]
    assert port.failed() == []


def test_what_a_backend_does_not_support_is_passed_on():
    with pytest.raises(UnsupportedOption):
        Port(NullBackend(), name="default").failed()


@pytest.mark.parametrize(
    "error, kept",
    [
        ("x" * (ERROR_TEXT_LIMIT + 1), "x" * (ERROR_TEXT_LIMIT - 10) + "\n... (cut)"),
        ("x" * ERROR_TEXT_LIMIT, "x" * ERROR_TEXT_LIMIT),
        ("half \udc80 a pair, a \0", "half ? a pair, a ?"),
    ],
    ids=["too long", "just fits", "not storable"],
)
def test_the_error_of_a_failed_job_is_made_storable(port, error, kept):
    port.push([job()])

    port.bury(port.claim(["jobs"])[0], error=error)

    assert port.failed()[0].error == kept


class Broken(NullBackend):
    """A backend that does not translate what its driver raises."""

    def size(self, queue):
        raise KeyError(queue)


def test_what_a_backend_did_not_translate_is_unavailable():
    with pytest.raises(BackendUnavailable, match="KeyError: 'jobs'") as caught:
        Port(Broken(), name="default").size("jobs")

    assert isinstance(caught.value.__cause__, KeyError)
    assert (caught.value.backend, caught.value.operation) == ("null://", "size")
