"""Chains and batches as they are said: inert until they are enqueued, so that one may be part of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from attrs import define, field

from eventbus.dispatch.waiting import Walk
from eventbus.errors import InvalidJob
from eventbus.queue.jobs import Job
from eventbus.text import shown

if TYPE_CHECKING:
    from eventbus.queue.batches import BatchHandle
    from eventbus.queue.handles import JobHandle
    from eventbus.queue.membership import PlanMember

__all__ = ["Batch", "Chain", "members_of"]


@define(kw_only=True, eq=False)
class _Plan:
    __plan_member__: ClassVar[bool] = True

    #: Walks through what enqueues it.
    _enqueue: Callable[[Any], Walk] = field(alias="enqueue", repr=False)
    #: Walks in sync code.
    _drive: Callable[[Walk, str], Any] = field(alias="drive", repr=False)
    #: Walks in async code.
    _adrive: Callable[[Walk], Any] = field(alias="adrive", repr=False)
    #: What it is made of, in order.
    members: list[Job | Chain | Batch] = field(factory=list)
    #: Where those lie that do not say; of a batch, where all of it lies.
    queue: str | None = None
    connection: str | None = None


@define(kw_only=True, eq=False)
class Chain(_Plan):
    """
    Jobs that run one after the other; made by `bus.chain`.

    One that fails ends it, until it is retried: then the chain goes on from there. One that is skipped, or deletes
    itself, is done.

    Example:
        >>> from eventbus import EventBus, Job
        >>> class Say(Job, name="say"):
        ...     word: str
        ...
        ...     def handle(self) -> None:
        ...         print(self.word)
        >>> bus = EventBus(connections={"default": "sync://"})
        >>> handle = bus.chain(Say("one"), Say("two")).append(Say("three")).enqueue()
        one
        two
        three
    """

    #: Seconds that the first member waits which does not say itself.
    delay: float | None = None
    #: Due once a member has failed.
    catch: Job | None = None

    def prepend(self, *members: PlanMember | None) -> Self:
        """
        Put members in front, in their order; return the chain.

        Args:
            members: Jobs, chains and batches; None is left out.

        Raises:
            InvalidJob: One of them is none of these.
        """
        self.members[:0] = members_of(members)
        return self

    def append(self, *members: PlanMember | None) -> Self:
        """
        Put members at the end, in their order; return the chain.

        Args:
            members: Jobs, chains and batches; None is left out.

        Raises:
            InvalidJob: One of them is none of these.
        """
        self.members += members_of(members)
        return self

    def enqueue(self) -> JobHandle:
        """
        Store the chain for the workers, whole; on a `sync://` connection, run it. Each call makes another one.

        Returns:
            The handle of its first job: to cancel it takes out the whole chain. Where the chain begins with a batch,
            that of the batch's end, with its id: to cancel it takes out what comes after the batch, and cancels that.
            Where no member wants to be enqueued, one that says so.

        Raises:
            InvalidOption: It has no members, they name more than one connection, one of them has `debounce`, or a
                chain within it has a `catch`.
            UnsupportedOption: The store keeps no chains.
            EncodeError: A member cannot be stored; then none is.
            StoredUnknown: It cannot be told whether they were stored.
            BackendError: The store did not take them.
            Exception: What a hook of a member raises; on a `sync://` connection, what the member raised that failed.

        Example:
            >>> from eventbus import EventBus, Job
            >>> class Fetch(Job, name="fetch"):
            ...     def handle(self) -> None: ...
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> handle = bus.chain(Fetch(), Fetch()).enqueue()
            >>> bus.connections.port().size("default").held
            1
            >>> handle.cancel(), bus.connections.port().size("default").held
            (True, 0)
        """
        return self._drive(self._enqueue(self), "enqueue")  # type: ignore[no-any-return]

    async def aenqueue(self) -> JobHandle:
        """Store the chain, as `enqueue` does and with its errors, without blocking the loop."""
        return await self._adrive(self._enqueue(self))  # type: ignore[no-any-return]

    def enqueue_if(self, condition: object) -> JobHandle | None:
        """Store the chain, as `enqueue` does, if `condition` is true; else return None."""
        return self.enqueue() if condition else None

    def enqueue_unless(self, condition: object) -> JobHandle | None:
        """Store the chain, as `enqueue` does, if `condition` is false; else return None."""
        return self.enqueue_if(not condition)


@define(kw_only=True, eq=False)
class Batch(_Plan):
    """
    Jobs that run side by side, and are counted; made by `bus.batch`.

    Example:
        >>> from eventbus import EventBus, Job
        >>> class Import(Job, name="import"):
        ...     row: int
        ...
        ...     def handle(self) -> None: ...
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> batch = bus.batch(*map(Import, range(100)), name="rows").enqueue()
        >>> batch.state().pending
        100
    """

    name: str = ""
    #: The others run on when one fails.
    allow_failures: bool = False
    #: Due when all have come to their end, and none has failed, ...
    on_success: Job | None = None
    #: ... when the first has failed, ...
    on_error: Job | None = None
    #: ... and when none is left to run.
    on_done: Job | None = None

    def add(self, *members: PlanMember | None) -> Self:
        """
        Put more members in; return the batch.

        Args:
            members: Jobs, chains and batches; None is left out.

        Raises:
            InvalidJob: One of them is none of these.
        """
        self.members += members_of(members)
        return self

    def enqueue(self) -> BatchHandle:
        """
        Store the batch for the workers, whole; on a `sync://` connection, run it. Each call makes another one.

        Returns:
            Its handle, to see how far it is, to cancel it or to add to it.

        Raises:
            InvalidOption: Its members name more than one connection, or more than one queue and it names none; or one
                of them has `debounce`.
            UnsupportedOption: The store keeps no batches.
            EncodeError: A member, or what follows, cannot be stored; then nothing is.
            StoredUnknown: It cannot be told whether it was stored.
            BackendError: The store did not take it.
            Exception: What a hook of a member raises; on a `sync://` connection, what the first member raised that
                failed, unless failures are allowed.

        Example:
            >>> from eventbus import EventBus, Job
            >>> class Import(Job, name="import"):
            ...     row: int
            ...
            ...     def handle(self) -> None: ...
            >>> bus = EventBus(connections={"default": "memory://"})
            >>> plan = bus.batch(Import(1)).add(Import(2), None)
            >>> plan.enqueue().state().total
            2
        """
        return self._drive(self._enqueue(self), "enqueue")  # type: ignore[no-any-return]

    async def aenqueue(self) -> BatchHandle:
        """Store the batch, as `enqueue` does and with its errors, without blocking the loop."""
        return await self._adrive(self._enqueue(self))  # type: ignore[no-any-return]

    def enqueue_if(self, condition: object) -> BatchHandle | None:
        """Store the batch, as `enqueue` does, if `condition` is true; else return None."""
        return self.enqueue() if condition else None

    def enqueue_unless(self, condition: object) -> BatchHandle | None:
        """Store the batch, as `enqueue` does, if `condition` is false; else return None."""
        return self.enqueue_if(not condition)


def members_of(given: Iterable[Any]) -> list[Job | Chain | Batch]:
    """
    Return what a plan is made of, without what is None.

    Raises:
        InvalidJob: Something is no job, no chain and no batch.
    """
    found: list[Job | Chain | Batch] = []
    for one in given:
        if isinstance(one, Job | Chain | Batch):
            found.append(one)
        elif one is not None:
            raise InvalidJob(
                job=shown(one),
                reason="it is no job, no chain and no batch",
                remedy="Several are passed one by one, with a star: (*jobs)",
            )
    return found
