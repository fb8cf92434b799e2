"""How the SQLite file is opened: which SQLite, which journal, whose file, what is refused."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from contextlib import closing
from functools import partial
from secrets import token_hex
from threading import Thread

import pytest

from eventbus.backends.base import Charge
from eventbus.backends.limits import Window
from eventbus.backends.sqlite import SqliteBackend, load_driver, wal_is_safe
from eventbus.defaults import (
    SQLITE_JOURNAL_SIZE,
    SQLITE_LOG_LIMIT,
    SQLITE_LOG_SIZE,
    SQLITE_PAGE_SIZE,
)
from eventbus.errors import (
    BackendUnavailable,
    InvalidOption,
    MissingDependency,
    SchemaMismatch,
    StoredUnknown,
)
from eventbus.queue.envelope import Envelope

#: Set by the fixture `driver`.
DRIVER = None
JOB = Envelope(id="a", queue="jobs", body=b"{}")

pytestmark = pytest.mark.usefixtures("driver")


@pytest.fixture
def backend(path):
    backend = SqliteBackend(path)
    yield backend
    backend.close()


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

    with pytest.raises(MissingDependency, match=r"SQLite 3.35 or newer.*eventbus\[sqlite\]"):
        load_driver()

    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    assert load_driver() is sqlite3


@pytest.mark.usefixtures("unsafe_wal")
def test_wal_is_refused_where_it_is_not_safe(path):
    with pytest.raises(MissingDependency, match=r"eventbus\[sqlite\]"):
        SqliteBackend(path, journal="wal")


@pytest.mark.usefixtures("unsafe_wal")
def test_a_file_in_wal_mode_is_refused_where_wal_is_not_safe(backend, wal_file):
    with pytest.raises(MissingDependency, match="a file in WAL mode"):
        backend.push([JOB])


@pytest.mark.usefixtures("unsafe_wal")
def test_a_file_that_is_switched_to_wal_under_a_running_process_is_refused(backend, path):
    backend.push([JOB])
    other = DRIVER.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")

    with pytest.raises(MissingDependency, match="switched to WAL"):
        backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))

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
        "eventbus.backends.sqlite_file.time.sleep", lambda s: (waited.append(s), wal_file.close())
    )
    backend = SqliteBackend(path, journal="PERSIST")

    backend.push([JOB])
    backend.close()

    assert waited


def test_the_switch_does_not_wait_for_ever(path, wal_file):
    with pytest.raises(BackendUnavailable, match="locked"):
        SqliteBackend(path, journal="PERSIST", busy_timeout=0.05).push([JOB])


@pytest.mark.parametrize("synchronous, level", [("normal", 1), ("FULL", 2), ("extra", 3)])
def test_synchronous_is_what_was_asked_for(path, driver, synchronous, level):
    if synchronous == "normal" and not wal_is_safe(driver.sqlite_version_info):
        pytest.skip(f"WAL is not safe on SQLite {driver.sqlite_version}, and NORMAL without it")
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


@pytest.mark.parametrize("journal", ["PERSIST", "TRUNCATE", "DELETE"])
def test_a_rollback_journal_that_is_not_synced_fully_is_refused(path, journal):
    """Half of a commit might be rolled back after a power cut."""
    backend = SqliteBackend(path, journal=journal, synchronous="NORMAL")

    with pytest.raises(InvalidOption, match=f"FULL or EXTRA with journal={journal}"):
        backend.push([JOB])


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


def test_a_file_that_has_another_name_too_is_refused(backend, path):
    """Under the other name nobody would find its journal after a crash."""
    path.touch(0o600)
    path.with_name("other.db").hardlink_to(path)

    with pytest.raises(InvalidOption, match="no other hard link"):
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
        assert db.execute("PRAGMA user_version").fetchall() == [(4,)]


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
        (["PRAGMA application_id = 0x65766273", "PRAGMA user_version = 5"], "5"),
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

    assert (caught.value.found, caught.value.wanted) == (found, "4")
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(backend, path):
    path.write_bytes(b"these are the notes of a user\n" * 100)
    path.chmod(0o600)

    with pytest.raises(SchemaMismatch, match="no SQLite file"):
        backend.push([JOB])

    assert path.read_bytes().startswith(b"these are")


def test_a_connection_that_cannot_be_used_is_closed_at_once(backend, path, monkeypatch):
    path.write_text("these are the plans of a house, no jobs")
    path.chmod(0o600)
    opened, connect = [], DRIVER.connect

    def watched(*arguments, **options):
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(DRIVER, "connect", watched)
    with pytest.raises(SchemaMismatch):
        backend.push([JOB])

    [connection] = opened
    with pytest.raises(DRIVER.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


# Under a running process


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_file_that_is_gone_is_not_written_to_and_not_made_anew(backend, path, change):
    backend.push([JOB])
    kept = path.rename(path.with_name("kept.db"))
    if change == "replaced":
        path.touch(0o600)

    for verb in (
        lambda: backend.push([Envelope(id="b", queue="jobs", body=b"{}")]),
        lambda: backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16)),
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


def test_a_file_that_is_replaced_while_it_is_opened_is_refused(backend, path, monkeypatch):
    backend.push([JOB])
    backend.close()
    connect = DRIVER.connect

    def replacing(*arguments, **options):
        path.rename(path.with_name("kept.db"))
        path.touch(0o600)
        return connect(*arguments, **options)

    monkeypatch.setattr(DRIVER, "connect", replacing)
    with pytest.raises(BackendUnavailable, match="replaced"):
        backend.push([JOB])

    assert path.read_bytes() == b""


def test_an_error_of_the_system_is_translated(backend, path):
    backend.push([JOB])
    path.parent.rename(path.parent.with_name(f"{path.parent.name}-moved"))
    path.parent.touch()

    with pytest.raises(BackendUnavailable, match="Not a directory"):
        backend.size("jobs")


def test_an_error_of_sqlite_is_translated_and_undoes_what_had_begun(backend, path):
    backend.push([JOB])
    other = DRIVER.connect(path, isolation_level=None)
    other.execute("ALTER TABLE failed RENAME TO hidden")
    [claim] = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))

    with pytest.raises(BackendUnavailable, match="no such table") as caught:
        backend.bury([claim], error="boom", charge=Charge.ERROR)

    assert isinstance(caught.value.__cause__, DRIVER.OperationalError)
    other.execute("ALTER TABLE hidden RENAME TO failed")
    other.close()
    assert backend.size("jobs").leased == 1
    assert backend.bury([claim], error="boom", charge=Charge.ERROR) == []


def test_a_writer_that_does_not_end_makes_the_store_unavailable(path):
    backend = SqliteBackend(path, busy_timeout=0.05)
    backend.push([JOB])
    other = DRIVER.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(BackendUnavailable, match="locked"):
        backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))

    other.close()
    assert len(backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))) == 1


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


def test_a_full_file_keeps_what_it_acknowledged_and_drains_when_space_returns(backend, monkeypatch):
    """F26: acknowledged = found, with no restart."""
    backend.push([JOB])
    with backend._file.connection("test") as db:
        [(pages,)] = db.execute("PRAGMA page_count").fetchall()
    backend.close()
    connect = DRIVER.connect

    def connect_to_full_disk(*args, **options):
        db = connect(*args, **options)
        db.execute(f"PRAGMA max_page_count = {pages + 10}")
        return db

    monkeypatch.setattr(DRIVER, "connect", connect_to_full_disk)
    stored, refused = ["a"], []
    for number in range(30):
        try:
            backend.push([Envelope(id=str(number), queue="jobs", body=bytes(700))])
        except BackendUnavailable as error:
            refused.append(error)
        else:
            stored.append(str(number))

    assert "full" in str(refused[0])
    assert backend.size("jobs").ready == len(stored)
    claims = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    assert backend.ack(claims) == []
    monkeypatch.undo()
    backend.close()
    backend.push([Envelope(id="again", queue="jobs", body=b"{}")])
    claims += backend.claim(["jobs"], limit=100, lease=60, token=token_hex(16))
    assert sorted(claim.envelope.id for claim in claims) == sorted([*stored, "again"])


def test_a_file_that_can_only_be_read_takes_no_push(backend, path, monkeypatch):
    """F27"""
    backend.push([JOB])
    backend.close()
    connect = DRIVER.connect
    monkeypatch.setattr(
        DRIVER,
        "connect",
        lambda place, **options: connect(place.replace("mode=rw", "mode=ro"), **options),
    )

    with pytest.raises(BackendUnavailable, match="readonly"):
        backend.push([Envelope(id="b", queue="jobs", body=b"{}")])
    with pytest.raises(BackendUnavailable, match="readonly"):
        backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))


def test_an_empty_queue_is_looked_at_without_the_lock_of_a_writer(path):
    """A worker that waits does not hinder one that writes."""
    backend = SqliteBackend(path, busy_timeout=0.05)
    backend.push([JOB])
    writer = DRIVER.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    assert backend.claim(["empty"], limit=1, lease=60, token=token_hex(16)) == []
    assert backend.flags() == {}
    assert backend.next_due(["empty"]) is None

    writer.close()
    backend.close()


def test_who_only_looks_whether_a_limit_has_room_needs_no_lock_of_a_writer(path):
    once = Window(key="ada", allow=1, every=60.0)
    with closing(SqliteBackend(path, busy_timeout=0.05)) as backend:
        backend.push([JOB])
        with closing(DRIVER.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")

            assert backend.limits.spend("mail", [once], take=False) == 0.0


def test_a_look_waits_for_one_who_commits(path, monkeypatch):
    with closing(SqliteBackend(path, journal="PERSIST")) as backend:
        backend.push([JOB])
        writer = DRIVER.connect(path, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        waited = []
        monkeypatch.setattr(
            "eventbus.backends.sqlite_file.time.sleep", lambda s: (waited.append(s), writer.close())
        )

        assert backend.size("jobs").ready == 1
        assert len(waited) == 1


def test_a_claim_looks_again_under_the_lock(backend, monkeypatch):
    """Between the look and the lock another may have taken what was due."""
    backend.push([JOB])
    other = SqliteBackend(backend.path)
    begin = backend._file._patiently

    def slowly(*act):
        assert len(other.claim(["jobs"], limit=1, lease=60, token=token_hex(16))) == 1
        begin(*act)

    monkeypatch.setattr(backend._file, "_patiently", slowly)

    assert backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16)) == []
    other.close()


def test_a_wal_that_a_hanging_reader_made_grow_is_cut_once_it_is_gone(path, driver):
    """F30"""
    if not wal_is_safe(driver.sqlite_version_info):
        pytest.skip(f"WAL is not safe on SQLite {driver.sqlite_version}")
    wal = path.with_name("queue.db-wal")
    with closing(SqliteBackend(path, synchronous="NORMAL")) as backend:
        backend.push([JOB])
        with closing(DRIVER.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM envelopes").fetchall()
            for number in range(20):
                large = Envelope(
                    id=str(number), queue="jobs", body=bytes(SQLITE_JOURNAL_SIZE // 10)
                )
                backend.push([large])
            assert wal.stat().st_size > 1.5 * SQLITE_JOURNAL_SIZE
        for name in "xyz":
            backend.push([Envelope(id=name, queue="jobs", body=b"{}")])

        assert wal.stat().st_size <= SQLITE_JOURNAL_SIZE


def test_a_rollback_journal_that_a_large_push_made_grow_is_cut(path):
    """F30"""
    with closing(SqliteBackend(path, journal="PERSIST")) as backend:
        body = bytes(SQLITE_JOURNAL_SIZE // 4)
        jobs = [Envelope(id=str(number), queue="jobs", body=body) for number in range(6)]
        backend.push(jobs)
        assert backend.clear("jobs") == 6
        backend.push([JOB])

        assert path.with_name("queue.db-journal").stat().st_size <= SQLITE_JOURNAL_SIZE


def test_a_new_file_has_small_pages_and_an_old_one_keeps_its_own(backend, path, tmp_path):
    backend.push([JOB])
    with backend._file.connection("test") as db:
        assert db.execute("PRAGMA page_size").fetchall() == [(SQLITE_PAGE_SIZE,)]

    old = tmp_path / "old.db"
    old.touch(0o600)
    with closing(DRIVER.connect(old)) as db:
        db.execute("PRAGMA page_size = 4096")
        db.execute("VACUUM")
    with closing(SqliteBackend(old)) as other:
        other.push([JOB])
        with other._file.connection("test") as db:
            assert db.execute("PRAGMA page_size").fetchall() == [(4096,)]


@pytest.mark.parametrize("page", [SQLITE_PAGE_SIZE, 4096])
def test_a_log_is_folded_in_when_it_holds_so_many_bytes(path, page):
    """Half of what it is cut down to, whatever the size of a page."""
    path.touch(0o600)
    with closing(DRIVER.connect(path)) as db:
        db.execute(f"PRAGMA page_size = {page}")
        db.execute("VACUUM")

    with closing(SqliteBackend(path)) as backend, backend._file.connection("test") as db:
        [(pages,)] = db.execute("PRAGMA wal_autocheckpoint").fetchall()
        assert pages * page == SQLITE_LOG_SIZE == SQLITE_JOURNAL_SIZE // 2


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
        backend.push([Envelope(id=name, queue="jobs", body=b"{}") for name in "bc"])

    monkeypatch.undo()
    assert backend.size("jobs").ready == 1


def failing_push():
    class Failing(DRIVER.Connection):
        """Stores a job, and tells of an error nevertheless."""

        def execute(self, sql, *args):
            found = super().execute(sql, *args)
            if sql.startswith("INSERT INTO envelopes"):
                raise DRIVER.OperationalError("disk I/O error")
            return found

    return Failing


def test_one_job_of_which_nobody_can_tell_whether_it_is_stored(backend, monkeypatch):
    """One statement stores it, and commits; where SQLite cannot be sure, it is the statement's error."""
    if not wal_is_safe(DRIVER.sqlite_version_info):
        pytest.skip("it takes a transaction there, to see to the journal")
    backend.push([JOB])
    backend.close()
    connect = partial(DRIVER.connect, factory=failing_push())
    monkeypatch.setattr(DRIVER, "connect", connect)
    job = Envelope(id="b", queue="jobs", body=b"{}")

    with pytest.raises(StoredUnknown) as caught:
        backend.push([job])

    assert caught.value.ids == ("b",)
    monkeypatch.undo()
    backend.push([job])
    assert backend.size("jobs").ready == 2


def test_one_job_that_was_surely_not_stored(backend, path):
    backend.push([JOB])
    with closing(DRIVER.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE failed RENAME TO hidden")
        with pytest.raises(BackendUnavailable):
            backend.push([Envelope(id="b", queue="jobs", body=b"{}")])
        other.execute("ALTER TABLE hidden RENAME TO failed")

    assert backend.size("jobs").ready == 1


def test_only_a_push_is_reported_as_stored_or_not(backend, faulty):
    """The other verbs are safe to repeat, whatever became of the first time."""
    faulty(done=True)

    with pytest.raises(BackendUnavailable):
        backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))


# Connections


def test_a_body_that_was_mended_by_hand_is_still_bytes(backend, path):
    """The `sqlite3` shell stores what an operator types as text."""
    backend.push([JOB, Envelope(id="b", queue="jobs", body=b"{}")])
    with closing(DRIVER.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE envelopes SET body = '{\"v\":1}', crc = NULL")

    claims = backend.claim(["jobs"], limit=2, lease=60, token=token_hex(16))
    backend.bury(claims[1:], error="", charge=Charge.ERROR)

    assert [one.envelope.body for one in claims] == [b'{"v":1}'] * 2
    assert [one.envelope.body for one in backend.failed(limit=10)] == [b'{"v":1}']


def test_a_thread_that_ends_leaves_no_connection_behind(backend, path):
    for number in range(5):
        job = Envelope(id=str(number), queue="jobs", body=b"{}")
        thread = Thread(target=backend.push, args=([job],))
        thread.start()
        thread.join()

    assert backend.size("jobs").ready == 5
    assert len(backend._file.pool.idle) == 1


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


# Trouble


@pytest.mark.parametrize("more", [0, 1])
def test_a_log_that_has_grown_large_is_told_of(path, more):
    """F30: while a reader hangs, nothing bounds it."""
    backend = SqliteBackend(path)
    assert backend.trouble() == ""
    log = path.with_name(f"{path.name}-wal")
    with open(log, "wb") as file:
        file.truncate(SQLITE_LOG_LIMIT + more)

    told = backend.trouble()

    assert (str(log) in told, "64 MiB" in told) == ((True, True) if more else (False, False))
    assert told == backend.trouble()


@pytest.mark.parametrize("quicker", ["before", "meanwhile"])
def test_tables_that_another_made_while_a_connection_was_opened_are_known(
    path, monkeypatch, quicker
):
    """SQLite remembers that there were none, and cannot look again while somebody commits."""
    first, maker = (SqliteBackend(path, journal="PERSIST") for _ in range(2))
    file = first._file
    db = file.open("test", has_schema=False)
    assert db.execute("SELECT count(*) FROM sqlite_master").fetchall() == [(0,)]
    if quicker == "before":
        maker.apply_schema()
    else:
        writing = file.writing

        def late(db):
            maker.apply_schema()
            return writing(db)

        monkeypatch.setattr(file, "writing", late)

    file._bring_up(db, migrate=False)

    with closing(DRIVER.connect(path, isolation_level=None)) as third:
        third.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DRIVER.OperationalError, match="locked"):
            db.execute("SELECT count(*) FROM envelopes").fetchall()
        third.execute("ROLLBACK")
    assert db.execute("SELECT count(*) FROM envelopes").fetchall() == [(0,)]
    db.close()
    maker.close()
    first.close()
