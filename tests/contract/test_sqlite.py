"""The contract, over SQLite in every journal mode that is safe here, synced fully or normally."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from eventbus.backends.base import Backend
from eventbus.backends.sqlite import SqliteBackend, load_driver, wal_is_safe
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract import BackendContract

needs_fixed_sqlite = pytest.mark.skipif(
    not wal_is_safe(load_driver().sqlite_version_info),
    reason=f"WAL is not safe on SQLite {load_driver().sqlite_version}: pip install pysqlite3",
)


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
@pytest.mark.parametrize("journal", ["PERSIST", pytest.param("WAL", marks=needs_fixed_sqlite)])
class TestSqlite(BackendContract):
    @pytest.fixture
    def another(
        self, tmp_path: Path, clock: ManualClock, journal: str, synchronous: str
    ) -> Callable[[], Backend]:
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
