"""What bus and worker call for chains and batches: a store's, with its errors made ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from attrs import frozen

from eventbus.backends.base import Backend
from eventbus.backends.plans import NewBatch, StoredBatch
from eventbus.defaults import PEEK_LIMIT
from eventbus.queue.envelope import Envelope

__all__ = ["PlanPort"]


class _Errors(Protocol):
    def __call__(
        self, operation: str, pushed: Sequence[Envelope] = ..., /
    ) -> AbstractContextManager[None]:
        """Make a driver's exceptions ours."""
        ...


@frozen
class PlanPort:
    """
    The chains and batches of a connection.

    Every method may raise `BackendUnavailable` or another `BackendError` (`UnsupportedOption` where the store keeps
    none).

    Args:
        backend: Where they lie.
        errors: Makes a driver's exceptions ours, given the operation.
        check: Refuses envelopes that cannot be stored.

    Example:
        >>> from eventbus.backends.memory import MemoryBackend
        >>> from eventbus.backends.port import Port
        >>> plans = Port(MemoryBackend(), name="default").plans
        >>> plans.open([NewBatch(id="b", queue="jobs")], [])
        >>> plans.batch("b").pending
        0
    """

    _backend: Backend
    _errors: _Errors
    _check: Callable[[Sequence[Envelope]], None]

    def open(self, batches: Sequence[NewBatch], envelopes: Sequence[Envelope]) -> None:
        """
        Keep batches and store envelopes, in one step; what is kept or stored already is passed over.

        Args:
            batches: Which.
            envelopes: Their members, and what else belongs to the plans that they are part of.

        Raises:
            StoredUnknown: It cannot be told whether they were stored. Open the same ones again.
        """
        self._check(envelopes)
        with self._errors("push", envelopes):
            self._backend.plans.open(batches, envelopes)

    def link(self, queue: str, id: str, next: tuple[str, str]) -> bool:
        """Let another one follow an envelope that is stored; False if it is not there."""
        with self._errors("link"):
            return self._backend.plans.link(queue, id, next)

    def caught(self, queue: str, id: str) -> str | None:
        """Return the id of the failed job whose failure lets an envelope come; None if there is none."""
        with self._errors("find"):
            return self._backend.plans.caught(queue, id)

    def batch(self, id: str) -> StoredBatch | None:
        """Return a batch as it is now; None if there is none of this id."""
        with self._errors("find"):
            return next(iter(self._backend.plans.find(ids=[id], limit=1)), None)

    def each(self) -> Iterator[StoredBatch]:
        """Go through all batches, some at a time."""
        after = ""
        while True:
            with self._errors("find"):
                page = self._backend.plans.find(limit=PEEK_LIMIT, after=after)
            yield from page
            if not page:
                return
            after = page[-1].cursor

    def cancel(self, id: str) -> bool:
        """Let the members of a batch that have not begun not run any more; False if there is no such batch."""
        with self._errors("cancel"):
            return self._backend.plans.cancel(id)

    def forget(self, ids: Sequence[str]) -> list[str]:
        """Forget batches; return the ids that were there."""
        with self._errors("forget"):
            return self._backend.plans.forget(list(dict.fromkeys(ids)))
