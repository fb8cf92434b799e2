# ruff: noqa: D102 - the name of a test says it
"""What all processes of a store are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from select import select
from typing import Final

import pytest

from eventbus.backends.base import Backend, Bell, Charge, Sizes, Verdict
from eventbus.errors import UnsupportedOption
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.suite import (
    LONG,
    SHORT,
    Suite,
    claim_all,
    claim_one,
    fail,
    job,
    needs,
    pass_time,
)

__all__ = ["Telling"]


class Telling(Suite):
    """`flag`, `flags`, `bell`, `trouble`, `schema`, `examine`, `close`."""

    def test_a_flag_is_seen_until_it_is_taken_away(
        self, backend: Backend, another: Callable[[], Backend]
    ) -> None:
        assert backend.flags() == {}

        backend.flag("restart", "1")
        backend.flag("pause:jobs", "\u00e9")
        backend.flag("restart", "2")

        assert backend.flags() == {"restart": "2", "pause:jobs": "\u00e9"}
        if backend.capabilities.shared:
            with closing(another()) as second:
                assert second.flags() == backend.flags()
                second.flag("pause:jobs", None)
                assert backend.flags() == {"restart": "2"}
        backend.flag("restart", None)
        backend.flag("never set", None)
        assert "restart" not in backend.flags()

    def test_a_flag_ends_with_its_life(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.flag("a", "1", life=SHORT)
        backend.flag("b", "1", life=LONG)
        backend.flag("c", "1")
        assert set(backend.flags()) == {"a", "b", "c"}

        pass_time(clock, SHORT)

        assert set(backend.flags()) == {"b", "c"}
        backend.flag("a", "2")
        assert backend.flags()["a"] == "2"

    def test_a_flag_is_no_job(self, backend: Backend) -> None:
        backend.flag("restart", "1")

        assert backend.queues() == []
        assert backend.peek(limit=10) == []
        assert backend.next_due(["restart"]) is None

    def test_a_value_is_kept_and_another_takes_its_place(
        self, backend: Backend, another: Callable[[], Backend]
    ) -> None:
        needs(backend, results=True)
        every_byte = bytes(range(256)) * 3
        assert backend.kept("result:a") is None

        backend.keep("result:a", b"1", life=LONG)
        backend.keep("result:a", every_byte, life=LONG)
        backend.keep("progress:a", b"", life=LONG)

        assert backend.kept("result:a") == every_byte
        assert backend.kept("progress:a") == b""
        assert backend.kept("result:b") is None
        if backend.capabilities.shared:
            with closing(another()) as second:
                assert second.kept("result:a") == every_byte

    def test_a_value_is_kept_for_its_life(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, results=True)
        backend.keep("short", b"1", life=SHORT)
        backend.keep("long", b"2", life=LONG)
        assert (backend.kept("short"), backend.kept("long")) == (b"1", b"2")

        pass_time(clock, SHORT)

        assert (backend.kept("short"), backend.kept("long")) == (None, b"2")
        backend.keep("short", b"3", life=LONG)
        assert (backend.kept("short"), backend.kept("long")) == (b"3", b"2")

    def test_a_value_that_is_kept_is_no_job(self, backend: Backend) -> None:
        needs(backend, results=True)
        backend.push([job("a")])
        backend.keep("result:a", b"1", life=LONG)

        assert backend.queues() == ["jobs"]
        assert [one.envelope.id for one in backend.peek(limit=10)] == ["a"]
        assert backend.cancel(["a", "result:a"]) == ["a"]
        assert backend.kept("result:a") == b"1"

    def test_a_store_without_results_says_so(self, backend: Backend) -> None:
        if backend.capabilities.results:
            pytest.skip("the store keeps results")
        with pytest.raises(UnsupportedOption, match="results"):
            backend.keep("result:a", b"1", life=LONG)
        with pytest.raises(UnsupportedOption, match="results"):
            backend.kept("result:a")

    @pytest.fixture
    def bell(self, backend: Backend) -> Iterator[Bell]:
        """Hang a bell for the queues "jobs" and "more", if the store can call."""
        bell = backend.bell(["jobs", "more"])
        if bell is None:
            pytest.skip("the store does not call: workers look by themselves")
        yield bell
        bell.close()
        bell.close()

    def test_a_bell_rings_for_a_push_to_its_queues(self, backend: Backend, bell: Bell) -> None:
        assert not rung(bell)

        backend.push([job(queue="other"), job(queue="more")])

        assert hears(bell)
        assert not rung(bell)
        assert not bell.silence()

    def test_a_bell_rings_for_what_is_delayed(self, backend: Backend, bell: Bell) -> None:
        needs(backend, delay=True)

        backend.push([job(delay=LONG)])

        assert hears(bell)

    def test_a_ring_for_another_queue_is_told_apart(self, backend: Backend, bell: Bell) -> None:
        backend.push([job(queue="other")])

        assert not bell.silence()
        assert not rung(bell)

    def test_a_bell_rings_for_what_is_given_back(self, backend: Backend, bell: Bell) -> None:
        backend.push([job()])
        claim = claim_one(backend)
        hears(bell)

        backend.release([claim], delay=0, charge=Charge.NOTHING)

        assert hears(bell)

    def test_a_bell_rings_for_what_is_revived(self, backend: Backend, bell: Bell) -> None:
        needs(backend, failed_jobs=True)
        fail(backend)
        hears(bell)

        backend.revive(["a"])

        assert hears(bell)

    def test_a_bell_rings_for_a_flag(self, backend: Backend, bell: Bell) -> None:
        backend.flag("restart", "1")

        assert hears(bell)

    def test_a_bell_rings_for_another_process(
        self, backend: Backend, another: Callable[[], Backend], bell: Bell
    ) -> None:
        needs(backend, shared=True)
        with closing(another()) as second:
            second.push([job()])

        assert hears(bell)

    def test_many_rings_are_one(self, backend: Backend, bell: Bell) -> None:
        """The first rings are for others; whether ours was still kept is not known."""
        for _ in range(50):
            backend.push([job(queue="other")])
        backend.push([job()])

        assert hears(bell)
        assert not rung(bell)

    def test_each_of_several_bells_rings(self, backend: Backend, bell: Bell) -> None:
        second = backend.bell(["jobs"])
        assert second is not None

        backend.push([job()])

        assert (hears(bell), hears(second)) == (True, True)
        second.close()
        backend.ack(claim_all(backend))
        backend.push([job()])
        assert hears(bell)

    def test_a_store_has_a_schema_or_not(self, backend: Backend) -> None:
        try:
            schema = backend.schema()
        except UnsupportedOption:
            with pytest.raises(UnsupportedOption):
                backend.apply_schema()
            return
        backend.push([job()])

        assert schema
        assert backend.apply_schema() == []
        assert backend.size("jobs") == Sizes(ready=1)

    @pytest.mark.parametrize("integrity", [False, True])
    def test_what_a_store_is_like_is_told_and_nothing_is_changed(
        self, backend: Backend, *, integrity: bool
    ) -> None:
        needs(backend, shared=True)
        backend.push([job("a"), job("b", queue="more")])
        backend.flag("restart", "1")
        before = backend.peek(limit=10), backend.flags(), backend.queues()

        found = backend.examine(integrity=integrity)

        assert (backend.peek(limit=10), backend.flags(), backend.queues()) == before
        assert all(one.subject and one.found for one in found.findings)
        # Whoever is told that something is wrong is told what to do.
        assert [
            one for one in found.findings if one.verdict is not Verdict.OK and not one.advice
        ] == []

    def test_a_store_that_is_well_has_no_trouble(self, backend: Backend) -> None:
        backend.push([job()])

        assert backend.trouble() == ""

    def test_closing_twice_is_allowed(self, backend: Backend) -> None:
        backend.push([job()])

        backend.close()
        backend.close()


#: Seconds in which a ring has come over the network.
_DEADLINE: Final = 5.0


def rung(bell: Bell, *, within: float = 0.0) -> bool:
    """Say whether somebody who waits for `bell` would go on."""
    return bool(select([bell], [], [], within)[0])


def hears(bell: Bell) -> bool:
    """Wait for a ring; return whether it concerned the queues of `bell`."""
    return rung(bell, within=_DEADLINE) and bell.silence()
