"""taskiq: the broker of taskiq-redis that reads a stream."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import marks
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(os.environ["BENCH_URL"])


@broker.task
async def note(order_id: int, email: str) -> None:
    marks.noted(order_id)


@broker.task
async def slow(number: int) -> None:
    marks.noted(number)
    await asyncio.sleep(marks.SLOW)
    marks.ended(number)


@broker.task
async def answer(sent: float) -> None:
    marks.answered(sent)


@asynccontextmanager
async def producer() -> AsyncIterator[Mapping[str, Callable[..., Any]]]:
    await broker.startup()
    yield {"note": note.kiq, "slow": slow.kiq, "answer": answer.kiq}
    await broker.shutdown()
