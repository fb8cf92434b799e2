"""
Every error that eventbus raises, as one tree.

```
EventBusError                            catches all, and only, what eventbus raises
├─ ConfigurationError (ValueError)       raised before anything ran: mend the set-up
│  ├─ InvalidOption                      a known option with a value it cannot have
│  ├─ UnknownOption                      a misspelt option
│  ├─ UnknownConnection (LookupError)    a connection name nobody configured
│  ├─ UnknownLimiter (LookupError)       the name of a limit that nobody defined
│  ├─ MissingDependency (ImportError)    an extra is not installed
│  └─ ApplicationNotFound (ImportError)  "MODULE:BUS" does not lead to a bus
├─ ListenError (TypeError)               a listener that cannot be one
├─ MiddlewareCannotWait (TypeError)      a sync middleware around what is async
├─ InvalidJob (TypeError)                a class, or an object, that cannot be a job
├─ DiscoveryError (ImportError)          a package or module that cannot be scanned
├─ ResolveError (LookupError)            a listener or argument that cannot be built
├─ ScopeNotClosed (ExceptionGroup)       what was built for a dispatch or job cannot be closed
├─ MissingRecord (LookupError)           for yours to raise: what a job is about no longer exists
├─ NoResult (LookupError)                a job has no result that is kept, or none yet
├─ LimitExceeded                         a limit has no room now; a job goes back until it may have
├─ DispatchError                         this dispatch went wrong
│  ├─ NotAnEvent (TypeError)             what was dispatched is not an event
│  ├─ AsyncListenerInSyncDispatch (RuntimeError)
│  ├─ TooManyHops (RecursionError)       jobs that queue each other without end
│  └─ ListenersFailed (ExceptionGroup)   on_error="collect": what the listeners raised
├─ CodecError                            what travels cannot be written or read
│  ├─ EncodeError (TypeError)            the producer's: nothing was stored
│  ├─ DecodeError (ValueError)           the stored bytes are not a job of ours: never retried
│  └─ UnknownName (LookupError)          a name or version that this code does not have: parked
├─ BackendError                          the store
│  ├─ BackendUnavailable (ConnectionError)  nothing happened: safe to repeat
│  ├─ AccessDenied (PermissionError)     a wrong password, or a permission that is lacking
│  ├─ StoredUnknown                      cannot tell whether it was stored: push the same ids again
│  ├─ LeaseLost                          the claim is no longer ours
│  ├─ UnsupportedOption (NotImplementedError)
│  ├─ SchemaMismatch                     the store was written by another version
│  ├─ StoreDamaged                       what is stored cannot be read: a disk, or a hand, altered it
│  ├─ BatchNotFound (LookupError)
│  └─ FailedJobNotFound (LookupError)
└─ WorkerError
   ├─ ListenerTimeout (TimeoutError)     a run took longer than its `timeout`
   ├─ JobInterrupted                     the worker had to stop: the job goes back unspent
   ├─ DeadlinePassed                     claimed after its `retry_until`
   ├─ JobFailedByHand                    the listener called `attempt.fail(...)`
   ├─ BatchFailed                        members of a batch in a chain, or in another batch, failed
   ├─ JobLost                            its worker died `max_lost` times
   ├─ WorkerDied                         the job ended the process that ran it
   ├─ Unhealthy                          a health file tells of no worker that works
   ├─ ReleasesExhausted                  given back more often than its `max_releases`
   └─ TriesExhausted                     claimed with no try left
```

An error also inherits the built-in that a caller would naturally catch. `retryable` says whether the
same call may succeed later without anybody changing anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from eventbus.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "AccessDenied",
    "ApplicationNotFound",
    "AsyncListenerInSyncDispatch",
    "BackendError",
    "BackendUnavailable",
    "BatchFailed",
    "BatchNotFound",
    "CodecError",
    "ConfigurationError",
    "DeadlinePassed",
    "DecodeError",
    "DiscoveryError",
    "DiscoveryWarning",
    "DispatchError",
    "EncodeError",
    "EventBusError",
    "FailedJobNotFound",
    "InvalidJob",
    "InvalidOption",
    "JobFailedByHand",
    "JobInterrupted",
    "JobLost",
    "LeaseLost",
    "LimitExceeded",
    "ListenError",
    "ListenerTimeout",
    "ListenersFailed",
    "MiddlewareCannotWait",
    "MissingDependency",
    "MissingRecord",
    "NoResult",
    "NotAnEvent",
    "ReleasesExhausted",
    "ResolveError",
    "SchemaMismatch",
    "ScopeNotClosed",
    "StoreDamaged",
    "StoredUnknown",
    "TooManyHops",
    "TriesExhausted",
    "Unhealthy",
    "UnknownConnection",
    "UnknownLimiter",
    "UnknownName",
    "UnknownOption",
    "UnsupportedOption",
    "WorkerDied",
    "WorkerError",
]


def _rebuild(cls: type[EventBusError], fields: dict[str, Any]) -> EventBusError:
    return cls(**fields)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    # difflib is only worth its import when somebody has made a mistake.
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else "."


class EventBusError(Exception):
    """
    The root: `except EventBusError` catches all, and only, what eventbus raises.

    Every field that a class names is a keyword argument and an attribute, and survives pickling.
    """

    #: Whether the same call may succeed later although nobody changed anything.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self._fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Callable[..., EventBusError], tuple[object, ...]]:
        return _rebuild, (type(self), self._fields)


class ConfigurationError(EventBusError, ValueError):
    """The set-up is wrong; raised before anything ran."""


class InvalidOption(ConfigurationError):
    """A known option was given a value that it cannot have."""

    option: str
    value: object
    expected: str
    where: str

    def __init__(self, *, option: str, value: object, expected: str, where: str = "") -> None:
        place = f" of {where}" if where else ""
        super().__init__(
            f"expected {option}{place} to be {expected}, got: {shown(value)}",
            option=option,
            value=value,
            expected=expected,
            where=where,
        )


class UnknownOption(ConfigurationError, TypeError):
    """An option that does not exist."""

    option: str
    known: tuple[str, ...]
    where: str

    def __init__(self, *, option: str, known: Sequence[str], where: str = "") -> None:
        place = f" for {where}" if where else ""
        super().__init__(
            f"unknown option {option!r}{place}{_did_you_mean(option, known)}"
            f" Known options: {', '.join(sorted(known))}",
            option=option,
            known=tuple(known),
            where=where,
        )


class UnknownConnection(ConfigurationError, LookupError):
    """A connection name that nobody configured."""

    connection: str
    known: tuple[str, ...]

    def __init__(self, *, connection: str, known: Sequence[str]) -> None:
        super().__init__(
            f"no connection is called {connection!r}{_did_you_mean(connection, known)}"
            f" Configured: {_listed(known)}."
            f' Add it: EventBus(connections={{"{connection}": "sqlite:///..."}})',
            connection=connection,
            known=tuple(known),
        )


class UnknownLimiter(ConfigurationError, LookupError):
    """The name of a limit that nobody defined."""

    limiter: str
    known: tuple[str, ...]

    def __init__(self, *, limiter: str, known: Sequence[str]) -> None:
        super().__init__(
            f"no limiter is called {limiter!r}{_did_you_mean(limiter, known)}"
            f' Defined: {_listed(known)}. Define it: bus.limiter("{limiter}", Limit.per_minute(100))',
            limiter=limiter,
            known=tuple(known),
        )


class MissingDependency(ConfigurationError, ImportError):
    """A feature needs a package that is not installed."""

    extra: str
    needed_for: str

    def __init__(self, *, extra: str, needed_for: str) -> None:
        said = (
            f"{needed_for} needs a package that is not installed: pip install 'eventbus[{extra}]'"
        )
        super().__init__(said, extra=extra, needed_for=needed_for)


class ApplicationNotFound(ConfigurationError, ImportError):
    """`MODULE:BUS` does not lead to an `EventBus`."""

    application: str
    reason: str

    def __init__(self, *, application: str, reason: str) -> None:
        said = f"cannot find a bus at {application!r}: {reason}"
        super().__init__(said, application=application, reason=reason)


class ListenError(EventBusError, TypeError):
    """What was registered cannot be a listener."""

    listener: str
    reason: str
    remedy: str

    def __init__(self, *, listener: str, reason: str, remedy: str) -> None:
        said = f"{listener} cannot listen: {reason}. {remedy}"
        super().__init__(said, listener=listener, reason=reason, remedy=remedy)


class MiddlewareCannotWait(EventBusError, TypeError):
    """A sync middleware stands around a listener that is async, or around an async middleware."""

    listener: str
    middleware: str

    def __init__(self, *, listener: str, middleware: str) -> None:
        super().__init__(
            f"the middleware {middleware} of {listener} is sync, and what it goes on to is async:"
            " write `async def __call__`, and `await call_next()`",
            listener=listener,
            middleware=middleware,
        )


class InvalidJob(EventBusError, TypeError):
    """A class cannot be one of jobs, or an object is no job."""

    job: str
    reason: str
    remedy: str

    def __init__(self, *, job: str, reason: str, remedy: str) -> None:
        super().__init__(
            f"{job} cannot be a job: {reason}. {remedy}", job=job, reason=reason, remedy=remedy
        )


class DiscoveryError(EventBusError, ImportError):
    """A package or module that was named for discovery cannot be scanned."""

    module: str
    reason: str
    remedy: str

    def __init__(self, *, module: str, reason: str, remedy: str = "") -> None:
        super().__init__(
            f"cannot discover listeners in {module!r}: {reason}"
            + (f". {remedy}" if remedy else ""),
            module=module,
            reason=reason,
            remedy=remedy,
        )


class DiscoveryWarning(UserWarning):
    """Something in a scanned module looks like a listener, but cannot be registered as written."""


class ResolveError(EventBusError, LookupError):
    """A listener, or something that it asks for, cannot be built."""

    wanted: str
    reason: str
    remedy: str

    def __init__(self, *, wanted: str, reason: str, remedy: str) -> None:
        said = f"cannot build {wanted}: {reason}. {remedy}"
        super().__init__(said, wanted=wanted, reason=reason, remedy=remedy)


class ScopeNotClosed(EventBusError, ExceptionGroup[Exception]):
    """Several of the things that were built for one dispatch or job could not be closed."""

    errors: tuple[Exception, ...]

    def __new__(cls, *, errors: Sequence[Exception]) -> Self:
        """Make the group: its message and members are fixed before `__init__`."""
        return super().__new__(
            cls, f"{len(errors)} things built for this dispatch could not be closed", list(errors)
        )

    def __init__(self, *, errors: Sequence[Exception]) -> None:
        super().__init__(self.message, errors=tuple(errors))

    def derive(self, excs: Sequence[Exception], /) -> ExceptionGroup[Exception]:  # type: ignore[override]
        """Return the plain group that `split` and `except*` make of a part of this one."""
        return ExceptionGroup(self.message, excs)


class MissingRecord(EventBusError, LookupError):
    """
    What a job is about no longer exists; raised by an event's constructor, a listener or a factory.

    The job is not tried again: it fails at once, or with `discard_on_missing` is taken as done.

    Example:
        >>> raise MissingRecord(record="order", key=17)
        Traceback (most recent call last):
        ...
        eventbus.errors.MissingRecord: order 17 no longer exists
    """

    record: str
    key: object

    def __init__(self, *, record: str, key: object) -> None:
        super().__init__(f"{record} {key!r} no longer exists", record=record, key=key)


class LimitExceeded(EventBusError):
    """
    A limit has no room now.

    A job that raises it, or lets it through, is given back for `retry_in` seconds, and spends no try.
    """

    limit: str
    retry_in: float
    retryable = True

    def __init__(self, *, limit: str, retry_in: float) -> None:
        super().__init__(
            f"the limit {shown(limit)} has no room now: try again in {retry_in:.3g} s",
            limit=limit,
            retry_in=retry_in,
        )


class NoResult(EventBusError, LookupError):
    """A job has no result that is kept, or none yet."""

    id: str
    status: str
    reason: str

    def __init__(self, *, id: str, status: str, reason: str) -> None:
        super().__init__(
            f"job {shown(id)} has no result: {reason}", id=id, status=status, reason=reason
        )


class DispatchError(EventBusError):
    """This dispatch went wrong."""


class NotAnEvent(DispatchError, TypeError):
    """What was dispatched is not an event."""

    value: object
    reason: str

    def __init__(self, *, value: object, reason: str) -> None:
        super().__init__(f"cannot dispatch {shown(value)}: {reason}", value=value, reason=reason)


class AsyncListenerInSyncDispatch(DispatchError, RuntimeError):
    """`dispatch` was called where an event loop runs, and one of the listeners is async."""

    event: str
    listener: str
    call: str
    #: Listeners before it may have run.
    begun: bool

    def __init__(self, *, event: str, listener: str, call: str, begun: bool = False) -> None:
        super().__init__(
            f"{listener} is async and an event loop is running here, so {call}() cannot wait for"
            f" it; {'it did not run' if begun else 'nothing ran'}."
            f" Write `await bus.a{call}(...)` for {event}",
            event=event,
            listener=listener,
            call=call,
            begun=begun,
        )


class TooManyHops(DispatchError, RecursionError):
    """
    A job would queue another, as one did that queued it, and so on: more in a row than the limit.

    `events` are the latest of the chain, the oldest first. Nothing was stored, and the job that
    dispatched it is not tried again.
    """

    events: tuple[str, ...]
    limit: int

    def __init__(self, *, events: Sequence[str], limit: int) -> None:
        super().__init__(
            f"{limit} jobs in a row have each queued the next: ... -> {' -> '.join(events)}."
            " Break the circle; what is to go on for ever needs a `delay`",
            events=tuple(events),
            limit=limit,
        )


class ListenersFailed(DispatchError, ExceptionGroup[Exception]):
    """
    What the listeners of one event raised, with `on_error="collect"`.

    `failures` pairs each listener's name with its error; `answers` are those of the listeners that
    did not fail. It is an `ExceptionGroup`, so `except*` works on it.
    """

    event: str
    failures: tuple[tuple[str, Exception], ...]
    answers: tuple[object, ...]

    def __new__(
        cls,
        *,
        event: str,
        failures: Sequence[tuple[str, Exception]],
        answers: Sequence[object] = (),  # noqa: ARG004 -- for __init__
    ) -> Self:
        """Make the group: its message and members are fixed before `__init__`."""
        who = ", ".join(listener for listener, _ in failures)
        plural = "s" if len(failures) != 1 else ""
        return super().__new__(
            cls,
            f"{len(failures)} listener{plural} of {event} failed: {who}",
            [error for _, error in failures],
        )

    def __init__(
        self,
        *,
        event: str,
        failures: Sequence[tuple[str, Exception]],
        answers: Sequence[object] = (),
    ) -> None:
        super().__init__(
            self.message, event=event, failures=tuple(failures), answers=tuple(answers)
        )

    def derive(self, excs: Sequence[Exception], /) -> ExceptionGroup[Exception]:  # type: ignore[override]
        """Return the plain group that `split` and `except*` make of a part of this one."""
        return ExceptionGroup(self.message, excs)


class CodecError(EventBusError):
    """What travels cannot be written or read."""


class EncodeError(CodecError, TypeError):
    """An event cannot be stored for a queued listener; nothing was stored."""

    event: str
    field: str
    reason: str
    remedy: str

    def __init__(self, *, event: str, field: str, reason: str, remedy: str = "") -> None:
        place = f" (field {field})" if field else ""
        super().__init__(
            f"{event} cannot be stored{place}: {reason}; nothing was stored"
            + (f". {remedy}" if remedy else ""),
            event=event,
            field=field,
            reason=reason,
            remedy=remedy,
        )


class DecodeError(CodecError, ValueError):
    """Stored bytes are not a job that this code could have written. They are never retried."""

    reason: str
    envelope: str

    def __init__(self, *, reason: str, envelope: str = "") -> None:
        of, which = (f" of envelope {envelope}", f" {envelope}") if envelope else ("", "")
        super().__init__(
            f"the stored bytes{of} were rejected: {reason}. They are kept: `eventbus failed{which}`"
            f" shows them, `eventbus retry{which}` runs them once the code takes them (an alias, an"
            " upcast), `eventbus forget` deletes them",
            reason=reason,
            envelope=envelope,
        )


class UnknownName(CodecError, LookupError):
    """A stored name or version that this code does not have: most likely a deploy is under way."""

    kind: str
    name: str
    known: tuple[str, ...]
    remedy: str

    retryable = True

    def __init__(
        self, *, kind: str, name: str, known: Sequence[str] = (), remedy: str = ""
    ) -> None:
        # No guess at what was meant: a program wrote the name, and every parked job comes by here.
        # A version, or a kind of job, is nothing that an application could name.
        alias = f", or declare {name!r} as an alias" if kind in ("event", "job", "listener") else ""
        super().__init__(
            f"no {kind} is called {name!r} here. The job waits, no"
            f" attempt is spent; {remedy or f'deploy the code that has it{alias}'}",
            kind=kind,
            name=name,
            known=tuple(known),
            remedy=remedy,
        )


class BackendError(EventBusError):
    """The store behind a connection."""


class BackendUnavailable(BackendError, ConnectionError):
    """The store cannot be reached or used now. Nothing happened: it is safe to repeat the call."""

    backend: str
    operation: str
    reason: str

    retryable = True

    def __init__(self, *, backend: str, operation: str, reason: str) -> None:
        super().__init__(
            f"{backend}: {operation} did not happen: {reason}. It is safe to try again",
            backend=backend,
            operation=operation,
            reason=reason,
        )


class AccessDenied(BackendError, PermissionError):
    """The server does not let us: the password is wrong, or the user lacks a permission."""

    backend: str
    operation: str
    reason: str

    def __init__(self, *, backend: str, operation: str, reason: str) -> None:
        super().__init__(
            f"{backend}: {operation} was refused: {reason}. Look at the user and password of the URL, and"
            " at what that user may do",
            backend=backend,
            operation=operation,
            reason=reason,
        )


class StoredUnknown(BackendError):
    """
    It cannot be told whether the envelopes were stored.

    Pushing the same `ids` again is safe: each is stored once.
    """

    backend: str
    ids: tuple[str, ...]
    reason: str

    retryable = True

    def __init__(self, *, backend: str, ids: Sequence[str], reason: str) -> None:
        super().__init__(
            f"{backend}: cannot tell whether {_listed(ids)} was stored: {reason}."
            " Pushing the same ids again stores each once",
            backend=backend,
            ids=tuple(ids),
            reason=reason,
        )


class LeaseLost(BackendError):
    """The claim is no longer ours: the job was claimed again, finished, failed or removed since."""

    id: str
    operation: str

    def __init__(self, *, id: str, operation: str) -> None:
        super().__init__(
            f"{operation} of job {id} changed nothing: its lease was lost."
            " Another worker has the job, or it is done",
            id=id,
            operation=operation,
        )


class UnsupportedOption(BackendError, NotImplementedError):
    """The backend declares that it cannot do this."""

    backend: str
    capability: str

    def __init__(self, *, backend: str, capability: str) -> None:
        super().__init__(
            f"{backend} does not support {capability}; use a connection whose backend does",
            backend=backend,
            capability=capability,
        )


class SchemaMismatch(BackendError):
    """The store was written by a version of eventbus that this one does not understand."""

    backend: str
    found: str
    wanted: str
    remedy: str

    def __init__(
        self,
        *,
        backend: str,
        found: str,
        wanted: str,
        remedy: str = "Use the version that wrote it, or a new file",
    ) -> None:
        super().__init__(
            f"{backend} has schema {found}, this version of eventbus needs {wanted}. {remedy}",
            backend=backend,
            found=found,
            wanted=wanted,
            remedy=remedy,
        )


class StoreDamaged(BackendError):
    """What is stored cannot be read: a disk, a copy or somebody's hand has altered it."""

    backend: str
    operation: str
    reason: str

    def __init__(self, *, backend: str, operation: str, reason: str) -> None:
        super().__init__(
            f"{backend} is damaged: {operation} did not happen: {reason}. Stop what uses it, keep a"
            " copy, then restore a backup or save what can be read (`sqlite3 FILE .recover`)",
            backend=backend,
            operation=operation,
            reason=reason,
        )


class FailedJobNotFound(BackendError, LookupError):
    """No failed job has this id."""

    id: str
    connection: str

    def __init__(self, *, id: str, connection: str) -> None:
        super().__init__(
            f"connection {connection!r} has no failed job {id!r}; `eventbus failed` lists them",
            id=id,
            connection=connection,
        )


class BatchNotFound(BackendError, LookupError):
    """No batch has this id: it was pruned, or never there."""

    id: str
    connection: str

    def __init__(self, *, id: str, connection: str) -> None:
        super().__init__(
            f"connection {connection!r} has no batch {id!r}; it is kept until it is pruned",
            id=id,
            connection=connection,
        )


class WorkerError(EventBusError):
    """A worker could not let a job run to its end."""


class ListenerTimeout(WorkerError, TimeoutError):
    """A run took longer than its `timeout`."""

    listener: str
    seconds: float

    def __init__(self, *, listener: str, seconds: float) -> None:
        super().__init__(
            f"{listener} ran longer than its timeout of {seconds:g} s."
            " Give it a longer `timeout`, or less to do in one job",
            listener=listener,
            seconds=seconds,
        )


class JobInterrupted(WorkerError):
    """The worker had to stop before the job was done; the job goes back, no attempt is spent."""

    listener: str
    reason: str

    def __init__(self, *, listener: str, reason: str) -> None:
        super().__init__(f"{listener} was interrupted: {reason}", listener=listener, reason=reason)


class DeadlinePassed(WorkerError):
    """A job was claimed after its `retry_until`; it was not run."""

    listener: str
    deadline: str

    def __init__(self, *, listener: str, deadline: str) -> None:
        super().__init__(
            f"{listener} was to be tried until {deadline} and no longer; it was not run."
            " A later `retry_until` gives jobs more time",
            listener=listener,
            deadline=deadline,
        )


class JobFailedByHand(WorkerError):
    """The listener itself called `attempt.fail(...)` with a text."""

    listener: str
    reason: str

    def __init__(self, *, listener: str, reason: str) -> None:
        super().__init__(f"{listener} failed its job: {reason}", listener=listener, reason=reason)


class BatchFailed(WorkerError):
    """Members of a batch failed that is itself a member of a chain, or of another batch."""

    id: str
    failed: int
    total: int

    def __init__(self, *, id: str, failed: int, total: int) -> None:
        super().__init__(
            f"{failed} of the {total} jobs of batch {id} failed. Retry them, and then this job:"
            " what comes after the batch waits for it",
            id=id,
            failed=failed,
            total=total,
        )


class JobLost(WorkerError):
    """The worker of this job died while it ran, as often as `max_lost` allows."""

    listener: str
    losses: int

    def __init__(self, *, listener: str, losses: int) -> None:
        super().__init__(
            f"the worker died or lost its lease {losses} times while {listener} ran; the job is not"
            " run again. Look for a crash, an os._exit or memory it uses up, then retry it",
            listener=listener,
            losses=losses,
        )


class WorkerDied(WorkerError):
    """The process that ran this job ended in the middle of it, by the job's own doing."""

    listener: str
    how: str

    def __init__(self, *, listener: str, how: str) -> None:
        said = f"the worker died ({how}) while {listener} ran. Look for a crash in native code or an exit"
        super().__init__(said, listener=listener, how=how)


class Unhealthy(WorkerError):
    """A health file tells of no worker that works."""

    file: str
    reason: str

    def __init__(self, *, file: str, reason: str) -> None:
        super().__init__(f"no healthy worker by {file}: {reason}", file=file, reason=reason)


class ReleasesExhausted(WorkerError):
    """A listener gave its job back once more than `max_releases` allows."""

    listener: str
    releases: int

    def __init__(self, *, listener: str, releases: int) -> None:
        said = (
            f"{listener} gave its job back for the {releases + 1}. time, and may {releases} times"
        )
        super().__init__(said, listener=listener, releases=releases)


class TriesExhausted(WorkerError):
    """A job has no try left: fewer are allowed than it had, or it gave its last one back."""

    listener: str
    tries: int
    attempts: int

    def __init__(self, *, listener: str, tries: int, attempts: int) -> None:
        super().__init__(
            f"{listener} was tried {attempts} times and {tries} are allowed; it was not run again."
            " `eventbus retry` gives it all its tries",
            listener=listener,
            tries=tries,
            attempts=attempts,
        )
