"""What bus and worker call for limits: arguments are checked, errors are ours."""

from __future__ import annotations

import pytest

from eventbus.backends.limits import Window
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.memory_limits import _FEW
from eventbus.backends.null import NullBackend
from eventbus.backends.port import Port
from eventbus.errors import BackendUnavailable, InvalidOption, UnsupportedOption
from eventbus.testing import ManualClock

ONCE = Window(key="a", allow=1, every=60.0)


@pytest.fixture
def limits():
    return Port(MemoryBackend(), name="default").limits


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda limits: limits.spend("", [ONCE]), id="no name"),
        pytest.param(lambda limits: limits.spend("a\n", [ONCE]), id="odd name"),
        pytest.param(lambda limits: limits.spend("x" * 201, [ONCE]), id="long name"),
        pytest.param(lambda limits: limits.turn(3, [ONCE]), id="a number"),
        pytest.param(
            lambda limits: limits.spend("a", [Window(key="\0", allow=1, every=1.0)]), id="odd key"
        ),
        pytest.param(
            lambda limits: limits.turn("a", [Window(key="", allow=0, every=1.0)]), id="never"
        ),
        pytest.param(
            lambda limits: limits.refund("a", [Window(key="", allow=1, every=0.0)]), id="in no time"
        ),
        pytest.param(lambda limits: limits.enter("a", "", limit=1, life=1.0), id="nobody"),
        pytest.param(lambda limits: limits.enter("a", "b", limit=True, life=1.0), id="a flag"),
        pytest.param(lambda limits: limits.enter("a", "b", limit=1, life=0), id="no life"),
        pytest.param(lambda limits: limits.leave("a", "\x7f"), id="odd owner"),
    ],
)
def test_what_no_store_could_keep_is_refused(limits, call):
    with pytest.raises(InvalidOption, match="connection 'default'"):
        call(limits)


def test_stretches_of_two_lengths_under_one_key_are_counted_apart(limits):
    minute, hour = Window(key="a", allow=1, every=60.0), Window(key="a", allow=2, every=3600.0)

    assert limits.spend("mail", [minute, hour]) == 0.0
    assert limits.spend("mail", [hour]) == 0.0
    assert limits.spend("mail", [hour]) > 3000


def test_a_store_that_keeps_no_limits_says_so():
    limits = Port(NullBackend(), name="default").limits

    with pytest.raises(UnsupportedOption, match="limits"):
        limits.spend("mail", [ONCE])
    with pytest.raises(UnsupportedOption, match="limits"):
        limits.leave("mail", "a")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda limits: limits.spend("a", [ONCE]), id="spend"),
        pytest.param(lambda limits: limits.turn("a", [ONCE]), id="turn"),
        pytest.param(lambda limits: limits.refund("a", [ONCE]), id="refund"),
        pytest.param(lambda limits: limits.enter("a", "b", limit=1, life=1), id="enter"),
        pytest.param(lambda limits: limits.leave("a", "b"), id="leave"),
    ],
)
def test_what_a_backend_did_not_translate_is_ours(call):
    class Broken(MemoryBackend):
        @property
        def limits(self):
            raise OSError("gone")

    with pytest.raises(BackendUnavailable, match="OSError: gone"):
        call(Port(Broken(), name="default").limits)


def test_memory_lets_go_of_what_has_ended():
    """A limit for each customer is a key for each that ever came."""
    clock = ManualClock()
    store = MemoryBackend(clock=clock).limits
    for number in range(10 * _FEW):
        mine = Window(key=f"{number}", allow=1, every=1.0)
        store.spend("mail", [mine])
        store.turn("mail", [mine])
        store.enter(f"{number}", "a", limit=1, life=1.0)
        clock.advance(0.01)

    # What has not ended is of the last two hundred.
    assert len(store._spent) + len(store._turns) + len(store._slots) < 2 * _FEW
