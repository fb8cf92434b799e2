"""
Call the listeners of an event: the loop, and what goes on around it.

A dispatch of plain functions is a dict look-up and a loop. Everything else (classes that are built,
listeners that run elsewhere, once, collected errors) is one generator, `Dispatcher._visit`, that
yields what must be waited for; `dispatch` and `adispatch` differ only in how they wait.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, overload

from attrs import define, field, frozen

from eventbus.defaults import NAMED_EVENTS, TYPED_EVENTS
from eventbus.dispatch.hints import Parameter
from eventbus.dispatch.holding import Diversion, Held
from eventbus.dispatch.listeners import Listener, calling, injected
from eventbus.dispatch.names import event_name
from eventbus.dispatch.registry import Registry
from eventbus.dispatch.resolver import Resolver, Scope
from eventbus.dispatch.waiting import Blocking, Runners, Walk, adrive, drive, loop_runs
from eventbus.errors import AsyncListenerInSyncDispatch, ListenersFailed, NotAnEvent

__all__ = ["Blocking", "Dispatcher", "Plan", "Run", "Step", "Take", "adrive", "drive"]


#: Takes a listener's turn in place of calling it.
Take = Callable[["Run"], Walk]


@frozen(kw_only=True, eq=False)
class Step:
    """One listener of a plan, ready to be called."""

    listener: Listener
    #: Called with the name and the payload, not with the payload spread.
    wildcard: bool
    #: Parameters that the scope supplies.
    extra: tuple[Parameter, ...]
    take: Take | None

    def simple(self, name: str) -> Callable[[Any], Any] | None:
        """Return what can be called with the event object alone; None if there is more to do."""
        target = self.listener.target
        if self.take or self.extra or self.listener.once or target.owner is not None:
            return None
        if self.wildcard:
            function = target.function
            return lambda event: function(name, (event,))
        return target.function


@frozen(kw_only=True, eq=False)
class Plan:
    """Who is called for one event class or name, in order; compiled once per registration change."""

    name: str
    steps: tuple[Step, ...]
    #: The first async listener that would be awaited here, for the error of a sync dispatch.
    awaited: str = ""


@define(kw_only=True, eq=False)
class Run:
    """One dispatch under way."""

    plan: Plan
    payload: tuple[Any, ...]
    scope: Scope
    #: A class event, and not a name with a payload.
    typed: bool
    #: Ends at the first answer that is not None.
    until: bool = False
    #: Only what runs elsewhere gets its turn: a faked dispatch.
    only_taken: bool = False
    answers: list[Any] = field(factory=list)
    failures: list[tuple[str, Exception]] = field(factory=list)
    error: BaseException | None = None
    #: What `take` left for the end of the dispatch.
    taken: list[Any] = field(factory=list)
    #: (listener, what became of it), for the debug log.
    log: list[str] = field(factory=list)


class _Tables:
    """What has been compiled since the last change."""

    __slots__ = ("named", "named_before", "plans", "simple", "simple_async")

    def __init__(self) -> None:
        self.simple: dict[type, tuple[Callable[[Any], Any], ...]] = {}
        self.simple_async: dict[type, tuple[tuple[Callable[[Any], Any], bool], ...]] = {}
        self.plans: dict[type, Plan] = {}
        # Two generations make a bounded table, least recently used first, without a lock.
        self.named: dict[str, Plan] = {}
        self.named_before: dict[str, Plan] = {}


class Dispatcher:
    """
    Calls listeners. `EventBus` is one, with a way to register them.

    No lock is held, or taken, on the way from `dispatch` to the listeners; the first dispatch of an
    event after a registration compiles its listeners.
    """

    def __init__(self, *, resolver: Resolver, collect: bool) -> None:
        self._resolver = resolver
        self._collect = collect
        self._registry = Registry(self._reset)
        self._held = Held()
        self._here: ContextVar[Diversion | None] = ContextVar("eventbus_here", default=None)
        self._runners = Runners()
        #: How many `muted`, `deferred` or fake blocks are open; while any is, nothing is simple.
        self._diversions = 0
        self._fake: Callable[[object, str], bool] | None = None
        with self._registry.lock:
            self._reset()

    def _reset(self) -> None:
        """Forget what was compiled. Called with the registry's lock held."""
        self._tables = _Tables()
        diverted = self._diversions or self._collect
        # Left empty, they send each dispatch the long way, where diversions are looked at.
        self._simple = {} if diverted else self._tables.simple
        self._simple_async = {} if diverted else self._tables.simple_async

    def _divert(self, change: int) -> None:
        with self._registry.lock:
            self._diversions += change
            self._reset()

    # What a bus adds to plain dispatch.

    def _prepare(self) -> None:
        """Run what was put off until the first dispatch."""

    def _taker(self, listener: Listener) -> Take | None:
        """Return what takes this listener's turn, if it does not run here."""
        return None

    def _deliver(self, taken: list[Any]) -> Walk:
        """Bring what was taken where it belongs."""
        yield from ()

    # The four ways to dispatch.

    @overload
    def dispatch(self, event: str, /, *payload: Any) -> list[Any]: ...
    @overload
    def dispatch(self, event: object, /) -> list[Any]: ...
    def dispatch(self, event: Any, *payload: Any) -> list[Any]:
        """PLACEHOLDER"""
        try:
            calls = self._simple[type(event)]
        except KeyError:
            run = self._begin(event, payload, "dispatch")
            return [] if run is None else self._conclude(run, drive(self._walk(run), self))
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
            self._note_simple(error, event, call, calls)
            raise
        return answers

    @overload
    async def adispatch(self, event: str, /, *payload: Any) -> list[Any]: ...
    @overload
    async def adispatch(self, event: object, /) -> list[Any]: ...
    async def adispatch(self, event: Any, *payload: Any) -> list[Any]:
        """PLACEHOLDER"""
        try:
            calls = self._simple_async[type(event)]
        except KeyError:
            run = self._begin(event, payload, "adispatch")
            return [] if run is None else self._conclude(run, await adrive(self._walk(run)))
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
            self._note_simple(error, event, call, [one for one, _ in calls])
            raise
        return answers

    @overload
    def until(self, event: str, /, *payload: Any) -> Any: ...
    @overload
    def until(self, event: object, /) -> Any: ...
    def until(self, event: Any, *payload: Any) -> Any:
        """PLACEHOLDER"""
        run = self._begin(event, payload, "until")
        return None if run is None else self._conclude(run, drive(self._walk(run), self))

    @overload
    async def auntil(self, event: str, /, *payload: Any) -> Any: ...
    @overload
    async def auntil(self, event: object, /) -> Any: ...
    async def auntil(self, event: Any, *payload: Any) -> Any:
        """PLACEHOLDER"""
        run = self._begin(event, payload, "auntil")
        return None if run is None else self._conclude(run, await adrive(self._walk(run)))

    # The long way.

    def _begin(self, event: Any, payload: tuple[Any, ...], call: str) -> Run | None:
        """Check what was dispatched and find its plan; None if it is not to run now."""
        typed = self._checked(event, payload)
        if typed:
            payload = (event,)
        only_taken = False
        if self._diversions:
            name = event_name(type(event)) if typed else event
            here = self._here.get()
            if here is not None and here.takes(event, name, payload):
                return None
            only_taken = self._fake is not None and self._fake(event, name, payload)
        plan = self._plan(type(event) if typed else str(event))
        if plan.awaited and not call.startswith("a") and not only_taken and loop_runs():
            raise AsyncListenerInSyncDispatch(event=plan.name, listener=plan.awaited, call=call)
        return Run(
            plan=plan,
            payload=payload,
            scope=self._resolver.scope({type(self): self}),
            typed=typed,
            until=call.endswith("until"),
            only_taken=only_taken,
        )

    def announce(self, event: object) -> Walk:
        """
        Walk a dispatch of `event` inside another walk. What its listeners raise is only logged.
        """
        run = self._begin(event, (), "adispatch")
        if run is not None:
            yield from self._walk(run)
            try:
                self._conclude(run, None)
            except Exception:  # noqa: BLE001 -- it must not change what it is about
                import logging

                logging.getLogger(_LOGGER).exception("a listener of %s raised", run.plan.name)

    def _checked(self, event: Any, payload: tuple[Any, ...]) -> bool:
        """Refuse what is no event; tell whether it is an object, and not a name."""
        if isinstance(event, str):
            return False
        if payload:
            raise NotAnEvent(value=event, reason=_NO_PAYLOAD)
        if event is None or isinstance(event, type):
            raise NotAnEvent(
                value=event,
                reason="dispatch an instance of an event class, or a name with a payload",
            )
        return True

    def _walk(self, run: Run) -> Walk:
        """Visit the listeners, bring away what was taken, close the scope; whatever goes wrong."""
        yield from self._visit(run)
        for last in (self._delivered, self._closed):
            try:
                yield from last(run)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 -- raised by _conclude
                if run.error is not None and error.__context__ is None:
                    error.__context__ = run.error
                run.error = error

    def _delivered(self, run: Run) -> Walk:
        if run.taken:
            yield from self._deliver(run.taken)

    def _closed(self, run: Run) -> Walk:
        # Asked for only now: what delivering raised is something to roll back, too.
        yield from run.scope.close(run.error or next((error for _, error in run.failures), None))

    def _visit(self, run: Run) -> Walk:
        name = run.plan.name
        for step in run.plan.steps:
            if (run.only_taken and step.take is None) or not self._has_chance(step.listener, run):
                continue
            try:
                if step.take is not None:
                    yield from step.take(run)
                    continue
                answer = yield from _called(step, run)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 -- raised by _conclude
                note(error, name, step.listener.name)
                if not self._collect or not isinstance(error, Exception):
                    run.error = error
                    run.log.append(f"{step.listener.name} raised {type(error).__name__}")
                    return
                run.failures.append((step.listener.name, error))
                continue
            run.log.append(step.listener.name)
            if run.until:
                if answer is not None:
                    run.answers.append(answer)
                    return
            elif answer is False:
                run.log[-1] += " stopped the rest"
                return
            else:
                run.answers.append(answer)

    def _has_chance(self, listener: Listener, run: Run) -> bool:
        """Use up a `once` listener; False if another dispatch was first."""
        if not listener.once or run.only_taken:
            return True
        if listener.spend():
            self._registry.remove(listener)
            return True
        return False

    def _conclude(self, run: Run, _: None) -> Any:
        _log(run)
        if run.error is not None:
            raise run.error
        if run.failures:
            raise ListenersFailed(event=run.plan.name, failures=run.failures, answers=run.answers)
        if run.until:
            return run.answers[0] if run.answers else None
        return run.answers

    # Compiling.

    def _plan(self, key: type | str) -> Plan:
        tables = self._tables
        if isinstance(key, type):
            plan = tables.plans.get(key)
        else:
            plan = tables.named.get(key)
            if plan is None:
                plan = tables.named_before.get(key)
                if plan is not None:
                    _remember(tables, key, plan)
        return plan or self._compiled(key)

    def _compiled(self, key: type | str) -> Plan:
        self._prepare()
        # Taken before the listeners are read: a change in between throws these tables away.
        tables = self._tables
        name = event_name(key) if isinstance(key, type) else key
        steps = tuple(
            Step(
                listener=match.listener,
                wildcard=calling(match.listener.event) == "wildcard",
                extra=injected(match.listener.target, match.listener.event),
                take=self._taker(match.listener),
            )
            for match in self._registry.matches(key)
            if not match.passed_over
        )
        here = [one.listener for one in steps if one.take is None and one.listener.target.is_async]
        plan = Plan(name=name, steps=steps, awaited=here[0].name if here else "")
        if not isinstance(key, type):
            _remember(tables, key, plan)
            return plan
        if len(tables.plans) >= TYPED_EVENTS:
            tables.plans.clear()
            tables.simple.clear()
            tables.simple_async.clear()
        tables.plans[key] = plan
        calls = [one.simple(name) for one in steps]
        if None not in calls and not issubclass(key, str) and not _debugging():
            ready = [call for call in calls if call is not None]
            tables.simple_async[key] = tuple(
                (call, step.listener.target.is_async)
                for call, step in zip(ready, steps, strict=True)
            )
            if not plan.awaited:
                tables.simple[key] = tuple(ready)
        return plan

    def _note_simple(self, error: Exception, event: Any, call: Any, calls: Any) -> None:
        plan = self._tables.plans.get(type(event))
        position = next((index for index, one in enumerate(calls) if one is call), 0)
        steps = plan.steps if plan is not None else ()
        who = steps[position].listener.name if position < len(steps) else repr(call)
        note(error, event_name(type(event)), who)

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Run an awaitable to its end, on the one loop that this thread keeps for it."""
        return self._runners.wait(awaitable)


_NO_PAYLOAD: Final = "an event object carries its data; a payload goes with a name"


def _remember(tables: _Tables, key: str, plan: Plan) -> None:
    if len(tables.named) >= NAMED_EVENTS // 2:
        tables.named_before, tables.named = tables.named, {}
    tables.named[key] = plan


def _called(step: Step, run: Run) -> Walk:
    """Call one listener here, built first if it is a class."""
    target = step.listener.target
    call = target.function
    if target.owner is not None:
        call = getattr((yield from run.scope.instance(target.owner)), target.method)
    extra = {}
    if step.extra:
        extra = yield from run.scope.arguments(target.function, step.extra, target.owner)
    answer = (
        call(run.plan.name, run.payload, **extra) if step.wildcard else call(*run.payload, **extra)
    )
    return (yield answer) if target.is_async else answer


def note(error: BaseException, event: str, listener: str) -> None:
    """Add to an error which listener of which event raised it."""
    if not isinstance(error, RecursionError):
        error.add_note(f"raised by listener {listener} of event {event}")
        return
    # A dispatch without end passes here once per level: one note that names the circle is enough.
    notes = getattr(error, "__notes__", [])
    if notes and notes[-1].startswith(_ENDLESS):
        if notes[-1].count(" <- ") < _CIRCLE:
            notes[-1] += f" <- {event}"
    else:
        error.add_note(f"{_ENDLESS} {event}")


_ENDLESS: Final = "events under way, the innermost first:"
_CIRCLE: Final = 5


def _debugging() -> bool:
    loaded = sys.modules.get("logging")
    return loaded is not None and loaded.getLogger(_LOGGER).isEnabledFor(loaded.DEBUG)


_LOGGER: Final = "eventbus.dispatch"


def _log(run: Run) -> None:
    if _debugging():
        sys.modules["logging"].getLogger(_LOGGER).debug(
            "%s: %s", run.plan.name, "; ".join(run.log) or "nobody listens"
        )
