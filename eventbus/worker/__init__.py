"""
Workers: processes that claim jobs and run them.

`eventbus-worker shop.app:bus` is one; `Worker(bus).run()` is the same from Python.
"""

from eventbus.worker.exits import ExitCode, StopReason
from eventbus.worker.loop import Worker

__all__ = ["ExitCode", "StopReason", "Worker"]
