"""Chains and batches: what may be a member, their options, and what is known of them afterwards."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, assert_type

from eventbus import (
    Attempt,
    BatchFinished,
    BatchHandle,
    EventBus,
    Job,
    JobHandle,
    ShouldQueue,
)
from eventbus.queue.batches import BatchState
from eventbus.queue.following import Followers
from eventbus.queue.lifecycle import BatchCanceled, BatchDispatched, BatchStarted
from eventbus.queue.plans import Batch, Chain


class Fetch(Job, name="plans.fetch"):
    podcast: int

    def handle(self, attempt: Attempt) -> None:
        assert_type(attempt.batch, BatchHandle | None)
        if attempt.batch is not None:
            assert_type(attempt.batch.state(), BatchState)


class Publish(Job, name="plans.publish", run_if_canceled=True):
    def handle(self) -> None: ...


class Split(Job, name="plans.split"):
    parts: int

    def handle(self, attempt: Attempt) -> None:
        assert_type(attempt.chain, Followers)
        attempt.chain.prepend(*[Fetch(number) for number in range(self.parts)], None)
        attempt.chain.append(Publish(), bus.chain(Fetch(1), Publish()))
        if attempt.batch is not None:
            assert_type(attempt.batch.add(Fetch(1), bus.chain(Fetch(2)), None), int)
        if not self.parts:
            attempt.stop_chain()


bus = EventBus(connections={"default": "memory://"})
explicit: Fetch | None = None

# Members.

chain = bus.chain(Fetch(1), bus.chain(Fetch(2), Publish()), bus.batch(Fetch(3)), explicit, None)
assert_type(chain, Chain)
assert_type(chain.prepend(Fetch(0), None).append(bus.batch(Publish())), Chain)
batch = bus.batch(Fetch(1), bus.chain(Fetch(2), Publish()), bus.batch(Fetch(3)), explicit, None)
assert_type(batch, Batch)
assert_type(batch.add(*[Fetch(number) for number in range(3)]), Batch)
bus.chain(*map(Fetch, range(3)))
bus.batch(*(Fetch(number) for number in range(3)))
bus.batch()
assert_type(chain.members, list[Job | Chain | Batch])

# Options.

bus.chain(Fetch(1), queue="slow", connection="default", delay=2.5, catch=Publish())
bus.chain(Fetch(1), queue=None, connection=None, delay=timedelta(minutes=1), catch=None)
bus.batch(
    Fetch(1),
    name="rows",
    queue="slow",
    connection="default",
    allow_failures=True,
    on_success=Publish(),
    on_error=Publish(),
    on_done=Publish(),
)
bus.batch(Fetch(1), queue=None, on_success=None, on_error=None, on_done=None)

# Enqueued.

assert_type(chain.enqueue(), JobHandle)
assert_type(chain.enqueue_if(explicit), JobHandle | None)
assert_type(chain.enqueue_unless([]), JobHandle | None)
handle = batch.enqueue()
assert_type(handle, BatchHandle)
assert_type(batch.enqueue_if(explicit), BatchHandle | None)
assert_type(batch.enqueue_unless(True), BatchHandle | None)

state = handle.state()
assert_type(handle.id, str)
assert_type(state.total, int)
assert_type(state.progress, int)
assert_type(state.finished, bool)
assert_type(state.finished_at, datetime | None)
assert_type(state.to_dict(), dict[str, Any])
assert_type(handle.failed_ids(), list[str])
assert_type(handle.retry(), list[str])
assert_type(handle.cancel(), bool)

# Found again.

assert_type(bus.batch_handle(handle.id, connection="default"), BatchHandle)
assert_type(bus.batches(), list[BatchState])
assert_type(bus.batches(connection="default"), list[BatchState])
assert_type(bus.prune_batches(older_than=timedelta(days=1), unfinished=True), int)
assert_type(bus.prune_batches(older_than=3600, connection="default"), int)


async def in_async_code() -> None:
    assert_type(await chain.aenqueue(), JobHandle)
    found = await batch.aenqueue()
    assert_type(found, BatchHandle)
    assert_type(await found.astate(), BatchState)
    assert_type(await found.acancel(), bool)
    assert_type(await found.aadd(Fetch(1)), int)
    assert_type(await found.aretry(), list[str])


asyncio.run(in_async_code())

# Events.


def dispatched(event: BatchDispatched) -> None:
    assert_type(event.total, int)


def started(event: BatchStarted | BatchCanceled) -> None:
    assert_type(event.skipped, int)


class Archive(ShouldQueue):
    def handle(self, event: BatchFinished) -> None:
        assert_type(event.name, str)


bus.listen(BatchDispatched, dispatched)
bus.listen(BatchStarted, started)
bus.listen(BatchCanceled, started)
