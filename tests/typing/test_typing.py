"""
What type checkers accept and what they reject.

`accepted/` is clean, and runs; `rejected/` fails exactly on the lines whose comments say so. A mark
`# error: mypy pyright` is for both checkers, one with a single name for that one only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for name in ("accepted", "rejected")
    for path in HERE.glob(f"{name}/*.py")
)
MARK = re.compile(r"# error: (?P<checkers>mypy pyright|mypy|pyright)\b")

# A whole program is checked, once for each checker.
pytestmark = pytest.mark.timeout(120)


class Line(NamedTuple):
    file: str
    number: int
    text: str


def line(path: Path, number: int) -> Line:
    text = path.read_text("utf-8").splitlines()[number - 1].strip()
    return Line(path.relative_to(HERE).as_posix(), number, text)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT)]),
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def report(*command: str) -> str:
    done = run("-m", *command)
    # Both exit with 1 when they found errors in the code; anything above means that they did not check it.
    if done.returncode > 1:
        pytest.fail(f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def mypy_errors() -> dict[Line, str]:
    records = [json.loads(text) for text in report("mypy", "--output=json", *FILES).splitlines()]
    return {
        line(ROOT / record["file"], record["line"]): record["message"]
        for record in records
        if record["severity"] == "error" and record["file"] in FILES
    }


def pyright_errors() -> dict[Line, str]:
    out = report("pyright", "--pythonpath", sys.executable, "--outputjson", *FILES)
    return {
        line(Path(record["file"]), record["range"]["start"]["line"] + 1): record["message"]
        for record in json.loads(out)["generalDiagnostics"]
        if record["severity"] == "error"
    }


def marked(checker: str) -> set[Line]:
    return {
        line(path, number)
        for path in HERE.glob("rejected/*.py")
        for number, text in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if (mark := MARK.search(text)) and checker in mark["checkers"].split()
    }


@pytest.fixture(scope="module", params=["mypy", "pyright"])
def checked(request: pytest.FixtureRequest) -> tuple[str, dict[Line, str]]:
    checker: str = request.param
    return checker, {"mypy": mypy_errors, "pyright": pyright_errors}[checker]()


def test_nothing_in_accepted_is_an_error(checked: tuple[str, dict[Line, str]]) -> None:
    _, errors = checked

    assert {at: message for at, message in errors.items() if at.file.startswith("accepted/")} == {}


def test_exactly_the_marked_lines_of_rejected_are_errors(
    checked: tuple[str, dict[Line, str]],
) -> None:
    checker, errors = checked

    found = {at: message for at, message in errors.items() if at.file.startswith("rejected/")}

    expected = marked(checker)
    assert {at: found[at] for at in sorted(found.keys() - expected)} == {}
    assert sorted(expected - found.keys()) == []


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_there_are_lines_to_reject(checker: str) -> None:
    assert len(marked(checker)) > 50


@pytest.mark.parametrize("path", sorted(HERE.glob("accepted/*.py")), ids=lambda path: path.stem)
def test_what_checkers_accept_also_runs(path: Path) -> None:
    done = run("-m", f"accepted.{path.stem}")

    assert done.returncode == 0, done.stderr
