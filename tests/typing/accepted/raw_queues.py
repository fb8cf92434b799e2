"""Raw queues: JSON in, a claim out, and a handler that says True."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, assert_type

from eventbus import EventBus
from eventbus.backends.base import Sizes
from eventbus.queue.raw.claims import RawClaim
from eventbus.queue.raw.handle import RawQueue
from eventbus.queue.raw.stored import BuriedJob, WaitingJob

bus = EventBus(connections={"default": "memory://", "mail": "memory://"})
emails = bus.queue("emails", connection="mail")

assert_type(emails, RawQueue)
assert_type(bus.queue("high", "low"), RawQueue)
assert_type(emails.push({"to": "a@example.com"}, delay=timedelta(seconds=0), id="a"), str)
assert_type(emails.push_many(["b", 3, None]), list[str])
assert_type(emails.claim(lease=timedelta(minutes=1), wait=0.0), RawClaim | None)

for job in emails:
    assert_type(job, RawClaim)
    assert_type(job.payload, Any)
    assert_type(job.attempts, int)
    job.extend(30)
    job.release(timedelta(seconds=1), spend=True)


def send(job: RawClaim) -> bool:
    try:
        return bool(job.payload["to"])
    except ValueError as error:
        job.bury(error)
        return False


stop = threading.Event()
assert_type(emails.work(send, idle=0.1, stop=stop.is_set, stop_when_empty=True), int)
assert_type(emails.work(lambda job: job.payload == 1, stop_when_empty=True), int)
assert_type(emails.peek(), list[WaitingJob])
assert_type(emails.buried(), Iterator[BuriedJob])
assert_type(emails.revive(10), list[str])
assert_type(emails.purge(["a", "b"]), list[str])
assert_type(emails.size(), Sizes)
assert_type(emails.clear(), int)


async def push() -> None:
    assert_type(await emails.apush({"to": "a@example.com"}), str)
    assert_type(await emails.apush_many([1, 2], ids=["one", "two"]), list[str])
