"""
Where a SQLite file and its log lie, and whether they are still the ones that we opened.

A file that was deleted or replaced under a running process would take what no path leads to any more.
It is the folder that is asked, with each operation: nothing in it can be removed, renamed or put in place
of another without a change of its time. To ask file and log themselves costs more than it seems. Since
Linux 6.13 a file gets a new time with the first write after somebody has asked for its time, and a
sync that must store this, too, takes half as long again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from eventbus.defaults import SQLITE_SETTLED, SQLITE_SETTLED_FINE

__all__ = ["Place"]

#: A file's device and inode.
Identity = tuple[int, int]


class Place:
    """
    The file at a path, and its write-ahead log.

    Args:
        path: The file, absolute.
    """

    def __init__(self, path: Path) -> None:
        # As text, which the system takes as it is.
        self._folder = str(path.parent)
        self._file_path = str(path)
        self._log_path = f"{path}-wal"
        self._file: Identity | None = None
        self._log: Identity | None = None
        #: The folder as it was when both were last seen to be ours; None if it changed just then.
        self._settled: tuple[int, int, int] | None = None

    @property
    def is_known(self) -> bool:
        """Whether it was noted which file is meant."""
        return self._file is not None

    def note_file(self, found: os.stat_result) -> None:
        """Remember which file is meant."""
        self._file = found.st_dev, found.st_ino
        self._settled = None

    def note_log(self) -> None:
        """Remember which log our connections write, if there is one now."""
        # Asked first, since a file that has no log stays so.
        if self._log is None and os.access(self._log_path, os.F_OK):
            self._log = _identity_of(self._log_path)
            self._settled = None

    def forget_log(self) -> None:
        """Know no log any more: SQLite removes it with the last connection."""
        self._log = None

    def change(self) -> str:
        """
        Say what became of the file or its log that must not; empty, if all is well.

        Example:
            >>> Place(Path("/tmp/queue.db")).change()
            ''
        """
        try:
            found = os.stat(self._folder)
        except FileNotFoundError:
            return self._look(None)
        place = found.st_dev, found.st_ino, found.st_ctime_ns
        return "" if place == self._settled else self._look(place)

    def _look(self, place: tuple[int, int, int] | None) -> str:
        """Look at file and log themselves; remember the folder's state if they are still ours."""
        for what, path, known in (
            ("file", self._file_path, self._file),
            ("write-ahead log", self._log_path, self._log),
        ):
            if known is not None and (found := _identity_of(path)) != known:
                return f"the {what} was {'deleted' if found is None else 'replaced'}"
        # If the folder changed just now, it may change again without another time.
        self._settled = place if place is not None and _is_old(place[-1]) else None
        return ""


def _is_old(changed: int) -> bool:
    """Say whether what happens now would get another time than that, in nanoseconds."""
    rest = SQLITE_SETTLED_FINE if changed % 1_000_000_000 else SQLITE_SETTLED
    return time.time_ns() - changed > rest * 1e9


def _identity_of(path: str) -> Identity | None:
    """Return device and inode of a file; None if there is none."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
