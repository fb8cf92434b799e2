"""
A typed event bus whose listeners are found by their hints, and queued by one marker.

```python
from eventbus import EventBus

bus = EventBus(discover=["shop.listeners"])
bus.dispatch(OrderShipped(order_id=1))
```
"""

from eventbus.bus import EventBus
from eventbus.dispatch.listeners import listens
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
