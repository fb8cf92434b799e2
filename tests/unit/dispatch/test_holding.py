"""Events that do not go out now: muted, deferred, held."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from eventbus.errors import ListenError, NotAnEvent


class Shipped:
    pass


class Returned:
    pass


@pytest.fixture
def heard(bus):
    """What the bus has let out, in order: names of classes, or payloads of names."""
    heard = []
    for event in (Shipped, Returned):
        bus.listen(event, lambda event: heard.append(type(event).__name__))
    bus.listen("done", lambda *payload: heard.append(payload))
    return heard


# muted


def test_a_muted_dispatch_runs_nobody_and_answers_nothing(bus, heard, dispatch):
    """E31."""
    with bus.muted():
        assert dispatch(bus, Shipped()) == []
        assert dispatch(bus, "done", 1) == []

    assert heard == []


def test_a_muted_until_answers_none(bus, until):
    """E31."""
    bus.listen(Shipped, lambda event: 1)

    with bus.muted():
        assert until(bus, Shipped()) is None


def test_a_muted_bus_still_registers_forgets_and_tells(bus, heard):
    """E31: listen, forget and has_listeners go through."""
    with bus.muted():
        bus.forget(Shipped)
        bus.listen(KeyError, lambda event: heard.append("late"))
        assert not bus.has_listeners(Shipped)

    bus.dispatch(Shipped())
    bus.dispatch(KeyError())
    assert heard == ["late"]


def test_a_muted_dispatch_still_refuses_what_is_no_event(bus):
    with bus.muted(), pytest.raises(NotAnEvent):
        bus.dispatch(None)


def test_a_muted_block_in_another_restores_what_it_found(bus, heard):
    with bus.muted():
        with bus.muted():
            bus.dispatch(Shipped())
        bus.dispatch(Shipped())
    bus.dispatch(Returned())

    assert heard == ["Returned"]


def test_one_muted_object_may_be_entered_again_inside_itself(bus, heard):
    muted = bus.muted()
    with muted:
        with muted:
            bus.dispatch(Shipped())
        bus.dispatch(Shipped())
    bus.dispatch(Returned())

    assert heard == ["Returned"]


def test_a_muted_block_ends_with_an_exception_too(bus, heard):
    with pytest.raises(KeyError), bus.muted():
        raise KeyError

    bus.dispatch(Shipped())
    assert heard == ["Shipped"]


def test_a_muted_block_is_of_its_thread(bus, heard):
    with bus.muted():
        thread = threading.Thread(target=bus.dispatch, args=(Shipped(),))
        thread.start()
        thread.join()

    assert heard == ["Shipped"]


async def dispatch_later(bus, event, turn):
    await turn.wait()
    bus.dispatch(event)


def test_a_muted_block_is_of_its_task(bus, heard):
    async def main():
        turn = asyncio.Event()
        other = asyncio.create_task(dispatch_later(bus, Shipped(), turn))
        with bus.muted():
            turn.set()
            await other
            bus.dispatch(Returned())

    asyncio.run(main())
    assert heard == ["Shipped"]


@pytest.mark.parametrize("block", ["muted", "deferred"])
def test_a_task_begun_in_a_block_dispatches_freely_when_the_block_has_ended(bus, heard, block):
    """What it carries of the block must neither silence it for ever nor swallow its events."""

    async def main():
        turn = asyncio.Event()
        with getattr(bus, block)():
            begun = asyncio.create_task(dispatch_later(bus, Shipped(), turn))
        # Another one is open, so that blocks are looked at.
        with bus.muted():
            turn.set()
            await begun

    asyncio.run(main())
    assert heard == ["Shipped"]


def test_a_block_left_in_another_context_still_counts_as_left(bus, heard):
    muted = bus.muted()
    contextvars.copy_context().run(muted.__enter__)

    with pytest.raises(ValueError, match="different Context"):
        muted.__exit__(None, None, None)

    bus.dispatch(Shipped())
    assert heard == ["Shipped"]
    assert bus._diversions == 0


# deferred


def test_deferred_events_go_out_at_the_end_in_order(bus, heard, dispatch):
    """E23."""
    with bus.deferred():
        assert dispatch(bus, Shipped()) == []
        assert dispatch(bus, "done", 1, 2) == []
        assert heard == []

    assert heard == ["Shipped", (1, 2)]


def test_an_exception_discards_deferred_events(bus, heard):
    """E23."""

    def work():
        with bus.deferred():
            bus.dispatch(Shipped())
            raise KeyError

    with pytest.raises(KeyError):
        work()
    bus.dispatch(Returned())
    assert heard == ["Returned"]


@pytest.mark.parametrize("only", [Shipped, f"{__name__}.Ship*"])
def test_only_the_named_events_are_deferred(bus, heard, only):
    """E23: the optional list."""
    with bus.deferred(only):
        bus.dispatch(Shipped())
        bus.dispatch(Returned())

    assert heard == ["Returned", "Shipped"]


def test_what_cannot_be_deferred_is_refused(bus):
    with pytest.raises(ListenError):
        bus.deferred(7)


def test_an_inner_deferred_block_lets_its_own_events_out_first(bus, heard):
    """E23: nested."""
    with bus.deferred():
        bus.dispatch(Shipped())
        with bus.deferred():
            bus.dispatch(Returned())
        assert heard == ["Returned"]
        bus.dispatch("done")

    assert heard == ["Returned", "Shipped", ()]


def test_an_event_that_the_inner_block_lets_through_waits_for_the_outer_one(bus, heard):
    with bus.deferred():
        with bus.deferred(Returned):
            bus.dispatch(Shipped())
            bus.dispatch(Returned())
        assert heard == ["Returned"]

    assert heard == ["Returned", "Shipped"]


def test_one_deferred_object_may_be_entered_again_inside_itself(bus, heard):
    deferred = bus.deferred()
    with deferred:
        bus.dispatch(Shipped())
        with deferred:
            bus.dispatch(Returned())

    assert heard == ["Returned", "Shipped"]


def test_what_a_muted_block_holds_back_does_not_go_out_by_being_deferred(bus, heard):
    with bus.muted():
        with bus.deferred():
            bus.dispatch(Shipped())
        assert heard == []

    assert heard == []


def test_a_muted_block_inside_a_deferred_one_mutes(bus, heard):
    with bus.deferred():
        with bus.muted():
            bus.dispatch(Shipped())
        bus.dispatch(Returned())

    assert heard == ["Returned"]


def test_what_listeners_dispatch_while_deferred_events_go_out_goes_out_at_once(bus, heard):
    bus.listen(Shipped, lambda event: bus.dispatch("done", "by a listener"))

    with bus.deferred():
        with bus.deferred():
            bus.dispatch(Shipped())
        assert heard == ["Shipped", ("by a listener",)]


def test_the_error_of_a_deferred_event_names_those_that_did_not_go_out(bus, heard):
    bus.listen(Shipped, lambda event: {}["missing"])

    def work():
        with bus.deferred():
            bus.dispatch(Shipped())
            bus.dispatch(Returned())
            bus.dispatch("done")

    with pytest.raises(KeyError) as caught:
        work()
    assert caught.value.__notes__[-1] == (
        f"deferred behind it and not dispatched: {__name__}.Returned, done"
    )
    bus.dispatch("done", "free again")
    assert heard == ["Shipped", ("free again",)]


def test_the_error_of_the_last_deferred_event_names_no_other(bus):
    bus.listen(Shipped, lambda event: {}["missing"])

    with pytest.raises(KeyError) as caught, bus.deferred():
        bus.dispatch(Shipped())

    assert len(caught.value.__notes__) == 1


def test_an_async_deferred_block_awaits_what_it_lets_out(bus, heard):
    """E23, E35: `async with`."""

    async def listener(event):
        await asyncio.sleep(0)
        heard.append("awaited")

    bus.listen(Shipped, listener)

    async def main():
        async with bus.deferred():
            await bus.adispatch(Shipped())
            await bus.adispatch("done", 1)
            assert heard == []

    asyncio.run(main())
    assert heard == ["Shipped", "awaited", (1,)]


def test_an_async_deferred_block_discards_too(bus, heard):
    async def main():
        async with bus.deferred():
            await bus.adispatch(Shipped())
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(main())
    assert heard == []


def test_an_error_in_an_async_deferred_block_names_those_behind_it(bus, heard):
    bus.listen(Shipped, lambda event: {}["missing"])

    async def main():
        async with bus.deferred():
            await bus.adispatch(Shipped())
            await bus.adispatch("done")

    with pytest.raises(KeyError) as caught:
        asyncio.run(main())
    assert caught.value.__notes__[-1] == "deferred behind it and not dispatched: done"


def test_what_a_task_dispatches_in_the_deferred_block_of_its_parent_waits_with_it(bus, heard):
    async def child():
        await bus.adispatch(Shipped())

    async def main():
        async with bus.deferred():
            await asyncio.create_task(child())
            assert heard == []

    asyncio.run(main())
    assert heard == ["Shipped"]


# hold and flush


def test_held_events_go_out_when_flushed_and_only_once(bus, heard):
    """E21: ours clears on flush."""
    bus.hold(Shipped())
    bus.hold("done", 1)
    assert heard == []

    assert bus.flush() == [[None], [None]]
    assert bus.flush() == []
    assert heard == ["Shipped", (1,)]


@pytest.mark.parametrize("which", [Shipped, object, f"{__name__}.*"])
def test_a_flush_may_be_of_some_events_only(bus, heard, which):
    """E21."""
    bus.hold("done")
    bus.hold(Shipped())

    bus.flush(which)
    assert heard == ["Shipped"]

    bus.flush("done")
    assert heard == ["Shipped", ()]


@pytest.mark.parametrize("call", ["flush", "forget_held"])
def test_what_cannot_be_held_cannot_be_flushed_or_forgotten(bus, call):
    with pytest.raises(ListenError):
        getattr(bus, call)(7)


def test_forgotten_held_events_never_go_out(bus, heard):
    """E22."""
    bus.hold(Shipped())
    bus.hold("done")

    bus.forget_held("done")
    bus.flush()
    assert heard == ["Shipped"]

    bus.hold("done")
    bus.forget_held()
    assert bus.flush() == []


def test_an_async_flush_awaits(bus, heard):
    """E21, E35."""

    async def listener(event):
        return "awaited"

    bus.listen(KeyError, listener)
    bus.hold(KeyError())
    bus.hold("done", 1)

    assert asyncio.run(bus.aflush()) == [["awaited"], [None]]
    assert heard == [(1,)]


@pytest.mark.parametrize(
    "flush", [lambda bus: bus.flush(), lambda bus: asyncio.run(bus.aflush())], ids=["sync", "async"]
)
def test_what_is_behind_an_error_stays_held_before_what_came_since(bus, heard, flush):
    def fail(event):
        bus.hold("done", "since")
        raise KeyError

    bus.listen(KeyError, fail)
    bus.hold(KeyError())
    bus.hold("done", "behind")

    with pytest.raises(KeyError):
        flush(bus)
    flush(bus)

    assert heard == [("behind",), ("since",)]


def test_what_is_no_event_cannot_be_held(bus):
    for nothing in (None, KeyError, "order.*"):
        with pytest.raises(NotAnEvent):
            bus.hold(nothing)


def test_a_listener_may_hold_the_event_again_without_an_endless_flush(bus, heard):
    bus.listen(Returned, bus.hold)
    bus.hold(Returned())

    bus.flush()

    assert heard == ["Returned"]
    bus.forget_held()
