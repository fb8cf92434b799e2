# ruff: noqa: D102 - the name of a test says it
"""Of envelopes with one key one is stored: the second stands back, or takes the place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import pytest

from eventbus.backends.base import Backend, Charge, Claim
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope, UniqueKey
from eventbus.testing.clock import ManualClock
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

__all__ = ["Uniqueness"]


def only(
    id: str, key: str = "k", *, queue: str = "jobs", delay: float = 0.0, life: float = 0.0
) -> Envelope:
    """Return an envelope that stands back where another has its key."""
    unique = UniqueKey(key=key, life=life)
    return Envelope(id=id, queue=queue, body=id.encode(), delay=delay, unique=unique)


def latest(id: str, *, delay: float = LONG, most: float = 0.0) -> Envelope:
    """Return an envelope that takes the place of one that waits."""
    unique = UniqueKey(key="k", replaces=True, latest=most)
    return Envelope(id=id, queue="jobs", body=id.encode(), delay=delay, unique=unique)


def stored(backend: Backend) -> set[str]:
    """Return the ids of what waits or is leased."""
    return {one.envelope.id for one in backend.peek(limit=100)}


def never_given() -> Claim:
    """Return a claim that no store gave."""
    return Claim(envelope=job("a"), token="never", pushed_at=datetime.now(UTC))  # noqa: S106 - no secret


class Uniqueness(Suite):
    """`push` of `unique` envelopes, and `free`."""

    @pytest.fixture
    def store(self, backend: Backend) -> Backend:
        """Return the backend, if it looks at keys."""
        needs(backend, unique=True)
        return backend

    def test_the_second_of_a_key_stands_back(self, store: Backend) -> None:
        assert store.push([only("a")]) == {}

        assert store.push([only("b"), only("c", "other"), job("d")]) == {"b": "b"}

        assert stored(store) == {"a", "c", "d"}

    def test_of_one_push_the_first_is_stored(self, store: Backend) -> None:
        assert store.push([only("a"), only("b"), only("c")]) == {"b": "b", "c": "c"}
        assert stored(store) == {"a"}

    def test_a_key_is_of_its_queue(self, store: Backend) -> None:
        assert store.push([only("a"), only("b", queue="more")]) == {}

        assert stored(store) == {"a", "b"}

    def test_the_same_id_again_is_no_second(self, store: Backend) -> None:
        """Pushed again since it was not known whether it was stored."""
        store.push([only("a")])

        assert store.push([only("a")]) == {}
        assert store.push([only("b")]) == {"b": "b"}
        assert stored(store) == {"a"}

    @pytest.mark.parametrize("state", ["freed", "failed"])
    def test_an_id_that_is_stored_already_disturbs_nobody(self, store: Backend, state: str) -> None:
        """It has no key any more; the one that has it by now neither keeps it out nor gives way."""
        needs(store, failed_jobs=True)
        again = {"only": only("a"), "latest": latest("a", delay=0.0)}
        for mine in again.values():
            store.push([mine])
            claim = claim_one(store)
            if state == "freed":
                store.free([claim])
            else:
                settle(store, "bury", [claim])
            other = latest("b") if mine is again["latest"] else only("b", delay=LONG)
            store.push([other])

            assert store.push([mine]) == {}

            assert [one.envelope.id for one in store.find(["b"])] == ["b"]
            store.ack([claim])
            store.purge(["a"])
            store.cancel(["b"])

    @pytest.mark.parametrize("state", ["delayed", "leased", "lost", "released"])
    def test_a_key_is_kept_for_as_long_as_its_job_may_run(
        self, store: Backend, clock: ManualClock | None, state: str
    ) -> None:
        store.push([only("a", delay=LONG if state == "delayed" else 0.0)])
        if state != "delayed":
            claim = claim_one(store, lease=SHORT if state == "lost" else LONG)
            if state == "released":
                store.release([claim], delay=LONG, charge=Charge.ERROR)
            if state == "lost":
                pass_time(clock, SHORT)

        assert store.push([only("b")]) == {"b": "b"}

    @pytest.mark.parametrize("verb", ["ack", "bury", "cancel", "clear"])
    def test_a_key_is_free_when_its_job_is_gone_or_has_failed(
        self, store: Backend, verb: str
    ) -> None:
        store.push([only("a")])
        if verb == "cancel":
            assert store.cancel(["a"]) == ["a"]
        elif verb == "clear":
            assert store.clear("jobs") == 1
        else:
            assert settle(store, verb, [claim_one(store)]) == []

        assert store.push([only("b")]) == {}
        assert store.push([only("c")]) == {"c": "c"}
        assert stored(store) == {"b"}

    @pytest.mark.parametrize("verb", ["ack", "clear"])
    def test_a_key_is_free_though_another_of_the_id_comes(self, store: Backend, verb: str) -> None:
        store.push([only("a")])
        assert not store.ack([claim_one(store)]) if verb == "ack" else store.clear("jobs")

        assert store.push([job("a")]) == store.push([only("b")]) == {}
        assert stored(store) == {"a", "b"}
        assert store.push([only("c")]) == {"c": "c"}

    def test_a_stale_claim_changes_no_key(self, store: Backend, clock: ManualClock | None) -> None:
        store.push([only("a")])
        stale = claim_one(store, lease=SHORT)
        pass_time(clock, SHORT)
        claim_one(store)

        store.free([stale])
        assert store.take(stale, UniqueKey(key="other")) is False
        assert store.ack([stale]) == [stale]

        assert store.push([only("b")]) == {"b": "b"}

    def test_a_revived_job_has_no_key(self, store: Backend) -> None:
        """Another may have it by now."""
        needs(store, failed_jobs=True)
        store.push([only("a")])
        settle(store, "bury", [claim_one(store)])
        assert store.revive(["a"]) == ["a"]

        assert store.push([only("b")]) == {}
        assert store.push([only("c")]) == {"c": "c"}
        store.ack(claim_all(store))
        assert store.push([only("d")]) == {}

    def test_a_key_is_kept_for_its_life_at_most(
        self, store: Backend, clock: ManualClock | None
    ) -> None:
        store.push([only("a", life=SHORT)])
        assert store.push([only("b")]) == {"b": "b"}

        pass_time(clock, SHORT)

        assert store.push([only("c", life=LONG)]) == {}
        assert store.push([only("d")]) == {"d": "d"}
        # The first is done, and the key is not its own any more.
        store.ack([next(one for one in claim_all(store) if one.envelope.id == "a")])
        assert store.push([only("e")]) == {"e": "e"}

    def test_one_that_has_begun_can_free_its_key(self, store: Backend) -> None:
        store.push([only("a"), job("plain")])
        claims = claim_all(store)

        store.free(claims)
        store.free(claims)

        assert store.push([only("b")]) == {}
        assert settle(store, "release", claims) == []
        assert store.push([only("c")]) == {"c": "c"}
        store.ack([one for one in claim_all(store) if one.envelope.id == "a"])
        assert store.push([only("d")]) == {"d": "d"}

    def test_a_claim_hands_out_what_was_pushed(self, store: Backend) -> None:
        store.push([only("a", delay=0.0)])

        claim = claim_one(store)

        assert isinstance(claim, Claim)
        assert (claim.envelope.id, claim.envelope.body) == ("a", b"a")

    def test_the_newest_takes_the_place_of_the_one_that_waits(self, store: Backend) -> None:
        assert store.push([latest("a")]) == {}
        assert store.push([latest("b")]) == {"b": "a"}
        assert store.push([latest("c", delay=0.0)]) == {"c": "b"}

        [claim] = claim_all(store)
        assert (claim.envelope.id, claim.envelope.body) == ("c", b"c")
        assert store.ack([claim]) == []
        assert store.queues() == []

    def test_one_that_runs_is_left_alone(self, store: Backend) -> None:
        store.push([latest("a", delay=0.0)])
        claim = claim_one(store)

        assert store.push([latest("b")]) == {}
        assert store.push([latest("c")]) == {"c": "b"}

        assert store.ack([claim]) == []
        assert store.push([latest("d")]) == {"d": "c"}

    def test_however_many_take_the_place_it_is_due_in_time(
        self, store: Backend, clock: ManualClock | None
    ) -> None:
        store.push([latest("a", delay=LONG, most=SHORT)])
        for name in "bcd":
            store.push([latest(name, delay=LONG, most=SHORT)])
        assert claim_all(store) == []

        pass_time(clock, SHORT)

        assert ids(claim_all(store)) == ["d"]

    def test_the_time_begins_anew_when_it_ran(
        self, store: Backend, clock: ManualClock | None
    ) -> None:
        store.push([latest("a", delay=0.0, most=SHORT)])
        store.ack([claim_one(store)])
        pass_time(clock, SHORT)

        store.push([latest("b", delay=LONG, most=LONG / 2)])

        assert claim_all(store) == []
        due = store.next_due(["jobs"])
        assert due is not None
        assert LONG / 3 < due <= LONG / 2

    def test_what_gave_way_is_gone(self, store: Backend) -> None:
        store.push([latest("a")])
        store.push([latest("b")])

        assert store.find(["a"]) == []
        assert store.cancel(["a"]) == []
        assert store.size("jobs").delayed == 1

    def test_of_those_that_race_one_is_stored(
        self, store: Backend, another: Callable[[], Backend]
    ) -> None:
        def act(thread: int) -> dict[str, str]:
            if not store.capabilities.shared:
                return store.push([only(f"{thread}")])
            with closing(another()) as own:
                return own.push([only(f"{thread}")])

        gone = [one for answer in self.race(act) for one in answer]

        assert len(gone) == self.threads - 1
        assert len(stored(store)) == 1

    def test_async_pushes_are_the_same(self, store: Backend) -> None:
        needs(store, async_push=True)

        async def push() -> list[dict[str, str]]:
            answers = [await store.apush([one]) for one in (only("a"), only("b"), job("c"))]
            await store.aclose()
            return answers

        assert asyncio.run(push()) == [{}, {"b": "b"}, {}]

    def test_many_keys_come_and_go(self, store: Backend) -> None:
        for round_ in range(3):
            names = [f"{round_}-{number}" for number in range(40)]
            assert store.push([only(name, name.partition("-")[2]) for name in names]) == {}
            store.ack(claim_all(store))
        assert store.queues() == []

    # `take`.

    def test_a_claim_takes_a_key_that_nobody_has(self, store: Backend) -> None:
        store.push([job("a")])
        claim = claim_one(store)

        assert store.take(claim, UniqueKey(key="k"))

        assert store.push([only("b")]) == {"b": "b"}
        store.ack([claim])
        assert store.push([only("c")]) == {}

    def test_a_claim_does_not_take_a_key_that_another_has(self, store: Backend) -> None:
        store.push([only("a", delay=LONG), job("b")])
        claim = claim_one(store)

        assert store.take(claim, UniqueKey(key="k")) is False

        assert store.take(claim, UniqueKey(key="other"))

    def test_a_claim_has_its_key_in_the_next_attempt_too(self, store: Backend) -> None:
        store.push([job("a")])
        claim = claim_one(store)
        store.take(claim, UniqueKey(key="k"))
        store.release([claim], delay=0, charge=Charge.ERROR)

        assert store.take(claim_one(store), UniqueKey(key="k"))
        assert store.push([only("b")]) == {"b": "b"}

    def test_a_claim_takes_a_key_whose_time_is_over(
        self, store: Backend, clock: ManualClock | None
    ) -> None:
        store.push([only("a", delay=LONG, life=SHORT), job("b")])
        claim = claim_one(store)
        assert store.take(claim, UniqueKey(key="k")) is False

        pass_time(clock, SHORT)

        assert store.take(claim, UniqueKey(key="k"))
        assert store.push([only("c")]) == {"c": "c"}
        store.cancel(["a"])
        assert store.push([only("c")]) == {"c": "c"}

    def test_a_claim_that_takes_another_key_lets_go_of_its_own(self, store: Backend) -> None:
        store.push([job("a")])
        claim = claim_one(store)
        store.take(claim, UniqueKey(key="before"))

        assert store.take(claim, UniqueKey(key="k"))

        assert store.push([only("b", "before"), only("c")]) == {"c": "c"}

    def test_a_stale_claim_takes_nothing(self, store: Backend) -> None:
        store.push([job("a")])
        claim = claim_one(store)
        store.ack([claim])

        assert store.take(claim, UniqueKey(key="k")) is False
        assert store.push([only("b")]) == {}

    def test_a_store_that_looks_at_no_keys_says_so(self, backend: Backend) -> None:
        if backend.capabilities.unique:
            pytest.skip("the store looks at keys")
        with pytest.raises(UnsupportedOption, match="unique"):
            backend.free([])
        with pytest.raises(UnsupportedOption, match="unique"):
            backend.take(never_given(), UniqueKey(key="k"))
