"""`eventbus check` tells before a deploy which stored jobs today's code would not understand."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend
from eventbus.queue.codec.document import Document, write
from eventbus.queue.envelope import Envelope

LISTENERS = """
    from pathlib import Path

    from attrs import field, frozen
    from eventbus import Job, ShouldQueue, event, listens


    def checked(instance, attribute, value):
        print("built", value)
        if value == 13:
            raise SystemExit(7)
        if value < 0:
            raise ValueError("no such order")


    @event("order.shipped", version=2, upcast={1: lambda data: {"order_id": data["number"]}})
    @frozen
    class Shipped:
        order_id: int = field(validator=checked)


    class Process(Job, name="process"):
        number: int = field(validator=checked)

        def handle(self) -> None:
            Path("ran").touch()


    class Send(ShouldQueue):
        name = "send"
        aliases = ("notify",)

        def handle(self, event: Shipped) -> None:
            Path("ran").touch()

        def failed(self, event: Shipped, error: BaseException) -> None:
            Path("ran").touch()
"""


JOB = {"kind": "job", "name": "process", "event": None, "version": 1, "data": b'{"number":1}'}


def body(id, **fields):
    known = {
        "id": id,
        "kind": "listener",
        "name": "send",
        "event": "order.shipped",
        "version": 2,
        "payload": "class",
        "data": b'{"order_id":1}',
        "dispatched_at": datetime(2030, 1, 1, tzinfo=UTC),
    }
    return write(Document(**known | fields))


@pytest.fixture
def application(store, module, folder):
    module("listeners", LISTENERS)
    path = folder / "depot" / "app.py"
    source = path.read_text("utf-8")
    path.write_text(source.replace("EventBus(", 'EventBus(discover=["depot.listeners"],'), "utf-8")


@pytest.fixture
def put(application, store):
    """Store a job: its document's fields, or its bytes."""

    def put(id, *, raw=None, queue="emails", delay=0.0, port=store, **fields):
        stored = body(id, **fields) if raw is None else raw
        port.push([Envelope(id=id, queue=queue, body=stored, delay=delay)])

    return put


def problems(done):
    return json.loads(done.stdout)["problems"]


def test_what_would_run_is_fine(run, put, store, folder):
    put("a")
    put("b", version=1, data=b'{"number":1}')
    put("c", name="notify", delay=3_600)
    put("d")
    put("e", **JOB)
    store.claim(["emails"])

    done = run("check")

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.endswith("eventbus: 5 stored jobs, none of them would not run\n")
    assert not (folder / "ran").exists()


def test_nothing_stored_is_fine(run, application):
    assert run("check").exit_code == 0


def test_a_raw_job_is_for_whoever_claims_it(run, put):
    raw = body("a", kind="raw", event=None, payload="value", data=b"[17]")
    put("a", raw=raw)

    done = run("check")

    assert done.exit_code == 0
    assert done.stderr.endswith("eventbus: 1 stored job, none of them would not run\n")


def test_it_changes_nothing(run, put, store):
    put("a")
    put("b", name="gone")
    before = store.peek()

    run("check")

    assert store.peek() == before


TROUBLES = {
    "listener": ({"name": "gone"}, "no listener is called 'gone' here"),
    "event": ({"event": "order.lost"}, "no event is called 'order.lost' here"),
    "version": ({"version": 3}, "no version of event order.shipped is called '3' here"),
    "kind": ({"raw": body("a").replace(b'"listener"', b'"closure"')}, "no kind of job is called"),
    "wire version": ({"raw": body("a").replace(b'"v":1', b'"v":2')}, "no wire version is called"),
    "bytes": ({"raw": b"\xff\x1b[2J"}, "not UTF-8 at byte 0"),
    "field": ({"data": b'{"order":1}'}, "order.shipped.order_id: missing"),
    "type": ({"data": b'{"order_id":"1"}'}, "order.shipped.order_id: expected int, got str"),
    "upcast": ({"version": 1}, "the upcast from version 1 raised KeyError: 'number'"),
    "validator": ({"data": b'{"order_id":-1}'}, "does not take it: ValueError: no such order"),
    "exit": ({"data": b'{"order_id":13}'}, "SystemExit: 7"),
    "options": ({"options": {"hops": "x"}}, "its hops are no number"),
    "job": (JOB | {"name": "send"}, "no job is called 'send' here"),
    "field of a job": (JOB | {"data": b"{}"}, "process.number: missing"),
    "validator of a job": (JOB | {"data": b'{"number":-1}'}, "ValueError: no such order"),
    "registered": ({"event": "x", "payload": "args", "data": b"[]"}, "send does not listen to x"),
}


@pytest.mark.parametrize("fields, problem", TROUBLES.values(), ids=TROUBLES)
def test_what_would_not_run_is_told_with_the_reason(run, put, folder, fields, problem):
    put("a", **fields)
    put("good")

    done = run("check", "--json")

    assert done.exit_code == 1
    [found] = problems(done)
    assert problem in found["problem"]
    assert (found["waiting"], found["failed"], found["ids"]) == (1, 0, ["a"])
    assert done.stderr.endswith("eventbus: 2 stored jobs, 1 of them would not run\n")
    assert not (folder / "ran").exists()


def test_jobs_of_one_problem_are_counted_and_the_first_ids_told(run, put, fail):
    for number in range(5):
        put(f"w{number}", name="gone", delay=number + 1)
    fail("f", name="gone", version=2)

    [found] = problems(run("check", "--json"))

    assert found == {
        "connection": "default",
        "listener": "gone",
        "event": "order.shipped",
        "version": 2,
        "waiting": 5,
        "failed": 1,
        "ids": ["w0", "w1", "w2"],
        "problem": "no listener is called 'gone' here",
    }


def test_a_failed_job_is_tried_as_if_it_were_retried(run, application, fail):
    fail("good", name="send", version=2)
    fail("bad", name="gone")

    done = run("check", "--json")

    assert json.loads(done.stdout)["checked"] == 2
    assert [one["ids"] for one in problems(done)] == [["bad"]]


def test_the_table_is_for_eyes(run, put, hostile, hostile_shown):
    put("a", name=hostile)

    done = run("check")

    head, row = done.stdout.splitlines()
    assert head.split() == [
        *("CONNECTION", "LISTENER", "EVENT", "VERSION"), *("WAITING", "FAILED", "IDS", "PROBLEM"),
    ]  # fmt: skip
    assert hostile_shown in row
    assert done.exit_code == 1


def test_one_queue_can_be_checked(run, put, fail):
    put("a", name="gone", queue="slow")
    put("b", name="gone")
    fail("c", name="gone", queue="other")

    assert [one["ids"] for one in problems(run("check", "--json", "--queue", "slow"))] == [["a"]]
    assert [one["ids"] for one in problems(run("check", "--json", "--queue", "other"))] == [["c"]]


def test_every_connection_is_checked_or_one(run, put, clock):
    other = Port(SqliteBackend("other.db", clock=clock), name="other")
    put("a", name="gone")
    put("b", name="gone", port=other)
    other.close()

    both = problems(run("check", "--json"))
    one = problems(run("check", "--json", "--connection", "other"))

    assert [found["connection"] for found in both] == ["default", "other"]
    assert [found["ids"] for found in one] == [["b"]]


def test_problems_without_number_are_not_kept_without_number(run, put):
    for number in range(120):
        put(f"j{number:03}", name=f"gone{number}")

    found = problems(run("check", "--json"))

    assert len(found) == 101
    assert (found[-1]["problem"], found[-1]["waiting"]) == ("problems beyond those above", 20)


def test_what_constructors_print_is_no_data(run, put):
    put("a", name="gone")
    put("b")

    done = run("check", "--json")

    assert "built 1" in done.stderr
    assert len(problems(done)) == 1


@pytest.mark.parametrize("words", [["--queue", "a b"], ["--connection", "nowhere"]])
def test_a_name_that_cannot_be_is_a_misuse(run, application, words):
    assert run("check", *words).exit_code == 2


def test_listeners_that_cannot_be_loaded_end_it(run, application, module):
    module("listeners", "import nothing_of_this_name")

    assert run("check").exit_code == 3
