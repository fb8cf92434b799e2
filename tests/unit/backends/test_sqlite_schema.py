"""The schema of the SQLite file: made, refused, and brought up from older versions with every job."""

from __future__ import annotations

from contextlib import closing
from secrets import token_hex

import pytest

from eventbus.backends.base import Charge, Sizes
from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend, wal_is_safe
from eventbus.errors import SchemaMismatch
from eventbus.queue.envelope import Envelope

#: Set by the fixture `driver`.
DRIVER = None

pytestmark = pytest.mark.usefixtures("driver")

SCHEMA_1 = """
CREATE TABLE envelopes (
    number    INTEGER PRIMARY KEY,         -- order of arrival: decides between equal dues
    id        TEXT NOT NULL UNIQUE,
    queue     TEXT NOT NULL,
    body      BLOB NOT NULL,
    delay     REAL NOT NULL,               -- as pushed, in seconds; `due` has it added
    pushed_at INTEGER NOT NULL,
    due       INTEGER NOT NULL,
    token     TEXT,                        -- who holds it; NULL while it waits
    shared    INTEGER NOT NULL DEFAULT 0,  -- 1: held by a claim of several
    alone     INTEGER NOT NULL DEFAULT 0,  -- 1: lost once, handed out by itself from then on
    attempts  INTEGER NOT NULL DEFAULT 0,
    losses    INTEGER NOT NULL DEFAULT 0,
    releases  INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX envelopes_in_line ON envelopes (queue, due);
CREATE TABLE failed (
    number    INTEGER PRIMARY KEY,         -- order of failure
    id        TEXT NOT NULL UNIQUE,
    queue     TEXT NOT NULL,
    body      BLOB NOT NULL,
    delay     REAL NOT NULL,
    pushed_at INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    losses    INTEGER NOT NULL,
    releases  INTEGER NOT NULL,
    error     TEXT NOT NULL
);
PRAGMA application_id = 0x65766273;
PRAGMA user_version = 1;
"""

#: What schema 2 had more.
SCHEMA_2 = """
ALTER TABLE envelopes ADD COLUMN exceptions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE envelopes ADD COLUMN parked TEXT NOT NULL DEFAULT '';
ALTER TABLE envelopes ADD COLUMN crc INTEGER;
ALTER TABLE failed ADD COLUMN crc INTEGER;
CREATE INDEX envelopes_parked ON envelopes (number) WHERE parked <> '';
CREATE INDEX failed_by_queue ON failed (queue);
CREATE TABLE flags (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    ends  INTEGER
) WITHOUT ROWID;
PRAGMA user_version = 2;
"""

#: What schema 3 had more.
SCHEMA_3 = """
ALTER TABLE envelopes ADD COLUMN unique_key TEXT;
ALTER TABLE envelopes ADD COLUMN unique_until INTEGER;
ALTER TABLE envelopes ADD COLUMN unique_since INTEGER;
CREATE UNIQUE INDEX envelopes_unique ON envelopes (queue, unique_key) WHERE unique_key IS NOT NULL;
CREATE TABLE kept (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    ends  INTEGER NOT NULL
);
CREATE INDEX kept_until ON kept (ends);
CREATE TABLE spent (
    name  TEXT NOT NULL,
    key   TEXT NOT NULL,
    ends  INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (name, key, ends)
) WITHOUT ROWID;
CREATE INDEX spent_until ON spent (ends);
CREATE TABLE turns (
    name TEXT NOT NULL,
    key  TEXT NOT NULL,
    ends INTEGER NOT NULL,
    PRIMARY KEY (name, key)
) WITHOUT ROWID;
CREATE INDEX turns_until ON turns (ends);
CREATE TABLE slots (
    name  TEXT NOT NULL,
    owner TEXT NOT NULL,
    ends  INTEGER NOT NULL,
    PRIMARY KEY (name, owner)
) WITHOUT ROWID;
CREATE INDEX slots_until ON slots (ends);
PRAGMA user_version = 3;
"""

JOBS_1 = """
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due, attempts)
VALUES ('waits', 'jobs', x'7b7d', 0, 1735689600000000, 1735689600000000, 2);
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due)
VALUES ('delayed', 'jobs', x'7b7d', 9, 1735689600000000, 99999999999999999);
INSERT INTO failed
    (id, queue, body, delay, pushed_at, failed_at, attempts, losses, releases, error)
VALUES ('failed', 'jobs', x'7b7d', 0, 1735689600000000, 1735689600000001, 1, 0, 0, 'boom');
"""


@pytest.fixture
def backend(path):
    backend = SqliteBackend(path)
    yield backend
    backend.close()


@pytest.fixture(params=[1, 2, 3], ids=lambda version: f"schema {version}")
def version(request):
    """The schema that is brought up."""
    return request.param


@pytest.fixture(params=["PERSIST", "WAL"])
def old_file(request, version, driver, path):
    """A file that an older schema has left, with a job in each place."""
    if request.param == "WAL" and not wal_is_safe(driver.sqlite_version_info):
        pytest.skip(f"WAL is not safe on SQLite {driver.sqlite_version}")
    path.touch(0o600)
    with closing(DRIVER.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {request.param}")
        later = "".join((SCHEMA_2, SCHEMA_3)[: version - 1])
        db.executescript(SCHEMA_1 + JOBS_1 + later)
    return path


def tables(path):
    """The shape of each table and index: columns, types, defaults; and the rows that an index has."""
    with closing(DRIVER.connect(path)) as db:
        found = db.execute("SELECT name, type, sql FROM sqlite_master ORDER BY name").fetchall()
        return {
            name: (
                sorted(row[1:] for row in db.execute(f"PRAGMA table_info({name})")),
                [row[2] for row in db.execute(f"PRAGMA index_info({name})")],
                kind == "index" and sql,
            )
            for name, kind, sql in found
        }


def test_a_file_of_an_older_schema_is_refused_and_the_error_says_what_to_run(
    backend, old_file, version
):
    """Q12"""
    before = old_file.read_bytes()

    with pytest.raises(SchemaMismatch, match="eventbus schema --apply") as caught:
        backend.size("jobs")

    assert (caught.value.found, caught.value.wanted) == (str(version), "4")
    backend.close()
    assert old_file.read_bytes() == before


def brought_up(version):
    """What is said of each step."""
    return [f"brought the tables from schema {one} to {one + 1}" for one in range(version, 4)]


def test_a_file_of_an_older_schema_is_brought_up_and_keeps_every_job(backend, old_file, version):
    """Q12"""
    assert backend.apply_schema() == brought_up(version)

    assert backend.apply_schema() == []
    assert backend.size("jobs") == Sizes(ready=1, delayed=1, failed=1)
    [claim] = backend.claim(["jobs"], limit=9, lease=60, token=token_hex(16))
    assert (claim.envelope.id, claim.attempts, claim.exceptions) == ("waits", 2, 0)
    assert backend.release([claim], delay=9, charge=Charge.ERROR, parked="why") == []
    assert [job.envelope.id for job in backend.peek(parked=True, limit=9)] == ["waits"]
    assert backend.revive(["failed"]) == ["failed"]
    backend.flag("restart", "1")
    assert backend.flags() == {"restart": "1"}
    backend.keep("result:a", b"1", life=60)
    assert backend.kept("result:a") == b"1"


def test_what_was_brought_up_has_the_shape_of_what_is_made_anew(backend, old_file, tmp_path):
    """Q12"""
    backend.apply_schema()
    backend.close()
    with closing(SqliteBackend(tmp_path / "new.db")) as new:
        assert new.apply_schema() == ["made the tables of schema 4"]

    assert tables(old_file) == tables(tmp_path / "new.db")


@pytest.mark.parametrize("statement", range(27))
def test_a_migration_that_ends_halfway_changes_nothing(
    backend, old_file, version, monkeypatch, statement
):
    """Q12"""
    if statement >= {1: 27, 2: 19, 3: 9}[version]:
        pytest.skip("it has not so many")

    class Failing(DRIVER.Connection):
        left = statement

        def execute(self, sql, *args):
            if sql.startswith(("ALTER", "CREATE", "PRAGMA user_version =", "COMMIT")):
                Failing.left -= 1
                if Failing.left < 0:
                    raise DRIVER.OperationalError("disk I/O error")
            return super().execute(sql, *args)

    connect = DRIVER.connect
    monkeypatch.setattr(
        DRIVER, "connect", lambda *args, **options: connect(*args, **options, factory=Failing)
    )
    with pytest.raises(ConnectionError, match="disk I/O error"):
        backend.apply_schema()
    monkeypatch.undo()

    with pytest.raises(SchemaMismatch, match=f"schema {version},"):
        backend.size("jobs")
    assert backend.apply_schema() == brought_up(version)
    assert backend.size("jobs") == Sizes(ready=1, delayed=1, failed=1)


def test_a_file_of_a_newer_schema_is_refused_and_the_error_says_to_update(backend, path):
    """Q12"""
    backend.push([Envelope(id="a", queue="jobs", body=b"{}")])
    backend.close()
    with closing(DRIVER.connect(path)) as db:
        db.execute("PRAGMA user_version = 5")

    for verb in (lambda: backend.size("jobs"), backend.apply_schema):
        with pytest.raises(SchemaMismatch, match="update eventbus"):
            verb()


def test_the_schema_can_be_read_and_applied_by_hand(backend, path):
    """Q12: what `eventbus schema` prints makes the tables."""
    path.touch(0o600)
    with closing(DRIVER.connect(path)) as db:
        db.executescript(backend.schema())
        db.execute("PRAGMA application_id = 0x65766273")
        db.execute("PRAGMA user_version = 4")

    port = Port(backend, name="default")
    assert port.apply_schema() == []
    port.push([Envelope(id="a", queue="jobs", body=b"{}")])
    assert port.size("jobs").ready == 1
    assert port.schema() == backend.schema()


def test_a_file_that_has_our_mark_but_no_version_is_refused(backend, path):
    path.touch(0o600)
    with closing(DRIVER.connect(path)) as db:
        db.execute("PRAGMA application_id = 0x65766273")

    with pytest.raises(SchemaMismatch, match="of another application"):
        backend.apply_schema()
