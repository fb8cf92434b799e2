"""The second pass over a plan: whom each job follows, what counts it, and what waits for it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field
from msgspec.structs import replace

from eventbus.backends.plans import Milestone, NewBatch
from eventbus.queue.envelope import Envelope, Member
from eventbus.queue.plan_making import Group, Run, Step, groups_in

__all__ = ["Placed"]

#: Queue and id of an envelope.
Spot = tuple[str, str]


@define
class Placed:
    """What is to be stored."""

    #: Tells in which queue a batch lies.
    _queue_of: Callable[[Group], str] = field(alias="queue_of", repr=False)
    batches: list[NewBatch] = field(init=False, factory=list)
    envelopes: list[Envelope] = field(init=False, factory=list)

    def put(self, step: Step, member: Member, queue: str | None) -> Spot:
        """Give a job its place; return where it lies."""
        one = step.envelope
        queue = one.queue if queue is None else queue
        self.envelopes.append(replace(one, queue=queue, member=member, unique=None))
        return queue, one.id

    def place_run(self, run: Run, queue: str | None, *, batch: str, begun: bool) -> Spot:
        """Place a chain from its end; return where its first lies. `begun`: the turn of that is at once."""
        catch = None
        if run.catch is not None:
            catch = self.put(run.catch, Member(held=True), queue)
        spot: Spot | None = None
        for place, one in reversed([*enumerate(run.steps)]):
            now = begun and place == 0
            member = Member(batch=batch, next=spot, catch=catch, held=not now)
            if isinstance(one, Group):
                spot = self.place_member(one, queue, member, begun=now)
            else:
                spot = self.put(one, member, queue)
        assert spot is not None  # it has a step
        return spot

    def place_member(self, group: Group, queue: str | None, member: Member, *, begun: bool) -> Spot:
        """Place a batch that is part of a plan; return where what stands for it lies."""
        assert group.end is not None  # made for those
        if queue is None:
            queue = self._queue_of(group)
        self.place_group(group, queue, begun=begun)
        return self.put(group.end, evolve(member, held=True), queue)

    def place_group(self, group: Group, queue: str, *, begun: bool) -> None:
        """Place the members of a batch, and what waits for it; `begun`: its turn is at once."""
        first: list[str] = []
        for one in group.members:
            member = Member(batch=group.id, held=not begun)
            if isinstance(one, Step):
                first.append(self.put(one, member, queue)[1])
            elif isinstance(one, Group):
                first.append(self.place_member(one, queue, member, begun=begun)[1])
            elif one.steps:
                spot = self.place_run(one, queue, batch=group.id, begun=begun)
                first.append(spot[1])
        waiting = {
            milestone: [self.put(step, Member(held=True), queue)[1] for step in steps]
            for milestone, steps in group.waiting.items()
        }
        if group.end is not None:
            waiting.setdefault(Milestone.FINISHED, []).append(group.id)
        if not begun:
            waiting[Milestone.BEGUN] = first
        self.batches.append(
            NewBatch(
                id=group.id,
                queue=queue,
                name=group.plan.name,
                allows_failures=group.plan.allow_failures,
                waiting=waiting,
                within=[one.id for one in groups_in(group)],
            )
        )
