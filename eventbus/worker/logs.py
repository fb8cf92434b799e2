"""
How log records look: lines for people, JSON for programs.

Both are plain formatters for any `logging` set-up. Only the command calls `configure`; the library
itself never sets logging up. Names and messages in a record may come out of a store that others write
to, so nothing of them begins a new line or moves a terminal's cursor, and a record that is wrong in
itself, with arguments that do not fit its message, is shown as well as it can be.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Literal, TextIO

from typing_extensions import override

from eventbus.defaults import ACTION_TEXT_LIMIT, ERROR_TEXT_LIMIT
from eventbus.errors import InvalidOption
from eventbus.queue.execution import error_text
from eventbus.queue.lifecycle import Outcome
from eventbus.text import class_name, described, one_line, plain, short, shown
from eventbus.worker.health import memory_in_use

__all__ = ["FIELDS", "ConsoleFormatter", "JsonFormatter", "configure"]

#: The fields of a job in a JSON line, and where `record.job` has each.
FIELDS: Final[Mapping[str, str]] = {
    "id": "id",
    "listener": "name",
    "event": "event",
    "connection": "connection",
    "queue": "queue",
    "attempt": "attempt",
    "outcome": "outcome",
    "duration_ms": "duration_ms",
}

_WORDS: Final[Mapping[str, str]] = {
    "running": "RUNNING",
    Outcome.SUCCEEDED: "DONE",
    Outcome.SKIPPED: "SKIPPED",
    Outcome.RELEASED: "RELEASED",
    Outcome.FAILED: "FAIL",
    Outcome.LOST: "LOST",
}
_WIDTH: Final = max(len(one) for one in (*_WORDS.values(), "CRITICAL"))

_RED, _GREEN, _YELLOW, _DIM = 31, 32, 33, 2
_COLOURS: Final[Mapping[str, int]] = {
    "DONE": _GREEN,
    "RELEASED": _YELLOW,
    "LOST": _YELLOW,
    "WARNING": _YELLOW,
    "FAIL": _RED,
    "ERROR": _RED,
    "CRITICAL": _RED,
    "RUNNING": _DIM,
    "INFO": _DIM,
    "DEBUG": _DIM,
}

_UNSHOWABLE: Final = "a record that cannot be shown"


class JsonFormatter(logging.Formatter):
    """
    One JSON object a record, in ASCII, on one line.

    The fields are listed in `docs/reference/logs.md`. Of what a record carries beside its message only
    `record.job` is written, and of that only what `FIELDS` names: never the data of an event.

    Args:
        worker: The name of the worker, for the field `worker`.

    Defaults:
        worker = "": the field is left out.

    Example:
        >>> record = logging.LogRecord("shop", logging.INFO, "", 0, "%d shipped", (3,), None)
        >>> line = json.loads(JsonFormatter(worker="w1").format(record))
        >>> line["level"], line["logger"], line["message"], line["worker"]
        ('INFO', 'shop', '3 shipped', 'w1')
    """

    def __init__(self, *, worker: str = "") -> None:
        super().__init__()
        self._worker = worker

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            "at": _instant(record.created).isoformat(timespec="microseconds"),
            "level": _bounded(_safely(record, "levelname"), ACTION_TEXT_LIMIT),
            "logger": _bounded(_safely(record, "name"), ACTION_TEXT_LIMIT),
            "message": _bounded(_message(record), ERROR_TEXT_LIMIT),
            "pid": _plain(record.process),
        }
        if self._worker:
            line["worker"] = _bounded(self._worker, ACTION_TEXT_LIMIT)
        job = _job(record)
        line |= {field: _plain(job[key]) for field, key in FIELDS.items() if key in job}
        line |= _error_fields(record, job)
        return json.dumps(line)


class ConsoleFormatter(logging.Formatter):
    r"""
    One line a record, for people: the instant, a word, what it is about.

    The word is the outcome of a job, else the record's level. A traceback follows on lines of its own,
    each indented, so that none can pass for a record.

    Args:
        verbose: For a job also its id, attempt, connection, queue and the memory in use.
        color: Colour the word, for a terminal.
        zone: The time zone of instants.

    Defaults:
        verbose = False.
        color = False.
        zone = UTC, as everywhere in what the commands print.

    Example:
        >>> record = logging.LogRecord("shop", logging.INFO, "", 0, "a\nb", (), None)
        >>> record.created = 0.0
        >>> ConsoleFormatter().format(record)
        '1970-01-01T00:00:00Z INFO     a\\nb'
    """

    def __init__(self, *, verbose: bool = False, color: bool = False, zone: tzinfo = UTC) -> None:
        super().__init__()
        self._verbose = verbose
        self._color = color
        self._zone = zone

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and those of its traceback."""
        job = _job(record)
        word = _WORDS.get(_text(job.get("outcome", "")))
        if word is None:
            word, said = _safely(record, "levelname"), _message(record)
            if self._verbose:
                said = f"{said}{_details(job)}"
        else:
            said = self._of_job(job)
        moment = _instant(record.created).astimezone(self._zone)
        at = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
        word = _line(word, ACTION_TEXT_LIMIT)
        lines = [f"{at} {self._colored(word)} {_line(said, ERROR_TEXT_LIMIT)}"]
        for text in (_traceback(record), _safely(record, "stack_info")):
            # Not `splitlines`: it takes marks for line ends that are to be shown as what they are.
            lines += [f"  {_line(one, ERROR_TEXT_LIMIT)}" for one in text.split("\n") if one]
        return "\n".join(lines)

    def _of_job(self, job: Mapping[str, Any]) -> str:
        said = short(_text(job.get("name") or "(unreadable)"))
        took = job.get("duration_ms")
        if isinstance(took, int | float) and math.isfinite(took):
            said += f"  {_took(took)}"
        error = job.get("error")
        if error is not None:
            said += (
                f"  {described(error) if isinstance(error, BaseException) else short(_text(error))}"
            )
        return said + (_details(job) if self._verbose else "")

    def _colored(self, word: str) -> str:
        padded = word.ljust(_WIDTH)
        code = _COLOURS.get(word)
        return padded if code is None or not self._color else f"\x1b[{code}m{padded}\x1b[0m"


def configure(
    format: Literal["console", "json"] = "console",
    level: int = logging.INFO,
    *,
    verbose: bool = False,
    zone: tzinfo = UTC,
    worker: str = "",
    stream: TextIO | None = None,
) -> None:
    """
    Write log records to `stream`; only a command does so.

    It changes nothing where the application has set logging up already.

    Args:
        format: "console" for people, "json" for programs.
        level: The least that is written.
        verbose: See `ConsoleFormatter`.
        zone: See `ConsoleFormatter`.
        worker: See `JsonFormatter`.
        stream: Where to. Colours are used if it is a terminal, unless NO_COLOR is set.

    Raises:
        InvalidOption: There is no such format.

    Defaults:
        stream = stderr: stdout is the listeners'.
    """
    if format not in ("console", "json"):
        raise InvalidOption(option="log format", value=format, expected='"console" or "json"')
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    if format == "json":
        handler.setFormatter(JsonFormatter(worker=worker))
    else:
        color = _is_colorful(handler.stream)
        handler.setFormatter(ConsoleFormatter(verbose=verbose, color=color, zone=zone))
    logging.basicConfig(handlers=[handler], level=level)


def _is_colorful(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def _job(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return what a record says of a job; any library may call a field of its own so."""
    job = getattr(record, "job", None)
    return job if isinstance(job, dict) else {}


def _message(record: logging.LogRecord) -> str:
    try:
        return plain(record.getMessage())
    except BaseException:  # noqa: BLE001 -- arguments that do not fit, or a __str__ that raises
        arguments = f" {shown(record.args)}" if record.args else ""
        return f"{_text(record.msg)}{arguments}"


def _error_fields(record: logging.LogRecord, job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields about what was raised; none for a record that tells of no error."""
    found: dict[str, Any] = {}
    raised = _raised(record)
    error = job.get("error") if raised is None else raised  # an error may be false
    if isinstance(error, BaseException):
        found["error"] = class_name(type(error))
        found["reason"] = described(error)
    elif error is not None:
        found["reason"] = _bounded(_text(error), ACTION_TEXT_LIMIT)
    for field, text in (
        ("traceback", _traceback(record)),
        ("stack", _safely(record, "stack_info")),
    ):
        if text:
            found[field] = _bounded(text, ERROR_TEXT_LIMIT)
    return found


def _raised(record: logging.LogRecord) -> BaseException | None:
    given = record.exc_info
    error = given[1] if isinstance(given, tuple) and len(given) == 3 else given
    return error if isinstance(error, BaseException) else None


def _traceback(record: logging.LogRecord) -> str:
    error = _raised(record)
    # A record that came out of another process has the text alone.
    return _safely(record, "exc_text") if error is None else error_text(error)


def _details(job: Mapping[str, Any]) -> str:
    """Return what `-v` adds about a job."""
    names = ("id", "attempt", "connection", "queue")
    told = [f"{name}={_text(job[name])}" for name in names if name in job]
    memory = memory_in_use() if told else None
    if memory is not None:
        told.append(f"memory={memory / 2**20:.0f}MiB")
    return "".join(f"  {one}" for one in told)


def _took(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 10_000 else f"{milliseconds:.0f} ms"


def _instant(created: object) -> datetime:
    try:
        return datetime.fromtimestamp(created, UTC)  # type: ignore[arg-type]
    except (OSError, OverflowError, TypeError, ValueError):
        return datetime.now(UTC)  # a clock, or a record, out of its mind


def _safely(record: logging.LogRecord, name: str) -> str:
    value = getattr(record, name, None)
    return "" if value is None else _text(value)


def _text(value: object) -> str:
    try:
        return plain(value)
    except BaseException:  # noqa: BLE001 -- a __str__ that raises
        return shown(value)


def _plain(value: object) -> str | int | float | bool | None:
    """Return `value` as JSON has it; what JSON has not, as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    return _bounded(_text(value), ACTION_TEXT_LIMIT)


def _bounded(text: str, limit: int) -> str:
    """Return `text` as it can be written: not too long, and without halves of surrogate pairs."""
    cut = text if len(text) <= limit else f"{text[:limit]}..."
    return cut.encode("utf-8", "backslashreplace").decode("utf-8")


def _line(text: str, limit: int) -> str:
    return one_line(text if len(text) <= limit else f"{text[:limit]}...")
