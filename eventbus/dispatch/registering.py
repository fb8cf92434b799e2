"""Register listeners, find them in packages, and say who listens."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from eventbus.dispatch.calling import Dispatcher
from eventbus.dispatch.discovery import Discovery, scan, under_way
from eventbus.dispatch.hints import UnusableHint, union_members
from eventbus.dispatch.listeners import Listener, check
from eventbus.dispatch.marking import marks
from eventbus.dispatch.registry import Match, Registration, listenable
from eventbus.dispatch.resolver import Resolver
from eventbus.dispatch.subscribing import Gathering, Postponed, entries
from eventbus.dispatch.targets import Target, handlers_of, load, target_of
from eventbus.dispatch.waiting import drive
from eventbus.errors import ListenError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Concatenate

    from typing_extensions import TypeForm

    from eventbus.dispatch.accepts import (
        E1,
        E2,
        E3,
        E4,
        AnyListener,
        E,
        Handles,
        Hinted,
        ListenerOf,
        ListensByHint,
        Named,
    )

__all__ = ["Registering"]


class Registering(Dispatcher):
    """A dispatcher with ways to register listeners, and to ask for them."""

    def __init__(
        self,
        *,
        discover: str | Iterable[str],
        listen: Mapping[Any, Any],
        subscribe: Iterable[Any],
        resolver: Resolver,
        collect: bool,
    ) -> None:
        super().__init__(resolver=resolver, collect=collect)
        #: Set while a subscriber registers: all that it registers becomes known at once.
        self._gathered: ContextVar[Gathering | None] = ContextVar("eventbus_gathered", default=None)
        self._packages: list[tuple[str, int]] = []
        self._postponed: list[Postponed] = []
        self._found = Discovery()
        #: Nothing is put off any more.
        self._prepared = False
        #: Guards what is put off, never user code.
        self._settling = threading.Lock()
        for event, listeners in listen.items():
            for one in listeners if isinstance(listeners, list) else [listeners]:
                self._now_or_later(one, self.listen, (event, one))
        for one in [subscribe] if isinstance(subscribe, str) else subscribe:
            self._now_or_later(one, self.subscribe, (one,))
        self._note([discover] if isinstance(discover, str) else discover)

    def _now_or_later(
        self, thing: Any, call: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        # An import string in the constructor may name a module that imports the module of the bus.
        path = thing[0] if isinstance(thing, tuple) and thing else thing
        if isinstance(path, str):
            place = self._registry.next_order()
            self._postponed.append(Postponed(path, partial(call, *arguments), place))
        else:
            call(*arguments)

    def _note(self, packages: Iterable[str]) -> None:
        with self._settling:
            self._packages += [(one, self._registry.next_order()) for one in packages]
            self._prepared = False
        with self._registry.lock:
            self._changed()

    # Registering.

    @overload
    def listen(
        self,
        event: str,
        listener: Callable[[Any, Any], object],
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(
        self,
        event: str | Sequence[str],
        listener: AnyListener,
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(
        self,
        event: TypeForm[E],
        listener: Callable[[E], object],
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(
        self,
        event: TypeForm[E],
        listener: ListenerOf[E],
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(
        self,
        event: Sequence[type[Any]],
        listener: Named,
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(
        self,
        event: Sequence[type[E]],
        listener: Callable[[E], object],
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(
        self,
        event: Sequence[type[E1] | type[E2] | type[E3] | type[E4]],  # noqa: PYI055 -- each is solved
        listener: Callable[Concatenate[E1 | E2 | E3 | E4, ...], object],
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(
        self,
        event: Sequence[type[E1] | type[E2] | type[E3] | type[E4]],  # noqa: PYI055 -- each is solved
        listener: Handles[E1 | E2 | E3 | E4] | type[Handles[E1 | E2 | E3 | E4]],
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(
        self,
        event: Sequence[type[E]],
        listener: ListenerOf[E],
        /,
        *,
        priority: int = 0,
        once: bool = False,
    ) -> Registration: ...
    @overload
    def listen(self, listener: Hinted, /, *, priority: int = 0, once: bool = False) -> Hinted: ...
    @overload
    def listen(self, /, *, priority: int = 0, once: bool = False) -> ListensByHint: ...
    def listen(
        self, event: Any = None, listener: Any = None, /, *, priority: int = 0, once: bool = False
    ) -> Any:
        """
        Register a listener.

        Args:
            event: A class, a name, a wildcard, a union or a list of these. Left out, the hint of the
                listener's first parameter says; a class is then registered with all its `handle*`.
            listener: A function, method, class or object with `handle*` or `__call__`,
                `(Class, "method")`, or an import string of one of these; sync or async.
            priority: Higher goes first.
            once: Hears only the first event.

        Returns:
            A `Registration` that removes it. Where the event is left out, the listener itself, so
            that `@bus.listen` can stand above it.

        Raises:
            ListenError: It cannot listen, or not to this.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus()
            >>> @bus.listen
            ... def note(event: KeyError) -> str:
            ...     return "noted"
            >>> with bus.listen("order.*", lambda name, payload: name, priority=1):
            ...     bus.dispatch("order.imported", 17)
            ['order.imported']
        """
        if event is None and listener is None:
            return lambda one: self.listen(one, priority=priority, once=once)
        if listener is None:
            self._register(_by_hints(event), priority=priority, once=once)
            return event
        events = event if isinstance(event, list | tuple) else union_members(event)
        pairs = [(one, target_of(listener, one)) for one in map(listenable, events)]
        return Registration(
            self._register(pairs, priority=priority, once=once), self._registry.remove
        )

    def _register(
        self, pairs: Iterable[tuple[type | str, Target]], *, priority: int, once: bool
    ) -> tuple[Listener, ...]:
        made: list[Listener] = []
        gathering = self._gathered.get()
        for event, target in pairs:
            check(target, event)
            own = marks(target.function) or marks(target.owner)
            one = Listener(
                event=event,
                target=target,
                priority=priority,
                once=once,
                # What @listens says of a queue holds however the listener is registered.
                options=own[0].options if own else {},
                order=(self._registry.next_order(), "", 0),
            )
            self._check(one)
            made.append(one if gathering is None else gathering.add(one))
        return tuple(made) if gathering is not None else self._registry.add(made)

    def _check(self, listener: Listener) -> None:
        """Refuse a listener whose options cannot be."""
        if listener.options:
            raise ListenError(
                listener=listener.name,
                reason=f"a bus without a queue does not know {', '.join(listener.options)}",
                remedy="Use EventBus",
            )

    def subscribe(self, subscriber: Any) -> Registration:
        """
        Let a subscriber register its listeners.

        Args:
            subscriber: A class, built once by the resolver, an object, or an import string. Its
                `subscribe(bus)` registers listeners, or returns a mapping from events to the names
                of its methods, or lists of them.

        Returns:
            A `Registration` that removes all of them.

        Raises:
            ListenError: It has no `subscribe`, or returned something else.

        Example:
            >>> from eventbus import EventBus
            >>> class Audit:
            ...     def subscribe(self, bus: EventBus) -> dict[type, str]:
            ...         return {KeyError: "on_key"}
            ...
            ...     def on_key(self, event: KeyError) -> str:
            ...         return "seen"
            >>> bus = EventBus(subscribe=[Audit])
            >>> bus.dispatch(KeyError())
            ['seen']
        """
        outer = self._gathered.get()
        gathering = outer or Gathering(place=self._registry.next_order())
        start = len(gathering.listeners)
        token = self._gathered.set(gathering)
        try:
            one = self._subscriber(subscriber)
            for event, listener in entries(one, one.subscribe(self)):
                self.listen(event, listener)
        except BaseException:
            del gathering.listeners[start:]
            raise
        finally:
            self._gathered.reset(token)
        made = gathering.listeners[start:]
        if outer is None:
            self._registry.add(made)
        return Registration(made, self._registry.remove)

    def _subscriber(self, subscriber: Any) -> Any:
        one = load(subscriber) if isinstance(subscriber, str) else subscriber
        if not callable(getattr(one, "subscribe", None)):
            raise ListenError(
                listener=repr(one),
                reason="it has no subscribe method",
                remedy="Write `def subscribe(self, bus: EventBus) -> None`",
            )
        if not inspect.isclass(one):
            return one
        # Kept for as long as the bus, so what is built for it is not closed.
        return drive(self._resolver.scope(self._given).instance(one), self)

    def discover(self, *packages: str) -> Discovery:
        """
        Scan packages for listeners now: those named here, and those that still wait to be scanned.

        Args:
            packages: Dotted names of packages or modules; everything below a package is scanned.

        Returns:
            What was found so far, and what was passed over and why.

        Raises:
            DiscoveryError: A package does not exist, or a module cannot be imported.
        """
        self._note(packages)
        self._prepare()
        return self._found

    def _prepare(self) -> bool:
        """
        Do what was put off until the first dispatch, import strings and scans; tell if all is done.

        Importing and subscribing run other people's code, and may wait for a thread that waits for
        us: no lock is held. Two threads that come here at the same time both do it, and what they
        made becomes known once and at once.
        """
        if self._prepared or self._gathered.get() is not None:
            return self._prepared
        strings = [(one, self._made(one)) for one in list(self._postponed)]
        packages = list(self._packages)
        found = scan(packages, bus_type=type(self))
        for listener in found.listeners:
            self._check(listener)
        subscribed = [
            (cls, self._gather(partial(self.subscribe, cls), Gathering(place, "discovery")))
            for cls, place in found.subscribers.items()
            if cls not in self._found.subscribers
        ]
        with self._settling:
            for string, made in strings:
                if made is not None and string in self._postponed:
                    self._postponed.remove(string)
                    self._registry.add(made)
            found.listeners = list(self._registry.add(found.listeners))
            for cls, made in subscribed:
                if cls not in self._found.subscribers:
                    self._registry.add(made)
            self._found = self._found.merged(found)
            if not found.unfinished:
                self._packages = [one for one in self._packages if one not in packages]
            self._prepared = not self._packages and not self._postponed
            return self._prepared

    def _made(self, one: Postponed) -> list[Listener] | None:
        """Return the listeners that an import string stands for; None while its module is imported."""
        try:
            load(one.path)
        except ListenError:
            if under_way(sys.modules.get(one.path.partition(":")[0])):
                return None
            raise
        return self._gather(one.register, Gathering(one.place))

    def _gather(self, register: Callable[[], object], into: Gathering) -> list[Listener]:
        token = self._gathered.set(into)
        try:
            register()
        finally:
            self._gathered.reset(token)
        return into.listeners

    def forget(self, event: type | str) -> None:
        """
        Remove every listener of a class or name, or of a wildcard by its own text.

        Does nothing while events are faked: what the code under test takes apart is whole again for
        the next test.
        """
        self._prepare()
        wanted = listenable(event)
        if not self._fakes:
            self._registry.forget(wanted)

    # Asking.

    def has_listeners(self, event: type | str) -> bool:
        """
        Tell whether anybody hears an event: a class, a name, or a wildcard by its own text.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(listen={"order.*": print})
            >>> bus.has_listeners("order.imported"), bus.has_listeners("stock.low")
            (True, False)
        """
        self._prepare()
        return self._registry.hears(listenable(event))

    def listeners_for(self, event: type | str) -> list[Listener]:
        """Return the listeners that run when an event is dispatched, in their order."""
        return [one.listener for one in self.why(event) if not one.passed_over]

    def why(self, event: type | str) -> tuple[Match, ...]:
        """Return who matches an event, in order, and why; those that do not run say why not."""
        self._prepare()
        return self._registry.matches(listenable(event))

    def listeners(self) -> tuple[Listener, ...]:
        """Return every listener, in the order of registration."""
        self._prepare()
        return self._registry.all()


def _by_hints(listener: Any) -> list[tuple[type | str, Target]]:
    """Return (event, target) for what the hints of a listener say."""
    if isinstance(listener, str):
        return _by_hints(load(listener))
    names = handlers_of(listener if inspect.isclass(listener) else type(listener))
    targets = [target_of((listener, name)) for name in names] or [target_of(listener)]
    pairs: list[tuple[type | str, Target]] = []
    for target in targets:
        try:
            pairs += [(event, target) for event in target.hears()]
        except UnusableHint as problem:
            raise ListenError(
                listener=target.name,
                reason=f"no event was given and {problem.reason}",
                remedy="Hint its first parameter with an event class, or write"
                " bus.listen(OrderShipped, listener)",
            ) from problem
    return pairs
