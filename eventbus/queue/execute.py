"""
One claim becomes one outcome: a pipeline of small steps over one record.

begin -> announce -> call -> decide -> settle -> tell. Each step reads and fills in an `Execution`;
exceptions of user code are caught in one place, `caught`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventbus.backends.base import Charge, Claim
from eventbus.backends.port import Port
from eventbus.dispatch.resolver import Scope
from eventbus.dispatch.waiting import Walk
from eventbus.errors import LeaseLost, ListenerTimeout, UnknownName
from eventbus.queue.attempt import Attempt, introduced
from eventbus.queue.carried import Carried
from eventbus.queue.catalogue import Catalogue
from eventbus.queue.deciding import backoff_said, decided
from eventbus.queue.envelope import Envelope
from eventbus.queue.execution import (
    DONE,
    Decision,
    Execution,
    Rules,
    bare_document,
    caught,
    unstored,
    warn_of_late_error,
    warn_of_overrun,
)
from eventbus.queue.following import followed
from eventbus.queue.handling import Handling
from eventbus.queue.jobs import Job
from eventbus.queue.lifecycle import (
    JobAttempted,
    JobExceptionOccurred,
    JobFailed,
    JobProcessed,
    JobProcessing,
    JobReleased,
    Outcome,
)
from eventbus.queue.parking import Unknowns
from eventbus.queue.reading import Reading
from eventbus.queue.results import report
from eventbus.queue.settling import PortSettler, Settler, note_loss, settled, write_result
from eventbus.queue.spans import OVERRUNS, NoTimeLimits, Span, TimeLimits, limited
from eventbus.queue.turns import Turns
from eventbus.values import new_id

if TYPE_CHECKING:
    from eventbus.queue.limits import Limiters
    from eventbus.queue.turns import MakeRunning

__all__ = ["Executor"]

_AT_ONCE: Final = PortSettler()


class Executor:
    """
    Runs claimed jobs.

    Args:
        catalogue: What names stand for.
        scope: Opens a scope in which the given instances are there already.
        is_bare: Tells whether a scope builds a listener by its constructor alone, called with nothing.
        tell: Dispatches an event about a job.
        hears: Tells whether anybody would hear an event of this class.
        now: Tells the time, for deadlines.
        carried: The context variables that travel. They are set in the context in which a job is
            read, so whoever runs many gives each its own.
        current: Holds the run under way, for what it dispatches.
        rules: What holds where a listener does not say.
        limits: How runs are ended that take too long.
        limiters: Returns the limits of the bus.
        running: Returns what a job asks of its chain and its batch, of those of a port; as for `Turns`.
    """

    def __init__(
        self,
        *,
        catalogue: Callable[[], Catalogue],
        scope: Callable[[Mapping[Any, Any]], Scope],
        is_bare: Callable[[type], bool],
        tell: Callable[[object], Walk],
        hears: Callable[[type], bool],
        now: Callable[[], datetime],
        carried: Carried,
        current: ContextVar[Execution | None],
        limiters: Callable[[], Limiters],
        running: MakeRunning,
        rules: Rules | None = None,
        limits: TimeLimits | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._announce = tell
        self._hears = hears
        self._now = now
        self._current = current
        self._turns = Turns(running, tell=tell, hears=hears)
        self._rules = rules or Rules()
        self._limits = limits or NoTimeLimits()
        self._handling = Handling(
            scope=scope,
            is_bare=is_bare,
            now=now,
            rules=self._rules,
            limits=self._limits,
            limiters=limiters,
        )
        self._unknowns = Unknowns()
        self._reading = Reading(
            catalogue=catalogue,
            changed=self._handling.forget,
            rules=self._rules,
            limits=self._limits,
            carried=carried,
        )

    def begin(self, claim: Claim, port: Port) -> Execution:
        """Read the job of a claim, for `run`; nothing of its listener runs yet."""
        envelope = claim.envelope
        execution = Execution(
            envelope=envelope,
            claim=claim,
            port=port,
            attempt=Attempt(
                id=envelope.id,
                name="",
                connection=port.name,
                queue=envelope.queue,
                number=claim.attempts + 1,
                exceptions=claim.exceptions,
                releases=claim.releases,
                losses=claim.losses,
                pushed_at=claim.pushed_at,
            ),
        )
        self._reading.read(execution)
        self._turns.note(execution, port)
        life = execution.entry.options.keep_result if execution.entry is not None else None
        if life is not None:
            execution.attempt.reporter = partial(report, port, envelope.id, life)
        return execution

    def run_in_plan(self, claim: Claim, port: Port, connection: str) -> Walk:
        """
        Run a job of a plan on a `sync://` connection; the result is its `Execution`, with its error if it failed.

        There is no second try, and whoever asked settles it.
        """
        execution = unstored(claim.envelope, connection)
        execution.claim = claim
        self._reading.read(execution)
        self._turns.note(execution, port)
        execution.claim = None
        yield from self.run(execution, None)
        execution.claim = claim
        if execution.error is None and execution.attempt.followers is not None:
            execution.claim = followed(port, claim, execution.attempt.followers)
        return execution

    def run_here(self, envelope: Envelope, connection: str) -> Walk:
        """Run a job that was never stored; its error is the caller's, and there is no second try."""
        execution = unstored(envelope, connection)
        self._reading.read(execution)
        yield from self.run(execution, None)
        if execution.error is not None:
            raise execution.error
        return execution

    def run_job(self, job: Job, *, connection: str, queue: str) -> Walk:
        """
        Run a job here and now, not even encoded; return the answer of its `handle`, or raise its error.

        Args:
            job: What is to run.
            connection: Where it is told to be.
            queue: The same.

        Raises:
            InvalidJob: Its class cannot be run.
        """
        entry = self._catalogue().job_entry(type(job))
        execution = unstored(
            Envelope(id=new_id(), queue=queue, body=b""), connection, name=entry.options.name
        )
        execution.document = bare_document(execution.envelope.id, entry.options.name)
        execution.entry, execution.arguments = entry, (job,)
        outer = self._current.get()
        if outer is not None:
            execution.hops, execution.trail = outer.hops, outer.trail
        execution.attempt.arguments = (job,)
        execution.job = introduced(job, execution.attempt)
        yield from self.run(execution, None)
        if execution.error is not None:
            raise execution.error
        return execution.answer

    def run_at_once(self, execution: Execution, settler: Settler) -> Walk | None:
        """
        Run a job that was read, without a walk where nothing is to be waited for and nobody to be told.

        Args:
            execution: What `begin` returned.
            settler: As for `run`.

        Returns:
            The walk that is left; None if the job is done.

        Raises:
            BackendError: As `run`.
        """
        held_up = execution.canceled or execution.takes_key or execution.unsure
        if execution.raised is not None or held_up or self._hears(JobProcessing):
            return self.run(execution, settler)
        way = self._handling.way(execution)
        if not way.plain:
            return self.run(execution, settler)
        current = self._current
        before = current.get()
        current.set(execution)
        try:
            execution.raised = self._handling.call_plainly(execution, way)
            if (
                execution.raised is not None
                or execution.attempt.settled is not None
                or execution.attempt.followers is not None
                or self._hears(JobProcessed)
                or self._hears(JobAttempted)
                or not execution.decide(DONE)
            ):
                return self._run(execution, settler, called=True)
            try:
                settler.ack(execution)
            except LeaseLost as error:
                note_loss(execution, error)
            return None
        finally:
            current.set(before)

    def run(self, execution: Execution, settler: Settler | None = _AT_ONCE) -> Walk:
        """
        Run a job that was read, and let `settler` tell the store; the result is `execution`.

        Args:
            execution: What `begin` returned.
            settler: Asked once, when it is decided what becomes of the job, and not where
                `decide_stuck` was quicker. None for a job that nothing stores.

        Raises:
            BackendError: As the settler raises it, `LeaseLost` excepted. The job is not settled:
                when its lease ends it will run again.

        Defaults:
            settler = one that tells the store at once.
        """
        return self._run(execution, settler)

    def _run(self, execution: Execution, settler: Settler | None, *, called: bool = False) -> Walk:
        current, before = self._current, self._current.get()
        current.set(execution)
        try:
            if (execution.unsure or execution.takes_key) and execution.raised is None:
                yield from self._turns.come(execution)
            if execution.canceled:
                execution.attempt.delete()
            elif execution.raised is None and not called:
                if self._hears(JobProcessing):
                    yield from self._tell(execution, JobProcessing)
                way = self._handling.way(execution)
                if way.plain:
                    execution.raised = self._handling.call_plainly(execution, way)
                else:
                    execution.raised = yield from self._handling.call(execution, way)
                    if execution.raised is None:
                        execution.raised = write_result(execution)
            if self._decide(execution) and settler is not None:
                try:
                    yield from settled(execution, settler)
                except LeaseLost as error:
                    note_loss(execution, error)
                if execution.outcome is Outcome.FAILED and execution.envelope.member is not None:
                    self._turns.note_change()
            yield from self._tell_outcome(execution)
            return execution
        finally:
            # Not by its token: a walk that is dropped ends in whatever context drops it.
            current.set(before)

    def ended(
        self, execution: Execution, error: BaseException, *, tries: int | None = None
    ) -> None:
        """Take a job for one whose run ended the process; `tries` is what its listener said, built for that."""
        if execution.raised is None:
            execution.raised = self._handling.ended(execution, error, tries)

    # From other threads, and from a signal's handler.

    def decide_stuck(self, execution: Execution) -> bool:
        """
        Decide about a run that does not end, as if it had raised `ListenerTimeout`; from any thread.

        Whoever calls it settles the job then, as `execution` says, and nobody else does. No code of
        the application is asked: where its backoff is a rule, the worker's own holds.

        Returns:
            False if it was decided already; then it is being settled, or is.
        """
        backoff = self._rules.backoff
        if execution.entry is not None:
            said = execution.entry.options.backoff
            backoff = said if isinstance(said, float | tuple) else backoff
        error = ListenerTimeout(listener=execution.attempt.name, seconds=execution.limit)
        return execution.decide(decided(execution, error, backoff=backoff, now=self._now))

    def interrupt(self, signum: int) -> None:
        """
        Tell the running listeners that have an `interrupted` hook of a signal.

        From any thread, and from a signal's handler: what a hook raises is logged.
        """
        self._handling.interrupt(signum)

    # The steps.

    def _decide(self, execution: Execution) -> bool:
        """Decide what becomes of the job; False if another thread was quicker."""
        error = execution.raised
        if error is None and execution.attempt.settled is None:
            return execution.decide(DONE)
        try:
            decision = self._decided(execution, error)
        except BaseException:  # noqa: BLE001 -- an error that does not even tell what it is
            charge = Charge.ERROR if execution.began else Charge.NOTHING
            decision = Decision(outcome=Outcome.FAILED, error=error, charge=charge)
        if not execution.decide(decision):
            return False
        if error is not None:
            warn_of_late_error(execution)
            if decision.parked and isinstance(error, UnknownName):
                self._unknowns.tell(execution, error)
        return True

    def _decided(self, execution: Execution, error: BaseException | None) -> Decision:
        said = backoff_said(execution, self._rules.backoff)

        def decide(backoff: Any = said) -> Decision:
            return decided(execution, error, backoff=backoff, now=self._now)

        if not callable(said):
            return decide()
        span = Span(f"backoff of {execution.shown}", execution.limit, follows=True)
        try:
            decision: Decision = self._limits.running(span, decide)
        except OVERRUNS as overrun:
            warn_of_overrun(execution, overrun)
            return decide(self._rules.backoff)
        return decision

    def _tell_outcome(self, execution: Execution) -> Walk:
        """Tell what came of the run, and call the listener's `failed` once that is recorded."""
        outcome, error, hears = execution.outcome, execution.error, self._hears
        if execution.began and outcome is not Outcome.LOST:
            if error is None or execution.attempt.settled is not None:
                if hears(JobProcessed):
                    yield from self._tell(execution, JobProcessed, outcome=outcome)
            elif hears(JobExceptionOccurred):
                yield from self._tell(execution, JobExceptionOccurred, error=error)
        if outcome is Outcome.RELEASED and hears(JobReleased):
            yield from self._tell(execution, JobReleased, delay=execution.delay)
        elif outcome is Outcome.FAILED:
            if hears(JobFailed):
                yield from self._tell(execution, JobFailed, error=error)
            yield from self._handling.call_failed(execution, self._catalogue())
        if hears(JobAttempted):
            yield from self._tell(execution, JobAttempted, outcome=outcome)

    def _tell(self, execution: Execution, event: type, **more: Any) -> Walk:
        """Dispatch an event about the job; whatever its listeners do, the worker goes on."""
        span = Span(f"a listener of {event.__name__}", execution.limit, follows=True)
        walk = self._announce(event(**execution.facts, batch=execution.attempt.batch_id, **more))
        problem = yield from caught(limited(self._limits, span, walk))
        if isinstance(problem, OVERRUNS):
            warn_of_overrun(execution, problem)
        elif problem is not None:
            _log().error("a listener of what happens to jobs left it", exc_info=problem)


def _log() -> Any:
    import logging

    return logging.getLogger("eventbus.queue")
