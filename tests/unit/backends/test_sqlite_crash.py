"""
What is left in the SQLite file when its process dies: kills at every statement, forks, races.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from contextlib import closing
from functools import partial
from itertools import count
from threading import Event, Thread

import pytest

from eventbus.backends.base import Sizes
from eventbus.backends.sqlite import SqliteBackend, load_driver
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock

DRIVER = load_driver()
LEASE = 60


def job(name, **changes):
    return Envelope(id=name, queue="jobs", body=b"{}", **changes)


def in_child(act):
    """Do `act` in a forked child; return its exit status, or minus the signal that ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forks beside threads are the test
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        act()
        status = 0
    finally:
        os._exit(status)


class Deadly:
    """The driver, but its connections kill this process when they begin their nth statement."""

    def __init__(self, statement):
        self.left = count(-statement)

    def __getattr__(self, name):
        return getattr(DRIVER, name)

    def connect(self, *args, **options):
        connection = DRIVER.connect(*args, **options)
        connection.set_trace_callback(self.trace)
        return connection

    def trace(self, _):
        if next(self.left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_at_each_statement(folder, prepare, act):
    """
    Yield, for each statement of `act`, the backend that finds what the killed process left.

    The last one is that of a run which nobody killed.
    """
    for statement in count():
        path = folder / f"{statement}.db"
        clock = ManualClock()
        backend = SqliteBackend(path, clock=clock)
        prepared = prepare(backend)

        def run(backend=backend, statement=statement, prepared=prepared):
            backend._file._driver = Deadly(statement)
            act(backend, prepared)

        status = in_child(run)

        assert status in (0, -signal.SIGKILL)
        with closing(backend):
            clock.advance(LEASE)
            yield backend
        with closing(DRIVER.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if status == 0:
            assert statement > 5  # the kills were real
            return


def pushed(backend):
    backend.push([job("a"), job("b")])


def claimed(backend):
    pushed(backend)
    return backend.claim(["jobs"], limit=2, lease=LEASE)


def buried(backend):
    backend.bury(claimed(backend), error="boom", spend=True)


def test_a_killed_push_stored_all_or_none(tmp_path):
    """The first of all, so that the file and its schema are made under fire too."""
    left = [
        backend.size("jobs").ready
        for backend in kill_at_each_statement(
            tmp_path, lambda _: None, lambda backend, _: pushed(backend)
        )
    ]

    assert set(left) == {0, 2}
    assert left == sorted(left)


def test_a_killed_claim_loses_nothing(tmp_path):
    for backend in kill_at_each_statement(tmp_path, pushed, lambda backend, _: claimed(backend)):
        found = []
        while claims := backend.claim(["jobs"], limit=2, lease=LEASE):
            found += [(claim.envelope.id, claim.losses) for claim in claims]
        assert found == [("a", 0), ("b", 0)]


@pytest.mark.parametrize(
    "verb, after",
    [
        (lambda backend, claims: backend.ack(claims), Sizes()),
        (
            lambda backend, claims: backend.release(claims, delay=9 * LEASE, spend=True),
            Sizes(delayed=2),
        ),
        (
            lambda backend, claims: backend.bury(claims, error="boom", spend=True),
            Sizes(failed=2),
        ),
        (lambda backend, claims: backend.extend(claims, lease=9 * LEASE), Sizes(leased=2)),
    ],
    ids=["ack", "release", "bury", "extend"],
)
def test_a_killed_settlement_is_whole_or_the_lease_ends(tmp_path, verb, after):
    left = [backend.size("jobs") for backend in kill_at_each_statement(tmp_path, claimed, verb)]

    assert [sizes for sizes in left if sizes not in (Sizes(ready=2), after)] == []
    assert left[0] == Sizes(ready=2)
    assert left[-1] == after


def test_a_killed_revival_leaves_the_job_in_one_place(tmp_path):
    left = [
        backend.size("jobs")
        for backend in kill_at_each_statement(
            tmp_path, buried, lambda backend, _: backend.revive(["a", "b"])
        )
    ]

    assert [sizes for sizes in left if sizes not in (Sizes(failed=2), Sizes(ready=2))] == []
    assert left[-1] == Sizes(ready=2)


# Forks


def test_a_child_inherits_no_connection(tmp_path):
    path = tmp_path / "queue.db"
    with closing(SqliteBackend(path)) as backend:
        backend.push([job("a")])

        def look():
            inherited = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3, 100) if is_open(fd)]
            assert str(path) not in inherited

        assert in_child(look) == 0


def is_open(descriptor):
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_both_sides_of_a_fork_use_the_backend(tmp_path):
    with closing(SqliteBackend(tmp_path / "queue.db")) as backend:
        backend.push([job("parent")])

        assert in_child(lambda: backend.push([job("child")])) == 0

        claims = backend.claim(["jobs"], limit=9, lease=LEASE)
        assert [claim.envelope.id for claim in claims] == ["parent", "child"]


def test_forks_beside_busy_threads_neither_hang_nor_lose(tmp_path):
    stop = Event()
    with closing(SqliteBackend(tmp_path / "queue.db", synchronous="NORMAL")) as backend:
        pushed = []

        def push(thread):
            for number in count():
                if stop.is_set():
                    return
                backend.push([job(f"{thread}-{number}")])
                pushed.append(f"{thread}-{number}")

        threads = [Thread(target=push, args=(thread,)) for thread in range(2)]
        for thread in threads:
            thread.start()
        statuses = [in_child(partial(backend.push, [job(f"c{i}")])) for i in range(8)]
        stop.set()
        for thread in threads:
            thread.join()

        assert statuses == [0] * 8
        found = [claim.envelope.id for claim in backend.claim(["jobs"], limit=10**6, lease=LEASE)]
        found += [claim.envelope.id for claim in backend.claim(["jobs"], limit=9, lease=LEASE)]
        assert sorted(found) == sorted([*pushed, *(f"c{i}" for i in range(8))])


def test_a_fork_waits_for_a_connection_only_so_long(tmp_path, monkeypatch):
    """A signal handler may fork while its own thread is inside an operation."""
    monkeypatch.setattr("eventbus.backends.sqlite.SQLITE_BUSY_TIMEOUT", 0.05)
    with closing(SqliteBackend(tmp_path / "queue.db")) as backend:
        with backend._file.connection("interrupted"):
            status = in_child(lambda: os._exit(backend._file._lent))

        assert status == 0
        assert backend.size("jobs") == Sizes()


def test_a_backend_that_a_fork_began_without_is_not_disturbed_by_its_end(tmp_path):
    backend = SqliteBackend(tmp_path / "queue.db")

    backend._file.after_fork()

    assert backend.size("jobs") == Sizes()
    backend.close()


# Processes

PROCESS = """
import sys
from eventbus.backends.sqlite import SqliteBackend
from eventbus.queue.envelope import Envelope

path, me, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
backend = SqliteBackend(path)
for number in range(jobs):
    backend.push([Envelope(id=f"{me}-{number}", queue="jobs", body=b"{}")])
print("pushed", flush=True)
sys.stdin.readline()
while claims := backend.claim(["jobs"], limit=5, lease=600):
    for claim in claims:
        print(claim.envelope.id)
    assert backend.ack(claims) == []
backend.close()
"""


def test_processes_share_one_file_and_no_job_is_claimed_twice(tmp_path):
    """Four processes make the file, push 100 jobs each, then claim whatever is there."""
    path = tmp_path / "queue.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), str(number), "100"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "pushed\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate() for process in processes]

    assert [errors for _, errors in ends] == [""] * 4
    found = [line for lines, _ in ends for line in lines.splitlines()]
    assert len(found) == len(set(found)) == 400
    with closing(DRIVER.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
