"""Of envelopes with one key a SQLite file has one: the second stands back, or takes the place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from eventbus.backends.base import Claim
from eventbus.backends.instants import span
from eventbus.backends.sql import statements
from eventbus.queue.envelope import Envelope, UniqueKey

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["push_unique", "take_key"]

_SQL: Final = statements("sqlite.sql")


def push_unique(db: Connection, one: Envelope, unique: UniqueKey, *, now: int) -> str:
    """
    Store an envelope whose key nobody else may have; return the id of the one that is not stored, if one is not.

    Args:
        db: Inside a transaction that writes.
        one: The envelope.
        unique: Its key.
        now: The instant, in microseconds.
    """
    [(is_stored,)] = db.execute(_SQL["is_stored"], {"id": one.id}).fetchall()
    if is_stored:  # whoever has the key by now is left alone
        return ""
    due, since, gone = now + span(one.delay), now, ""
    key = {"queue": one.queue, "key": unique.key}
    for name, is_held, lasts, first in db.execute(_SQL["holder"], {**key, "now": now}).fetchall():
        if unique.replaces and not is_held:
            since = first
            gone = str(name)
            db.execute(_SQL["give_way"], {"id": name})
        elif not unique.replaces and lasts:
            return one.id
        else:
            db.execute(_SQL["free_key"], {"id": name})
    row = {
        **key,
        "id": one.id,
        "body": one.body,
        "delay": one.delay,
        "now": now,
        "due": min(due, since + span(unique.latest)) if unique.latest else due,
        "crc": crc32(one.body),
        "until": now + span(unique.life) if unique.life else None,
        "since": since,
    }
    db.execute(_SQL["push_unique"], row)
    return gone


def take_key(db: Connection, claim: Claim, unique: UniqueKey, *, now: int) -> bool:
    """
    Give a claim that is still held a key; False where it is not, or another has the key.

    Args:
        db: Inside a transaction that writes.
        claim: The claim.
        unique: Its key.
        now: The instant, in microseconds.
    """
    name = claim.envelope.id
    if not db.execute(_SQL["held_id"], {"id": name, "token": claim.token}).fetchall():
        return False
    key = {"queue": claim.envelope.queue, "key": unique.key}
    for holder, _, lasts, _ in db.execute(_SQL["holder"], {**key, "now": now}).fetchall():
        if holder == name:
            return True
        if lasts:
            return False
        db.execute(_SQL["free_key"], {"id": holder})
    until = now + span(unique.life) if unique.life else None
    db.execute(_SQL["take_key"], {"id": name, "key": unique.key, "until": until, "now": now})
    return True
