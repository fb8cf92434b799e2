"""
Random programs over a store, beside a model that does the same in the simplest way.

Workers claim, settle, die and come back with claims that are stale; the clock goes forward and back;
the store is closed and opened again; on SQLite, a verb may break off at any of its statements. After
each step all that can be seen of the store is what the model says.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

import pytest
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

from eventbus.backends.base import Charge
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend, load_driver, wal_is_safe
from eventbus.errors import BackendUnavailable, LeaseLost, StoredUnknown
from eventbus.queue.envelope import Envelope, UniqueKey
from eventbus.testing.clock import ManualClock
from tests.faults.cuts import CutMaker, cut_backend
from tests.faults.model import QUEUES, Model
from tests.faults.statements import Breaking
from tests.forms import FULL

pytestmark = pytest.mark.timeout(3600 if FULL else 120)

#: The first programs are always the same ones; the full number is drawn anew each time.
PROGRAMS = settings(
    max_examples=5_000 if FULL else 35,
    stateful_step_count=40,
    deadline=None,
    derandomize=not FULL,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

WORKERS = 3
names = st.sampled_from("abcdefgh")
some_names = st.lists(names, max_size=6, unique=True)
spans = st.sampled_from([0, 0, 0, 1, 30])
leases = st.sampled_from([1, 10, 60])
charges = st.sampled_from(Charge)
picks = st.integers(0, 1000)
orders_of_queues = st.sampled_from([("one",), ("two",), ("one", "two"), ("two", "one")])

#: A key, and the delay of who has it.
keys = st.tuples(
    st.builds(
        UniqueKey,
        key=st.sampled_from("kl"),
        life=st.sampled_from([0.0, 0.0, 10.0]),
        replaces=st.booleans(),
        latest=st.sampled_from([0.0, 20.0]),
    ),
    spans,
)

LOST = object()


def settled(call, *arguments, **options):
    """Say a verb that takes one claim; tell a stale one from the others."""
    try:
        return call(*arguments, **options)
    except LeaseLost:
        return LOST


has_claims = precondition(lambda self: self.claims)
has_failures = precondition(lambda self: self.model.failures)


def as_the_model_has_it(job):
    shown = ("attempts", "losses", "releases", "pushed_at", "due", "parked", "envelope")
    return {"state": str(job.state)} | {name: getattr(job, name) for name in shown}


class StoreMachine(RuleBasedStateMachine):
    """A program over one store; subclasses open it."""

    #: A claim looks on past those that must be alone until it has as many as it may.
    looks_on = True

    def __init__(self):
        super().__init__()
        self.ending = ExitStack()
        self.clock = ManualClock()
        self.model = Model()
        self.breaking = None
        self.serial = 0
        #: All that workers ever claimed and remember, by worker: held, settled and stale ones.
        self.claims = []
        self.port = None
        self.open()

    def open(self):
        raise NotImplementedError

    def teardown(self):
        self.ending.close()

    @property
    def now(self):
        return self.clock.now()

    def later(self, seconds):
        return self.now + timedelta(seconds=seconds)

    def claim_of(self, pick):
        """Return a claim, one of the last more often than an old one."""
        recent = self.claims[-4:] if pick % 3 else self.claims
        return recent[pick % len(recent)][1]

    def claims_of(self, worker):
        """Return the last claims of a worker, each once."""
        return [claim for owner, claim in self.claims if owner == worker][-4:]

    def held(self, model, claim):
        return model.held(claim.envelope.id, claim.token)

    def do(self, call, change, *, honest=False):
        """
        Do something to the store and to the model; both must answer the same.

        A verb that broke off was done whole or not at all: the store says which, except that an
        `honest` one says itself when it was not done.
        """
        after = deepcopy(self.model) if self.breaking else self.model
        expected = change(after)
        try:
            answer = call()
        except (BackendUnavailable, StoredUnknown) as error:
            assert self.breaking
            self.mend()
            # What an honest one does not tell must not have been done: the next look finds it.
            told = isinstance(error, StoredUnknown) or not honest
            if told and self.seen() == self.shown(after):
                self.model = after
        else:
            assert answer == expected
            self.mend()
            self.model = after

    def mend(self):
        """Let no verb break off any more."""
        self.breaking = None

    def queue_of(self, _name, queue):
        """Return the queue that a job of this name is pushed to, where it may be chosen."""
        return queue

    # What is seen.

    def seen(self):
        stored = [as_the_model_has_it(job) for job in self.port.each_stored()]
        failed = [
            {name: getattr(job, name) for name in self.model_failure}
            for job in self.port.each_failed()
        ]
        orders = self.port.orders()
        return {
            "stored": stored,
            "failed": failed,
            "sizes": [self.port.size(queue) for queue in QUEUES],
            "queues": self.port.queues(),
            "next": [self.port.next_due([queue]) for queue in QUEUES],
            "paused": [orders.is_paused(queue) for queue in QUEUES],
        }

    model_failure = (
        "envelope",
        "attempts",
        "losses",
        "releases",
        "pushed_at",
        "failed_at",
        "error",
    )

    def shown(self, model):
        now = self.now
        flags = model.flags_set(now)
        return {
            "stored": model.waiting(now),
            "failed": model.failed(),
            "sizes": [model.sizes(now, queue) for queue in QUEUES],
            "queues": model.queues(),
            "next": [model.next_due(now, [queue]) for queue in QUEUES],
            "paused": [f"pause:{queue}" in flags or "pause:*" in flags for queue in QUEUES],
        }

    @invariant()
    def the_store_is_what_the_model_says(self):
        """I1, I2, I5: nothing is lost, nothing is altered, every run is counted once."""
        assert self.seen() == self.shown(self.model)

    @invariant()
    def no_job_is_held_twice(self):
        held = [
            (claim.envelope.id, claim.token)
            for _, claim in self.claims
            if (job := self.held(self.model, claim)) is not None and job.due > self.now
        ]
        assert len({name for name, _ in held}) == len(set(held))

    # The verbs.

    @initialize(delays=st.lists(spans, min_size=3, max_size=6), charges=st.tuples(charges, charges))
    def begin(self, delays, charges):
        """There is something in each state, so that most rules have something to change."""
        for name, delay in zip("abcdef", [0, 0, *delays], strict=False):
            self.push([name], QUEUES[name > "c"], delay)
        self.clock.advance(1)
        self.claim(0, ("one", "two"), 3, 10)
        self.bury(0, charges[0])
        self.claim(1, ("two", "one"), 1, 10)
        self.release(1, 0, charges[1], "")

    @rule(ids=st.lists(names, min_size=1, max_size=3), queue=st.sampled_from(QUEUES), delay=spans)
    def push(self, ids, queue, delay):
        envelopes = []
        for name in ids:
            self.serial += 1
            body = f"{name}{self.serial}".encode()
            place = self.queue_of(name, queue)
            envelopes.append(Envelope(id=name, queue=place, body=body, delay=float(delay)))
        self.do(
            lambda: self.port.push(envelopes),
            lambda model: model.push(self.now, envelopes),
            honest=True,  # I6
        )

    @rule(ids=st.lists(names, min_size=1, max_size=3), queue=st.sampled_from(QUEUES), keys=keys)
    def push_unique(self, ids, queue, keys):
        """U1, U10: of those with one key there is one; the others stand back, or take its place."""
        key, delay = keys
        envelopes = [
            Envelope(
                id=name,
                queue=self.queue_of(name, queue),
                body=f"{name}{self.serial}".encode(),
                delay=float(delay),
                unique=key,
            )
            for name in ids
        ]
        self.serial += 1
        self.do(
            lambda: self.port.push(envelopes),
            lambda model: model.push(self.now, envelopes),
            honest=True,
        )

    @has_claims
    @rule(pick=picks)
    def free(self, pick):
        claim = self.claim_of(pick)

        def change(model):
            if (job := self.held(model, claim)) is not None:
                job.key = None

        self.do(lambda: self.port.free(claim), change)

    @has_claims
    @rule(pick=picks, keys=keys)
    def take(self, pick, keys):
        claim, key = self.claim_of(pick), keys[0]

        def change(model):
            job = self.held(model, claim)
            return job is not None and model.take(self.now, job, key)

        self.do(lambda: self.port.take(claim, key), change)

    @rule(
        worker=st.integers(0, WORKERS - 1),
        queues=orders_of_queues,
        limit=st.integers(1, 5),
        lease=leases,
    )
    def claim(self, worker, queues, limit, lease):
        self.claimed(
            worker, queues, limit, lease, lambda **options: self.port.claim(queues, **options)
        )

    @has_claims
    @rule(
        pick=picks,
        worker=st.integers(0, WORKERS - 1),
        queues=orders_of_queues,
        limit=st.integers(1, 5),
        lease=leases,
    )
    def exchange(self, pick, worker, queues, limit, lease):
        """What is done goes, and what is due is taken, both or neither."""
        done = list(
            {
                self.claim_of(pick + more).token: self.claim_of(pick + more) for more in range(2)
            }.values()
        )
        if not self.port.backend.capabilities.exchange:
            return

        def call(**options):
            lost, claims = self.port.exchange(done, queues, **options)
            assert lost == stale
            return claims

        before = deepcopy(self.model)
        stale = []
        for one in done:
            if (job := self.held(self.model, one)) is None:
                stale.append(one)
            else:
                self.model.ack(job)
        self.claimed(worker, queues, limit, lease, call, before)

    def claimed(self, worker, queues, limit, lease, call, before=None):
        """Claim by a call; where that breaks off and nothing was done, it is as it was before."""
        expected = self.model.claimable(self.now, queues, limit, looks_on=self.looks_on)
        wanted = [job.envelope.id for job in expected]
        until = self.later(lease)
        after = deepcopy(self.model) if self.breaking else self.model
        if before is not None and self.breaking:
            self.model = before
        jobs = [job for name in wanted for job in after.jobs if job.envelope.id == name]
        try:
            claims = call(limit=limit, lease=lease, token=token_hex(16))
        except BackendUnavailable:
            assert self.breaking
            self.mend()
            after.claim(jobs, until, object())
            if self.seen() == self.shown(after):
                self.model = after
            return
        self.mend()
        assert [one.envelope.id for one in claims] == wanted
        assert len({one.token for one in claims}) <= 1
        after.claim(jobs, until, claims[0].token if claims else None)
        for one, job in zip(claims, jobs, strict=True):
            assert one.envelope == job.envelope
            assert one.pushed_at == job.pushed_at
            assert (one.attempts, one.exceptions) == (job.attempts, job.exceptions)
            assert (one.losses, one.releases) == (job.losses, job.releases)
        self.model = after
        self.claims += [(worker, claim) for claim in claims]

    @has_claims
    @rule(pick=picks)
    def ack(self, pick):
        """I4: as `extend`, `release` and `bury`, a claim that is stale changes nothing."""
        claim = self.claim_of(pick)

        def change(model):
            job = self.held(model, claim)
            return LOST if job is None else model.ack(job)

        self.do(lambda: settled(self.port.ack, claim), change)

    @has_claims
    @rule(worker=st.integers(0, WORKERS - 1), lease=leases)
    def extend(self, worker, lease):
        claims = self.claims_of(worker)
        until = self.later(lease)

        def change(model):
            lost = []
            for claim in claims:
                if (job := self.held(model, claim)) is None:
                    lost.append(claim)
                else:
                    model.extend(job, until)
            return lost

        self.do(lambda: self.port.extend(claims, lease=lease), change)

    @has_claims
    @rule(
        pick=picks,
        delay=spans,
        charge=charges,
        parked=st.sampled_from(["", "no such listener"]),
    )
    def release(self, pick, delay, charge, parked):
        claim = self.claim_of(pick)

        def change(model):
            job = self.held(model, claim)
            return LOST if job is None else model.release(self.now, job, delay, charge, parked)

        self.do(
            lambda: settled(self.port.release, claim, delay=delay, charge=charge, parked=parked),
            change,
        )

    @has_claims
    @rule(pick=picks, charge=charges)
    def bury(self, pick, charge):
        claim = self.claim_of(pick)

        def change(model):
            job = self.held(model, claim)
            return LOST if job is None else model.bury(self.now, job, "boom", charge)

        self.do(lambda: settled(self.port.bury, claim, error="boom", charge=charge), change)

    @has_claims
    @rule(worker=st.integers(0, WORKERS - 1))
    def ack_all(self, worker):
        claims = self.claims_of(worker)

        def change(model):
            lost = []
            for claim in claims:
                if (job := self.held(model, claim)) is None:
                    lost.append(claim)
                else:
                    model.ack(job)
            return lost

        self.do(lambda: self.port.ack_all(claims), change)

    @has_claims
    @rule(worker=st.integers(0, WORKERS - 1))
    def give_back(self, worker):
        claims = self.claims_of(worker)

        def change(model):
            lost = []
            for claim in claims:
                if (job := self.held(model, claim)) is None:
                    lost.append(claim)
                else:
                    model.release(self.now, job, 0, Charge.NOTHING)
            return lost

        self.do(lambda: self.port.give_back(claims), change)

    @has_failures
    @rule(ids=some_names)
    def revive(self, ids):
        self.do(
            lambda: self.port.revive(ids),
            lambda model: [one.envelope.id for one in model.revive(self.now, ids)],
        )

    @has_failures
    @rule(ids=some_names)
    def purge(self, ids):
        self.do(
            lambda: self.port.purge(ids),
            lambda model: [one.envelope.id for one in model.purge(ids)],
        )

    @rule(ids=some_names)
    def cancel(self, ids):
        self.do(
            lambda: sorted(self.port.cancel(ids)),
            lambda model: sorted(model.cancel(self.now, ids)),
        )

    @rule(ids=some_names, queues=st.sampled_from([None, QUEUES[:1], QUEUES]))
    def find(self, ids, queues):
        wanted = list(dict.fromkeys(ids))
        self.do(
            lambda: [as_the_model_has_it(job) for job in self.port.find(ids, queues=queues)],
            lambda model: [
                job
                for one in wanted
                for job in model.waiting(self.now)
                if job["envelope"].id == one and (queues is None or job["envelope"].queue in queues)
            ],
        )

    @rule(queue=st.sampled_from(QUEUES))
    def clear(self, queue):
        self.do(lambda: self.port.clear(queue), lambda model: model.clear(self.now, queue))

    @rule(queue=st.sampled_from([*QUEUES, "*"]), life=st.sampled_from([None, 1, 30]))
    def pause(self, queue, life):
        self.do(
            lambda: self.port.pause([queue], life=life),
            lambda model: model.flag(self.now, f"pause:{queue}", "1", life),
        )

    @rule(queue=st.sampled_from([*QUEUES, "*"]))
    def resume(self, queue):
        self.do(
            lambda: self.port.resume([queue]),
            lambda model: model.flag(self.now, f"pause:{queue}", None, None),
        )

    # What happens to them.

    @rule(seconds=st.sampled_from([1, 5, 10, 30, 100]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([1, 10, 100]))
    def the_clock_is_moved_back(self, seconds):
        """
        Leases and delays are then longer by as much, and a lease that had ended may be live again.

        Nothing is lost by it, and no job is held twice: a token that was overtaken stays stale. A
        flag that had ended may be back or not; here it is taken away for good.
        """
        for name in self.model.flags.keys() - self.model.flags_set(self.now):
            self.port.resume([name.removeprefix("pause:")])
            self.model.flag(self.now, name, None, None)
        self.clock.advance(-seconds)

    @rule(worker=st.integers(0, WORKERS - 1))
    def crash(self, worker):
        self.claims = [(owner, claim) for owner, claim in self.claims if owner != worker]

    @rule()
    def reopen(self):
        self.port.close()

    def drain(self):
        """I1: whatever the program has left behind can be claimed, its counts exact, and done."""
        self.mend()
        self.clock.advance(10_000)
        while self.model.jobs:
            before = len(self.claims)
            self.claim(0, QUEUES, 5, 60)
            assert len(self.claims) > before
            for _, claim in self.claims[before:]:
                self.port.ack(claim)
                self.model.ack(self.held(self.model, claim))
        assert self.port.claim(QUEUES) == []


class MemoryMachine(StoreMachine):
    def open(self):
        self.port = Port(MemoryBackend(clock=self.clock), name="default")

    def teardown(self):
        self.drain()
        super().teardown()


class SqliteMachine(StoreMachine):
    looks_on = False
    driver = None
    journal = "PERSIST"

    def open(self):
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="eventbus-model-", dir=memory))
        self.ending.callback(shutil.rmtree, self.folder)
        self.statements = Breaking(self.driver)
        self.reopen_with_another_backend()

    def reopen_with_another_backend(self):
        backend = SqliteBackend(self.folder / "queue.db", clock=self.clock, journal=self.journal)
        backend._file._driver = self.statements
        backend._file._wal_is_safe = wal_is_safe(self.driver.sqlite_version_info)
        self.port = Port(backend, name="default")

    @rule()
    def restart(self):
        self.port.close()
        self.reopen_with_another_backend()

    @precondition(lambda self: self.claims)
    @rule(
        verb=st.sampled_from(["push", "claim", "bury", "bury", "release", "ack_all", "revive"]),
        statement=st.integers(0, 5),
        done=st.booleans(),
    )
    def a_verb_breaks_off(self, verb, statement, done):
        """I6, T3: between any two statements, or with its answer lost."""
        self.breaking = True
        self.statements.break_at(statement, done=done)
        {
            "push": lambda: self.push(["g", "h", "a"], "one", 0),
            "claim": lambda: self.claim(2, ("one", "two"), 3, 10),
            "bury": lambda: self.bury(statement, Charge.ERROR),
            "release": lambda: self.release(statement, 0, Charge.ERROR, ""),
            "ack_all": lambda: self.ack_all(0),
            "revive": lambda: self.revive(["a", "b", "c", "d"]),
        }[verb]()

    def mend(self):
        super().mend()
        self.statements.mend()

    def teardown(self):
        try:
            self.drain()
            self.port.close()
            checked = self.driver.connect(self.folder / "queue.db")
            assert checked.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            checked.close()
        finally:
            super().teardown()


class RedisMachine(StoreMachine):
    """Over a real server, which is empty for each program."""

    looks_on = False
    server = None

    def open(self):
        self.server.ask("FLUSHALL")
        # What one program has the server load, the next one need not: exchanges would count otherwise.
        self.server.ask("SCRIPT", "FLUSH")
        self.reopen_with_another_backend()

    def reopen_with_another_backend(self):
        self.maker = CutMaker(self.server.port)
        self.port = Port(cut_backend(self.maker, self.clock), name="default")

    def queue_of(self, name, _queue):
        """An id is known in its queue: the same job goes to the same one."""
        return QUEUES[name > "c"]

    def seen(self):
        return self.by_queue(super().seen())

    def shown(self, model):
        shown = super().shown(model)
        # By the time, although a clock that was moved back has other ones fail "before" them.
        shown["failed"].sort(key=lambda one: one["failed_at"])
        return self.by_queue(shown)

    def by_queue(self, seen):
        """Of several queues, each keeps an order of its own."""
        for kind in ("stored", "failed"):
            seen[kind] = sorted(seen[kind], key=lambda one: one["envelope"].queue)
        return seen

    @rule()
    def restart(self):
        self.port.close()
        self.reopen_with_another_backend()

    @rule()
    def the_server_forgets_the_scripts(self):
        self.server.ask("SCRIPT", "FLUSH")

    @precondition(lambda self: self.claims)
    @rule(
        verb=st.sampled_from(["push", "bury", "bury", "release", "ack_all", "revive"]),
        exchange=st.integers(0, 2),
        answered=st.booleans(),
    )
    def a_verb_breaks_off(self, verb, exchange, answered):
        """I6: before it is sent, or with its answer lost."""
        self.breaking = True
        self.maker.cut_at(exchange, answered=not answered)
        {
            "push": lambda: self.push(["g", "h", "a"], "one", 0),
            "bury": lambda: self.bury(exchange, Charge.ERROR),
            "release": lambda: self.release(exchange, 0, Charge.ERROR, ""),
            "ack_all": lambda: self.ack_all(0),
            "revive": lambda: self.revive(["a", "b", "c"]),  # of one queue: that is one step
        }[verb]()
        # Who settles again what it had sent hears that it is done (F18). Here somebody else goes on.
        self.restart()

    def mend(self):
        super().mend()
        self.maker.mend()

    def teardown(self):
        try:
            self.drain()
            assert self.left_over() == []
            self.port.close()
        finally:
            super().teardown()

    def left_over(self):
        """Return the keys of queues that are empty, and should be gone."""
        keys = [key.decode() for key in self.server.ask("KEYS", "eventbus:{*")]
        failures = ("bodies", "failures", "failed")
        # Keys of jobs that are done go with those that come later.
        kept = ("numbers", "unique", "keys", *(failures if self.model.failures else ()))
        return [key for key in keys if key.rpartition(":")[2] not in kept]


def machine(driver, journal):
    return type(f"{journal}Machine", (SqliteMachine,), {"driver": driver, "journal": journal})


@pytest.fixture
def run(results):
    """Run programs over a store, and write down how many."""

    def run(machine, name, programs=PROGRAMS):
        run_state_machine_as_test(machine, settings=programs)
        figures = {"programs": programs.max_examples, "steps": programs.stateful_step_count}
        results.add("programs over a model", name, **figures)

    return run


def test_memory_is_what_the_model_says(run):
    """I1 to I6, T13."""
    run(MemoryMachine, "memory")


def test_sqlite_with_a_rollback_journal_is_what_the_model_says(run):
    """I1 to I6, T13: with the SQLite that comes with Python."""
    import sqlite3

    run(machine(sqlite3, "PERSIST"), "SQLite, PERSIST")


@pytest.mark.skipif(
    not wal_is_safe(load_driver().sqlite_version_info), reason="needs pysqlite3, eventbus[sqlite]"
)
def test_sqlite_with_wal_is_what_the_model_says(run):
    """I1 to I6, T13."""
    run(machine(load_driver(), "WAL"), "SQLite, WAL")


def test_redis_is_what_the_model_says(redis_server, run):
    """I1 to I6, T13."""
    made = type("Machine", (RedisMachine,), {"server": redis_server})
    run(made, "Redis", PROGRAMS if FULL else settings(PROGRAMS, max_examples=20))


# What programs have found.


def test_a_job_that_is_released_as_its_lease_ends_is_claimed_once():
    """T13: at the very instant, which a clock that is moved by hand makes likely."""
    clock = ManualClock()
    backend = MemoryBackend(clock=clock)
    backend.push([Envelope(id="a", queue="one", body=b"{}")])
    claims = backend.claim(["one"], limit=1, lease=10, token=token_hex(16))
    clock.advance(10)
    backend.release(claims, delay=0, charge=Charge.ERROR)

    assert len(backend.claim(["one"], limit=5, lease=10, token=token_hex(16))) == 1
