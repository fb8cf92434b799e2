# ruff: noqa: D102 - the name of a test says it
"""What is kept of limits: how often something was done, and how many do it now."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from typing import Final

import pytest

from eventbus.backends.base import Backend
from eventbus.backends.limits import LimitStore, Window
from eventbus.defaults import LIMIT_STEPS, LIMIT_TURNS
from eventbus.errors import UnsupportedOption
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.suite import LONG, SHORT, Suite, job, needs, pass_time

__all__ = ["Limiting"]

#: What a window lasts longer than it is: its last step.
_ROUNDED: Final = 1 + 2 / LIMIT_STEPS


def window(allow: int = 2, *, key: str = "ada", every: float = LONG) -> Window:
    """Return a window that does not end within a test, by default."""
    return Window(key=key, allow=allow, every=every)


class Limiting(Suite):
    """`limits`: `spend`, `turn`, `refund`, `enter`, `leave`."""

    @pytest.fixture
    def limits(self, backend: Backend) -> LimitStore:
        """Return what keeps the limits, if the store keeps any."""
        needs(backend, limits=True)
        return backend.limits

    def test_a_store_without_limits_says_so(self, backend: Backend) -> None:
        if backend.capabilities.limits:
            pytest.skip("the store keeps limits")
        with pytest.raises(UnsupportedOption, match="limits"):
            _ = backend.limits

    def test_a_window_has_room_for_so_many(self, limits: LimitStore) -> None:
        assert [limits.spend("mail", [window(2)]) for _ in range(2)] == [0.0, 0.0]

        wait = limits.spend("mail", [window(2)])

        assert LONG / 2 < wait <= LONG * _ROUNDED
        assert limits.spend("mail", [window(2)]) > 0

    def test_names_and_keys_are_counted_apart(self, limits: LimitStore) -> None:
        assert limits.spend("mail", [window(1)]) == 0.0

        assert limits.spend("mail", [window(1, key="bob")]) == 0.0
        assert limits.spend("sms", [window(1)]) == 0.0
        assert limits.spend("\u00e9 {a}:*", [window(1, key="\u00fc {b}:*")]) == 0.0
        assert limits.spend("\u00e9 {a}:*", [window(1, key="\u00fc {b}:*")]) > 0.0
        assert limits.spend("mail", [window(1)]) > 0.0

    def test_there_is_room_again_when_the_window_has_passed(
        self, limits: LimitStore, clock: ManualClock | None
    ) -> None:
        assert limits.spend("mail", [window(1, every=SHORT)]) == 0.0
        wait = limits.spend("mail", [window(1, every=SHORT)])
        assert 0 < wait <= SHORT * _ROUNDED

        pass_time(clock, wait)

        assert limits.spend("mail", [window(1, every=SHORT)]) == 0.0

    def test_no_stretch_as_long_as_the_window_has_more(
        self, limits: LimitStore, clock: ManualClock | None
    ) -> None:
        """Not by a fixed grid of windows, in which twice as many pass where two of them meet."""
        if clock is None:
            pytest.skip("the clock of a server cannot be moved so exactly")
        taken: list[float] = []
        now = 0.0
        for _ in range(100):
            now += 0.7
            clock.advance(0.7)
            if limits.spend("mail", [window(5, every=10.0)]) == 0.0:
                taken.append(now)

        for first, sixth in zip(taken, taken[5:], strict=False):
            assert sixth - first >= 10.0
        # And what there is is used: whoever asks every 0.7 s comes that much late, and a step of 0.1 s.
        assert len(taken) >= 5 * 70.0 // 10.8

    def test_where_one_window_has_no_room_nothing_is_counted(self, limits: LimitStore) -> None:
        narrow, wide = window(1, key="narrow"), window(3, key="wide")
        assert limits.spend("mail", [wide, narrow]) == 0.0

        assert limits.spend("mail", [wide, narrow]) > 0.0
        assert limits.spend("mail", [narrow, wide]) > 0.0

        assert [limits.spend("mail", [wide]) for _ in range(2)] == [0.0, 0.0]
        assert limits.spend("mail", [wide]) > 0.0

    def test_a_look_counts_nothing(self, limits: LimitStore) -> None:
        assert [limits.spend("mail", [window(1)], take=False) for _ in range(3)] == [0.0] * 3
        assert limits.spend("mail", [window(1)]) == 0.0
        assert limits.spend("mail", [window(1)], take=False) > 0.0

    def test_a_window_that_was_narrowed_waits_for_as_many_to_end(
        self, limits: LimitStore, clock: ManualClock | None
    ) -> None:
        if clock is None:
            pytest.skip("the clock of a server cannot be moved so exactly")
        for _ in range(4):
            assert limits.spend("mail", [window(4, every=100.0)]) == 0.0
            clock.advance(10.0)

        # Three of the four have to end; the third was counted 20 s ago.
        wait = limits.spend("mail", [window(2, every=100.0)])

        assert 80.0 <= wait <= 81.0

    def test_what_is_refunded_counts_no_more(self, limits: LimitStore) -> None:
        for key in ("ada", "bob"):
            assert limits.spend("mail", [window(1, key=key)]) == 0.0

        limits.refund("mail", ["ada", "never seen"])
        limits.refund("mail", [])

        assert limits.spend("mail", [window(1)]) == 0.0
        assert limits.spend("mail", [window(1, key="bob")]) > 0.0

    def test_with_what_is_refunded_go_the_turns_of_those_who_were_refused(
        self, limits: LimitStore
    ) -> None:
        limits.spend("mail", [window(1)])
        assert limits.turn("mail", [window(1)]) > 0.0

        limits.refund("mail", ["ada"])

        assert limits.turn("mail", [window(1)]) == 0.0

    def test_those_who_were_refused_come_back_one_after_the_other(self, limits: LimitStore) -> None:
        """As fast as the window lets pass: at LONG for 10, every sixty seconds."""
        for _ in range(10):
            assert limits.spend("mail", [window(10)]) == 0.0
        room = limits.spend("mail", [window(10)])

        turns = [limits.turn("mail", [window(10)]) for _ in range(4)]

        assert turns[0] == pytest.approx(room, abs=5)
        steps = [later - sooner for sooner, later in pairwise(turns)]
        assert steps == pytest.approx([LONG / 10] * 3, abs=5)

    def test_a_turn_is_at_once_where_there_is_room(self, limits: LimitStore) -> None:
        assert limits.turn("mail", [window(2)]) == 0.0

    def test_the_slowest_window_says_whose_turn_it_is(self, limits: LimitStore) -> None:
        both = [window(600, key="fast"), window(6, key="slow")]
        first, second = (limits.turn("mail", both) for _ in range(2))

        assert second - first == pytest.approx(LONG / 6, abs=5)

    def test_no_turn_is_too_far_ahead(self, limits: LimitStore) -> None:
        daily = window(1, every=86_400.0)
        turns = [limits.turn("mail", [daily]) for _ in range(3)]

        assert turns[0] == 0.0
        assert all(one <= LIMIT_TURNS for one in turns)

        assert limits.spend("mail", [daily]) == 0.0
        assert limits.turn("mail", [daily]) == pytest.approx(86_400.0, rel=0.02)

    def test_so_many_slots_are_taken_at_once(
        self, limits: LimitStore, another: Callable[[], Backend], backend: Backend
    ) -> None:
        assert limits.enter("import", "a", limit=2, life=LONG) == 0.0
        assert limits.enter("import", "b", limit=2, life=LONG) == 0.0

        wait = limits.enter("import", "c", limit=2, life=LONG)

        assert LONG / 2 < wait <= LONG
        assert limits.enter("export", "c", limit=2, life=LONG) == 0.0
        if backend.capabilities.shared:
            with closing(another()) as second:
                assert second.limits.enter("import", "c", limit=2, life=LONG) > 0.0
                assert second.limits.leave("import", "a")
        else:
            assert limits.leave("import", "a")
        assert limits.enter("import", "c", limit=2, life=LONG) == 0.0

    def test_a_slot_is_given_back_once(self, limits: LimitStore) -> None:
        limits.enter("import", "a", limit=1, life=LONG)

        assert not limits.leave("import", "b")
        assert limits.leave("import", "a")
        assert not limits.leave("import", "a")
        assert not limits.leave("export", "a")

    def test_a_slot_ends_with_its_life(self, limits: LimitStore, clock: ManualClock | None) -> None:
        limits.enter("import", "a", limit=1, life=SHORT)
        assert limits.enter("import", "b", limit=1, life=SHORT) > 0.0

        pass_time(clock, SHORT)

        assert limits.enter("import", "b", limit=1, life=LONG) == 0.0
        assert not limits.leave("import", "a")
        assert limits.enter("import", "a", limit=1, life=LONG) > 0.0

    def test_a_slot_that_has_ended_was_not_given_back(
        self, limits: LimitStore, clock: ManualClock | None
    ) -> None:
        limits.enter("import", "a", limit=1, life=SHORT)

        pass_time(clock, SHORT)

        assert not limits.leave("import", "a")

    def test_an_owner_gets_its_slot_for_longer(
        self, limits: LimitStore, clock: ManualClock | None
    ) -> None:
        limits.enter("import", "a", limit=1, life=SHORT)
        assert limits.enter("import", "a", limit=1, life=LONG) == 0.0

        pass_time(clock, SHORT)

        assert limits.enter("import", "b", limit=1, life=LONG) > 0.0

    def test_those_that_race_are_counted_each(
        self, backend: Backend, another: Callable[[], Backend]
    ) -> None:
        """Threads as other processes would, where the store is shared."""
        needs(backend, limits=True)
        limit = self.threads * 2 + 1

        def act(_: int) -> list[float]:
            if not backend.capabilities.shared:
                return [backend.limits.spend("mail", [window(limit)]) for _ in range(5)]
            with closing(another()) as own:
                return [own.limits.spend("mail", [window(limit)]) for _ in range(5)]

        answers = [one for found in self.race(act) for one in found]

        assert answers.count(0.0) == limit

    def test_no_two_of_those_that_race_get_one_slot(
        self, backend: Backend, another: Callable[[], Backend]
    ) -> None:
        needs(backend, limits=True)

        def act(thread: int) -> float:
            if not backend.capabilities.shared:
                return backend.limits.enter("import", f"{thread}", limit=1, life=LONG)
            with closing(another()) as own:
                return own.limits.enter("import", f"{thread}", limit=1, life=LONG)

        assert self.race(act).count(0.0) == 1

    def test_limits_are_no_jobs(self, backend: Backend, limits: LimitStore) -> None:
        backend.push([job("a", queue="mail")])
        limits.spend("mail", [window(1)])
        limits.turn("mail", [window(1)])
        limits.enter("mail", "a", limit=1, life=LONG)

        assert backend.queues() == ["mail"]
        assert [one.envelope.id for one in backend.peek(limit=10)] == ["a"]
        assert backend.clear("mail") == 1
        assert limits.spend("mail", [window(1)]) > 0.0
        assert limits.enter("mail", "b", limit=1, life=LONG) > 0.0
