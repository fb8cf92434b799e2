"""The application whose jobs run at once on one loop: a listener that awaits, or does as the others do."""

from __future__ import annotations

import asyncio
import select
import signal
from contextlib import suppress
from inspect import isawaitable
from itertools import count

from attrs import frozen

from eventbus import Attempt, ShouldQueue, event

from .application import DEEDS, Run, bus, worker

__all__ = ["Awaited", "PerformAwaited", "bus"]

#: The numbers of those who run now: so many jobs, so many workers, each with one job at a time.
busy: set[int] = set()


@event("faults.awaited")
@frozen
class Awaited:
    """A job that is done on a loop."""

    key: str
    does: str = "wait 0"
    payload: str = ""
    tries: int = 1


class PerformAwaited(ShouldQueue):
    """Does one piece of work among others."""

    name = "faults.perform-awaited"

    # Asked of the class, also by who settles what a dead process left.
    @staticmethod
    def tries(work: Awaited) -> int:
        return work.tries

    async def handle(self, work: Awaited, attempt: Attempt) -> None:
        number = next(one for one in count() if one not in busy)
        busy.add(number)
        try:
            with Run(work, attempt, f"{worker}/{number}") as run:
                answer = run.perform()
                if isawaitable(answer):
                    await answer
        finally:
            busy.remove(number)


bus.listen(PerformAwaited)


async def wait(_run: Run, seconds: str) -> None:
    over = asyncio.get_running_loop().create_future()
    await asyncio.wait({over}, timeout=float(seconds))


async def swallow(_run: Run) -> None:
    """Never end, whoever asks for it."""
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


def deafen(_run: Run) -> None:
    """Block the loop where no signal gets through, as a library that never returns would."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    select.select([], [], [], 600)


DEEDS.update({deed.__name__: deed for deed in (wait, swallow, deafen)})
