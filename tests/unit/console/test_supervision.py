"""`eventbus supervisor` prints what supervisord and systemd read as it was meant."""

from __future__ import annotations

import configparser
import math
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.console import supervision
from eventbus.defaults import GRACE, SUPERVISOR_PATIENCE

WORKER = ("--worker", "/srv/shop/.venv/bin/eventbus-worker", "--directory", "/srv/shop")


def programs(result):
    """The sections of what was printed for supervisord, as it reads them."""
    assert result.exit_code == 0, result.output
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(result.output)
    return {name: dict(parser[name]) for name in parser.sections()}


def expanded(command, program, number=0):
    """The arguments that supervisord starts a process with."""
    return shlex.split(command % {"program_name": program, "process_num": number})


def test_without_queues_it_is_one_program_of_the_default_queue(run):
    [(name, found)] = programs(run("supervisor", *WORKER)).items()

    assert name == "program:depot"
    assert expanded(found["command"], "depot") == [
        WORKER[1], "depot.app:bus", "--name", "depot-0",
    ]  # fmt: skip
    assert found["directory"] == "/srv/shop"
    assert "user" not in found


def test_each_of_the_queues_has_a_program_of_so_many_workers(run):
    found = programs(
        run("supervisor", "emails,default", "slow=3,rest=1", "--processes", "4", *WORKER)
    )

    assert list(found) == ["program:depot-emails-default", "program:depot-slow-rest"]
    assert [one["numprocs"] for one in found.values()] == ["4", "4"]
    assert "%(process_num)d" in found["program:depot-slow-rest"]["process_name"]
    assert "--queue slow=3,rest=1" in found["program:depot-slow-rest"]["command"]


def test_it_waits_longer_than_the_workers_grace(run):
    usual = programs(run("supervisor", *WORKER))["program:depot"]
    longer = programs(run("supervisor", "--grace", "90.5", *WORKER))["program:depot"]

    assert usual["stopwaitsecs"] == f"{GRACE + SUPERVISOR_PATIENCE:.0f}"
    assert longer["stopwaitsecs"] == f"{math.ceil(90.5 + SUPERVISOR_PATIENCE)}"
    assert "--grace 90.5" in longer["command"]
    assert "--grace" not in usual["command"]


def test_name_connection_and_user_are_passed_on(run):
    more = ["--name", "mail", "--connection", "other", "--user", "www-data"]

    found = programs(run("supervisor", "emails", *more, *WORKER))["program:mail-emails"]

    assert "--connection other" in found["command"]
    assert found["user"] == "www-data"


def test_the_worker_is_that_of_this_environment(run, monkeypatch, tmp_path):
    mine = programs(run("supervisor"))["program:depot"]
    assert expanded(mine["command"], "depot")[0].endswith("/bin/eventbus-worker")
    assert mine["directory"] == str(tmp_path)

    monkeypatch.setattr(supervision.sysconfig, "get_path", lambda _: str(tmp_path / "nowhere"))
    module = programs(run("supervisor"))["program:depot"]
    assert expanded(module["command"], "depot")[:3] == [
        sys.executable, "-m", "eventbus.worker",
    ]  # fmt: skip


@given(
    folder=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(
        lambda text: not text.startswith(("/", "."))
    )
)
def test_what_a_path_has_in_it_comes_back_from_supervisord_as_it_was(folder):
    program = supervision._Program(
        name="shop",
        queues="emails",
        command=[f"/srv/{folder}/eventbus-worker", "a b", "c'd", 'e"f', "%(here)s"],
        processes=1,
        directory=f"/srv/{folder}",
        user=None,
        grace=1,
    )
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(supervision._supervisord(program))
    found = parser["program:shop"]

    assert expanded(found["command"], "shop")[:-2] == list(program.command)
    assert found["directory"] % {} == program.directory


@pytest.mark.parametrize("text", ["/srv/a\nuser=root", "/srv/a ;b", "/srv/a #b", "/srv/\x07"])
@pytest.mark.parametrize("form", ["supervisord", "systemd"])
@pytest.mark.parametrize("option", ["--directory", "--worker", "--user"])
def test_what_would_become_something_else_is_refused(run, text, form, option):
    result = run("supervisor", "--format", form, option, text)

    assert result.exit_code == 2
    assert "cannot have" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["emails", "emails=2"], "two of these would have one name"),
        (["--name", "a b"], "'a b' cannot be the name of a program"),
        (["--name", "-"], "cannot be the name of a program"),
        (["--processes", "0"], "0 is not in the range"),
        (["--grace", "-1"], "to be 0 to"),
    ],
)
def test_what_makes_no_program_is_refused(run, arguments, said):
    result = run("supervisor", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("form", ["supervisord", "systemd"])
def test_the_page_shows_what_it_prints(run, form):
    page = (Path(__file__).parents[3] / "docs/howto/worker.md").read_text("utf-8")
    arguments = ["emails,default", "--processes", "2", "--user", "www-data", "--format", form]

    result = run("supervisor", *arguments, *WORKER, app="shop.app:bus")

    assert f"```ini\n{result.output}```\n" in page


def test_it_needs_the_name_of_an_application_and_does_not_load_it(run):
    assert run("supervisor", app="not.there:bus").exit_code == 0

    nameless = run("supervisor", app=None)
    assert nameless.exit_code == 2
    assert "which application?" in nameless.stderr


def test_systemd_gets_a_unit_of_which_each_worker_is_an_instance(run):
    result = run("supervisor", "emails", "--format", "systemd", "--user", "shop", *WORKER)
    lines = result.output.splitlines()

    assert lines[0].startswith("# 1 worker of emails. In /etc/systemd/system/depot-emails@.service")
    assert lines[1].endswith("--now depot-emails@1")
    assert f"ExecStart={WORKER[1]} depot.app:bus --queue emails --name %p-%i" in lines
    assert {"User=shop", "Restart=always", "TimeoutStopSec=30", "KillMode=mixed"} <= {*lines}


def test_systemd_reads_arguments_as_they_were(run):
    result = run(
        "supervisor", "--format", "systemd", "--processes", "3",
        "--worker", '/srv/my "shop"\\5%/$HOME/eventbus-worker', "--directory", "/srv/my 5%",
    )  # fmt: skip

    assert "@{1..3}" in result.output
    assert "WorkingDirectory=/srv/my 5%%\n" in result.output
    assert 'ExecStart="/srv/my \\"shop\\"\\\\5%%/$$HOME/eventbus-worker" depot' in result.output


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_itself_finds_nothing_wrong_with_it(run, tmp_path):
    result = run("supervisor", "emails,default", "--format", "systemd", "--directory", "/srv/a b%")
    path = tmp_path / "depot-emails-default@.service"
    path.write_text(result.output)

    said = subprocess.run(
        ["systemd-analyze", "verify", str(path.with_name("depot-emails-default@1.service"))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "depot" not in said.stderr
    assert said.returncode == 0, said.stderr
