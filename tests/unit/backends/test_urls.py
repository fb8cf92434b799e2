"""From a URL to a backend; what is refused, and what is never shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest

from eventbus.backends.memory import MemoryBackend
from eventbus.backends.null import NullBackend
from eventbus.backends.sqlite import SqliteBackend
from eventbus.backends.urls import default_url, open_backend, redacted
from eventbus.errors import InvalidOption, UnknownOption
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock


@pytest.mark.parametrize(
    "url, kind",
    [("memory://", MemoryBackend), ("null://", NullBackend), ("MEMORY://", MemoryBackend)],
)
def test_a_scheme_is_a_kind_of_backend(url, kind):
    opened = open_backend(url)

    assert type(opened.backend) is kind
    assert opened.default_queue == "default"


@pytest.mark.parametrize(
    "url, path",
    [
        ("sqlite:///queue.db", "queue.db"),
        ("sqlite:///data/queue.db", "data/queue.db"),
        ("sqlite:////srv/queue.db", "/srv/queue.db"),
        ("sqlite:////srv/a%20%3F%23.db?queue=emails", "/srv/a ?#.db"),
    ],
)
def test_a_sqlite_url_is_a_path(url, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    backend = open_backend(url).backend

    assert isinstance(backend, SqliteBackend)
    assert backend.path == tmp_path / path


def test_options_reach_the_backend(tmp_path):
    url = f"sqlite:///{tmp_path}/queue.db?synchronous=extra&journal=TRUNCATE&busy_timeout=2.5"
    backend = open_backend(url).backend

    with backend._file.connection("test") as db:
        assert db.execute("PRAGMA synchronous").fetchall() == [(3,)]
        assert db.execute("PRAGMA journal_mode").fetchall() == [("truncate",)]
    assert backend._file._busy_timeout == 2.5

    backend.close()


def test_the_clock_reaches_the_backend():
    clock = ManualClock()
    backend = open_backend("memory://", clock=clock).backend

    backend.push([Envelope(id="a", queue="jobs", body=b"")])

    assert (
        backend.claim(["jobs"], limit=1, lease=1, token=token_hex(16))[0].pushed_at == clock.now()
    )


def test_a_url_names_the_default_queue():
    assert open_backend("null://?queue=emails").default_queue == "emails"
    with pytest.raises(InvalidOption, match="queue"):
        open_backend("null://?queue=a+b")


@pytest.mark.parametrize(
    "url, expected",
    [
        ("kafka://host", "one of memory://, null://, redis://"),
        ("postgres://host/db", "no backend for postgres yet"),
        ("memory://host", "just memory://"),
        ("null:///path", "just null://"),
        ("sqlite://queue.db", "sqlite:///relative/path"),
        ("sqlite:///", "sqlite:///relative/path"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:queue.db", "a URL such as"),
        ("queue.db", "a URL such as"),
        ("sqlite:///queue.db#1", "%23"),
        ("sqlite:///queue.db?journal=WAL&journal=DELETE", "once"),
        ("sqlite:///queue.db?journal", "well-formed"),
        ("redis://[::1", "well-formed"),
        ("sqlite:///queue.db?synchronous=OFF", "one of NORMAL"),
        ("sqlite:///queue.db?busy_timeout=soon", "a number of seconds"),
        ("sqlite:///queue.db?busy_timeout=0", "more than 0"),
        ("sqlite:///queue.db?busy_timeout=nan", "more than 0"),
        ("sqlite:///queue.db?busy_timeout=10000", "at most 3600 seconds"),
        (None, "a URL such as"),
        (Path("queue.db"), "a URL such as"),
    ],
)
def test_what_is_no_url_of_ours_is_refused_with_what_is(url, expected):
    with pytest.raises(InvalidOption) as caught:
        open_backend(url)

    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "url", ["memory://?synchronous=FULL", "null://?jornal=WAL", "sqlite:///queue.db?jornal=WAL"]
)
def test_an_option_that_does_not_exist_is_refused(url):
    with pytest.raises(UnknownOption):
        open_backend(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:CANARY@host?password=CANARY",
        "redis://user:CANARY@host:6379/zero",
        "redis://:CA/CANARY@host",
        "redis://:CA#CANARY?x@host",
        "postgres://host/db?password=CANARY",
        "kafka://user:CANARY@host",
        "memory://user:CANARY@host",
        "memory://?password=CANARY",
        "redis://user:CANARY@[::1",
        "redis:CANARY@host",
        "mailto:CANARY",
    ],
)
def test_a_password_is_never_shown(url):
    with pytest.raises((InvalidOption, UnknownOption)) as caught:
        open_backend(url)

    assert "CANARY" not in f"{caught.value} {vars(caught.value)} {caught.value.__cause__}"
    assert "CANARY" not in redacted(url)


@pytest.mark.parametrize(
    "url, shown",
    [
        ("redis://:CANARY@host", "redis://***@host"),
        ("redis://user:CANARY@host:6379/0", "redis://***@host:6379/0"),
    ],
)
def test_a_backend_of_a_url_with_a_password_is_called_without_it(url, shown):
    opened = open_backend(url)

    assert opened.backend.name == shown
    assert "CANARY" not in f"{opened} {opened.backend!r}"


def test_a_place_is_shown():
    assert redacted("sqlite:////srv/queue.db?journal=WAL") == "sqlite:////srv/queue.db"


def test_only_the_backend_that_is_asked_for_is_imported():
    code = (
        "import sys; from eventbus.backends.urls import open_backend; open_backend('memory://');"
        "sys.exit(any(f'eventbus.backends.{name}' in sys.modules for name in ('sqlite', 'null')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The connection that nobody configured


@pytest.fixture
def outside_pytest(monkeypatch):
    monkeypatch.delenv("PYTEST_VERSION", raising=False)
    monkeypatch.delenv("EVENTBUS_URL", raising=False)


def test_the_environment_chooses(monkeypatch, tmp_path):
    monkeypatch.setenv("EVENTBUS_URL", "memory://")

    assert default_url(tmp_path) == "memory://"


@pytest.mark.usefixtures("outside_pytest")
def test_the_file_is_beside_the_nearest_project_file(tmp_path):
    inner = tmp_path / "a project" / "shop" / "app"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "a project" / "pyproject.toml").touch()

    url = default_url(inner)

    assert "%20" in url
    assert open_backend(url).backend.path == tmp_path / "a project" / "eventbus.db"


@pytest.mark.usefixtures("outside_pytest")
def test_without_a_project_the_file_is_beside_the_module(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda _: False)

    assert default_url(tmp_path) == f"sqlite:///{tmp_path}/eventbus.db"


def test_under_pytest_the_default_is_refused_with_the_remedies(monkeypatch, tmp_path):
    monkeypatch.delenv("EVENTBUS_URL", raising=False)

    with pytest.raises(InvalidOption) as caught:
        default_url(tmp_path)

    for remedy in ("fake_queue", "fake_events", "EVENTBUS_URL", "memory://"):
        assert remedy in str(caught.value)
