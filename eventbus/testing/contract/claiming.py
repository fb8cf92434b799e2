# ruff: noqa: D102 - the name of a test says it
"""What a claim promises, and what becomes of one that was lost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from eventbus.backends.base import Backend, Charge, Sizes
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.suite import (
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

__all__ = ["Claiming"]


class Claiming(Suite):
    """`claim`, and leases that end."""

    def test_an_empty_queue_gives_nothing(self, backend: Backend) -> None:
        assert claim_from(backend, ["jobs", "never-pushed-to"]) == []

    def test_a_claimed_envelope_is_not_claimed_again(self, backend: Backend) -> None:
        backend.push([job()])

        claim_one(backend)

        assert claim_all(backend) == []

    def test_at_most_limit_are_claimed(self, backend: Backend) -> None:
        backend.push([job() for _ in range(5)])

        assert len(claim_all(backend, limit=3)) == 3
        assert len(claim_all(backend, limit=3)) == 2

    def test_the_first_pushed_comes_first(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        for name in "abc":
            backend.push([job(id=name)])
            if clock is not None:
                clock.advance(1)

        assert ids(claim_all(backend, limit=2)) == ["a", "b"]
        assert ids(claim_all(backend)) == ["c"]

    def test_what_is_due_longest_comes_first(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, delay=True)
        backend.push([job(id="later", delay=SHORT), job(id="sooner", delay=SHORT / 2)])

        pass_time(clock, 2 * SHORT)

        assert ids(claim_all(backend)) == ["sooner", "later"]

    def test_queues_are_looked_at_in_the_order_given(self, backend: Backend) -> None:
        backend.push([job(id="low", queue="low"), job(id="high", queue="high")])

        claims = claim_from(backend, ["high", "empty", "low"])

        assert ids(claims) == ["high", "low"]

    def test_a_later_queue_fills_what_the_first_leaves(self, backend: Backend) -> None:
        backend.push([job(queue="high"), *(job(queue="low") for _ in range(3))])

        claims = claim_from(backend, ["high", "low"], limit=2)

        assert [claim.envelope.queue for claim in claims] == ["high", "low"]

    def test_a_queue_that_is_not_named_is_left(self, backend: Backend) -> None:
        backend.push([job(queue="other")])

        assert claim_all(backend) == []
        assert backend.size("other") == Sizes(ready=1)

    def test_no_two_threads_claim_one_envelope(self, backend: Backend) -> None:
        backend.push([job() for _ in range(100)])

        def drain(_: int) -> list[str]:
            found: list[str] = []
            while claims := claim_all(backend, limit=3):
                found += ids(claims)
                assert backend.ack(claims) == []
            return found

        found = [name for names in self.race(drain) for name in names]

        assert len(found) == len(set(found)) == 100
        assert backend.size("jobs") == Sizes()

    def test_threads_push_while_others_claim_and_none_is_lost(self, backend: Backend) -> None:
        numbers = count()

        def work(thread: int) -> list[str]:
            found: list[str] = []
            for _ in range(10):
                backend.push([job(id=f"{thread}-{next(numbers)}")])
                claims = claim_all(backend, limit=2)
                found += ids(claims)
                backend.ack(claims)
            return found

        found = [name for names in self.race(work) for name in names]
        found += ids(claim_all(backend))

        assert len(found) == len(set(found)) == 10 * self.threads

    def test_what_was_lost_is_due_again_with_one_loss(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        lost = claim_one(backend, lease=SHORT)

        pass_time(clock, SHORT)

        again = claim_one(backend)
        assert again.envelope == lost.envelope
        assert (lost.alone, again.alone) == (False, True)
        assert (again.attempts, again.losses, again.exceptions, again.releases) == (0, 1, 0, 0)
        assert again.token != lost.token

    def test_losses_add_up(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.push([job()])

        losses: list[int] = []
        for _ in range(3):
            losses.append(claim_one(backend, lease=SHORT).losses)
            pass_time(clock, SHORT)

        assert losses == [0, 1, 2]

    def test_a_batch_that_was_lost_is_handed_out_one_by_one_without_a_loss(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id=name) for name in "abc"])
        assert len(claim_all(backend, lease=SHORT)) == 3

        pass_time(clock, SHORT)

        for name in "abc":
            [claim] = claim_all(backend)
            assert (claim.envelope.id, claim.losses) == (name, 0)

    def test_the_killer_of_a_batch_is_charged_and_its_mates_are_not(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        """The batch is lost, then whoever runs `killer` by itself is lost again, twice."""
        backend.push([job(id="killer"), job(id="mate")])
        claim_all(backend, lease=SHORT)
        pass_time(clock, SHORT)

        losses: dict[str, list[int]] = {"killer": [], "mate": []}
        for _ in range(4):
            [claim] = claim_all(backend, lease=SHORT)
            losses[claim.envelope.id].append(claim.losses)
            if claim.envelope.id == "mate":
                assert backend.ack([claim]) == []
            else:
                pass_time(clock, SHORT)

        assert losses == {"killer": [0, 1, 2], "mate": [0]}

    def test_one_that_was_lost_and_given_back_heads_the_line_alone(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id=name) for name in "ab"])
        claim_all(backend, lease=SHORT)
        pass_time(clock, SHORT)
        [claim] = claim_all(backend)

        backend.release([claim], delay=0, charge=Charge.NOTHING)

        assert [ids(claim_all(backend)), ids(claim_all(backend))] == [["a"], ["b"]]

    def test_who_must_be_alone_stays_alone_when_released(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id="a"), job(id="b")])
        claim_all(backend, lease=SHORT)
        pass_time(clock, SHORT)
        [claim] = claim_all(backend)
        backend.release([claim], delay=0, charge=Charge.ATTEMPT)

        assert [len(claim_all(backend)), len(claim_all(backend))] == [1, 1]

    def test_who_must_be_alone_waits_for_the_head_of_the_line(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        """Others ahead are claimed together, past it; then its turn comes."""
        backend.push([job(id="lost")])
        claim_one(backend, lease=SHORT)
        backend.push([job(id="a"), job(id="b")])
        pass_time(clock, SHORT)

        assert ids(claim_all(backend)) == ["a", "b"]
        assert ids(claim_all(backend)) == ["lost"]

    def test_what_a_token_took_is_given_back_as_if_it_had_never_been_claimed(
        self, backend: Backend, another: Callable[[], Backend], clock: ManualClock | None
    ) -> None:
        backend.push([job(id=name) for name in "abcd"])
        backend.push([job(id="other", queue="other")])
        pass_time(clock, SHORT / 10)
        taken = claim_from(backend, ["jobs"], limit=2, token="a" * 32)
        [apart] = claim_from(backend, ["other"], token="b" * 32)

        heir = another() if backend.capabilities.shared else backend
        assert heir.unclaim(["jobs", "other", "empty"], token="a" * 32) == 2

        assert backend.ack([apart]) == []
        again = claim_all(backend)
        assert ids(again) == ["a", "b", "c", "d"]
        assert {(one.attempts, one.losses, one.releases) for one in again} == {(0, 0, 0)}
        if backend.capabilities.fenced:
            assert backend.ack(taken) == taken

    def test_only_what_is_still_held_is_given_back(self, backend: Backend) -> None:
        backend.push([job(id=name) for name in "abc"])
        taken = claim_from(backend, ["jobs"], token="a" * 32)
        backend.ack(taken[:1])
        backend.release(taken[1:2], delay=0, charge=Charge.ATTEMPT)

        assert backend.unclaim(["other"], token="a" * 32) == 0
        assert backend.unclaim(["jobs"], token="c" * 32) == 0
        assert backend.unclaim(["jobs"], token="a" * 32) == 1
        assert backend.unclaim(["jobs"], token="a" * 32) == 0

        assert backend.size("jobs") == Sizes(ready=2)
        assert {one.attempts for one in claim_all(backend)} == {0, 1}
