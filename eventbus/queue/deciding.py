"""
What becomes of a job after one run of it: rules over what the run left, and no effects.

The order of the rules is that of `docs/explain/job-life.md`: what the listener settled itself comes
first, then what says that the run was no try at all, then what is never tried again, then tries.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from eventbus.backends.base import Charge
from eventbus.defaults import PARK_DELAY
from eventbus.errors import (
    DecodeError,
    JobInterrupted,
    LimitExceeded,
    ListenerTimeout,
    MissingRecord,
    ReleasesExhausted,
    TooManyHops,
    TriesExhausted,
    UnknownName,
)
from eventbus.queue.attempt import Deleted, Released
from eventbus.queue.execution import Decision, Execution
from eventbus.queue.lifecycle import Outcome
from eventbus.queue.options import Method
from eventbus.queue.retry import after_error, exhausted
from eventbus.text import short

__all__ = ["backoff_said", "decided"]

_SKIPPED: Final = Decision(outcome=Outcome.SKIPPED)


def decided(
    execution: Execution,
    error: BaseException | None,
    *,
    backoff: Any,
    now: Callable[[], datetime],
) -> Decision:
    """
    Return what becomes of a job.

    Args:
        execution: Its run.
        error: What was raised, in the run or before it.
        backoff: What the next try waits, in any of the forms of `after_error`. A rule is asked now.
        now: Tells the time, for deadlines.
    """
    settled = execution.attempt.settled
    # What is no Exception, a cancellation say, is for whoever dispatched what runs at once.
    if settled is not None and (execution.claim or error is None or isinstance(error, Exception)):
        return _by_hand(execution)
    assert error is not None  # else there is nothing to decide: it is done
    entry = execution.entry
    if _is_missing(error):
        discards = entry is not None and entry.options.discard_on_missing
        return _SKIPPED if discards else _failed(execution, error)
    if execution.claim is None:
        return _failed(execution, error)
    if isinstance(error, UnknownName) and not execution.began:
        why = short(str(error))
        return Decision(outcome=Outcome.RELEASED, error=error, delay=PARK_DELAY, parked=why)
    if isinstance(error, JobInterrupted):
        return Decision(outcome=Outcome.RELEASED, error=error)
    if not execution.began:
        return _failed(execution, error)
    return _after_error(execution, error, backoff, now)


def backoff_said(execution: Execution, default: Any) -> Any:
    """Return the backoff of a job: what its listener says, or the default where it does not, or cannot be asked."""
    said = execution.entry.options.backoff if execution.entry is not None else None
    if isinstance(said, Method) and execution.asked is not None:
        return getattr(execution.asked, said.name)
    return default if said is None or isinstance(said, Method) else said


def _failed(execution: Execution, error: BaseException) -> Decision:
    charge = Charge.ERROR if execution.began else Charge.NOTHING
    return Decision(outcome=Outcome.FAILED, error=error, charge=charge)


def _is_missing(error: BaseException) -> bool:
    # An event's constructor that raises it is wrapped: the stored bytes gave no event.
    cause = error.__cause__ if isinstance(error, DecodeError) else error
    return isinstance(cause, MissingRecord)


def _by_hand(execution: Execution) -> Decision:
    attempt, settled = execution.attempt, execution.attempt.settled
    if isinstance(settled, Deleted):
        return _SKIPPED
    if not isinstance(settled, Released):
        assert settled is not None  # asked for only then
        return Decision(outcome=Outcome.FAILED, error=settled.error, charge=Charge.ATTEMPT)
    if not settled.spend:
        return _released(execution, settled.delay)
    charge, number = Charge.ATTEMPT, attempt.number
    if exhausted(attempt.tries, number):
        error = TriesExhausted(listener=attempt.name, tries=attempt.tries, attempts=number)
        return Decision(outcome=Outcome.FAILED, error=error, charge=charge)
    return Decision(outcome=Outcome.RELEASED, delay=settled.delay, charge=charge)


def _released(execution: Execution, delay: float) -> Decision:
    """Give a job back without spending a try, as often as its listener says."""
    attempt = execution.attempt
    most = execution.entry.options.max_releases if execution.entry is not None else None
    if most is not None and attempt.releases >= most:
        gone = ReleasesExhausted(listener=attempt.name, releases=most)
        return Decision(outcome=Outcome.FAILED, error=gone, charge=Charge.RELEASE)
    return Decision(outcome=Outcome.RELEASED, delay=delay, charge=Charge.RELEASE)


def _after_error(
    execution: Execution, error: BaseException, backoff: Any, now: Callable[[], datetime]
) -> Decision:
    attempt = execution.attempt
    if isinstance(error, LimitExceeded):
        return _released(execution, error.retry_in)
    if _is_final(execution, error, now):
        return _failed(execution, error)
    try:
        delay = after_error(
            tries=attempt.tries, backoff=backoff, attempt=attempt.number, error=error
        )
    except BaseException as problem:  # noqa: BLE001 -- a rule that raises must not lose the job
        problem.__context__ = error
        return _failed(execution, problem)
    if delay is None:
        return _failed(execution, error)
    return Decision(outcome=Outcome.RELEASED, error=error, delay=delay, charge=Charge.ERROR)


def _is_final(execution: Execution, error: BaseException, now: Callable[[], datetime]) -> bool:
    """Tell whether there is no further try, however many are left."""
    assert execution.entry is not None  # its run began
    options, attempt = execution.entry.options, execution.attempt
    return (
        isinstance(error, (TooManyHops, *options.no_retry))
        or (bool(options.fail_on_timeout) and isinstance(error, ListenerTimeout))
        or exhausted(options.max_exceptions or 0, attempt.exceptions + 1)
        or (attempt.deadline is not None and attempt.deadline <= now())
    )
