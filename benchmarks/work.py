"""
What the measured jobs of a worker do, and the same in what Python brings: each marks its begin and its end.

Nothing but the standard library, as in `marks.py`.
"""

from __future__ import annotations

import asyncio
import os
import time

import marks

#: Seconds that an async job waits.
NAP = 0.1
#: What `compute` goes round, as `measured` found it: in the environment of all who compute.
ROUNDS = "BENCH_ROUNDS"


def compute(number: int) -> None:
    marks.noted(number)
    _go_round(int(os.environ[ROUNDS]))
    marks.ended(number)


def _go_round(rounds: int) -> int:
    total = 0
    for one in range(rounds):
        total += one * one
    return total


def measured() -> int:
    """Return how many rounds take `marks.SLOW` here, on a machine that is quiet."""
    tried = 200_000
    took = []
    for _ in range(9):
        before = time.perf_counter()
        _go_round(tried)
        took.append(time.perf_counter() - before)
    return int(tried * marks.SLOW / min(took))


async def nap(number: int) -> None:
    marks.noted(number)
    await asyncio.sleep(NAP)
    marks.ended(number)


def block(number: int) -> None:
    marks.noted(number)
    time.sleep(marks.SLOW)
    marks.ended(number)
