"""A disk without room: nothing acknowledged is lost, and all is well once there is room again."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from functools import partial

import pytest

from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend
from eventbus.errors import BackendUnavailable
from eventbus.queue.envelope import Envelope
from tests.faults.stores import Sqlite, integrity

pytestmark = pytest.mark.timeout(120)

#: Dispatches that are tried while there is no room.
MORE = 200


@pytest.fixture
def journal(each_journal):
    """What a full disk or a lost file does depends on it: both, in the short form too."""
    return each_journal


@pytest.fixture
def disk(tmp_path):
    """A disk of four megabytes, of which a log in WAL mode takes one before it is folded in."""
    place = tmp_path / "disk"
    place.mkdir(0o700)
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", place],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def told(arena):
    """Return the jobs of which the producer was told: stored, not stored, cannot tell."""
    words = ("stored", "refused", "unknown")
    return [{entry.job for entry in arena.entries if entry.what == word} for word in words]


def keys(port):
    """Return what the producer called the jobs that are stored."""
    return {json.loads(job.envelope.body)["data"]["key"] for job in port.each_stored()}


def test_a_worker_drains_a_full_disk_once_there_is_room(disk, make_arena, journal, results):
    """F26: each dispatch is stored or refused; the worker of the full disk goes on, not restarted."""
    arena = make_arena(store=Sqlite(journal, file=disk / "queue.db"), lease=1.0)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(2_500_000))

    arena.produce("large", 300, "pause 0", "--payload", "8000")
    arena.produce("more", MORE, "pause 0", "--payload", "8000")
    stored, refused, unknown = told(arena)
    worker = arena.worker()
    arena.await_fact(
        lambda: "is full" in worker.output or arena.count("end") >= 20, said="the worker tried"
    )
    ballast.unlink()
    arena.await_fact(lambda: arena.waiting() == 0, said="the backlog is drained")
    worker.tell(15)

    assert worker.await_exit() == 0, worker.output
    verdict = arena.judge()
    results.add("full disk", arena, verdict, not_stored=len(refused))
    assert len(stored) + len(refused) + len(unknown) == 300 + MORE
    assert len(refused | unknown) >= MORE // 2
    assert verdict.complaints == {}
    assert verdict.stored == len(stored)
    assert "Traceback" not in worker.output


def test_what_was_acknowledged_on_a_full_disk_is_found(disk, make_arena, journal):
    """F26: and nothing else."""
    arena = make_arena(store=Sqlite(journal, file=disk / "queue.db"))
    file = arena.store.file
    (disk / "ballast").write_bytes(bytes(2_500_000))

    arena.produce("large", 300, "pause 0", "--payload", "8000")
    arena.produce("more", MORE, "pause 0")

    stored, refused, unknown = told(arena)
    assert refused
    assert unknown == set()  # a commit that finds the disk full is undone
    assert integrity(file) == "ok"
    with closing(SqliteBackend(file)) as backend:
        assert keys(Port(backend, name="default")) == stored


class Capped:
    """A driver whose files may have so many pages."""

    def __init__(self, driver):
        self._driver = driver
        self.pages = None

    def __getattr__(self, name):
        return getattr(self._driver, name)

    def connect(self, *arguments, **options):
        db = self._driver.connect(*arguments, **options)
        if self.pages is not None:
            db.execute(f"PRAGMA max_page_count = {self.pages}")
        return db


def test_a_full_file_refuses_and_goes_on(tmp_path, journal):
    """F26: with no disk that can be filled; while it is full, what was claimed is acknowledged."""
    file = tmp_path / "queue.db"
    backend = SqliteBackend(file, journal=journal)
    capped = backend._file._driver = Capped(backend._file._driver)
    port = Port(backend, name="default")
    job = partial(Envelope, queue="jobs", body=b"x" * 3000)
    port.push([job(id="first")])
    claims = port.claim(["jobs"], lease=600)
    port.close()
    capped.pages = 200

    acknowledged = {"first"}
    for number in range(200 + MORE):
        try:
            port.push([job(id=str(number))])
        except BackendUnavailable:
            continue
        acknowledged.add(str(number))
    assert 20 < len(acknowledged) < 200
    assert {one.envelope.id for one in port.each_stored()} == acknowledged

    assert port.ack_all(claims) == []
    acknowledged.remove("first")
    capped.pages = None
    port.close()
    port.push([job(id="after")])
    found = {one.envelope.id for one in port.claim(["jobs"], limit=1000)}
    assert found == acknowledged | {"after"}
    port.close()
    assert integrity(file) == "ok"
