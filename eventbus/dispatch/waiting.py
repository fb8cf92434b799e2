"""
Wait in sync and in async code: the one home of the split between the two.

What runs listeners is a generator, a `Walk`, that yields what must be waited for. `drive` walks it in
sync code and `adrive` in async code; they differ only in how they wait.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

from eventbus.errors import AsyncListenerInSyncDispatch

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "Blocking",
    "Effect",
    "Runners",
    "Waits",
    "Walk",
    "adrive",
    "drive",
    "loop_runs",
    "new_loop",
]


@frozen
class Blocking:
    """Work that blocks, such as a commit: inline in sync code, in a thread in async code."""

    call: Callable[[], Any]
    #: The same work for async code, where there is a way to do it without a thread. What of it was done when
    #: it is cancelled is done once, even if `call` then does it again.
    native: Callable[[], Coroutine[Any, Any, Any]] | None = None


#: What a walk waits for.
Effect = Awaitable[Any] | Blocking
Walk = Generator[Effect, Any, Any]


class Waits(Protocol):
    """Runs an awaitable to its end, in sync code."""

    def wait(self, awaitable: Awaitable[Any], /) -> Any:
        """Return its outcome."""


def drive(walk: Walk, here: Waits) -> Any:
    """Walk in sync code: block where the walk must wait."""
    outcome: Any = None
    error: BaseException | None = None
    try:
        while True:
            # Outside of the handler: else what the walk raises later would seem to come of this error.
            effect = walk.send(outcome) if error is None else walk.throw(error)
            outcome = error = None
            try:
                outcome = effect.call() if isinstance(effect, Blocking) else here.wait(effect)
            except BaseException as raised:  # noqa: BLE001 -- the walk decides
                error = raised
    except StopIteration as stop:
        return stop.value
    finally:
        # Its traceback holds this frame: without a circle it is freed when it is handled.
        del error


async def adrive(walk: Walk) -> Any:
    """Walk in async code: await, and do what blocks in a thread."""
    outcome: Any = None
    error: BaseException | None = None
    try:
        while True:
            effect = walk.send(outcome) if error is None else walk.throw(error)
            outcome = error = None
            try:
                if isinstance(effect, Blocking):
                    outcome = await _blocked(effect)
                else:
                    outcome = await effect
            except GeneratorExit:
                walk.close()
                raise
            except BaseException as raised:  # noqa: BLE001 -- the walk decides
                error = raised
    except StopIteration as stop:
        return stop.value
    finally:
        del error


async def _blocked(effect: Blocking) -> Any:
    """
    Do work that blocks, and wait for its end, even if we are cancelled meanwhile.

    What is stored is stored whole, and nobody is told of a cancelled push that then happens.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    cancelled: BaseException | None = None
    if effect.native is not None:
        task = loop.create_task(effect.native())
        cancelled = await _ended(task)
        if not task.cancelled():
            return _outcome(task, cancelled)
    # A future and no task: the end of `asyncio.run` cancels every task, that one above too.
    work = loop.run_in_executor(None, copy_context().run, effect.call)
    return _outcome(work, await _ended(work) or cancelled)


def _outcome(work: asyncio.Future[Any], cancelled: BaseException | None) -> Any:
    if cancelled is not None and work.exception() is None:
        raise cancelled
    return work.result()


async def _ended(work: asyncio.Future[Any]) -> BaseException | None:
    """Wait for the end of some work; return the cancellation that came meanwhile, if one did."""
    import asyncio

    cancelled: BaseException | None = None
    while not work.done():
        try:
            # Neither cancels it when we are cancelled, nor raises what it raises.
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


def loop_runs() -> bool:
    """Tell whether an event loop runs in this thread."""
    # Without asyncio imported no loop can run, and importing it to ask would be the larger cost.
    # Another thread may be importing it just now, so that its names are not there yet.
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return running is not None and running() is not None


class Runners:
    """
    The loops on which threads wait for async listeners in sync code.

    Each thread gets one when it first needs it, and keeps it: what a listener has bound to its loop,
    a pool of connections say, is still good at the next dispatch.
    """

    def __init__(self) -> None:
        self._of = threading.local()

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """
        Run an awaitable to its end.

        Raises:
            AsyncListenerInSyncDispatch: A loop runs in this thread, and would stand still.
        """
        if loop_runs():
            close = getattr(awaitable, "close", None)
            if close is not None:
                close()
            raise AsyncListenerInSyncDispatch(
                event="this event", listener="something it needs", call="dispatch", begun=True
            )
        runner: _Runner | None = getattr(self._of, "thread", None)
        # A process forked from this one must not share the loop: each would take the other's wake-ups.
        if runner is None or runner.process != os.getpid():
            runner = self._of.thread = _Runner()
        return runner.run(awaitable)

    def close(self) -> None:
        """Close this thread's loop; the next one is made when it is needed."""
        runner: _Runner | None = getattr(self._of, "thread", None)
        # Called inside a running loop, ours cannot run its own end: it is closed with the thread.
        if runner is not None and not loop_runs():
            del self._of.thread
            runner.close()


class _Runner:
    """The loop of one thread."""

    def __init__(self) -> None:
        import asyncio
        import weakref

        self.process = os.getpid()
        self._runner: asyncio.Runner = asyncio.Runner(loop_factory=new_loop)
        # Closed with the thread that it belongs to, and at the latest when the interpreter exits.
        self.close = weakref.finalize(self, _end, self._runner, self.process)

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await awaitable

        # A copy of the caller's context each time: the runner would keep that of its first run.
        return self._runner.run(wait(), context=copy_context())


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that a process may have when it is forked."""
    import asyncio
    import selectors

    # Not epoll, which a forked process shares with its parent: closing the loop in one of them would
    # deafen it in the other.
    return asyncio.SelectorEventLoop(selectors.PollSelector())


def _end(runner: asyncio.Runner, process: int) -> None:
    """Close a loop, whoever drops it: its thread, another thread, a forked process, the exit."""
    loop = runner.get_loop()
    if loop.is_running():
        return  # the interpreter exits while a daemon thread waits on it, or this is a fork of one
    try:
        # In another process its tasks are not ours to end; inside a running loop they cannot be.
        if process == os.getpid() and not loop_runs():
            _end_tasks(loop)
    finally:
        loop.close()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """
    Cancel what is left on a loop, and wait for its end.

    Not `Runner.close`: it starts a thread to wait for the executor's, which Python refuses when it
    exits (3.12), and which leaves a word behind when a thread has ended (3.13).
    """
    import asyncio

    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {
                    "message": "a task raised as its loop was closed",
                    "exception": error,
                    "task": task,
                }
            )
    loop.run_until_complete(loop.shutdown_asyncgens())
