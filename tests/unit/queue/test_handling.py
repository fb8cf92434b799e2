"""A listener is called for its job; a signal reaches the one that runs; what leaves it is its own."""

from __future__ import annotations

import signal
import threading

import pytest
from attrs import frozen

from eventbus import (
    Attempt,
    JobAttempted,
    JobExceptionOccurred,
    JobFailed,
    JobProcessing,
    JobReleased,
    ShouldQueue,
    listens,
)
from eventbus.dispatch.waiting import drive
from eventbus.errors import JobInterrupted, ListenerTimeout
from eventbus.queue.execution import Rules
from eventbus.queue.lifecycle import Outcome


@frozen
class Ordered:
    way: str = ""


class Seen(list):
    """What listeners note, by injection."""


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def bus_of(make_bus, seen):
    return lambda *listeners, **options: make_bus(
        *listeners, provide={Seen: lambda: seen}, **options
    )


@pytest.fixture
def begin():
    """Claim the next job; return its executor and its run, begun."""

    def begin(bus, limits=None, **rules):
        port = bus.connections.port()
        [claim] = port.claim(["default"])
        executor = bus.executor(Rules(**rules), limits)
        return executor, executor.begin(claim, port)

    return begin


# A signal.


class Interruptible(ShouldQueue):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.stop = threading.Event()
        seen.append(self)

    def handle(self, event: Ordered) -> None:
        self.seen.append("running")
        if event.way != "deaf":
            assert self.stop.wait(20)

    def interrupted(self, signum: int) -> None:
        self.seen.append(("interrupted", signum))
        self.stop.set()


class Raising(Interruptible):
    name = "raising"

    def interrupted(self, signum: int) -> None:
        Interruptible.interrupted(self, signum)
        raise SystemExit


@pytest.mark.parametrize("listener", [Interruptible, Raising])
def test_the_running_listener_is_told_of_a_signal_by_another_thread(
    bus_of, begin, seen, listener, caplog
):
    """J26."""
    bus = bus_of(listener)
    bus.dispatch(Ordered())
    executor, execution = begin(bus)
    thread = threading.Thread(target=lambda: drive(executor.run(execution), bus))
    thread.start()
    while "running" not in seen:
        threading.Event().wait(0.001)

    executor.interrupt(signal.SIGTERM)
    thread.join(20)

    assert seen[2] == ("interrupted", signal.SIGTERM)
    assert execution.outcome is Outcome.SUCCEEDED
    assert ("interrupted() of" in caplog.text) == (listener is Raising)


@listens(queue=True)
def interrupt_itself(event: Ordered, attempt: Attempt) -> None:
    signal.raise_signal(signal.SIGUSR1)


def test_the_running_listener_is_told_in_a_signals_handler(bus_of, begin, monkeypatch):
    """J26: a function has a hook of its own, given to @listens."""
    told = []
    listener = listens(Ordered, queue=True, name="f", interrupted=told.append)(interrupt_itself)
    bus = bus_of(listener)
    bus.dispatch(Ordered())
    executor, execution = begin(bus)
    before = signal.signal(signal.SIGUSR1, lambda number, _: executor.interrupt(number))
    try:
        drive(executor.run(execution), bus)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert told == [signal.SIGUSR1]


@pytest.mark.parametrize("plain", [False, True])
def test_a_listener_that_does_not_run_is_told_nothing(bus_of, begin, plain):
    told = []

    @listens(queue=True, name="f", interrupted=told.append)
    def scoped(event: Ordered, attempt: Attempt) -> None: ...

    @listens(queue=True, name="f", interrupted=told.append)
    def plainly(event: Ordered) -> None: ...

    bus = bus_of(plainly if plain else scoped)
    bus.dispatch(Ordered())
    executor, execution = begin(bus)

    executor.interrupt(15)
    drive(executor.run(execution), bus)
    executor.interrupt(15)

    assert told == []


class StillBuilt(ShouldQueue):
    """A signal comes while it is being built."""

    def __init__(self, seen: Seen) -> None:
        seen[0].interrupt(15)

    def handle(self, event: Ordered) -> None: ...

    def interrupted(self, signum: int) -> None:
        raise AssertionError


def test_a_listener_that_is_still_being_built_is_told_nothing(bus_of, begin, seen, caplog):
    bus = bus_of(StillBuilt)
    bus.dispatch(Ordered())
    executor, execution = begin(bus)
    seen.append(executor)

    drive(executor.run(execution), bus)

    assert execution.outcome is Outcome.SUCCEEDED
    assert caplog.text == ""


# What is raised to leave the program.


class Mailer:
    pass


@listens(queue=True)
def need_a_mailer(event: Ordered, mailer: Mailer) -> None: ...


async def leave_later() -> Mailer:
    raise GeneratorExit


def leave() -> Mailer:
    raise GeneratorExit


async def leave_at_the_end():
    yield Mailer()
    raise GeneratorExit


@pytest.mark.parametrize("factory", [leave_later, leave, leave_at_the_end])
def test_a_factory_that_leaves_with_generator_exit_fails_its_job(make_bus, begin, factory):
    """F8."""
    bus = make_bus(need_a_mailer, provide={Mailer: factory})
    bus.dispatch(Ordered())
    executor, execution = begin(bus)

    drive(executor.run(execution), bus)

    assert execution.outcome is Outcome.FAILED
    assert isinstance(execution.error, GeneratorExit)
    assert len(bus.failed.all()) == 1


@listens(queue=True, tries=2)
def leave_plainly(event: Ordered) -> None:
    raise GeneratorExit


def test_a_function_that_leaves_with_generator_exit_fails_its_try(bus_of, begin):
    """F8."""
    bus = bus_of(leave_plainly)
    bus.dispatch(Ordered())

    outcomes = []
    for _ in range(2):
        executor, execution = begin(bus)
        outcomes.append(drive(executor.run(execution), bus).outcome)

    assert outcomes == ["released", "failed"]


class FalseError(Exception):
    def __bool__(self) -> bool:
        return False


def test_an_error_that_counts_as_false_is_an_error(bus_of, begin):
    def work(event: Ordered, attempt: Attempt) -> None:
        raise FalseError

    bus = bus_of(listens(Ordered, queue=True, name="false")(work))
    bus.dispatch(Ordered())
    executor, execution = begin(bus)

    assert drive(executor.run(execution), bus).outcome is Outcome.FAILED


class UnbuiltRule(ShouldQueue):
    tries = 3

    def __init__(self) -> None:
        raise ConnectionError

    def backoff(self, attempt: int, error: BaseException) -> float:
        raise AssertionError

    def handle(self, event: Ordered) -> None: ...


def test_the_rule_of_a_listener_that_cannot_be_built_is_not_asked(bus_of, begin):
    bus = bus_of(UnbuiltRule)
    bus.dispatch(Ordered())
    executor, execution = begin(bus, backoff=7.0)

    drive(executor.run(execution), bus)

    assert (execution.outcome, execution.delay) == (Outcome.RELEASED, 7)


# Limits.


class Watched:
    """Notes for whom a limit was set."""

    def __init__(self):
        self.seen = []

    def change(self, span, limit):
        span.limit = limit

    def running(self, span, work):
        self.seen.append(span)
        return work()

    def waiting(self, span, work):
        self.seen.append(span)
        return work


@pytest.mark.parametrize(
    "options, limit",
    [({}, 60), ({"timeout": 5}, 5), ({"timeout": 0}, 0), ({"timeout": lambda event: 7}, 7)],
    ids=["worker's", "own", "none", "rule"],
)
def test_a_limit_is_set_for_every_listener_by_the_name_it_is_shown_by(
    bus_of, begin, options, limit
):
    """J12, J25."""

    @listens(queue=True, name="f", display_name="The f", **options)
    def work(event: Ordered) -> None: ...

    watched = Watched()
    bus = bus_of(work)
    bus.dispatch(Ordered())
    executor, execution = begin(bus, watched)

    drive(executor.run(execution), bus)

    reading, running = watched.seen
    assert (running.name, running.limit, running.follows) == ("The f", limit, False)
    assert (reading.name, reading.limit) == (
        "The f",
        60 if callable(options.get("timeout")) else limit,
    )
    assert (execution.shown, execution.attempt.name) == ("The f", "f")


class Unit:
    pass


class Noting(Watched):
    """Notes what user code runs under which limit."""

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def running(self, span, work):
        self.notes.append(f"[{span.name}{'+' if span.follows else ''} {span.limit:g}")
        try:
            return super().running(span, work)
        finally:
            self.notes.append("]")


class Committing(ShouldQueue):
    name = "committing"
    tries = 2

    def __init__(self, unit: Unit, seen: Seen) -> None:
        self.seen = seen
        seen.append("built")

    def handle(self, event: Ordered) -> None:
        self.seen.append("handled")
        if event.way:
            raise ValueError

    def failed(self, event: Ordered, error: BaseException) -> None:
        self.seen.append("failed()")

    def backoff(self, attempt: int, error: BaseException) -> float:
        self.seen.append("backoff")
        return 0.0


@pytest.fixture
def run_noting(make_bus, begin, seen):
    """Run a job of `Committing`, and return what was noted without its reading."""

    def unit():
        try:
            yield Unit()
        except ValueError:
            seen.append("rolled back")
            raise
        seen.append("committed")

    bus = make_bus(Committing, provide={Seen: lambda: seen, Unit: unit})

    def run(*ways, **rules):
        for way in ways:
            bus.dispatch(Ordered(way))
        for _ in ways:
            seen.clear()
            executor, execution = begin(bus, Noting(seen), **rules)
            seen.clear()
            drive(executor.run(execution), bus)
        return list(seen)

    run.bus = bus
    return run


def test_one_limit_is_for_what_is_built_for_the_listener_and_the_commit(run_noting):
    assert run_noting("", timeout=7.0) == [
        "[committing 7", "built", "handled", "committed", "]",
    ]  # fmt: skip


def test_what_follows_a_run_that_raised_has_the_limit_each(run_noting):
    for kind in (JobProcessing, JobExceptionOccurred, JobReleased, JobFailed, JobAttempted):
        run_noting.bus.listen(kind, lambda event: None)

    first = [one for one in run_noting("raise", timeout=7.0) if one != "]"]
    second = [one for one in run_noting("raise", timeout=7.0) if one != "]"]

    run = [
        "[a listener of JobProcessing+ 7",
        "[committing 7", "built", "handled",
        "[what committing needed, as it was closed,+ 7", "rolled back",
        "[backoff of committing+ 7", "backoff",
        "[a listener of JobExceptionOccurred+ 7",
    ]  # fmt: skip
    last = "[a listener of JobAttempted+ 7"
    assert first == [*run, "[a listener of JobReleased+ 7", last]
    assert second == [*run[:-2], run[-1], *(
        "[a listener of JobFailed+ 7",
        "[failed() of committing+ 7", "built", "failed()", "committed", last,
    )]  # fmt: skip


@pytest.mark.parametrize("option", ["timeout", "tries"])
def test_a_rule_is_asked_within_the_limit_of_its_run(bus_of, begin, seen, option):
    def rule(event: Ordered) -> int:
        seen.append("asked")
        return 5

    @listens(queue=True, name="ruled", **{option: rule})
    def ruled(event: Ordered) -> None:
        seen.append("handled")

    bus = bus_of(ruled)
    bus.dispatch(Ordered())
    executor, execution = begin(bus, Noting(seen), timeout=7.0)
    seen.clear()

    drive(executor.run(execution), bus)

    assert seen == ["[ruled 7", "asked", "handled", "]"]
    assert execution.limit == (5 if option == "timeout" else 7)


class Overrun(Watched):
    """Ends the spans that have `what` in their names, once their code has run."""

    def __init__(self, what, error=None):
        super().__init__()
        self.what = what
        self.error = error

    def running(self, span, work):
        try:
            return work()
        finally:
            if self.what in span.name:
                raise self.error or ListenerTimeout(listener=span.name, seconds=span.limit)


@pytest.mark.parametrize(
    "error", [None, JobInterrupted(listener="backoff", reason="the worker had to stop")]
)
def test_where_a_rule_of_waiting_overruns_the_workers_own_holds(run_noting, begin, caplog, error):
    run_noting.bus.dispatch(Ordered("raise"))
    executor, execution = begin(run_noting.bus, Overrun("backoff", error), backoff=9.0)

    drive(executor.run(execution), run_noting.bus)

    assert (execution.outcome, execution.delay, execution.charge) == ("released", 9.0, "error")
    assert isinstance(execution.error, ValueError)
    assert "the run goes on: backoff" in caplog.text


@pytest.mark.parametrize("what", ["as it was closed", "a listener of JobAttempted"])
def test_what_follows_a_run_and_overruns_is_logged_and_changes_nothing(
    run_noting, begin, caplog, what
):
    run_noting.bus.dispatch(Ordered("raise"))
    run_noting.bus.listen(JobAttempted, lambda event: None)
    executor, execution = begin(run_noting.bus, Overrun(what), timeout=7.0)

    drive(executor.run(execution), run_noting.bus)

    assert execution.outcome is Outcome.RELEASED
    assert isinstance(execution.error, ValueError)
    assert what in caplog.text
    assert "ran longer than its timeout of 7 s" in caplog.text


def test_failed_that_overruns_is_logged_and_the_job_has_failed_all_the_same(
    run_noting, begin, caplog
):
    run_noting("raise")  # the first of two tries
    executor, execution = begin(run_noting.bus, Overrun("failed()"))

    drive(executor.run(execution), run_noting.bus)

    assert execution.outcome is Outcome.FAILED
    assert "failed() of committing raised" in caplog.text


def test_a_limit_that_ends_a_plain_function_is_its_error(bus_of, begin):
    class Ends(Watched):
        def running(self, span, work):
            if self.read:
                raise ListenerTimeout(listener=span.name, seconds=span.limit)
            self.read = True
            return work()

        read = False

    bus = bus_of(leave_plainly)
    bus.dispatch(Ordered())
    executor, execution = begin(bus, Ends())

    assert drive(executor.run(execution), bus).outcome is Outcome.RELEASED
    assert isinstance(execution.error, ListenerTimeout)


def test_an_event_that_takes_too_long_to_read_fails_its_job_before_a_try(bus_of, begin):
    """Constructors and validators of events run as they are read, and may hang as a listener may."""

    class Ends(Watched):
        def running(self, span, work):
            raise ListenerTimeout(listener=span.name, seconds=span.limit)

    bus = bus_of(leave_plainly)
    bus.dispatch(Ordered())
    executor, execution = begin(bus, Ends(), timeout=7.0)

    assert drive(executor.run(execution), bus).outcome is Outcome.FAILED
    assert (execution.error.seconds, execution.began) == (7.0, False)


def test_a_listener_may_listen_to_several_events_and_forms(bus_of, begin, seen):
    @listens(queue=True, name="all")
    def hear(*arguments: object, seen: Seen) -> None:
        seen.append(arguments)

    bus = bus_of()
    bus.listen([Ordered, "tick"], hear)
    bus.dispatch(Ordered())
    bus.dispatch("tick", 1)

    for _ in range(2):
        executor, execution = begin(bus)
        drive(executor.run(execution), bus)

    assert seen == [(Ordered(),), (1,)]


def test_a_run_keeps_no_listener_of_a_former_registration(bus_of, begin):
    bus = bus_of(leave_plainly)
    bus.dispatch(Ordered())
    port = bus.connections.port()
    executor = bus.executor()
    [claim] = port.claim(["default"])
    assert drive(executor.run(executor.begin(claim, port)), bus).outcome is Outcome.RELEASED

    bus.listen(Ordered, lambda event: None)
    [claim] = port.claim(["default"])

    assert drive(executor.run(executor.begin(claim, port)), bus).outcome is Outcome.FAILED


@listens(queue=True, name="unusable")
def hinted_with_what_is_not_there(event: Ordered, attempt: Attemptt) -> None: ...  # noqa: F821


@listens(queue=True, name="optional")
def may_have_an_attempt(event: Ordered, attempt: Attempt | None, seen: Seen) -> None:
    seen.append(attempt.number)


def test_an_attempt_may_be_asked_for_in_any_form(bus_of, begin, seen):
    bus = bus_of(may_have_an_attempt)
    bus.dispatch(Ordered())
    executor, execution = begin(bus)

    assert drive(executor.run(execution), bus).outcome is Outcome.SUCCEEDED
    assert seen == [1]


def test_a_hint_that_cannot_be_read_is_the_jobs_error(bus_of, begin):
    bus = bus_of()
    bus.listen(Ordered, hinted_with_what_is_not_there)
    bus.dispatch(Ordered())
    executor, execution = begin(bus)

    drive(executor.run(execution), bus)

    assert execution.outcome is Outcome.FAILED
    assert "Attemptt" in str(execution.error)
