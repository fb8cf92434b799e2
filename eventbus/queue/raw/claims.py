"""Claim a raw job, and settle it."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from attrs import define, field

from eventbus.backends.base import Bell, Charge, Claim
from eventbus.backends.port import Port
from eventbus.defaults import IDLE, LEASE, MAX_LOST, PARK_DELAY
from eventbus.errors import CodecError, JobLost, LeaseLost, UnknownName
from eventbus.queue.codec.document import RAW
from eventbus.queue.execution import error_text
from eventbus.queue.raw.jobs import payload_of
from eventbus.text import described, short

__all__ = ["Lookout", "RawClaim", "next_claim"]

_log = logging.getLogger("eventbus.queue")

#: The shortest wait for what is due in no time at all.
_AT_LEAST: Final = 0.001


@define(kw_only=True, eq=False)
class RawClaim:
    """
    The temporary right to one raw job: `ack`, `release` or `bury` it before its lease ends.

    Whatever is not settled by then may be claimed again, with one loss more.
    """

    #: The job's id, the same in every claim: a key for what must happen once.
    id: str
    #: The queue it lies in.
    queue: str
    #: The JSON value that was pushed.
    payload: Any = field(repr=False)
    #: Tries before this one, of those that count: `release(spend=True)`.
    attempts: int
    #: Claims before this one whose lease ended, or whose process died.
    losses: int
    #: When it was pushed, by the store's clock.
    pushed_at: datetime
    _claim: Claim = field(alias="claim", repr=False)
    _port: Port = field(alias="port", repr=False)
    #: Whether it is settled by this claim.
    settled: bool = field(init=False, default=False)

    def ack(self) -> None:
        """
        Remove the job: it is done.

        Raises:
            LeaseLost: The claim is no longer ours; nothing was removed.
            BackendError: The store cannot be used.
        """
        self._settle(lambda: self._port.ack(self._claim))

    def release(self, delay: float | timedelta = 0, *, spend: bool = False) -> None:
        """
        Give the job back, due in `delay` seconds.

        Args:
            delay: Seconds, or a `timedelta`, until it may be claimed again.
            spend: Let this claim count among the `attempts` of the next.

        Raises:
            LeaseLost: The claim is no longer ours; nothing changed.
            InvalidOption: `delay` is no duration.
            BackendError: The store cannot be used.

        Defaults:
            delay = 0: at once.
            spend = False: the next claim has the attempts of this one.
        """
        charge = Charge.ATTEMPT if spend else Charge.RELEASE
        self._settle(lambda: self._port.release(self._claim, delay=delay, charge=charge))

    def bury(self, error: BaseException | str = "") -> None:
        """
        Set the job aside, among the failed ones, until somebody revives or purges it.

        Args:
            error: Why: a text, or an exception, of which the traceback is kept too.

        Raises:
            LeaseLost: The claim is no longer ours; nothing changed.
            UnsupportedOption: The store keeps no failed jobs.
            BackendError: The store cannot be used.

        Defaults:
            error = empty: no reason is given.
        """
        text = error if isinstance(error, str) else error_text(error)
        self._settle(lambda: self._port.bury(self._claim, error=text))

    def extend(self, lease: float | timedelta = LEASE) -> None:
        """
        Hold the job for `lease` seconds from now.

        Raises:
            LeaseLost: The claim is no longer ours.
            InvalidOption: `lease` is no duration above 0.
            BackendError: The store cannot be used.

        Defaults:
            lease = `defaults.LEASE`.
        """
        for _ in self._port.extend([self._claim], lease=lease):
            raise LeaseLost(id=self.id, operation="extend")

    def give_back(self) -> None:
        """
        Give the job back as if it had never been claimed: at once, to its place in the line.

        Raises:
            LeaseLost: The claim is no longer ours; nothing changed.
            BackendError: The store cannot be used.
        """
        self._settle(lambda: self._port.release(self._claim, charge=Charge.NOTHING))

    @property
    def facts(self) -> dict[str, Any]:
        """What every log record about the job says."""
        return _facts(self._claim, self._port)

    def _settle(self, call: Callable[[], None]) -> None:
        call()
        self.settled = True


def next_claim(port: Port, queues: Sequence[str], *, lease: float | timedelta) -> RawClaim | None:
    """
    Claim the next raw job; None if none is due.

    What is no raw job is not handed out: bytes that are no job are buried, as is a job at its last
    allowed loss; the job of a listener, or of a newer version, is parked.

    Raises:
        BackendError: The store cannot be used.
    """
    while claims := port.claim(queues, lease=lease):
        for claim in claims:
            try:
                found = _opened(claim, port)
            except LeaseLost as error:
                _log.warning("%s", short(str(error)), extra={"job": _facts(claim, port)})
            else:
                if found is not None:
                    return found
    return None


def _opened(claim: Claim, port: Port) -> RawClaim | None:
    envelope = claim.envelope
    try:
        payload = payload_of(envelope)
        if claim.losses >= MAX_LOST:
            raise JobLost(listener=f"a raw job of {envelope.queue}", losses=claim.losses)
    except UnknownName as error:
        why = short(str(error))
        port.release(claim, delay=PARK_DELAY, charge=Charge.NOTHING, parked=why)
        # No warning: there may be many, they come again, and `eventbus failed` lists what is parked.
        _log.info(
            "job %s is left to others: %s",
            short(envelope.id),
            why,
            extra={"job": _facts(claim, port)},
        )
        return None
    except (CodecError, JobLost) as error:
        port.bury(claim, error=error_text(error), charge=Charge.NOTHING)
        _log.warning(
            "raw job %s of %s is buried: %s",
            short(envelope.id),
            envelope.queue,
            described(error),
            extra={"job": _facts(claim, port)},
        )
        return None
    return RawClaim(
        id=envelope.id,
        queue=envelope.queue,
        payload=payload,
        attempts=claim.attempts,
        losses=claim.losses,
        pushed_at=claim.pushed_at,
        claim=claim,
        port=port,
    )


def _facts(claim: Claim, port: Port) -> dict[str, Any]:
    return {
        "id": claim.envelope.id,
        "name": RAW,
        "connection": port.name,
        "queue": claim.envelope.queue,
        "attempt": claim.attempts + 1,
    }


class Lookout:
    """
    Waits until there may be something to claim: by the store's bell where it has one.

    Args:
        port: The connection.
        queues: The queues.
        idle: Longest wait, in seconds; then it is time to look again, bell or not.
    """

    def __init__(self, port: Port, queues: Sequence[str], *, idle: float = IDLE) -> None:
        self._port = port
        self._queues = queues
        self._idle = idle
        self._bell: Bell | None = None

    def __enter__(self) -> Self:
        self._bell = self._port.bell(self._queues)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._bell is not None:
            self._bell.close()

    def silence(self) -> None:
        """Forget the rings until now: what comes after this rings again. To be called before a claim."""
        if self._bell is not None:
            self._bell.silence()

    def wait(self, until: float, queues: Sequence[str] = ()) -> None:
        """
        Wait for a ring, for the next job to be due, or until an instant of the monotonic clock.

        Args:
            until: The instant; may be infinite.
            queues: Those of the queues whose jobs count. Default: all.
        """
        # Leased ones count: nobody rings when a process dies and its lease ends.
        due = self._port.next_due(queues or self._queues, leased=True)
        rest = self._idle if due is None else min(max(due, _AT_LEAST), self._idle)
        rest = min(rest, until - time.monotonic())
        if rest > 0:
            select.select([self._bell] if self._bell is not None else [], [], [], rest)
