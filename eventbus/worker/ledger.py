"""
What one of several worker processes holds, in memory that outlives it.

The process writes, and whoever comes after it reads: which jobs it had claimed, which of them ran when it
died, and by when that run was to end. So a death costs nobody the wait for a lease.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from struct import Struct
from typing import ClassVar, Final

import msgspec
from attrs import frozen
from typing_extensions import override

from eventbus.backends.base import Claim
from eventbus.defaults import HEALTH_BEAT, STUCK_AFTER
from eventbus.queue.envelope import Envelope

__all__ = ["NOTHING_LEFT", "Ledger", "Left", "SharedLedger", "make_file"]

#: Bytes of it all: a batch of a thousand claims, and more. Only what is written takes memory.
_SIZE: Final = 256 * 1024

#: Bytes of the rows; how many of them have begun; what the last of those does.
_HOLDS: Final = Struct("<IIB")
_RAN, _READ, _RUNS = range(3)
#: Bytes of the note of a claim that is being made; 0 is none.
_NOTE: Final = Struct("<I")
#: Instants of the monotonic clock, which all processes of a machine share; 0 is none.
_DUE: Final = Struct("<d")
_WORD: Final = Struct("<16s")
#: Tries, 0 for no limit; -1 where they are not known.
_TRIES: Final = Struct("<q")
_UNKNOWN: Final = -1

_NOTE_AT: Final = 12
_DUE_AT: Final = 16
_BEAT_AT: Final = 24
_REASON_AT: Final = 32
_WORKED_AT: Final = 48
_TRIES_AT: Final = 52
_ROWS_AT: Final = 64
#: A claim that is being made is noted behind the rows: these stand until what it took is noted, and so does it.
_CLAIM_AT: Final = _SIZE - 64 * 1024

#: How many beats may be missing before the process counts as one that lets no thread run.
_BEATS: Final = 2
#: Seconds that its lease thread has, once it should have ended the process itself.
_PATIENCE: Final = 2.0


@frozen(kw_only=True)
class Left:
    """What a worker held when it died."""

    #: Ran to their end; their acks may not have been written.
    finished: tuple[Claim, ...]
    #: Was read, or ran, when it died; None between two jobs.
    running: Claim | None
    #: Had not begun.
    waiting: tuple[Claim, ...]
    #: It was being read: whoever reads it again may die of it too.
    is_read: bool = False
    #: What ran was over its time.
    is_overdue: bool = False
    #: How often what ran may be tried; None where that was not asked, or need not be.
    tries: int | None = None
    #: The queues and the token of a claim of which nobody noted what it took.
    claim: tuple[Sequence[str], str] | None = None


#: Nobody was there before, or it has settled everything.
NOTHING_LEFT: Final = Left(finished=(), running=None, waiting=())


class Ledger:
    """What a worker tells of itself; this one tells nobody."""

    #: Whether anybody reads it.
    is_read: ClassVar[bool] = False

    def claims(self, queues: Sequence[str], token: str) -> None:
        """Note that a claim is about to be made."""

    def takes(self, claims: Sequence[Claim]) -> None:
        """Note a batch of claims, of which none runs yet."""

    def begins(self, claim: Claim) -> None:
        """Note that a job of the batch is being read."""

    def runs(self, limit: float) -> None:
        """Note that it runs from now on, for `limit` seconds at most; 0 is no limit."""

    def asked(self, tries: int) -> None:
        """Note how often the job may be tried, of one whose listener had to be built to say so."""

    def ran(self) -> None:
        """Note that the job came to its end: it is settled, or its ack is all that is left."""

    def holds_none(self) -> None:
        """Note that everything of the batch was settled."""

    def lives(self) -> None:
        """Note that the lease thread runs."""

    def ends(self, reason: str) -> None:
        """Note why the worker stopped."""

    def left(self) -> Left:
        """Return what is held."""
        return NOTHING_LEFT


class _Row(msgspec.Struct, array_like=True):
    id: str
    queue: str
    token: str
    attempts: int
    losses: int
    exceptions: int
    releases: int
    pushed_at: datetime

    def claim(self) -> Claim:
        """Return the claim, without the body of its job."""
        return Claim(
            envelope=Envelope(id=self.id, queue=self.queue, body=b""),
            token=self.token,
            attempts=self.attempts,
            losses=self.losses,
            exceptions=self.exceptions,
            releases=self.releases,
            pushed_at=self.pushed_at,
        )


class SharedLedger(Ledger):
    """
    A ledger in a file that both processes have in memory.

    What is written is there as soon as it is written, and stays when the process dies. The rows of a
    batch count once their length is written, so none that is half written is ever read.

    Args:
        file: The descriptor of one that `make_file` made.
        number: Of several ledgers in it, which; from 0.
    """

    is_read: ClassVar[bool] = True

    def __init__(self, file: int, number: int = 0) -> None:
        self._memory = mmap.mmap(file, _SIZE, offset=number * _SIZE)
        self._length = self._begun = 0
        self._doing = _RAN
        #: By id: which row of the batch it is.
        self._rows: dict[str, int] = {}

    # What the worker writes.

    @override
    def claims(self, queues: Sequence[str], token: str) -> None:
        note = msgspec.msgpack.encode((queues, token))
        if self._doing != _RAN:
            self._forget_batch()  # else its acks may not be written
        # As below: what is too long comes back when its leases end.
        length = len(note) if _CLAIM_AT + len(note) <= _SIZE else 0
        self._memory[_CLAIM_AT : _CLAIM_AT + length] = note[:length]
        _NOTE.pack_into(self._memory, _NOTE_AT, length)

    @override
    def takes(self, claims: Sequence[Claim]) -> None:
        rows = msgspec.msgpack.encode([_row(claim) for claim in claims])
        if _ROWS_AT + len(rows) > _CLAIM_AT:
            self.holds_none()
            return  # names of absurd length: their leases say when they come back
        self._forget_batch()
        self._memory[_WORKED_AT] = 1
        self._rows = {claim.envelope.id: at for at, claim in enumerate(claims)}
        self._memory[_ROWS_AT : _ROWS_AT + len(rows)] = rows
        self._length = len(rows)
        self._does(_RAN)
        _NOTE.pack_into(self._memory, _NOTE_AT, 0)

    @override
    def begins(self, claim: Claim) -> None:
        at = self._rows.get(claim.envelope.id)
        if at is not None:
            _DUE.pack_into(self._memory, _DUE_AT, 0.0)
            _TRIES.pack_into(self._memory, _TRIES_AT, _UNKNOWN)
            self._begun = at + 1
            self._does(_READ)

    @override
    def runs(self, limit: float) -> None:
        if self._begun:
            _DUE.pack_into(self._memory, _DUE_AT, time.monotonic() + limit if limit else 0.0)
            self._does(_RUNS)

    @override
    def asked(self, tries: int) -> None:
        if self._begun:
            _TRIES.pack_into(self._memory, _TRIES_AT, tries)

    @override
    def ran(self) -> None:
        if self._begun:
            self._does(_RAN)

    def _does(self, what: int) -> None:
        self._doing = what
        _HOLDS.pack_into(self._memory, 0, self._length, self._begun, what)

    def _forget_batch(self) -> None:
        self._length = self._begun = 0
        self._does(_RAN)
        self._rows = {}

    @override
    def holds_none(self) -> None:
        self._forget_batch()
        _NOTE.pack_into(self._memory, _NOTE_AT, 0)

    @override
    def lives(self) -> None:
        _DUE.pack_into(self._memory, _BEAT_AT, time.monotonic())

    @override
    def ends(self, reason: str) -> None:
        _WORD.pack_into(self._memory, _REASON_AT, reason.encode())

    # What others read.

    @property
    def reason(self) -> str:
        """Why the worker stopped; empty where it did not say."""
        word: bytes = _WORD.unpack_from(self._memory, _REASON_AT)[0]
        return word.rstrip(b"\0").decode()

    @property
    def is_empty(self) -> bool:
        """Whether no job is known to be held that has not come to its end."""
        left = self.left()
        return left.running is None and not left.waiting

    @property
    def _due(self) -> float:
        due: float = _DUE.unpack_from(self._memory, _DUE_AT)[0]
        return due

    def is_overdue(self, *, now: float | None = None) -> bool:
        """
        Tell whether a job should have ended, in a process that lets no thread of its own end it.

        Args:
            now: An instant of the monotonic clock.

        Defaults:
            now = this one.
        """
        at = time.monotonic() if now is None else now
        due, beat = self._due, _DUE.unpack_from(self._memory, _BEAT_AT)[0]
        does = _HOLDS.unpack_from(self._memory, 0)[2]
        if does != _RUNS or not due or at < due + STUCK_AFTER + _PATIENCE:
            return False
        # Its lease thread looks when the run is due. What follows the run has a time of its own.
        return bool(beat < due or at - beat > _BEATS * HEALTH_BEAT)

    @property
    def has_worked(self) -> bool:
        """Whether the worker has had a job."""
        worked: bool = self._memory[_WORKED_AT] == 1
        return worked

    def settled(self) -> None:
        """Forget what a worker held that has settled it; not where it was about to claim, and to ack with that."""
        if not self._noted:
            self.holds_none()

    def begin_anew(self) -> None:
        """Forget what a worker did, but for what it holds: another one begins."""
        self.ends("")
        self._memory[_WORKED_AT] = 0
        self.lives()

    @override
    def left(self) -> Left:
        claim = None
        if noted := self._noted:
            note = self._memory[_CLAIM_AT : _CLAIM_AT + noted]
            claim = msgspec.msgpack.decode(note, type=tuple[list[str], str])
        length, begun, does = _HOLDS.unpack_from(self._memory, 0)
        if not length:
            return Left(finished=(), running=None, waiting=(), claim=claim)
        rows = msgspec.msgpack.decode(self._memory[_ROWS_AT : _ROWS_AT + length], type=list[_Row])
        claims = tuple(row.claim() for row in rows)
        tries = _TRIES.unpack_from(self._memory, _TRIES_AT)[0]
        return Left(
            finished=claims[: begun if does == _RAN else begun - 1],
            running=None if does == _RAN else claims[begun - 1],
            waiting=claims[begun:],
            is_read=does == _READ,
            is_overdue=does == _RUNS and 0.0 < self._due < time.monotonic(),
            tries=tries if does == _RUNS and tries != _UNKNOWN else None,
            claim=claim,
        )

    @property
    def _noted(self) -> int:
        length: int = _NOTE.unpack_from(self._memory, _NOTE_AT)[0]
        return length


def make_file(ledgers: int = 1) -> int:
    """Make an empty file for so many ledgers, in memory where the system can; return its descriptor."""
    if sys.platform == "linux":
        file = os.memfd_create("eventbus-ledger")
    else:
        with tempfile.TemporaryFile() as made:
            file = os.dup(made.fileno())
    os.truncate(file, ledgers * _SIZE)
    return file


def _row(claim: Claim) -> _Row:
    envelope = claim.envelope
    return _Row(
        id=envelope.id,
        queue=envelope.queue,
        token=claim.token,
        attempts=claim.attempts,
        losses=claim.losses,
        exceptions=claim.exceptions,
        releases=claim.releases,
        pushed_at=claim.pushed_at,
    )
