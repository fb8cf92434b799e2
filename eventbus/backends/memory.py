"""Envelopes in this process's memory: the reference for every other backend, and quick in tests."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from msgspec.structs import replace
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
    Finding,
    Promise,
    Sizes,
    StoredJob,
    SystemClock,
    Verdict,
)
from eventbus.backends.bells import EVERYBODY
from eventbus.backends.instants import micros
from eventbus.backends.memory_limits import MemoryLimits
from eventbus.backends.memory_plans import MemoryPlans
from eventbus.backends.memory_store import Store
from eventbus.queue.envelope import Envelope, UniqueKey

__all__ = ["IN_MEMORY", "MemoryBackend"]

_CAPABILITIES: Final = Capabilities(
    durable=False,
    shared=False,
    fenced=True,
    idempotent_push=True,
    delay=True,
    failed_jobs=True,
    results=True,
    unique=True,
    limits=True,
    plans=True,
    exchange=True,
)


IN_MEMORY: Final = Promise(
    store="memory://",
    dispatched="in this process's memory",
    worker_killed="lost with the process",
    server_killed="no server",
    power_cut="lost",
    failover="no other server",
    stale_ack="refused",
)


class MemoryBackend(Backend):
    """
    Keeps envelopes in this process: gone with it, and not seen by any other.

    A forked child starts with nothing, so that no job runs on both sides.

    Args:
        clock: What judges delays and leases.

    Defaults:
        clock = the machine's.

    Example:
        >>> backend = MemoryBackend()
        >>> backend.push([Envelope(id="a", queue="emails", body=b"{}")])
        {}
        >>> [claim] = backend.claim(["emails"], limit=1, lease=60, token="a1")
        >>> backend.ack([claim])
        []
    """

    name = "memory://"
    capabilities = _CAPABILITIES

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._own = self._empty()

    def _empty(self) -> Store:
        now = self._clock.now
        return Store(os.getpid(), now, MemoryLimits(lambda: micros(now())), self.note_stored)

    def note_stored(self, envelopes: Sequence[Envelope], gone: Collection[str]) -> None:
        """Hear of envelopes that were stored, but for those of the ids `gone`; fakes want to know."""

    @property
    def _store(self) -> Store:
        # After a fork the lock may be held by a thread that the child does not have.
        if self._own.process != os.getpid():
            self._own = self._empty()
        return self._own

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    @override
    def push(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        store = self._store
        with store.lock:
            return store.put(envelopes)

    @override
    def free(self, claims: Sequence[Claim]) -> None:
        store = self._store
        with store.lock:
            for claim in claims:
                if (entry := store.held(claim)) is not None:
                    store.free(entry.envelope)

    @override
    def take(self, claim: Claim, unique: UniqueKey) -> bool:
        store = self._store
        with store.lock:
            entry = store.held(claim)
            return entry is not None and store.take_key(entry, unique)

    @override
    def claim(self, queues: Sequence[str], *, limit: int, lease: float, token: str) -> list[Claim]:
        now = self._clock.now()
        until = now + timedelta(seconds=lease)
        store = self._store
        with store.lock:
            taken = store.take(queues, limit, now)
            for entry in taken:
                if entry.token:  # its lease has ended
                    entry.losses += not entry.shared
                    entry.alone = True
                entry.token = token
                entry.shared = len(taken) > 1
                entry.due = until
                entry.parked = ""
                store.line_up(entry)
            canceled = store.plans.is_canceled
            return [entry.claimed(canceled=canceled(entry.envelope)) for entry in taken]

    @override
    def exchange(
        self,
        done: Sequence[Claim],
        queues: Sequence[str],
        *,
        limit: int,
        lease: float,
        token: str,
    ) -> tuple[list[Claim], list[Claim]]:
        with self._store.lock:
            return self.ack(done), self.claim(queues, limit=limit, lease=lease, token=token)

    @override
    def unclaim(self, queues: Sequence[str], *, token: str) -> int:
        store = self._store
        with store.lock:
            held = [
                entry.claimed()
                for entry in store.entries.values()
                if entry.token == token and entry.envelope.queue in queues
            ]
            self.release(held, delay=0.0, charge=Charge.NOTHING)
        return len(held)

    @override
    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        until = self._in(lease)
        lost: list[Claim] = []
        store = self._store
        with store.lock:
            for claim in claims:
                if (entry := store.held(claim)) is None:
                    lost.append(claim)
                else:
                    entry.due = until
                    store.line_up(entry)
        return lost

    @override
    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        lost: list[Claim] = []
        store = self._store
        with store.lock:
            for claim in claims:
                if (entry := store.held(claim)) is None:
                    lost.append(claim)
                else:
                    store.remove(claim.envelope.id)
                    store.plans.acked(entry.envelope, skipped=claim.skipped)
        return lost

    @override
    def release(
        self, claims: Sequence[Claim], *, delay: float, charge: Charge, parked: str = ""
    ) -> list[Claim]:
        now = self._clock.now()
        keeps_place = charge is Charge.NOTHING and not delay
        lost: list[Claim] = []
        store = self._store
        with store.lock:
            for claim in claims:
                if (entry := store.held(claim)) is None:
                    lost.append(claim)
                    continue
                first = entry.pushed_at + timedelta(seconds=entry.envelope.delay)
                entry.due = min(now, first) if keeps_place else now + timedelta(seconds=delay)
                entry.token, entry.shared, entry.parked = None, False, parked
                entry.charge(charge)
                store.line_up(entry)
        store.bells.ring([claim.envelope.queue for claim in claims])
        return lost

    @override
    def bury(self, claims: Sequence[Claim], *, error: str, charge: Charge) -> list[Claim]:
        now = self._clock.now()
        lost: list[Claim] = []
        store = self._store
        with store.lock:
            for claim in claims:
                if (entry := store.held(claim)) is None:
                    lost.append(claim)
                    continue
                entry.charge(charge)
                number = next(store.numbers)
                store.failed[claim.envelope.id] = entry.buried(error, now, number)
                store.remove(claim.envelope.id)
                store.plans.buried(entry.envelope)
        return lost

    @override
    def failed(
        self,
        *,
        ids: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        limit: int,
        after: str = "",
    ) -> list[FailedJob]:
        store = self._store
        with store.lock:
            jobs = list(store.failed.values())  # in order of burial, as their cursors are
        found = (
            job
            for job in jobs
            if job.cursor > after
            and (ids is None or job.envelope.id in ids)
            and (queues is None or job.envelope.queue in queues)
        )
        return list(islice(found, limit))

    @override
    def revive(self, ids: Sequence[str]) -> list[str]:
        now = self._clock.now()
        store = self._store
        with store.lock:
            jobs = _taken_out(store.failed, ids)
            for job in jobs:
                again = replace(job.envelope, unique=None)
                store.add(again, pushed_at=job.pushed_at, due=now)
                store.plans.revived(again)
        store.bells.ring([job.envelope.queue for job in jobs])
        return [job.envelope.id for job in jobs]

    @override
    def purge(self, ids: Sequence[str]) -> list[str]:
        store = self._store
        with store.lock:
            jobs = _taken_out(store.failed, ids)
            for job in jobs:
                store.plans.purged(job.envelope)
        return [job.envelope.id for job in jobs]

    @override
    def cancel(self, ids: Sequence[str]) -> list[str]:
        now = self._clock.now()
        store = self._store
        with store.lock:
            gone: list[str] = []
            for name in ids:
                entry = store.entries.get(name)
                if entry is not None and entry.waits(now):
                    store.remove(name)
                    store.plans.canceled(entry.envelope, held=entry.held, counted=entry.counted)
                    gone.append(name)
        return gone

    @override
    def clear(self, queue: str) -> int:
        now = self._clock.now()
        store = self._store
        with store.lock:
            before = len(store.entries)
            stored = [e.envelope for e in store.entries.values() if e.waits(now)]
            self.cancel([envelope.id for envelope in stored if envelope.queue == queue])
            return before - len(store.entries)

    @override
    def size(self, queue: str) -> Sizes:
        now = self._clock.now()
        store = self._store
        with store.lock:
            entries = [e for e in store.entries.values() if e.envelope.queue == queue]
            failed = sum(job.envelope.queue == queue for job in store.failed.values())
            return Sizes(
                ready=sum(entry.due <= now for entry in entries),
                delayed=sum(
                    entry.due > now and entry.token is None and not entry.held for entry in entries
                ),
                held=sum(entry.held for entry in entries),
                leased=sum(entry.due > now and entry.token is not None for entry in entries),
                failed=failed,
            )

    @override
    def queues(self) -> list[str]:
        store = self._store
        with store.lock:
            stored = {entry.envelope.queue for entry in store.entries.values()}
            return sorted(stored | {job.envelope.queue for job in store.failed.values()})

    @override
    def peek(
        self,
        *,
        queues: Sequence[str] | None = None,
        parked: bool = False,
        limit: int,
        after: str = "",
    ) -> list[StoredJob]:
        now = self._clock.now()
        store = self._store
        with store.lock:
            jobs = [entry.stored(now) for entry in store.entries.values()]
        jobs = [
            job
            for job in sorted(jobs, key=lambda job: job.cursor)
            if job.cursor > after
            and (queues is None or job.envelope.queue in queues)
            and (job.parked or not parked)
        ]
        return jobs[:limit]

    @override
    def find(self, ids: Sequence[str], *, queues: Sequence[str] | None = None) -> list[StoredJob]:
        now = self._clock.now()
        store = self._store
        with store.lock:
            found = [store.entries[one] for one in ids if one in store.entries]
            return [
                entry.stored(now)
                for entry in found
                if queues is None or entry.envelope.queue in queues
            ]

    @override
    def next_due(self, queues: Sequence[str], *, leased: bool = False) -> float | None:
        now = self._clock.now()
        store = self._store
        with store.lock:
            dues = [
                entry.due
                for entry in store.entries.values()
                if entry.envelope.queue in queues
                and not entry.held
                and (leased or entry.waits(now))
            ]
        return max(0.0, (min(dues) - now).total_seconds()) if dues else None

    @override
    def flag(self, name: str, value: str | None, *, life: float | None = None) -> None:
        end = None if life is None else self._in(life)
        store = self._store
        with store.lock:
            if value is None:
                store.flags.pop(name, None)
            else:
                store.flags[name] = value, end
        store.bells.ring(EVERYBODY)

    @override
    def flags(self) -> dict[str, str]:
        now = self._clock.now()
        store = self._store
        with store.lock:
            return {
                name: value
                for name, (value, end) in store.flags.items()
                if end is None or end > now
            }

    @override
    def keep(self, name: str, value: bytes, *, life: float) -> None:
        now, end = self._clock.now(), self._in(life)
        store = self._store
        with store.lock:
            for one in [one for one, (_, over) in store.kept.items() if over <= now]:
                del store.kept[one]
            store.kept[name] = value, end

    @override
    def kept(self, name: str) -> bytes | None:
        now = self._clock.now()
        store = self._store
        with store.lock:
            value, end = store.kept.get(name, (None, now))
        return value if end > now else None

    @property
    @override
    def limits(self) -> MemoryLimits:
        return self._store.limits

    @property
    @override
    def plans(self) -> MemoryPlans:
        return self._store.plans

    @override
    def bell(self, queues: Sequence[str]) -> Bell:
        return self._store.bells.hang(queues)

    @override
    def examine(self, *, integrity: bool = False) -> Examination:
        finding = Finding(
            subject="storage",
            found="the memory of each process",
            verdict=Verdict.WARNING,
            advice="no other process sees its jobs, and they are lost with it: right in tests",
        )
        return Examination(promise=IN_MEMORY, findings=(finding,))

    @override
    def close(self) -> None:
        """Nothing is open; what is stored stays until the backend goes."""


def _taken_out(failed: dict[str, FailedJob], ids: Iterable[str]) -> list[FailedJob]:
    return [failed.pop(name) for name in ids if name in failed]
