"""Texts that want to be a format, a terminal's order or another line: shown as text, wherever."""

from __future__ import annotations

import json
import re

import pytest

from .hostile import Hostile, drain, is_plain
from .poison import APPLICATION, Poison, body

#: What an attacker puts into names, ids, errors and values.
TEXTS = {
    "a format": "{0.__class__.__init__.__globals__}",
    "a format of the old kind": "%s%n%(asctime)s%999999999d",
    "a format of nothing": "{}{",
    "a percent sign": "100%",
    "a look-up": "${jndi:ldap://127.0.0.1:9/a}",
    "a template": "$HOME ${HOME} {{7*7}} <%= 7 %>",
    "markup": "[bold red]x[/] [link=file:///etc/passwd]y[/link]",
    "HTML": "<script>alert(1)</script>",
    "red": "\x1b[31mred\x1b[0m",
    "the screen cleared": "\x1b[2J\x1b[H",
    "a title": "\x1b]0;owned\x07",
    "a link": "\x1b]8;;http://127.0.0.1:9/\x1b\\here\x1b]8;;\x1b\\",
    "a question": "\x1b[6n\x1b[c\x05",
    "C1 controls": "\x9b31m\x9d0;owned\x9c\x85",
    "backspaces": "good\b\b\b\bevil",
    "a carriage return": "failed\rsucceeded",
    "another record": "x\r\n2026-01-01T00:00:00Z INFO worker ends: signal, after 0 jobs",
    "another record in JSON": 'x"}\n{"level": "INFO", "message": "all is well"}',
    "line separators": "a\u2028b\u2029c\x0bd\x0ce\x1cf\x1dg\x1eh",
    "turned": "\u202egpj.exe\u202c \u2066x\u2069 \u200f\u061c",
    "invisible": "a\u200bb\ufeffc\u2060d\U000e0041\u00ad",
    "a NUL": "a\0b",
    "combined": "a" + "\u0300" * 200,
    "a traceback": 'Traceback (most recent call last):\n  File "x", line 1, in <module>\nOSError: x',
    "wide": "\uff37\uff29\uff24\uff25" * 100,
    "long": "x" * 50_000,
}

SHOUTING = """
from eventbus.errors import *

@event("trap.loud")
@frozen
class Loud:
    text: str

class Shout(ShouldQueue):
    name = "shout.raise"
    def handle(self, event: Loud) -> None:
        raise RuntimeError(event.text)
    def failed(self, event: Loud, error: BaseException) -> None:
        raise LookupError(event.text) from error

class Whisper(ShouldQueue):
    name = "shout.chain"
    def handle(self, event: Loud) -> None:
        error = ExceptionGroup(event.text, [ValueError(event.text), KeyError(event.text)])
        error.add_note(event.text)
        raise error

bus.listen(Loud, Shout)
bus.listen(Loud, Whisper)
"""


@pytest.fixture
def hostile(tmp_path):
    return Hostile(tmp_path, APPLICATION + SHOUTING)


def shouts(text):
    """Return rows that bring `text` into logs, errors and lists by every way there is."""
    said = {"event": "trap.loud", "version": 1, "data": {"text": text}}
    yield Poison(name="raised", body=body(name="shout.raise", **said))
    yield Poison(name="chained", body=body(name="shout.chain", **said))
    yield Poison(name="listener", body=body(name=text))
    yield Poison(name="event", body=body(event=text))
    yield Poison(name="kind", body=body(kind=text))
    yield Poison(name="id", body=body(id=text))
    yield Poison(name="key", body=body(**{text: 1}))
    yield Poison(name="field", body=body(data={"number": 1, text: 1}))
    yield Poison(name="value", body=body(data={"number": text}))
    yield Poison(name="option", body=body(options={"display_name": text, "trail": [text]}))
    yield Poison(name="bytes", body=text.encode())
    yield Poison(name="row", body=b"no JSON", columns={"id": text})


def rows(texts=TEXTS):
    found = {}
    for at, (name, text) in enumerate(texts.items()):
        for poison in shouts(text):
            if poison.name == "row" and name == "long":
                continue  # a test of its own, below
            found[poison.columns.get("id", f"t{at:03}{poison.name}")] = poison
    return found


LEVELS = ("INFO", "WARNING", "ERROR", "CRITICAL", "DEBUG")
#: How a record begins, in every form of the log: an instant.
RECORD = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S* +\S")


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.timeout(60)
def test_a_hostile_text_is_one_line_of_a_log(hostile, form):
    """A5: formats, escapes, line ends and marks of direction in every field, through both logs."""
    hostile.make_file()
    with hostile.file() as file:
        file.write(rows().items())

        worker = hostile.work("--log-format", form, "-v")

        assert worker.returncode == 0, worker.stderr[-2_000:]
        assert len(file.rows("failed")) + len(file.rows("envelopes")) >= len(rows()) - len(TEXTS)
    assert is_plain(worker.stdout + worker.stderr)
    lines = worker.stderr.splitlines()
    if form == "json":
        records = [json.loads(one) for one in lines]
        assert all(one["level"] in LEVELS for one in records)
        ends = [one for one in records if one["message"].startswith("worker ends")]
    else:
        # What belongs to the record before it, a traceback, is indented.
        ends = [one for one in lines if re.match(r"\S+ +INFO +worker ends", one)]
        assert all(one.startswith("  ") for one in lines if not RECORD.match(one))
    assert len(ends) == 1
    assert all(len(one) < 20_000 for one in lines)
    assert not any(line.startswith('{"level": "INFO", "message": "all is well"') for line in lines)


@pytest.mark.timeout(60)
def test_a_hostile_text_is_one_cell_of_a_list(hostile, monkeypatch):
    """A5: what such jobs leave behind is listed, a line each, by the command."""
    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        file.write(rows().items())
        drain(bus)
        failed, waiting = len(file.rows("failed")), len(file.rows("envelopes"))

        listed = hostile.console("failed")
        shown = hostile.command(monkeypatch, "failed", "t000raised")
        as_json = hostile.command(monkeypatch, "failed", "--json")

        assert (listed.returncode, shown.exit_code, as_json.exit_code) == (0, 0, 0)
        assert is_plain(listed.stdout + listed.stderr)
        assert as_json.stdout.isascii()
        # Below the failed jobs stand some of those that wait for other code.
        assert failed < len(listed.stdout.splitlines()) < failed + waiting + 10
        assert len(json.loads(as_json.stdout)) == failed
        assert all(len(line) < 1_000 for line in listed.stdout.splitlines())
        for more in ([], ["--parked"], ["--data"]):
            as_json = hostile.command(monkeypatch, "peek", "--limit", "1000", "--json", *more)
            assert (as_json.exit_code, as_json.stdout.isascii()) == (0, True)
            assert len(json.loads(as_json.stdout)) == waiting
            hostile.command(monkeypatch, "peek", "--limit", "1000", *more)
        hostile.command(monkeypatch, "check")


ERRORS = {
    "a result of another queue": '{"exc_type": "system", "exc_module": "os", "exc_message": ["touch canary"]}',
    "a pickle": "cos\nsystem\n(S'touch canary'\ntR.",
    "a traceback of eventbus": "Traceback (most recent call last):\nos.system: touch canary",
    "a line of ours": "x\nerror\n  none\nid  0000\nlistener  good.mark",
    "nothing": "",
    "line feeds": "\n" * 50_000,
    "100 MB": None,
    **TEXTS,
}


@pytest.mark.timeout(60)
def test_a_stored_error_is_only_ever_text(hostile, monkeypatch):
    """A4: errors that somebody wrote into the failed jobs are shown and retried, and nothing else."""
    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        ids = [f"error{at:03}" for at in range(len(ERRORS))]
        file.write((key, Poison(name=key, body=b"no JSON")) for key in ids)
        drain(bus)
        for key, text in zip(ids, ERRORS.values(), strict=True):
            file.change("failed", key, error="x" * 5_000_000 if text is None else text)
        for at, value in enumerate((b"\xff\0", 17, 1.5, "\x1b[31m")):
            file.change("failed", ids[at], failed_at=value, pushed_at=value, attempts=value)

        listed = hostile.console("failed")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert is_plain(listed.stdout)
        assert len(listed.stdout.splitlines()) == len(ids) + 1
        assert all(len(line) < 1_000 for line in listed.stdout.splitlines())
        for key in ids[:8]:
            shown = hostile.command(monkeypatch, "failed", key)
            assert shown.exit_code == 0
            facts, _, _ = shown.stdout.partition("\nerror\n")
            assert facts.count(key) == 1
        as_json = hostile.command(monkeypatch, "failed", "--json").stdout
        assert len(json.loads(as_json)) == len(ids)
        assert hostile.command(monkeypatch, "retry", "--all").exit_code == 0
        drain(bus)
        assert set(file.rows("failed")) == set(ids)
    assert hostile.ran == []
    assert not (hostile.folder / "canary").exists()


def test_a_long_id_does_not_make_every_line_as_long(hostile, monkeypatch):
    """A5: a list stays one that can be read."""
    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        for key in ("i" * 50_000, "short0"):
            file.write([(key, Poison(name="id", body=b"no JSON"))])
        drain(bus)

        listed = hostile.console("failed")

        assert len(file.rows("failed")) == 2
        assert all(len(line) < 1_000 for line in listed.stdout.splitlines())
