"""The real `eventbus` command beside a real worker, on an application in files and a store on disk."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import eventbus

FILES = {
    "pyproject.toml": '[tool.eventbus]\napp = "depot.app:bus"\n',
    "depot/__init__.py": "",
    "depot/events.py": """
        from attrs import frozen

        @frozen
        class Shipped:
            id: int
            to: str
        """,
    "depot/listeners.py": """
        from pathlib import Path
        from eventbus import ShouldQueue, listens
        from depot.events import Shipped

        class Send(ShouldQueue):
            queue = "emails"
            def handle(self, event: Shipped) -> None:
                if not Path("mended").exists():
                    raise ConnectionError(f"\\x1b[31mno way to {event.to}")
                Path(f"sent-{event.id}").touch()

        @listens(priority=5)
        async def note(event: Shipped) -> None: ...

        class Sketch:
            def handle(self, event) -> None: ...
        """,
    "depot/app.py": """
        from eventbus import EventBus

        print("the depot opens")
        bus = EventBus(discover="depot.listeners", connections={"default": "sqlite:///queue.db"})
        """,
    "ship.py": """
        from depot.app import bus
        from depot.events import Shipped

        for number in range(3):
            bus.dispatch(Shipped(number, "Łódź\\u202e"))
        """,
}

CONSOLE = "from eventbus.console.command import main; main()"
WORKER = "from eventbus.worker.command import main; main()"


@pytest.fixture
def depot(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text), "utf-8")
    return tmp_path


@pytest.fixture
def python(depot):
    """Run a program in the folder of the application."""
    environment = {name: of for name, of in os.environ.items() if not name.startswith("EVENTBUS_")}
    environment["PYTHONPATH"] = str(Path(eventbus.__file__).parents[1])
    environment["PYTHONIOENCODING"] = "utf-8"

    def python(*arguments, stdin=subprocess.DEVNULL):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=depot,
            env=environment,
            stdin=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=25,
            check=False,
        )

    return python


@pytest.fixture
def console(python):
    return lambda *arguments, **of: python("-c", CONSOLE, *arguments, **of)


@pytest.fixture
def three_failed(python):
    assert python("ship.py").returncode == 0
    assert python("-c", WORKER, "--queue", "emails", "--stop-when-empty").returncode == 0


def test_the_listeners_of_an_application(console):
    done = console("list", "--skipped")

    assert done.returncode == 0
    *rows, skipped = [line.split() for line in done.stdout.splitlines()]
    assert rows == [
        ["PRIORITY", "MODE", "LISTENER", "MARKS", "WHERE", "ORIGIN"],
        ["depot.events.Shipped", "(depot.events:Shipped)"],
        ["5", "async", "depot.listeners:note", "-", "depot/listeners.py:13", "discovery"],
        ["0", "sync", "depot.listeners:Send", "queued", "emails", "on", "default",
         "depot/listeners.py:8", "discovery"],
        ["passed", "over", "by", "discovery"],
    ]  # fmt: skip
    assert (skipped[0], skipped[-2:]) == ("depot.listeners:Sketch", ["no", "hint"])
    told = done.stderr.splitlines()
    assert told[0] == "the depot opens"
    assert told[1].startswith("eventbus: warning: depot.listeners:Sketch listens to nothing")
    assert len(told) == 2


def test_why_a_listener_runs(console):
    told = json.loads(console("why", "Shipped", "--json").stdout)

    assert [(one["listener"], one["matched"]) for one in told["listeners"]] == [
        ("depot.listeners:note", "exact"),
        ("depot.listeners:Send", "exact"),
    ]


@pytest.mark.usefixtures("three_failed")
def test_failed_jobs_are_looked_at_retried_and_forgotten(console, python, depot):
    listed = json.loads(console("failed", "--json").stdout)
    first, second, third = [one["id"] for one in listed]
    assert {one["reason"] for one in listed} == {"ConnectionError: \x1b[31mno way to Łódź\u202e"}

    shown = console("failed", first[-8:]).stdout
    assert r"ConnectionError: \x1b[31mno way to Łódź\u202e" in shown
    assert "Traceback (most recent call last):" in shown
    assert '"id": 0' in shown
    assert not {"\x1b", "\u202e"} & set(shown + console("failed").stdout)

    (depot / "mended").touch()
    retried = console("retry", first, "0000000", second[:20])
    assert (retried.returncode, retried.stdout.split()) == (1, [first, second])
    assert python("-c", WORKER, "--queue", "emails", "--stop-when-empty").returncode == 0
    assert sorted(one.name for one in depot.glob("sent-*")) == ["sent-0", "sent-1"]

    assert console("forget", third).returncode == 0
    assert json.loads(console("failed", "--json").stdout) == []


@pytest.mark.usefixtures("three_failed")
def test_flush_asks_at_a_terminal_and_refuses_elsewhere(console):
    refused = console("flush")
    assert (refused.returncode, refused.stdout) == (2, "")

    master, slave = pty.openpty()
    os.write(master, b"n\ny\n")
    declined, agreed = console("flush", stdin=slave), console("flush", stdin=slave)
    os.close(slave)
    os.close(master)

    assert (declined.returncode, declined.stdout.strip()) == (1, "")
    assert "Delete 3 failed jobs for good?" in declined.stderr
    assert (agreed.returncode, len(agreed.stdout.split())) == (0, 3)
    assert console("flush", "--yes").stderr.endswith("eventbus: no failed jobs\n")


def test_an_error_is_one_line_and_no_traceback(console, depot):
    (depot / "depot/events.py").write_text("raise RuntimeError('half\\na deploy')", "utf-8")

    done = console("list")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith("eventbus: ")
    assert r"RuntimeError: half\na deploy" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_traceback(depot, console):
    """As in `eventbus list | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONPATH": str(Path(eventbus.__file__).parents[1])}

    done = subprocess.run(
        [sys.executable, "-c", CONSOLE, "--app", "depot.app:bus", "list"],
        cwd=depot,
        env=environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=25,
        check=False,
    )
    os.close(writing)

    assert "Traceback" not in done.stderr
    assert done.returncode == 1


def test_the_package_of_the_console_is_light(python):
    """The command's parts are loaded by the command, not by the package they lie in."""
    done = python("-c", "import eventbus.console, sys; print('click' in sys.modules)")

    assert done.stdout == "False\n"
