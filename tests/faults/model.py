"""
A queue in its simplest form: what every backend is compared with.

It says the verbs of `eventbus.backends.base` over one list of jobs, with no index and no lock. A job
is ready, delayed or leased by one instant, `due`, and by who holds it; it is failed in a second list,
and done when it is in neither. Every verb is told the time, so the clock may go anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from attrs import asdict, define, field

from eventbus.backends.base import Charge, Sizes
from eventbus.queue.envelope import Envelope, UniqueKey

QUEUES = ("one", "two")


@define(kw_only=True, eq=False)
class ModelJob:
    envelope: Envelope
    pushed_at: datetime
    number: int
    #: When it may be claimed; of a leased one, when its lease ends.
    due: datetime
    token: object = None
    shared: bool = False
    alone: bool = False
    attempts: int = 0
    exceptions: int = 0
    losses: int = 0
    releases: int = 0
    parked: str = ""
    #: What no other job of its queue may have; until when, and since when somebody has it.
    key: str | None = None
    key_until: datetime | None = None
    key_since: datetime | None = None

    @property
    def place(self) -> tuple[datetime, int]:
        return self.due, self.number

    def waits(self, now: datetime) -> bool:
        return self.token is None or self.due <= now

    def state(self, now: datetime) -> str:
        if self.due <= now:
            return "ready"
        return "delayed" if self.token is None else "leased"

    def charge(self, charge: Charge) -> None:
        self.attempts += charge in (Charge.ERROR, Charge.ATTEMPT)
        self.exceptions += charge == Charge.ERROR
        self.releases += charge == Charge.RELEASE


@define(kw_only=True)
class ModelFailure:
    envelope: Envelope
    attempts: int
    losses: int
    releases: int
    pushed_at: datetime
    failed_at: datetime
    error: str


@define
class Model:
    jobs: list[ModelJob] = field(factory=list)
    failures: list[ModelFailure] = field(factory=list)
    flags: dict[str, tuple[str, datetime | None]] = field(factory=dict)
    numbers: int = 0

    def _add(self, envelope: Envelope, pushed_at: datetime, due: datetime) -> ModelJob:
        self.numbers += 1
        job = ModelJob(envelope=envelope, pushed_at=pushed_at, due=due, number=self.numbers)
        self.jobs.append(job)
        return job

    def holds(self, name: str) -> bool:
        return any(one.envelope.id == name for one in [*self.jobs, *self.failures])

    def push(self, now: datetime, envelopes: Sequence[Envelope]) -> dict[str, str]:
        gone: dict[str, str] = {}
        for one in envelopes:
            if self.holds(one.id):
                continue
            due = now + timedelta(seconds=one.delay)
            if one.unique is None:
                self._add(one, now, due)
                continue
            holder = self.holder(one.queue, one.unique.key)
            since = now
            if holder is not None and one.unique.replaces and holder.token is None:
                assert holder.key_since is not None
                since = holder.key_since
                gone[one.id] = holder.envelope.id
                self.jobs.remove(holder)
            elif holder is not None and not one.unique.replaces and self.lasts(holder, now):
                gone[one.id] = one.id
                continue
            elif holder is not None:
                holder.key = None
            if one.unique.latest:
                due = min(due, since + timedelta(seconds=one.unique.latest))
            self._has_key(self._add(one, now, due), one.unique, now, since)
        return gone

    def holder(self, queue: str, key: str) -> ModelJob | None:
        """Return the job of a queue that has a key."""
        found = (one for one in self.jobs if (one.envelope.queue, one.key) == (queue, key))
        return next(found, None)

    def lasts(self, holder: ModelJob, now: datetime) -> bool:
        """Say whether a job still keeps others from its key."""
        return holder.key_until is None or now < holder.key_until

    def _has_key(self, job: ModelJob, unique: UniqueKey, now: datetime, since: datetime) -> None:
        job.key, job.key_since = unique.key, since
        job.key_until = now + timedelta(seconds=unique.life) if unique.life else None

    def take(self, now: datetime, job: ModelJob, unique: UniqueKey) -> bool:
        """Let a job that is held have a key; False if another has it."""
        holder = self.holder(job.envelope.queue, unique.key)
        if holder is job:
            return True
        if holder is not None and self.lasts(holder, now):
            return False
        if holder is not None:
            holder.key = None
        self._has_key(job, unique, now, now)
        return True

    def claimable(
        self, now: datetime, queues: Sequence[str], limit: int, *, looks_on: bool
    ) -> list[ModelJob]:
        """
        Return what a claim takes: one that must be alone, if it comes first, or others, in order.

        With `looks_on`, it goes on past those that must be alone until it has as many as it may.
        """
        taken: list[ModelJob] = []
        for queue in queues:
            room = limit - len(taken)
            due = [job for job in self.jobs if job.envelope.queue == queue and job.due <= now]
            line = sorted(due, key=lambda job: job.place)
            for job in line if looks_on else line[:room]:
                if not (job.alone or job.token):
                    taken.append(job)
                elif not taken:
                    return [job]
            del taken[limit:]
        return taken

    def claim(self, jobs: Iterable[ModelJob], until: datetime, token: object) -> None:
        jobs = list(jobs)
        for job in jobs:
            if job.token:  # its lease has ended
                job.losses += not job.shared
                job.alone = True
            job.token, job.shared, job.due, job.parked = token, len(jobs) > 1, until, ""

    def held(self, name: str, token: str) -> ModelJob | None:
        """Return the job, if it is still held by the claim of this token."""
        for job in self.jobs:
            if (job.envelope.id, job.token) == (name, token):
                return job
        return None

    def extend(self, job: ModelJob, until: datetime) -> None:
        job.due = until

    def ack(self, job: ModelJob) -> None:
        self.jobs.remove(job)

    def release(
        self, now: datetime, job: ModelJob, delay: float, charge: Charge, parked: str = ""
    ) -> None:
        first = job.pushed_at + timedelta(seconds=job.envelope.delay)
        keeps_place = charge == Charge.NOTHING and not delay
        job.due = min(now, first) if keeps_place else now + timedelta(seconds=delay)
        job.token, job.shared, job.parked = None, False, parked
        job.charge(charge)

    def bury(self, now: datetime, job: ModelJob, error: str, charge: Charge) -> None:
        job.charge(charge)
        self.jobs.remove(job)
        self.failures.append(
            ModelFailure(
                envelope=job.envelope,
                attempts=job.attempts,
                losses=job.losses,
                releases=job.releases,
                pushed_at=job.pushed_at,
                failed_at=now,
                error=error,
            )
        )

    def purge(self, names: Sequence[str]) -> list[ModelFailure]:
        gone = [job for name in names for job in self.failures if job.envelope.id == name]
        self.failures = [job for job in self.failures if job not in gone]
        return gone

    def revive(self, now: datetime, names: Sequence[str]) -> list[ModelFailure]:
        revived = self.purge(names)
        for one in revived:
            self._add(one.envelope, one.pushed_at, now)
        return revived

    def cancel(self, now: datetime, names: Sequence[str]) -> list[str]:
        gone = [job for job in self.jobs if job.envelope.id in names and job.waits(now)]
        self.jobs = [job for job in self.jobs if job not in gone]
        return [job.envelope.id for job in gone]

    def clear(self, now: datetime, queue: str) -> int:
        return len(
            self.cancel(now, [j.envelope.id for j in self.jobs if j.envelope.queue == queue])
        )

    def flag(self, now: datetime, name: str, value: str | None, life: float | None) -> None:
        end = None if life is None else now + timedelta(seconds=life)
        self.flags.pop(name, None)
        if value is not None:
            self.flags[name] = value, end

    # What can be seen from outside.

    def waiting(self, now: datetime) -> list[dict[str, object]]:
        """Return what `peek` shows, in order of arrival."""
        shown = ("attempts", "losses", "releases", "pushed_at", "due", "parked", "envelope")
        return [
            {"state": job.state(now)} | {name: getattr(job, name) for name in shown}
            for job in sorted(self.jobs, key=lambda job: job.number)
        ]

    def failed(self) -> list[dict[str, object]]:
        return [asdict(job, recurse=False) for job in self.failures]

    def sizes(self, now: datetime, queue: str) -> Sizes:
        states = [job.state(now) for job in self.jobs if job.envelope.queue == queue]
        failed = sum(job.envelope.queue == queue for job in self.failures)
        return Sizes(**{one: states.count(one) for one in set(states)}, failed=failed)

    def queues(self) -> list[str]:
        return sorted({one.envelope.queue for one in [*self.jobs, *self.failures]})

    def next_due(self, now: datetime, queues: Sequence[str]) -> float | None:
        dues = [job.due for job in self.jobs if job.envelope.queue in queues and job.waits(now)]
        return max(0.0, (min(dues) - now).total_seconds()) if dues else None

    def flags_set(self, now: datetime) -> dict[str, str]:
        return {
            name: value for name, (value, end) in self.flags.items() if end is None or end > now
        }
