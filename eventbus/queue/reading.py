"""What a claimed job holds: its document, what the names in it stand for, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from eventbus.errors import JobLost, UnknownName
from eventbus.queue.attempt import introduced
from eventbus.queue.carried import Carried
from eventbus.queue.catalogue import Catalogue, Decoder
from eventbus.queue.codec.document import RAW, Document
from eventbus.queue.codec.reader import Reader
from eventbus.queue.execution import Execution, Rules
from eventbus.queue.fixed import Fixed, read_fixed
from eventbus.queue.spans import Span, TimeLimits

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
        carried: The context variables that travel; they are set here, in the context of the reader.
    """

    def __init__(
        self,
        *,
        catalogue: Callable[[], Catalogue],
        changed: Callable[[], None],
        rules: Rules,
        limits: TimeLimits,
        carried: Carried,
    ) -> None:
        self._catalogue = catalogue
        self._changed = changed
        self._rules = rules
        self._limits = limits
        self._carried = carried
        self._reader = Reader()
        self._known: Catalogue | None = None

    def read(self, execution: Execution) -> None:
        """Read the document and find what its names stand for; what goes wrong is its `raised`."""
        # Not the job's fault if it cannot be made: what is raised here ends the worker.
        catalogue = self._catalogue()
        if catalogue is not self._known:
            self._known = catalogue
            self._reader.forget()
            self._changed()
        attempt, claim = execution.attempt, execution.claim
        execution.limit = self._rules.timeout
        try:
            document, like = self._reader.read(execution.envelope.body, envelope=attempt.id)
            execution.document = document
            attempt.name = document.name
            known: _Known | None = None if like is None else like.known
            if known is None:
                known = _Known(document, catalogue)
                if like is not None:
                    like.known = known
            entry = execution.entry = known.entry
            attempt.name = entry.options.name
            if known.limit is not None:
                execution.limit = known.limit
            if document.options:
                fixed = known.fixed(document)
                execution.wildcard = fixed.wildcard
                execution.hops, execution.trail = fixed.hops, fixed.trail
                attempt.deadline = fixed.deadline
                attempt.batch_id = fixed.batch
                if claim is not None:
                    self._carried.restore(fixed.context)
            if claim is not None and claim.losses >= self._rules.max_lost:
                raise JobLost(listener=document.name, losses=claim.losses)
            # Constructors of events run: they may hang as well as a listener.
            arguments = execution.arguments = self._limits.running(
                Span(entry.options.shown, execution.limit), partial(known.arguments, document)
            )
            attempt.arguments = arguments
            if entry.job is not None:
                execution.job = introduced(arguments[0], attempt)
        except BaseException as error:  # noqa: BLE001 -- decided about later; decoding runs constructors
            execution.raised = error


class _Known:
    """
    What follows from a document, and from all that are like it.

    Args:
        document: One of them.
        catalogue: What names stand for.

    Raises:
        UnknownName: Nobody here has such a name.
    """

    __slots__ = ("_catalogue", "_decode", "_fixed", "entry", "limit")

    def __init__(self, document: Document, catalogue: Catalogue) -> None:
        if document.kind == RAW:
            raise UnknownName(kind="kind of job", name=RAW, remedy=_BY_HAND)
        self._catalogue = catalogue
        self._decode: Decoder | None = None
        self._fixed: Fixed | None = None
        #: The listener, or the class of jobs.
        self.entry = catalogue.entry(document.name, document.kind)
        timeout = self.entry.options.timeout
        #: Seconds that a run may take; None where its listener does not say so beforehand.
        self.limit = timeout if isinstance(timeout, float) else None

    def fixed(self, document: Document) -> Fixed:
        """Return what was fixed when they were dispatched; `DecodeError` if it is nothing of ours."""
        if self._fixed is None:
            self._fixed = read_fixed(document.options, envelope=document.id)
        return self._fixed

    def arguments(self, document: Document) -> tuple[Any, ...]:
        """Return what the listener is called with."""
        if self._decode is None:
            self._decode = self._catalogue.decoder(document, self.entry)
        return arguments_of(document, self._decode)


def arguments_of(document: Document, decode: Decoder) -> tuple[Any, ...]:
    """Return what the listener is called with."""
    name, payload = decode(document)
    return (name, payload) if document.options.get("wildcard") else payload
