"""The port checks what it is given, and lets only our own errors out."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from eventbus.backends.base import Charge, Sizes
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.null import NullBackend
from eventbus.backends.orders import Orders
from eventbus.backends.port import Port
from eventbus.defaults import BODY_SIZE_LIMIT, DURATION_LIMIT, ERROR_TEXT_LIMIT, PEEK_LIMIT
from eventbus.errors import (
    BackendUnavailable,
    InvalidOption,
    LeaseLost,
    StoredUnknown,
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
    port.release(claim, delay=timedelta(seconds=5), charge=Charge.ATTEMPT, parked="why")
    assert [stored.parked for stored in port.peek(queues=["jobs"], parked=True)] == ["why"]
    assert port.queues() == ["jobs"]
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
    assert port.ack_all([]) == []
    assert port.give_back([]) == []


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


@pytest.mark.parametrize(
    "charge, counted",
    [(None, (0, 1)), (Charge.ERROR, (1, 0)), (Charge.NOTHING, (0, 0)), (Charge.RELEASE, (0, 1))],
)
def test_a_release_counts_as_a_release_unless_another_charge_is_given(port, charge, counted):
    port.push([job()])

    port.release(port.claim(["jobs"])[0], **{} if charge is None else {"charge": charge})

    [claim] = port.claim(["jobs"])
    assert (claim.attempts, claim.releases) == counted


@pytest.mark.parametrize("charge", ["error", True, None])
def test_a_charge_is_one_of_four(port, charge):
    for verb in (
        lambda: port.release(object(), charge=charge),
        lambda: port.bury(object(), error="", charge=charge),
    ):
        with pytest.raises(InvalidOption, match="a Charge"):
            verb()


def test_several_claims_are_settled_at_once_and_the_stale_returned(port, clock):
    port.push([job(name) for name in "abcd"])
    stale = port.claim(["jobs"], lease=1)
    clock.advance(1)
    held = port.claim(["jobs"], limit=9)
    [a] = port.claim(["jobs"])

    assert port.ack_all([held[0], *stale]) == stale
    assert port.give_back([*held[1:], *stale]) == stale

    assert port.ack_all([a]) == []
    again = port.claim(["jobs"], limit=9)
    assert [claim.envelope.id for claim in again] == ["c", "d"]
    assert {(claim.attempts, claim.losses, claim.releases) for claim in again} == {(0, 0, 0)}


def test_what_waits_is_cancelled_once(port):
    """Q20"""
    port.push([job()])

    assert port.cancel(["unknown", "a", "a"]) == ["a"]
    assert port.size("jobs") == Sizes()


def test_each_stored_goes_through_all_of_them_page_by_page(port):
    """Q19"""
    names = [str(number) for number in range(PEEK_LIMIT * 2 + 1)]
    port.push([job(name) for name in names])
    port.push([job("other", queue="other")])

    assert [stored.envelope.id for stored in port.each_stored()] == [*names, "other"]
    assert [stored.envelope.id for stored in port.each_stored(queues=["other"])] == ["other"]
    assert list(port.each_stored(parked=True)) == []
    first = port.peek(limit=2)
    assert [stored.envelope.id for stored in port.peek(limit=1, after=first[-1].cursor)] == ["2"]


def test_each_failed_goes_through_all_of_them_page_by_page(port):
    names = [f"{number:03}" for number in range(PEEK_LIMIT * 2 + 1)]
    port.push([job(name) for name in names])
    port.push([job("other", queue="other")])
    for claim in port.claim(["jobs", "other"], limit=len(names) + 1):
        port.bury(claim, error="boom")

    assert [failed.envelope.id for failed in port.each_failed()] == [*names, "other"]
    assert [failed.envelope.id for failed in port.each_failed(queues=["other"])] == ["other"]
    assert [failed.envelope.id for failed in port.each_failed(ids=names)] == names
    assert len(port.failed()) == PEEK_LIMIT
    first = port.failed(limit=2)
    assert [failed.envelope.id for failed in port.failed(limit=1, after=first[-1].cursor)] == [
        "002"
    ]


# Orders


def test_there_are_no_orders_at_first(port):
    assert port.orders() == Orders(restart="", paused=frozenset())
    assert not port.orders().is_paused("jobs")


def test_each_restart_is_another(port):
    port.restart()
    first = port.orders().restart
    port.restart()

    assert "" != first != port.orders().restart


def test_a_paused_queue_rests_until_it_is_resumed(port):
    """K16"""
    port.pause(["jobs", "more"])

    orders = port.orders()
    assert orders.paused == {"jobs", "more"}
    assert [orders.is_paused(queue) for queue in ("jobs", "more", "other")] == [True, True, False]
    port.resume(["jobs", "never-paused"])
    assert port.orders().paused == {"more"}


def test_all_queues_rest_together(port):
    """K16"""
    port.pause(["*"])
    port.pause(["jobs"])

    assert port.orders().is_paused("any")
    port.resume(["*"])
    assert not port.orders().is_paused("any")
    assert port.orders().is_paused("jobs")


def test_a_pause_ends_by_itself(port, clock):
    """K16"""
    port.pause(["jobs"], life=timedelta(minutes=1))
    port.pause(["more"], life=30)

    clock.advance(30)
    assert port.orders().paused == {"jobs"}
    clock.advance(30)
    assert port.orders().paused == frozenset()


def test_a_pause_has_a_life_or_none(port):
    with pytest.raises(InvalidOption, match="life"):
        port.pause(["jobs"], life=0)


def test_whoever_waits_hears_pushes_and_orders(port):
    bell = port.bell(["jobs"])
    port.push([job()])
    assert bell.silence()
    port.restart()
    assert bell.silence()
    bell.close()


def test_it_passes_on_what_is_wrong_with_a_store(port, monkeypatch):
    assert port.trouble() == ""
    monkeypatch.setattr(port.backend, "trouble", lambda: "the disk is slow")
    assert port.trouble() == "the disk is slow"


def test_a_store_without_tables_or_flags_says_so():
    port = Port(NullBackend(), name="default")

    for verb in (port.schema, port.apply_schema, port.restart):
        with pytest.raises(UnsupportedOption):
            verb()
    assert port.orders() == Orders()
    assert port.bell(["jobs"]) is None


@pytest.mark.parametrize("queue", ["", "a b", "x" * 64, "'; DROP TABLE", "a\r\nb", "*", 7, None])
def test_a_name_that_some_server_gives_a_meaning_is_refused(port, queue):
    for verb in (
        lambda: port.push([job(queue=queue)]),
        lambda: port.claim([queue]),
        lambda: port.failed(queues=[queue]),
        lambda: port.clear(queue),
        lambda: port.size(queue),
        lambda: port.next_due([queue]),
        lambda: port.peek(queues=[queue]),
        lambda: port.find(["a"], queues=[queue]),
        lambda: port.bell([queue]),
        lambda: port.pause(["*", queue] if queue != "*" else ["* "]),
        lambda: port.resume([queue] if queue != "*" else ["**"]),
    ):
        with pytest.raises(InvalidOption):
            verb()


def test_an_id_that_is_looked_for_twice_is_found_once(port):
    port.push([job(id="a"), job(id="b")])

    assert [stored.envelope.id for stored in port.find(["b", "a", "b"])] == ["b", "a"]


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
    with pytest.raises(InvalidOption, match="limit"):
        port.peek(limit=limit)
    with pytest.raises(InvalidOption, match="limit"):
        port.failed(limit=limit)


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
    if seconds is not None:
        with pytest.raises(InvalidOption, match="seconds"):
            port.pause(["jobs"], life=seconds)


def test_a_lease_is_more_than_nothing(port):
    with pytest.raises(InvalidOption, match="lease"):
        port.claim(["jobs"], lease=0)


@pytest.mark.parametrize("id", ["", "a\nb", "\u00e9", 7, None])
def test_an_id_is_printable_ascii(port, id):
    with pytest.raises(InvalidOption, match="id"):
        port.push([job(id)])


@pytest.mark.parametrize("length, fits", [(63, True), (64, False)])
def test_an_id_has_at_most_63_characters(port, length, fits):
    """As docs/reference/wire-format.md says."""
    envelope = Envelope(id="i" * length, queue="emails", body=b"{}")
    if fits:
        port.push([envelope])
    else:
        with pytest.raises(InvalidOption, match="1 to 63 printable"):
            port.push([envelope])


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_that_no_store_would_hand_out_is_not_stored(port, more):
    envelope = Envelope(id="a", queue="emails", body=b"x" * (BODY_SIZE_LIMIT + more))
    if not more:
        port.push([envelope])
        [claim] = port.claim(["emails"])
        assert claim.envelope == envelope
        return
    with pytest.raises(InvalidOption, match="at most 4,194,304 bytes, got: '4,194,305 bytes'"):
        port.push([envelope])
    assert port.peek() == []


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


class BrokenPush(NullBackend):
    """One that fails in a way nobody thought of, whether it has stored anything or not."""

    def push(self, envelopes):
        raise KeyError("connection")

    async def apush(self, envelopes):
        raise KeyError("connection")


def test_a_push_that_broke_off_in_a_way_nobody_thought_of_may_be_stored():
    port = Port(BrokenPush(), name="default")
    pushes = [port.push, lambda jobs: asyncio.run(port.apush(jobs))]

    for push in pushes:
        with pytest.raises(StoredUnknown, match="KeyError: 'connection'") as caught:
            push([job("a"), job("b")])
        assert caught.value.ids == ("a", "b")
        assert isinstance(caught.value.__cause__, KeyError)
