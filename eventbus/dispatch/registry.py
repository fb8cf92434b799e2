"""Who listens to what, and in which order."""

from __future__ import annotations

import itertools
import threading
from abc import ABCMeta
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self

from attrs import evolve, frozen

from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.names import Patterns, event_name, is_pattern
from eventbus.errors import ListenError

__all__ = ["Match", "Registration", "Registry", "listenable"]

_EXACT: Final = 0
_WILDCARD: Final = 1
_INHERITED: Final = 2


@frozen(kw_only=True)
class Match:
    """A listener that hears an event, and why."""

    listener: Listener
    #: "exact", "name", "wildcard order.*", "parent Base" or "abc Base".
    how: str
    #: Smaller is more specific.
    rank: tuple[int, int]
    #: Why it does not run although it matches; empty if it runs.
    passed_over: str = ""


class Registration:
    """
    What `listen` and `subscribe` return: it removes what they registered.

    As a context manager it removes on leaving the block.

    Example:
        >>> from eventbus import EventBus
        >>> bus = EventBus()
        >>> with bus.listen(KeyError, print):
        ...     bus.has_listeners(KeyError)
        True
        >>> bus.has_listeners(KeyError)
        False
    """

    def __init__(
        self, listeners: Iterable[Listener], remove: Callable[[Iterable[Listener]], None]
    ) -> None:
        self.listeners = tuple(listeners)
        self._remove = remove

    def remove(self) -> None:
        """Remove what was registered. A second call, and what is gone already, changes nothing."""
        self._remove(self.listeners)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<Registration of {', '.join(one.name for one in self.listeners) or 'nothing'}>"


class Registry:
    """
    Listeners by the event that they hear.

    Args:
        changed: Called, with the registry's lock held, after each change.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        #: Guards the tables, never user code.
        self.lock = threading.Lock()
        self._changed = changed
        self._by_event: dict[type | str, dict[int, Listener]] = {}
        self._patterns: Patterns | None = None
        self._abcs: list[ABCMeta] = []
        self._discovered: set[tuple[object, ...]] = set()
        self._sequence = itertools.count(1)

    def next_order(self) -> int:
        """Return the next place in the order of registration."""
        return next(self._sequence)

    def add(self, listeners: Iterable[Listener]) -> tuple[Listener, ...]:
        """
        Add listeners in one step; return those that are new.

        What a scan found is added once, however often it is found.
        """
        added: list[Listener] = []
        with self.lock:
            for listener in listeners:
                if listener.origin == "discovery":
                    key = (listener.event, *listener.target.identity)
                    if key in self._discovered:
                        continue
                    self._discovered.add(key)
                self._by_event.setdefault(listener.event, {})[id(listener)] = listener
                added.append(listener)
            self._patterns = None
            self._changed()
        return tuple(added)

    def remove(self, listeners: Iterable[Listener]) -> None:
        """Remove listeners in one step; those that are gone already change nothing."""
        with self.lock:
            dropped: list[Listener] = []
            for listener in listeners:
                held = self._by_event.get(listener.event, {})
                if held.pop(id(listener), None) is not None:
                    dropped.append(listener)
                    if not held:
                        del self._by_event[listener.event]
            if dropped:
                self._dropped(dropped)

    def forget(self, event: type | str) -> None:
        """Remove every listener of a class, a name, or a pattern by its own text."""
        with self.lock:
            held = self._by_event.pop(event, None)
            if held is not None:
                self._dropped(held.values())

    def _dropped(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            self._discovered.discard((listener.event, *listener.target.identity))
        self._patterns = None
        self._changed()

    def all(self) -> tuple[Listener, ...]:
        """Return every listener, in the order of registration."""
        with self.lock:
            found = [one for held in self._by_event.values() for one in held.values()]
        return tuple(sorted(found, key=lambda one: one.order))

    def hears(self, event: type | str) -> bool:
        """Tell whether anything runs when `event` is dispatched; a pattern counts by its own text."""
        return any(not match.passed_over for match in self.matches(event))

    def matches(self, event: type | str) -> tuple[Match, ...]:
        """
        Return who hears a class of events, or a name, in the order in which they run.

        Higher priority first; then exact, wildcard, inherited (nearest first, ABCs last); then the
        order of registration. Those that match and do not run say why.
        """
        name = event_name(event) if isinstance(event, type) else event
        with self.lock:
            if self._patterns is None:
                self._patterns = Patterns(
                    one for one in self._by_event if isinstance(one, str) and is_pattern(one)
                )
                # Looked for once a change, and not once an event: there may be many events.
                self._abcs = [one for one in self._by_event if isinstance(one, ABCMeta)]
            found = self._collected(event, name, self._patterns)
            virtual = {
                one: tuple(self._by_event[one].values())
                for one in self._abcs
                if isinstance(event, type)
            }
        # Asking an ABC runs its __subclasshook__, somebody else's code: not under the lock.
        found += _virtual(event, virtual)
        found.sort(key=lambda one: (-one.listener.priority, one.rank, one.listener.order))
        return tuple(_each_target_once(found))

    def _collected(self, event: type | str, name: str, patterns: Patterns) -> list[Match]:
        found: list[Match] = []

        def take(key: type | str, how: str, rank: tuple[int, int]) -> None:
            found.extend(
                Match(listener=one, how=how, rank=rank)
                for one in self._by_event.get(key, {}).values()
            )

        if isinstance(event, str) and is_pattern(event):
            take(event, "its own text", (_WILDCARD, 0))
            return found
        take(event, "exact", (_EXACT, 0))
        for pattern in patterns.matching(name):
            take(pattern, f"wildcard {pattern}", (_WILDCARD, 0))
        if isinstance(event, type):
            take(name, "name", (_EXACT, 0))
            for distance, parent in enumerate(event.__mro__[1:], start=1):
                take(parent, f"parent {parent.__qualname__}", (_INHERITED, distance))
        return found


def _virtual(event: Any, candidates: Mapping[Any, tuple[Listener, ...]]) -> list[Match]:
    """Return the listeners of the ABCs and protocols that `event` is counted with, and none else."""
    return [
        Match(
            listener=listener,
            how=f"abc {abc.__qualname__}",
            rank=(_INHERITED, len(event.__mro__)),
        )
        for abc, held in candidates.items()
        if abc not in event.__mro__ and issubclass(event, abc)
        for listener in held
    ]


def _each_target_once(found: list[Match]) -> list[Match]:
    """
    Mark what must not run: the general registration of a target that also has a specific one.

    A target registered twice by hand for one and the same event runs twice: that was asked for.
    """
    by_hand = {
        place
        for one in found
        if one.listener.origin == "hand"
        for place in _places(one.listener, one.listener.target.identity, one.listener.target.code)
    }
    result = [
        evolve(one, passed_over="registered by hand as well")
        if one.listener.origin == "discovery"
        and not by_hand.isdisjoint(_places(one.listener, one.listener.target.identity))
        else one
        for one in found
    ]
    nearest: dict[object, Match] = {}
    for match in result:
        if isinstance(match.listener.event, type) and not match.passed_over:
            best = nearest.setdefault(match.listener.target.identity, match)
            if match.rank < best.rank:
                nearest[match.listener.target.identity] = match
    for index, match in enumerate(result):
        best = nearest.get(match.listener.target.identity, match)
        here, there = match.listener.event, best.listener.event
        if isinstance(here, type) and isinstance(there, type) and there is not here:
            why = match.passed_over or f"runs as the listener of {there.__qualname__}"
            result[index] = evolve(match, passed_over=why)
    return result


def _places(listener: Listener, *codes: tuple[object, ...]) -> list[tuple[object, ...]]:
    """Return what a scan must not register again: this code, for any class or for this name."""
    heard = isinstance(listener.event, type) or listener.event
    return [(heard, *code) for code in codes]


def listenable(event: Any) -> type | str:
    """
    Return `event` if something can listen to it.

    Raises:
        ListenError: It is neither a class nor a name, or a class whose instances cannot be told.
    """
    if isinstance(event, str):
        if event:
            return str.__str__(event)  # an enum's member is its value
        problem, remedy = "an event's name cannot be empty", 'Write a name such as "order.shipped"'
    elif not isinstance(event, type):
        problem = f"{event!r} is neither an event class nor a name"
        remedy = "Listen to a class, a name or a wildcard"
    elif issubclass(event, str):
        problem = "a string that is dispatched is the name of an event, not an event"
        remedy = 'Listen to the name, or to "*" for every one'
    else:
        try:
            issubclass(object, event)
            isinstance(None, event)  # typing.Any objects to this only
        except TypeError as error:
            problem = f"classes cannot be compared with {event.__qualname__} ({error})"
            remedy = "Use a class, an ABC, or a @runtime_checkable protocol that has methods only"
        else:
            return event
    raise ListenError(listener=f"a listener of {event!r}", reason=problem, remedy=remedy)
