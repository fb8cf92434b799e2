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
    def keyed(self, backend: Backend) -> Backend:
        """Return the backend, if it looks at keys."""
        needs(backend, unique=True)
        return backend

    def test_the_second_of_a_key_stands_back(self, keyed: Backend) -> None:
        assert keyed.push([only("a")]) == {}

        assert keyed.push([only("b"), only("c", "other"), job("d")]) == {"b": "b"}

        assert stored(keyed) == {"a", "c", "d"}

    def test_of_one_push_the_first_is_stored(self, keyed: Backend) -> None:
        assert keyed.push([only("a"), only("b"), only("c")]) == {"b": "b", "c": "c"}
        assert stored(keyed) == {"a"}

    def test_a_key_is_of_its_queue(self, keyed: Backend) -> None:
        assert keyed.push([only("a"), only("b", queue="more")]) == {}

        assert stored(keyed) == {"a", "b"}

    def test_the_same_id_again_is_no_second(self, keyed: Backend) -> None:
        """Pushed again since it was not known whether it was stored."""
        keyed.push([only("a")])

        assert keyed.push([only("a")]) == {}
        assert keyed.push([only("b")]) == {"b": "b"}
        assert stored(keyed) == {"a"}

    @pytest.mark.parametrize("state", ["freed", "failed"])
    def test_an_id_that_is_stored_already_disturbs_nobody(self, keyed: Backend, state: str) -> None:
        """It has no key any more; the one that has it by now neither keeps it out nor gives way."""
        needs(keyed, failed_jobs=True)
        again = {"only": only("a"), "latest": latest("a", delay=0.0)}
        for mine in again.values():
            keyed.push([mine])
            claim = claim_one(keyed)
            if state == "freed":
                keyed.free([claim])
            else:
                settle(keyed, "bury", [claim])
            other = latest("b") if mine is again["latest"] else only("b", delay=LONG)
            keyed.push([other])

            assert keyed.push([mine]) == {}

            assert [one.envelope.id for one in keyed.find(["b"])] == ["b"]
            keyed.ack([claim])
            keyed.purge(["a"])
            keyed.cancel(["b"])

    @pytest.mark.parametrize("state", ["delayed", "leased", "lost", "released"])
    def test_a_key_is_kept_for_as_long_as_its_job_may_run(
        self, keyed: Backend, clock: ManualClock | None, state: str
    ) -> None:
        keyed.push([only("a", delay=LONG if state == "delayed" else 0.0)])
        if state != "delayed":
            claim = claim_one(keyed, lease=SHORT if state == "lost" else LONG)
            if state == "released":
                keyed.release([claim], delay=LONG, charge=Charge.ERROR)
            if state == "lost":
                pass_time(clock, SHORT)

        assert keyed.push([only("b")]) == {"b": "b"}

    @pytest.mark.parametrize("verb", ["ack", "bury", "cancel", "clear"])
    def test_a_key_is_free_when_its_job_is_gone_or_has_failed(
        self, keyed: Backend, verb: str
    ) -> None:
        keyed.push([only("a")])
        if verb == "cancel":
            assert keyed.cancel(["a"]) == ["a"]
        elif verb == "clear":
            assert keyed.clear("jobs") == 1
        else:
            assert settle(keyed, verb, [claim_one(keyed)]) == []

        assert keyed.push([only("b")]) == {}
        assert keyed.push([only("c")]) == {"c": "c"}
        assert stored(keyed) == {"b"}

    @pytest.mark.parametrize("verb", ["ack", "clear"])
    def test_a_key_is_free_though_another_of_the_id_comes(self, keyed: Backend, verb: str) -> None:
        keyed.push([only("a")])
        assert not keyed.ack([claim_one(keyed)]) if verb == "ack" else keyed.clear("jobs")

        assert keyed.push([job("a")]) == keyed.push([only("b")]) == {}
        assert stored(keyed) == {"a", "b"}
        assert keyed.push([only("c")]) == {"c": "c"}

    def test_a_stale_claim_changes_no_key(self, keyed: Backend, clock: ManualClock | None) -> None:
        keyed.push([only("a")])
        stale = claim_one(keyed, lease=SHORT)
        pass_time(clock, SHORT)
        claim_one(keyed)

        keyed.free([stale])
        assert keyed.take(stale, UniqueKey(key="other")) is False
        assert keyed.ack([stale]) == [stale]

        assert keyed.push([only("b")]) == {"b": "b"}

    def test_a_revived_job_has_no_key(self, keyed: Backend) -> None:
        """Another may have it by now."""
        needs(keyed, failed_jobs=True)
        keyed.push([only("a")])
        settle(keyed, "bury", [claim_one(keyed)])
        assert keyed.revive(["a"]) == ["a"]

        assert keyed.push([only("b")]) == {}
        assert keyed.push([only("c")]) == {"c": "c"}
        keyed.ack(claim_all(keyed))
        assert keyed.push([only("d")]) == {}

    def test_a_key_is_kept_for_its_life_at_most(
        self, keyed: Backend, clock: ManualClock | None
    ) -> None:
        keyed.push([only("a", life=SHORT)])
        assert keyed.push([only("b")]) == {"b": "b"}

        pass_time(clock, SHORT)

        assert keyed.push([only("c", life=LONG)]) == {}
        assert keyed.push([only("d")]) == {"d": "d"}
        # The first is done, and the key is not its own any more.
        keyed.ack([next(one for one in claim_all(keyed) if one.envelope.id == "a")])
        assert keyed.push([only("e")]) == {"e": "e"}

    def test_one_that_has_begun_can_free_its_key(self, keyed: Backend) -> None:
        keyed.push([only("a"), job("plain")])
        claims = claim_all(keyed)

        keyed.free(claims)
        keyed.free(claims)

        assert keyed.push([only("b")]) == {}
        assert settle(keyed, "release", claims) == []
        assert keyed.push([only("c")]) == {"c": "c"}
        keyed.ack([one for one in claim_all(keyed) if one.envelope.id == "a"])
        assert keyed.push([only("d")]) == {"d": "d"}

    def test_a_claim_hands_out_what_was_pushed(self, keyed: Backend) -> None:
        keyed.push([only("a", delay=0.0)])

        claim = claim_one(keyed)

        assert isinstance(claim, Claim)
        assert (claim.envelope.id, claim.envelope.body) == ("a", b"a")

    def test_the_newest_takes_the_place_of_the_one_that_waits(self, keyed: Backend) -> None:
        assert keyed.push([latest("a")]) == {}
        assert keyed.push([latest("b")]) == {"b": "a"}
        assert keyed.push([latest("c", delay=0.0)]) == {"c": "b"}

        [claim] = claim_all(keyed)
        assert (claim.envelope.id, claim.envelope.body) == ("c", b"c")
        assert keyed.ack([claim]) == []
        assert keyed.queues() == []

    def test_one_that_runs_is_left_alone(self, keyed: Backend) -> None:
        keyed.push([latest("a", delay=0.0)])
        claim = claim_one(keyed)

        assert keyed.push([latest("b")]) == {}
        assert keyed.push([latest("c")]) == {"c": "b"}

        assert keyed.ack([claim]) == []
        assert keyed.push([latest("d")]) == {"d": "c"}

    def test_however_many_take_the_place_it_is_due_in_time(
        self, keyed: Backend, clock: ManualClock | None
    ) -> None:
        keyed.push([latest("a", delay=LONG, most=SHORT)])
        for name in "bcd":
            keyed.push([latest(name, delay=LONG, most=SHORT)])
        assert claim_all(keyed) == []

        pass_time(clock, SHORT)

        assert ids(claim_all(keyed)) == ["d"]

    def test_the_time_begins_anew_when_it_ran(
        self, keyed: Backend, clock: ManualClock | None
    ) -> None:
        keyed.push([latest("a", delay=0.0, most=SHORT)])
        keyed.ack([claim_one(keyed)])
        pass_time(clock, SHORT)

        keyed.push([latest("b", delay=LONG, most=LONG / 2)])

        assert claim_all(keyed) == []
        due = keyed.next_due(["jobs"])
        assert due is not None
        assert LONG / 3 < due <= LONG / 2

    def test_what_gave_way_is_gone(self, keyed: Backend) -> None:
        keyed.push([latest("a")])
        keyed.push([latest("b")])

        assert keyed.find(["a"]) == []
        assert keyed.cancel(["a"]) == []
        assert keyed.size("jobs").delayed == 1

    def test_of_those_that_race_one_is_stored(
        self, keyed: Backend, another: Callable[[], Backend]
    ) -> None:
        def act(thread: int) -> dict[str, str]:
            if not keyed.capabilities.shared:
                return keyed.push([only(f"{thread}")])
            with closing(another()) as own:
                return own.push([only(f"{thread}")])

        gone = [one for answer in self.race(act) for one in answer]

        assert len(gone) == self.threads - 1
        assert len(stored(keyed)) == 1

    def test_async_pushes_are_the_same(self, keyed: Backend) -> None:
        needs(keyed, async_push=True)

        async def push() -> list[dict[str, str]]:
            answers = [await keyed.apush([one]) for one in (only("a"), only("b"), job("c"))]
            await keyed.aclose()
            return answers

        assert asyncio.run(push()) == [{}, {"b": "b"}, {}]

    def test_many_keys_come_and_go(self, keyed: Backend) -> None:
        for round_ in range(3):
            names = [f"{round_}-{number}" for number in range(40)]
            assert keyed.push([only(name, name.partition("-")[2]) for name in names]) == {}
            keyed.ack(claim_all(keyed))
        assert keyed.queues() == []

    # `take`.

    def test_a_claim_takes_a_key_that_nobody_has(self, keyed: Backend) -> None:
        keyed.push([job("a")])
        claim = claim_one(keyed)

        assert keyed.take(claim, UniqueKey(key="k"))

        assert keyed.push([only("b")]) == {"b": "b"}
        keyed.ack([claim])
        assert keyed.push([only("c")]) == {}

    def test_a_claim_does_not_take_a_key_that_another_has(self, keyed: Backend) -> None:
        keyed.push([only("a", delay=LONG), job("b")])
        claim = claim_one(keyed)

        assert keyed.take(claim, UniqueKey(key="k")) is False

        assert keyed.take(claim, UniqueKey(key="other"))

    def test_a_claim_has_its_key_in_the_next_attempt_too(self, keyed: Backend) -> None:
        keyed.push([job("a")])
        claim = claim_one(keyed)
        keyed.take(claim, UniqueKey(key="k"))
        keyed.release([claim], delay=0, charge=Charge.ERROR)

        assert keyed.take(claim_one(keyed), UniqueKey(key="k"))
        assert keyed.push([only("b")]) == {"b": "b"}

    def test_a_claim_takes_a_key_whose_time_is_over(
        self, keyed: Backend, clock: ManualClock | None
    ) -> None:
        keyed.push([only("a", delay=LONG, life=SHORT), job("b")])
        claim = claim_one(keyed)
        assert keyed.take(claim, UniqueKey(key="k")) is False

        pass_time(clock, SHORT)

        assert keyed.take(claim, UniqueKey(key="k"))
        assert keyed.push([only("c")]) == {"c": "c"}
        keyed.cancel(["a"])
        assert keyed.push([only("c")]) == {"c": "c"}

    def test_a_claim_that_takes_another_key_lets_go_of_its_own(self, keyed: Backend) -> None:
        keyed.push([job("a")])
        claim = claim_one(keyed)
        keyed.take(claim, UniqueKey(key="before"))

        assert keyed.take(claim, UniqueKey(key="k"))

        assert keyed.push([only("b", "before"), only("c")]) == {"c": "c"}

    def test_a_stale_claim_takes_nothing(self, keyed: Backend) -> None:
        keyed.push([job("a")])
        claim = claim_one(keyed)
        keyed.ack([claim])

        assert keyed.take(claim, UniqueKey(key="k")) is False
        assert keyed.push([only("b")]) == {}

    def test_a_store_that_looks_at_no_keys_says_so(self, backend: Backend) -> None:
        if backend.capabilities.unique:
            pytest.skip("the store looks at keys")
        with pytest.raises(UnsupportedOption, match="unique"):
            backend.free([])
        with pytest.raises(UnsupportedOption, match="unique"):
            backend.take(never_given(), UniqueKey(key="k"))
