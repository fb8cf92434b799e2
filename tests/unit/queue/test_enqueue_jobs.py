"""Jobs are enqueued, run by the path that listeners take, and asked about by their handles."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import pytest
from attrs import field, frozen

from eventbus import (
    Attempt,
    EventBus,
    InteractsWithQueue,
    Job,
    JobHandle,
    MissingRecord,
    ShouldQueue,
)
from eventbus.defaults import HOP_LIMIT
from eventbus.dispatch.waiting import drive
from eventbus.errors import (
    AsyncListenerInSyncDispatch,
    BackendUnavailable,
    DecodeError,
    EncodeError,
    InvalidJob,
    InvalidOption,
    ListenError,
    ListenerTimeout,
    UnknownConnection,
    UnknownName,
    UnsupportedOption,
)
from eventbus.queue.codec.document import Document, read, write
from eventbus.queue.envelope import Envelope
from eventbus.queue.handles import JobStatus
from eventbus.queue.lifecycle import Outcome

HERE = __name__


class Log(list):
    """What the jobs of a test did; every job of one bus gets the same."""


class Book(Job, queue="books", tries=2):
    number: int

    def handle(self, log: Log, attempt: Attempt) -> str:
        log.append(("booked", self.number, attempt.number))
        return f"booked {self.number}"


class Fetch(Job):
    url: str = ""

    async def handle(self, log: Log) -> str:
        await asyncio.sleep(0)
        log.append(("fetched", self.url))
        return self.url


class Fail(Job, tries=2):
    kind: str = "value"
    #: What a field holds may change, the job may not.
    seen: list[str] = field(factory=list)

    def handle(self, log: Log, attempt: Attempt) -> None:
        self.seen.append("run")
        log.append(("tried", attempt.number))
        raise {"value": ValueError, "key": KeyError}[self.kind](self.kind)

    def failed(self, error: BaseException) -> None:
        FAILURES.append((self.kind, list(self.seen), type(error)))


FAILURES = []


class Placed(Job, queue="never", connection="never", delay=1):
    where: str

    def via_queue(self) -> str:
        return f"shelf-{self.where}"

    @staticmethod
    def via_connection() -> str:
        return "mail"

    async def with_delay(self) -> float:
        return 90.0

    def handle(self) -> None: ...


class Wanted(Job):
    wanted: object = True
    hook: str = "should_queue"

    def should_queue(self) -> object:
        return self.wanted if self.hook == "should_queue" else True

    def prepare(self) -> object:
        return self.wanted if self.hook == "prepare" else None

    def handle(self) -> None: ...


class Unstorable(Job):
    thing: object

    def handle(self) -> None: ...


class Parent(Job):
    def handle(self, log: Log) -> None:
        log.append(type(self).__name__)


class Child(Parent): ...


class Sends(Job, InteractsWithQueue):
    def handle(self, log: Log) -> None:
        log.append(self.attempt.number)
        if self.attempt.releases < 2:
            self.attempt.release(10)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def make(make_bus, log):
    def make(**options):
        options.setdefault("connections", {"default": "memory://", "mail": "memory://"})
        return make_bus(provide={Log: lambda: log}, **options)

    return make


@pytest.fixture
def bus(make):
    return make()


@pytest.fixture(autouse=True)
def _no_failures():
    FAILURES.clear()


def stored(bus, connection=None):
    """Return queue, delay and document of what a connection has, in order of arrival."""
    found = bus.connections.port(connection).peek()
    return [(one.envelope.queue, one.envelope.delay, read(one.envelope.body)) for one in found]


# Enqueueing.


def test_a_job_is_stored_as_a_document_of_its_own_kind(bus):
    handle = bus.enqueue(Book(17))

    [(queue, delay, document)] = stored(bus)
    assert (queue, delay) == ("books", 0.0)
    assert (document.kind, document.name, document.event) == ("job", f"{HERE}:Book", None)
    assert (document.payload, document.version, document.data) == ("class", 1, b'{"number":17}')
    assert dict(document.options) == {}
    assert handle == JobHandle(
        id=document.id, name=f"{HERE}:Book", connection="default", queue="books"
    )


def test_a_job_that_a_worker_runs_is_equal_to_the_one_that_was_enqueued(bus, log, work):
    bus.enqueue(Book(17))

    work(bus, queues=["books"])

    assert log == [("booked", 17, 1)]
    assert stored(bus) == []


def test_an_async_handle_is_awaited(bus, log, work):
    bus.enqueue(Fetch("http://a"))

    work(bus)

    assert log == [("fetched", "http://a")]


def test_what_the_call_says_wins_over_the_class(bus):
    bus.enqueue(Book(1), queue="others", connection="mail", delay=timedelta(minutes=1))

    assert stored(bus) == []
    [(queue, delay, _)] = stored(bus, "mail")
    assert (queue, delay) == ("others", 60.0)


def test_what_a_hook_says_wins_over_the_class_and_the_call_over_both(bus):
    bus.enqueue(Placed("a"))
    bus.enqueue(Placed("b"), queue="here", connection="default", delay=0)

    assert [(queue, delay) for queue, delay, _ in stored(bus, "mail")] == [("shelf-a", 90.0)]
    assert [(queue, delay) for queue, delay, _ in stored(bus)] == [("here", 0.0)]


def test_names_may_be_members_of_an_enum(bus):
    class Lines(StrEnum):
        EMAILS = "emails"
        MAIL = "mail"

    handle = bus.enqueue(Book(1), queue=Lines.EMAILS, connection=Lines.MAIL)

    assert (handle.queue, handle.connection) == ("emails", "mail")
    assert type(handle.queue) is type(handle.connection) is str


def test_a_delay_may_be_an_instant_and_one_that_is_over_is_none(bus, clock):
    bus.enqueue(Book(1), delay=clock.now() + timedelta(seconds=30))
    bus.enqueue(Book(2), delay=clock.now() - timedelta(days=1))

    assert [delay for _, delay, _ in stored(bus)] == [30.0, 0.0]


@pytest.mark.parametrize(
    "said",
    [
        {"delay": -1},
        {"delay": "soon"},
        {"delay": datetime(2027, 1, 1)},  # noqa: DTZ001 -- the point
        {"queue": "no spaces"},
        {"queue": 3},
    ],
)
def test_an_argument_that_cannot_be_is_refused_and_nothing_is_stored(bus, said):
    with pytest.raises(InvalidOption, match=f"{next(iter(said))} of {HERE}:Book"):
        bus.enqueue(Book(1), **said)

    assert stored(bus) == []


def test_a_connection_that_nobody_configured_is_an_error(bus):
    with pytest.raises(UnknownConnection, match="mial"):
        bus.enqueue(Book(1), connection="mial")


def test_a_route_says_where_the_jobs_go_of_classes_that_do_not_say(bus):
    bus.route(Parent, queue="family", connection="mail")
    bus.route(Child, queue="children")
    bus.route(Book, queue="never", connection="mail")

    handles = bus.enqueue_many([Parent(), Child(), Book(1)])

    assert [(one.queue, one.connection) for one in handles] == [
        ("family", "mail"),
        ("children", "mail"),
        ("books", "mail"),
    ]


@pytest.mark.parametrize("hook", ["prepare", "should_queue"])
def test_a_job_may_refuse_to_be_enqueued(bus, hook):
    handle = bus.enqueue(Wanted(wanted=False, hook=hook))

    assert handle.status() is JobStatus.SKIPPED
    assert handle.cancel() is False
    assert stored(bus) == []


def test_a_job_that_prepares_itself_need_not_answer(bus):
    handles = bus.enqueue_many(
        [Wanted(None, "prepare"), Wanted(0, "prepare"), Wanted(None), Wanted(1)]
    )

    assert [one.status().value for one in handles] == ["waiting", "waiting", "skipped", "waiting"]


def test_conditions(bus):
    handles = [
        bus.enqueue_if(1, Book(1), queue="a"),
        bus.enqueue_if([], Book(2)),
        bus.enqueue_unless(None, Book(3), delay=5),
        bus.enqueue_unless("x", Book(4)),
    ]

    assert [one.status().value for one in handles] == ["waiting", "skipped", "delayed", "skipped"]
    assert [queue for queue, _, _ in stored(bus)] == ["a", "books"]


@pytest.mark.parametrize("thing", [KeyError("event"), None, "Book", 17])
def test_what_is_no_job_is_refused(bus, thing):
    for call in (bus.enqueue, bus.run, lambda one: bus.enqueue_if(False, one)):
        with pytest.raises(InvalidJob, match="does not inherit Job"):
            call(thing)


def test_a_class_in_place_of_a_job_is_refused(bus):
    with pytest.raises(InvalidJob, match=r"it is the class.*Write Book\(\.\.\.\)"):
        bus.enqueue(Book)


def test_a_class_that_no_worker_could_find_is_refused(bus):
    class Local(Job):
        def handle(self) -> None: ...

    with pytest.raises(InvalidJob, match="<locals>"):
        bus.enqueue(Local())


def test_a_class_without_a_handle_is_refused(bus):
    class Empty(Job, name="empty"): ...

    with pytest.raises(InvalidJob, match="no handle"):
        bus.enqueue(Empty())


def test_two_classes_of_one_name_are_refused(bus):
    def made():
        class Same(Job, name="same"):
            def handle(self) -> None: ...

        return Same

    one, other = made(), made()
    bus.enqueue(one())

    with pytest.raises(InvalidJob, match="'same' as well"):
        bus.enqueue(other())


def test_a_field_that_cannot_be_stored_is_an_error_and_nothing_is_stored(bus):
    with pytest.raises(EncodeError, match=r"Unstorable cannot be stored.*thing"):
        bus.enqueue_many([Book(1), Unstorable(object())])

    assert stored(bus) == []


def test_many_jobs_go_to_each_connection_in_one_push(bus, monkeypatch):
    pushes = []
    for name in ("default", "mail"):
        port = bus.connections.port(name)
        monkeypatch.setattr(
            port, "push", lambda envelopes, name=name: pushes.append((name, len(envelopes)))
        )

    handles = bus.enqueue_many(one for one in [Book(1), Placed("x"), Book(2), Fetch()])

    assert pushes == [("default", 3), ("mail", 1)]
    assert [one.queue for one in handles] == ["books", "shelf-x", "books", "default"]
    assert len({one.id for one in handles}) == 4


def test_no_jobs_are_no_push(bus):
    assert bus.enqueue_many([]) == []


def test_what_the_store_raises_is_raised(bus, monkeypatch):
    def push(envelopes):
        raise BackendUnavailable(backend="memory", operation="push", reason="away")

    monkeypatch.setattr(bus.connections.port(), "push", push)

    with pytest.raises(BackendUnavailable):
        bus.enqueue(Book(1))


def test_async_code_enqueues_without_blocking_the_loop(bus, monkeypatch):
    threads = []
    port = bus.connections.port()
    push = port.push
    monkeypatch.setattr(
        port, "push", lambda some: (threads.append(threading.current_thread()), push(some))[1]
    )

    async def main():
        one = await bus.aenqueue(Book(1), delay=5)
        two = await bus.aenqueue_many([Book(2), Fetch()], queue="both")
        return [one, *two], await one.astatus(), await one.acancel()

    handles, status, cancelled = asyncio.run(main())

    assert [one.queue for one in handles] == ["books", "both", "both"]
    assert (status, cancelled) == (JobStatus.DELAYED, True)
    assert threading.main_thread() not in threads


def test_an_async_hook_in_sync_code_where_a_loop_runs_says_what_to_call(bus):
    async def main():
        bus.enqueue(Placed("a"))

    with pytest.raises(AsyncListenerInSyncDispatch, match=r"await bus\.aenqueue"):
        asyncio.run(main())


def test_a_job_may_be_enqueued_by_a_listener_and_by_a_job(make, log, work):
    class Opens(Job, name="opens"):
        def handle(self, bus: EventBus) -> None:
            bus.enqueue(Book(2))

    def on_key(event: KeyError, bus: EventBus) -> None:
        bus.enqueue(Book(1))

    bus = make()
    bus.listen(on_key)
    bus.dispatch(KeyError())
    bus.enqueue(Opens())

    work(bus, queues=["default", "books"])

    assert log == [("booked", 1, 1), ("booked", 2, 1)]


def test_jobs_that_enqueue_each_other_without_end_are_stopped(make, work):
    class Circle(Job, name="circle"):
        def handle(self, bus: EventBus) -> None:
            bus.enqueue(Circle())

    bus = make()
    bus.enqueue(Circle())

    work(bus)

    [failed] = bus.failed.all()
    assert f"{HOP_LIMIT} jobs in a row" in failed.error
    assert "circle -> circle" in failed.error


# Handles.


def test_a_handle_tells_where_its_job_is(bus, clock, work):
    handle = bus.enqueue(Fail(), delay=10)
    assert handle.status() is JobStatus.DELAYED
    clock.advance(10)
    assert handle.status() is JobStatus.WAITING
    port = bus.connections.port()
    [claim] = port.claim(["default"])
    assert handle.status() is JobStatus.RUNNING
    assert handle.cancel() is False
    port.give_back([claim])
    work(bus)
    assert handle.status() is JobStatus.FAILED
    assert handle.cancel() is False
    bus.failed.retry(handle.id)
    assert handle.status() is JobStatus.WAITING
    assert handle.cancel() is True
    assert handle.status() is JobStatus.GONE


def test_a_job_that_came_back_between_two_looks_is_not_gone(bus, monkeypatch):
    handle = bus.enqueue(Book(1))
    port = bus.connections.port()
    find = port.find
    looks = []
    monkeypatch.setattr(
        port,
        "find",
        lambda ids, **where: looks.append(ids) or (find(ids, **where) if len(looks) > 1 else []),
    )

    assert handle.status() is JobStatus.WAITING


def test_a_store_that_keeps_no_jobs_says_that_they_are_gone(make):
    bus = make(connections={"default": "null://"})

    handle = bus.enqueue(Book(1))

    assert (handle.status(), handle.cancel()) == (JobStatus.GONE, False)


def test_handles_are_equal_by_what_they_tell(bus):
    one = bus.enqueue(Book(1))

    assert one == JobHandle(id=one.id, name=one.name, connection="default", queue="books")
    assert repr(one).startswith(f"JobHandle(id='{one.id}'")


# Running.


def test_a_job_on_a_sync_connection_runs_at_once_after_what_is_stored(make, log):
    bus = make(connections={"default": "memory://", "now": "sync://"})

    class Looks(Job, name="looks", connection="now"):
        def handle(self, bus: EventBus, log: Log) -> None:
            log.append(len(bus.connections.port().peek()))

    handles = bus.enqueue_many([Looks(), Book(1)])

    assert log == [1]
    assert [one.status() for one in handles] == [JobStatus.GONE, JobStatus.WAITING]
    assert handles[0].cancel() is False


def test_on_a_sync_connection_an_error_is_the_callers(make):
    bus = make(connections={"default": "sync://"})

    with pytest.raises(KeyError):
        bus.enqueue(Fail("key"))

    assert [("key", [], KeyError)] == FAILURES


def test_run_returns_the_answer_of_handle_and_stores_nothing(bus, log):
    assert bus.run(Book(3)) == "booked 3"
    assert bus.run(Fetch("b")) == "b"

    assert log == [("booked", 3, 1), ("fetched", "b")]
    assert stored(bus) == []


def test_run_needs_nothing_that_can_be_stored(make):
    class Holds(Job):
        thing: object

        def handle(self) -> object:
            return self.thing

    thing = object()

    assert make().run(type("Named", (Holds,), {"__module__": HERE}, name="named")(thing)) is thing


def test_run_raises_what_handle_raises_once_failed_was_called(bus, log, told):
    seen = told(bus)

    with pytest.raises(ValueError, match="value"):
        bus.run(Fail())

    assert log == [("tried", 1)]
    assert [("value", ["run"], ValueError)] == FAILURES
    assert [type(one).__name__ for one in seen] == [
        "JobProcessing",
        "JobExceptionOccurred",
        "JobFailed",
        "JobAttempted",
    ]
    assert {(one.name, one.connection, one.attempt) for one in seen} == {
        (f"{HERE}:Fail", "sync", 1)
    }
    assert bus.failed.all() == []


def test_arun_waits_in_async_code_and_run_says_so(bus):
    async def main():
        answer = await bus.arun(Fetch("c"))
        with pytest.raises(AsyncListenerInSyncDispatch, match=r"await bus\.arun"):
            bus.run(Fetch("d"))
        return answer

    assert asyncio.run(main()) == "c"


def test_nothing_waits_that_runs_here(bus):
    with pytest.raises(UnsupportedOption, match="releasing"):
        bus.run(Sends())


# One path with queued listeners.


def test_a_job_is_tried_again_and_then_fails(bus, log, work):
    handle = bus.enqueue(Fail("key"))

    work(bus)

    assert log == [("tried", 1), ("tried", 2)]
    [failed] = bus.failed.all()
    assert (failed.id, failed.name, failed.event) == (handle.id, f"{HERE}:Fail", "")
    assert failed.reason == "KeyError: 'key'"


def test_failed_is_called_on_a_fresh_job(bus, work):
    bus.enqueue(Fail())

    work(bus)

    assert [("value", [], ValueError)] == FAILURES


def test_events_about_a_job_name_it(bus, told, work):
    seen = told(bus)
    handle = bus.enqueue(Book(1))

    work(bus, queues=["books"])

    facts = {
        (type(one).__name__, one.id, one.name, one.queue) for one in seen if hasattr(one, "id")
    }
    assert facts == {
        (kind, handle.id, f"{HERE}:Book", "books")
        for kind in ("JobProcessing", "JobProcessed", "JobAttempted")
    }


def test_rules_are_asked_of_the_job_without_an_event(make, log, clock, work):
    class Ruled(Job, name="ruled"):
        size: int

        def tries(self) -> int:
            return self.size

        def backoff(self, attempt: int, error: BaseException) -> float:
            return 10.0 * attempt + self.size

        def timeout(self) -> float:
            log.append("timeout")
            return 30.0

        def retry_until(self) -> datetime:
            return datetime(2100, 1, 1, tzinfo=UTC)

        def handle(self) -> None:
            log.append("run")
            raise ValueError

    bus = make()
    bus.enqueue(Ruled(2))
    assert stored(bus)[0][2].options == {"retry_until": "2100-01-01T00:00:00+00:00"}

    work(bus)
    assert bus.connections.port().next_due(["default"]) == 12.0
    clock.advance(12)
    work(bus)

    assert log == ["timeout", "run", "timeout", "run"]
    assert len(bus.failed.all()) == 1


def test_rules_that_are_functions_of_the_class_keyword_get_no_job(make, clock, work):
    class Ruled(Job, name="ruled.by.keyword", tries=lambda: 2, backoff=lambda attempt, error: 7.0):
        def handle(self) -> None:
            raise ValueError

    bus = make()
    bus.enqueue(Ruled())

    work(bus)
    assert bus.connections.port().next_due(["default"]) == 7.0
    clock.advance(7)
    work(bus)

    assert len(bus.failed.all()) == 1


def test_a_job_interacts_with_its_queue(bus, log, clock, work):
    bus.enqueue(Sends())

    for _ in range(3):
        work(bus)
        clock.advance(10)

    assert log == [1, 1, 1]
    assert stored(bus) == bus.failed.all() == []


def test_options_of_the_class_hold_for_its_runs(make, work):
    class Gone(Job, name="gone", discard_on_missing=True):
        def handle(self) -> None:
            raise MissingRecord(record="podcast", key=1)

    class Final(Job, name="final", tries=5, no_retry=KeyError):
        def handle(self) -> None:
            raise KeyError

    bus = make()
    bus.enqueue_many([Gone(), Final()])

    work(bus)

    assert [(one.name, one.attempts) for one in bus.failed.all()] == [("final", 1)]
    assert stored(bus) == []


def test_a_job_that_takes_too_long_is_ended(make, work):
    class Waits(Job, name="waits", timeout=0.05):
        async def handle(self) -> None:
            await asyncio.Event().wait()

        def failed(self, error: BaseException) -> None:
            FAILURES.append(type(error))

    bus = make()
    bus.enqueue(Waits())

    work(bus)

    assert [ListenerTimeout] == FAILURES


def test_an_interrupted_hook_is_called_on_the_running_job(make):
    class Long(Job, name="long"):
        number: int

        def handle(self, bus: EventBus, log: Log) -> None:
            executor.interrupt(15)

        def interrupted(self, signum: int) -> None:
            FAILURES.append((self.number, signum))

    bus = make()
    executor = bus.executor()
    bus.enqueue(Long(7))
    port = bus.connections.port()
    [claim] = port.claim(["default"])

    execution = drive(executor.run(executor.begin(claim, port)), bus)

    assert execution.outcome is Outcome.SUCCEEDED
    assert FAILURES == [(7, 15)]


def test_a_stored_job_that_its_class_refuses_fails_and_is_kept(make, work):
    refused = set()

    class Checked(Job, name="checked"):
        number: int

        def __attrs_post_init__(self) -> None:
            if self.number in refused:
                raise ValueError(self.number)

        def handle(self) -> None: ...

    bus = make()
    bus.enqueue(Checked(1))
    refused.add(1)

    work(bus)

    [failed] = bus.failed.all()
    assert failed.reason.startswith("eventbus.errors.DecodeError: ")
    assert failed.attempts == 0


def test_a_scope_is_opened_for_each_job_and_closed_after_it(make_bus, log, work):
    @frozen
    class Session:
        number: int

    def session():
        log.append("opened")
        yield Session(len(log))
        log.append("closed")

    class Uses(Job, name="uses"):
        def handle(self, session: Session) -> None:
            log.append(session.number)

    Uses.handle.__annotations__["session"] = Session
    bus = make_bus(provide={Session: session})
    bus.enqueue_many([Uses(), Uses()])

    work(bus)

    assert log == ["opened", 1, "closed", "opened", 4, "closed"]


# Binding.


def test_a_function_that_is_bound_runs_the_job_in_place_of_its_handle(bus, log, work):
    def book(job: Book, log: Log, attempt: Attempt) -> str:
        log.append(("bound", job.number, attempt.number))
        return "bound"

    bus.bind(Book, book)
    bus.enqueue(Book(1))

    work(bus, queues=["books"])

    assert bus.run(Book(2)) == "bound"
    assert log == [("bound", 1, 1), ("bound", 2, 1)]


def test_a_class_that_is_bound_is_built_and_handles_jobs_without_a_handle(make, log, work):
    class Order(Job, name="order", tries=1):
        number: int

        def timeout(self) -> float:
            return float(self.number)

        def failed(self, error: BaseException) -> None:
            FAILURES.append(self.number)

    class Handler:
        def __init__(self, log: Log) -> None:
            self.log = log

        async def handle(self, order: KeyError, attempt: Attempt) -> None:
            self.log.append((order.number, attempt.number))
            if order.number > 1:
                raise ValueError

    Handler.handle.__annotations__["order"] = Order
    Handler.__init__.__annotations__["log"] = Log
    bus = make()
    bus.bind(Order, Handler)
    bus.enqueue_many([Order(1), Order(2)])

    work(bus)

    assert log == [(1, 1), (2, 1)]
    assert FAILURES == [2]


def test_the_last_binding_counts_and_children_have_their_own(bus, log):
    bus.bind(Parent, lambda job: "first")
    bus.bind(Parent, lambda job: "second")

    assert bus.run(Parent()) == "second"
    bus.run(Child())
    assert log == ["Child"]


def test_what_cannot_be_bound_is_refused(bus):
    def other(job: Fetch) -> None: ...

    with pytest.raises(InvalidJob, match="no class that inherits Job"):
        bus.bind(KeyError, other)
    with pytest.raises(InvalidJob, match="no class that inherits Job"):
        bus.bind(Book(1), other)
    with pytest.raises(ListenError, match="it takes Fetch, not Book"):
        bus.bind(Book, other)
    with pytest.raises(ListenError):
        bus.bind(Book, 17)


# Who knows which classes.


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a module that can be imported, and return its name; nothing of it is left behind."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def write(text):
        name = f"jobs_of_{tmp_path.name}_{len(made)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text("from eventbus import Job\n" + text, "utf-8")
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


def test_jobs_are_found_in_scanned_packages_and_are_no_listeners(make, package, work):
    name = package(
        "class Base(Job, queue='found'):\n    number: int\n"
        "class Send(Base):\n    def handle(self) -> None:\n        print(self.number)\n"
    )
    bus = make(discover=[name])
    catalogue = bus.catalogue()

    assert catalogue.entry(f"{name}:Send", "job").options.queue == "found"
    with pytest.raises(UnknownName):
        catalogue.entry(f"{name}:Base", "job")
    assert bus.listeners() == ()
    [skipped] = bus.discover().skipped
    assert skipped.reason == "it is a job: it is enqueued, and hears no event"


def test_a_class_in_a_scanned_module_need_not_be_hashable(make, package):
    name = package(
        "class Odd(type):\n    def __eq__(self, other):\n        raise LookupError\n"
        "class Thing(metaclass=Odd): ...\n"
        "class Send(Job):\n    def handle(self) -> None: ...\n"
    )

    assert make(discover=[name]).catalogue().entry(f"{name}:Send", "job").job is not None


def test_two_jobs_of_one_name_in_scanned_packages_are_refused(make, package):
    one, other = [
        package(f"class J{number}(Job, name='both'):\n    def handle(self) -> None: ...\n")
        for number in range(2)
    ]

    with pytest.raises(InvalidJob, match="'both' as well"):
        make(discover=[one, other]).catalogue()


def test_a_job_that_has_the_name_of_a_listener_is_refused(bus):
    class Hears(ShouldQueue):
        name = "taken"

        def handle(self, event: KeyError) -> None: ...

    class Taken(Job, name="new", aliases=["taken"]):
        def handle(self) -> None: ...

    bus.listen(Hears)

    with pytest.raises(InvalidJob, match="'taken' as well"):
        bus.enqueue(Taken())


def test_a_worker_knows_the_jobs_that_its_program_has_imported(
    make, package, work, capsys, tmp_path
):
    name = package(
        "class Send(Job, aliases=['was.sent']):\n    number: int\n"
        "    def handle(self) -> None:\n        print('sent', self.number)\n"
    )
    module = importlib.import_module(name)
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    producer, consumer = (make(connections={"default": url}) for _ in range(2))
    producer.enqueue(module.Send(7))

    work(consumer)

    assert capsys.readouterr().out == "sent 7\n"
    assert consumer.catalogue().entry("was.sent", "job").job is module.Send


def test_a_job_that_nobody_knows_is_parked(make, work):
    bus = make()
    envelope = Envelope(
        id="a",
        queue="default",
        body=write(
            Document(
                id="a",
                kind="job",
                name="shop:Gone",
                event=None,
                payload="class",
                data=b"{}",
                dispatched_at=datetime.now(UTC),
            )
        ),
    )
    bus.connections.port().push([envelope])

    work(bus)

    [parked] = bus.failed.parked()
    assert parked.name == "shop:Gone"
    assert "no job is called 'shop:Gone' here" in parked.reason


def test_a_listener_is_no_job_and_a_job_no_listener(bus):
    class Hears(ShouldQueue):
        name = "hears"

        def handle(self, event: KeyError) -> None: ...

    bus.listen(Hears)
    bus.enqueue(Book(1))
    catalogue = bus.enqueuer.catalogue

    assert catalogue.entry("hears").job is None
    assert catalogue.entry(f"{HERE}:Book", "job").job is Book
    with pytest.raises(UnknownName, match="no job is called 'hears'"):
        catalogue.entry("hears", "job")
    with pytest.raises(UnknownName, match="no listener is called"):
        catalogue.entry(f"{HERE}:Book")


def test_a_field_that_can_no_longer_be_read_fails_the_stored_job(bus):
    class Send(Job, name="send.unreadable"):
        thing: Log

        def handle(self) -> None: ...

    catalogue = bus.enqueuer.catalogue
    entry = catalogue.job_entry(Send)
    document = Document(
        id="a",
        kind="job",
        name="send.unreadable",
        event=None,
        payload="class",
        data=b'{"thing":1}',
        dispatched_at=datetime.now(UTC),
    )

    with pytest.raises(DecodeError, match="unreadable"):
        catalogue.payload(document, entry)
