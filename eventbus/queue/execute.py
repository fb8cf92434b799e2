"""
One claim becomes one outcome: a pipeline of small steps over one record.

open -> announce -> call -> decide -> settle -> tell. Each step reads and fills in an `Execution`;
exceptions of user code are caught in one place, `caught`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import PARK_DELAY
from eventbus.dispatch.hints import is_async
from eventbus.dispatch.listeners import injected
from eventbus.dispatch.resolver import Scope
from eventbus.dispatch.waiting import Blocking, Effect, Walk
from eventbus.errors import (
    JobInterrupted,
    JobLost,
    LeaseLost,
    TriesExhausted,
    UnknownName,
)
from eventbus.queue.attempt import Attempt, Deleted, FailedByHand, InteractsWithQueue, Released
from eventbus.queue.catalogue import Catalogue, Entry
from eventbus.queue.codec.document import Document, read
from eventbus.queue.codec.jsontext import short
from eventbus.queue.envelope import Envelope
from eventbus.queue.execution import (
    Execution,
    Limits,
    NoLimits,
    Rules,
    caught,
    error_text,
    kept,
    warn_of_late_error,
)
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

__all__ = ["Executor"]


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
            tries=self._rules.tries,
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
        """Run a job that was never stored; its error is the caller's, and there is no second try."""
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
        settled, error = execution.attempt.settled, execution.error
        # What is no Exception, a cancellation say, is for whoever dispatched.
        if settled is not None and (error is None or isinstance(error, Exception)):
            warn_of_late_error(execution)
            execution.error = settled.error if isinstance(settled, FailedByHand) else None
        if execution.error is not None:
            execution.outcome = Outcome.FAILED
            yield from self._call_failed(execution)
        elif settled is not None:
            execution.outcome = Outcome.SKIPPED
        yield from self._tell_outcome(execution)
        if execution.error is not None:
            raise execution.error
        return execution

    # The steps.

    def _open(self, execution: Execution) -> None:
        """Read the document and find what its names stand for."""
        # Not the job's fault if it cannot be made: what is raised here ends the worker.
        catalogue = self._catalogue()
        try:
            document = read(execution.envelope.body, envelope=execution.envelope.id)
            execution.document = document
            execution.attempt.name = document.name
            entry = execution.entry = catalogue.entry(document.name)
            execution.attempt.name = entry.options.name
            execution.wildcard = bool(document.options.get("wildcard"))
            claim = execution.claim
            if claim is not None and claim.losses >= self._rules.max_lost:
                raise JobLost(listener=document.name, losses=claim.losses)
            execution.arguments = _arguments(document, entry, catalogue)
        except BaseException as error:  # noqa: BLE001 -- decided about below; decoding runs constructors
            execution.error = error

    def _call(self, execution: Execution) -> Walk:
        """Build the listener and call it. The scope is closed before the job counts as done."""
        execution.began = True
        scope = self._scope({Attempt: execution.attempt})
        execution.error = yield from caught(self._called(execution, scope), execution)
        # A commit that fails fails the job.
        problem = yield from caught(scope.close(execution.error), execution)
        execution.error = execution.error or problem

    def _called(self, execution: Execution, scope: Scope) -> Walk:
        entry, arguments = _known(execution), execution.arguments or ()
        target, name = entry.target, entry.options.name
        # Before it is built, where that can be: what its constructor raises is tried again, too.
        if not isinstance(entry.options.tries, Method):
            self._check_tries(execution)
        # What it needs may hang as well as the listener itself: a mailer that connects, say.
        by_method = isinstance(entry.options.timeout, Method)
        limit = self._rules.timeout if by_method else self._timeout(execution)
        call = yield from self._limited(name, limit, self._built(execution, scope))
        if isinstance(entry.options.tries, Method):
            self._check_tries(execution)
        limit = self._timeout(execution) if by_method else limit
        extra = yield from self._limited(
            name,
            limit,
            scope.arguments(target.function, injected(target, _form(execution)), target.owner),
        )
        if target.is_async:
            answer = call(*arguments, **extra)
        else:
            answer = self._limits.running(name, limit, lambda: call(*arguments, **extra))
        if target.waits(answer):
            left = yield kept(self._limits.waiting(name, limit, answer))
            if left is not None:
                raise left

    def _timeout(self, execution: Execution) -> float:
        limit = _said(execution, "timeout", self._rules.timeout, execution.arguments or ())
        return seconds(limit, option="timeout", where=execution.attempt.name)

    def _limited(self, name: str, limit: float, walk: Walk) -> Walk:
        """Walk on, each stretch of it ended as a run is that takes longer than `limit` seconds."""
        step: Callable[[], Effect] = partial(next, walk)
        while True:
            try:
                effect = self._limits.running(name, limit, step)
            except StopIteration as stop:
                return stop.value
            waits = not isinstance(effect, Blocking)
            try:
                outcome = yield self._limits.waiting(name, limit, effect) if waits else effect
            except BaseException as error:  # noqa: BLE001 -- the walk decides
                step = partial(walk.throw, error)
            else:
                step = partial(walk.send, outcome)

    def _built(self, execution: Execution, scope: Scope) -> Walk:
        target = _known(execution).target
        if target.owner is None:
            return target.function
        execution.instance = yield from _listener(target.owner, execution, scope)
        return getattr(execution.instance, target.method)

    def _check_tries(self, execution: Execution) -> None:
        """Read how often this job may be tried; refuse one that has no try left."""
        where, claim = execution.attempt.name, execution.claim
        tries = _said(execution, "tries", self._rules.tries, execution.arguments or ())
        execution.tries = whole_tries(tries, where=where)
        if claim is not None and exhausted(execution.tries, claim.attempts):
            execution.began = False
            raise TriesExhausted(listener=where, tries=execution.tries, attempts=claim.attempts)

    def _decide(self, execution: Execution) -> None:
        """Decide what becomes of the job. What the listener settled itself holds."""
        settled, error = execution.attempt.settled, execution.error
        warn_of_late_error(execution)
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

    def _decide_error(self, execution: Execution, error: BaseException) -> None:
        execution.outcome, execution.spend = Outcome.FAILED, execution.began
        if not execution.began:
            return
        number = execution.attempt.number
        try:
            delay = after_error(
                tries=execution.tries,
                backoff=_said(execution, "backoff", self._rules.backoff, (number, error)),
                attempt=number,
                error=error,
            )
        except BaseException as problem:  # noqa: BLE001 -- a rule that raises must not lose the job
            problem.__context__ = error
            execution.error = problem
            return
        if delay is not None:
            execution.outcome, execution.delay = Outcome.RELEASED, delay

    def _settle(self, execution: Execution) -> Walk:
        """Tell the store, in one step."""
        port, claim = execution.port, execution.claim
        assert port is not None  # only run() settles
        assert claim is not None
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
            _log().warning("%s", short(str(error)), extra={"job": execution.facts})

    def _call_failed(self, execution: Execution) -> Walk:
        """Call the listener's `failed`, on a fresh instance; what it raises changes nothing."""
        entry = execution.entry
        hook = entry.options.failed if entry is not None else None
        if entry is None or hook is None:
            return
        scope = self._scope({Attempt: execution.attempt})
        problem = yield from caught(self._failed_called(hook, execution, scope), execution)
        problem = (yield from caught(scope.close(problem), execution)) or problem
        if problem is not None:
            _log().error(
                "failed() of %s raised",
                execution.attempt.name,
                exc_info=problem,
                extra={"job": execution.facts},
            )

    def _failed_called(
        self, hook: Callable[..., Any] | str, execution: Execution, scope: Scope
    ) -> Walk:
        entry, document = _known(execution), execution.document
        if isinstance(execution.error, JobLost) and document is not None:
            # Not before it is among the failed jobs: decoding may be what its workers died of.
            execution.arguments = _arguments(document, entry, self._catalogue())
        if execution.arguments is None:
            return  # it cannot be decoded, which is why it failed
        if isinstance(hook, str):
            owner = entry.target.owner
            assert owner is not None  # only a class has hooks by name
            call = getattr((yield from _listener(owner, execution, scope)), hook)
        else:
            call = hook
        answer = call(*execution.arguments, execution.error)
        if is_async(call):
            yield answer

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
    assert execution.entry is not None  # _open found it, or set an error
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


def _log() -> Any:
    import logging

    return logging.getLogger("eventbus.queue")
