"""A number that a user did not choose says its unit and where it comes from."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from eventbus import defaults

if TYPE_CHECKING:
    from conftest import Source


def comment_above(line: int, lines: list[str]) -> list[str]:
    """The unbroken block of `#:` lines that ends above `line` (counted from 1)."""
    start = line - 1
    while start > 0 and lines[start - 1].startswith("#:"):
        start -= 1
    return lines[start : line - 1]


def constants(package_sources: tuple[Source, ...]) -> dict[str, tuple[ast.stmt, list[str]]]:
    source = next(source for source in package_sources if source.path == "eventbus/defaults.py")
    lines = source.text.splitlines()
    return {
        ast.unparse(target): (node, comment_above(node.lineno, lines))
        for node in source.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if ast.unparse(target) != "__all__"
    }


def test_every_default_is_final(package_sources: tuple[Source, ...]):
    loose = [
        name
        for name, (node, _) in constants(package_sources).items()
        if not (isinstance(node, ast.AnnAssign) and "Final" in ast.unparse(node.annotation))
    ]

    assert loose == []


def test_every_default_has_a_unit_and_a_source(package_sources: tuple[Source, ...]):
    unexplained = [
        (name, word)
        for name, (_, comment) in constants(package_sources).items()
        for word in ("Unit:", "Source:")
        if not any(line.startswith(f"#: {word} ") for line in comment)
    ]

    assert unexplained == []


def test_every_default_is_exported_in_order(package_sources: tuple[Source, ...]):
    assert list(defaults.__all__) == sorted(constants(package_sources))
