"""The sources of the project, read once, for the tests that hold the rules of the house."""

from __future__ import annotations

import ast
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]


@attrs.frozen
class Source:
    """One Python file."""

    #: Its path from the root of the project: `eventbus/bus.py`.
    path: str
    text: str
    tree: ast.Module = attrs.field(repr=False)


def read_sources(folder: str) -> tuple[Source, ...]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    texts = [(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths]
    return tuple(Source(path, text, ast.parse(text, path)) for path, text in texts)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def package_sources() -> tuple[Source, ...]:
    sources = read_sources("eventbus")
    assert sources, f"no sources below {ROOT}"
    return sources


@pytest.fixture(scope="session")
def test_sources() -> tuple[Source, ...]:
    return read_sources("tests")
