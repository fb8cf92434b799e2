# ruff: noqa: D102 - the name of a test says it
"""How a claim ends, or goes on."""

from __future__ import annotations

import pytest

from eventbus.backends.base import Backend, Charge, Sizes
from eventbus.errors import UnsupportedOption
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
    settle,
)

__all__ = ["Settling"]


class Settling(Suite):
    """`extend`, `ack`, `release`, and claims that are stale."""

    def test_an_extended_lease_is_not_lost(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        claim = claim_one(backend, lease=SHORT)

        assert backend.extend([claim], lease=LONG) == []

        pass_time(clock, SHORT)
        assert claim_all(backend) == []
        assert backend.ack([claim]) == []

    def test_an_extended_lease_ends_too(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.push([job()])
        claim = claim_one(backend)

        backend.extend([claim], lease=SHORT)

        pass_time(clock, SHORT)
        assert claim_one(backend).losses == 1

    def test_a_lease_that_ended_but_was_not_taken_can_be_extended(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        claim = claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)

        assert backend.extend([claim], lease=LONG) == []

        assert claim_all(backend) == []

    def test_an_acked_envelope_is_gone(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.push([job()])

        assert backend.ack([claim_one(backend, lease=SHORT)]) == []

        pass_time(clock, SHORT)
        assert claim_all(backend) == []
        assert backend.size("jobs") == Sizes()

    def test_an_ack_of_some_leaves_the_others(self, backend: Backend) -> None:
        backend.push([job(id=name) for name in "abc"])
        a, _, c = claim_all(backend)

        assert backend.ack([a, c]) == []

        assert backend.size("jobs") == Sizes(leased=1)

    @pytest.mark.parametrize("verb", ["extend", "ack", "release", "bury"])
    def test_a_stale_claim_changes_nothing_and_is_returned(
        self, backend: Backend, clock: ManualClock | None, verb: str
    ) -> None:
        needs(backend, failed_jobs=verb == "bury")
        backend.push([job()])
        stale = claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)
        holder = claim_one(backend)

        returned = settle(backend, verb, [stale])

        if not backend.capabilities.fenced:
            assert returned == []  # it cannot tell
            return
        assert returned == [stale]
        assert backend.size("jobs") == Sizes(leased=1)
        assert backend.ack([holder]) == []

    @pytest.mark.parametrize("verb", ["extend", "ack", "release", "bury"])
    def test_a_claim_that_is_done_is_stale(self, backend: Backend, verb: str) -> None:
        needs(backend, fenced=True)
        backend.push([job()])
        done = claim_one(backend)
        backend.ack([done])

        assert settle(backend, verb, [done]) == [done]
        assert backend.size("jobs") == Sizes()

    @pytest.mark.parametrize("verb", ["extend", "ack", "release", "bury"])
    def test_a_stale_claim_does_not_hinder_the_others(
        self, backend: Backend, clock: ManualClock | None, verb: str
    ) -> None:
        needs(backend, fenced=True, failed_jobs=True)
        backend.push([job(id="stale")])
        stale = claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)
        claim_one(backend)
        backend.push([job(id="held")])
        held = claim_one(backend)

        assert settle(backend, verb, [stale, held]) == [stale]

        assert (settle(backend, "ack", [held]) == []) == (verb == "extend")

    def test_the_stale_are_returned_in_the_order_given(self, backend: Backend) -> None:
        needs(backend, fenced=True)
        backend.push([job(id=name, queue=name[0]) for name in ("a1", "b1", "a2", "b2")])
        claims = sorted(claim_from(backend, ["a", "b"]), key=lambda one: one.envelope.id[1])
        backend.ack(claims)

        assert ids(backend.ack(claims)) == ["a1", "b1", "a2", "b2"]

    def test_threads_ack_one_claim_and_one_succeeds(self, backend: Backend) -> None:
        needs(backend, fenced=True)
        backend.push([job()])
        claim = claim_one(backend)

        answers = self.race(lambda _: backend.ack([claim]))

        assert answers.count([]) == 1

    def test_a_released_envelope_is_due_after_the_delay(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, delay=True)
        pushed = job()
        backend.push([pushed])

        assert backend.release([claim_one(backend)], delay=SHORT, charge=Charge.ATTEMPT) == []

        assert backend.size("jobs") == Sizes(delayed=1)
        assert claim_all(backend) == []
        pass_time(clock, SHORT)
        assert claim_one(backend).envelope == pushed

    @pytest.mark.parametrize(
        "charge, counted",
        [
            (Charge.ERROR, (2, 2, 0)),
            (Charge.ATTEMPT, (2, 0, 0)),
            (Charge.RELEASE, (0, 0, 2)),
            (Charge.NOTHING, (0, 0, 0)),
        ],
    )
    def test_a_release_counts_as_what_it_is_charged(
        self, backend: Backend, charge: Charge, counted: tuple[int, int, int]
    ) -> None:
        backend.push([job()])

        for _ in range(2):
            backend.release([claim_one(backend)], delay=0, charge=charge)

        claim = claim_one(backend)
        assert (claim.attempts, claim.exceptions, claim.releases) == counted
        assert claim.losses == 0

    def test_a_release_leaves_when_it_was_pushed(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        first = claim_one(backend)
        pass_time(clock, SHORT / 10)

        backend.release([first], delay=0, charge=Charge.ERROR)

        assert claim_one(backend).pushed_at == first.pushed_at

    def test_a_released_envelope_goes_behind_what_is_due_longer(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id="first"), job(id="second")])
        claim = claim_one(backend)
        pass_time(clock, SHORT / 10)

        backend.release([claim], delay=0, charge=Charge.RELEASE)

        assert ids(claim_all(backend)) == ["second", "first"]

    def test_what_is_charged_nothing_keeps_its_place(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        """A batch that is given back, in whatever order, is claimed again in the first one."""
        backend.push([job(id=name) for name in "abcd"])
        claims = claim_all(backend, limit=3)
        pass_time(clock, SHORT / 10)

        assert backend.release(claims[::-1], delay=0, charge=Charge.NOTHING) == []

        assert ids(claim_all(backend)) == ["a", "b", "c", "d"]

    def test_what_is_charged_nothing_is_due_again_since_its_own_delay(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, delay=True)
        backend.push([job(id="delayed", delay=SHORT)])
        pass_time(clock, SHORT / 2)
        backend.push([job(id="sooner")])
        claim_one(backend)
        pass_time(clock, SHORT)
        delayed = claim_one(backend)
        backend.push([job(id="later")])

        backend.release([delayed], delay=0, charge=Charge.NOTHING)

        assert ids(claim_all(backend)) == ["delayed", "later"]

    def test_what_is_charged_nothing_but_delayed_waits(self, backend: Backend) -> None:
        needs(backend, delay=True)
        backend.push([job()])

        backend.release([claim_one(backend)], delay=LONG, charge=Charge.NOTHING)

        assert claim_all(backend) == []
        assert backend.size("jobs") == Sizes(delayed=1)

    def test_a_delay_of_a_release_is_refused_where_there_is_none(self, backend: Backend) -> None:
        if backend.capabilities.delay:
            pytest.skip("declared supported: what it does has tests of its own")
        backend.push([job()])
        claim = claim_one(backend)

        with pytest.raises(UnsupportedOption):
            backend.release([claim], delay=LONG, charge=Charge.RELEASE)

        assert backend.ack([claim]) == []
