"""Chains and batches in the file of the jobs: counted, and gone on with, in the transaction of each verb."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from attrs import define, field
from typing_extensions import override

from eventbus.backends.instants import COUNTED, HELD, span
from eventbus.backends.plans import Milestone, NewBatch, PlanStore, StoredBatch, Tally
from eventbus.backends.sql import (
    Row,
    member_of,
    place_of,
    statements,
    stored_batch_of,
    tally_of,
)
from eventbus.backends.sqlite_file import SqliteFile
from eventbus.queue.envelope import Envelope, Member
from eventbus.values import valid_id

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["Passing", "SqlitePlans"]

_SQL: Final = statements("sqlite.sql")
_HELD: Final[Mapping[str, int]] = {"counted": COUNTED, "held": HELD}
#: What the batches within one stand under, beside what waits for its milestones.
_WITHIN: Final = "within"
#: Behind every row's number.
_FIRST: Final = -(2**63)


@define
class Passing:
    """
    What the settlement of some envelopes means for the others, inside one transaction.

    The rows are what the statements return: id, batch, next, catch. What is to be counted is gathered, and written
    by `count`, once for each batch.
    """

    _db: Connection
    _now: int
    #: The queues to which something has come.
    rung: list[str] = field(init=False, factory=list)
    _counts: dict[str, dict[str, int]] = field(init=False, factory=dict)

    def push(self, envelopes: Iterable[Envelope]) -> None:
        """Store members, those that are not stored already, and count them."""
        for one in envelopes:
            member = one.member
            assert member is not None  # asked of members only
            values = {
                "id": one.id,
                "queue": one.queue,
                "body": one.body,
                "delay": one.delay,
                "now": self._now,
                "due": HELD if member.held else self._now + span(one.delay),
                "crc": crc32(one.body),
                "batch": member.batch or None,
                "next": place_of(member.next),
                "catch": place_of(member.catch),
            }
            is_new = self._db.execute(_SQL["push_member"], values).rowcount > 0
            if is_new and member.batch:
                self._note(member.batch, total=1)

    def acked(self, rows: Iterable[Row], skipped: frozenset[str] = frozenset()) -> None:
        """Let the next ones come, and count those that are done."""
        coming: dict[str, list[Member]] = {}
        left: list[Member] = []
        for name, batch, following, catch in rows:
            if batch is not None:
                self._note(batch, **{"skipped" if name in skipped else "succeeded": 1})
            if following is None and catch is None:
                continue  # what most members of batches are
            member = member_of(batch, following, catch)
            assert member is not None  # it has one or the other
            if member.next is None:
                left.append(member)
            else:
                coming.setdefault(member.next[1], []).append(member)
        came = self._let_come(coming)
        left += [one for name, several in coming.items() if name not in came for one in several]
        self._take_out([one.catch[1] for one in left if one.catch is not None])

    def buried(self, rows: Iterable[Row]) -> None:
        """Count those that failed, and those that will not follow them."""
        for _, *place in rows:
            member = member_of(*place)
            assert member is not None  # asked of members only
            if member.catch is not None:
                self._let_come([member.catch[1]])
            rest = [name for name, due in self._rest(member) if due != COUNTED]
            if member.batch and rest:
                self._move(rest, COUNTED)
            self._note(member.batch, failed=1, skipped=len(rest))

    def revived(self, row: Row) -> None:
        """Take back what was counted: it is to run after all, and those that follow it."""
        member = member_of(*row)
        if member is None or not member.batch:
            return
        rest = [name for name, due in self._rest(member) if due == COUNTED]
        if rest:
            self._move(rest, HELD)
        found = self._tally(member.batch)
        if found is not None:
            tally, _ = found
            tally.reopen(failed=1, skipped=len(rest))
            self._tell(member.batch, tally)

    def purged(self, rows: Iterable[Row]) -> None:
        """Take out those that were to follow one that failed, and is forgotten."""
        for _, *place in rows:
            member = member_of(*place)
            if member is not None:
                self._without(member)

    def canceled(self, rows: Iterable[Row]) -> int:
        """Take out those that were to follow, count all of them, and return how many these were."""
        count = 0
        for name, *place, due in rows:
            member = member_of(*place)
            if member is not None:
                self._drop_unbegun([name])
                if due in _HELD.values():
                    self.cancel(name)  # a batch that runs, and for which nobody waits any more
                rest = self._without(member)
                count += len(rest)
                gone = [due, *(one for _, one in rest)]
                self._note(member.batch, skipped=sum(one != COUNTED for one in gone))
        return count

    def open(self, batches: Sequence[NewBatch], envelopes: Sequence[Envelope]) -> None:
        """Keep batches, and store what belongs to them."""
        new: list[NewBatch] = []
        for batch in batches:
            values = {
                "id": batch.id,
                "queue": batch.queue,
                "name": batch.name,
                "allows_failures": batch.allows_failures,
                "waiting": json.dumps(
                    {one.value: list(ids) for one, ids in batch.waiting.items()}
                    | {_WITHIN: list(batch.within)}
                ),
                "now": self._now,
            }
            if self._db.execute(_SQL["open"], values).rowcount:
                new.append(batch)
        self.push(envelopes)
        self.count()
        for batch in new:
            if Milestone.BEGUN not in batch.waiting:
                self._begin(batch.id)

    def cancel(self, batch: str) -> bool:
        """Cancel a batch, if it is there."""
        found = self._tally(batch)
        if found is not None:
            tally, waiting = found
            was_canceled = tally.canceled_at is not None
            reached = tally.cancel(self._now)
            self._tell(batch, tally)
            self._reached(reached, waiting)
            if not was_canceled:
                self._cancel_within(batch)
        return found is not None

    def _cancel_within(self, batch: str) -> None:
        """Cancel the batches within one that are not finished."""
        for inner in self._within(batch):
            found = self._tally(inner)
            if found is not None and found[0].finished_at is None:
                self.cancel(inner)

    def _within(self, batch: str) -> list[str]:
        [row] = self._db.execute(_SQL["tally"], {"id": batch}).fetchall()
        return _listed_in(row[-1]).get(_WITHIN, [])

    def forget(self, batch: str) -> bool:
        """Forget a batch, if it is there."""
        found = self._db.execute(_SQL["forget_batch"], {"id": batch}).fetchall()
        for (text,) in found:
            waiting = _waiting(text)
            for name in [name for ids in waiting.values() for name in ids]:
                # What stands for it in another plan is a member of that.
                values = {"id": name, **_HELD}
                self.canceled(self._db.execute(_SQL["take_out_one"], values).fetchall())
        return bool(found)

    def count(self) -> None:
        """Write what was gathered, and let come what waits for the milestones that it reaches."""
        while self._counts:
            batch, counts = self._counts.popitem()
            if self._count_quickly(batch, counts):
                continue
            found = self._tally(batch)
            if found is None:
                continue
            tally, waiting = found
            tally.total += counts.pop("total", 0)
            was_canceled = tally.canceled_at is not None
            reached = tally.note(self._now, **counts)
            self._tell(batch, tally)
            self._reached(reached, waiting)
            if tally.canceled_at is not None and not was_canceled:
                self._cancel_within(batch)

    def _count_quickly(self, batch: str, counts: Mapping[str, int]) -> bool:
        """Count what is done, and reaches nothing; False if it may, and nothing was counted."""
        if not counts or "failed" in counts or "total" in counts:
            return False
        values = {"id": batch, "succeeded": 0, "skipped": 0, **counts}
        return self._db.execute(_SQL["count"], values).rowcount > 0

    def _note(self, batch: str, **counts: int) -> None:
        if batch:
            noted = self._counts.setdefault(batch, {})
            for name, count in counts.items():
                noted[name] = noted.get(name, 0) + count

    def _tally(self, batch: str) -> tuple[Tally, Mapping[Milestone, list[str]]] | None:
        for *counted, text in self._db.execute(_SQL["tally"], {"id": batch}).fetchall():
            return tally_of(tuple(counted)), _waiting(text)
        return None

    def _tell(self, batch: str, tally: Tally) -> None:
        values = {
            "id": batch,
            "total": tally.total,
            "succeeded": tally.succeeded,
            "failed": tally.failed,
            "skipped": tally.skipped,
            "reached": tally.reached,
            "canceled_at": tally.canceled_at,
            "finished_at": tally.finished_at,
        }
        self._db.execute(_SQL["tell"], values)

    def _reached(
        self, milestones: Sequence[Milestone], waiting: Mapping[Milestone, list[str]]
    ) -> None:
        for one in milestones:
            self._let_come(waiting.get(one, []))
        if Milestone.SUCCEEDED in milestones:
            for one in (Milestone.FAILED, Milestone.CANCELED):
                self._take_out(waiting.get(one, []))

    def _let_come(self, names: Iterable[str]) -> set[str]:
        """
        Let turns come; return the ids of those that were held.

        Where one stands for a batch which has not begun, its turn is that of the batch.
        """
        listed = list(names)
        if not listed:
            return set()
        came = self._unbegun(listed)
        for name in came:
            self._begin(name)
        values = {
            "ids": json.dumps([one for one in listed if one not in came]),
            "now": self._now,
            **_HELD,
        }
        found = self._db.execute(_SQL["let_come"], values).fetchall()
        self.rung += [queue for _, queue in found]
        return {*came, *(name for name, _ in found)}

    def _unbegun(self, names: Iterable[object]) -> set[str]:
        """Return which of these stand for batches that have not begun."""
        ids = [one for one in names if isinstance(one, str)]  # in a file there may be anything
        found = self._db.execute(_SQL["unbegun"], {"ids": json.dumps(ids)}).fetchall()
        return {name for (name,) in found}

    def _begin(self, batch: str) -> None:
        found = self._tally(batch)
        assert found is not None  # it was found, or made, in this transaction
        tally, waiting = found
        reached = tally.begin(self._now)
        self._tell(batch, tally)
        self._reached(reached, waiting)

    def _rest(self, member: Member) -> list[tuple[str, Any]]:
        """Return ids and dues of those that are to follow."""
        if member.next is None:
            return []
        return self._db.execute(_SQL["rest"], {"id": member.next[1], **_HELD}).fetchall()

    def _without(self, member: Member) -> list[tuple[str, Any]]:
        """Take out those that are to follow, and what would catch; return the first of these."""
        rest = self._rest(member)
        catch = [] if member.catch is None else [member.catch[1]]
        self._take_out([*(name for name, _ in rest), *catch])
        return rest

    def _take_out(self, names: list[str]) -> None:
        if names:
            self._db.execute(_SQL["take_out"], {"ids": json.dumps(names), **_HELD})
            self._drop_unbegun(names)

    def _drop_unbegun(self, names: Iterable[str]) -> None:
        for batch in self._unbegun(names):
            self.forget(batch)

    def _move(self, names: list[str], due: int) -> None:
        self._db.execute(_SQL["count_rest"], {"ids": json.dumps(names), "due": due, **_HELD})


class SqlitePlans(PlanStore):
    """
    Keeps batches in the table of that name.

    Args:
        file: The file.
        now: Tells the instant, in microseconds.
        ring: Tells workers that something came to queues.
    """

    def __init__(
        self, file: SqliteFile, now: Callable[[], int], ring: Callable[[Sequence[str]], object]
    ) -> None:
        self._file = file
        self._now = now
        self._ring = ring

    @override
    def open(self, batches: Sequence[NewBatch], envelopes: Sequence[Envelope]) -> None:
        with self._file.transaction("push", stored=[one.id for one in envelopes]) as db:
            passing = Passing(db, self._now())
            passing.open(batches, envelopes)
        self._ring([*passing.rung, *(one.queue for one in envelopes)])

    @override
    def link(self, queue: str, id: str, next: tuple[str, str]) -> bool:
        values = {"queue": queue, "id": id, "next": place_of(next)}
        with self._file.transaction("link") as db:
            return bool(db.execute(_SQL["link"], values).fetchall())

    @override
    def caught(self, queue: str, id: str) -> str | None:
        with self._file.look("find") as db:
            found = db.execute(_SQL["caught"], {"catch": place_of((queue, id))}).fetchall()
        return None if not found else str(found[0][0])

    @override
    def find(
        self, *, ids: Sequence[str] | None = None, limit: int, after: str = ""
    ) -> list[StoredBatch]:
        chosen = {
            "ids": None if ids is None else json.dumps(list(ids)),
            "limit": limit,
            "after": int(after) if after else _FIRST,
        }
        with self._file.look("find") as db:
            return [stored_batch_of(row) for row in db.execute(_SQL["batches"], chosen)]

    @override
    def cancel(self, id: str) -> bool:
        with self._file.transaction("cancel") as db:
            passing = Passing(db, self._now())
            is_there = passing.cancel(id)
        self._ring(passing.rung)
        return is_there

    @override
    def forget(self, ids: Sequence[str]) -> list[str]:
        with self._file.transaction("forget") as db:
            passing = Passing(db, self._now())
            gone = [one for one in ids if passing.forget(one)]
            passing.count()
        self._ring(passing.rung)
        return gone


def _waiting(text: object) -> Mapping[Milestone, list[str]]:
    """Return what waits for milestones, of any text."""
    found = _listed_in(text)
    return {one: found[one.value] for one in Milestone if one.value in found}


def _listed_in(text: object) -> dict[str, list[str]]:
    """Return lists of ids by what they are for, of any text: what is none of ours is left out."""
    try:
        found: Any = json.loads(text) if isinstance(text, str) else {}
        return {
            str(one): [name for name in names if valid_id(name)] for one, names in found.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
