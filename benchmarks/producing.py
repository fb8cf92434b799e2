"""
A fresh producer: `python producing.py APP`, where APP is a module of `apps`.

It reads what to enqueue, a JSON list in a line: which job, the number of the first, how many. It answers with the
seconds that this took, one call after the other, with the collector of garbage off.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

#: What a job is told, by its number.
PAYLOADS: Mapping[str, Callable[[int], tuple[Any, ...]]] = {
    "note": lambda number: (number, "a@example.com"),
    "slow": lambda number: (number,),
    "answer": lambda number: (time.monotonic(),),
}


def _orders(payloads: Mapping[str, Callable[[int], tuple[Any, ...]]]) -> Any:
    """Yield what is to be enqueued, until nobody asks any more."""
    for line in sys.stdin:
        name, first, many = json.loads(line)
        gc.collect()
        gc.disable()
        prepared = [payloads[name](number) for number in range(first, first + many)]
        started = time.perf_counter()
        yield name, prepared
        took = time.perf_counter() - started
        gc.enable()
        print(took, flush=True)


def produce(producer: Any, payloads: Mapping[str, Callable[[int], tuple[Any, ...]]]) -> None:
    with producer as pushes:
        print("ready", flush=True)
        for name, prepared in _orders(payloads):
            push = pushes[name]
            for one in prepared:
                push(*one)


async def aproduce(producer: Any, payloads: Mapping[str, Callable[[int], tuple[Any, ...]]]) -> None:
    async with producer as pushes:
        print("ready", flush=True)
        # What a loop does besides would be done late: nothing is read while nothing is asked.
        for name, prepared in _orders(payloads):
            push = pushes[name]
            for one in prepared:
                await push(*one)


def main(name: str) -> None:
    app = importlib.import_module(f"apps.{name}")
    payloads = {**PAYLOADS, **getattr(app, "payloads", {})}
    producer = app.producer()
    if hasattr(producer, "__aenter__"):
        asyncio.run(aproduce(producer, payloads))
    else:
        produce(producer, payloads)


if __name__ == "__main__":
    main(*sys.argv[1:])
