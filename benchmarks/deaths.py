"""
The price of a job that ends its process: `python deaths.py JOURNAL ROUNDS SEED`.

A worker of two processes, one of which is held by a job all the time. In the other one a job ends the process, and the
next job waits behind it. Prints the seconds from the last line of the one to the first of the other, and those from
before the spawn of a bare Python until it has imported the application, alone and with the worker, by round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial

import checkout
import marks
import ways
from contenders import US
from drains import interleaved
from processes import PATIENCE, Place, Producer, Workers, place, producer, workers

BARE = "a bare spawn"
WITH_WORKER = "a bare spawn that imports the worker too"
NOTE = (
    "From the last line of a job that calls `os._exit` to the first line of the next; the other process of"
    " `--processes 2` is held by a job all the time. In it: the death is noticed, a process is started, and it settles"
    " the job that died. Bare: from before `subprocess.Popen` until Python has imported the same application and made its bus."
)
_IMPORT = "import marks; from apps.ways import BEGAN, bus; bus(); marks.noted(BEGAN)"
_CODES = {BARE: _IMPORT, WITH_WORKER: f"import eventbus.worker.command; {_IMPORT}"}


def died(where: Place, working: Workers, ask: Producer) -> float:
    """Have a job end its process; return the seconds until the next has begun."""
    os.truncate(where.marks, 0)
    ask.push("die", 1)
    working.await_that(lambda: len(marks.read(where.marks)) >= 2, "the next job began")
    death, begin = marks.read(where.marks)
    return begin.at - death.at


def spawned(where: Place, code: str) -> float:
    """Spawn a Python that runs a line; return the seconds until that is done."""
    os.truncate(where.marks, 0)
    before = time.monotonic()
    command = [sys.executable, "-c", code]
    subprocess.run(
        command, check=True, cwd=checkout.HERE, env=where.environment(), timeout=PATIENCE
    )
    [mark] = marks.read(where.marks)
    return mark.at - before


def main(journal: str, rounds: str, seed: str) -> None:
    one = ways.contender("--processes", "2")
    with ExitStack() as running:
        where = running.enter_context(place(ways.opened(journal, running)))
        working = running.enter_context(workers(one, where))
        ask = running.enter_context(producer(one, where))
        ask.push("hold", 1)
        working.await_that(lambda: len(marks.read(where.marks)) >= 1, "a process is held")
        calls = {name: partial(spawned, where, code) for name, code in _CODES.items()}
        calls[US] = partial(died, where, working, ask)
        for call in calls.values():
            call()  # the bytecode is written
        values = interleaved(calls, int(rounds), int(seed))
    json.dump({"values": values}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
