"""
Plans become envelopes: each job of them made as any other, then linked.

Two passes. The first asks every job where it goes, in order, and encodes it; nothing is stored if one cannot be.
The second gives each its place: whom it follows, what counts it, what waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from eventbus.backends.plans import Milestone, NewBatch
from eventbus.backends.port import Port
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.errors import InvalidOption
from eventbus.queue.batch_step import BatchStep
from eventbus.queue.batches import BatchHandle
from eventbus.queue.enqueue_jobs import JobEnqueuer, Made, Said
from eventbus.queue.envelope import Envelope, Member, new_id
from eventbus.queue.execution import error_text
from eventbus.queue.following import Followers
from eventbus.queue.jobs import Job
from eventbus.queue.lifecycle import (
    BatchCanceled,
    BatchDispatched,
    BatchFinished,
    BatchStarted,
    Outcome,
)
from eventbus.queue.plans import Batch, Chain, members_of
from eventbus.text import shown

if TYPE_CHECKING:
    from eventbus.queue.attempt import Attempt

__all__ = ["Planner", "Running"]

_EVENTS = (
    (Milestone.STARTED, BatchStarted),
    (Milestone.CANCELED, BatchCanceled),
    (Milestone.FINISHED, BatchFinished),
)

#: Queue and id of an envelope.
Spot = tuple[str, str]


@frozen
class _Step:
    """A job of a plan, made."""

    made: Made

    @property
    def envelope(self) -> Envelope:
        assert self.made.enqueued is not None  # those that refused were left out
        return self.made.enqueued.envelope


@frozen(kw_only=True)
class _Run:
    """A chain, those within it laid out."""

    steps: list[_Step | _Group]
    catch: _Step | None = None


@frozen(kw_only=True)
class _Group:
    """A batch, its jobs made."""

    id: str
    plan: Batch
    members: list[_Step | _Run | _Group]
    #: What comes when milestones are reached.
    waiting: dict[Milestone, list[_Step]]
    #: What stands for it where it is a member.
    end: _Step | None


@frozen
class Running:
    """The plans of a bus, for one job that runs: what `attempt.batch` and `attempt.chain` ask."""

    _planner: Callable[[], Planner] = field(alias="planner")
    _port: Port = field(alias="port")

    def batch(self, id: str) -> BatchHandle:
        """Return the handle of a batch."""
        return self._planner().handle(id, self._port.name, self._port)

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
                [evolve(one, queue=attempt.queue) for one in found] if attempt.batch_id else found
            )

        return Followers(make)


@define
class _Placed:
    """What is to be stored."""

    batches: list[NewBatch] = field(factory=list)
    envelopes: list[Envelope] = field(factory=list)

    def put(self, step: _Step, member: Member, queue: str | None) -> Spot:
        """Give a job its place; return where it lies."""
        one = step.envelope
        queue = one.queue if queue is None else queue
        self.envelopes.append(evolve(one, queue=queue, member=member, unique=None))
        return queue, one.id


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
        run = yield from self._run_of(plan, Said(), refused)
        if not run.steps:
            return refused[0].handle
        placed = _Placed()
        id_ = self._place_run(run, placed, None, batch="", begun=True)[1]
        steps = [*_steps(run)]
        connection = self._one_connection(steps, where="bus.chain")
        first = next((one.made.handle for one in steps if one.envelope.id == id_), None)
        port = yield from self._store(placed, steps, connection)
        assert first is not None  # it was placed
        return first if port is None else evolve(first, port=lambda: port)

    def enqueue_batch(self, plan: Batch) -> Walk:
        """Store a batch; the result is its handle."""
        group = yield from self._group_of(plan, Said(), [], is_member=False)
        placed = _Placed()
        steps = [*_steps(group)]
        connection = self._one_connection(steps, plan.connection, where=_where(plan))
        queue = self._queue_of(group, connection)
        self._place_group(group, placed, queue, begun=True)
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
        placed: _Placed,
        steps: Sequence[_Step],
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
            envelopes = [evolve(one, delay=0.0) for one in placed.envelopes]
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
                port.ack(evolve(execution.claim, skipped=execution.outcome is Outcome.SKIPPED))
                continue
            port.bury(claim, error=error_text(error))
            if not isinstance(error, Exception):
                raise error
            first = first or error
        if first is not None and not may_fail:
            raise first

    # The first pass: every job is made.

    def _run_of(self, plan: Chain, said: Said, refused: list[Made]) -> Walk:
        said = evolve(
            said,
            or_queue=plan.queue or said.or_queue,
            or_connection=plan.connection or said.or_connection,
        )
        delay = said.or_delay if plan.delay is None else plan.delay
        later = evolve(said, or_delay=None)
        steps: list[_Step | _Group] = []
        for one in plan.members:
            # The delay is that of its first, or of all of a batch that it begins with.
            mine = later if steps or delay is None else evolve(said, or_delay=delay)
            if isinstance(one, Chain):
                if one.catch is not None:
                    raise InvalidOption(
                        option="catch",
                        value=one.catch,
                        expected="none on a chain in a chain: say it of the whole chain",
                        where="bus.chain",
                    )
                steps += (yield from self._run_of(one, mine, refused)).steps
            elif isinstance(one, Batch):
                steps.append((yield from self._group_of(one, mine, refused, is_member=True)))
            else:
                steps += yield from self._step_of(one, mine, refused)
        catch = yield from self._step_of(plan.catch, later, refused)
        return _Run(steps=steps, catch=catch[0] if catch else None)

    def _group_of(self, plan: Batch, said: Said, refused: list[Made], *, is_member: bool) -> Walk:
        id_ = new_id()
        said = evolve(
            said,
            or_queue=plan.queue or said.or_queue,
            or_connection=plan.connection or said.or_connection,
        )
        members: list[_Step | _Run | _Group] = []
        for one in plan.members:
            if isinstance(one, Chain):
                members.append((yield from self._run_of(one, said, refused)))
            elif isinstance(one, Batch):
                members.append((yield from self._group_of(one, said, refused, is_member=True)))
            else:
                members += yield from self._step_of(one, said, refused)
        about = evolve(said, batch=id_, queue=plan.queue, or_delay=None)
        waiting: dict[Milestone, list[_Step]] = {}
        for milestone, job in (
            (Milestone.FAILED, plan.on_error),
            (Milestone.SUCCEEDED, plan.on_success),
            (Milestone.FINISHED, plan.on_done),
        ):
            if job is not None:
                waiting[milestone] = yield from self._step_of(job, about, refused)
        for milestone, event in _EVENTS:
            if self._hears(event):
                told = yield from self._step_of(BatchStep(milestone.value), about, refused)
                waiting[milestone] = [*waiting.get(milestone, ()), *told]
        end: list[_Step] = []
        if is_member:
            end = yield from self._step_of(BatchStep(), evolve(about, id=id_), refused)
        return _Group(
            id=id_, plan=plan, members=members, waiting=waiting, end=end[0] if end else None
        )

    def _step_of(self, job: Job | None, said: Said, refused: list[Made]) -> Walk:
        """Make a job; the result is a list of it, of none where there is none, or it does not want to."""
        if job is None:
            return []
        entry = self._enqueuer.enqueuer.catalogue.job_entry(type(job))
        if entry.options.debounce is not None:
            raise InvalidOption(
                option="debounce",
                value=entry.options.debounce,
                expected="nothing on a member of a plan: what takes its place would not be one",
                where=entry.options.name,
            )
        made: Made = yield from self._enqueuer.made(job, said)
        if made.enqueued is None:
            refused.append(made)
            return []
        return [_Step(made)]

    def _one_connection(
        self, steps: Sequence[_Step], said: str | None = None, *, where: str
    ) -> str:
        """Return the connection of a plan: its store settles all of it in one step."""
        names = {one.made.handle.connection for one in steps}
        if len(names) > 1:
            raise InvalidOption(
                option="connection",
                value=sorted(names),
                expected="one connection for all jobs of a plan",
                where=where,
            )
        return names.pop() if names else self._enqueuer.enqueuer.place(said)[0]

    def _queue_of(self, group: _Group, connection: str) -> str:
        """Return the queue of a batch, in which all of it lies: that which it names, or its members."""
        where = _where(group.plan)
        if group.plan.queue is not None:
            return self._enqueuer.enqueuer.queue(connection, group.plan.queue, where)
        names = {one.envelope.queue for one in _members(group)}
        if len(names) > 1:
            raise InvalidOption(
                option="queue",
                value=sorted(names),
                expected='one queue for all members: bus.batch(..., queue="imports")',
                where=where,
            )
        return names.pop() if names else self._enqueuer.enqueuer.queue(connection, None, where)

    # The second pass: each gets its place.

    def _place_run(
        self, run: _Run, placed: _Placed, queue: str | None, *, batch: str, begun: bool
    ) -> Spot:
        """Place a chain from its end; return where its first lies. `begun`: the turn of that is at once."""
        catch = None
        if run.catch is not None:
            catch = placed.put(run.catch, Member(held=True), queue)
        spot: Spot | None = None
        for place, one in reversed([*enumerate(run.steps)]):
            now = begun and place == 0
            member = Member(batch=batch, next=spot, catch=catch, held=not now)
            if isinstance(one, _Group):
                spot = self._place_member(one, placed, queue, member, begun=now)
            else:
                spot = placed.put(one, member, queue)
        assert spot is not None  # it has a step
        return spot

    def _place_member(
        self, group: _Group, placed: _Placed, queue: str | None, member: Member, *, begun: bool
    ) -> Spot:
        """Place a batch that is part of a plan; return where what stands for it lies."""
        assert group.end is not None  # made for those
        if queue is None:
            queue = self._queue_of(group, group.end.made.handle.connection)
        self._place_group(group, placed, queue, begun=begun)
        return placed.put(group.end, evolve(member, held=True), queue)

    def _place_group(self, group: _Group, placed: _Placed, queue: str, *, begun: bool) -> None:
        first: list[str] = []
        for one in group.members:
            member = Member(batch=group.id, held=not begun)
            if isinstance(one, _Step):
                first.append(placed.put(one, member, queue)[1])
            elif isinstance(one, _Group):
                first.append(self._place_member(one, placed, queue, member, begun=begun)[1])
            elif one.steps:
                spot = self._place_run(one, placed, queue, batch=group.id, begun=begun)
                first.append(spot[1])
        waiting = {
            milestone: [placed.put(step, Member(held=True), queue)[1] for step in steps]
            for milestone, steps in group.waiting.items()
        }
        if group.end is not None:
            waiting.setdefault(Milestone.FINISHED, []).append(group.id)
        if not begun:
            waiting[Milestone.BEGUN] = first
        placed.batches.append(
            NewBatch(
                id=group.id,
                queue=queue,
                name=group.plan.name,
                allows_failures=group.plan.allow_failures,
                waiting=waiting,
                within=[one.id for one in _groups(group)],
            )
        )

    # What running jobs ask for.

    def _add(self, handle: BatchHandle, given: Iterable[Any]) -> int:
        state = handle.state()
        port = handle._port()  # noqa: SLF001 -- a handle of its own
        found = self._drive(self._followers(members_of(given), handle.connection), "add")
        placed = _Placed()
        for one in found:
            if isinstance(one, _Run):
                if one.steps:
                    self._place_run(one, placed, state.queue, batch=handle.id, begun=True)
            else:
                placed.put(one, Member(batch=handle.id), state.queue)
        port.push(placed.envelopes)
        return sum(one.member is not None and bool(one.member.batch) for one in placed.envelopes)

    def _followers(self, members: Sequence[Any], connection: str) -> Walk:
        """Make members of a plan that runs; chains and jobs, no batches."""
        found: list[_Step | _Run] = []
        for one in members:
            said = Said(or_connection=connection)
            _refuse_batches(one)
            if isinstance(one, Chain):
                found.append((yield from self._run_of(one, said, [])))
            else:
                found += yield from self._step_of(one, said, [])
        self._check_connection([step for one in found for step in _steps(one)], connection)
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
        steps: list[_Step] = self._drive(walk, "chain")
        self._check_connection(steps, connection)
        return [evolve(one.envelope, unique=None) for one in steps]

    def _next_ones(
        self, given: Iterable[Any], *, after: str, first: int, connection: str, queue: str
    ) -> Walk:
        steps: list[_Step] = []
        for number, job in enumerate(_laid_out(given), first):
            id_ = sha256(f"{after}:{number}".encode()).hexdigest()[:32]
            said = Said(or_queue=queue, or_connection=connection, id=id_)
            steps += yield from self._step_of(job, said, [])
        return steps

    def _check_connection(self, steps: Sequence[_Step], connection: str) -> None:
        """Refuse what lies elsewhere than the plan that it is to be part of."""
        named = self._one_connection(steps, connection, where="a plan that runs")
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


def _where(plan: Batch) -> str:
    return f"batch {plan.name!r}" if plan.name else "bus.batch"


def _groups(group: _Group) -> Iterator[_Group]:
    """Yield the batches that are members of one, or of its chains."""
    for one in group.members:
        for each in one.steps if isinstance(one, _Run) else [one]:
            if isinstance(each, _Group):
                yield each


def _members(one: _Step | _Run | _Group) -> Iterator[_Step]:
    """Yield the jobs of a plan that run by themselves."""
    if isinstance(one, _Step):
        yield one
    else:
        parts = [*one.steps] if isinstance(one, _Run) else [*one.members]
        for each in parts:
            yield from _members(each)


def _steps(one: _Step | _Run | _Group) -> Iterator[_Step]:
    """Yield all that was made of a plan."""
    if isinstance(one, _Step):
        yield one
    elif isinstance(one, _Run):
        yield from (step for each in one.steps for step in _steps(each))
        if one.catch is not None:
            yield one.catch
    else:
        for each in one.members:
            yield from _steps(each)
        for several in one.waiting.values():
            yield from several
        if one.end is not None:
            yield one.end
