"""The same work without a queue: a pool of processes, `asyncio.gather`, a pool of threads. They live as long as a worker."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import work

PROCESSES = 2
THREADS = 16

payloads: Mapping[str, Callable[[int], tuple[Any, ...]]] = dict.fromkeys(
    ("compute", "nap", "block"), lambda number: (number,)
)


async def _gathered(count: int) -> None:
    await asyncio.gather(*(work.nap(one) for one in range(count)))


@contextmanager
def producer() -> Iterator[Mapping[str, Callable[..., Any]]]:
    with ExitStack() as running:
        runner = running.enter_context(asyncio.Runner())
        threads = running.enter_context(ThreadPoolExecutor(THREADS))

        @cache
        def processes() -> Any:
            return running.enter_context(multiprocessing.get_context("spawn").Pool(PROCESSES))

        yield {
            # One by one: in larger portions one process is done long before the other.
            "compute": lambda count: processes().map(work.compute, range(count), chunksize=1),
            "nap": lambda count: runner.run(_gathered(count)),
            "block": lambda count: list(threads.map(work.block, range(count))),
        }
