"""Calling a listener for its job, and its hooks: built, limited in time, its scope closed after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from eventbus.dispatch.around import Refuses, through
from eventbus.dispatch.hints import Parameter, UnusableHint, is_async
from eventbus.dispatch.listeners import injected
from eventbus.dispatch.resolver import Scope
from eventbus.dispatch.targets import Target
from eventbus.dispatch.waiting import Blocking, Walk
from eventbus.errors import DeadlinePassed, JobLost, TriesExhausted
from eventbus.queue.attempt import Attempt, introduced
from eventbus.queue.catalogue import Catalogue, Entry
from eventbus.queue.execution import Execution, Rules, caught, warn_of_overrun
from eventbus.queue.middleware import middleware_of
from eventbus.queue.options import Method, whole_tries
from eventbus.queue.reading import arguments_of
from eventbus.queue.retry import exhausted
from eventbus.queue.settling import free_key
from eventbus.queue.spans import OVERRUNS, Span, TimeLimits, limited
from eventbus.values import seconds

if TYPE_CHECKING:
    from eventbus.queue.limits import Limiters

__all__ = ["Handling", "Way"]


@frozen(kw_only=True, eq=False)
class Way:
    """How one listener is called for one kind of event."""

    #: Parameters that the scope supplies.
    extra: tuple[Parameter, ...]
    #: Names of parameters that get the attempt: the most usual one, and there already.
    attempt: tuple[str, ...]
    #: It takes the payload, and the attempt, alone, its rules are plain values, and if it is built it
    #: is by its constructor, called with nothing: nothing else is called, and its answer goes nowhere.
    plain: bool


class Handling:
    """
    Calls listeners for their jobs.

    Args:
        scope: Opens a scope in which the given instances are there already.
        is_bare: Tells whether a scope builds a listener by its constructor alone, called with nothing.
        now: Tells the time, for deadlines.
        rules: What holds where a listener does not say.
        limits: How runs are ended that take too long.
        limiters: Returns the limits of the bus.
    """

    def __init__(
        self,
        *,
        scope: Callable[[Mapping[Any, Any]], Scope],
        is_bare: Callable[[type], bool],
        now: Callable[[], datetime],
        rules: Rules,
        limits: TimeLimits,
        limiters: Callable[[], Limiters],
    ) -> None:
        self._limiters = limiters
        self._scope = scope
        self._is_bare = is_bare
        self._now = now
        self._rules = rules
        self._limits = limits
        #: The listeners that run and want to hear of a signal.
        self._interruptible: dict[int, Execution] = {}
        self._ways: dict[tuple[Entry, str], Way] = {}

    def forget(self) -> None:
        """Forget how listeners are called: there are others now."""
        self._ways.clear()

    def way(self, execution: Execution) -> Way:
        """Return how the listener is called, worked out the first time."""
        entry, document = _known(execution), execution.document
        assert document is not None  # read with the entry
        form = "*" if execution.wildcard else document.payload
        way = self._ways.get((entry, form))
        if way is None:
            target, options = entry.target, entry.options
            asked = injected(target, object if form == "class" else form)
            attempt = tuple(one.name for one in asked if _is_attempt(target, one))
            extra = tuple(one for one in asked if one.name not in attempt)
            plain = not (
                extra
                or target.is_async
                or target.may_wait
                or _is_rule(options.timeout)
                or _is_rule(options.tries)
                or options.keep_result is not None
                or options.middleware
                or options.frees_at_start
            ) and (target.owner is None or self._is_bare(target.owner))
            way = self._ways[entry, form] = Way(extra=extra, attempt=attempt, plain=plain)
        return way

    def call_plainly(self, execution: Execution, way: Way) -> BaseException | None:
        """Call a listener for which nothing is built but itself; return what it raised."""
        entry = _known(execution)
        target, arguments = entry.target, execution.arguments or ()
        call = (
            partial(target.function, *arguments)
            if target.owner is None
            else partial(_call_new, execution, target, *arguments)
        )
        if way.attempt:
            call = partial(call, **dict.fromkeys(way.attempt, execution.attempt))
        if entry.options.interrupted is not None:
            self._interruptible[id(execution)] = execution
        execution.began = True
        try:
            self._check_time(execution)
            self._check_tries(execution)
            span = Span(entry.options.shown, execution.limit)
            execution.answer = self._limits.running(span, call)
        except BaseException as error:  # noqa: BLE001 -- decided about
            return error
        finally:
            self._interruptible.pop(id(execution), None)
        return None

    def call(self, execution: Execution, way: Way) -> Walk:
        """Build the listener, call it and close its scope; return what was raised."""
        scope = self._scope({Attempt: execution.attempt})
        span = Span(_known(execution).options.shown, execution.limit)
        execution.began = True
        # One span for all of it: what it needs may hang as well, a mailer that connects, and so may
        # its commit; and one that fails or takes too long fails the job.
        run = self._called(execution, way, scope, span)
        raised = yield from caught(limited(self._limits, span, run))
        yield from self._rolled_back(execution, scope, raised)
        return raised

    def ended(self, execution: Execution, error: BaseException, tries: int | None) -> BaseException:
        """Know how often a job may be tried whose run ended its process; return what its run raised."""
        execution.began = True
        if isinstance(_known(execution).options.tries, Method) and execution.asked is None:
            # Nobody is built who could be asked, and building one may be what ended the process: if it was,
            # a few times are the end of it.
            execution.attempt.tries = self._rules.max_lost if tries is None else tries
            return error
        try:
            self._check_tries(execution)
        except BaseException as raised:  # noqa: BLE001 -- decided about
            return raised
        return error

    def _rolled_back(
        self, execution: Execution, scope: Scope, raised: BaseException | None
    ) -> Walk:
        """Close what is left open of a scope in which something was raised; return what that raised."""
        if raised is None:
            return None
        span = self._following(execution, f"what {execution.shown} needed, as it was closed,")
        problem = yield from caught(limited(self._limits, span, scope.close(raised)))
        if isinstance(problem, OVERRUNS):
            warn_of_overrun(execution, problem)
        return problem

    def _following(self, execution: Execution, name: str) -> Span:
        return Span(name, execution.limit, follows=True)

    def _called(self, execution: Execution, way: Way, scope: Scope, span: Span) -> Walk:
        entry, arguments = _known(execution), execution.arguments or ()
        target, options = entry.target, entry.options
        if options.interrupted is not None:
            self._interruptible[id(execution)] = execution
        try:
            self._check_time(execution)
            # Before it is built, where that can be: what its constructor raises is tried again, too.
            if not isinstance(options.tries, Method):
                self._check_tries(execution)
            if not isinstance(options.timeout, Method):
                self._ask_for_time(execution, span)
            call = target.function
            if target.owner is not None:
                call = yield from _built(execution, scope)
            if isinstance(options.tries, Method):
                self._check_tries(execution)
            if isinstance(options.timeout, Method):
                self._ask_for_time(execution, span)
            extra: dict[str, Any] = dict.fromkeys(way.attempt, execution.attempt)
            if way.extra:
                extra |= yield from scope.arguments(target.function, way.extra, target.owner)
            call = partial(call, *arguments, **extra)
            if options.middleware:
                answer = yield from self._through_middleware(execution, call, scope)
            else:
                answer = yield from _called_now(execution, call)
        finally:
            self._interruptible.pop(id(execution), None)
        execution.answer = answer
        yield from scope.close()

    def _through_middleware(
        self, execution: Execution, call: Callable[[], Any], scope: Scope
    ) -> Walk:
        """Call through what the listener's runs go through; a call that is not reached is skipped."""
        entry, attempt = _known(execution), execution.attempt
        attempt.limiters = self._limiters()
        said: Any = entry.options.middleware
        if _is_rule(said):
            said = middleware_of(_asked(execution, said), where=attempt.name)
        stack: list[Any] = []
        for one in said:
            stack.append((yield from scope.instance(one)) if isinstance(one, type) else one)  # noqa: PERF401 -- it yields
        reached = False

        def innermost() -> Walk:
            nonlocal reached
            reached = True
            return _called_now(execution, call)

        answer = yield from through(stack, attempt, innermost, partial(Refuses, attempt.name))
        if not reached and attempt.settled is None:
            attempt.delete()
        return answer

    def _ask_for_time(self, execution: Execution, span: Span) -> None:
        """Let the run take as long as its listener's rule says, where it has one."""
        said = _known(execution).options.timeout
        if _is_rule(said):
            asked = _asked(execution, said)
            execution.limit = seconds(asked, option="timeout", where=execution.attempt.name)
            self._limits.change(span, execution.limit)

    def _check_time(self, execution: Execution) -> None:
        """Refuse a job whose deadline has passed."""
        deadline = execution.attempt.deadline
        if deadline is not None and execution.claim is not None and self._now() > deadline:
            execution.began = False
            raise DeadlinePassed(
                listener=execution.attempt.name, deadline=deadline.isoformat(sep=" ")
            )

    def _check_tries(self, execution: Execution) -> None:
        """Read how often this job may be tried; refuse one that has no try left."""
        attempt, claim = execution.attempt, execution.claim
        tries = _known(execution).options.tries
        if tries is None:
            # With a deadline, until then.
            attempt.tries = self._rules.tries if attempt.deadline is None else 0
        elif isinstance(tries, int):
            attempt.tries = tries
        else:
            asked = _asked(execution, tries)
            attempt.tries = whole_tries(asked, where=attempt.name)
            execution.note_tries(attempt.tries)
        if claim is not None and claim.attempts and exhausted(attempt.tries, claim.attempts):
            execution.began = False
            raise TriesExhausted(
                listener=attempt.name, tries=attempt.tries, attempts=claim.attempts
            )

    def call_failed(self, execution: Execution, catalogue: Catalogue) -> Walk:
        """Call the listener's `failed`, on a fresh instance; what it raises changes nothing."""
        entry = execution.entry
        hook = entry.options.failed if entry is not None else None
        if entry is None or hook is None:
            return
        scope = self._scope({Attempt: execution.attempt})
        span = self._following(execution, f"failed() of {execution.attempt.name}")
        run = self._failed_called(hook, execution, scope, catalogue)
        problem = yield from caught(limited(self._limits, span, run))
        closing = yield from self._rolled_back(execution, scope, problem)
        problem = problem if closing is None else closing
        if problem is not None:
            _log().error(
                "failed() of %s raised",
                execution.attempt.name,
                exc_info=problem,
                extra={"job": execution.facts},
            )

    def _failed_called(
        self,
        hook: Callable[..., Any] | str,
        execution: Execution,
        scope: Scope,
        catalogue: Catalogue,
    ) -> Walk:
        entry, document = _known(execution), execution.document
        if isinstance(execution.error, JobLost) and document is not None:
            # Not before it is among the failed jobs: decoding may be what its workers died of.
            execution.arguments = arguments_of(document, catalogue.decoder(document, entry))
        if execution.arguments is None:
            return  # it cannot be decoded, which is why it failed; nothing was built
        arguments = execution.arguments
        if entry.job is not None:
            assert isinstance(hook, str)  # a job says everything by methods
            if document is not None and document.data:
                # Fresh, as a listener is: what the run did to what a field holds is not seen.
                arguments = arguments_of(document, catalogue.decoder(document, entry))
            call = getattr(introduced(arguments[0], execution.attempt), hook)
            arguments = ()
        elif isinstance(hook, str):
            owner = entry.target.owner
            assert owner is not None  # only a class has hooks by name
            call = getattr((yield from _listener(owner, execution, scope)), hook)
        else:
            call = hook
        answer = call(*arguments, execution.error)
        if is_async(call):
            yield answer
        yield from scope.close()

    def interrupt(self, signum: int) -> None:
        """
        Tell the running listeners that have an `interrupted` hook of a signal.

        From any thread, and from a signal's handler: what a hook raises is logged.
        """
        for execution in list(self._interruptible.values()):
            assert execution.entry is not None  # it runs
            hook = execution.entry.options.interrupted
            if isinstance(hook, str):
                hook = getattr(execution.asked, hook, None)
            if hook is None:
                continue  # its listener is still being built
            try:
                hook(signum)
            except BaseException:  # noqa: BLE001, RUF100 -- the worker goes on
                _log().exception(
                    "interrupted() of %s raised",
                    execution.attempt.name,
                    extra={"job": execution.facts},
                )


def _is_attempt(target: Target, one: Parameter) -> bool:
    try:
        return target.hint(one.name) is Attempt
    except UnusableHint:
        return False  # the scope says why


def _known(execution: Execution) -> Entry:
    assert execution.entry is not None  # found when it was read, or there is an error
    return execution.entry


def _called_now(execution: Execution, call: Callable[[], Any]) -> Walk:
    entry = _known(execution)
    if entry.options.frees_at_start and execution.port is not None:
        yield Blocking(partial(free_key, execution))
    answer = call()
    if entry.target.waits(answer):
        answer = yield answer
    return answer


def _call_new(execution: Execution, target: Target, *arguments: Any, **extra: Any) -> Any:
    """Build a listener that needs nothing, and call it."""
    assert target.owner is not None  # asked for only then
    execution.instance = introduced(target.owner(), execution.attempt)
    return getattr(execution.instance, target.method)(*arguments, **extra)


def _built(execution: Execution, scope: Scope) -> Walk:
    """Build the listener, and return its method."""
    target = _known(execution).target
    assert target.owner is not None  # asked for only then
    execution.instance = yield from _listener(target.owner, execution, scope)
    return getattr(execution.instance, target.method)


def _listener(owner: type, execution: Execution, scope: Scope) -> Walk:
    instance = yield from scope.instance(owner)
    return introduced(instance, execution.attempt)


def _is_rule(said: object) -> bool:
    return isinstance(said, Method) or callable(said)


def _asked(execution: Execution, rule: Any) -> Any:
    """Return what a rule of the listener, or of the job, says now."""
    if isinstance(rule, Method):
        rule = getattr(execution.asked, rule.name)
    # A job is its own event.
    return rule() if execution.job is not None else rule(*(execution.arguments or ()))


def _log() -> Any:
    import logging

    return logging.getLogger("eventbus.queue")
