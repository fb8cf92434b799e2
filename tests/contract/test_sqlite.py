"""The contract, over SQLite: each SQLite that is here, each journal that is safe on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from eventbus.backends.base import Backend
from eventbus.backends.sqlite import SqliteBackend, load_driver, wal_is_safe
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract import BackendContract

BEST = load_driver()

needs_fixed_sqlite = pytest.mark.skipif(
    not wal_is_safe(BEST.sqlite_version_info),
    reason=f"WAL is not safe on SQLite {BEST.sqlite_version}: pip install pysqlite3",
)


class OneFile(BackendContract):
    @pytest.fixture
    def another(
        self,
        tmp_path: Path,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
        driver: ModuleType,
        journal: str,
        synchronous: str,
    ) -> Callable[[], Backend]:
        monkeypatch.setattr("eventbus.backends.sqlite_file.load_driver", lambda: driver)
        return partial(
            SqliteBackend,
            tmp_path / "queue.db",
            clock=clock,
            journal=journal,
            synchronous=synchronous,
        )

    @pytest.fixture
    def backend(self, another: Callable[[], Backend]) -> Iterator[Backend]:
        backend = another()
        yield backend
        backend.close()


@needs_fixed_sqlite
@pytest.mark.parametrize("driver", [BEST])
@pytest.mark.parametrize("journal", ["WAL"])
@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
class TestSqliteWal(OneFile):
    pass


@pytest.mark.parametrize(
    "driver", dict.fromkeys((BEST, sqlite3)), ids=lambda driver: driver.__name__
)
@pytest.mark.parametrize("journal", ["PERSIST", "TRUNCATE"])
@pytest.mark.parametrize("synchronous", ["FULL"])
class TestSqliteRollback(OneFile):
    pass
