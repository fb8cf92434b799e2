"""dramatiq: its Redis broker as it is by default."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dramatiq
import marks
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_URL"]))


@dramatiq.actor
def note(order_id: int, email: str) -> None:
    marks.noted(order_id)


@dramatiq.actor
def slow(number: int) -> None:
    marks.noted(number)
    time.sleep(marks.SLOW)
    marks.ended(number)


@dramatiq.actor
def answer(sent: float) -> None:
    marks.answered(sent)


@contextmanager
def producer() -> Iterator[Mapping[str, Callable[..., Any]]]:
    yield {"note": note.send, "slow": slow.send, "answer": answer.send}
