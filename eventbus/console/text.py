"""
What the command prints: columns, blocks of text and JSON.

Names and errors come out of a store that others write to, so nothing of them reaches the terminal
that could move its cursor, colour it, turn the direction of the text or begin a new line.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from eventbus.text import one_line

__all__ = [
    "ZONE",
    "aligned",
    "cut",
    "indented",
    "instant",
    "json_lines",
    "one_line",
    "print_json",
    "print_json_list",
]

#: Where the context of a command has the time zone of its columns.
ZONE: Final = "eventbus.console.zone"

_GAP: Final = "  "
#: Characters of a cell. Stored names may be as long as a document; a table of them is no table.
_LONGEST: Final = 120


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
    """Return an instant for a column: to the second, in UTC or the zone of the running command."""
    context = click.get_current_context(silent=True)
    zone = UTC if context is None else context.meta.get(ZONE, UTC)
    return moment.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")


def print_json(value: Any) -> None:
    """Print `value` as JSON, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_json_list(values: Iterable[Any]) -> None:
    """
    Print a list as `print_json` does, each value as it comes.

    There may be more of them than memory holds. Where getting the next one raises, the document ends
    there: it is none, and the exit code says why.
    """
    begun = False
    for value in values:
        text = textwrap.indent(json.dumps(value, indent=2), "  ")
        click.echo(f",\n{text}" if begun else f"[\n{text}", nl=False)
        begun = True
    click.echo("\n]" if begun else "[]")
