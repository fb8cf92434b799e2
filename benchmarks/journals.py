"""
The two ways in which SQLite keeps a file safe, and the driver that each is measured with.

A process that is measured calls `use` before it imports anything that reaches SQLite: all that run
in it, eventbus, the peers and what is written by hand, then have one driver and one SQLite.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from attrs import frozen


@frozen
class Journal:
    """A journal, and the driver module that it is measured with."""

    name: str
    short: str
    title: str
    #: SQLite's own word.
    mode: str
    driver: str

    def use(self) -> None:
        """Have `sqlite3` and `pysqlite3` mean one and the same in this process."""
        if self.driver == "pysqlite3":
            import pysqlite3.dbapi2

            sys.modules["sqlite3"] = pysqlite3.dbapi2
        else:
            sys.modules["pysqlite3"] = None  # which `import` reads as: there is none

    def version(self) -> str:
        """Return the version of the SQLite that the driver brings."""
        return str(importlib.import_module(self.driver).sqlite_version)

    def url(self, path: Path, synchronous: str = "FULL") -> str:
        return f"sqlite:///{path}?journal={self.mode}&synchronous={synchronous}"


#: WAL is safe on a recent SQLite only, and few interpreters bring one.
ROLLBACK = Journal(
    "rollback", "rollback", "rollback journal (PERSIST, `sqlite3`)", "PERSIST", "sqlite3"
)
WAL = Journal("wal", "WAL", "WAL (`pysqlite3`)", "WAL", "pysqlite3")
JOURNALS = {one.name: one for one in (ROLLBACK, WAL)}
