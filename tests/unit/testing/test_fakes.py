"""What a test of an application sees: events that are recorded, jobs that wait until drained."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from contextlib import ExitStack

import pytest
from attrs import frozen

from eventbus import (
    Attempt,
    EventBus,
    JobFailed,
    JobProcessed,
    ShouldQueue,
    event,
    listens,
)
from eventbus.errors import EncodeError, InvalidOption, ListenError, NotAnEvent, UnknownConnection
from eventbus.testing import FakeEvents, FakeQueue, fake_events, fake_queue
from eventbus.worker import Worker


@event("order.placed")
@frozen
class Placed:
    order_id: int


@frozen
class RushPlaced(Placed):
    pass


@event("order.lost")
@frozen
class Lost:
    order_id: int


@event("order.odd")
class Odd:
    """Nothing says how to store it."""

    def __init__(self, thing: object) -> None:
        self.thing = thing


class Log(list[object]):
    """What listeners did."""


class Confirm(ShouldQueue):
    queue = "emails"

    def __init__(self, log: Log) -> None:
        self.log = log

    def handle(self, placed: Placed) -> None:
        self.log.append(("confirmed", placed.order_id))


class Notify(ShouldQueue):
    def __init__(self, log: Log) -> None:
        self.log = log

    async def handle(self, placed: Placed) -> None:
        self.log.append(("notified", placed.order_id))


class Flaky(ShouldQueue):
    queue = "flaky"
    tries = 3
    backoff = (10, 60)

    def __init__(self, log: Log) -> None:
        self.log = log

    def handle(self, lost: Lost, attempt: Attempt) -> None:
        self.log.append(attempt.number)
        if attempt.number < lost.order_id:
            raise LookupError(f"try {attempt.number}")


class Hooked(ShouldQueue):
    queue = "never"

    @staticmethod
    def should_queue(placed: Placed) -> bool:
        return placed.order_id > 10

    @staticmethod
    def via_queue(placed: Placed) -> str:
        return f"shelf-{placed.order_id}"

    @staticmethod
    def with_delay(placed: Placed) -> float:
        return 90.0

    def handle(self, placed: Placed) -> None: ...


class Ledger:
    def handle_placed(self, placed: Placed) -> str:
        return f"booked {placed.order_id}"

    def handle_lost(self, lost: Lost) -> str:
        return f"struck {lost.order_id}"


@listens(queue="audit")
def audit(name: str, payload: tuple[object, ...]) -> None: ...


@listens(queue="imports", delay=5)
def imported(count: int, kind: str) -> None: ...


@listens(queue=True)
def odd(it: Odd) -> None: ...


@listens(queue=True)
def endless(lost: Lost, attempt: Attempt) -> None:
    attempt.release(3600)


@listens(queue=True)
def broken(lost: Lost) -> None:
    raise LookupError


@listens(queue=True)
def circular(lost: Lost, bus: EventBus) -> None:
    bus.dispatch(lost)


def note(placed: Placed) -> str:
    return f"noted {placed.order_id}"


async def anote(placed: Placed) -> str:
    return f"awaited {placed.order_id}"


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def bus(log: Log) -> EventBus:
    return EventBus(
        listen={Placed: [note, Confirm, Notify]},
        provide={Log: lambda: log},
        connections={"default": "memory://", "other": "memory://?queue=side", "here": "sync://"},
    )


def said(failure: pytest.ExceptionInfo[AssertionError]) -> str:
    return str(failure.value)


class TestFakeEvents:
    def test_records_and_calls_nobody(self, bus, log):
        with fake_events(bus) as fake:
            answers = bus.dispatch(Placed(1))

        assert answers == []
        assert log == []
        assert fake.dispatched(Placed) == [Placed(1)]

    def test_ends_with_its_block(self, bus):
        with fake_events(bus):
            pass

        assert bus.dispatch(Placed(1)) == ["noted 1"]

    def test_ends_with_an_exception_too(self, bus):
        with pytest.raises(LookupError), fake_events(bus):
            raise LookupError

        assert bus.dispatch(Placed(1)) == ["noted 1"]

    def test_lists_events_in_order_by_class_parent_name_and_pattern(self, bus):
        with fake_events(bus) as fake:
            bus.dispatch(Placed(1))
            bus.dispatch("order.imported", 17, "csv")
            bus.dispatch(RushPlaced(2))
            bus.dispatch(Lost(3))

        assert fake.dispatched(Placed) == [Placed(1), RushPlaced(2)]
        assert fake.dispatched(RushPlaced) == [RushPlaced(2)]
        assert fake.dispatched("order.placed") == [Placed(1)]
        assert fake.dispatched("order.imported") == [(17, "csv")]
        assert fake.dispatched("order.*") == [Placed(1), (17, "csv"), Lost(3)]
        assert [one.name for one in fake.events][-1] == "order.lost"

    @pytest.mark.parametrize("call", ["dispatch", "until"])
    def test_sync_calls_answer_nothing(self, bus, call):
        with fake_events(bus) as fake:
            answer = getattr(bus, call)(Placed(1))

        assert answer == {"dispatch": [], "until": None}[call]
        assert fake.dispatched(Placed) == [Placed(1)]

    @pytest.mark.parametrize("call", ["adispatch", "auntil"])
    def test_async_calls_answer_nothing(self, bus, call):
        with fake_events(bus) as fake:
            answer = asyncio.run(getattr(bus, call)(Placed(1)))

        assert answer == {"adispatch": [], "auntil": None}[call]
        assert fake.dispatched(Placed) == [Placed(1)]

    def test_an_async_listener_is_no_obstacle_in_a_running_loop(self, bus):
        bus.listen(Placed, anote)

        async def main() -> list[object]:
            return bus.dispatch(Placed(1))

        with fake_events(bus) as fake:
            assert asyncio.run(main()) == []
        assert fake.dispatched(Placed) == [Placed(1)]

    def test_what_is_no_event_is_refused_as_ever(self, bus):
        with fake_events(bus), pytest.raises(NotAnEvent):
            bus.dispatch(Placed)

    def test_listen_registers_for_good(self, bus):
        with fake_events(bus) as fake:
            bus.listen(Lost, Ledger)
            fake.assert_listening(Lost, Ledger)

        assert bus.dispatch(Lost(1)) == ["struck 1"]

    def test_hold_flush_and_the_forgetting_of_both_do_nothing(self, bus):
        bus.hold(Placed(1))
        with fake_events(bus) as fake:
            bus.hold(Placed(2))
            assert bus.flush() == []
            bus.forget_held()
            bus.forget(Placed)

        assert fake.events == []
        assert bus.flush() == [["noted 1"]]

    def test_a_once_listener_keeps_its_chance(self, bus):
        bus.listen(Lost, Ledger, once=True)
        with fake_events(bus):
            bus.dispatch(Lost(1))

        assert bus.dispatch(Lost(2)) == ["struck 2"]

    def test_what_is_muted_is_not_recorded_and_what_is_deferred_is_when_it_goes_out(self, bus):
        with fake_events(bus) as fake:
            with bus.muted():
                bus.dispatch(Placed(1))
            with bus.deferred():
                bus.dispatch(Placed(2))
                assert fake.events == []

        assert fake.dispatched(Placed) == [Placed(2)]

    def test_every_thread_and_task_is_faked(self, bus):
        async def tasks() -> None:
            await asyncio.gather(
                bus.adispatch(Placed(2)), asyncio.to_thread(bus.dispatch, Placed(3))
            )

        with fake_events(bus) as fake:
            thread = threading.Thread(target=bus.dispatch, args=(Placed(1),))
            thread.start()
            thread.join()
            asyncio.run(tasks())

        assert sorted(one.order_id for one in fake.dispatched(Placed)) == [1, 2, 3]


class TestOnlyAndExcept:
    @pytest.mark.parametrize(
        "only",
        [
            [Placed],
            Placed,
            "order.placed",
            ["order.pl*"],
            [lambda it: isinstance(it, Placed)],
            lambda it: isinstance(it, Placed),
        ],
        ids=["classes", "class", "name", "patterns", "functions", "function"],
    )
    def test_only_some_are_faked(self, bus, only):
        bus.listen(Lost, Ledger)
        with fake_events(bus, only=only) as fake:
            assert bus.dispatch(Placed(1)) == []
            assert bus.dispatch(Lost(2)) == ["struck 2"]

        assert [one.event for one in fake.events] == [Placed(1)]

    @pytest.mark.parametrize(
        "except_",
        [[Placed], "order.placed", ["order.p*"], [lambda it: it == Placed(1)]],
        ids=["classes", "name", "patterns", "functions"],
    )
    def test_all_but_some_are_faked(self, bus, except_):
        bus.listen(Lost, Ledger)
        with fake_events(bus, except_=except_) as fake:
            assert bus.dispatch(Placed(1)) == ["noted 1"]
            assert bus.dispatch(Lost(2)) == []

        assert [one.event for one in fake.events] == [Lost(2)]

    def test_except_takes_out_of_only(self, bus):
        with fake_events(bus, only=["order.*"], except_=[Placed]) as fake:
            bus.dispatch(Placed(1))
            bus.dispatch("order.imported")
            bus.dispatch("stock.low")

        assert [one.name for one in fake.events] == ["order.imported"]

    def test_a_function_is_asked_with_the_name_of_a_named_event(self, bus):
        with fake_events(bus, only=lambda it: it == "order.imported") as fake:
            bus.dispatch("order.imported", 17)

        assert fake.dispatched("order.imported") == [(17,)]

    def test_what_nobody_can_dispatch_is_refused(self, bus):
        with pytest.raises(ListenError, match="17 is neither an event class nor a name"):
            fake_events(bus, only=[17]).__enter__()


class TestNestedFakes:
    def test_the_inner_one_goes_first_and_the_outer_one_is_back_afterwards(self, bus):
        with fake_events(bus) as outer:
            with fake_events(bus) as inner:
                bus.dispatch(Placed(1))
            bus.dispatch(Placed(2))

        assert inner.dispatched(Placed) == [Placed(1)]
        assert outer.dispatched(Placed) == [Placed(2)]

    def test_what_the_inner_one_lets_through_goes_to_the_outer_one(self, bus):
        with (
            fake_events(bus, except_=["stock.*"]) as outer,
            fake_events(bus, only=[Placed]) as inner,
        ):
            bus.dispatch(Placed(1))
            bus.dispatch(Lost(2))
            bus.dispatch("stock.low")

        assert [one.event for one in inner.events] == [Placed(1)]
        assert [one.event for one in outer.events] == [Lost(2)]

    def test_blocks_that_end_in_another_order_leave_nothing_behind(self, bus):
        with ExitStack() as first:
            early = first.enter_context(fake_events(bus))
            with fake_events(bus) as late:
                first.close()
                bus.dispatch(Placed(1))

        assert (early.events, late.dispatched(Placed)) == ([], [Placed(1)])
        assert bus.dispatch(Placed(2)) == ["noted 2"]

    @pytest.mark.parametrize("order", ["events first", "queue first"])
    def test_a_faked_event_never_reaches_a_faked_queue(self, bus, log, order):
        with ExitStack() as fakes:
            if order == "events first":
                events = fakes.enter_context(fake_events(bus, only=[Lost]))
                queue = fakes.enter_context(fake_queue(bus))
            else:
                queue = fakes.enter_context(fake_queue(bus))
                events = fakes.enter_context(fake_events(bus, only=[Lost]))
            bus.listen(Lost, Flaky)
            bus.dispatch(Lost(1))
            bus.dispatch(Placed(2))
            queue.drain()

        events.assert_queued(Flaky, queue="flaky", times=1)
        queue.assert_not_queued(Flaky)
        assert log == [("confirmed", 2), ("notified", 2)]

    def test_jobs_that_run_tell_a_fake_of_events_what_happens_to_them(self, bus):
        with fake_events(bus, except_=[Placed]) as events, fake_queue(bus) as queue:
            bus.dispatch(Placed(1))
            queue.drain()

        assert len(events.dispatched(JobProcessed)) == 2

    def test_queues_nest(self, bus):
        with fake_queue(bus) as outer:
            with fake_queue(bus) as inner:
                bus.dispatch(Placed(1))
            bus.dispatch(Placed(2))

        assert [one.event for one in inner.queued(Confirm)] == [Placed(1)]
        assert [one.event for one in outer.queued(Confirm)] == [Placed(2)]

    def test_queues_that_end_in_another_order_leave_nothing_behind(self, bus):
        real = bus.connections.port()
        with ExitStack() as first:
            first.enter_context(fake_queue(bus))
            with fake_queue(bus) as late:
                first.close()
                bus.dispatch(Placed(1))

        late.assert_queued(Confirm)
        assert bus.connections.port() is real


class TestWhatWouldBeStored:
    def test_envelopes_of_a_faked_event_are_recorded_decoded(self, bus):
        with fake_events(bus) as fake:
            bus.dispatch(Placed(7))

        [job] = fake.queued(Confirm)
        assert (job.event, job.payload, job.queue, job.connection, job.delay) == (
            Placed(7),
            (Placed(7),),
            "emails",
            "default",
            0.0,
        )
        assert [one.queue for one in fake.jobs] == ["emails", "default"]
        assert bus.connections.port().size("emails").ready == 0

    def test_the_recorded_event_is_a_copy_as_a_worker_would_have_it(self, bus):
        placed = Placed(7)
        with fake_events(bus) as fake:
            bus.dispatch(placed)

        assert fake.jobs[0].event == placed
        assert fake.jobs[0].event is not placed

    def test_names_and_wildcards_have_name_and_payload(self, bus):
        bus.listen("order.imported", imported)
        bus.listen("order.*", audit)
        with fake_events(bus) as fake:
            bus.dispatch("order.imported", 17, "csv")

        assert [(one.event, one.payload, one.delay) for one in fake.jobs] == [
            ("order.imported", (17, "csv"), 5.0),
            ("order.imported", (17, "csv"), 0.0),
        ]

    @pytest.mark.parametrize("fake", [fake_events, fake_queue])
    def test_what_cannot_be_stored_fails_the_dispatch(self, bus, fake):
        bus.listen(Odd, odd)

        with (
            fake(bus) as recorded,
            pytest.raises(EncodeError, match=r"order\.odd cannot be stored"),
        ):
            bus.dispatch(Odd(object()))

        assert recorded.jobs == []

    @pytest.mark.parametrize("fake", [fake_events, fake_queue])
    def test_hooks_decide_as_ever(self, bus, fake):
        bus.listen(Placed, Hooked)
        with fake(bus) as recorded:
            bus.dispatch(Placed(10))
            bus.dispatch(Placed(11))

        [job] = recorded.queued(Hooked)
        assert (job.event, job.queue, job.delay) == (Placed(11), "shelf-11", 90.0)

    def test_a_job_of_a_sync_connection_is_recorded_and_not_run(self, bus, log):
        class Here(Confirm):
            connection = "here"
            name = "here"

        bus.listen(Lost, Ledger)
        bus.listen(Placed, Here)
        for fake in (fake_events, fake_queue):
            with fake(bus) as recorded:
                bus.dispatch(Placed(1))
                recorded.assert_queued("here")
            assert log == []

    def test_what_the_queue_runs_on_is_never_opened_nor_looked_for(
        self, tmp_path, monkeypatch, log
    ):
        monkeypatch.delenv("EVENTBUS_URL", raising=False)
        monkeypatch.chdir(tmp_path)
        url = f"sqlite:///{tmp_path}/no/such/folder/queue.db"
        for connections in ({}, {"default": url}):
            bus = EventBus(
                listen={Placed: [Confirm, Notify]},
                provide={Log: lambda: log},
                connections=connections,
            )
            with fake_events(bus) as events:
                bus.dispatch(Placed(1))
            with fake_queue(bus) as queue:
                bus.dispatch(Placed(1))
                queue.drain()

            events.assert_queued_count(2)
            queue.assert_queued_count(2)
        assert os.listdir(tmp_path) == []


class TestFakeQueue:
    def test_sync_listeners_run_and_queued_ones_wait(self, bus, log):
        with fake_queue(bus) as queue:
            assert bus.dispatch(Placed(1)) == ["noted 1"]

            assert log == []
            assert [one.event for one in queue.queued(Confirm)] == [Placed(1)]

    def test_every_connection_is_the_fake(self, bus):
        class Elsewhere(Confirm):
            name = "elsewhere"
            connection = "other"

        bus.listen(Placed, Elsewhere)
        with fake_queue(bus) as queue:
            bus.dispatch(Placed(1))

            assert [one.connection for one in queue.jobs] == ["default", "default", "other"]
            assert queue.size("emails") == 1
            assert queue.size("emails", connection="other") == 1

    def test_a_connection_keeps_its_own_queue_for_what_names_none(self, bus):
        class Elsewhere(Notify):
            name = "elsewhere"
            connection = "other"

        bus.listen(Placed, Elsewhere)
        with fake_queue(bus) as queue:
            bus.dispatch(Placed(1))
            Worker(bus, connection="other", stop_when_empty=True).run()

            queue.assert_queued(Elsewhere, queue="side")
            assert queue.size("side", connection="other") == 0

    def test_a_size_is_that_of_one_queue_delayed_jobs_included(self, bus):
        bus.listen(Placed, Hooked)
        with fake_queue(bus) as queue:
            bus.dispatch(Placed(11))
            bus.dispatch(Placed(11))

            assert (queue.size("shelf-11"), queue.size("emails"), queue.size("shelf")) == (2, 2, 0)

    def test_a_connection_that_nobody_configured_is_refused(self, bus):
        with fake_queue(bus) as queue, pytest.raises(UnknownConnection, match="'reddis'"):
            queue.size("emails", connection="reddis")

    def test_the_real_connections_are_back_afterwards(self, bus):
        real = bus.connections.port()
        with fake_queue(bus):
            assert bus.connections.port() is not real

        bus.dispatch(Placed(1))
        assert bus.connections.port() is real
        assert real.size("emails").ready == 1

    def test_threads_that_push_at_once_lose_nothing(self, bus):
        together = threading.Barrier(4)

        def push(number: int) -> None:
            together.wait()
            bus.dispatch(Placed(number))

        with fake_queue(bus) as queue:
            threads = [threading.Thread(target=push, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert sorted(one.event.order_id for one in queue.queued(Confirm)) == [0, 1, 2, 3]
            assert len(queue.drain()) == 8


class TestDrain:
    def test_runs_what_waits_sync_and_async(self, bus, log):
        with fake_queue(bus) as queue:
            bus.dispatch(Placed(1))
            ran = queue.drain()

            assert log == [("confirmed", 1), ("notified", 1)]
            assert ran == queue.jobs
            assert queue.size("emails") == 0

    def test_goes_queue_by_queue_in_the_order_of_first_use(self, bus, log):
        with fake_queue(bus) as queue:
            bus.dispatch(Placed(1))
            bus.dispatch(Placed(2))
            queue.drain()

        assert log == [("confirmed", 1), ("confirmed", 2), ("notified", 1), ("notified", 2)]

    def test_runs_jobs_that_jobs_queue(self, bus, log):
        class Then(ShouldQueue):
            name = "then"

            def handle(self, lost: Lost, bus: EventBus) -> None:
                bus.dispatch(Placed(lost.order_id + 1))

        bus.listen(Lost, Then)
        with fake_queue(bus) as queue:
            bus.dispatch(Lost(1))
            ran = queue.drain()

        assert ran[0].name == "then"
        assert sorted(log) == [("confirmed", 2), ("notified", 2)]

    def test_moves_the_clock_to_what_is_delayed(self, bus):
        bus.listen(Placed, Hooked)
        with fake_queue(bus) as queue:
            bus.dispatch(Placed(11))
            before = queue.clock.now()
            ran = queue.drain()

            assert [one.queue for one in ran] == ["emails", "default", "shelf-11"]
            assert (queue.clock.now() - before).total_seconds() == 90.0

    def test_leaves_what_is_delayed_if_told_so_until_the_clock_is_there(self, bus):
        bus.listen(Placed, Hooked)
        with fake_queue(bus) as queue:
            bus.dispatch(Placed(11))
            queue.drain(delayed=False)
            assert queue.size("shelf-11") == 1

            queue.clock.advance(89)
            assert queue.drain(delayed=False) == []
            queue.clock.advance(1)
            assert [one.name for one in queue.drain(delayed=False)] == queue_names(Hooked)

    def test_tries_again_after_each_backoff(self, bus, log):
        bus.listen(Lost, Flaky)
        with fake_queue(bus) as queue:
            bus.dispatch(Lost(3))
            before = queue.clock.now()
            ran = queue.drain()

            assert log == [1, 2, 3]
            assert ran == queue.jobs * 3
            assert (queue.clock.now() - before).total_seconds() == 70.0

    def test_raises_what_a_failed_job_raised_and_says_which_and_when(self, bus):
        bus.listen(Lost, Flaky)
        with fake_queue(bus) as queue:
            bus.dispatch(Lost(4))
            with pytest.raises(LookupError, match="try 3") as raised:
                queue.drain()

        [told] = [one for one in raised.value.__notes__ if "try 3 of 3" in one]
        assert told.endswith(":Flaky in 'flaky': Lost(order_id=4)")

    def test_keeps_the_failed_job_if_told_not_to_raise(self, bus):
        failed: list[JobFailed] = []
        bus.listen(Lost, Flaky)
        bus.listen(JobFailed, failed.append)
        with fake_queue(bus) as queue:
            bus.dispatch(Lost(4))
            queue.drain(raise_failed=False)

            [job] = bus.failed.all()
            assert (job.attempts, job.reason) == (3, "LookupError: try 3")
            assert [str(one.error) for one in failed] == ["try 3"]

            bus.failed.retry(job.id)
            assert len(queue.drain(raise_failed=False)) == 3
        assert bus.failed.all() == []

    def test_goes_on_after_a_failed_job_when_called_again(self, bus, log):
        bus.listen(Lost, broken)
        with fake_queue(bus) as queue:
            bus.dispatch(Lost(4))
            bus.dispatch(Placed(1))
            with pytest.raises(LookupError):
                queue.drain()
            assert log == []
            queue.drain()

        assert sorted(log) == [("confirmed", 1), ("notified", 1)]

    @pytest.mark.parametrize("listener", [endless, circular])
    def test_says_so_when_there_is_no_end_to_it(self, bus, listener):
        bus.listen(Lost, listener)
        with fake_queue(bus) as queue:
            bus.dispatch(Lost(1))
            with pytest.raises(AssertionError) as failure:
                queue.drain(limit=20)

        job = f"{__name__}:{listener.__name__} in 'default': Lost(order_id=1)"
        assert said(failure) == (
            "expected the queue to be empty after 20 jobs, but a job comes back, or queues itself,"
            f" without end; `limit=` allows more. Run last were:\n  {job}\n  {job}\n  {job}"
        )

    def test_may_run_as_many_as_the_limit(self, bus):
        with fake_queue(bus) as queue:
            bus.dispatch(Placed(1))

            assert len(queue.drain(limit=2)) == 2

    def test_works_where_a_loop_runs_as_adrain(self, bus, log):
        async def main(queue: FakeQueue) -> list[str]:
            await bus.adispatch(Placed(1))
            return [one.queue for one in await queue.adrain()]

        with fake_queue(bus) as queue:
            assert asyncio.run(main(queue)) == ["emails", "default"]
        assert log == [("confirmed", 1), ("notified", 1)]

    def test_of_nothing_is_nothing(self, bus):
        with fake_queue(bus) as queue:
            assert queue.drain() == []


def queue_names(*listeners: type) -> list[str]:
    return [f"{one.__module__}:{one.__qualname__}" for one in listeners]


class TestAskingForAListener:
    @pytest.fixture
    def fake(self, bus) -> FakeEvents:
        bus.listen("order.*", audit)
        with fake_events(bus) as fake:
            bus.dispatch(Placed(1))
        return fake

    @pytest.mark.parametrize(
        "listener, count",
        [
            (Confirm, 1),
            ((Confirm, "handle"), 1),
            (Confirm.handle, 1),
            (audit, 1),
            (f"{__name__}:Confirm", 1),
            (f"{__name__}:audit", 1),
            (Flaky, 0),
            (note, 0),
            ("nobody", 0),
        ],
        ids=lambda one: getattr(one, "__qualname__", str(one)),
    )
    def test_any_form_will_do(self, fake, listener, count):
        assert len(fake.queued(listener)) == count

    def test_a_declared_name_will_do(self, bus):
        bus.listen(Placed, listens(queue=True, name="write-it-down")(lambda placed: None))
        with fake_events(bus) as fake:
            bus.dispatch(Placed(1))

        fake.assert_queued("write-it-down")

    def test_what_cannot_be_a_listener_is_refused(self, fake):
        with pytest.raises(ListenError):
            fake.queued(17)

    def test_listening_takes_the_same_forms_and_objects(self, bus):
        ledger = Ledger()
        bus.listen(Placed, Ledger)
        bus.listen(Lost, ledger)
        with fake_events(bus) as fake:
            fake.assert_listening(Placed, Ledger)
            fake.assert_listening(Placed, (Ledger, "handle_placed"))
            fake.assert_listening(Placed, Confirm)
            fake.assert_listening(Placed, note)
            fake.assert_listening(Placed, f"{__name__}:note")
            fake.assert_listening(Lost, ledger)
            fake.assert_listening(Lost, Ledger)


class TestSentences:
    @pytest.fixture
    def fake(self, bus) -> FakeEvents:
        with fake_events(bus) as fake:
            bus.dispatch(Placed(1))
            bus.dispatch(Placed(2))
            bus.dispatch("order.imported", 17)
        return fake

    @pytest.fixture
    def empty(self, bus) -> FakeEvents:
        with fake_events(bus) as fake:
            return fake

    def test_what_holds_is_silent(self, fake, empty):
        fake.assert_dispatched(Placed)
        fake.assert_dispatched("order.*", times=3)
        fake.assert_dispatched(Placed, lambda placed: placed.order_id == 2)
        fake.assert_dispatched("order.imported", lambda payload: payload == (17,))
        fake.assert_dispatched_once("order.imported")
        fake.assert_dispatched_once(Placed, lambda placed: placed.order_id == 1)
        fake.assert_not_dispatched(Lost)
        fake.assert_not_dispatched(Placed, lambda placed: placed.order_id == 3)
        fake.assert_queued(Confirm, times=2)
        fake.assert_queued(Confirm, queue="emails", where=lambda job: job.event == Placed(1))
        fake.assert_queued_once(Confirm, where=lambda job: job.event == Placed(1))
        fake.assert_not_queued(Confirm, queue="default")
        fake.assert_not_queued(Flaky)
        fake.assert_queued_count(4)
        empty.assert_nothing_dispatched()
        empty.assert_nothing_queued()

    SEEN = "Dispatched were:\n  Placed(order_id=1)\n  Placed(order_id=2)\n  order.imported (17,)"

    @pytest.mark.parametrize(
        "check, sentence",
        [
            (
                lambda fake: fake.assert_dispatched(Lost),
                f"expected order.lost to be dispatched, but it was not. {SEEN}",
            ),
            (
                lambda fake: fake.assert_dispatched("stock.*"),
                f"expected 'stock.*' to be dispatched, but it was not. {SEEN}",
            ),
            (
                lambda fake: fake.assert_dispatched(RushPlaced, times=2),
                f"expected {__name__}.RushPlaced to be dispatched 2 times, but it was not. {SEEN}",
            ),
            (
                lambda fake: fake.assert_dispatched_once(Placed),
                f"expected order.placed to be dispatched once, but it was 2 times. {SEEN}",
            ),
            (
                lambda fake: fake.assert_dispatched("order.imported", times=2),
                f"expected 'order.imported' to be dispatched 2 times, but it was once. {SEEN}",
            ),
            (
                lambda fake: fake.assert_not_dispatched("order.imported"),
                f"expected 'order.imported' not to be dispatched, but it was once. {SEEN}",
            ),
            (
                lambda fake: fake.assert_dispatched(Placed, lambda placed: placed.order_id == 3),
                f"expected order.placed, where it fits, to be dispatched, but it was not. {SEEN}",
            ),
            (
                lambda fake: fake.assert_nothing_dispatched(),
                f"expected nothing to be dispatched. {SEEN}",
            ),
        ],
    )
    def test_a_failure_shows_what_was_dispatched(self, fake, check, sentence):
        with pytest.raises(AssertionError) as failure:
            check(fake)

        assert said(failure) == sentence

    QUEUED = (
        f"Queued were:\n  {__name__}:Confirm in 'emails': Placed(order_id=1)"
        f"\n  {__name__}:Notify in 'default': Placed(order_id=1)"
        f"\n  {__name__}:Confirm in 'emails': Placed(order_id=2)"
        f"\n  {__name__}:Notify in 'default': Placed(order_id=2)"
    )

    @pytest.mark.parametrize(
        "check, sentence",
        [
            (
                lambda fake: fake.assert_queued(Flaky),
                f"expected {__name__}:Flaky to be queued, but it was not. {QUEUED}",
            ),
            (
                lambda fake: fake.assert_queued("flaky"),
                f"expected flaky to be queued, but it was not. {QUEUED}",
            ),
            (
                lambda fake: fake.assert_queued(Confirm, queue="urgent"),
                f"expected {__name__}:Confirm to be queued in 'urgent', but it was not. {QUEUED}",
            ),
            (
                lambda fake: fake.assert_queued_once(Confirm),
                f"expected {__name__}:Confirm to be queued once, but it was 2 times. {QUEUED}",
            ),
            (
                lambda fake: fake.assert_queued(Confirm, where=lambda job: job.delay),
                f"expected {__name__}:Confirm, where it fits, to be queued, but it was not. {QUEUED}",
            ),
            (
                lambda fake: fake.assert_not_queued(Confirm, queue="emails"),
                f"expected {__name__}:Confirm not to be queued in 'emails', but it was 2 times. {QUEUED}",
            ),
            (
                lambda fake: fake.assert_queued_count(1),
                f"expected 1 job to be queued, but 4 were. {QUEUED}",
            ),
            (
                lambda fake: fake.assert_nothing_queued(),
                f"expected nothing to be queued. {QUEUED}",
            ),
        ],
    )
    def test_a_failure_shows_what_was_queued(self, fake, check, sentence):
        with pytest.raises(AssertionError) as failure:
            check(fake)

        assert said(failure) == sentence

    def test_a_failure_says_when_nothing_happened(self, empty):
        with pytest.raises(AssertionError) as failure:
            empty.assert_dispatched(Placed)
        assert said(failure) == (
            "expected order.placed to be dispatched, but it was not. Nothing was dispatched."
        )

        with pytest.raises(AssertionError) as failure:
            empty.assert_queued_count(2)
        assert said(failure) == ("expected 2 jobs to be queued, but 0 were. Nothing was queued.")

    def test_a_failure_shows_names_payloads_and_delays(self, bus):
        bus.listen("order.imported", imported)
        with fake_events(bus) as fake:
            bus.dispatch("order.imported", 17, "csv")
        with pytest.raises(AssertionError) as failure:
            fake.assert_queued_count(2)

        assert said(failure) == (
            "expected 2 jobs to be queued, but 1 was. Queued were:"
            f"\n  {__name__}:imported in 'imports': order.imported (17, 'csv'), in 5 s"
        )

    def test_a_failure_shows_twenty_lines_and_how_many_more(self, bus):
        with fake_events(bus) as fake:
            for number in range(23):
                bus.dispatch(Placed(number))
        with pytest.raises(AssertionError) as failure:
            fake.assert_dispatched(Lost)

        lines = said(failure).splitlines()
        assert len(lines) == 22
        assert lines[-2:] == ["  Placed(order_id=19)", "  ... and 3 more"]

    def test_a_failure_shows_who_listens(self, bus):
        with fake_events(bus) as fake, pytest.raises(AssertionError) as failure:
            fake.assert_listening(Placed, Ledger)

        assert said(failure) == (
            f"expected {__name__}:Ledger to listen to order.placed, but it does not. Listening are:"
            f"\n  {__name__}:note\n  {__name__}:Confirm\n  {__name__}:Notify"
        )

    def test_a_failure_says_when_nobody_listens(self, bus):
        with fake_events(bus) as fake, pytest.raises(AssertionError) as failure:
            fake.assert_listening("stock.low", note)

        assert said(failure) == (
            f"expected {__name__}:note to listen to 'stock.low', but it does not. Nobody listens."
        )

    def test_fakes_say_how_much_they_hold(self, bus):
        with fake_events(bus) as events, fake_queue(bus) as queue:
            bus.dispatch(Placed(1))

        assert repr(events) == "<FakeEvents: 1 dispatched, 2 queued>"
        assert repr(queue) == "<FakeQueue: 0 queued>"


def test_under_pytest_the_default_file_is_refused_and_the_fixtures_are_named(monkeypatch, log):
    monkeypatch.delenv("EVENTBUS_URL", raising=False)
    bus = EventBus(listen={Placed: Confirm}, provide={Log: lambda: log})

    with pytest.raises(InvalidOption, match=re.escape("the fixture `fake_queue` or `fake_events`")):
        bus.dispatch(Placed(1))
