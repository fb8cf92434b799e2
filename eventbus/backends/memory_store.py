"""What one process holds of envelopes in its memory, and the lock on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from threading import RLock
from typing import Final

from attrs import Factory, define, evolve
from msgspec.structs import replace

from eventbus.backends.base import Charge, Claim, FailedJob, State, StoredJob
from eventbus.backends.bells import LocalBells
from eventbus.backends.instants import micros
from eventbus.backends.memory_limits import MemoryLimits
from eventbus.backends.memory_plans import MemoryPlans
from eventbus.queue.envelope import Envelope, UniqueKey

__all__ = ["Entry", "Store"]

#: When what waits for its turn is due.
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@define(kw_only=True)
class Entry:
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
    exceptions: int = 0
    releases: int = 0
    #: Why it cannot run yet.
    parked: str = ""
    #: It waits for its turn in a plan; due at no time.
    held: bool = False
    #: Its batch has counted it: what it was to follow has failed.
    counted: bool = False

    def waits(self, now: datetime) -> bool:
        """Say whether nobody holds it: a lease that has ended holds nothing any more."""
        return self.token is None or self.due <= now

    def charge(self, charge: Charge) -> None:
        """Count a run that ended."""
        self.attempts += charge in {Charge.ERROR, Charge.ATTEMPT}
        self.exceptions += charge is Charge.ERROR
        self.releases += charge is Charge.RELEASE

    def stored(self, now: datetime) -> StoredJob:
        """Return what a look at it shows."""
        waits = State.DELAYED if self.token is None else State.LEASED
        waits = State.HELD if self.held else waits
        return StoredJob(
            envelope=self.envelope,
            state=State.READY if self.due <= now else waits,
            due=self.due,
            attempts=self.attempts,
            losses=self.losses,
            releases=self.releases,
            pushed_at=self.pushed_at,
            parked=self.parked,
            cursor=_cursor(self.number),
        )

    def claimed(self, *, canceled: bool = False) -> Claim:
        """Return the claim that holds it."""
        return Claim(
            envelope=self.envelope,
            token=self.token or "",
            attempts=self.attempts,
            losses=self.losses,
            exceptions=self.exceptions,
            releases=self.releases,
            alone=self.alone,
            canceled=canceled,
            pushed_at=self.pushed_at,
        )

    def buried(self, error: str, at: datetime, number: int) -> FailedJob:
        """Return what is kept of it among the failed jobs."""
        return FailedJob(
            envelope=self.envelope,
            attempts=self.attempts,
            losses=self.losses,
            releases=self.releases,
            pushed_at=self.pushed_at,
            failed_at=at,
            error=error,
            cursor=_cursor(number),
        )


@define
class Store:
    """What one process holds, and the lock on it."""

    process: int
    now: Callable[[], datetime]
    limits: MemoryLimits
    #: Told of envelopes, and of the ids of those that are not stored since another has their key.
    note: Callable[[Sequence[Envelope], Collection[str]], None]
    plans: MemoryPlans = Factory(lambda self: MemoryPlans(self, self.micros), takes_self=True)
    #: Reentrant: a signal handler may dispatch while its own thread is inside.
    lock: RLock = Factory(RLock)
    numbers: count[int] = Factory(count)
    entries: dict[str, Entry] = Factory(dict)
    failed: dict[str, FailedJob] = Factory(dict)
    #: By queue and key, the id of the one that has it, until when, and since when somebody has it.
    uniques: dict[tuple[str, str], tuple[str, datetime | None, datetime]] = Factory(dict)
    #: By queue, a heap of (due, number, id). A place that its entry has left is passed over.
    lines: dict[str, list[tuple[datetime, int, str]]] = Factory(dict)
    #: By name, the value and when it ends.
    flags: dict[str, tuple[str, datetime | None]] = Factory(dict)
    #: The same, of what is kept beside the jobs.
    kept: dict[str, tuple[bytes, datetime]] = Factory(dict)
    bells: LocalBells = Factory(LocalBells)

    def add(self, envelope: Envelope, *, pushed_at: datetime, due: datetime) -> None:
        """Put an envelope in, and into its line unless it waits for its turn."""
        held = envelope.member is not None and envelope.member.held
        if held:
            assert envelope.member is not None
            envelope = replace(envelope, member=evolve(envelope.member, held=False))
        entry = Entry(
            envelope=envelope,
            pushed_at=pushed_at,
            number=next(self.numbers),
            due=_NEVER if held else due,
            held=held,
        )
        self.entries[envelope.id] = entry
        if not held:
            self.line_up(entry)

    def micros(self) -> int:
        """Return the instant, in microseconds."""
        return micros(self.now())

    def put(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        """Store envelopes; return what `push` does."""
        now = self.now()
        gone: dict[str, str] = {}
        for envelope in envelopes:
            if envelope.id in self.entries or envelope.id in self.failed:
                continue
            due = now + timedelta(seconds=envelope.delay)
            if envelope.unique is not None:
                due, other = self.settle_key(envelope, envelope.unique, now=now, due=due)
                if other:
                    gone[envelope.id] = other
                if other == envelope.id:
                    continue
            self.add(envelope, pushed_at=now, due=due)
            self.plans.stored(envelope)
        self.bells.ring([envelope.queue for envelope in envelopes])
        self.note(envelopes, gone.values())
        return gone

    def latest_failures(self) -> Iterator[Envelope]:
        """Yield the failed jobs, the latest failure first."""
        for one in reversed(self.failed.values()):
            yield one.envelope

    def known(self, id: str) -> Entry | None:
        """Return an entry."""
        return self.entries.get(id)

    def waiting(self, id: str) -> Entry | None:
        """Return an entry that waits for its turn in a plan."""
        entry = self.entries.get(id)
        return entry if entry is not None and entry.held else None

    def let_come(self, id: str) -> None:
        """Let the turn of such an entry come."""
        entry = self.entries[id]
        entry.held = entry.counted = False
        entry.due = self.now() + timedelta(seconds=entry.envelope.delay)
        self.line_up(entry)
        self.bells.ring([entry.envelope.queue])

    def take_out(self, id: str) -> None:
        """Remove such an entry."""
        self.remove(id)

    def remove(self, id: str) -> None:
        """Take an entry out, and let others have its key."""
        self.free(self.entries.pop(id).envelope)

    def free(self, envelope: Envelope) -> None:
        """Let others have the key of an envelope, if it has one."""
        if envelope.unique is not None:
            place = envelope.queue, envelope.unique.key
            if self.uniques.get(place, ("",))[0] == envelope.id:
                del self.uniques[place]

    def settle_key(
        self, envelope: Envelope, unique: UniqueKey, *, now: datetime, due: datetime
    ) -> tuple[datetime, str]:
        """Give an envelope its key; return when it is due, and the id of the one that stands back, if one does."""
        place, since, other = (envelope.queue, unique.key), now, ""
        if place in self.uniques:
            holder, ends, first = self.uniques[place]
            if unique.replaces and self.entries[holder].token is None:
                other, since = holder, first
                self.remove(holder)
            elif not unique.replaces and (ends is None or now < ends):
                return due, envelope.id
        ends = now + timedelta(seconds=unique.life) if unique.life else None
        self.uniques[place] = envelope.id, ends, since
        latest = since + timedelta(seconds=unique.latest) if unique.latest else due
        return min(due, latest), other

    def take_key(self, entry: Entry, unique: UniqueKey) -> bool:
        """Give an entry a key, unless another has it."""
        envelope, now = entry.envelope, self.now()
        holder, ends, _ = self.uniques.get((envelope.queue, unique.key), ("", now, now))
        if holder not in ("", envelope.id) and (ends is None or now < ends):
            return False
        self.free(envelope)  # of another key, which it had in an attempt before
        entry.envelope = replace(envelope, unique=unique)
        ends = now + timedelta(seconds=unique.life) if unique.life else None
        self.uniques[envelope.queue, unique.key] = envelope.id, ends, now
        return True

    def line_up(self, entry: Entry) -> None:
        """Put `entry` into its queue's line, at its `due`."""
        line = self.lines.setdefault(entry.envelope.queue, [])
        heappush(line, (entry.due, entry.number, entry.envelope.id))

    def held(self, claim: Claim) -> Entry | None:
        """Return the entry of `claim`, if the claim still holds it."""
        entry = self.entries.get(claim.envelope.id)
        return entry if entry is not None and entry.token == claim.token else None

    def take(self, queues: Sequence[str], limit: int, now: datetime) -> list[Entry]:
        """Take up to `limit` due entries out of their lines: one that must be alone, or others."""
        taken: list[Entry] = []
        passed: list[Entry] = []
        #: An entry may have two places at one instant: released as its lease ends, say.
        seen: set[int] = set()
        for queue in queues:
            line = self.lines.get(queue, [])
            while line and line[0][0] <= now and len(taken) < limit:
                due, number, name = heappop(line)
                entry = self.entries.get(name)
                if entry is None or (entry.due, entry.number) != (due, number) or number in seen:
                    continue
                seen.add(number)
                if not (entry.alone or entry.token):
                    taken.append(entry)
                elif taken:
                    passed.append(entry)  # its turn comes when it heads the line
                else:
                    return [entry]
        for entry in passed:
            self.line_up(entry)
        return taken


def _cursor(number: int) -> str:
    return f"{number:020}"  # as text, in the order of the numbers
