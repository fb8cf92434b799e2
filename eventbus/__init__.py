"""
A typed event bus whose listeners are found by their hints, and queued by one marker.

```python
from eventbus import EventBus

bus = EventBus(discover=["shop.listeners"])
bus.dispatch(OrderShipped(order_id=1))
```
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.dispatch.around import Dispatching
    from eventbus.dispatch.marking import listens
    from eventbus.dispatch.names import event
    from eventbus.errors import EventBusError, LeaseLost, LimitExceeded, MissingRecord
    from eventbus.queue.attempt import Attempt, InteractsWithQueue
    from eventbus.queue.batches import BatchHandle
    from eventbus.queue.handles import JobHandle
    from eventbus.queue.jobs import Job
    from eventbus.queue.lifecycle import (
        BatchFinished,
        JobAttempted,
        JobDebounced,
        JobExceptionOccurred,
        JobFailed,
        JobProcessed,
        JobProcessing,
        JobReleased,
        UniqueJobSkipped,
        WorkerIdle,
        WorkerLooping,
        WorkerStarting,
        WorkerStopping,
    )
    from eventbus.queue.limiting import RateLimited, ThrottleErrors, WithoutOverlapping
    from eventbus.queue.limits import Limit
    from eventbus.queue.middleware import FailOn, Middleware, Release, Skip
    from eventbus.queue.options import ShouldQueue
    from eventbus.queue.retry import exponential, jittered
    from eventbus.queue.uniqueness import Debounce, Unique

__all__ = [
    "Attempt",
    "BatchFinished",
    "BatchHandle",
    "Debounce",
    "Dispatching",
    "EventBus",
    "EventBusError",
    "FailOn",
    "InteractsWithQueue",
    "Job",
    "JobAttempted",
    "JobDebounced",
    "JobExceptionOccurred",
    "JobFailed",
    "JobHandle",
    "JobProcessed",
    "JobProcessing",
    "JobReleased",
    "LeaseLost",
    "Limit",
    "LimitExceeded",
    "Middleware",
    "MissingRecord",
    "RateLimited",
    "Release",
    "ShouldQueue",
    "Skip",
    "ThrottleErrors",
    "Unique",
    "UniqueJobSkipped",
    "WithoutOverlapping",
    "WorkerIdle",
    "WorkerLooping",
    "WorkerStarting",
    "WorkerStopping",
    "event",
    "exponential",
    "jittered",
    "listens",
]

#: The module that each public name comes from.
_HOMES: Final[Mapping[str, str]] = {
    "Attempt": "eventbus.queue.attempt",
    "BatchFinished": "eventbus.queue.lifecycle",
    "BatchHandle": "eventbus.queue.batches",
    "Debounce": "eventbus.queue.uniqueness",
    "Dispatching": "eventbus.dispatch.around",
    "EventBus": "eventbus.bus",
    "EventBusError": "eventbus.errors",
    "FailOn": "eventbus.queue.middleware",
    "InteractsWithQueue": "eventbus.queue.attempt",
    "Job": "eventbus.queue.jobs",
    "JobAttempted": "eventbus.queue.lifecycle",
    "JobDebounced": "eventbus.queue.lifecycle",
    "JobExceptionOccurred": "eventbus.queue.lifecycle",
    "JobFailed": "eventbus.queue.lifecycle",
    "JobHandle": "eventbus.queue.handles",
    "JobProcessed": "eventbus.queue.lifecycle",
    "JobProcessing": "eventbus.queue.lifecycle",
    "JobReleased": "eventbus.queue.lifecycle",
    "LeaseLost": "eventbus.errors",
    "Limit": "eventbus.queue.limits",
    "LimitExceeded": "eventbus.errors",
    "Middleware": "eventbus.queue.middleware",
    "MissingRecord": "eventbus.errors",
    "RateLimited": "eventbus.queue.limiting",
    "Release": "eventbus.queue.middleware",
    "ShouldQueue": "eventbus.queue.options",
    "Skip": "eventbus.queue.middleware",
    "ThrottleErrors": "eventbus.queue.limiting",
    "Unique": "eventbus.queue.uniqueness",
    "UniqueJobSkipped": "eventbus.queue.lifecycle",
    "WithoutOverlapping": "eventbus.queue.limiting",
    "WorkerIdle": "eventbus.queue.lifecycle",
    "WorkerLooping": "eventbus.queue.lifecycle",
    "WorkerStarting": "eventbus.queue.lifecycle",
    "WorkerStopping": "eventbus.queue.lifecycle",
    "event": "eventbus.dispatch.names",
    "exponential": "eventbus.queue.retry",
    "jittered": "eventbus.queue.retry",
    "listens": "eventbus.dispatch.marking",
}


def __getattr__(name: str) -> object:
    # Each name is imported when it is first used: a module of listeners that needs `listens` loads
    # no queue, and the pytest plugin, which every test run of every user loads, loads nothing.
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=None)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
