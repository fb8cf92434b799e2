"""What is like a document before it is read by comparing, and says what reading it in full would say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventbus.defaults import ALIKE_LIMIT, ALIKE_SIZE_LIMIT, DATA_SIZE_LIMIT
from eventbus.errors import DecodeError, EventBusError
from eventbus.queue.codec import reader as module
from eventbus.queue.codec.document import Document, read, write
from eventbus.queue.codec.reader import Reader
from eventbus.queue.codec.typed import decode_value

ONE = Document(
    id="a1",
    kind="listener",
    name="shop:tell",
    event="order.shipped",
    payload="class",
    data=b'{"order_id":1}',
    dispatched_at=datetime(2026, 1, 1, microsecond=1, tzinfo=UTC),
)
BODY = write(ONE)


class Documents(Reader):
    """Gives the document alone."""

    def read(self, body, *, envelope):
        return super().read(body, envelope=envelope)[0]


@pytest.fixture
def parsed(monkeypatch):
    """The bodies that were read in full."""
    bodies = []

    def noted(body, *, envelope):
        bodies.append(body)
        return read(body, envelope=envelope)

    monkeypatch.setattr(module, "read", noted)
    return bodies


def another(**changes) -> Document:
    return replace(ONE, id="b2", **changes)


def in_two_ways(body: bytes, envelope: str, *, after: Document = ONE):
    """What a reader says of a body that knows `after`, and what reading the body in full says."""
    said = []
    reader = Documents()
    reader.read(write(after), envelope=after.id)
    for way in (reader.read, read):
        try:
            document = way(body, envelope=envelope)
            decode_value(document.data, event="")
        except EventBusError as error:
            said.append(type(error))
        else:
            said.append(document)
    return said


def test_a_document_like_one_before_is_not_parsed_again(parsed):
    reader = Documents()

    first = reader.read(BODY, envelope="a1")
    later = another(data=b'{"order_id":2}', dispatched_at=ONE.dispatched_at + timedelta(days=400))

    assert first == ONE
    assert reader.read(write(later), envelope="b2") == later
    assert parsed == [BODY]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "shop:other"},
        {"event": "order.paid"},
        {"version": 2},
        {"payload": "args", "data": b"[1]"},
        {"kind": "job", "event": None},
        {"options": {"hops": 3}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_document_that_differs_in_more_is_parsed(parsed, change):
    reader = Documents()
    reader.read(BODY, envelope="a1")
    other = another(**change)

    assert reader.read(write(other), envelope="b2") == other
    assert parsed == [BODY, write(other)]

    again = replace(other, id="c3")
    assert reader.read(write(again), envelope="c3") == again
    assert len(parsed) == (3 if "options" in change else 2)  # before its data, it is like the first


@pytest.mark.parametrize("when", [ONE.dispatched_at.replace(microsecond=0), ONE.dispatched_at])
@pytest.mark.parametrize("id_", ["a.b-c_d", "0"])
def test_ids_and_instants_of_every_form_are_read(when, id_):
    reader = Documents()
    reader.read(BODY, envelope="a1")
    other = replace(ONE, id=id_, dispatched_at=when)

    assert reader.read(write(other), envelope=id_) == other


def test_the_first_may_have_been_dispatched_on_a_whole_second(parsed):
    reader = Documents()
    reader.read(write(replace(ONE, dispatched_at=datetime(2026, 1, 1, tzinfo=UTC))), envelope="a1")

    assert reader.read(write(another()), envelope="b2") == another()
    assert len(parsed) == 1


def test_what_another_program_writes_in_its_own_way_is_read_as_well(parsed):
    reader = Documents()
    known = json.loads(BODY)
    # The same keys in the same order, so that it looks like ours up to its data; and a space.
    body = BODY[:-1] + b" }"
    turned = json.dumps(dict(reversed(known.items())), separators=(",", ":")).encode()

    for _ in range(2):
        assert reader.read(body, envelope="a1") == ONE
        assert reader.read(turned, envelope="a1") == ONE

    assert parsed == [body, turned] * 2


def test_an_instant_of_another_zone_is_told_in_utc():
    reader = Documents()
    reader.read(BODY, envelope="a1")
    body = BODY.replace(b"2026-01-01T00:00:00.000001Z", b"2026-01-01T02:00:00.1+02:00")
    assert len(body) == len(BODY)

    document = reader.read(body, envelope="a1")

    assert document.dispatched_at == datetime(2026, 1, 1, microsecond=100_000, tzinfo=UTC)
    assert document.dispatched_at.tzinfo is UTC


def test_a_raw_job_is_parsed_each_time_for_nobody_decodes_its_data_here(parsed):
    raw = another(kind="raw", event=None, payload="value")
    reader = Documents()

    for _ in range(2):
        assert reader.read(write(raw), envelope="b2") == raw

    assert len(parsed) == 2


@pytest.mark.parametrize("change", ["name", "options"])
def test_what_is_long_beside_its_data_is_parsed_each_time(parsed, change):
    long = "x" * ALIKE_SIZE_LIMIT
    other = another(**({"name": long} if change == "name" else {"options": {"k": long}}))
    reader = Documents()

    for _ in range(2):
        assert reader.read(write(other), envelope="b2") == other

    assert len(parsed) == 2


@pytest.mark.parametrize("part", ["name", "options"])
def test_what_is_just_short_enough_beside_its_data_is_compared(parsed, part):
    def sized(size):
        text = "x" * size
        return another(**({"name": text} if part == "name" else {"options": {"k": text}}))

    before, _, behind = write(sized(0)).partition(b',"data":')
    parts = {
        "name": before.removeprefix(b'{"v":1,"id":"b2'),
        "options": behind.removeprefix(ONE.data).rpartition(b'"2026')[0],
    }
    other = sized(ALIKE_SIZE_LIMIT - len(parts[part]))
    reader = Documents()

    for _ in range(2):
        assert reader.read(write(other), envelope="b2") == other

    assert len(parsed) == 1


def test_what_is_known_is_bounded(parsed):
    reader = Documents()
    for number in range(ALIKE_LIMIT + 1):
        reader.read(write(another(name=f"shop:tell_{number}")), envelope="b2")

    reader.read(write(another(name=f"shop:tell_{ALIKE_LIMIT}")), envelope="b2")
    assert len(parsed) == ALIKE_LIMIT + 1
    reader.read(write(another(name="shop:tell_0")), envelope="b2")
    assert len(parsed) == ALIKE_LIMIT + 2


def test_what_is_alike_shares_what_somebody_worked_out():
    reader = Reader()
    _, first = reader.read(BODY, envelope="a1")
    _, like = reader.read(write(another()), envelope="b2")
    _, other = reader.read(write(another(name="shop:other")), envelope="b2")

    assert first is like
    assert first is not None
    assert other is not first

    reader.forget()
    _, anew = reader.read(BODY, envelope="a1")
    assert anew is not first


REFUSED = {
    "the id of another": BODY.replace(b'"a1"', b'"a2"'),
    "no instant": BODY.replace(b"2026-01-01T00", b"2026-13-01T00"),
    "no data": BODY.replace(ONE.data, b""),
    "a bracket too many": BODY + b"}",
    "the end of an object that never began": BODY[:-1] + b"]",
    "data over the limit": BODY.replace(ONE.data, b'"%b"' % (b"x" * DATA_SIZE_LIMIT)),
    "options smuggled into the data": BODY.replace(
        ONE.data, b'1,"options":{"hops":0},"dispatched_at":"2026-01-01T00:00:00Z"'
    ),
    "a second data": BODY.replace(ONE.data, b'1,"data":2'),
    "a name behind the data": BODY.replace(ONE.data, b'1,"name":"os:system"'),
    "data that is no JSON": BODY.replace(ONE.data, b"{1}"),
    "data that is not UTF-8": BODY.replace(ONE.data, b'"\xff"'),
    "data with a key twice": BODY.replace(ONE.data, b'{"a":1,"a":1}'),
    "data that is too deep": BODY.replace(ONE.data, b"[" * 65 + b"]" * 65),
    "data that is not a number": BODY.replace(ONE.data, b"NaN"),
}


def test_an_id_that_is_another_once_it_is_read_is_refused():
    body = BODY.replace(b'"a1"', rb'"\u00611"')

    assert in_two_ways(body, r"\u00611") == [DecodeError, DecodeError]
    assert in_two_ways(body, "a1") == [ONE, ONE]


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_refused_in_full_is_refused_when_it_is_like_another(why):
    assert in_two_ways(REFUSED[why], "a1") == [DecodeError, DecodeError]


# Written over the body, and cut out of it: what an attacker tries, and what damages a file.
_PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [b'"', b"}", b"{", b',"data":', b',"options":{}', b"\\", b'{"v":1,"id":"', b" "]
    ),
)


@given(
    at=st.integers(0, len(BODY)),
    cut=st.integers(0, 12),
    piece=_PIECES,
    envelope=st.sampled_from(["a1", "a2", 'a1"', "", "é1"]),
)
def test_whatever_was_done_to_a_body_both_ways_of_reading_it_agree(at, cut, piece, envelope):
    body = BODY[:at] + piece + BODY[at + cut :]

    alike, full = in_two_ways(body, envelope)

    assert alike == full
