"""
The registry and the dispatch against a model that does the same in the simplest way.

A program registers, removes, forgets, mutes, defers, holds and dispatches, and its listeners do so
again from inside. Bus and model run it side by side; whom they called, and how each step ended, must
be the same.
"""

from __future__ import annotations

import asyncio
from abc import ABC
from contextlib import ExitStack
from fnmatch import fnmatchcase

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eventbus import EventBus, event

# Five hundred programs take their time on a busy machine.
pytestmark = pytest.mark.timeout(120)


class Base:
    pass


class Middle(Base):
    pass


class Leaf(Middle):
    pass


class Virtual(ABC):  # noqa: B024 -- for those registered with it
    pass


Virtual.register(Leaf)
Virtual.register(Base)


@event("order.declared")
class Declared:
    pass


NAMES = {cls: f"{__name__}.{cls.__qualname__}" for cls in (Base, Middle, Leaf)} | {
    Declared: "order.declared"
}
PARENTS = {Base: [object], Middle: [Base, object], Leaf: [Middle, Base, object], Declared: [object]}
VIRTUAL = {Base, Middle, Leaf}

EVENTS = [Base, Middle, Leaf, Declared, "order.a", "stock.b"]
KEYS = [*EVENTS, object, Virtual, "order.declared", "order.*", "*", "*.a", f"{__name__}.*"]

#: How deep listeners may do something again.
DEPTH = 3


class RefusedError(Exception):
    """What listeners raise."""


@define
class Told:
    """What a listener does when it is called: its answer, and before that one action of its own."""

    kind: str
    answer: object
    action: tuple[object, ...] = ()


@define(eq=False)
class Entry:
    """One registration of the model."""

    key: object
    target: int
    priority: int
    once: bool
    order: int
    spent: bool = False


@define
class Block:
    muted: bool
    only: object = None
    waiting: list[object] = field(factory=list)


class World:
    """What bus and model have in common: the listeners, and what they do."""

    def __init__(self):
        self.told: list[Told] = []
        self.trace: list[int] = []
        self.depth = 0

    def called(self, target):
        """Be called as the listener `target`."""
        self.trace.append(target)
        told = self.told[target]
        if self.depth < DEPTH:
            self.depth += 1
            try:
                self.act(*told.action)
            finally:
                self.depth -= 1
        return told.answer

    def act(self, action="nothing", *arguments):
        if action == "raise":
            raise RefusedError
        if action == "listen":
            key, priority = arguments
            self.told.append(Told("function", "added"))
            self.listen(key, len(self.told) - 1, priority, once=False)
        elif action != "nothing":
            getattr(self, action)(*arguments)


class Model(World):
    def __init__(self):
        super().__init__()
        self.entries: list[Entry] = []
        self.all: list[Entry] = []
        self.blocks: list[Block] = []
        self.held: list[object] = []

    def listen(self, key, target, priority, once):
        self.all.append(Entry(key, target, priority, once, len(self.all)))
        self.entries.append(self.all[-1])

    def remove(self, number):
        if self.all and (one := self.all[number % len(self.all)]) in self.entries:
            self.entries.remove(one)

    def forget(self, number):
        if self.all:
            key = self.all[number % len(self.all)].key
            self.entries = [one for one in self.entries if one.key != key]

    def rank(self, key, what):
        """How specific a key is for an event; None if it does not match."""
        name = NAMES.get(what, what)
        if key in {what, name}:
            return 0, 0
        if isinstance(key, str):
            return (1, 0) if "*" in key and fnmatchcase(name, key) else None
        if key in PARENTS.get(what, ()):
            return 2, PARENTS[what].index(key)
        return (3, 0) if key is Virtual and what in VIRTUAL else None

    def listeners(self, what):
        found = [(self.rank(one.key, what), one) for one in self.entries]
        found = [(rank, one) for rank, one in found if rank is not None]
        found.sort(key=lambda each: (-each[1].priority, each[0], each[1].order))
        nearest = {}
        for _, one in sorted(found, key=lambda each: each[0]):
            if not isinstance(one.key, str):
                nearest.setdefault(one.target, one.key)
        return [
            one for _, one in found if isinstance(one.key, str) or nearest[one.target] == one.key
        ]

    def held_back(self, what):
        for block in reversed(self.blocks):
            if block.muted:
                return True
            if block.only is None or self.rank(block.only, what) is not None:
                block.waiting.append(what)
                return True
        return False

    def dispatch(self, what, until=False):
        if self.held_back(what):
            return None if until else []
        answers = []
        for one in self.listeners(what):
            if one.once:
                if one.spent:
                    continue
                one.spent = True
                if one in self.entries:
                    self.entries.remove(one)
            answer = self.called(one.target)
            if until:
                if answer is not None:
                    return answer
            elif answer is False:
                break
            else:
                answers.append(answer)
        return None if until else answers

    def enter(self, muted, only):
        self.blocks.append(Block(muted, only))

    def leave(self, failed):
        block = self.blocks.pop()
        if failed or any(one.muted for one in self.blocks):
            return
        around, self.blocks = self.blocks, []
        try:
            for what in block.waiting:
                self.dispatch(what)
        finally:
            self.blocks = around

    def hold(self, what):
        self.held.append(what)

    def flush(self, only):
        is_one = [only is None or self.rank(only, one) is not None for one in self.held]
        taken = [one for one, wanted in zip(self.held, is_one, strict=True) if wanted]
        self.held = [one for one, wanted in zip(self.held, is_one, strict=True) if not wanted]
        answers = []
        try:
            while taken:
                answers.append(self.dispatch(taken.pop(0)))
        finally:
            self.held = [*taken, *self.held]
        return answers


class Real(World):
    """The bus, driven by the same calls."""

    def __init__(self, ways):
        super().__init__()
        self.bus = EventBus()
        self.ways = ways
        self.targets: dict[int, object] = {}
        self.registrations = []
        self.blocks = []

    def target(self, number):
        if number not in self.targets:
            world = self

            class Built:
                def handle(self, *_):
                    return world.called(number)

            made = {"function": lambda *_: self.called(number), "class": Built, "object": Built()}
            self.targets[number] = made[self.told[number].kind]
        return self.targets[number]

    def listen(self, key, target, priority, once):
        self.registrations.append(
            self.bus.listen(key, self.target(target), priority=priority, once=once)
        )

    def remove(self, number):
        if self.registrations:
            self.registrations[number % len(self.registrations)].remove()

    def forget(self, number):
        if self.registrations:
            self.bus.forget(self.registrations[number % len(self.registrations)].listeners[0].event)

    def dispatch(self, what, until=False):
        one = what if isinstance(what, str) else what()
        if self.depth or next(self.ways):
            return (self.bus.until if until else self.bus.dispatch)(one)
        return asyncio.run((self.bus.auntil if until else self.bus.adispatch)(one))

    def enter(self, muted, only):
        block = self.bus.muted() if muted else self.bus.deferred(*([] if only is None else [only]))
        self.blocks.append(block)
        block.__enter__()

    def leave(self, failed):
        error = RefusedError() if failed else None
        self.blocks.pop().__exit__(type(error) if error else None, error, None)

    def hold(self, what):
        self.bus.hold(what if isinstance(what, str) else what())

    def flush(self, only):
        return self.bus.flush(*([] if only is None else [only]))


def alternating():
    while True:
        yield True
        yield False


keys = st.sampled_from(KEYS)
events = st.sampled_from(EVENTS)
priorities = st.integers(-1, 1)
onlys = st.none() | keys
actions = st.one_of(
    st.just(()),
    st.just(()),
    st.tuples(st.just("dispatch"), events),
    st.tuples(st.just("listen"), keys, priorities),
    st.tuples(st.just("remove"), st.integers(0, 20)),
    st.tuples(st.just("forget"), st.integers(0, 20)),
    st.tuples(st.just("hold"), events),
    st.just(("raise",)),
)
listeners = st.builds(
    Told,
    kind=st.sampled_from(["function", "class", "object"]),
    answer=st.sampled_from([None, 1, 0, "", False]),
    action=actions,
)


class Programs(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.model, self.real = Model(), Real(alternating())

    def both(self, call, *arguments):
        """Do the same on both; how it ended, and whom it called, must be the same."""
        ends = []
        for world in (self.model, self.real):
            world.trace.clear()
            try:
                ends.append(getattr(world, call)(*arguments))
            except RefusedError:
                ends.append("refused")
        assert self.real.trace == self.model.trace
        assert ends[1] == ends[0]

    @rule(told=listeners, wanted=keys, priority=priorities, once=st.booleans())
    def register(self, told, wanted, priority, once):
        for world in (self.model, self.real):
            world.told.append(told)
        self.both("listen", wanted, len(self.model.told) - 1, priority, once)

    @precondition(lambda self: self.model.told)
    @rule(number=st.integers(0, 20), wanted=keys, priority=priorities)
    def register_again(self, number, wanted, priority):
        self.both("listen", wanted, number % len(self.model.told), priority, False)

    @rule(number=st.integers(0, 20))
    def remove(self, number):
        self.both("remove", number)

    @rule(number=st.integers(0, 20))
    def forget(self, number):
        self.both("forget", number)

    @rule(what=events, until=st.booleans())
    def dispatch(self, what, until):
        self.both("dispatch", what, until)

    @rule()
    def dispatch_everything(self):
        for what in EVENTS:
            self.both("dispatch", what)

    @precondition(lambda self: len(self.model.blocks) < DEPTH)
    @rule(muted=st.booleans(), only=onlys)
    def enter(self, muted, only):
        self.both("enter", muted, only)

    @precondition(lambda self: self.model.blocks)
    @rule(failed=st.booleans())
    def leave(self, failed):
        self.both("leave", failed)

    @rule(what=events)
    def hold(self, what):
        self.both("hold", what)

    @rule(only=onlys)
    def flush(self, only):
        self.both("flush", only)

    @invariant()
    def both_know_the_same_listeners(self):
        assert [one.event for one in self.real.bus.listeners()] == [
            one.key for one in self.model.entries
        ]
        for what in EVENTS:
            heard = [one.event for one in self.real.bus.listeners_for(what)]
            assert heard == [one.key for one in self.model.listeners(what)]
            assert self.real.bus.has_listeners(what) is bool(heard)

    def teardown(self):
        with ExitStack() as ending:
            for block in self.real.blocks:
                ending.callback(block.__exit__, RefusedError, None, None)


# E19, E20, F37: what is registered, removed and dispatched from inside a dispatch, too.
TestPrograms = Programs.TestCase
TestPrograms.settings = settings(
    max_examples=500, stateful_step_count=20, derandomize=True, deadline=None
)
