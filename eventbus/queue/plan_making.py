"""
The first pass over a plan: every job of it is made, in order, as any other is.

Each is asked where it goes, and encoded; nothing is stored if one cannot be. `plan_placing` gives them their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import evolve, frozen

from eventbus.backends.plans import Milestone
from eventbus.dispatch.waiting import Walk
from eventbus.errors import InvalidOption
from eventbus.queue.batch_step import BatchStep
from eventbus.queue.enqueue_jobs import JobEnqueuer, Made, Said
from eventbus.queue.envelope import Envelope
from eventbus.queue.jobs import Job
from eventbus.queue.lifecycle import BatchCanceled, BatchFinished, BatchStarted
from eventbus.queue.plans import Batch, Chain
from eventbus.values import new_id

__all__ = ["Group", "Maker", "Run", "Step", "called", "groups_in", "steps_in"]

_EVENTS = (
    (Milestone.STARTED, BatchStarted),
    (Milestone.CANCELED, BatchCanceled),
    (Milestone.FINISHED, BatchFinished),
)


@frozen
class Step:
    """A job of a plan, made."""

    made: Made

    @property
    def envelope(self) -> Envelope:
        """What is to be stored of it."""
        assert self.made.enqueued is not None  # those that refused were left out
        return self.made.enqueued.envelope


@frozen(kw_only=True)
class Run:
    """A chain, those within it laid out."""

    steps: list[Step | Group]
    catch: Step | None = None


@frozen(kw_only=True)
class Group:
    """A batch, its jobs made."""

    id: str
    plan: Batch
    members: list[Step | Run | Group]
    #: What comes when milestones are reached.
    waiting: dict[Milestone, list[Step]]
    #: What stands for it where it is a member.
    end: Step | None


class Maker:
    """
    Makes the jobs of plans.

    Args:
        enqueuer: Makes one.
        hears: Tells whether anybody would hear an event of this class.
    """

    def __init__(self, enqueuer: JobEnqueuer, hears: Callable[[type], bool]) -> None:
        self._enqueuer = enqueuer
        self._hears = hears

    def run_of(self, plan: Chain, said: Said, refused: list[Made]) -> Walk:
        """
        Make a chain, and those within it: the result is a `Run`.

        Args:
            plan: The chain.
            said: What holds where it does not say.
            refused: Those are added that do not want to be enqueued.

        Raises:
            InvalidOption: It cannot be one.
        """
        said = evolve(
            said,
            or_queue=plan.queue or said.or_queue,
            or_connection=plan.connection or said.or_connection,
        )
        delay = said.or_delay if plan.delay is None else plan.delay
        later = evolve(said, or_delay=None)
        steps: list[Step | Group] = []
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
                steps += (yield from self.run_of(one, mine, refused)).steps
            elif isinstance(one, Batch):
                steps.append((yield from self.group_of(one, mine, refused, is_member=True)))
            else:
                steps += yield from self.step_of(one, mine, refused)
        catch = yield from self.step_of(plan.catch, later, refused)
        return Run(steps=steps, catch=catch[0] if catch else None)

    def group_of(self, plan: Batch, said: Said, refused: list[Made], *, is_member: bool) -> Walk:
        """Make a batch, as `run_of` does a chain: the result is a `Group`; `is_member`: it is part of a plan."""
        id_ = new_id()
        said = evolve(
            said,
            or_queue=plan.queue or said.or_queue,
            or_connection=plan.connection or said.or_connection,
        )
        members: list[Step | Run | Group] = []
        for one in plan.members:
            if isinstance(one, Chain):
                members.append((yield from self.run_of(one, said, refused)))
            elif isinstance(one, Batch):
                members.append((yield from self.group_of(one, said, refused, is_member=True)))
            else:
                members += yield from self.step_of(one, said, refused)
        about = evolve(said, batch=id_, queue=plan.queue, or_delay=None)
        waiting: dict[Milestone, list[Step]] = {}
        for milestone, job in (
            (Milestone.FAILED, plan.on_error),
            (Milestone.SUCCEEDED, plan.on_success),
            (Milestone.FINISHED, plan.on_done),
        ):
            if job is not None:
                waiting[milestone] = yield from self.step_of(job, about, refused)
        for milestone, event in _EVENTS:
            if self._hears(event):
                told = yield from self.step_of(BatchStep(milestone.value), about, refused)
                waiting[milestone] = [*waiting.get(milestone, ()), *told]
        end: list[Step] = []
        if is_member:
            end = yield from self.step_of(BatchStep(), evolve(about, id=id_), refused)
        return Group(
            id=id_, plan=plan, members=members, waiting=waiting, end=end[0] if end else None
        )

    def step_of(self, job: Job | None, said: Said, refused: list[Made]) -> Walk:
        """Make a job; the result is a list of it, of none where there is none, or it does not want to."""
        if job is None:
            return []
        entry = self._enqueuer.enqueuer.catalogue.job_entry(type(job))
        if entry.options.debounce is not None:
            raise InvalidOption(
                option="debounce",
                value=entry.options.debounce,
                expected="nothing on a job of a chain or a batch, what follows one included: enqueue it by itself",
                where=entry.options.name,
            )
        made: Made = yield from self._enqueuer.made(job, said)
        if made.enqueued is None:
            refused.append(made)
            return []
        return [Step(made)]

    def connection_of(self, steps: Sequence[Step], said: str | None = None, *, where: str) -> str:
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

    def queue_of(self, group: Group, connection: str) -> str:
        """Return the queue of a batch, in which all of it lies: that which it names, or its members."""
        where = called(group.plan)
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


def called(plan: Batch) -> str:
    """Return what errors call a batch."""
    return f"batch {plan.name!r}" if plan.name else "bus.batch"


def groups_in(group: Group) -> Iterator[Group]:
    """Yield the batches that are members of one, or of its chains."""
    for one in group.members:
        for each in one.steps if isinstance(one, Run) else [one]:
            if isinstance(each, Group):
                yield each


def _members(one: Step | Run | Group) -> Iterator[Step]:
    """Yield the jobs of a plan that run by themselves."""
    if isinstance(one, Step):
        yield one
    else:
        parts = [*one.steps] if isinstance(one, Run) else [*one.members]
        for each in parts:
            yield from _members(each)


def steps_in(one: Step | Run | Group) -> Iterator[Step]:
    """Yield all that was made of a plan."""
    if isinstance(one, Step):
        yield one
    elif isinstance(one, Run):
        yield from (step for each in one.steps for step in steps_in(each))
        if one.catch is not None:
            yield one.catch
    else:
        for each in one.members:
            yield from steps_in(each)
        for several in one.waiting.values():
            yield from several
        if one.end is not None:
            yield one.end
