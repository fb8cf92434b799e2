"""arq: many jobs at once, short polls; a job whose worker has died comes back after `job_timeout` and 10 s more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import marks
from arq import create_pool
from arq.connections import RedisSettings

#: It logs each job else.
QUIET = {"version": 1, "disable_existing_loggers": False, "loggers": {"arq": {"level": "WARNING"}}}
_REDIS = RedisSettings.from_dsn(os.environ["BENCH_URL"])


async def note(context: dict[str, Any], order_id: int, email: str) -> None:
    marks.noted(order_id)


async def slow(context: dict[str, Any], number: int) -> None:
    marks.noted(number)
    await asyncio.sleep(marks.SLOW)
    marks.ended(number)


async def answer(context: dict[str, Any], sent: float) -> None:
    marks.answered(sent)


class WorkerSettings:
    functions = (note, slow, answer)
    redis_settings = _REDIS
    max_jobs = 100  # by default 10
    poll_delay = 0.01  # by default 0.5
    keep_result = 0
    job_timeout = 5  # by default 300


@asynccontextmanager
async def producer() -> AsyncIterator[Mapping[str, Callable[..., Any]]]:
    pool = await create_pool(_REDIS)
    yield {name: partial(pool.enqueue_job, name) for name in ("note", "slow", "answer")}
    await pool.aclose()
