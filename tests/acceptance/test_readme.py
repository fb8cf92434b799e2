"""
A newcomer who reads only the README, or only the quickstart, gets what the page shows.

Every file of the page is written and every line that is to be typed is run, for real, in an empty
folder: with the default queue, and without the plugin, fixtures or settings of our own tests.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import server

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<skip><!-- skip: .*-->\n+)?```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
FILE_NAME = re.compile(r"# (?P<path>[\w./-]+\.(?:py|toml))\b")
#: What a page says to do before: it is done for these tests.
DONE = ("pip install", "make ")

Type = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def type_(tmp_path: Path) -> Type:
    """Type a line into a shell of somebody who has just installed eventbus."""
    ours = ("EVENTBUS_", "PYTEST_", "COV_", "PYTHONPATH")
    environment = {name: one for name, one in os.environ.items() if not name.startswith(ours)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    # As in a terminal, where what is printed stands among what is logged in the order it came.
    environment["PYTHONUNBUFFERED"] = "1"

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=25,
            check=False,
        )

    return run


def follow(page: Path, folder: Path, type_: Type) -> list[str]:
    """Do what a page says, from top to bottom; return the lines that were typed."""
    typed: list[str] = []
    for fence in FENCE.finditer(page.read_text("utf-8")):
        text, named = fence["text"], FILE_NAME.match(fence["text"])
        if fence["skip"]:
            continue
        if named is not None:
            path = folder / named["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        elif text.startswith(">>>"):
            (folder / "prompts.txt").write_text(text, "utf-8")
            done = type_(f"{sys.executable} -m doctest -o ELLIPSIS prompts.txt")
            assert (done.returncode, done.stdout) == (0, "")
            typed.append(text)
        elif fence["kind"] == "console":
            typed += type_each(text, type_)
    return typed


def type_each(text: str, type_: Type) -> list[str]:
    """Type the `$` lines of a fence, and compare what stands below each with what it prints."""
    typed: list[str] = []
    for line, shown in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        if line.startswith(DONE):
            continue
        done = type_(line)
        assert done.returncode == 0, done.stdout
        assert as_shown(shown, done.stdout), f"$ {line}\n{done.stdout}\nbut the page shows\n{shown}"
        typed.append(line)
    return typed


def as_shown(shown: str, printed: str) -> bool:
    """Whether this was printed, `...` standing for anything; a page may leave the log out."""
    said = "".join(one for one in printed.splitlines(keepends=True) if not is_log(one))
    compare = doctest.OutputChecker().check_output
    return any(compare(shown, one, doctest.ELLIPSIS) for one in (printed, said))


def is_log(line: str) -> bool:
    return re.match(r"\d{4}-\d\d-\d\dT[\d:]+Z [A-Z]+ ", line) is not None


def test_who_reads_only_the_readme_runs_a_queued_listener(tmp_path: Path, type_: Type):
    (tmp_path / "pyproject.toml").touch()  # "beside your pyproject.toml"

    typed = follow(ROOT / "README.md", tmp_path, type_)

    assert any(line.startswith("eventbus-worker ") for line in typed)
    assert (tmp_path / "eventbus.db").is_file()


def test_who_follows_the_quickstart_sees_every_output_that_it_shows(tmp_path: Path, type_: Type):
    typed = follow(ROOT / "docs/quickstart.md", tmp_path, type_)

    assert [line.split()[0] for line in typed] == [
        "eventbus",
        ">>>",
        "eventbus-worker",
        "eventbus",
        "eventbus",
        "python",
    ]
    assert (tmp_path / "eventbus.db").is_file()


@pytest.fixture
def redis_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start a Redis server that keeps what it is told, and say where in `QUEUE_URL`."""
    with server(tmp_path / "redis", persistence="always") as started:
        monkeypatch.setenv("QUEUE_URL", started.url)
        yield


@pytest.mark.timeout(60)
def test_who_moves_from_sqlite_to_redis_loses_no_job(tmp_path: Path, redis_url: None, type_: Type):
    typed = follow(ROOT / "docs/howto/moving-to-redis.md", tmp_path, type_)

    assert sum(line.startswith("eventbus-worker ") for line in typed) == 3
    assert sum(line.startswith(">>>") for line in typed) == 2
