"""
Chains and batches whose end is known before they begin.

As a program, `python -m faults.application_plans PREFIX COUNT`, it enqueues so many, one after the other, and
writes down of each what is to become of it: for `tests.faults.planned`, which judges.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from attrs import define, field

from eventbus import Attempt, Job
from eventbus.queue.plans import Batch, Chain

from .application import Work, bus, carry_out, log


class Step(Job, name="faults.step", tries=1):
    """Does as it is told."""

    key: str
    does: str

    def handle(self, attempt: Attempt) -> None:
        carry_out(Work(self.key, self.does), attempt)


@define
class Author:
    """Makes the parts of one plan, and keeps what is to become of them."""

    plan: str
    #: The steps that run, and those each runs after.
    steps: dict[str, list[str]] = field(factory=dict)
    #: Those of them that fail.
    fails: list[str] = field(factory=list)
    #: The steps that never run, and are kept for a retry.
    never: list[str] = field(factory=list)
    #: Of each batch, by its name: how many of its members succeed, fail, and are skipped.
    batches: dict[str, tuple[int, int, int]] = field(factory=dict)

    def _call(self, part: str) -> str:
        return f"{self.plan}.{part}"

    def step(self, part: str, *after: str) -> Step:
        self.steps[self._call(part)] = [self._call(one) for one in after]
        return Step(self._call(part), "pause 0.004")

    def failing_step(self, part: str, *after: str) -> Step:
        self.steps[self._call(part)] = [self._call(one) for one in after]
        self.fails.append(self._call(part))
        return Step(self._call(part), "fail ValueError")

    def never_run(self, part: str) -> Step:
        self.never.append(self._call(part))
        return Step(self._call(part), "pause 0")

    def batch(self, part: str, *counts: int) -> str:
        """Return the name of a batch."""
        succeeded, failed, skipped = counts
        self.batches[self._call(part)] = (succeeded, failed, skipped)
        return self._call(part)

    def enqueue(self, make: Callable[[Author], Chain | Batch]) -> None:
        plan = make(self)
        for key, after in self.steps.items():
            log.add("attempted", job=key)
            log.add("planned", job=key, note=" ".join(after))
        for key in self.fails:
            log.add("fails", job=key)
        for key in self.never:
            log.add("held", job=key)
        for name, counts in self.batches.items():
            log.add("counts", job=name, note=" ".join(map(str, counts)))
        plan.enqueue()
        for key in self.steps:
            log.add("stored", job=key)


def chain_around_a_batch(by: Author) -> Chain:
    return bus.chain(
        by.step("a"),
        bus.batch(
            by.step("b1", "a"),
            by.step("b2", "a"),
            by.step("b3", "a"),
            name=by.batch("middle", 3, 0, 0),
            on_done=by.step("done", "b1", "b2", "b3"),
        ),
        by.step("c", "b1", "b2", "b3"),
    )


def chain_that_fails(by: Author) -> Chain:
    return bus.chain(
        by.step("a"),
        by.failing_step("b", "a"),
        by.never_run("c"),
        catch=by.step("catch", "b"),
    )


def batch_around_both(by: Author) -> Batch:
    return bus.batch(
        by.step("a"),
        bus.chain(by.step("b1"), by.failing_step("b2", "b1"), by.never_run("b3")),
        bus.batch(
            by.step("c1"),
            by.step("c2"),
            name=by.batch("inner", 2, 0, 0),
            on_success=by.step("all", "c1", "c2"),
        ),
        name=by.batch("outer", 3, 1, 1),
        allow_failures=True,
        on_error=by.step("error", "b2"),
        on_done=by.step("done", "a", "b1", "b2", "c1", "c2"),
        on_success=by.never_run("success"),
    )


def batch_that_fails(by: Author) -> Batch:
    return bus.batch(
        bus.chain(by.failing_step("a"), by.never_run("b"), by.never_run("c")),
        name=by.batch("outer", 0, 1, 2),
        on_error=by.step("error", "a"),
        on_done=by.step("done", "a"),
        on_success=by.never_run("success"),
    )


SHAPES = (chain_around_a_batch, batch_around_both, chain_that_fails, batch_that_fails)


def main(prefix: str, count: str) -> None:
    for number in range(int(count)):
        Author(f"{prefix}{number}").enqueue(SHAPES[number % len(SHAPES)])
    bus.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
