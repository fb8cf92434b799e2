"""saq: no results kept; a job whose worker has died is swept up after its timeout, and run again if it may be."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import marks
from saq import Queue

queue = Queue.from_url(os.environ["BENCH_URL"])


async def note(context: dict[str, Any], *, order_id: int, email: str) -> None:
    marks.noted(order_id)


async def slow(context: dict[str, Any], *, number: int) -> None:
    marks.noted(number)
    await asyncio.sleep(marks.SLOW)
    marks.ended(number)


async def answer(context: dict[str, Any], *, sent: float) -> None:
    marks.answered(sent)


settings = {
    "queue": queue,
    "functions": [note, slow, answer],
    "concurrency": 10,
    "timers": {"sweep": 5},  # by default 60
}


@asynccontextmanager
async def producer() -> AsyncIterator[Mapping[str, Callable[..., Any]]]:
    # It takes keywords only. One try, which is its default, is spent by the worker that dies.
    push = partial(queue.enqueue, ttl=-1, retries=3)
    await queue.connect()
    yield {
        "note": lambda order_id, email: push("note", order_id=order_id, email=email),
        "slow": lambda number: push("slow", number=number),
        "answer": lambda sent: push("answer", sent=sent),
    }
    await queue.disconnect()
