"""What the SQL backends share: statements by name from files, and records from rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Final

from eventbus.backends.base import Claim, FailedJob
from eventbus.queue.envelope import Envelope

__all__ = ["claim_of", "failed_job_of", "micros", "span", "statements"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

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


def micros(instant: datetime) -> int:
    """Return `instant` as stores keep it: whole microseconds since 1970, UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def span(seconds: float) -> int:
    """Return a duration in whole microseconds."""
    return round(seconds * 1_000_000)


def claim_of(row: tuple[Any, ...], token: str) -> Claim:
    """Return the claim of a row that the statement `claim` returned."""
    name, queue, body, delay, attempts, losses, releases, pushed_at = row
    return Claim(
        envelope=Envelope(id=name, queue=queue, body=body, delay=delay),
        token=token,
        attempts=attempts,
        losses=losses,
        releases=releases,
        pushed_at=_EPOCH + pushed_at * _MICROSECOND,
    )


def failed_job_of(row: tuple[Any, ...]) -> FailedJob:
    """Return the failed job of a row that the statement `failed` returned."""
    name, queue, body, delay, attempts, losses, releases, pushed_at, failed_at, error = row
    return FailedJob(
        envelope=Envelope(id=name, queue=queue, body=body, delay=delay),
        attempts=attempts,
        losses=losses,
        releases=releases,
        pushed_at=_EPOCH + pushed_at * _MICROSECOND,
        failed_at=_EPOCH + failed_at * _MICROSECOND,
        error=error,
    )
