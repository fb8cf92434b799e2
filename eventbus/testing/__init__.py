"""
What tests of applications and of backends use.

The pytest fixtures `fake_events` and `fake_queue` come with the package; the context managers of
the same names are here, for other test runners.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def __getattr__(name: str) -> object:
    # Imported when used: the pytest plugin lies in this package, and every test run loads it.
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=None)
    home = {"ManualClock": "clock", "Dispatched": "recorded", "QueuedJob": "recorded"}
    value = getattr(import_module(f"{__name__}.{home.get(name, 'fakes')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
