"""streaq: no results kept; a job whose worker has died is taken over when it was silent for `idle_timeout`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import marks
from streaq import Worker

worker: Worker = Worker(
    redis_url=os.environ["BENCH_URL"],
    concurrency=int(os.environ.get("BENCH_CONCURRENCY", "64")),  # by default 16
    idle_timeout=5,  # by default 60
)
_QUIET: dict[str, Any] = {"ttl": 0, "silent": True}


@worker.task(**_QUIET)
async def note(order_id: int, email: str) -> None:
    marks.noted(order_id)


@worker.task(**_QUIET)
async def slow(number: int) -> None:
    marks.noted(number)
    await asyncio.sleep(marks.SLOW)
    marks.ended(number)


@worker.task(**_QUIET)
async def answer(sent: float) -> None:
    marks.answered(sent)


@asynccontextmanager
async def producer() -> AsyncIterator[Mapping[str, Callable[..., Any]]]:
    async with worker:
        yield {"note": note.enqueue, "slow": slow.enqueue, "answer": answer.enqueue}
