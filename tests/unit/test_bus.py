"""The bus that an application holds: its constructor, its queued side, its end."""

from __future__ import annotations

import asyncio

import pytest

from eventbus import EventBus, ShouldQueue, event, listens
from eventbus.errors import InvalidOption, ListenersFailed, UnknownOption


class Shipped:
    pass


@event("shipped")
class Declared:
    pass


def answering(answer):
    return lambda event: answer


def failing(event):
    raise KeyError


class Queued(ShouldQueue):
    name = "queued"

    def handle(self, event: Shipped) -> str:
        raise AssertionError("a queued listener does not run here")


@pytest.fixture
def bus():
    with EventBus(connections={"default": "memory://"}) as bus:
        yield bus


def stored(bus):
    return bus.connections.port().size("default").ready


# the constructor


def test_a_bus_with_no_argument_dispatches_at_once():
    """E34: what queues need is made when there is a queued listener."""
    bus = EventBus(listen={Shipped: answering(1)})

    assert bus.dispatch(Shipped()) == [1]


@pytest.mark.parametrize("on_error", ["ignore", None, True])
def test_an_unknown_policy_for_errors_is_refused(on_error):
    """F39."""
    with pytest.raises(InvalidOption, match="on_error"):
        EventBus(on_error=on_error)


def test_errors_may_be_collected():
    """E32, F39."""
    bus = EventBus(listen={Shipped: [failing, answering(1)]}, on_error="collect")

    with pytest.raises(ListenersFailed) as caught:
        bus.dispatch(Shipped())
    assert caught.value.answers == (1,)


def test_a_misspelt_queue_option_is_refused_when_it_is_registered(bus):
    @listens(Shipped, queue="emails", tris=3)
    def listener(event: Shipped) -> None: ...

    with pytest.raises(UnknownOption, match="did you mean 'tries'"):
        bus.listen(Shipped, listener)


def test_the_repr_counts_listeners_and_what_is_not_scanned_yet():
    assert repr(EventBus()) == "<EventBus: 0 listeners>"
    assert repr(EventBus(listen={Shipped: failing})) == "<EventBus: 1 listener>"
    assert repr(EventBus(discover=["a"])) == "<EventBus: 0 listeners, 1 package to scan>"
    assert repr(EventBus(discover=["a", "b"])) == "<EventBus: 0 listeners, 2 packages to scan>"


def test_a_listener_may_ask_for_the_bus_by_the_class_it_knows():
    class ShopBus(EventBus):
        pass

    def which(event: Shipped, bus: EventBus) -> EventBus:
        return bus

    bus = ShopBus(listen={Shipped: which})

    assert bus.dispatch(Shipped()) == [bus]


# queued listeners


def test_a_queued_listener_is_stored_and_answers_nothing(bus):
    """E33."""
    for listener in (answering(1), Queued, answering(2)):
        bus.listen(Shipped, listener)

    assert bus.dispatch(Shipped()) == [1, 2]
    assert stored(bus) == 1


def test_a_queued_listener_is_stored_by_an_async_dispatch_too(bus):
    """E35."""
    bus.listen(Shipped, Queued)

    assert asyncio.run(bus.adispatch(Shipped())) == []
    assert stored(bus) == 1


def test_a_queued_listener_never_answers_until(bus):
    """E14."""
    for listener in (Queued, answering(1)):
        bus.listen(Shipped, listener)

    assert bus.until(Shipped()) == 1
    assert stored(bus) == 1


def test_what_was_reached_before_an_error_is_stored(bus):
    """E32."""
    for listener in (Queued, failing, Queued):
        bus.listen(Shipped, listener)

    with pytest.raises(KeyError):
        bus.dispatch(Shipped())
    assert stored(bus) == 1


def test_a_muted_dispatch_stores_nothing(bus):
    """E31."""
    bus.listen(Shipped, Queued)

    with bus.muted():
        bus.dispatch(Shipped())
    assert stored(bus) == 0


def test_a_deferred_dispatch_stores_at_the_end_of_its_block(bus):
    """E23."""
    bus.listen(Shipped, Queued)

    with bus.deferred():
        bus.dispatch(Shipped())
        assert stored(bus) == 0
    assert stored(bus) == 1


def test_a_queued_async_listener_is_no_obstacle_to_a_sync_dispatch_in_a_loop(bus):
    """E35: it does not run here."""

    class Async(ShouldQueue):
        name = "async"

        async def handle(self, event: Shipped) -> None: ...

    bus.listen(Shipped, Async)

    async def main():
        return bus.dispatch(Shipped())

    assert asyncio.run(main()) == []
    assert stored(bus) == 1


def test_a_queued_listener_of_a_sync_connection_runs_at_its_turn():
    """E33: its answer is dropped."""
    order = []

    class Here(ShouldQueue):
        name = "here"

        def handle(self, event: Declared) -> str:
            order.append("here")
            return "dropped"

    bus = EventBus(connections={"default": "sync://"})
    bus.listen(Declared, Here)
    bus.listen(Declared, lambda event: order.append("after"))

    assert bus.dispatch(Declared()) == [None]
    assert order == ["here", "after"]


def test_the_failed_jobs_are_those_of_the_connections(bus):
    assert bus.failed.all() == []


# the end


def test_a_closed_bus_can_be_used_again(bus):
    async def answer(event):
        return "again"

    bus.listen(Shipped, Queued)
    bus.listen(Shipped, answer)
    for _ in range(2):
        assert bus.dispatch(Shipped()) == ["again"]
        bus.close()
        bus.close()


def test_a_bus_may_be_closed_in_async_code():
    async def main():
        async with EventBus(connections={"default": "memory://"}) as bus:
            bus.listen(Shipped, Queued)
            await bus.adispatch(Shipped())
            return bus

    assert isinstance(asyncio.run(main()), EventBus)
