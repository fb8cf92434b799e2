"""The verbs over Redis, where the contract does not look: answers that are lost, keys that are gone or altered."""

from __future__ import annotations

import random
import select
from contextlib import closing
from itertools import combinations
from secrets import token_hex

import pytest

from eventbus.backends.base import Charge, Sizes, State
from eventbus.backends.port import Port
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_calls import Unanswered, scripts
from eventbus.backends.redis_clients import linked
from eventbus.defaults import BODY_SIZE_LIMIT, DURATION_LIMIT, REDIS_STEP
from eventbus.errors import (
    BackendUnavailable,
    InvalidOption,
    LeaseLost,
    StoreDamaged,
    StoredUnknown,
)
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.plans import ALL, begin, chained, members, run_all
from tests.faults.proxy import Deed, Proxy
from tests.unit.backends.redis_life import job

KEYS = (
    *("numbers", "order", "line", "bodies", "leases", "counts", "parked"),
    *("failures", "failed"),
)


@pytest.fixture
def server(redis_server):
    redis_server.ask("FLUSHALL")
    return redis_server


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def backend(server, clock):
    with closing(RedisBackend(linked(server.url), name="redis://", clock=clock)) as one:
        yield one


@pytest.fixture
def proxy(server):
    with Proxy(server.port) as one:
        yield one


@pytest.fixture
def through(proxy, server, clock):
    """A backend whose messages pass the proxy; it is connected, and the server knows every script."""
    url = f"redis://127.0.0.1:{proxy.port}"
    with closing(RedisBackend(linked(url), name="redis://", clock=clock)) as one:
        for script in scripts().values():
            server.ask("SCRIPT", "LOAD", script.source)
        one.queues()
        yield one


def key(part, queue="jobs"):
    return f"eventbus:{{{queue}}}:{part}"


def lose(proxy, times, *, deed=Deed.LOSE, word=b"EVALSHA"):
    """Lose the answers to so many commands of a kind, from now on; or the commands themselves."""
    left = [times]

    def judge(_, message):
        if word in message and left[0]:
            left[0] -= 1
            return deed
        return None

    proxy.up.judge = judge


def claimed(backend, *names, queue="jobs"):
    backend.push([job(name, queue=queue) for name in names])
    return backend.claim([queue], limit=len(names), lease=60, token=token_hex(16))


# Answers that are lost.

SETTLING = {
    "ack": lambda backend, claims: backend.ack(claims),
    "release": lambda backend, claims: backend.release(claims, delay=0, charge=Charge.ERROR),
    "bury": lambda backend, claims: backend.bury(claims, error="boom", charge=Charge.ERROR),
    "extend": lambda backend, claims: backend.extend(claims, lease=60),
}
AFTER = {
    "ack": Sizes(),
    "release": Sizes(ready=2),
    "bury": Sizes(failed=2),
    "extend": Sizes(leased=2),
}


@pytest.mark.parametrize("verb", SETTLING)
def test_a_lost_answer_is_asked_for_again_and_what_is_done_is_no_loss(proxy, through, verb):
    """F18."""
    claims = claimed(through, "a", "b")
    lose(proxy, 1)

    assert SETTLING[verb](through, claims) == []
    assert through.size("jobs") == AFTER[verb]


@pytest.mark.parametrize("verb", SETTLING)
@pytest.mark.parametrize("deed", [Deed.LOSE, Deed.CUT])
def test_a_settlement_of_which_nothing_is_known_may_be_made_again(proxy, through, verb, deed):
    """F18: whether or not the server has done it."""
    claims = claimed(through, "a", "b")
    lose(proxy, 2, deed=deed)
    with pytest.raises(BackendUnavailable, match=f"{verb} did not happen"):
        SETTLING[verb](through, claims)

    assert SETTLING[verb](through, claims) == []
    assert through.size("jobs") == AFTER[verb]
    # What is known by now is not remembered.
    assert through._claims._unsure == set()


@pytest.mark.parametrize("verb", SETTLING)
def test_what_somebody_else_holds_by_now_is_stale_whatever_was_lost(proxy, through, clock, verb):
    """F18, I3."""
    claims = claimed(through, "a")
    lose(proxy, 2, deed=Deed.CUT)
    with pytest.raises(BackendUnavailable):
        SETTLING[verb](through, claims)
    clock.advance(61)
    [others] = through.claim(["jobs"], limit=1, lease=60, token=token_hex(16))

    assert SETTLING[verb](through, claims) == claims
    assert SETTLING[verb](through, [others]) == []


def test_what_was_never_lost_is_stale_the_second_time(backend):
    claims = claimed(backend, "a", "b", "c")

    assert backend.ack(claims[:1]) == []
    assert backend.ack(claims) == claims[:1]
    assert backend.ack(claims) == claims


@pytest.mark.parametrize("deed, stored", [(Deed.LOSE, True), (Deed.CUT, False)])
def test_a_push_of_which_nothing_is_known_says_so(proxy, through, deed, stored):
    """F18."""
    lose(proxy, 2, deed=deed)
    with pytest.raises(StoredUnknown) as caught:
        through.push([job("a"), job("b", queue="more")])

    assert caught.value.ids == ("a", "b")
    assert (through.size("jobs").ready, through.size("more").ready) == (stored, stored)
    through.push([job("a"), job("b", queue="more")])
    assert (through.size("jobs").ready, through.size("more").ready) == (1, 1)


@pytest.mark.parametrize("deed", [Deed.LOSE, Deed.CUT])
def test_what_a_lost_claim_took_is_given_back(proxy, through, deed):
    """F18: no loss is counted, and it need not wait for the end of its lease."""
    through.push([job(name) for name in "abc"])
    lose(proxy, 1, deed=deed)
    with pytest.raises(BackendUnavailable, match="claim did not happen"):
        through.claim(["jobs"], limit=2, lease=60, token=token_hex(16))
    held = 2 if deed is Deed.LOSE else 0
    assert through.size("jobs") == Sizes(ready=3 - held, leased=held)

    claims = through.claim(["jobs"], limit=3, lease=60, token=token_hex(16))

    assert [claim.envelope.id for claim in claims] == ["a", "b", "c"]
    assert [(claim.attempts, claim.losses, claim.releases) for claim in claims] == [(0, 0, 0)] * 3
    assert through._claims._unclaimed == {}


def test_what_a_lost_claim_took_is_given_back_in_the_end(proxy, through):
    """The answer to what is held is lost as well, and that to the giving back."""
    through.push([job("a")])
    for number in range(4):
        lose(proxy, 2 if number else 1)
        with pytest.raises(BackendUnavailable):
            through.claim(["jobs"], limit=1, lease=60, token=token_hex(16))

    proxy.mend()
    [claim] = through.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    assert claim.losses == 0


def test_a_claim_whose_condemning_fails_is_given_back_whole(proxy, through, server):
    """What is sound in it is not left to its lease because of what is not."""
    through.push([job("a"), job("b"), job("c")])
    server.ask("HDEL", key("bodies"), "b")
    lose(proxy, 2, word=b"DecodeError", deed=Deed.CUT)
    with pytest.raises(BackendUnavailable):
        through.claim(["jobs"], limit=3, lease=60, token=token_hex(16))

    claims = through.claim(["jobs"], limit=3, lease=60, token=token_hex(16))

    assert [claim.envelope.id for claim in claims] == ["a", "c"]
    assert through.size("jobs") == Sizes(leased=2, failed=1)


@pytest.mark.parametrize("times", [1, 2])
def test_a_claim_over_slots_that_breaks_off_in_the_second_is_given_back(
    redis_cluster, monkeypatch, times
):
    """A claim that goes on in another slot has told the first that it has more."""
    redis_cluster.flush()
    url = f"redis+cluster://127.0.0.1:{redis_cluster.ports[0]}"
    with closing(RedisBackend(linked(url), name=url)) as backend:
        backend.push([job("a", queue="one"), job("b", queue="two"), job("c", queue="three")])
        asked = backend._link.asked
        left = [times]

        async def breaking(operation, calls, *, repeat=True):
            if calls[0].script is not None and calls[0].script.name == "claim":
                left[0] -= 1
                if left[0] < 0:
                    raise Unanswered
            return await asked(operation, calls, repeat=repeat)

        monkeypatch.setattr(backend._link, "asked", breaking)
        with pytest.raises(BackendUnavailable):
            backend.claim(["one", "two", "three"], limit=5, lease=60, token=token_hex(16))
        monkeypatch.undo()

        claims = backend.claim(["one", "two", "three"], limit=5, lease=60, token=token_hex(16))

        assert [claim.envelope.id for claim in claims] == ["a", "b", "c"]
        assert [claim.losses for claim in claims] == [0, 0, 0]
        assert backend.ack(claims) == []


# A server that forgets.


def test_scripts_that_are_forgotten_are_taught_again(backend, server):
    """F24: at every verb."""

    def forget():
        server.ask("SCRIPT", "FLUSH")
        return backend

    forget().push([job(name) for name in "abc"])
    claims = forget().claim(["jobs"], limit=3, lease=60, token=token_hex(16))
    assert forget().extend(claims, lease=60) == []
    assert forget().ack(claims[:1]) == []
    assert forget().release(claims[1:2], delay=0, charge=Charge.ERROR) == []
    assert forget().bury(claims[2:], error="boom", charge=Charge.ERROR) == []
    assert forget().size("jobs") == Sizes(ready=1, failed=1)
    assert [one.envelope.id for one in forget().failed(limit=5)] == ["c"]
    assert [one.envelope.id for one in forget().peek(limit=5)] == ["b"]
    assert forget().next_due(["jobs"]) == 0
    assert forget().revive(["c"]) == ["c"]
    assert forget().cancel(["b"]) == ["b"]
    forget().flag("restart", "1")
    assert forget().flags() == {"restart": "1"}
    assert forget().clear("jobs") == 1
    assert forget().purge(["c"]) == []


def test_what_was_flushed_is_written_down_again(backend, server):
    """F24: the names of queues are, too."""
    backend.push([job("a"), job("b", queue="more")])
    server.ask("FLUSHALL")
    assert backend.queues() == []

    backend.push([job("c")])
    assert backend.queues() == ["jobs"]
    backend.push([job("d", queue="more"), job("e", queue="other")])
    assert backend.queues() == ["jobs", "more", "other"]


def test_a_name_that_could_not_be_written_down_again_is_tried_with_the_next_push(
    proxy, through, server
):
    through.push([job("a")])
    server.ask("FLUSHALL")
    lose(proxy, 2, word=b"SADD", deed=Deed.CUT)

    with pytest.raises(StoredUnknown):
        through.push([job("b")])
    proxy.mend()
    through.push([job("b")])

    assert through.queues() == ["jobs"]
    assert through.size("jobs") == Sizes(ready=1)


def refusing(proxy, *, first, then, word=b"EVALSHA"):
    """Let `first` be done with the first command of a kind, and answer all that follow with a refusal."""
    deeds = iter(first)

    def judge(_, message):
        return next(deeds, then) if word in message else None

    proxy.up.judge = judge


@pytest.mark.parametrize(
    "refusal", [b"-LOADING it reads its file", b"-READONLY", b"-NOPERM no", b"-ERR"]
)
def test_a_push_that_was_stored_and_refused_when_it_was_repeated_may_be_stored(
    proxy, through, refusal
):
    """F18, F21: what the first time did is not known, whatever is said of the second."""
    refusing(proxy, first=[Deed.LOSE], then=refusal + b"\r\n")

    with pytest.raises(StoredUnknown) as caught:
        through.push([job("a")])

    proxy.mend()
    assert caught.value.ids == ("a",)
    assert through.size("jobs").ready == 1


def test_a_push_whose_queue_cannot_be_written_down_again_is_stored(proxy, through, server):
    """F21, F24: it is refused after the jobs were stored."""
    through.push([job("a")])
    server.ask("FLUSHALL")
    refusing(proxy, first=[], then=b"-LOADING it reads its file\r\n", word=b"SADD")

    with pytest.raises(StoredUnknown):
        through.push([job("b")])

    proxy.mend()
    assert through.size("jobs").ready == 1
    through.push([job("b")])
    assert through.queues() == ["jobs"]


# What was altered, or is not ours.

NOW = 1_700_000_000_000_000

BODIES = {
    "nothing": b"",
    "no parts": b"x",
    "no body": b"1700000000000000 0.0",
    "an instant that is none": b"today 0.0 {}",
    "before 1970": b"-5 0.0 {}",
    "after every date": b"99999999999999999999 0.0 {}",
    "a delay that is none": b"1700000000000000 soon {}",
    "a delay of nan": b"1700000000000000 nan {}",
    "a delay without end": b"1700000000000000 inf {}",
    "a delay below nothing": b"1700000000000000 -1 {}",
    "bytes": bytes(range(256)),
}
COUNTS = [
    b"x",
    b"1 2 3",
    b"-1 0 0 0 0",
    b"99999999999 0 0 0 0",
    b"1 1 1 1 2",
    b"\xff\x00",
    b"1 0 0 0 0\n",
]


def condemned(backend, count=1):
    """The failed jobs, once all that is due was claimed; and what could be claimed."""
    claims = backend.claim(["jobs"], limit=10, lease=60, token=token_hex(16))
    failed = backend.failed(limit=10)
    assert len(failed) == count
    assert backend.next_due(["jobs"]) is None
    assert all("cannot be read" in one.error or "DecodeError" in one.error for one in failed)
    return failed, [claim.envelope.id for claim in claims]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_job_that_is_kept_in_another_form_is_among_the_failed(backend, server, body):
    """F24, I4: and what is behind it goes on."""
    backend.push([job("a"), job("b")])
    server.ask("HSET", key("bodies"), "a", body)
    [peeked, _] = backend.peek(limit=10)

    [failed], claims = condemned(backend)

    assert claims == ["b"]
    assert failed.envelope.id == peeked.envelope.id == "a"
    assert backend.purge(["a"]) == ["a"]
    assert server.ask("HEXISTS", key("bodies"), "a") == 0


def test_a_job_whose_body_is_gone_is_among_the_failed_once(backend, server):
    """F24: dramatiq's crash loop."""
    backend.push([job("a"), job("b")])
    server.ask("HDEL", key("bodies"), "a")

    [failed], claims = condemned(backend)

    assert "its body is gone" in failed.error
    assert claims == ["b"]
    assert backend.revive(["a"]) == ["a"]
    condemned(backend)


def test_a_body_that_is_too_large_is_not_read(backend, server):
    backend.push([job("a"), job("b")])
    large = b"1700000000000000 0.0 " + b"x" * (BODY_SIZE_LIMIT + 100)
    server.ask("HSET", key("bodies"), "a", large)
    [peeked, _] = backend.peek(limit=10)

    [failed], claims = condemned(backend)

    assert claims == ["b"]
    assert peeked.left_out == failed.left_out == len(large)
    assert failed.envelope.body == peeked.envelope.body == b""
    assert "more than the 4,194,304 that are read" in failed.error


@pytest.mark.parametrize("counts", COUNTS)
def test_counts_that_are_none_are_not_guessed(backend, server, counts):
    backend.push([job("a"), job("b")])
    server.ask("HSET", key("counts"), "a", counts)
    [peeked, _] = backend.peek(limit=10)

    [failed], _ = condemned(backend)

    assert (peeked.attempts, peeked.losses) == (failed.attempts, failed.losses) == (0, 0)
    assert "its counts are" in failed.error


@pytest.mark.parametrize(
    "lease", [b"", b"x", b"0 1", b"\xff\xff", b"0 zzzzzzzzzzzz zz", b"1 " + b"0" * 100]
)
def test_a_lease_that_is_none_of_ours_ends_as_any_other(backend, server, clock, lease):
    [claim, _] = claimed(backend, "a", "b")
    server.ask("HSET", key("leases"), "a", lease)

    assert backend.ack([claim]) == [claim]
    assert backend.extend([claim], lease=60) == [claim]
    assert backend.size("jobs").leased + backend.size("jobs").delayed == 2
    clock.advance(61)
    [again] = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    assert again.envelope.id == "a"
    assert backend.ack([again]) == []


@pytest.mark.parametrize("name", [b"a b\n", b"\xff\xfe", "é".encode(), b"x" * 100, b"\x00"])
def test_an_id_that_cannot_be_typed_gets_one_that_can(backend, server, name):
    backend.push([job("a")])
    number = b"000000000000"
    server.ask("HSET", key("bodies"), name, b"1700000000000000 0.0 {}")
    server.ask("ZADD", key("order"), 0, name)
    server.ask("ZADD", key("line"), 0, number + name)

    [failed], claims = condemned(backend)

    assert claims == ["a"]
    assert failed.envelope.id.startswith("unknown-")
    assert failed.envelope.body == b"{}"
    assert backend.purge([failed.envelope.id]) == [failed.envelope.id]
    assert backend.size("jobs") == Sizes(leased=1)


def drained(backend, clock):
    """Work until nothing is left, as a worker does; return how many jobs were done."""
    done = 0
    for _ in range(50):
        claims = backend.claim(["jobs"], limit=10, lease=60, token=token_hex(16))
        assert backend.ack(claims) == []
        done += len(claims)
        due = backend.next_due(["jobs"], leased=True)
        if due is None and not claims:
            return done
        clock.advance(due or 0)
    pytest.fail("there is no end to it")


@pytest.mark.parametrize(
    "stray",
    [
        [("ZADD", "line", 0, "x")],
        [("ZADD", "line", 0, "000000000001")],
        [("ZADD", "order", 0, "")],
        [("ZADD", "line", 0, "")],
        [("ZADD", "line", 0, "zzzzzzzzzzzzz")],
        [("ZADD", "line", 0, "000000000009a"), ("ZADD", "line", 0, "000000000008a")],
        [("ZADD", "order", "1e300", "x")],
        [("ZADD", "order", "-inf", "x")],
        [("HSET", "leases", "x", "y")],
        [("HSET", "parked", "x", "y")],
        [("HSET", "failures", "x", "y")],
        [("ZADD", "failed", "inf", "x")],
        [("ZADD", "failed", 0, "")],
        [("SET", "numbers", -5)],
    ],
    ids=str,
)
def test_what_strays_in_a_store_is_no_end_of_work(backend, server, clock, stray):
    """F24: a worker does what is whole, and comes to rest."""
    backend.push([job("a"), job("b")])
    for word, part, *values in stray:
        server.ask(word, key(part), *values)
    port = Port(backend, name="default")
    assert len(list(port.each_stored())) <= 4
    assert len(port.failed()) <= 2
    assert port.queues() == ["jobs"]
    assert port.size("jobs").ready <= 4

    assert drained(backend, clock) >= 2

    backend.clear("jobs")
    backend.purge([one.envelope.id for one in port.failed()])
    backend.push([job("c")])
    assert drained(backend, clock) == 1


def test_what_is_due_too_late_is_waited_for_no_longer_than_anything_else(backend, server):
    server.ask("ZADD", key("line"), "9000000000000000", "000000000001x")

    assert backend.next_due(["jobs"]) == DURATION_LIMIT
    [stored] = backend.peek(queues=["jobs"], limit=5)
    assert stored.state is State.DELAYED
    assert backend.clear("jobs") == 1


def test_what_is_never_due_is_as_what_waits_for_its_turn(backend, server):
    server.ask("ZADD", key("line"), "inf", "000000000001x")

    assert backend.next_due(["jobs"]) is None
    [stored] = backend.peek(queues=["jobs"], limit=5)
    assert stored.state is State.HELD
    assert backend.clear("jobs") == 1


def evictions():
    """Which keys a server has thrown away: each, each two, and some halves."""
    yield from combinations(KEYS, 1)
    yield from combinations(KEYS, 2)
    yield from random.Random(4).sample(list(combinations(KEYS, 5)), 20)


@pytest.mark.parametrize("gone", list(evictions()), ids="-".join)
def test_a_server_that_threw_keys_away_is_worked_with(backend, server, clock, gone):
    """F24: nothing hangs, nothing crashes; what is whole is done, and what is not is told."""
    backend.push(
        [job("a"), job("b"), job("c"), Envelope(id="d", queue="jobs", body=b"{}", delay=5)]
    )
    [held, failing, parked] = backend.claim(["jobs"], limit=3, lease=60, token=token_hex(16))
    backend.bury([failing], error="boom", charge=Charge.ERROR)
    backend.release([parked], delay=3, charge=Charge.RELEASE, parked="why")
    server.ask("DEL", *map(key, gone))
    port = Port(backend, name="default")

    assert backend.ack([held]) in ([], [held])
    done = drained(backend, clock)

    size = backend.size("jobs")
    assert (size.ready, size.delayed, size.leased) == (0, 0, 0)
    failed = port.failed()
    assert len(failed) == size.failed
    if "bodies" in gone:
        # d was not claimed yet, c not again, and a only if its lease was gone: each is told, once.
        assert {one.envelope.id for one in failed} <= {"a", "b", "c", "d"}
        assert done == 0
    elif not {"line", "order"} <= set(gone):
        assert done >= 2
    backend.purge([one.envelope.id for one in failed])
    assert port.failed() == []
    backend.push([job("e")])
    assert drained(backend, clock) == 1


def test_what_is_in_one_of_two_sets_is_put_in_both_again(backend, server):
    backend.push([job("a"), job("b")])
    backend.push([Envelope(id="c", queue="jobs", body=b"{}", delay=5)])
    server.ask("DEL", key("line"))
    assert backend.claim(["jobs"], limit=10, lease=60, token=token_hex(16)) == []

    assert backend.next_due(["jobs"]) == 0

    claims = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    assert [claim.envelope.id for claim in claims] == ["a"]  # in their order
    server.ask("DEL", key("order"))
    assert backend.next_due(["jobs"]) == 0
    assert [one.envelope.id for one in backend.peek(limit=10)] == ["a", "b", "c"]
    assert backend.ack(claims) == []
    assert backend.cancel(["b", "c"]) == ["b", "c"]
    assert server.ask("KEYS", "eventbus:{jobs}:*") == [key("numbers").encode()]


def test_failed_jobs_of_which_the_order_is_gone_are_listed_again(backend, server, clock):
    for name in "abc":
        [claim] = claimed(backend, name)
        backend.bury([claim], error=name, charge=Charge.ERROR)
        clock.advance(1)
    server.ask("DEL", key("failed"))

    first = backend.failed(limit=2)
    second = backend.failed(limit=2, after=first[-1].cursor)

    assert [one.envelope.id for one in (*first, *second)] == ["a", "b", "c"]


@pytest.mark.parametrize("part", KEYS)
def test_a_key_of_another_type_is_damage(backend, server, part):
    """F21, A14: told as such, and not tried again."""
    claims = claimed(backend, "a", "b")
    backend.bury(claims[:1], error="boom", charge=Charge.ERROR)
    server.ask("DEL", key(part))
    server.ask("LPUSH", key(part), "x")
    port = Port(backend, name="default")
    verbs = (
        lambda: port.push([job("c")]),
        lambda: port.claim(["jobs"]),
        lambda: port.ack_all(claims[1:]),
        lambda: port.bury(claims[1], error="boom"),
        port.failed,
        lambda: list(port.each_stored()),
        lambda: port.size("jobs"),
        lambda: port.next_due(["jobs"]),
        lambda: port.clear("jobs"),
        lambda: port.revive(["a"]),
    )
    damage = [error for verb in verbs if (error := damage_of(verb)) is not None]

    assert damage
    assert not any(error.retryable for error in damage)


def damage_of(verb):
    try:
        verb()
    except StoreDamaged as error:
        return error
    except LeaseLost:
        return None  # it had been settled before the damage was met


# More than one step.


def test_more_than_a_step_handles_is_handled_in_several(backend, clock):
    many = 2 * REDIS_STEP + 10
    names = [f"{number:05}" for number in range(many)]
    backend.push([job(name) for name in names])
    assert backend.size("jobs").ready == many

    claims = backend.claim(["jobs"], limit=many, lease=60, token=token_hex(16))
    assert len(claims) == REDIS_STEP
    claims += backend.claim(["jobs"], limit=many, lease=60, token=token_hex(16))
    claims += backend.claim(["jobs"], limit=many, lease=60, token=token_hex(16))
    assert [claim.envelope.id for claim in claims] == names
    assert backend.extend(claims, lease=90) == []
    assert backend.bury(claims, error="boom", charge=Charge.ERROR) == []
    assert len(backend.failed(limit=many)) == many
    assert backend.failed(ids=names[-1:], limit=1)[0].envelope.id == names[-1]
    assert backend.revive(names) == names
    assert len(backend.peek(limit=many)) == many
    assert backend.cancel(names[:-5]) == names[:-5]
    claims = backend.claim(["jobs"], limit=many, lease=60, token=token_hex(16))
    assert backend.release(claims, delay=0, charge=Charge.NOTHING) == []
    assert backend.ack(claims) == claims
    backend.push([job(name) for name in names[:-5]])
    assert backend.clear("jobs") == many
    assert backend.queues() == []


def test_what_a_lost_claim_of_a_whole_step_took_is_given_back(proxy, through):
    through.push([job() for _ in range(REDIS_STEP)])
    lose(proxy, 1)
    with pytest.raises(BackendUnavailable):
        through.claim(["jobs"], limit=REDIS_STEP, lease=60, token=token_hex(16))

    assert (
        len(through.claim(["jobs"], limit=REDIS_STEP, lease=60, token=token_hex(16))) == REDIS_STEP
    )


def test_a_page_whose_jobs_have_all_gone_is_not_the_last(backend, monkeypatch):
    """Whoever goes on until nothing comes has seen what was there all the while."""
    backend.push([job(name) for name in "abcd"])
    page = backend._pages.page

    def and_then_they_go(*arguments):
        found = page(*arguments)
        backend.cancel(["a", "b"])
        return found

    monkeypatch.setattr(backend._pages, "page", and_then_they_go)

    assert [one.envelope.id for one in backend.peek(limit=2)] == ["c", "d"]


def test_what_is_parked_is_found_a_page_at_a_time(backend):
    claims = claimed(backend, *"abcde")
    backend.release(claims[1:], delay=60, charge=Charge.NOTHING, parked="why")

    first = backend.peek(parked=True, limit=2)
    second = backend.peek(parked=True, limit=5, after=first[-1].cursor)

    assert [one.envelope.id for one in (*first, *second)] == ["b", "c", "d", "e"]
    assert {one.state for one in first} == {State.DELAYED}
    assert {one.parked for one in second} == {"why"}
    assert backend.peek(parked=True, limit=5, after=second[-1].cursor) == []


@pytest.mark.parametrize("cursor", ["jobs", "jobs/x", "/", "1/2", "x/jobs/1"])
def test_a_cursor_that_is_none_is_refused(backend, cursor):
    with pytest.raises(InvalidOption, match="cursor"):
        backend.failed(limit=1, after=cursor)
    if cursor != "1/2":  # a queue may be called so
        with pytest.raises(InvalidOption, match="cursor"):
            backend.peek(limit=1, after=cursor)


# The bell.


def rings(bell):
    return bool(select.select([bell], [], [], 20)[0]) and bell.silence()


@pytest.fixture
def eager(monkeypatch):
    monkeypatch.setattr("eventbus.backends.redis_bell.REDIS_BELL_RETRY", 0)


@pytest.mark.usefixtures("eager")
def test_a_bell_that_was_cut_off_is_hung_again_and_has_rung(backend, server):
    with closing(backend.bell(["jobs"])) as bell:
        server.ask("CLIENT", "KILL", "TYPE", "pubsub")

        assert rings(bell)  # what came meanwhile was not heard
        backend.push([job()])
        assert rings(bell)
        assert not bell.silence()


@pytest.mark.usefixtures("eager")
def test_a_bell_of_a_server_that_is_away_is_mute_until_it_is_back(backend, proxy):
    url = f"redis://127.0.0.1:{proxy.port}"
    with (
        closing(RedisBackend(linked(url), name=url)) as other,
        closing(other.bell(["jobs"])) as bell,
    ):
        proxy.refuse()
        proxy.reset()
        assert rings(bell)
        for _ in range(3):
            assert not bell.silence()
            assert not select.select([bell], [], [], 0)[0]

        proxy.accept()
        assert bell.silence()  # hung again
        backend.push([job()])
        assert rings(bell)


def test_a_bell_is_not_hung_again_all_the_time(backend, proxy):
    url = f"redis://127.0.0.1:{proxy.port}"
    with (
        closing(RedisBackend(linked(url), name=url)) as other,
        closing(other.bell(["jobs"])) as bell,
    ):
        proxy.reset()
        before = proxy.accepted

        assert rings(bell)
        assert not bell.silence()
        assert proxy.accepted == before


def test_a_bell_that_cannot_be_hung_is_hung_later(monkeypatch, backend, proxy):
    proxy.refuse()
    url = f"redis://127.0.0.1:{proxy.port}"
    with (
        closing(RedisBackend(linked(url), name=url)) as other,
        closing(other.bell(["jobs"])) as bell,
    ):
        assert not bell.silence()
        proxy.accept()
        assert not bell.silence()  # not yet
        monkeypatch.setattr("eventbus.backends.redis_bell.REDIS_BELL_RETRY", 0)
        monkeypatch.setattr(bell, "_retry_at", 0)
        assert bell.silence()

        backend.push([job()])
        assert rings(bell)
        bell.close()
        bell.close()


def test_what_has_run_of_plans_leaves_nothing_behind(backend, server):
    begin(backend, members("x", "y"), waiting=ALL)
    backend.push(chained("a", "b", catch="oh"))
    backend.push(chained("c", "d", catch="never"))

    run_all(backend, failing=["b"])
    backend.purge(["b"])
    backend.plans.forget(["b"])

    left = {key.decode() for key in server.ask("KEYS", "*")}
    assert left == {"eventbus:queues", "eventbus:{jobs}:numbers"}
