"""How log records look, whoever wrote them and whatever is in them."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import logging.handlers
import queue
import re
import sys
import time
from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from eventbus.defaults import ERROR_TEXT_LIMIT
from eventbus.errors import InvalidOption
from eventbus.queue.lifecycle import Outcome
from eventbus.worker.logs import FIELDS, ConsoleFormatter, JsonFormatter, configure

JOB = {
    "id": "a1",
    "name": "shop.listeners:Send",
    "connection": "default",
    "queue": "emails",
    "attempt": 2,
    "outcome": Outcome.SUCCEEDED,
    "duration_ms": 12.345,
}

HOSTILE = "\x1b[2J\r\n2030-01-01T00:00:00Z DONE     forged\u202e\u2028\x9b31m\x07\ud800 {0.__class__} %s%n"


class UnshowableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def record(message="said", *args, level=logging.INFO, name="eventbus.worker", **extra):
    made = logging.LogRecord(name, level, "file.py", 1, message, args, None)
    made.__dict__.update({"created": 0.5, "process": 7, **extra})
    return made


def raised(error):
    try:
        raise error
    except BaseException:
        return sys.exc_info()


def as_json(made, **options):
    text = JsonFormatter(**options).format(made)
    assert "\n" not in text
    assert text.isascii()
    return msgspec.json.decode(text)  # strict: no nan, no half of a surrogate pair


# JSON.


def test_a_json_line_has_these_fields():
    assert as_json(record("%d done", 3, level=logging.WARNING)) == {
        "at": "1970-01-01T00:00:00.500000+00:00",
        "level": "WARNING",
        "logger": "eventbus.worker",
        "message": "3 done",
        "pid": 7,
    }


def test_a_json_line_about_a_job_has_its_fields_too():
    """Q6: one object per line, with stable names."""
    line = as_json(record(job={**JOB, "event": "order.shipped"}), worker="w1")

    assert {name: line[name] for name in line if name in FIELDS} == {
        "id": "a1",
        "listener": "shop.listeners:Send",
        "event": "order.shipped",
        "connection": "default",
        "queue": "emails",
        "attempt": 2,
        "outcome": "succeeded",
        "duration_ms": 12.345,
    }
    assert line["worker"] == "w1"


def test_only_what_is_named_is_written_of_a_job():
    """The data of an event is nobody's business in a log."""
    made = record(job={**JOB, "data": "4111", "payload": "4111"}, data="4111", card="4111")

    assert "4111" not in JsonFormatter().format(made) + ConsoleFormatter(verbose=True).format(made)


def test_an_error_has_its_type_its_reason_and_its_traceback():
    line = as_json(record(exc_info=raised(ValueError("no such address"))))

    assert (line["error"], line["reason"]) == ("ValueError", "ValueError: no such address")
    assert line["traceback"].startswith("Traceback (most recent call last):")


def test_the_error_of_a_job_is_told_without_a_traceback():
    line = as_json(record(job={**JOB, "error": ValueError("no such address")}))

    assert (line["error"], line["reason"]) == ("ValueError", "ValueError: no such address")
    assert "traceback" not in line


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_null(number):
    assert as_json(record(job={**JOB, "duration_ms": number}))["duration_ms"] is None


def test_texts_are_bounded():
    line = as_json(
        record(
            "m" * 10**6, job={**JOB, "name": "n" * 10**6}, exc_info=raised(ValueError("e" * 10**6))
        )
    )

    assert (
        max(len(value) for value in line.values() if isinstance(value, str)) <= ERROR_TEXT_LIMIT + 3
    )
    assert len(line["listener"]) < 300


# Lines for people.


@pytest.mark.parametrize(
    "outcome, word",
    [
        ("running", "RUNNING "),
        (Outcome.SUCCEEDED, "DONE    "),
        (Outcome.SKIPPED, "SKIPPED "),
        (Outcome.RELEASED, "RELEASED"),
        (Outcome.FAILED, "FAIL    "),
        (Outcome.LOST, "LOST    "),
    ],
)
def test_the_line_of_a_job_is_an_instant_a_word_a_listener_and_a_duration(outcome, word):
    """Q6, N5."""
    line = ConsoleFormatter().format(record(job={**JOB, "outcome": outcome}))

    assert line == f"1970-01-01T00:00:00Z {word} shop.listeners:Send  12 ms"


def test_every_outcome_has_a_word():
    lines = {ConsoleFormatter().format(record(job={**JOB, "outcome": one})) for one in Outcome}

    assert len(lines) == len(Outcome)
    assert not [line for line in lines if "INFO" in line]


def test_the_line_of_a_job_that_raised_says_what():
    line = ConsoleFormatter().format(
        record(job={**JOB, "outcome": "failed", "duration_ms": 61_234, "error": KeyError("id")})
    )

    assert line == "1970-01-01T00:00:00Z FAIL     shop.listeners:Send  61.2 s  KeyError: 'id'"


def test_a_verbose_line_says_more_of_a_job():
    """Q6: id, connection, queue, memory."""
    line = ConsoleFormatter(verbose=True).format(record(job=JOB))

    head = "1970-01-01T00:00:00Z DONE     shop.listeners:Send  12 ms"
    facts = "  id=a1  attempt=2  connection=default  queue=emails"
    assert line.startswith(head + facts)
    assert re.fullmatch(r"(  memory=\d+MiB)?", line.removeprefix(head + facts))


def test_a_record_about_nothing_that_ran_has_its_level_and_message():
    made = record("worker begins: %s", "emails", level=logging.WARNING)

    assert ConsoleFormatter(verbose=True).format(made) == (
        "1970-01-01T00:00:00Z WARNING  worker begins: emails"
    )


def test_a_job_whose_bytes_cannot_be_read_has_no_name():
    line = ConsoleFormatter().format(record(job={**JOB, "name": "", "outcome": "failed"}))

    assert "FAIL     (unreadable)" in line


def test_a_traceback_follows_indented():
    first, *rest = ConsoleFormatter().format(record(exc_info=raised(ValueError("x")))).split("\n")

    assert first.endswith("said")
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-1] == "  ValueError: x"
    assert all(line.startswith("  ") for line in rest)


def test_the_line_of_a_job_is_short_whatever_it_is_called():
    """A11: a stored name may be as long as a document; a line of it comes every half minute."""
    job = JOB | {"name": "x" * 16_000, "error": "y" * 16_000}
    record = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", "job": job})

    line = ConsoleFormatter().format(record)

    assert "x" * 200 + "..." in line
    assert len(line) < 500


def test_an_error_that_is_false_is_told_as_any():
    """F8: an exception with a length of 0 is still one."""
    error = type("Empty", (Exception,), {"__len__": lambda self: 0})("no")
    record = logging.makeLogRecord({"exc_info": (type(error), error, None)})

    line = json.loads(JsonFormatter().format(record))

    assert (line["error"], line["reason"]) == ("Empty", "Empty: no")


def test_instants_may_be_of_another_time_zone():
    """Q21."""
    zone = timezone(timedelta(hours=2))

    assert ConsoleFormatter(zone=zone).format(record()).startswith("1970-01-01T02:00:00+02:00 INFO")


def test_only_the_word_is_coloured():
    line = ConsoleFormatter(color=True).format(record(job=JOB))

    assert line == "1970-01-01T00:00:00Z \x1b[32mDONE    \x1b[0m shop.listeners:Send  12 ms"


# Odd records.


@pytest.mark.parametrize(
    "formatter", [JsonFormatter(worker=HOSTILE), ConsoleFormatter(verbose=True)]
)
def test_a_record_stays_one_line_whatever_is_in_it(formatter):
    """A5: format strings, escapes, line ends, direction marks, in message, names and arguments."""
    job = dict.fromkeys((*JOB, "event", "error"), HOSTILE)
    for made in (
        record(HOSTILE, name=HOSTILE, levelname=HOSTILE),
        record("%s", HOSTILE, job={**JOB, "name": HOSTILE, "error": ValueError(HOSTILE)}),
        record(job=job),
        record(job={**job, "outcome": "failed"}),
    ):
        line = formatter.format(made)
        assert [one for one in line if not one.isprintable()] == []
        line.encode("utf-8")
        if isinstance(formatter, JsonFormatter):
            as_json(made, worker=HOSTILE)


def test_no_line_of_a_traceback_can_pass_for_a_record():
    """A5."""
    text = ConsoleFormatter().format(record(exc_info=raised(ValueError(HOSTILE))))

    assert [line for line in text.split("\n")[1:] if not line.startswith("  ")] == []
    assert r"\u202e\u2028\x9b31m" in text
    assert [one for one in text if not one.isprintable() and one != "\n"] == []


odd = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(),
    some.text(),
    some.binary(),
    some.just(UnshowableError()),
    some.just(object()),
    some.just(10**6_000),
    some.lists(some.text(), max_size=2),
    some.dictionaries(some.text(), some.integers(), max_size=2),
)


@given(
    message=odd,
    arguments=some.one_of(some.tuples(), some.tuples(odd), some.tuples(odd, odd)),
    fields=some.dictionaries(
        some.sampled_from(
            ["job", "created", "levelname", "name", "exc_info", "exc_text", "stack_info", "process"]
        ),
        odd,
    ),
    job=some.one_of(some.none(), some.dictionaries(some.sampled_from([*JOB, "error"]), odd)),
)
def test_a_formatter_never_raises(message, arguments, fields, job):
    made = record(message)
    made.args = arguments
    made.__dict__.update(fields)
    if job is not None:
        made.job = job

    assert ConsoleFormatter(verbose=True).format(made)
    as_json(made)


@pytest.mark.parametrize("formatter", [JsonFormatter(), ConsoleFormatter()])
@pytest.mark.parametrize(
    "made",
    [
        record("%d done", "three"),
        record("%s and %s", "one"),
        record("no place for it", "argument"),
        record(UnshowableError()),
        record(exc_info=(UnshowableError, UnshowableError(), None)),
        record(exc_info=(None, None, None)),
        record(exc_info=True),
        record(job={**JOB, "error": UnshowableError()}),
        record(job={**JOB, "duration_ms": float("nan")}),
        record(created=float("nan")),
        record(created=1e300),
    ],
)
def test_a_record_that_is_wrong_in_itself_is_shown_as_well_as_it_can_be(formatter, made):
    assert formatter.format(made)


def test_arguments_that_do_not_fit_are_shown_beside_the_message():
    assert as_json(record("%d done", "three"))["message"] == "%d done ('three',)"


def test_a_record_that_came_from_another_process_keeps_its_traceback():
    waiting = queue.SimpleQueue()
    logging.handlers.QueueHandler(waiting).handle(record(exc_info=raised(ValueError("x"))))

    assert "ValueError: x" in JsonFormatter().format(waiting.get())


# Set-up.


@pytest.fixture
def at_the_start(monkeypatch):
    """Return the root logger as a program finds it at its start; pytest has handlers there."""
    logger = logging.getLogger()
    level = logger.level

    def at_the_start():
        monkeypatch.setattr(logger, "handlers", [])
        return logger

    yield at_the_start
    logger.setLevel(level)


def test_the_formatters_can_be_used_in_any_set_up(at_the_start):
    root = at_the_start()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"lines": {"()": "eventbus.worker.logs.JsonFormatter", "worker": "w1"}},
            "handlers": {"all": {"class": "logging.StreamHandler", "formatter": "lines"}},
            "root": {"handlers": ["all"]},
        }
    )

    assert isinstance(root.handlers[0].formatter, JsonFormatter)


def test_configure_writes_json_lines(at_the_start):
    at_the_start()
    stream = io.StringIO()
    configure("json", logging.WARNING, worker="w1", stream=stream)

    logging.getLogger("shop").info("not this")
    logging.getLogger("shop").warning("this")

    [line] = stream.getvalue().splitlines()
    assert (json.loads(line)["message"], json.loads(line)["worker"]) == ("this", "w1")


def test_configure_leaves_what_the_application_set_up(at_the_start):
    root = at_the_start()
    theirs = logging.NullHandler()
    root.addHandler(theirs)

    configure("json", stream=io.StringIO())

    assert root.handlers == [theirs]


@pytest.mark.parametrize(
    "terminal, environment, is_colored",
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colours_are_for_terminals(at_the_start, monkeypatch, terminal, environment, is_colored):
    for name, value in {"TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    if "NO_COLOR" not in environment:
        monkeypatch.delenv("NO_COLOR", raising=False)
    at_the_start()
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    configure(stream=stream)

    logging.getLogger("shop").warning("low")

    assert ("\x1b[33m" in stream.getvalue()) == is_colored


def test_a_format_that_does_not_exist_is_refused():
    with pytest.raises(InvalidOption, match='"console" or "json"'):
        configure("xml")


def test_an_instant_is_that_of_the_record():
    before = time.time()
    made = logging.LogRecord("shop", logging.INFO, "", 0, "x", (), None)

    at = datetime.fromisoformat(as_json(made)["at"]).timestamp()

    assert before - 1 < at < time.time() + 1
