"""Chains and batches in this process's memory: the reference for every other backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import Protocol

from attrs import evolve, frozen
from msgspec.structs import replace
from typing_extensions import override

from eventbus.backends.instants import instant
from eventbus.backends.plans import Milestone, NewBatch, PlanStore, StoredBatch, Tally
from eventbus.queue.envelope import Envelope, Member

__all__ = ["Held", "MemoryPlans", "Place"]


class Held(Protocol):
    """An entry, as far as plans are concerned."""

    envelope: Envelope
    #: It waits for its turn.
    held: bool
    #: Its batch has counted it as skipped: what it was to follow has failed.
    counted: bool


class Place(Protocol):
    """What plans need of the store that they are part of."""

    lock: AbstractContextManager[object]

    def waiting(self, id: str) -> Held | None:
        """Return an entry that waits for its turn."""
        ...

    def known(self, id: str) -> Held | None:
        """Return an entry."""
        ...

    def let_come(self, id: str) -> None:
        """Let the turn of an entry come."""
        ...

    def take_out(self, id: str) -> None:
        """Remove an entry that waits for its turn."""
        ...

    def put(self, envelopes: Sequence[Envelope]) -> object:
        """Store envelopes that are not unique."""
        ...

    def latest_failures(self) -> Iterator[Envelope]:
        """Yield the failed jobs, the latest failure first."""
        ...


@frozen(eq=False)
class _Batch:
    new: NewBatch
    tally: Tally
    created_at: int
    number: int

    def stored(self) -> StoredBatch:
        new, tally = self.new, self.tally
        canceled, finished = tally.canceled_at, tally.finished_at
        return StoredBatch(
            id=new.id,
            queue=new.queue,
            name=new.name,
            allows_failures=new.allows_failures,
            total=tally.total,
            succeeded=tally.succeeded,
            failed=tally.failed,
            skipped=tally.skipped,
            created_at=instant(self.created_at),
            canceled_at=None if canceled is None else instant(canceled),
            finished_at=None if finished is None else instant(finished),
            cursor=f"{self.number:020}",
        )


class MemoryPlans(PlanStore):
    """
    Keeps batches, and goes on with chains.

    Args:
        place: The store; its lock is held by whoever calls what is not of `PlanStore`.
        now: Tells the instant, in microseconds.
    """

    def __init__(self, place: Place, now: Callable[[], int]) -> None:
        self._place = place
        self._now = now
        self._batches: dict[str, _Batch] = {}
        self._numbers = count()

    # What the verbs of jobs mean for the others.

    def stored(self, envelope: Envelope) -> None:
        """Count what was stored."""
        batch = self._batch(envelope)
        if batch is not None:
            batch.tally.total += 1
            batch.tally.close(self._now())

    def is_canceled(self, envelope: Envelope) -> bool:
        """Tell whether the batch of an envelope was canceled."""
        batch = self._batch(envelope)
        return batch is not None and batch.tally.canceled_at is not None

    def acked(self, envelope: Envelope, *, skipped: bool) -> None:
        """Let the next one come, and count this one."""
        member = envelope.member
        if member is None:
            return
        if member.next is not None and self._place.waiting(member.next[1]) is not None:
            self._let_come(member.next[1])
        elif member.catch is not None:
            self._drop(member.catch[1])
        self._note(envelope, succeeded=not skipped, skipped=int(skipped))

    def buried(self, envelope: Envelope) -> None:
        """Count one that failed, and those that will not follow it."""
        member = envelope.member
        if member is None:
            return
        if member.catch is not None:
            self._let_come(member.catch[1])
        rest = list(self._rest(member))
        if member.batch:
            for one in rest:
                one.counted = True
        self._note(envelope, failed=1, skipped=len(rest))

    def revived(self, envelope: Envelope) -> None:
        """Take back what was counted: it is to run after all, and those that follow it."""
        member = envelope.member
        batch = self._batch(envelope)
        if member is None or batch is None:
            return
        rest = [one for one in self._rest(member) if one.counted]
        for one in rest:
            one.counted = False
        batch.tally.reopen(failed=1, skipped=len(rest))

    def purged(self, envelope: Envelope) -> None:
        """Take out those that were to follow one that failed, and is forgotten."""
        if envelope.member is not None:
            self._take_out(envelope.member)

    def canceled(self, envelope: Envelope, *, held: bool = False, counted: bool = False) -> None:
        """Take out those that were to follow one that was taken out, and count all of them."""
        if envelope.member is not None:
            self._drop(envelope.id)
            batch = self._batches.get(envelope.id)
            if held and batch is not None:
                self._cancel(batch)  # it runs, and nobody waits for it any more
            gone = int(not counted) + self._take_out(envelope.member)
            self._note(envelope, skipped=gone)

    def _take_out(self, member: Member) -> int:
        """Remove those that follow; return how many of them their batch has not counted yet."""
        rest = list(self._rest(member))
        for one in rest:
            self._drop(one.envelope.id)
        if member.catch is not None:
            self._drop(member.catch[1])
        return sum(not one.counted for one in rest)

    def _let_come(self, id: str) -> None:
        """Let the turn of an envelope come; of one that stands for a batch which has not begun, that of the batch."""
        batch = self._batches.get(id)
        if batch is not None and not batch.tally.begun:
            self._begin(batch)
        elif self._place.waiting(id) is not None:
            self._place.let_come(id)

    def _begin(self, batch: _Batch) -> None:
        self._reached(batch, batch.tally.begin(self._now()))

    def _drop(self, id: str) -> None:
        """Remove an envelope that waits for its turn; and its batch, where it stands for one that has not begun."""
        if self._place.waiting(id) is not None:
            self._place.take_out(id)
        batch = self._batches.get(id)
        if batch is not None and not batch.tally.begun:
            self._forget(id)

    def _forget(self, id: str) -> bool:
        batch = self._batches.pop(id, None)
        if batch is not None:
            for id_ in (one for ids in batch.new.waiting.values() for one in ids):
                one = self._place.waiting(id_)
                if one is not None:
                    # What stands for it in another plan is a member of that.
                    self._place.take_out(id_)
                    self.canceled(one.envelope, counted=one.counted)
        return batch is not None

    def _rest(self, member: Member) -> Iterator[Held]:
        following = member.next
        seen: set[str] = set()
        while following is not None and following[1] not in seen:
            seen.add(following[1])
            one = self._place.waiting(following[1])
            if one is None:
                return
            yield one
            following = one.envelope.member.next if one.envelope.member is not None else None

    def _batch(self, envelope: Envelope) -> _Batch | None:
        return None if envelope.member is None else self._batches.get(envelope.member.batch)

    def _note(self, envelope: Envelope, **counts: int) -> None:
        batch = self._batch(envelope)
        if batch is not None:
            was_canceled = batch.tally.canceled_at is not None
            self._reached(batch, batch.tally.note(self._now(), **counts))
            if not was_canceled and batch.tally.canceled_at is not None:
                self._cancel_within(batch)

    def _cancel(self, batch: _Batch) -> None:
        if batch.tally.canceled_at is None:
            self._reached(batch, batch.tally.cancel(self._now()))
            self._cancel_within(batch)

    def _cancel_within(self, batch: _Batch) -> None:
        for id_ in batch.new.within:
            inner = self._batches.get(id_)
            if inner is not None and inner.tally.finished_at is None:
                self._cancel(inner)

    def _reached(self, batch: _Batch, milestones: Sequence[Milestone]) -> None:
        for milestone in milestones:
            for id_ in batch.new.waiting.get(milestone, ()):
                self._let_come(id_)
        if Milestone.SUCCEEDED in milestones:
            self._drop_waiting(batch, Milestone.FAILED, Milestone.CANCELED)

    def _drop_waiting(self, batch: _Batch, *milestones: Milestone) -> None:
        for milestone in milestones:
            for id_ in batch.new.waiting.get(milestone, ()):
                self._drop(id_)

    # What is asked of a `PlanStore`.

    @override
    def open(self, batches: Sequence[NewBatch], envelopes: Sequence[Envelope]) -> None:
        with self._place.lock:
            new = [one for one in batches if one.id not in self._batches]
            for batch in new:
                tally = Tally(allows_failures=batch.allows_failures)
                number = next(self._numbers)
                self._batches[batch.id] = _Batch(batch, tally, self._now(), number)
            self._place.put(envelopes)
            for batch in new:
                if Milestone.BEGUN not in batch.waiting:
                    self._begin(self._batches[batch.id])

    @override
    def link(self, queue: str, id: str, next: tuple[str, str]) -> bool:
        with self._place.lock:
            one = self._place.known(id)
            if one is None or one.envelope.queue != queue:
                return False
            member = evolve(one.envelope.member or Member(), next=next)
            one.envelope = replace(one.envelope, member=member)
        return True

    @override
    def caught(self, queue: str, id: str) -> str | None:
        with self._place.lock:
            for one in self._place.latest_failures():
                if one.member is not None and one.member.catch == (queue, id):
                    return one.id
        return None

    @override
    def find(
        self, *, ids: Sequence[str] | None = None, limit: int, after: str = ""
    ) -> list[StoredBatch]:
        with self._place.lock:
            found = [
                one.stored() for id_, one in self._batches.items() if ids is None or id_ in ids
            ]
        return [one for one in found if one.cursor > after][:limit]

    @override
    def cancel(self, id: str) -> bool:
        with self._place.lock:
            batch = self._batches.get(id)
            if batch is not None:
                self._cancel(batch)
        return batch is not None

    @override
    def forget(self, ids: Sequence[str]) -> list[str]:
        with self._place.lock:
            return [one for one in ids if self._forget(one)]
