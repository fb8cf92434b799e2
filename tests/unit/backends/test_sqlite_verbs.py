"""What each verb of the SQLite backend does and tells, where the contract leaves it open."""

from __future__ import annotations

from contextlib import closing
from secrets import token_hex

import pytest

from eventbus.backends.base import Charge
from eventbus.backends.limits import Window
from eventbus.backends.sqlite import SqliteBackend
from eventbus.defaults import BODY_HEAD, BODY_SIZE_LIMIT, SQLITE_BUSY_TIMEOUT_LIMIT
from eventbus.errors import BackendUnavailable, InvalidOption
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock

#: Set by the fixture `driver`.
DRIVER = None

pytestmark = pytest.mark.usefixtures("driver")

ONCE = Window(key="ada", allow=1, every=60.0)


def job(id, queue="jobs", **options):
    return Envelope(id=id, queue=queue, body=b"{}", **options)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def backend(path, clock):
    backend = SqliteBackend(path, clock=clock)
    yield backend
    backend.close()


def alter(backend, statement, *values):
    with closing(DRIVER.connect(backend.path, isolation_level=None)) as db:
        db.execute(statement, values)


# Options


@pytest.mark.parametrize(
    "seconds", [0, -1, float("inf"), float("nan"), SQLITE_BUSY_TIMEOUT_LIMIT + 1]
)
def test_a_patience_that_cannot_be_is_refused(path, seconds):
    said = f"expected busy_timeout of sqlite:///{path} to be more than 0 and at most"

    with pytest.raises(InvalidOption, match=said) as told:
        SqliteBackend(path, busy_timeout=seconds)

    assert told.value.value is seconds


def test_the_longest_patience_is_allowed(path):
    SqliteBackend(path, busy_timeout=SQLITE_BUSY_TIMEOUT_LIMIT)


@pytest.mark.parametrize(
    "option, known",
    [("synchronous", "NORMAL, FULL, EXTRA"), ("journal", "WAL, PERSIST, TRUNCATE, DELETE")],
)
def test_an_option_that_is_not_known_is_refused_with_those_that_are(path, option, known):
    said = f"expected {option} of sqlite:///{path} to be one of {known}, got: 'off'"

    with pytest.raises(InvalidOption, match=said):
        SqliteBackend(path, **{option: "off"})


@pytest.mark.parametrize("name", ["queue.db", "missing/queue.db"])
def test_a_path_that_cannot_be_is_named_with_its_file(path, name):
    path.touch(0o644)
    where = path.parent / name
    backend = SqliteBackend(where)

    with pytest.raises(InvalidOption, match=f"^expected path of sqlite:///{where} to be ") as told:
        backend.push([job("a")])

    assert told.value.value == str(where if name == "queue.db" else where.parent)


# Errors


VERBS = {
    "push": lambda backend, claims: backend.push([job("b")]),
    "claim": lambda backend, claims: backend.claim(
        ["jobs"], limit=1, lease=60, token=token_hex(16)
    ),
    "extend": lambda backend, claims: backend.extend(claims, lease=60),
    "ack": lambda backend, claims: backend.ack(claims),
    "release": lambda backend, claims: backend.release(claims, delay=0, charge=Charge.NOTHING),
    "bury": lambda backend, claims: backend.bury(claims, error="", charge=Charge.ERROR),
    "failed": lambda backend, claims: backend.failed(limit=10),
    "revive": lambda backend, claims: backend.revive(["a"]),
    "purge": lambda backend, claims: backend.purge(["a"]),
    "cancel": lambda backend, claims: backend.cancel(["a"]),
    "clear": lambda backend, claims: backend.clear("jobs"),
    "size": lambda backend, claims: backend.size("jobs"),
    "queues": lambda backend, claims: backend.queues(),
    "peek": lambda backend, claims: backend.peek(limit=1),
    "find": lambda backend, claims: backend.find(["a"]),
    "next_due": lambda backend, claims: backend.next_due(["jobs"]),
    "flag": lambda backend, claims: backend.flag("restart", "x"),
    "flags": lambda backend, claims: backend.flags(),
    "spend": lambda backend, claims: backend.limits.spend("mail", [ONCE]),
    "turn": lambda backend, claims: backend.limits.turn("mail", [ONCE]),
    "refund": lambda backend, claims: backend.limits.refund("mail", ["ada"]),
    "enter": lambda backend, claims: backend.limits.enter("mail", "a", limit=1, life=1),
    "leave": lambda backend, claims: backend.limits.leave("mail", "a"),
    "link": lambda backend, claims: backend.plans.link("jobs", "a", ("jobs", "b")),
    "forget": lambda backend, claims: backend.plans.forget(["a"]),
    "apply_schema": lambda backend, claims: backend.apply_schema(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_error_names_the_verb_and_the_file(backend, path, verb):
    backend.push([job("a")])
    claims = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    path.rename(path.with_name("kept.db"))

    with pytest.raises(BackendUnavailable, match="the file was deleted while") as told:
        VERBS[verb](backend, claims)

    assert told.value.operation == verb
    assert told.value.backend == f"sqlite:///{path}"
    assert told.value.__cause__ is None  # it is told once, not as the cause of itself


# Verbs


def test_an_extension_of_some_leaves_the_lease_of_the_others(backend, clock):
    backend.push([job("a"), job("b")])
    first, second = backend.claim(["jobs"], limit=2, lease=60, token=token_hex(16))

    assert backend.extend([second], lease=600) == []

    clock.advance(60)
    [lost] = backend.claim(["jobs"], limit=2, lease=60, token=token_hex(16))
    assert lost.envelope.id == first.envelope.id


def test_of_equal_dues_the_first_pushed_comes_first_whatever_its_id(backend):
    backend.push([job(name) for name in "cab"])

    claims = backend.claim(["jobs"], limit=3, lease=60, token=token_hex(16))

    assert [claim.envelope.id for claim in claims] == ["c", "a", "b"]


def test_as_many_parked_as_asked_for_are_shown_and_the_next_from_the_cursor(backend):
    backend.push([job(str(number)) for number in range(5)])
    claims = backend.claim(["jobs"], limit=5, lease=60, token=token_hex(16))
    backend.release(claims, delay=60, charge=Charge.NOTHING, parked="an unknown name")

    first = backend.peek(parked=True, limit=2)
    others = backend.peek(parked=True, limit=9, after=first[-1].cursor)

    assert [one.envelope.id for one in first] == ["0", "1"]
    assert [one.envelope.id for one in others] == ["2", "3", "4"]


@pytest.mark.parametrize("ids", [None, ["1", "2", "3", "4"]])
def test_as_many_failed_as_asked_for_are_shown_and_the_next_from_the_cursor(backend, ids):
    backend.push([job(str(number)) for number in range(5)])
    backend.bury(
        backend.claim(["jobs"], limit=5, lease=60, token=token_hex(16)),
        error="",
        charge=Charge.ERROR,
    )

    first = backend.failed(ids=ids, limit=2)
    others = backend.failed(ids=ids, limit=9, after=first[-1].cursor)

    found = [[one.envelope.id for one in page] for page in (first, others)]
    assert found == ([["0", "1"], ["2", "3", "4"]] if ids is None else [["1", "2"], ["3", "4"]])


def test_a_body_that_was_mended_by_hand_is_bytes_to_every_verb(backend):
    """A text in the column, as the `sqlite3` shell writes it."""
    backend.push([job("a")])
    mend = "UPDATE envelopes SET body = '{\"v\":1}', crc = NULL"
    alter(backend, mend)
    for [seen] in (backend.peek(limit=1), backend.find(["a"])):
        assert seen.envelope.body == b'{"v":1}'

    [claim] = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    assert claim.envelope.body == b'{"v":1}'

    backend.release([claim], delay=60, charge=Charge.NOTHING, parked="an unknown name")
    assert [one.envelope.body for one in backend.peek(parked=True, limit=1)] == [b'{"v":1}']


def test_a_failed_body_that_was_mended_by_hand_is_bytes_to_every_verb(backend):
    backend.push([job("a")])
    claims = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    backend.bury(claims, error="", charge=Charge.ERROR)
    alter(backend, "UPDATE failed SET body = '{\"v\":1}', crc = NULL")

    for [failed] in (backend.failed(limit=1), backend.failed(ids=["a"], limit=1)):
        assert failed.envelope.body == b'{"v":1}'


#: Of letters that take two bytes each, and more than are shown whole.
LONG_TEXT = "é" * (BODY_SIZE_LIMIT // 2 + 1)
HEAD = LONG_TEXT.encode()[:BODY_HEAD]


def test_of_a_long_text_every_verb_shows_its_first_bytes(backend):
    backend.push([job("a")])
    claims = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    backend.release(claims, delay=60, charge=Charge.NOTHING, parked="an unknown name")
    alter(backend, "UPDATE envelopes SET body = ?", LONG_TEXT)

    for [seen] in (
        backend.peek(limit=1),
        backend.peek(parked=True, limit=1),
        backend.find(["a"]),
    ):
        assert (seen.envelope.body == HEAD, seen.left_out > 0) == (True, True)


def test_of_a_long_text_that_failed_every_verb_shows_its_first_bytes(backend):
    backend.push([job("a")])
    claims = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    backend.bury(claims, error="", charge=Charge.ERROR)
    alter(backend, "UPDATE failed SET body = ?", LONG_TEXT)

    for [failed] in (backend.failed(limit=1), backend.failed(ids=["a"], limit=1)):
        assert (failed.envelope.body == HEAD, failed.left_out > 0) == (True, True)


def test_a_body_of_text_in_a_row_without_a_due_is_bytes(backend):
    backend.push([job("a")])
    alter(backend, "UPDATE envelopes SET body = '{}', due = 'x', crc = NULL")

    [claim] = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))

    assert claim.envelope.body == b"{}"


def test_the_largest_body_that_is_read_is_whole_to_every_verb(backend):
    largest = bytes(BODY_SIZE_LIMIT)
    backend.push([Envelope(id="a", queue="jobs", body=largest)])

    [seen] = backend.peek(limit=1)
    [claim] = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    backend.bury([claim], error="", charge=Charge.ERROR)
    [failed] = backend.failed(limit=10)

    assert (seen.envelope.body == largest, seen.left_out) == (True, 0)
    assert claim.envelope.body == largest
    assert (failed.envelope.body == largest, failed.left_out) == (True, 0)


def test_failed_jobs_come_in_the_order_of_their_burials_whatever_the_clock_said(backend):
    """A page of them is found by its cursor, however many there are."""
    backend.push([job(name) for name in "abc"])
    for claim in backend.claim(["jobs"], limit=3, lease=60, token=token_hex(16)):
        backend.bury([claim], error="", charge=Charge.ERROR)
    assert [one.envelope.id for one in backend.failed(limit=10)] == ["a", "b", "c"]

    alter(backend, "UPDATE failed SET failed_at = failed_at - 1 WHERE id = 'c'")

    assert [one.envelope.id for one in backend.failed(limit=10)] == ["a", "b", "c"]


#: What is NULL of what is no member of a plan.
PLACE = {"batch", "next", "catch"}


@pytest.mark.parametrize(
    "table, empty",
    [
        (
            "envelopes",
            {"number", "token", "crc", "unique_key", "unique_until", "unique_since"} | PLACE,
        ),
        ("failed", {"number", "crc"} | PLACE),
        ("batches", {"number", "canceled_at", "finished_at"}),
    ],
)
def test_only_what_may_be_missing_may_be_null(backend, table, empty):
    backend.queues()

    with closing(DRIVER.connect(backend.path)) as db:
        columns = db.execute(f"PRAGMA table_info({table})").fetchall()

    assert {name for _, name, _, required, *_ in columns if not required} == empty


@pytest.mark.parametrize("due", [0, "no number"])
def test_a_text_is_as_large_as_its_bytes(backend, due):
    """Of letters that take two bytes each, half as many as the limit are just what is read."""
    backend.push([job("fits"), job("large")])
    mend = "UPDATE envelopes SET body = ?, due = ?, crc = NULL WHERE id = ?"
    alter(backend, mend, "é" * (BODY_SIZE_LIMIT // 2), due, "fits")
    alter(backend, mend, "é" * (BODY_SIZE_LIMIT // 2 + 1), due, "large")
    assert [one.left_out > 0 for one in backend.peek(limit=2)] == [False, True]

    claims = backend.claim(["jobs"], limit=2, lease=60, token=token_hex(16))

    assert [claim.envelope.id for claim in claims] == ["fits"]
    [failed] = backend.failed(limit=10)
    assert (failed.envelope.id, failed.left_out > 0) == ("large", True)


def test_who_was_lost_once_is_handed_out_by_itself_from_then_on(backend, clock):
    """Also after it was given back, and beside those that were never lost."""
    backend.push([job("lost")])
    backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    clock.advance(60)
    claims = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    backend.release(claims, delay=0, charge=Charge.ATTEMPT)
    backend.push([job("a"), job("b")])

    found = [backend.claim(["jobs"], limit=9, lease=60, token=token_hex(16)) for _ in range(2)]

    assert [[claim.envelope.id for claim in claims] for claims in found] == [["lost"], ["a", "b"]]


def test_a_release_that_keeps_its_place_is_due_with_its_own_delay(backend, clock):
    backend.push([job("later", delay=30), job("sooner", delay=20)])
    clock.advance(40)
    claims = backend.claim(["jobs"], limit=2, lease=60, token=token_hex(16))
    backend.push([job("new")])

    backend.release(claims, delay=0, charge=Charge.NOTHING)

    claims = backend.claim(["jobs"], limit=3, lease=60, token=token_hex(16))
    assert [claim.envelope.id for claim in claims] == ["sooner", "later", "new"]


def test_a_lease_that_has_just_ended_is_lost_and_not_given_back(backend, clock):
    backend.push([job("a")])
    token = token_hex(16)
    backend.claim(["jobs"], limit=1, lease=60, token=token)
    clock.advance(60)

    assert backend.unclaim(["jobs"], token=token) == 0

    [claim] = backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
    assert claim.losses == 1


@pytest.mark.parametrize("table", ["spent", "turns", "slots"])
def test_what_a_limit_counted_is_let_go_of_when_it_has_ended(backend, clock, table):
    """A limit for each customer is a row for each that ever came."""
    limits = backend.limits
    for number in range(20):
        mine = Window(key=f"{number}", allow=1, every=1.0)
        limits.spend("mail", [mine])
        limits.turn("mail", [mine])
        limits.enter(f"{number}", "a", limit=1, life=1.0)
        clock.advance(10)

    with closing(DRIVER.connect(backend.path)) as db:
        assert db.execute(f"SELECT count(*) FROM {table}").fetchall() == [(1,)]
