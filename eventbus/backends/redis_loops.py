"""A link for each event loop: what a loop has opened, no other loop can use."""

from __future__ import annotations

import asyncio
import os
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from attrs import frozen

from eventbus.backends.redis_link import Link

__all__ = ["Loops"]


@frozen(eq=False)
class _Held:
    link: Link
    #: Closes the link when it is closed itself: by us, or by its loop, which closes its generators at its end.
    ending: AsyncGenerator[None]


class Loops:
    """
    Makes links of the async form, and closes them with their loops.

    Args:
        make: Makes a link.
    """

    def __init__(self, make: Callable[[], Link]) -> None:
        self._make = make
        self._held: dict[AbstractEventLoop, _Held] = {}
        self._process = os.getpid()
        #: Those of the process that forked this one: to close them would deafen its loops.
        self._of_parents: list[dict[AbstractEventLoop, _Held]] = []
        #: Loops only hold on weakly to what they run.
        self._ends: set[asyncio.Task[None]] = set()

    async def link(self) -> Link:
        """Return the link of the loop that runs."""
        if self._process != os.getpid():
            self._of_parents.append(self._held)
            self._held, self._process = {}, os.getpid()
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            for other in [one for one in list(self._held) if one.is_closed()]:
                self._held.pop(other, None)
            link = self._make()
            held = _Held(link, _ending(link))
            await anext(held.ending)
            self._held[loop] = held
        return held.link

    async def aclose(self) -> None:
        """Close the link of the loop that runs."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.ending.aclose()

    def close(self) -> None:
        """Have the links of all loops closed, each by its loop when it next comes to it."""
        if self._process == os.getpid():
            while self._held:
                loop, held = self._held.popitem()
                with suppress(RuntimeError):  # it is closed, and has closed its own
                    loop.call_soon_threadsafe(self._end, loop, held)

    def _end(self, loop: AbstractEventLoop, held: _Held) -> None:
        task = loop.create_task(held.ending.aclose())
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)


async def _ending(link: Link) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await link.aclose()
