"""Events about the worker itself: whatever their listeners do, and however long, it goes on."""

from __future__ import annotations

import logging

from eventbus.bus import EventBus
from eventbus.dispatch.waiting import drive
from eventbus.queue.spans import OVERRUNS, Limits, Span, limited

__all__ = ["tell"]

_log = logging.getLogger("eventbus.worker")


def tell(event: object, *, bus: EventBus, limits: Limits, limit: float) -> bool:
    """
    Dispatch an event about the worker; False where a listener stopped it.

    Args:
        event: The event.
        bus: Is told.
        limits: How what takes too long is ended.
        limit: Seconds that its listeners may take together; 0 is no limit.
    """
    kind = type(event)
    if not bus.hears(kind):
        return True
    span = Span(f"a listener of {kind.__name__}", limit, follows=True)
    try:
        return bool(drive(limited(limits, span, bus.announce(event)), bus))
    except OVERRUNS as overrun:
        _log.warning("the worker goes on: %s", overrun)
        return True
