"""`eventbus doctor`: how findings and promises are shown, and how the command ends."""

from __future__ import annotations

import json
import sys

import pytest

from eventbus.backends.base import Examination, Finding, Promise, Verdict
from eventbus.backends.port import Port
from eventbus.errors import AccessDenied

PROMISE = Promise(
    store="a store",
    dispatched="written",
    worker_killed="no loss",
    server_killed="some loss",
    power_cut="all lost",
    failover="nobody knows",
    stale_ack="refused",
)
GOOD = Finding(subject="journal", found="WAL")
POOR = Finding(subject="disk", found="full", verdict=Verdict.WARNING, advice="make room")
BAD = Finding(subject="file", found="gone", verdict=Verdict.BROKEN, advice="put it back")


@pytest.fixture
def app(module):
    module(
        "app",
        """
        from eventbus import EventBus

        bus = EventBus(
            discover="depot.broken",
            connections={"default": "sqlite:///queue.db", "now": "sync://", "void": "null://"},
        )
        """,
    )


@pytest.fixture
def examined(app, monkeypatch):
    """Have the store of the default connection be found so."""

    def examined(*findings, promise=PROMISE):
        found = Examination(promise=promise, findings=findings)
        monkeypatch.setattr(
            "eventbus.backends.sqlite.SqliteBackend.examine", lambda self, integrity: found
        )

    return examined


def test_each_finding_and_what_is_promised_are_told(run, examined, folder):
    examined(GOOD, POOR)

    result = run("doctor", "--connection", "default")

    assert result.stdout.splitlines() == [
        f"default: sqlite:///{folder}/queue.db",
        "  LOOKED AT  FOUND  VERDICT  WHAT IT MEANS",
        "  journal    WAL    ok       -",
        "  disk       full   warning  make room",
        "  a store",
        "    dispatch has returned:      written",
        "    a worker is killed:         no loss",
        "    the server is killed:       some loss",
        "    the power fails:            all lost",
        "    another server takes over:  nobody knows",
        "    a stale ack comes:          refused",
    ]
    assert result.stderr == "eventbus: 1 connection examined: nothing broken, 1 warning\n"


@pytest.mark.parametrize(
    "findings, options, code",
    [
        ([GOOD], [], 0),
        ([GOOD], ["--strict"], 0),
        ([GOOD, POOR], [], 0),
        ([GOOD, POOR], ["--strict"], 1),
        ([GOOD, POOR, BAD], [], 1),
    ],
)
def test_the_exit_code_says_whether_what_was_promised_holds(run, examined, findings, options, code):
    examined(*findings)

    assert run("doctor", "--connection", "default", *options).exit_code == code


def test_all_connections_are_examined_also_those_that_store_nothing(run, examined):
    """No listener is loaded for it."""
    examined(GOOD, promise=None)

    result = run("doctor")

    assert result.exit_code == 0
    heads = [line for line in result.stdout.splitlines() if line[:1].isalpha()]
    assert [head.partition(":")[0] for head in heads] == ["default", "now", "void"]
    assert "cannot be told, or does not hold" in result.stdout
    assert "jobs run inside dispatch" in result.stdout
    assert result.stderr == "eventbus: 3 connections examined: nothing broken, 1 warning\n"


def test_as_json_it_is_the_same(run, examined, folder):
    examined(GOOD, BAD)

    [default, now] = json.loads(
        run("doctor", "--json", "--connection", "default", "--connection", "now").stdout
    )

    assert default == {
        "connection": "default",
        "store": f"sqlite:///{folder}/queue.db",
        "promise": {
            "store": "a store",
            "dispatched": "written",
            "worker_killed": "no loss",
            "server_killed": "some loss",
            "power_cut": "all lost",
            "failover": "nobody knows",
            "stale_ack": "refused",
        },
        "findings": [
            {"subject": "journal", "found": "WAL", "verdict": "ok", "advice": ""},
            {"subject": "file", "found": "gone", "verdict": "broken", "advice": "put it back"},
        ],
    }
    assert (now["store"], now["promise"]["dispatched"]) == ("sync://", "it has run")


def test_integrity_is_looked_at_when_asked_for(run, app, folder):
    Port(open_file(folder), name="default").size("jobs")

    plain, whole = (
        json.loads(run("doctor", "--json", "--connection", "default", *options).stdout)
        for options in ([], ["--integrity"])
    )

    assert "integrity" not in [one["subject"] for one in plain[0]["findings"]]
    assert whole[0]["findings"][-1] == {
        "subject": "integrity",
        "found": "whole",
        "verdict": "ok",
        "advice": "",
    }


def open_file(folder):
    from eventbus.backends.sqlite import SqliteBackend

    return SqliteBackend(folder / "queue.db")


def test_a_connection_that_nobody_configured_is_a_mistake(run, app):
    result = run("doctor", "--connection", "defualt")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no connection is called 'defualt'" in result.stderr


def test_a_store_that_says_nothing_of_itself(run, examined):
    """As a backend of somebody else does that knows of no examination."""
    examined(promise=None)

    result = run("doctor", "--connection", "default")

    assert (result.exit_code, "says nothing of itself" in result.stdout) == (0, True)


def test_a_store_that_cannot_be_used_is_broken_and_the_others_are_examined(
    run, examined, monkeypatch
):
    def refuse(self, integrity):
        raise AccessDenied(backend=self.name, operation="examine", reason="WRONGPASS")

    examined(GOOD)
    monkeypatch.setattr("eventbus.backends.sqlite.SqliteBackend.examine", refuse)

    result = run("doctor", "--json")

    [default, *others] = json.loads(result.stdout)
    assert (result.exit_code, len(others)) == (1, 2)
    assert [(one["subject"], one["verdict"]) for one in default["findings"]] == [
        ("connection", "broken")
    ]
    assert "WRONGPASS" in default["findings"][0]["advice"]


def test_a_connection_that_cannot_be_opened_is_broken(run, module):
    module(
        "app",
        """
        from eventbus import EventBus

        bus = EventBus(connections={"default": "sqlite:///queue.db?journal=MEMORY"})
        """,
    )

    result = run("doctor")

    assert result.exit_code == 1
    assert "it cannot be opened" in result.stdout
    assert "journal" in result.stdout


def test_an_error_of_the_application_is_told_as_of_any_command(run, module):
    module("app", "raise RuntimeError")

    assert run("doctor").exit_code == 3


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_hostile_text_reaches_no_terminal(run, examined, hostile, options):
    """A5: what is found may be what a server says."""
    bad = Finding(subject=hostile, found=hostile * 50, verdict=Verdict.BROKEN, advice=hostile)
    examined(bad)

    result = run("doctor", *options)

    assert result.exit_code == 1
    assert not [one for one in result.output if not one.isprintable() and one != "\n"]


def test_the_bus_is_closed_afterwards(run, app):
    run("doctor")

    assert sys.modules["depot.app"].bus.connections._ports == {}
