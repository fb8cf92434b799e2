"""In which form the tests run: the short one, or, with `EVENTBUS_FULL`, the one that takes hours."""

from __future__ import annotations

import os

__all__ = ["FULL"]

#: Whether the bars of the page of faults are asked for, or their short form.
FULL = bool(os.environ.get("EVENTBUS_FULL"))
