# ruff: noqa: D102 - the name of a test says it
"""Chains: who comes next, as part of the step that settles a member."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from eventbus.backends.base import Backend, Charge, Sizes, State
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope, Member
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.plans import (
    begin,
    chained,
    run_all,
    stored,
    waits,
)
from eventbus.testing.contract.suite import (
    LONG,
    SHORT,
    Suite,
    claim_all,
    claim_one,
    ids,
    job,
    needs,
    pass_time,
)

__all__ = ["Chaining"]


class Chaining(Suite):
    """Envelopes that follow one another, and `plans.link`."""

    @pytest.fixture
    def store(self, backend: Backend) -> Backend:
        """Return the backend, if it keeps plans."""
        needs(backend, plans=True, failed_jobs=True)
        return backend

    def test_each_of_a_chain_comes_when_the_one_before_it_is_done(self, store: Backend) -> None:
        store.push(chained("a", "b", "c"))

        for name in ("a", "b", "c"):
            [claim] = claim_all(store)
            assert claim.envelope.id == name
            store.ack([claim])

        assert store.size("jobs") == Sizes()

    def test_what_waits_for_its_turn_is_neither_due_nor_delayed(self, store: Backend) -> None:
        store.push(chained("a", "b", "c"))
        claim_all(store)

        assert store.size("jobs") == Sizes(leased=1, held=2)
        assert store.next_due(["jobs"]) is None
        assert [one.state for one in store.find(["b", "c"])] == [State.HELD] * 2
        assert [one.state for one in store.peek(limit=9)] == [State.LEASED, State.HELD, State.HELD]

    def test_what_waits_for_its_turn_alone_is_never_due(self, store: Backend) -> None:
        store.push([waits("a")])

        assert store.next_due(["jobs"]) is None
        assert store.next_due(["jobs"], leased=True) is None

    @pytest.mark.parametrize(
        "member",
        [
            Member(batch="b"),
            Member(next=("jobs", "b")),
            Member(catch=("jobs", "c")),
            Member(batch="b", next=("jobs", "b"), catch=("jobs", "c")),
        ],
        ids=["batch", "next", "catch", "all"],
    )
    def test_a_claim_says_what_it_is_a_member_of(self, store: Backend, member: Member) -> None:
        begin(store, [Envelope(id="a", queue="jobs", body=b"{}", member=member)])

        claim = claim_one(store)

        assert claim.envelope.member == member

    def test_a_stale_ack_lets_nobody_come(self, store: Backend) -> None:
        store.push(chained("a", "b"))
        claim = claim_one(store)
        stale = replace(claim, token=f"not-{claim.token}")

        assert store.ack([stale]) == [stale]

        assert store.size("jobs") == Sizes(leased=1, held=1)

    def test_one_that_is_given_back_lets_the_others_wait(self, store: Backend) -> None:
        store.push(chained("a", "b"))

        store.release([claim_one(store)], delay=0, charge=Charge.RELEASE)

        assert ids(claim_all(store)) == ["a"]

    def test_a_turn_comes_after_the_delay_of_its_own(
        self, store: Backend, clock: ManualClock | None
    ) -> None:
        delay = SHORT if clock is None else LONG
        store.push(chained("a", "b", delays=[0.0, delay]))

        store.ack([claim_one(store)])

        assert claim_all(store) == []
        pass_time(clock, delay)
        assert ids(claim_all(store)) == ["b"]

    def test_members_lie_in_queues_of_their_own(self, store: Backend) -> None:
        store.push(chained("a", "b", "c", queues=["jobs", "more", "jobs"]))

        assert run_all(store) == ["a", "b", "c"]
        assert stored(store) == set()

    def test_one_ack_of_several_lets_all_of_theirs_come(self, store: Backend) -> None:
        store.push([*chained("a", "b"), *chained("c", "d"), job("e")])

        assert store.ack(claim_all(store)) == []

        assert sorted(ids(claim_all(store))) == ["b", "d"]

    def test_a_chain_stops_at_one_that_fails(self, store: Backend) -> None:
        store.push(chained("a", "b", "c"))

        assert run_all(store, failing=["b"]) == ["a", "b"]

        assert store.size("jobs") == Sizes(failed=1, held=1)

    def test_a_chain_goes_on_from_one_that_is_retried(self, store: Backend) -> None:
        store.push(chained("a", "b", "c"))
        run_all(store, failing=["b"])

        store.revive(["b"])

        assert run_all(store) == ["b", "c"]

    def test_what_catches_comes_when_one_fails(self, store: Backend) -> None:
        store.push(chained("a", "b", "c", catch="oh"))

        assert run_all(store, failing=["b"]) == ["a", "b", "oh"]

    def test_what_catches_comes_once(self, store: Backend) -> None:
        store.push(chained("a", "b", "c", catch="oh"))
        run_all(store, failing=["b"])

        store.revive(["b"])

        assert run_all(store, failing=["c"]) == ["b", "c"]

    def test_what_catches_knows_who_failed(self, store: Backend) -> None:
        store.push(chained("a", "b", catch="oh", queues=["jobs", "slow"]))
        assert store.plans.caught("jobs", "oh") is None
        store.ack([claim_one(store)])
        claim = claim_one(store, queue="slow")
        assert store.plans.caught("jobs", "oh") is None

        store.bury([claim], error="boom", charge=Charge.ERROR)

        assert store.plans.caught("jobs", "oh") == "b"
        assert store.plans.caught("slow", "oh") is None
        assert store.plans.caught("jobs", "b") is None

    def test_what_catches_knows_of_the_failure_that_is_there(self, store: Backend) -> None:
        store.push(chained("a", "b", catch="oh"))
        run_all(store, failing=["a"])
        assert store.plans.caught("jobs", "oh") == "a"

        store.revive(["a"])
        assert store.plans.caught("jobs", "oh") is None

        assert run_all(store, failing=["b"]) == ["a", "b"]
        assert store.plans.caught("jobs", "oh") == "b"

        store.purge(["b"])
        assert store.plans.caught("jobs", "oh") is None

    def test_what_catches_goes_with_a_chain_that_is_done(self, store: Backend) -> None:
        store.push(chained("a", "b", catch="oh"))

        assert run_all(store) == ["a", "b"]

        assert stored(store) == set()

    @pytest.mark.parametrize("verb", ["cancel", "purge"])
    def test_with_one_that_is_taken_out_go_those_that_follow(
        self, store: Backend, verb: str
    ) -> None:
        store.push([*chained("a", "b", "c", catch="oh"), job("z")])
        if verb == "purge":
            run_all(store, failing=["a"])
            assert store.purge(["a"]) == ["a"]
            assert stored(store) == set()
        else:
            assert store.cancel(["a"]) == ["a"]
            assert stored(store) == {"z"}

    def test_a_chain_ends_before_one_that_is_taken_out(self, store: Backend) -> None:
        store.push(chained("a", "b", "c", "d", catch="oh"))

        assert store.cancel(["c"]) == ["c"]

        assert run_all(store) == ["a", "b"]
        assert stored(store) == set()

    def test_clear_takes_out_whole_chains(self, store: Backend) -> None:
        store.push(chained("a", "b", "c", queues=["jobs", "more", "jobs"]))

        assert store.clear("jobs") == 3

        assert stored(store) == set()

    def test_another_may_follow(self, store: Backend) -> None:
        store.push(chained("a", "b"))
        claim = claim_one(store)
        between = Envelope(
            id="x", queue="jobs", body=b"{}", member=Member(next=("jobs", "b"), held=True)
        )
        store.push([between])

        assert store.plans.link("jobs", "a", ("jobs", "x"))
        store.ack([claim])

        assert run_all(store) == ["x", "b"]

    def test_nobody_follows_what_is_not_there(self, store: Backend) -> None:
        assert not store.plans.link("jobs", "a", ("jobs", "x"))

    def test_a_chain_that_leads_in_a_circle_ends(self, store: Backend) -> None:
        """Nobody makes one; but whoever can write into the store might."""
        store.push(chained("a", "b", "c"))
        store.plans.link("jobs", "c", ("jobs", "b"))

        assert store.cancel(["a"]) == ["a"]

        assert stored(store) == set()

    def test_a_long_chain_is_taken_out_whole(self, store: Backend) -> None:
        names = [f"m{number}" for number in range(1200)]
        store.push(chained(*names))

        store.cancel(names[:1])

        assert store.size("jobs") == Sizes()

    def test_it_is_refused_where_it_is_not_declared(self, backend: Backend) -> None:
        if backend.capabilities.plans:
            pytest.skip("declared")
        with pytest.raises(UnsupportedOption):
            _ = backend.plans
