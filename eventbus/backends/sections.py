"""The parts of the files in `scripts/`, by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

__all__ = ["sections"]

_NAME: Final = re.compile(r"^-- :(\w+)\n", re.MULTILINE)


def sections(script: str) -> Mapping[str, str]:
    """
    Return the sections of `eventbus/backends/scripts/` + `script`, by their names, comments and all.

    A line `-- :push` begins the one that is called so; it ends where the next one begins.

    Example:
        >>> sorted(sections("sqlite.sql"))[:2]
        ['ack', 'ack_alone']
    """
    text = files("eventbus.backends").joinpath("scripts", script).read_text("utf-8")
    _, *parts = _NAME.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))
