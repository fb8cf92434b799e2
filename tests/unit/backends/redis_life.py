"""What tests of connections to Redis share: a backend of a URL, and a job that lives its life over it."""

from __future__ import annotations

import asyncio
import select
from contextlib import closing, contextmanager
from secrets import token_hex

from eventbus.backends.base import Charge, Sizes
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_clients import linked
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id


def job(id=None, *, queue="jobs"):
    return Envelope(id=id or new_id(), queue=queue, body=b"{}")


@contextmanager
def opened(url, **options):
    with closing(RedisBackend(linked(url), name=url, **options)) as backend:
        yield backend


def live(backend):
    """Let a job live its life, from sync and from async code, and another fail."""
    with closing(backend.bell(["jobs"])) as bell:
        backend.push([job("a")])
        assert select.select([bell], [], [], 20)[0]
        assert bell.silence()
    if backend.capabilities.async_push:
        asyncio.run(backend.apush([job("b")]))
    else:
        backend.push([job("b")])
    [first, second] = backend.claim(["jobs"], limit=5, lease=60, token=token_hex(16))
    assert [first.envelope.id, second.envelope.id] == ["a", "b"]
    assert backend.extend([first], lease=60) == []
    assert backend.ack([first]) == []
    assert backend.bury([second], error="boom", charge=Charge.ERROR) == []
    [failed] = backend.failed(limit=5)
    assert (failed.envelope.id, failed.error) == ("b", "boom")
    assert backend.queues() == ["jobs"]
    assert backend.revive(["b"]) == ["b"]
    [stored] = backend.peek(limit=5)
    assert stored.envelope.body == b"{}"
    backend.flag("restart", "1")
    assert backend.flags() == {"restart": "1"}
    assert backend.next_due(["jobs"]) == 0
    assert backend.clear("jobs") == 1
    assert backend.size("jobs") == Sizes()


def is_copied(master):
    """Tell whether the replica of a server has all that was written to it."""
    said = master.info("replication")
    return f"offset={said['master_repl_offset']}," in said["slave0"]
