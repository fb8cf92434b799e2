"""
A typed event bus whose listeners are found by their hints, and queued by one marker.

```python
from eventbus import EventBus

bus = EventBus(discover=["shop.listeners"])
bus.dispatch(OrderShipped(order_id=1))
```
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.dispatch.marking import listens
    from eventbus.dispatch.names import event
    from eventbus.errors import EventBusError, LeaseLost
    from eventbus.queue.attempt import Attempt, InteractsWithQueue
    from eventbus.queue.lifecycle import (
        JobAttempted,
        JobExceptionOccurred,
        JobFailed,
        JobProcessed,
        JobProcessing,
        JobReleased,
        WorkerStarting,
        WorkerStopping,
    )
    from eventbus.queue.options import ShouldQueue

__all__ = [
    "Attempt",
    "EventBus",
    "EventBusError",
    "InteractsWithQueue",
    "JobAttempted",
    "JobExceptionOccurred",
    "JobFailed",
    "JobProcessed",
    "JobProcessing",
    "JobReleased",
    "LeaseLost",
    "ShouldQueue",
    "WorkerStarting",
    "WorkerStopping",
    "event",
    "listens",
]


def __getattr__(name: str) -> object:
    # Each name is imported when it is first used: a module of listeners that needs `listens` loads
    # no queue, and the pytest plugin, which every test run of every user loads, loads nothing.
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=None)
    value = getattr(import_module(_home(name)), name)
    globals()[name] = value
    return value


def _home(name: str) -> str:
    """Return the module that a public name comes from."""
    if name.startswith(("Job", "Worker")):
        return "eventbus.queue.lifecycle"
    return {
        "Attempt": "eventbus.queue.attempt",
        "EventBus": "eventbus.bus",
        "EventBusError": "eventbus.errors",
        "InteractsWithQueue": "eventbus.queue.attempt",
        "LeaseLost": "eventbus.errors",
        "ShouldQueue": "eventbus.queue.options",
        "event": "eventbus.dispatch.names",
        "listens": "eventbus.dispatch.marking",
    }[name]


def __dir__() -> list[str]:
    return [*globals(), *__all__]
