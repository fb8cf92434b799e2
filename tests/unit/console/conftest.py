"""An application of its own for each test, and the command run on it."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner

from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend
from eventbus.console.command import command
from eventbus.queue.codec.document import Document, write
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder; what is imported from it is forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("EVENTBUS_APP", raising=False)
    monkeypatch.delenv("EVENTBUS_URL", raising=False)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def module(folder):
    """Write a module; it is imported as `depot.NAME`."""

    def module(name, source):
        path = folder / "depot" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(dedent(source), "utf-8")

    return module


@pytest.fixture
def run(folder):
    """Run the command with the application `depot.app:bus`."""

    def run(*args, app="depot.app:bus"):
        return CliRunner().invoke(
            command, [*(["--app", app] if app else []), *args], prog_name="eventbus"
        )

    return run


@pytest.fixture
def clock():
    return ManualClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture
def store(folder, clock, module):
    """A port to the store of an application that has its connection "default" there."""
    module(
        "app",
        """
        from datetime import UTC, datetime
        from eventbus import EventBus
        from eventbus.testing.clock import ManualClock

        clock = ManualClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
        bus = EventBus(
            connections={
                "default": "sqlite:///queue.db",
                "other": "sqlite:///other.db",
                "now": "sync://",
                "void": "null://",
            },
            clock=clock,
        )
        """,
    )
    with_port = Port(SqliteBackend("queue.db", clock=clock), name="default")
    yield with_port
    with_port.close()


@pytest.fixture
def fail(store):
    """Let a job fail, in the store of the application unless told otherwise."""

    def fail(
        id,
        *,
        queue="emails",
        error="Traceback (most recent call last):\n  ...\nValueError: no such address\n",
        body=None,
        port=store,
        **fields,
    ):
        document = {
            "id": id,
            "kind": "listener",
            "name": "depot.listeners:Send",
            "event": "order.shipped",
            "payload": "class",
            "data": b'{"order_id":1}',
            "dispatched_at": datetime(2030, 1, 1, tzinfo=UTC),
        }
        stored = write(Document(**document | fields)) if body is None else body
        port.push([Envelope(id=id, queue=queue, body=stored)])
        [claim] = port.claim([queue])
        port.bury(claim, error=error)

    return fail


@pytest.fixture
def failed_ids(store):
    return lambda: [one.envelope.id for one in store.failed()]


@pytest.fixture
def hostile():
    """What comes out of a store that others write to: it clears a screen, forges lines, turns text."""
    return "\x1b[2J\r\nattempts 0\u202e\u2028\x9b31m\x07"


@pytest.fixture
def hostile_shown():
    return r"\x1b[2J\r\nattempts 0\u202e\u2028\x9b31m\x07"


@pytest.fixture
def at_a_terminal(monkeypatch):
    """Run the command with a real terminal for its input, on which somebody types."""
    master, slave = os.openpty()

    def at_a_terminal(*args, types):
        os.write(master, types.encode())
        with pytest.raises(SystemExit) as end:
            command(["--app", "depot.app:bus", *args], prog_name="eventbus")
        return end.value.code

    with os.fdopen(slave, "r", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield at_a_terminal
    os.close(master)


@pytest.fixture
def bus(run, store):
    """The bus that the command loads."""
    run("failed")
    return sys.modules["depot.app"].bus
