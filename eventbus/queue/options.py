"""How a queued listener is to be stored and run: read once from its class or `@listens`, validated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import fields, frozen

from eventbus.defaults import DURATION_LIMIT
from eventbus.dispatch.listeners import Listener
from eventbus.errors import InvalidOption, ListenError, UnknownOption
from eventbus.queue.envelope import valid_name

__all__ = [
    "Method",
    "QueueOptions",
    "ShouldQueue",
    "backoff_of",
    "read_options",
    "seconds",
    "whole_tries",
]

if TYPE_CHECKING:
    from datetime import timedelta

    #: A number of seconds, or a `timedelta`.
    Duration = float | timedelta


class ShouldQueue:
    """
    Marks a listener class as queued: dispatch stores an envelope, a worker runs the listener.

    Every attribute is optional. What depends on the event is a method, best a static or class
    method, so that dispatch need not build the listener to ask it:

    - `should_queue(event) -> bool`: False and the listener does not run at all.
    - `via_queue(event) -> str`, `via_connection(event) -> str`, `with_delay(event) -> float`: win
      over the attributes.
    - `failed(event, error)`: called on a fresh instance once the job has failed for good.

    Example:
        >>> class SendReceipt(ShouldQueue):
        ...     queue = "emails"
        ...     tries = 5
        ...     backoff = (1, 5, 30)
        ...
        ...     def handle(self, event: KeyError) -> None: ...
    """

    #: The connection that stores it; default: the bus's.
    connection: ClassVar[str | None] = None
    #: The queue it lies in; default: the connection's.
    queue: ClassVar[str | None] = None
    #: Seconds, or a `timedelta`, before it may run.
    delay: ClassVar[Duration | None] = None
    #: How often it is tried; 0 is no limit. Default: the worker's `--tries`.
    tries: ClassVar[Any] = None
    #: Seconds before each further try: a number, one for each attempt, or `(attempt, error)`.
    backoff: ClassVar[Any] = None
    #: Seconds that one try may take; 0 is no limit. Default: the worker's `--timeout`.
    timeout: ClassVar[Any] = None
    #: Its name in stored jobs; default: "module:QualName".
    name: ClassVar[str | None] = None
    #: Former names, under which stored jobs are still understood.
    aliases: ClassVar[Sequence[str]] = ()


@frozen
class Method:
    """An instance method that says `tries`, `backoff` or `timeout`: asked once there is a listener."""

    name: str


#: What an option with a rule may be.
Rule = Callable[..., Any] | Method


@frozen(kw_only=True)
class QueueOptions:
    """The options of one queued listener. None means that it does not say."""

    name: str
    aliases: tuple[str, ...] = ()
    connection: str | None = None
    queue: str | None = None
    delay: float | None = None
    tries: int | Rule | None = None
    backoff: float | tuple[float, ...] | Rule | None = None
    timeout: float | Rule | None = None
    should_queue: Callable[..., Any] | str | None = None
    via_queue: Callable[..., Any] | str | None = None
    via_connection: Callable[..., Any] | str | None = None
    with_delay: Callable[..., Any] | str | None = None
    failed: Callable[..., Any] | str | None = None


#: Hooks, as `QueueOptions` holds them: something to call, or the name of an instance method.
_HOOKS: Final = ("should_queue", "via_queue", "via_connection", "with_delay", "failed")
_KNOWN: Final = tuple(one.name for one in fields(QueueOptions))


def seconds(value: Any, *, option: str, where: str = "") -> float:
    """
    Return a duration in seconds.

    Raises:
        InvalidOption: It is neither a number from 0 to `DURATION_LIMIT` nor such a `timedelta`.
    """
    # A timedelta, without importing datetime for those who give numbers.
    total = getattr(value, "total_seconds", None)
    plain: Any = total() if callable(total) else value
    # What no store can keep is refused here, where it was said, not when it is to be stored.
    number = isinstance(plain, int | float) and not isinstance(plain, bool)
    if number and 0 <= plain <= DURATION_LIMIT:
        return float(plain)
    raise InvalidOption(
        option=option,
        value=value,
        expected=f"0 to {DURATION_LIMIT:.0f} seconds, or a timedelta of as much",
        where=where,
    )


def whole_tries(value: Any, *, where: str = "") -> int:
    """Return a number of tries, 0 for no limit; `InvalidOption` if it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise InvalidOption(
        option="tries", value=value, expected="a whole number >= 0; 0 is no limit", where=where
    )


def backoff_of(value: Any, *, where: str = "") -> float | tuple[float, ...]:
    """Return a backoff in seconds: one, or one for each attempt."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            raise InvalidOption(
                option="backoff", value=value, expected="at least one delay", where=where
            )
        return tuple(seconds(one, option="backoff", where=where) for one in value)
    return seconds(value, option="backoff", where=where)


def read_options(listener: Listener) -> QueueOptions | None:
    """
    Return how a listener is queued; None if it is not.

    A listener is queued if its class inherits `ShouldQueue`, or if `@listens` gives it a `queue`
    (a name, or True for the connection's own).

    Raises:
        UnknownOption: `@listens` has an option that does not exist.
        InvalidOption: An option has a value that cannot be.
        ListenError: It has queue options and no queue, cannot be named in a store, or listens to
            what happens to jobs.
    """
    given, where = listener.options, listener.name
    if not _is_queued(listener):
        return None
    found = {option: _found(listener, option, given) for option in _KNOWN}
    if found["queue"] is True:
        found["queue"] = None
    return QueueOptions(
        name=_stored_name(listener, found["name"]),
        aliases=_aliases(found["aliases"], where),
        connection=_optional(found["connection"], "connection", where),
        queue=_optional(found["queue"], "queue", where),
        delay=None
        if found["delay"] is None
        else seconds(found["delay"], option="delay", where=where),
        tries=_value_or_rule(found["tries"], lambda one: whole_tries(one, where=where)),
        backoff=_value_or_rule(found["backoff"], lambda one: backoff_of(one, where=where)),
        timeout=_value_or_rule(
            found["timeout"], lambda one: seconds(one, option="timeout", where=where)
        ),
        **{hook: found[hook] for hook in _HOOKS},
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
        if option not in _KNOWN:
            raise UnknownOption(option=option, known=_KNOWN, where=where)
    if not marked and given.get("queue") is None:
        raise ListenError(
            listener=where,
            reason=f"{', '.join(given)} is for queued listeners, and this one is not queued",
            remedy='Add queue=True, or queue="emails"',
        )
    # Imported by those only who queue something.
    from eventbus.queue.lifecycle import LIFECYCLE

    if isinstance(listener.event, type) and issubclass(listener.event, LIFECYCLE):
        raise ListenError(
            listener=where,
            reason=f"a job about each {listener.event.__name__} would never end",
            remedy="Listeners of what happens to jobs run where it happens: take its queue away",
        )
    return True


def _found(listener: Listener, option: str, given: Mapping[str, Any]) -> Any:
    if option in given:
        return _checked_hook(option, given[option], listener.name)
    owner = listener.target.owner
    if owner is None:
        return None
    static = inspect.getattr_static(owner, option, None)
    # An instance method needs an instance: its name stands for it until there is one.
    if option in _HOOKS and inspect.isfunction(static):
        return option
    if option in ("tries", "backoff", "timeout") and inspect.isfunction(static):
        return Method(option)
    return None if static is None else _checked_hook(option, getattr(owner, option), listener.name)


def _checked_hook(option: str, value: Any, where: str) -> Any:
    if option in _HOOKS and value is not None and not callable(value):
        raise InvalidOption(option=option, value=value, expected="callable", where=where)
    return value


def _aliases(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidOption(
            option="aliases", value=value, expected='names, such as ("shop:Old",)', where=where
        )
    return tuple(_checked_name(one, "aliases", where) for one in value)


def _checked_name(value: Any, option: str, where: str) -> str:
    if isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST:
        return str(value)
    raise InvalidOption(
        option=option,
        value=value,
        expected=f"1 to {_LONGEST} printable characters",
        where=where,
    )


def _optional(value: Any, option: str, where: str) -> str | None:
    return None if value is None else valid_name(value, option=option, where=where)


def _value_or_rule(value: Any, read: Callable[[Any], Any]) -> Any:
    return value if value is None or callable(value) or isinstance(value, Method) else read(value)


def _stored_name(listener: Listener, declared: Any) -> str:
    method = listener.target.method
    if declared is not None:
        declared = _checked_name(declared, "name", listener.name)
        # One class, several handlers: `handle` has the class's name, the others their own behind it.
        return declared if method in ("", "handle", "__call__") else f"{declared}.{method}"
    name = listener.target.name
    for part, remedy in _UNNAMED:
        if part in name:
            raise ListenError(
                listener=name, reason="a worker could not find it by this name", remedy=remedy
            )
    return name


#: Characters of a stored name: what an event may declare, too.
_LONGEST: Final = 200

_UNNAMED: Final = (
    ("<locals>", 'Move it to its module, or name it: @listens(..., queue=True, name="send-mail")'),
    ("<lambda>", "Write a function with a name"),
    ("partial of", "Write a function with a name"),
    ("__main__:", "Move it to a module that the worker can import, or run this one with python -m"),
)
