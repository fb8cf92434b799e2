"""Who is called for an event, compiled; and the record of one dispatch under way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from attrs import define, field, frozen

from eventbus.defaults import NAMED_EVENTS, TYPED_EVENTS
from eventbus.dispatch.hints import Parameter
from eventbus.dispatch.listeners import Listener, calling, injected
from eventbus.dispatch.notes import debugging
from eventbus.dispatch.resolver import Scope
from eventbus.dispatch.waiting import Walk
from eventbus.errors import ListenersFailed

__all__ = ["Away", "Fake", "Keep", "Plan", "Run", "Step", "Tables", "Take", "compiled"]

#: Takes a listener's turn in place of calling it.
Take = Callable[["Run"], Walk]
#: Brings an event away whose listeners all run elsewhere; False if it has to go the long way.
Away = Callable[[Any], bool]
#: Where the things go that were taken in a faked dispatch.
Keep = Callable[[list[Any]], None]
#: Asked about each event, its name and payload: takes it, or lets it through with None.
Fake = Callable[[Any, str, tuple[Any, ...]], Keep | None]


@frozen(kw_only=True, eq=False)
class Step:
    """One listener of a plan, ready to be called."""

    listener: Listener
    #: Called with the name and the payload, not with the payload spread.
    wildcard: bool
    #: Parameters that the scope supplies.
    extra: tuple[Parameter, ...]
    take: Take | None

    def simple(self, name: str) -> Callable[..., Any] | None:
        """Return what can be called with the payload alone; None if there is more to do."""
        target = self.listener.target
        if self.take or self.extra or self.listener.once or target.owner is not None:
            return None
        if target.may_wait:
            return None
        if self.wildcard:
            function = target.function
            # The wrapper says whom it calls, for the note on an error.
            return wraps(function, assigned=(), updated=())(
                lambda *payload: function(name, payload)
            )
        return target.function


@frozen(kw_only=True, eq=False)
class Plan:
    """Who is called for one event class or name, in order; compiled once per registration change."""

    name: str
    steps: tuple[Step, ...]
    #: The first async listener that would be awaited here, for the error of a sync dispatch.
    awaited: str = ""
    #: What is called with the payload alone, if that is all there is to do.
    ready: tuple[Callable[..., Any], ...] | None = None
    #: All of its listeners run elsewhere, each time: perhaps there is a short way to bring it there.
    away: bool = False


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
    #: Set in a faked dispatch: only what runs elsewhere gets its turn, and it goes there.
    keep: Keep | None = None
    answers: list[Any] = field(factory=list)
    failures: list[tuple[str, Exception]] = field(factory=list)
    error: BaseException | None = None
    #: A listener answered False.
    stopped: bool = False
    #: What `take` left for the end of the dispatch.
    taken: list[Any] = field(factory=list)
    #: What became of each listener, a sentence each, for the debug log.
    log: list[str] = field(factory=list)

    def anew(self, scope: Scope) -> Run:
        """Return the same dispatch, of which nothing has happened yet."""
        return Run(
            plan=self.plan,
            payload=self.payload,
            scope=scope,
            typed=self.typed,
            until=self.until,
            keep=self.keep,
        )

    def answered(self, who: str, answer: Any) -> bool:
        """Keep what a listener answered; tell whether it ends the dispatch."""
        stops = self.stopped = not self.until and answer is False
        self.log.append(f"{who} stopped the rest" if stops else who)
        if not stops and not (self.until and answer is None):
            self.answers.append(answer)
        return stops or (self.until and answer is not None)

    def outcome(self) -> BaseException | None:
        """Take out what the dispatch raises; what was collected is at least the context of that."""
        error, self.error = self.error, None
        failures, self.failures = self.failures, []
        if not failures:
            return error
        group = ListenersFailed(event=self.plan.name, failures=failures, answers=self.answers)
        if error is None:
            return group
        if error.__context__ is None:
            error.__context__ = group
        return error


class Tables:
    """What has been compiled since the last change of the listeners."""

    __slots__ = ("away", "named", "named_before", "plans", "simple", "simple_async")

    def __init__(self) -> None:
        #: Plain functions, by the class of event: the fast way of `dispatch` and `adispatch`.
        self.simple: dict[type, tuple[Callable[[Any], Any], ...]] = {}
        self.simple_async: dict[type, tuple[tuple[Callable[[Any], Any], bool], ...]] = {}
        #: The same of what runs elsewhere.
        self.away: dict[type, Away] = {}
        self.plans: dict[type, Plan] = {}
        # Two generations make a bounded table, least recently used first, without a lock.
        self.named: dict[str, Plan] = {}
        self.named_before: dict[str, Plan] = {}

    def find(self, key: type | str) -> Plan | None:
        """Return the plan of a class or name, if it is compiled."""
        if isinstance(key, type):
            return self.plans.get(key)
        plan = self.named.get(key)
        if plan is None:
            plan = self.named_before.get(key)
            if plan is not None:
                self._keep(key, plan)
        return plan

    def add(self, key: type | str, plan: Plan) -> None:
        """Keep the plan of a class or name."""
        if isinstance(key, str):
            self._keep(key, plan)
            return
        if len(self.plans) >= TYPED_EVENTS:
            self.plans.clear()
            self.simple.clear()
            self.simple_async.clear()
            self.away.clear()
        self.plans[key] = plan
        if plan.ready is not None and not issubclass(key, str):
            self.simple_async[key] = tuple(
                (call, step.listener.target.is_async)
                for call, step in zip(plan.ready, plan.steps, strict=True)
            )
            if not plan.awaited:
                self.simple[key] = plan.ready

    def add_away(self, key: type, away: Away | None) -> None:
        """Keep the short way of a class whose listeners all run elsewhere, if it has one."""
        if away is not None and not issubclass(key, str):
            self.away[key] = away

    def _keep(self, name: str, plan: Plan) -> None:
        if len(self.named) >= NAMED_EVENTS // 2:
            self.named_before, self.named = self.named, {}
        self.named[name] = plan


def compiled(
    name: str, listeners: Iterable[Listener], taker: Callable[[Listener], Take | None]
) -> Plan:
    """
    Return the plan of an event.

    Args:
        name: What the event is called.
        listeners: Who hears it, in the order in which they run.
        taker: Returns what takes a listener's turn, if it does not run here.
    """
    steps = tuple(
        Step(
            listener=one,
            wildcard=calling(one.event) == "wildcard",
            extra=injected(one.target, one.event),
            take=taker(one),
        )
        for one in listeners
    )
    waiting = [one.listener for one in steps if not one.take and one.listener.target.is_async]
    calls = [one.simple(name) for one in steps]
    ready = tuple(call for call in calls if call is not None)
    # Decided here, once: to ask the logger each time would cost more than to call a listener.
    short = not debugging()
    return Plan(
        name=name,
        steps=steps,
        awaited=waiting[0].name if waiting else "",
        ready=ready if short and len(ready) == len(steps) else None,
        away=short and bool(steps) and all(one.take and not one.listener.once for one in steps),
    )
