"""`eventbus list` and `eventbus why`."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def depot(module):
    """A small application: a family of events, a declared name, a wildcard, queued listeners."""
    module(
        "events",
        """
        from abc import ABC
        from attrs import frozen
        from eventbus import event

        class Tracked(ABC): ...

        @frozen
        class Order:
            id: int = 0

        @event("order.shipped", aliases=["order.sent"])
        class Shipped(Order): ...

        class Returned(Order): ...

        Tracked.register(Returned)
        """,
    )
    module(
        "listeners",
        """
        from abc import ABC, abstractmethod
        from eventbus import ShouldQueue, listens
        from depot.events import Order, Returned, Shipped, Tracked

        class Send(ShouldQueue):
            queue = "emails"
            def handle(self, event: Shipped): ...

        class Route(ShouldQueue):
            connection = "other"
            @staticmethod
            def via_queue(event): ...
            @staticmethod
            def via_connection(event): ...
            def handle(self, event: Shipped): ...

        class Ledger:
            def handle(self, event: Returned): ...
            async def handle_all(self, event: Order): ...

        @listens(priority=10, once=True)
        def refuse(event: Shipped): ...

        @listens("order.*")
        def audit(name, payload): ...

        @listens(queue=True)
        def follow(event: Tracked): ...

        class _Private:
            def handle(self, event: Order): ...

        class Abstract(ABC):
            @abstractmethod
            def handle(self, event: Order): ...
        """,
    )
    module(
        "app",
        """
        from eventbus import EventBus
        from depot.listeners import Ledger

        print("not data")
        bus = EventBus(
            discover=["depot.listeners"],
            connections={"default": "sqlite:///queue.db?queue=later"},
        )
        bus.listen("stock.low", "depot.listeners:audit")
        bus.listen("stock.low", print)
        """,
    )


def rows(result):
    """The lines of a result, each split where two blanks are."""
    return [[one for one in line.split("  ") if one] for line in result.stdout.splitlines()]


def stripped(result):
    return [[cell.strip() for cell in row] for row in rows(result)]


@pytest.mark.usefixtures("depot")
def test_every_event_is_listed_with_its_own_listeners_in_the_order_in_which_they_run(run):
    result = run("list")

    assert result.exit_code == 0
    assert stripped(result) == [
        ["PRIORITY", "MODE", "LISTENER", "MARKS", "WHERE", "ORIGIN"],
        ["depot.events.Order (depot.events:Order)"],
        ["0", "async", "depot.listeners:Ledger.handle_all", "-", "depot/listeners.py:20", "discovery"],
        ["depot.events.Returned (depot.events:Returned)"],
        ["0", "sync", "depot.listeners:Ledger", "-", "depot/listeners.py:19", "discovery"],
        ["depot.events.Tracked (depot.events:Tracked)"],
        ["0", "sync", "depot.listeners:follow", "queued later on default", "depot/listeners.py:28",
         "discovery"],
        ["order.*"],
        ["0", "sync", "depot.listeners:audit", "-", "depot/listeners.py:25", "discovery"],
        ["order.shipped (depot.events:Shipped)"],
        ["10", "sync", "depot.listeners:refuse", "once", "depot/listeners.py:22", "discovery"],
        ["0", "sync", "depot.listeners:Send", "queued emails on default", "depot/listeners.py:8",
         "discovery"],
        ["0", "sync", "depot.listeners:Route", "queued via_queue on via_connection",
         "depot/listeners.py:16", "discovery"],
        ["stock.low"],
        ["0", "sync", "depot.listeners:audit", "-", "depot/listeners.py:25", "hand"],
        ["0", "sync", "builtins:print", "-", "-", "hand"],
    ]  # fmt: skip


@pytest.mark.usefixtures("depot")
def test_columns_stand_below_each_other_over_all_events(run):
    lines = [line for line in run("list").stdout.splitlines() if line.startswith("  ")]

    assert len({line.index("depot") for line in lines[1:-1]}) == 1


@pytest.mark.usefixtures("depot")
def test_the_list_as_json(run):
    listed = json.loads(run("list", "--json", "--event", "shipped").stdout)

    file = "depot/listeners.py"
    plain = {"priority": 0, "async": False, "queued": None, "once": False, "file": file,
             "origin": "discovery"}  # fmt: skip
    via = {"connection": "other", "queue": None, "hooks": ["via_connection", "via_queue"]}
    emails = {"connection": "default", "queue": "emails", "hooks": []}
    assert listed == {
        "events": [
            {
                "event": "order.shipped",
                "class": "depot.events:Shipped",
                "listeners": [
                    plain
                    | {
                        "listener": "depot.listeners:refuse",
                        "line": 22,
                        "priority": 10,
                        "once": True,
                    },
                    plain | {"listener": "depot.listeners:Send", "line": 8, "queued": emails},
                    plain | {"listener": "depot.listeners:Route", "line": 16, "queued": via},
                ],
            }
        ],
        "jobs": [],
        "skipped": [
            {"what": "depot.listeners:Abstract", "reason": "it is abstract (handle)"},
            {"what": "depot.listeners:_Private", "reason": "its name is private"},
        ],
    }


@pytest.mark.usefixtures("depot")
def test_a_listener_without_source_has_no_place_in_json(run):
    [event] = json.loads(run("list", "--json", "--event", "stock").stdout)["events"]

    assert (event["event"], event["class"]) == ("stock.low", None)
    assert event["listeners"][1]["file"] is event["listeners"][1]["line"] is None


@pytest.mark.usefixtures("depot")
@pytest.mark.parametrize(
    "part, events",
    [("SHIPPED", ["order.shipped"]), ("events.T", ["depot.events.Tracked"]), (":Ret", ["depot.events.Returned"]),
     ("stock", ["stock.low"]), ("*", ["order.*"])],
)  # fmt: skip
def test_the_filter_is_a_part_of_the_name_whatever_its_case(run, part, events):
    listed = json.loads(run("list", "--json", "--event", part).stdout)["events"]

    assert [one["event"] for one in listed] == events


@pytest.mark.usefixtures("depot")
def test_a_filter_that_fits_nothing_is_said(run):
    result = run("list", "--event", "nothing")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith("eventbus: no event has 'nothing' in its name\n")


@pytest.fixture
def jobs(module):
    """An application of jobs: one with all of it said, an async one of a hook, one that is bound."""
    module(
        "jobs",
        """
        from eventbus import Job

        class Base(Job, connection="other", queue="slow"):
            number: int

        class Send(Base, name="mail.send"):
            def handle(self) -> None: ...

        class Fetch(Job):
            async def handle(self) -> None: ...
            def via_queue(self) -> str: ...

        class Bound(Job): ...
        """,
    )
    module(
        "app",
        """
        from eventbus import EventBus
        from depot.jobs import Bound

        def run(job: Bound): ...

        bus = EventBus(discover=["depot.jobs"], connections={"default": "sqlite:///queue.db"})
        bus.bind(Bound, run)
        """,
    )


@pytest.mark.usefixtures("jobs")
def test_jobs_are_listed_by_their_stored_names(run):
    result = run("list")

    assert stripped(result) == [
        ["jobs"],
        ["MODE", "JOB", "MARKS", "RUNS", "WHERE"],
        ["sync", "depot.jobs:Bound", "queued default on default", "depot.app:run", "depot/app.py:5"],
        ["async", "depot.jobs:Fetch", "queued via_queue on default", "-", "depot/jobs.py:11"],
        ["sync", "mail.send", "queued slow on other", "depot.jobs:Send", "depot/jobs.py:8"],
    ]  # fmt: skip
    assert result.stderr == "eventbus: no event has listeners\n"


@pytest.mark.usefixtures("jobs")
def test_jobs_as_json(run):
    listed = json.loads(run("list", "--json").stdout)

    assert [one["job"] for one in listed["jobs"]] == [
        "depot.jobs:Bound", "depot.jobs:Fetch", "mail.send",
    ]  # fmt: skip
    assert listed["jobs"][2] == {
        "job": "mail.send",
        "class": "depot.jobs:Send",
        "runs": "depot.jobs:Send",
        "async": False,
        "queued": {"connection": "other", "queue": "slow", "hooks": []},
        "file": "depot/jobs.py",
        "line": 8,
    }


@pytest.mark.usefixtures("jobs")
def test_who_asks_for_events_is_told_of_no_jobs(run):
    assert run("list", "--event", "e").stdout == ""
    assert json.loads(run("list", "--event", "e", "--json").stdout)["jobs"] == []


def test_a_bus_without_listeners_has_nothing_to_list(run, module):
    module("app", "from eventbus import EventBus\nbus = EventBus()")

    result = run("list", "--skipped")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        "eventbus: no event has listeners",
        "eventbus: discovery passed over nothing",
    ]


@pytest.mark.usefixtures("depot")
def test_what_discovery_passed_over_is_told_with_its_reason(run):
    assert stripped(run("list", "--event", "stock", "--skipped"))[-3:] == [
        ["passed over by discovery"],
        ["depot.listeners:Abstract", "it is abstract (handle)"],
        ["depot.listeners:_Private", "its name is private"],
    ]


def test_a_hostile_event_name_is_listed_as_text(run, module, hostile, hostile_shown):
    module(
        "app",
        f"from eventbus import EventBus\nbus = EventBus(listen={{{hostile!r}: print}})",
    )

    for result in (run("list"), run("why", hostile)):
        assert hostile_shown in result.stdout.splitlines()
        assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("depot")
@pytest.mark.parametrize(
    "event",
    ["order.shipped", "order.sent", "depot.events.Shipped", "depot.events:Shipped", "Shipped"],
)
def test_why_tells_who_runs_in_order_and_how_each_matched(run, event):
    result = run("why", event)

    assert result.exit_code == 0
    assert [row[:2] + row[4:5] for row in stripped(result)] == [
        ["order.shipped (depot.events:Shipped)"],
        ["#", "MATCH", "LISTENER"],
        ["1", "exact", "depot.listeners:refuse"],
        ["2", "exact", "depot.listeners:Send"],
        ["3", "exact", "depot.listeners:Route"],
        ["4", "wildcard order.*", "depot.listeners:audit"],
        ["5", "parent Order", "depot.listeners:Ledger.handle_all"],
    ]


@pytest.mark.usefixtures("depot")
def test_why_as_json(run):
    told = json.loads(run("why", "Returned", "--json").stdout)

    assert (told["event"], told["class"]) == ("depot.events.Returned", "depot.events:Returned")
    assert [(one["listener"], one["event"], one["matched"]) for one in told["listeners"]] == [
        ("depot.listeners:Ledger", "depot.events.Returned", "exact"),
        ("depot.listeners:Ledger.handle_all", "depot.events.Order", "parent Order"),
        ("depot.listeners:follow", "depot.events.Tracked", "abc Tracked"),
    ]
    assert told["listeners"][2] == {
        "listener": "depot.listeners:follow",
        "priority": 0,
        "async": False,
        "queued": {"connection": "default", "queue": "later", "hooks": []},
        "once": False,
        "file": "depot/listeners.py",
        "line": 28,
        "origin": "discovery",
        "event": "depot.events.Tracked",
        "matched": "abc Tracked",
        "passed_over": "",
    }
    assert told["not_run"] == []


def test_why_tells_what_does_not_run(run, depot, module):
    module(
        "app",
        """
        from eventbus import EventBus
        from depot.events import Order, Shipped

        def tell(event): ...

        bus = EventBus(listen={Order: tell, Shipped: tell})
        """,
    )

    assert stripped(run("why", "Shipped"))[3:] == [
        ["does not run"],
        ["parent Order", "depot.app:tell", "runs as the listener of Shipped"],
    ]
    [resting] = json.loads(run("why", "Shipped", "--json").stdout)["not_run"]
    assert resting["passed_over"] == "runs as the listener of Shipped"
    assert [len(one) for one in stripped(run("list", "--event", "events.Order"))] == [6, 1, 6]


@pytest.mark.usefixtures("depot")
@pytest.mark.parametrize(
    "event, heading",
    [
        ("order.imported", "order.imported"),
        ("order:imported", "order:imported"),
        ("stock.low", "stock.low"),
        ("depot.events:Order.id", "depot.events:Order.id"),
        ("depot.listeners.refuse", "depot.listeners.refuse"),
        ("fractions:Fraction", "fractions.Fraction (fractions:Fraction)"),
        ("collections.OrderedDict", "collections.OrderedDict (collections:OrderedDict)"),
    ],
)
def test_what_is_called_so_is_a_class_if_there_is_one_and_else_a_name(run, event, heading):
    result = run("why", event)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == heading


@pytest.mark.usefixtures("depot")
def test_what_nobody_hears_is_told_with_the_nearest_name(run):
    result = run("why", "stock.lo")

    assert (result.exit_code, result.stdout) == (0, "stock.lo\n")
    assert result.stderr.endswith("eventbus: nobody hears stock.lo, did you mean stock.low?\n")
    assert run("why", "zzzzzz").stderr.endswith("eventbus: nobody hears zzzzzz\n")


def test_a_name_that_is_registered_is_no_class_of_that_name(run, depot, module):
    module(
        "app",
        """
        from eventbus import EventBus
        from depot.events import Shipped

        bus = EventBus(listen={Shipped: print, "Shipped": print})
        """,
    )

    assert run("why", "Shipped").stdout.splitlines()[0] == "Shipped"


def test_two_classes_of_one_name_are_told_apart_by_the_user(run, depot, module):
    module("returns", "class Returned: ...")
    module(
        "app",
        """
        from eventbus import EventBus
        from depot import events, returns

        bus = EventBus(listen={object: print, events.Returned: print, returns.Returned: print})
        """,
    )

    result = run("why", "Returned")

    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        "2 classes are called 'Returned': depot.events:Returned, depot.returns:Returned"
        in result.stderr
    )
    assert run("why", "depot.returns.Returned").exit_code == 0


@pytest.mark.usefixtures("depot")
@pytest.mark.parametrize(
    "event, said", [("", "cannot be empty"), ("builtins.str", "a string that is dispatched")]
)
def test_what_cannot_be_an_event_is_a_wrong_use(run, event, said):
    result = run("why", event)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.usefixtures("depot")
def test_a_name_alone_imports_nothing(run, module, folder):
    (folder / "order.py").write_text("raise SystemExit('imported')", "utf-8")

    assert run("why", "order.shipping").exit_code == 0


@pytest.mark.usefixtures("depot")
def test_listing_makes_no_store(run, folder):
    run("list")
    run("why", "Shipped")

    assert not (folder / "queue.db").exists()
