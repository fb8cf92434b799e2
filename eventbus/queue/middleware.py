"""Around a run: what the call of a queued listener, or of a job, goes through."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import field, frozen
from typing_extensions import override

from eventbus.dispatch.around import Step
from eventbus.dispatch.waiting import Walk
from eventbus.errors import InvalidOption
from eventbus.queue.attempt import Attempt
from eventbus.values import seconds

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["FailOn", "Middleware", "Release", "Skip", "middleware_of"]


class Middleware(Protocol):
    """
    What may stand around a run: a function, or an object with `__call__`, sync or async.

    It is called with the attempt, whose `arguments` are the event or the job, and with what goes on
    to the next one and at last to the listener. What it returns is the answer.

    - It goes on: `return call_next()`, in an async one `return await call_next()`.
    - It does not go on, and settles nothing: the job is done, with the outcome `skipped`.
    - It settles the job: `attempt.release(30)`, `attempt.fail(error)`.
    - It raises, or lets an error through: that is the job's error.

    Example:
        >>> class OnlyOnce:
        ...     def __call__(self, attempt: Attempt, call_next: Callable[[], object]) -> object:
        ...         return call_next() if attempt.number == 1 else None
    """

    def __call__(self, attempt: Attempt, call_next: Callable[[], Any], /) -> Any:
        """Go on, or not."""
        ...


@frozen
class _If:
    """Whether something holds for a run."""

    condition: Any
    wanted: bool

    def holds(self, attempt: Attempt) -> Walk:
        found = self.condition
        if callable(found):
            found = found(*attempt.arguments)
            if isawaitable(found):
                found = yield found
        return bool(found) is self.wanted


@frozen
class Skip(Step[Attempt]):
    """
    Takes the job as done, without a run, if a condition holds.

    A condition is a value, or a function, sync or async, of the event or the job.

    Example:
        >>> from eventbus import Job
        >>> class Remind(Job, middleware=[Skip.when(lambda job: job.paid)]):
        ...     paid: bool
        ...
        ...     def handle(self) -> None: ...
    """

    _if: _If = field(alias="condition")

    @classmethod
    def when(cls, condition: object) -> Skip:
        """Skip if the condition holds."""
        return cls(_If(condition, wanted=True))

    @classmethod
    def unless(cls, condition: object) -> Skip:
        """Skip unless the condition holds."""
        return cls(_If(condition, wanted=False))

    @override
    def around(self, attempt: Attempt, go_on: Callable[[], Walk]) -> Walk:
        if (yield from self._if.holds(attempt)):
            return None
        return (yield from go_on())


@frozen
class Release(Step[Attempt]):
    """
    Gives the job back, without a run and without spending a try, if a condition holds.

    `max_releases` of the listener bounds how often.

    Example:
        >>> from eventbus import Job
        >>> class Import(Job, middleware=[Release.unless(lambda job: job.ready, delay=60)]):
        ...     ready: bool
        ...
        ...     def handle(self) -> None: ...
    """

    _if: _If = field(alias="condition")
    #: Seconds until it may run again.
    delay: float

    @classmethod
    def when(cls, condition: object, *, delay: float | timedelta = 0) -> Release:
        """
        Give back if the condition holds.

        Raises:
            InvalidOption: `delay` is no duration.

        Defaults:
            delay = 0: it may run again at once.
        """
        return cls(_If(condition, wanted=True), seconds(delay, option="delay", where="Release"))

    @classmethod
    def unless(cls, condition: object, *, delay: float | timedelta = 0) -> Release:
        """
        Give back unless the condition holds.

        Raises:
            InvalidOption: `delay` is no duration.

        Defaults:
            delay = 0: it may run again at once.
        """
        return cls(_If(condition, wanted=False), seconds(delay, option="delay", where="Release"))

    @override
    def around(self, attempt: Attempt, go_on: Callable[[], Walk]) -> Walk:
        if (yield from self._if.holds(attempt)):
            attempt.release(self.delay)
            return None
        return (yield from go_on())


class FailOn(Step[Attempt]):
    """
    Fails the job for good on some errors, however many tries are left.

    Args:
        errors: Classes of errors, or functions of the error of which one has to return exactly True.

    Raises:
        InvalidOption: One is neither.

    Example:
        >>> FailOn(KeyError, lambda error: "denied" in str(error))
        FailOn(...)
    """

    def __init__(self, *errors: type[BaseException] | Callable[[BaseException], object]) -> None:
        for one in errors or ("nothing",):
            if not callable(one) or (isinstance(one, type) and not issubclass(one, BaseException)):
                expected = "classes of errors, or functions of an error"
                raise InvalidOption(option="errors", value=one, expected=expected, where="FailOn")
        self._errors: Final = errors

    def __repr__(self) -> str:
        return "FailOn(...)"

    def _concerns(self, error: BaseException) -> bool:
        return any(
            isinstance(error, one) if isinstance(one, type) else one(error) is True
            for one in self._errors
        )

    @override
    def around(self, attempt: Attempt, go_on: Callable[[], Walk]) -> Walk:
        try:
            return (yield from go_on())
        except Exception as error:
            if self._concerns(error):
                attempt.fail(error)
            raise


def middleware_of(value: Any, *, where: str) -> tuple[Any, ...]:
    """
    Return middleware in its order, the first one outermost: things to call, or classes of them.

    Raises:
        InvalidOption: It is no list of such.
    """
    several = tuple(value) if isinstance(value, list | tuple) else (None,)
    if all(callable(one) or isinstance(one, Step) for one in several):
        return several
    raise InvalidOption(
        option="middleware",
        value=value,
        expected="a list of functions, or objects or classes with __call__",
        where=where,
    )
