"""
redis-py by hand: the command that a push of ours sends, and the reliable queue of a list that many write themselves.

`python -m apps.raw drain` works a list off by hundreds, `wait` waits for one at a time.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import marks
import redis
from overheard import overheard

from apps import ours
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id

QUEUE = "raw"
TAKEN = "raw:taken"


def client() -> redis.Redis:
    return redis.Redis.from_url(os.environ["BENCH_URL"])


def _heard(store: redis.Redis) -> tuple[list[Any], int, bytes]:
    """Return the words of a push of ours, which of them is the id, and the bytes of the body."""
    one = ours.envelope()
    with ours.bus() as bus:
        port = bus.connections.port()
        # The server knows the script then.
        port.push([Envelope(id="first", queue="default", body=one.body)])
        said = overheard(store, lambda: port.push([one]), lambda _: {"id": one.id})
    [(place, _)] = said.places
    return list(said.words), place, one.body


payloads: Mapping[str, Callable[[int], tuple[Any, ...]]] = dict.fromkeys(
    ("evalsha", "lpush", "lpush_many"), lambda number: ()
) | {"waiting": lambda number: (number,)}


@contextmanager
def producer() -> Iterator[Mapping[str, Callable[..., Any]]]:
    store = client()
    words, place, body = _heard(store)
    bodies = [body] * ours.MANY

    def evalsha() -> None:
        words[place] = new_id()
        store.execute_command(*words)

    def many() -> None:
        pipe = store.pipeline(transaction=False)
        for one in bodies:
            pipe.lpush(QUEUE, one)
        pipe.execute()

    yield {
        "evalsha": evalsha,
        "lpush": lambda: store.lpush(QUEUE, body),
        "lpush_many": many,
        "answer": lambda sent: store.lpush(QUEUE, json.dumps({"sent": sent})),
        "waiting": lambda count: _fill(store, body, count),
    }


def _fill(store: redis.Redis, body: bytes, count: int) -> None:
    """Push that many, each with other bytes."""
    known = json.loads(body)["id"].encode()
    for first in range(0, count, 1_000):
        pipe = store.pipeline(transaction=False)
        for number in range(first, min(first + 1_000, count)):
            pipe.lpush(QUEUE, body.replace(known, b"%0*d" % (len(known), number)))
        pipe.execute()


def drain() -> None:
    store = client()
    while True:
        pipe = store.pipeline(transaction=False)
        for _ in range(ours.MANY):
            pipe.rpoplpush(QUEUE, TAKEN)
        bodies = [one for one in pipe.execute() if one is not None]
        if not bodies:
            return
        pipe = store.pipeline(transaction=False)
        for body in bodies:
            marks.noted(int(json.loads(body)["id"]))
            # From the end where the oldest lie.
            pipe.lrem(TAKEN, -1, body)
        pipe.execute()


def wait() -> None:
    store = client()
    while True:
        body = store.blmove(QUEUE, TAKEN, timeout=2, src="RIGHT", dest="LEFT")
        if body is not None:
            marks.answered(json.loads(body)["sent"])
            store.lrem(TAKEN, -1, body)


if __name__ == "__main__":
    {"drain": drain, "wait": wait}[sys.argv[1]]()
