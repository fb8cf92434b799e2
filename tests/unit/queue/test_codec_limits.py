"""Work ends at the limits: what is too large, too deep or chosen to be slow is refused before it costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.defaults import (
    DATA_DEPTH_LIMIT,
    DATA_KEYS_LIMIT,
    DATA_SIZE_LIMIT,
    EQUAL_HASHES_LIMIT,
)
from eventbus.dispatch.names import event
from eventbus.errors import DecodeError, EncodeError
from eventbus.queue.codec import jsontext
from eventbus.queue.codec.compiling import Compiler
from eventbus.queue.codec.forms import Form, Room
from eventbus.queue.codec.jsontext import Refused, parse, text
from eventbus.queue.codec.typed import EventTypes, PayloadCodec, TypeCodec, decode_value

#: Each byte that may be written costs a few calls at most.
MOST_CALLS = 4 * DATA_SIZE_LIMIT
#: Numbers of this distance have the same hash.
SAME_HASH = 2**61 - 1


@attrs.frozen
class Node:
    left: Node | None = None
    right: Node | None = None


class Long(StrEnum):
    TEXT = "x" * 100_000


def doubled(levels: int) -> Node:
    """A node that holds the same two below it, twice, and so on: few objects, very many paths."""
    node = Node()
    for _ in range(levels):
        node = Node(node, node)
    return node


def shared() -> list[Any]:
    """A list that holds one list a hundred times, which holds one a hundred times, and so on."""
    inner: list[Any] = [0] * 1_000
    for _ in range(8):
        inner = [inner] * 100
    return inner


@contextmanager
def few_calls() -> Iterator[None]:
    """Break off the work that makes more calls, of Python's functions or of C's, than `MOST_CALLS`."""
    made = 0

    def count(frame: object, kind: str, argument: object) -> None:
        nonlocal made
        made += kind in {"call", "c_call"}
        if made > MOST_CALLS:
            sys.setprofile(None)
            pytest.fail(f"more than {MOST_CALLS:,} calls were made")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


LARGE = {
    "lists of numbers": (list[list[int]], [list(range(100_000))] * 100),
    "lists of anything": (Any, [list(range(100_000))] * 100),
    "dicts": (Any, {str(number): list(range(100_000)) for number in range(10)}),
    "the same list again and again": (Any, shared()),
    "the same node again and again": (Node, doubled(60)),
    "the same text again and again": (list[str], ["x" * 200_000] * 100_000),
    "the same bytes again and again": (list[bytes], [b"x" * 190_000] * 100_000),
    "the same member again and again": (list[Long], [Long.TEXT] * 100_000),
    "the same path again and again": (list[Path], [Path("x" * 100_000)] * 100_000),
    "digits": (list[Decimal], [Decimal("1" * 100_000)] * 100_000),
    "keys": (dict[str, int], {f"{'x' * 1_000}{number}": 1 for number in range(10_000)}),
    "tuples": (list[tuple[int, int]], [(1, 2)] * 1_000_000),
    "pairs": (list[dict[int, int]], [{1: 2}] * 1_000_000),
}


@pytest.mark.parametrize("hint, value", LARGE.values(), ids=LARGE)
def test_what_is_larger_than_the_limit_is_not_written_to_find_out(hint, value):
    """F34: the work is bounded by the limit, not by the event."""
    payload = PayloadCodec((hint,))

    with (
        pytest.raises(EncodeError, match="more than the 262,144 bytes") as caught,
        few_calls(),
    ):
        payload.encode((value,))

    assert "Store it elsewhere" in caught.value.remedy


def test_the_refusal_names_the_field_that_found_no_room():
    @attrs.frozen
    class Report:
        name: str
        rows: list[str]

    with pytest.raises(EncodeError) as caught:
        PayloadCodec((Report,)).encode((Report("a", ["x" * 1_000] * 1_000),))

    assert caught.value.field.startswith("[0].rows[")


@pytest.mark.parametrize(
    "hint, value",
    [
        (list[int], [0] * (DATA_SIZE_LIMIT // 2 - 2)),
        (str, "x" * (DATA_SIZE_LIMIT - 4)),
        (list[tuple[int, int]], [(1, 2)] * 30_000),
        (list[Node], [Node()] * 5_000),
        (dict[int, int], dict.fromkeys(range(20_000), 1)),
        (dict[str, int], {str(number): 1 for number in range(DATA_KEYS_LIMIT)}),
        (list[Long], [Long.TEXT] * 2),
    ],
    ids=["numbers", "text", "tuples", "objects", "pairs", "keys", "members"],
)
def test_what_fits_is_not_refused_for_what_it_might_take(hint, value):
    payload = PayloadCodec((hint,))

    assert payload.decode(payload.encode((value,))) == (value,)


# ----------------------------------------------------------------------------- keys


def keys(number: int) -> bytes:
    return json.dumps([dict.fromkeys(map(str, range(number)))]).encode()


def test_data_may_have_as_many_keys_as_the_limit_and_no_more():
    payload = PayloadCodec((Any,))

    assert len(payload.decode(keys(DATA_KEYS_LIMIT))[0]) == DATA_KEYS_LIMIT
    with pytest.raises(DecodeError, match="more than 10,000 keys"):
        payload.decode(keys(DATA_KEYS_LIMIT + 1))


def test_the_keys_of_all_objects_count_together():
    data = b"[[" + b",".join([b'{"a":1}'] * (DATA_KEYS_LIMIT + 1)) + b"]]"

    with pytest.raises(DecodeError, match="more than 10,000 keys"):
        PayloadCodec((Any,)).decode(data)


def test_colons_in_strings_are_no_keys():
    value = ([":" * (DATA_KEYS_LIMIT + 1), '\\":'],)
    payload = PayloadCodec((list[str],))

    assert payload.decode(payload.encode(value)) == value


# ----------------------------------------------------------------------------- hashes


COLLIDING = {
    "uuids": (set[UUID], [str(UUID(int=n * SAME_HASH)) for n in range(EQUAL_HASHES_LIMIT + 1)]),
    "decimals": (set[Decimal], [str(n * SAME_HASH) for n in range(EQUAL_HASHES_LIMIT + 1)]),
    "keys": (
        dict[UUID, int],
        {str(UUID(int=n * SAME_HASH)): 1 for n in range(EQUAL_HASHES_LIMIT + 1)},
    ),
    "pairs": (
        dict[tuple[UUID], int],
        [[[str(UUID(int=n * SAME_HASH))], 1] for n in range(EQUAL_HASHES_LIMIT + 1)],
    ),
}


@pytest.mark.parametrize("hint, data", COLLIDING.values(), ids=COLLIDING)
def test_items_chosen_to_have_one_hash_are_refused(hint, data):
    with pytest.raises(DecodeError, match=r"a payload\.\[0\]: 101 items have the same hash"):
        PayloadCodec((hint,)).decode(json.dumps([data]).encode())


def test_many_items_of_different_hashes_are_a_set():
    payload = PayloadCodec((set[UUID],))
    value = ({UUID(int=number) for number in range(6_000)},)

    assert payload.decode(payload.encode(value)) == value


@attrs.frozen(eq=False)
class Unfriendly:
    number: int

    def __hash__(self) -> int:
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "hint, data", [(set[Unfriendly], '{"number":1}'), (dict[Unfriendly, int], '[{"number":1},1]')]
)
def test_a_hash_that_raises_is_a_rejection(hint, data):
    with pytest.raises(DecodeError, match="ZeroDivisionError"):
        PayloadCodec((hint,)).decode(f"[[{data}]]".encode())


# ----------------------------------------------------------------------------- text


def test_what_an_upcast_returns_may_not_hold_itself():
    ring: dict[str, Any] = {}
    ring["left"] = ring

    @event("limits.ring", version=2, upcast={1: lambda _: ring})
    @attrs.frozen
    class Ring:
        left: Node

    types = EventTypes()
    types.add(Ring)

    with pytest.raises(DecodeError, match="never ends") as caught:
        types.lookup("limits.ring").decode(b"{}", 1, envelope="e7")
    assert caught.value.envelope == "e7"


class Deep(Form):
    """Read by whoever is at the end of Python's stack himself."""

    kinds = frozenset({dict})
    types = (Node,)
    tag = "deep"

    def dump(self, value: Any, room: Room) -> Any:
        raise NotImplementedError

    def load(self, data: Any) -> Any:
        raise RecursionError


def test_a_reader_without_stack_left_is_not_the_fault_of_the_data():
    with pytest.raises(RecursionError):
        TypeCodec(Node, Deep()).decode(b"{}", 1)


LIMITS = {"size": DATA_SIZE_LIMIT, "depth": DATA_DEPTH_LIMIT, "keys": DATA_KEYS_LIMIT}
STRICT = [
    b'{"a":1,"a":2}',
    b'{"a":{"b":1,"b":1}}',
    b'[{"a":1,"a":1}]',
    b'{"a":1,"\\u0061":2}',
    b"18446744073709551616",
    b"-9223372036854775809",
    b"[18446744073709551616]",
    b"1e999",
    b"NaN",
    b'"\\ud800"',
    b'"\xed\xa0\x80"',
    b'"\xff"',
    b"[1] ",
    b"1 1",
]


@pytest.mark.parametrize("data", STRICT, ids=range(len(STRICT)))
def test_the_quick_way_takes_nothing_that_the_strict_one_refuses(data: bytes):
    """What is byte for byte what we would write needs no closer look; nothing else passes by it."""
    try:
        found = parse(data, **LIMITS)
    except Refused:
        return
    assert text(found, size=DATA_SIZE_LIMIT) == data.strip()


PIECES = st.lists(
    st.sampled_from(
        [
            '{"a":',
            '"a":',
            '{"b":{}}',
            "{",
            "}",
            "[",
            "]",
            ",",
            "1",
            "-0",
            "1.0",
            "1e400",
            "0.10",
            '"x"',
            '"\\u0061"',
            '"é"',
            '"\\ud800"',
            "null",
            "true",
            "18446744073709551616",
            '"a":1,"a":2',
        ]
    )
    | st.just(" "),
    max_size=12,
).map("".join)


@given(PIECES | PIECES.map(lambda inner: f"[{inner}]") | PIECES.map(lambda inner: f"{{{inner}}}"))
@settings(max_examples=500, deadline=None)
def test_the_quick_way_finds_what_the_strict_one_finds_or_nothing(written: str):
    """F34: duplicates, long integers and what else one parser lets pass, the other does not."""
    data = written.encode()
    quick = jsontext._own(data)
    if quick is not None:
        assert repr(quick) == repr(jsontext._parsed(data))


@pytest.mark.parametrize(
    "value", [{"a": [1.5, None]}, "grüße 😀", 2**64 - 1, -(2**63), 1234567890123456789, 0, "", []]
)
def test_both_ways_read_the_same(value):
    ours = text(value, size=DATA_SIZE_LIMIT)
    theirs = json.dumps(value, ensure_ascii=False, indent=1).encode()

    assert parse(ours, **LIMITS) == parse(theirs, **LIMITS) == value
    assert msgspec.json.decode(ours) == value


@attrs.frozen
class Sold:
    number: int
    sku: str


@pytest.mark.parametrize(
    "hint, value, least",
    [
        (list[int], [1, 2, 3], 6),
        (set[int], {1, 2}, 4),
        (tuple[int, int], (1, 2), 4),
        (dict[int, int], {1: 2}, 5),
        (dict[str, int], {"ab": 2}, 5 + 2),
        (str, "abc", 3),
        (bytes, b"abcd", 8),
        (Path, Path("abc"), 3),
        (Long, Long.TEXT, 100_000),
        (Sold, Sold(1, "ab"), len('"number":0,"sku":0,') + 2),
    ],
    ids=repr,
)
def test_a_value_takes_the_least_room_that_it_needs_before_it_is_written(hint, value, least):
    form, room = Compiler().form(hint), Room()

    form.dump(value, room)
    room.take(DATA_SIZE_LIMIT - least)
    with pytest.raises(Refused, match="more than the 262,144 bytes"):
        room.take(1)


def test_what_we_wrote_ourselves_is_read_the_quick_way():
    """Letters are no digits, however many: else long texts would all go the slow way."""
    value = {"text": "x" * 1_000, "number": 10**17, "real": 1.5}

    assert jsontext._own(text(value, size=DATA_SIZE_LIMIT)) == value
    assert str(Refused(reason="told")) == "told"


def test_as_many_keys_as_allowed_are_read_and_what_strings_hold_is_none():
    assert parse(b'{"a":":"}', size=99, depth=9, keys=1) == {"a": ":"}
    with pytest.raises(Refused, match="more than 1 keys"):
        parse(b'{"a":":","b":1}', size=99, depth=9, keys=1)


def test_the_refusal_of_a_text_tells_its_size_as_it_is_in_utf_8():
    with pytest.raises(Refused, match=r"^22 bytes, more than the 5 bytes allowed"):
        text("é" * 10, size=5)


def test_a_plain_value_is_read_as_strictly():
    with pytest.raises(DecodeError, match=r"envelope a1 .*the key 'a' occurs twice"):
        decode_value(b'{"a": 1, "a": 2}', event="a raw job", envelope="a1")
