"""Tests of SQLite run on each SQLite that is here, so that both kinds of journal are tested."""

from __future__ import annotations

import sqlite3

import pytest

from eventbus.backends.sqlite import load_driver, wal_is_safe

DRIVERS = list(dict.fromkeys((load_driver(), sqlite3)))


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.__name__.partition(".")[0])
def driver(request):
    """
    Have the backend, and as `DRIVER` the test's module, use one SQLite.

    What others do to the file goes through the same one: in one process two do not see each
    other's locks.
    """
    with pytest.MonkeyPatch.context() as patch:  # its own: tests undo theirs halfway
        patch.setattr("eventbus.backends.sqlite_file.load_driver", lambda: request.param)
        patch.setattr(request.module, "DRIVER", request.param)
        yield request.param


@pytest.fixture
def unsafe_wal(driver):
    """Run only where WAL is refused."""
    if wal_is_safe(driver.sqlite_version_info):
        pytest.skip("WAL is safe on this SQLite")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.db"
