"""Jobs of which one is enough: the second is not enqueued, or takes the place of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import field, frozen

from eventbus.errors import InvalidOption
from eventbus.queue.limits import keyed, lasting, storable
from eventbus.values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from uuid import UUID

    from eventbus.queue.envelope import UniqueKey

    #: What makes two jobs the same: a value, or a function of the event, or of the job.
    By = str | int | UUID | Callable[..., str | int | UUID]

__all__ = ["Debounce", "Unique", "debounce_of", "key_of", "unique_of"]

#: Until when a key may be kept.
_UNTIL: Final = ("end", "start")


def _by(value: By) -> By:
    if not callable(value):
        key: Any = value
        keyed(key)
    return value


def _life(value: float | timedelta | None) -> float:
    return 0.0 if value is None else lasting(value, "life", where="Unique")


def _until(value: Literal["end", "start"]) -> Literal["end", "start"]:
    if value in _UNTIL:
        return value
    raise InvalidOption(option="until", value=value, expected='"end" or "start"', where="Unique")


@frozen
class Unique:
    """
    Of jobs that are the same, one is in a queue at a time: while it waits or runs, the others are not enqueued.

    It is looked at in the one step that stores the job, whoever stores it: `dispatch`, `enqueue`,
    `enqueue_many`. What keeps the others out is the stored job itself, so nothing is left behind when it is
    done, has failed or was cancelled, or when its worker dies. A failed job that is retried is not unique.

    Args:
        by: What makes two jobs the same: a text, a number or a UUID, or a function of the event, or the job, that
            returns one. Those of other listeners, and other classes, are others.
        life: Seconds, or a `timedelta`, from `enqueue` for which it keeps the others out at most.
        until: `"end"`: until it is done or has failed. `"start"`: until it begins to run, behind its middleware.

    Raises:
        InvalidOption: One of them cannot be.

    Defaults:
        by = empty: all jobs of the listener, or class, are the same.
        life = None: as long as it is stored.
        until = "end".

    Example:
        >>> from eventbus import EventBus, Job
        >>> class Reindex(Job, name="reindex", unique=Unique(lambda job: job.shop)):
        ...     shop: int
        ...
        ...     def handle(self) -> None: ...
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> [
        ...     handle.status().value
        ...     for handle in bus.enqueue_many([Reindex(1), Reindex(1), Reindex(2)])
        ... ]
        ['waiting', 'skipped', 'waiting']
    """

    by: By = field(default="", converter=_by)
    life: float = field(default=None, converter=_life, kw_only=True)
    until: Literal["end", "start"] = field(default="end", converter=_until, kw_only=True)


def _wait(value: float | timedelta) -> float:
    return lasting(value, "wait", where="Debounce")


def _max_wait(value: float | timedelta | None) -> float:
    return 0.0 if value is None else lasting(value, "max_wait", where="Debounce")


@frozen
class Debounce:
    """
    Waits for quiet: of jobs that are the same, the newest runs, once none has come for a while.

    Each takes the place of the one that waits, with its own data. One that runs already is left alone, and the next
    waits anew. A `delay` that `enqueue` says wins over the wait.

    Args:
        wait: Seconds, > 0, or a `timedelta`, without another one.
        max_wait: Seconds, or a `timedelta`, from the first of them until one runs at the latest.
        by: As that of `Unique`.

    Raises:
        InvalidOption: One of them cannot be.

    Defaults:
        max_wait = None: no limit.
        by = empty: all jobs of the listener, or class, are the same.

    Example:
        >>> from eventbus import Job
        >>> class Save(Job, debounce=Debounce(5, max_wait=60, by=lambda job: job.document)):
        ...     document: int
        ...     text: str
        ...
        ...     def handle(self) -> None: ...
    """

    wait: float = field(converter=_wait)
    max_wait: float = field(default=None, converter=_max_wait, kw_only=True)
    by: By = field(default="", converter=_by, kw_only=True)


def unique_of(value: Any, *, option: str, where: str) -> Unique | None:
    """Return the option `unique` as it counts: True, what makes two jobs the same, or a `Unique`."""
    if isinstance(value, Unique) or value is False:
        return value or None
    if value is True:
        return Unique()
    if callable(value):
        by: Any = value
        return Unique(by)
    raise InvalidOption(
        option=option,
        value=value,
        expected="True, a function of the event or the job, or Unique(...)",
        where=where,
    )


def debounce_of(value: Any, *, option: str, where: str) -> Debounce:
    """Return the option `debounce` as it counts: a number of seconds, or a `Debounce`."""
    if isinstance(value, Debounce):
        return value
    return Debounce(seconds(value, option=option, where=where))


def key_of(
    name: str, unique: Unique | None, debounce: Debounce | None, arguments: Sequence[Any]
) -> UniqueKey | None:
    """
    Return what no other job in its queue may have; None if it is nothing.

    Args:
        name: That of the listener, or of the class of jobs.
        unique: Its option.
        debounce: The same.
        arguments: The event, a name and its payload, or the job.

    Raises:
        InvalidOption: The function that tells says no text, number or UUID.
    """
    from eventbus.queue.envelope import UniqueKey

    if unique is not None:
        return UniqueKey(key=_key(name, unique.by, arguments), life=unique.life)
    if debounce is not None:
        key = _key(name, debounce.by, arguments)
        return UniqueKey(key=key, replaces=True, latest=debounce.max_wait)
    return None


def _key(name: str, by: Any, arguments: Sequence[Any]) -> str:
    told: Any = by(*arguments) if callable(by) else by
    found = keyed(told)
    return storable(f"{name}:{found}" if found else name)
