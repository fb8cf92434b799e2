"""
What jobs are best kept in on Redis: `python structures.py [--fast]`.

Streams, lists, and our scripts over sorted sets and hashes, each driven by redis-py with the same bodies: a push, a
push of a hundred, a drain by hundreds; what these cost the server, and what a waiting job takes there. Prints the
table of docs/explain/decisions.md. What a structure does not do stands beside its speed.
"""

from __future__ import annotations

import argparse
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping
from secrets import token_hex
from typing import Any

import checkout  # noqa: F401 -- this checkout is what is measured
import interleave
import redis
import redis_server
from attrs import frozen
from interleave import Contender
from overheard import Said, overheard

from eventbus import EventBus
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id

MANY = 100
SEED = 2026
_QUEUE = "default"


class Structure(ABC):
    """What keeps jobs; a drain takes a hundred, and takes them off."""

    #: What it cannot do without more keys and commands.
    lacks: str

    def __init__(self, client: redis.Redis, body: bytes) -> None:
        self.client = client
        self.body = body
        self._known = body.partition(b'"id":"')[2].partition(b'"')[0]

    def one(self) -> bytes:
        """Return a body with an id of its own, as long as the others."""
        return self.body.replace(self._known, new_id().encode())

    @abstractmethod
    def push(self) -> None: ...

    @abstractmethod
    def push_many(self) -> None: ...

    @abstractmethod
    def drain(self) -> None: ...

    def fill(self, drains: int) -> None:
        """Have jobs for so many drains."""
        for _ in range(drains):
            self.push_many()


class Streams(Structure):
    """XADD, XREADGROUP, XACK and XDEL."""

    lacks = "delay; idempotent push; fencing (whoever knows an entry may ack it); attempts, apart from losses"

    def __init__(self, client: redis.Redis, body: bytes) -> None:
        super().__init__(client, body)
        client.xgroup_create("stream", "workers", mkstream=True)

    def push(self) -> None:
        self.client.xadd("stream", {"body": self.one()})

    def push_many(self) -> None:
        pipe = self.client.pipeline(transaction=False)
        for _ in range(MANY):
            pipe.xadd("stream", {"body": self.one()})
        pipe.execute()

    def drain(self) -> None:
        [[_, found]] = self.client.xreadgroup("workers", "one", {"stream": ">"}, count=MANY)
        ids = [name for name, _ in found]
        pipe = self.client.pipeline(transaction=False)
        pipe.xack("stream", "workers", *ids)
        pipe.xdel("stream", *ids)
        pipe.execute()


class Lists(Structure):
    """LPUSH, RPOPLPUSH and LREM."""

    lacks = "delay; idempotent push; fencing; leases (nothing tells whose a taken job is, or since when); losses"

    def push(self) -> None:
        self.client.lpush("list", self.one())

    def push_many(self) -> None:
        pipe = self.client.pipeline(transaction=False)
        for _ in range(MANY):
            pipe.lpush("list", self.one())
        pipe.execute()

    def drain(self) -> None:
        pipe = self.client.pipeline(transaction=False)
        for _ in range(MANY):
            pipe.rpoplpush("list", "taken")
        bodies = pipe.execute()
        for body in bodies:
            pipe.lrem("taken", -1, body)
        pipe.execute()


class Scripts(Structure):
    """Our scripts, in the words that our backend says to the server."""

    lacks = "nothing of these"

    def __init__(self, client: redis.Redis, body: bytes) -> None:
        super().__init__(client, body)
        said = self._overheard()
        self._push, self._push_many, self._claim, self._ack = said

    def _overheard(self) -> tuple[Said, Said, Said, Said]:
        pool = self.client.connection_pool.connection_kwargs
        url = f"redis://127.0.0.1:{pool['port']}/{pool['db']}"
        claims: list[Any] = []
        with EventBus(connections={"default": url}) as bus:
            port = bus.connections.port()

            def pushed(count: int) -> list[Envelope]:
                made = [Envelope(id=new_id(), queue=_QUEUE, body=self.one()) for _ in range(count)]
                port.push(made)
                return made

            def claimed() -> None:
                claims[:] = port.claim([_QUEUE], limit=MANY)

            def token(_: Any) -> Mapping[Any, Any]:
                return {"token": claims[0].token}

            pushed(1)
            claimed()
            port.backend.ack(claims)  # the server knows the scripts by now
            push = overheard(self.client, lambda: pushed(1), _named)
            many = overheard(self.client, lambda: pushed(MANY), _named)
            claim = overheard(self.client, claimed, token)
            ids = {("id", at): one.envelope.id for at, one in enumerate(claims)}
            ack = overheard(
                self.client, lambda: port.backend.ack(claims), lambda _: {**ids, **token(_)}
            )
        return push, many, claim, ack

    def _new(self, count: int) -> Mapping[Any, Any]:
        found: dict[Any, Any] = {}
        for at in range(count):
            found["id", at] = new_id()
            found["body", at] = self.body.replace(self._known, found["id", at].encode())
        return found

    def push(self) -> None:
        self.client.execute_command(*self._push.again(self._new(1)))

    def push_many(self) -> None:
        self.client.execute_command(*self._push_many.again(self._new(MANY)))

    def drain(self) -> None:
        token = token_hex(16)
        found = self.client.execute_command(*self._claim.again({"token": token}))
        ids = {("id", at): name for at, name in enumerate(found[1::4])}
        self.client.execute_command(*self._ack.again({**ids, "token": token}))


def _named(made: list[Envelope]) -> Mapping[Any, Any]:
    ids = {("id", at): one.id for at, one in enumerate(made)}
    return {**ids, **{("body", at): one.body for at, one in enumerate(made)}}


KINDS: Mapping[str, type[Structure]] = {
    "streams": Streams,
    "lists": Lists,
    "our scripts": Scripts,
}
#: What is timed, and how many jobs that is.
STATEMENTS = {
    "push": ("kept.push()", 1),
    "push of 100": ("kept.push_many()", MANY),
    "drain by 100": ("kept.drain()", MANY),
}


@frozen
class Effort:
    rounds: int
    #: Seconds of a sample, at least.
    sample: float
    #: How many hundreds the server's time and memory are measured by.
    hundreds: int


FULL = Effort(rounds=31, sample=0.05, hundreds=200)
FAST = Effort(rounds=5, sample=0.002, hundreds=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="some seconds, with more noise")
    effort = FAST if parser.parse_args().fast else FULL
    from apps import ours

    body = ours.envelope().body
    with redis_server.running(redis_server.PLAIN) as port:
        seconds = _timed(port, body, effort)
        costs = {name: _cost(port, kind, body, effort.hundreds) for name, kind in KINDS.items()}
    print(_table(seconds, costs, len(body)))


def _timed(port: int, body: bytes, effort: Effort) -> dict[tuple[str, str], float]:
    """Return the seconds of one job, by structure and statement; all are timed in the same rounds."""
    contenders: list[Contender] = []
    for what, (statement, _) in STATEMENTS.items():
        for name, kind in KINDS.items():
            kept = kind(redis.Redis(port=port, db=len(contenders)), body)
            prepare = kept.fill if "drain" in what else None
            contenders.append(
                Contender(f"{name}: {what}", statement, {"kept": kept}, prepare=prepare)
            )
    benchmarks, failed = interleave.measured(
        contenders, rounds=effort.rounds, sample=effort.sample, seed=SEED
    )
    assert not failed, failed
    medians = {one.get_name(): statistics.median(one.get_values()) for one in benchmarks}
    return {
        (name, what): medians[f"{name}: {what}"] / jobs
        for name in KINDS
        for what, (_, jobs) in STATEMENTS.items()
    }


@frozen
class _Cost:
    """Of one job: the server's time in seconds, and its bytes."""

    push: float
    drain: float
    bytes: float


def _cost(port: int, kind: type[Structure], body: bytes, hundreds: int) -> _Cost:
    client = redis.Redis(port=port, db=len(KINDS) * len(STATEMENTS))
    client.flushdb()
    kept = kind(client, body)
    kept.fill(1)
    used, held = _server(client)
    for _ in range(hundreds * MANY):
        kept.push()
    full, more = _server(client)
    for _ in range(hundreds):
        kept.drain()
    empty, _ = _server(client)
    jobs = hundreds * MANY
    return _Cost((full - used) / jobs, (empty - full) / jobs, (more - held) / jobs)


def _server(client: redis.Redis) -> tuple[float, int]:
    cpu = client.info("cpu")
    return cpu["used_cpu_user"] + cpu["used_cpu_sys"], client.info("memory")["used_memory"]


def _table(seconds: Mapping[tuple[str, str], float], costs: Mapping[str, _Cost], size: int) -> str:
    head = (
        "| a job, in µs | push | push of 100 | drain by 100 | server: push | server: drain"
        f" | bytes of a job of {size} | lacks |"
    )
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|---|"]
    for name, kind in KINDS.items():
        timed = " | ".join(f"{seconds[name, what] * 1e6:,.1f}" for what in STATEMENTS)
        cost = costs[name]
        lines.append(
            f"| {name} | {timed} | {cost.push * 1e6:,.1f} | {cost.drain * 1e6:,.1f}"
            f" | {cost.bytes:,.0f} | {kind.lacks} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
