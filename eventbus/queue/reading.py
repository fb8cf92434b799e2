"""What a claimed job holds: its document, what the names in it stand for, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from eventbus.errors import JobLost, UnknownName
from eventbus.queue.catalogue import Catalogue
from eventbus.queue.codec.document import RAW
from eventbus.queue.codec.reader import Reader
from eventbus.queue.execution import Execution, Rules
from eventbus.queue.fixed import read_fixed
from eventbus.queue.handling import arguments_of, introduced
from eventbus.queue.spans import Limits, Span

__all__ = ["Reading"]

#: What becomes of a raw job that comes to a worker: it is parked.
_BY_HAND: Final = "no worker runs it: `bus.queue(...)` claims it, from a queue of its own at best"


class Reading:
    """
    Reads jobs.

    Args:
        catalogue: What names stand for.
        changed: Called when names stand for something else.
        rules: What holds where a listener does not say.
        limits: How constructors of events are ended that take too long.
    """

    def __init__(
        self,
        *,
        catalogue: Callable[[], Catalogue],
        changed: Callable[[], None],
        rules: Rules,
        limits: Limits,
    ) -> None:
        self._catalogue = catalogue
        self._changed = changed
        self._rules = rules
        self._limits = limits
        self._reader = Reader()
        self._known: Catalogue | None = None

    def read(self, execution: Execution) -> None:
        """Read the document and find what its names stand for; what goes wrong is its `raised`."""
        # Not the job's fault if it cannot be made: what is raised here ends the worker.
        catalogue = self._catalogue()
        if catalogue is not self._known:
            self._known = catalogue
            self._changed()
        attempt, claim = execution.attempt, execution.claim
        execution.limit = self._rules.timeout
        try:
            document = self._reader.read(execution.envelope.body, envelope=attempt.id)
            execution.document = document
            attempt.name = document.name
            if document.kind == RAW:
                raise UnknownName(kind="kind of job", name=RAW, remedy=_BY_HAND)
            entry = execution.entry = catalogue.entry(document.name, document.kind)
            attempt.name = entry.options.name
            if isinstance(entry.options.timeout, float):
                execution.limit = entry.options.timeout
            if document.options:
                fixed = read_fixed(document.options, envelope=attempt.id)
                execution.wildcard = fixed.wildcard
                execution.hops, execution.trail = fixed.hops, fixed.trail
                attempt.deadline = fixed.deadline
            if claim is not None and claim.losses >= self._rules.max_lost:
                raise JobLost(listener=document.name, losses=claim.losses)
            # Constructors of events run: they may hang as well as a listener.
            arguments = execution.arguments = self._limits.running(
                Span(entry.options.shown, execution.limit),
                partial(arguments_of, document, entry, catalogue),
            )
            if entry.job is not None:
                execution.job = introduced(arguments[0], attempt)
        except BaseException as error:  # noqa: BLE001 -- decided about later; decoding runs constructors
            execution.raised = error
