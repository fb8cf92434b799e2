"""
What chains and batches cost a store: `python plans.py WHAT PLACE ROUNDS SEED`.

`settle`: the ack of a job by itself, of a member of a batch and of one of a chain, a hundred at once and one by one.
`grow`: what one member costs of batches and chains, small and large: to store it, and to claim and ack it.
Prints the seconds of each by round. PLACE is a journal of SQLite, or `redis`.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from typing import Any

import redis_server
from journals import JOURNALS

PLAIN = "a job by itself, {}"
MEMBER = "a member of a batch, {}"
CHAINED = "one of a chain, {}"
#: How many are acked at once.
SIZES = {100: "100 at once", 1: "one by one"}
#: Of the queue that jobs lie in.
LEASE = 600.0
BATCHES = (10_000, 100_000)
CHAINS = (100, 1_000)
STORED = "a member of a batch of {:,}, stored"
DONE = "a member of a batch of {:,}, claimed and acked"
CHAIN_STORED = "one of a chain of {:,}, stored"
CHAIN_DONE = "one of a chain of {:,}, claimed and acked"


@contextmanager
def store(place: str) -> Iterator[Any]:
    """Lend a backend over a store of its own."""
    from eventbus.backends.urls import open_backend

    with tempfile.TemporaryDirectory() as folder:
        if place == "redis":
            with redis_server.running(redis_server.PLAIN) as port:
                yield open_backend(f"redis://127.0.0.1:{port}/0", clock=None).backend
            return
        JOURNALS[place].use()
        backend = open_backend(JOURNALS[place].url(Path(folder) / "queue.db"), clock=None).backend
        yield backend
        backend.close()


def jobs(queue: str, count: int, batch: str = "", *, chained: bool = False) -> list[Any]:
    """Return so many envelopes that do nothing."""
    from eventbus.queue.envelope import Envelope, Member
    from eventbus.values import new_id

    ids = [new_id() for _ in range(count)]
    nexts: list[Any] = [None] * count
    if chained:
        nexts = [(queue, after) for _, after in pairwise([*ids, ""])]
        nexts[-1] = None
    return [
        Envelope(
            id=one,
            queue=queue,
            body=b'{"data":{}}' * 10,
            member=Member(batch=batch, next=after, held=chained and place > 0)
            if batch or chained
            else None,
        )
        for place, (one, after) in enumerate(zip(ids, nexts, strict=True))
    ]


def open_batch(backend: Any, queue: str, count: int) -> None:
    from eventbus.backends.plans import NewBatch
    from eventbus.values import new_id

    batch = new_id()
    backend.plans.open([NewBatch(id=batch, queue=queue)], jobs(queue, count, batch))


def acked(backend: Any, queue: str, size: int) -> float:
    """Claim some, and return the seconds that the ack of one takes."""
    claims = backend.claim([queue], limit=size, lease=LEASE, token=token_hex(8))
    assert len(claims) == size, len(claims)
    started = time.perf_counter()
    backend.ack(claims)
    return (time.perf_counter() - started) / size


def settle(backend: Any, rounds: int, seed: int) -> dict[str, list[float]]:
    calls: dict[str, Callable[[], float]] = {}
    for size, how in SIZES.items():
        count = size * (rounds + 1)
        backend.push(jobs(f"plain-{size}", count))
        # One more than is acked: a batch that ends has more to do, once.
        open_batch(backend, f"batch-{size}", count + 1)
        calls[PLAIN.format(how)] = partial(acked, backend, f"plain-{size}", size)
        calls[MEMBER.format(how)] = partial(acked, backend, f"batch-{size}", size)
    backend.push(jobs("chain", rounds + 2, chained=True))
    calls[CHAINED.format(SIZES[1])] = partial(acked, backend, "chain", 1)
    for call in calls.values():
        call()
    return interleaved(calls, rounds, seed)


def interleaved(
    calls: dict[str, Callable[[], float]], rounds: int, seed: int
) -> dict[str, list[float]]:
    order = random.Random(seed)
    values: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name in order.sample(list(calls), len(calls)):
            values[name].append(calls[name]())
    return values


def drained(backend: Any, queue: str, size: int) -> int:
    count = 0
    while claims := backend.claim([queue], limit=size, lease=LEASE, token=token_hex(8)):
        backend.ack(claims)
        count += len(claims)
    return count


def grow(backend: Any, rounds: int, seed: int) -> dict[str, list[float]]:
    order = random.Random(seed)
    values: dict[str, list[float]] = {}
    for _ in range(rounds):
        for count in order.sample(BATCHES, len(BATCHES)):
            started = time.perf_counter()
            open_batch(backend, "batch", count)
            stored = time.perf_counter()
            assert drained(backend, "batch", 100) == count
            ended = time.perf_counter()
            values.setdefault(STORED.format(count), []).append((stored - started) / count)
            values.setdefault(DONE.format(count), []).append((ended - stored) / count)
        for count in order.sample(CHAINS, len(CHAINS)):
            started = time.perf_counter()
            backend.push(jobs("chain", count, chained=True))
            stored = time.perf_counter()
            assert drained(backend, "chain", 100) == count
            ended = time.perf_counter()
            values.setdefault(CHAIN_STORED.format(count), []).append((stored - started) / count)
            values.setdefault(CHAIN_DONE.format(count), []).append((ended - stored) / count)
    return values


def main(what: str, place: str, rounds: str, seed: str) -> None:
    with store(place) as backend:
        values = {"settle": settle, "grow": grow}[what](backend, int(rounds), int(seed))
    json.dump({"values": values}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
