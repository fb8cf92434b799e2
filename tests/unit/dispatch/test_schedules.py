"""Sync and async listeners, tasks and threads, cancelled at any moment: many random schedules."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from attrs import define, field

SCHEDULES = 1_000


class Shipped:
    pass


@define
class Record:
    """What one dispatch did."""

    begun: list[int] = field(factory=list)
    ended: list[int] = field(factory=list)
    answers: object = None
    cancelled: bool = False


def make_listener(number, pauses):
    """Make a listener that is sync without pauses, else async with so many."""

    def listen(record):
        record.begun.append(number)
        record.ended.append(number)
        return number

    async def alisten(record):
        record.begun.append(number)
        for _ in range(pauses):
            await asyncio.sleep(0)
        record.ended.append(number)
        return number

    return alisten if pauses else listen


async def play(bus, dice):
    """Dispatch from many tasks, and now and then from a thread; cancel some."""
    records = [Record() for _ in range(dice.randint(1, 8))]

    async def dispatch(record):
        for _ in range(dice.randint(0, 3)):
            await asyncio.sleep(0)
        record.answers = await bus.adispatch("done", record)

    async def dispatch_in_thread(record):
        record.answers = await asyncio.to_thread(bus.dispatch, "done", record)

    # A thread cannot be cancelled, and is slow to begin: a few are enough.
    in_thread = [dice.random() < 0.02 for _ in records]
    tasks = [
        asyncio.create_task((dispatch_in_thread if alone else dispatch)(record))
        for record, alone in zip(records, in_thread, strict=True)
    ]
    for _ in range(dice.randint(0, 12)):
        await asyncio.sleep(0)
        if dice.random() < 0.2:
            number = dice.randrange(len(tasks))
            if not in_thread[number]:
                records[number].cancelled |= tasks[number].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return records, outcomes


def test_whatever_the_schedule_listeners_run_in_turn_and_nothing_is_left_over(make_bus):
    """F40: no lost wake-up, nothing never awaited (an error here), no deadlock (the time limit)."""
    seen = Counter()
    for seed in range(SCHEDULES):
        dice = random.Random(seed)
        bus = make_bus()
        count = dice.randint(1, 5)
        for number in range(count):
            bus.listen("done", make_listener(number, pauses=dice.choice([0, 0, 1, 2])))

        records, outcomes = asyncio.run(play(bus, dice))

        for record, outcome in zip(records, outcomes, strict=True):
            everyone = list(range(count))
            if isinstance(outcome, asyncio.CancelledError):
                seen["cancelled" if record.begun else "cancelled before it began"] += 1
                assert record.cancelled
                # It ended in the turn it was in: those before have ended, those behind never began.
                assert record.begun == everyone[: len(record.begun)]
                assert record.ended == record.begun[: len(record.ended)]
                assert len(record.begun) - len(record.ended) <= 1
            else:
                seen["whole"] += 1
                assert outcome is None
                assert record.begun == record.ended == record.answers == everyone
    assert min(seen.values()) > 100, seen
    assert len(seen) == 3
