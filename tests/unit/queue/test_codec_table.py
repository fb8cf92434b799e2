"""Which class arrives: the table of names, versions and upcasts, and payloads of named events."""

from __future__ import annotations

import sys
import threading
import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from eventbus.dispatch.names import event
from eventbus.errors import DecodeError, EncodeError, InvalidOption, UnknownName
from eventbus.queue.codec.typed import EventTypes, PayloadCodec

if TYPE_CHECKING:
    from eventbus.queue.codec.typed import TypeCodec


@event("order.shipped", aliases=["shop.Shipped", "shipped"])
@attrs.frozen
class Shipped:
    order_id: int


@attrs.frozen
class Undeclared:
    order_id: int


def raised(_data: dict[str, Any]) -> dict[str, Any]:
    raise LookupError


@event(
    "order.paid",
    version=4,
    upcast={
        1: lambda data: {"amount": data["price"]},
        2: lambda data: {**data, "currency": "EUR"},
        3: lambda data: data,
    },
)
@attrs.frozen
class Paid:
    amount: int
    currency: str


@event("order.lost", version=5, upcast={1: raised, 2: lambda _: None, 3: lambda _: 7})
@attrs.frozen
class Lost:
    order_id: int


def table(*classes: type) -> EventTypes:
    types = EventTypes()
    for cls in classes:
        types.add(cls)
    return types


def own_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


# ----------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["order.shipped", "shop.Shipped", "shipped", own_name(Shipped)])
def test_a_class_is_found_by_its_name_its_aliases_and_where_it_lies(name: str):
    assert table(Shipped).lookup(name, 1).cls is Shipped


def test_a_class_without_a_declared_name_is_found_by_where_it_lies():
    codec = table(Undeclared).lookup(own_name(Undeclared))

    assert (codec.name, codec.version) == (own_name(Undeclared), 1)


def test_a_class_of_a_script_is_found_by_its_declared_name_alone(monkeypatch):
    """In another process `__main__` is another script."""
    monkeypatch.setattr(Shipped, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    types = table(Shipped)

    assert types.lookup("order.shipped").cls is Shipped
    with pytest.raises(UnknownName):
        types.lookup("__main__:Shipped")


def test_a_class_added_twice_is_one():
    types = table(Shipped, Shipped)

    assert types.codec_for(Shipped) is types.lookup("order.shipped")


HOSTILE = [
    "os.system",
    "os:system",
    "builtins:eval",
    "builtins.eval",
    "subprocess:Popen",
    "eventbus.cli:main",
    "..x",
    "a.b:c",
    "",
    "Order.Shipped",
    "order.shipped ",
    " order.shipped",
    "order.shipped\0",
    "оrder.shipped",  # noqa: RUF001 -- a Cyrillic o
    "ｏrder.shipped",  # noqa: RUF001 -- full width: NFKC makes it ours
    "order.*",
    "__class__",
    "{0.__class__}",
    "x" * 10_000,
    "\x1b[2J\r\n\u202e",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_any_other_name_is_unknown(name: str):
    with pytest.raises(UnknownName) as caught:
        table(Shipped).lookup(name, 1)

    assert len(str(caught.value)) < 2_000
    assert str(caught.value).isprintable()


def test_a_look_alike_is_not_made_the_same():
    assert unicodedata.normalize("NFKC", "ｏrder.shipped") == "order.shipped"  # noqa: RUF001


@pytest.mark.parametrize("name", ["order.shipped", "shop.Shipped"])
def test_two_classes_of_one_name_are_refused(name: str):
    @event(name)
    class Other:
        pass

    said = (
        f"^expected name of event .*Other to be a name of its own, .*Shipped has this one.*{name}"
    )
    with pytest.raises(InvalidOption, match=said):
        table(Shipped, Other)


def test_a_class_outside_the_table_is_refused_at_dispatch_with_the_remedy():
    with pytest.raises(EncodeError, match=r"no worker would know.*@event.*hint it in a listener"):
        table(Shipped).codec_for(Undeclared)


def test_a_child_of_a_class_in_the_table_is_not_in_it():
    class Child(Shipped):
        pass

    with pytest.raises(EncodeError, match="inside a function"):
        table(Shipped).codec_for(Child)


def test_a_class_without_a_name_may_be_added_and_is_refused_when_queued():
    class Local:
        pass

    types = table(Local)

    with pytest.raises(EncodeError, match="inside a function"):
        types.codec_for(Local)
    with pytest.raises(UnknownName):
        types.lookup(own_name(Local))


def test_a_class_inside_a_function_is_found_by_its_declared_name():
    @event("local.thing")
    @attrs.frozen
    class Local:
        number: int

    types = table(Local)

    assert types.lookup("local.thing").decode(types.codec_for(Local).encode(Local(1)), 1) == Local(
        1
    )


class Unreadable:
    def __init__(self, thing) -> None:
        self.thing = thing


def test_a_class_that_cannot_be_read_is_the_workers_typed_error():
    with pytest.raises(DecodeError, match=r"thing: .*no type hint"):
        table(Unreadable).lookup(own_name(Unreadable))


def test_a_class_that_cannot_be_written_is_refused_each_time():
    types = table(Unreadable)

    for _ in range(2):
        with pytest.raises(EncodeError, match="thing"):
            types.codec_for(Unreadable)


def test_threads_that_ask_at_once_get_one_codec():
    types = table(Shipped)
    found: set[TypeCodec] = set()
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        found.add(types.codec_for(Shipped))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 1


# ----------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    "version, data",
    [
        (1, b'{"price":5}'),
        (2, b'{"amount":5}'),
        (3, b'{"amount":5,"currency":"EUR"}'),
        (4, b'{"amount":5,"currency":"EUR"}'),
    ],
)
def test_data_of_each_version_arrives_as_todays(version: int, data: bytes):
    assert table(Paid).lookup("order.paid", version).decode(data, version) == Paid(5, "EUR")


def test_a_newer_version_is_parked():
    types = table(Paid)

    with pytest.raises(UnknownName, match=r"version of event order.paid"):
        types.lookup("order.paid", 5)
    with pytest.raises(UnknownName, match=r"version of event order.paid"):
        types.lookup("order.paid", 4).decode(b"{}", 5)
    with pytest.raises(UnknownName) as caught:
        types.lookup("order.paid", 5)
    assert (caught.value.name, caught.value.known) == ("5", ("4",))


@pytest.mark.parametrize(
    "version, data, reason",
    [
        (1, b"{}", "upcast from version 1 raised LookupError"),
        (2, b"{}", "upcast from version 2 returned NoneType, no dict"),
        (3, b"{}", "upcast from version 3 returned int, no dict"),
        (4, b"{}", "no upcast from version 4 to 5"),
        (1, b"[]", "version 1 is no object"),
    ],
)
def test_an_upcast_that_fails_is_a_rejection(version: int, data: bytes, reason: str):
    with pytest.raises(DecodeError, match=reason) as caught:
        table(Lost).lookup("order.lost", version).decode(data, version, envelope="e7")

    assert caught.value.envelope == "e7"


def test_an_error_names_an_envelope_only_if_it_is_given():
    with pytest.raises(DecodeError, match=r"^the stored bytes were rejected") as caught:
        table(Shipped).lookup("order.shipped").decode(b"", 1)
    assert caught.value.envelope == ""
    with pytest.raises(DecodeError, match=r"^the stored bytes were rejected"):
        table(Unreadable).lookup(own_name(Unreadable))
    with pytest.raises(DecodeError, match=r"^the stored bytes of envelope e7 were rejected"):
        table(Unreadable).lookup(own_name(Unreadable), envelope="e7")
    with pytest.raises(DecodeError, match=r"^the stored bytes were rejected: a payload: not JSON"):
        PayloadCodec().decode(b"")


def test_the_error_of_an_upcast_is_the_cause():
    with pytest.raises(DecodeError) as caught:
        table(Lost).lookup("order.lost").decode(b"{}", 1)

    assert isinstance(caught.value.__cause__, LookupError)


# ----------------------------------------------------------------------------- payloads


def test_a_payload_without_hints_is_plain_json():
    args = (17, "csv", None, [1.5, {"a": True}])

    codec = PayloadCodec()
    assert codec.decode(codec.encode(args)) == args


def test_a_payload_of_nothing():
    codec = PayloadCodec()
    assert codec.decode(codec.encode(())) == ()


def test_a_payload_takes_the_hints_of_its_listener():
    hints = (Decimal, Shipped)
    args = (Decimal("1.5"), Shipped(7))

    codec = PayloadCodec(hints)
    assert codec.encode(args) == b'["1.5",{"order_id":7}]'
    assert codec.decode(codec.encode(args)) == args


def test_more_arguments_than_hints_are_plain_json():
    assert PayloadCodec((int,)).encode((1, 2, "x")) == b'[1,2,"x"]'


def test_fewer_arguments_than_hints_are_those_that_came():
    assert PayloadCodec((int, str)).decode(b"[1]") == (1,)


def test_a_tuple_inside_a_payload_without_hints_is_refused():
    with pytest.raises(
        EncodeError, match=r"imported cannot be stored \(field \[1\]\): tuple is not"
    ):
        PayloadCodec().encode((1, (2,)), event="order.imported")


def test_a_hint_that_cannot_be_stored_is_refused():
    with pytest.raises(EncodeError, match=r"field \[1\].thing"):
        PayloadCodec((int, Unreadable))


@pytest.mark.parametrize("data", [b"{}", b"1", b"null", b"", b'["1"]', b"[1", b"[NaN]"])
def test_other_data_is_no_payload(data: bytes):
    with pytest.raises(DecodeError, match=r"order.imported") as caught:
        PayloadCodec((int,)).decode(data, event="order.imported", envelope="e7")

    assert caught.value.envelope == "e7"


def test_a_payload_of_many_arguments_is_plain_json_each_time():
    payload = PayloadCodec((int,))
    args = tuple(range(40))

    for _ in range(2):
        assert payload.decode(payload.encode(args)) == args
