"""A backend that discards whatever it gets: for switching queued work off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from typing_extensions import override

from eventbus.backends.base import (
    Backend,
    Capabilities,
    Charge,
    Claim,
    Examination,
    FailedJob,
    Finding,
    Promise,
    Sizes,
    StoredJob,
    Verdict,
)
from eventbus.backends.plans import NewBatch, PlanStore, StoredBatch
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope, UniqueKey

__all__ = ["DISCARDED", "NullBackend"]

DISCARDED: Final = Promise(
    store="null://",
    dispatched="nothing: it was discarded",
    worker_killed="nothing to lose",
    server_killed="no server",
    power_cut="nothing to lose",
    failover="no other server",
    stale_ack="refused",
)

_CAPABILITIES: Final = Capabilities(
    durable=False,
    shared=False,
    fenced=True,  # every claim is stale: it never gave one
    idempotent_push=True,
    delay=True,  # what is never handed out is not handed out early
    failed_jobs=False,
    results=True,  # what never runs has none
    unique=True,  # of which it stores none
    plans=True,  # the same
)


class _NoPlans(PlanStore):
    """Keeps no batch, and lets nobody come."""

    @override
    def open(self, batches: Sequence[NewBatch], envelopes: Sequence[Envelope]) -> None:
        """Drop them."""

    @override
    def link(self, queue: str, id: str, next: tuple[str, str]) -> bool:
        return False

    @override
    def caught(self, queue: str, id: str) -> str | None:
        return None

    @override
    def find(
        self, *, ids: Sequence[str] | None = None, limit: int, after: str = ""
    ) -> list[StoredBatch]:
        return []

    @override
    def cancel(self, id: str) -> bool:
        return False

    @override
    def forget(self, ids: Sequence[str]) -> list[str]:
        return []


class NullBackend(Backend):
    """
    Stores nothing and hands out nothing.

    Example:
        >>> backend = NullBackend()
        >>> backend.push([Envelope(id="a", queue="emails", body=b"{}")])
        {}
        >>> backend.size("emails")
        Sizes(ready=0, delayed=0, leased=0, failed=0, held=0)
    """

    name = "null://"
    capabilities = _CAPABILITIES

    @override
    def push(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        """Drop `envelopes`."""
        return {}

    @override
    def free(self, claims: Sequence[Claim]) -> None:
        """Nobody has a key."""

    @override
    def take(self, claim: Claim, unique: UniqueKey) -> bool:
        return False

    @override
    def claim(self, queues: Sequence[str], *, limit: int, lease: float, token: str) -> list[Claim]:
        return []

    @override
    def unclaim(self, queues: Sequence[str], *, token: str) -> int:
        return 0

    @override
    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return list(claims)

    @override
    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        return list(claims)

    @override
    def release(
        self, claims: Sequence[Claim], *, delay: float, charge: Charge, parked: str = ""
    ) -> list[Claim]:
        return list(claims)

    @override
    def bury(self, claims: Sequence[Claim], *, error: str, charge: Charge) -> list[Claim]:
        return list(claims)

    @override
    def failed(
        self,
        *,
        ids: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        limit: int,
        after: str = "",
    ) -> list[FailedJob]:
        raise UnsupportedOption(backend=self.name, capability="failed_jobs")

    @override
    def revive(self, ids: Sequence[str]) -> list[str]:
        raise UnsupportedOption(backend=self.name, capability="failed_jobs")

    @override
    def purge(self, ids: Sequence[str]) -> list[str]:
        raise UnsupportedOption(backend=self.name, capability="failed_jobs")

    @override
    def cancel(self, ids: Sequence[str]) -> list[str]:
        return []

    @override
    def clear(self, queue: str) -> int:
        return 0

    @override
    def size(self, queue: str) -> Sizes:
        return Sizes()

    @override
    def queues(self) -> list[str]:
        return []

    @override
    def peek(
        self,
        *,
        queues: Sequence[str] | None = None,
        parked: bool = False,
        limit: int,
        after: str = "",
    ) -> list[StoredJob]:
        return []

    @override
    def find(self, ids: Sequence[str], *, queues: Sequence[str] | None = None) -> list[StoredJob]:
        return []

    @override
    def keep(self, name: str, value: bytes, *, life: float) -> None:
        """Drop `value`."""

    @override
    def kept(self, name: str) -> bytes | None:
        return None

    @property
    @override
    def plans(self) -> PlanStore:
        return _NoPlans()

    @override
    def next_due(self, queues: Sequence[str], *, leased: bool = False) -> float | None:
        return None

    @override
    def flag(self, name: str, value: str | None, *, life: float | None = None) -> None:
        raise UnsupportedOption(backend=self.name, capability="flags")

    @override
    def flags(self) -> dict[str, str]:
        return {}

    @override
    def examine(self, *, integrity: bool = False) -> Examination:
        finding = Finding(
            subject="storage",
            found="none",
            verdict=Verdict.WARNING,
            advice="no job is stored, and none ever runs: right where queued work is switched off",
        )
        return Examination(promise=DISCARDED, findings=(finding,))

    @override
    def close(self) -> None:
        """Nothing is open."""
