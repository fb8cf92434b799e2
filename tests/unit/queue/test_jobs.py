"""Classes of jobs: their fields, and the options that their class keywords say."""

from __future__ import annotations

import abc
import pickle
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Generic, TypeVar

import attrs
import pytest

from eventbus import Attempt, InteractsWithQueue
from eventbus.errors import InvalidJob, InvalidOption, UnknownOption
from eventbus.queue.jobs import Job, job_target, names_of, read_job, stored_name
from eventbus.queue.options import Method, QueueOptions
from eventbus.queue.retry import exponential

HERE = __name__


class Store: ...


class ProcessPodcast(Job, queue="podcasts", tries=3):
    podcast_id: int
    tags: tuple[str, ...] = ()

    def handle(self, store: Store) -> None: ...


class Said(
    Job,
    name="said",
    aliases=["was.said"],
    display_name="Said so",
    connection="slow",
    queue="later",
    delay=timedelta(minutes=1),
    backoff=(1, 5),
    timeout=30,
    retry_until=60,
    max_exceptions=2,
    max_releases=0,
    fail_on_timeout=True,
    no_retry=KeyError,
    discard_on_missing=True,
):
    def handle(self) -> None: ...


class Ruled(Job, name="ruled", retry_until=lambda: 60, backoff=exponential(1)):
    size: int = 1

    def tries(self) -> int:
        return self.size

    @staticmethod
    def timeout() -> float:
        return 2.5

    def should_queue(self) -> bool:
        return True

    @classmethod
    def via_queue(cls) -> str:
        return "ruled"

    def failed(self, error: BaseException) -> None: ...

    def handle(self) -> None: ...


class Parent(Job, queue="parents", tries=5, name="parent", aliases=("old",)):
    number: int

    def handle(self) -> str:
        return f"{type(self).__name__} {self.number}"


class Child(Parent, tries=None, timeout=9):
    more: str = ""


def test_a_job_is_a_frozen_attrs_class_of_its_fields():
    job = ProcessPodcast(17, tags=("new",))

    assert attrs.has(ProcessPodcast)
    assert repr(job) == "ProcessPodcast(podcast_id=17, tags=('new',))"
    assert job == ProcessPodcast(podcast_id=17, tags=("new",)) != ProcessPodcast(18)
    assert hash(job) == hash(ProcessPodcast(17, ("new",)))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        job.podcast_id = 1  # type: ignore[misc]
    with pytest.raises(TypeError, match="podcast_id"):
        ProcessPodcast()


def test_a_job_is_the_class_that_was_written_and_can_be_pickled():
    class Sees(Job, name="sees"):
        number: int = 1

        def handle(self) -> type:
            return __class__

    assert Sees().handle() is Sees
    assert pickle.loads(pickle.dumps(ProcessPodcast(17))) == ProcessPodcast(17)


def test_what_attrs_offers_for_a_field_holds_for_a_job():
    class Sized(Job, name="sized"):
        kind: ClassVar[str] = "none of its fields"
        size: int = attrs.field(converter=int, validator=attrs.validators.gt(0))
        names: list[str] = attrs.field(factory=list, kw_only=True)

    assert Sized("3") == Sized(3, names=[])
    with pytest.raises(ValueError, match="size"):
        Sized(0)


def test_options_are_class_keywords_and_read_as_those_of_a_listener():
    assert read_job(ProcessPodcast) == QueueOptions(
        name=f"{HERE}:ProcessPodcast", queue="podcasts", tries=3
    )
    assert read_job(Said) == QueueOptions(
        name="said",
        aliases=("was.said",),
        display_name="Said so",
        connection="slow",
        queue="later",
        delay=60.0,
        backoff=(1.0, 5.0),
        timeout=30.0,
        retry_until=60.0,
        max_exceptions=2,
        max_releases=0,
        fail_on_timeout=True,
        no_retry=(KeyError,),
        discard_on_missing=True,
    )


def test_rules_and_hooks_are_asked_of_the_job_in_whatever_form_they_are_said():
    assert read_job(Ruled) == QueueOptions(
        name="ruled",
        tries=Method("tries"),
        backoff=Method("backoff"),
        timeout=Method("timeout"),
        retry_until=Method("retry_until"),
        should_queue="should_queue",
        via_queue="via_queue",
        failed="failed",
    )
    job = Ruled(7)
    assert (job.tries(), job.timeout(), job.retry_until(), job.backoff(2, KeyError())) == (
        7, 2.5, 60, 2.0,
    )  # fmt: skip


def test_options_and_fields_are_inherited_and_said_anew_but_names_are_not():
    assert read_job(Parent).aliases == ("old",)
    assert read_job(Child) == QueueOptions(
        name=f"{HERE}:Child", queue="parents", tries=None, timeout=9.0
    )
    assert Child(1, "x") == Child(number=1, more="x")
    assert Child(1).handle() == "Child 1"


def test_a_method_of_a_child_wins_over_the_keyword_of_its_parent():
    class Grown(Parent, name="grown"):
        def tries(self) -> int:
            return 2

    assert read_job(Grown).tries == Method("tries")


def test_an_instant_until_which_it_is_tried_must_have_a_zone():
    until = datetime(2027, 1, 1, tzinfo=UTC)

    class Until(Job, name="until", retry_until=until): ...

    assert read_job(Until).retry_until == until
    with pytest.raises(InvalidOption, match="aware"):

        class Naive(Job, retry_until=datetime(2027, 1, 1)): ...  # noqa: DTZ001 -- the point


def test_a_keyword_that_is_no_option_is_refused_and_the_right_one_is_named():
    with pytest.raises(UnknownOption, match=r"'tires'.*did you mean 'tries'"):

        class Misspelt(Job, tires=3): ...  # type: ignore[call-arg]


@pytest.mark.parametrize("hook", ["failed", "should_queue", "via_queue"])
def test_a_hook_is_a_method_and_no_keyword(hook: str):
    with pytest.raises(UnknownOption, match=hook):
        type("Hooked", (Job,), {}, **{hook: print})


@pytest.mark.parametrize(
    "option, value",
    [
        ("queue", "no spaces"),
        ("queue", 3),
        ("connection", ""),
        ("delay", -1),
        ("tries", "three"),
        ("backoff", ()),
        ("timeout", "long"),
        ("max_exceptions", 0),
        ("max_releases", -1),
        ("fail_on_timeout", 1),
        ("no_retry", "KeyError"),
        ("discard_on_missing", "yes"),
        ("name", ""),
        ("display_name", 3),
        ("aliases", "one"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_class_statement(option: str, value: object):
    with pytest.raises(InvalidOption, match=f"{option} of {HERE}:Wrong"):
        type("Wrong", (Job,), {"__module__": HERE}, **{option: value})


@pytest.mark.parametrize("field", ["queue", "name", "timeout", "failed", "handle", "prepare"])
def test_a_field_with_the_name_of_an_option_or_hook_is_refused(field: str):
    with pytest.raises(InvalidJob, match=f"its field '{field}'"):
        type("Hidden", (Job,), {"__annotations__": {field: str}})


def test_a_field_that_would_hide_the_attempt_is_refused_where_there_is_one():
    class Free(Job, name="free"):
        attempt: int

    assert Free(1).attempt == 1
    with pytest.raises(InvalidJob, match="'attempt'"):

        class Hidden(Job, InteractsWithQueue):
            attempt: int  # type: ignore[assignment]


def test_a_job_that_interacts_with_its_queue_has_no_field_of_that():
    class Asks(Job, InteractsWithQueue, name="asks"):
        number: int

    attempt = Attempt(id="a", name="asks", connection="c", queue="q", number=1)
    assert Asks(1).with_attempt(attempt).attempt is attempt
    assert [one.name for one in attrs.fields(Asks)] == ["number"]


def test_what_attrs_refuses_is_an_error_of_ours():
    with pytest.raises(InvalidJob, match="No mandatory attributes allowed"):

        class Ordered(Job):
            first: int = 1
            second: str

    with pytest.raises(InvalidJob, match="Annotate each field"):

        class Bare(Job):
            first = attrs.field()


def test_a_decorator_that_makes_the_class_anew_is_refused():
    with pytest.raises(InvalidJob, match="take the decorator away"):

        @dataclass(slots=True)
        class Twice(Job, name="twice"):
            number: int


def test_the_stored_name_is_that_of_the_class_unless_it_says_one():
    assert stored_name(ProcessPodcast) == f"{HERE}:ProcessPodcast"
    assert stored_name(Said) == "said"
    assert names_of(Said) == ("said", "was.said")


def test_a_class_that_no_worker_could_find_needs_a_name():
    class Local(Job):
        def handle(self) -> None: ...

    script = type("Script", (Job,), {"__module__": "__main__"})

    for cls, remedy in ((Local, 'name="send"'), (script, "Move it to a module")):
        with pytest.raises(InvalidJob, match=remedy):
            read_job(cls)
        assert names_of(cls) == ()


def test_its_handle_is_what_runs_it_and_may_be_inherited():
    target = job_target(Child)

    assert target.function is Parent.handle
    assert (target.name, target.is_async) == (f"{HERE}:Child", False)


def test_an_async_handle_is_known_as_such():
    class Fetch(Job, name="fetch"):
        async def handle(self) -> None: ...

    assert job_target(Fetch).is_async


def test_a_class_without_a_handle_of_its_own_cannot_run():
    class Nothing(Job, name="nothing"): ...

    class Abstract(Job, abc.ABC, name="abstract"):
        @abc.abstractmethod
        def size(self) -> int: ...

        def handle(self) -> None: ...

    class Static(Job, name="static"):
        @staticmethod
        def handle() -> None: ...

    for cls, reason in (
        (Nothing, "it has no handle"),
        (Abstract, "it is abstract"),
        (Static, "not a method"),
    ):
        with pytest.raises(InvalidJob, match=reason):
            job_target(cls)


def test_a_parameter_of_handle_that_nothing_explains_is_refused():
    class Unhinted(Job, name="unhinted"):
        def handle(self, store) -> None: ...

    class Later(Job, name="later"):
        def handle(self, store: NotYetThere, times: int = 1) -> None: ...  # noqa: F821

    with pytest.raises(InvalidJob, match="parameter 'store'"):
        job_target(Unhinted)
    assert job_target(Later).function is Later.handle


def test_a_job_may_be_generic():
    T = TypeVar("T")

    class Import(Job, Generic[T]):
        rows: list[T]

    class ImportNumbers(Import[int], name="numbers"):
        def handle(self) -> int:
            return len(self.rows)

    assert ImportNumbers([1, 2]).handle() == 2
