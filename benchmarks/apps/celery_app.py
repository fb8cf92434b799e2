"""celery: no results. A larger prefetch, which its guide advises for short tasks, made it no faster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import marks
from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_URL"])
app.conf.update(
    task_ignore_result=True,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
)


@app.task
def note(order_id: int, email: str) -> None:
    marks.noted(order_id)


@app.task
def slow(number: int) -> None:
    marks.noted(number)
    time.sleep(marks.SLOW)
    marks.ended(number)


@app.task
def answer(sent: float) -> None:
    marks.answered(sent)


@contextmanager
def producer() -> Iterator[Mapping[str, Callable[..., Any]]]:
    yield {"note": note.delay, "slow": slow.delay, "answer": answer.delay}
