"""Calling the listeners of an event: answers, stopping, errors, what is built, what is remembered."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref
from dataclasses import FrozenInstanceError, dataclass
from typing import NamedTuple

import attrs
import msgspec
import pydantic
import pytest

from eventbus.defaults import NAMED_EVENTS
from eventbus.dispatch import calling, plans
from eventbus.dispatch.calling import Dispatcher
from eventbus.dispatch.local import LocalBus
from eventbus.dispatch.resolver import Resolver
from eventbus.dispatch.waiting import Blocking
from eventbus.errors import AsyncListenerInSyncDispatch, ListenersFailed, NotAnEvent


class Shipped:
    pass


class Returned:
    pass


def answering(answer):
    return lambda *_: answer


async def awaited(*_):
    await asyncio.sleep(0)
    return "awaited"


def failing(error):
    def listener(*_):
        raise error

    return listener


def afailing(error):
    async def listener(*_):
        raise error

    return listener


class Slow:
    """A listener that is built takes its whole dispatch the long way."""

    def handle(self, *_):
        return "built"


@pytest.fixture(params=[False, True], ids=["fast", "long"])
def way(request):
    """Makes a bus whose dispatch of `Shipped`, and of "done", goes the fast way or the long one."""

    def prepare(bus):
        if not request.param:
            # The first dispatch goes the long way, and compiles.
            bus._plan(Shipped)
            bus._plan("done")
            return []
        bus.listen(Shipped, Slow, priority=-100)
        bus.listen("done", Slow, priority=-100)
        return ["built"]

    return prepare


# answers


def test_nobody_listens(bus, dispatch):
    """E12."""
    assert dispatch(bus, Shipped()) == []
    assert dispatch(bus, "done", 1) == []


def test_every_answer_is_returned_none_too(bus, dispatch, way):
    """E12."""
    for answer in (1, None, "", 0):
        bus.listen(Shipped, answering(answer))
    rest = way(bus)

    assert dispatch(bus, Shipped()) == [1, None, "", 0, *rest]


def test_only_false_itself_stops(bus, dispatch, way):
    """E13: 0, "", [] and None go on; False is no answer."""
    for answer in (0, "", [], None, 0.0):
        bus.listen(Shipped, answering(answer))
    bus.listen(Shipped, answering(False))
    bus.listen(Shipped, answering("never"))
    way(bus)

    assert dispatch(bus, Shipped()) == [0, "", [], None, 0.0]


def test_an_awaited_false_stops_too(bus, way):
    """E13, E35."""

    async def stop(event):
        return False

    bus.listen(Shipped, awaited)
    bus.listen(Shipped, stop)
    bus.listen(Shipped, answering("never"))
    way(bus)

    assert asyncio.run(bus.adispatch(Shipped())) == ["awaited"]


def test_what_comes_after_a_stop_is_not_built(bus, dispatch):
    """E9."""
    built = []

    class Late:
        def __init__(self):
            built.append(self)

        def handle(self, event): ...

    bus.listen(Shipped, answering(False))
    bus.listen(Shipped, Late)
    dispatch(bus, Shipped())

    assert built == []


def test_until_is_the_first_answer_that_is_not_none(bus, until):
    """E14."""
    for answer in (None, "first", "second"):
        bus.listen(Shipped, answering(answer))

    assert until(bus, Shipped()) == "first"


def test_false_is_an_answer_to_until(bus, until):
    """E14."""
    bus.listen(Shipped, answering(False))
    bus.listen(Shipped, answering("never"))

    assert until(bus, Shipped()) is False


def test_until_is_none_if_nobody_answers(bus, until):
    """E14."""
    assert until(bus, Shipped()) is None
    bus.listen(Shipped, answering(None))
    assert until(bus, Shipped()) is None


def test_nobody_runs_after_the_answer_to_until(bus, until):
    """E14."""
    heard = []
    bus.listen("done", answering(1))
    bus.listen("done", heard.append)

    assert until(bus, "done", 1) == 1
    assert heard == []


# what is dispatched


class Pair(NamedTuple):
    left: int
    right: int


@dataclass(frozen=True)
class AsDataclass:
    left: int


@attrs.frozen
class AsAttrs:
    left: int


class AsStruct(msgspec.Struct):
    left: int


class AsModel(pydantic.BaseModel):
    left: int


@pytest.mark.parametrize(
    "one",
    [Shipped(), Pair(1, 2), AsDataclass(1), AsAttrs(1), AsStruct(1), AsModel(left=1), 7, {}],
    ids=lambda one: type(one).__name__,
)
def test_any_object_is_an_event_and_arrives_as_it_is(bus, dispatch, one):
    """E10, E30."""
    bus.listen(type(one), lambda event: event)

    [heard] = dispatch(bus, one)
    assert heard is one


@pytest.mark.parametrize("payload", [(), (1,), (1, "csv", None), ([1, 2],)], ids=repr)
def test_the_payload_of_a_name_is_spread(bus, dispatch, payload):
    """E11."""
    bus.listen("done", lambda *payload: payload)

    assert dispatch(bus, "done", *payload) == [payload]


def test_a_wildcard_gets_the_name_and_the_payload(bus, dispatch, way):
    """W3, W6."""

    class Audit:
        def handle(self, name: str, payload: tuple[object, ...]) -> object:
            return name, payload

    bus.listen("do*", lambda name, payload: (name, payload))
    bus.listen("do*", Audit)
    bus.listen("*", lambda name, payload: name)

    assert dispatch(bus, "done", 1, 2) == [("done", (1, 2)), ("done", (1, 2)), "done"]


def test_a_wildcard_of_class_events_gets_the_object(bus, dispatch):
    """W3: the fast way."""
    bus.listen("*", lambda name, payload: (name, payload))
    one = Shipped()

    assert dispatch(bus, one) == [(f"{__name__}.Shipped", (one,))]


@pytest.mark.parametrize("listened", [True, False])
def test_an_object_goes_without_a_payload(bus, dispatch, listened):
    """E10: refused, not ignored."""
    if listened:
        bus.listen(Shipped, answering(1))
        dispatch(bus, Shipped())

    with pytest.raises(NotAnEvent, match="a payload goes with a name"):
        dispatch(bus, Shipped(), 1)


@pytest.mark.parametrize("nothing", [None, Shipped, type, "", "order.*"], ids=repr)
def test_what_is_no_event_is_refused(bus, dispatch, until, nothing):
    """E10."""
    bus.listen("*", answering(1))

    with pytest.raises(NotAnEvent):
        dispatch(bus, nothing)
    with pytest.raises(NotAnEvent):
        until(bus, nothing)


def test_a_condition_decides(bus):
    """E27."""
    bus.listen("done", answering(1))

    assert bus.dispatch_if([1], "done") == bus.dispatch_unless("", "done") == [1]
    assert bus.dispatch_if(0, "done") == bus.dispatch_unless(1, "done") == []


def test_a_condition_decides_in_async_code_too(bus):
    """E27."""
    bus.listen("done", awaited)

    async def main():
        yes = [await bus.adispatch_if(1, "done"), await bus.adispatch_unless(0, "done")]
        no = [await bus.adispatch_if(0, "done"), await bus.adispatch_unless(1, "done")]
        return yes, no

    assert asyncio.run(main()) == ([["awaited"]] * 2, [[], []])


# registering while a dispatch is under way


def test_a_listener_added_during_a_dispatch_hears_the_next_one(bus, dispatch, way):
    """E19."""

    def add(event):
        bus.listen(Shipped, answering("added"), priority=-1)

    bus.listen(Shipped, add)
    rest = way(bus)

    assert dispatch(bus, Shipped()) == [None, *rest]
    assert dispatch(bus, Shipped()) == [None, "added", *rest]


def test_a_listener_removed_during_a_dispatch_is_still_called_in_it(bus, dispatch, way):
    """E19, F37: a dispatch has the listeners that it began with."""
    bus.listen(Shipped, lambda event: registration.remove())
    registration = bus.listen(Shipped, answering("removed"))
    rest = way(bus)

    assert dispatch(bus, Shipped()) == [None, "removed", *rest]
    assert dispatch(bus, Shipped()) == [None, *rest]


def test_a_once_listener_hears_one_event(bus, dispatch):
    bus.listen(Shipped, answering("once"), once=True)
    bus.listen(Shipped, answering("always"))

    assert dispatch(bus, Shipped()) == ["once", "always"]
    assert dispatch(bus, Shipped()) == ["always"]
    assert [one.once for one in bus.listeners()] == [False]


def test_a_once_listener_that_dispatches_its_own_event_is_not_called_again(bus):
    """F37."""
    answers = []
    bus.listen(Shipped, lambda event: answers.append(bus.dispatch(event)), once=True)

    assert bus.dispatch(Shipped()) == [None]
    assert answers == [[]]


def test_a_once_listener_overtaken_by_a_listener_before_it_is_passed_over(bus):
    """F37: the plan of the outer dispatch still has it."""
    nested = []

    def first(event):
        if not nested:
            nested.append("under way")
            nested.append(bus.dispatch(event))
        return "first"

    bus.listen(Shipped, first)
    bus.listen(Shipped, answering("once"), once=True)

    assert bus.dispatch(Shipped()) == ["first"]
    assert nested[1] == ["first", "once"]


# errors


@pytest.mark.parametrize("fail", [failing, afailing], ids=["sync", "async"])
def test_an_error_goes_to_the_caller_at_once(bus, dispatch, way, fail):
    """E32, F39."""
    heard = []
    error = KeyError("no")
    bus.listen(Shipped, fail(error))
    bus.listen(Shipped, heard.append)
    way(bus)

    with pytest.raises(KeyError) as caught:
        dispatch(bus, Shipped())
    assert caught.value is error
    assert heard == []


@pytest.mark.parametrize("event", [Shipped(), "done"], ids=["class", "name"])
@pytest.mark.parametrize("fail", [failing, afailing], ids=["sync", "async"])
def test_the_note_of_an_error_names_event_and_listener(bus, dispatch, way, event, fail):
    """E32."""
    name = event if event == "done" else f"{__name__}.Shipped"
    bus.listen(event if event == "done" else Shipped, answering(1))
    bus.listen(event if event == "done" else Shipped, fail(KeyError()))
    way(bus)

    with pytest.raises(KeyError) as caught:
        dispatch(bus, event)
    assert caught.value.__notes__ == [
        f"raised by listener {__name__}:{fail.__name__}.<locals>.listener of event {name}"
    ]


def test_the_note_names_a_wildcard_listener(bus, dispatch, way):
    """E32, W3."""
    bus.listen("*", answering(1))
    bus.listen("*", failing(KeyError()))
    way(bus)

    with pytest.raises(KeyError) as caught:
        dispatch(bus, Shipped())
    assert caught.value.__notes__[0].startswith(f"raised by listener {__name__}:failing.<locals>")


def test_the_note_names_the_right_one_of_listeners_that_change_while_they_run(bus, dispatch):
    """E32, F37."""

    def guilty(event):
        registration.remove()
        with bus.listen(Returned, answering(1)):
            bus.dispatch(Shipped2())
        raise KeyError

    class Shipped2(Shipped):
        pass

    registration = bus.listen(Shipped, guilty)
    bus.listen(Shipped, answering(1))

    with pytest.raises(KeyError) as caught:
        dispatch(bus, Shipped())
    assert "guilty" in caught.value.__notes__[0]


def test_an_error_of_a_nested_dispatch_has_a_note_of_each_level(bus):
    """E32."""
    bus.listen(Shipped, lambda event: bus.dispatch("done"))
    bus.listen("done", failing(KeyError()))

    with pytest.raises(KeyError) as caught:
        bus.dispatch(Shipped())
    assert [one.rpartition(" ")[2] for one in caught.value.__notes__] == [
        "done",
        f"{__name__}.Shipped",
    ]


def test_an_error_that_is_raised_again_and_again_is_noted_once(bus, dispatch, way):
    """A constant that is raised would grow without bound."""
    error = KeyError()
    bus.listen(Shipped, failing(error))
    way(bus)

    for _ in range(3):
        with pytest.raises(KeyError):
            dispatch(bus, Shipped())
    assert len(error.__notes__) == 1


def test_an_error_that_takes_no_notes_is_not_hidden_by_that(bus, dispatch, way):
    """E32."""

    @dataclass(frozen=True)
    class FrozenError(Exception):
        reason: str

    with pytest.raises(FrozenInstanceError):
        FrozenError("no").add_note("refused")
    bus.listen(Shipped, failing(FrozenError("no")))
    way(bus)

    with pytest.raises(FrozenError):
        dispatch(bus, Shipped())


@pytest.mark.parametrize("call", ["dispatch", "until"])
@pytest.mark.parametrize("built", [False, True])
def test_stop_iteration_comes_out_as_itself(bus, way, call, built):
    """E32: a generator on the way would make another error of it."""

    class Builds:
        def handle(self, event):
            raise StopIteration("mine")

    bus.listen(Shipped, Builds if built else failing(StopIteration("mine")))
    way(bus)

    with pytest.raises(StopIteration, match="mine"):
        getattr(bus, call)(Shipped())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("collect", [False, True])
def test_what_is_no_exception_is_never_kept(make_bus, way, error, collect):
    """F39: with either policy, and without a note, for no listener is to blame."""
    bus = make_bus(collect=collect)
    heard = []
    bus.listen(Shipped, failing(error))
    bus.listen(Shipped, heard.append)
    way(bus)

    with pytest.raises(error) as caught:
        bus.dispatch(Shipped())
    assert heard == []
    assert not hasattr(caught.value, "__notes__")


def test_collected_errors_come_as_one_group_when_all_have_run(make_bus, dispatch):
    """E32, F39."""
    bus = make_bus(collect=True)
    bus.listen(Shipped, failing(KeyError("one")))
    bus.listen(Shipped, answering("between"))
    bus.listen(Shipped, afailing(ValueError("two")))

    with pytest.raises(ListenersFailed) as caught:
        dispatch(bus, Shipped())
    error = caught.value
    assert [type(one) for one in error.exceptions] == [KeyError, ValueError]
    assert error.answers == ("between",)
    assert error.event == f"{__name__}.Shipped"
    assert all(one.__notes__ for one in error.exceptions)


def test_one_collected_error_is_still_a_group(make_bus, dispatch):
    bus = make_bus(collect=True)
    bus.listen(Shipped, failing(KeyError()))

    with pytest.raises(ListenersFailed, match="1 listener of"):
        dispatch(bus, Shipped())


def test_collecting_without_errors_answers_as_always(make_bus, dispatch):
    bus = make_bus(collect=True)
    bus.listen(Shipped, answering(1))

    assert dispatch(bus, Shipped()) == [1]


def test_the_error_of_a_listener_seems_to_come_of_nothing_else(make_bus, dispatch, way):
    """E32: not of our looking for it, nor of the listener before it."""
    errors = [KeyError("one"), KeyError("two"), KeyError("three"), KeyError("four")]
    bus = make_bus(collect=True)
    for error, fail in zip(errors, [failing, afailing, failing, afailing], strict=True):
        bus.listen("done", fail(error))
    bus.listen(Shipped, failing(errors[0]))
    way(bus)

    with pytest.raises(ListenersFailed):
        dispatch(bus, "done")
    with pytest.raises(ListenersFailed) as caught:
        dispatch(bus, Shipped())
    assert [error.__context__ for error in (*errors, caught.value)] == [None] * 5


def test_a_single_error_seems_to_come_of_nothing_else(bus, dispatch, way):
    """E32."""
    bus.listen(Shipped, failing(KeyError()))
    way(bus)

    with pytest.raises(KeyError) as caught:
        dispatch(bus, Shipped())
    assert caught.value.__context__ is None


def test_false_stops_what_collects_errors_too(make_bus, dispatch):
    """E13, F39."""
    bus = make_bus(collect=True)
    bus.listen(Shipped, failing(KeyError()))
    bus.listen(Shipped, answering(False))
    bus.listen(Shipped, failing(ValueError()))

    with pytest.raises(ListenersFailed) as caught:
        dispatch(bus, Shipped())
    assert [type(one) for one in caught.value.exceptions] == [KeyError]


def test_collected_errors_are_the_context_of_what_ends_the_dispatch(make_bus):
    """F39: all are reported."""
    bus = make_bus(collect=True)
    bus.listen(Shipped, failing(KeyError()))
    bus.listen(Shipped, failing(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt) as caught:
        bus.dispatch(Shipped())
    assert isinstance(caught.value.__context__, ListenersFailed)


def test_a_context_that_is_there_already_is_kept(make_bus):
    def interrupt(event):
        try:
            raise ValueError
        except ValueError:
            raise KeyboardInterrupt  # noqa: B904

    bus = make_bus(collect=True)
    bus.listen(Shipped, failing(KeyError()))
    bus.listen(Shipped, interrupt)

    with pytest.raises(KeyboardInterrupt) as caught:
        bus.dispatch(Shipped())
    assert isinstance(caught.value.__context__, ValueError)


@pytest.mark.parametrize("collect", [False, True])
def test_an_error_is_freed_when_it_has_been_handled(make_bus, way, collect):
    """Without waiting for the garbage collector: it holds the event, and what listeners had."""

    class Error(Exception):
        pass

    def fail(event):
        raise Error

    bus = make_bus(collect=collect)
    bus.listen(Shipped, fail)
    way(bus)
    event = Shipped()
    gone = weakref.ref(event)
    gc.disable()
    try:
        with contextlib.suppress(Exception):
            bus.dispatch(event)
        del event
        assert gone() is None
    finally:
        gc.enable()


# recursion


@pytest.mark.parametrize("built", [False, True], ids=["functions", "classes"])
def test_recursion_without_end_is_pythons_error_with_one_note_of_the_circle(bus, built):
    """F38."""

    class Again:
        def handle(self, event):
            bus.dispatch(Returned() if type(event) is Shipped else Shipped())

    listener = Again if built else Again().handle
    bus.listen(Shipped, listener)
    bus.listen(Returned, listener)

    with pytest.raises(RecursionError) as caught:
        bus.dispatch(Shipped())
    [note] = caught.value.__notes__
    assert note.startswith("events under way, the innermost first:")
    assert f"{__name__}.Shipped <- {__name__}.Returned <- {__name__}.Shipped" in note
    assert note.count(" <- ") == 5


def test_async_recursion_without_end_is_pythons_error_too(bus):
    """F38."""

    async def again(event):
        await bus.adispatch(event)

    bus.listen(Shipped, again)

    with pytest.raises(RecursionError) as caught:
        asyncio.run(bus.adispatch(Shipped()))
    assert len(caught.value.__notes__) == 1


def test_a_deep_dispatch_that_ends_is_no_error(bus):
    """F38: there is no limit of our own below Python's."""

    def countdown(count):
        return bus.dispatch("count", count - 1)[0] if count else "done"

    bus.listen("count", countdown)

    assert bus.dispatch("count", 100) == ["done"]


# async listeners


def test_async_listeners_are_awaited_in_turn(bus):
    """E35."""
    order = []

    async def first(event):
        order.append("first begins")
        await asyncio.sleep(0)
        order.append("first ends")

    bus.listen(Shipped, first)
    bus.listen(Shipped, lambda event: order.append("second"))
    asyncio.run(bus.adispatch(Shipped()))

    assert order == ["first begins", "first ends", "second"]


@pytest.mark.parametrize("call", ["dispatch", "until"])
@pytest.mark.parametrize("event", [Shipped(), "done"], ids=["class", "name"])
def test_a_sync_call_in_a_running_loop_with_an_async_listener_raises_before_anything_ran(
    bus, call, event
):
    """E35, F40."""
    heard = []
    for key in (Shipped, "done"):
        bus.listen(key, lambda *_: heard.append("ran"))
        bus.listen(key, awaited)

    async def main():
        getattr(bus, call)(event)

    for _ in range(2):
        with pytest.raises(AsyncListenerInSyncDispatch, match=f"nothing ran.*bus.a{call}"):
            asyncio.run(main())
    assert heard == []


def test_a_sync_call_in_a_running_loop_with_sync_listeners_runs(bus):
    """E35."""
    bus.listen(Shipped, answering(1))

    async def main():
        return bus.dispatch(Shipped())

    assert asyncio.run(main()) == [1]


def test_a_cancelled_dispatch_ends_where_it_was(bus, way):
    """F40."""
    heard = []

    async def main():
        begun = asyncio.Event()

        async def endless(event):
            begun.set()
            await asyncio.Event().wait()

        bus.listen(Shipped, endless)
        bus.listen(Shipped, heard.append)
        way(bus)
        task = asyncio.create_task(bus.adispatch(Shipped()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert heard == []


# what a bus adds


class Taking(LocalBus):
    """A bus on which what is called `taken` does not run here."""

    def __init__(self, **options):
        self.stored = []
        self.refuses = None
        super().__init__(**options)

    def _taker(self, listener):
        def take(run):
            run.taken.append((listener.event, run.payload))
            run.log.append("taken")
            yield from ()

        return take if listener.name.endswith("taken") else None

    def _deliver(self, taken):
        yield Blocking(lambda: self._store(taken))

    def _store(self, taken):
        if self.refuses is not None:
            raise self.refuses
        self.stored.append(taken)


def taken(*_):
    raise AssertionError


@pytest.fixture
def taking(make_bus):
    return make_bus(bus=Taking)


def test_what_is_taken_neither_runs_nor_answers_nor_stops(taking, dispatch):
    for listener in (taken, answering(1), taken):
        taking.listen(Shipped, listener)
    event = Shipped()

    assert dispatch(taking, event) == [1]
    assert taking.stored == [[(Shipped, (event,)), (Shipped, (event,))]]


def test_what_is_taken_does_not_answer_until(taking, until):
    for listener in (taken, answering(1), taken):
        taking.listen("done", listener)

    assert until(taking, "done", 7) == 1
    assert taking.stored == [[("done", (7,))]]


@pytest.mark.parametrize("ends", [failing(KeyError()), answering(False)], ids=["error", "False"])
def test_what_was_reached_before_the_end_is_delivered(taking, dispatch, ends):
    for listener in (taken, ends, taken):
        taking.listen("done", listener)

    with contextlib.suppress(KeyError):
        dispatch(taking, "done")
    assert taking.stored == [[("done", ())]]


def test_an_error_of_the_delivery_is_raised_with_the_listeners_as_its_context(taking, dispatch):
    taking.listen("done", taken)
    taking.listen("done", failing(KeyError()))
    taking.refuses = OSError("full")

    with pytest.raises(OSError, match="full") as caught:
        dispatch(taking, "done")
    assert isinstance(caught.value.__context__, KeyError)


def test_an_error_of_the_delivery_alone_is_raised(taking, dispatch):
    taking.listen("done", taken)
    taking.refuses = OSError("full")

    with pytest.raises(OSError, match="full"):
        dispatch(taking, "done")


def test_the_delivery_of_a_cancelled_dispatch_happens(taking):
    """F40: what was reached is stored, whole."""

    async def main():
        begun = asyncio.Event()

        async def endless(*_):
            begun.set()
            await asyncio.Event().wait()

        taking.listen("done", taken)
        taking.listen("done", endless)
        task = asyncio.create_task(taking.adispatch("done"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert taking.stored == [[("done", ())]]


def test_a_dispatch_whose_coroutine_is_closed_ends_quietly(taking):
    """F40: nothing can be awaited any more."""
    closed = []

    async def endless(*_):
        try:
            await asyncio.Event().wait()
        finally:
            closed.append("listener")

    taking.listen("done", endless)
    taking.listen("done", taken)

    async def main():
        coroutine = taking.adispatch("done")
        coroutine.send(None)
        coroutine.close()

    asyncio.run(main())
    assert (closed, taking.stored) == (["listener"], [])


def test_a_dispatch_whose_coroutine_is_closed_while_it_delivers_ends_quietly(taking):
    """F40: what has begun to be stored is stored."""
    taking.listen("done", taken)

    async def main():
        coroutine = taking.adispatch("done")
        coroutine.send(None)
        coroutine.close()

    asyncio.run(main())
    assert taking.stored == [[("done", ())]]


def test_a_bus_that_takes_and_delivers_nowhere_just_goes_on(make_bus):
    class Dropping(Taking):
        _deliver = LocalBus._deliver

    bus = make_bus(bus=Dropping)
    for listener in (taken, answering(1)):
        bus.listen("done", listener)

    assert bus.dispatch("done") == [1]


def test_a_dispatcher_alone_has_nobody_to_call():
    assert Dispatcher(resolver=Resolver({}), collect=False).dispatch(Shipped()) == []


# faking


@pytest.mark.parametrize("event", [Shipped(), "done"], ids=["class", "name"])
def test_a_faked_event_reaches_nobody_and_what_would_be_taken_goes_to_the_fake(
    taking, dispatch, event
):
    asked, kept = [], []

    def fake(event, name, payload):
        asked.append(event)
        return kept.append

    for key in (Shipped, "done"):
        taking.listen(key, taken)
        taking.listen(key, answering(1))
        taking.listen(key, awaited)

    with taking.faking(fake):
        assert dispatch(taking, event) == []
    assert asked == [event]
    assert [len(one) for one in kept] == [1]
    assert taking.stored == []
    assert asyncio.run(taking.adispatch(event)) == [1, "awaited"]


def test_an_event_that_a_fake_lets_through_goes_to_the_fake_around_it(bus):
    bus.listen("done", answering(1))
    inner, outer = [], []

    with (
        bus.faking(lambda event, name, payload: outer.append),
        bus.faking(lambda event, name, payload: inner.append(name)),
    ):
        assert bus.dispatch("done") == []

    assert (inner, outer) == (["done"], [[]])
    assert bus.dispatch("done") == [1]


def test_a_fake_neither_holds_nor_forgets(bus):
    """What the code under test takes apart is whole again afterwards."""
    bus.listen("done", answering(1))

    with bus.faking(lambda event, name, payload: None):
        bus.hold("done")
        bus.forget("done")
        bus.forget_held()

    assert bus.flush() == []
    assert bus.dispatch("done") == [1]


def test_a_faked_once_listener_keeps_its_chance(bus):
    bus.listen("done", answering(1), once=True)

    with bus.faking(lambda event, name, payload: [].append):
        bus.dispatch("done")

    assert bus.dispatch("done") == [1]


# announcing inside a walk


def test_an_announced_event_is_heard_and_its_errors_are_only_logged(bus, caplog):
    heard = []
    bus.listen(Shipped, heard.append)
    bus.listen(Shipped, failing(KeyError("mine")))

    calling.drive(bus.announce(Shipped()), bus)

    assert len(heard) == 1
    assert "a listener of" in caplog.text
    assert "mine" in caplog.text


def test_an_announced_event_may_be_muted(bus):
    heard = []
    bus.listen(Shipped, heard.append)

    with bus.muted():
        calling.drive(bus.announce(Shipped()), bus)

    assert heard == []


# what is remembered


def test_the_table_of_names_is_bounded(bus):
    bus.listen("order.*", answering(1))

    for number in range(3 * NAMED_EVENTS):
        bus.dispatch(f"order.{number}")

    tables = bus._tables
    assert len(tables.named) + len(tables.named_before) <= NAMED_EVENTS


def test_a_name_in_use_stays_in_the_table(bus):
    """The least recently used go first."""
    bus.listen("order.*", answering(1))
    bus.dispatch("order.often")
    plan = bus._tables.named["order.often"]

    for number in range(2 * NAMED_EVENTS):
        bus.dispatch(f"order.{number}")
        bus.dispatch("order.often")

    assert bus._plan("order.often") is plan


def test_classes_made_at_run_time_do_not_leak_without_bound(bus, monkeypatch):
    monkeypatch.setattr(plans, "TYPED_EVENTS", 10)
    bus.listen("*", answering(1))
    classes = weakref.WeakSet()

    for number in range(50):
        cls = type(f"Made{number}", (), {})
        classes.add(cls)
        assert bus.dispatch(cls()) == [1]
    del cls
    gc.collect()

    assert len(classes) <= 10


# the debug log


def test_a_debug_line_says_who_ran_and_who_stopped(bus, dispatch, caplog):
    caplog.set_level(logging.DEBUG, "eventbus.dispatch")
    bus.listen(Shipped, Slow().handle)
    bus.listen(Shipped, lambda event: False)
    bus.listen(Shipped, answering("never"))

    dispatch(bus, Shipped())

    [line] = [one.getMessage() for one in caplog.records if one.name == "eventbus.dispatch"]
    assert line.startswith(f"{__name__}.Shipped: {__name__}:Slow.handle; ")
    assert line.endswith("<lambda> stopped the rest")


def test_a_debug_line_says_who_answered_until_and_what_was_taken(taking, until, caplog):
    caplog.set_level(logging.DEBUG, "eventbus.dispatch")
    for listener in (taken, Slow().handle, answering("never")):
        taking.listen("done", listener)

    until(taking, "done")

    assert f"done: taken; {__name__}:Slow.handle" in caplog.text


@pytest.mark.parametrize("collect", [False, True])
def test_a_debug_line_says_who_raised(make_bus, caplog, collect):
    caplog.set_level(logging.DEBUG, "eventbus.dispatch")
    bus = make_bus(collect=collect)
    bus.listen("done", failing(KeyError()))

    with pytest.raises((KeyError, ListenersFailed)):
        bus.dispatch("done")

    assert "listener raised KeyError" in caplog.text


def test_a_debug_line_says_that_nobody_listens(bus, caplog):
    caplog.set_level(logging.DEBUG, "eventbus.dispatch")

    bus.dispatch("done")

    assert "done: nobody listens" in caplog.text


def test_what_is_taken_to_be_brought_nowhere_is_gone(make_bus):
    class Taking(LocalBus):
        def _taker(self, listener):
            def take(run):
                run.taken.append(listener)
                yield from ()

            return take

    ran = []
    bus = make_bus(bus=Taking, listen={Shipped: ran.append})

    assert bus.dispatch(Shipped()) == []
    assert ran == []
