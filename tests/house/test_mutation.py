"""The machinery of `make mutation` works, and the rules of retrying are held by their tests."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTATION = ROOT / "tests" / "mutation"


@pytest.mark.parametrize(
    "path", ["eventbus/queue/codec/records.py", "eventbus/backends/scripts/sqlite.sql"]
)
def test_a_mutant_has_a_name_of_its_own_and_keeps_the_lines(path):
    """T15: a result belongs to one mistake, and to the tests that run its lines."""
    source = (ROOT / path).read_bytes()
    mutants = runpy.run_path(str(MUTATION / "operators.py"))["mutants_of"](path, source)
    assert len(mutants) > 100
    assert len({one.key for one in mutants}) == len(mutants)
    for mutant in mutants[::10]:
        mutated = mutant.applied(source)
        assert mutated != source
        assert mutated.count(b"\n") == source.count(b"\n")
        if path.endswith(".py"):
            compile(mutated, path, "exec")


@pytest.mark.timeout(120)
def test_four_mutants_of_the_retry_rules_are_killed_or_explained(tmp_path):
    """T15: the machinery runs, and what survives has a reason."""
    options = "--files eventbus/queue/retry.py --tests tests/unit/queue/test_retry.py --sample 4"
    # What runs there is a copy, and no line of ours: a process of it may end before it is gone.
    unmeasured = {name: text for name, text in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, MUTATION / "run.py", *options.split(), "--out", tmp_path],
        cwd=ROOT,
        env=unmeasured,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    said = tomllib.loads((MUTATION / "survivors.toml").read_text())["survivor"]
    assert len(rows) == 4
    assert any(row["killed"] for row in rows)
    assert {row["key"] for row in rows if not row["killed"]} <= {row["key"] for row in said}
