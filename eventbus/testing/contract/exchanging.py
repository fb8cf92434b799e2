# ruff: noqa: D102 - the name of a test says it
"""An ack and a claim in one step."""

from __future__ import annotations

import pytest

from eventbus.backends.base import Backend, Claim, Sizes
from eventbus.errors import UnsupportedOption
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.plans import chained
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
    settle,
)

__all__ = ["Exchanging"]

#: The token of what is claimed.
NEXT = "a2"


def exchange(
    backend: Backend, done: list[Claim], *, limit: int = 9
) -> tuple[list[Claim], list[Claim]]:
    """Say the verb, of one queue."""
    return backend.exchange(done, ["jobs"], limit=limit, lease=LONG, token=NEXT)


class Exchanging(Suite):
    """`exchange`."""

    def test_it_is_refused_where_there_is_none(self, backend: Backend) -> None:
        if backend.capabilities.exchange:
            pytest.skip("declared supported: what it does has tests of its own")
        with pytest.raises(UnsupportedOption):
            exchange(backend, [])

    def test_what_is_done_goes_and_what_is_due_is_taken(self, backend: Backend) -> None:
        needs(backend, exchange=True)
        backend.push([job("a"), job("b"), job("c"), job("d")])
        done = claim_all(backend, limit=2)

        lost, claims = exchange(backend, done, limit=1)

        assert (lost, ids(claims), claims[0].token) == ([], ["c"], NEXT)
        assert backend.size("jobs") == Sizes(ready=1, leased=1)
        assert backend.ack(claims) == []

    @pytest.mark.parametrize("number", [1, 2])
    def test_where_nothing_is_due_what_is_done_goes_all_the_same(
        self, backend: Backend, number: int
    ) -> None:
        needs(backend, exchange=True)
        backend.push([job(f"{one}") for one in range(number)])

        assert exchange(backend, claim_all(backend)) == ([], [])

        assert backend.size("jobs") == Sizes()

    def test_where_nothing_is_done_it_is_a_claim(self, backend: Backend) -> None:
        needs(backend, exchange=True)
        backend.push([job("a"), job("b")])

        lost, claims = exchange(backend, [])

        assert (lost, ids(claims)) == ([], ["a", "b"])

    def test_what_is_stale_is_told_and_keeps_nothing_from_being_claimed(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, exchange=True)
        backend.push([job("a")])
        stale = claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)
        other = claim_one(backend)
        backend.push([job("b")])

        lost, claims = exchange(backend, [stale])

        assert (lost, ids(claims)) == ([stale], ["b"])
        assert settle(backend, "ack", [other]) == []

    def test_of_several_the_stale_ones_are_told(self, backend: Backend) -> None:
        needs(backend, exchange=True)
        backend.push([job("a"), job("b"), job("c")])
        first, second, third = claim_all(backend)
        backend.ack([second])

        assert exchange(backend, [first, second, third]) == ([second], [])

        assert backend.size("jobs") == Sizes()

    def test_what_comes_by_an_ack_is_taken_at_once(self, backend: Backend) -> None:
        needs(backend, exchange=True, plans=True)
        backend.push([*chained("a", "b", "c"), job("alone")])
        done = claim_all(backend)

        lost, claims = exchange(backend, done)

        assert (lost, ids(claims)) == ([], ["b"])
