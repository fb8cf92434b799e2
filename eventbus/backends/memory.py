"""Envelopes in this process's memory: the reference for every other backend, and quick in tests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from secrets import token_hex
from threading import RLock
from typing import Final

from attrs import Factory, define
from typing_extensions import override

from eventbus.backends.base import (
    Backend,
    Capabilities,
    Claim,
    Clock,
    FailedJob,
    Sizes,
    SystemClock,
)
from eventbus.queue.envelope import Envelope

__all__ = ["MemoryBackend"]

_CAPABILITIES: Final = Capabilities(
    durable=False,
    shared=False,
    fenced=True,
    idempotent_push=True,
    delay=True,
    failed_jobs=True,
)


@define(kw_only=True)
class _Entry:
    """An envelope that is ready, delayed or leased."""

    envelope: Envelope
    pushed_at: datetime
    #: Order of arrival, which decides between two that are due at the same instant.
    number: int
    #: When it may be claimed: after its delay, or when its lease ends.
    due: datetime
    #: Who holds it; None while it waits.
    token: str | None = None
    #: It is held by a claim of several.
    shared: bool = False
    #: It was lost once: only handed out by itself from then on.
    alone: bool = False
    attempts: int = 0
    losses: int = 0
    releases: int = 0

    def claimed(self) -> Claim:
        return Claim(
            envelope=self.envelope,
            token=self.token or "",
            attempts=self.attempts,
            losses=self.losses,
            releases=self.releases,
            pushed_at=self.pushed_at,
        )

    def buried(self, error: str, at: datetime) -> FailedJob:
        return FailedJob(
            envelope=self.envelope,
            attempts=self.attempts,
            losses=self.losses,
            releases=self.releases,
            pushed_at=self.pushed_at,
            failed_at=at,
            error=error,
        )


@define
class _Store:
    """What one process holds, and the lock on it."""

    process: int
    #: Reentrant: a signal handler may dispatch while its own thread is inside.
    lock: RLock = Factory(RLock)
    numbers: count[int] = Factory(count)
    entries: dict[str, _Entry] = Factory(dict)
    failed: dict[str, FailedJob] = Factory(dict)
    #: By queue, a heap of (due, number, id). A place that its entry has left is passed over.
    lines: dict[str, list[tuple[datetime, int, str]]] = Factory(dict)

    def add(self, envelope: Envelope, *, pushed_at: datetime, due: datetime) -> None:
        entry = _Entry(envelope=envelope, pushed_at=pushed_at, number=next(self.numbers), due=due)
        self.entries[envelope.id] = entry
        self.line_up(entry)

    def line_up(self, entry: _Entry) -> None:
        """Put `entry` into its queue's line, at its `due`."""
        line = self.lines.setdefault(entry.envelope.queue, [])
        heappush(line, (entry.due, entry.number, entry.envelope.id))

    def held(self, claim: Claim) -> _Entry | None:
        """Return the entry of `claim`, if the claim still holds it."""
        entry = self.entries.get(claim.envelope.id)
        return entry if entry is not None and entry.token == claim.token else None

    def take(self, queues: Sequence[str], limit: int, now: datetime) -> list[_Entry]:
        """Take up to `limit` due entries out of their lines: one that must be alone, or others."""
        taken: list[_Entry] = []
        passed: list[_Entry] = []
        for queue in queues:
            line = self.lines.get(queue, [])
            while line and line[0][0] <= now and len(taken) < limit:
                due, number, name = heappop(line)
                entry = self.entries.get(name)
                if entry is None or (entry.due, entry.number) != (due, number):
                    continue
                if not (entry.alone or entry.token):
                    taken.append(entry)
                elif taken:
                    passed.append(entry)  # its turn comes when it heads the line
                else:
                    return [entry]
        for entry in passed:
            self.line_up(entry)
        return taken


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
        >>> [claim] = backend.claim(["emails"], limit=1, lease=60)
        >>> backend.ack([claim])
        []
    """

    name = "memory://"
    capabilities = _CAPABILITIES

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._own = _Store(os.getpid())

    @property
    def _store(self) -> _Store:
        # After a fork the lock may be held by a thread that the child does not have.
        if self._own.process != os.getpid():
            self._own = _Store(os.getpid())
        return self._own

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    @override
    def push(self, envelopes: Sequence[Envelope]) -> None:
        now = self._clock.now()
        store = self._store
        with store.lock:
            for envelope in envelopes:
                if envelope.id not in store.entries and envelope.id not in store.failed:
                    due = now + timedelta(seconds=envelope.delay)
                    store.add(envelope, pushed_at=now, due=due)

    @override
    def claim(self, queues: Sequence[str], *, limit: int, lease: float) -> list[Claim]:
        now = self._clock.now()
        until = now + timedelta(seconds=lease)
        token = token_hex(16)
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
                store.line_up(entry)
            return [entry.claimed() for entry in taken]

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
                if store.held(claim) is None:
                    lost.append(claim)
                else:
                    del store.entries[claim.envelope.id]
        return lost

    @override
    def release(self, claims: Sequence[Claim], *, delay: float, spend: bool) -> list[Claim]:
        due = self._in(delay)
        lost: list[Claim] = []
        store = self._store
        with store.lock:
            for claim in claims:
                if (entry := store.held(claim)) is None:
                    lost.append(claim)
                    continue
                entry.attempts += spend
                entry.releases += not spend
                entry.token, entry.shared, entry.due = None, False, due
                store.line_up(entry)
        return lost

    @override
    def bury(self, claims: Sequence[Claim], *, error: str, spend: bool) -> list[Claim]:
        now = self._clock.now()
        lost: list[Claim] = []
        store = self._store
        with store.lock:
            for claim in claims:
                if (entry := store.held(claim)) is None:
                    lost.append(claim)
                    continue
                entry.attempts += spend
                store.failed[claim.envelope.id] = entry.buried(error, now)
                del store.entries[claim.envelope.id]
        return lost

    @override
    def failed(
        self, *, ids: Sequence[str] | None = None, queues: Sequence[str] | None = None
    ) -> list[FailedJob]:
        store = self._store
        with store.lock:
            # In order of burial; stable, so that it decides between equal instants.
            jobs = sorted(store.failed.values(), key=lambda job: job.failed_at)
        return [
            job
            for job in jobs
            if (ids is None or job.envelope.id in ids)
            and (queues is None or job.envelope.queue in queues)
        ]

    @override
    def revive(self, ids: Sequence[str]) -> list[str]:
        now = self._clock.now()
        store = self._store
        with store.lock:
            jobs = _taken_out(store.failed, ids)
            for job in jobs:
                store.add(job.envelope, pushed_at=job.pushed_at, due=now)
        return [job.envelope.id for job in jobs]

    @override
    def purge(self, ids: Sequence[str]) -> list[str]:
        store = self._store
        with store.lock:
            return [job.envelope.id for job in _taken_out(store.failed, ids)]

    @override
    def clear(self, queue: str) -> int:
        now = self._clock.now()
        store = self._store
        with store.lock:
            waiting = [
                name
                for name, entry in store.entries.items()
                if entry.envelope.queue == queue and (entry.token is None or entry.due <= now)
            ]
            for name in waiting:
                del store.entries[name]
        return len(waiting)

    @override
    def size(self, queue: str) -> Sizes:
        now = self._clock.now()
        store = self._store
        with store.lock:
            entries = [e for e in store.entries.values() if e.envelope.queue == queue]
            failed = sum(job.envelope.queue == queue for job in store.failed.values())
            return Sizes(
                ready=sum(entry.due <= now for entry in entries),
                delayed=sum(entry.due > now and entry.token is None for entry in entries),
                leased=sum(entry.due > now and entry.token is not None for entry in entries),
                failed=failed,
            )

    @override
    def next_due(self, queues: Sequence[str]) -> float | None:
        now = self._clock.now()
        store = self._store
        with store.lock:
            dues = [
                entry.due
                for entry in store.entries.values()
                if entry.envelope.queue in queues and (entry.token is None or entry.due <= now)
            ]
        return max(0.0, (min(dues) - now).total_seconds()) if dues else None

    @override
    def close(self) -> None:
        """Nothing is open; what is stored stays until the backend goes."""


def _taken_out(failed: dict[str, FailedJob], ids: Iterable[str]) -> list[FailedJob]:
    return [failed.pop(name) for name in ids if name in failed]
