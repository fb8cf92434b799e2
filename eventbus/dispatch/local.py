"""A bus without a queue: it dispatches in this process, under conditions, later, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from eventbus.dispatch.around import checked_around
from eventbus.dispatch.calling import check_event
from eventbus.dispatch.holding import Deferred, Muted, Waiting
from eventbus.dispatch.registering import Registering
from eventbus.dispatch.registry import listenable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventbus.dispatch.around import Around

__all__ = ["LocalBus"]


class LocalBus(Registering):
    """What `EventBus` is before it knows of queues."""

    @overload
    def dispatch_if(self, condition: object, event: str, /, *payload: Any) -> list[Any]: ...
    @overload
    def dispatch_if(self, condition: object, event: object, /) -> list[Any]: ...
    def dispatch_if(self, condition: object, event: Any, *payload: Any) -> list[Any]:
        """Dispatch if `condition` is true; else return `[]`."""
        return self.dispatch(event, *payload) if condition else []

    @overload
    def dispatch_unless(self, condition: object, event: str, /, *payload: Any) -> list[Any]: ...
    @overload
    def dispatch_unless(self, condition: object, event: object, /) -> list[Any]: ...
    def dispatch_unless(self, condition: object, event: Any, *payload: Any) -> list[Any]:
        """Dispatch if `condition` is false; else return `[]`."""
        return [] if condition else self.dispatch(event, *payload)

    @overload
    async def adispatch_if(self, condition: object, event: str, /, *payload: Any) -> list[Any]: ...
    @overload
    async def adispatch_if(self, condition: object, event: object, /) -> list[Any]: ...
    async def adispatch_if(self, condition: object, event: Any, *payload: Any) -> list[Any]:
        """Dispatch, as `adispatch`, if `condition` is true; else return `[]`."""
        return await self.adispatch(event, *payload) if condition else []

    @overload
    async def adispatch_unless(
        self, condition: object, event: str, /, *payload: Any
    ) -> list[Any]: ...
    @overload
    async def adispatch_unless(self, condition: object, event: object, /) -> list[Any]: ...
    async def adispatch_unless(self, condition: object, event: Any, *payload: Any) -> list[Any]:
        """Dispatch, as `adispatch`, if `condition` is false; else return `[]`."""
        return [] if condition else await self.adispatch(event, *payload)

    @overload
    def hold(self, event: str, /, *payload: Any) -> None: ...
    @overload
    def hold(self, event: object, /) -> None: ...
    def hold(self, event: Any, *payload: Any) -> None:
        """
        Keep an event, or a name with its payload, until `flush`.

        Raises:
            NotAnEvent: It could not be dispatched either.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(listen={"done": lambda count: count})
            >>> bus.hold("done", 1)
            >>> bus.hold("done", 2)
            >>> bus.flush("done")
            [[1], [2]]
            >>> bus.flush("done")
            []
        """
        check_event(event, payload)
        if not self._fakes:
            self._held.add(event, payload)

    def flush(self, *events: type | str) -> list[list[Any]]:
        """
        Dispatch held events of these classes and names, all where none is given, and drop them.

        Returns:
            The answers to each. If one raises, those behind it stay held.
        """
        answers: list[list[Any]] = []
        waiting = self._flushed(events)
        try:
            while waiting:
                event, payload = waiting.pop(0)
                answers.append(self.dispatch(event, *payload))
        finally:
            self._held.put_back(waiting)
        return answers

    async def aflush(self, *events: type | str) -> list[list[Any]]:
        """Flush, as `flush` does, with `adispatch`."""
        answers: list[list[Any]] = []
        waiting = self._flushed(events)
        try:
            while waiting:
                event, payload = waiting.pop(0)
                answers.append(await self.adispatch(event, *payload))
        finally:
            self._held.put_back(waiting)
        return answers

    def _flushed(self, events: Sequence[type | str]) -> list[Waiting]:
        wanted = [listenable(one) for one in events]
        return [] if self._fakes else self._held.take(wanted)

    def forget_held(self, *events: type | str) -> None:
        """Drop held events of these classes and names; all where none is given."""
        self._flushed(events)

    def use(self, *middleware: Around) -> None:
        """
        Let each dispatch of this bus go through middleware, the first one outermost.

        It is called with a `Dispatching`, which says what is dispatched, and with what goes on to the next one and
        at last to the listeners; it returns the answers, or others, or nothing, which stands for those of the listeners.
        If it does not go on, no listener runs. What happens to jobs and workers goes through none.

        Args:
            middleware: Functions, or objects with `__call__`, sync or async. A sync one in `adispatch` goes around what
                is sync alone. Those that are there stay outside of those that come later.

        Raises:
            InvalidOption: One cannot be called, or is a class.

        Example:
            >>> from eventbus import EventBus
            >>> def noted(dispatching, call_next):
            ...     print("before", dispatching.name)
            ...     answers = call_next()
            ...     print("after", answers)
            ...     return answers
            >>> bus = EventBus(listen={"done": lambda count: count})
            >>> bus.use(noted)
            >>> bus.dispatch("done", 1)
            before done
            after [1]
            [1]
        """
        checked = tuple(checked_around(one) for one in middleware)
        with self._registry.lock:
            self._around = (*self._around, *checked)
            self._reset()

    def muted(self) -> Muted:
        """
        Let no event out in this block, in this thread or task only; `dispatch` returns `[]`.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(listen={"done": lambda: 1})
            >>> with bus.muted():
            ...     bus.dispatch("done")
            []
        """
        return Muted(self._here, self._divert)

    def deferred(self, *events: type | str) -> Deferred:
        """
        Let events out at the end of this block, in order; an exception in the block discards them.

        Args:
            events: Classes, names and wildcards that wait; the others go out at once. None given
                means all.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(listen={"done": print})
            >>> with bus.deferred():
            ...     _ = bus.dispatch("done", "second")
            ...     print("first")
            first
            second
        """
        only = tuple(listenable(one) for one in events)
        return Deferred(self._here, self._divert, only, self.dispatch, self.adispatch)
