"""
Envelopes in Redis: shared by the workers of many machines, as durable as the server is told to be.

`scripts/redis.lua` lists the keys, and says what the server does by itself; `eventbus.backends.redis_link` talks
to one server, to a master behind Sentinel, or to a cluster. Here are the verbs; those of a claim are in
`redis_claims`, those that look at jobs in `redis_pages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from typing_extensions import override

from eventbus.backends.base import (
    Backend,
    Bell,
    Capabilities,
    Charge,
    Claim,
    Clock,
    Examination,
    FailedJob,
    Sizes,
    StoredJob,
)
from eventbus.backends.instants import span
from eventbus.backends.redis_bell import RedisBell
from eventbus.backends.redis_calls import Call, Unanswered, told
from eventbus.backends.redis_claims import Claims
from eventbus.backends.redis_examination import examine_redis
from eventbus.backends.redis_lent import lent, shown
from eventbus.backends.redis_limits import RedisLimits
from eventbus.backends.redis_lines import at_once
from eventbus.backends.redis_link import Link
from eventbus.backends.redis_loops import Loops
from eventbus.backends.redis_pages import Pages
from eventbus.backends.redis_plans import RedisPlans, is_held, words_of
from eventbus.backends.redis_records import places_of
from eventbus.backends.redis_store import Store, steps
from eventbus.defaults import DURATION_LIMIT, REDIS_PREFIX, REDIS_STEP
from eventbus.errors import BackendError, StoredUnknown, UnsupportedOption
from eventbus.queue.envelope import Envelope, UniqueKey
from eventbus.values import valid_name

__all__ = ["RedisBackend"]


class RedisBackend(Backend):
    """
    Keeps envelopes in a Redis server, version 7 or later, or one that speaks as it does (Valkey).

    Nothing is connected to before the first verb. `redis://` URLs make one; make it yourself to lend a client
    of your own.

    Args:
        client: A `redis.Redis`, `redis.RedisCluster` or a client of `redis.sentinel`; or that of Valkey's
            library. Its pool lends the connections; those to a cluster are made as the client makes its own.
            Or a link, which the URLs make.
        async_client: A client of `redis.asyncio` to the same server, with which `adispatch` stores jobs without
            a thread. As with all its users, on one event loop only.
        prefix: What the names of all keys begin with. Two prefixes are two stores.
        name: What errors and lists call it; without a password.
        clock: What judges delays and leases in tests.

    Raises:
        InvalidOption: `client` or `async_client` is none, or `prefix` cannot be one.

    Defaults:
        async_client = that of the URL. Where `client` is lent, there is none: `adispatch` uses a thread.
        prefix = `defaults.REDIS_PREFIX`.
        name = made from where the client connects to.
        clock = the server's own: machines need not agree on the time.

    Example:
        >>> import redis
        >>> backend = RedisBackend(redis.Redis(host="queue.internal"), prefix="shop")
        >>> backend.name
        'redis://queue.internal:6379/0'
    """

    capabilities = Capabilities(
        durable=True,
        shared=True,
        fenced=True,
        idempotent_push=True,
        delay=True,
        failed_jobs=True,
        results=True,
        unique=True,
        limits=True,
        plans=True,
    )

    def __init__(
        self,
        client: Any,
        *,
        async_client: Any = None,
        prefix: str = REDIS_PREFIX,
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.name = name or shown(client)
        valid_name(prefix, option="prefix", where=self.name)
        is_link = isinstance(client, Link)
        self._link: Link = client if is_link else lent(client, async_client, name=self.name)
        self._loops = None if self._link.twin is None else Loops(self._link.twin)
        self.capabilities = evolve(self.capabilities, async_push=self._loops is not None)
        self._store = Store(self._link, name=self.name, prefix=prefix, clock=clock)
        self._claims = Claims(self._store)
        self._pages = Pages(self._store)
        self._limits = RedisLimits(self._store)
        self._plans = RedisPlans(self._store, self._claims.take_out)
        #: The queues whose names are written down, as far as this process knows.
        self._listed: set[str] = set()

    @override
    def push(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        return at_once(self._push(self._link, envelopes))

    @override
    async def apush(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        if self._loops is None:
            raise UnsupportedOption(backend=self.name, capability="async_push")
        return await self._push(await self._loops.link(), envelopes)

    @override
    def free(self, claims: Sequence[Claim]) -> None:
        self._claims.free(claims)

    @override
    def take(self, claim: Claim, unique: UniqueKey) -> bool:
        queue, name = claim.envelope.queue, claim.envelope.id
        call = self._store.call("take", [queue], name, claim.token, unique.key, span(unique.life))
        return bool(self._store.ask_one("take", call))

    async def _push(self, link: Link, envelopes: Sequence[Envelope]) -> dict[str, str]:
        by_queue: dict[str, list[Envelope]] = {}
        unique: list[Envelope] = []
        members: dict[str, list[Envelope]] = {}
        for envelope in envelopes:
            if envelope.unique is not None:
                unique.append(envelope)
            elif envelope.member is not None:
                members.setdefault(envelope.queue, []).append(envelope)
            else:
                by_queue.setdefault(envelope.queue, []).append(envelope)
        # The first of a chain last: where this is cut, nothing has begun.
        planned = sorted(members, key=lambda queue: not is_held((), members[queue]))
        used = dict.fromkeys(envelope.queue for envelope in envelopes)
        new = [self._store.listing(queue) for queue in used if queue not in self._listed]
        groups = self._store.groups(list(by_queue)) if by_queue else []
        calls = [
            *new,
            *(self._pushing(queues, by_queue) for queues in groups),
            *(self._pushing_unique(one) for one in unique),
            *(self._pushing_members(queue, members[queue]) for queue in planned),
        ]
        try:
            answers = (await link.asked("push", calls)).replies[len(new) :]
            several, others = answers[: len(groups)], answers[len(groups) :]
            single = [(is_new, gone.decode()) for is_new, gone in others[: len(unique)]]
            pushed = [*groups, *([one.queue] for one in unique), *([queue] for queue in planned)]
            told = [*several, *(one for one, _ in single), *others[len(unique) :]]
            for queues, is_new in zip(pushed, told, strict=True):
                if is_new and not self._listed.isdisjoint(queues):
                    # It was written down once, and there was nothing left of it: the server has forgotten.
                    self._listed.difference_update(queues)
                    await self._written_down(link, queues)
                self._listed.update(queues)
        except Unanswered as error:
            ids = [envelope.id for envelope in envelopes]
            raise StoredUnknown(backend=self.name, ids=ids, reason=f"{error}") from error.__cause__
        return {one.id: gone for one, (_, gone) in zip(unique, single, strict=True) if gone}

    async def _written_down(self, link: Link, queues: Sequence[str]) -> None:
        """Write the names of queues down whose jobs are stored by now."""
        try:
            await link.asked("push", list(map(self._store.listing, queues)))
        except BackendError as error:
            raise Unanswered(told(error)) from error

    def _pushing(self, queues: Sequence[str], by_queue: dict[str, list[Envelope]]) -> Call:
        values: list[Any] = list(map(self._store.bell, queues))
        for place, queue in enumerate(queues):
            for one in by_queue[queue]:
                values += (place, one.id, repr(float(one.delay)), one.body)
        return self._store.call("push", queues, *values)

    def _pushing_unique(self, one: Envelope) -> Call:
        unique = one.unique
        assert unique is not None  # asked for only then
        values = (unique.key, span(unique.life), int(unique.replaces), span(unique.latest))
        delay, bell = repr(float(one.delay)), self._store.bell(one.queue)
        return self._store.call("push_unique", [one.queue], bell, one.id, delay, one.body, *values)

    def _pushing_members(self, queue: str, envelopes: Sequence[Envelope]) -> Call:
        words = words_of(envelopes)
        return self._store.call("push_members", [queue], self._store.bell(queue), *words)

    @override
    def claim(self, queues: Sequence[str], *, limit: int, lease: float, token: str) -> list[Claim]:
        return self._claims.claim(queues, limit=limit, lease=lease, token=token)

    @override
    def unclaim(self, queues: Sequence[str], *, token: str) -> int:
        return self._claims.unclaim(queues, token=token)

    @override
    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return self._claims.extend(claims, lease=lease)

    @override
    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        return self._claims.ack(claims)

    @override
    def release(
        self, claims: Sequence[Claim], *, delay: float, charge: Charge, parked: str = ""
    ) -> list[Claim]:
        return self._claims.release(claims, delay=delay, charge=charge, parked=parked)

    @override
    def bury(self, claims: Sequence[Claim], *, error: str, charge: Charge) -> list[Claim]:
        return self._claims.bury(claims, error=error, charge=charge)

    @override
    def failed(
        self,
        *,
        ids: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        limit: int,
        after: str = "",
    ) -> list[FailedJob]:
        return self._pages.failed(ids=ids, queues=queues, limit=limit, after=after)

    @override
    def revive(self, ids: Sequence[str]) -> list[str]:
        moved: set[str] = set()
        for queue in self.queues() if ids else ():
            for step in steps(ids):
                call = self._store.call("revive", [queue], self._store.bell(queue), *step)
                moved.update(name.decode() for name in self._store.move("revive", call))
        return [name for name in dict.fromkeys(ids) if name in moved]

    @override
    def purge(self, ids: Sequence[str]) -> list[str]:
        return self._taken_out("purge", ids, lambda _: [])

    @override
    def cancel(self, ids: Sequence[str]) -> list[str]:
        return self._taken_out("cancel", ids, lambda queue: [self._store.bell(queue)])

    def _taken_out(
        self, operation: str, ids: Sequence[str], before: Callable[[str], list[str]]
    ) -> list[str]:
        """Take ids out that may lie in any queue, and those that follow them; return which of these were there."""
        gone: set[str] = set()
        for queue in self.queues() if ids else ():
            for step in steps(ids):
                call = self._store.call(operation, [queue], *before(queue), *step)
                found, others, _ = self._store.move(operation, call)
                gone.update(name.decode() for name in found)
                self._claims.take_out(places_of(others))
        return [name for name in dict.fromkeys(ids) if name in gone]

    @override
    def clear(self, queue: str) -> int:
        count, number, last = 0, "0", ""
        while True:
            page = self._pages.page("clear", queue, number, last, REDIS_STEP)
            if not page.ids:
                return count
            number, last = page.number, page.last
            call = self._store.call("cancel", [queue], self._store.bell(queue), *page.ids)
            gone, others, more = self._store.move("clear", call)
            count += len(gone) + more + self._claims.take_out(places_of(others))

    @override
    def size(self, queue: str) -> Sizes:
        found = self._store.ask_one("size", self._store.call("size", [queue]))
        ready, delayed, leased, failed, held = found
        return Sizes(ready=ready, delayed=delayed, leased=leased, failed=failed, held=held)

    @override
    def queues(self) -> list[str]:
        return self._store.queues()

    @override
    def peek(
        self,
        *,
        queues: Sequence[str] | None = None,
        parked: bool = False,
        limit: int,
        after: str = "",
    ) -> list[StoredJob]:
        return self._pages.peek(queues=queues, parked=parked, limit=limit, after=after)

    @override
    def find(self, ids: Sequence[str], *, queues: Sequence[str] | None = None) -> list[StoredJob]:
        return self._pages.find(ids, queues=queues)

    @override
    def next_due(self, queues: Sequence[str], *, leased: bool = False) -> float | None:
        calls = [self._store.call("next_due", [queue], int(leased)) for queue in queues]
        dues = [float(due) for due in self._store.ask("next_due", calls) if due is not None]
        # What somebody has put there may be due never.
        return min(DURATION_LIMIT, *(due / 1_000_000 for due in dues)) if dues else None

    @override
    def flag(self, name: str, value: str | None, *, life: float | None = None) -> None:
        values = ["" if life is None else span(life)] + ([] if value is None else [value])
        call = self._store.call("flag", (), self._store.everybody, name, *values)
        self._store.ask("flag", [call])

    @override
    def flags(self) -> dict[str, str]:
        found = self._store.ask_one("flags", self._store.call("flags", ()))
        names = [word.decode("utf-8", "replace") for word in found]
        return dict(zip(names[::2], names[1::2], strict=True))

    @override
    def keep(self, name: str, value: bytes, *, life: float) -> None:
        self._store.ask("keep", [self._store.call_kept("keep", name, span(life), value)])

    @override
    def kept(self, name: str) -> bytes | None:
        found: bytes | None = self._store.ask_one("kept", self._store.call_kept("kept", name))
        return found

    @property
    @override
    def limits(self) -> RedisLimits:
        return self._limits

    @property
    @override
    def plans(self) -> RedisPlans:
        return self._plans

    @override
    def bell(self, queues: Sequence[str]) -> Bell:
        return RedisBell(self._link, [*map(self._store.bell, queues), self._store.everybody])

    @override
    def examine(self, *, integrity: bool = False) -> Examination:
        return examine_redis(self._link, prefix=self._store.prefix)

    @override
    def close(self) -> None:
        self._link.close()
        if self._loops is not None:
            self._loops.close()

    @override
    async def aclose(self) -> None:
        if self._loops is not None:
            await self._loops.aclose()
        await super().aclose()
