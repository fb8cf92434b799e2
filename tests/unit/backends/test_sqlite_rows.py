"""
Rows that nobody pushed so: mended by hand, altered by a disk, or written by an attacker.

None ends a worker, raises a raw exception, or holds up the rows behind it. What cannot be run is
among the failed jobs, with its bytes and the reason.
"""

from __future__ import annotations

from contextlib import closing, suppress
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventbus.backends.base import Charge, Sizes, State
from eventbus.backends.limits import Window
from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend
from eventbus.defaults import BODY_HEAD, BODY_SIZE_LIMIT
from eventbus.errors import BackendError, InvalidOption, StoreDamaged
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock

#: Set by the fixture `driver`.
DRIVER = None

pytestmark = pytest.mark.usefixtures("driver")

COLUMNS = [
    "id",
    "queue",
    "body",
    "delay",
    "pushed_at",
    "due",
    "token",
    "shared",
    "alone",
    "attempts",
    "losses",
    "releases",
    "exceptions",
    "parked",
    "crc",
]
COUNTERS = ["attempts", "losses", "releases", "exceptions"]
HUGE = 2**63 - 1


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def backend(path, clock):
    backend = SqliteBackend(path, clock=clock)
    yield backend
    backend.close()


@pytest.fixture
def port(backend):
    """With a job that something will happen to, and one behind it."""
    port = Port(backend, name="default")
    port.push([Envelope(id="bad", queue="jobs", body=b"{}")])
    port.push([Envelope(id="good", queue="jobs", body=b"{}")])
    return port


def alter(backend, assignments, *values, table="envelopes", id="bad"):
    with closing(DRIVER.connect(backend.path, isolation_level=None)) as db:
        changed = db.execute(f"UPDATE {table} SET {assignments} WHERE id = ?", (*values, id))
        assert changed.rowcount == 1


def drained(port):
    found = []
    while claims := port.claim(["jobs"]):
        found += [claim.envelope.id for claim in claims]
        assert port.ack_all(claims) == []
    return found


# What cannot be run


@pytest.mark.parametrize("column", [*COUNTERS, "pushed_at", "delay"])
@pytest.mark.parametrize("value", ["x", "", b"y", -1, HUGE, 1e300, float("inf"), 1.5])
def test_a_job_with_a_number_that_is_none_is_failed_and_those_behind_it_run(
    backend, port, column, value
):
    alter(backend, f"{column} = ?", value)

    if (column, value) == ("delay", 1.5) or (column == "losses" and value != 1.5):
        # Sane; or put right by the claim, which counts on it.
        assert drained(port) == ["bad", "good"]
        return
    assert drained(port) == ["good"]
    [failed] = port.failed()
    assert (failed.envelope.id, failed.envelope.body) == ("bad", b"{}")
    assert failed.error.startswith("DecodeError: the stored bytes of envelope bad were rejected")
    assert f"{column} is " in failed.error


@pytest.mark.parametrize(
    "value", [b"\xff\x00", "half a \U0001f4a5", "two\nlines", "", "nul\0"], ids=repr
)
def test_a_job_whose_id_cannot_be_typed_is_failed_under_another(backend, port, value):
    alter(backend, "id = ?", value)

    assert drained(port) == ["good"]
    [failed] = port.failed()
    assert failed.envelope.id.startswith("unknown-")
    assert "id is " in failed.error
    assert port.purge([failed.envelope.id]) == [failed.envelope.id]


def test_a_job_whose_id_is_no_utf_8_is_failed(backend, port):
    alter(backend, "id = CAST(x'ff' AS TEXT)")

    assert drained(port) == ["good"]
    assert len(port.failed()) == 1


def test_several_that_cannot_be_run_do_not_hold_up_the_line(backend, port):
    port.push([Envelope(id=str(i), queue="jobs", body=b"{}") for i in range(5)])
    with closing(DRIVER.connect(backend.path, isolation_level=None)) as db:
        db.execute("UPDATE envelopes SET attempts = 'x' WHERE id <> 'good'")

    assert [claim.envelope.id for claim in port.claim(["jobs"])] == ["good"]
    assert len(port.failed()) >= 1
    assert port.claim(["jobs"], limit=9) == []
    assert port.size("jobs") == Sizes(leased=1, failed=6)


def test_a_job_whose_body_was_altered_is_failed_and_never_run(backend, port):
    """F29"""
    alter(backend, "body = ?", b'{"order_id": 2}')

    assert drained(port) == ["good"]
    [failed] = port.failed()
    assert failed.envelope.body == b'{"order_id": 2}'
    assert "body is not as it was pushed" in failed.error
    port.revive(["bad"])
    assert drained(port) == []
    alter(backend, "crc = NULL", table="failed")
    port.revive(["bad"])
    assert drained(port) == ["bad"]


def test_a_failed_job_whose_body_was_altered_is_not_run_when_it_is_revived(backend, port):
    """F29"""
    [claim] = port.claim(["jobs"])
    port.bury(claim, error="boom")
    alter(backend, "body = ?", b"[]", table="failed")

    port.revive(["bad"])

    assert drained(port) == ["good"]
    assert port.failed()[0].envelope.body == b"[]"


# What is put right


@pytest.mark.parametrize("value", ["2026-01-01 00:00:00", "x", "", b"y"])
def test_a_job_whose_due_is_no_number_is_due_now_behind_the_others(backend, port, value):
    alter(backend, "due = ?", value)

    assert backend.peek(limit=9)[0].state is State.READY
    assert drained(port) == ["good", "bad"]


@pytest.mark.parametrize("value", ["x", "", b"y"])
def test_a_worker_that_waits_for_a_job_without_a_due_is_told_that_it_is_due(backend, port, value):
    alter(backend, "due = ?", value)
    port.cancel(["good"])

    assert port.next_due(["jobs"]) == port.next_due(["jobs"], leased=True) == 0
    assert drained(port) == ["bad"]


@pytest.mark.parametrize("due", [HUGE, 1e300, float("inf")])
def test_a_job_that_is_due_after_all_years_is_never_due_and_can_be_looked_at(backend, port, due):
    alter(backend, "due = ?", due)

    assert drained(port) == ["good"]
    assert port.next_due(["jobs"]) is None
    [stored] = port.peek()
    assert (stored.state, stored.due) == (State.DELAYED, datetime.max.replace(tzinfo=UTC))
    assert port.cancel(["bad"]) == ["bad"]


@pytest.mark.parametrize("column", ["token", "shared", "alone", "parked"])
@pytest.mark.parametrize("value", ["x", b"y", HUGE, -1])
def test_a_job_with_another_s_mark_is_run_once(backend, port, column, value):
    alter(backend, f"{column} = ?", value)

    assert sorted(drained(port)) == ["bad", "good"]


def test_a_job_that_failed_and_waits_under_one_id_is_settled_all_the_same(backend, port):
    [claim] = port.claim(["jobs"])
    port.bury(claim, error="first")
    with closing(DRIVER.connect(backend.path, isolation_level=None)) as db:
        db.execute(
            "INSERT INTO envelopes (id, queue, body, delay, pushed_at, due)"
            " SELECT id, queue, body, delay, pushed_at, 0 FROM failed"
        )

    assert port.revive(["bad"]) == []
    [claim] = port.claim(["jobs"])
    assert claim.envelope.id == "bad"
    port.bury(claim, error="second")

    first, second = port.failed()
    assert (first.error, second.error) == ("first", "second")
    # Nothing takes another's place: the newcomer gets an id of its own.
    assert (first.envelope.id, second.envelope.id[:4]) == ("bad", "bad-")
    assert len(second.envelope.id) == len("bad-") + 8


@pytest.mark.parametrize("kind", [bytes, str])
@pytest.mark.parametrize("limit", [1, 10])
def test_a_body_that_is_too_large_to_be_read_is_moved_unread(backend, port, kind, limit):
    """F34: and those behind it are handed out by the same claim."""
    size = BODY_SIZE_LIMIT + 1
    text = "\0" + "x" * (size - 1)  # where a text ends for some of SQLite's functions
    alter(backend, "body = ?, crc = NULL", text.encode() if kind is bytes else text)

    [claim] = port.claim(["jobs"], limit=limit)

    assert claim.envelope.id == "good"
    [failed] = port.failed()
    assert (failed.envelope.id, failed.attempts, failed.losses) == ("bad", 0, 0)
    assert f"{size:,} bytes, more than the 4,194,304 that are read" in failed.error
    assert failed.envelope.body == text.encode()[:BODY_HEAD]
    assert failed.left_out == size - BODY_HEAD
    with closing(DRIVER.connect(backend.path)) as db:
        [(stored,)] = db.execute("SELECT CAST(body AS BLOB) FROM failed").fetchall()
    assert stored == text.encode()
    assert port.revive(["bad"]) == ["bad"]
    [seen] = [job for job in port.peek() if job.envelope.id == "bad"]
    assert (len(seen.envelope.body), seen.left_out) == (BODY_HEAD, size - BODY_HEAD)


@pytest.mark.parametrize("length, kept", [(63, True), (64, False)])
def test_an_id_that_is_too_long_is_replaced(backend, port, length, kept):
    """The wire format says 63."""
    alter(backend, "id = ?", "i" * length)

    ids = {claim.envelope.id for claim in port.claim(["jobs"], limit=10)}

    assert ids == {"good", "i" * length} if kept else ids == {"good"}
    assert [job.envelope.id.startswith("unknown-") for job in port.failed()] == [True] * (not kept)


# What is only looked at


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", ["x", b"y", -1, HUGE, 1e300])
def test_any_row_can_be_looked_at(backend, port, column, value):
    alter(backend, f"{column} = ?", value)

    assert len(port.peek()) == 2
    assert len(list(port.each_stored())) == 2
    assert "jobs" in port.queues()
    assert sum((port.size("jobs").ready, port.size("jobs").delayed, port.size("jobs").leased)) <= 2


@pytest.mark.parametrize("column", ["id", "queue", "delay", "pushed_at", "failed_at", "error"])
@pytest.mark.parametrize("value", ["x", b"\xff", -1, HUGE, 1e300])
def test_any_failed_job_can_be_looked_at(backend, port, column, value):
    [claim] = port.claim(["jobs"])
    port.bury(claim, error="boom")
    alter(backend, f"{column} = ?", value, table="failed")

    assert len(port.failed()) == 1


def test_a_flag_of_any_kind_can_be_read(backend, port):
    port.pause(["jobs"])
    with closing(DRIVER.connect(backend.path, isolation_level=None)) as db:
        db.execute("UPDATE flags SET value = x'ff', ends = 'x'")

    assert port.orders().is_paused("jobs")


@pytest.mark.parametrize("after", ["x", "1.5", "1 OR 1"])
def test_a_cursor_that_is_none_is_refused(backend, after):
    with pytest.raises(InvalidOption, match="a cursor of this store"):
        backend.peek(limit=1, after=after)


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.dictionaries(st.sampled_from(COLUMNS), VALUES, min_size=1, max_size=4))
def test_no_row_whatever_is_in_it_ends_a_worker_or_is_lost(backend, clock, changes):
    """However a row was altered, the job behind it runs, and the row is in one place."""
    with backend._file.connection("test") as db:
        for table in ("envelopes", "failed"):
            db.execute(f"DELETE FROM {table}")
        backend.push([Envelope(id=name, queue="jobs", body=b"{}") for name in ("bad", "good")])
        with suppress(DRIVER.IntegrityError):  # NULL, where the table itself refuses it
            db.execute(
                f"UPDATE envelopes SET {', '.join(f'{name} = ?' for name in changes)}"
                " WHERE id = 'bad'",
                list(changes.values()),
            )
    port = Port(backend, name="default")
    found = []
    while claims := port.claim(["jobs"], limit=2):
        for claim in claims:
            found.append(claim.envelope.id)
            port.release(claim, charge=Charge.ERROR, delay=5)
        if found.count("good") == 2:
            break
        clock.advance(5)
    assert found.count("good") == 2
    with backend._file.connection("test") as db:
        [(stored,)] = db.execute(
            "SELECT (SELECT count(*) FROM envelopes) + (SELECT count(*) FROM failed)"
        ).fetchall()
    assert stored == 2


@pytest.mark.parametrize(
    "change",
    ["spent SET ends = ?", "spent SET count = ?", "turns SET ends = ?", "slots SET ends = ?"],
)
@pytest.mark.parametrize("value", ["x", "", b"y", -1, HUGE, 1e300, float("inf"), 1.5])
def test_what_a_limit_has_counted_may_be_anything(backend, change, value):
    once = Window(key="ada", allow=1, every=60.0)

    def use():
        backend.limits.spend("mail", [once])
        backend.limits.turn("mail", [once])
        return backend.limits.enter("mail", "a", limit=1, life=60.0)

    use()
    with closing(DRIVER.connect(backend.path, isolation_level=None)) as db:
        db.execute(f"UPDATE {change}", [value])

    assert use() == 0.0
    assert 0.0 < backend.limits.enter("mail", "b", limit=1, life=60.0) <= 60.0
    assert backend.limits.leave("mail", "a")
    backend.limits.refund("mail", ["ada"])
    assert backend.limits.spend("mail", [once]) == 0.0


# A file in which there are no tables, but what looks like them


@pytest.mark.parametrize("table", ["envelopes", "failed"])
def test_rows_that_lead_in_a_circle_are_told_of(backend, port, table):
    """F29: whoever goes on from the last one would never end."""
    port.bury(port.claim(["jobs"])[0], error="boom")
    with closing(DRIVER.connect(backend.path, isolation_level=None)) as db:
        db.execute(f"ALTER TABLE {table} RENAME TO once")
        db.execute(f"CREATE VIEW {table} AS SELECT * FROM once UNION ALL SELECT * FROM once")

    with pytest.raises(StoreDamaged, match=r"row (\d) comes behind row \1"):
        list(port.each_stored() if table == "envelopes" else port.each_failed())


# A file whose pages are damaged


def test_a_damaged_page_is_a_typed_error_that_says_what_to_do(backend, path):
    """F29"""
    backend.push([Envelope(id=str(i), queue="jobs", body=bytes(500)) for i in range(50)])
    backend.close()
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xff" * (path.stat().st_size - 2048))

    with pytest.raises(StoreDamaged, match="recover") as caught:
        drained(Port(backend, name="default"))

    assert isinstance(caught.value.__cause__, DRIVER.DatabaseError)
    assert not caught.value.retryable


def test_rows_without_a_number_are_not_handed_out_for_ever(backend, path):
    """F29: one letter of the schema, and their numbers are no key any more."""
    backend.push([Envelope(id="a", queue="jobs", body=b"{}")])
    backend.close()
    text = path.read_bytes()
    key = b"number     INTEGER PRIMARY KEY,         -- order of arrival"
    assert key in text
    path.write_bytes(text.replace(key, key.replace(b"INTEGER", b"HNTEGER")))

    with pytest.raises(StoreDamaged, match="0 of 1 rows could be held") as caught:
        Port(backend, name="default").claim(["jobs"])
    assert not caught.value.retryable


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_runs_no_altered_job_and_raises_nothing_untyped(
    tmp_path_factory, clock, place, bit
):
    """F29: whatever is handed out is what was pushed."""
    path = tmp_path_factory.mktemp("flipped") / "queue.db"
    jobs = {f"job-{i}": b'{"order_id": %d, "note": "%s"}' % (i, b"x" * 200) for i in range(30)}
    with closing(SqliteBackend(path, clock=clock)) as backend:
        backend.push([Envelope(id=name, queue="jobs", body=jobs[name]) for name in jobs])
    with path.open("r+b") as file:
        file.seek(int(place * path.stat().st_size))
        [byte] = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1 << bit]))

    run = []
    with closing(SqliteBackend(path, clock=clock)) as backend:
        port = Port(backend, name="default")
        with suppress(BackendError):
            for _ in jobs:  # each claim has one at least
                claims = port.claim(["jobs"], limit=7)
                run += [claim.envelope.body for claim in claims]
                port.ack_all(claims)
            assert port.claim(["jobs"]) == []

    assert set(run) <= set(jobs.values())
