"""The forms a listener may take, `@listens`, and what is refused when it is registered."""

from __future__ import annotations

import asyncio
import functools
import sys
from abc import ABC, abstractmethod
from types import ModuleType

import pytest

from eventbus.dispatch.listeners import Listener, check
from eventbus.dispatch.marking import listens, marks
from eventbus.dispatch.targets import describe, handlers_of, load, target_of
from eventbus.errors import InvalidOption, ListenError


class Shipped:
    pass


class Returned:
    pass


class Mailer:
    def handle(self, event: Shipped) -> str:
        return "handle"

    def handle_shipped(self, event: Shipped) -> str:
        return "handle_shipped"

    def other(self, event: Shipped) -> str:
        return "other"

    @staticmethod
    def static(event: Shipped) -> str:
        return "static"

    @classmethod
    def of_class(cls, event: Shipped) -> str:
        return cls.__name__

    async def awaited(self, event: Shipped) -> str:
        return "awaited"

    class Inner:
        def handle(self, event: Shipped) -> str:
            return "inner"


class Ledger:
    def handle_shipped(self, event: Shipped) -> str:
        return "shipped"

    def handle_returned(self, event: Returned) -> str:
        return "returned"


class Invokable:
    def __call__(self, event: Shipped) -> str:
        return "called"


class Clocked(Mailer):
    """Its own state: an object is called as it is."""

    def __init__(self):
        self.times = 0

    def handle(self, event):
        self.times += 1
        return self.times


def function(event: Shipped) -> str:
    return "function"


async def coroutine(event: Shipped) -> str:
    return "coroutine"


def keyword(event: Shipped, *, answer: str = "no") -> str:
    return answer


class Partial:
    handle = functools.partialmethod(lambda self, answer, event: answer, "partialmethod")


FORMS = {
    "function": (function, "function"),
    "lambda": (lambda event: "lambda", "lambda"),
    "partial": (functools.partial(keyword, answer="partial"), "partial"),
    "class": (Mailer, "handle"),
    "class with one fitting handler": (Ledger, "shipped"),
    "class with __call__": (Invokable, "called"),
    "class with a partialmethod": (Partial, "partialmethod"),
    "object": (Mailer(), "handle"),
    "object with one fitting handler": (Ledger(), "shipped"),
    "object with __call__": (Invokable(), "called"),
    "bound method": (Mailer().other, "other"),
    "unbound method": (Mailer.other, "other"),
    "unbound method of an inner class": (Mailer.Inner.handle, "inner"),
    "static method": (Mailer.static, "static"),
    "static method of a class that is built": ((Mailer, "static"), "static"),
    "class method": (Mailer.of_class, "Mailer"),
    "class and method": ((Mailer, "other"), "other"),
    "class and name of a class method": ((Mailer, "of_class"), "Mailer"),
    "object and method": ((Mailer(), "other"), "other"),
    "import string": (f"{__name__}:function", "function"),
    "import string of a class": (f"{__name__}:Mailer", "handle"),
    "import string of a method": (f"{__name__}:Mailer.other", "other"),
    "import string and method": ((f"{__name__}:Mailer", "other"), "other"),
    "coroutine function": (coroutine, "coroutine"),
    "async method": ((Mailer, "awaited"), "awaited"),
}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """This module by its name, whatever it was imported as."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


@pytest.mark.parametrize("form", FORMS)
def test_a_listener_may_be_a(bus, dispatch, form):
    """E1, E6, E7, E8, E35: every form, called in both ways."""
    listener, answer = FORMS[form]
    bus.listen(Shipped, listener)

    assert dispatch(bus, Shipped()) == [answer]


def test_a_c_function_is_called_although_it_tells_nothing_of_itself(bus):
    """E1."""
    heard = []
    bus.listen(Shipped, heard.append)
    bus.listen(Shipped, min)

    event = Shipped()
    with pytest.raises(TypeError):
        bus.dispatch(event)
    assert heard == [event]


def test_a_class_is_built_anew_for_each_dispatch(bus):
    """E6."""
    bus.listen(Shipped, Clocked)

    assert [bus.dispatch(Shipped()), bus.dispatch(Shipped())] == [[1], [1]]


def test_an_object_is_called_as_it_is(bus):
    bus.listen(Shipped, Clocked())

    assert [bus.dispatch(Shipped()), bus.dispatch(Shipped())] == [[1], [2]]


def test_one_listener_may_hear_several_events(bus):
    """E3."""
    bus.listen([Shipped, Returned, "done"], lambda *event: len(event))

    answers = [bus.dispatch(Shipped()), bus.dispatch(Returned()), bus.dispatch("done", 1, 2)]
    assert answers == [[1], [1], [2]]


def test_a_class_that_hears_several_events_hears_each_by_its_own_method(bus):
    """E3, E8."""
    bus.listen([Shipped, Returned], Ledger)

    assert [bus.dispatch(Shipped()), bus.dispatch(Returned())] == [["shipped"], ["returned"]]


def test_a_union_is_each_of_its_members(bus):
    """E4."""
    bus.listen(Shipped | Returned, lambda event: type(event).__name__)

    assert [bus.dispatch(Shipped()), bus.dispatch(Returned())] == [["Shipped"], ["Returned"]]


# the event by the hint


def test_the_hint_of_a_function_is_its_event(bus):
    """E4."""

    @bus.listen
    def listener(event: Shipped) -> str:
        return "heard"

    assert listener(Shipped()) == "heard"
    assert bus.dispatch(Shipped()) == ["heard"]


def test_options_may_be_given_above_a_function(bus):
    """E4."""

    @bus.listen(priority=1, once=True)
    def listener(event: Shipped | Returned) -> str:
        return "first"

    bus.listen(Shipped, lambda event: "second")

    assert bus.dispatch(Shipped()) == ["first", "second"]
    assert bus.dispatch(Shipped()) == ["second"]
    assert bus.dispatch(Returned()) == ["first"]


@pytest.mark.parametrize("holder", [Ledger, Ledger()], ids=["class", "object"])
def test_all_handlers_of_a_class_or_object_are_registered_by_their_hints(bus, holder):
    """E4, E6."""
    bus.listen(holder)

    assert [bus.dispatch(Shipped()), bus.dispatch(Returned())] == [["shipped"], ["returned"]]


def test_an_import_string_is_registered_by_its_hint(bus):
    bus.listen(f"{__name__}:function")

    assert bus.dispatch(Shipped()) == ["function"]


@pytest.mark.parametrize(
    "listener, reason",
    [
        (lambda event: None, "no event was given and its first parameter has no hint"),
        (lambda: None, "no event was given and it has no parameter for the event"),
    ],
    ids=["unhinted", "without parameters"],
)
def test_without_an_event_and_without_a_hint_nothing_is_registered(bus, listener, reason):
    """E4: no type is an error."""
    with pytest.raises(ListenError, match=reason):
        bus.listen(listener)


# what is refused


class Abstract(ABC):
    @abstractmethod
    def handle(self, event: Shipped) -> None: ...


class Nothing:
    pass


class Unhinted:
    def handle_it(self, event):
        return "unhinted"


class Two:
    def handle_one(self, event: Shipped) -> None: ...
    def handle_two(self, event: Shipped) -> None: ...


def generator(event: Shipped):
    yield 1


async def async_generator(event: Shipped):
    yield 1


REFUSED = {
    "a number": (7, Shipped, "neither callable nor a class"),
    "a class without handlers": (Nothing, Shipped, "nor __call__. Give it `def handle"),
    "an object without handlers": (Nothing(), Shipped, "neither callable nor a class"),
    "an abstract class": (Abstract, Shipped, "abstract"),
    "a method that is not there": ((Mailer, "handel"), Shipped, "no method 'handel'"),
    "a method that the object has not": ((Ledger(), "handel"), Shipped, "no method 'handel'"),
    "a method of nothing": ((Nothing(), "handle"), Shipped, "no method 'handle'"),
    "a method of a class with nothing": ((Nothing, "handle"), Shipped, "no handle. method"),
    "a tuple of three": ((Mailer, "handle", 1), Shipped, "a tuple must be"),
    "a tuple without a name": ((Mailer, 1), Shipped, "a tuple must be"),
    "two fitting handlers": (Two, Shipped, "several .* handle_one, handle_two"),
    "no fitting handler": (Ledger, KeyError, "none of its methods .handle_shipped, handle_ret"),
    "several handlers for a name": (Two, "done", "several .* handle_one, handle_two"),
    "no parameter": (lambda: None, Shipped, "takes 0 positional arguments"),
    "one parameter for a wildcard": (lambda event: None, "order.*", "takes 1 positional argument,"),
    "another class": (function, Returned, "it takes Shipped, not Returned"),
    "another class, by hints": (Mailer, Returned, "it takes Shipped, not Returned"),
    "a parent of the hint": (function, object, "it takes Shipped, not object"),
    "an unhinted second parameter": (lambda event, other: None, Shipped, "parameter 'other'"),
    "a positional-only second one": (
        lambda event, other, /: None,
        Shipped,
        "nothing says what its parameter 'other'",
    ),
    "an unhinted keyword of a name": (lambda *, other: None, "done", "parameter .other."),
    "a generator": (generator, Shipped, "runs nothing of it"),
    "a generator for a name": (generator, "done", "runs nothing of it"),
    "an async generator": (async_generator, Shipped, "runs nothing of it"),
    "a path without a name": ("collections", Shipped, "does not name anything"),
    "a path without a module": (":Name", Shipped, "does not name anything"),
    "a module that is not there": ("no.such.module:x", Shipped, "cannot be imported"),
    "a name that is not there": (f"{__name__}:Mailer.no", Shipped, "has no 'no'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_when_it_is_registered_to_listen_with(bus, case):
    """E7, E8: not at the dispatch, when it is too late."""
    listener, event, reason = REFUSED[case]

    with pytest.raises(ListenError, match=reason):
        bus.listen(event, listener)
    assert not bus.listeners()


def test_a_method_of_a_local_class_taken_from_the_class_is_refused(bus):
    """E8: nobody could build that class by the method's name, and `self` is no event."""

    class Local:
        def handle(self, event: Shipped) -> None: ...

    with pytest.raises(ListenError, match=r'Write \(Local, "handle"\)'):
        bus.listen(Shipped, Local.handle)


def test_a_static_method_of_a_local_class_listens(bus):
    class Local:
        @staticmethod
        def handle(event: Shipped) -> str:
            return "static"

    bus.listen(Shipped, Local.handle)
    assert bus.dispatch(Shipped()) == ["static"]


def test_a_decorated_generator_is_what_its_decorator_makes_of_it(bus):
    @functools.wraps(generator)
    def listed(event):
        return list(generator(event))

    bus.listen(Shipped, listed)
    assert bus.dispatch(Shipped()) == [[1]]


def test_a_hint_for_type_checkers_only_is_no_obstacle_when_the_event_is_given(bus):
    def listener(event: Missing) -> str:  # noqa: F821
        return "heard"

    bus.listen(Shipped, listener)
    assert bus.dispatch(Shipped()) == ["heard"]


def test_an_injected_hint_that_is_not_there_yet_is_looked_up_when_it_is_called(bus):
    def listener(event: Shipped, mailer: Later) -> None: ...  # noqa: F821

    bus.listen(Shipped, listener)
    assert bus.has_listeners(Shipped)


def test_the_one_unhinted_handler_takes_what_it_is_given(bus):
    bus.listen(Shipped, Unhinted)
    bus.listen("done", Unhinted)

    assert bus.dispatch(Shipped()) == ["unhinted"]
    assert bus.dispatch("done", 1) == ["unhinted"]


def test_a_handler_whose_hint_fits_goes_before_one_without_a_hint():
    class Both(Unhinted):
        def handle_shipped(self, event: Shipped) -> None: ...

    assert target_of(Both, Shipped).method == "handle_shipped"


def test_handle_is_taken_whatever_else_there_is():
    assert target_of(Mailer, Shipped).method == "handle"


def test_a_subclass_may_switch_an_inherited_handler_off():
    class Quiet(Ledger):
        handle_returned = None

    assert handlers_of(Quiet) == ("handle_shipped",)


@pytest.mark.parametrize("priority", ["high", 1.5, None, True])
def test_a_priority_is_a_whole_number(bus, priority):
    with pytest.raises(InvalidOption, match=r"priority of .*function"):
        bus.listen(Shipped, function, priority=priority)


def test_all_is_registered_or_nothing(bus):
    with pytest.raises(ListenError):
        bus.listen([Shipped, Returned], function)

    assert bus.listeners() == ()


def test_a_variadic_function_can_be_called_with_anything(bus):
    def everything(*arguments, **more):
        return arguments

    for event in (Shipped, "done", "order.*"):
        bus.listen(event, everything)

    event = Shipped()
    assert bus.dispatch(event) == [(event,)]
    assert bus.dispatch("done", 1, 2) == [(1, 2)]
    assert bus.dispatch("order.shipped", 1) == [("order.shipped", (1,))]


def test_a_callable_that_tells_no_parameters_is_not_checked():
    check(target_of(type("Odd", (), {"__call__": min, "__signature__": "none"})()), Shipped)


# async


def test_an_async_function_below_a_decorator_that_is_not_is_awaited_still(bus, dispatch):
    """E35: a wrapper that only passes on what it gets must not lose the work."""

    def logged(function):
        @functools.wraps(function)
        def wrapper(event):
            return function(event)

        return wrapper

    bus.listen(Shipped, logged(coroutine))

    assert dispatch(bus, Shipped()) == ["coroutine"]


def test_an_async_function_that_its_decorator_runs_is_not_awaited(bus):
    @functools.wraps(coroutine)
    def blocking(event):
        return asyncio.run(coroutine(event))

    bus.listen(Shipped, blocking)

    assert bus.dispatch(Shipped()) == ["coroutine"]


def test_a_task_that_a_sync_listener_starts_is_its_answer_and_is_not_awaited(bus):
    async def main():
        bus.listen(Shipped, lambda event: asyncio.ensure_future(coroutine(event)))
        [task] = await bus.adispatch(Shipped())
        assert not task.done()
        return await task

    assert asyncio.run(main()) == "coroutine"


# what is said of a listener


@pytest.mark.parametrize(
    "form, name",
    [
        ("function", "function"),
        ("class", "Mailer"),
        ("class and method", "Mailer.other"),
        ("bound method", "Mailer.other"),
        ("class method", "Mailer.of_class"),
        ("object with __call__", "Invokable"),
        ("import string of a method", "Mailer.other"),
        ("lambda", "<lambda>"),
    ],
)
def test_a_listener_is_called_by_where_it_is(form, name):
    assert target_of(FORMS[form][0], Shipped).name == f"{__name__}:{name}"


def test_a_partial_is_called_by_its_function():
    assert target_of(FORMS["partial"][0]).name == f"partial of {__name__}:keyword"


def test_a_path_is_described_as_it_is_written():
    assert describe("shop:Mailer") == "'shop:Mailer'"


def test_a_location_is_the_file_and_line_of_the_code():
    file, line = target_of(function).location

    assert (file, line) == (__file__, function.__code__.co_firstlineno)


def test_a_location_is_empty_where_there_is_no_code():
    assert target_of([].append).location == ("", 0)


# @listens


def test_listens_marks_and_registers_nothing():
    @listens
    def bare(event: Shipped) -> None: ...

    @listens(Shipped, "order.*", priority=3, once=True)
    def full(event: Shipped) -> None: ...

    assert marks(bare)[0].events == ()
    [mark] = marks(full)
    assert (mark.events, mark.priority, mark.once) == ((Shipped, "order.*"), 3, True)


def test_listens_marks_classes_static_and_class_methods():
    @listens
    class Marked(Mailer):
        @listens
        @staticmethod
        def static(event: Shipped) -> None: ...

        @listens(Shipped)
        @classmethod
        def of_class(cls, event: Shipped) -> None: ...

    assert marks(Marked)
    assert marks(Marked.static)
    assert marks(Marked.of_class)
    assert not marks(Marked())


def test_listens_takes_a_class_with_a_call_for_a_listener_and_one_without_for_an_event():
    assert listens(Invokable) is Invokable
    assert callable(listens(Shipped))
    del Invokable.__eventbus_listens__


def test_several_marks_are_read_from_the_outside_in():
    @listens(Shipped)
    @listens(Returned)
    def twice(event: Shipped | Returned) -> None: ...

    assert [mark.events for mark in marks(twice)] == [(Shipped,), (Returned,)]


def test_a_mark_is_not_inherited():
    @listens
    class Marked(Mailer):
        pass

    class Child(Marked):
        pass

    assert not marks(Child)


def test_listens_refuses_what_is_neither_a_class_nor_a_name():
    with pytest.raises(ListenError, match="7 is neither an event class nor a name"):
        listens(7)


def test_options_that_dispatch_does_not_know_ride_along():
    @listens(Shipped, queue="emails")
    def queued(event: Shipped) -> None: ...

    assert marks(queued)[0].options == {"queue": "emails"}


def test_a_bus_without_a_queue_refuses_the_options_of_one(bus):
    @listens(Shipped, queue="emails")
    def queued(event: Shipped) -> None: ...

    with pytest.raises(ListenError, match="does not know queue"):
        bus.listen(Shipped, queued)


def test_what_is_marked_above_a_method_holds_when_it_is_registered_by_hand(bus):
    class Marked:
        @listens(queue="emails")
        def handle_it(self, event: Shipped) -> None: ...

    with pytest.raises(ListenError, match="does not know queue"):
        bus.listen(Shipped, (Marked, "handle_it"))


# once


def test_a_once_listener_has_one_chance():
    listener = Listener(event=Shipped, target=target_of(function), once=True)

    assert [listener.spend(), listener.spend()] == [True, False]


def test_load_finds_what_a_path_names():
    module = sys.modules["a_module_of_ours"] = ModuleType("a_module_of_ours")
    module.Mailer = Mailer
    try:
        assert load("a_module_of_ours:Mailer.other") is Mailer.other
    finally:
        del sys.modules["a_module_of_ours"]


def test_listens_takes_a_union_as_each_of_its_members():
    """D6: `@listens(A | B)` says what `bus.listen(A | B, f)` says."""

    @listens(KeyError | OSError)
    def heard(event: Exception) -> None: ...

    assert marks(heard)[0].events == (KeyError, OSError)
