"""What bus and worker call: any backend, with its arguments checked and its errors made ours."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from eventbus.backends.base import Backend, Claim, FailedJob, Sizes
from eventbus.defaults import DURATION_LIMIT, ERROR_TEXT_LIMIT, LEASE, QUEUE
from eventbus.errors import (
    BackendUnavailable,
    EventBusError,
    InvalidOption,
    LeaseLost,
)
from eventbus.queue.envelope import Envelope, valid_name

__all__ = ["Port"]

_CUT: Final = "\n... (cut)"


class Port:
    """
    A connection: a backend under a name. Written once, so that no backend need check anything.

    Every method may raise `BackendUnavailable`, `StoredUnknown` (only `push`), another
    `BackendError`, or `InvalidOption` for an argument; nothing else gets out.

    Args:
        backend: Where envelopes lie.
        name: The connection's name.
        default_queue: The queue for what names none.

    Raises:
        InvalidOption: A name is none.

    Defaults:
        default_queue = `defaults.QUEUE`.

    Example:
        >>> from eventbus.backends.memory import MemoryBackend
        >>> port = Port(MemoryBackend(), name="default")
        >>> port.push([Envelope(id="a", queue="emails", body=b"{}")])
        >>> [claim] = port.claim(["emails"])
        >>> port.ack(claim)
        >>> port.size("emails").ready
        0
    """

    def __init__(self, backend: Backend, *, name: str, default_queue: str = QUEUE) -> None:
        self.backend = backend
        self.name = valid_name(name, option="connection")
        self.default_queue = valid_name(default_queue, where=f"connection {name!r}")

    def __repr__(self) -> str:
        return f"Port({self.name!r}, {self.backend.name})"

    def push(self, envelopes: Sequence[Envelope]) -> None:
        """
        Store all of `envelopes`, or none; one whose id is stored already is passed over.

        Raises:
            StoredUnknown: It cannot be told whether they were stored. Push the same ones again.
        """
        for envelope in envelopes:
            valid_name(envelope.queue)
            self._id(envelope.id)
            self._seconds("delay", envelope.delay)
        if envelopes:
            with self._errors("push"):
                self.backend.push(envelopes)

    def claim(
        self, queues: Sequence[str], *, limit: int = 1, lease: float | timedelta = LEASE
    ) -> list[Claim]:
        """
        Take up to `limit` due envelopes from `queues`, looked at in this order.

        Args:
            queues: Names; one that nothing was pushed to is empty, not an error.
            limit: Most claims to return, >= 1.
            lease: Seconds, or a `timedelta`, until others may take them.

        Defaults:
            limit = 1: a crash then delays one job.
            lease = `defaults.LEASE`.
        """
        names = self._queues(queues)
        self._limit(limit)
        seconds = self._lease(lease)
        with self._errors("claim"):
            return self.backend.claim(names, limit=limit, lease=seconds)

    def extend(self, claims: Sequence[Claim], *, lease: float | timedelta = LEASE) -> list[Claim]:
        """
        Hold `claims` for `lease` seconds from now; return those that are no longer ours.

        Defaults:
            lease = `defaults.LEASE`.
        """
        seconds = self._lease(lease)
        if not claims:
            return []
        with self._errors("extend"):
            return self.backend.extend(claims, lease=seconds)

    def ack(self, claim: Claim) -> None:
        """
        Remove the envelope of `claim`: its job is done.

        Raises:
            LeaseLost: The claim is no longer ours; nothing was removed.
        """
        with self._errors("ack"):
            lost = self.backend.ack([claim])
        self._kept("ack", lost)

    def release(self, claim: Claim, *, delay: float | timedelta = 0.0, spend: bool = False) -> None:
        """
        Give the envelope of `claim` back, due in `delay` seconds.

        Args:
            claim: What was claimed.
            delay: Seconds, or a `timedelta`, >= 0.
            spend: Whether the run counts as an attempt; else it counts as a release.

        Raises:
            LeaseLost: The claim is no longer ours; nothing changed.

        Defaults:
            delay = 0.
            spend = False: only an error spends an attempt.
        """
        seconds = self._seconds("delay", delay)
        with self._errors("release"):
            lost = self.backend.release([claim], delay=seconds, spend=spend)
        self._kept("release", lost)

    def bury(self, claim: Claim, *, error: str, spend: bool = True) -> None:
        """
        Move the envelope of `claim` to the failed jobs.

        Args:
            claim: What was claimed.
            error: Why, as text; cut at `defaults.ERROR_TEXT_LIMIT` characters.
            spend: Whether the run counts as an attempt; it does not where the job never ran.

        Raises:
            LeaseLost: The claim is no longer ours; nothing changed.

        Defaults:
            spend = True.
        """
        text = _storable(error)
        with self._errors("bury"):
            lost = self.backend.bury([claim], error=text, spend=spend)
        self._kept("bury", lost)

    def failed(
        self, *, ids: Sequence[str] | None = None, queues: Sequence[str] | None = None
    ) -> list[FailedJob]:
        """
        Return failed jobs, the oldest failure first.

        Args:
            ids: Only these; one that is not there is left out.
            queues: Only those of these queues.

        Raises:
            UnsupportedOption: The backend keeps no failed jobs.

        Defaults:
            ids, queues = None: all.
        """
        names = None if queues is None else self._queues(queues)
        with self._errors("failed"):
            return self.backend.failed(ids=ids, queues=names)

    def revive(self, ids: Sequence[str]) -> list[str]:
        """
        Move failed jobs back to their queues, due now, counters at zero; return the ids that moved.

        One that is no failed job is left out: somebody else may have been quicker.

        Raises:
            UnsupportedOption: The backend keeps no failed jobs.
        """
        with self._errors("revive"):
            return self.backend.revive(list(dict.fromkeys(ids)))

    def purge(self, ids: Sequence[str]) -> list[str]:
        """
        Delete failed jobs for good; return the ids that were there.

        Raises:
            UnsupportedOption: The backend keeps no failed jobs.
        """
        with self._errors("purge"):
            return self.backend.purge(list(dict.fromkeys(ids)))

    def clear(self, queue: str) -> int:
        """Delete what waits in `queue`, delayed too, leased not; return how many."""
        valid_name(queue)
        with self._errors("clear"):
            return self.backend.clear(queue)

    def size(self, queue: str) -> Sizes:
        """Count the envelopes of `queue`, by state."""
        valid_name(queue)
        with self._errors("size"):
            return self.backend.size(queue)

    def next_due(self, queues: Sequence[str]) -> float | None:
        """Return in how many seconds the next envelope of `queues` may be claimed, or None."""
        names = self._queues(queues)
        with self._errors("next_due"):
            return self.backend.next_due(names)

    def close(self) -> None:
        """Close every connection to the store. Closing twice is allowed."""
        with self._errors("close"):
            self.backend.close()

    @contextmanager
    def _errors(self, operation: str) -> Generator[None]:
        try:
            yield
        except EventBusError:
            raise
        except Exception as error:
            # A driver's exception that its backend did not translate. Its type is told, since the
            # text alone may be as little as a number.
            raise BackendUnavailable(
                backend=self.backend.name,
                operation=operation,
                reason=f"{type(error).__name__}: {error}",
            ) from error

    def _kept(self, operation: str, lost: Sequence[Claim]) -> None:
        for claim in lost:
            raise LeaseLost(id=claim.envelope.id, operation=operation)

    def _queues(self, queues: Sequence[str]) -> list[str]:
        if isinstance(queues, str) or not queues:
            raise self._invalid(
                option="queues", value=queues, expected="a sequence of at least one queue's name"
            )
        return list(dict.fromkeys(valid_name(queue) for queue in queues))

    def _limit(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._invalid(option="limit", value=value, expected="a whole number >= 1")

    def _id(self, value: object) -> None:
        if not (isinstance(value, str) and value and value.isascii() and value.isprintable()):
            raise self._invalid(option="id", value=value, expected="printable ASCII")

    def _lease(self, lease: float | timedelta) -> float:
        seconds = self._seconds("lease", lease)
        if not seconds:
            raise self._invalid(option="lease", value=lease, expected="more than 0 seconds")
        return seconds

    def _seconds(self, option: str, value: object) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if (
            isinstance(seconds, int | float)
            and not isinstance(seconds, bool)
            and 0 <= seconds <= DURATION_LIMIT  # nor is a nan
        ):
            return float(seconds)
        expected = f"0 to {DURATION_LIMIT:.0f} seconds, or a timedelta of as much"
        raise self._invalid(option=option, value=value, expected=expected)

    def _invalid(self, *, option: str, value: object, expected: str) -> InvalidOption:
        return InvalidOption(
            option=option, value=value, expected=expected, where=f"connection {self.name!r}"
        )


def _storable(error: str) -> str:
    """Return `error` as text that every store takes: short enough, and encodable."""
    if len(error) > ERROR_TEXT_LIMIT:
        error = error[: ERROR_TEXT_LIMIT - len(_CUT)] + _CUT
    # An exception's text may hold half a surrogate pair (a file's name), and PostgreSQL takes no NUL.
    return error.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
