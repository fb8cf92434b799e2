"""How the SQLite file is opened: which SQLite, which journal, whose file, what is refused."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from contextlib import closing
from functools import partial
from threading import Thread

import pytest

from eventbus.backends.sqlite import SqliteBackend, load_driver, wal_is_safe
from eventbus.errors import (
    BackendUnavailable,
    InvalidOption,
    MissingDependency,
    SchemaMismatch,
    StoredUnknown,
)
from eventbus.queue.envelope import Envelope

#: Also for what others do to the file: in one process two SQLites do not see each other's locks.
DRIVER = load_driver()
JOB = Envelope(id="a", queue="jobs", body=b"{}")

unsafe_only = pytest.mark.skipif(
    wal_is_safe(DRIVER.sqlite_version_info), reason="WAL is safe on this SQLite"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.db"


@pytest.fixture
def backend(path):
    backend = SqliteBackend(path)
    yield backend
    backend.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("eventbus.backends.sqlite.SQLITE_BUSY_TIMEOUT", 0.05)


@pytest.fixture
def wal_file(path):
    """A file in WAL mode, as a newer SQLite leaves it; yields the connection that holds it open."""
    holder = DRIVER.connect(path, isolation_level=None)
    path.chmod(0o600)
    holder.execute("PRAGMA journal_mode = WAL")
    holder.execute("CREATE TABLE t (x)")
    holder.execute("DROP TABLE t")
    yield holder
    holder.close()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def journal(path):
    connection = DRIVER.connect(path)
    [(found,)] = connection.execute("PRAGMA journal_mode").fetchall()
    connection.close()
    return found


# Which SQLite


@pytest.mark.parametrize(
    "version, safe",
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_wal_is_only_safe_on_a_sqlite_with_the_fix(version, safe):
    assert wal_is_safe(version) is safe


def test_the_bundled_sqlite_is_preferred(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysqlite3", sqlite3)
    monkeypatch.setitem(sys.modules, "pysqlite3.dbapi2", sqlite3.dbapi2)

    assert load_driver() is sqlite3.dbapi2


def test_python_s_own_sqlite_is_the_second_choice(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysqlite3", None)

    assert load_driver() is sqlite3


def test_a_sqlite_that_is_too_old_or_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysqlite3", None)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))

    with pytest.raises(MissingDependency, match=r"eventbus\[sqlite\]"):
        load_driver()


@unsafe_only
def test_wal_is_refused_where_it_is_not_safe(path):
    with pytest.raises(MissingDependency, match=r"eventbus\[sqlite\]"):
        SqliteBackend(path, journal="wal")


@unsafe_only
def test_a_file_in_wal_mode_is_refused_where_wal_is_not_safe(backend, wal_file):
    with pytest.raises(MissingDependency, match="a file in WAL mode"):
        backend.push([JOB])


@unsafe_only
def test_a_file_that_is_switched_to_wal_under_a_running_process_is_refused(backend, path):
    backend.push([JOB])
    other = DRIVER.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")

    with pytest.raises(MissingDependency, match="switched to WAL"):
        backend.claim(["jobs"], limit=1, lease=60)

    other.close()


def test_a_new_file_has_the_best_journal_that_is_safe(backend, path):
    backend.push([JOB])

    safe = wal_is_safe(DRIVER.sqlite_version_info)
    assert (journal(path) == "wal") is safe
    assert path.with_name("queue.db-wal").exists() is safe
    assert path.with_name("queue.db-journal").exists() is not safe


def test_a_file_keeps_the_journal_that_it_has(path):
    """Others may use it with a SQLite where WAL is not safe."""
    first = SqliteBackend(path, journal="truncate")
    first.push([JOB])
    first.close()

    second = SqliteBackend(path)
    second.push([JOB])
    second.close()

    assert journal(path) != "wal"


def test_a_file_is_switched_away_from_wal_on_request(path, wal_file):
    wal_file.close()
    backend = SqliteBackend(path, journal="PERSIST")

    backend.push([JOB])
    backend.close()

    assert journal(path) != "wal"


def test_the_switch_waits_for_the_others(path, wal_file, monkeypatch):
    waited = []
    monkeypatch.setattr(
        "eventbus.backends.sqlite.time.sleep", lambda s: (waited.append(s), wal_file.close())
    )
    backend = SqliteBackend(path, journal="PERSIST")

    backend.push([JOB])
    backend.close()

    assert waited


def test_the_switch_does_not_wait_for_ever(path, wal_file, impatient):
    with pytest.raises(BackendUnavailable, match="locked"):
        SqliteBackend(path, journal="PERSIST").push([JOB])


@pytest.mark.parametrize("synchronous, level", [("normal", 1), ("FULL", 2), ("extra", 3)])
def test_synchronous_is_what_was_asked_for(path, synchronous, level):
    backend = SqliteBackend(path, synchronous=synchronous)

    with backend._file.connection("test") as db:
        assert db.execute("PRAGMA synchronous").fetchall() == [(level,)]

    backend.close()


def test_the_default_is_synced_fully(backend):
    with backend._file.connection("test") as db:
        assert db.execute("PRAGMA synchronous").fetchall() == [(2,)]


@pytest.mark.parametrize("options", [{"synchronous": "OFF"}, {"journal": "MEMORY"}])
def test_what_could_lose_a_job_is_no_option(path, options):
    with pytest.raises(InvalidOption, match="one of"):
        SqliteBackend(path, **options)


# Whose file


def test_nothing_is_opened_before_the_first_verb(backend, path):
    assert not path.exists()


def test_a_relative_path_stays_where_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backend = SqliteBackend("queue.db")
    monkeypatch.chdir("/")

    assert backend.path == tmp_path / "queue.db"
    assert backend.name == f"sqlite:///{tmp_path}/queue.db"


def test_a_path_may_hold_what_a_url_gives_a_meaning(tmp_path):
    backend = SqliteBackend(tmp_path / "a ?b#c%20é.db")

    backend.push([JOB])
    backend.close()

    assert [file.name for file in tmp_path.glob("*.db")] == ["a ?b#c%20é.db"]


def test_the_file_and_its_side_files_are_private_even_under_umask_0(backend, path):
    before = os.umask(0)
    try:
        backend.push([JOB])
        files = list(path.parent.iterdir())
    finally:
        os.umask(before)

    assert len(files) >= 2
    assert {mode(file) for file in files} == {0o600}


def test_a_file_that_others_can_read_is_refused(backend, path):
    path.touch(0o644)

    with pytest.raises(InvalidOption, match="chmod 600"):
        backend.push([JOB])


def test_a_file_of_another_user_is_refused(backend, path, monkeypatch):
    path.touch(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)

    with pytest.raises(InvalidOption, match="of the user who runs this process"):
        backend.push([JOB])


def test_a_symbolic_link_is_refused_and_the_error_says_where_it_leads(backend, path):
    target = path.with_name("target.db")
    path.symlink_to(target)

    with pytest.raises(InvalidOption, match=str(target)):
        backend.push([JOB])

    assert not target.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(backend, path, make):
    make(path)

    with pytest.raises(InvalidOption, match="a regular file"):
        backend.push([JOB])


def test_a_folder_that_everybody_can_write_to_is_refused(backend, path):
    path.parent.chmod(0o777)

    with pytest.raises(InvalidOption, match="not everybody can write"):
        backend.push([JOB])

    assert not path.exists()


def test_a_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(InvalidOption, match="a folder that exists"):
        SqliteBackend(tmp_path / "missing" / "queue.db").push([JOB])


# What is in it


def test_the_file_says_that_it_is_ours(backend, path):
    backend.push([JOB])

    with backend._file.connection("test") as db:
        assert db.execute("PRAGMA application_id").fetchall() == [(0x65766273,)]
        assert db.execute("PRAGMA user_version").fetchall() == [(1,)]


def test_who_is_second_to_make_the_file_takes_the_schema_of_the_first(backend, path, monkeypatch):
    class Slow(DRIVER.Connection):
        def execute(self, sql, *args):
            if sql == "BEGIN IMMEDIATE":
                monkeypatch.undo()
                first = SqliteBackend(path)
                first.push([JOB])
                first.close()
            return super().execute(sql, *args)

    monkeypatch.setattr(DRIVER, "connect", partial(DRIVER.connect, factory=Slow))

    assert backend.size("jobs").ready == 1


@pytest.mark.parametrize(
    "statements, found",
    [
        (["CREATE TABLE theirs (x)"], "of another application"),
        (["PRAGMA user_version = 7"], "of another application"),
        (["PRAGMA application_id = 1"], "of another application"),
        (["PRAGMA application_id = 0x65766273", "PRAGMA user_version = 2"], "2"),
    ],
    ids=["tables", "version", "owner", "newer"],
)
def test_a_file_that_another_wrote_is_left_alone(backend, path, statements, found):
    path.touch(0o600)
    connection = DRIVER.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    before = path.read_bytes()

    with pytest.raises(SchemaMismatch) as caught:
        backend.push([JOB])

    assert (caught.value.found, caught.value.wanted) == (found, "1")
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(backend, path):
    path.write_bytes(b"these are the notes of a user\n" * 100)
    path.chmod(0o600)

    with pytest.raises(SchemaMismatch, match="no SQLite file"):
        backend.push([JOB])

    assert path.read_bytes().startswith(b"these are")


# Under a running process


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_file_that_is_gone_is_not_written_to_and_not_made_anew(backend, path, change):
    backend.push([JOB])
    kept = path.rename(path.with_name("kept.db"))
    if change == "replaced":
        path.touch(0o600)

    for verb in (
        lambda: backend.push([Envelope(id="b", queue="jobs", body=b"{}")]),
        lambda: backend.claim(["jobs"], limit=1, lease=60),
        lambda: backend.size("jobs"),
    ):
        with pytest.raises(BackendUnavailable, match=change):
            verb()

    assert path.exists() == (change == "replaced")
    kept.replace(path)
    assert backend.size("jobs").ready == 1


def test_a_new_connection_does_not_make_a_deleted_file_anew(backend, path):
    backend.push([JOB])
    backend.close()
    path.unlink()

    with pytest.raises(BackendUnavailable, match="deleted"):
        backend.push([JOB])

    assert not path.exists()


def test_an_error_of_the_system_is_translated(backend, path):
    backend.push([JOB])
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.touch()

    with pytest.raises(BackendUnavailable, match="Not a directory"):
        backend.size("jobs")


def test_an_error_of_sqlite_is_translated_and_undoes_what_had_begun(backend, path):
    backend.push([JOB])
    other = DRIVER.connect(path, isolation_level=None)
    other.execute("ALTER TABLE failed RENAME TO hidden")
    [claim] = backend.claim(["jobs"], limit=1, lease=60)

    with pytest.raises(BackendUnavailable, match="no such table") as caught:
        backend.bury([claim], error="boom", spend=True)

    assert isinstance(caught.value.__cause__, DRIVER.OperationalError)
    other.execute("ALTER TABLE hidden RENAME TO failed")
    other.close()
    assert backend.size("jobs").leased == 1
    assert backend.bury([claim], error="boom", spend=True) == []


def test_a_writer_that_does_not_end_makes_the_store_unavailable(backend, path, impatient):
    backend.push([JOB])
    backend.close()
    other = DRIVER.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(BackendUnavailable, match="locked"):
        backend.claim(["jobs"], limit=1, lease=60)

    other.close()
    assert len(backend.claim(["jobs"], limit=1, lease=60)) == 1


def test_a_full_file_stores_nothing_and_recovers(backend):
    backend.push([JOB])
    with backend._file.connection("test") as db:
        [(pages,)] = db.execute("PRAGMA page_count").fetchall()
        db.execute(f"PRAGMA max_page_count = {pages}")
    large = [Envelope(id=str(i), queue="jobs", body=bytes(10_000)) for i in range(20)]

    with pytest.raises(BackendUnavailable, match="full"):
        backend.push(large)

    assert backend.size("jobs").ready == 1  # on a new connection, without the limit
    backend.push(large)
    assert backend.size("jobs").ready == 21


def failing_commit(*, done):
    class Failing(DRIVER.Connection):
        def execute(self, sql, *args):
            if sql != "COMMIT":
                return super().execute(sql, *args)
            if done:
                super().execute(sql)
            raise DRIVER.OperationalError("disk I/O error")

    return Failing


@pytest.fixture
def faulty(backend, monkeypatch):
    """Have commits fail, from the next connection on, after or before they were done."""
    backend.push([JOB])

    def fail(*, done):
        backend.close()
        connect = partial(DRIVER.connect, factory=failing_commit(done=done))
        monkeypatch.setattr(DRIVER, "connect", connect)

    yield fail
    monkeypatch.undo()


def test_a_commit_whose_outcome_is_not_known_says_so_with_the_ids(backend, faulty, monkeypatch):
    faulty(done=True)
    jobs = [Envelope(id=name, queue="jobs", body=b"{}") for name in "bc"]

    with pytest.raises(StoredUnknown) as caught:
        backend.push(jobs)

    assert caught.value.ids == ("b", "c")
    monkeypatch.undo()
    backend.push(jobs)
    assert backend.size("jobs").ready == 3


def test_a_commit_that_was_not_done_is_undone(backend, faulty, monkeypatch):
    faulty(done=False)

    with pytest.raises(BackendUnavailable):
        backend.push([Envelope(id="b", queue="jobs", body=b"{}")])

    monkeypatch.undo()
    assert backend.size("jobs").ready == 1


def test_only_a_push_is_reported_as_stored_or_not(backend, faulty):
    """The other verbs are safe to repeat, whatever became of the first time."""
    faulty(done=True)

    with pytest.raises(BackendUnavailable):
        backend.claim(["jobs"], limit=1, lease=60)


# Connections


def test_a_body_that_was_mended_by_hand_is_still_bytes(backend, path):
    """The `sqlite3` shell stores what an operator types as text."""
    backend.push([JOB, Envelope(id="b", queue="jobs", body=b"{}")])
    with closing(DRIVER.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE envelopes SET body = '{\"v\":1}'")

    claims = backend.claim(["jobs"], limit=2, lease=60)
    backend.bury(claims[1:], error="", spend=True)

    assert [one.envelope.body for one in claims] == [b'{"v":1}'] * 2
    assert [one.envelope.body for one in backend.failed()] == [b'{"v":1}']


def test_a_thread_that_ends_leaves_no_connection_behind(backend, path):
    for number in range(5):
        job = Envelope(id=str(number), queue="jobs", body=b"{}")
        thread = Thread(target=backend.push, args=([job],))
        thread.start()
        thread.join()

    assert backend.size("jobs").ready == 5
    assert len(backend._file._idle) == 1


def test_close_closes_every_connection_and_the_next_verb_opens_one(backend, path):
    with backend._file.connection("one"), backend._file.connection("two"):
        pass
    assert len(open_files(path)) >= 2

    backend.close()

    assert open_files(path) == []
    assert backend.size("jobs").ready == 0


def test_a_connection_that_was_lent_when_the_backend_closed_is_closed_when_it_comes_back(
    backend, path
):
    with backend._file.connection("size"):
        backend.close()

    assert open_files(path) == []


def test_a_backend_that_is_dropped_closes_its_connections(path):
    backend = SqliteBackend(path)
    backend.push([JOB])

    del backend

    assert open_files(path) == []


def open_files(path):
    """The descriptors of this process that lead to `path`."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == str(path):
                found.append(name)
        except FileNotFoundError:
            continue  # the listing's own
    return found
