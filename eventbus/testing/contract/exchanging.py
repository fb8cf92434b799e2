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

    @pytest.fixture
    def store(self, backend: Backend) -> Backend:
        """Return the backend, if it exchanges."""
        needs(backend, exchange=True)
        return backend

    def test_it_is_refused_where_there_is_none(self, backend: Backend) -> None:
        if backend.capabilities.exchange:
            pytest.skip("declared supported: what it does has tests of its own")
        with pytest.raises(UnsupportedOption):
            exchange(backend, [])

    def test_what_is_done_goes_and_what_is_due_is_taken(self, store: Backend) -> None:
        store.push([job("a"), job("b"), job("c"), job("d")])
        done = claim_all(store, limit=2)

        lost, claims = exchange(store, done, limit=1)

        assert (lost, ids(claims), claims[0].token) == ([], ["c"], NEXT)
        assert store.size("jobs") == Sizes(ready=1, leased=1)
        assert store.ack(claims) == []

    @pytest.mark.parametrize("number", [1, 2])
    def test_where_nothing_is_due_what_is_done_goes_all_the_same(
        self, store: Backend, number: int
    ) -> None:
        store.push([job(f"{one}") for one in range(number)])

        assert exchange(store, claim_all(store)) == ([], [])

        assert store.size("jobs") == Sizes()

    def test_where_nothing_is_done_it_is_a_claim(self, store: Backend) -> None:
        store.push([job("a"), job("b")])

        lost, claims = exchange(store, [])

        assert (lost, ids(claims)) == ([], ["a", "b"])

    def test_what_is_stale_is_told_and_keeps_nothing_from_being_claimed(
        self, store: Backend, clock: ManualClock | None
    ) -> None:
        store.push([job("a")])
        stale = claim_one(store, lease=SHORT)
        pass_time(clock, SHORT)
        other = claim_one(store)
        store.push([job("b")])

        lost, claims = exchange(store, [stale])

        assert (lost, ids(claims)) == ([stale], ["b"])
        assert settle(store, "ack", [other]) == []

    def test_of_several_the_stale_ones_are_told(self, store: Backend) -> None:
        store.push([job("a"), job("b"), job("c")])
        first, second, third = claim_all(store)
        store.ack([second])

        assert exchange(store, [first, second, third]) == ([second], [])

        assert store.size("jobs") == Sizes()

    def test_what_comes_by_an_ack_is_taken_at_once(self, store: Backend) -> None:
        needs(store, plans=True)
        store.push([*chained("a", "b", "c"), job("alone")])
        done = claim_all(store)

        lost, claims = exchange(store, done)

        assert (lost, ids(claims)) == ([], ["b"])
