"""Every statement that runs often finds its rows by an index, however many others there are."""

from __future__ import annotations

import re

import pytest

from eventbus.backends.sql import statements
from eventbus.backends.sqlite import SqliteBackend
from eventbus.queue.envelope import Envelope

SQL = statements("sqlite.sql")
VALUES = {
    name: 1 for text in SQL.values() for name in re.findall(r":([a-z_]+)", text)
} | dict.fromkeys(("ids", "numbers", "queues"), '["a", "b"]')

#: All but those that an operator asks now and then, and the table of a few flags.
HOT = sorted(
    SQL.keys()
    - {"schema", "migrate_1", "migrate_2", "migrate_3", "failed", "peek", "flags", "unflag"}
)

pytestmark = pytest.mark.usefixtures("driver")
DRIVER = None


@pytest.fixture
def db(path):
    backend = SqliteBackend(path)
    backend.push([Envelope(id=str(i), queue="jobs", body=b"{}") for i in range(10)])
    with backend._file.connection("test") as db:
        yield db
    backend.close()


def plan(db, statement):
    text = SQL[statement]
    # A push has its values by place.
    values = [1] * text.count("?") or VALUES
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", values)]


@pytest.mark.parametrize("statement", HOT)
def test_no_table_is_scanned(db, statement):
    scans = [step for step in plan(db, statement) if step.startswith("SCAN")]

    # A list of ours, a row made of values, the names found so far; or an index that holds what is
    # asked for, from its beginning and only as far as needed.
    allowed = re.compile(
        r"SCAN (json_each|CONSTANT ROW|waiting|failing|rest|\(subquery"
        r"|envelopes USING INDEX envelopes_parked)"
    )
    assert [step for step in scans if not allowed.match(step)] == []


@pytest.mark.parametrize(
    "statement", ["due", "undated", "next_due", "peek_parked", "peek", "failed"]
)
def test_what_is_wanted_in_order_is_not_sorted(db, statement):
    assert [step for step in plan(db, statement) if "TEMP B-TREE" in step] == []


@pytest.mark.parametrize(
    "statement, index",
    [
        ("due", "SEARCH envelopes USING INDEX envelopes_in_line (queue=? AND due<?)"),
        ("undated", "SEARCH envelopes USING INDEX envelopes_in_line (queue=? AND due>?)"),
        ("claim", "SEARCH envelopes USING INTEGER PRIMARY KEY (rowid=?)"),
        ("ack", "SEARCH envelopes USING INDEX sqlite_autoindex_envelopes_1 (id=?)"),
        ("release", "SEARCH envelopes USING INDEX sqlite_autoindex_envelopes_1 (id=?)"),
        ("extend", "SEARCH envelopes USING INDEX sqlite_autoindex_envelopes_1 (id=?)"),
        ("cancel", "SEARCH envelopes USING INDEX sqlite_autoindex_envelopes_1 (id=?)"),
        ("find", "SEARCH envelopes USING INDEX sqlite_autoindex_envelopes_1 (id=?)"),
        ("next_due", "SEARCH envelopes USING INDEX envelopes_in_line (queue=? AND due<?)"),
        ("holder", "SEARCH envelopes USING INDEX envelopes_unique (queue=? AND unique_key=?)"),
        ("failed", "SEARCH failed USING INTEGER PRIMARY KEY (rowid>?)"),
        ("failed_named", "SEARCH failed USING INDEX sqlite_autoindex_failed_1 (id=? AND rowid>?)"),
        ("queues", "SEARCH envelopes USING COVERING INDEX envelopes_in_line (queue>?)"),
    ],
)
def test_the_hot_path_goes_by_the_index_made_for_it(db, statement, index):
    assert index in plan(db, statement)


def test_what_is_parked_is_found_by_the_index_of_what_is_parked(db):
    assert any("USING INDEX envelopes_parked" in step for step in plan(db, "peek_parked"))
