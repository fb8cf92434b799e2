"""A program that ends while it has queued work, or works itself, ends."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timeout(900)

DISPATCH = """
import os, sys, threading
from faults.application import Work, bus, worker
from eventbus.worker import Worker
for number in range(3):
    bus.dispatch(Work(f"{worker}-{number}", "pause 0"))
"""

ENDS = {
    "the last line": "",
    "sys.exit": "sys.exit(0)",
    "os._exit": "os._exit(0)",
    "an error": "raise SystemExit('bye') from ValueError()",
    "a fork": """
child = os.fork()
if not child:
    bus.dispatch(Work(f"{worker}-child", "pause 0"))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
    "a worker in a thread, at work": """
begun = threading.Event()
bus.listen(JobProcessing, lambda event: begun.set())
thread = threading.Thread(target=Worker(bus).run, daemon=True)
thread.start()
bus.dispatch(Work(f"{worker}-slow", "pause 20"))
assert begun.wait(20)
""",
    "a worker in a thread, idle": """
thread = threading.Thread(target=Worker(bus, sleep=30).run, daemon=True)
bus.connections.port().clear("default")
thread.start()
""",
    "a worker in a thread that was stopped": """
one = Worker(bus, sleep=30)
thread = threading.Thread(target=one.run)
thread.start()
one.stop()
thread.join(20)
assert not thread.is_alive()
""",
}


@pytest.mark.parametrize("way", ENDS.values(), ids=ENDS.keys())
def test_a_program_with_queued_work_ends(make_arena, results, full, way):
    """F41: 0 hangs."""
    arena = make_arena()
    times = 13 if full else 1
    program = DISPATCH.replace("Worker\n", "Worker\nfrom eventbus import JobProcessing\n") + way

    for _ in range(times):
        process = arena.spawn("program", "-c", program)
        code = process.await_exit(20)

        assert code == (1 if "bye" in way else 0), process.output
        assert "Fatal" not in process.output
    results.add("programs that end with queued work", arena, exits=times)
