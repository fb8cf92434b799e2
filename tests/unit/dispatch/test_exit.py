"""The interpreter ends while loops of threads are open: nothing hangs, nothing is said."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, sys, threading
from eventbus import EventBus

class Shipped: ...

async def listener(event):
    await asyncio.to_thread(int)  # an executor, which ends with the loop
    return 1

bus = EventBus(listen={Shipped: listener})
"""

ENDINGS = {
    "the program ends": "assert bus.dispatch(Shipped()) == [1]",
    "the bus is closed first": "bus.dispatch(Shipped()); bus.close()",
    "the bus is dropped first": "bus.dispatch(Shipped()); del bus",
    "an async generator is left": """
async def numbers():
    yield 1
    yield 2
async def begins(event):
    return await anext(numbers())
bus.listen(Shipped, begins)
assert bus.dispatch(Shipped()) == [1, 1]
""",
    "in async code": "print(asyncio.run(bus.adispatch(Shipped())) == [1], end='')",
    "sys.exit": "bus.dispatch(Shipped()); sys.exit(0)",
    "threads have ended": """
bus.dispatch(Shipped())
threads = [threading.Thread(target=bus.dispatch, args=(Shipped(),)) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""",
    "a thread dispatches after the main one has ended": """
def later():
    threading.main_thread().join()
    assert bus.dispatch("named") == [1]
async def named():
    return 1
bus.listen("named", named)
bus.dispatch(Shipped())
threading.Thread(target=later).start()
""",
    "a daemon thread is waiting": """
begun = threading.Event()
async def endless(event):
    begun.set()
    await asyncio.Event().wait()
bus.forget(Shipped)
bus.listen(Shipped, endless)
threading.Thread(target=bus.dispatch, args=(Shipped(),), daemon=True).start()
begun.wait(20)
""",
    "a background task is left": """
async def leaves(event):
    asyncio.get_running_loop().left = asyncio.ensure_future(asyncio.Event().wait())
bus.listen(Shipped, leaves)
bus.dispatch(Shipped())
""",
    "a fork ends by os._exit": """
bus.dispatch(Shipped())
child = os.fork()
if not child:
    ok = bus.dispatch(Shipped()) == [1]
    os._exit(0 if ok else 3)
assert os.waitpid(child, 0)[1] == 0
assert bus.dispatch(Shipped()) == [1]
""",
    "a fork ends as a program does": """
bus.dispatch(Shipped())
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(5): assert bus.dispatch(Shipped()) == [1]
else:
    assert bus.dispatch(Shipped()) == [1]
""",
    "a fork ends without using its bus": """
bus.dispatch(Shipped())
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(5): assert bus.dispatch(Shipped()) == [1]
""",
    "a fork out of a listener": """
async def forks(event):
    child = os.fork()
    if not child:
        os._exit(0)
    return os.waitpid(child, 0)[1]
bus.forget(Shipped)
bus.listen(Shipped, forks)
assert bus.dispatch(Shipped()) == [0]
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("time", [1, 2])
def test_it_ends_at_once_and_without_a_word_when(ending, time):
    """F41."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + ENDINGS[ending]],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    said = done.stdout.replace("True", "") + done.stderr
    assert (done.returncode, said) == (0, "")
