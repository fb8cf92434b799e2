"""The table of names: what a stored name stands for in this program, and nothing else."""

from __future__ import annotations

import gc
import io
import sys
import types
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from attrs import frozen

from eventbus import ShouldQueue, event, listens
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.marking import marks
from eventbus.dispatch.targets import target_of
from eventbus.errors import DecodeError, EncodeError, ListenError, UnknownName
from eventbus.queue.catalogue import Catalogue, is_wildcard
from eventbus.queue.codec.document import Document
from eventbus.queue.options import read_options


@frozen
class Ordered:
    number: int


@frozen
class OrderedTwice(Ordered):
    pass


@event("catalogue.shipped")
@frozen
class Shipped:
    number: int


@listens(queue=True)
def tell(event: Ordered) -> None: ...


@listens(queue=True, name="tell", aliases=["shop:tell"])
def tell_named(event: Ordered) -> None: ...


@listens(queue=True)
def import_rows(count: int, kind: str = "csv") -> None: ...


@listens(queue=True)
def import_priced(price: Decimal) -> None: ...


@listens(queue=True)
def import_stream(stream: io.StringIO) -> None: ...


@listens(queue=True)
def import_noting(count: int, *, log: Ordered) -> None: ...


@listens(queue=True)
def import_any(*rows: int) -> None: ...


@listens(queue=True)
def import_unhinted(count) -> None: ...


@listens(queue=True)
def import_unreadable(count: "Missing", *, log: Ordered) -> None: ...  # noqa: F821, UP037


def hear(target, to):
    found = target_of(target, to)
    own = marks(found.owner or found.function)
    return Listener(event=to, target=found, options=own[0].options if own else {})


def catalogue_name(function):
    """What a listener is stored as that declares no name."""
    return f"{__name__}:{function.__qualname__}"


def entry_of(catalogue, function):
    return catalogue.entry(catalogue_name(function))


def document(**changes):
    fields = {
        "id": "a",
        "kind": "listener",
        "name": "tell",
        "event": f"{__name__}:Ordered",
        "payload": "class",
        "data": b'{"number":1}',
        "dispatched_at": datetime(2025, 1, 1, tzinfo=UTC),
    }
    return Document(**{**fields, **changes})


def test_a_queued_listener_is_found_by_its_name_and_its_aliases():
    catalogue = Catalogue([hear(tell_named, Ordered)], [])

    assert catalogue.entry("tell") is catalogue.entry("shop:tell")


def test_a_listener_that_is_not_queued_is_not_in_it():
    def plain(event: Ordered) -> None: ...

    catalogue = Catalogue([hear(plain, Ordered)], [])

    with pytest.raises(UnknownName):
        catalogue.entry(catalogue_name(plain))


def test_a_name_that_is_not_there_is_unknown_not_imported():
    with pytest.raises(UnknownName, match="os:system") as caught:
        Catalogue([hear(tell, Ordered)], []).entry("os:system")
    assert (caught.value.kind, caught.value.known) == ("listener", (catalogue_name(tell),))


def test_one_listener_of_several_events_is_one_entry():
    catalogue = Catalogue(
        [hear(tell, Ordered), hear(tell, OrderedTwice), hear(tell, "order.*")], []
    )

    assert entry_of(catalogue, tell).events == [Ordered, OrderedTwice, "order.*"]


def test_two_listeners_of_one_name_are_refused():
    @listens(queue=True, name="tell")
    def other(event: Ordered) -> None: ...

    said = r"stored under the name 'tell' as well.*Give one of them another: `name = "
    with pytest.raises(ListenError, match=said):
        Catalogue([hear(tell_named, Ordered), hear(other, Ordered)], [])


def test_an_alias_that_is_anothers_name_is_refused():
    @listens(queue=True, name="other", aliases=["tell"])
    def other(event: Ordered) -> None: ...

    said = "alias 'tell' is the name of.*Every name stands for one listener"
    with pytest.raises(ListenError, match=said):
        Catalogue([hear(tell_named, Ordered), hear(other, Ordered)], [])


def test_it_knows_what_listeners_hear_and_its_children_of_the_same_modules():
    types = Catalogue([hear(tell, Ordered)], []).types

    assert types.lookup(f"{__name__}:Ordered").cls is Ordered
    assert types.lookup(f"{__name__}:OrderedTwice").cls is OrderedTwice
    with pytest.raises(UnknownName):
        types.lookup("catalogue.shipped")


def test_it_knows_the_declared_events_of_scanned_modules():
    catalogue = Catalogue([], [__name__, "not_imported_at_all"])

    assert catalogue.types.lookup("catalogue.shipped").cls is Shipped


def test_a_child_counts_only_where_a_worker_is_sure_to_import_it(monkeypatch):
    elsewhere = types.ModuleType("catalogue_elsewhere")
    monkeypatch.setitem(sys.modules, elsewhere.__name__, elsewhere)
    elsewhere.Child = type("Child", (Ordered,), {"__module__": elsewhere.__name__})

    with pytest.raises(UnknownName):
        Catalogue([hear(tell, Ordered)], []).types.lookup("catalogue_elsewhere:Child")
    scanned = Catalogue([hear(tell, Ordered)], [elsewhere.__name__])

    assert scanned.types.lookup("catalogue_elsewhere:Child").cls is elsewhere.Child


@pytest.mark.parametrize("slotted", [frozen, dataclass(slots=True)], ids=["attrs", "dataclass"])
def test_the_first_form_of_a_class_with_slots_is_not_taken_for_another_class(slotted):
    gc.disable()  # it is what ends the first form, some time or other
    try:

        @slotted
        @event(f"catalogue.child.{id(slotted)}")
        class Child(Parent):
            number: int

        catalogue = Catalogue([hear(tell_parents, Parent)], [])
    finally:
        gc.enable()

    assert catalogue.types.lookup(Child.__eventbus_event__.name).cls is Child


class Parent:
    pass


@listens(queue=True)
def tell_parents(event: Parent) -> None: ...


def test_a_class_of_somebody_else_is_asked_for_its_place_past_its_metaclass():
    class Silent(type):
        def __getattribute__(cls, name):
            if name in ("__module__", "__qualname__"):
                raise SystemExit(3)
            return super().__getattribute__(name)

    kept = Silent("Odd", (), {"__module__": "elsewhere"})

    @listens(queue=True, name="all")
    def hear_all(event: object) -> None: ...

    assert Catalogue([hear(hear_all, object)], []) is not None
    del kept


def test_object_is_heard_and_is_no_event_of_its_own():
    @listens(queue=True, name="all")
    def hear_all(event: object) -> None: ...

    with pytest.raises(UnknownName):
        Catalogue([hear(hear_all, object)], []).types.lookup("builtins:object")


@pytest.mark.parametrize(
    "listener, hints",
    [
        (import_rows, (int, str)),
        (import_noting, (int,)),
        (import_any, None),
        (import_unhinted, None),
        (import_unreadable, None),
    ],
)
def test_a_payload_is_read_by_the_hints_of_all_its_parameters_or_none(listener, hints):
    catalogue = Catalogue([hear(listener, "import")], [])

    assert entry_of(catalogue, listener).payload_hints() == hints


def test_an_event_is_decoded_for_its_listener():
    catalogue = Catalogue([hear(tell_named, Ordered)], [])

    name, payload = catalogue.payload(document(), catalogue.entry("tell"))

    assert (name, payload) == (f"{__name__}.Ordered", (Ordered(1),))


def test_a_payload_is_decoded_for_its_listener():
    catalogue = Catalogue([hear(import_rows, "import")], [])
    stored = document(event="import", payload="args", data=b'[17,"csv"]')

    assert catalogue.payload(stored, entry_of(catalogue, import_rows)) == ("import", (17, "csv"))


@pytest.mark.parametrize(
    "stored",
    [
        document(event="order.imported", payload="args", data=b"[1]"),
        document(event="catalogue.shipped"),
    ],
    ids=["name", "class"],
)
def test_an_event_that_the_listener_is_not_registered_for_is_rejected(stored):
    catalogue = Catalogue([hear(tell_named, Ordered)], [__name__])

    with pytest.raises(DecodeError, match="tell does not listen to") as caught:
        catalogue.payload(stored, catalogue.entry("tell"))
    assert caught.value.envelope == "a"


@frozen
class Streamed:
    stream: io.StringIO


@listens(queue=True, name="stream")
def tell_streamed(event: Streamed) -> None: ...


@pytest.mark.parametrize(
    "stored",
    [
        document(data=b'{"number":"1"}'),
        document(event=f"{__name__}:Streamed", data=b'{"stream":1}'),
        document(event="import", payload="args", data=b'["x"]'),
        document(event="im.port", payload="args", data=b"{}", options={"wildcard": True}),
    ],
    ids=["field", "hint", "argument", "wildcard"],
)
def test_data_that_cannot_be_read_is_rejected_with_the_id_of_its_job(stored):
    """F34."""
    heard = [
        hear(tell_named, Ordered),
        hear(tell_streamed, Streamed),
        hear(import_rows, "import"),
        hear(import_rows, "im.*"),
    ]
    catalogue = Catalogue(heard, [])
    listener = {f"{__name__}:Streamed": "stream", f"{__name__}:Ordered": "tell"}
    entry = catalogue.entry(listener.get(stored.event, catalogue_name(import_rows)))

    with pytest.raises(DecodeError) as caught:
        catalogue.payload(stored, entry)

    assert caught.value.envelope == "a"
    assert "does not listen" not in caught.value.reason


@pytest.mark.parametrize(
    "heard, wildcard", [("import", True), ("im*", False)], ids=["exact", "wildcard"]
)
def test_a_job_does_not_choose_how_its_listener_is_called(heard, wildcard):
    """The arguments would be none that the listener is hinted for, and nobody would check them."""
    catalogue = Catalogue([hear(import_rows, heard)], [])
    forged = document(event="import", payload="args", data=b"[{}]", options={"wildcard": wildcard})

    with pytest.raises(DecodeError, match="does not listen to import"):
        catalogue.payload(forged, entry_of(catalogue, import_rows))


def test_wildcards_get_name_and_payload():
    assert [is_wildcard(one) for one in (Ordered, "order", "order.*")] == [False, False, True]


def test_a_class_is_one_entry_for_each_handler():
    catalogue = Catalogue([hear((Both, "handle"), Ordered), hear((Both, "handle_it"), Shipped)], [])

    assert [catalogue.entry(name).options.name for name in ("both", "both.handle_it")] == [
        "both",
        "both.handle_it",
    ]
    assert read_options(hear((Both, "handle"), Ordered)).name == "both"


class Both(ShouldQueue):
    name = "both"

    def handle(self, event: Ordered) -> None: ...

    def handle_it(self, event: Shipped) -> None: ...


def packed(catalogue, listener, payload, *, event=None, options=None):
    return catalogue.document(
        listener,
        payload,
        id="a",
        event=event,
        options=options or {},
        dispatched_at=datetime(2025, 1, 1, tzinfo=UTC),
    )


def test_the_job_of_an_event_object_is_its_fields():
    catalogue = Catalogue([hear(tell_named, Ordered)], [])

    job = packed(catalogue, "tell", (Ordered(1),))

    assert job == document(version=1, name="tell")


def test_the_job_of_a_name_is_its_arguments_by_the_listeners_hints():
    catalogue = Catalogue([hear(import_priced, "import")], [])
    name = catalogue_name(import_priced)

    job = packed(catalogue, name, (Decimal("1.50"),), event="import")

    assert (job.payload, job.version, job.data) == ("args", 1, b'["1.50"]')
    assert catalogue.payload(job, catalogue.entry(name)) == ("import", (Decimal("1.50"),))


def test_the_job_of_a_wildcard_is_plain_json():
    catalogue = Catalogue([hear(import_priced, "im*")], [])
    name = catalogue_name(import_priced)

    with pytest.raises(EncodeError, match="not plain JSON"):
        packed(catalogue, name, (Decimal(1),), event="import", options={"wildcard": True})
    job = packed(catalogue, name, ("1",), event="import", options={"wildcard": True})

    assert catalogue.payload(job, catalogue.entry(name)) == ("import", ("1",))


def test_the_hints_of_a_listener_are_compiled_once():
    entry = entry_of(Catalogue([hear(import_priced, "import")], []), import_priced)

    assert entry.codec is entry.codec


def test_a_hint_that_cannot_be_stored_is_the_producers_error_and_the_workers_typed_one():
    catalogue = Catalogue([hear(import_stream, "import")], [])
    name = catalogue_name(import_stream)
    stored = document(name=name, event="import", payload="args", data=b"[1]")

    with pytest.raises(EncodeError, match="StringIO has no form") as refused:
        packed(catalogue, name, (1,), event="import")
    assert refused.value.event == name
    with pytest.raises(DecodeError, match="StringIO has no form") as caught:
        catalogue.payload(stored, catalogue.entry(name))
    assert caught.value.envelope == "a"


def test_a_very_long_name_is_not_repeated_whole():
    with pytest.raises(UnknownName) as caught:
        Catalogue([], []).entry("x" * 200_000)

    assert len(str(caught.value)) < 1_000
