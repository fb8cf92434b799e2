"""What is stored: one envelope per job. A backend never looks inside its body."""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import field, frozen
from typing_extensions import override

from eventbus.defaults import LIMIT_KEY_LENGTH
from eventbus.errors import InvalidOption
from eventbus.structs import FrozenStruct
from eventbus.values import seconds

__all__ = ["Envelope", "Member", "UniqueKey"]


def _keyed(value: Any) -> str:
    if isinstance(value, str) and 0 < len(value) <= LIMIT_KEY_LENGTH and value.isprintable():
        return value
    expected = f"a text of 1 to {LIMIT_KEY_LENGTH} printable characters"
    raise InvalidOption(option="unique", value=value, expected=expected)


def _span(value: float) -> float:
    return seconds(value, option="unique")


@frozen(kw_only=True)
class UniqueKey:
    """
    No two jobs with one key are stored in a queue, failed ones aside: the second stands back, or takes the place.

    The key is free as soon as the job that has it is done, has failed or was cancelled, or lets go of it.

    Raises:
        InvalidOption: The key is none that every store takes, or a duration is none.
    """

    #: What may be there once.
    key: str = field(converter=_keyed)
    #: Seconds from the push for which it is kept from others at most; 0 is no limit.
    life: float = field(default=0.0, converter=_span)
    #: It takes the place of one that waits; one that runs keeps it from nothing.
    replaces: bool = False
    #: Of one that takes places: seconds from the first that had the key until it is due at the latest; 0 is
    #: no limit.
    latest: float = field(default=0.0, converter=_span)


@frozen(kw_only=True)
class Member:
    """The place of an envelope in a plan: in a chain, in a batch, or in one that is part of the other."""

    #: The id of the batch that counts it; empty if none does.
    batch: str = ""
    #: Queue and id of the one whose turn comes when it is done; None if nobody's does.
    next: tuple[str, str] | None = None
    #: Queue and id of the one whose turn comes when it fails, and which goes when the chain is done.
    catch: tuple[str, str] | None = None
    #: Of one that is pushed: it waits for its turn, however much time passes.
    held: bool = False


class Envelope(FrozenStruct, frozen=True, kw_only=True, eq=False):
    """
    The stored form of a job: bytes for the store, and the little that the store must know.

    Pushing two envelopes with the same `id` stores one. Two are equal if that, queue, body and delay are.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"body"})

    #: The job's id, the same in every attempt.
    id: str
    #: The queue it lies in.
    queue: str
    #: The job as one JSON document (`eventbus.queue.codec.document`); opaque to backends.
    body: bytes
    #: Seconds from the push until it may be claimed.
    delay: float = 0.0
    #: What no other in its queue may have; told to a store, and not handed out with a claim.
    unique: UniqueKey | None = None
    #: Its place in a plan; None for what stands alone.
    member: Member | None = None

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Envelope) and self._told == other._told

    @override
    def __hash__(self) -> int:
        return hash(self._told)

    @property
    def _told(self) -> tuple[Any, ...]:
        return self.id, self.queue, self.body, self.delay
