"""A job's result and progress are kept for a while, and its handle reads them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest
from attrs import evolve

from eventbus import Attempt, EventBus, InteractsWithQueue, Job, ShouldQueue, Skip
from eventbus.backends.memory import MemoryBackend
from eventbus.errors import (
    BackendUnavailable,
    DecodeError,
    EncodeError,
    InvalidJob,
    InvalidOption,
    ListenError,
    NoResult,
    UnknownConnection,
    UnknownOption,
    UnsupportedOption,
)
from eventbus.queue.codec.typed import PayloadCodec
from eventbus.queue.handles import JobStatus
from eventbus.testing import ManualClock, fake_queue
from eventbus.worker import Worker

HOUR = 3600.0


@dataclass(frozen=True)
class Report:
    pages: int
    made: datetime


class Render(Job, keep_result=HOUR, tries=2):
    pages: int = 3
    way: str = ""

    def handle(self, attempt: Attempt) -> Report:
        for page in range(self.pages):
            attempt.progress({"page": page + 1})
        if self.way == "boom" or (self.way == "once" and attempt.number == 1):
            raise ValueError(self.way)
        if self.way == "delete":
            attempt.delete()
        if self.way == "wrong":
            return "no report"
        return Report(self.pages, datetime(2026, 1, 2, tzinfo=UTC))


class Sum(Job, InteractsWithQueue, keep_result=timedelta(hours=1)):
    numbers: list[int]

    async def handle(self):
        await self.attempt.aprogress(0.5)
        return sum(self.numbers)


class Silent(Job):
    talks: bool = False

    def handle(self, attempt: Attempt) -> int:
        if self.talks:
            attempt.progress(1)
        return 1


class Unstorable(Job, keep_result=1):
    def handle(self) -> AsyncIterator[int]: ...


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def bus(clock):
    with EventBus(
        connections={"default": MemoryBackend(clock=clock), "sync": "sync://", "null": "null://"}
    ) as bus:
        yield bus


@pytest.fixture
def store(bus):
    return bus.connections.port().backend


def work(bus):
    return Worker(bus, stop_when_empty=True).run()


def test_what_handle_returned_is_read_as_the_type_that_it_says(bus):
    handle = bus.enqueue(Render())
    with pytest.raises(NoResult, match="it waits for a worker") as early:
        handle.result()

    work(bus)

    assert early.value.status == JobStatus.WAITING
    assert handle.result() == Report(3, datetime(2026, 1, 2, tzinfo=UTC))
    assert handle.progress() == {"page": 3}
    assert handle.status() is JobStatus.GONE


def test_the_result_of_an_async_job_without_a_hint_is_plain_data(bus):
    handle = bus.enqueue(Sum([1, 2, 3]))

    work(bus)

    async def ask():
        return await handle.aresult(), await handle.aprogress()

    assert asyncio.run(ask()) == (6, 0.5)


def test_another_process_asks_by_the_class_and_the_id(bus):
    handle = bus.enqueue(Render())
    elsewhere = bus.job_handle(Render, handle.id)
    assert elsewhere.status() is JobStatus.WAITING
    assert bus.job_handle(Render, handle.id, queue="other").status() is JobStatus.GONE
    assert elsewhere.progress() is None

    work(bus)

    assert elsewhere.result() == handle.result()
    assert elsewhere.progress() == {"page": 3}
    assert bus.job_handle(Render, handle.id, connection="sync").status() is JobStatus.GONE


def test_what_cannot_be_asked_for_is_refused(bus):
    with pytest.raises(InvalidJob, match="no class that inherits Job"):
        bus.job_handle(Report, "a")
    with pytest.raises(InvalidOption, match="an id"):
        bus.job_handle(Render, "")
    with pytest.raises(UnknownConnection):
        bus.job_handle(Render, "a", connection="nowhere")
    with pytest.raises(InvalidOption, match="wait"):
        bus.enqueue(Render()).result(wait=-1)


def test_result_and_progress_end_with_their_life(bus, clock):
    handle = bus.enqueue(Render())
    work(bus)

    clock.advance(HOUR)

    with pytest.raises(NoResult, match="kept for long enough") as gone:
        handle.result()
    assert (gone.value.id, gone.value.status) == (handle.id, JobStatus.GONE)
    assert handle.progress() is None


def test_a_try_that_raises_leaves_no_result_and_the_next_one_does(bus):
    once, boom = bus.enqueue(Render(way="once")), bus.enqueue(Render(way="boom"))

    work(bus)

    assert once.result().pages == 3
    with pytest.raises(NoResult, match="it failed") as failed:
        boom.result()
    assert failed.value.status == JobStatus.FAILED


def test_a_job_that_deleted_itself_leaves_no_result(bus):
    handle = bus.enqueue(Render(way="delete"))

    work(bus)

    with pytest.raises(NoResult, match="deleted"):
        handle.result()


@pytest.mark.parametrize("way", ["release", "skip"])
def test_what_a_run_returns_that_settled_its_job_is_no_result_and_no_error(bus, caplog, way):
    """It says `-> int`, and has nothing to return."""

    class Early(Job, name="early", keep_result=1, middleware=[Skip.when(way == "skip")]):
        def handle(self, attempt: Attempt) -> int:
            if attempt.releases == 0:
                attempt.release()
                return None
            return 3

    handle = bus.enqueue(Early())
    work(bus)

    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
    if way == "skip":
        with pytest.raises(NoResult, match="deleted"):
            handle.result()
    else:
        assert handle.result() == 3


def test_an_answer_that_is_not_what_it_says_fails_the_job(bus):
    """Nobody would get it: that is an error of the job, in its own try."""
    handle = bus.enqueue(Render(way="wrong"))

    work(bus)

    assert handle.status() is JobStatus.FAILED
    assert "the result of" in bus.failed.find(handle.id).error


def test_a_type_that_cannot_be_stored_is_refused_when_it_is_enqueued(bus):
    with pytest.raises(EncodeError, match=r"the result of .*Unstorable"):
        bus.enqueue(Unstorable())
    assert bus.connections.port().queues() == []


def test_a_class_that_keeps_nothing_says_what_to_write(bus):
    handle = bus.enqueue(Silent())
    talks = bus.enqueue(Silent(talks=True))

    work(bus)

    with pytest.raises(NoResult, match="keep_result=3600"):
        handle.result(wait=HOUR)
    assert handle.progress() is None
    assert "keep_result=3600" in bus.failed.find(talks.id).error


@pytest.mark.parametrize("life", [0, -1, "long", True, timedelta(0)])
def test_a_life_is_a_duration(life):
    with pytest.raises(InvalidOption, match="keep_result"):

        class Wrong(Job, keep_result=life):
            def handle(self) -> None: ...


def test_a_listener_gives_no_answer(bus):
    class Listens(ShouldQueue):
        keep_result = HOUR

        def handle(self, event: Report) -> int:
            return event.pages

    with pytest.raises(ListenError, match="Enqueue a Job"):
        bus.listen(Report, Listens)


def test_a_store_that_keeps_no_results_is_refused_when_it_is_enqueued(clock):
    class Plain(MemoryBackend):
        capabilities = evolve(MemoryBackend.capabilities, results=False)

    with EventBus(connections={"default": Plain(clock=clock)}) as bus:
        with pytest.raises(UnsupportedOption, match="keep_result"):
            bus.enqueue_many([Silent(), Render()])
        assert bus.connections.port().queues() == []
        assert bus.enqueue(Silent()).status() is JobStatus.WAITING


def test_a_field_cannot_have_the_name_of_the_option():
    with pytest.raises(InvalidJob, match="keep_result"):

        class Wrong(Job):
            keep_result: int

    with pytest.raises(UnknownOption, match="did you mean 'keep_result'"):

        class Misspelt(Job, keep_results=1):
            def handle(self) -> None: ...


def test_on_a_sync_connection_it_is_there_at_once(bus):
    assert bus.enqueue(Render(), connection="sync").result().pages == 3
    assert bus.enqueue(Render(), connection="sync").progress() is None
    with pytest.raises(NoResult, match="keep_result=3600"):
        bus.enqueue(Silent(), connection="sync").result()
    assert bus.run(Render()).pages == 3


def test_what_never_runs_has_none(bus):
    with pytest.raises(NoResult, match="taken back"):
        bus.enqueue(Render(), connection="null").result(wait=HOUR)
    with pytest.raises(NoResult, match="never enqueued"):
        bus.enqueue_if(False, Render()).result(wait=HOUR)


def test_a_faked_queue_has_the_result_once_it_was_drained(bus):
    with fake_queue(bus) as queue:
        handle = bus.enqueue(Render())
        with pytest.raises(NoResult):
            handle.result()
        queue.drain()
        assert handle.result().pages == 3


def waits_sync(handle, wait):
    return handle.result(wait=wait)


def waits_async(handle, wait):
    return asyncio.run(handle.aresult(wait=wait))


@pytest.mark.parametrize("waits", [waits_sync, waits_async])
def test_a_handle_waits_for_the_result(bus, store, monkeypatch, waits):
    handle = bus.enqueue(Render())
    looked, found = Event(), []
    kept = store.kept

    def looking(name):
        value = kept(name)
        looked.set()
        return value

    monkeypatch.setattr(store, "kept", looking)
    waiting = Thread(target=lambda: found.append(waits(handle, HOUR)))
    waiting.start()
    assert looked.wait(60)

    work(bus)

    waiting.join(60)
    assert found[0].pages == 3


@pytest.mark.parametrize("waits", [waits_sync, waits_async])
def test_a_handle_waits_no_longer_than_it_was_told(bus, waits):
    with pytest.raises(NoResult, match="it waits for a worker"):
        waits(bus.enqueue(Render()), 0.01)


@pytest.mark.parametrize("waits", [waits_sync, waits_async])
def test_a_handle_does_not_wait_for_what_has_failed(bus, waits):
    handle = bus.enqueue(Render(way="boom"))
    work(bus)
    with pytest.raises(NoResult, match="it failed"):
        waits(handle, HOUR)


def test_a_result_that_comes_between_two_looks_is_seen(bus, store, monkeypatch):
    handle = bus.enqueue(Render())
    find = store.find

    def ends_first(ids, *, queues=None):
        monkeypatch.undo()
        work(bus)
        return find(ids, queues=queues)

    monkeypatch.setattr(store, "find", ends_first)

    assert handle.result().pages == 3


def test_the_result_is_there_before_the_job_is_gone(bus, store, monkeypatch):
    handle = bus.enqueue(Render())
    ack, seen = store.ack, []

    def acked(claims):
        seen.append(handle.result().pages)
        return ack(claims)

    monkeypatch.setattr(store, "ack", acked)
    work(bus)

    assert seen == [3]


def test_a_store_that_is_away_as_the_result_is_to_be_kept_is_asked_again(bus, store, monkeypatch):
    handle = bus.enqueue(Sum([1, 2]))
    keep, tried = store.keep, []

    def away_once(name, value, *, life):
        tried.append(name)
        if tried.count(name) == 1 and name.startswith("result"):
            raise BackendUnavailable(backend="memory", operation="keep", reason="away")
        keep(name, value, life=life)

    monkeypatch.setattr(store, "keep", away_once)
    work(bus)

    assert handle.result() == 3
    assert tried.count(f"result:{handle.id}") == 2


def test_progress_that_is_not_kept_is_a_warning_and_the_job_goes_on(
    bus, store, monkeypatch, caplog
):
    handle = bus.enqueue(Sum([1, 2]))
    keep = store.keep

    def away(name, value, *, life):
        if name.startswith("progress"):
            raise BackendUnavailable(backend="memory", operation="keep", reason="away")
        keep(name, value, life=life)

    monkeypatch.setattr(store, "keep", away)
    with caplog.at_level(logging.WARNING, "eventbus.queue"):
        work(bus)

    assert handle.result() == 3
    [record] = [one for one in caplog.records if "progress" in one.getMessage()]
    assert handle.id in record.getMessage()
    assert record.job == {"id": handle.id}


def test_progress_of_a_type_that_cannot_travel_is_an_error_of_the_job(bus):
    class Odd(Job, name="odd", keep_result=1):
        def handle(self, attempt: Attempt) -> None:
            attempt.progress(object())

    handle = bus.enqueue(Odd())
    work(bus)
    assert "the progress of a job" in bus.failed.find(handle.id).error


@pytest.mark.parametrize("kept", [b"", b"{}", b"[", b"[1", b'["x"]', b"[" * 10_000, b"\xff"])
def test_what_somebody_else_wrote_there_is_refused(bus, store, kept):
    """Whoever can write into the store gets no more than an error."""
    handle = bus.enqueue(Render())
    store.keep(f"result:{handle.id}", kept, life=HOUR)
    with pytest.raises(DecodeError):
        handle.result()


@pytest.mark.parametrize("kept", [b"", b"{}", b"[", b"\xff"])
def test_progress_that_somebody_else_wrote_is_refused(bus, store, kept):
    handle = bus.enqueue(Render())
    store.keep(f"progress:{handle.id}", kept, life=HOUR)
    with pytest.raises(DecodeError):
        handle.progress()


def test_an_empty_list_is_no_result(bus, store):
    handle = bus.enqueue(Render())
    store.keep(f"result:{handle.id}", PayloadCodec().encode(()), life=HOUR)
    with pytest.raises(NoResult):
        handle.result()


class Transaction:
    """What a job needs, and what must be closed before its result is told."""


def test_a_run_whose_scope_cannot_be_closed_leaves_no_result(clock):
    def begun():
        yield Transaction()
        raise OSError("commit failed")

    class Pays(Job, name="pays", keep_result=1):
        def handle(self, transaction: Transaction) -> int:
            return 1

    with EventBus(
        connections={"default": MemoryBackend(clock=clock)}, provide={Transaction: begun}
    ) as bus:
        handle = bus.enqueue(Pays())
        work(bus)
        with pytest.raises(NoResult, match="it failed"):
            handle.result()


def test_a_bound_job_has_the_result_of_what_stands_in_for_it(bus):
    class Bound(Job, name="bound", keep_result=1): ...

    def runs(job: Bound) -> str:
        return "bound"

    bus.bind(Bound, runs)
    handle = bus.enqueue(Bound())
    work(bus)
    assert handle.result() == "bound"
