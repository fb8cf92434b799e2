"""What goes around a call: the one home of middleware, that of dispatch and that of jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import field, frozen

from eventbus.dispatch.hints import is_async
from eventbus.dispatch.targets import describe
from eventbus.dispatch.waiting import Waits, Walk, adrive, drive
from eventbus.errors import InvalidOption, MiddlewareCannotWait

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from eventbus.dispatch.plans import Run

    #: What may stand around a dispatch.
    Around = Callable[["Dispatching", Callable[[], Any]], Any]

__all__ = ["Dispatching", "Refuses", "Step", "checked_around", "through", "within"]

Subject = TypeVar("Subject")


@frozen
class Dispatching:
    """What is being dispatched, as the middleware of `EventBus.use` sees it."""

    #: Of an event object, that of its class.
    name: str
    #: The event object; None for a name with its payload.
    event: object
    #: What listeners are called with: the event object alone, or what came with the name.
    payload: tuple[Any, ...] = field(repr=False)


class Step(ABC, Generic[Subject]):
    """A middleware of ours: it waits in sync and in async code alike."""

    @abstractmethod
    def around(self, subject: Subject, go_on: Callable[[], Walk], /) -> Walk:
        """Go on, or not."""


def through(
    stack: Sequence[Any], subject: Any, call: Callable[[], Walk], here: Callable[[Any], Waits]
) -> Walk:
    """
    Walk through middleware, the first one outermost, and at last `call`; return the answer.

    Args:
        stack: Things to call, or steps.
        subject: What they are called with, before what goes on.
        call: The innermost.
        here: Returns how a sync middleware waits for what it goes on to.
    """
    if not stack:
        return (yield from call())
    first, *others = stack
    go_on = partial(through, others, subject, call, here)
    if isinstance(first, Step):
        return (yield from first.around(subject, go_on))
    if is_async(first):

        async def next_async() -> Any:
            return await adrive(go_on())

        return (yield first(subject, next_async))

    waits = here(first)
    answer = first(subject, lambda: drive(go_on(), waits))
    # Of an async one that it has called: dropped, it would be a skip that nobody meant.
    return waits.wait(answer) if isawaitable(answer) else answer


def within(
    stack: Sequence[Around], run: Run, walk: Callable[[Run], Walk], here: Callable[[Any], Waits]
) -> Walk:
    """
    Walk a dispatch within its middleware; return what the outermost returned, by itself in a tuple.

    Args:
        stack: The first one outermost. Of one that returns nothing, the answers of the listeners stand.
        run: The dispatch.
        walk: Walks it, each time anew, and returns its answers.
        here: As that of `through`.
    """
    last: Any = None if run.until else []

    def innermost() -> Walk:
        nonlocal last
        last = yield from walk(run)
        return last

    event = run.payload[0] if run.typed else None
    subject = Dispatching(run.plan.name, event, run.payload)
    answer = yield from through(stack, subject, innermost, here)
    return (last if answer is None else answer,)


@frozen
class Refuses:
    """Waits for nothing: what a sync middleware goes on to has to be sync."""

    listener: str
    middleware: object

    def wait(self, awaitable: Awaitable[Any], /) -> Any:
        """Refuse to."""
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        raise MiddlewareCannotWait(listener=self.listener, middleware=describe(self.middleware))


def checked_around(middleware: Any) -> Any:
    """Return what may stand around a dispatch as it is; `InvalidOption` if it cannot."""
    if callable(middleware) and not isinstance(middleware, type):
        return middleware
    raise InvalidOption(
        option="middleware",
        value=middleware,
        expected="a function, or an object with __call__",
        where="use",
    )
