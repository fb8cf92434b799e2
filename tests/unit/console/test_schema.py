"""`eventbus schema`: the tables of a store are printed, made and brought up to date."""

from __future__ import annotations

import sqlite3

import pytest

from eventbus.backends.port import Port
from eventbus.errors import UnsupportedOption

OLD = """
CREATE TABLE envelopes (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, body BLOB NOT NULL,
    delay REAL NOT NULL, pushed_at INTEGER NOT NULL, due INTEGER NOT NULL, token TEXT,
    shared INTEGER NOT NULL DEFAULT 0, alone INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
    releases INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX envelopes_in_line ON envelopes (queue, due);
CREATE TABLE failed (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, body BLOB NOT NULL,
    delay REAL NOT NULL, pushed_at INTEGER NOT NULL, failed_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL, losses INTEGER NOT NULL, releases INTEGER NOT NULL,
    error TEXT NOT NULL
);
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due) VALUES ('a1', 'emails', '{}', 0, 1, 1);
PRAGMA application_id = 1702257267;
PRAGMA user_version = 1;
"""


@pytest.fixture
def app(module):
    module(
        "app",
        """
        from eventbus import EventBus

        bus = EventBus(
            discover="depot.broken",
            connections={"default": "sqlite:///queue.db", "void": "null://", "now": "sync://"},
        )
        """,
    )


@pytest.fixture
def old_file(app, folder):
    """A file that the first version of the tables is in, with one job."""
    path = folder / "queue.db"
    db = sqlite3.connect(path)
    db.executescript(OLD)
    db.close()
    path.chmod(0o600)
    return path


def test_the_statements_make_the_tables(run, app, folder):
    """Q12: printed, they can be read, kept and run; no listener is loaded for it."""
    result = run("schema", "--print")

    assert result.exit_code == 0
    assert result.stdout.startswith("-- connection default: sqlite:///")
    db = sqlite3.connect(":memory:")
    db.executescript(result.stdout)
    assert {"envelopes", "failed"} <= {
        name for (name,) in db.execute("SELECT name FROM sqlite_master")
    }
    db.close()


def test_an_old_file_is_refused_with_the_command_that_mends_it(run, old_file):
    result = run("size")

    assert result.exit_code == 4
    assert "eventbus schema --apply" in result.stderr


def test_an_old_file_is_brought_up_to_date_and_keeps_its_jobs(run, old_file):
    """Q12."""
    applied = run("schema", "--apply")

    assert applied.exit_code == 0
    assert applied.stdout
    assert run("size").stdout.splitlines()[1].split()[:3] == ["default", "emails", "1"]


def test_tables_that_are_up_to_date_stay_as_they_are(run, old_file):
    run("schema", "--apply")

    again = run("schema", "--apply")

    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "eventbus: the tables of default are up to date\n"


@pytest.mark.parametrize("options", [[], ["--print", "--apply"]])
def test_print_or_apply(run, app, options):
    result = run("schema", *options)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Write --print or --apply" in result.stderr


def test_a_file_of_another_application_is_refused(run, app, folder):
    path = folder / "queue.db"
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE accounts (id); PRAGMA user_version = 7")
    db.close()
    path.chmod(0o600)

    result = run("schema", "--apply")

    assert (result.exit_code, result.stdout) == (4, "")
    db = sqlite3.connect(path)
    assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("accounts",)]
    db.close()


def test_a_store_without_tables_is_passed_over_unless_it_was_named(run, app, monkeypatch):
    """As Redis has none."""

    def none(self):
        raise UnsupportedOption(backend="redis://localhost", capability="tables")

    monkeypatch.setattr(Port, "schema", none)

    result = run("schema", "--print")
    assert (result.exit_code, result.stderr) == (
        0,
        "eventbus: no connection has a store with tables\n",
    )
    assert run("schema", "--print", "--connection", "default").exit_code == 2
