"""What bounds a queued listener: options as attributes and as methods, and ready-made backoffs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import assert_type

from eventbus import Attempt, EventBus, ShouldQueue, listens
from eventbus.errors import MissingRecord
from eventbus.queue.failed import ParkedJob
from eventbus.queue.retry import exponential, jittered
from shop import OrderShipped

bus = EventBus(connections={"default": "memory://", "redis": "memory://"})


class Bounded(ShouldQueue):
    retry_until = timedelta(hours=1)
    max_exceptions = 3
    max_releases = 10
    fail_on_timeout = True
    no_retry = (ValueError, KeyError)
    discard_on_missing = True
    display_name = "Bounded"
    backoff = exponential(1, limit=timedelta(minutes=5), jitter=0.1)

    def handle(self, event: OrderShipped, attempt: Attempt) -> None:
        assert_type(attempt.deadline, datetime | None)
        assert_type(attempt.exceptions, int)
        attempt.release(timedelta(seconds=5), spend=True)
        raise MissingRecord(record="order", key=17)

    def interrupted(self, signum: int) -> None: ...


class Ruled(ShouldQueue):
    no_retry = OSError

    def retry_until(self, event: OrderShipped) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    @staticmethod
    def tries(event: OrderShipped) -> int:
        return 3

    @classmethod
    def timeout(cls, event: OrderShipped) -> float:
        return 5

    def backoff(self, attempt: int, error: BaseException) -> float:
        return 1

    def handle(self, event: OrderShipped) -> None: ...


class Jittered(ShouldQueue):
    backoff = jittered((1, timedelta(seconds=5), 30), by=0.5, random=Random(1))
    retry_until = 60

    def handle(self, event: OrderShipped) -> None: ...


@listens(OrderShipped, queue=True, no_retry=ValueError, retry_until=60, interrupted=print)
def by_option(event: OrderShipped) -> None: ...


bus.route(Bounded, queue="emails")
bus.route(ShouldQueue, connection="redis")
bus.route(by_option, queue="emails", connection="redis")
bus.route((Ruled, "handle"), queue="emails")
assert_type(bus.failed.parked(), list[ParkedJob])
