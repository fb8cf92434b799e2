"""Of envelopes with one key a SQLite file has one: the second stands back, or takes the place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from eventbus.backends.instants import span
from eventbus.backends.sql import statements
from eventbus.queue.envelope import Envelope, UniqueKey

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["push_unique"]

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
