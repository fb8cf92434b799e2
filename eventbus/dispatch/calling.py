"""
Call the listeners of an event: the loop, and what goes on around it.

A dispatch of plain functions is a dict look-up and a loop, and one of queued listeners alone may have a
short way of its own. Everything else (classes that are built, listeners that run elsewhere beside those
that run here, once, collected errors) is one generator, `Dispatcher._visit`, that
yields what must be waited for; `dispatch` and `adispatch` differ only in how they wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, overload

from eventbus.dispatch.around import Refuses, within
from eventbus.dispatch.holding import Diversion, Held
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.names import event_name, is_pattern
from eventbus.dispatch.notes import LOGGER, described, log, note
from eventbus.dispatch.plans import Away, Fake, Keep, Plan, Run, Step, Tables, Take, compiled
from eventbus.dispatch.registry import Registry
from eventbus.dispatch.resolver import Resolver
from eventbus.dispatch.waiting import Effect, Runners, Waits, Walk, adrive, drive, loop_runs
from eventbus.errors import AsyncListenerInSyncDispatch, NotAnEvent
from eventbus.text import class_name

if TYPE_CHECKING:
    from eventbus.dispatch.around import Around

__all__ = ["Dispatcher", "check_event"]


class Dispatcher:
    """
    Calls listeners. `EventBus` is one, with a way to register them.

    No lock is held, or taken, on the way from `dispatch` to the listeners; the first dispatch of an
    event after a registration compiles its listeners.
    """

    def __init__(self, *, resolver: Resolver, collect: bool) -> None:
        self._resolver = resolver
        self._collect = collect
        self._registry = Registry(self._changed)
        self._held = Held()
        self._here: ContextVar[Diversion | None] = ContextVar("eventbus_here", default=None)
        self._runners = Runners()
        #: What listeners get where they ask for the bus, by whichever of its classes.
        self._given = {cls: self for cls in type(self).__mro__ if issubclass(cls, Dispatcher)}
        #: How many `muted`, `deferred` or fake blocks are open; while any is, nothing is simple.
        self._diversions = 0
        #: What goes around each dispatch, the first one outermost.
        self._around: tuple[Around, ...] = ()
        #: The fakes that are open, the innermost first.
        self._fakes: tuple[Fake, ...] = ()
        with self._registry.lock:
            self._changed()

    def _changed(self) -> None:
        """Notice a change of the listeners. Called with the registry's lock held."""
        self._reset()

    def _reset(self) -> None:
        """Forget what was compiled. Called with the registry's lock held."""
        self._tables = Tables()
        #: Each dispatch goes the long way, where diversions and middleware are looked at.
        self._long = bool(self._diversions or self._collect or self._around)
        # Left empty, they send it there.
        self._simple = {} if self._long else self._tables.simple
        self._simple_async = {} if self._long else self._tables.simple_async
        self._away = {} if self._long else self._tables.away

    def _divert(self, change: int) -> None:
        with self._registry.lock:
            self._diversions += change
            self._reset()

    @contextmanager
    def faking(self, fake: Fake) -> Generator[None]:
        """
        Let `fake` have every event in this block, on the whole bus, whatever the thread or task.

        An event that it lets through goes to the fakes around it, then to listeners.
        """
        with self._registry.lock:
            self._fakes = (fake, *self._fakes)
        self._divert(1)
        try:
            yield
        finally:
            # Only this one: blocks in several threads may end in another order than they began.
            with self._registry.lock:
                self._fakes = tuple(one for one in self._fakes if one is not fake)
            self._divert(-1)

    # What a bus adds to plain dispatch.

    def _prepare(self) -> bool:
        """Run what was put off until the first dispatch; tell if all of it is done."""
        return True

    def _taker(self, listener: Listener) -> Take | None:  # noqa: ARG002 -- for who overrides it
        """Return what takes this listener's turn, if it does not run here."""
        return None

    def _short_away(self, event: type, plan: Plan) -> Away | None:  # noqa: ARG002 -- as above
        """Return a short way to bring events of a class to their listeners, if there is one."""
        return None

    def _deliver(self, taken: list[Any]) -> Walk:  # noqa: ARG002 -- for who overrides it
        """Bring what was taken where it belongs."""
        yield from ()

    # The four ways to dispatch.

    @overload
    def dispatch(self, event: str, /, *payload: Any) -> list[Any]: ...
    @overload
    def dispatch(self, event: object, /) -> list[Any]: ...
    def dispatch(self, event: Any, *payload: Any) -> list[Any]:
        """
        Call the listeners of an event, one after the other, and return their answers.

        Higher priority goes first; then who listens to the very class or name, to a wildcard, to a
        parent or ABC; then who registered first. A listener that returns `False` stops the rest. A
        queued listener is stored, at the end, also when another one raises; it gives no answer.

        Args:
            event: An object, of any class; or a name.
            payload: What the listeners of a name get. An object carries its own data.

        Returns:
            The answers of those that ran here, in order; `None` is one, the `False` that stopped
            the rest is not. `[]` if nobody listens, and while the bus is muted, deferred or faked.

        Raises:
            NotAnEvent: A class, None, an empty name or a wildcard; or an object with a payload.
            AsyncListenerInSyncDispatch: A listener is async and an event loop runs in this thread;
                nothing ran. Without a running loop it is run to its end.
            ListenersFailed: With `on_error="collect"`, what the listeners raised, once all ran.
            Exception: Else what a listener raised, at once, with a note that names the listener.

        Example:
            >>> from eventbus import EventBus
            >>> bus = EventBus(listen={KeyError: lambda event: f"no {event.args[0]}"})
            >>> bus.dispatch(KeyError("door"))
            ['no door']
            >>> _ = bus.listen("order.*", lambda name, payload: (name, *payload))
            >>> bus.dispatch("order.imported", 17, "csv")
            [('order.imported', 17, 'csv')]
        """
        try:
            calls = self._simple[type(event)]
        except KeyError:
            pass  # the long way is below: what it raises does not come of a KeyError
        else:
            if payload:
                raise NotAnEvent(value=event, reason=_NO_PAYLOAD)
            answers = []
            try:
                for call in calls:
                    answer = call(event)
                    if answer is False:
                        break
                    answers.append(answer)
            except Exception as error:
                # Only a call raises here, so there is one.
                note(error, event_name(type(event)), described(call))  # type: ignore[possibly-undefined]
                raise
            return answers
        away = self._away.get(type(event))
        if away is not None and not payload and away(event):
            return []
        if type(event) is str:
            plan = self._tables.named.get(event)
            if plan is not None and plan.ready is not None and not (plan.awaited or self._long):
                return _call_ready(plan, plan.ready, payload)
        run = self._begin(event, payload, "dispatch")
        return [] if run is None else self._conclude(run, drive(self._way(run), self))

    @overload
    async def adispatch(self, event: str, /, *payload: Any) -> list[Any]: ...
    @overload
    async def adispatch(self, event: object, /) -> list[Any]: ...
    async def adispatch(self, event: Any, *payload: Any) -> list[Any]:
        """
        Dispatch in async code: as `dispatch`, and async listeners are awaited, each in its turn.

        Sync listeners run inline. What stores queued listeners runs off the loop, and is finished
        even if the caller is cancelled meanwhile.

        Args:
            event: An object, of any class; or a name.
            payload: What the listeners of a name get.

        Returns:
            The answers, as `dispatch` returns them.

        Raises:
            NotAnEvent: As `dispatch`.
            ListenersFailed: As `dispatch`.
            Exception: As `dispatch`.

        Example:
            >>> import asyncio
            >>> from eventbus import EventBus
            >>> async def look_up(event: KeyError) -> str:
            ...     return f"no {event.args[0]}"
            >>> bus = EventBus(listen={KeyError: look_up})
            >>> asyncio.run(bus.adispatch(KeyError("door")))
            ['no door']
        """
        try:
            calls = self._simple_async[type(event)]
        except KeyError:
            pass  # the long way is below: what it raises does not come of a KeyError
        else:
            if payload:
                raise NotAnEvent(value=event, reason=_NO_PAYLOAD)
            answers = []
            try:
                for call, waits in calls:
                    answer = call(event)
                    if waits:
                        answer = await answer
                    if answer is False:
                        break
                    answers.append(answer)
            except Exception as error:
                # Only a call raises here, so there is one.
                note(error, event_name(type(event)), described(call))  # type: ignore[possibly-undefined]
                raise
            return answers
        run = self._begin(event, payload, "adispatch")
        return (
            []
            if run is None
            else self._conclude(run, await adrive(self._way(run, partial(Refuses, run.plan.name))))
        )

    @overload
    def until(self, event: str, /, *payload: Any) -> Any: ...
    @overload
    def until(self, event: object, /) -> Any: ...
    def until(self, event: Any, *payload: Any) -> Any:
        """
        Call the listeners of an event until one gives an answer, and return that answer.

        They are called as by `dispatch`. A queued listener is stored if its turn comes, and never
        answers.

        Args:
            event: An object, of any class; or a name.
            payload: What the listeners of a name get.

        Returns:
            The first answer that is not None, `False` too; None if there is none.

        Raises:
            NotAnEvent: As `dispatch`.
            AsyncListenerInSyncDispatch: As `dispatch`; it names `auntil`.
            ListenersFailed: As `dispatch`.
            Exception: As `dispatch`.

        Example:
            >>> from eventbus import EventBus
            >>> prices = [lambda item: None, lambda item: 10, lambda item: 20]
            >>> bus = EventBus(listen={"price of": prices})
            >>> bus.until("price of", "tea")
            10
        """
        run = self._begin(event, payload, "until")
        return None if run is None else self._conclude(run, drive(self._way(run), self))

    @overload
    async def auntil(self, event: str, /, *payload: Any) -> Any: ...
    @overload
    async def auntil(self, event: object, /) -> Any: ...
    async def auntil(self, event: Any, *payload: Any) -> Any:
        """
        Call listeners until one answers, in async code: as `until`, and async ones are awaited.

        Args:
            event: An object, of any class; or a name.
            payload: What the listeners of a name get.

        Returns:
            The first answer that is not None; None if there is none.

        Raises:
            NotAnEvent: As `dispatch`.
            ListenersFailed: As `dispatch`.
            Exception: As `dispatch`.

        Example:
            >>> import asyncio
            >>> from eventbus import EventBus
            >>> async def price(item: str) -> int:
            ...     return 10
            >>> bus = EventBus(listen={"price of": price})
            >>> asyncio.run(bus.auntil("price of", "tea"))
            10
        """
        run = self._begin(event, payload, "auntil")
        return (
            None
            if run is None
            else self._conclude(run, await adrive(self._way(run, partial(Refuses, run.plan.name))))
        )

    # The long way.

    def _way(self, run: Run, here: Callable[[Any], Waits] | None = None) -> Walk:
        """Return the walk of a dispatch, within its middleware if there is any."""
        # No call more than needed: each of a chain of dispatches is a few frames of Python's stack.
        if not self._around:
            return self._walk(run)
        return within(self._around, run, self._anew, here or (lambda _: self))

    def _anew(self, run: Run) -> Walk:
        """Walk a dispatch as it was begun: what goes on twice dispatches twice."""
        own = run.anew(self._resolver.scope(self._given))
        yield from self._walk(own)
        return self._conclude(own, None)

    def _begin(self, event: Any, payload: tuple[Any, ...], call: str) -> Run | None:
        """Check what was dispatched and find its plan; None if it is not to run now."""
        typed = check_event(event, payload)
        if typed:
            payload = (event,)
        keep: Keep | None = None
        if self._diversions:
            name = event_name(type(event)) if typed else event
            here = self._here.get()
            if here is not None and here.takes(event, name, payload):
                return None
            kept = (fake(event, name, payload) for fake in self._fakes)
            keep = next((one for one in kept if one is not None), None)
        # Not str(event): that of an enum's member is not its value.
        plan = self._plan(type(event) if typed else str.__str__(event))
        if plan.awaited and not call.startswith("a") and keep is None and loop_runs():
            raise AsyncListenerInSyncDispatch(event=plan.name, listener=plan.awaited, call=call)
        return Run(
            plan=plan,
            payload=payload,
            scope=self._resolver.scope(self._given),
            typed=typed,
            until=call.endswith("until"),
            keep=keep,
        )

    def announce(self, event: object) -> Walk:
        """
        Walk a dispatch of `event` inside another walk; what its listeners raise is only logged.

        The walk returns whether nobody stopped it: False where a listener answered `False`.
        """
        run = self._begin(event, (), "adispatch")
        if run is not None:
            yield from self._walk(run)
            try:
                self._conclude(run, None)
            except BaseException:
                import logging

                logging.getLogger(LOGGER).exception("a listener of %s raised", run.plan.name)
        return run is None or not run.stopped

    def _walk(self, run: Run) -> Walk:
        """Visit the listeners, bring away what was taken, close the scope; whatever goes wrong."""
        for stage in (self._visit, self._delivered, self._closed):
            try:
                yield from stage(run)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 -- raised by _conclude
                if run.error is not None and error.__context__ is None:
                    error.__context__ = run.error
                run.error = error

    def _delivered(self, run: Run) -> Walk:
        if run.keep is not None:
            run.keep(run.taken)
        elif run.taken:
            yield from self._deliver(run.taken)

    def _closed(self, run: Run) -> Walk:
        # Asked for only now: what delivering raised is something to roll back, too.
        error = run.error
        if error is None and run.failures:  # not `or`: an exception may be false
            _, error = run.failures[0]
        yield from run.scope.close(error)

    def _visit(self, run: Run) -> Walk:
        name = run.plan.name
        for step in run.plan.steps:
            if (run.keep is not None and step.take is None) or not self._has_chance(
                step.listener, run
            ):
                continue
            try:
                if step.take is not None:
                    yield from step.take(run)
                    continue
                call, extra = yield from _ready(step, run)
                # Called here: a generator in between would turn its StopIteration into another error.
                if step.wildcard:
                    answer = call(name, run.payload, **extra)
                else:
                    answer = call(*run.payload, **extra)
                if step.listener.target.waits(answer):
                    answer = yield answer
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 -- raised by _conclude
                if self._raised(run, step.listener.name, error):
                    return
                continue
            if run.answered(step.listener.name, answer):
                return

    def _raised(self, run: Run, who: str, error: BaseException) -> bool:
        """Keep what a listener raised; tell whether it ends the dispatch."""
        run.log.append(f"{who} raised {class_name(type(error))}")
        if isinstance(error, Exception):
            note(error, run.plan.name, who)
            if self._collect:
                run.failures.append((who, error))
                return False
        run.error = error
        return True

    def _has_chance(self, listener: Listener, run: Run) -> bool:
        """Use up a `once` listener; False if another dispatch was first."""
        if not listener.once or run.keep is not None:
            return True
        if listener.spend():
            self._registry.remove([listener])
            return True
        return False

    def _conclude(self, run: Run, answered: tuple[Any] | None) -> Any:
        if answered is not None:
            return answered[0]  # by its middleware
        log(run.plan.name, run.log)
        error = run.outcome()
        if error is not None:
            try:
                raise error
            finally:
                # Its traceback holds this frame: without a circle it is freed when it is handled.
                del error
        if run.until:
            return run.answers[0] if run.answers else None
        return run.answers

    # Compiling.

    def _plan(self, key: type | str) -> Plan:
        plan = self._tables.find(key)
        if plan is not None:
            return plan
        settled = self._prepare()
        # Taken before the listeners are read: a change in between throws these tables away.
        tables = self._tables
        matches = self._registry.matches(key)
        name = event_name(key) if isinstance(key, type) else key
        plan = compiled(name, (one.listener for one in matches if not one.passed_over), self._taker)
        if settled:  # else it is dispatched while a module of listeners is imported: more will come
            tables.add(key, plan)
            if plan.away and isinstance(key, type):
                tables.add_away(key, self._short_away(key, plan))
        return plan

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Run an awaitable to its end, on the one loop that this thread keeps for it."""
        return self._runners.wait(awaitable)

    def _close_runner(self) -> None:
        self._runners.close()


_NO_NAME: Final = "a name has at least one character, and no '*': that is for who listens"
_NO_PAYLOAD: Final = "an event object carries its data; a payload goes with a name"


def check_event(event: Any, payload: tuple[Any, ...]) -> bool:
    """
    Tell whether what is dispatched is an object, and not a name.

    Raises:
        NotAnEvent: It is neither, or an object with a payload.
    """
    if isinstance(event, str):
        if not event or is_pattern(event):
            raise NotAnEvent(value=event, reason=_NO_NAME)
        return False
    if payload:
        raise NotAnEvent(value=event, reason=_NO_PAYLOAD)
    if event is None or isinstance(event, type):
        raise NotAnEvent(
            value=event,
            reason="dispatch an instance of an event class, or a name with a payload",
        )
    return True


def _call_ready(
    plan: Plan, calls: tuple[Callable[..., Any], ...], payload: tuple[Any, ...]
) -> list[Any]:
    answers: list[Any] = []
    for call in calls:
        try:
            answer = call(*payload)
        except Exception as error:
            note(error, plan.name, described(call))
            raise
        if answer is False:
            break
        answers.append(answer)
    return answers


def _ready(
    step: Step, run: Run
) -> Generator[Effect, Any, tuple[Callable[..., Any], dict[str, Any]]]:
    """Return what is called for one listener, built first if it is a class, and its arguments."""
    target = step.listener.target
    call = target.function
    if target.owner is not None:
        call = getattr((yield from run.scope.instance(target.owner)), target.method)
    extra: dict[str, Any] = {}
    if step.extra:
        extra = yield from run.scope.arguments(target.function, step.extra, target.owner)
    return call, extra
