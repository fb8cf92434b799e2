"""Whether a job that failed is tried again, and when: pure rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventbus.queue.options import backoff_of

__all__ = ["after_error", "exhausted"]


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


def after_error(
    *,
    tries: int,
    backoff: float | tuple[float, ...] | Callable[[int, BaseException], Any],
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
    delays = backoff_of(backoff(attempt, error) if callable(backoff) else backoff)
    if isinstance(delays, tuple):
        return delays[min(attempt, len(delays)) - 1]
    return delays
