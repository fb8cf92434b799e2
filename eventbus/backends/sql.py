"""What the SQL backends share: their statements lie in files, under names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

__all__ = ["statements"]

_NAME: Final = re.compile(r"^-- :(\w+)\n", re.MULTILINE)
#: Drivers guess from a statement's first word whether it counts rows.
_COMMENT: Final = re.compile(r"^--.*\n", re.MULTILINE)


def statements(script: str) -> Mapping[str, str]:
    """
    Return the statements of `eventbus/backends/scripts/` + `script`, by their names.

    A line `-- :push` begins the statement that is called so; it ends where the next one begins.

    Example:
        >>> sorted(statements("sqlite.sql"))[:2]
        ['ack', 'bury']
    """
    text = files("eventbus.backends").joinpath("scripts", script).read_text("utf-8")
    _, *parts = _NAME.split(text)
    return {
        name: _COMMENT.sub("", body).strip()
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
