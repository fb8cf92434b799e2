"""
Chains and batches in their simplest form: what every backend is compared with.

Everything lies in one queue, nothing has a delay, and who comes first is left to the store: what it hands out must be
ready, and if anything is ready it must hand out something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field

from eventbus.queue.envelope import Envelope


@define(eq=False)
class PlannedJob:
    id: str
    batch: str = ""
    next: str | None = None
    catch: str | None = None
    held: bool = False
    #: Its batch has counted it as skipped: what it was to follow has failed.
    counted: bool = False
    token: str | None = None
    #: Its lease runs.
    leased: bool = False

    @property
    def state(self) -> str:
        return "held" if self.held else "leased" if self.leased else "ready"


@define(eq=False)
class PlannedBatch:
    id: str
    allows_failures: bool
    waiting: Mapping[str, Sequence[str]]
    within: Sequence[str] = ()
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    begun: bool = False
    canceled: bool = False
    finished: bool = False
    reached: set[str] = field(factory=set)

    @property
    def pending(self) -> int:
        return self.total - self.succeeded - self.failed - self.skipped


@define
class PlanModel:
    jobs: dict[str, PlannedJob] = field(factory=dict)
    failures: dict[str, PlannedJob] = field(factory=dict)
    batches: dict[str, PlannedBatch] = field(factory=dict)

    # What is said to a store.

    def open(self, batches: Iterable[PlannedBatch], envelopes: Iterable[Envelope]) -> None:
        new = list(batches)
        for batch in new:
            self.batches[batch.id] = batch
        self.push(envelopes)
        for batch in new:
            if "begun" not in batch.waiting:
                self._begin(batch)

    def push(self, envelopes: Iterable[Envelope]) -> None:
        for one in envelopes:
            member = one.member
            assert member is not None
            self.jobs[one.id] = PlannedJob(
                one.id,
                batch=member.batch,
                next=member.next[1] if member.next else None,
                catch=member.catch[1] if member.catch else None,
                held=member.held,
            )
            if member.batch in self.batches:
                batch = self.batches[member.batch]
                batch.total += 1
                self._close(batch)

    def held_by(self, id: str, token: str) -> PlannedJob | None:
        job = self.jobs.get(id)
        return job if job is not None and job.token == token else None

    def ack(self, job: PlannedJob, *, skipped: bool) -> None:
        del self.jobs[job.id]
        if not (job.next and self._waits(job.next)):
            self._drop(job.catch)
        else:
            self._let_come(job.next)
        self._count(job.batch, succeeded=not skipped, skipped=skipped)

    def bury(self, job: PlannedJob) -> None:
        del self.jobs[job.id]
        job.token, job.leased = None, False
        self.failures[job.id] = job
        if job.catch:
            self._let_come(job.catch)
        rest = self._rest(job) if job.batch else []
        for one in rest:
            one.counted = True
        self._count(job.batch, failed=1, skipped=len(rest))

    def release(self, job: PlannedJob) -> None:
        job.token, job.leased = None, False

    def revive(self, id: str) -> None:
        job = self.failures.pop(id)
        self.jobs[id] = job
        batch = self.batches.get(job.batch)
        if batch is not None:
            rest = [one for one in self._rest(job) if one.counted]
            for one in rest:
                one.counted = False
            batch.failed -= 1
            batch.skipped -= len(rest)
            batch.canceled = batch.finished = False

    def purge(self, id: str) -> None:
        self._without(self.failures.pop(id))

    def cancel(self, id: str) -> bool:
        job = self.jobs.get(id)
        if job is None or job.leased:
            return False
        del self.jobs[id]
        batch = self.batches.get(id)
        if batch is not None and not batch.begun:
            self.forget(id)
        elif batch is not None and job.held:
            self.cancel_batch(id)
        gone = self._without(job) + (not job.counted)
        self._count(job.batch, skipped=gone)
        return True

    def cancel_batch(self, id: str) -> None:
        batch = self.batches[id]
        if not batch.canceled:
            batch.canceled = True
            self._reach(batch, "canceled")
            for inner in batch.within:
                if inner in self.batches and not self.batches[inner].finished:
                    self.cancel_batch(inner)

    def forget(self, id: str) -> None:
        batch = self.batches.pop(id)
        for name in [one for several in batch.waiting.values() for one in several]:
            if self._waits(name):
                job = self.jobs.pop(name)
                gone = self._without(job) + (not job.counted)
                self._count(job.batch, skipped=gone)

    # What follows of it.

    def _waits(self, id: str) -> bool:
        return id in self.jobs and self.jobs[id].held

    def _let_come(self, id: str) -> None:
        batch = self.batches.get(id)
        if batch is not None and not batch.begun:
            self._begin(batch)
        elif self._waits(id):
            self.jobs[id].held = self.jobs[id].counted = False

    def _begin(self, batch: PlannedBatch) -> None:
        batch.begun = True
        self._reach(batch, "begun")
        self._close(batch)

    def _reach(self, batch: PlannedBatch, milestone: str) -> None:
        if milestone in batch.reached:
            return
        batch.reached.add(milestone)
        for one in batch.waiting.get(milestone, ()):
            self._let_come(one)
        if milestone == "succeeded":
            for other in ("failed", "canceled"):
                for one in batch.waiting.get(other, ()):
                    self._drop(one)

    def _close(self, batch: PlannedBatch) -> None:
        batch.finished = batch.begun and batch.pending <= 0
        if batch.finished:
            if not batch.failed and not batch.canceled:
                self._reach(batch, "succeeded")
            self._reach(batch, "finished")

    def _count(self, id: str, *, succeeded: int = 0, failed: int = 0, skipped: int = 0) -> None:
        batch = self.batches.get(id)
        if batch is None:
            return
        batch.succeeded += succeeded
        batch.failed += failed
        batch.skipped += skipped
        if succeeded or failed or skipped:
            self._reach(batch, "started")
        if failed:
            self._reach(batch, "failed")
            if not batch.allows_failures:
                self.cancel_batch(id)
        self._close(batch)

    def _rest(self, job: PlannedJob) -> list[PlannedJob]:
        rest: list[PlannedJob] = []
        following = job.next
        while following and self._waits(following):
            rest.append(self.jobs[following])
            following = self.jobs[following].next
        return rest

    def _without(self, job: PlannedJob) -> int:
        """Take out those that follow; return how many were not counted."""
        rest = self._rest(job)
        for one in rest:
            self._drop(one.id)
        self._drop(job.catch)
        return sum(not one.counted for one in rest)

    def _drop(self, id: str | None) -> None:
        if id is None:
            return
        if self._waits(id):
            del self.jobs[id]
        if id in self.batches and not self.batches[id].begun:
            self.forget(id)
