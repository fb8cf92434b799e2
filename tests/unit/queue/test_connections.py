"""The connections of a bus: opened once, when first used."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eventbus import EventBus, listens
from eventbus.backends.memory import MemoryBackend
from eventbus.errors import InvalidOption, UnknownConnection
from eventbus.queue.connections import Connections
from eventbus.testing.clock import ManualClock


class Ordered:
    pass


@listens(queue=True)
def react(event: Ordered) -> None: ...


def connections(urls=None, default="default", *, maker="", clock=None):
    return Connections(urls or {}, default, maker=maker, clock=clock)


@pytest.mark.parametrize(
    "url",
    ["sqlite", "", 7, None, "sync://host", "sync://?queue=emails"],
)
def test_what_is_no_url_is_refused_at_once(url):
    with pytest.raises(InvalidOption, match="connection 'mail'"):
        EventBus(connections={"mail": url})


def test_a_backend_that_was_made_by_hand_is_a_connection():
    """Over a client that the application has, say."""
    backend = MemoryBackend()
    with EventBus(connections={"default": "memory://", "mail": backend}) as bus:
        port = bus.connections.port("mail")
        assert port.backend is backend
        assert bus.connections.default_queue("mail") == port.default_queue == "default"
        assert not bus.connections.is_sync("mail")


def test_the_refusal_shows_no_password():
    with pytest.raises(InvalidOption) as caught:
        connections({"default": "redis:me:secret@localhost"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", 7])
def test_a_name_that_cannot_be_is_refused(name):
    with pytest.raises(InvalidOption):
        connections({name: "memory://"})
    with pytest.raises(InvalidOption):
        connections(default=name)


def test_a_connection_nobody_configured_is_an_error_that_names_the_others():
    with pytest.raises(UnknownConnection, match="mail") as caught:
        connections({"mail": "memory://"}).port("post")
    assert caught.value.known == ("default", "mail")


def test_a_connection_is_opened_once_and_anew_after_closing():
    ours = connections({"default": "memory://", "mail": "memory://?queue=emails"})

    first = ours.port()

    assert ours.port("default") is first
    assert ours.port("mail") is not first
    ours.close()
    assert ours.port() is not first


def test_a_signal_handler_may_dispatch_while_a_connection_is_opened(monkeypatch):
    """And whoever opens it second uses what the first has opened: a memory has no second door."""
    made = connections({"default": "memory://"})
    opened, ports = made._opened, []

    def interrupted(name):
        monkeypatch.setattr(made, "_opened", opened)
        ports.append(made.port(name))
        return opened(name)

    monkeypatch.setattr(made, "_opened", interrupted)
    opening = threading.Thread(target=lambda: ports.append(made.port()), daemon=True)
    opening.start()
    opening.join(10)

    assert len(ports) == 2
    assert ports[0] is ports[1] is made.port()


def test_nothing_is_opened_before_it_is_used(tmp_path):
    ours = connections({"default": f"sqlite:///{tmp_path}/queue.db"})

    assert ours.names() == ["default"]
    assert ours.checked(None) == "default"
    assert ours.is_sync(None) is False
    assert list(tmp_path.iterdir()) == []


def test_each_has_its_default_queue():
    ours = connections({"default": "memory://", "mail": "memory://?queue=emails", "now": "sync://"})

    assert [ours.default_queue(one) for one in (None, "mail", "now")] == [
        "default",
        "emails",
        "default",
    ]


def test_a_sync_connection_has_no_store():
    ours = connections({"now": "sync://"})

    assert ours.is_sync("now")
    with pytest.raises(InvalidOption, match="run inside dispatch"):
        ours.port("now")


def test_the_buss_clock_is_the_stores():
    clock = ManualClock()
    ours = connections({"default": "memory://"}, clock=clock)

    assert ours.port().backend._clock is clock


def test_closing_closes_all_whatever_one_of_them_raises(monkeypatch):
    ours = connections({"default": "memory://", "mail": "memory://"})
    closed = []
    for name in ("default", "mail"):
        port = ours.port(name)

        def close(name=name):
            closed.append(name)
            raise InvalidOption(option=name, value=1, expected="open")

        monkeypatch.setattr(port, "close", close)

    with pytest.raises(InvalidOption):
        ours.close()

    assert sorted(closed) == ["default", "mail"]


def test_the_default_file_is_refused_while_tests_run(monkeypatch):
    monkeypatch.delenv("EVENTBUS_URL", raising=False)
    bus = EventBus()
    bus.listen(react)

    with pytest.raises(InvalidOption, match="fake_queue"):
        bus.dispatch(Ordered())


def test_the_environment_says_where_what_nobody_configured_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("EVENTBUS_URL", f"sqlite:///{tmp_path}/here.db?queue=mine")
    with EventBus() as bus:
        bus.listen(react)
        bus.dispatch(Ordered())

        assert bus.connections.default_queue(None) == "mine"
        assert bus.connections.port().size("mine").ready == 1
    assert (tmp_path / "here.db").exists()


def test_the_environment_may_ask_for_sync(monkeypatch):
    ran = []
    monkeypatch.setenv("EVENTBUS_URL", "sync://")
    bus = EventBus(provide={list: lambda: ran})
    bus.listen(react_here)

    bus.dispatch(Ordered())

    assert len(ran) == 1


@listens(queue=True)
def react_here(event: Ordered, ran: list) -> None:
    ran.append(event)


def test_a_configured_connection_is_not_the_environments(monkeypatch):
    monkeypatch.setenv("EVENTBUS_URL", "sync://")

    assert connections({"default": "memory://"}).is_sync(None) is False


APPLICATION = """
from eventbus import EventBus, listens
from eventbus.backends.memory import MemoryBackend

class Ordered: ...

@listens(queue=True)
def react(event: Ordered) -> None: ...

bus = EventBus()
"""


@pytest.mark.parametrize(
    "project, place", [(True, "eventbus.db"), (False, "shop/eventbus.db")], ids=["project", "none"]
)
def test_the_default_file_lies_beside_the_project_of_the_module_that_makes_the_bus(
    tmp_path, project, place
):
    module = tmp_path / "shop" / "app.py"
    module.parent.mkdir()
    module.write_text(APPLICATION)
    if project:
        (tmp_path / "pyproject.toml").touch()
    (tmp_path / "elsewhere").mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from shop.app import bus, react, Ordered\n"
        "bus.listen(react); bus.dispatch(Ordered()); bus.close()"
    )
    # A process of its own: under pytest the default file is refused.
    subprocess.run(
        [sys.executable, "-c", code], env={}, cwd=tmp_path / "elsewhere", check=True, timeout=20
    )

    assert [one.relative_to(tmp_path) for one in tmp_path.rglob("*.db")] == [Path(place)]
