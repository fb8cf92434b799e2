"""rq: its own queue of Redis, no results kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import marks
from redis import Redis
from rq import Queue


def note(order_id: int, email: str) -> None:
    marks.noted(order_id)


def slow(number: int) -> None:
    marks.noted(number)
    time.sleep(marks.SLOW)
    marks.ended(number)


def answer(sent: float) -> None:
    marks.answered(sent)


@contextmanager
def producer() -> Iterator[Mapping[str, Callable[..., Any]]]:
    queue = Queue(connection=Redis.from_url(os.environ["BENCH_URL"]))
    yield {one.__name__: partial(queue.enqueue, one, result_ttl=0) for one in (note, slow, answer)}
