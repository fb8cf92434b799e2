"""
What tests of applications and of backends use.

The pytest fixtures `fake_events` and `fake_queue` come with the package; the context managers of
the same names are here, for other test runners.
"""

from eventbus.testing.clock import ManualClock
from eventbus.testing.fakes import FakeEvents, FakeQueue, fake_events, fake_queue
from eventbus.testing.recorded import Dispatched, QueuedJob

__all__ = [
    "Dispatched",
    "FakeEvents",
    "FakeQueue",
    "ManualClock",
    "QueuedJob",
    "fake_events",
    "fake_queue",
]
