"""
The floor of the queue: the statements that one would write by hand, on the table that eventbus makes.

No checks, no fork guard, no failed jobs: the least that stores a row, hands it out and deletes it.
Call `Journal.use` first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from eventbus.backends.port import Port
from eventbus.backends.urls import open_backend
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id

QUEUE = "default"

_PUSH = """
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due) VALUES (?, ?, ?, 0, ?, ?)
"""
_LOOK = "SELECT 1 FROM envelopes WHERE queue = ? AND due <= ? LIMIT 1"
_CLAIM = """
UPDATE envelopes SET token = ?, due = ? WHERE number IN (
    SELECT number FROM envelopes WHERE queue = ? AND due <= ? ORDER BY due, number LIMIT ?
) RETURNING number, body
"""
_DELETE = "DELETE FROM envelopes WHERE number = ?"
#: How long a claim would be held, in microseconds.
_LEASE = 60_000_000


class ByHand:
    """An open file, with a transaction for each call."""

    def __init__(self, path: Path, mode: str, synchronous: str = "FULL") -> None:
        import sqlite3

        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute(f"PRAGMA journal_mode = {mode}")
        self.db.execute(f"PRAGMA synchronous = {synchronous}")

    def push(self, body: bytes) -> None:
        now = time.time_ns() // 1_000
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute(_PUSH, (new_id(), QUEUE, body, now, now))
        self.db.execute("COMMIT")

    def push_many(self, bodies: Iterable[bytes]) -> None:
        now = time.time_ns() // 1_000
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(_PUSH, [(new_id(), QUEUE, body, now, now) for body in bodies])
        self.db.execute("COMMIT")

    def has_due(self) -> bool:
        now = time.time_ns() // 1_000
        return self.db.execute(_LOOK, (QUEUE, now)).fetchone() is not None

    def claim(self, limit: int) -> list[tuple[int, bytes]]:
        now = time.time_ns() // 1_000
        self.db.execute("BEGIN IMMEDIATE")
        rows = self.db.execute(_CLAIM, (new_id(), now + _LEASE, QUEUE, now, limit)).fetchall()
        self.db.execute("COMMIT")
        return rows

    def delete(self, rows: list[tuple[int, bytes]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(_DELETE, [(number,) for number, _ in rows])
        self.db.execute("COMMIT")

    def work(self, listener: Callable[[Any], None], limit: int = 100) -> bool:
        """Run what is due, up to `limit` jobs; return whether there was one."""
        rows = self.claim(limit)
        for _, body in rows:
            listener(json.loads(body)["data"])
        if rows:
            self.delete(rows)
        return bool(rows)


def opened(url: str) -> Port:
    """Return an open connection; its file is made."""
    port = Port(open_backend(url).backend, name="default")
    port.size(QUEUE)
    return port


def filled(path: Path, one: Envelope, count: int) -> Path:
    """Make a file in which `count` jobs like `one` wait, each with an id of its own; return `path`."""
    opened(f"sqlite:///{path}?journal=PERSIST").close()
    store = ByHand(path, "PERSIST", "OFF")
    known = one.id.encode()
    now = time.time_ns() // 1_000
    store.db.execute("BEGIN IMMEDIATE")
    for _ in range(count):
        new = new_id()
        store.db.execute(_PUSH, (new, QUEUE, one.body.replace(known, new.encode()), now, now))
    store.db.execute("COMMIT")
    store.db.close()
    return path
