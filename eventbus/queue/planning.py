"""Plans are made, placed and stored; and what those that run are asked for, and asked to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen
from msgspec.structs import replace

from eventbus.backends.port import Port
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.errors import InvalidOption
from eventbus.queue.batches import BatchHandle
from eventbus.queue.enqueue_jobs import JobEnqueuer, Made, Said
from eventbus.queue.envelope import Envelope, Member
from eventbus.queue.execution import error_text
from eventbus.queue.failed import FailedJob, shown_failure
from eventbus.queue.following import Followers
from eventbus.queue.jobs import Job
from eventbus.queue.lifecycle import (
    BatchDispatched,
    Outcome,
)
from eventbus.queue.plan_making import Group, Maker, Run, Step, called, steps_in
from eventbus.queue.plan_placing import Placed
from eventbus.queue.plans import Batch, Chain, members_of
from eventbus.text import shown

if TYPE_CHECKING:
    from eventbus.queue.attempt import Attempt

__all__ = ["Planner", "Running"]


@frozen
class Running:
    """The plans of a bus, for one job that runs: what `attempt.batch` and `attempt.chain` ask."""

    _planner: Callable[[], Planner] = field(alias="planner")
    _port: Port = field(alias="port")
    #: Called when a job asks for its batch.
    _asked: Callable[[], None] = field(alias="asked")

    def batch(self, id: str) -> BatchHandle:
        """Return the handle of a batch."""
        self._asked()
        return self._planner().handle(id, self._port.name, self._port)

    def caught(self, queue: str, id: str) -> FailedJob | None:
        """Return the failed job whose failure let another come, if there is one."""
        name = self._port.plans.caught(queue, id)
        found = [] if name is None else self._port.failed(ids=[name])
        return shown_failure(found[0], self._port.name) if found else None

    def followers(self, attempt: Attempt) -> Followers:
        """Return what makes those that are to follow a run."""

        def make(given: tuple[Any, ...], first: int) -> list[Envelope]:
            found = self._planner().followers(
                given,
                after=attempt.id,
                first=first,
                connection=self._port.name,
                queue=attempt.queue,
            )
            # All of a batch lies in one queue.
            return (
                [replace(one, queue=attempt.queue) for one in found] if attempt.batch_id else found
            )

        return Followers(make)


class Planner:
    """
    Enqueues chains and batches.

    Args:
        enqueuer: Makes the jobs.
        drive: Walks in sync code.
        run_here: Runs a claimed job of a plan that lies in this process, on a `sync://` connection.
    """

    def __init__(
        self,
        enqueuer: JobEnqueuer,
        *,
        drive: Callable[[Walk, str], Any],
        tell: Callable[[object], Walk],
        hears: Callable[[type], bool],
        run_here: Callable[..., Walk],
    ) -> None:
        self._enqueuer = enqueuer
        self._maker = Maker(enqueuer, hears)
        self._drive = drive
        self._tell = tell
        self._hears = hears
        self._run_here = run_here

    # Enqueueing.

    def enqueue_chain(self, plan: Chain) -> Walk:
        """Store a chain; the result is the handle of its first."""
        if not plan.members:
            raise InvalidOption(
                option="members", value=(), expected="at least one job", where="bus.chain"
            )
        refused: list[Made] = []
        run = yield from self._maker.run_of(plan, Said(), refused)
        if not run.steps:
            return refused[0].handle
        placed = self._placed()
        id_ = placed.place_run(run, None, batch="", begun=True)[1]
        steps = [*steps_in(run)]
        connection = self._maker.connection_of(steps, where="bus.chain")
        first = next((one.made.handle for one in steps if one.envelope.id == id_), None)
        port = yield from self._store(placed, steps, connection)
        assert first is not None  # it was placed
        return first if port is None else evolve(first, port=lambda: port)

    def enqueue_batch(self, plan: Batch) -> Walk:
        """Store a batch; the result is its handle."""
        group = yield from self._maker.group_of(plan, Said(), [], is_member=False)
        placed = self._placed()
        steps = [*steps_in(group)]
        connection = self._maker.connection_of(steps, plan.connection, where=called(plan))
        queue = self._maker.queue_of(group, connection)
        placed.place_group(group, queue, begun=True)
        total = sum(
            one.member is not None and one.member.batch == group.id for one in placed.envelopes
        )
        event = BatchDispatched(
            id=group.id, name=plan.name, connection=connection, queue=queue, total=total
        )
        port = yield from self._store(
            placed, steps, connection, event=event, may_fail=plan.allow_failures
        )
        return self.handle(group.id, connection, port)

    def _placed(self) -> Placed:
        def queue_of(group: Group) -> str:
            assert group.end is not None  # it is part of a plan
            return self._maker.queue_of(group, group.end.made.handle.connection)

        return Placed(queue_of)

    def handle(self, id: str, connection: str, port: Port | None = None) -> BatchHandle:
        """Return the handle of a batch."""
        opened = partial(self._enqueuer.connections.port, connection)
        return BatchHandle(
            id=id,
            connection=connection,
            port=opened if port is None else lambda: port,
            add=self._add,
        )

    def _store(
        self,
        placed: Placed,
        steps: Sequence[Step],
        connection: str,
        *,
        event: BatchDispatched | None = None,
        may_fail: bool = False,
    ) -> Walk:
        """Store a plan, or run it; the result is the port where it lies if that is in this process."""
        kept = [one for one in steps if one.made.keep is not None]
        for one in kept:
            assert one.made.keep is not None  # chosen so
            one.made.keep([one.made.enqueued])
        if kept:
            return self._enqueuer.connections.in_process(connection)  # a fake has it
        here = self._enqueuer.enqueuer.place(connection)[1]
        if here:
            envelopes = [replace(one, delay=0.0) for one in placed.envelopes]
            port = self._enqueuer.connections.in_process(connection)
            port.plans.open(placed.batches, envelopes)
            yield from self._tell_of(event)
            yield from self._drain(port, connection, may_fail=may_fail)
            return port
        port = self._enqueuer.connections.port(connection)
        yield Blocking(partial(port.plans.open, placed.batches, placed.envelopes))
        yield from self._tell_of(event)
        return None

    def _tell_of(self, event: BatchDispatched | None) -> Walk:
        if event is not None and self._hears(BatchDispatched):
            yield from self._tell(event)

    def _drain(self, port: Port, connection: str, *, may_fail: bool) -> Walk:
        """Run what lies in a port of this process, as a worker would; raise the first error at the end."""
        first: Exception | None = None
        while queues := port.queues():
            claims = port.claim(queues)
            if not claims:
                break
            claim = claims[0]
            execution = yield from self._run_here(claim, port, connection)
            error = execution.error
            if error is None:
                port.ack(replace(execution.claim, skipped=execution.outcome is Outcome.SKIPPED))
                continue
            port.bury(claim, error=error_text(error))
            if not isinstance(error, Exception):
                raise error
            first = first or error
        if first is not None and not may_fail:
            raise first

    # What running jobs ask for.

    def _add(self, handle: BatchHandle, given: Iterable[Any]) -> int:
        state = handle.state()
        port = handle._port()  # noqa: SLF001 -- a handle of its own
        found = self._drive(self._followers(members_of(given), handle.connection), "add")
        placed = self._placed()
        for one in found:
            if isinstance(one, Run):
                if one.steps:
                    placed.place_run(one, state.queue, batch=handle.id, begun=True)
            else:
                placed.put(one, Member(batch=handle.id), state.queue)
        port.push(placed.envelopes)
        return sum(one.member is not None and bool(one.member.batch) for one in placed.envelopes)

    def _followers(self, members: Sequence[Any], connection: str) -> Walk:
        """Make members of a plan that runs; chains and jobs, no batches."""
        found: list[Step | Run] = []
        for one in members:
            said = Said(or_connection=connection)
            _refuse_batches(one)
            if isinstance(one, Chain):
                found.append((yield from self._maker.run_of(one, said, [])))
            else:
                found += yield from self._maker.step_of(one, said, [])
        self._check_connection([step for one in found for step in steps_in(one)], connection)
        return found

    def followers(
        self, given: Iterable[Any], *, after: str, first: int, connection: str, queue: str
    ) -> list[Envelope]:
        """
        Return jobs that are to follow one that runs, each with an id that a second run of that one gives it again.

        Args:
            given: Jobs, and chains of them.
            after: The id of the one that runs.
            first: How many were given ids before.
            connection: On which it runs.
            queue: Where those lie that do not say.
        """
        walk = self._next_ones(given, after=after, first=first, connection=connection, queue=queue)
        steps: list[Step] = self._drive(walk, "chain")
        self._check_connection(steps, connection)
        return [replace(one.envelope, unique=None) for one in steps]

    def _next_ones(
        self, given: Iterable[Any], *, after: str, first: int, connection: str, queue: str
    ) -> Walk:
        steps: list[Step] = []
        for number, job in enumerate(_laid_out(given), first):
            id_ = sha256(f"{after}:{number}".encode()).hexdigest()[:32]
            said = Said(or_queue=queue, or_connection=connection, id=id_)
            steps += yield from self._maker.step_of(job, said, [])
        return steps

    def _check_connection(self, steps: Sequence[Step], connection: str) -> None:
        """Refuse what lies elsewhere than the plan that it is to be part of."""
        named = self._maker.connection_of(steps, connection, where="a plan that runs")
        if named != connection:
            raise InvalidOption(
                option="connection",
                value=named,
                expected=f"{connection!r}, on which the plan runs",
                where="a plan that runs",
            )

    def each_batch(self, connection: str | None) -> Iterator[tuple[str, Any]]:
        """Go through the batches of connections, by default of all."""
        connections = self._enqueuer.connections
        names = connections.names() if connection is None else [connection]
        for name in names:
            if not connections.is_sync(name):
                port = connections.port(name)
                if port.backend.capabilities.plans:
                    for one in port.plans.each():
                        yield name, one


def _refuse_batches(one: Any) -> None:
    if isinstance(one, Chain):
        for each in one.members:
            _refuse_batches(each)
    elif isinstance(one, Batch):
        expected = "jobs, and chains of them: a batch is enqueued by itself"
        raise InvalidOption(option="members", value=shown(one), expected=expected)


def _laid_out(given: Iterable[Any]) -> Iterator[Job]:
    """Yield jobs, and those of chains."""
    for one in members_of(given):
        _refuse_batches(one)
        if isinstance(one, Chain):
            yield from _laid_out(one.members)
        elif isinstance(one, Job):
            yield one
