"""The open connections of one process to a SQLite file: lent to threads, and none of them over a fork."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from threading import Condition, RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["OrphanedChild", "Pool"]


class OrphanedChild(Exception):  # noqa: N818 -- says what it is; it never leaves the backend
    """A child of a process that was in the middle of an operation as it forked."""


class Pool:
    """
    Connections that are lent to one thread at a time, and come back when its operation is over.

    So there are as many as threads ever used the file at once; threads that end leave none behind.
    `lock` guards what is public here: whoever lends and takes back does so in place, since each push
    pays for it, and leaves to the methods what is rare.

    Before a fork the idle connections are closed, after those in use have come back. It must be
    before: a child inherits SQLite's own record of the locks that this process holds, but not the
    locks, so that even a connection which the child opened itself would trust locks that are not
    there. Both sides then open new ones.

    Args:
        patience: Seconds to wait for a fork, and before it for what is lent.
        emptied: Called when the last connection has been closed, with the lock held.
    """

    def __init__(self, *, patience: float, emptied: Callable[[], None]) -> None:
        self._patience = patience
        self._emptied = emptied
        #: Reentrant: a signal handler may dispatch.
        self.lock = RLock()
        self._changed = Condition(self.lock)
        self.idle: list[Connection] = []
        self.lent = 0
        #: Raised by `close`: a connection that was lent before is not kept when it comes back.
        self.generation = 0
        #: A fork is about to happen; or has, in the middle of an operation, and this is the child.
        self.forking = False
        self._is_orphaned = False
        weakref.finalize(self, _close_all, self.idle)
        _watch_forks(weakref.ref(self))

    def let_fork(self) -> None:
        """
        Wait for a fork that is about to happen: busy threads must let it begin.

        Raises:
            OrphanedChild: It has, in the middle of an operation, and this is the child.
        """
        if self._is_orphaned:
            raise OrphanedChild
        # Bounded as in `before_fork`, and for the same case.
        self._changed.wait_for(lambda: not self.forking, timeout=self._patience)

    def take_back(self, db: Connection | None, generation: int, *, sound: bool) -> bool:
        """
        Keep what was lent for the next one, or close it: it may be in a transaction.

        Args:
            db: The connection; None if it was never opened.
            generation: What the pool's was when it was lent.
            sound: Nothing has gone wrong with it.

        Returns:
            Whether it is kept.
        """
        with self.lock:
            self.lent -= 1
            keeps = sound and generation == self.generation
            if db is not None and keeps:
                self.idle.append(db)
            elif db is not None:
                db.close()
                self._see_if_empty()
            if self.forking:
                self._changed.notify_all()
            return keeps

    def close(self) -> None:
        """Close the idle connections now, and those that are lent when they come back."""
        with self.lock:
            self.generation += 1
            self._close_idle()

    def before_fork(self) -> None:
        """Wait for what is lent, and close all connections."""
        self.lock.acquire()
        self.forking = True
        # Bounded, since a fork from a signal handler may wait for the operation it interrupted.
        self._changed.wait_for(lambda: self.lent == 0, timeout=self._patience)
        self._close_idle()

    def after_fork(self) -> None:
        """Go on."""
        if self.forking:
            self.forking = self._is_orphaned
            self._changed.notify_all()
            self.lock.release()

    def after_fork_in_child(self) -> None:
        """Go on, in the child."""
        # What others had borrowed, if waiting for it was in vain, stays with the parent; but what SQLite knows of
        # its locks is here, too: it would write without any, and lose what it has committed.
        self._is_orphaned = self._is_orphaned or self.lent > 0
        self.lent = 0
        self.after_fork()

    def _close_idle(self) -> None:
        _close_all(self.idle)
        self._see_if_empty()

    def _see_if_empty(self) -> None:
        if not self.idle and not self.lent:
            self._emptied()


def _close_all(connections: list[Connection]) -> None:
    while connections:
        connections.pop().close()


def _watch_forks(pool: weakref.ref[Pool]) -> None:
    """Have `pool` told of forks for as long as it is used; Python has no way to take this back."""

    def tell(what: Callable[[Pool], None]) -> Callable[[], None]:
        def hook() -> None:
            if (living := pool()) is not None:
                what(living)

        return hook

    os.register_at_fork(
        before=tell(Pool.before_fork),
        after_in_parent=tell(Pool.after_fork),
        after_in_child=tell(Pool.after_fork_in_child),
    )
