"""A program that has only the page on the wire format, and no eventbus, writes a job that runs."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "wire-format.md").read_text("utf-8")
PUSH = re.search(r"```sql\n(.*?)```", PAGE, re.DOTALL)[1]
DOCUMENT = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
EVENTS = re.search(r"It is the event of these classes:\n\n```python\n(.*?)```", PAGE, re.DOTALL)[1]

LISTENERS = """

@bus.listen
@listens(queue=True, name="shop.listeners:SendShipmentNotification")
def send(event: OrderShipped, attempt: Attempt):
    say("sent", event.order_id, event.email, event.total, event.shipped_at.isoformat(), event.paid_by)
    say("attempt", attempt.number, "of", attempt.id)


@listens(queue=True, name="import_rows")
def import_rows(count: int, kind: str):
    say("imported", count, kind)


@listens(queue=True, name="audit")
def audit(name: str, payload: tuple):
    say("audited", name, payload)


bus.listen("order.imported", import_rows)
bus.listen("order.*", audit)
"""


class Writer:
    """Knows what the page says, `json` and `sqlite3`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def table(self) -> list[str]:
        with closing(sqlite3.connect(self._path)) as db:
            return [row[1] for row in db.execute("PRAGMA table_info(envelopes)")]

    def marks(self) -> tuple[int, int]:
        with closing(sqlite3.connect(self._path)) as db:
            ((owner,),) = db.execute("PRAGMA application_id")
            ((version,),) = db.execute("PRAGMA user_version")
        return owner, version

    def push(self, document: object, *, id: str, queue: str = "default", raw: str = "") -> None:
        body = (raw or json.dumps(document)).encode()
        now = time.time_ns() // 1_000
        with closing(sqlite3.connect(self._path)) as db, db:
            db.execute("PRAGMA synchronous = FULL")
            db.execute(PUSH, {"id": id, "queue": queue, "body": body, "now": now})

    def count(self, table: str) -> int:
        with closing(sqlite3.connect(self._path)) as db:
            return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.fixture
def writer(shop) -> Writer:
    shop.write(EVENTS + LISTENERS)
    shop.work()  # makes the file
    return Writer(shop.folder / "queue.db")


def test_the_example_of_the_page_runs(shop, writer):
    """J8: nothing but `json` and `sqlite3` wrote it."""
    writer.push(DOCUMENT, id=DOCUMENT["id"])

    worker = shop.work()

    assert worker.code == 0
    assert worker.said("sent") == [
        "sent 1 a@example.com 19.90 2026-01-31T12:00:00+00:00 Card(last_digits='4242')"
    ]
    assert worker.said("attempt 1") == [f"attempt 1 of {DOCUMENT['id']}"]
    assert (writer.count("envelopes"), writer.count("failed")) == (0, 0)


def test_the_same_id_written_twice_runs_once(shop, writer):
    for _ in range(2):
        writer.push(DOCUMENT, id=DOCUMENT["id"])

    assert len(shop.work().said("sent")) == 1


def test_a_name_with_arguments_runs(shop, writer):
    job = {**DOCUMENT, "id": "a1", "name": "import_rows", "event": "order.imported"}
    writer.push({**job, "version": 1, "payload": "args", "data": [17, "csv"]}, id="a1")

    assert shop.work().said("imported") == ["imported 17 csv"]


def test_a_wildcard_gets_the_name_and_the_payload(shop, writer):
    job = {**DOCUMENT, "id": "a2", "name": "audit", "event": "order.lost", "version": 1}
    job |= {"payload": "args", "data": [1, {"a": None}], "options": {"wildcard": True}}
    writer.push(job, id="a2")

    assert shop.work().said("audited") == ["audited order.lost (1, {'a': None})"]


def test_options_that_the_page_names_are_understood_and_others_refused(shop, writer):
    options = {
        "retry_until": "2999-01-01T00:00:00+01:00",
        "display_name": "A mail",
        "hops": 1,
        "trail": ["order.paid"],
    }
    writer.push({**DOCUMENT, "options": options}, id=DOCUMENT["id"])
    writer.push({**DOCUMENT, "id": "b1", "options": {**options, "a later one": [1]}}, id="b1")

    assert len(shop.work().said("sent")) == 1
    [failed] = shop.port.failed()
    assert (failed.envelope.id, "unknown options: a later one" in failed.error) == ("b1", True)


def test_a_document_under_another_id_is_not_run(shop, writer):
    """A2: else who has one document could have it run as often as he likes."""
    writer.push(DOCUMENT, id=DOCUMENT["id"])
    writer.push(DOCUMENT, id="again")

    assert len(shop.work().said("sent")) == 1
    [failed] = shop.port.failed()
    assert failed.envelope.id == "again"
    assert f"the document of another job, {DOCUMENT['id']}" in failed.error


def test_utf8_white_space_and_another_order_of_keys_are_fine(shop, writer):
    data = {**DOCUMENT["data"], "email": "grüße@example.com"}
    turned = dict(reversed({**DOCUMENT, "data": data}.items()))
    writer.push(
        None, id=DOCUMENT["id"], raw=json.dumps(turned, ensure_ascii=False, indent=4) + "\n"
    )

    assert "grüße@example.com" in shop.work(PYTHONIOENCODING="utf-8").said("sent")[0]


def test_a_document_that_breaks_the_page_fails_at_once_and_is_kept(shop, writer):
    """F34: the worker and the later jobs are unharmed."""
    broken = {**DOCUMENT, "id": "b1", "data": {**DOCUMENT["data"], "order_id": "1"}}
    writer.push(broken, id="b1")
    writer.push(DOCUMENT, id=DOCUMENT["id"])

    worker = shop.work()

    assert len(worker.said("sent")) == 1
    assert (writer.count("envelopes"), writer.count("failed")) == (0, 1)
    [failed] = shop.port.failed()
    assert (failed.envelope.id, json.loads(failed.envelope.body)) == ("b1", broken)
    assert "order.shipped.order_id: expected int, got str" in failed.error


def test_the_page_has_every_column_and_the_marks_of_the_file(writer):
    section = PAGE.split("\n## In SQLite\n")[1].split("\n```sql")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]

    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(
        writer.table()
    )
    owner, version = writer.marks()
    assert f"`PRAGMA application_id` is {owner} " in section
    assert f"`PRAGMA user_version` is **{version}**" in section
