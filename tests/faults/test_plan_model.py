"""
Random programs of chains and batches over a store, beside a model that does the same in the simplest way.

Plans are opened, run, fail, are given back, lost, retried, forgotten, cancelled, cleared and added to. After each step
all that can be seen of jobs and batches is what the model says, and on SQLite a verb may break off at any statement.
At the end whatever can run does, and then nothing is stuck.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from secrets import token_hex

import pytest
from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from eventbus.backends.base import Charge
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.plans import Milestone, NewBatch
from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend, load_driver
from eventbus.errors import BackendUnavailable, StoredUnknown
from eventbus.queue.envelope import Envelope, Member
from eventbus.testing.clock import ManualClock
from tests.faults.cuts import CutMaker, cut_backend
from tests.faults.plan_model import PlanModel, PlannedBatch
from tests.faults.statements import Breaking
from tests.forms import FULL

pytestmark = pytest.mark.timeout(3600 if FULL else 120)

PROGRAMS = settings(
    max_examples=2_000 if FULL else 25,
    stateful_step_count=30,
    deadline=None,
    derandomize=not FULL,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
MILESTONES = [one for one in Milestone if one is not Milestone.BEGUN]
LEASE = 60.0
picks = st.integers(0, 1000)

has_claims = precondition(lambda self: self.claims)
has_failures = precondition(lambda self: self.model.failures)
has_jobs = precondition(lambda self: self.model.jobs)
has_batches = precondition(lambda self: self.model.batches)


def envelope(name: str, **member: object) -> Envelope:
    return Envelope(id=name, queue="jobs", body=b"{}", member=Member(**member))


class PlanMachine(RuleBasedStateMachine):
    """A program over one store; subclasses open it."""

    def __init__(self):
        super().__init__()
        self.ending = ExitStack()
        self.clock = ManualClock()
        self.model = PlanModel()
        self.claims = []
        self.serial = 0
        self.breaking = False
        self.port = None
        self.open_store()

    def open_store(self):
        raise NotImplementedError

    def mend(self):
        self.breaking = False

    def name(self):
        self.serial += 1
        return f"j{self.serial:03}"

    def pick(self, found, pick):
        names = sorted(found)
        return names[pick % len(names)]

    def claim_of(self, pick):
        recent = self.claims[-4:] if pick % 3 else self.claims
        return recent[pick % len(recent)]

    def do(self, call, change):
        """Do something to the store and to the model; a verb that broke off was done whole or not at all."""
        after = deepcopy(self.model)
        change(after)
        try:
            call()
        except (BackendUnavailable, StoredUnknown):
            assert self.breaking
            self.mend()
            if self.seen() == self.shown(after):
                self.model = after
        else:
            self.mend()
            self.model = after

    # What is seen.

    def seen(self):
        batches = {one.id: one for one in self.port.plans.each()}
        return {
            "jobs": {one.envelope.id: str(one.state) for one in self.port.each_stored()},
            "failed": {one.envelope.id for one in self.port.each_failed()},
            "batches": {
                name: (
                    (one.total, one.succeeded, one.failed, one.skipped),
                    one.canceled_at is not None,
                    one.finished_at is not None,
                )
                for name, one in batches.items()
            },
        }

    def shown(self, model):
        return {
            "jobs": {name: job.state for name, job in model.jobs.items()},
            "failed": set(model.failures),
            "batches": {
                name: (
                    (one.total, one.succeeded, one.failed, one.skipped),
                    one.canceled,
                    one.finished,
                )
                for name, one in model.batches.items()
            },
        }

    @invariant()
    def the_store_is_what_the_model_says(self):
        assert self.seen() == self.shown(self.model)

    # Plans.

    def chain(self, count, *, batch="", catch=False, held=False, last=None):
        """Return the envelopes of a chain, and the id of its first."""
        names = [self.name() for _ in range(count)]
        caught = self.name() if catch else None
        found = [
            envelope(
                one,
                batch=batch,
                next=("jobs", after) if after else None,
                catch=("jobs", caught) if caught else None,
                held=held or place > 0,
            )
            for place, (one, after) in enumerate(zip(names, [*names[1:], last], strict=True))
        ]
        return [*found, *([envelope(caught, held=True)] if caught else [])], names[0]

    def batch(self, members, chained, *, allows, gated, outer=""):
        """Return a batch, as a store and as the model has it, its envelopes, and those that begin it."""
        id_ = f"b{self.name()}"
        found = [envelope(self.name(), batch=id_, held=gated) for _ in range(members)]
        first = [one.id for one in found]
        if chained:
            more, head = self.chain(chained, batch=id_, held=gated)
            found += more
            first.append(head)
        waiting = {one: [f"{id_}.{one.value}"] for one in MILESTONES}
        found += [envelope(name, held=True) for [name] in waiting.values()]
        if outer is not None:
            waiting[Milestone.FINISHED].append(id_)
        if gated:
            waiting[Milestone.BEGUN] = first
        new = NewBatch(id=id_, queue="jobs", allows_failures=allows, waiting=waiting)
        return new, found

    def opened(self, batches, envelopes):
        def change(model):
            model.open(
                [
                    PlannedBatch(
                        one.id,
                        one.allows_failures,
                        {milestone.value: ids for milestone, ids in one.waiting.items()},
                        one.within,
                    )
                    for one in batches
                ],
                envelopes,
            )

        self.do(lambda: self.port.plans.open(batches, envelopes), change)

    @initialize()
    def begin(self):
        self.open_chain(3, catch=True)
        self.open_batch(2, 2, allows=False)

    @rule(count=st.integers(1, 4), catch=st.booleans())
    def open_chain(self, count, catch):
        envelopes, _ = self.chain(count, catch=catch)
        self.do(lambda: self.port.push(envelopes), lambda model: model.push(envelopes))

    @rule(members=st.integers(0, 3), chained=st.sampled_from([0, 0, 2, 3]), allows=st.booleans())
    def open_batch(self, members, chained, allows):
        new, envelopes = self.batch(members, chained, allows=allows, gated=False, outer=None)
        self.opened([new], envelopes)

    @rule(members=st.integers(0, 2), chained=st.sampled_from([0, 2]), allows=st.booleans())
    def open_a_batch_in_a_chain(self, members, chained, allows):
        """C13."""
        new, inner = self.batch(members, chained, allows=allows, gated=True)
        last, after = self.chain(2, held=True)
        first, _ = self.chain(1, last=new.id)
        end = envelope(new.id, next=("jobs", after), held=True)
        self.opened([new], [*first, end, *last, *inner])

    @rule(members=st.integers(0, 2), allows=st.booleans())
    def open_a_batch_in_a_batch(self, members, allows):
        inner, its = self.batch(members, 0, allows=allows, gated=False)
        outer, mine = self.batch(1, 0, allows=allows, gated=False, outer=None)
        end = envelope(inner.id, batch=outer.id, held=True)
        self.opened([evolve(outer, within=[inner.id]), inner], [*mine, *its, end])

    @has_batches
    @rule(pick=picks, count=st.integers(1, 2))
    def add(self, pick, count):
        """B13."""
        batch = self.pick(self.model.batches, pick)
        if not self.model.batches[batch].begun:
            return  # its members come with it, and more are not to
        envelopes = [envelope(self.name(), batch=batch) for _ in range(count)]
        self.do(lambda: self.port.push(envelopes), lambda model: model.push(envelopes))

    # Runs.

    @rule(limit=st.integers(1, 4))
    def claim(self, limit):
        if self.breaking:
            return
        ready = {name for name, job in self.model.jobs.items() if job.state == "ready"}
        found = self.port.claim(["jobs"], limit=limit, lease=LEASE, token=token_hex(16))
        assert bool(found) == bool(ready)
        for one in found:
            assert one.envelope.id in ready
            job = self.model.jobs[one.envelope.id]
            batch = self.model.batches.get(job.batch)
            assert one.canceled == (batch is not None and batch.canceled)
            job.token, job.leased = one.token, True
        self.claims += found

    def settled(self, claims, call, change):
        def changed(model):
            for one in claims:
                job = model.held_by(one.envelope.id, one.token)
                if job is not None:
                    change(model, job, one)

        self.do(call, changed)

    @has_claims
    @rule(pick=picks, skipped=st.booleans())
    def ack(self, pick, skipped):
        claim = replace(self.claim_of(pick), skipped=skipped)
        self.settled(
            [claim],
            lambda: self.port.ack_all([claim]),
            lambda model, job, one: model.ack(job, skipped=one.skipped),
        )

    @has_claims
    @rule()
    def ack_all(self):
        """Several at once, as a worker does."""
        claims = list({one.envelope.id: one for one in self.claims[-5:]}.values())
        self.settled(
            claims,
            lambda: self.port.ack_all(claims),
            lambda model, job, _: model.ack(job, skipped=False),
        )

    @has_claims
    @rule(pick=picks)
    def bury(self, pick):
        claim = self.claim_of(pick)
        if self.model.held_by(claim.envelope.id, claim.token) is None:
            return
        self.settled(
            [claim],
            lambda: self.port.bury(claim, error="boom", charge=Charge.ERROR),
            lambda model, job, _: model.bury(job),
        )

    @has_claims
    @rule(pick=picks)
    def release(self, pick):
        claim = self.claim_of(pick)
        if self.model.held_by(claim.envelope.id, claim.token) is None:
            return
        self.settled(
            [claim], lambda: self.port.release(claim), lambda model, job, _: model.release(job)
        )

    @rule()
    def leases_end(self):
        self.clock.advance(LEASE + 1)
        for job in self.model.jobs.values():
            job.leased = False

    # What an operator does.

    @has_failures
    @rule(pick=picks)
    def revive(self, pick):
        name = self.pick(self.model.failures, pick)
        self.do(lambda: self.port.revive([name]), lambda model: model.revive(name))

    @has_failures
    @rule(pick=picks)
    def purge(self, pick):
        name = self.pick(self.model.failures, pick)
        self.do(lambda: self.port.purge([name]), lambda model: model.purge(name))

    @has_jobs
    @rule(pick=picks)
    def cancel(self, pick):
        name = self.pick(self.model.jobs, pick)
        self.do(lambda: self.port.cancel([name]), lambda model: model.cancel(name))

    @has_batches
    @rule(pick=picks)
    def cancel_batch(self, pick):
        name = self.pick(self.model.batches, pick)
        self.do(lambda: self.port.plans.cancel(name), lambda model: model.cancel_batch(name))

    @has_batches
    @rule(pick=picks)
    def forget(self, pick):
        name = self.pick(self.model.batches, pick)
        self.do(lambda: self.port.plans.forget([name]), lambda model: model.forget(name))

    # The end.

    def teardown(self):
        try:
            self.mend()
            self.leases_end()
            while claims := self.port.claim(["jobs"], limit=5, lease=LEASE, token=token_hex(16)):
                for one in claims:
                    self.model.jobs[one.envelope.id].token = one.token
                    self.model.ack(self.model.jobs[one.envelope.id], skipped=False)
                    self.port.ack(one)
                    self.the_store_is_what_the_model_says_but_for_leases()
            for batch in self.model.batches.values():
                assert batch.finished or not batch.begun
                assert (
                    batch.total == batch.succeeded + batch.failed + batch.skipped or not batch.begun
                )
        finally:
            self.ending.close()

    def the_store_is_what_the_model_says_but_for_leases(self):
        seen, shown = self.seen(), self.shown(self.model)
        assert seen["batches"] == shown["batches"]
        assert seen["jobs"].keys() == shown["jobs"].keys()


class MemoryMachine(PlanMachine):
    def open_store(self):
        self.port = Port(MemoryBackend(clock=self.clock), name="default")


class SqliteMachine(PlanMachine):
    def open_store(self):
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        folder = Path(tempfile.mkdtemp(prefix="eventbus-plans-", dir=memory))
        self.ending.callback(shutil.rmtree, folder)
        backend = SqliteBackend(folder / "queue.db", clock=self.clock, journal="PERSIST")
        self.statements = backend._file._driver = Breaking(load_driver())
        self.port = Port(backend, name="default")
        self.ending.callback(self.port.close)

    @rule(
        verb=st.sampled_from(["ack", "ack_all", "bury", "open", "cancel", "revive", "add"]),
        statement=st.integers(0, 12),
        done=st.booleans(),
        pick=picks,
    )
    def a_verb_breaks_off(self, verb, statement, done, pick):
        """Between any two statements, or with its answer lost."""
        needs = {
            "revive": self.model.failures,
            "cancel": self.model.jobs,
            "add": self.model.batches,
        }
        if not needs.get(verb, self.claims):
            return
        self.breaking = True
        self.statements.break_at(statement, done=done)
        {
            "ack": lambda: self.ack(pick, skipped=False),
            "ack_all": self.ack_all,
            "bury": lambda: self.bury(pick),
            "open": lambda: self.open_a_batch_in_a_chain(2, 2, allows=False),
            "cancel": lambda: self.cancel(pick),
            "revive": lambda: self.revive(pick),
            "add": lambda: self.add(pick, 2),
        }[verb]()
        self.mend()

    def mend(self):
        super().mend()
        self.statements.mend()


class RedisMachine(PlanMachine):
    server = None

    def open_store(self):
        self.server.ask("FLUSHALL")
        self.maker = CutMaker(self.server.port)
        self.port = Port(cut_backend(self.maker, self.clock), name="default")
        self.ending.callback(self.port.close)


@pytest.fixture
def run(results):
    def run(machine, name, programs=PROGRAMS):
        run_state_machine_as_test(machine, settings=programs)
        results.add("random programs of chains and batches", name, programs=programs.max_examples)

    return run


def test_memory_is_what_the_model_says(run):
    run(MemoryMachine, "memory")


def test_sqlite_is_what_the_model_says(run):
    run(SqliteMachine, "SQLite, PERSIST")


def test_redis_is_what_the_model_says(redis_server, run):
    made = type("Machine", (RedisMachine,), {"server": redis_server})
    run(made, "Redis, nothing kept", PROGRAMS if FULL else settings(PROGRAMS, max_examples=15))
