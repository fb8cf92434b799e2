"""Paths and folders that lead elsewhere: refused, by commands too, and what is made is private."""

from __future__ import annotations

import os
import socket
import stat
import threading

import pytest

from eventbus.backends.port import Port
from eventbus.backends.urls import open_backend
from eventbus.errors import BackendError, ConfigurationError, EventBusError, InvalidOption
from eventbus.queue.envelope import Envelope

from .hostile import DEADLINE, Hostile
from .poison import APPLICATION

JOB = Envelope(id="a", queue="default", body=b"{}")


@pytest.fixture
def port_of(tmp_path):
    """Open the store at a URL."""
    made = []

    def port_of(url):
        made.append(Port(open_backend(url).backend, name="default"))
        return made[-1]

    yield port_of
    for one in made:
        one.close()


def symlink(path):
    path.with_name("elsewhere").touch(0o600)
    path.symlink_to(path.with_name("elsewhere"))


def dangling(path):
    path.symlink_to(path.with_name("elsewhere"))


def circular(path):
    path.symlink_to(path)


def hard_link(path):
    path.with_name("elsewhere").touch(0o600)
    path.hardlink_to(path.with_name("elsewhere"))


def fifo(path):
    os.mkfifo(path, 0o600)


def sock(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def folder(path):
    path.mkdir()


def device(path):
    path.symlink_to("/dev/zero")


def open_to_all(path):
    path.touch()
    path.chmod(0o666)


def open_to_the_group(path):
    path.touch()
    path.chmod(0o640)


def in_a_folder_of_all(path):
    path.parent.chmod(0o777)


def in_a_sticky_folder_of_all(path):
    path.parent.chmod(0o1777)


PLACES = [
    symlink, dangling, circular, hard_link, fifo, sock, folder, device, open_to_all,
    open_to_the_group, in_a_folder_of_all, in_a_sticky_folder_of_all,
]  # fmt: skip


@pytest.mark.parametrize("make", PLACES, ids=[one.__name__ for one in PLACES])
def test_a_path_that_is_no_file_of_ours_is_refused(tmp_path, monkeypatch, port_of, make):
    """A13: links, FIFOs, devices and files or folders of all are refused, at once and unopened."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "place"
    place.mkdir(0o700)
    path = place / "queue.db"
    make(path)
    before = sorted(os.listdir(place))
    port = port_of(f"sqlite:///{path}")
    raised = []

    def push():
        try:
            port.push([JOB])
        except EventBusError as error:
            raised.append(error)

    # In a thread: who opens a FIFO may wait for ever.
    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    thread.join(DEADLINE)

    [error] = raised
    assert isinstance(error, InvalidOption)
    assert not (place / "elsewhere").exists() or (place / "elsewhere").stat().st_size == 0
    assert sorted(os.listdir(place)) == before


def test_commands_refuse_such_a_path_too(tmp_path):
    """A13: worker and console say so, and end with an exit code of their own."""
    hostile = Hostile(tmp_path, APPLICATION)
    (tmp_path / "elsewhere").touch(0o600)
    (tmp_path / "queue.db").symlink_to(tmp_path / "elsewhere")

    for done in (hostile.work(), hostile.console("failed")):
        assert done.returncode in (3, 4)
        assert "symbolic link" in done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "elsewhere").stat().st_size == 0


NAMES = [
    "file:queue.db?mode=memory",
    "file:queue.db?mode=ro&cache=shared",
    "queue.db?vfs=unix-none",
    "queue.db#x",
    "a%00b",
    "'; ATTACH DATABASE 'other.db' AS other; --",
    ":memory: ",
    "%2e%2e",
    "-journal",
    "queue.db-journal",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_never_a_uri_or_a_statement(tmp_path, port_of, name):
    """A13: whatever a file is called, its name is a name: the job lies in it, or nowhere."""
    from urllib.parse import quote

    place = tmp_path / "place"
    place.mkdir(0o700)
    try:
        port_of(f"sqlite:///{place}/{quote(name)}").push([JOB])
    except (ConfigurationError, BackendError, ValueError):
        assert name == "a%00b"
        assert os.listdir(place) == []
        return

    made = [one for one in os.listdir(place) if not one.endswith(("-wal", "-shm", "-bells"))]
    # A rollback journal stays, emptied.
    assert set(made) - {f"{name}-journal"} == {name}
    assert (place / name).stat().st_size > 0


@pytest.mark.parametrize(
    "option", ["mode=memory", "cache=shared", "vfs=unix-none", "immutable=1", "nolock=1"]
)
def test_an_option_of_sqlites_own_uris_is_refused(tmp_path, option):
    """A13: `?mode=` and its kin are no options of ours."""
    with pytest.raises(ConfigurationError):
        open_backend(f"sqlite:///{tmp_path}/queue.db?{option}")


def test_all_that_is_made_is_private_under_umask_0(tmp_path):
    """A13: the file, its journal and the bells, made by a worker while jobs come."""
    hostile = Hostile(tmp_path, APPLICATION + "\nos.umask(0)\n")
    source = "import shop\nfor at in range(3): shop.bus.dispatch(shop.Done(at))\nprint('done')"

    assert hostile.python("-c", source).stdout == "done\n"
    assert hostile.work().returncode == 0

    assert hostile.ran == ["0", "1", "2"]
    for path in tmp_path.glob("queue.db*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path.name


def test_side_files_that_somebody_put_there_are_not_followed(tmp_path, port_of):
    """A13: a journal or a folder of bells that is a link to elsewhere harms nothing there."""
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    place.mkdir(0o700)
    elsewhere.mkdir(0o700)
    (elsewhere / "kept").write_text("kept")
    (place / "queue.db-bells").symlink_to(elsewhere)
    port = port_of(f"sqlite:///{place}/queue.db")

    port.push([JOB])
    bell = port.bell(["default"])
    port.push([Envelope(id="b", queue="default", body=b"{}")])

    assert port.size("default").ready == 2
    assert os.listdir(elsewhere) == ["kept"]
    if bell is not None:
        bell.close()


def test_a_trigger_in_the_file_calls_no_function_that_reaches_out(tmp_path, port_of):
    """A13: what somebody added to the schema cannot load code or open another file."""
    from eventbus.backends.sqlite import load_driver

    port = port_of(f"sqlite:///{tmp_path}/queue.db")
    port.push([JOB])
    port.close()
    driver = load_driver()
    for action in (
        "SELECT load_extension('x')",
        f"SELECT writefile('{tmp_path}/canary', 'x')",
        "SELECT fts3_tokenizer('simple', x'00')",
        "SELECT edit('x', 'touch canary')",
    ):
        with driver.connect(tmp_path / "queue.db") as db:
            db.execute("DROP TRIGGER IF EXISTS planted")
            db.execute(f"CREATE TRIGGER planted BEFORE UPDATE ON envelopes BEGIN {action}; END")
        db.close()

        with pytest.raises(BackendError):
            port.claim(["default"])
        port.close()

    assert not (tmp_path / "canary").exists()
