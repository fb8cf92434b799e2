"""
A file that is gone, is another, or cannot be written: a clear error, and no job lost into nowhere.

Each fault is done to a process that uses the file, and to one that comes fresh. Whatever a push then
says must be true: once the fault is mended, what was acknowledged is in the file.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import shutil
import subprocess
import warnings
from contextlib import closing

import pytest

from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend
from eventbus.errors import BackendUnavailable, EventBusError, InvalidOption, StoredUnknown
from eventbus.queue.envelope import Envelope
from tests.faults.stores import integrity

pytestmark = pytest.mark.timeout(60)


def job(name, size=2):
    return Envelope(id=name, queue="jobs", body=b"x" * size)


@pytest.fixture
def journal(each_journal):
    """What a full disk or a lost file does depends on it: both, in the short form too."""
    return each_journal


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "place"
    folder.mkdir(0o700)
    return folder / "queue.db"


@pytest.fixture
def port(path, journal):
    """A port that has the file open, with one job in it."""
    opened = Port(SqliteBackend(path, journal=journal), name="default")
    opened.push([job("before")])
    yield opened
    opened.close()


def fresh(path):
    return Port(SqliteBackend(path), name="default")


def tried(port, name, size=2):
    """Push; return the error, or None for what was acknowledged."""
    try:
        port.push([job(name, size)])
    except EventBusError as error:
        return error
    return None


def stored(path):
    """Return what a process that comes fresh finds, once all is mended."""
    with closing(fresh(path)) as port:
        found = {one.envelope.id for one in port.each_stored()}
    assert integrity(path) == "ok"
    return found


def in_child(act):
    """Do `act` in a child without the rights of root; return what it returns."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the plugins
        child = os.fork()
    if not child:
        status = 1
        try:
            give_up_capabilities()
            os.write(write, pickle.dumps(act()))
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        said = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return pickle.loads(said)


def give_up_capabilities():
    """Let the modes of files hold for root too, as they do for everybody else."""
    if os.geteuid() == 0:
        version = 0x20080522  # of the structures: _LINUX_CAPABILITY_VERSION_3
        head = (ctypes.c_uint32 * 2)(version, 0)
        nothing = (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(head, nothing) == 0


def held_true(errors, found):
    """Say whether what pushes answered, by id, is what is found."""
    answered = {name: type(error) for name, error in errors.items()}
    allowed = {type(None): {True}, BackendUnavailable: {False}, StoredUnknown: {True, False}}
    return all((name in found) in allowed[kind] for name, kind in answered.items())


# The file is gone, or another.


def delete(path):
    pass


def replace_by_nothing(path):
    path.touch(0o600)


def replace_by_another_queue(path):
    with closing(fresh(path)) as other:
        other.push([job("of another queue")])


def replace_by_a_link(path):
    path.symlink_to(path.parent / "aside" / path.name)


def replace_by_a_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    "change",
    [
        delete,
        replace_by_nothing,
        replace_by_another_queue,
        replace_by_a_link,
        replace_by_a_folder,
    ],
)
def test_a_file_that_is_gone_or_another_is_not_written_to(port, path, change):
    """F27: no job is acknowledged into a file that no path leads to, none goes to another's."""
    aside = path.parent / "aside"
    aside.mkdir()
    for name in ("queue.db", "queue.db-journal", "queue.db-wal", "queue.db-shm"):
        if (path.parent / name).exists():
            (path.parent / name).rename(aside / name)
    change(path)

    errors = [tried(port, f"during-{number}") for number in range(3)]

    assert [type(error) for error in errors] == [BackendUnavailable] * 3
    assert all(error.retryable for error in errors)
    assert path.exists() == (change is not delete)  # it was not made anew
    for left in path.parent.glob("queue.db*"):
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    for kept in aside.iterdir():
        kept.rename(path.parent / kept.name)
    assert tried(port, "after") is None
    assert stored(path) == {"before", "after"}


def test_a_folder_that_was_moved_is_not_written_to(port, path):
    """F27"""
    moved = path.parent.rename(path.parent.with_name("moved"))

    error = tried(port, "during")

    assert isinstance(error, BackendUnavailable)
    assert not path.parent.exists()
    moved.rename(path.parent)
    assert tried(port, "after") is None
    assert stored(path) == {"before", "after"}


def test_a_folder_that_was_removed_is_not_made_anew(port, path):
    """F27"""
    shutil.rmtree(path.parent)

    assert isinstance(tried(port, "during"), BackendUnavailable)
    assert isinstance(tried(fresh(path), "fresh"), InvalidOption)
    assert not path.parent.exists()


def test_a_side_file_that_is_removed_takes_no_later_job_with_it(port, path, journal):
    """F27: somebody tidies up; a process that dies later has acknowledged nothing into nowhere."""
    port.close()
    alive = []  # what is dropped is closed, and a process that is killed closes nothing

    def push_around_the_removal():
        mine = Port(SqliteBackend(path, journal=journal), name="default")
        alive.append(mine)
        mine.push([job("logged")])
        path.with_name(f"queue.db-{'wal' if journal == 'WAL' else 'journal'}").unlink()
        return {name: tried(mine, name) for name in ("one", "two", "three")}

    errors = in_child(push_around_the_removal)  # which ends without closing anything

    assert held_true(errors, stored(path))


# The file cannot be written.


def test_a_file_that_others_may_read_is_refused(port, path):
    """F27"""
    port.close()
    path.chmod(0o644)

    error = tried(fresh(path), "during")

    assert isinstance(error, InvalidOption)
    assert "chmod 600" in str(error)
    path.chmod(0o600)
    assert stored(path) == {"before"}


@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_a_file_that_may_not_be_written_is_a_clear_error(port, path, mode):
    """F27"""
    port.close()
    path.chmod(mode)

    error = in_child(lambda: tried(fresh(path), "during"))

    assert isinstance(error, BackendUnavailable)
    path.chmod(0o600)
    assert stored(path) == {"before"}


def test_a_folder_that_may_not_be_written_is_a_clear_error(port, path):
    """F27: where no side file can be made."""
    port.close()
    for side in path.parent.glob("queue.db-*"):
        side.unlink() if side.is_file() else shutil.rmtree(side)
    path.parent.chmod(0o500)

    error = in_child(lambda: tried(fresh(path), "during"))
    new = in_child(lambda: tried(fresh(path.with_name("new.db")), "during"))

    path.parent.chmod(0o700)
    assert isinstance(error, BackendUnavailable)
    assert isinstance(new, BackendUnavailable)
    assert stored(path) == {"before"}


def test_a_disk_that_is_read_only_is_a_clear_error(path, journal):
    """F27"""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    place = path.parent
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", place]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount")
    try:
        with closing(Port(SqliteBackend(path, journal=journal), name="default")) as port:
            port.push([job("before")])
            port.close()
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)

            errors = [tried(port, "during"), tried(fresh(path), "during")]

            subprocess.run(["mount", "-o", "remount,rw", place], check=True)
            assert [type(error) for error in errors] == [BackendUnavailable] * 2
            assert tried(port, "after") is None
        assert stored(path) == {"before", "after"}
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_a_file_that_may_not_grow_stores_nothing_by_half(port, path):
    """F27: the system refuses the write itself, as a broken disk does."""
    port.close()

    def push_large():
        limit = path.stat().st_size + 10_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        mine = fresh(path)
        return {name: tried(mine, name, 30_000) for name in ("one", "two", "three")}

    errors = in_child(push_large)

    assert any(errors.values())
    assert held_true(errors, stored(path))


def test_a_descriptor_that_fails_is_an_error_and_the_next_push_has_another(port, path):
    """F27: reads work, writes do not."""
    blind = os.open(path, os.O_RDONLY)
    for name in os.listdir("/proc/self/fd"):
        if int(name) != blind and os.path.lexists(f"/proc/self/fd/{name}"):
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith(str(path)) and not target.endswith("-shm"):
                os.dup2(blind, int(name), inheritable=False)
    os.close(blind)

    errors = {name: tried(port, name) for name in ("one", "two", "three")}

    assert tried(port, "after") is None
    found = stored(path)
    assert {"before", "after"} <= found
    assert held_true(errors, found)


def test_a_worker_goes_on_when_its_file_is_back(make_arena, file_store, results):
    """F27, I7: the file is away for a while, under a producer and a worker that both go on."""
    arena = make_arena(store=file_store)
    producer = arena.producer("job", 0, "pause 0", "--rate", "50")
    worker = arena.worker()
    arena.await_entry("end", times=10)
    aside = arena.store.file.rename(arena.folder / "aside.db")
    arena.await_entry("refused", times=20)
    assert not arena.store.file.exists()

    aside.rename(arena.store.file)
    done = arena.count("end")
    arena.await_entry("end", times=done + 20)
    producer.tell(15)
    assert producer.await_exit() == 0, producer.output
    arena.await_fact(lambda: arena.waiting() == 0, said="all is done")
    worker.tell(15)

    assert worker.await_exit() == 0, worker.output
    verdict = arena.judge()
    results.add("file away", arena, verdict, not_stored=arena.count("refused"))
    assert verdict.complaints == {}
    refused = [place for place, one in enumerate(arena.entries) if one.what == "refused"]
    between = arena.entries[refused[0] : refused[19]]
    assert not [one for one in between if one.what == "stored"]
