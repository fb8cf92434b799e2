"""Members of plans in a SQLite file in which somebody, or a disk, has altered something."""

from __future__ import annotations

from contextlib import closing
from secrets import token_hex

import pytest

from eventbus.backends.base import Charge
from eventbus.backends.plans import Milestone, NewBatch
from eventbus.backends.sqlite import SqliteBackend
from eventbus.queue.envelope import Envelope, Member

pytestmark = pytest.mark.usefixtures("driver")
DRIVER = None


@pytest.fixture
def backend(tmp_path, driver):
    with closing(SqliteBackend(tmp_path / "queue.db")) as backend:
        yield backend


def alter(backend, statement, *values):
    with closing(DRIVER.connect(backend.path)) as db:
        db.execute(statement, values)
        db.commit()


def claim(backend):
    return backend.claim(["jobs"], limit=9, lease=60, token=token_hex(16))


def envelope(name, **member):
    return Envelope(id=name, queue="jobs", body=b"{}", member=Member(**member))


def opened(backend, *names, waiting=None):
    batch = NewBatch(id="b", queue="jobs", waiting=waiting or {})
    backend.plans.open([batch], [envelope(name, batch="b") for name in names])


def counts(backend):
    [found] = backend.plans.find(ids=["b"], limit=1)
    return found.total, found.succeeded, found.failed, found.skipped


def test_a_member_that_cannot_be_run_counts_as_failed(backend):
    opened(backend, "a", "c")
    alter(backend, "UPDATE envelopes SET body = ? WHERE id = 'a'", b"altered")

    [found] = claim(backend)

    assert found.envelope.id == "c"
    assert [one.envelope.id for one in backend.failed(limit=9)] == ["a"]
    assert counts(backend) == (2, 0, 1, 0)


@pytest.mark.parametrize("column, of", [("batch", "b"), ("next", "jobs/z"), ("catch", "jobs/z")])
@pytest.mark.parametrize("verb", ["ack", "exchange"])
def test_what_became_a_member_since_it_was_claimed_is_one_as_it_is_acked(backend, column, of, verb):
    opened(backend, "c")
    backend.push([Envelope(id="a", queue="jobs", body=b"{}"), envelope("z", held=True)])
    found = claim(backend)
    alter(backend, f"UPDATE envelopes SET {column} = ? WHERE id = 'a'", of)

    if verb == "ack":
        assert backend.ack(found) == []
    else:
        lost, claims = backend.exchange(found, ["jobs"], limit=9, lease=60, token=token_hex(16))
        assert lost == []
        assert [one.envelope.id for one in claims] == ["z"] * (column == "next")

    assert counts(backend) == (1, 1 + (column == "batch"), 0, 0)
    # Its turn comes, or it goes with what it was to follow.
    assert len(backend.find(["z"])) == (column != "catch")
    assert backend.find(["a", "c"]) == []


@pytest.mark.parametrize(
    "text",
    [
        *("no JSON", "[1]", '{"finished": 1}', b"\xff", "[" * 100_000),
        *('{"finished": [1, "\\ud800"]}', '{"within": ["\\ud800"]}', '{"within": [[]]}'),
    ],
    ids=range(8),
)
def test_what_waits_for_milestones_may_be_anything(backend, text):
    opened(backend, "a")
    alter(backend, "UPDATE batches SET waiting = ?", text)

    backend.ack(claim(backend))

    assert counts(backend) == (1, 1, 0, 0)
    assert backend.plans.cancel("b")
    assert backend.plans.forget(["b"]) == ["b"]


@pytest.mark.parametrize("place", ["no place", b"\xff", 17])
def test_who_follows_may_be_anything(backend, place):
    backend.push([envelope("a", next=("jobs", "b")), envelope("b", held=True)])
    alter(backend, "UPDATE envelopes SET next = ? WHERE id = 'a'", place)

    assert backend.ack(claim(backend)) == []

    assert [one.envelope.id for one in backend.peek(limit=9)] == ["b"]


@pytest.mark.parametrize("verb", ["clear", "claim"])
def test_the_id_of_a_member_may_be_anything(backend, verb):
    opened(backend, "a", "c")
    alter(backend, "UPDATE envelopes SET id = x'ff' WHERE id = 'a'")

    if verb == "clear":
        assert backend.clear("jobs") == 2
    else:
        assert [one.envelope.id for one in claim(backend)] == ["c"]
        assert counts(backend) == (2, 0, 1, 0)


def test_a_member_of_a_batch_that_is_gone_counts_nowhere(backend):
    opened(backend, "a", "c")
    alter(backend, "DELETE FROM batches")
    first, second = claim(backend)

    backend.ack([first])
    backend.bury([second], error="boom", charge=Charge.ERROR)
    assert backend.revive(["c"]) == ["c"]
    backend.push([envelope("d", batch="b")])

    assert sorted(one.envelope.id for one in backend.peek(limit=9)) == ["c", "d"]


def test_a_turn_that_comes_of_a_batch_that_is_gone_meanwhile(backend):
    """Its envelope comes as any other does."""
    waiting = {Milestone.BEGUN: ["x"], Milestone.FINISHED: ["i"]}
    held = [envelope("i", held=True), envelope("x", batch="i", held=True)]
    batch = NewBatch(id="i", queue="jobs", waiting=waiting)
    backend.plans.open([batch], [envelope("a", next=("jobs", "i")), *held])
    alter(backend, "DELETE FROM batches")

    backend.ack(claim(backend))

    assert [one.envelope.id for one in claim(backend)] == ["i"]


def test_a_batch_within_that_is_gone_is_passed_over(backend):
    outer = NewBatch(id="b", queue="jobs", within=["gone"])
    backend.plans.open([outer], [envelope("a", batch="b")])

    assert backend.plans.cancel("b")


def test_of_what_stands_alone_nothing_follows(backend):
    """A purge, a cancel and a burial of what has no place in a plan, beside one that has."""
    opened(backend, "a")
    backend.push([Envelope(id="plain", queue="jobs", body=b"{}")])
    backend.push([Envelope(id="other", queue="jobs", body=b"{}")])
    found = {one.envelope.id: one for one in claim(backend)}

    backend.bury([found["a"], found["plain"]], error="boom", charge=Charge.ERROR)
    assert sorted(backend.purge(["a", "plain"])) == ["a", "plain"]
    backend.release([found["other"]], delay=0, charge=Charge.NOTHING)
    assert backend.cancel(["other"]) == ["other"]

    assert counts(backend) == (1, 0, 1, 0)


@pytest.mark.parametrize(
    "place", [{"batch": "b"}, {"next": ("jobs", "c")}, {"catch": ("jobs", "d")}]
)
def test_a_member_without_a_due_is_one_all_the_same(backend, place):
    backend.push([envelope("a", **place)])
    alter(backend, "UPDATE envelopes SET due = 'x'")

    [found] = claim(backend)

    assert found.envelope.member == Member(**place)


def test_those_within_a_batch_are_kept_under_a_word_that_stays(backend):
    """Another version of eventbus may have opened the batch."""
    opened(backend, "a")
    backend.plans.open([NewBatch(id="i", queue="jobs")], [envelope("x", batch="i")])
    alter(backend, """UPDATE batches SET waiting = '{"within": ["i"]}' WHERE id = 'b'""")

    backend.plans.cancel("b")

    [inner] = backend.plans.find(ids=["i"], limit=1)
    assert inner.canceled_at is not None


@pytest.mark.parametrize(
    "column",
    [
        *("allows_failures", "reached", "total", "succeeded", "failed", "skipped"),
        *("created_at", "canceled_at", "finished_at"),
    ],
)
@pytest.mark.parametrize("value", ["x", b"\xff", -1, 2**63 - 1, 1e300, 1.5], ids=repr)
def test_what_a_batch_has_counted_may_be_anything(backend, column, value):
    opened(backend, "a", "c", "d")
    alter(backend, f"UPDATE batches SET {column} = ?", value)
    first, second, third = claim(backend)

    assert backend.ack([first]) == []
    assert backend.bury([second], error="boom", charge=Charge.ERROR) == []
    assert backend.revive(["c"]) == ["c"]
    backend.push([envelope("e", batch="b")])
    assert backend.ack([third]) == []
    assert len(backend.plans.find(limit=9)) == 1
    assert backend.plans.cancel("b")
    assert backend.plans.forget(["b"]) == ["b"]
