"""Which SQLite a process has, and what it may be trusted with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from eventbus.errors import MissingDependency

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["load_driver", "wal_is_safe"]

#: The first with RETURNING.
_OLDEST: Final = (3, 35)


def _drivers() -> Iterator[ModuleType]:
    with suppress(ImportError):
        import pysqlite3.dbapi2 as bundled  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]

        yield bundled
    with suppress(ImportError):
        import sqlite3

        yield sqlite3


def load_driver() -> ModuleType:
    """
    Return the module to reach SQLite by: `pysqlite3`, which brings a current SQLite, or `sqlite3`.

    Raises:
        MissingDependency: There is neither, or only on a SQLite that is too old.
    """
    for driver in _drivers():
        if driver.sqlite_version_info >= _OLDEST:
            return driver
    raise MissingDependency(extra="sqlite", needed_for="sqlite:// (SQLite 3.35 or newer)")


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """
    Say whether a SQLite of this version has the fix of the WAL-reset bug.

    Without it, a checkpoint that races with a writer may corrupt the file.

    Example:
        >>> wal_is_safe((3, 40, 1)), wal_is_safe((3, 53, 0))
        (False, True)
    """
    return (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )
