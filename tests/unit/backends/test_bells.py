"""Bells: who hears what, and that no bell ever makes a push fail or leaks a descriptor."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import warnings
from contextlib import closing
from select import select
from socket import AF_UNIX, SOCK_DGRAM, socket
from threading import Thread

import pytest

from eventbus.backends.bells import EVERYBODY, FolderBells, LocalBells
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.sqlite import SqliteBackend
from eventbus.queue.envelope import Envelope

JOB = Envelope(id="a", queue="jobs", body=b"{}")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "bells"


@pytest.fixture(params=["local", "folder"])
def bells(request, folder):
    return LocalBells() if request.param == "local" else FolderBells(folder)


@pytest.fixture
def hung(folder):
    """A bell in a folder, and another process's view of that folder."""
    with closing(FolderBells(folder).hang(["jobs"])) as bell:
        yield bell, FolderBells(folder)


def descriptors():
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def in_child(act):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        act()
        status = 0
    finally:
        os._exit(status)


def test_whoever_waits_is_woken_by_another_thread(bells):
    with closing(bells.hang(["jobs"])) as bell:
        thread = Thread(target=bells.ring, args=(["jobs"],))
        thread.start()

        assert select([bell], [], [], 10)[0] == [bell]
        thread.join()
        assert bell.silence()


def test_a_bell_hears_its_queues_and_what_concerns_everybody(bells):
    with closing(bells.hang(["jobs", "more"])) as bell:
        heard = []
        for names in (["other"], ["other", "more"], EVERYBODY, ["job"], []):
            bells.ring(names)
            heard.append(bell.silence())

    assert heard == [False, True, True, False, False]


def test_a_full_bell_may_have_dropped_a_ring_of_ours(bells):
    with closing(bells.hang(["jobs"])) as bell:
        for _ in range(10_000):
            bells.ring(["other"])

        assert bell.silence()
        assert not bell.silence()


def test_to_ring_costs_no_descriptor(bells):
    with closing(bells.hang(["jobs"])):
        before = descriptors()
        for _ in range(20):
            bells.ring(["jobs"])

        assert descriptors() == before


def test_a_bell_that_is_closed_or_dropped_leaves_nothing_behind(bells, folder):
    before = descriptors()
    closed = bells.hang(["jobs"])
    closed.close()
    closed.close()
    dropped = bells.hang(["jobs"])
    del dropped

    assert descriptors() == before
    assert not folder.exists() or list(folder.iterdir()) == []
    assert not closed.silence()
    bells.ring(["jobs"])


def test_a_forked_child_has_no_bell_and_does_not_take_the_parent_s_down(bells, folder):
    with closing(bells.hang(["jobs"])) as bell:
        bells.ring(["jobs"])

        def look():
            assert bell.fileno() == -1
            assert not bell.silence()
            bell.close()

        assert in_child(look) == 0
        assert bell.silence()
        bells.ring(["jobs"])
        assert bell.silence()


def test_a_child_of_a_memory_backend_rings_only_its_own_bells():
    backend = MemoryBackend()
    with closing(backend.bell(["jobs"])) as bell:

        def push():
            backend.push([JOB])
            with closing(backend.bell(["jobs"])) as own:
                backend.push([Envelope(id="b", queue="jobs", body=b"{}")])
                assert own.silence()

        assert in_child(push) == 0
        assert not bell.silence()


# In a folder


def test_the_folder_is_made_for_its_user_alone(folder):
    before = os.umask(0)
    try:
        with closing(FolderBells(folder).hang(["jobs"])):
            assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


def test_another_process_rings(hung, folder):
    bell, _ = hung
    code = (
        "import sys, pathlib; from eventbus.backends.bells import FolderBells;"
        "FolderBells(pathlib.Path(sys.argv[1])).ring(['jobs'])"
    )

    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)

    assert bell.silence()


def test_a_bell_is_heard_however_soon_it_was_hung_after_another(folder):
    """The folder's time of change is too coarse to tell the two apart."""
    ringer = FolderBells(folder)
    hung = []
    for _ in range(20):
        hung.append(FolderBells(folder).hang(["jobs"]))
        ringer.ring(["jobs"])

    assert [bell.silence() for bell in hung] == [True] * 20
    for bell in hung:
        bell.close()


def test_where_nobody_waits_a_ring_asks_for_one_state_and_lists_nothing(hung, monkeypatch):
    _, ringer = hung
    hung[0].close()
    folder = ringer._folder
    os.utime(folder, (1, 1))
    ringer.ring(["jobs"])
    monkeypatch.setattr("eventbus.backends.bells.os.listdir", None)
    monkeypatch.setattr("eventbus.backends.bells.os.open", None)

    ringer.ring(["jobs"])

    assert ringer._listing.names == ()


def test_where_no_bell_was_ever_hung_nothing_is_made(folder):
    FolderBells(folder).ring(["jobs"])

    assert not folder.exists()


def test_a_bell_whose_process_died_is_taken_down_by_who_rings(hung, folder):
    bell, ringer = hung
    with socket(AF_UNIX, SOCK_DGRAM) as dead:
        dead.bind(str(folder / "0000000000000000"))

    ringer.ring(["jobs"])

    assert bell.silence()
    assert len(list(folder.iterdir())) == 1


def test_what_is_no_bell_is_left_where_it_is(hung, folder):
    bell, ringer = hung
    (folder / "0-notes").write_text("of a user")
    (folder / "0-gone").symlink_to(folder / "nowhere")

    ringer.ring(["jobs"])

    assert bell.silence()
    assert (folder / "0-notes").read_text() == "of a user"
    assert (folder / "0-gone").is_symlink()


def test_a_bell_that_another_took_down_closes(hung, folder):
    bell, _ = hung
    for path in folder.iterdir():
        path.unlink()

    bell.close()

    assert list(folder.iterdir()) == []


def test_a_folder_with_a_long_path_has_bells_too(tmp_path):
    """A socket's path may have no more than 108 bytes."""
    folder = tmp_path / ("x" * 200) / "bells"
    folder.parent.mkdir()

    with closing(FolderBells(folder).hang(["jobs"])) as bell:
        FolderBells(folder).ring(["jobs"])
        assert bell.silence()

    assert list(folder.iterdir()) == []


def shared(folder):
    folder.mkdir()
    folder.chmod(0o770)


def linked(folder):
    folder.with_name("elsewhere").mkdir(0o700)
    folder.symlink_to(folder.with_name("elsewhere"))


def a_file(folder):
    folder.touch()


def nowhere(folder):
    folder.parent.rmdir()


@pytest.mark.parametrize("make", [shared, linked, a_file, nowhere])
def test_a_folder_that_is_not_ours_alone_has_no_bells_and_that_is_no_error(tmp_path, make):
    """Another user must not see what is rung, nor have us write where a link leads."""
    folder = tmp_path / "own" / "bells"
    folder.parent.mkdir()
    make(folder)
    before = descriptors()

    assert FolderBells(folder).hang(["jobs"]) is None
    FolderBells(folder).ring(["jobs"])

    assert descriptors() == before
    assert not folder.is_dir() or list(folder.iterdir()) == []


def test_a_folder_of_another_user_has_no_bells(hung, folder, monkeypatch):
    bell, ringer = hung
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)

    assert FolderBells(folder).hang(["jobs"]) is None
    ringer.ring(["jobs"])

    assert not bell.silence()


def test_root_rings_the_bells_of_others(hung, folder, monkeypatch):
    bell, ringer = hung
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    ringer.ring(["jobs"])

    assert bell.silence()


def test_a_push_is_stored_whatever_becomes_of_its_ring(tmp_path):
    """What cannot be rung is found by the worker that looks."""
    with closing(SqliteBackend(tmp_path / "queue.db")) as backend:
        (tmp_path / "queue.db-bells").write_text("in the way")

        backend.push([JOB])

        assert backend.bell(["jobs"]) is None
        assert backend.size("jobs").ready == 1
