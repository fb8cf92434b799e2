"""How a queued listener, or a job, is to be stored and run: read once from its class, validated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import fields, frozen

from eventbus.dispatch.hints import is_async
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.notes import LOGGER, debugging
from eventbus.errors import InvalidOption, ListenError, UnknownOption
from eventbus.queue import checks
from eventbus.queue.checks import whole_tries
from eventbus.queue.middleware import middleware_of
from eventbus.queue.retry import backoff_of
from eventbus.queue.uniqueness import Debounce, Unique, debounce_of, key_of, unique_of
from eventbus.values import seconds

__all__ = [
    "HOOKS",
    "KNOWN",
    "RULED",
    "Method",
    "QueueOptions",
    "ShouldQueue",
    "backoff_of",
    "checked",
    "note_answer",
    "read_options",
    "seconds",
    "whole_tries",
]

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from eventbus.dispatch.around import Step
    from eventbus.queue.attempt import Attempt
    from eventbus.queue.envelope import UniqueKey
    from eventbus.queue.middleware import Middleware

    #: A number of seconds, or a `timedelta`.
    Duration = float | timedelta
    #: What is worked out for each event, or for each failure.
    Rule = Callable[..., Any]


class ShouldQueue:
    """
    Marks a listener class as queued: dispatch stores an envelope, a worker runs the listener.

    Every attribute is optional. What depends on the event is a method, best a static or class
    method, so that dispatch need not build the listener to ask it:

    - `should_queue(event) -> bool`: False and the listener does not run at all.
    - `via_queue(event) -> str`, `via_connection(event) -> str`, `with_delay(event) -> float`: win
      over the attributes.
    - `failed(event, error)`: called on a fresh instance once the job has failed for good.
    - `interrupted(signum)`: called on the running instance when its worker is told to stop.

    `tries`, `timeout`, `retry_until` and `middleware` may be methods of the event as well, and `backoff` one of
    the attempt's number and the error.

    Example:
        >>> class SendReceipt(ShouldQueue):
        ...     queue = "emails"
        ...     tries = 5
        ...     backoff = (1, 5, 30)
        ...
        ...     def handle(self, event: KeyError) -> None: ...
    """

    # Those that a method may say are no ClassVar: checkers let no method stand for one.

    #: The connection that stores it; default: the bus's.
    connection: ClassVar[str | None] = None
    #: The queue it lies in; default: the connection's.
    queue: ClassVar[str | None] = None
    #: Seconds, or a `timedelta`, before it may run.
    delay: ClassVar[Duration | None] = None
    #: How often it is tried; 0 is no limit. Default: the worker's `--tries`; none with `retry_until`.
    tries: int | Rule | None = None
    #: Seconds before each further try: a number, one for each attempt, or `(attempt, error)`.
    backoff: Duration | Sequence[Duration] | Rule | None = None
    #: Seconds that one try may take, from what is built for it to the commit; 0 is no limit. Default: the
    #: worker's `--timeout`.
    timeout: Duration | Rule | None = None
    #: Until when it is tried: seconds from its dispatch, or an aware `datetime`. Default: no end.
    retry_until: Duration | datetime | Rule | None = None
    #: How often it may raise; default: as often as it is tried.
    max_exceptions: ClassVar[int | None] = None
    #: How often it may be given back without spending a try; default: no limit.
    max_releases: ClassVar[int | None] = None
    #: Whether a try that takes too long is the last.
    fail_on_timeout: ClassVar[bool | None] = None
    #: Errors after which it is not tried again.
    no_retry: ClassVar[type[BaseException] | Sequence[type[BaseException]]] = ()
    #: Whether a job is done, and not failed, when `MissingRecord` is raised.
    discard_on_missing: ClassVar[bool | None] = None
    #: What its runs go through, the first one outermost.
    middleware: Sequence[Middleware | Step[Attempt] | type[Middleware]] | Rule = ()
    #: Whether one of its jobs is enough while it waits or runs: True, a function of the event that tells which are
    #: the same, or `Unique(...)`.
    unique: ClassVar[bool | Unique | Rule | None] = None
    #: Seconds without another event until the newest one's job runs, or `Debounce(...)`.
    debounce: ClassVar[Duration | Debounce | None] = None
    #: Its name in stored jobs; default: "module:QualName".
    name: ClassVar[str | None] = None
    #: What logs and lists call it; default: its name.
    display_name: ClassVar[str | None] = None
    #: Former names, under which stored jobs are still understood.
    aliases: ClassVar[Sequence[str]] = ()


@frozen
class Method:
    """An instance method that says an option: asked once there is a listener."""

    name: str


@frozen(kw_only=True)
class QueueOptions:
    """The options of one queued listener or kind of job. None means that it does not say."""

    name: str
    aliases: tuple[str, ...] = ()
    display_name: str | None = None
    connection: str | None = None
    queue: str | None = None
    delay: float | None = None
    tries: int | Callable[..., Any] | Method | None = None
    backoff: float | tuple[float, ...] | Callable[..., Any] | Method | None = None
    timeout: float | Callable[..., Any] | Method | None = None
    retry_until: float | datetime | Callable[..., Any] | Method | None = None
    max_exceptions: int | None = None
    max_releases: int | None = None
    fail_on_timeout: bool | None = None
    no_retry: tuple[type[BaseException], ...] = ()
    discard_on_missing: bool | None = None
    keep_result: float | None = None
    run_if_canceled: bool | None = None
    middleware: tuple[Any, ...] | Callable[..., Any] | Method = ()
    unique: Unique | None = None
    debounce: Debounce | None = None
    should_queue: Callable[..., Any] | str | None = None
    via_queue: Callable[..., Any] | str | None = None
    via_connection: Callable[..., Any] | str | None = None
    with_delay: Callable[..., Any] | str | None = None
    failed: Callable[..., Any] | str | None = None
    interrupted: Callable[..., Any] | str | None = None

    @property
    def asks(self) -> bool:
        """Whether a hook says, for each event, if and where a job is stored."""
        hooks = (self.should_queue, self.via_queue, self.via_connection, self.with_delay)
        return any(hook is not None for hook in hooks)

    def key(self, arguments: Sequence[Any]) -> UniqueKey | None:
        """Return what no other job in its queue may have, of the job with these arguments."""
        return key_of(self.name, self.unique, self.debounce, arguments)

    @property
    def frees_at_start(self) -> bool:
        """Whether others of its key may be enqueued once a job begins to run."""
        return self.unique is not None and self.unique.until == "start"

    @property
    def shown(self) -> str:
        """What logs call it."""
        return self.display_name or self.name


#: Hooks, as `QueueOptions` holds them: something to call, or the name of an instance method.
HOOKS: Final = (
    "should_queue", "via_queue", "via_connection", "with_delay", "failed", "interrupted",
)  # fmt: skip
#: Options that a rule may say, and how a value of each is read.
RULED: Final[Mapping[str, Callable[..., Any]]] = {
    "tries": whole_tries,
    "backoff": backoff_of,
    "timeout": lambda value, where: seconds(value, option="timeout", where=where),
    "retry_until": checks.deadline_of,
    "middleware": middleware_of,
}
#: The others but the name, and how a value of each is read.
_PLAIN: Final[Mapping[str, Callable[..., Any]]] = {
    "aliases": checks.names,
    "display_name": checks.name,
    "connection": checks.place,
    "queue": checks.place,
    "delay": seconds,
    "max_exceptions": lambda value, **about: checks.whole_number(value, least=1, **about),
    "max_releases": lambda value, **about: checks.whole_number(value, least=0, **about),
    "fail_on_timeout": checks.choice,
    "no_retry": checks.error_classes,
    "discard_on_missing": checks.choice,
    "keep_result": checks.life,
    "run_if_canceled": checks.choice,
    "unique": unique_of,
    "debounce": debounce_of,
}
#: Options that a listener does not have.
_OF_JOBS: Final = ("keep_result", "run_if_canceled")
#: The names of all options.
KNOWN: Final = tuple(one.name for one in fields(QueueOptions))


def read_options(listener: Listener) -> QueueOptions | None:
    """
    Return how a listener is queued; None if it is not.

    A listener is queued if its class inherits `ShouldQueue`, or if `@listens` gives it a `queue`
    (a name, or True for the connection's own).

    Raises:
        UnknownOption: `@listens` has an option that does not exist.
        InvalidOption: An option has a value that cannot be.
        ListenError: It has queue options and no queue, cannot be named in a store, has an attribute
            that is an option but for its spelling, or listens to what happens to jobs.
    """
    if not _is_queued(listener):
        return None
    found = checked(listener.target.owner, listener.options, where=listener.name)
    for option in _OF_JOBS:
        if found[option] is not None:
            raise ListenError(
                listener=listener.name,
                reason=f"it says {option}, which only the class of a job may",
                remedy=f"Enqueue a Job with {option}",
            )
    found["name"] = _stored_name(listener, found["name"])
    return QueueOptions(**found)


def checked(owner: type | None, given: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """
    Return the options that a class says, or that are given, each of them checked but the name.

    Args:
        owner: The class whose attributes and methods say them; None if there is none.
        given: Those that were said otherwise; they win.
        where: Whose they are, for the error.

    Raises:
        InvalidOption: One has a value that cannot be.
    """
    found = {option: _found(owner, option, given, where) for option in KNOWN}
    if found["queue"] is True:
        found["queue"] = None
    for option, read in _PLAIN.items():
        if found[option] is not None:
            found[option] = read(found[option], option=option, where=where)
    for option, read in RULED.items():
        value = found[option]
        # One middleware without its list can be called as well, and is no rule.
        is_rule = inspect.isroutine(value) if option == "middleware" else callable(value)
        if value is not None and not (is_rule or isinstance(value, Method)):
            found[option] = read(value, where=where)
    for option in ("aliases", "no_retry", "middleware"):
        found[option] = found[option] or ()
    if found["unique"] is not None and found["debounce"] is not None:
        raise InvalidOption(
            option="debounce",
            value=found["debounce"],
            expected="nothing beside unique: a second job stands back, or takes the place",
            where=where,
        )
    return found


def note_answer(listener: Listener) -> None:
    """Tell who debugs that what a queued listener is declared to return goes nowhere."""
    returns = getattr(listener.target.function, "__annotations__", {}).get("return")
    if returns not in (None, "None") and debugging():
        import logging

        logging.getLogger(LOGGER).debug(
            "%s is declared to return %s; a queued listener gives no answer and stops nobody",
            listener.name,
            returns,
        )


def _is_queued(listener: Listener) -> bool:
    """Tell whether a listener is queued; refuse one that cannot be as it is written."""
    given = listener.options
    owner = listener.target.owner
    marked = owner is not None and issubclass(owner, ShouldQueue)
    where = listener.name
    if owner is None and isinstance(
        getattr(listener.target.function, "__self__", None), ShouldQueue
    ):
        raise ListenError(
            listener=where,
            reason="it is an object of a queued class, and a worker builds its own",
            remedy="Register the class; what its object holds belongs in `provide`",
        )
    if not given and not marked:
        return False
    for option in given:
        if option not in KNOWN:
            raise UnknownOption(option=option, known=KNOWN, where=where)
    if not marked and given.get("queue") is None:
        raise ListenError(
            listener=where,
            reason=f"{', '.join(given)} is for queued listeners, and this one is not queued",
            remedy='Add queue=True, or queue="emails"',
        )
    if owner is not None and marked:
        _check_spelling(owner, where)
    # Imported by those only who queue something.
    from eventbus.queue.lifecycle import LIFECYCLE

    if isinstance(listener.event, type) and issubclass(listener.event, LIFECYCLE):
        raise ListenError(
            listener=where,
            reason=f"a job about each {listener.event.__name__} would never end",
            remedy="Listeners of what happens to jobs run where it happens: take its queue away",
        )
    return True


def _check_spelling(owner: type, where: str) -> None:
    """
    Refuse an attribute that only an underscore or a capital keeps from being an option.

    No looser likeness: `names`, `retries`, `connections` and TIMEOUT may well be a listener's own.
    """
    own = {name for cls in owner.__mro__ if cls is not ShouldQueue for name in vars(cls)}
    for attribute in own:
        if attribute[0].islower() and attribute not in KNOWN:
            meant = _SPELT.get(attribute.replace("_", "").lower())
            # Who gives the option as well knows its name.
            if meant is not None and meant not in own:
                raise ListenError(
                    listener=where,
                    reason=f"its attribute {attribute!r} is no option; {meant!r} is one",
                    remedy=f"Rename it; if it is none, write _{attribute}",
                )


#: Options by their letters alone.
_SPELT: Final[Mapping[str, str]] = {one.replace("_", ""): one for one in KNOWN}


def _found(owner: type | None, option: str, given: Mapping[str, Any], where: str) -> Any:
    if option in given:
        return _checked_hook(option, given[option], where)
    if owner is None:
        return None
    static = inspect.getattr_static(owner, option, None)
    # An instance method needs an instance: its name stands for it until there is one.
    if option in HOOKS and inspect.isfunction(static):
        _checked_hook(option, static, where)
        return option
    if option in RULED and inspect.isfunction(static):
        return Method(option)
    return None if static is None else _checked_hook(option, getattr(owner, option), where)


def _checked_hook(option: str, value: Any, where: str) -> Any:
    if option not in HOOKS or value is None:
        return value
    if not callable(value):
        raise InvalidOption(option=option, value=value, expected="callable", where=where)
    if option == "interrupted" and is_async(value):
        raise InvalidOption(
            option=option,
            value=value,
            expected="a plain function, not an async one: a signal waits for nobody",
            where=where,
        )
    return value


def _stored_name(listener: Listener, declared: Any) -> str:
    method = listener.target.method
    if declared is not None:
        declared = checks.name(declared, option="name", where=listener.name)
        # One class, several handlers: `handle` has the class's name, the others their own behind it.
        return declared if method in ("", "handle", "__call__") else f"{declared}.{method}"
    name = listener.target.name
    for part, remedy in _UNNAMED:
        if part in name:
            raise ListenError(
                listener=name, reason="a worker could not find it by this name", remedy=remedy
            )
    return name


_UNNAMED: Final = (
    ("<locals>", 'Move it to its module, or name it: @listens(..., queue=True, name="send-mail")'),
    ("<lambda>", "Write a function with a name"),
    ("partial of", "Write a function with a name"),
    ("__main__:", "Move it to a module that the worker can import, or run this one with python -m"),
)
