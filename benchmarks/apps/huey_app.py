"""huey: a list that is read blocking, no results kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import marks
from huey import RedisHuey

huey = RedisHuey("bench", url=os.environ["BENCH_URL"], results=False)


@huey.task()
def note(order_id: int, email: str) -> None:
    marks.noted(order_id)


@huey.task()
def slow(number: int) -> None:
    marks.noted(number)
    time.sleep(marks.SLOW)
    marks.ended(number)


@huey.task()
def answer(sent: float) -> None:
    marks.answered(sent)


@contextmanager
def producer() -> Iterator[Mapping[str, Callable[..., Any]]]:
    yield {"note": note, "slow": slow, "answer": answer}
