"""Jobs whose names this code does not know: told of so often as is of use, and no oftener."""

from __future__ import annotations

import logging

from eventbus.defaults import UNKNOWN_NAMES
from eventbus.errors import UnknownName
from eventbus.queue.execution import Execution
from eventbus.text import short

__all__ = ["Unknowns"]

_log = logging.getLogger("eventbus.queue")


class Unknowns:
    """
    The unknown names that one worker has met.

    It warns once of each, up to `UNKNOWN_NAMES` of them; beyond, at each power of ten of jobs. The
    rest is for those who debug.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()
        #: Jobs with names that are not told of one by one.
        self._others = 0

    def tell(self, execution: Execution, error: UnknownName) -> None:
        """Log that a job waits for code that knows it."""
        name = (error.kind, short(error.name))
        level = logging.DEBUG
        if name not in self._told:
            if len(self._told) < UNKNOWN_NAMES:
                self._told.add(name)
                level = logging.WARNING
            else:
                self._others += 1
                if str(self._others).strip("0") == "1":
                    _log.warning("%d jobs wait for still other names", self._others)
        _log.log(
            level,
            "job %s is parked: %s",
            short(execution.envelope.id),
            short(str(error)),
            extra={"job": execution.facts},
        )
