"""M16 of dispatch: what goes around each dispatch of a bus."""

from __future__ import annotations

import asyncio

import pytest
from attrs import frozen

from eventbus import Dispatching, EventBus, JobProcessing, ShouldQueue
from eventbus.errors import (
    AsyncListenerInSyncDispatch,
    InvalidOption,
    ListenersFailed,
    MiddlewareCannotWait,
)
from eventbus.testing import fake_events
from eventbus.worker import Worker


@frozen
class Paid:
    number: int = 1


LOG: list[object] = []


@pytest.fixture(autouse=True)
def log():
    LOG.clear()
    return LOG


def noting(name):
    def middleware(dispatching, call_next):
        LOG.append(f"before {name}")
        try:
            return call_next()
        finally:
            LOG.append(f"after {name}")

    return middleware


class Waiting:
    """An async one."""

    async def __call__(self, dispatching, call_next):
        LOG.append("before async")
        await asyncio.sleep(0)
        answer = await call_next()
        LOG.append("after async")
        return answer


def answer(event: Paid) -> int:
    LOG.append("listener")
    return event.number


async def answer_later(event: Paid) -> int:
    await asyncio.sleep(0)
    LOG.append("async listener")
    return event.number


def test_the_first_is_outermost_and_later_ones_go_inside():
    bus = EventBus(listen={Paid: answer})
    bus.use(noting("a"), noting("b"))
    bus.use(noting("c"))

    assert bus.dispatch(Paid(7)) == [7]
    assert LOG == [
        "before a", "before b", "before c", "listener", "after c", "after b", "after a",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "dispatched, seen",
    [
        ((Paid(1),), Dispatching(f"{Paid.__module__}.Paid", Paid(1), (Paid(1),))),
        (("order.paid", 1, "x"), Dispatching("order.paid", None, (1, "x"))),
    ],
    ids=["an object", "a name"],
)
def test_it_sees_what_is_dispatched(dispatched, seen):
    bus = EventBus()
    bus.use(lambda dispatching, call_next: (LOG.append(dispatching), call_next())[1])

    assert bus.dispatch(*dispatched) == []
    assert [seen] == LOG


@pytest.mark.parametrize("again", [False, True], ids=["unseen", "compiled"])
def test_every_way_to_dispatch_goes_through_it(again):
    def hear(*_):
        return 1

    bus = EventBus(listen={Paid: hear, "name": hear})
    if again:  # both have had their short ways
        bus.dispatch(Paid())
        bus.dispatch("name")
        asyncio.run(bus.adispatch(Paid()))
    bus.use(noting("it"))
    bus.hold("name")

    async def main():
        return [
            await bus.adispatch(Paid()),
            await bus.adispatch("name"),
            await bus.auntil(Paid()),
        ]

    assert bus.dispatch(Paid()) == bus.dispatch("name") == [1]
    assert bus.until(Paid()) == bus.until("name") == 1
    assert asyncio.run(main()) == [[1], [1], 1]
    assert bus.flush() == [[1]]
    assert bus.dispatch_if(True, Paid()) == [1]
    with bus.deferred():
        bus.dispatch(Paid())
    assert LOG.count("before it") == 10


def test_one_that_does_not_go_on_lets_no_listener_run():
    bus = EventBus(listen={Paid: answer})
    bus.use(lambda dispatching, call_next: None)

    assert bus.dispatch(Paid()) == []
    assert bus.until(Paid()) is None
    assert LOG == []


def test_what_it_returns_is_the_answer():
    bus = EventBus(listen={Paid: answer})
    bus.use(lambda dispatching, call_next: [*call_next(), "more"])

    assert bus.dispatch(Paid(3)) == [3, "more"]


def test_nothing_stands_for_the_answers_of_the_listeners():
    def quiet(dispatching, call_next):
        call_next()

    bus = EventBus(listen={Paid: answer})
    bus.use(quiet)

    assert bus.dispatch(Paid(2)) == [2]
    assert bus.until(Paid(2)) == 2


def test_one_that_goes_on_twice_dispatches_twice():
    bus = EventBus(listen={Paid: answer})
    bus.use(lambda dispatching, call_next: call_next() + call_next())

    assert bus.dispatch(Paid(2)) == [2, 2]
    assert LOG == ["listener", "listener"]


def test_what_a_listener_raises_goes_through_it():
    def fail(event: Paid) -> None:
        raise KeyError(event.number)

    def mending(dispatching, call_next):
        try:
            return call_next()
        except KeyError as error:
            return [f"mended {error}"]

    bus = EventBus(listen={Paid: fail})
    bus.use(noting("outside"), mending)
    assert bus.dispatch(Paid(4)) == ["mended 4"]

    collecting = EventBus(listen={Paid: [fail, answer]}, on_error="collect")
    collecting.use(noting("outside"))
    with pytest.raises(ListenersFailed):
        collecting.dispatch(Paid())
    assert LOG[-3:] == ["before outside", "listener", "after outside"]


def test_what_it_raises_is_the_callers():
    def refuse(dispatching, call_next):
        raise PermissionError(dispatching.name)

    bus = EventBus(listen={Paid: answer})
    bus.use(refuse)

    with pytest.raises(PermissionError):
        bus.dispatch(Paid())
    with pytest.raises(PermissionError):
        asyncio.run(bus.adispatch(Paid()))


def test_an_async_one_goes_around_anything():
    bus = EventBus(listen={Paid: [answer, answer_later]})
    bus.use(Waiting())

    assert asyncio.run(bus.adispatch(Paid(5))) == [5, 5]
    assert bus.dispatch(Paid(6)) == [6, 6]
    assert LOG[:4] == ["before async", "listener", "async listener", "after async"]
    bus.close()


def test_an_async_one_in_sync_code_where_a_loop_runs_is_refused():
    bus = EventBus(listen={Paid: answer})
    bus.use(Waiting())

    async def main():
        bus.dispatch(Paid())

    with pytest.raises(AsyncListenerInSyncDispatch):
        asyncio.run(main())
    assert LOG == []


def test_a_sync_one_goes_around_async_listeners_in_sync_code_alone():
    bus = EventBus(listen={Paid: answer_later})
    bus.use(noting("sync"))

    assert bus.dispatch(Paid(1)) == [1]
    with pytest.raises(MiddlewareCannotWait, match=r"noting.*Paid"):
        asyncio.run(bus.adispatch(Paid(1)))
    bus.close()


def test_a_sync_one_whose_answer_is_awaitable_is_refused_in_async_code():
    bus = EventBus(listen={Paid: answer})

    def wrapped(dispatching, call_next):
        return Waiting()(dispatching, call_next)

    bus.use(wrapped)

    with pytest.raises(MiddlewareCannotWait):
        asyncio.run(bus.adispatch(Paid(1)))


class Promised:
    """Something to await that cannot be closed, as a future."""

    def __await__(self):
        yield


def test_so_is_one_whose_answer_cannot_be_closed():
    bus = EventBus(listen={Paid: answer})
    bus.use(lambda dispatching, call_next: Promised())

    with pytest.raises(MiddlewareCannotWait):
        asyncio.run(bus.adispatch(Paid(1)))


def test_what_is_muted_or_deferred_does_not_go_through_it():
    bus = EventBus(listen={Paid: answer})
    bus.use(noting("it"))

    with bus.muted():
        bus.dispatch(Paid())

    assert LOG == []


def test_a_fake_has_the_events_that_got_through():
    bus = EventBus(listen={Paid: answer})
    bus.use(noting("it"))

    with fake_events(bus) as events:
        assert bus.dispatch(Paid()) == []
    events.assert_dispatched(Paid)
    assert "listener" not in LOG


def test_queued_listeners_are_stored_within_it_and_their_jobs_run_without():
    class Later(ShouldQueue):
        name = "later"

        def handle(self, event: Paid) -> None:
            LOG.append("ran")

    bus = EventBus(listen={Paid: Later}, connections={"default": "memory://"})
    bus.listen(JobProcessing, lambda event: LOG.append("processing"))
    bus.dispatch(Paid())
    bus.use(
        lambda dispatching, call_next: (
            call_next(),
            LOG.append(bus.queue("default").size().ready),
        )[0]
    )

    bus.dispatch(Paid())
    Worker(bus, stop_when_empty=True).run()

    assert LOG == [2, "processing", "ran", "processing", "ran"]


def test_a_listener_that_is_built_is_built_for_each_time_and_its_scope_is_closed():
    class Built:
        def handle(self, event: Paid) -> int:
            LOG.append(id(self))
            return event.number

    bus = EventBus(listen={Paid: Built})
    bus.use(lambda dispatching, call_next: call_next() + call_next())

    assert bus.dispatch(Paid()) == [1, 1]


def test_once_is_once():
    bus = EventBus()
    bus.listen(Paid, lambda event: "once", once=True)
    bus.use(lambda dispatching, call_next: call_next() + call_next())

    assert bus.dispatch(Paid()) == ["once"]


@pytest.mark.parametrize(
    "middleware", [None, "name", 3, Waiting], ids=["none", "name", "number", "class"]
)
def test_what_cannot_be_called_is_refused_at_once(middleware):
    bus = EventBus()

    with pytest.raises(InvalidOption, match="of use"):
        bus.use(noting("it"), middleware)
    assert bus.dispatch(Paid()) == []
    assert LOG == []
