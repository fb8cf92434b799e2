"""Threads that dispatch while others register and remove."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from time import monotonic

import pytest


class Shipped:
    pass


class Child(Shipped):
    pass


@pytest.fixture
def often():
    """Let the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_together(*calls):
    """Run calls in threads; raise what the first of them raised."""
    errors = []

    def guarded(call):
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("event", [Child(), "order.shipped"], ids=["class", "name"])
def test_threads_dispatch_while_others_register_and_remove(bus, event):
    """F35: a listener there before and after is called exactly once, and no error."""
    keys = (
        [Child, "*", f"{__name__}.*", Shipped] if event != "order.shipped" else [event, "order.*"]
    )
    for number, key in enumerate(keys):
        bus.listen(key, lambda *_, number=number: number)
    steady = list(range(len(keys)))
    end = monotonic() + 1.5
    dispatches = []

    def dispatch():
        times = 0
        while monotonic() < end:
            answers = [one for one in bus.dispatch(event) if one != "passing"]
            assert answers == steady
            times += 1
        dispatches.append(times)

    def register():
        while monotonic() < end:
            for key in keys:
                with bus.listen(key, lambda *_: "passing"):
                    pass

    run_together(*[dispatch] * 16, *[register] * 4)

    assert len(dispatches) == 16
    assert len(bus.listeners()) == len(keys)


@pytest.mark.usefixtures("often")
def test_what_a_thread_has_registered_it_hears_and_what_it_has_removed_it_does_not(bus):
    """F35: whatever the others do at the same time."""
    end = monotonic() + 1

    def alone(number):
        while monotonic() < end:
            registration = bus.listen(Shipped, lambda event: number)
            assert Counter(bus.dispatch(Shipped()))[number] == 1
            registration.remove()
            assert number not in bus.dispatch(Shipped())

    run_together(*[lambda number=number: alone(number) for number in range(8)])


@pytest.mark.usefixtures("often")
def test_a_dispatch_sees_all_of_one_registration_or_nothing(bus):
    """F35: one consistent snapshot, inherited and virtual listeners too."""
    end = monotonic() + 1

    def register():
        while monotonic() < end:
            with bus.listen([Shipped, Child, "*"], lambda *_: "one"):
                pass

    def dispatch():
        while monotonic() < end:
            # The same target, for the class and for its parent, runs once; the wildcard besides.
            assert bus.dispatch(Child()) in ([], ["one", "one"])

    bus.listen([Shipped, Child, "*"], lambda *_: "one").remove()
    run_together(register, *[dispatch] * 8)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("event", [Shipped(), "order.shipped"], ids=["class", "name"])
def test_a_once_listener_is_called_once_by_all_threads_together(bus, event):
    """F35."""
    for _ in range(50):
        called = []
        bus.listen(
            [Shipped, "order.shipped"], lambda *_, called=called: called.append(1), once=True
        )
        meeting = threading.Barrier(8)

        def dispatch(meeting=meeting):
            meeting.wait(20)
            bus.dispatch(event)

        run_together(*[dispatch] * 8)
        assert called == [1]
        bus.forget(Shipped)
        bus.forget("order.shipped")


@pytest.mark.usefixtures("often")
def test_threads_mute_and_defer_each_for_itself(bus):
    """F35: blocks of other threads neither silence nor swallow."""
    heard = Counter()
    bus.listen("done", lambda who: heard.update([who]))

    def mutes():
        for _ in range(100):
            with bus.muted():
                bus.dispatch("done", "muted")

    def defers():
        for _ in range(100):
            with bus.deferred():
                bus.dispatch("done", "deferred")

    def plain():
        for _ in range(100):
            bus.dispatch("done", "plain")

    run_together(*[mutes, defers, plain] * 3)

    assert heard == {"deferred": 300, "plain": 300}
    assert bus._diversions == 0
