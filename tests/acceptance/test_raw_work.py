"""Scripts that `work` on raw jobs: killed, stopped, and fed by a program that has no eventbus."""

from __future__ import annotations

import re
import signal
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.servers import await_that

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "wire-format.md").read_text("utf-8")
PUSH = re.search(r"```sql\n(.*?)```", PAGE, re.DOTALL)[1]
RAW = re.search(r"### Raw jobs.*?```json\n(.*?)```", PAGE, re.DOTALL)[1]

MAILER = """
def send(job):
    say("start", job.payload["to"], job.losses)
    if job.payload.get("gate"):
        pass_gate()
    say("sent", job.payload["to"])
    return True

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    say("works")
    bus.queue("emails").work(send, lease=1, idle=0.05)
"""


@pytest.fixture
def emails(shop):
    shop.write(MAILER)
    shop.gate()
    return shop.bus.queue("emails")


def test_a_killed_scripts_job_is_done_by_another_after_the_lease(shop, emails):
    emails.push({"to": "a@example.com", "gate": True})
    killed = shop.run()
    killed.await_line("start a@example.com 0")

    killed.tell(signal.SIGKILL)
    assert killed.await_exit() == -signal.SIGKILL
    other = shop.run()
    other.await_line("start a@example.com 1")  # one loss, and nothing buried
    shop.open_gate()
    await_that(lambda: not shop.waiting("emails"), said="it is done")

    assert other.said("sent a@example.com")
    assert list(emails.buried()) == []


def test_a_job_longer_than_its_lease_is_done_once(shop, emails):
    emails.push({"to": "a@example.com", "gate": True})
    first = shop.run()
    first.await_line("start a@example.com 0")
    [claimed] = emails.peek()
    beyond = claimed.due + timedelta(seconds=1)
    other = shop.run()
    other.await_line("works")

    await_that(lambda: emails.peek()[0].due > beyond, said="its lease is renewed again and again")
    shop.open_gate()
    await_that(lambda: not shop.waiting("emails"), said="it is done")

    assert first.said("sent a@example.com")
    assert other.said("start") == []


def test_a_stopped_script_gives_its_job_back_unspent(shop, emails):
    emails.push({"to": "a@example.com", "gate": True})
    script = shop.run()
    script.await_line("start a@example.com 0")

    assert script.stop() == 7

    job = emails.claim()
    assert (job.payload["to"], job.attempts, job.losses) == ("a@example.com", 0, 0)


def test_a_program_without_eventbus_pushes_what_a_script_does(shop, emails):
    emails.size()  # makes the file
    now = time.time_ns() // 1_000
    with closing(sqlite3.connect(shop.folder / "queue.db")) as db, db:
        body = RAW.encode()
        db.execute(PUSH, {"id": "mail-17", "queue": "emails", "body": body, "now": now})

    script = shop.run()

    script.await_line("sent a@example.com")
    await_that(lambda: not shop.waiting("emails"), said="it is done")


def test_a_worker_leaves_a_raw_job_to_the_script(shop, emails):
    emails.push({"to": "a@example.com"})

    worker = shop.work("--queue", "emails")

    assert worker.code == 0
    assert worker.said("no worker runs it: `bus.queue(...)` claims it")
    [parked] = shop.bus.failed.parked()
    assert (parked.name, parked.queue) == ("raw", "emails")
