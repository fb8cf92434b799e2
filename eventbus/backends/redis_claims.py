"""Claims of jobs in Redis: how they are taken and settled, and what is done where an answer never came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from eventbus.backends.base import Charge, Claim
from eventbus.backends.instants import span
from eventbus.backends.redis_calls import Call, Unanswered
from eventbus.backends.redis_records import MOST, WORDS, Flaw, claim_of, is_alone, places_of
from eventbus.backends.redis_store import Store, steps
from eventbus.defaults import REDIS_STEP
from eventbus.errors import DecodeError
from eventbus.values import new_id, valid_id

__all__ = ["Claims"]

#: What a settlement that was sent twice finds where the first time did it.
_DONE: Final[Mapping[str, str]] = {
    "ack": "gone",
    "release": "waits",
    "bury": "failed",
}


class _Kind(NamedTuple):
    """Which script settles a claim."""

    member: bool = False
    skipped: bool = False
    #: Of one that nobody follows: its batch.
    batch: str = ""

    @classmethod
    def of(cls, claim: Claim, *, again: bool) -> _Kind:
        """Return that of a claim; `again` where the quick one had more to do than it can."""
        member = claim.envelope.member
        if member is None:
            return cls()
        simple = not again and member.next is None and member.catch is None
        return cls(member=True, skipped=claim.skipped, batch=member.batch if simple else "")


class Claims:
    """
    The verbs that take and settle claims.

    Args:
        store: Where the jobs lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        #: Token and id of claims whose settlement was sent, and of which nothing is known.
        self._unsure: set[tuple[str, str]] = set()
        #: Tokens of claims that were sent, and of which nothing is known; and their queues.
        self._unclaimed: dict[str, tuple[str, ...]] = {}

    def claim(self, queues: Sequence[str], *, limit: int, lease: float, token: str) -> list[Claim]:
        """Do what the verb does."""
        operation = "claim"
        for unanswered, asked in list(self._unclaimed.items()):
            # Nobody else knows that what it took is ours.
            self.unclaim(asked, token=unanswered)
            self._unclaimed.pop(unanswered, None)
        claims: list[Claim] = []
        sent = alone = False
        try:
            for group in self._store.groups(queues):
                room = min(limit, REDIS_STEP) - len(claims)
                if room <= 0 or alone:
                    break
                found = self._claimed(group, span(lease), room, token, len(claims))
                sent = bool(claims or found)
                if len(claims) == 1 and found:
                    first = claims[0].envelope
                    share = self._store.call("share", [first.queue], first.id, token)
                    self._store.ask(operation, [share])
                alone = is_alone(found)
                claims += self._whole(group, found, token)
        except Unanswered as error:
            self._unclaimed[token] = tuple(queues)
            raise self._store.unavailable(operation, error) from error.__cause__
        except BaseException:
            if sent:
                # Whoever asked gets none of them.
                self._unclaimed[token] = tuple(queues)
            raise
        return claims

    def _claimed(
        self, queues: Sequence[str], lease: int, room: int, token: str, before: int
    ) -> list[Any]:
        call = self._store.call("claim", queues, lease, room, token, MOST, before)
        [found] = self._store.link.ask("claim", [call], repeat=False).replies
        return list(found)

    def _whole(self, queues: Sequence[str], found: Sequence[Any], token: str) -> Iterator[Claim]:
        """Return the claims of what was found; what cannot be run is moved to the failed jobs."""
        for first in range(0, len(found), WORDS):
            place, name, kept, counts, member = found[first : first + WORDS]
            queue = queues[int(place)]
            try:
                yield claim_of(name, queue, kept, counts, token, member)
            except Flaw as flaw:
                self._condemn(queue, name, token, f"{flaw}")

    def _condemn(self, queue: str, name: bytes, token: str, reason: str) -> None:
        """Move a job that was claimed and cannot be run to the failed ones."""
        shown = name.decode("utf-8", "replace")
        new = shown if valid_id(shown) else f"unknown-{new_id()}"
        error = DecodeError(reason=reason, envelope=new)
        text = f"{type(error).__name__}: {error}"
        bell = self._store.bell(queue)
        call = self._store.call("condemn", [queue], name, token, new, text, bell)
        self._store.ask("claim", [call])

    def unclaim(self, queues: Sequence[str], *, token: str) -> int:
        """Do what the verb does."""
        operation, count = "unclaim", 0
        for queue in queues:
            held = self._store.ask_one(operation, self._store.call("held", [queue], token))
            for step in steps(held):
                call = self._releasing(queue, 0.0, Charge.NOTHING)
                words = (word for name in step for word in (name, token))
                self._store.ask(operation, [call.followed_by(words)])
            count += len(held)
        return count

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        """Do what the verb does."""
        return self._settle(
            "extend", claims, lambda queue, _: self._store.call("extend", [queue], span(lease))
        )

    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        """Do what the verb does."""
        self._go_on_elsewhere(claims)
        return self._settle("ack", claims, self._acking)

    def _acking(self, queue: str, kind: _Kind) -> Call:
        if not kind.member:
            return self._store.call("ack", [queue])
        if kind.batch:
            return self._store.call("ack_counted", [queue], kind.batch, int(kind.skipped))
        bell = self._store.bell(queue)
        return self._store.call("ack_members", [queue], bell, int(kind.skipped))

    def _go_on_elsewhere(self, claims: Sequence[Claim]) -> None:
        """
        Let the turn come of those in other queues that follow, before they are gone whom they follow.

        It is another slot of a cluster, so it is no one step. Where it is cut, the one before runs again, and
        finds that its next one has come.
        """
        for claim in claims:
            member, queue = claim.envelope.member, claim.envelope.queue
            if member is None or member.next is None or member.next[0] == queue:
                continue
            held = self._store.ask_one("ack", self._store.call("held", [queue], claim.token))
            if claim.envelope.id.encode() not in held:
                continue  # stale: it is somebody else's to say
            if not self.let_come(*member.next) and member.catch is not None:
                self.take_out([member.catch])

    def let_come(self, queue: str, id: str) -> bool:
        """Let the turn of one come; return whether it waited for it."""
        call = self._store.call("turn_of", [queue], self._store.bell(queue), id)
        return bool(self._store.ask_one("ack", call))

    def take_out(self, places: Sequence[tuple[str, str]]) -> int:
        """Take those out that wait for their turns, and those that follow them; return how many these were."""
        count, left = 0, list(places)
        while left:
            queue, name = left.pop()
            call = self._store.call("take_out", [queue], name)
            gone, others, more = self._store.ask_one("cancel", call)
            count += len(gone) + more
            # Whoever is gone leads nowhere, so this ends, whatever the keys say.
            left += places_of(others)
        return count

    def free(self, claims: Sequence[Claim]) -> None:
        """Do what the verb does."""
        self._settle("free", claims, lambda queue, _: self._store.call("free", [queue]))

    def release(
        self, claims: Sequence[Claim], *, delay: float, charge: Charge, parked: str
    ) -> list[Claim]:
        """Do what the verb does."""
        return self._settle(
            "release", claims, lambda queue, _: self._releasing(queue, delay, charge, parked)
        )

    def _releasing(self, queue: str, delay: float, charge: Charge, parked: str = "") -> Call:
        return self._store.call(
            "release",
            [queue],
            self._store.bell(queue),
            span(delay),
            int(charge is Charge.NOTHING and not delay),
            int(charge in {Charge.ERROR, Charge.ATTEMPT}),
            int(charge is Charge.ERROR),
            int(charge is Charge.RELEASE),
            parked,
        )

    def bury(self, claims: Sequence[Claim], *, error: str, charge: Charge) -> list[Claim]:
        """Do what the verb does."""
        counted = int(charge in {Charge.ERROR, Charge.ATTEMPT}), int(charge is Charge.RELEASE)

        def begun(queue: str, kind: _Kind) -> Call:
            if not kind.member:
                return self._store.call("bury", [queue], *counted, error)
            bell = self._store.bell(queue)
            return self._store.call("bury_members", [queue], bell, *counted, error)

        stale = self._settle("bury", claims, begun)
        for claim in claims:
            member = claim.envelope.member
            # It is told by now that it failed: where this is cut, what catches waits for a hand.
            if member is not None and member.catch is not None and claim not in stale:
                self.let_come(*member.catch)
        return stale

    def _settle(
        self,
        operation: str,
        claims: Sequence[Claim],
        begun: Callable[[str, _Kind], Call],
        *,
        again: bool = False,
    ) -> list[Claim]:
        """
        Settle claims, a call for each queue, and for members of plans; return the stale, in the order of `claims`.

        Args:
            operation: The verb.
            claims: Which.
            begun: Returns the call for a queue, without ids and tokens.
            again: These are left of a first time.
        """
        by_queue: dict[tuple[str, _Kind], list[Claim]] = {}
        for claim in claims:
            kind = _Kind.of(claim, again=again)
            by_queue.setdefault((claim.envelope.queue, kind), []).append(claim)
        batches = [(place, step) for place, found in by_queue.items() for step in steps(found)]
        calls = [
            begun(*place).followed_by(word for one in step for word in (one.envelope.id, one.token))
            for place, step in batches
        ]
        try:
            answer = self._store.link.ask(operation, calls)
        except Unanswered as error:
            # Whoever settles them again may find that it has been done.
            if operation in _DONE:
                self._unsure.update(map(_mark, claims))
            raise self._store.unavailable(operation, error) from error.__cause__
        stale = {
            _mark(step[place - 1])
            for (_, step), found in zip(batches, answer.replies, strict=True)
            if found is not None
            for place, state in zip(found[::2], found[1::2], strict=True)
            if not (
                state.decode() == _DONE.get(operation)
                and (answer.repeated or _mark(step[place - 1]) in self._unsure)
            )
        }
        left = [
            one
            for (_, step), found in zip(batches, answer.replies, strict=True)
            if found is None
            for one in step
        ]
        if left:
            stale.update(map(_mark, self._settle(operation, left, begun, again=True)))
        if self._unsure and operation in _DONE:
            self._unsure.difference_update(map(_mark, claims))
        return [claim for claim in claims if _mark(claim) in stale]


def _mark(claim: Claim) -> tuple[str, str]:
    return claim.token, claim.envelope.id
