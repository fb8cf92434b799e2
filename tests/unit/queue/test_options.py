"""How a listener is queued is read once, from its class or from `@listens`, and checked then."""

from __future__ import annotations

import functools
from datetime import timedelta
from enum import StrEnum

import pytest
from attrs import frozen

from eventbus import EventBus, JobFailed, ShouldQueue, listens
from eventbus.defaults import DURATION_LIMIT
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.marking import marks
from eventbus.dispatch.targets import target_of
from eventbus.errors import InvalidOption, ListenError, UnknownOption
from eventbus.queue.options import Method, backoff_of, read_options, seconds, whole_tries


class Shipped:
    pass


class Lines(StrEnum):
    EMAILS = "emails"


def options_of(listener, event=Shipped):
    target = target_of(listener, event)
    own = marks(target.owner or target.function)
    options = own[0].options if own else {}
    return read_options(Listener(event=event, target=target, options=options))


def plain(event: Shipped) -> None: ...


@listens(queue="emails")
def marked(event: Shipped) -> None: ...


@listens(queue=True)
def marked_without_a_name(event: Shipped) -> None: ...


@listens(queue=True, name="send-mail", aliases=["shop:old"], tries=3, backoff=(1, 5), timeout=9)
def marked_in_full(event: Shipped) -> None: ...


class Bare(ShouldQueue):
    def handle(self, event: Shipped) -> None: ...


class Full(ShouldQueue):
    connection = "redis"
    queue = Lines.EMAILS
    delay = timedelta(minutes=1)
    tries = 5
    backoff = (1, timedelta(seconds=5), 30)
    timeout = 2.5
    name = "shop.full"
    aliases = ("shop:Older", "shop:Oldest")

    @staticmethod
    def should_queue(event: Shipped) -> bool:
        return True

    @classmethod
    def via_queue(cls, event: Shipped) -> str:
        return "static"

    def via_connection(self, event: Shipped) -> str:
        return "built"

    def handle(self, event: Shipped) -> None: ...

    def handle_other(self, event: Shipped) -> None: ...


class Ruled(ShouldQueue):
    def tries(self, event: Shipped) -> int:
        return 1

    @staticmethod
    def backoff(attempt: int, error: BaseException) -> float:
        return 1

    @classmethod
    def timeout(cls, event: Shipped) -> float:
        return 1

    def handle(self, event: Shipped) -> None: ...


def test_a_listener_that_nothing_marks_is_not_queued():
    assert options_of(plain) is None


def test_a_marked_function_says_its_queue():
    options = options_of(marked)
    assert (options.name, options.queue, options.connection) == (
        f"{__name__}:marked",
        "emails",
        None,
    )


def test_queue_true_is_the_connections_own_queue():
    assert options_of(marked_without_a_name).queue is None


def test_what_a_function_says_is_read_and_turned_into_seconds():
    options = options_of(marked_in_full)
    assert (options.name, options.aliases) == ("send-mail", ("shop:old",))
    assert (options.tries, options.backoff, options.timeout) == (3, (1.0, 5.0), 9.0)


def test_a_class_need_say_nothing():
    options = options_of(Bare)
    assert options.name == f"{__name__}:Bare"
    said = (options.connection, options.queue, options.delay, options.tries, options.backoff)
    assert said == (None,) * 5
    assert (options.timeout, options.should_queue, options.failed) == (None, None, None)


def test_what_a_class_says_is_read_and_turned_into_seconds():
    options = options_of(Full)
    assert (options.connection, options.queue, options.delay) == ("redis", "emails", 60.0)
    assert type(options.queue) is str
    assert (options.tries, options.backoff, options.timeout) == (5, (1.0, 5.0, 30.0), 2.5)
    assert options.aliases == ("shop:Older", "shop:Oldest")


def test_a_declared_name_is_the_classs_and_other_handlers_add_their_own():
    assert options_of(Full).name == "shop.full"
    assert options_of((Full, "handle_other")).name == "shop.full.handle_other"


def test_static_and_class_hooks_can_be_called_and_an_instance_method_is_only_named():
    options = options_of(Full)
    assert options.should_queue(Shipped()) is True
    assert options.via_queue(Shipped()) == "static"
    assert options.via_connection == "via_connection"
    assert options.with_delay is None


def test_a_rule_is_a_callable_or_the_name_of_an_instance_method():
    options = options_of(Ruled)
    assert options.tries == Method("tries")
    assert options.backoff(1, KeyError()) == 1
    assert options.timeout(Shipped()) == 1


def test_a_child_inherits_what_it_does_not_say():
    class Child(Full):
        tries = 7
        name = "child"

    options = options_of(Child)
    assert (options.tries, options.timeout, options.queue) == (7, 2.5, "emails")


def test_queue_options_without_a_queue_are_a_mistake():
    @listens(tries=3)
    def forgotten(event: Shipped) -> None: ...

    with pytest.raises(ListenError, match="tries is for queued listeners"):
        options_of(forgotten)


def test_an_option_that_does_not_exist_is_named_with_the_one_that_was_meant():
    @listens(queue="emails", trys=3)
    def misspelt(event: Shipped) -> None: ...

    with pytest.raises(UnknownOption, match="tries"):
        options_of(misspelt)


WRONG = {
    "queue": ["", "a b", 7, False],
    "connection": ["", "a b", 7],
    "delay": [-1, "1", float("nan"), float("inf"), True, DURATION_LIMIT * 2, lambda event: 1],
    "tries": [-1, 1.5, True, "3"],
    "backoff": [-1, "1", (), (1, -1), [None], b"10"],
    "timeout": [-1, "1", True, timedelta(seconds=-1)],
    "name": ["", "a\nb", "x" * 201, 7],
    "aliases": ["shop:Old", ("",), ("a\nb",), 7, {"a"}],
    "should_queue": [True, "name"],
    "via_queue": ["emails"],
    "via_connection": ["redis"],
    "with_delay": [5],
    "failed": ["failed"],
}


@pytest.mark.parametrize(
    "option, value", [(option, value) for option in WRONG for value in WRONG[option]]
)
def test_a_value_that_cannot_be_is_refused_when_registered(option, value):
    def function(event: Shipped) -> None: ...

    class Listening(ShouldQueue):
        name = "listening"

        def handle(self, event: Shipped) -> None: ...

    setattr(Listening, option, value)
    by_mark = {"queue": "emails", "name": "function", option: value}
    marking = listens(**by_mark)

    for listener in (marking(function), Listening):
        with pytest.raises(InvalidOption, match=option):
            options_of(listener)


@pytest.mark.parametrize(
    "nameless",
    [
        listens(queue=True)(lambda event: None),
        functools.partial(marked),
        type("Local", (Bare,), {"__qualname__": "f.<locals>.Local"}),
        type("Script", (Bare,), {"__module__": "__main__"}),
    ],
    ids=["lambda", "partial", "local", "script"],
)
def test_what_a_worker_could_not_find_by_name_is_refused(nameless, monkeypatch):
    monkeypatch.setattr("sys.modules", {**__import__("sys").modules, "__main__": None})
    target = target_of(nameless, Shipped)

    with pytest.raises(ListenError, match="could not find it"):
        read_options(Listener(event=Shipped, target=target, options={"queue": "emails"}))


def test_a_declared_name_makes_any_listener_findable():
    @listens(queue=True, name="local")
    def local(event: Shipped) -> None: ...

    assert options_of(local).name == "local"


def test_an_object_of_a_queued_class_is_refused_a_worker_builds_its_own():
    bus = EventBus()

    for listener in (Bare(), Bare().handle):
        with pytest.raises(ListenError, match="worker builds its own"):
            bus.listen(Shipped, listener)


def test_what_happens_to_jobs_cannot_be_queued_itself():
    class Endless(ShouldQueue):
        name = "endless"

        def handle(self, event: JobFailed) -> None: ...

    with pytest.raises(ListenError, match="would never end"):
        EventBus().listen(JobFailed, Endless)


def test_a_frozen_class_can_be_queued():
    @frozen
    class Frozen(ShouldQueue):
        name = "frozen"
        tries = 2
        mailer: object = None

        def handle(self, event: Shipped) -> None: ...

    assert options_of(Frozen).tries == 2


def test_durations_are_seconds():
    assert seconds(0, option="delay") == 0.0
    assert seconds(1.5, option="delay") == 1.5
    assert seconds(timedelta(minutes=2), option="delay") == 120.0
    assert seconds(DURATION_LIMIT, option="delay") == DURATION_LIMIT


def test_tries_and_backoff_are_checked_alone_too():
    assert (whole_tries(0), whole_tries(3)) == (0, 3)
    assert (backoff_of(2), backoff_of([1, timedelta(seconds=2)])) == (2.0, (1.0, 2.0))
