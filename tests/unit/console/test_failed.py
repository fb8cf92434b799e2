"""`eventbus failed`, `retry`, `forget`, `flush`."""

from __future__ import annotations

import json
from weakref import ref

import pytest

from eventbus.backends.base import Charge
from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend
from eventbus.defaults import PEEK_LIMIT
from eventbus.queue.envelope import Envelope

A, B, C = "a" * 32, "a" * 8 + "b" * 24, "c" * 32


@pytest.fixture
def three(fail, clock):
    """Three failed jobs, a minute between them; the first two ids begin alike."""
    fail(A)
    clock.advance(60)
    fail(B, queue="reports", event="order.returned")
    clock.advance(60)
    fail(C)


def test_no_failed_jobs_is_said_and_not_printed(run, store):
    result = run("failed")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "eventbus: no failed jobs\n"
    assert json.loads(run("failed", "--json").stdout) == []


@pytest.fixture
def kept(monkeypatch):
    """How many failed jobs were in memory whenever a page of them was asked for."""
    seen, kept = [], []
    sound = Port.failed

    def failed(self, **more):
        kept.append(sum(one() is not None for one in seen))
        page = sound(self, **more)
        seen.extend(map(ref, page))
        return page

    monkeypatch.setattr(Port, "failed", failed)
    return kept


@pytest.mark.parametrize(
    "command", [["failed"], ["failed", "--json"], ["failed", "x" * 9], ["check"]]
)
def test_of_many_failed_jobs_a_page_is_in_memory_at_a_time(run, fail, kept, command):
    ids = [f"{number:032}" for number in range(PEEK_LIMIT * 3 + 1)]
    for one in ids:
        fail(one)

    result = run(*command)

    assert len(kept) > 3
    assert max(kept) <= PEEK_LIMIT
    if command == ["failed", "--json"]:
        assert [one["id"] for one in json.loads(result.stdout)] == ids
        assert result.stdout == json.dumps(json.loads(result.stdout), indent=2) + "\n"


@pytest.mark.parametrize("command", [["retry", "--all"], ["flush", "--yes"]])
def test_many_failed_jobs_are_acted_on_without_their_bytes(run, fail, kept, failed_ids, command):
    ids = [f"{number:032}" for number in range(PEEK_LIMIT * 2 + 1)]
    for one in ids:
        fail(one)

    assert run(*command).stdout.split() == ids

    assert max(kept) <= PEEK_LIMIT
    assert failed_ids() == []


@pytest.fixture
def park(store):
    """Let a job wait for code that knows it."""

    def park(id, reason="no listener is called 'depot:Newer' here"):
        store.push([Envelope(id=id, queue="emails", body=b"{}")])
        [claim] = store.claim(["emails"])
        store.release(claim, delay=30, charge=Charge.NOTHING, parked=reason)

    return park


def test_jobs_that_wait_for_code_that_knows_them_have_a_section_of_their_own(run, three, park):
    park("d" * 32)

    lines = run("failed").stdout.splitlines()

    assert [line.split("  ")[0] for line in lines] == [
        "ID", A, B, C, "", "waiting for code that knows it", "ID", "d" * 32,
    ]  # fmt: skip
    assert lines[-1].endswith(
        "emails  2030-01-02T03:06:35Z  no listener is called 'depot:Newer' here"
    )


def test_jobs_that_wait_for_code_are_listed_where_none_has_failed(run, park):
    park("d" * 32, reason="torn\r\nand red \x1b[31m")

    result = run("failed")

    assert result.stderr == "eventbus: no failed jobs\n"
    heads, _, row = result.stdout.splitlines()
    assert heads == "waiting for code that knows it"
    assert row.endswith(r"torn\r\nand red \x1b[31m")
    assert json.loads(run("failed", "--json").stdout) == []
    assert run("failed", "--queue", "other").stdout == ""


def test_failed_jobs_are_listed_the_oldest_failure_first(run, three):
    lines = run("failed").stdout.splitlines()

    assert [line.split("  ")[0] for line in lines] == ["ID", A, B, C]
    assert [line[32:76] for line in lines] == [
        "  LISTENER              EVENT           CONN",
        "  depot.listeners:Send  order.shipped   defa",
        "  depot.listeners:Send  order.returned  defa",
        "  depot.listeners:Send  order.shipped   defa",
    ]
    assert [line[72:] for line in lines] == [
        "CONNECTION  QUEUE    ATTEMPTS  LOSSES  FAILED AT             REASON",
        "default     emails   1         0       2030-01-02T03:04:05Z  ValueError: no such address",
        "default     reports  1         0       2030-01-02T03:05:05Z  ValueError: no such address",
        "default     emails   1         0       2030-01-02T03:06:05Z  ValueError: no such address",
    ]


def test_the_list_as_json(run, fail):
    fail(A)

    assert json.loads(run("failed", "--json").stdout) == [
        {
            "id": A,
            "listener": "depot.listeners:Send",
            "event": "order.shipped",
            "connection": "default",
            "queue": "emails",
            "batch": "",
            "attempts": 1,
            "losses": 0,
            "pushed_at": "2030-01-02T03:04:05+00:00",
            "failed_at": "2030-01-02T03:04:05+00:00",
            "reason": "ValueError: no such address",
        }
    ]


@pytest.mark.parametrize(
    "options, ids",
    [
        (["--queue", "reports"], [B]),
        (["--connection", "default"], [A, B, C]),
        (["--connection", "other"], []),
        (["--connection", "default", "--queue", "emails"], [A, C]),
    ],
)
def test_the_list_of_a_connection_and_queue(run, three, options, ids):
    listed = json.loads(run("failed", "--json", *options).stdout)

    assert [one["id"] for one in listed] == ids


@pytest.mark.parametrize("command", [["failed"], ["retry", "--all"], ["flush", "--yes"]])
@pytest.mark.parametrize(
    "options, said",
    [
        (["--connection", "dfault"], "no connection is called 'dfault', did you mean 'default'?"),
        (["--connection", "now"], "connection"),
        (["--connection", "void"], "null:// does not support failed_jobs"),
        (["--queue", "e mails"], "queue"),
    ],
)
def test_a_connection_or_queue_that_cannot_be_is_a_wrong_use(run, store, command, options, said):
    result = run(*command, *options)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_one_job_is_shown_whole(run, fail):
    fail(A, data='{"order_id":1,"email":"ż@example.com"}'.encode())

    assert run("failed", A).stdout.splitlines() == [
        f"id          {A}",
        "listener    depot.listeners:Send",
        "event       order.shipped",
        "connection  default",
        "queue       emails",
        "attempts    1",
        "losses      0",
        "pushed at   2030-01-02T03:04:05+00:00",
        "failed at   2030-01-02T03:04:05+00:00",
        "reason      ValueError: no such address",
        "error",
        "  Traceback (most recent call last):",
        "    ...",
        "  ValueError: no such address",
        "data",
        "  {",
        '    "order_id": 1,',
        '    "email": "ż@example.com"',
        "  }",
    ]


def test_one_job_as_json(run, fail):
    fail(A)

    shown = json.loads(run("failed", "--json", A).stdout)

    assert shown == json.loads(run("failed", "--json").stdout)[0] | {
        "error": "Traceback (most recent call last):\n  ...\nValueError: no such address\n",
        "data": {"order_id": 1},
        "unreadable": None,
        "body": None,
        "body_size": shown["body_size"],
    }


def test_a_body_that_is_no_job_is_shown_as_text(run, fail):
    fail(A, body=b"\x1b[2J\xff not a job")

    result = run("failed", A)

    assert result.stdout.splitlines()[1:3] == ["listener    -", "event       -"]
    assert result.stdout.splitlines()[-2:] == [
        "body (15 bytes)",
        r"  \x1b[2J\xff not a job",
    ]
    assert result.stderr.startswith("eventbus: the stored bytes were rejected")
    shown = json.loads(run("failed", "--json", A).stdout)
    assert (shown["data"], shown["body"]) == (None, "\x1b[2J\\xff not a job")
    assert shown["unreadable"].startswith("the stored bytes were rejected")


def test_of_a_long_body_that_is_no_job_the_head_is_shown(run, fail):
    """F34: all of it only for who asks."""
    fail(A, body=b"x" * 100_000)

    result = run("failed", A)

    assert result.stdout.splitlines()[-2:] == ["body (100,000 bytes)", "  " + "x" * 4_096]
    assert "the first 4,096 of its bytes" in result.stderr
    assert json.loads(run("failed", "--json", A).stdout)["body_size"] == 100_000
    whole = run("failed", "--body", A)
    assert whole.stdout.splitlines()[-1] == "  " + "x" * 100_000
    assert "the first" not in whole.stderr


@pytest.mark.parametrize("command", ["failed", "retry", "forget"])
def test_a_whole_id_is_asked_for_alone(run, three, monkeypatch, command):
    """A console need not hold all failed jobs for one of them."""
    asked = []
    sound = Port.failed

    def failed(self, **more):
        asked.append(more["ids"])
        return sound(self, **more)

    monkeypatch.setattr(Port, "failed", failed)

    assert run(command, A).exit_code == 0
    assert {tuple(ids) for ids in asked} == {(A,)}  # of each connection


def test_hostile_text_reaches_no_terminal(run, fail, hostile, hostile_shown):
    data = json.dumps({"note": hostile}, ensure_ascii=False).encode()
    fail(A, name=hostile, event=hostile, error=f"ValueError: x\n  {hostile}", data=data)

    for arguments in [("failed",), ("failed", A), ("failed", "--json"), ("failed", "--json", A)]:
        shown = run(*arguments).stdout

        assert "".join(one for one in shown if not one.isprintable() and one != "\n") == ""
        assert not any(line.startswith("attempts 0") for line in shown.splitlines())
    assert hostile_shown in run("failed").stdout
    assert json.loads(run("failed", "--json").stdout)[0]["listener"] == hostile


def test_a_name_as_long_as_a_document_leaves_the_list_a_table(run, fail):
    fail(A, name="n" * 5_000, error="ValueError: " + "m" * 5_000)

    assert max(map(len, run("failed").stdout.splitlines())) < 500
    assert "m" * 5_000 in run("failed", A).stdout


@pytest.mark.parametrize("part", [C, "cccccc", C[:-1]])
def test_an_id_may_be_how_it_begins(run, three, part):
    assert json.loads(run("failed", "--json", part).stdout)["id"] == C


def test_an_id_may_be_how_it_ends(run, fail):
    """Ids begin with the time: those of one day begin alike."""
    fail("01a2025c8cd5000000111111")
    fail("01a2025c8cd5000000222222")

    assert json.loads(run("failed", "--json", "222222").stdout)["id"].endswith("222222")


def test_a_whole_id_is_not_mistaken_for_the_beginning_of_another(run, fail):
    fail("job-123")
    fail("job-1234")

    assert json.loads(run("failed", "--json", "job-123").stdout)["id"] == "job-123"


@pytest.mark.parametrize(
    "id, said",
    [
        ("aaaaaa", "eventbus: 2 failed jobs have ids that begin or end with 'aaaaaa': write more"),
        ("ddddddd", "eventbus: no failed job 'ddddddd', `eventbus failed` lists them"),
        (
            "ccccc",
            "eventbus: no failed job 'ccccc', `eventbus failed` lists them; write at least 6 characters",
        ),
    ],
)
@pytest.mark.parametrize("command", ["failed", "retry", "forget"])
def test_an_id_that_is_no_job_is_exit_code_1(run, three, failed_ids, command, id, said):
    result = run(command, id)

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr.splitlines()
    assert failed_ids() == [A, B, C]


def test_retry_puts_jobs_back_and_prints_their_ids(run, three, store, failed_ids):
    result = run("retry", A, "cccccc", A)

    assert (result.exit_code, result.stdout.split()) == (0, [A, C])
    assert result.stderr == "eventbus: 2 failed jobs back in the queue\n"
    assert failed_ids() == [B]
    assert [one.attempts for one in store.claim(["emails"], limit=5)] == [0, 0]


def test_retry_does_the_others_all_the_same(run, three, failed_ids):
    result = run("retry", A, "unknown", C)

    assert (result.exit_code, result.stdout.split()) == (1, [A, C])
    assert "eventbus: no failed job 'unknown'" in result.stderr
    assert failed_ids() == [B]


@pytest.mark.parametrize(
    "options, left",
    [
        ([], []),
        (["--queue", "emails"], [B]),
        (["--connection", "other"], [A, B, C]),
        (["--connection", "default", "--queue", "reports"], [A, C]),
    ],
)
def test_retry_all_of_a_connection_and_queue(run, three, failed_ids, options, left):
    assert run("retry", "--all", *options).exit_code == 0
    assert failed_ids() == left


@pytest.mark.parametrize("arguments", [[], ["--all", A]])
def test_retry_takes_ids_or_all(run, three, failed_ids, arguments):
    result = run("retry", *arguments)

    assert result.exit_code == 2
    assert "Write their ids, or --all" in result.stderr
    assert len(failed_ids()) == 3


def test_forget_deletes_and_prints_the_ids(run, three, store, failed_ids):
    result = run("forget", A, "unknown")

    assert (result.exit_code, result.stdout.split()) == (1, [A])
    assert "eventbus: 1 failed job deleted" in result.stderr
    assert failed_ids() == [B, C]
    assert store.size("emails").ready == 0


def test_forget_needs_an_id(run, store):
    assert run("forget").exit_code == 2


def test_jobs_of_several_connections_are_found(run, three, failed_ids, fail, clock):
    other = Port(SqliteBackend("other.db", clock=clock), name="other")
    fail("d" * 32, port=other)

    assert run("retry", "dddddd", A).exit_code == 0
    assert (other.failed(), failed_ids()) == ([], [B, C])
    other.close()


def test_one_id_on_two_connections_is_done_on_both(run, fail, failed_ids, clock):
    other = Port(SqliteBackend("other.db", clock=clock), name="other")
    fail(A)
    fail(A, port=other)

    assert run("forget", A[:10]).exit_code == 0
    assert (other.failed(), failed_ids()) == ([], [])
    other.close()


def test_a_job_that_somebody_else_takes_meanwhile_is_unknown(run, three, bus, monkeypatch):
    """The list is read, then the jobs are moved: another operator may be quicker with one."""
    read = type(bus.failed).all

    def slowly(self, **options):
        jobs = read(self, **options)
        bus.connections.port("default").purge([B])
        return jobs

    monkeypatch.setattr(type(bus.failed), "all", slowly)

    result = run("forget", A, B, C)

    assert (result.exit_code, result.stdout.split()) == (1, [A, C])
    assert B in result.stderr


def test_flush_deletes_all(run, three, failed_ids):
    result = run("flush", "--yes")

    assert (result.exit_code, result.stdout.split()) == (0, [A, B, C])
    assert result.stderr == "eventbus: 3 failed jobs deleted\n"
    assert failed_ids() == []


@pytest.mark.parametrize(
    "options, left",
    [
        (["--queue", "reports"], [A, C]),
        (["--connection", "other"], [A, B, C]),
        (["--older-than", "3599"], [B, C]),
        (["--older-than", "3600"], [A, B, C]),
        (["--older-than", "0"], []),
    ],
)
def test_flush_some(run, three, bus, failed_ids, options, left):
    """An hour after the first of them failed, by the clock of the application."""
    bus.connections.clock.advance(3600)

    assert run("flush", "--yes", *options).exit_code == 0
    assert failed_ids() == left


@pytest.mark.parametrize("older_than", ["-1", "soon", "nan", "inf", "1e300"])
def test_an_age_is_a_number_of_seconds(run, three, failed_ids, older_than):
    assert run("flush", "--yes", "--older-than", older_than).exit_code == 2
    assert len(failed_ids()) == 3


def test_an_age_is_judged_by_the_clock_of_the_machine_where_the_bus_has_none(
    run, store, module, fail
):
    """What failed in 2030, by the clock of the store, is in the future."""
    module(
        "app",
        """
        from eventbus import EventBus

        bus = EventBus(connections={"default": "sqlite:///queue.db"})
        """,
    )
    fail(A)

    result = run("flush", "--yes", "--older-than", "0")

    assert (result.exit_code, result.stderr) == (0, "eventbus: no failed jobs\n")


def test_flush_refuses_where_nobody_can_be_asked(run, three, failed_ids):
    result = run("flush")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "add --yes" in result.stderr
    assert len(failed_ids()) == 3


def test_flush_tells_how_many_and_asks(at_a_terminal, three, failed_ids, capsys):
    code = at_a_terminal("flush", "--queue", "emails", types="y\n")

    told = capsys.readouterr()
    assert code == 0
    assert "Delete 2 failed jobs for good? [y/N]" in told.err
    assert told.out.split() == [A, C]
    assert failed_ids() == [B]


@pytest.mark.parametrize("types, said", [("n\n", "nothing was deleted"), ("\n", "nothing was deleted"),
                                         ("\x04", "interrupted")])  # fmt: skip
def test_flush_deletes_nothing_unless_told_to(
    at_a_terminal, three, failed_ids, capsys, types, said
):
    code = at_a_terminal("flush", types=types)

    told = capsys.readouterr()
    assert (code, told.out.strip()) == (1, "")
    assert told.err.endswith(f"eventbus: {said}\n")
    assert len(failed_ids()) == 3


def test_what_fails_while_the_question_stands_there_is_kept(
    three, fail, failed_ids, bus, at_a_terminal, monkeypatch
):
    """Only what was counted is deleted."""
    monkeypatch.setattr("click.confirm", lambda *_, **__: fail("e" * 32) is None)

    assert at_a_terminal("flush", types="") == 0
    assert failed_ids() == ["e" * 32]
