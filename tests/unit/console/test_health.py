"""`eventbus health`: what a probe is told, and how."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest

from eventbus.testing.clock import ManualClock
from eventbus.worker.health import Health


@pytest.fixture
def clock():
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def health(folder, clock):
    """The health file `worker.json` of this process."""
    made = Health("worker.json", name="w1", connection="default", queues=("emails",), clock=clock)
    yield made
    made.close()


@pytest.fixture
def ask(run):
    """Ask with no application at all."""
    return lambda *options: run("health", "--file", "worker.json", *options, app=None)


def test_a_healthy_worker_is_exit_code_0(ask, health):
    health.beat("idle", processed=1, failed=1)

    result = ask()

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"worker w1 (process {os.getpid()}) is idle; 1 job done, 1 raised\n"


def test_a_worker_at_work_is_told_with_its_job(ask, health, clock):
    clock.advance(-5)
    health.beat("working", job=("a1", "shop:Send"), processed=2)

    assert "is working on job a1 of shop:Send for " in ask("--max-job-age", "60").stdout


def test_a_healthy_worker_as_json(ask, health):
    health.beat("working", job=("a1", "shop:Send"), processed=2)

    told = json.loads(ask("--json").stdout)

    instants = [told.pop(name) for name in ("started_at", "alive_at", "loop_at", "loop_due")]
    assert instants == [told["job"].pop("since")] * 4
    assert told.pop("memory") is None or told
    assert told == {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "name": "w1",
        "connection": "default",
        "queues": ["emails"],
        "state": "working",
        "job": {"id": "a1", "listener": "shop:Send"},
        "processed": 2,
        "failed": 0,
    }


def test_no_worker_is_exit_code_1_and_says_why(ask, folder):
    result = ask()

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"eventbus: no healthy worker by {folder}/worker.json: it is not there\n"
    )


def test_a_worker_without_a_sign_of_life_is_exit_code_1(ask, health, clock):
    clock.advance(-300)
    health.beat("idle")

    result = ask()

    assert result.exit_code == 1
    assert "gave a sign of life 30" in result.stderr
    assert ask("--max-age", "600").exit_code == 0


def test_a_worker_that_means_to_wait_for_longer_is_exit_code_0(ask, health, clock):
    clock.advance(-300)
    health.beat("idle", wait=600)
    clock.advance(300)
    health.alive()

    assert ask("--max-age", "15").exit_code == 0


def test_a_job_that_takes_too_long_is_exit_code_1(ask, health, clock):
    clock.advance(-300)
    health.beat("working", job=("a1", "shop:Send"))
    clock.advance(300)
    health.alive()

    result = ask("--max-job-age", "240")

    assert result.exit_code == 1
    assert "job a1 of shop:Send runs for 30" in result.stderr
    assert ask("--max-job-age", "600").exit_code == 0


def test_the_file_may_come_from_the_environment(run, health, folder, monkeypatch):
    """The variable is that of the worker's option, so one setting serves both."""
    health.beat("idle")
    monkeypatch.setenv("EVENTBUS_HEALTH_FILE", str(folder / "worker.json"))

    assert run("health", app=None).exit_code == 0


def test_a_file_must_be_named(run, monkeypatch):
    monkeypatch.delenv("EVENTBUS_HEALTH_FILE", raising=False)

    assert run("health", app=None).exit_code == 2


@pytest.mark.parametrize("option", ["--max-age", "--max-job-age"])
@pytest.mark.parametrize("age", ["-1", "nan", "inf", "soon"])
def test_an_age_is_a_number_of_seconds(ask, health, option, age):
    health.beat("idle")

    assert ask(option, age).exit_code == 2


def test_hostile_text_reaches_no_terminal(ask, health, folder, hostile):
    """A5: the file may be anybody's."""
    health.beat("idle")
    path = folder / "worker.json"
    told = json.loads(path.read_bytes())
    job = {"id": hostile, "listener": hostile, "since": told["alive_at"]}
    path.write_text(json.dumps(told | {"name": hostile, "job": job}), "utf-8")

    for options in ([], ["--json"], ["--max-job-age", "0"]):
        result = ask(*options)
        assert not [one for one in result.output if not one.isprintable() and one != "\n"]
