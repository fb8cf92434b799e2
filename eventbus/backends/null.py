"""A backend that discards whatever it gets: for switching queued work off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from typing_extensions import override

from eventbus.backends.base import Backend, Capabilities, Claim, FailedJob, Sizes
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope

__all__ = ["NullBackend"]

_CAPABILITIES: Final = Capabilities(
    durable=False,
    shared=False,
    fenced=True,  # every claim is stale: it never gave one
    idempotent_push=True,
    delay=True,  # what is never handed out is not handed out early
    failed_jobs=False,
)


class NullBackend(Backend):
    """
    Stores nothing and hands out nothing.

    Example:
        >>> backend = NullBackend()
        >>> backend.push([Envelope(id="a", queue="emails", body=b"{}")])
        >>> backend.size("emails")
        Sizes(ready=0, delayed=0, leased=0, failed=0)
    """

    name = "null://"
    capabilities = _CAPABILITIES

    @override
    def push(self, envelopes: Sequence[Envelope]) -> None:
        """Drop `envelopes`."""

    @override
    def claim(self, queues: Sequence[str], *, limit: int, lease: float) -> list[Claim]:
        return []

    @override
    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return list(claims)

    @override
    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        return list(claims)

    @override
    def release(self, claims: Sequence[Claim], *, delay: float, spend: bool) -> list[Claim]:
        return list(claims)

    @override
    def bury(self, claims: Sequence[Claim], *, error: str, spend: bool) -> list[Claim]:
        return list(claims)

    @override
    def failed(
        self, *, ids: Sequence[str] | None = None, queues: Sequence[str] | None = None
    ) -> list[FailedJob]:
        raise UnsupportedOption(backend=self.name, capability="failed_jobs")

    @override
    def revive(self, ids: Sequence[str]) -> list[str]:
        raise UnsupportedOption(backend=self.name, capability="failed_jobs")

    @override
    def purge(self, ids: Sequence[str]) -> list[str]:
        raise UnsupportedOption(backend=self.name, capability="failed_jobs")

    @override
    def clear(self, queue: str) -> int:
        return 0

    @override
    def size(self, queue: str) -> Sizes:
        return Sizes()

    @override
    def next_due(self, queues: Sequence[str]) -> float | None:
        return None

    @override
    def close(self) -> None:
        """Nothing is open."""
