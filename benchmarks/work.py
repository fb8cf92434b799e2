"""
What the measured jobs of a worker do, and the same in what Python brings: each marks its begin and its end.

Nothing but the standard library, as in `marks.py`.
"""

from __future__ import annotations

import asyncio
import time

import marks

#: Seconds that an async job waits.
NAP = 0.1
#: About fifty milliseconds of Python.
_ROUNDS = 600_000


def compute(number: int) -> None:
    marks.noted(number)
    total = 0
    for one in range(_ROUNDS):
        total += one * one
    marks.ended(number)


async def nap(number: int) -> None:
    marks.noted(number)
    await asyncio.sleep(NAP)
    marks.ended(number)


def block(number: int) -> None:
    marks.noted(number)
    time.sleep(marks.SLOW)
    marks.ended(number)
