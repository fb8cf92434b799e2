"""Where the jobs of listeners go that do not say themselves."""

from __future__ import annotations

import pytest
from attrs import frozen

from eventbus import ShouldQueue, listens
from eventbus.errors import InvalidOption, ListenError, UnknownConnection


@frozen
class Ordered:
    number: int = 1


class Report(ShouldQueue):
    pass


class Monthly(Report):
    def handle(self, event: Ordered) -> None: ...

    def handle_late(self, event: Ordered) -> None: ...


class Attributed(Report):
    queue = "own"

    def handle(self, event: Ordered) -> None: ...


class Hooked(Attributed):
    @staticmethod
    def via_queue(event: Ordered) -> str:
        return "hook"


@listens(queue=True)
def tell(event: Ordered) -> None: ...


@pytest.fixture
def bus(make_bus):
    return make_bus(
        connections={"default": "memory://?queue=main", "slow": "memory://?queue=crawl"}
    )


@pytest.fixture
def place(bus):
    """Register a listener, dispatch, and return where its job lies."""

    def place(listener):
        bus.listen(Ordered, listener)
        bus.dispatch(Ordered())
        return [
            (name, one.envelope.queue)
            for name in bus.connections.names()
            for one in bus.connections.port(name).each_stored()
        ]

    return place


def test_without_a_route_a_job_goes_to_the_default(place):
    assert place(Monthly) == [("default", "main")]


def test_a_route_of_a_class_places_its_jobs(bus, place):
    """L19."""
    bus.route(Monthly, queue="reports", connection="slow")

    assert place(Monthly) == [("slow", "reports")]


def test_a_route_of_a_parent_places_the_jobs_of_its_children(bus, place):
    """L19."""
    bus.route(ShouldQueue, connection="slow", queue="far")
    bus.route(Report, queue="reports")

    assert place(Monthly) == [("slow", "reports")]


def test_the_nearest_parent_counts_in_whatever_order_routes_are_made(bus, place):
    """L19."""
    bus.route(Monthly, queue="near")
    bus.route(Report, queue="far")

    assert place(Monthly) == [("default", "near")]


def test_a_route_to_a_connection_alone_takes_its_own_queue(bus, place):
    bus.route(Monthly, connection="slow")

    assert place(Monthly) == [("slow", "crawl")]


def test_a_later_route_adds_to_the_one_that_is_there(bus, place):
    bus.route(Monthly, connection="slow", queue="old")
    bus.route(Monthly, queue="new")

    assert place(Monthly) == [("slow", "new")]


def test_hooks_go_before_attributes_and_attributes_before_routes(bus, place):
    """L5, L19."""
    bus.route(Report, queue="route", connection="slow")

    assert place(Attributed) == [("slow", "own")]
    bus.connections.port("slow").clear("own")
    assert ("slow", "hook") in place(Hooked)


def test_a_function_has_a_route(bus, place):
    """L19."""
    bus.route(tell, queue="told")

    assert place(tell) == [("default", "told")]


def test_one_method_has_a_route(bus, place):
    bus.route((Monthly, "handle_late"), queue="late")
    bus.route(Monthly, queue="reports")

    assert place((Monthly, "handle_late")) == [("default", "late")]


def test_a_route_may_be_of_an_import_string(bus, place, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "depot", type("depot", (), {"Monthly": Monthly}))
    bus.route("depot:Monthly", queue="reports")

    assert place(Monthly) == [("default", "reports")]


def test_a_route_holds_from_now_on(bus, place):
    assert place(Monthly) == [("default", "main")]
    bus.route(Monthly, queue="reports")
    bus.dispatch(Ordered())

    queues = [one.envelope.queue for one in bus.connections.port().each_stored()]
    assert sorted(queues) == ["main", "reports"]


@pytest.mark.parametrize(
    "error, listener, said",
    [
        (InvalidOption, Monthly, {}),
        (InvalidOption, Monthly, {"queue": "a b"}),
        (UnknownConnection, Monthly, {"connection": "nowhere"}),
        (ListenError, 7, {"queue": "reports"}),
        (ListenError, "nowhere:Nothing", {"queue": "reports"}),
    ],
)
def test_a_route_that_cannot_be_is_refused(bus, error, listener, said):
    with pytest.raises(error):
        bus.route(listener, **said)
