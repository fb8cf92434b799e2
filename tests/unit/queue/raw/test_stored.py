"""What lies in a raw queue: looked at, counted, revived, purged and cleared; in three stores."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eventbus import EventBus, listens
from eventbus.backends.base import Sizes, State
from eventbus.defaults import LEASE
from eventbus.errors import InvalidOption, UnsupportedOption
from eventbus.queue.envelope import Envelope


@listens(queue="emails", name="listener")
def listener(name: str, payload: tuple[object, ...]) -> None:
    raise ValueError


@pytest.fixture
def graves(bus, emails, clock):
    """Three buried jobs, a minute apart."""
    ids = []
    for payload in "abc":
        ids.append(emails.push(payload))
        emails.claim().bury(f"why {payload}")
        clock.advance(60)
    return ids


def payloads(jobs):
    return [job.payload for job in jobs]


def test_peek_shows_what_waits_and_what_is_claimed(emails, clock):
    claimed, ready, later = emails.push("a"), emails.push("b"), emails.push("c", delay=10)
    emails.claim()

    shown = {job.id: job for job in emails.peek()}

    assert {name: (job.payload, job.state) for name, job in shown.items()} == {
        claimed: ("a", State.LEASED),
        ready: ("b", State.READY),
        later: ("c", State.DELAYED),
    }
    assert shown[later].due == clock.now() + timedelta(seconds=10)
    assert shown[claimed].due == clock.now() + timedelta(seconds=LEASE)
    assert {job.queue for job in shown.values()} == {"emails"}


def test_peek_changes_nothing(emails):
    emails.push("a")

    assert payloads(emails.peek()) == payloads(emails.peek()) == ["a"]
    assert emails.claim().losses == 0


def test_peek_shows_no_more_than_it_was_told(emails):
    emails.push_many(range(5))

    assert len(emails.peek(2)) == 2
    with pytest.raises(InvalidOption, match="limit"):
        emails.peek(0)


def test_peek_leaves_out_what_is_no_raw_job(bus, emails, port):
    bus.listen("order.*", listener)
    bus.dispatch("order.shipped")
    port.push([Envelope(id="bad", queue="emails", body=b"\xff")])
    emails.push("a")

    assert payloads(emails.peek()) == ["a"]


def test_a_size_counts_each_state(bus, emails, graves):
    emails.push_many([1, 2, 3])
    emails.push(4, delay=10)
    emails.claim()
    bus.queue("others").push(5)

    assert emails.size() == Sizes(ready=2, delayed=1, leased=1, failed=3)
    assert bus.queue("emails", "others").size() == Sizes(ready=3, delayed=1, leased=1, failed=3)


def test_buried_jobs_come_one_by_one_the_oldest_first(bus, emails, graves, clock):
    bus.queue("others").push("x")
    bus.queue("others").claim().bury()

    jobs = list(emails.buried())

    assert [(job.id, job.payload, job.error) for job in jobs] == [
        (name, payload, f"why {payload}") for name, payload in zip(graves, "abc", strict=True)
    ]
    assert [(job.attempts, job.losses, job.queue) for job in jobs] == [(1, 0, "emails")] * 3
    assert jobs[-1].buried_at == clock.now() - timedelta(seconds=60)
    assert jobs[-1].pushed_at == jobs[-1].buried_at
    assert payloads(bus.queue("others", "emails").buried()) == ["a", "b", "c", "x"]


def test_bytes_that_are_no_job_are_buried_ones_without_a_payload(emails, port):
    port.push([Envelope(id="bad", queue="emails", body=b"\xff")])
    assert emails.claim() is None

    [job] = emails.buried()

    assert (job.id, job.payload, job.body) == ("bad", None, b"\xff")
    assert "DecodeError" in job.error


def test_a_listeners_failed_job_is_none_of_ours(bus, emails, work):
    bus.listen("order.*", listener)
    bus.dispatch("order.shipped")
    work(bus, queues=["emails"])
    [failed] = bus.failed.all()

    assert list(emails.buried()) == []
    assert emails.revive(10) == emails.revive([failed.id]) == emails.purge(10) == []
    assert bus.failed.all() == [failed]


@pytest.mark.parametrize("number, revived", [(0, ""), (1, "a"), (2, "ab"), (9, "abc")])
def test_some_are_revived_those_buried_first(emails, graves, number, revived):
    ids = graves[: len(revived)]

    assert sorted(emails.revive(number)) == sorted(ids)

    assert payloads(emails.buried()) == ["a", "b", "c"][len(revived) :]
    jobs = list(emails)
    assert {(job.id, job.payload) for job in jobs} == set(zip(ids, revived, strict=True))
    assert [job.attempts for job in jobs] == [0] * len(ids)


def test_those_named_are_revived_if_they_are_buried_here(bus, emails, graves):
    bus.queue("others").push("x", id="elsewhere")
    bus.queue("others").claim().bury()

    assert emails.revive(["unknown", graves[2], "elsewhere"]) == [graves[2]]
    assert emails.revive([]) == []

    assert payloads(emails) == ["c"]
    assert payloads(emails.buried()) == ["a", "b"]
    assert payloads(bus.queue("others").buried()) == ["x"]


def test_those_purged_are_gone(emails, graves):
    assert emails.purge([graves[1]]) == [graves[1]]
    assert payloads(emails.buried()) == ["a", "c"]

    assert sorted(emails.purge(5)) == sorted([graves[0], graves[2]])

    assert emails.size() == Sizes()


@pytest.mark.parametrize("which", ["an id", True, -1, None, 1.5])
def test_what_says_neither_how_many_nor_which_is_refused(emails, which):
    with pytest.raises(InvalidOption, match="which"):
        emails.revive(which)
    with pytest.raises(InvalidOption, match="which"):
        emails.purge(which)


def test_clear_deletes_what_waits(bus, emails, graves):
    emails.push_many([1, 2])
    emails.push(3, delay=10)
    bus.queue("others").push(4)
    held = emails.claim()

    assert emails.clear() == 2
    assert bus.queue("emails", "others").clear() == 1

    assert emails.size() == Sizes(leased=1, failed=3)
    held.ack()


def test_a_store_without_failed_jobs_says_so():
    with EventBus(connections={"default": "null://"}) as bus:
        emails = bus.queue("emails")
        emails.push("a")
        assert (emails.claim(), emails.peek(), emails.size()) == (None, [], Sizes())
        with pytest.raises(UnsupportedOption):
            list(emails.buried())
