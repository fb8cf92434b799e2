"""
What the command prints: columns, blocks of text and JSON.

Names and errors come out of a store that others write to, so nothing of them reaches the terminal
that could move its cursor, colour it, turn the direction of the text or begin a new line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

__all__ = ["aligned", "cut", "indented", "instant", "json_lines", "one_line", "print_json"]

_GAP: Final = "  "
#: Characters of a cell. Stored names may be as long as a document; a table of them is no table.
_LONGEST: Final = 120


def one_line(text: object) -> str:
    r"""
    Return `text` on one line, each character that is not printable as its escape.

    Example:
        >>> print(one_line("red \x1b[31m, turned \u202e, torn \r\n"))
        red \x1b[31m, turned \u202e, torn \r\n
    """
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(text))


def cut(text: str) -> str:
    """Return `text` short enough for a column."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def indented(text: str) -> list[str]:
    """Return the lines of `text`, each made safe and indented: none can pass for one of ours."""
    return [f"{_GAP}{one_line(line)}".rstrip() for line in text.rstrip("\n").split("\n")]


def json_lines(data: bytes) -> list[str]:
    """Return the lines of a JSON document for a reader's eyes; it is still the same JSON."""
    text = json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    return [_GAP + "".join(map(_json_escaped, line)) for line in text.split("\n")]


def _json_escaped(one: str) -> str:
    # Not as `one_line` does: JSON knows no \x1b.
    return one if one.isprintable() else json.dumps(one)[1:-1]


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return one line for each row, with the cells below each other; an empty cell is a dash."""
    cells = [[one_line(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def instant(moment: datetime) -> str:
    """Return an instant for a column: in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def print_json(value: Any) -> None:
    """Print `value` as JSON, in ASCII."""
    click.echo(json.dumps(value, indent=2))
