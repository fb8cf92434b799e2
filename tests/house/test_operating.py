"""What operators read is so: exit codes, signals, and the records of the log."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from eventbus.console.exits import ExitCode as ConsoleExitCode
from eventbus.queue.lifecycle import Outcome
from eventbus.worker import ExitCode, StopReason
from eventbus.worker.logs import FIELDS
from eventbus.worker.vital import State, Vital

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Source

ROOT = Path(__file__).parents[2]

LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})

#: Functions that log for another reason than their own: what they are given is a record's message.
LOGGING = frozenset({"_say_bounded"})


def rows(path: str, first_head: str) -> list[list[str]]:
    """The rows of the table of a page whose first column is headed so."""
    found: list[list[str]] = []
    inside = False
    for line in (ROOT / path).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[0].strip("| ") == first_head:
            inside = True
        elif inside and not re.fullmatch(r"[|\s:-]+", line):
            found.append(cells)
    assert found, f"{path} has no table headed {first_head!r}"
    return found


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Exit codes and signals.

PAGE = "docs/reference/exit-codes-and-signals.md"


def test_the_page_has_every_exit_code_of_the_worker():
    """K3."""
    assert [(int(code), coded(name)) for code, name, *_ in rows(PAGE, "code")] == [
        (one.value, [one.name]) for one in ExitCode
    ]


def test_the_page_has_every_reason_to_stop_in_their_order():
    """K10."""
    assert [coded(row[0])[0] for row in rows("docs/howto/worker.md", "reason")] == [
        str(one) for one in StopReason if one is not StopReason.ERROR
    ]


@pytest.mark.parametrize("one", ConsoleExitCode, ids=lambda one: one.name)
def test_where_both_commands_mean_the_same_the_codes_are_equal(one: ConsoleExitCode):
    """K3: one code of the two is called otherwise, since only a job raises."""
    named = "JOB_RAISED" if one is ConsoleExitCode.UNDONE else one.name

    assert ExitCode[named].value == one.value


def test_the_page_has_every_signal_that_a_worker_hears(package_sources: tuple[Source, ...]):
    (source,) = [one for one in package_sources if one.path == "eventbus/worker/signals.py"]
    heard = {
        node.attr
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and re.fullmatch(r"SIG[A-Z0-9]+", node.attr)
    }

    documented = {name for row in rows(PAGE, "signal") for name in coded(row[0])}
    # The alarm is the worker's own; nobody hears SIGKILL.
    assert documented == heard - {"SIGALRM", "SIG_BLOCK"} | {"SIGKILL"}


# Logs.

LOGS = "docs/reference/logs.md"


def messages(package_sources: tuple[Source, ...]) -> Iterator[tuple[str, str, str]]:
    """Logger, method and message of every record that the package writes."""
    for source in package_sources:
        room = ".".join(source.path.split("/")[:2])
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call):
                continue
            method = ast.unparse(node.func).rpartition(".")[2]
            target = ast.unparse(node.func).rpartition(".")[0].lower()
            if method in LOGGING or (method in LEVELS and "log" in target):
                texts = [
                    one.value
                    for one in node.args
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                ]
                assert texts, f"{source.path}:{node.lineno} logs a message that is no literal"
                yield room, method, texts[0]


def test_the_page_has_every_record(package_sources: tuple[Source, ...]):
    documented = {(coded(row[0])[0], coded(row[2])[0]) for row in rows(LOGS, "logger")}

    assert documented == {(room, text) for room, _, text in messages(package_sources)}


def test_the_page_has_the_level_of_every_record(package_sources: tuple[Source, ...]):
    documented = {(coded(row[0])[0], coded(row[2])[0]): row[1] for row in rows(LOGS, "logger")}
    levels = {"exception": "ERROR", "_say_bounded": "ERROR"}

    wrong = [
        (room, text)
        for room, method, text in messages(package_sources)
        if method != "log" and documented.get((room, text)) != levels.get(method, method.upper())
    ]
    assert wrong == []


def test_every_logger_is_named_for_its_room(package_sources: tuple[Source, ...]):
    named = {
        (".".join(source.path.split("/")[:2]), name)
        for source in package_sources
        for name in re.findall(r'getLogger\("([^"]+)"\)', source.text)
    }

    assert [(room, name) for room, name in named if room != name] == []


def test_the_page_has_every_field_of_a_json_line():
    documented = [coded(row[0])[0] for row in rows(LOGS, "field")]

    own = ["at", "level", "logger", "message", "pid", "worker"]
    assert documented == [*own, *FIELDS, "error", "reason", "traceback", "stack"]


def test_the_page_has_a_word_for_every_outcome():
    assert [coded(row[1])[0] for row in rows(LOGS, "word")] == [str(one) for one in Outcome]


# The health file.


def test_the_page_of_the_console_has_what_a_health_file_says():
    text = (ROOT / "docs/reference/console.md").read_text("utf-8")
    part = text.partition("## `eventbus health`")[2].partition("\n## ")[0]

    assert {one.name for one in attrs.fields(Vital)} | set(State) <= set(coded(part))
