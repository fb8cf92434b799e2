"""`eventbus size`, `peek`, `cancel`, `clear`."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime

import pytest

from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend
from eventbus.queue.codec.document import Document, write
from eventbus.queue.envelope import Envelope, Member

A, B, C = "a" * 32, "a" * 8 + "b" * 24, "c" * 32


@pytest.fixture
def push(store):
    """Push a job, into the store of the application unless told otherwise."""

    def push(id, *, queue="emails", delay=0.0, body=None, port=store, **fields):
        document = {
            "id": id,
            "kind": "listener",
            "name": "depot.listeners:Send",
            "event": "order.shipped",
            "payload": "class",
            "data": b'{"order_id":1}',
            "dispatched_at": datetime(2030, 1, 1, tzinfo=UTC),
        }
        stored = write(Document(**document | fields)) if body is None else body
        port.push([Envelope(id=id, queue=queue, body=stored, delay=delay)])

    return push


@pytest.fixture
def three(push, store):
    """One job that runs, one that is delayed, one that is ready; two ids begin alike."""
    push(C)
    store.claim(["emails"])
    push(A, delay=60)
    push(B, queue="reports", event="order.returned")


@pytest.fixture
def stored_ids(store):
    return lambda: sorted(one.envelope.id for one in store.each_stored())


@pytest.fixture
def other(store, clock):
    port = Port(SqliteBackend("other.db", clock=clock), name="other")
    yield port
    port.close()


# size


def test_the_size_of_every_queue_in_which_something_lies(run, three, fail, store):
    """Q19."""
    fail("f" * 32, queue="old")
    store.pause(["reports", "resting"])

    result = run("size")

    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["CONNECTION", "QUEUE", "READY", "DELAYED", "LEASED", "FAILED", "HELD", "PAUSED"],
        ["default", "emails", "0", "1", "1", "0", "0", "no"],
        ["default", "old", "0", "0", "0", "1", "0", "no"],
        ["default", "reports", "1", "0", "0", "0", "0", "yes"],
        ["default", "resting", "0", "0", "0", "0", "0", "yes"],
    ]


def test_the_size_as_json(run, three, store):
    store.pause(["*"])

    assert json.loads(run("size", "reports", "--connection", "default", "--json").stdout) == [
        {
            "connection": "default",
            "queue": "reports",
            "ready": 1,
            "delayed": 0,
            "leased": 0,
            "failed": 0,
            "held": 0,
            "paused": True,
        }
    ]


def test_what_waits_for_its_turn_is_counted_shown_and_cleared(run, store):
    follows = Member(next=("emails", "b" * 32))
    store.push(
        [
            Envelope(id="a" * 32, queue="emails", body=b"{}", member=follows),
            Envelope(id="b" * 32, queue="emails", body=b"{}", member=Member(held=True)),
        ]
    )

    sizes = run("size").stdout.splitlines()[1].split()
    [held] = json.loads(run("peek", "--state", "held", "--json").stdout)
    shown = run("peek", "--state", "held").stdout.splitlines()[1].split()
    cleared = run("clear", "emails", "--yes")

    assert sizes == ["default", "emails", "1", "0", "0", "0", "1", "no"]
    assert (held["id"], held["state"], held["due"]) == ("b" * 32, "held", None)
    assert shown[3:5] == ["held", "-"]
    assert cleared.stdout == "default emails 2\n"


def test_the_size_of_nothing_is_said_and_not_printed(run, store):
    result = run("size")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "eventbus: nothing lies in any queue\n"
    assert json.loads(run("size", "--json").stdout) == []


def test_a_pause_of_all_queues_is_shown_though_nothing_lies_in_any(run, store):
    """K16."""
    store.pause(["*"])

    result = run("size")

    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["default", "*", *"00000", "yes"]
    ]
    [shown] = json.loads(run("size", "--json").stdout)
    assert (shown["queue"], shown["paused"]) == ("*", True)


def test_a_pause_of_all_queues_stands_beside_them_and_not_beside_those_that_were_named(
    run, three, store
):
    store.pause(["*"])

    lines = [line.split() for line in run("size").stdout.splitlines()[1:]]

    assert [(line[1], line[-1]) for line in lines] == [
        ("*", "yes"), ("emails", "yes"), ("reports", "yes"),
    ]  # fmt: skip
    assert "*" not in run("size", "reports", "--connection", "default").stdout


def test_a_queue_that_was_named_has_a_size_though_nothing_lies_in_it(run, store):
    result = run("size", "emails", "emails", "--connection", "default")

    assert len(result.stdout.splitlines()) == 2
    assert result.stdout.splitlines()[1].split() == ["default", "emails", *"00000", "no"]


@pytest.mark.parametrize("most, code", [("1", 1), ("2", 0)])
def test_a_queue_that_is_too_long_is_exit_code_1(run, three, most, code):
    """Q11: of what is ready; what is delayed is not late."""
    result = run("size", "--max", most)

    assert result.exit_code == code
    assert ("1 jobs are ready in reports of default" in result.stderr) == bool(code)
    assert "reports" in result.stdout


def test_a_queue_that_somebody_called_otherwise_is_told_of(run, three, store, folder, hostile):
    """A5: a name in the file that no push could have given."""
    store.close()
    with sqlite3.connect(folder / "queue.db") as db:
        db.execute("UPDATE envelopes SET queue = ? WHERE id = ?", (hostile, A))
    db.close()

    result = run("size")

    assert result.exit_code == 0
    assert "can be no queue's name" in result.stderr
    assert "reports" in result.stdout
    assert not [one for one in result.output if not one.isprintable() and one != "\n"]


@pytest.mark.parametrize("command", ["size", "peek", "clear"])
def test_a_name_that_no_queue_can_have_is_a_wrong_use(run, store, command):
    result = run(command, "e mails")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "queue" in result.stderr


# peek


def test_peek_shows_what_waits_and_runs(run, three):
    """Q19."""
    result = run("peek")

    assert result.exit_code == 0
    head, *rows = [line.split() for line in result.stdout.splitlines()]
    assert head == [
        *("ID", "CONNECTION", "QUEUE", "STATE", "DUE", "ATTEMPTS", "LOSSES", "RELEASES"),
        *("LISTENER", "EVENT", "PARKED"),
    ]
    assert sorted(rows) == [
        [A, "default", "emails", "delayed", "2030-01-02T03:05:05Z", "0", "0", "0",
         "depot.listeners:Send", "order.shipped", "-"],
        [B, "default", "reports", "ready", "2030-01-02T03:04:05Z", "0", "0", "0",
         "depot.listeners:Send", "order.returned", "-"],
        [C, "default", "emails", "leased", "2030-01-02T03:05:05Z", "0", "0", "0",
         "depot.listeners:Send", "order.shipped", "-"],
    ]  # fmt: skip


def test_instants_of_tables_may_be_of_another_time_zone(run, push):
    """Q21: those of JSON stay in UTC."""
    push(A)

    assert "2030-01-02T04:04:05+01:00" in run("--tz", "Europe/Warsaw", "peek").stdout
    told = json.loads(run("--tz", "Europe/Warsaw", "peek", "--json").stdout)
    assert told[0]["due"] == "2030-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    "zone", ["Europe/Nowhere", "", "../../etc/passwd", "/etc/passwd", "\x00", "Europe"]
)
def test_a_time_zone_that_does_not_exist_is_a_wrong_use(run, store, zone):
    result = run("--tz", zone, "peek")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "expected a time zone such as Europe/Lisbon" in result.stderr


def test_peek_changes_nothing(run, three, store):
    before = list(store.each_stored())

    run("peek", "--data")

    assert list(store.each_stored()) == before


@pytest.mark.parametrize(
    "options, ids",
    [
        (["reports"], [B]),
        (["--state", "delayed"], [A]),
        (["--state", "leased", "emails"], [C]),
        (["--state", "ready", "emails"], []),
        (["--connection", "other"], []),
        (["--parked"], []),
    ],
)
def test_peek_at_some(run, three, options, ids):
    assert [one["id"] for one in json.loads(run("peek", "--json", *options).stdout)] == ids


def test_peek_at_parked_jobs_tells_why(run, three, store, clock):
    clock.advance(1)
    [claim] = store.claim(["reports"])
    store.release(claim, delay=30, parked="no listener is called 'x' here")

    result = run("peek", "--parked")

    [job] = json.loads(run("peek", "--parked", "--json").stdout)
    assert (job["id"], job["parked"]) == (B, "no listener is called 'x' here")
    assert "no listener is called 'x' here" in result.stdout


def test_peek_shows_so_many_and_tells_that_there_are_more(run, three):
    result = run("peek", "--limit", "2")

    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "eventbus: there are more than 2; --limit shows more\n"


@pytest.mark.parametrize(
    "options, said", [([], "no jobs wait or run"), (["--parked"], "no such jobs")]
)
def test_peek_at_nothing_is_said_and_not_printed(run, store, options, said):
    result = run("peek", *options)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"eventbus: {said}\n"


def test_the_data_of_a_job_is_shown_only_when_asked_for(run, push):
    push(A, data=b'{"card":"4111"}')

    assert "4111" not in run("peek").output + run("peek", "--json").output
    assert "4111" in run("peek", "--data").stdout
    [job] = json.loads(run("peek", "--json", "--data").stdout)
    assert (job["data"], job["unreadable"], job["body"]) == ({"card": "4111"}, None, None)


def test_a_body_that_is_no_job_is_shown_all_the_same(run, push):
    push(A, body=b"\x1b[2J\xff not a job")

    assert run("peek").stdout.splitlines()[1].split()[-3:] == ["-", "-", "-"]
    shown = run("peek", "--data")
    assert r"\x1b[2J\xff not a job" in shown.stdout
    assert "the stored bytes were rejected" in shown.stderr


def test_hostile_text_reaches_no_terminal(run, push, store, hostile, hostile_shown):
    """A5: names and reasons come out of a store that others write to."""
    push(A, name=hostile, event=hostile, data=json.dumps({"note": hostile}).encode())
    [claim] = store.claim(["emails"])
    store.release(claim, parked=hostile)

    for arguments in [("peek",), ("peek", "--data"), ("peek", "--json", "--data")]:
        shown = run(*arguments).stdout
        assert not [one for one in shown if not one.isprintable() and one != "\n"]
        assert not any(line.startswith("attempts 0") for line in shown.splitlines())
    assert hostile_shown in run("peek").stdout


# cancel


def test_cancel_deletes_what_waits_and_prints_the_ids(run, three, stored_ids):
    """Q20: delayed jobs too."""
    result = run("cancel", A, "aaaaaaaabb", "--yes")

    assert (result.exit_code, sorted(result.stdout.split())) == (0, [A, B])
    assert result.stderr == "eventbus: 2 waiting jobs deleted\n"
    assert stored_ids() == [C]


def test_a_job_that_runs_is_not_cancelled(run, three, stored_ids):
    result = run("cancel", C, B, "--yes")

    assert (result.exit_code, result.stdout.split()) == (1, [B])
    assert f"eventbus: job {C} runs now, and was left alone" in result.stderr
    assert stored_ids() == [A, C]


@pytest.mark.parametrize(
    "id, said",
    [
        ("aaaaaa", "eventbus: 2 waiting jobs have ids that begin or end with 'aaaaaa': write more"),
        ("ddddddd", "eventbus: no waiting job 'ddddddd', `eventbus peek` lists them"),
        (
            "ccccc",
            "eventbus: no waiting job 'ccccc', `eventbus peek` lists them; write at least 6 characters",
        ),
    ],
)
def test_an_id_that_is_no_job_is_exit_code_1(run, three, stored_ids, id, said):
    result = run("cancel", id, "--yes")

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr.splitlines()
    assert stored_ids() == [A, B, C]


def test_a_job_that_a_worker_takes_meanwhile_is_told_of(run, three, stored_ids, bus, monkeypatch):
    store = bus.connections.port("default")
    monkeypatch.setattr(type(store), "cancel", lambda *_: [])

    result = run("cancel", B, "--yes")

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"job {B} was begun meanwhile, and left alone" in result.stderr


@pytest.fixture
def chain(store):
    """Two jobs, one behind the other; the second is held."""
    first = Envelope(id=A, queue="emails", body=b"{}", member=Member(next=("emails", C)))
    second = Envelope(id=C, queue="emails", body=b"{}", member=Member(held=True))
    store.plans.open([], [first, second])


@pytest.mark.parametrize("ids", [(A, C), (C, A)])
def test_the_members_of_a_chain_are_all_gone_whichever_goes_first(run, chain, stored_ids, ids):
    result = run("cancel", *ids, "--yes")

    assert (result.exit_code, sorted(result.stdout.split())) == (0, [A, C])
    assert result.stderr == "eventbus: 2 waiting jobs deleted\n"
    assert stored_ids() == []


def test_a_held_job_whose_turn_comes_meanwhile_is_told_of(run, chain, bus, monkeypatch):
    monkeypatch.setattr(type(bus.connections.port("default")), "cancel", lambda *_: [])

    result = run("cancel", C, "--yes")

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"job {C} was begun meanwhile, and left alone" in result.stderr


def test_jobs_of_several_connections_are_found(run, push, other, stored_ids):
    push(A)
    push("d" * 32, port=other)

    assert run("cancel", A, "dddddd", "--yes").exit_code == 0
    assert (stored_ids(), list(other.each_stored())) == ([], [])


# clear


def test_clear_deletes_what_waits_in_queues(run, three, fail, store, stored_ids):
    """Q10: what runs and what failed is left alone."""
    fail("f" * 32, queue="reports")

    result = run("clear", "emails", "reports", "--yes")

    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        ["default emails 1", "default reports 1"],
    )
    assert result.stderr == "eventbus: 2 waiting jobs deleted\n"
    assert stored_ids() == [C]
    assert len(store.failed()) == 1


def test_clear_of_one_connection(run, push, other, stored_ids):
    push(A)
    push(A, port=other)

    run("clear", "emails", "--connection", "other", "--yes")

    assert (stored_ids(), list(other.each_stored())) == ([A], [])


def test_clear_needs_names(run, store):
    assert run("clear", "--yes").exit_code == 2


def test_clear_of_nothing(run, three):
    result = run("clear", "invoices", "--yes")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "eventbus: nothing waits there\n"


# What both ask.

DELETING = [["cancel", B], ["clear", "reports"], ["flush"]]


@pytest.mark.parametrize("command", DELETING)
def test_nothing_is_deleted_where_nobody_can_be_asked(run, three, stored_ids, command):
    result = run(*command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "add --yes" in result.stderr
    assert stored_ids() == [A, B, C]


@pytest.mark.parametrize("command", DELETING)
def test_a_dry_run_tells_what_would_go_and_deletes_nothing(
    run, three, fail, stored_ids, failed_ids, command
):
    fail("f" * 32)

    result = run(*command, "--dry-run")

    assert result.exit_code == 0
    assert result.stderr == "eventbus: nothing was deleted: this was a dry run\n"
    assert result.stdout in {f"{B}\n", "default reports 1\n", f"{'f' * 32}\n"}
    assert (stored_ids(), failed_ids()) == ([A, B, C], ["f" * 32])


@pytest.mark.parametrize("command", DELETING[:2])
@pytest.mark.parametrize("types, left", [("y\n", [A, C]), ("n\n", [A, B, C]), ("\n", [A, B, C])])
def test_at_a_terminal_they_ask(at_a_terminal, three, stored_ids, capsys, command, types, left):
    code = at_a_terminal(*command, types=types)

    told = capsys.readouterr()
    assert "Delete 1 waiting job for good" in told.err
    assert code == (0 if left == [A, C] else 1)
    assert stored_ids() == left
