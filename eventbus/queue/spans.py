"""
Spans: what user code may take, step by step of a run, and who ends it.

A run is one span, from the building of its listener to the commit of its scope. What follows it, a
rollback, `failed()`, each event about the job, is a span of its own with the same limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from eventbus.dispatch.waiting import Blocking, Effect, Walk
from eventbus.errors import JobInterrupted, ListenerTimeout

__all__ = ["OVERRUNS", "NoTimeLimits", "Span", "TimeLimits", "limited"]

#: What ends a span from outside.
OVERRUNS: Final = (ListenerTimeout, JobInterrupted)


class Span(msgspec.Struct, eq=False):
    """Some of a user's code that has one limit, in one stretch or in several."""

    #: What errors and logs call it.
    name: str
    #: Seconds from its beginning; 0 is no limit. May be changed while it runs.
    limit: float
    #: It only cleans up, or tells what happened: where the worker has to stop it is still begun, and
    #: has a moment.
    follows: bool = False
    #: An instant of the monotonic clock; None until it begins.
    began: float | None = None


class TimeLimits(Protocol):
    """How a worker ends what takes too long."""

    def running(self, span: Span, work: Callable[[], Any]) -> Any:
        """
        Call `work`, which is sync.

        Raises:
            ListenerTimeout: The time of its span was over.
            JobInterrupted: The worker had to stop.
        """
        ...

    def waiting(self, span: Span, work: Awaitable[Any]) -> Awaitable[Any]:
        """Return `work`, which is async, to be cancelled as `running` interrupts; it raises the same."""
        ...

    def change(self, span: Span, limit: float) -> None:
        """Let a span, from its beginning, take `limit` seconds."""
        ...


class NoTimeLimits:
    """Lets everything take as long as it likes."""

    def running(self, span: Span, work: Callable[[], Any]) -> Any:  # noqa: ARG002
        """Call `work`."""
        return work()

    def waiting(self, span: Span, work: Awaitable[Any]) -> Awaitable[Any]:  # noqa: ARG002
        """Return `work` as it is."""
        return work

    def change(self, span: Span, limit: float) -> None:
        """Note the limit."""
        span.limit = limit


def limited(limits: TimeLimits, span: Span, walk: Walk) -> Walk:
    """Walk on within `span`: what is called on the way, and what is waited for."""
    step: Callable[[], Effect] = partial(next, walk)
    while True:
        try:
            effect = limits.running(span, step)
        except StopIteration as stop:
            return stop.value
        waits = not isinstance(effect, Blocking)
        try:
            outcome = yield limits.waiting(span, effect) if waits else effect
        except BaseException as error:  # noqa: BLE001 -- the walk decides
            step = partial(walk.throw, error)
        else:
            step = partial(walk.send, outcome)
