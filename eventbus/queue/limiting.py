"""Middleware that limits: how often runs begin, how many there are at once, how many may raise."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from eventbus.defaults import SLOT_INTERVAL, SLOT_LIFE
from eventbus.dispatch.around import Step
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.errors import BackendError, InvalidOption, LimitExceeded
from eventbus.queue.attempt import Attempt
from eventbus.queue.limits import Limit, Limiters, keyed, lasting, whole
from eventbus.text import short
from eventbus.values import seconds

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["RateLimited", "ThrottleErrors", "WithoutOverlapping"]

_log = logging.getLogger("eventbus.queue")


class RateLimited(Step[Attempt]):
    """
    Runs a job only where a limit of the bus has room.

    One that is refused spends no try: it is given back until its turn, so that those who are refused come
    back one after the other. On a `sync://` connection, where nothing waits, `LimitExceeded` is raised.

    Args:
        limiter: The name: `bus.limiter("api", lambda job: Limit.per_minute(100).by(job.tenant))`. Its rule is
            called with the event, or the job.
        release: Seconds, or a `timedelta`, until one that is refused may run.
        skip: Take one that is refused as done.

    Raises:
        InvalidOption: One of them cannot be.

    Defaults:
        release = None: until its turn.
        skip = False.

    Example:
        >>> from eventbus import Job
        >>> class Fetch(Job, middleware=[RateLimited("api")]):
        ...     url: str
        ...
        ...     def handle(self) -> None: ...
    """

    def __init__(
        self, limiter: str, *, release: float | timedelta | None = None, skip: bool = False
    ) -> None:
        self._limiter: Final = limiter
        self._release: Final = _release(release, "RateLimited")
        self._skip: Final = skip

    @override
    def around(self, attempt: Attempt, go_on: Callable[[], Walk]) -> Walk:
        throttle = _limiters_of(attempt).named(self._limiter)(*attempt.arguments)
        wait = yield Blocking(throttle.attempt)
        if not wait:
            return (yield from go_on())
        if self._skip:
            return None
        if self._release is None:
            wait = yield Blocking(partial(throttle.retry_in, wait))
        else:
            wait = self._release
        raise LimitExceeded(limit=self._limiter, retry_in=wait)


class WithoutOverlapping(Step[Attempt]):
    """
    Runs a job only while no other with its key runs, wherever that is.

    One that is refused spends no try: it is given back for a second or two, and longer each time. If
    whoever runs a job is killed, the next one runs when `life` is over. On a `sync://` connection, where nothing
    waits, `LimitExceeded` is raised.

    Args:
        key: Which jobs must not overlap: a text, or a function of the event, or the job, that returns a text, a
            number or a UUID. Those of other listeners, and of other classes, may.
        shared: A name that several listeners, or classes, share: none of theirs overlap.
        release: Seconds, or a `timedelta`, until one that is refused may run.
        skip: Take one that is refused as done.
        life: Seconds, or a `timedelta`, that it is kept from the others if whoever runs it dies.
        connection: Where it is kept who runs.

    Raises:
        InvalidOption: One of them cannot be.

    Defaults:
        key = empty: all jobs of the listener, or class.
        shared = empty: the name of the listener, or of the job.
        release = None: a second or two, more with each release.
        skip = False.
        life = `defaults.SLOT_LIFE`; renewed while the job runs.
        connection = None: the default connection of the bus.

    Example:
        >>> from eventbus import Job
        >>> class Reindex(Job, middleware=[WithoutOverlapping(lambda job: job.shop)]):
        ...     shop: int
        ...
        ...     def handle(self) -> None: ...
    """

    def __init__(
        self,
        key: Any = "",
        *,
        shared: str = "",
        release: float | timedelta | None = None,
        skip: bool = False,
        life: float | timedelta = SLOT_LIFE,
        connection: str | None = None,
    ) -> None:
        where = "WithoutOverlapping"
        self._key: Final = key if callable(key) else keyed(key)
        self._shared: Final = shared
        self._release: Final = _release(release, where)
        self._skip: Final = skip
        self._life: Final = lasting(life, "life", where=where)
        self._connection: Final = connection

    @override
    def around(self, attempt: Attempt, go_on: Callable[[], Walk]) -> Walk:
        key, name = _keyed(self._key, attempt), self._shared or attempt.name
        name = f"{name}:{key}" if key else name
        limiters = _limiters_of(attempt)
        funnel = limiters.funnel("overlap", name, self._connection, life=self._life)
        try:
            # Whoever is cancelled here may be in already.
            if not (yield Blocking(funnel.attempt)):
                answer = yield from go_on()
                yield Blocking(funnel.leave)
                return answer
        except GeneratorExit:
            funnel.leave()  # nothing may be waited for
            raise
        except BaseException:
            yield Blocking(funnel.leave)
            raise
        if self._skip:
            return None
        wait = self._release
        if wait is None:
            longest = min(SLOT_INTERVAL * (2 + attempt.releases), self._life)
            wait = random.uniform(SLOT_INTERVAL, longest)  # noqa: S311 -- no secret
        raise LimitExceeded(limit=name, retry_in=wait)


class ThrottleErrors(Step[Attempt]):
    """
    Keeps jobs back for a while after many of them raised: what they call seems to be down.

    A run that raises is decided about as without it. Once `limit` of them raised `per` so many seconds, the
    next ones are given back without a run, and without spending a try, until fewer have. One that succeeds
    makes it forget. On a `sync://` connection, where nothing waits, `LimitExceeded` is raised.

    Args:
        limit: How many may raise, >= 1.
        per: In how many seconds, > 0, or a `timedelta`.
        on: The classes of errors that count.
        key: What is counted apart: a text, or a function of the event, or the job.
        shared: A name that several listeners, or classes, share: their errors count together.
        connection: Where they are counted.

    Raises:
        InvalidOption: One of them cannot be.

    Defaults:
        on = `Exception`.
        key = empty: all jobs of the listener, or class.
        shared = empty: the name of the listener, or of the job.
        connection = None: the default connection of the bus.

    Example:
        >>> from eventbus import Job
        >>> class Charge(
        ...     Job, tries=5, middleware=[ThrottleErrors(10, per=600, on=ConnectionError)]
        ... ):
        ...     order: int
        ...
        ...     def handle(self) -> None: ...
    """

    def __init__(
        self,
        limit: int,
        per: float | timedelta,
        *,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
        key: Any = "",
        shared: str = "",
        connection: str | None = None,
    ) -> None:
        where = "ThrottleErrors"
        classes = on if isinstance(on, tuple) else (on,)
        for one in classes:
            if not (isinstance(one, type) and issubclass(one, Exception)):
                raise InvalidOption(
                    option="on",
                    value=one,
                    expected="a class of exceptions, or several",
                    where=where,
                )
        self._limit: Final = whole(limit, "limit", where=where)
        self._per: Final = lasting(per, "per", where=where)
        self._on: Final = classes
        self._key: Final = key if callable(key) else keyed(key)
        self._shared: Final = shared
        self._connection: Final = connection

    @override
    def around(self, attempt: Attempt, go_on: Callable[[], Walk]) -> Walk:
        limit = Limit(self._limit, self._per, _keyed(self._key, attempt))
        errors = _limiters_of(attempt).throttle(
            "errors", self._shared or attempt.name, limit, self._connection
        )
        if wait := (yield Blocking(errors.room_in)):
            wait = yield Blocking(partial(errors.retry_in, wait))
            raise LimitExceeded(limit=errors.shown, retry_in=wait)
        try:
            answer = yield from go_on()
        except LimitExceeded:
            raise
        except self._on:
            yield Blocking(partial(_note, errors.attempt, errors.shown))
            raise
        yield Blocking(partial(_note, errors.refund, errors.shown))
        return answer


def _note(count: Callable[[], object], name: str) -> None:
    """Count what came of a run; where the store is away, that changes nothing of the run."""
    try:
        count()
    except BackendError as error:
        _log.warning("the errors of %s are not counted: %s", short(name), short(str(error)))


def _limiters_of(attempt: Attempt) -> Limiters:
    """Return the limits of the bus that runs a job."""
    assert attempt.limiters is not None  # set before a run goes through middleware
    return attempt.limiters


def _keyed(key: Any, attempt: Attempt) -> str:
    found: Any = key(*attempt.arguments) if callable(key) else key
    return keyed(found)


def _release(value: float | timedelta | None, where: str) -> float | None:
    return None if value is None else seconds(value, option="release", where=where)
