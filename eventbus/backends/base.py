"""
The contract of a backend: about ten operations on records.

A backend stores; it does not validate, log or decide. `eventbus.backends.port.Port` checks the
arguments before they get here, and `eventbus.testing.contract` tests that a backend keeps its word.

Life of an envelope, one verb per arrow:

```
push -> ready -> claim -> leased -> ack      -> gone
          ^                 |  |--- release  -> ready (again, after a delay)
          |                 |  |--- bury     -> failed -> revive -> ready
          |                 |                         '-> purge  -> gone
          '-- lease ends ---'  (a loss: the worker died)
```
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from attrs import field, frozen

from eventbus.queue.envelope import Envelope

__all__ = ["Backend", "Capabilities", "Claim", "Clock", "FailedJob", "Sizes", "SystemClock"]


class Clock(Protocol):
    """What a backend without a server of its own asks for the time."""

    def now(self) -> datetime:
        """Return the instant, aware and in UTC."""
        ...


class SystemClock:
    """The machine's own clock, the one that rules unless a test brings another."""

    def now(self) -> datetime:
        """Return the instant, aware and in UTC."""
        return datetime.now(UTC)


@frozen(kw_only=True)
class Capabilities:
    """What a backend can do beyond storing. The suite tests both values of each."""

    #: Envelopes outlive the process that pushed them.
    durable: bool
    #: Other processes see what this one pushed.
    shared: bool
    #: A stale ack, release, bury or extend is refused.
    fenced: bool
    #: `push` of an id that is stored already stores nothing.
    idempotent_push: bool
    #: A delay is honoured.
    delay: bool
    #: Buried envelopes are kept, listed and revived.
    failed_jobs: bool


@frozen(kw_only=True)
class Claim:
    """The temporary right to run one envelope."""

    envelope: Envelope
    #: The fence: whoever holds a newer token has the job. Opaque.
    token: str = field(repr=False)
    #: Tries spent by errors before this run, >= 0.
    attempts: int = 0
    #: Runs whose worker died, >= 0.
    losses: int = 0
    #: Times it was given back without spending a try, >= 0.
    releases: int = 0
    #: When it was pushed, by the store's clock.
    pushed_at: datetime


@frozen(kw_only=True)
class FailedJob:
    """A job that used up its attempts, kept with its envelope and error."""

    envelope: Envelope
    attempts: int
    losses: int
    releases: int
    pushed_at: datetime
    failed_at: datetime
    #: The error as text: type, message, traceback. Never rebuilt into an exception.
    error: str


@frozen(kw_only=True)
class Sizes:
    """How many envelopes of a queue are in which state."""

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    failed: int = 0


class Backend(ABC):
    """
    What bus and worker need of a store.

    Calls may come from several threads at once. An implementation translates its driver's
    exceptions into `BackendUnavailable` (nothing happened), `StoredUnknown` (a push whose outcome
    is not known) or another `BackendError`. Methods that take claims return those whose token was
    stale, and change nothing for them: the port makes `LeaseLost` of it.
    """

    #: Shown in errors, logs and lists; holds no password.
    name: str
    capabilities: Capabilities

    @abstractmethod
    def push(self, envelopes: Sequence[Envelope]) -> None:
        """
        Store all of `envelopes`, or none.

        When it returns they are stored as durably as the store is configured. An id that is
        stored already, waiting, leased or failed, is passed over.
        """

    @abstractmethod
    def claim(self, queues: Sequence[str], *, limit: int, lease: float) -> list[Claim]:
        """
        Take up to `limit` due envelopes and hold them for `lease` seconds.

        Queues are looked at in the order given; within a queue the longest due comes first.
        Atomic: no envelope is in two live claims. Does not block. An envelope whose lease has
        ended is due again and has one loss more; one that was lost as a member of a larger claim
        is then handed out alone, without that loss.
        """

    @abstractmethod
    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        """Hold `claims` for `lease` seconds from now; return those that are no longer held."""

    @abstractmethod
    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        """Remove the envelopes of `claims`: they are done. Return the stale claims."""

    @abstractmethod
    def release(self, claims: Sequence[Claim], *, delay: float, spend: bool) -> list[Claim]:
        """
        Give envelopes back, due in `delay` seconds. Return the stale claims.

        `spend` counts the run as an attempt; without it, as a release.
        """

    @abstractmethod
    def bury(self, claims: Sequence[Claim], *, error: str, spend: bool) -> list[Claim]:
        """
        Move envelopes to the failed jobs with `error`, in one step. Return the stale claims.

        `spend` counts the run as an attempt: without it the job never ran.
        """

    @abstractmethod
    def failed(
        self, *, ids: Sequence[str] | None = None, queues: Sequence[str] | None = None
    ) -> list[FailedJob]:
        """Return failed jobs, the oldest failure first: all, those of `queues`, or those of `ids`."""

    @abstractmethod
    def revive(self, ids: Sequence[str]) -> list[str]:
        """
        Move failed jobs back to their queues, due now, counters at zero; return the ids that moved.

        One step: a job is never in both places or in neither.
        """

    @abstractmethod
    def purge(self, ids: Sequence[str]) -> list[str]:
        """Delete failed jobs for good; return the ids that were there."""

    @abstractmethod
    def clear(self, queue: str) -> int:
        """Delete everything that waits in `queue`, delayed too, leased not; return how many."""

    @abstractmethod
    def size(self, queue: str) -> Sizes:
        """Count the envelopes of `queue`."""

    @abstractmethod
    def next_due(self, queues: Sequence[str]) -> float | None:
        """
        Return in how many seconds the next envelope of `queues` may be claimed.

        0 if one is due now; None if nothing is ready or delayed. Leased ones do not count.
        """

    @abstractmethod
    def close(self) -> None:
        """Close every connection to the store. Closing twice is allowed."""
