"""
Chains and batches as a store keeps them: who comes next, and how many are done.

An envelope that has a `Member` belongs to a plan. What its end means for the others is part of the step that
settles it: `ack`, `bury`, `cancel`, `clear`, `revive` and `purge` count it in its batch and let the next one
of its chain come, or nothing of all that happens. So a member counts once, and nothing waits for one that is
gone. Here is what these verbs do not say by themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from eventbus.queue.envelope import Envelope

__all__ = ["Milestone", "NewBatch", "PlanStore", "StoredBatch", "Tally"]


class Milestone(StrEnum):
    """What is reached once by a batch; the envelopes that wait for it are due then."""

    #: Its turn has come; where nothing waits for that, it has as soon as it is opened.
    BEGUN = "begun"
    #: The first of its members is settled.
    STARTED = "started"
    #: The first of them has failed.
    FAILED = "failed"
    #: The others are not to run any more.
    CANCELED = "canceled"
    #: All are settled, none has failed, and it is not canceled; some may have been skipped.
    SUCCEEDED = "succeeded"
    #: All are settled.
    FINISHED = "finished"


#: In the order in which stores write down which are reached.
MILESTONES = tuple(Milestone)


@frozen(kw_only=True)
class NewBatch:
    """
    A batch that is to be kept; its members are counted as they are stored.

    An envelope that has its id stands for it in another plan: a batch whose turn is to come begins then, and when it
    is finished, the envelope is due.
    """

    id: str
    #: Where all of its members lie, and what waits for its milestones.
    queue: str
    #: For lists; need not be the only one of its name.
    name: str = ""
    #: One that fails cancels it not.
    allows_failures: bool = False
    #: The ids of held envelopes that are due when a milestone is reached.
    waiting: Mapping[Milestone, Sequence[str]] = field(factory=dict)
    #: The ids of batches that are canceled with it: those that are its members, or of its chains.
    within: Sequence[str] = ()


@frozen(kw_only=True)
class StoredBatch:
    """A batch, as it is now."""

    id: str
    queue: str
    name: str
    allows_failures: bool
    #: How many members it has, ...
    total: int
    #: ... how many of them came to their end, ...
    succeeded: int
    #: ... are among the failed jobs, or were forgotten there, ...
    failed: int
    #: ... and will not run: it was canceled, or what they were to follow has failed, or somebody took them out.
    skipped: int
    created_at: datetime
    canceled_at: datetime | None = None
    #: When the last of its members was settled; None while one is not.
    finished_at: datetime | None = None
    #: Where to go on from: `find(after=...)`. Opaque.
    cursor: str = ""

    @property
    def pending(self) -> int:
        """How many are not settled."""
        return max(0, self.total - self.succeeded - self.failed - self.skipped)


@define(kw_only=True)
class Tally:
    """
    The count of a batch, for stores that count in Python.

    Example:
        >>> tally = Tally(total=2)
        >>> [one.value for one in tally.begin(0)]
        ['begun']
        >>> [one.value for one in tally.note(1, succeeded=1)]
        ['started']
        >>> [one.value for one in tally.note(2, failed=1)]
        ['failed', 'canceled', 'finished']
        >>> tally.canceled_at, tally.finished_at
        (2, 2)
    """

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    #: Whether a failure leaves it as it is.
    allows_failures: bool = False
    #: The milestones that were reached, a bit each, in the order of `MILESTONES`.
    reached: int = 0
    #: Instants, in microseconds.
    canceled_at: int | None = None
    finished_at: int | None = None

    @property
    def pending(self) -> int:
        """How many are not settled."""
        return self.total - self.succeeded - self.failed - self.skipped

    @property
    def begun(self) -> bool:
        """Whether its turn has come."""
        return bool(self.reached & 1)

    def begin(self, now: int) -> list[Milestone]:
        """Let its turn come; return what is reached by it for the first time."""
        return self._first([Milestone.BEGUN]) + self.close(now)

    def note(
        self, now: int, *, succeeded: int = 0, failed: int = 0, skipped: int = 0
    ) -> list[Milestone]:
        """Count members that are settled; return what is reached by it for the first time."""
        self.succeeded += succeeded
        self.failed += failed
        self.skipped += skipped
        found = [Milestone.STARTED] if succeeded or failed or skipped else []
        if failed:
            found.append(Milestone.FAILED)
        first = self._first(found)
        if failed and not self.allows_failures:
            first += self.cancel(now)
        return first + self.close(now)

    def cancel(self, now: int) -> list[Milestone]:
        """Let those that have not begun not run any more; return what is reached by it for the first time."""
        if self.canceled_at is None:
            self.canceled_at = now
        return self._first([Milestone.CANCELED])

    def close(self, now: int) -> list[Milestone]:
        """See whether all are settled; return what is reached by it for the first time."""
        if self.pending > 0 or not self.begun:
            self.finished_at = None
            return []
        if self.finished_at is None:
            self.finished_at = now
        found = [Milestone.FINISHED]
        if not self.failed and self.canceled_at is None:
            found.insert(0, Milestone.SUCCEEDED)
        return self._first(found)

    def reopen(self, *, failed: int, skipped: int) -> None:
        """Take back what was counted of members that are to run after all."""
        self.failed = max(0, self.failed - failed)
        self.skipped = max(0, self.skipped - skipped)
        self.canceled_at = self.finished_at = None

    def _first(self, found: list[Milestone]) -> list[Milestone]:
        first: list[Milestone] = []
        for one in found:
            bit = 1 << MILESTONES.index(one)
            if not self.reached & bit:
                self.reached |= bit
                first.append(one)
        return first


class PlanStore(ABC):
    """
    What is needed of a store beside its verbs of jobs.

    A held envelope waits for the one before it, or for a milestone. When its turn comes, it is due after its own
    delay. Where one is taken out that others were to follow, they are taken out with it.
    """

    @abstractmethod
    def open(self, batches: Sequence[NewBatch], envelopes: Sequence[Envelope]) -> None:
        """
        Keep batches and store envelopes, all in one step; what is kept or stored already is passed over.

        Args:
            batches: Which. One without members is finished as soon as it has begun.
            envelopes: Their members, what waits for their milestones, and the chains that they are part of.
        """

    @abstractmethod
    def link(self, queue: str, id: str, next: tuple[str, str]) -> bool:
        """Let another one follow an envelope that is stored, in place of whoever did; False if it is not there."""

    @abstractmethod
    def caught(self, queue: str, id: str) -> str | None:
        """Return the id of the failed job whose failure lets an envelope come, the latest; None if there is none."""

    @abstractmethod
    def find(
        self, *, ids: Sequence[str] | None = None, limit: int, after: str = ""
    ) -> list[StoredBatch]:
        """
        Return up to `limit` batches, and change nothing.

        Args:
            ids: Only these; one that is not there is left out.
            limit: Most to return.
            after: The `cursor` of the last one that was returned, to go on from there, in the store's order.
        """

    @abstractmethod
    def cancel(self, id: str) -> bool:
        """Let the members of a batch, and of those within it, that have not begun not run any more; False if there is none."""

    @abstractmethod
    def forget(self, ids: Sequence[str]) -> list[str]:
        """Forget batches; return the ids that were there. Their members stay, and count nowhere."""
