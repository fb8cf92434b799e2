"""
One claim becomes one outcome: a pipeline of small steps over one record.

open -> announce -> call -> decide -> settle -> tell. Each step reads and fills in an `Execution`;
exceptions of user code are caught in one place, `_call`.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from attrs import define, field, frozen

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import ERROR_TEXT_LIMIT, MAX_LOST, PARK_DELAY, TIMEOUT, TRIES
from eventbus.dispatch.calling import Blocking, Walk
from eventbus.dispatch.hints import is_async
from eventbus.dispatch.listeners import injected
from eventbus.dispatch.resolver import Scope
from eventbus.errors import (
    JobInterrupted,
    JobLost,
    LeaseLost,
    TriesExhausted,
    UnknownName,
)
from eventbus.queue.attempt import Attempt, Deleted, FailedByHand, InteractsWithQueue, Released
from eventbus.queue.catalogue import Catalogue, Entry
from eventbus.queue.codec import Document, read
from eventbus.queue.envelope import Envelope
from eventbus.queue.lifecycle import (
    JobAttempted,
    JobExceptionOccurred,
    JobFailed,
    JobProcessed,
    JobProcessing,
    JobReleased,
    Outcome,
)
from eventbus.queue.options import Method, seconds, whole_tries
from eventbus.queue.retry import after_error, exhausted

__all__ = ["Execution", "Executor", "Limits", "Rules", "error_text"]


@frozen(kw_only=True)
class Rules:
    """What holds for jobs whose listeners do not say."""

    tries: int = TRIES
    backoff: float | tuple[float, ...] = 0.0
    timeout: float = TIMEOUT
    max_lost: int = MAX_LOST


class Limits(Protocol):
    """How a worker ends a run that takes too long; 0 seconds is no limit."""

    def running(self, name: str, limit: float) -> AbstractContextManager[None]:
        """Raise `ListenerTimeout` in the block, a sync listener, when `limit` seconds are over."""
        ...

    def waiting(self, name: str, limit: float, work: Awaitable[Any]) -> Awaitable[Any]:
        """Return `work`, an async listener, cancelled with `ListenerTimeout` after `limit` s."""
        ...


class NoLimits:
    """Lets every run take as long as it likes."""

    def running(self, name: str, limit: float) -> AbstractContextManager[None]:
        """Return a block without a limit."""
        return nullcontext()

    def waiting(self, name: str, limit: float, work: Awaitable[Any]) -> Awaitable[Any]:
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
    #: What the listener is called with.
    arguments: tuple[Any, ...] = ()
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


class Executor:
    """
    Runs claimed jobs.

    Args:
        catalogue: What names stand for.
        scope: Opens a scope in which the given instances are there already.
        tell: Dispatches an event about a job; it must not raise.
        rules: What holds where a listener does not say.
        limits: How runs are ended that take too long.
    """

    def __init__(
        self,
        *,
        catalogue: Callable[[], Catalogue],
        scope: Callable[[Mapping[Any, Any]], Scope],
        tell: Callable[[object], Walk],
        rules: Rules | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._scope = scope
        self._tell = tell
        self._rules = rules or Rules()
        self._limits = limits or NoLimits()

    def run(self, claim: Claim, port: Port) -> Walk:
        """
        Run the job of a claim, and settle it; the result is the finished `Execution`.

        Raises:
            BackendError: The job could not be settled. Its lease will end, and it will run again.
        """
        execution = Execution(
            envelope=claim.envelope,
            claim=claim,
            port=port,
            attempt=Attempt(
                id=claim.envelope.id,
                name="",
                connection=port.name,
                queue=claim.envelope.queue,
                number=claim.attempts + 1,
                releases=claim.releases,
                losses=claim.losses,
                pushed_at=claim.pushed_at,
            ),
        )
        self._open(execution)
        if execution.error is None:
            yield from self._tell(JobProcessing(**execution.facts))
            yield from self._call(execution)
        self._decide(execution)
        yield from self._settle(execution)
        if execution.outcome is Outcome.FAILED:
            yield from self._call_failed(execution)
        yield from self._tell_outcome(execution)
        return execution

    def run_here(self, envelope: Envelope, connection: str) -> Walk:
        """
        Run a job that was never stored; its error is the caller's, and there is no second try.
        """
        execution = Execution(
            envelope=envelope,
            attempt=Attempt(
                id=envelope.id,
                name="",
                connection=connection,
                queue=envelope.queue,
                number=1,
                stored=False,
            ),
        )
        self._open(execution)
        if execution.error is None:
            yield from self._tell(JobProcessing(**execution.facts))
            yield from self._call(execution)
        settled = execution.attempt.settled
        if isinstance(settled, FailedByHand):
            execution.error = settled.error
        if execution.error is not None:
            execution.outcome = Outcome.FAILED
            yield from self._call_failed(execution)
        elif isinstance(settled, Deleted):
            execution.outcome = Outcome.SKIPPED
        yield from self._tell_outcome(execution)
        if execution.error is not None:
            raise execution.error
        return execution

    # The steps.

    def _open(self, execution: Execution) -> None:
        """Read the document and find what its names stand for."""
        try:
            document = read(execution.envelope.body, envelope=execution.envelope.id)
            execution.document = document
            execution.attempt.name = document.name
            catalogue = self._catalogue()
            entry = execution.entry = catalogue.entry(document.name)
            execution.attempt.name = entry.options.name
            claim = execution.claim
            if claim is not None and claim.losses >= self._rules.max_lost:
                raise JobLost(listener=document.name, losses=claim.losses)
            execution.wildcard = bool(document.options.get("wildcard"))
            execution.arguments = _arguments(document, entry, catalogue)
        except Exception as error:  # noqa: BLE001 -- decided about below
            execution.error = error

    def _call(self, execution: Execution) -> Walk:
        """Build the listener and call it. The scope is closed before the job counts as done."""
        entry = _known(execution)
        execution.began = True
        scope = self._scope({Attempt: execution.attempt})
        try:
            call = yield from self._built(execution, scope)
            limit = self._allowed(execution)
            extra = yield from scope.arguments(
                entry.target.function, injected(entry.target, _form(execution)), entry.target.owner
            )
            if entry.target.is_async:
                work = call(*execution.arguments, **extra)
                yield self._limits.waiting(entry.options.name, limit, work)
            else:
                with self._limits.running(entry.options.name, limit):
                    answer = call(*execution.arguments, **extra)
                if entry.target.waits(answer):
                    yield self._limits.waiting(entry.options.name, limit, answer)
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the job's
            execution.error = error
        try:
            yield from scope.close(execution.error)
        except BaseException as error:  # noqa: BLE001 -- a commit that fails fails the job
            execution.error = execution.error or error

    def _built(self, execution: Execution, scope: Scope) -> Walk:
        target = _known(execution).target
        if target.owner is None:
            return target.function
        execution.instance = yield from _listener(target.owner, execution, scope)
        return getattr(execution.instance, target.method)

    def _allowed(self, execution: Execution) -> float:
        """Read the tries and the time that this job has; refuse one that has no try left."""
        where, arguments, claim = execution.attempt.name, execution.arguments, execution.claim
        tries = _said(execution, "tries", self._rules.tries, arguments)
        execution.tries = whole_tries(tries, where=where)
        if claim is not None and exhausted(execution.tries, claim.attempts):
            execution.began = False
            raise TriesExhausted(listener=where, tries=execution.tries, attempts=claim.attempts)
        timeout = _said(execution, "timeout", self._rules.timeout, arguments)
        return seconds(timeout, option="timeout", where=where)

    def _decide(self, execution: Execution) -> None:
        """Decide what becomes of the job. What the listener settled itself holds."""
        settled, error = execution.attempt.settled, execution.error
        if isinstance(settled, Deleted):
            execution.outcome = Outcome.SKIPPED
        elif isinstance(settled, Released):
            execution.outcome, execution.delay = Outcome.RELEASED, settled.delay
        elif isinstance(settled, FailedByHand):
            execution.outcome, execution.spend = Outcome.FAILED, True
            execution.error = settled.error
        elif isinstance(error, UnknownName) and not execution.began:
            execution.outcome, execution.delay = Outcome.RELEASED, PARK_DELAY
        elif isinstance(error, JobInterrupted):
            execution.outcome = Outcome.RELEASED
        elif error is not None:
            self._decide_error(execution, error)
        if settled is not None and error is not None and error is not execution.error:
            _log().warning(
                "job %s settled itself, and raised afterwards",
                execution.envelope.id,
                exc_info=error,
                extra={"job": execution.facts},
            )

    def _decide_error(self, execution: Execution, error: BaseException) -> None:
        execution.outcome, execution.spend = Outcome.FAILED, execution.began
        if not execution.began:
            return
        number = execution.attempt.number
        try:
            again = after_error(
                tries=execution.tries,
                backoff=_said(execution, "backoff", self._rules.backoff, (number, error)),
                attempt=number,
                error=error,
            )
        except Exception as problem:  # noqa: BLE001 -- a backoff rule that raises must not lose the job
            problem.__context__ = error
            execution.error = problem
            return
        if again is not None:
            execution.outcome, execution.delay = Outcome.RELEASED, again.delay

    def _settle(self, execution: Execution) -> Walk:
        """Tell the store, in one step."""
        port, claim = execution.port, execution.claim
        assert port is not None  # noqa: S101 -- only run() settles
        assert claim is not None  # noqa: S101
        call: Callable[[], None]
        if execution.outcome is Outcome.RELEASED:
            delay, spend = execution.delay, execution.spend
            call = lambda: port.release(claim, delay=delay, spend=spend)  # noqa: E731
        elif execution.outcome is Outcome.FAILED:
            text, spend = error_text(execution.error), execution.spend
            call = lambda: port.bury(claim, error=text, spend=spend)  # noqa: E731
        else:
            call = lambda: port.ack(claim)  # noqa: E731
        try:
            yield Blocking(call)
        except LeaseLost as error:
            execution.outcome = Outcome.LOST
            _log().warning("%s", error, extra={"job": execution.facts})

    def _call_failed(self, execution: Execution) -> Walk:
        """Call the listener's `failed`, on a fresh instance; what it raises changes nothing."""
        entry = execution.entry
        hook = entry.options.failed if entry is not None else None
        if entry is None or hook is None or not execution.arguments:
            return
        scope = self._scope({Attempt: execution.attempt})
        problem: BaseException | None = None
        try:
            if isinstance(hook, str):
                owner = entry.target.owner
                assert owner is not None  # noqa: S101 -- only a class has hooks by name
                hook = getattr((yield from _listener(owner, execution, scope)), hook)
            answer = hook(*execution.arguments, execution.error)
            if is_async(hook):
                yield answer
        except BaseException as error:  # noqa: BLE001 -- logged below
            problem = error
        try:
            yield from scope.close(problem)
        except BaseException as error:  # noqa: BLE001 -- logged below
            problem = problem or error
        if problem is not None:
            _log().error(
                "failed() of %s raised",
                execution.attempt.name,
                exc_info=problem,
                extra={"job": execution.facts},
            )

    def _tell_outcome(self, execution: Execution) -> Walk:
        facts, outcome, error = execution.facts, execution.outcome, execution.error
        told: list[object] = []
        if execution.began and outcome is not Outcome.LOST:
            if error is None or execution.attempt.settled is not None:
                told.append(JobProcessed(outcome=outcome, **facts))
            else:
                told.append(JobExceptionOccurred(error=error, **facts))
        if outcome is Outcome.RELEASED:
            told.append(JobReleased(delay=execution.delay, **facts))
        elif outcome is Outcome.FAILED and error is not None:
            told.append(JobFailed(error=error, **facts))
        told.append(JobAttempted(outcome=outcome, **facts))
        for one in told:
            yield from self._tell(one)


def _known(execution: Execution) -> Entry:
    assert execution.entry is not None  # noqa: S101 -- _open found it, or set an error
    return execution.entry


def _form(execution: Execution) -> type | str:
    """Return an event of the kind that the listener is called for."""
    if execution.wildcard:
        return "*"
    document = execution.document
    return object if document is not None and document.payload == "class" else "name"


def _arguments(document: Document, entry: Entry, catalogue: Catalogue) -> tuple[Any, ...]:
    """Return what the listener is called with."""
    name, payload = catalogue.payload(document, entry)
    return (name, payload) if document.options.get("wildcard") else payload


def _listener(owner: type, execution: Execution, scope: Scope) -> Walk:
    instance = yield from scope.instance(owner)
    if isinstance(instance, InteractsWithQueue):
        instance.with_attempt(execution.attempt)
    return instance


def _said(execution: Execution, option: str, default: Any, arguments: tuple[Any, ...]) -> Any:
    """Return what the listener says of an option, asked now if it is a rule; else `default`."""
    value = getattr(_known(execution).options, option)
    if isinstance(value, Method):
        value = getattr(execution.instance, value.name, None)
    if value is None:
        return default
    return value(*arguments) if callable(value) else value


def error_text(error: BaseException | None) -> str:
    """
    Return an error as text: type, message and traceback, without the values of variables.

    Never longer than `ERROR_TEXT_LIMIT`, and never raising, whatever the error's own methods do.
    """
    if error is None:
        return ""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 -- a __str__ that raises
        text = f"{type(error).__module__}.{type(error).__qualname__} (it cannot be shown)"
    if len(text) <= ERROR_TEXT_LIMIT:
        return text
    # The last lines name the error and the place; the first ones the way there.
    half = ERROR_TEXT_LIMIT // 2 - 16
    return f"{text[:half]}\n... (cut)\n{text[-half:]}"


def _log() -> Any:
    import logging

    return logging.getLogger("eventbus.queue")
