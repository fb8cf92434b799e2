"""One run of one job: the record that the steps of `Executor` fill in, and the rules it runs by."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
from attrs import evolve, frozen

from eventbus.backends.base import Charge, Claim
from eventbus.backends.port import Port
from eventbus.defaults import ERROR_TEXT_LIMIT, MAX_LOST, TIMEOUT, TRIES
from eventbus.dispatch.waiting import Blocking, Effect, Walk
from eventbus.queue.attempt import Attempt
from eventbus.queue.catalogue import Entry
from eventbus.queue.codec.document import Document
from eventbus.queue.envelope import Envelope
from eventbus.queue.lifecycle import Outcome
from eventbus.queue.results import Kept
from eventbus.text import class_name, short

__all__ = [
    "DONE",
    "Decision",
    "Execution",
    "Rules",
    "bare_document",
    "caught",
    "error_text",
    "unstored",
    "warn_of_late_error",
    "warn_of_overrun",
]


@frozen(kw_only=True)
class Rules:
    """What holds for jobs whose listeners do not say."""

    tries: int = TRIES
    backoff: float | tuple[float, ...] = 0.0
    timeout: float = TIMEOUT
    max_lost: int = MAX_LOST


@frozen(kw_only=True, eq=False)
class Decision:
    """What becomes of a job after one run of it."""

    outcome: Outcome
    #: What `failed()` and the failed job tell of; None where nothing went wrong.
    error: BaseException | None = None
    #: Seconds until a released job is due.
    delay: float = 0.0
    charge: Charge = Charge.NOTHING
    #: Why a released job cannot run yet; empty where it can.
    parked: str = ""


def _forgotten(tries: int) -> None:
    """Nobody is told."""


#: The listener returned.
DONE: Final = Decision(outcome=Outcome.SUCCEEDED)


class Execution(msgspec.Struct, kw_only=True, eq=False):
    """One run of one job."""

    envelope: Envelope
    attempt: Attempt
    #: None on a `sync://` connection, where nothing is stored and nothing is settled.
    port: Port | None = None
    claim: Claim | None = None
    document: Document | None = None
    entry: Entry | None = None
    #: What the listener is called with; None until it is decoded.
    arguments: tuple[Any, ...] | None = None
    wildcard: bool = False
    #: The listener, once it is built; None for a function.
    instance: object = None
    #: The job itself, once it is decoded; None of a listener's.
    job: object = None
    #: What came back.
    answer: object = None
    #: The same, as it is to be kept; None where it is not.
    result: Kept | None = None
    #: How many jobs in a row have each queued the next, until this one.
    hops: int = 0
    #: The events of the latest of them.
    trail: tuple[str, ...] = ()
    #: What was raised, in the run or before it.
    raised: BaseException | None = None
    #: It is not to run: its batch was canceled.
    canceled: bool = False
    #: Its batch may have been canceled since it was claimed: it is to be looked at.
    unsure: bool = False
    #: It has to have its key before it runs: its turn came in a plan.
    takes_key: bool = False
    #: Its run began, and so a try is spent if it raises.
    began: bool = False
    #: Seconds that its run may take, and each step that follows it; 0 is no limit.
    limit: float = 0.0
    #: Told how often the job may be tried, where its listener had to be built to say so.
    note_tries: Callable[[int], None] = _forgotten
    #: The lease turned out lost when the job was to be settled.
    lost: bool = False
    #: Holds one decision; two threads may come to one, and the first counts.
    _decisions: dict[str, Decision] = msgspec.field(default_factory=dict[str, Decision])

    def decide(self, decision: Decision) -> bool:
        """Make `decision` the one that counts; False if there was one already."""
        return self._decisions.setdefault("first", decision) is decision

    def forget_error(self) -> None:
        """Let go of what was raised: its traceback leads back here, and only a collection would end the circle."""
        raised, self.raised = self.raised, None
        # One of another thread, about a run that did not end, has an error of its own, and needs it.
        if raised is not None and self.decision.error is raised:
            self._decisions["first"] = evolve(self.decision, error=None)

    @property
    def decision(self) -> Decision:
        """What was decided; until then, that all is well."""
        return self._decisions.get("first", DONE)

    @property
    def asked(self) -> object:
        """Whose methods say what is asked during the run; None where there is nobody yet."""
        return self.instance if self.job is None else self.job

    @property
    def decided(self) -> bool:
        """Whether it is decided what becomes of the job."""
        return bool(self._decisions)

    @property
    def outcome(self) -> Outcome:
        """How the run ended."""
        return Outcome.LOST if self.lost else self.decision.outcome

    @property
    def error(self) -> BaseException | None:
        """What went wrong; None where nothing did."""
        return self.decision.error if self._decisions else self.raised

    @property
    def delay(self) -> float:
        """Seconds until a released job is due."""
        return self.decision.delay

    @property
    def charge(self) -> Charge:
        """What the run counts as."""
        return self.decision.charge

    @property
    def parked(self) -> str:
        """Why a released job cannot run yet; empty where it can."""
        return self.decision.parked

    @property
    def shown(self) -> str:
        """What logs call the listener; empty if the job cannot be read."""
        return self.attempt.name if self.entry is None else self.entry.options.shown

    @property
    def facts(self) -> dict[str, Any]:
        """What every event about the job says."""
        return {
            "id": self.envelope.id,
            "name": self.attempt.name,
            "connection": self.attempt.connection,
            "queue": self.envelope.queue,
            "attempt": self.attempt.number,
        }


def unstored(envelope: Envelope, connection: str, *, name: str = "") -> Execution:
    """Return the run of a job that nothing stores, to be filled in."""
    return Execution(
        envelope=envelope,
        attempt=Attempt(
            id=envelope.id,
            name=name,
            connection=connection,
            queue=envelope.queue,
            number=1,
            stored=False,
        ),
    )


def bare_document(id: str, name: str) -> Document:
    """Return the document of a job that was never written, and of which nothing is read."""
    return Document(
        id=id,
        kind="job",
        name=name,
        event=None,
        payload="class",
        data=b"",
        dispatched_at=datetime.now(UTC),
    )


def error_text(error: BaseException | None) -> str:
    """
    Return an error as text: type, message and traceback, without the values of variables.

    Never longer than `ERROR_TEXT_LIMIT`, and never raising, whatever the error's own methods do.
    """
    if error is None:
        return ""
    try:
        # Line by line, so that a message of megabytes is held once and not joined with the rest.
        return _ends(traceback.TracebackException.from_exception(error).format())
    except BaseException:  # noqa: BLE001 -- an exception whose own methods raise anything
        return f"{class_name(type(error))} (it cannot be shown)"


_CUT: Final = "\n... (cut)\n"


def _ends(pieces: Iterable[str]) -> str:
    """Return a text, without its middle where it is too long."""
    # The last lines name the error and the place; the first ones the way there.
    half = (ERROR_TEXT_LIMIT - len(_CUT)) // 2
    head = tail = ""
    length = 0
    for piece in pieces:
        length += len(piece)
        head += piece[: half - len(head)]
        tail = (tail + piece[-half:])[-half:]
    if length > 2 * half:
        return head + _CUT + tail
    return head + tail[len(tail) - (length - len(head)) :]


def caught(walk: Walk) -> Generator[Effect, Any, BaseException | None]:
    """Walk to the end, and return what was raised on the way, whatever it is."""
    step: Callable[[], Effect] = partial(next, walk)
    while True:
        try:
            effect = step()
        except StopIteration:
            return None
        except BaseException as error:  # noqa: BLE001 -- decided about, or logged
            return error
        try:
            if isinstance(effect, Blocking):
                outcome = yield effect
            else:
                outcome, leaving = yield _kept(effect)
                if leaving is not None:
                    step = partial(walk.throw, leaving)
                    continue
        except GeneratorExit:
            # Whoever waited for this walk has dropped it: nothing may be waited for.
            walk.close()
            raise
        except BaseException as error:  # noqa: BLE001 -- the walk decides
            if inspect.iscoroutine(effect) and inspect.getcoroutinestate(effect) == "CORO_CREATED":
                effect.close()  # nothing could wait for it, and nothing will
            step = partial(walk.throw, error)
        else:
            step = partial(walk.send, outcome)


async def _kept(work: Awaitable[Any]) -> tuple[Any, GeneratorExit | None]:
    """Return the answer of `work`, or its GeneratorExit: thrown into walks, it would end them all."""
    try:
        return await work, None
    except GeneratorExit as leaving:
        return None, leaving


_TRACEBACK: Final = BaseException.__dict__["__traceback__"].__get__


def warn_of_late_error(execution: Execution) -> None:
    """Log what a listener raised although it had settled its job: nobody else will tell of it."""
    error = execution.raised
    if execution.attempt.settled is not None and error is not None and error is not execution.error:
        import logging

        logging.getLogger("eventbus.queue").warning(
            "job %s settled itself, and raised afterwards",
            short(execution.envelope.id),
            # Not the error alone: `logging` would ask it for its traceback, and it may not answer.
            exc_info=(type(error), error, _TRACEBACK(error)),
            extra={"job": execution.facts},
        )


def warn_of_overrun(execution: Execution, overrun: BaseException) -> None:
    """Log that a step which follows a run was ended; nothing else comes of it."""
    import logging

    logging.getLogger("eventbus.queue").warning(
        "the run goes on: %s", short(str(overrun)), extra={"job": execution.facts}
    )
