"""Workers: options by name, a block in which one runs."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from eventbus import EventBus
from eventbus.worker import ExitCode, Worker

bus = EventBus(connections={"default": "memory://"})

assert_type(bus.worker(), Worker)
assert_type(bus.worker("default", ["high", "low"], tries=3, max_time=timedelta(seconds=1)), Worker)
assert_type(bus.worker(queues={"high": 3, "low": 1}, backoff=(1, timedelta(minutes=1))), Worker)

with bus.worker(stop_when_empty=True) as worker:
    assert_type(worker, Worker)
    assert_type(worker.drain(), bool)
    assert_type(worker.drain(timeout=1.5), bool)

assert_type(bus.worker(threads=4), Worker)
assert_type(bus.worker(concurrency=100), Worker)
assert_type(bus.worker(once=True).run(), ExitCode)
