"""Names that want to be SQL, a protocol or a pattern: refused before any I/O, or plain text."""

from __future__ import annotations

from contextlib import suppress

import pytest

from eventbus.backends.memory import MemoryBackend
from eventbus.backends.port import Port
from eventbus.errors import EventBusError, InvalidOption
from eventbus.queue.envelope import Envelope

from .hostile import Hostile, drain
from .poison import Poison, body, good

NAMES = {
    "SQL": "'; DROP TABLE envelopes; --",
    "SQL, double quotes": 'x" OR "1"="1',
    "SQL, a comment": "default/**/",
    "beanstalkd": "default\r\ndelete 1\r\n",
    "Redis": "*1\r\n$8\r\nFLUSHALL\r\n",
    "HTTP": "x HTTP/1.1\r\nX-Injected: 1\r\n\r\n",
    "a line feed at the end": "default\n",
    "a glob": "*",
    "a glob in a name": "default*",
    "a class of characters": "[a-z]",
    "LIKE": "%",
    "LIKE, one": "_default",
    "a hash tag": "{default}",
    "a colon": "default:x",
    "a path": "../default",
    "an absolute path": "/etc/passwd",
    "a NUL": "default\0",
    "a tab": "a\tb",
    "a space": "a b",
    "a space at the end": "default ",
    "64 letters": "q" * 64,
    "201 letters": "q" * 201,
    "10,000 letters": "q" * 10_000,
    "nothing": "",
    "a dot first": ".hidden",
    "a hyphen first": "-option",
    "a letter with an accent": "défaut",
    "an accent by itself": "de\u0301faut",
    "full width": "\uff44efault",
    "Cyrillic": "d\u0435fault",
    "digits of another script": "\u0661\u0662",
    "turned": "\u202edefault",
    "half a surrogate pair": "\ud800",
    "an escape": "\x1b[31m",
    "a format": "{0.__class__}",
    "bytes": b"default",
    "a number": 7,
    "None": None,
    "a list": ["default"],
}


class Untouched(MemoryBackend):
    """A backend that nothing may be asked."""

    def __getattribute__(self, name):
        if name in {"push", "claim", "size", "clear", "next_due", "peek", "find", "failed", "flag"}:
            pytest.fail(f"{name} was called")
        return super().__getattribute__(name)


def verbs(port, name):
    """Return what takes the name of a queue."""
    return {
        "push": lambda: port.push([Envelope(id="a", queue=name, body=b"{}")]),
        "claim": lambda: port.claim([name]),
        "claim behind a sound one": lambda: port.claim(["default", name]),
        "size": lambda: port.size(name),
        "clear": lambda: port.clear(name),
        "next_due": lambda: port.next_due([name]),
        "failed": lambda: port.failed(queues=[name]),
        "peek": lambda: port.peek(queues=[name]),
        "find": lambda: port.find(["a"], queues=[name]),
        "the port itself": lambda: Port(MemoryBackend(), name="default", default_queue=name),
        "its name": lambda: Port(MemoryBackend(), name=name),
    }


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_hostile_name_of_a_queue_is_refused_before_any_io(name):
    """A6: every verb that takes a queue's name refuses it, in one short and printable line."""
    port = Port(Untouched(), name="default")

    for verb, ask in verbs(port, name).items():
        with pytest.raises(InvalidOption) as caught:
            ask()
        assert str(caught.value).isprintable(), verb
        assert len(str(caught.value)) < 1_000, verb


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_hostile_id_is_stored_as_it_is_or_refused(name):
    """A6: an id is short printable ASCII, and only ever a value, never a statement."""
    port = Port(MemoryBackend(), name="default")
    if isinstance(name, str) and 0 < len(name) <= 63 and name.isascii() and name.isprintable():
        port.push([Envelope(id=name, queue="default", body=b"{}")])
        [claim] = port.claim(["default"])
        assert claim.envelope.id == name
    else:
        with pytest.raises(InvalidOption) as caught:
            port.push([Envelope(id=name, queue="default", body=b"{}")])
        assert str(caught.value).isprintable()


@pytest.fixture
def hostile(tmp_path):
    return Hostile(tmp_path)


def test_hostile_arguments_of_the_command_change_nothing(hostile, monkeypatch):
    """A6: ids, queues and cursors on the command line are values; the tables stay as they were."""
    texts = [one for one in NAMES.values() if isinstance(one, str) and "\0" not in one]
    texts = [one for one in texts if len(one) < 1_000 and "\ud800" not in one and one]
    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        file.write([("kept00", Poison(name="kept", body=b"no JSON"))])
        drain(bus)
        file.write([("later0", Poison(name="later", body=good(1), columns={"due": 2**60}))])

        for arguments in (
            ["failed", "--", *texts[:1]],
            ["retry", "--", *texts],
            ["cancel", "--", *texts],
            ["clear", "--yes", "--", *texts[:2]],
            ["pause", "--", *texts[:2]],
            ["peek", "--", texts[0]],
            ["size", "--", *texts[:2]],
            ["forget", "--", *texts],
            *(["failed", f"--queue={one}"] for one in texts[:6]),
            *(["flush", "--yes", f"--queue={one}"] for one in texts[:6]),
            ["failed", f"--connection={texts[0]}"],
        ):
            done = hostile.command(monkeypatch, *arguments)
            assert done.exit_code in (0, 1, 2, 3), (arguments, done.output)
        for text in texts[:1]:
            assert hostile.work(f"--queue={text}").returncode == 2

        assert list(file.rows("failed")) == ["kept00"]
        assert list(file.rows("envelopes")) == ["later0"]
        assert file.is_sound()


@pytest.mark.parametrize("name", [one for one in NAMES.values() if isinstance(one, str) and one])
def test_a_hostile_name_of_an_event_is_only_ever_a_key(hostile, monkeypatch, name):
    """A6: dispatched, or written into the store, it is a name that nobody hears."""
    try:
        name.encode()
    except UnicodeEncodeError:
        pytest.skip("no such text can be stored")
    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        with suppress(EventBusError):
            assert bus.dispatch(name) == []
        file.write([("a", Poison(name="event", body=body(event=name)))])

        assert drain(bus) == 1

        assert hostile.ran == []
        assert len(file.rows("envelopes")) + len(file.rows("failed")) == 1
        assert file.is_sound()
