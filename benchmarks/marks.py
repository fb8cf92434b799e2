"""
What measured jobs leave: 16 bytes in one file for each that ran, or a line in a pipe that somebody reads.

Nothing but the standard library: it runs in the environment of every peer.
"""

from __future__ import annotations

import os
import struct
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

#: Number, and when: on the clock that all processes share, in nanoseconds.
_MARK = struct.Struct("<qq")
#: What is added to the number of a job that has ended.
_ENDED = 1 << 40
#: How long a slow job takes, in seconds.
SLOW = 0.05


class Mark(NamedTuple):
    number: int
    at: float
    has_ended: bool


@cache
def _file(variable: str) -> int:
    # What is appended in one write is not mixed with what others append.
    return os.open(os.environ[variable], os.O_WRONLY | os.O_APPEND)


def noted(number: int) -> None:
    """Leave a mark."""
    os.write(_file("BENCH_MARKS"), _MARK.pack(number, time.monotonic_ns()))


def ended(number: int) -> None:
    """Leave a mark at the end of a job that left one when it began."""
    noted(number + _ENDED)


def answered(sent: float) -> None:
    """Tell who reads how long a job was on its way."""
    now = time.monotonic()
    os.write(_file("BENCH_ANSWERS"), b"%.9f\n" % (now - sent))


def count(file: Path) -> int:
    """Return how many marks there are."""
    return file.stat().st_size // _MARK.size


def read(file: Path) -> list[Mark]:
    found = _MARK.iter_unpack(file.read_bytes())
    return [Mark(number % _ENDED, at / 1e9, number >= _ENDED) for number, at in found]
