"""What the lease thread does when the main thread does not end what it has to: it ends the process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.errors import BackendError
from eventbus.queue.execute import Executor
from eventbus.queue.execution import Execution
from eventbus.worker.exits import ExitCode
from eventbus.worker.hand import Hand
from eventbus.worker.signals import Signals

__all__ = ["end_around"]

_log = logging.getLogger("eventbus.worker")

#: Seconds that the store has to settle what is held by a worker that was told to stop.
_SETTLE: Final = 5.0


def end_around(
    hand: Hand,
    *,
    port: Port,
    executor: Executor,
    signals: Signals,
    others: Callable[[], Sequence[Hand]] = lambda: (),
) -> None:
    """
    Settle everything, and end the process around what cannot be interrupted. Never returns.

    Args:
        hand: What the worker holds.
        port: The connection of its claims.
        executor: Decides about the run that does not end.
        signals: Says what does not end, and why it has to.
        others: Stops the other threads, and returns what they hold: it goes back, what they run was interrupted.
    """
    stop = signals.has_to_stop
    elsewhere = [one for one in others() if one is not hand]
    claim, execution = hand.seize()
    step = signals.step or "the worker's own work"
    try:
        if claim is None:
            _say_bounded(
                "%s does not end, and cannot be interrupted: the worker ends around it", step
            )
        else:
            _say_bounded(
                "job %s of %s does not end, and cannot be interrupted: the worker ends around it"
                " (it is in %s)",
                claim.envelope.id,
                execution.shown if execution is not None else "(unreadable)",
                step,
            )
        # A store that hangs itself does not keep a worker that was told to stop.
        settle = partial(_settle, hand, port, executor, claim, execution, stop=stop)
        _within(_SETTLE if stop else None, settle)
        for one in elsewhere:
            _within(_SETTLE, partial(_settle, one, port, executor, one.seize()[0], None, stop=True))
    finally:
        os._exit(ExitCode.INTERRUPTED if stop else ExitCode.STUCK)


def _settle(
    hand: Hand,
    port: Port,
    executor: Executor,
    claim: Claim | None,
    execution: Execution | None,
    *,
    stop: bool,
) -> None:
    try:
        hand.flush()
        hand.give_back()
        if claim is not None and stop:
            port.give_back([claim])
        elif execution is not None and execution.began:
            executor.decide_stuck(execution)
            hand.settle_seized(execution)
        # Else it hangs as it is read, or as its begin is told: it comes back as a loss, and the third
        # loss fails it.
    except BackendError as error:
        _say_bounded("it could not be settled, and comes back when its lease ends: %s", error)


def _say_bounded(message: str, *values: object) -> None:
    """Log, but wait no longer than a second: the stuck code may hold a handler's lock."""
    _within(1.0, partial(_log.error, message, *values))


def _within(limit: float | None, call: Callable[[], object]) -> None:
    """Do something in a thread of its own, and wait for it no longer than `limit` seconds."""
    doing = threading.Thread(target=call, daemon=True)
    doing.start()
    doing.join(limit)
