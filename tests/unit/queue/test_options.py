"""How a listener is queued is read once, from its class or from `@listens`, and checked then."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import pytest
from attrs import frozen

from eventbus import EventBus, JobFailed, ShouldQueue, listens
from eventbus.defaults import DURATION_LIMIT
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.marking import marks
from eventbus.dispatch.targets import target_of
from eventbus.errors import InvalidOption, ListenError, UnknownOption
from eventbus.queue.options import (
    Method,
    QueueOptions,
    backoff_of,
    read_options,
    seconds,
    whole_tries,
)


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


def test_what_is_not_said_is_none_or_nothing():
    assert options_of(type("Silent", (Bare,), {"name": "silent"})) == QueueOptions(name="silent")


def test_a_callable_class_has_its_declared_name():
    @listens
    class Calling(ShouldQueue):
        name = "calling"

        def __call__(self, event: Shipped) -> None: ...

    options = read_options(
        Listener(event=Shipped, target=target_of((Calling, "__call__"), Shipped), options={})
    )

    assert options.name == "calling"


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

    said = "forgotten.*tries is for queued listeners.*Add queue=True, or queue="
    with pytest.raises(ListenError, match=said):
        options_of(forgotten)


def test_an_option_that_does_not_exist_is_named_with_the_one_that_was_meant():
    @listens(queue="emails", trys=3)
    def misspelt(event: Shipped) -> None: ...

    with pytest.raises(UnknownOption, match=r"^unknown option 'trys' for .*misspelt.*tries"):
        options_of(misspelt)


class Bounded(ShouldQueue):
    retry_until = timedelta(hours=1)
    max_exceptions = 3
    max_releases = 0
    fail_on_timeout = True
    no_retry = (ValueError, KeyError)
    discard_on_missing = True
    display_name = "Bounded, as a person calls it"

    @staticmethod
    def interrupted(signum: int) -> None: ...

    def handle(self, event: Shipped) -> None: ...


def test_what_bounds_a_job_is_read():
    """J11, J13, J15, K29, L15, J25, J26."""
    options = options_of(Bounded)
    assert (options.retry_until, options.max_exceptions, options.max_releases) == (3600.0, 3, 0)
    assert options.fail_on_timeout is options.discard_on_missing is True
    assert options.no_retry == (ValueError, KeyError)
    assert options.shown == options.display_name == "Bounded, as a person calls it"
    assert options.interrupted is Bounded.interrupted


def test_what_bounds_a_job_need_not_be_said():
    options = options_of(Bare)
    assert (options.retry_until, options.max_exceptions, options.max_releases) == (None,) * 3
    assert (options.fail_on_timeout, options.discard_on_missing, options.no_retry) == (
        None,
        None,
        (),
    )
    assert (options.interrupted, options.display_name) == (None, None)
    assert options.shown == f"{__name__}:Bare"


def test_one_class_of_errors_is_one_of_several():
    @listens(queue=True, name="once", no_retry=OSError)
    def once(event: Shipped) -> None: ...

    assert options_of(once).no_retry == (OSError,)


def test_a_deadline_is_seconds_an_aware_instant_or_a_rule():
    """J11."""
    instant = datetime(2030, 1, 1, tzinfo=UTC)

    class Ruled(Bare):
        name = "ruled"

        def retry_until(self, event: Shipped) -> datetime:
            return instant

    class Fixed(Bare):
        name = "fixed"
        retry_until = instant

    assert options_of(Fixed).retry_until == instant
    assert options_of(Ruled).retry_until == Method("retry_until")
    rule = lambda event: 5  # noqa: E731
    marked = listens(queue=True, name="by-rule", retry_until=rule)(plain_again)
    assert options_of(marked).retry_until is rule


def plain_again(event: Shipped) -> None: ...


@pytest.mark.parametrize(
    "attribute, meant",
    [
        ("time_out", "timeout"),
        ("timeOut", "timeout"),
        ("back_off", "backoff"),
        ("retryUntil", "retry_until"),
        ("maxExceptions", "max_exceptions"),
        ("failontimeout", "fail_on_timeout"),
        ("viaQueue", "via_queue"),
        ("shouldqueue", "should_queue"),
    ],
)
@pytest.mark.parametrize("inherited", [False, True])
def test_an_attribute_that_is_an_option_but_for_its_spelling_is_refused(
    attribute, meant, inherited
):
    misspelt = type("Misspelt", (Bare,), {"name": "misspelt", attribute: 3})
    listener = type("Child", (misspelt,), {"name": "child"}) if inherited else misspelt

    said = f"'{attribute}' is no option; '{meant}' is one.*if it is none, write _{attribute}"
    with pytest.raises(ListenError, match=said):
        options_of(listener)


@pytest.mark.parametrize(
    "attribute",
    [
        "names", "retries", "connections", "queues", "TIMEOUT", "Failed", "_time_out", "fail",
        "delayed", "tires", "mean", "failure", "interrupt", "alias", "handle_queue", "trie",
    ],
)  # fmt: skip
def test_an_attribute_of_its_own_may_be_like_an_option(attribute):
    listener = type("Own", (Bare,), {"name": "own", attribute: 3})

    assert options_of(listener).name == "own"


def test_who_gives_an_option_may_have_one_that_is_like_it():
    listener = type("Own", (Bare,), {"name": "own", "timeout": 5, "time_out": 3})

    assert options_of(listener).timeout == 5


async def interrupted_later(signum: int) -> None: ...


WRONG = {
    "retry_until": [-1, "soon", True, datetime(2030, 1, 1), timedelta(days=-1)],  # noqa: DTZ001
    "max_exceptions": [0, -1, 1.5, True, "3"],
    "max_releases": [-1, 1.5, True, "3"],
    "fail_on_timeout": [1, "yes"],
    "discard_on_missing": [0, "no"],
    "no_retry": [ValueError(), (ValueError, "KeyError"), (int,), "ValueError"],
    "display_name": ["", "a\nb", 7],
    "interrupted": ["interrupted", 15, interrupted_later],
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


#: What is asked for instead, where it is the same for all of an option's wrong values.
EXPECTED = {
    "max_exceptions": "a whole number >= 1",
    "max_releases": "a whole number >= 0",
    "fail_on_timeout": "True or False",
    "discard_on_missing": "True or False",
    "no_retry": "classes of errors: (ValueError, KeyError)",
    "display_name": "1 to 200 printable characters",
    "tries": "a whole number >= 0; 0 is no limit",
    "name": "1 to 200 printable characters",
    "should_queue": "callable",
    "via_queue": "callable",
    "failed": "callable",
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
        with pytest.raises(InvalidOption, match=f"^expected {option} of .+ to be ") as told:
            options_of(listener)

        assert (told.value.option, EXPECTED.get(option, "") in told.value.expected) == (
            option,
            True,
        )
        assert told.value.where.endswith(("function", "Listening", "Listening.handle"))


@pytest.mark.parametrize(
    "nameless, remedy",
    [
        (listens(queue=True)(lambda event: None), "Write a function with a name|Move it to"),
        (functools.partial(marked), "Write a function with a name"),
        (type("Local", (Bare,), {"__qualname__": "f.<locals>.Local"}), "Move it to its module"),
        (type("Script", (Bare,), {"__module__": "__main__"}), "Move it to a module that"),
    ],
    ids=["lambda", "partial", "local", "script"],
)
def test_what_a_worker_could_not_find_by_name_is_refused(nameless, remedy, monkeypatch):
    monkeypatch.setattr("sys.modules", {**__import__("sys").modules, "__main__": None})
    target = target_of(nameless, Shipped)

    with pytest.raises(ListenError, match=f"could not find it.*({remedy})"):
        read_options(Listener(event=Shipped, target=target, options={"queue": "emails"}))


def test_what_is_nearly_right_is_told_what_is_missing():
    for option, value, expected in [
        ("retry_until", datetime(2030, 1, 1), "an aware datetime, one with tzinfo"),  # noqa: DTZ001
        ("aliases", "shop:Old", r"names, such as \(\"shop:Old\",\)"),
        ("interrupted", interrupted_later, "a plain function, not an async one"),
    ]:
        by_mark = {"queue": True, option: value}

        with pytest.raises(InvalidOption, match=f"{option} of .*marked to be {expected}"):
            read_options(
                Listener(event=Shipped, target=target_of(marked, Shipped), options=by_mark)
            )


def test_the_least_and_the_longest_values_are_allowed():
    longest = "x" * 200
    least = {"max_exceptions": 1, "max_releases": 0, "tries": 0, "timeout": 0, "delay": 0}
    listener = type("Least", (Bare,), {"name": longest, "display_name": "x", **least})

    found = options_of(listener)

    assert (found.name, found.shown) == (longest, "x")
    assert {option: getattr(found, option) for option in least} == least


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


@listens(queue=True)
def answer(event: Shipped) -> bool:
    return False


@pytest.mark.parametrize("level, told", [("DEBUG", True), ("INFO", False)])
def test_who_debugs_is_told_that_a_declared_answer_goes_nowhere(caplog, level, told):
    """L2."""
    with caplog.at_level(level, logger="eventbus.dispatch"):
        EventBus().listen(answer)
        EventBus().listen(marked)

    assert ("declared to return bool" in caplog.text) is told
    assert "marked" not in caplog.text


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
