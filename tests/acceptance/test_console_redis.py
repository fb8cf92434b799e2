"""Each `eventbus` command, for real, on an application whose queue is in Redis, beside real workers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Each starts several programs, one after the other.
pytestmark = pytest.mark.timeout(120)

CONSOLE = "from eventbus.console.command import main; main()"

SHIPPING = """
@listens(queue="emails")
def ship(event: Ordered):
    say(f"ships {event.number}")
    if event.way == "gate":
        pass_gate()
    if event.way == "fail" and not os.path.exists("mended"):
        raise ConnectionError("no way there")
    say(f"shipped {event.number}")

bus.listen(ship)
"""
EMAILS = ("--queue", "emails")


@pytest.fixture
def shipping(shop_on_redis):
    shop_on_redis.write(SHIPPING)
    return shop_on_redis


@pytest.fixture
def console(shipping):
    """Run `eventbus` on the shop."""

    def console(*arguments):
        return subprocess.run(
            [sys.executable, "-c", CONSOLE, "--app", "shop:bus", *arguments],
            cwd=shipping.folder,
            env=shipping.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=25,
            check=False,
        )

    return console


@pytest.fixture
def told(console):
    """What a command prints as JSON."""

    def told(*arguments):
        done = console(*arguments, "--json")
        assert done.returncode in {0, 1}, done.stderr
        return json.loads(done.stdout)

    return told


@pytest.fixture
def failed(shipping, told):
    """Let jobs fail; return their ids, the oldest first."""

    def failed(many):
        for number in range(many):
            shipping.dispatch(number, "fail")
        assert shipping.work(*EMAILS).code == 0
        return [one["id"] for one in told("failed")]

    return failed


def test_size_counts_the_jobs_of_each_state(shipping, console, told, failed):
    failed(1)
    shipping.gate()
    worker = shipping.start(*EMAILS, "--batch", "1")
    shipping.dispatch(1, "gate")
    worker.await_line("ships 1")
    shipping.dispatch(2)

    [line] = told("size")

    assert line == {
        "connection": "default",
        "queue": "emails",
        "ready": 1,
        "delayed": 0,
        "leased": 1,
        "failed": 1,
        "held": 0,
        "paused": False,
    }
    assert console("size", "--max", "1").returncode == 1
    shipping.open_gate()
    worker.await_line("shipped 2")
    assert worker.stop() == 0
    assert told("size") == [{**line, "ready": 0, "leased": 0}]


def test_peek_shows_what_waits_and_changes_nothing(shipping, told):
    for number in range(150):
        shipping.dispatch(number)

    jobs = told("peek", "emails", "--data", "--limit", "200")

    assert [one["data"]["number"] for one in jobs] == list(range(150))
    assert {(one["state"], one["listener"]) for one in jobs} == {("ready", "shop:ship")}
    assert told("peek", "--data", "--limit", "200") == jobs


def test_failed_tells_why(told, console, failed):
    [job] = failed(1)

    [listed] = told("failed", "--queue", "emails")
    whole = told("failed", job[-6:])

    assert listed["reason"] == "ConnectionError: no way there"
    assert (whole["attempts"], whole["losses"], whole["data"]["way"]) == (1, 0, "fail")
    assert "Traceback" in whole["error"]
    assert "no way there" in console("failed").stdout


def test_retry_puts_a_failed_job_back(shipping, console, told, failed):
    first, second = failed(2)
    (shipping.folder / "mended").touch()

    assert console("retry", first).stdout.split() == [first]
    assert shipping.work(*EMAILS).said("shipped") == ["shipped 0"]
    assert [one["id"] for one in told("failed")] == [second]
    assert console("retry", "--all").stdout.split() == [second]
    assert shipping.work(*EMAILS).said("shipped") == ["shipped 1"]
    assert told("size") == []


def test_forget_deletes_one_failed_job(console, told, failed):
    first, second = failed(2)

    assert console("forget", first).stdout.split() == [first]
    assert [one["id"] for one in told("failed")] == [second]
    assert console("forget", first).returncode == 1


def test_flush_deletes_all_failed_jobs(console, told, failed):
    ids = failed(3)

    assert console("flush").returncode == 2
    assert sorted(console("flush", "--yes").stdout.split()) == sorted(ids)
    assert told("size") == []


def test_cancel_deletes_what_waits_and_leaves_what_runs(shipping, console, told):
    shipping.gate()
    worker = shipping.start(*EMAILS, "--batch", "1")
    shipping.dispatch(1, "gate")
    worker.await_line("ships 1")
    shipping.dispatch(2)
    jobs = {one["data"]["number"]: one["id"] for one in told("peek", "--data")}

    done = console("cancel", jobs[1], jobs[2], "--yes")

    assert (done.returncode, done.stdout.split()) == (1, [jobs[2]])
    shipping.open_gate()
    worker.await_line("shipped 1")
    assert worker.stop() == 0
    assert worker.said("ships") == ["ships 1"]


def test_clear_deletes_all_that_waits_and_leaves_what_failed(shipping, console, told, failed):
    failed(1)
    for number in range(3):
        shipping.dispatch(number)

    assert console("clear", "emails", "--yes").stdout == "default emails 3\n"

    [line] = told("size")
    assert (line["ready"], line["failed"]) == (0, 1)


def test_a_paused_queue_rests_and_is_woken_when_it_is_resumed(shipping, console, told):
    shipping.dispatch(1)
    assert console("pause", "emails").stdout == "default emails\n"
    worker = shipping.start(*EMAILS, "--sleep", "600")
    worker.await_line("worker begins")

    [line] = told("size")
    assert (line["ready"], line["paused"]) == (1, True)

    assert console("resume", "emails").stdout == "default emails\n"
    worker.await_line("shipped 1")
    assert worker.stop() == 0


def test_restart_ends_the_workers_after_their_jobs(shipping, console):
    shipping.gate()
    worker = shipping.start(*EMAILS)
    idle = shipping.start(*EMAILS, "--sleep", "600")
    idle.await_line("worker begins")
    worker.await_line("worker begins")
    shipping.dispatch(1, "gate")
    busy, idle = begun(worker, idle)

    assert console("restart").stdout == "default\n"

    assert idle.await_exit() == 0
    shipping.open_gate()
    assert busy.await_exit() == 0
    assert busy.said("shipped 1")


def begun(*workers):
    """Return the worker that has begun the first job, and the other."""
    while True:
        for one, other in (workers, workers[::-1]):
            if one.said("ships 1"):
                return one, other
            assert one.process.poll() is None, one.output


def test_check_tries_every_stored_job_against_the_code(shipping, console, told, failed):
    failed(1)
    shipping.dispatch(2)
    assert console("check").returncode == 0

    shipping.write(SHIPPING.replace("ship(", "send(").replace("listen(ship)", "listen(send)"))
    report = told("check")

    assert report["checked"] == 2
    [problem] = report["problems"]
    assert (problem["listener"], problem["waiting"], problem["failed"]) == ("shop:ship", 1, 1)


def test_redis_has_no_tables(console):
    named = console("schema", "--print", "--connection", "default")

    assert named.returncode == 2
    assert "does not support schema" in named.stderr
    assert "no connection has a store with tables" in console("schema", "--apply").stderr


def test_doctor_tells_what_this_server_promises(console, told):
    [report] = told("doctor")

    assert report["promise"]["server_killed"] == "all is lost"
    assert console("doctor").returncode == 1
    assert "set appendonly yes" in console("doctor").stdout
