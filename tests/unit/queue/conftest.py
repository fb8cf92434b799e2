"""A bus whose jobs lie in memory, and a worker that runs them in this thread."""

from __future__ import annotations

import pytest

from eventbus import EventBus
from eventbus.queue.lifecycle import LIFECYCLE, WorkerIdle, WorkerLooping
from eventbus.testing.clock import ManualClock
from eventbus.worker import Worker


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make_bus(clock):
    """Return a bus of the listeners given, in memory unless told otherwise."""
    made = []

    def make(*listeners, connections=None, **options):
        bus = EventBus(connections=connections or {"default": "memory://"}, clock=clock, **options)
        for one in listeners:
            if isinstance(one, tuple) and not isinstance(one[0], type):
                bus.listen(*one)
            else:
                bus.listen(one)
        made.append(bus)
        return bus

    yield make
    for one in made:
        one.close()


@pytest.fixture
def work():
    """Run what is due; return the worker."""

    def run(bus, connection=None, **options):
        worker = Worker(bus, connection, stop_when_empty=True, **options)
        worker.code = worker.run()
        return worker

    return run


@pytest.fixture
def told():
    """Return what a bus tells about its jobs, and the worker's begin and end, from now on."""

    def listen(bus):
        seen = []

        def hear(event):
            if not isinstance(event, (WorkerLooping, WorkerIdle)):
                seen.append(event)

        for kind in LIFECYCLE:
            bus.listen(kind, hear)
        return seen

    return listen
