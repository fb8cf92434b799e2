"""M1 to M17: what the runs of queued listeners and jobs go through."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest
from attrs import frozen

from eventbus import Attempt, EventBus, Job, JobAttempted, ShouldQueue, listens
from eventbus.errors import InvalidOption, MiddlewareCannotWait, ReleasesExhausted
from eventbus.queue.lifecycle import JobReleased
from eventbus.queue.middleware import FailOn, Release, Skip
from eventbus.worker import Worker


@frozen
class Paid:
    number: int = 1


class Log(list):
    """What happened, in order."""


LOG = Log()


@pytest.fixture(autouse=True)
def log():
    LOG.clear()
    return LOG


def noting(name):
    def middleware(attempt, call_next):
        LOG.append(f"before {name}")
        try:
            return call_next()
        finally:
            LOG.append(f"after {name}")

    return middleware


class Async:
    """An async one, with a name."""

    def __init__(self, name: str = "async") -> None:
        self.name = name

    async def __call__(self, attempt, call_next):
        LOG.append(f"before {self.name}")
        await asyncio.sleep(0)
        answer = await call_next()
        LOG.append(f"after {self.name}")
        return answer


class Built:
    """One that the bus builds, with what it asks for."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def __call__(self, attempt: Attempt, call_next):
        self.log.append(("built", attempt.name, attempt.number, attempt.arguments))
        return call_next()


def stopping(attempt, call_next):
    LOG.append("stopped")


@pytest.fixture
def bus():
    with EventBus(
        connections={"default": "memory://", "sync": "sync://"}, provide={Log: lambda: LOG}
    ) as bus:
        yield bus


@pytest.fixture
def outcomes(bus):
    found = []
    bus.listen(JobAttempted, lambda event: found.append(event.outcome.value))
    return found


def work(bus, **options):
    return Worker(bus, stop_when_empty=True, **options).run()


def ran_job(bus, *middleware, is_async=False, **options):
    """Run a job that goes through `middleware`; return its handle."""

    class Runs(Job, name="runs", middleware=list(middleware), keep_result=60, **options):
        if is_async:

            async def handle(self) -> str:
                await asyncio.sleep(0)
                LOG.append("ran")
                return "answer"

        else:

            def handle(self) -> str:
                LOG.append("ran")
                return "answer"

    handle = bus.enqueue(Runs())
    work(bus)
    return handle


@pytest.mark.parametrize("is_async", [False, True])
def test_the_first_is_outermost(bus, log, is_async):
    """M1 M3: around sync and async jobs; the answer comes through."""
    handle = ran_job(bus, Async("a"), Async("b"), is_async=is_async)

    assert log == ["before a", "before b", "ran", "after b", "after a"]
    assert handle.result() == "answer"


def test_functions_objects_and_classes_may_be_mixed(bus, log):
    """M1: a class is built as a listener is."""
    ran_job(bus, Async("a"), noting("b"), Built, Skip.when(False), FailOn(KeyError))

    [built] = [one for one in log if isinstance(one, tuple)]
    assert built[:3] == ("built", "runs", 1)
    assert type(built[3][0]).__name__ == "Runs"
    assert [one for one in log if one != built] == [
        "before a", "before b", "ran", "after b", "after a",
    ]  # fmt: skip


def test_what_it_returns_is_the_answer(bus):
    def shouting(attempt, call_next):
        return call_next().upper()

    assert ran_job(bus, shouting).result() == "ANSWER"


def test_one_that_does_not_go_on_skips_the_job(bus, log, outcomes):
    """M4"""
    handle = ran_job(bus, noting("a"), stopping, noting("c"))

    assert log == ["before a", "stopped", "after a"]
    assert outcomes == ["skipped"]
    assert handle.status().value == "gone"


def test_one_may_settle_the_job(bus, log, outcomes):
    def failing(attempt, call_next):
        attempt.fail("not today")

    handle = ran_job(bus, failing)

    assert (log, outcomes) == ([], ["failed"])
    assert "not today" in bus.failed.find(handle.id).error


def test_one_may_go_on_again(bus, log):
    def twice(attempt, call_next):
        call_next()
        return call_next()

    ran_job(bus, twice)

    assert log == ["ran", "ran"]


def test_what_it_raises_is_the_error_of_the_job(bus, log, outcomes):
    """M17: in a try of the job, with its backoff."""

    def raising(attempt, call_next):
        if attempt.number == 1:
            raise ValueError("first")
        return call_next()

    ran_job(bus, raising, tries=2)

    assert (log, outcomes) == (["ran"], ["released", "succeeded"])


def is_true(_):
    return True


async def is_true_later(_):
    await asyncio.sleep(0)
    return True


@pytest.mark.parametrize("inner", [Async(), Skip.when(is_true_later)], ids=["async", "condition"])
def test_a_sync_one_around_what_waits_is_an_error_that_says_so(bus, inner):
    handle = ran_job(bus, noting("a"), inner)

    error = bus.failed.find(handle.id).error
    assert "is sync, and what it goes on to is async" in error
    assert "async def __call__" in error


def test_a_sync_one_that_returns_what_nobody_awaited_is_an_error_and_no_skip(bus, log, outcomes):
    def calls_another(attempt, call_next):
        return Async()(attempt, call_next)

    handle = ran_job(bus, calls_another)

    assert (log, outcomes) == ([], ["failed"])
    assert "async def __call__" in bus.failed.find(handle.id).error


def test_a_sync_one_around_an_async_job_is_an_error_that_says_so(bus):
    handle = ran_job(bus, noting("a"), is_async=True)

    assert MiddlewareCannotWait.__name__ in bus.failed.find(handle.id).error


class Told(ShouldQueue):
    middleware = (noting("a"), Built)

    def handle(self, event: Paid) -> None:
        LOG.append(("told", event.number))


class Ruled(ShouldQueue):
    def middleware(self, event):
        return [noting(f"ruled {event.number}")]

    def handle(self, event: Paid) -> None:
        LOG.append("told")


@listens(Paid, queue=True, middleware=[Skip.when(lambda event: event.number > 1)])
def remind(event: Paid) -> None:
    LOG.append(("reminded", event.number))


@listens("paid.*", queue=True, middleware=[Skip.unless(lambda name, payload: payload == [1])])
def note_all(name: str, payload: list[int]) -> None:
    LOG.append((name, payload))


def test_listeners_have_it(bus, log):
    """M14 L10"""
    bus.listen(Paid, Told)
    bus.dispatch(Paid(7))
    work(bus)

    assert log[0] == "before a"
    assert log[1][0] == "built"
    assert log[1][3] == (Paid(7),)
    assert log[2:] == [("told", 7), "after a"]


def test_a_method_says_it_for_each_event(bus, log):
    """M2"""
    bus.listen(Paid, Ruled)
    bus.dispatch(Paid(7))
    work(bus)

    assert log == ["before ruled 7", "told", "after ruled 7"]


def test_functions_say_it_with_listens(bus, log):
    bus.listen(Paid, remind)
    bus.listen("paid.*", note_all)
    for number in (1, 2):
        bus.dispatch(Paid(number))
        bus.dispatch("paid.once", number)
    work(bus)

    assert [one for one in log if one[0] == "reminded"] == [("reminded", 1)]


def test_it_is_there_on_a_sync_connection_and_when_a_job_is_run_at_once(bus, log):
    """M16"""

    class Runs(Job, middleware=[noting("a")], name="at once"):
        def handle(self) -> int:
            LOG.append("ran")
            return 3

    bus.enqueue(Runs(), connection="sync")
    assert bus.run(Runs()) == 3
    assert log == ["before a", "ran", "after a"] * 2


def test_a_sync_connection_skips_too(bus, log, outcomes):
    class Runs(Job, middleware=[stopping], name="skips"):
        def handle(self) -> int:
            return 3

    assert bus.run(Runs()) is None
    assert (log, outcomes) == (["stopped"], ["skipped"])


def test_what_it_needs_is_closed_with_the_scope_of_the_job(log):
    @contextmanager
    def opened():
        LOG.append("opened")
        yield Resource()
        LOG.append("closed")

    def provided():
        with opened() as resource:
            yield resource

    class Needs:
        def __init__(self, resource: Resource) -> None: ...

        def __call__(self, attempt, call_next):
            return call_next()

    with EventBus(connections={"default": "memory://"}, provide={Resource: provided}) as bus:
        ran_job(bus, Needs)

    assert log == ["opened", "ran", "closed"]


class Resource: ...


@pytest.mark.parametrize("condition", [True, is_true, is_true_later, lambda job: job])
@pytest.mark.parametrize(
    "middleware, outcome",
    [(Skip.when, "skipped"), (Skip.unless, "succeeded"),
     (Release.when, "released"), (Release.unless, "succeeded")],
    ids=["skip when", "skip unless", "release when", "release unless"],
)  # fmt: skip
def test_a_condition_decides(bus, outcomes, condition, middleware, outcome):
    """M10 M11"""
    ran_job(bus, middleware(condition), max_releases=0 if outcome == "released" else None)

    assert outcomes == ["failed" if outcome == "released" else outcome]


def test_what_is_released_waits_and_spends_no_try(bus, log, outcomes):
    """M11"""
    delays, asked = [], []
    bus.listen(JobReleased, lambda event: delays.append(event.delay))

    def is_early(job):
        asked.append(job)
        return len(asked) < 3

    ran_job(bus, Release.when(is_early, delay=0.01), max_releases=2)
    while bus.connections.port().next_due(["default"]) is not None:
        work(bus)

    assert (log, outcomes, delays) == (["ran"], ["released", "released", "succeeded"], [0.01, 0.01])


def test_releases_are_bounded(bus):
    handle = ran_job(bus, Release.when(True), max_releases=2)
    assert ReleasesExhausted.__name__ in bus.failed.find(handle.id).error


class DeniedError(KeyError): ...


@pytest.mark.parametrize(
    "middleware, tries",
    [
        (FailOn(KeyError), 1),
        (FailOn(ValueError, LookupError), 1),
        (FailOn(lambda error: isinstance(error, DeniedError)), 1),
        (FailOn(ValueError), 3),
        (FailOn(lambda error: "yes"), 3),
    ],
)
def test_some_errors_fail_a_job_whatever_tries_are_left(bus, log, middleware, tries):
    """M12: a function has to return exactly True."""

    class Raises(Job, name="raises", tries=3, middleware=[middleware]):
        def handle(self) -> None:
            LOG.append("tried")
            raise DeniedError("no")

    handle = bus.enqueue(Raises())
    work(bus)

    assert log == ["tried"] * tries
    assert "DeniedError" in bus.failed.find(handle.id).error


@pytest.mark.parametrize("concurrency", [None, 2])
def test_it_is_the_same_among_many_on_one_loop(bus, log, concurrency):
    options = {"concurrency": concurrency} if concurrency else {}

    class Waits(Job, name="waits", middleware=[Async("a"), Skip.when(lambda job: job.skip)]):
        skip: bool

        async def handle(self) -> None:
            LOG.append("ran")

    for skip in (True, False):
        bus.enqueue(Waits(skip))
    work(bus, **options)

    assert sorted(log) == ["after a", "after a", "before a", "before a", "ran"]


def test_an_async_one_that_takes_too_long_is_cancelled(bus, outcomes):
    class Hangs:
        async def __call__(self, attempt, call_next):
            await asyncio.Event().wait()

    handle = ran_job(bus, Hangs(), timeout=0.05)
    assert outcomes == ["failed"]
    assert "ListenerTimeout" in bus.failed.find(handle.id).error


@pytest.mark.parametrize("wrong", ["a", [1], Async(), {"a": 1}, [None]])
def test_what_is_no_list_of_middleware_is_refused(wrong):
    with pytest.raises(InvalidOption, match="middleware"):

        class Wrong(Job, middleware=wrong):
            def handle(self) -> None: ...


def test_a_method_that_says_nonsense_fails_its_job(bus):
    class Nonsense(Job, name="nonsense"):
        def middleware(self):
            return "a"

        def handle(self) -> None: ...

    handle = bus.enqueue(Nonsense())
    work(bus)
    assert "a list of functions" in bus.failed.find(handle.id).error


@pytest.mark.parametrize("wrong", [(), (1,), (int,), ("a",)])
def test_what_fails_a_job_are_errors_or_functions(wrong):
    with pytest.raises(InvalidOption, match="FailOn"):
        FailOn(*wrong)


def test_a_delay_is_a_duration():
    with pytest.raises(InvalidOption, match="delay"):
        Release.when(True, delay=-1)
    with pytest.raises(InvalidOption, match="delay"):
        Release.unless(True, delay="soon")
