"""What a running listener can ask about its job, and do with it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from attrs import define, field, frozen

from eventbus.defaults import TRIES
from eventbus.errors import InvalidOption, JobFailedByHand, UnsupportedOption
from eventbus.values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from eventbus.queue import failed
    from eventbus.queue.batches import BatchHandle
    from eventbus.queue.following import Followers
    from eventbus.queue.limits import Limiters

    class RunningPlans(Protocol):
        """What a running job may ask for of the plans of its bus."""

        def batch(self, id: str) -> BatchHandle:
            """Return the handle of a batch."""
            ...

        def caught(self, queue: str, id: str) -> failed.FailedJob | None:
            """Return the failed job whose failure let another come."""
            ...

        def followers(self, attempt: Attempt) -> Followers:
            """Return what makes those that are to follow a run."""
            ...


__all__ = ["Attempt", "Deleted", "FailedByHand", "InteractsWithQueue", "Released", "introduced"]


@frozen
class Deleted:
    """The listener deleted its job."""


@frozen
class Released:
    """The listener gave its job back."""

    delay: float
    #: The run counts as a try.
    spend: bool = False


@frozen
class FailedByHand:
    """The listener failed its job."""

    error: BaseException


@define(kw_only=True)
class Attempt:
    """
    One run of a job, as its listener sees it.

    A listener gets it by a hint (`def handle(self, event: OrderShipped, attempt: Attempt)`), or as
    `self.attempt` when its class inherits `InteractsWithQueue`.

    What the listener settles here holds, also if it raises afterwards; the first settlement wins.
    """

    #: The job's id, the same in every attempt: a key for what must happen once.
    id: str
    #: The name of the listener.
    name: str
    connection: str
    queue: str
    #: The number of this run, from 1. A release leaves it as it was.
    number: int
    #: How many tries the job has; 0 is no limit.
    tries: int = TRIES
    #: Until when it is tried, in UTC; None if there is no such instant.
    deadline: datetime | None = None
    #: Runs before this one that raised or took too long.
    exceptions: int = 0
    #: Times the job was given back without spending an attempt.
    releases: int = 0
    #: Runs whose worker died.
    losses: int = 0
    #: When the job was stored, by the store's clock; None on a sync connection.
    pushed_at: datetime | None = None
    #: What the listener is called with: the event, or a name and its payload; of a job, the job alone.
    arguments: tuple[Any, ...] = field(default=(), repr=False)
    #: False on a sync connection: a job that nothing stores cannot be given back.
    stored: bool = True
    settled: Deleted | Released | FailedByHand | None = field(init=False, default=None)
    #: The limits of the bus, for middleware; None before a run goes through any.
    limiters: Limiters | None = field(init=False, default=None, repr=False, eq=False)
    #: The id of the batch that it is a member of, or that it follows; empty if there is none.
    batch_id: str = field(init=False, default="", repr=False, eq=False)
    #: What those are that follow, where the run has said something of them.
    followers: Followers | None = field(init=False, default=None, repr=False, eq=False)
    #: Gives the batch of an id; and what makes those that follow.
    plans: RunningPlans | None = field(init=False, default=None, repr=False, eq=False)
    #: Keeps what `progress` is told; None where the class of the job does not say `keep_result`.
    reporter: Callable[[Any], None] | None = field(init=False, default=None, repr=False, eq=False)

    @property
    def batch(self) -> BatchHandle | None:
        """The batch that the job is a member of, or whose `on_success`, `on_error` or `on_done` it is; or None."""
        if self.plans is None or not self.batch_id:
            return None
        return self.plans.batch(self.batch_id)

    @property
    def chain(self) -> Followers:
        """
        Those that follow the job: its chain, or what `prepend` and `append` make one of.

        Raises:
            UnsupportedOption: Nothing stores the job: it runs by `run`, or by itself on a sync connection.
        """
        if self.followers is None:
            if self.plans is None:
                raise UnsupportedOption(backend="sync", capability="jobs that follow one that runs")
            self.followers = self.plans.followers(self)
        return self.followers

    def caught(self) -> failed.FailedJob | None:
        """
        Return the failed job for which this one has come, the `catch` of its chain: its name, error and all.

        Each call reads the store. None in any other job, and when that one was retried or forgotten meanwhile.

        Raises:
            BackendError: The store cannot be asked.

        Example:
            >>> from eventbus import Attempt, Job
            >>> class Apologize(Job, name="apologize"):
            ...     def handle(self, attempt: Attempt) -> None:
            ...         failed = attempt.caught()
            ...         print(
            ...             "gave up",
            ...             "" if failed is None else f"on {failed.name}: {failed.reason}",
            ...         )
        """
        return None if self.plans is None else self.plans.caught(self.queue, self.id)

    async def acaught(self) -> failed.FailedJob | None:
        """Return what `caught` does, without blocking the loop."""
        import asyncio

        return await asyncio.to_thread(self.caught)

    def stop_chain(self) -> None:
        """
        Let none of those run that were to follow, once this run has succeeded; in a batch they count as skipped.

        Raises:
            UnsupportedOption: As `chain`.
        """
        self.chain.stopped = True

    def progress(self, value: Any) -> None:
        """
        Say how far the job is: whoever has its handle sees it.

        Each time is one write to the store; where the store is away, that is a warning in the log. On
        a sync connection nobody could look, and nothing is written.

        Args:
            value: A number, a text, or what else travels in jobs. It takes the place of what was said before.

        Raises:
            InvalidOption: The class of the job does not say `keep_result`.
            EncodeError: `value` cannot be stored.
        """
        if not self.stored:
            return
        if self.reporter is None:
            raise InvalidOption(
                option="keep_result",
                value=None,
                expected="how long progress is kept: class Send(Job, keep_result=3600)",
                where=self.name,
            )
        self.reporter(value)

    async def aprogress(self, value: Any) -> None:
        """Say how far the job is, as `progress` does, without blocking the loop."""
        import asyncio

        await asyncio.to_thread(self.progress, value)

    def delete(self) -> None:
        """Take the job as done; the rest of the listener runs on."""
        self._settle(Deleted())

    def release(self, delay: float | timedelta = 0, *, spend: bool = False) -> None:
        """
        Give the job back, due in `delay` seconds; no attempt is spent unless `spend` asks for it.

        Args:
            delay: Seconds, or a `timedelta`, until it may run again.
            spend: Let this run count as a try. The job fails if it was the last.

        Raises:
            InvalidOption: `delay` is no duration.
            UnsupportedOption: The connection is `sync://`, where nothing waits.

        Defaults:
            delay = 0: at once.
            spend = False: the next run has the number of this one.
        """
        if not self.stored:
            raise UnsupportedOption(backend="sync", capability="releasing a job")
        wait = seconds(delay, option="delay", where=f"release of {self.name}")
        self._settle(Released(wait, bool(spend)))

    def fail(self, error: BaseException | str = "no reason was given") -> None:
        """
        Fail the job for good, without another try.

        Raises:
            InvalidOption: `error` is neither an exception nor a text.
        """
        if isinstance(error, str):
            error = JobFailedByHand(listener=self.name, reason=error)
        if not isinstance(error, BaseException):
            raise InvalidOption(
                option="error", value=error, expected="an exception, or a text", where=self.name
            )
        self._settle(FailedByHand(error))

    def _settle(self, how: Deleted | Released | FailedByHand) -> None:
        if self.settled is None:
            self.settled = how


class InteractsWithQueue:
    """
    Gives a queued listener its running attempt as `self.attempt`; frozen classes too.

    Example:
        >>> from eventbus import ShouldQueue
        >>> class SendReceipt(ShouldQueue, InteractsWithQueue):
        ...     def handle(self, event: KeyError) -> None:
        ...         if self.attempt.number < 3:
        ...             self.attempt.release(10)
    """

    attempt: Attempt

    def with_attempt(self, attempt: Attempt) -> Self:
        """Return this listener, knowing its attempt."""
        # Past the __setattr__ of frozen classes: the attempt is about the run, not the listener.
        object.__setattr__(self, "attempt", attempt)
        return self


def introduced(instance: Any, attempt: Attempt) -> Any:
    """Return a listener or a job, which knows its attempt if it wants to."""
    if isinstance(instance, InteractsWithQueue):
        instance.with_attempt(attempt)
    return instance
