"""What a worker awaits for a job: until when, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

__all__ = ["AGAIN", "answer_of", "done_by", "end_task", "ended"]

#: Seconds between two tries to end a run that swallowed the first.
AGAIN: Final = 1.0


def answer_of(task: asyncio.Future[Any], fired: Exception | None) -> Any:
    """Return the answer of a task of `ended`; raise what it raised, or why it was to end."""
    if fired is not None:
        if not task.cancelled():
            task.exception()  # seen: what it ended with no longer counts
        raise fired
    answer, leaving = task.result()
    if leaving is not None:
        raise leaving
    return answer


async def done_by(task: asyncio.Future[Any], instant: float) -> bool:
    """Wait for `task` until an instant of the monotonic clock; tell whether it is done."""
    import asyncio

    await asyncio.wait({task}, timeout=max(0.0, instant - time.monotonic()))
    return task.done()


async def end_task(task: asyncio.Future[Any]) -> None:
    """Cancel `task` until it ends."""
    import asyncio

    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN)


async def ended(work: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """
    Return the answer of `work`, or what it raised to leave the program.

    A task that raises these tears its loop down, and leaves who waits for it behind in it.
    """
    try:
        return await work, None
    except (SystemExit, KeyboardInterrupt) as leaving:
        return None, leaving
