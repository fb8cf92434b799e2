"""Events and listeners change from deploy to deploy, while jobs of both forms lie in the queue."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from eventbus import event, listens
from eventbus.dispatch.listeners import Listener
from eventbus.dispatch.marking import marks
from eventbus.dispatch.targets import target_of
from eventbus.errors import DecodeError, UnknownName
from eventbus.queue.catalogue import Catalogue
from eventbus.queue.codec.document import read, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Deploy:
    """One version of an application: one event class and one listener that hears it."""

    def __init__(
        self,
        fields: Mapping[str, Any],
        *,
        name: str = "order.shipped",
        listener: str = "send",
        former: tuple[str, ...] = (),
        **declared: Any,
    ) -> None:
        made = attrs.make_class(
            "Shipped", {one: attrs.field(type=hint) for one, hint in fields.items()}, frozen=True
        )
        self.cls = event(name, **declared)(made)

        def send(event: Any) -> None: ...

        send.__annotations__["event"] = self.cls
        marked = listens(queue=True, name=listener, aliases=former)(send)
        target = target_of(marked, self.cls)
        options = marks(marked)[0].options
        self.catalogue = Catalogue([Listener(event=self.cls, target=target, options=options)], [])
        self.listener = listener

    def sends(self, **fields: Any) -> bytes:
        """What lies in the queue after a dispatch."""
        return write(
            self.catalogue.document(
                self.listener,
                (self.cls(**fields),),
                id="a",
                event=None,
                options={},
                dispatched_at=datetime(2030, 1, 1, tzinfo=UTC),
            )
        )

    def gets(self, body: bytes) -> dict[str, Any]:
        """What the listener is called with."""
        document = read(body)
        _, (got,) = self.catalogue.payload(document, self.catalogue.entry(document.name))
        assert type(got) is self.cls
        return attrs.asdict(got)


def renamed(data: dict[str, Any]) -> dict[str, Any]:
    return {"order_id": data["number"]}


OLD = {"number": int}
NEW = {"order_id": int}


def test_a_renamed_field_arrives_from_old_code_through_an_upcast():
    """J8: old -> new."""
    old, new = Deploy(OLD), Deploy(NEW, version=2, upcast={1: renamed})

    assert new.gets(old.sends(number=7)) == {"order_id": 7}


def test_a_renamed_field_waits_at_old_code_for_the_deploy():
    """J8: new -> old: it is parked, not lost and not misread."""
    old, new = Deploy(OLD), Deploy(NEW, version=2, upcast={1: renamed})

    with pytest.raises(UnknownName, match=r"no version of event order.shipped is called '2' here"):
        old.gets(new.sends(order_id=7))


def test_a_renamed_field_without_a_version_is_an_error_on_both_sides_not_a_guess():
    """J7: nothing can tell the two forms apart, so neither is taken for the other."""
    old, new = Deploy(OLD), Deploy(NEW)

    with pytest.raises(DecodeError, match="order_id: missing"):
        new.gets(old.sends(number=7))
    with pytest.raises(DecodeError, match="number: missing"):
        old.gets(new.sends(order_id=7))


def test_three_versions_behind_goes_through_each_step_in_order():
    """J8: 1 -> 2 -> 3."""
    steps: list[int] = []

    def step(number: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def upcast(data: dict[str, Any]) -> dict[str, Any]:
            steps.append(number)
            return {**data, f"since{number + 1}": number}

        return upcast

    first = Deploy({"number": int})
    second = Deploy({"number": int, "since2": int}, version=2, upcast={1: step(1)})
    third = Deploy(
        {"number": int, "since2": int, "since3": int},
        version=3,
        upcast={1: step(1), 2: step(2)},
    )

    assert third.gets(first.sends(number=0)) == {"number": 0, "since2": 1, "since3": 2}
    assert steps == [1, 2]
    assert third.gets(second.sends(number=0, since2=5)) == {"number": 0, "since2": 5, "since3": 2}
    assert steps == [1, 2, 2]
    assert third.gets(third.sends(number=0, since2=5, since3=6))["since3"] == 6
    assert steps == [1, 2, 2]


def test_a_step_that_is_missing_is_told():
    with pytest.raises(DecodeError, match="no upcast from version 2 to 3"):
        Deploy(NEW, version=3, upcast={1: renamed}).gets(Deploy(OLD).sends(number=7))


@pytest.mark.parametrize(
    "upcast, reason",
    [
        (lambda data: data["missing"], "raised KeyError: 'missing'"),
        (lambda data: [data], "returned list, no dict"),
        (lambda data: None, "returned NoneType, no dict"),
        (lambda data: {"order_id": "7"}, "order_id: expected int, got str"),
        (lambda data: {**data, "order_id": 7}, "has no field number"),
        (lambda data: {}, "order_id: missing"),
    ],
    ids=["raises", "list", "nothing", "type", "more", "less"],
)
def test_an_upcast_that_does_not_lead_to_todays_event_is_told(upcast, reason):
    """F34: one typed error, never an event that is half filled."""
    with pytest.raises(DecodeError, match=reason):
        Deploy(NEW, version=2, upcast={1: upcast}).gets(Deploy(OLD).sends(number=7))


def test_a_new_field_with_a_default_needs_no_version_for_old_jobs():
    old = Deploy(OLD)
    new = Deploy({"number": int})
    new.cls = event("order.shipped")(
        attrs.make_class("Shipped", {"number": attrs.field(type=int), "note": attrs.field(
            type=str, default="")}, frozen=True)
    )  # fmt: skip
    types = type(new.catalogue.types)()
    types.add(new.cls)

    document = read(old.sends(number=7))

    assert types.lookup("order.shipped").decode(document.data, 1) == new.cls(7, "")


def test_a_renamed_event_arrives_under_its_former_name():
    old, new = Deploy(OLD), Deploy(OLD, name="order.sent", aliases=["order.shipped"])

    assert new.gets(old.sends(number=7)) == {"number": 7}


def test_a_renamed_event_waits_at_old_code():
    old, new = Deploy(OLD), Deploy(OLD, name="order.sent", aliases=["order.shipped"])

    with pytest.raises(UnknownName, match=r"no event is called 'order.sent' here"):
        old.gets(new.sends(number=7))


def test_a_renamed_listener_runs_what_was_queued_for_it_before():
    old, new = Deploy(OLD), Deploy(OLD, listener="notify", former=("send",))

    assert new.gets(old.sends(number=7)) == {"number": 7}
    with pytest.raises(UnknownName, match="no listener is called 'notify' here"):
        old.gets(new.sends(number=7))


def test_name_version_and_fields_may_change_at_once():
    old = Deploy(OLD)
    new = Deploy(NEW, name="order.sent", aliases=["order.shipped"], version=2, upcast={1: renamed})

    assert new.gets(old.sends(number=7)) == {"order_id": 7}
