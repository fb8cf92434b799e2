"""How the command finds its application, ends, and tells of what went wrong."""

from __future__ import annotations

import errno
import json
import re
import sys
import tomllib
import warnings
from importlib import import_module
from pathlib import Path

import click
import pytest

from eventbus.console import command as console
from eventbus.console.command import command
from eventbus.console.exits import ExitCode
from eventbus.worker import loop

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/reference/console.md"


@pytest.fixture
def app(module):
    module("app", "from eventbus import EventBus\nbus = EventBus(listen={'stock.low': print})")


@pytest.mark.usefixtures("app")
def test_the_application_may_come_from_the_environment(run, monkeypatch):
    monkeypatch.setenv("EVENTBUS_APP", "depot.app:bus")

    assert "stock.low" in run("list", app=None).stdout


@pytest.mark.usefixtures("app")
def test_the_application_may_come_from_pyproject(run, folder):
    (folder / "pyproject.toml").write_text('[tool.eventbus]\napp = "depot.app"', "utf-8")

    assert "stock.low" in run("list", app=None).stdout


def test_an_application_must_be_named(run):
    result = run("list", app=None)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "eventbus: which application? Write eventbus --app shop.app:bus, or set EVENTBUS_APP."
        " See eventbus list --help\n"
    )


@pytest.mark.parametrize(
    "source, said",
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("raise RuntimeError('two\\nlines')", r"RuntimeError: two\nlines"),
        (
            "raise SystemExit('usage: app')",
            "loading it ended the program (SystemExit('usage: app'))",
        ),
        ("bus = 1", "'bus' is a int"),
        ("def bus(): raise ValueError('no')", "ValueError: no"),
        (
            "from eventbus import EventBus\nbus = EventBus(discover='depot.nothing')",
            "depot.nothing",
        ),
        ("from eventbus import EventBus\nbus = EventBus(listen={'a': 'depot:x'})", "no 'x'"),
    ],
)
def test_an_application_that_cannot_be_loaded_is_exit_code_3(run, module, source, said):
    module("app", source)

    result = run("list")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("eventbus: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_failed_jobs_are_mended_although_a_listener_is_broken(run, module):
    """They are not loaded: one of them may be why the jobs failed."""
    module("listeners", "raise RuntimeError('broken')")
    module(
        "app",
        "from eventbus import EventBus\n"
        "bus = EventBus(discover='depot.listeners', connections={'default': 'sqlite:///queue.db'})",
    )

    assert run("list").exit_code == 3
    assert run("failed").exit_code == 0


@pytest.mark.parametrize(
    "arguments", [["failed"], ["retry", "--all"], ["forget", "x"], ["flush", "--yes"]]
)
def test_a_store_that_cannot_be_reached_is_exit_code_4(run, module, folder, arguments):
    (folder / "queue.db").write_text("this is no database, and was none before\n" * 50, "utf-8")
    (folder / "queue.db").chmod(0o600)
    module(
        "app",
        "from eventbus import EventBus\n"
        "bus = EventBus(connections={'default': 'sqlite:///queue.db'})",
    )

    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("eventbus: sqlite:///")
    assert result.stderr.count("\n") == 1


def test_no_password_is_shown(run, module):
    module(
        "app",
        "from eventbus import EventBus\n"
        "bus = EventBus(connections={'default': 'redis://me:canary@localhost/0?password=canary'})",
    )

    results = [run("failed"), run("list"), run("failed", "--connection", "canari")]

    assert results[0].exit_code == 3
    assert "canary" not in "".join(one.output + repr(one.exception) for one in results)


def test_a_connection_that_cannot_be_opened_does_not_hide_who_listens(run, module):
    module(
        "app",
        """
        from eventbus import EventBus, ShouldQueue

        class Send(ShouldQueue):
            def handle(self, event: KeyError): ...

        bus = EventBus(listen={KeyError: Send}, connections={"default": "amqp://localhost"})
        """,
    )

    assert "queued ? on default" in run("list").stdout
    [event] = json.loads(run("list", "--json").stdout)["events"]
    assert event["listeners"][0]["queued"] == {"connection": "default", "queue": None, "hooks": []}


def test_what_modules_print_and_warn_of_is_no_data(run, module):
    module(
        "listeners",
        """
        import warnings
        print("loading")
        warnings.warn("old \\x1b[31m\\nways", UserWarning)
        """,
    )
    module(
        "app",
        "from eventbus import EventBus\nbus = EventBus(discover='depot.listeners')",
    )

    with warnings.catch_warnings():
        warnings.simplefilter("default")  # here they are errors
        result = run("list", "--json")

    assert json.loads(result.stdout) == {"events": [], "jobs": [], "skipped": []}
    assert result.stderr.splitlines() == [
        "loading",
        r"eventbus: warning: old \x1b[31m\nways",
    ]


def test_what_the_application_raises_later_is_told_in_one_line(run, module):
    """An ABC is asked whether it counts a class in; its answer is code of the application."""
    module(
        "app",
        """
        from abc import ABC
        from eventbus import EventBus

        class Picky(ABC):
            @classmethod
            def __subclasshook__(cls, other):
                if other is KeyError:
                    raise LookupError("which one?\\n")
                return NotImplemented

        bus = EventBus(listen={Picky: print, KeyError: print})
        """,
    )

    result = run("why", "KeyError")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "eventbus: the application raised LookupError: which one?\\n\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "eventbus: Missing command. See eventbus --help\n"),
        (["lst"], "eventbus: No such command 'lst'"),
        (["list", "--jsn"], "See eventbus list --help\n"),
        (["list", "\x1b[2J"], r"(\x1b[2J). See eventbus list --help"),
    ],
)
def test_a_wrong_use_is_exit_code_2(run, arguments, said):
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_error_of_click_without_a_context_is_told_as_well(run, monkeypatch):
    def broken(*_):
        raise click.FileError("queue.db", "gone")

    monkeypatch.setattr(console, "Application", broken)

    result = run("list")

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("eventbus: Could not open file 'queue.db'")


def test_ctrl_c_ends_it_in_one_line(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(console, "Application", interrupted)

    result = run("list")

    assert result.exit_code == 1
    assert result.stderr.strip() == "eventbus: interrupted"


def test_a_reader_that_has_seen_enough_is_no_error(run, monkeypatch):
    def closed(*_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(console, "Application", closed)

    assert run("list").stderr == ""


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["failed", "--help"]])
def test_help_loads_no_application(run, arguments):
    result = run(*arguments, app="nowhere:bus")

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: eventbus")


def test_the_codes_mean_what_those_of_the_worker_mean():
    shared = {one.name: one.value for one in ExitCode if one is not ExitCode.UNDONE}

    assert shared == {name: loop.ExitCode[name].value for name in shared}


def test_the_entry_point_is_this_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, function = scripts["eventbus"].partition(":")

    assert getattr(import_module(module), function) is console.main


@pytest.mark.usefixtures("app")
def test_what_the_terminal_cannot_write_is_escaped(run, module, monkeypatch, tmp_path):
    module(
        "app", "from eventbus import EventBus\nbus = EventBus(listen={'bestellt.\\u0142': print})"
    )
    monkeypatch.setattr(sys, "argv", ["eventbus", "--app", "depot.app:bus", "list"])
    with (tmp_path / "out").open("w", encoding="latin-1") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(SystemExit) as end:
            console.main()

    assert end.value.code == 0
    assert r"bestellt.\u0142" in (tmp_path / "out").read_text("latin-1")


def test_a_stdout_that_is_no_file_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["eventbus", "--version"])
    monkeypatch.setattr(sys, "stdout", None)

    with pytest.raises(SystemExit) as end:
        console.main()

    assert end.value.code == 0


# The page of the reference.


def documented():
    """What the tables of the page say: of each command its options, and the exit codes."""
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ").strip("`")
        row = re.fullmatch(r"\| `(?P<name>[^`]+)` \| (?P<text>.+) \|", line)
        if row:
            found.setdefault(heading, {})[row["name"]] = row["text"]
    return found


def options_of(one):
    return {
        f"{parameter.opts[0]} {parameter.make_metavar(click.Context(one))}"
        if not parameter.is_flag
        else parameter.opts[0]: parameter.help
        for parameter in one.params
        if isinstance(parameter, click.Option) and parameter.name != "version"
    }


@pytest.mark.parametrize("name", ["", *command.commands])
def test_the_page_tells_every_option_as_the_command_does(name):
    one = command.commands[name] if name else command
    heading = (
        next(
            title
            for title in documented() | {"": {}}
            if title.split()[:2] == f"eventbus {name}".split()
        )
        if options_of(one)
        else name
    )

    assert documented().get(heading, {}) == options_of(one)


def test_the_page_tells_every_command():
    text = PAGE.read_text("utf-8")

    assert [name for name in command.commands if f"## `eventbus {name}" not in text] == []


def test_the_page_tells_every_exit_code():
    assert list(documented()["Exit codes"]) == [str(one.value) for one in ExitCode]
