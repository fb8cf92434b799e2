"""What is said of a dispatch: the note on an error, and the debug line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from eventbus.dispatch.targets import describe

__all__ = ["LOGGER", "debugging", "described", "log", "note"]


def note(error: Exception, event: str, listener: str) -> None:
    """Add to an error which listener of which event raised it."""
    notes: list[str] = getattr(error, "__notes__", [])
    text = f"raised by listener {listener} of event {event}"
    if isinstance(error, RecursionError):
        # A dispatch without end comes here once a level: one note that names the circle is enough.
        if notes and notes[-1].startswith(_ENDLESS):
            if notes[-1].count(" <- ") < _CIRCLE:
                notes[-1] += f" <- {event}"
            return
        text = f"{_ENDLESS} {event}"
    # An error that is raised again and again, a constant say, must not grow with each time.
    if text not in notes:
        # One that is frozen takes no note; that must not hide it.
        with suppress(Exception):
            error.add_note(text)


_ENDLESS: Final = "events under way, the innermost first:"


_CIRCLE: Final = 5


def described(call: Callable[..., Any]) -> str:
    """Return how a callable of a plan is called in notes."""
    return describe(getattr(call, "__wrapped__", call))


def debugging() -> bool:
    """Tell whether dispatches are logged."""
    # Nobody has asked for debug lines where logging is not even imported, or only half so far.
    get_logger = getattr(sys.modules.get("logging"), "getLogger", None)
    return get_logger is not None and get_logger(LOGGER).isEnabledFor(_DEBUG)


LOGGER: Final = "eventbus.dispatch"


_DEBUG: Final = 10  # logging.DEBUG, without importing it


def log(name: str, lines: Sequence[str]) -> None:
    """Write the debug line of a dispatch: who ran, who was queued, who stopped the rest."""
    if debugging():
        sys.modules["logging"].getLogger(LOGGER).debug(
            "%s: %s", name, "; ".join(lines) or "nobody listens"
        )
