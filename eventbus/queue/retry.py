"""Whether a job that failed is tried again, and when: pure rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from eventbus.defaults import BACKOFF_LIMIT
from eventbus.errors import InvalidOption
from eventbus.values import seconds

if TYPE_CHECKING:
    from datetime import timedelta
    from random import Random

    Duration = float | timedelta

__all__ = ["after_error", "backoff_of", "exhausted", "exponential", "jittered"]

#: A backoff that is worked out: asked with the attempt that failed, from 1, and its error.
Backoff = Callable[[int, BaseException], Any]


def exhausted(tries: int, attempts: int) -> bool:
    """
    Tell whether a job has used up its tries.

    Args:
        tries: Allowed, >= 0; 0 is no limit.
        attempts: Spent, >= 0.

    Example:
        >>> exhausted(3, 2), exhausted(3, 3), exhausted(0, 99)
        (False, True, False)
    """
    return 0 < tries <= attempts


def backoff_of(value: Any, *, where: str = "") -> float | tuple[float, ...]:
    """Return a backoff in seconds: one, or one for each attempt."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            raise InvalidOption(
                option="backoff", value=value, expected="at least one delay", where=where
            )
        return tuple(seconds(one, option="backoff", where=where) for one in value)
    return seconds(value, option="backoff", where=where)


def after_error(
    *,
    tries: int,
    backoff: float | tuple[float, ...] | Backoff,
    attempt: int,
    error: BaseException,
) -> float | None:
    """
    Decide about a job whose run just raised.

    Args:
        tries: Allowed; 0 is no limit.
        backoff: Seconds: one, one for each attempt (the last repeats), or a rule that is asked now.
        attempt: The number of the run that raised, from 1.
        error: What it raised.

    Returns:
        Seconds until the next try; None if the job has failed.

    Raises:
        InvalidOption: The rule answered something that is no duration.

    Example:
        >>> after_error(tries=3, backoff=(1.0, 5.0), attempt=2, error=KeyError())
        5.0
        >>> after_error(tries=3, backoff=0.0, attempt=3, error=KeyError())
    """
    if exhausted(tries, attempt):
        return None
    return _wait(backoff, attempt, error)


def _wait(backoff: Any, attempt: int, error: BaseException) -> float:
    delays = backoff_of(backoff(attempt, error) if callable(backoff) else backoff)
    if isinstance(delays, tuple):
        return delays[min(attempt, len(delays)) - 1]
    return delays


@frozen(kw_only=True)
class _Exponential:
    first: float
    factor: float
    limit: float

    def __call__(self, attempt: int, _: BaseException) -> float:
        try:
            return min(self.first * self.factor ** (attempt - 1), self.limit)
        except OverflowError:
            return self.limit if self.first else 0.0


@frozen(kw_only=True)
class _Jittered:
    backoff: Any
    by: float
    random: Random = field(repr=False, eq=False)

    def __call__(self, attempt: int, error: BaseException) -> float:
        wait = _wait(self.backoff, attempt, error)
        return wait * (1 - self.by * self.random.random())


def exponential(
    first: Duration,
    *,
    factor: float = 2.0,
    limit: Duration = BACKOFF_LIMIT,
    jitter: float = 0.0,
    random: Random | None = None,
) -> Backoff:
    """
    Return a backoff that grows: `first`, then each `factor` times the one before, up to `limit`.

    Args:
        first: The wait before the second try, in seconds, or a `timedelta`.
        factor: How much longer each wait is than the one before, 1 to 1000.
        limit: The longest wait, in seconds, or a `timedelta`.
        jitter: As `by` of `jittered`.
        random: As that of `jittered`.

    Raises:
        InvalidOption: One of these cannot be.

    Defaults:
        factor = 2: each wait is twice the one before.
        limit = `defaults.BACKOFF_LIMIT`.
        jitter = 0: none.

    Example:
        >>> wait = exponential(1, limit=60)
        >>> [wait(attempt, KeyError()) for attempt in (1, 2, 3, 99)]
        [1.0, 2.0, 4.0, 60.0]
    """
    grown = _Exponential(
        first=seconds(first, option="first", where="exponential"),
        factor=_number(factor, option="factor", least=1, most=1000, where="exponential"),
        limit=seconds(limit, option="limit", where="exponential"),
    )
    by = _number(jitter, option="jitter", least=0, most=1, where="exponential")
    return jittered(grown, by, random=random) if by else grown


def jittered(
    backoff: Duration | Sequence[Duration] | Backoff, by: float, *, random: Random | None = None
) -> Backoff:
    """
    Return a backoff each of whose waits is shorter by chance, by up to a share of it.

    Jobs that failed together then do not all come back together. No wait is longer than it says.

    Args:
        backoff: What `backoff` may be: a number or a `timedelta`, several, or a rule.
        by: The largest share that is taken away, from 0 to 1: 0.1 turns 60 s into 54 to 60 s.
        random: Where chance comes from; for tests, `random.Random(1)`.

    Raises:
        InvalidOption: `backoff` or `by` cannot be.

    Defaults:
        random = a new `random.Random()`.

    Example:
        >>> from random import Random
        >>> wait = jittered((10, 60), by=0.5, random=Random(1))
        >>> [round(wait(attempt, KeyError()), 1) for attempt in (1, 2)]
        [9.3, 34.6]
    """
    if random is None:
        from random import Random

        random = Random()  # noqa: S311 -- it spreads load, it keeps no secret
    return _Jittered(
        backoff=backoff if callable(backoff) else backoff_of(backoff, where="jittered"),
        by=_number(by, option="by", least=0, most=1, where="jittered"),
        random=random,
    )


def _number(value: Any, *, option: str, least: float, most: float, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    raise InvalidOption(
        option=option, value=value, expected=f"a number from {least:g} to {most:g}", where=where
    )
