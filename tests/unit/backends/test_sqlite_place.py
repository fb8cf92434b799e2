"""Whether file and log are still those that were opened: seen by the folder, once it is at rest."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from eventbus.backends.sqlite import SqliteBackend, wal_is_safe
from eventbus.backends.sqlite_place import Place
from eventbus.defaults import SQLITE_SETTLED, SQLITE_SETTLED_FINE
from eventbus.errors import BackendUnavailable
from eventbus.queue.envelope import Envelope

#: Set by the fixture `driver`.
DRIVER = None
JOB = Envelope(id="a", queue="jobs", body=b"{}")


@pytest.fixture
def asked(monkeypatch):
    """The files that are asked for themselves, from now on."""
    found, lstat = [], os.lstat

    def counted(path):
        found.append(os.path.basename(path))
        return lstat(path)

    monkeypatch.setattr("eventbus.backends.sqlite_place.os.lstat", counted)
    return found


@pytest.fixture
def later(monkeypatch, tmp_path):
    """Let so many seconds go by, as `Place` sees it; and at least a tick of the kernel, for all."""

    def wait(seconds):
        before = tmp_path.stat().st_ctime_ns
        mark = tmp_path.parent / f"{tmp_path.name}-mark"
        while mark.exists() is False or mark.stat().st_ctime_ns <= before:
            mark.touch()
        now = time.time_ns() + int(seconds * 1e9)
        monkeypatch.setattr("eventbus.backends.sqlite_place.time.time_ns", lambda: now)

    return wait


@pytest.fixture
def place(path):
    """The place of a file and its log, both noted."""
    path.touch()
    path.with_name("queue.db-wal").touch()
    found = Place(path)
    found.note_file(os.lstat(path))
    found.note_log()
    return found


@pytest.fixture
def coarse(monkeypatch, tmp_path):
    """Have a file system that keeps the seconds of the folder's time only."""
    stat, folder = os.stat, str(tmp_path)

    def rounded(path, **options):
        found = stat(path, **options)
        if path != folder:
            return found
        whole = found.st_ctime_ns // 10**9 * 10**9
        return SimpleNamespace(st_dev=found.st_dev, st_ino=found.st_ino, st_ctime_ns=whole)

    monkeypatch.setattr("eventbus.backends.sqlite_place.os.stat", rounded)


def test_of_a_folder_at_rest_only_the_folder_is_asked(place, asked, later):
    later(SQLITE_SETTLED_FINE * 2)

    assert [place.change() for _ in range(3)] == [""] * 3

    assert asked == ["queue.db", "queue.db-wal"]


def test_a_folder_that_changed_just_now_is_not_believed(place, asked, later):
    """On some file systems the time of another change would be the same."""
    later(SQLITE_SETTLED_FINE / 2)

    assert [place.change() for _ in range(2)] == [""] * 2

    assert asked == ["queue.db", "queue.db-wal"] * 2


def test_where_times_are_whole_seconds_a_change_is_believed_later(place, asked, later, coarse):
    later(SQLITE_SETTLED - 2)

    assert [place.change() for _ in range(2)] == [""] * 2
    assert len(asked) == 4

    later(SQLITE_SETTLED + 1)
    assert [place.change() for _ in range(3)] == [""] * 3
    assert len(asked) == 6


def test_a_clock_that_was_set_back_is_not_believed(place, asked, later):
    later(-60)

    assert [place.change() for _ in range(2)] == [""] * 2

    assert len(asked) == 4


def test_another_file_in_the_folder_is_no_change(place, asked, later, path):
    later(SQLITE_SETTLED_FINE * 2)
    place.change()
    path.with_name("other").touch()

    assert [place.change() for _ in range(2)] == [""] * 2

    assert asked == ["queue.db", "queue.db-wal"] * 2


@pytest.mark.parametrize("which", ["file", "write-ahead log"])
@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_change_after_a_long_rest_is_seen(place, later, path, which, change):
    later(SQLITE_SETTLED_FINE * 2)
    assert place.change() == ""
    mine = path if which == "file" else path.with_name("queue.db-wal")
    mine.rename(mine.with_name("kept"))
    if change == "replaced":
        mine.touch()

    assert [place.change() for _ in range(2)] == [f"the {which} was {change}"] * 2

    mine.with_name("kept").replace(mine)
    assert place.change() == ""


def test_a_folder_that_was_moved_or_replaced_is_seen(place, later, path):
    later(SQLITE_SETTLED_FINE * 2)
    assert place.change() == ""
    kept = path.parent.rename(path.parent.with_name("kept"))

    assert place.change() == "the file was deleted"

    path.parent.mkdir()
    assert place.change() == "the file was deleted"
    path.touch()
    assert place.change() == "the file was replaced"
    path.unlink()
    path.parent.rmdir()
    kept.rename(path.parent)
    assert place.change() == ""


def test_a_log_that_was_forgotten_may_be_gone(place, path):
    path.with_name("queue.db-wal").unlink()
    assert place.change() == "the write-ahead log was deleted"

    place.forget_log()

    assert place.change() == ""


def test_what_was_not_noted_is_not_missed(path):
    place = Place(path)

    place.note_log()  # there is none

    assert place.change() == ""
    assert not place.is_known


def test_a_log_is_noted_once(place, path):
    log = path.with_name("queue.db-wal")
    log.rename(path.with_name("kept"))
    log.touch()

    place.note_log()

    assert place.change() == "the write-ahead log was replaced"


@pytest.mark.usefixtures("driver")
def test_no_push_asks_for_the_file_or_its_log_once_its_folder_is_at_rest(path, asked, later):
    """That would make each sync store the file's time as well, which costs more than all the rest."""
    backend = SqliteBackend(path)
    backend.push([JOB])
    later(SQLITE_SETTLED_FINE * 2)
    backend.push([JOB])
    asked.clear()

    for name in "bcd":
        backend.push([Envelope(id=name, queue="jobs", body=b"{}")])

    assert asked == []
    path.rename(path.with_name("kept"))
    with pytest.raises(BackendUnavailable, match="deleted"):
        backend.push([JOB])
    backend.close()


@pytest.mark.usefixtures("driver")
def test_the_log_is_watched_from_the_first_operation_on(path, later):
    if not wal_is_safe(DRIVER.sqlite_version_info):
        pytest.skip(f"WAL is not safe on SQLite {DRIVER.sqlite_version}")
    backend = SqliteBackend(path)
    backend.push([JOB])
    later(SQLITE_SETTLED_FINE * 2)
    backend.push([JOB])
    path.with_name("queue.db-wal").rename(path.with_name("kept"))

    with pytest.raises(BackendUnavailable, match="write-ahead log was deleted"):
        backend.push([JOB])

    path.with_name("kept").rename(path.with_name("queue.db-wal"))
    backend.close()
