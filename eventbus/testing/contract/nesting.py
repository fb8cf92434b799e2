# ruff: noqa: D102 - the name of a test says it
"""Plans in plans, and what is seen of batches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from eventbus.backends.base import Backend
from eventbus.backends.plans import Milestone, NewBatch
from eventbus.queue.envelope import Envelope, Member
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.plans import (
    batch_of,
    begin,
    chained,
    counts,
    held_members,
    inner,
    members,
    run_all,
    stored,
    waits,
)
from eventbus.testing.contract.suite import (
    LONG,
    SHORT,
    Suite,
    claim_from,
    claim_one,
    needs,
    pass_time,
)
from eventbus.testing.contract.telling import hears

__all__ = ["Nesting"]


class Nesting(Suite):
    """Batches in chains and in batches; `plans.find` and `plans.forget`."""

    @pytest.fixture
    def store(self, backend: Backend) -> Backend:
        """Return the backend, if it keeps plans."""
        needs(backend, plans=True, failed_jobs=True)
        return backend

    def test_a_batch_in_a_chain_begins_when_its_turn_comes(self, store: Backend) -> None:
        store.plans.open([inner("x", "y")], [*chained("a", "i", "last"), *held_members("x", "y")])
        assert batch_of(store, "i").finished_at is None

        assert run_all(store) == ["a", "x", "y", "i", "last"]

        assert counts(store, "i") == (2, 2, 0, 0)
        assert stored(store) == set()

    def test_an_empty_batch_in_a_chain_is_passed_over(self, store: Backend) -> None:
        store.plans.open([inner()], chained("a", "i", "last"))
        assert batch_of(store, "i").finished_at is None

        assert run_all(store) == ["a", "i", "last"]
        assert batch_of(store, "i").finished_at is not None

    def test_a_batch_in_another_queue_begins_when_its_turn_comes(self, store: Backend) -> None:
        chain = chained("a", "i", "last", queues=["more", "jobs", "more"])
        store.plans.open([inner("x")], [*chain, *held_members("x")])

        assert run_all(store) == ["a", "x", "i", "last"]

    @pytest.mark.parametrize("verb", ["cancel", "purge"])
    def test_a_batch_whose_turn_never_comes_goes_with_its_chain(
        self, store: Backend, verb: str
    ) -> None:
        envelopes = [*chained("a", "i", "last"), *held_members("x", "y")]
        store.plans.open([inner("x", "y", also=[Milestone.FAILED])], [*envelopes, waits("failed")])

        if verb == "cancel":
            store.cancel(["a"])
        else:
            run_all(store, failing=["a"])
            store.purge(["a"])

        assert stored(store) == set()
        assert store.plans.find(ids=["i"], limit=9) == []

    def test_a_batch_in_a_batch_counts_as_one_member(self, store: Backend) -> None:
        outer = NewBatch(id="b", queue="jobs")
        nested = NewBatch(id="i", queue="jobs", waiting={Milestone.FINISHED: ["i"]})
        end = Envelope(id="i", queue="jobs", body=b"{}", member=Member(batch="b", held=True))
        store.plans.open([outer, nested], [*members("a"), end, *members("x", "y", batch="i")])
        assert counts(store) == (2, 0, 0, 0)

        assert run_all(store) == ["a", "x", "y", "i"]

        assert counts(store) == (2, 2, 0, 0)
        assert counts(store, "i") == (2, 2, 0, 0)

    def test_with_a_batch_those_within_it_are_canceled(self, store: Backend) -> None:
        outer = NewBatch(id="b", queue="jobs", within=["i"])
        chain = chained("a", "i", "last", batch="b")
        store.plans.open([outer, inner("x", "y")], [*chain, *held_members("x", "y")])

        store.plans.cancel("b")

        assert batch_of(store, "i").canceled_at is not None
        assert run_all(store) == ["a", "x", "y", "i", "last"]
        assert counts(store, "i") == (2, 0, 0, 2)
        assert counts(store) == (3, 0, 0, 3)

    def test_with_a_failure_those_within_a_batch_are_canceled(self, store: Backend) -> None:
        outer = NewBatch(id="b", queue="jobs", within=["i"])
        end = Envelope(id="i", queue="jobs", body=b"{}", member=Member(batch="b", held=True))
        nested = NewBatch(id="i", queue="jobs", waiting={Milestone.FINISHED: ["i"]})
        envelopes = [*members("a"), end, *members("x", batch="i")]
        store.plans.open([outer, nested], envelopes)

        run_all(store, failing=["a"])

        assert counts(store, "i") == (1, 0, 0, 1)

    def test_a_batch_that_runs_is_canceled_with_the_chain_that_it_is_part_of(
        self, store: Backend
    ) -> None:
        chain = chained("a", "i", "last")
        store.plans.open([inner("x", "y")], [*chain, *held_members("x", "y")])
        store.ack([claim_one(store)])

        assert store.cancel(["i"]) == ["i"]

        assert run_all(store) == ["x", "y"]
        assert counts(store, "i") == (2, 0, 0, 2)
        assert stored(store) == set()

    def test_what_was_to_come_after_a_batch_that_fails_waits(self, store: Backend) -> None:
        """The envelope that stands for it fails: whoever runs it looks at the batch."""
        chain = chained("a", "i", "last")
        store.plans.open([inner("x")], [*chain, *held_members("x")])

        assert run_all(store, failing=["x", "i"]) == ["a", "x", "i"]
        assert stored(store) == {"last"}

        store.revive(["x"])
        assert run_all(store) == ["x"]
        store.revive(["i"])
        assert run_all(store) == ["i", "last"]
        assert counts(store, "i") == (1, 1, 0, 0)

    def test_batches_are_listed_page_by_page(self, store: Backend) -> None:
        for name in ("b1", "b2", "b3"):
            begin(store, members(f"of-{name}", batch=name), id=name)

        seen: list[str] = []
        after = ""
        while page := store.plans.find(limit=2, after=after):
            seen += [one.id for one in page]
            after = page[-1].cursor

        assert sorted(seen) == ["b1", "b2", "b3"]

    def test_what_is_forgotten_counts_nowhere(self, store: Backend) -> None:
        begin(store, members("a"), waiting=[Milestone.FINISHED])

        assert store.plans.forget(["b", "c"]) == ["b"]

        assert store.plans.find(ids=["b"], limit=9) == []
        assert run_all(store) == ["a"]
        assert stored(store) == set()

    def test_a_batch_that_is_forgotten_keeps_the_one_around_it_from_nothing(
        self, store: Backend
    ) -> None:
        """What stands for it is a member, and will not run."""
        outer = NewBatch(id="b", queue="jobs", within=["i"])
        nested = NewBatch(id="i", queue="jobs", waiting={Milestone.FINISHED: ["i"]})
        end = Envelope(id="i", queue="jobs", body=b"{}", member=Member(batch="b", held=True))
        store.plans.open([outer, nested], [*members("a"), end, *members("x", batch="i")])

        assert store.plans.forget(["i"]) == ["i"]

        assert run_all(store) == ["a", "x"]
        assert counts(store) == (2, 1, 0, 1)
        assert batch_of(store).finished_at is not None

    def test_a_bell_rings_for_what_a_batch_that_is_forgotten_lets_come(
        self, store: Backend
    ) -> None:
        """It was the last that the one around it waited for."""
        finished = {Milestone.FINISHED: ["finished"]}
        outer = NewBatch(id="b", queue="jobs", within=["i"], waiting=finished)
        nested = NewBatch(id="i", queue="jobs", waiting={Milestone.FINISHED: ["i"]})
        end = Envelope(id="i", queue="jobs", body=b"{}", member=Member(batch="b", held=True))
        envelopes = [end, waits("finished"), *members("x", batch="i")]
        store.plans.open([outer, nested], envelopes)
        claim = claim_one(store)
        bell = store.bell(["jobs"])
        if bell is None:
            pytest.skip("the store does not call: workers look by themselves")

        with closing(bell):
            store.plans.forget(["i"])

            assert hears(bell)
        store.ack([claim])
        assert run_all(store) == ["finished"]

    def test_with_a_batch_that_is_forgotten_go_those_that_follow_in_other_queues(
        self, store: Backend
    ) -> None:
        chain = chained("a", "i", "last", queues=["more", "jobs", "more"])
        store.plans.open([inner("x")], [*chain, *held_members("x")])

        store.plans.forget(["i"])

        assert stored(store) == {"a"}

    def test_another_process_sees_the_same(
        self, store: Backend, another: Callable[[], Backend]
    ) -> None:
        needs(store, shared=True)
        begin(store, chained("a", "b", batch="b"))
        other = another()

        assert run_all(other) == ["a", "b"]

        assert counts(store) == (2, 2, 0, 0)
        other.close()

    def test_a_lease_that_ends_counts_nothing(
        self, store: Backend, clock: ManualClock | None
    ) -> None:
        begin(store, members("a"))
        lost = claim_one(store, lease=SHORT)
        pass_time(clock, SHORT)

        claim = claim_one(store, lease=LONG)
        assert store.ack([lost]) == [lost]
        assert counts(store) == (1, 0, 0, 0)

        store.ack([claim])
        assert counts(store) == (1, 1, 0, 0)

    def test_acks_at_once_count_each_member(self, store: Backend) -> None:
        names = [f"m{number}" for number in range(self.threads * 5)]
        begin(store, members(*names), waiting=[Milestone.FINISHED])

        def act(_: int) -> None:
            while found := [
                one for one in claim_from(store, ["jobs"], limit=2) if one.envelope.id != "finished"
            ]:
                store.ack(found)

        self.race(act)

        assert counts(store) == (len(names), len(names), 0, 0)
