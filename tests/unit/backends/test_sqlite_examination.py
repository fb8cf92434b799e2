"""What a SQLite file is like is told, whatever it is, and as a worker would find it."""

from __future__ import annotations

import os
import shutil
from contextlib import closing

import pytest

from eventbus.backends.base import Verdict
from eventbus.backends.sqlite import SqliteBackend
from eventbus.backends.sqlite_examination import DURABLE
from eventbus.queue.envelope import Envelope

#: Set by the fixture `driver`.
DRIVER = None

pytestmark = pytest.mark.usefixtures("driver")


@pytest.fixture(autouse=True)
def mounts(tmp_path, monkeypatch):
    """Say what is mounted where."""
    file = tmp_path / "mounts"
    monkeypatch.setattr("eventbus.backends.sqlite_examination._MOUNTS", str(file))

    def mounts(*lines):
        file.write_text(
            "".join(f"22 1 8:1 / {place} rw - {kind} dev rw\n" for place, kind in lines)
        )

    mounts(("/", "ext4"))
    return mounts


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir(0o700)
    return folder / "queue.db"


@pytest.fixture
def stored(path):
    with closing(SqliteBackend(path)) as backend:
        backend.push([Envelope(id="a", queue="jobs", body=b"{}")])
    return path


@pytest.fixture
def examine(path):
    def examine(**options):
        with closing(SqliteBackend(path, **options)) as backend:
            return backend.examine()

    return examine


def found(examination):
    return {one.subject: one.found for one in examination.findings}


def broken(examination):
    return {
        one.subject: one.advice for one in examination.findings if one.verdict is Verdict.BROKEN
    }


def test_a_file_that_is_as_it_should_be(stored, examine):
    examination = examine()

    assert examination.promise == DURABLE
    told = found(examination)
    assert told["SQLite"] == f"{DRIVER.sqlite_version} by {DRIVER.__name__.partition('.')[0]}"
    assert told["folder"] == str(stored.parent)
    assert told["file"].startswith(f"{stored}, 0600 of ")
    assert (told["file system"], told["synchronous"], told["schema"]) == ("ext4", "FULL", "4")
    assert list(told) == [
        "SQLite",
        "folder",
        "file system",
        "disk",
        "file",
        "journal",
        "synchronous",
        "schema",
        "size",
    ]


def test_a_file_that_is_not_there_is_not_made(path, examine):
    examination = examine()

    assert examination.promise == DURABLE
    assert found(examination)["file"] == f"{path} is not there yet"
    assert not path.exists()


def test_a_folder_that_is_not_there_is_broken(path, examine):
    path.parent.rmdir()

    examination = examine()

    assert list(broken(examination)) == ["folder"]
    assert "disk" not in found(examination)


def test_an_empty_file_has_no_tables_and_gets_none(path, examine):
    path.touch(0o600)

    examination = examine()

    assert (found(examination)["schema"], path.stat().st_size) == ("no tables yet", 0)


def test_a_file_without_tables_gets_none(path, examine):
    path.touch(0o600)
    with closing(DRIVER.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("DROP TABLE t")

    examination = examine()

    assert (examination.promise, found(examination)["schema"]) == (DURABLE, "no tables yet")
    with closing(DRIVER.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


@pytest.mark.parametrize("integrity, told", [(False, None), (True, "whole")])
def test_integrity_is_looked_at_when_asked_for(stored, integrity, told):
    with closing(SqliteBackend(stored)) as backend:
        assert found(backend.examine(integrity=integrity)).get("integrity") == told


def test_pages_that_do_not_add_up_are_found_by_integrity(stored):
    """The file can be read for all that; what is wrong with it is told."""
    whole = bytearray(stored.read_bytes())
    whole[36:40] = (5).to_bytes(4, "big")  # how many of its pages are free
    stored.write_bytes(whole)

    with closing(SqliteBackend(stored)) as backend:
        examination = backend.examine(integrity=True)

    assert "restore a backup" in broken(examination)["integrity"]
    assert "reelist" in found(examination)["integrity"]


def test_a_page_that_is_torn_is_found_by_integrity(path):
    with closing(SqliteBackend(path)) as backend:
        backend.push([Envelope(id="a", queue="jobs", body=b"{}" * 5_000)])
    whole = path.read_bytes()
    path.write_bytes(whole[:2048] + b"\xff" * 3072 + whole[5120:])

    with closing(SqliteBackend(path)) as backend:
        assert "restore a backup" in broken(backend.examine(integrity=True))["integrity"]


def test_an_owner_without_a_name_is_a_number(stored, examine, monkeypatch):
    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", nobody)

    assert found(examine())["file"].endswith(f" of {os.getuid()}")


def test_a_file_that_changes_after_the_look_is_broken(stored, examine, monkeypatch):
    monkeypatch.setattr("eventbus.backends.sqlite_examination.check_file", lambda *_, **__: None)
    stored.chmod(0o644)

    assert "chmod 600" in broken(examine())["file"]


def test_a_file_that_is_locked_is_broken(stored, examine):
    with closing(DRIVER.connect(stored, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")

        examination = examine(busy_timeout=0.05)

    assert "locked" in broken(examination)["file"]


def test_a_journal_that_is_not_sound_with_what_was_asked_for_is_broken(stored, examine):
    examination = examine(journal="DELETE")

    assert (examination.promise, list(broken(examination))) == (None, ["synchronous"])
    assert "EXTRA with journal=DELETE" in broken(examination)["synchronous"]


def test_a_file_whose_head_is_torn_is_broken(stored, examine):
    whole = bytearray(stored.read_bytes())
    whole[100:512] = b"\xff" * 412  # the list of its tables
    stored.write_bytes(whole)

    assert "integrity" in broken(examine())


# The disk.


@pytest.mark.parametrize(
    "lines, kind",
    [
        ([("/", "ext4"), ("/tmp", "xfs"), ("{folder}", "zfs")], "zfs"),
        ([("{folder}", "zfs"), ("/", "ext4")], "zfs"),
        # The last that was mounted there is what one sees.
        ([("{folder}", "zfs"), ("{folder}", "xfs")], "xfs"),
        ([("{folder}-other", "zfs"), ("/", "ext4")], "ext4"),
    ],
)
def test_the_disk_is_the_one_that_the_folder_is_on(path, examine, mounts, lines, kind):
    mounts(*((place.format(folder=path.parent), of) for place, of in lines))

    assert found(examine())["file system"] == kind


def test_a_place_with_a_space_is_found(tmp_path, mounts):
    folder = tmp_path / "my store"
    folder.mkdir(0o700)
    mounts(("/", "ext4"), (f"{tmp_path}/my\\040store", "zfs"))

    with closing(SqliteBackend(folder / "queue.db")) as backend:
        assert found(backend.examine())["file system"] == "zfs"


def test_a_system_that_tells_nothing_of_disks_is_no_finding(stored, examine, monkeypatch):
    monkeypatch.setattr("eventbus.backends.sqlite_examination._MOUNTS", "/nowhere/at/all")

    assert "file system" not in found(examine())


def test_a_disk_whose_room_cannot_be_told_is_no_finding(stored, examine, monkeypatch):
    def refuse(place):
        raise PermissionError

    monkeypatch.setattr(shutil, "disk_usage", refuse)

    assert "disk" not in found(examine())
