"""What a worker tells: events about itself, and a line of the log about each of its jobs."""

from __future__ import annotations

import logging
import time

from eventbus.bus import EventBus
from eventbus.dispatch.waiting import drive
from eventbus.queue.execution import Execution
from eventbus.queue.spans import OVERRUNS, Span, TimeLimits, limited
from eventbus.text import described, short

__all__ = ["report_ended", "report_running", "tell"]

_log = logging.getLogger("eventbus.worker")


def tell(event: object, *, bus: EventBus, limits: TimeLimits, limit: float) -> bool:
    """
    Dispatch an event about the worker; False where a listener stopped it.

    Whatever its listeners do, and however long, the worker goes on.

    Args:
        event: The event.
        bus: Is told.
        limits: How what takes too long is ended.
        limit: Seconds that its listeners may take together; 0 is no limit.
    """
    kind = type(event)
    if not bus.hears(kind):
        return True
    span = Span(f"a listener of {kind.__name__}", limit, follows=True)
    try:
        return bool(drive(limited(limits, span, bus.announce(event)), bus))
    except OVERRUNS as overrun:
        _log.warning("the worker goes on: %s", overrun)
        return True


def report_running(execution: Execution) -> None:
    """Log that a job begins, for who looks closely."""
    if _log.isEnabledFor(logging.DEBUG):
        _report(logging.DEBUG, execution, outcome="running")


def report_ended(execution: Execution, began: float) -> None:
    """Log what came of a job that began at an instant of the performance counter."""
    level = logging.INFO
    if execution.error is not None:
        # Of parked ones there may be many, and who parked it has told of its name.
        level = logging.DEBUG if execution.parked else logging.WARNING
    if _log.isEnabledFor(level):
        took = (time.perf_counter() - began) * 1000
        _report(level, execution, outcome=execution.outcome, took=took)


def _report(level: int, execution: Execution, *, outcome: str, took: float | None = None) -> None:
    """Log one line about a job."""
    error, document = execution.error, execution.document
    said = outcome if took is None else f"{outcome}, {took:.0f} ms"
    _log.log(
        level,
        "%s %s attempt %d: %s%s",
        short(execution.shown or "(unreadable)"),
        short(execution.envelope.id),
        execution.attempt.number,
        said,
        "" if error is None else f" ({described(error)})",
        extra={
            "job": {
                **execution.facts,
                "event": None if document is None else document.event,
                "outcome": outcome,
                **({} if took is None else {"duration_ms": took}),
                "error": error,
            }
        },
    )
