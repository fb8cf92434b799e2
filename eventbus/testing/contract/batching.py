# ruff: noqa: D102 - the name of a test says it
"""Batches: how many are done, as part of the step that settles a member."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from eventbus.backends.base import Backend
from eventbus.backends.plans import Milestone
from eventbus.testing.contract.plans import (
    ALL,
    batch_of,
    begin,
    bury,
    chained,
    counts,
    members,
    run_all,
    stored,
)
from eventbus.testing.contract.suite import (
    Suite,
    claim_all,
    claim_from,
    claim_one,
    needs,
)

__all__ = ["Batching"]


class Batching(Suite):
    """Envelopes that a batch counts, and `plans`."""

    @pytest.fixture
    def store(self, backend: Backend) -> Backend:
        """Return the backend, if it keeps plans."""
        needs(backend, plans=True, failed_jobs=True)
        return backend

    def test_members_are_counted_as_they_are_stored_and_settled(self, store: Backend) -> None:
        begin(store, members("a", "b", "c"), allows_failures=True)
        assert counts(store) == (3, 0, 0, 0)

        run_all(store, failing=["b"])

        assert counts(store) == (3, 2, 1, 0)
        assert batch_of(store).finished_at is not None
        assert batch_of(store).pending == 0

    def test_a_batch_is_kept_as_it_was_said(self, store: Backend) -> None:
        begin(store, members("a"))

        found = batch_of(store)

        assert (found.id, found.queue, found.name) == ("b", "jobs", "import")
        assert (found.allows_failures, found.canceled_at, found.finished_at) == (False, None, None)

    def test_a_batch_is_opened_once(self, store: Backend) -> None:
        begin(store, members("a"))

        begin(store, members("a"))

        assert counts(store) == (1, 0, 0, 0)
        assert stored(store) == {"a"}

    def test_members_that_run_twice_count_once(self, store: Backend) -> None:
        begin(store, members("a", "b"))
        claim, other = claim_all(store)

        store.ack([claim])
        assert store.ack([claim, other]) == [claim]

        assert counts(store) == (2, 2, 0, 0)

    def test_an_id_that_is_stored_already_counts_once(self, store: Backend) -> None:
        begin(store, members("a", "b"))

        store.push(members("b", "c"))

        assert counts(store) == (3, 0, 0, 0)

    def test_what_is_acked_as_skipped_counts_as_that(self, store: Backend) -> None:
        begin(store, members("a", "b"))
        claim, other = claim_all(store)

        store.ack([replace(claim, skipped=True), other])

        assert counts(store) == (2, 1, 0, 1)

    def test_an_empty_batch_is_finished_at_once(self, store: Backend) -> None:
        begin(store, [], waiting=[Milestone.SUCCEEDED, Milestone.FINISHED])

        assert batch_of(store).finished_at is not None
        assert run_all(store) == ["succeeded", "finished"]

    def test_milestones_of_a_batch_that_succeeds(self, store: Backend) -> None:
        begin(store, members("a", "b"), waiting=ALL)

        assert run_all(store) == ["a", "b", "started", "succeeded", "finished"]
        assert stored(store) == set()

    def test_milestones_of_a_batch_that_fails(self, store: Backend) -> None:
        begin(store, members("a", "b"), waiting=ALL)

        assert run_all(store, failing=["a"]) == [
            "a", "b", "started", "failed", "canceled", "finished",
        ]  # fmt: skip
        assert counts(store) == (2, 0, 1, 1)
        assert stored(store) == {"succeeded"}

    def test_milestones_of_a_batch_that_allows_failures(self, store: Backend) -> None:
        begin(store, members("a", "b"), waiting=ALL, allows_failures=True)

        assert run_all(store, failing=["a"]) == ["a", "b", "started", "failed", "finished"]
        assert counts(store) == (2, 1, 1, 0)

    def test_a_batch_whose_failures_are_retried_succeeds(self, store: Backend) -> None:
        begin(store, members("a", "b"), waiting=ALL, allows_failures=True)
        run_all(store, failing=["a"])

        store.revive(["a"])
        assert counts(store) == (2, 1, 0, 0)
        assert batch_of(store).finished_at is None

        assert run_all(store) == ["a", "succeeded"]
        assert counts(store) == (2, 2, 0, 0)
        assert batch_of(store).finished_at is not None
        assert stored(store) == set()

    def test_a_retry_lets_a_batch_go_on_that_a_failure_had_canceled(self, store: Backend) -> None:
        begin(store, members("a"))
        run_all(store, failing=["a"])
        assert batch_of(store).canceled_at is not None

        store.revive(["a"])

        assert batch_of(store).canceled_at is None
        assert not claim_one(store).canceled

    def test_claims_know_that_their_batch_was_canceled(self, store: Backend) -> None:
        begin(store, members("a", "b"))
        begin(store, members("x", batch="other"), id="other")
        assert not claim_from(store, ["jobs"], limit=1)[0].canceled

        assert store.plans.cancel("b")

        assert {one.envelope.id: one.canceled for one in claim_all(store)} == {
            "b": True,
            "x": False,
        }
        assert batch_of(store).canceled_at is not None

    def test_what_a_cancel_lets_come_comes_once(self, store: Backend) -> None:
        begin(store, members("a"), waiting=[Milestone.CANCELED])
        first = claim_one(store)

        store.plans.cancel("b")
        store.plans.cancel("b")

        assert run_all(store) == ["canceled"]
        store.ack([replace(first, skipped=True)])
        assert counts(store) == (1, 0, 0, 1)

    def test_nothing_cancels_what_is_not_there(self, store: Backend) -> None:
        assert not store.plans.cancel("b")

    def test_more_members_open_a_batch_again(self, store: Backend) -> None:
        begin(store, members("a"), waiting=[Milestone.FINISHED])
        run_all(store)

        store.push(members("c"))
        assert counts(store) == (2, 1, 0, 0)
        assert batch_of(store).finished_at is None

        assert run_all(store) == ["c"]
        assert batch_of(store).finished_at is not None

    def test_chains_count_with_all_their_members(self, store: Backend) -> None:
        begin(store, [*chained("a", "b", "c", batch="b"), *members("d")])
        assert counts(store) == (4, 0, 0, 0)

        run_all(store)

        assert counts(store) == (4, 4, 0, 0)

    def test_a_chain_that_fails_settles_its_batch(self, store: Backend) -> None:
        """Those that will never run count as skipped."""
        begin(
            store,
            [*chained("a", "b", "c", batch="b"), *members("d")],
            waiting=[Milestone.FINISHED],
            allows_failures=True,
        )

        assert run_all(store, failing=["a"]) == ["a", "d", "finished"]

        assert counts(store) == (4, 1, 1, 2)
        assert batch_of(store).finished_at is not None

    def test_a_chain_in_a_batch_goes_on_from_one_that_is_retried(self, store: Backend) -> None:
        begin(store, chained("a", "b", "c", batch="b"), waiting=[Milestone.SUCCEEDED])
        run_all(store, failing=["a"])

        store.revive(["a"])
        assert counts(store) == (3, 0, 0, 0)

        assert run_all(store) == ["a", "b", "c", "succeeded"]
        assert counts(store) == (3, 3, 0, 0)

    def test_those_that_follow_a_failed_one_count_once(self, store: Backend) -> None:
        begin(store, chained("a", "b", "c", batch="b"))
        run_all(store, failing=["a"])

        store.cancel(["b"])
        assert counts(store) == (3, 0, 1, 2)

        store.revive(["a"])
        assert counts(store) == (3, 0, 0, 2)
        assert run_all(store) == ["a"]
        assert counts(store) == (3, 1, 0, 2)
        assert stored(store) == set()

    def test_a_failed_one_that_is_forgotten_stays_counted(self, store: Backend) -> None:
        begin(store, chained("a", "b", batch="b"))
        run_all(store, failing=["a"])

        store.purge(["a"])

        assert counts(store) == (2, 0, 1, 1)
        assert stored(store) == set()

    @pytest.mark.parametrize("verb", ["cancel", "clear"])
    def test_members_that_are_taken_out_count_as_skipped(self, store: Backend, verb: str) -> None:
        begin(store, [*chained("a", "b", batch="b"), *members("c")])

        if verb == "cancel":
            store.cancel(["a", "c"])
        else:
            store.clear("jobs")

        assert counts(store) == (3, 0, 0, 3)
        assert batch_of(store).finished_at is not None

    def test_what_cannot_be_run_counts_as_failed(self, store: Backend) -> None:
        """Its worker died too often, or its bytes are nothing: it is buried as others are."""
        begin(store, members("a"))

        bury(store, [claim_one(store)])

        assert counts(store) == (1, 0, 1, 0)
