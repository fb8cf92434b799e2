# ruff: noqa: D102 - the name of a test says it
"""Chains and batches: who comes next, and how many are done, as part of the step that settles a member."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from attrs import evolve

from eventbus.backends.base import Backend, Charge, Claim, Sizes, State
from eventbus.backends.plans import Milestone, NewBatch, StoredBatch
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope, Member
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.suite import (
    LONG,
    SHORT,
    Suite,
    claim_all,
    claim_from,
    claim_one,
    ids,
    job,
    needs,
    pass_time,
)

__all__ = ["Planning"]


#: What a batch lets come on its way; it has begun with its first step.
_ALL = tuple(one for one in Milestone if one is not Milestone.BEGUN)


def chained(
    *names: str,
    queue: str = "jobs",
    queues: Sequence[str] = (),
    batch: str = "",
    catch: str = "",
    delays: Sequence[float] = (),
) -> list[Envelope]:
    """Return envelopes of which each follows the one before it; all but the first are held."""
    where = queues or [queue] * len(names)
    found = []
    for place, (name, mine) in enumerate(zip(names, where, strict=True)):
        following = place + 1 < len(names)
        member = Member(
            batch=batch,
            next=(where[place + 1], names[place + 1]) if following else None,
            catch=(queue, catch) if catch else None,
            held=place > 0,
        )
        delay = delays[place] if delays else 0.0
        found.append(Envelope(id=name, queue=mine, body=b"{}", delay=delay, member=member))
    if catch:
        found.append(waits(catch, queue=queue))
    return found


def waits(id: str, *, queue: str = "jobs") -> Envelope:
    """Return an envelope that waits for a milestone, or a failure."""
    return Envelope(id=id, queue=queue, body=b"{}", member=Member(held=True))


def members(*names: str, batch: str = "b") -> list[Envelope]:
    """Return members of a batch."""
    return [
        Envelope(id=name, queue="jobs", body=b"{}", member=Member(batch=batch)) for name in names
    ]


def begin(
    backend: Backend,
    envelopes: Sequence[Envelope],
    *,
    id: str = "b",
    allows_failures: bool = False,
    waiting: Sequence[Milestone] = (),
) -> None:
    """Open a batch; what waits for a milestone has its name."""
    batch = NewBatch(
        id=id,
        queue="jobs",
        name="import",
        allows_failures=allows_failures,
        waiting={one: [one.value] for one in waiting},
    )
    backend.plans.open([batch], [*envelopes, *(waits(one.value) for one in waiting)])


def inner(*first: str, also: Sequence[Milestone] = ()) -> NewBatch:
    """Return a batch that begins, with these, when the turn of the envelope `i` comes."""
    waiting = {Milestone.BEGUN: list(first), Milestone.FINISHED: ["i"]}
    return NewBatch(id="i", queue="jobs", waiting={**waiting, **{one: [one.value] for one in also}})


def held_members(*names: str, batch: str = "i") -> list[Envelope]:
    """Return members of a batch whose turn has not come."""
    return [
        Envelope(id=name, queue="jobs", body=b"{}", member=Member(batch=batch, held=True))
        for name in names
    ]


def batch_of(backend: Backend, id: str = "b") -> StoredBatch:
    """Return a batch as it is now."""
    [found] = backend.plans.find(ids=[id], limit=10)
    return found


def counts(backend: Backend, id: str = "b") -> tuple[int, int, int, int]:
    """Return how many are in a batch, came to their end, failed and were skipped."""
    found = batch_of(backend, id)
    return found.total, found.succeeded, found.failed, found.skipped


def stored(backend: Backend) -> set[str]:
    """Return the ids of all that waits, is leased or held."""
    return {one.envelope.id for one in backend.peek(limit=100)}


def bury(backend: Backend, claims: Sequence[Claim]) -> None:
    """Let these fail."""
    assert backend.bury(claims, error="boom", charge=Charge.ERROR) == []


def run_all(backend: Backend, *, failing: Sequence[str] = ()) -> list[str]:
    """Let everything run that is due, one by one; return the ids in their order."""
    ran: list[str] = []
    while found := claim_from(backend, ["jobs", "more"], limit=1):
        [claim] = found
        ran.append(claim.envelope.id)
        if claim.envelope.id in failing:
            bury(backend, [claim])
        else:
            assert backend.ack([evolve(claim, skipped=claim.canceled)]) == []
    return ran


class Planning(Suite):
    """Envelopes with a `Member`, and `plans`."""

    @pytest.fixture
    def store(self, backend: Backend) -> Backend:
        """Return the backend, if it keeps plans."""
        needs(backend, plans=True, failed_jobs=True)
        return backend

    # Chains.

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

    def test_a_claim_says_what_it_is_a_member_of(self, store: Backend) -> None:
        begin(store, chained("a", "b", batch="b", catch="c"))

        claim = claim_one(store)

        assert claim.envelope.member == Member(batch="b", next=("jobs", "b"), catch=("jobs", "c"))

    def test_a_stale_ack_lets_nobody_come(self, store: Backend) -> None:
        store.push(chained("a", "b"))
        claim = claim_one(store)
        stale = evolve(claim, token=f"not-{claim.token}")

        assert store.ack([stale]) == [stale]

        assert store.size("jobs") == Sizes(leased=1, held=1)

    def test_one_that_is_given_back_lets_the_others_wait(self, store: Backend) -> None:
        store.push(chained("a", "b"))

        store.release([claim_one(store)], delay=0, charge=Charge.RELEASE)

        assert ids(claim_all(store)) == ["a"]

    def test_a_turn_comes_after_the_delay_of_its_own(
        self, store: Backend, clock: ManualClock | None
    ) -> None:
        store.push(chained("a", "b", delays=[0.0, SHORT]))

        store.ack([claim_one(store)])

        assert claim_all(store) == []
        pass_time(clock, SHORT)
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

    # Batches.

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

        store.ack([evolve(claim, skipped=True), other])

        assert counts(store) == (2, 1, 0, 1)

    def test_an_empty_batch_is_finished_at_once(self, store: Backend) -> None:
        begin(store, [], waiting=[Milestone.SUCCEEDED, Milestone.FINISHED])

        assert batch_of(store).finished_at is not None
        assert run_all(store) == ["succeeded", "finished"]

    def test_milestones_of_a_batch_that_succeeds(self, store: Backend) -> None:
        begin(store, members("a", "b"), waiting=_ALL)

        assert run_all(store) == ["a", "b", "started", "succeeded", "finished"]
        assert stored(store) == set()

    def test_milestones_of_a_batch_that_fails(self, store: Backend) -> None:
        begin(store, members("a", "b"), waiting=_ALL)

        assert run_all(store, failing=["a"]) == [
            "a", "b", "started", "failed", "canceled", "finished",
        ]  # fmt: skip
        assert counts(store) == (2, 0, 1, 1)
        assert stored(store) == {"succeeded"}

    def test_milestones_of_a_batch_that_allows_failures(self, store: Backend) -> None:
        begin(store, members("a", "b"), waiting=_ALL, allows_failures=True)

        assert run_all(store, failing=["a"]) == ["a", "b", "started", "failed", "finished"]
        assert counts(store) == (2, 1, 1, 0)

    def test_a_batch_whose_failures_are_retried_succeeds(self, store: Backend) -> None:
        begin(store, members("a", "b"), waiting=_ALL, allows_failures=True)
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
        store.ack([evolve(first, skipped=True)])
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

    # Batches in plans.

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

    # What cannot.

    def test_it_is_refused_where_it_is_not_declared(self, backend: Backend) -> None:
        if backend.capabilities.plans:
            pytest.skip("declared")
        with pytest.raises(UnsupportedOption):
            _ = backend.plans
