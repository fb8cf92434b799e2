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
from secrets import token_hex
from threading import Event, Thread

import pytest

from eventbus.backends.base import Charge, Sizes
from eventbus.backends.sqlite import SqliteBackend, wal_is_safe
from eventbus.errors import BackendUnavailable
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock

#: Set by the fixture `driver`.
DRIVER = None
LEASE = 60

pytestmark = pytest.mark.usefixtures("driver")


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
            assert statement >= 5  # the kills were real
            return


def pushed(backend):
    backend.push([job("a"), job("b")])


def claimed(backend):
    pushed(backend)
    return backend.claim(["jobs"], limit=2, lease=LEASE, token=token_hex(16))


def buried(backend):
    backend.bury(claimed(backend), error="boom", charge=Charge.ERROR)


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
        while claims := backend.claim(["jobs"], limit=2, lease=LEASE, token=token_hex(16)):
            found += [(claim.envelope.id, claim.losses) for claim in claims]
        assert found == [("a", 0), ("b", 0)]


@pytest.mark.parametrize(
    "verb, after",
    [
        (lambda backend, claims: backend.ack(claims), Sizes()),
        (
            lambda backend, claims: backend.release(claims, delay=9 * LEASE, charge=Charge.ATTEMPT),
            Sizes(delayed=2),
        ),
        (
            lambda backend, claims: backend.bury(claims, error="boom", charge=Charge.ERROR),
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


@pytest.mark.parametrize(
    "verb, before, after",
    [
        (lambda b, _: b.cancel(["a", "b"]), Sizes(ready=2), Sizes()),
        (lambda b, _: b.clear("jobs"), Sizes(ready=2), Sizes()),
    ],
    ids=["cancel", "clear"],
)
def test_a_killed_removal_is_whole(tmp_path, verb, before, after):
    left = [backend.size("jobs") for backend in kill_at_each_statement(tmp_path, pushed, verb)]

    assert [sizes for sizes in left if sizes not in (before, after)] == []
    assert (left[0], left[-1]) == (before, after)


def test_a_batch_whose_return_was_killed_is_whole_or_lost(tmp_path):
    """Given back in place and with no charge; or its lease ends."""
    for backend in kill_at_each_statement(
        tmp_path,
        claimed,
        lambda b, claims: b.release(claims, delay=0, charge=Charge.NOTHING),
    ):
        found = []
        while claims := backend.claim(["jobs"], limit=2, lease=LEASE, token=token_hex(16)):
            found += [(one.envelope.id, one.attempts, one.losses, one.releases) for one in claims]
        assert found == [("a", 0, 0, 0), ("b", 0, 0, 0)]


def test_a_killed_order_is_whole(tmp_path):
    left = [
        backend.flags()
        for backend in kill_at_each_statement(
            tmp_path,
            lambda b: b.flag("restart", "1"),
            lambda b, _: b.flag("restart", "2"),
        )
    ]

    assert [flags for flags in left if flags not in ({"restart": "1"}, {"restart": "2"})] == []
    assert left[-1] == {"restart": "2"}


def spoilt(backend):
    pushed(backend)
    with closing(DRIVER.connect(backend.path, isolation_level=None)) as db:
        db.execute("UPDATE envelopes SET attempts = 'x' WHERE id = 'a'")


def test_a_killed_claim_of_a_row_that_cannot_be_run_leaves_it_in_one_place(tmp_path):
    for backend in kill_at_each_statement(
        tmp_path, spoilt, lambda b, _: b.claim(["jobs"], limit=2, lease=LEASE, token=token_hex(16))
    ):
        sizes = backend.size("jobs")
        assert sizes in (Sizes(ready=2), Sizes(ready=1, failed=1))
        assert [
            one.envelope.id
            for one in backend.claim(["jobs"], limit=2, lease=LEASE, token=token_hex(16))
        ] == ["b"]
        assert [job.envelope.id for job in backend.failed(limit=10)] == ["a"]


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

        claims = backend.claim(["jobs"], limit=9, lease=LEASE, token=token_hex(16))
        assert [claim.envelope.id for claim in claims] == ["parent", "child"]


def test_forks_beside_busy_threads_neither_hang_nor_lose(tmp_path):
    stop = Event()
    with closing(SqliteBackend(tmp_path / "queue.db")) as backend:
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
        found = [
            claim.envelope.id
            for claim in backend.claim(["jobs"], limit=10**6, lease=LEASE, token=token_hex(16))
        ]
        found += [
            claim.envelope.id
            for claim in backend.claim(["jobs"], limit=9, lease=LEASE, token=token_hex(16))
        ]
        assert sorted(found) == sorted([*pushed, *(f"c{i}" for i in range(8))])


def test_a_fork_waits_for_a_connection_only_so_long(tmp_path):
    """A signal handler may fork while its own thread is inside an operation."""
    with closing(SqliteBackend(tmp_path / "queue.db", busy_timeout=0.05)) as backend:
        with backend._file.connection("interrupted"):
            status = in_child(lambda: os._exit(backend._file.pool.lent))

        assert status == 0
        assert backend.size("jobs") == Sizes()


def test_a_child_of_a_fork_amid_an_operation_is_refused_the_file(tmp_path):
    """It would trust locks that only its parent has, and lose what it has committed."""
    said = tmp_path / "said"

    def push(backend):
        try:
            backend.push([job("child")])
        except BackendUnavailable as error:
            said.write_text(str(error))

    with closing(SqliteBackend(tmp_path / "queue.db", busy_timeout=0.05)) as backend:
        with backend._file.connection("interrupted"):
            assert in_child(lambda: in_child(partial(push, backend))) == 0
        assert "forked in the middle of an operation" in said.read_text()
        backend.push([job("parent")])

        assert in_child(partial(backend.push, [job("later")])) == 0
        assert backend.size("jobs").ready == 2


def test_such_a_child_is_refused_the_file_for_good(tmp_path):
    """What happens to it, step by step, in this process."""
    with closing(SqliteBackend(tmp_path / "queue.db", busy_timeout=0.05)) as backend:
        pool = backend._file.pool
        with backend._file.connection("interrupted"):
            pool.before_fork()
            pool.after_fork_in_child()
            # The interrupted operation is its parent's; it gives back what it had all the same.
            pool.lent += 1
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="forked in the middle of an operation"):
                backend.push([job("child")])
            pool.before_fork()
            pool.after_fork_in_child()


class Between:
    """The driver, but what it was given happens between two looks of the first connection at the file."""

    LOOKS = ("PRAGMA page_count", "PRAGMA journal_mode")

    def __init__(self, happens):
        self._happens = happens
        self.statements = []

    def __getattr__(self, name):
        return getattr(DRIVER, name)

    def connect(self, *args, **options):
        return Watched(DRIVER.connect(*args, **options), self._look)

    def _look(self, statement):
        self.statements.append(statement)
        if set(self.LOOKS) <= set(self.statements) and self._happens is not None:
            happens, self._happens = self._happens, None
            happens()


class Watched:
    """A connection whose statements are told of before they run."""

    def __init__(self, connection, tell):
        self._connection, self._tell = connection, tell

    def __setattr__(self, name, value):
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._connection, name, value)

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *values):
        self._tell(statement)
        return self._connection.execute(statement, *values)


def test_who_opens_a_file_as_another_makes_it_does_not_change_its_journal(tmp_path):
    """It would wait for as long as it may for a lock that the other never lets go of."""
    with closing(SqliteBackend(tmp_path / "queue.db")) as first:
        between = Between(lambda: first.push([job("a")]))
        with closing(SqliteBackend(tmp_path / "queue.db", busy_timeout=0.1)) as second:
            second._file._driver = between
            second.push([job("b")])

        assert first.size("jobs").ready == 2
    wanted = "WAL" if wal_is_safe(DRIVER.sqlite_version_info) else "PERSIST"
    changes = [one for one in between.statements if one.startswith("PRAGMA journal_mode =")]
    assert changes == [f"PRAGMA journal_mode = {wanted}"]


def test_a_backend_that_a_fork_began_without_is_not_disturbed_by_its_end(tmp_path):
    backend = SqliteBackend(tmp_path / "queue.db")

    backend._file.pool.after_fork()

    assert backend.size("jobs") == Sizes()
    backend.close()


# Processes

PROCESS = """
import sys
from importlib import import_module
from secrets import token_hex

from eventbus.backends import sqlite_file
from eventbus.backends.sqlite import SqliteBackend, wal_is_safe
from eventbus.errors import BackendUnavailable
from eventbus.queue.envelope import Envelope

path, me, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
driver = import_module(sys.argv[4])
sqlite_file.load_driver = lambda: driver
backend = SqliteBackend(path)
for number in range(jobs):
    backend.push([Envelope(id=f"{me}-{number}", queue="jobs", body=b"{}")])
print("pushed", flush=True)
sys.stdin.readline()
while claims := backend.claim(["jobs"], limit=5, lease=600, token=token_hex(16)):
    for claim in claims:
        print(claim.envelope.id)
    assert backend.ack(claims) == []
backend.close()
"""


def test_processes_share_one_file_and_no_job_is_claimed_twice(tmp_path):
    """F13: eight make the file, push 50 jobs each, then claim; none is told that it is locked."""
    path = tmp_path / "queue.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), str(number), "50", DRIVER.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        assert process.stdout.readline() == "pushed\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate() for process in processes]

    assert [errors for _, errors in ends] == [""] * 8
    found = [line for lines, _ in ends for line in lines.splitlines()]
    assert len(found) == len(set(found)) == 400
    with closing(DRIVER.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
