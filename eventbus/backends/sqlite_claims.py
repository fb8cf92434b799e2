"""Claims in a SQLite file: which rows are due and can be run, and how they are settled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from eventbus.backends.base import Claim
from eventbus.backends.sql import Row, claim_of, flaws, mended, statements
from eventbus.backends.sqlite_plans import Passing
from eventbus.defaults import BODY_SIZE_LIMIT
from eventbus.errors import DecodeError, StoreDamaged

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["anything_due", "settled", "taken"]

_SQL: Final = statements("sqlite.sql")
#: Which bodies are read.
_READ: Final[Mapping[str, int]] = {"most": BODY_SIZE_LIMIT}


def anything_due(db: Connection, queue: str, *, now: int) -> bool:
    """Tell whether something may be claimed from a queue."""
    return bool(_value(db, "anything_due", queue=queue, now=now))


def settled(
    db: Connection,
    names: Sequence[str],
    claims: Sequence[Claim],
    *,
    now: int,
    values: Mapping[str, object],
) -> tuple[list[Claim], list[str]]:
    """
    Run statements for all claims; return the stale, and the queues to which something has come.

    Args:
        db: Inside a transaction that writes.
        names: Of the statements. One of them returns the ids of those that were held; and what these were members
            of, if they are gone now.
        claims: Which.
        now: The instant, in microseconds.
        values: What the statements need besides.
    """
    by_token: dict[str, list[str]] = {}
    alone = names == ("ack",)
    for claim in claims:
        by_token.setdefault(claim.token, []).append(claim.envelope.id)
        alone = alone and claim.envelope.member is None
    stale: set[tuple[str, str]] = set()
    members: list[Row] = []
    for token, ids in by_token.items():
        chosen = {"token": token, "ids": json.dumps(ids), **values}
        if alone and _acked_alone(db, chosen, len(ids)):
            continue
        held: set[str] = set()
        for name in names:
            rows = db.execute(_SQL[name], chosen).fetchall()
            held.update([row[0] for row in rows])
            if name == "ack":
                members += [row for row in rows if row[1] or row[2] or row[3]]
        if len(held) < len(ids):
            stale.update((token, name) for name in ids if name not in held)
    rung: list[str] = []
    if members:
        passing = Passing(db, now)
        if "bury" in names:
            passing.buried(members)
        else:
            passing.acked(members, frozenset(one.envelope.id for one in claims if one.skipped))
        passing.count()
        rung = passing.rung
    lost = [one for one in claims if (one.token, one.envelope.id) in stale] if stale else []
    return lost, rung


def _acked_alone(db: Connection, chosen: Mapping[str, object], count: int) -> bool:
    """Remove so many envelopes; False, and nothing is removed, where one is not held, or is a member of something."""
    db.execute("SAVEPOINT ack_alone")
    are_gone = bool(db.execute(_SQL["ack_alone"], chosen).rowcount == count)
    if not are_gone:
        db.execute("ROLLBACK TO ack_alone")
    db.execute("RELEASE ack_alone")
    return are_gone


def _value(db: Connection, statement: str, **values: object) -> Any:
    [(value,)] = db.execute(_SQL[statement], values).fetchall()
    return value


def taken(
    db: Connection,
    queues: Sequence[str],
    token: str,
    *,
    now: int,
    until: int,
    limit: int,
    where: str,
) -> list[Claim]:
    """
    Hold what is due, and return its claims.

    Args:
        db: Inside a transaction that writes.
        queues: In this order.
        token: Of the claims.
        now: The instant, in microseconds.
        until: When their leases end.
        limit: Most claims.
        where: What the store is called in errors.

    Raises:
        StoreDamaged: Rows cannot be held, and would be handed out again and again.
    """
    while turn := _in_turn(db, queues, now=now, limit=limit):
        if held := _sound(db, turn, token, now=now):
            chosen = {
                "token": token,
                "until": until,
                "shared": len(held) > 1,
                "numbers": json.dumps(list(held)),
            }
            count = db.execute(_SQL["claim"], chosen).rowcount
            if count != len(held):
                reason = f"{count} of {len(held)} rows could be held"
                raise StoreDamaged(backend=where, operation="claim", reason=reason)
            return list(held.values())
    return []


def _in_turn(db: Connection, queues: Sequence[str], *, now: int, limit: int) -> list[Row]:
    """Return the rows to claim, in order: one that must be alone, or others."""
    turn: list[Row] = []
    for queue in queues:
        for statement in ("due", "undated"):
            chosen = {"queue": queue, "now": now, "limit": limit - len(turn), **_READ}
            for row in db.execute(_SQL[statement], chosen).fetchall():
                if not row[1]:
                    turn.append(row)
                elif not turn:
                    return [row]
                # Another that must be alone is passed over: its turn comes when it heads the line.
    return turn


def _sound(db: Connection, turn: Sequence[Row], token: str, *, now: int) -> dict[int, Claim]:
    """Return the claims of rows by their numbers; move those that cannot be run to the failed jobs."""
    held: dict[int, Claim] = {}
    members = [row[0] for row in turn if row[2]]
    places = _places(db, members) if members else {}
    for row in turn:
        number, alone, job, reason = row[0], bool(row[1]), row[3:], ""
        if job[2] is None:
            job, reason = _with_body(db, number, job)
        if reason := reason or flaws(job):
            _condemn(db, number, job, reason=reason, now=now)
            if number in places:
                passing = Passing(db, now)
                passing.buried([(job[0], *places[number][:3])])
                passing.count()
        else:
            held[number] = claim_of(job, token, alone=alone, place=places.get(number))
    return held


def _places(db: Connection, numbers: Sequence[int]) -> dict[int, Row]:
    """Return what rows are members of, by their numbers; and whether that is canceled."""
    found = db.execute(_SQL["places"], {"numbers": json.dumps(numbers)}).fetchall()
    return {row[0]: row[1:] for row in found}


def _with_body(db: Connection, number: int, job: Row) -> tuple[Row, str]:
    """Return a job with the body that was not read with it, or say why it cannot be read."""
    [(size, body)] = db.execute(_SQL["odd_body"], {"number": number, **_READ}).fetchall()
    if body is None:
        return job, f"{size:,} bytes, more than the {BODY_SIZE_LIMIT:,} that are read"
    name, queue, _, *others = job
    return (name, queue, body, *others), ""


def _condemn(db: Connection, number: int, row: tuple[Any, ...], *, reason: str, now: int) -> None:
    """Move a row to the failed jobs, its body as it is."""
    name, queue, _, delay, attempts, losses, _, releases, pushed_at, _ = mended(row)
    name = _value(db, "free_id", id=name)
    error = DecodeError(reason=reason, envelope=name)
    condemned = {
        "number": number,
        "id": name,
        "queue": queue,
        "delay": delay,
        "attempts": attempts,
        "losses": losses,
        "releases": releases,
        "pushed_at": pushed_at,
        "now": now,
        "error": f"{type(error).__name__}: {error}",
    }
    db.execute(_SQL["condemn"], condemned)
    db.execute(_SQL["remove"], {"number": number})
