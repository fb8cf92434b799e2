"""One run of one job: the record that the steps of `Executor` fill in, and the rules it runs by."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Protocol

from attrs import define, frozen

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import ERROR_TEXT_LIMIT, MAX_LOST, TIMEOUT, TRIES
from eventbus.dispatch.waiting import Effect, Walk
from eventbus.queue.attempt import Attempt, FailedByHand
from eventbus.queue.catalogue import Entry
from eventbus.queue.codec.document import Document
from eventbus.queue.codec.jsontext import short
from eventbus.queue.envelope import Envelope
from eventbus.queue.lifecycle import Outcome

__all__ = [
    "Execution",
    "Limits",
    "NoLimits",
    "Rules",
    "caught",
    "error_text",
    "kept",
    "warn_of_late_error",
]


@frozen(kw_only=True)
class Rules:
    """What holds for jobs whose listeners do not say."""

    tries: int = TRIES
    backoff: float | tuple[float, ...] = 0.0
    timeout: float = TIMEOUT
    max_lost: int = MAX_LOST


class Limits(Protocol):
    """How a worker ends a run that takes too long; 0 seconds is no limit."""

    def running(self, name: str, limit: float, work: Callable[[], Any]) -> Any:
        """Call `work`, a sync listener; `ListenerTimeout` ends it when `limit` seconds are over."""
        ...

    def waiting(self, name: str, limit: float, work: Awaitable[Any]) -> Awaitable[Any]:
        """Return `work`, an async listener, cancelled with `ListenerTimeout` after `limit` s."""
        ...


class NoLimits:
    """Lets every run take as long as it likes."""

    def running(self, name: str, limit: float, work: Callable[[], Any]) -> Any:  # noqa: ARG002
        """Call `work`."""
        return work()

    def waiting(self, name: str, limit: float, work: Awaitable[Any]) -> Awaitable[Any]:  # noqa: ARG002
        """Return `work` as it is."""
        return work


@define(kw_only=True, eq=False)
class Execution:
    """One run of one job."""

    envelope: Envelope
    attempt: Attempt
    #: None on a `sync://` connection, where nothing is stored and nothing is settled.
    port: Port | None = None
    claim: Claim | None = None
    document: Document | None = None
    entry: Entry | None = None
    #: What the listener is called with; None until it is decoded.
    arguments: tuple[Any, ...] | None = None
    wildcard: bool = False
    #: The listener, once it is built; None for a function.
    instance: object = None
    tries: int = TRIES
    error: BaseException | None = None
    #: Its run began, and so a try is spent if it raises.
    began: bool = False
    outcome: Outcome = Outcome.SUCCEEDED
    delay: float = 0.0
    spend: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """What every event about the job says."""
        return {
            "id": self.envelope.id,
            "name": self.attempt.name,
            "connection": self.attempt.connection,
            "queue": self.envelope.queue,
            "attempt": self.attempt.number,
        }


def error_text(error: BaseException | None) -> str:
    """
    Return an error as text: type, message and traceback, without the values of variables.

    Never longer than `ERROR_TEXT_LIMIT`, and never raising, whatever the error's own methods do.
    """
    if error is None:
        return ""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 -- an exception whose own methods raise
        text = f"{type(error).__module__}.{type(error).__qualname__} (it cannot be shown)"
    if len(text) <= ERROR_TEXT_LIMIT:
        return text
    # The last lines name the error and the place; the first ones the way there.
    half = ERROR_TEXT_LIMIT // 2 - 16
    return f"{text[:half]}\n... (cut)\n{text[-half:]}"


def caught(walk: Walk, execution: Execution) -> Generator[Effect, Any, BaseException | None]:
    """Walk to the end, and return what was raised on the way: whatever it is, it is the job's."""
    try:
        yield from walk
    except GeneratorExit as error:
        if execution.claim is None:
            raise  # the dispatch that runs it here was dropped: nothing may be waited for
        return error
    except BaseException as error:  # noqa: BLE001 -- decided about, or logged
        return error
    return None


async def kept(work: Awaitable[Any]) -> GeneratorExit | None:
    """Return the GeneratorExit that a listener raises: thrown into our walk, it would end that."""
    try:
        await work
    except GeneratorExit as left:
        return left
    return None


def warn_of_late_error(execution: Execution) -> None:
    """Log what a listener raised although it had settled its job: nobody else will tell of it."""
    import logging

    settled, error = execution.attempt.settled, execution.error
    own = settled.error if isinstance(settled, FailedByHand) else None
    if settled is not None and error is not None and error is not own:
        logging.getLogger("eventbus.queue").warning(
            "job %s settled itself, and raised afterwards",
            short(execution.envelope.id),
            exc_info=error,
            extra={"job": execution.facts},
        )
