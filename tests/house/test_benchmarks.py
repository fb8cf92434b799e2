"""The benchmarks run, so that they can be relied on when a figure is wanted."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

#: What the run cannot do without, and the peers that its smallest table stands beside.
NEEDED = (
    "pyperf",
    "blinker",
    "django",
    "eventkit",
    "psygnal",
    "pydispatch",
    "pyee",
    "pymitter",
    "zope.event",
)


def missing() -> list[str]:
    def found(name: str) -> bool:
        parent = name.partition(".")[0]
        return importlib.util.find_spec(parent) is not None and (
            importlib.util.find_spec(name) is not None
        )

    return [name for name in NEEDED if not found(name)]


@pytest.mark.skipif(bool(missing()), reason=f"not installed, see `make bench`: {missing()}")
def test_a_table_is_measured_beside_every_peer(root: Path, tmp_path: Path):
    report = tmp_path / "RESULTS.md"
    command = [sys.executable, "benchmarks/run.py", "--fast", "--only", "dispatch_1"]

    done = subprocess.run(
        [*command, "--output", str(report)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "| `dispatch`, 1 function |" in done.stdout
    written = report.read_text("utf-8")
    assert "Not measured" not in written
    for name in ("floor", "**eventbus**", "blinker", "Django signals", "eventkit", "psygnal"):
        assert f"| {name} |" in written
