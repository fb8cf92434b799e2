"""Limits, unique jobs and middleware around dispatch: how they are written, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, assert_type
from uuid import UUID

from eventbus import (
    Debounce,
    Dispatching,
    EventBus,
    Job,
    Limit,
    LimitExceeded,
    RateLimited,
    ShouldQueue,
    ThrottleErrors,
    Unique,
    WithoutOverlapping,
    listens,
)
from shop import OrderShipped

bus = EventBus(connections={"default": "memory://"})
assert_type(Limit.per_minute(100).by(UUID(int=1)), Limit)
assert_type(Limit(1, timedelta(days=1), 17).every, float)
api = bus.limiter("api", [Limit.per_second(5), Limit.per_day(1000)])
bus.limiter("mail", lambda event: Limit.per_hour(10).by(event.order_id))
bus.limiter("none", None, connection="default")

with bus.throttle("weather", allow=10, every=timedelta(minutes=1), block=1.5) as throttle:
    assert_type(throttle.attempt(), float)
with bus.funnel("import", limit=2, life=60), api("acme", block=3):
    pass
try:
    with bus.funnel("import"):
        pass
except LimitExceeded as error:
    assert_type(error.retry_in, float)


async def within() -> None:
    async with bus.throttle("weather", allow=10, every=60) as gate:
        assert_type(await gate.aattempt(), float)
    async with bus.funnel("import"), api():
        pass


class Reindex(
    Job,
    unique=Unique(lambda job: job.shop, life=3600, until="start"),
    middleware=[
        RateLimited("api", release=timedelta(minutes=1)),
        WithoutOverlapping(lambda job: job.shop, skip=True),
        ThrottleErrors(10, per=600, on=(OSError, ValueError)),
    ],
):
    shop: int


class Once(Job, unique=True): ...


class Same(Job, unique=lambda job: job.number):
    number: int


class Save(Job, debounce=Debounce(5, max_wait=timedelta(minutes=1), by="all")): ...


class Note(ShouldQueue):
    unique = Unique(lambda event: event.order_id)
    middleware = (WithoutOverlapping(), RateLimited("api"))

    def handle(self, event: OrderShipped) -> None: ...


@listens(OrderShipped, queue=True, debounce=5)
def note(event: OrderShipped) -> None: ...


def timed(dispatching: Dispatching, call_next: Callable[[], Any]) -> Any:
    assert_type(dispatching.name, str)
    return call_next()


async def spanned(dispatching: Dispatching, call_next: Callable[[], Any]) -> Any:
    return await call_next()


bus.use(timed, spanned, lambda dispatching, call_next: [dispatching.event, *call_next()])
