"""
A chain with a batch in its middle, cut between any two steps: each statement of SQLite, each message of Redis.

Where it is cut, whoever did it is gone: what it had claimed comes back when the lease ends, and somebody else goes on.
A plan is stored whole or not at all, every member counts once, what waits for a milestone comes once, and nothing
is left behind.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from secrets import token_hex

import pytest
from attrs import define, evolve, field
from msgspec.structs import replace

from eventbus.backends.base import Charge, Claim
from eventbus.backends.plans import Milestone, NewBatch
from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend, load_driver
from eventbus.errors import BackendUnavailable, StoredUnknown
from eventbus.queue.envelope import Envelope, Member
from eventbus.testing.clock import ManualClock
from tests.faults.cuts import CutMaker, cut_backend
from tests.faults.statements import Breaking
from tests.forms import FULL

#: At which steps it is cut: one in so many.
STRIDE = 1 if FULL else 7
LEASE = 60.0

pytestmark = pytest.mark.timeout(900)

MEMBERS = ("x", "y", "c1", "c2")
MILESTONES = [one for one in Milestone if one is not Milestone.BEGUN]


def envelope(name: str, member: Member) -> Envelope:
    return Envelope(id=name, queue="jobs", body=b"{}", member=member)


def plan() -> tuple[list[NewBatch], list[Envelope]]:
    """Return the chain a, batch, z; in the batch x, y and a chain of two; and one that waits for each milestone."""
    waiting: dict[Milestone, list[str]] = {one: [one.value] for one in MILESTONES}
    waiting[Milestone.BEGUN] = ["x", "y", "c1"]
    waiting[Milestone.FINISHED].append("batch")
    held = Member(batch="batch", held=True)
    return (
        [NewBatch(id="batch", queue="jobs", waiting=waiting)],
        [
            envelope("a", Member(next=("jobs", "batch"), catch=("jobs", "catch"))),
            envelope(
                "batch", Member(next=("jobs", "z"), catch=("jobs", "catch"), held=True)
            ),
            envelope("z", Member(catch=("jobs", "catch"), held=True)),
            envelope("catch", Member(held=True)),
            envelope("x", held),
            envelope("y", held),
            envelope("c1", evolve(held, next=("jobs", "c2"))),
            envelope("c2", held),
            *(envelope(one.value, Member(held=True)) for one in MILESTONES),
        ],
    )  # fmt: skip


@define
class Run:
    """Somebody who opens the plan and works it off, and is replaced wherever it is cut."""

    port: Port
    clock: ManualClock
    #: Lets nothing be cut any more.
    mend: Callable[[], None]
    #: Who fails in its first run.
    failing: str = ""
    ran: list[str] = field(init=False, factory=list)
    cuts: int = field(init=False, default=0)

    def cut(self) -> None:
        self.cuts += 1
        self.mend()
        self.clock.advance(LEASE + 1)

    def open(self) -> None:
        """Open the plan; where it is not known whether it is stored, again, as a producer does."""
        while True:
            try:
                return self.port.plans.open(*plan())
            except (BackendUnavailable, StoredUnknown):
                # Whole, or not at all.
                self.cut()
                found = len(self.port.peek())
                assert found in (0, len(plan()[1]))
                assert (self.port.plans.batch("batch") is None) == (found == 0)

    def work(self) -> None:
        while True:
            try:
                claims = self.port.claim(["jobs"], limit=2, lease=LEASE, token=token_hex(16))
                if not claims:
                    return
                for one in claims:
                    self.settle(one)
            except BackendUnavailable:
                self.cut()

    def settle(self, claim: Claim) -> None:
        name = claim.envelope.id
        fails = name == self.failing
        if not claim.canceled:
            self.ran.append(name)
        if fails and not claim.canceled:
            self.port.bury(claim, error="boom", charge=Charge.ERROR)
        else:
            self.port.ack_all([replace(claim, skipped=claim.canceled)])

    def retry(self) -> None:
        """Let the failed one run again, and no more fail."""
        self.failing = ""
        while True:
            try:
                failed = [one.envelope.id for one in self.port.failed()]
                if not failed:
                    return
                self.port.revive(failed)
            except BackendUnavailable:
                self.cut()


def check(run: Run, *, failing: str) -> None:
    """See that the plan came to its end."""
    batch = run.port.plans.batch("batch")
    assert batch is not None
    assert batch.total == len(MEMBERS)
    assert (batch.failed, batch.pending) == (0, 0)
    assert batch.finished_at is not None
    assert run.port.queues() == []
    first = {name: run.ran.index(name) for name in run.ran}
    times = Counter(run.ran)
    # A run that was cut is repeated, and no other.
    assert sum(times.values()) - len(times) <= run.cuts + bool(failing)
    assert first["a"] < min(first[one] for one in MEMBERS if one in first)
    assert first["batch"] < first["z"]
    came = {"started", "succeeded", "finished"}
    if failing:
        came |= {"failed", "canceled"}
    assert came <= first.keys()
    assert not ({"failed", "canceled"} - came) & first.keys()
    if not failing:
        assert batch.succeeded == len(MEMBERS)
        assert first["c1"] < first["c2"]
        assert max(first[one] for one in MEMBERS) < first["batch"]
        assert "catch" not in first


def worked_off(run: Run, failing: str) -> None:
    run.failing = failing
    run.open()
    run.work()
    if failing:
        run.retry()
        run.work()
    run.mend()  # what is looked at afterwards is no step
    check(run, failing=failing)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("failing", ["", "x", "c1"])
def test_a_plan_is_cut_at_each_statement(failing, done, results):
    """B5 to B10, B14, C3, C13: T3 for plans, on SQLite."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    positions = 0
    for statement in count(step=STRIDE):
        with ExitStack() as ending:
            folder = ending.enter_context(tempfile.TemporaryDirectory(dir=memory))
            os.chmod(folder, 0o700)
            clock = ManualClock()
            backend = SqliteBackend(Path(folder) / "queue.db", clock=clock, journal="PERSIST")
            port = Port(backend, name="default")
            ending.callback(port.close)
            port.size("jobs")  # makes the file
            port.close()
            statements = backend._file._driver = Breaking(load_driver())
            run = Run(port, clock, statements.mend)
            statements.break_at(statement, done=done)
            worked_off(run, failing)
        if not run.cuts:
            break
        positions += 1

    assert positions > 100 / STRIDE
    results.add(
        f"a plan in which {failing or 'nobody'} fails, cut {'after' if done else 'before'} each statement",
        "SQLite, PERSIST",
        positions=positions,
    )


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("failing", ["", "x", "c1"])
def test_a_plan_is_cut_at_each_message(failing, answered, redis_server, results):
    """The same on Redis: before it is sent, or with its answer lost."""
    positions = 0
    for exchange in count(step=1 if FULL else 3):
        redis_server.ask("FLUSHALL")
        redis_server.ask("SCRIPT", "FLUSH")
        maker, clock = CutMaker(redis_server.port), ManualClock()
        port = Port(cut_backend(maker, clock), name="default")
        run = Run(port, clock, maker.mend)
        maker.cut_at(exchange, answered=answered)
        worked_off(run, failing)
        port.close()
        if not run.cuts:
            break
        positions += 1

    assert positions > 15 / (1 if FULL else 3)
    results.add(
        f"a plan in which {failing or 'nobody'} fails, cut {'after' if answered else 'before'} each message",
        "Redis, nothing kept",
        positions=positions,
    )
