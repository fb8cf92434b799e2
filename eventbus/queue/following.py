"""What a running job says of those that are to follow it; it counts once the run has succeeded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field
from msgspec.structs import replace

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.queue.envelope import Envelope, Member

if TYPE_CHECKING:
    from eventbus.queue.membership import PlanMember

__all__ = ["Followers", "followed"]


@define(eq=False)
class Followers:
    """
    Those that are to follow a running job: `attempt.chain`.

    What is said here is stored when the run has succeeded, and forgotten when it has not.

    Example:
        >>> from eventbus import Attempt, Job
        >>> class Split(Job, name="split"):
        ...     parts: int
        ...
        ...     def handle(self, attempt: Attempt) -> None:
        ...         attempt.chain.prepend(*[Part(number) for number in range(self.parts)])
        >>> class Part(Job, name="part"):
        ...     number: int
        ...
        ...     def handle(self) -> None: ...
    """

    #: Makes envelopes of jobs, given how many were made before.
    _make: Callable[[tuple[Any, ...], int], list[Envelope]] = field(alias="make", repr=False)
    front: list[Envelope] = field(init=False, factory=list)
    back: list[Envelope] = field(init=False, factory=list)
    #: Nobody is to follow.
    stopped: bool = field(init=False, default=False)
    _count: int = field(init=False, default=0)

    def prepend(self, *members: PlanMember | None) -> None:
        """
        Let these follow at once, before those that were to follow; said twice, those of the second time come first.

        Args:
            members: Jobs, and chains of them, in their order; None is left out. Those that name no queue lie in that
                of the running job; in a batch all do, and count there.

        Raises:
            InvalidJob: One of them is no job and no chain.
            InvalidOption: One of them lies on another connection, has `debounce`, or is a batch.
            EncodeError: One of them cannot be stored.
            Exception: What a hook of one of them raises.
        """
        self.front[:0] = self._made(members)

    def append(self, *members: PlanMember | None) -> None:
        """
        Let these follow at the end of the chain, in their order.

        Args:
            members: As for `prepend`.

        Raises:
            InvalidJob: As `prepend`.
            InvalidOption: As `prepend`.
            EncodeError: As `prepend`.
            Exception: As `prepend`.
        """
        self.back += self._made(members)

    def _made(self, members: tuple[Any, ...]) -> list[Envelope]:
        made = self._make(members, self._count)
        self._count += len(members)
        return made


def followed(port: Port, claim: Claim, followers: Followers) -> Claim:
    """
    Store what a run has said of those that follow, before it is acked; return its claim as it is now.

    Each step may be done twice: where this is cut, the job runs again, and what it says then has the same ids.
    """
    member = claim.envelope.member or Member()
    if followers.stopped:
        if member.next is not None:
            port.cancel([member.next[1]])
        return claim
    if followers.front:
        first = _linked(followers.front, member, last=member.next)
        if _is_new(port, first[0]):
            port.push(first)
            member = _follow(port, claim.envelope, member, first[0])
    if followers.back:
        last = _linked(followers.back, member, last=None)
        if _is_new(port, last[0]):
            port.push(last)
            tail = _tail(port, claim.envelope, member)
            if tail.id == claim.envelope.id:
                member = _follow(port, claim.envelope, member, last[0])
            else:
                port.plans.link(tail.queue, tail.id, (last[0].queue, last[0].id))
    return replace(claim, envelope=replace(claim.envelope, member=member))


def _linked(
    envelopes: list[Envelope], like: Member, *, last: tuple[str, str] | None
) -> list[Envelope]:
    """Return envelopes each of which follows the one before it, and is a member of what `like` is."""
    found: list[Envelope] = []
    following = last
    for one in reversed(envelopes):
        member = Member(batch=like.batch, next=following, catch=like.catch, held=True)
        # In a batch all lie where it lies.
        found.append(replace(one, member=member))
        following = one.queue, one.id
    return found[::-1]


def _is_new(port: Port, first: Envelope) -> bool:
    return not port.find([first.id], queues=[first.queue])


def _follow(port: Port, one: Envelope, member: Member, following: Envelope) -> Member:
    place = following.queue, following.id
    port.plans.link(one.queue, one.id, place)
    return evolve(member, next=place)


def _tail(port: Port, one: Envelope, member: Member) -> Envelope:
    """Return the last of those that follow an envelope; itself if none does."""
    seen = {one.id}
    while member.next is not None and member.next[1] not in seen:
        queue, name = member.next
        found = port.find([name], queues=[queue])
        if not found:
            break
        seen.add(name)
        one = found[0].envelope
        member = one.member or Member()
    return one
