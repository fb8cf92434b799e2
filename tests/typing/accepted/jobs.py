"""Jobs: their fields, their options, what enqueues them, and what stands in for a `handle`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, assert_type

from attrs import field

from eventbus import (
    Attempt,
    EventBus,
    FailOn,
    InteractsWithQueue,
    Job,
    JobHandle,
    Middleware,
    Skip,
    exponential,
)
from eventbus.errors import NoResult
from eventbus.queue.handles import JobStatus
from eventbus.testing import fake_events, fake_queue
from shop import Mailer


async def noted(attempt: Attempt, call_next: Callable[[], Any]) -> Any:
    return await call_next()


class Noted:
    def __call__(self, attempt: Attempt, call_next: Callable[[], Any]) -> object:
        return call_next()


class Base(Job, queue="reports", connection=None):
    shared: ClassVar[list[int]] = []
    number: int


class Monthly(
    Base,
    name="reports.monthly",
    display_name="Monthly",
    aliases=["shop:Report"],
    delay=timedelta(minutes=1),
    tries=3,
    backoff=(1, 5),
    timeout=2.5,
    retry_until=datetime(2100, 1, 1, tzinfo=UTC),
    max_exceptions=2,
    max_releases=1,
    fail_on_timeout=True,
    no_retry=(KeyError, ValueError),
    discard_on_missing=True,
    keep_result=timedelta(hours=1),
    middleware=[Skip.when(lambda job: not job.tags), FailOn(KeyError), noted, Noted, Noted()],
):
    country: str = "de"
    tags: list[str] = field(factory=list, kw_only=True)

    def handle(self, mailer: Mailer, attempt: Attempt) -> str:
        assert_type(self.number, int)
        mailer.send()
        attempt.progress(0.5)
        return f"{self.number} {attempt.number}"

    def failed(self, error: BaseException) -> None: ...

    def interrupted(self, signum: int) -> None: ...

    def prepare(self) -> bool:
        return True

    def via_queue(self) -> str:
        return self.country


class Through(Job):
    def middleware(self) -> list[Middleware]:
        return [Noted()]

    def handle(self) -> None: ...


class Ruled(Job, InteractsWithQueue, name="ruled", backoff=exponential(1), no_retry=KeyError):
    def tries(self) -> int:
        return 3

    def timeout(self) -> float:
        return 2.5

    async def handle(self) -> int:
        assert_type(self.attempt, Attempt)
        return 1


class ByKeyword(Job, name="by.keyword", tries=lambda: 3, backoff=lambda attempt, error: 7.0):
    def handle(self) -> None: ...


class Lines(StrEnum):
    SLOW = "slow"


bus = EventBus(connections={"default": "memory://"})
job = Monthly(17, country="fr", tags=["new"])
assert_type(job, Monthly)
assert_type(job.country, str)
assert_type(Monthly(number=1).tags, list[str])

assert_type(bus.enqueue(job), JobHandle)
assert_type(bus.enqueue(job, queue="slow", connection="default", delay=5), JobHandle)
assert_type(bus.enqueue(job, queue=Lines.SLOW, delay=timedelta(days=1)), JobHandle)
assert_type(bus.enqueue(job, delay=datetime.now(UTC)), JobHandle)
assert_type(bus.enqueue_many([job, Ruled()], queue="slow"), list[JobHandle])
assert_type(bus.enqueue_many(Monthly(number) for number in range(3)), list[JobHandle])
assert_type(bus.enqueue_if(job.tags, job, delay=1), JobHandle)
assert_type(bus.enqueue_unless(None, job), JobHandle)
handle = bus.enqueue(job)
assert_type(handle.id, str)
assert_type(handle.status(), JobStatus)
assert_type(handle.cancel(), bool)
assert_type(bus.job_handle(Monthly, handle.id, queue="reports", connection="default"), JobHandle)
handle.progress()
with suppress(NoResult):
    handle.result(wait=timedelta(milliseconds=1))


async def in_async_code() -> None:
    assert_type(await bus.aenqueue(job, delay=1), JobHandle)
    assert_type(await bus.aenqueue_many([job]), list[JobHandle])
    assert_type(await handle.astatus(), JobStatus)
    assert_type(await handle.acancel(), bool)
    await bus.arun(Ruled())


asyncio.run(in_async_code())


def run_monthly(job: Monthly, mailer: Mailer) -> str:
    return job.country


def run_any(job: Base) -> None: ...


class Runs:
    def __init__(self, mailer: Mailer) -> None: ...
    def handle(self, job: Monthly, attempt: Attempt) -> None: ...


bus.bind(Monthly, run_any)
bus.bind(Monthly, Runs)
bus.bind(Monthly, lambda job: job.country)
bus.bind(Monthly, run_monthly)
bus.run(job)
bus.route(Base, queue="slow")

with fake_queue(bus) as queue, fake_events(bus, only=[Monthly]) as events:
    bus.enqueue(job)
    bus.enqueue(Ruled())
    assert_type(events.enqueued(Monthly), list[Monthly])
    events.assert_enqueued(Monthly, where=lambda job: job.number == 17)
    events.assert_enqueued(job)
    queue.assert_enqueued(Ruled, queue="default", times=1)
    queue.assert_not_enqueued(job)
