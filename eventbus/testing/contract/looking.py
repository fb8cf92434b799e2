# ruff: noqa: D102 - the name of a test says it
"""What can be seen of a store, and taken out of it unrun."""

from __future__ import annotations

import pytest

from eventbus.backends.base import Backend, Charge, Sizes, State
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.suite import (
    LONG,
    SHORT,
    Suite,
    claim_all,
    claim_from,
    claim_one,
    fail,
    ids,
    job,
    needs,
    pass_time,
)

__all__ = ["Looking"]


class Looking(Suite):
    """`cancel`, `clear`, `size`, `queues`, `peek`, `find`, `next_due`."""

    def test_clear_deletes_what_waits_and_leaves_what_is_leased_or_failed(
        self, backend: Backend
    ) -> None:
        needs(backend, failed_jobs=True, delay=True)
        fail(backend)
        backend.push([job(id="leased")])
        claim = claim_one(backend)
        backend.push([job(id="b"), job(id="c", delay=LONG), job(id="d", queue="other")])

        assert backend.clear("jobs") == 2

        assert backend.size("jobs") == Sizes(leased=1, failed=1)
        assert backend.size("other") == Sizes(ready=1)
        assert backend.ack([claim]) == []

    def test_clear_deletes_what_was_lost(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.push([job()])
        claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)

        assert backend.clear("jobs") == 1
        assert backend.clear("jobs") == 0

    def test_cancel_deletes_what_waits_and_returns_the_ids_that_went(
        self, backend: Backend
    ) -> None:
        backend.push([job(id="leased")])
        claim = claim_one(backend)
        backend.push([job(id=name) for name in "abc"])

        assert sorted(backend.cancel(["c", "leased", "unknown", "a"])) == ["a", "c"]

        assert backend.size("jobs") == Sizes(ready=1, leased=1)
        assert backend.ack([claim]) == []
        assert ids(claim_all(backend)) == ["b"]
        assert backend.cancel(["a"]) == backend.cancel([]) == []

    def test_cancel_deletes_what_is_delayed(self, backend: Backend) -> None:
        needs(backend, delay=True)
        backend.push([job(id="a", delay=LONG)])

        assert backend.cancel(["a"]) == ["a"]

        assert backend.size("jobs") == Sizes()

    def test_cancel_deletes_what_was_lost_and_its_claim_is_stale(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id="a")])
        lost = claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)

        assert backend.cancel(["a"]) == ["a"]

        if backend.capabilities.fenced:
            assert backend.ack([lost]) == [lost]
        assert backend.size("jobs") == Sizes()

    def test_cancel_leaves_failed_jobs(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        fail(backend, id="a")

        assert backend.cancel(["a"]) == []

        assert backend.size("jobs") == Sizes(failed=1)

    def test_what_was_cancelled_may_be_pushed_again(self, backend: Backend) -> None:
        backend.push([job(id="a")])
        backend.cancel(["a"])

        backend.push([job(id="a", body=b"again")])

        assert claim_one(backend).envelope.body == b"again"

    def test_threads_cancel_and_claim_one_job_and_one_has_it(self, backend: Backend) -> None:
        backend.push([job(id=str(number)) for number in range(20)])

        def act(thread: int) -> list[str]:
            if thread % 2:
                return [name for number in range(20) for name in backend.cancel([str(number)])]
            return [name for _ in range(20) for name in ids(claim_all(backend, limit=1))]

        found = [name for names in self.race(act) for name in names]

        assert sorted(found, key=int) == [str(number) for number in range(20)]

    def test_size_counts_by_state(self, backend: Backend, clock: ManualClock | None) -> None:
        needs(backend, failed_jobs=True, delay=True)
        fail(backend)
        backend.push([job(id="leased"), job(id="lost")])
        claim_one(backend)
        claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)
        backend.push([job(id="ready"), job(id="delayed", delay=LONG)])

        assert backend.size("jobs") == Sizes(ready=2, delayed=1, leased=1, failed=1)
        assert backend.size("never-pushed-to") == Sizes()

    def test_queues_are_those_in_which_something_is(self, backend: Backend) -> None:
        assert backend.queues() == []
        for queue in ("b", "leased", "a.1", "done", "B"):
            backend.push([job(queue=queue), job(queue=queue)])
        claim_one(backend, queue="leased")
        backend.ack(claim_from(backend, ["done"]))

        assert backend.queues() == ["B", "a.1", "b", "leased"]

    def test_queues_are_those_in_which_something_is_delayed_or_failed(
        self, backend: Backend
    ) -> None:
        needs(backend, failed_jobs=True, delay=True)
        fail(backend, queue="failed")
        backend.push([job(queue="delayed", delay=LONG)])

        assert backend.queues() == ["delayed", "failed"]

    def test_peek_shows_what_waits_or_is_leased_and_changes_nothing(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        pushed = job(body=b"\x00\xff")
        backend.push([pushed])
        claim = claim_one(backend)
        backend.release([claim], delay=0, charge=Charge.ATTEMPT)

        [ready] = backend.peek(limit=10)
        assert ready.envelope == pushed
        assert (ready.state, ready.parked) == (State.READY, "")
        assert (ready.attempts, ready.losses, ready.releases) == (1, 0, 0)
        assert ready.pushed_at == claim.pushed_at
        if clock is not None:
            assert ready.due == clock.now()

        claim = claim_one(backend, lease=SHORT)
        [leased] = backend.peek(limit=10)
        assert leased.state is State.LEASED
        if clock is not None:
            assert (leased.due - clock.now()).total_seconds() == SHORT
        pass_time(clock, SHORT)
        [lost] = backend.peek(limit=10)
        assert lost.state is State.READY
        assert backend.ack([claim]) == []
        assert backend.peek(limit=10) == []

    def test_peek_shows_what_is_delayed_and_leaves_what_failed(self, backend: Backend) -> None:
        needs(backend, delay=True, failed_jobs=True)
        fail(backend)
        pushed = job(id="b", delay=LONG)
        backend.push([pushed])

        [delayed] = backend.peek(limit=10)

        assert (delayed.envelope, delayed.state) == (pushed, State.DELAYED)

    def test_peek_goes_on_from_its_cursor_and_sees_each_once(self, backend: Backend) -> None:
        names = [f"{number:02}" for number in range(25)]
        backend.push([job(id=name) for name in names])
        claim_all(backend, limit=3)

        found: list[str] = []
        after = ""
        while page := backend.peek(limit=10, after=after):
            assert len(page) <= 10
            found += [stored.envelope.id for stored in page]
            after = page[-1].cursor
            backend.ack(claim_all(backend, limit=1))  # what changes meanwhile

        assert len(found) == len(set(found))
        assert set(names[6:]) <= set(found) <= set(names)

    def test_peek_shows_the_queues_that_are_asked_for(self, backend: Backend) -> None:
        for name, queue in (("a", "one"), ("b", "two"), ("c", "one"), ("d", "three")):
            backend.push([job(id=name, queue=queue)])

        def found(queues: list[str] | None) -> list[str]:
            return sorted(job.envelope.id for job in backend.peek(queues=queues, limit=10))

        assert found(["one", "three", "empty"]) == ["a", "c", "d"]
        assert found(["empty"]) == found([]) == []
        assert found(None) == ["a", "b", "c", "d"]
        [first] = backend.peek(queues=["one"], limit=1)
        [second] = backend.peek(queues=["one"], limit=10, after=first.cursor)
        assert {first.envelope.id, second.envelope.id} == {"a", "c"}

    def test_a_parked_envelope_says_why_until_it_is_claimed(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, delay=True)
        backend.push([job(id="parked"), job(id="other")])
        why = "no listener is called '\u00e9'"

        assert (
            backend.release([claim_one(backend)], delay=SHORT, charge=Charge.NOTHING, parked=why)
            == []
        )

        [parked] = backend.peek(parked=True, limit=10)
        assert (parked.envelope.id, parked.state, parked.parked) == ("parked", State.DELAYED, why)
        assert len(backend.peek(limit=10)) == 2
        assert backend.peek(parked=True, queues=["empty"], limit=10) == []
        assert backend.peek(parked=True, limit=10, after=parked.cursor) == []
        pass_time(clock, SHORT)
        claims = claim_all(backend)
        assert backend.peek(parked=True, limit=10) == []
        backend.release(claims, delay=0, charge=Charge.NOTHING)
        assert backend.peek(parked=True, limit=10) == []

    def test_find_shows_as_peek_does_those_that_are_asked_for_in_their_order(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id="leased")])
        claim = claim_one(backend, lease=SHORT)
        backend.push([job(id=name, body=name.encode()) for name in "abc"])
        backend.push([job(id="d", queue="other")])
        stored = {one.envelope.id: one for one in backend.peek(limit=10)}

        found = backend.find(["d", "leased", "unknown", "c", "a"])

        assert found == [stored[name] for name in ("d", "leased", "c", "a")]
        assert [one.state for one in found[:2]] == [State.READY, State.LEASED]
        pass_time(clock, SHORT)
        assert [one.state for one in backend.find(["leased"])] == [State.READY]
        assert backend.ack([claim]) == []
        assert backend.find(["leased"]) == backend.find([]) == []

    def test_find_looks_in_the_queues_that_are_named(self, backend: Backend) -> None:
        backend.push([job(id="a"), job(id="b", queue="other")])

        def found(*queues: str) -> list[str]:
            return [one.envelope.id for one in backend.find(["a", "b"], queues=queues)]

        assert found("other") == ["b"]
        assert found("other", "jobs") == ["a", "b"]
        assert found("empty") == []

    def test_find_tells_what_is_delayed_and_leaves_what_failed(self, backend: Backend) -> None:
        needs(backend, delay=True, failed_jobs=True)
        fail(backend, id="failed")
        backend.push([job(id="later", delay=LONG)])

        [delayed] = backend.find(["failed", "later"])

        assert (delayed.envelope.id, delayed.state) == ("later", State.DELAYED)
        assert backend.revive(["failed"]) == ["failed"]
        assert [one.state for one in backend.find(["failed"])] == [State.READY]

    def test_next_due_is_none_when_nothing_waits(self, backend: Backend) -> None:
        assert backend.next_due(["jobs"]) is None
        backend.push([job()])
        claim_one(backend)

        assert backend.next_due(["jobs"]) is None

    def test_next_due_is_zero_when_one_is_due(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        pass_time(clock, SHORT / 10)

        assert backend.next_due(["empty", "jobs"]) == 0

    def test_next_due_counts_what_was_lost(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)

        assert backend.next_due(["jobs"]) == 0

    def test_next_due_counts_what_is_leased_if_it_is_to(self, backend: Backend) -> None:
        backend.push([job()])
        claim_one(backend)

        assert backend.next_due(["jobs"]) is None
        assert backend.next_due(["jobs"], leased=True) == pytest.approx(LONG, abs=5)

    def test_next_due_tells_the_seconds_to_the_nearest(self, backend: Backend) -> None:
        needs(backend, delay=True)
        backend.push([job(delay=LONG), job(queue="other", delay=LONG / 2)])

        assert backend.next_due(["jobs", "other"]) == pytest.approx(LONG / 2, abs=5)
