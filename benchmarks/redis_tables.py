"""A push, and a claim with its ack, while many jobs wait in Redis: timed in one process, as `queued.py` does it."""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import redis_server
from interleave import Contender
from queued import WAITING, put_in, taken_out
from tables import Table

from eventbus import EventBus
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id


def _waiting() -> Iterable[Any]:
    """Every sample begins with that many jobs in the queue."""
    from apps import ours

    running = ExitStack()
    atexit.register(running.close)
    port_number = running.enter_context(redis_server.running(redis_server.PLAIN))
    body = ours.envelope().body
    names = {"Envelope": Envelope, "new_id": new_id, "body": body}
    for database, size in enumerate(WAITING):
        url = f"redis://127.0.0.1:{port_number}/{database}"
        bus = running.enter_context(EventBus(connections={"default": url}))
        port = bus.connections.port()
        ours.waiting(port, size)
        push = "port.push([Envelope(id=new_id(), queue='default', body=body)])"
        floor = f"push, {WAITING[0]:,}"
        named = {**names, "port": port}
        yield Contender(f"push, {size:,}", push, named, floor, partial(taken_out, port))
        claim = "[claim] = port.claim(['default']); port.ack(claim)"
        floor = f"claim and ack, {WAITING[0]:,}"
        yield Contender(
            f"claim and ack, {size:,}", claim, named, floor, partial(put_in, port, body)
        )


TABLES = (
    Table(
        "redis_waiting_plain",
        f"a push, and a claim with its ack, while that many jobs wait, {redis_server.PLAIN.title}",
        _waiting,
        has_server=True,
    ),
)
