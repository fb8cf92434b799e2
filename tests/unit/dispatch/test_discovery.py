"""Listeners are found in packages by their hints (D1-D10, D12, D15), each once, in a fixed order."""

from __future__ import annotations

import importlib
import itertools
import sys
import threading
import zipfile
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from eventbus import EventBus
from eventbus.errors import DiscoveryError, DiscoveryWarning, ListenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from eventbus.dispatch.discovery import Discovery

#: What the packages of these tests begin with; `{package}` in a file is the name of its package.
HEAD = "from __future__ import annotations\nfrom eventbus import EventBus, listens\n"
EVENTS = """
class Event: ...
class Placed(Event): ...
class Shipped(Event): ...
"""
NUMBERS = itertools.count(1)

Write = "Callable[..., str]"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Write a package of files under a name that is used once; `name/__init__.py` unless given."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def make(files: dict[str, str], package: str = "", *, init: bool = True) -> str:
        package = package or f"shop{next(NUMBERS)}"
        every = {"events.py": EVENTS, **files}
        if init:
            every.setdefault("__init__.py", "")
        for path, text in every.items():
            place = tmp_path / package / path
            place.parent.mkdir(parents=True, exist_ok=True)
            head = "" if path.endswith("__init__.py") and not text else HEAD
            place.write_text(head + dedent(text).replace("{package}", package), "utf-8")
        importlib.invalidate_caches()
        return package

    yield make
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith("shop"):
            del sys.modules[name]


@pytest.fixture
def listeners(write) -> Callable[..., str]:
    """Write a package whose one module has this text, and the events at hand."""

    def make(text: str) -> str:
        return write({"listeners.py": "from {package}.events import *\n" + dedent(text)})

    return make


def event(package: str, name: str = "Shipped"):
    return getattr(importlib.import_module(f"{package}.events"), name)


def heard(bus: EventBus, package: str, name: str = "Shipped") -> list[str]:
    """The names of who hears an event, in order, without the package's."""
    return [one.name.removeprefix(f"{package}.") for one in bus.listeners_for(event(package, name))]


def skipped(found: Discovery) -> dict[str, str]:
    return {one.what.partition(":")[2]: one.reason for one in found.skipped}


# What is found.


def test_a_handle_method_with_a_hint_is_a_listener(listeners):
    """D1, D3, D5: the first dispatch scans what was named, and the hint is the registration."""
    package = listeners(
        """
        class Ledger:
            def handle(self, event: Shipped): return "handle"
            def handle_again(self, event: "Shipped"): return "again"
            def handle_placed(self, event: Placed): return "placed"
            def other(self, event: Shipped): return "no"
        """
    )
    bus = EventBus(discover=[package])

    assert bus.dispatch(event(package)()) == ["handle", "again"]
    assert bus.dispatch(event(package, "Placed")()) == ["placed"]


def test_nothing_is_scanned_that_was_not_named(listeners):
    """D3: never implicit, and not before it is needed."""
    package = listeners("1 / 0")

    EventBus(discover=[package])
    EventBus().dispatch("anything")

    assert f"{package}.listeners" not in sys.modules


def test_one_name_may_be_given_alone(listeners):
    package = listeners("class A:\n    def handle(self, event: Shipped): return 1")

    assert EventBus(discover=package).dispatch(event(package)()) == [1]


def test_unions_and_aliases_register_for_each_member(listeners):
    """D6."""
    package = listeners(
        """
        from typing import Annotated, Optional, Union
        Either = Placed | Shipped
        class A:
            def handle(self, event: Either): ...
        class B:
            def handle(self, event: Annotated[Union[Placed, "Shipped"], 1]): ...
        class C:
            def handle(self, event: Optional[Placed]): ...
        """
    )
    bus = EventBus(discover=[package])

    assert heard(bus, package, "Placed") == ["listeners:A", "listeners:B", "listeners:C"]
    assert heard(bus, package) == ["listeners:A", "listeners:B"]


def test_inherited_handlers_count_unless_they_are_switched_off(listeners, write):
    """D5: from a base that was imported too."""
    base = write(
        {
            "base.py": "from {package}.events import *\n"
            + dedent(
                """
        class Base:
            def handle(self, event: Shipped): ...
            def handle_placed(self, event: Placed): ...
        """
            )
        }
    )
    package = write(
        {
            "listeners.py": dedent(
                f"""
        from {base}.base import Base
        class Both(Base): ...
        class One(Base):
            handle_placed = None
        """
            )
        }
    )
    bus = EventBus(discover=[package])

    assert heard(bus, base) == [f"{package}.listeners:Both", f"{package}.listeners:One"]
    assert heard(bus, base, "Placed") == [f"{package}.listeners:Both.handle_placed"]


def test_generic_listeners_hear_what_their_subclasses_fill_in(listeners):
    package = listeners(
        """
        from typing import Generic, TypeVar
        E = TypeVar("E", bound=Event)
        class Base(Generic[E]):
            def handle(self, event: E): ...
        class Middle(Base[E]): ...
        class OnShipped(Middle[Shipped]): ...
        class OnAny(Base): ...
        """
    )
    bus = EventBus(discover=[package])

    assert heard(bus, package) == ["listeners:OnShipped", "listeners:OnAny"]
    assert "for a subclass to fill in" in skipped(bus.discover())["Middle"]


def test_decorated_methods_are_read_below_the_decorator(listeners):
    package = listeners(
        """
        import functools
        def logged(function):
            @functools.wraps(function)
            def wrapper(*args):
                return function(*args)
            return wrapper
        class A:
            @logged
            def handle(self, event: Shipped): return "a"
            @staticmethod
            def handle_static(event: Shipped): return "static"
            @classmethod
            def handle_class(cls, event: Shipped): return "class"
        @logged
        @listens
        def function(event: Shipped): return "function"
        """
    )

    answers = EventBus(discover=[package]).dispatch(event(package)())

    assert answers == ["a", "static", "class", "function"]


def test_listens_marks_functions_methods_and_classes(listeners):
    """`@listens` in its forms: bare, with events, names, priority; a `__call__` needs it."""
    package = listeners(
        """
        import functools
        @listens
        def bare(event: Shipped): ...
        @listens(Shipped, Placed)
        def named(event): ...
        @listens("order.*")
        @listens("plain")
        def wild(name, payload): ...
        class Methods:
            @listens(priority=5)
            def on_shipped(self, event: Shipped): ...
            @listens(Placed)
            def handle_placed(self, event): ...
        class Below(Methods): ...
        @listens
        class Call:
            def __call__(self, event: Shipped): ...
        @listens(Placed)
        class CallNamed:
            def __call__(self, event): ...
        class Unmarked:
            def __call__(self, event: Shipped): ...
        @listens(Shipped, priority=-1)
        class Handles:
            def handle(self, event): ...
        part = listens(Shipped)(functools.partial(named))
        spoken = listens(Shipped)(Unmarked())
        """
    )
    bus = EventBus(discover=[package])

    assert heard(bus, package) == [
        "listeners:Methods.on_shipped",
        "listeners:Below.on_shipped",
        "listeners:bare",
        "listeners:named",
        f"partial of {package}.listeners:named",
        "listeners:Call.__call__",
        "listeners:Unmarked",
        "listeners:Handles",
    ]
    assert heard(bus, package, "Placed") == [
        "listeners:named",
        "listeners:Methods.handle_placed",
        "listeners:Below.handle_placed",
        "listeners:CallNamed.__call__",
    ]
    assert [one.event for one in bus.listeners() if one.name.endswith(":wild")] == [
        "order.*",
        "plain",
    ]


# Where it is found.


def test_everything_below_a_package_is_scanned(write):
    """D4, D15: sub-packages, and folders without an `__init__.py`, at any depth."""
    text = "from {package}.events import *\nclass L:\n    def handle(self, event: Shipped): ..."
    package = write(
        {
            "listeners/__init__.py": text,
            "listeners/mail.py": text,
            "listeners/deep/er/stock.py": text,
            "listeners/__main__.py": "raise SystemExit('scripts are not run')",
            "listeners/run-me.py": "raise SystemExit('scripts are not run')",
            "listeners/templates/page.html": "",
        }
    )
    bus = EventBus(discover=[f"{package}.listeners"])

    assert heard(bus, package) == [
        "listeners:L",
        "listeners.deep.er.stock:L",
        "listeners.mail:L",
    ]
    assert bus.discover().modules == [
        f"{package}.listeners",
        f"{package}.listeners.deep",
        f"{package}.listeners.deep.er",
        f"{package}.listeners.deep.er.stock",
        f"{package}.listeners.mail",
    ]


def test_a_namespace_package_is_scanned_in_all_its_places(write, tmp_path, monkeypatch):
    """D4: one package over two folders of the path."""
    text = "from {package}.events import *\nclass L:\n    def handle(self, event: Shipped): ..."
    package = write({"one.py": text}, init=False)
    second = tmp_path / "elsewhere" / package
    second.mkdir(parents=True)
    (second / "two.py").write_text(HEAD + text.replace("{package}", package))
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")

    assert heard(EventBus(discover=[package]), package) == ["one:L", "two:L"]


def test_a_single_module_is_scanned(listeners):
    """D9: a name is what `import` takes; no file name is guessed."""
    package = listeners("class L:\n    def handle(self, event: Shipped): ...")

    assert EventBus().discover(f"{package}.listeners").modules == [f"{package}.listeners"]


def test_a_package_in_a_zip_file_is_scanned(tmp_path, monkeypatch, write):
    package = f"shop{next(NUMBERS)}"
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr(f"{package}/__init__.py", "")
        archive.writestr(f"{package}/events.py", EVENTS)
        archive.writestr(
            f"{package}/sub/__init__.py",
            f"from {package}.events import *\nclass L:\n    def handle(self, event: Shipped): ...",
        )
    monkeypatch.syspath_prepend(tmp_path / "app.zip")

    assert heard(EventBus(discover=[package]), package) == ["sub:L"]


def test_a_link_back_to_a_folder_above_ends(write, tmp_path):
    package = write({"listeners.py": ""})
    (tmp_path / package / "again").symlink_to(tmp_path / package, target_is_directory=True)

    assert EventBus().discover(package).modules == [
        package,
        f"{package}.again",
        f"{package}.events",
        f"{package}.listeners",
    ]


# What is skipped, and why.


def test_what_is_skipped_says_why(listeners):
    """D7, D8."""
    package = listeners(
        """
        from abc import ABC, abstractmethod
        from typing import Protocol
        class Abstract(ABC):
            @abstractmethod
            def handle(self, event: Shipped): ...
        class Concrete(Abstract):
            def handle(self, event: Shipped): ...
        class Shape(Protocol):
            def handle(self, event: Shipped): ...
        class _Private:
            def handle(self, event: Shipped): ...
        class Builtin:
            def handle(self, event: str): ...
        class NoParameter:
            def handle(self): ...
        class Off:
            __discover__ = False
            def handle(self, event: Shipped): ...
        class Job:
            __discover__ = "it is a job"
            @listens(Shipped)
            def run(self, event): ...
        class Below(Job):
            def handle(self, event: Shipped): ...
        class On(Below):
            __discover__ = True
        class Nothing:
            def handles(self): ...
        @listens
        def _private(event: Shipped): ...
        """
    )
    bus = EventBus(discover=[package])

    assert skipped(bus.discover()) == {
        "Abstract": "it is abstract (handle)",
        "Shape": "it is a protocol",
        "_Private": "its name is private",
        "Builtin": "its hint 'str' is a builtin, which is no event",
        "NoParameter": "it has no parameter for the event",
        "Off": "it says `__discover__ = False`",
        "Job": "it is a job",
        "Below": "it is a job",
        "Nothing.handles": "it has no parameter for the event",
        "_private": "its name is private",
    }
    assert heard(bus, package) == ["listeners:Concrete", "listeners:On", "listeners:On.run"]


def test_what_is_imported_is_found_at_home_only(write):
    """D7: importing a listener into another module does not register it twice."""
    package = write(
        {
            "a.py": "from {package}.b import *",
            "b.py": """
                from {package}.events import *
                class L:
                    def handle(self, event: Shipped): ...
                @listens
                def function(event: Shipped): ...
                """,
        }
    )
    home = EventBus(discover=[package])
    away = EventBus(discover=[f"{package}.a"])

    assert heard(home, package) == ["b:L", "b:function"]
    assert heard(away, package) == []
    assert skipped(away.discover()) == dict.fromkeys(
        ("L", "function"), f"imported from {package}.b; found there if that is scanned"
    )


def test_a_second_name_is_no_second_listener(listeners):
    package = listeners(
        """
        def make():
            class Made:
                def handle(self, event: Shipped): ...
            return Made
        First = make()
        Again = First
        @listens
        def function(event: Shipped): ...
        _other = function
        """
    )
    found = EventBus().discover(package)

    assert [one.name.partition(":")[2] for one in found.listeners] == [
        "make.<locals>.Made",
        "function",
    ]
    assert found.skipped == []


def test_objects_that_stand_for_others_are_left_alone(listeners):
    """A lazy proxy, as of a web framework, must not be asked for what it stands for."""
    package = listeners(
        """
        class Lazy:
            def __getattribute__(self, name):
                raise RuntimeError(f"asked for {name}")
        request = Lazy()
        class L:
            def handle(self, event: Shipped): ...
        """
    )

    assert heard(EventBus(discover=[package]), package) == ["listeners:L"]


# Warnings and errors.


def test_a_handler_without_a_hint_is_a_warning_that_says_what_to_write(listeners):
    """Issue: a `handle*` without a hint is a warning; it points at the line."""
    package = listeners("class L:\n    def handle_it(self, event): ...")

    with pytest.warns(DiscoveryWarning) as caught:
        found = EventBus().discover(package)

    [message] = [str(one.message) for one in caught]
    assert message == (
        f"{package}.listeners:L.handle_it listens to nothing: its first parameter has no hint."
        " Write `def handle_it(self, event: OrderShipped)`"
    )
    assert (caught[0].filename, caught[0].lineno) == (
        sys.modules[f"{package}.listeners"].__file__,
        5,
    )
    assert skipped(found) == {"L.handle_it": "its first parameter has no hint"}


@pytest.mark.parametrize("hint", ["", ": int", ": list[Shipped]"])
def test_a_marked_function_that_hears_nothing_is_a_warning(listeners, hint):
    package = listeners(f"@listens\ndef audit(event{hint}): ...")

    with pytest.warns(DiscoveryWarning, match=r"Write `def audit\(event: OrderShipped\)`"):
        EventBus().discover(package)


def test_an_unhinted_handler_of_a_foreign_base_is_no_warning(listeners):
    """Nobody can add a hint to the standard library."""
    package = listeners("import logging\nclass Handler(logging.Handler): ...")

    found = EventBus().discover(package)

    assert skipped(found)["Handler.handleError"] == "its first parameter has no hint"


@pytest.mark.parametrize(
    "text",
    [
        "class L:\n    def handle(self, event: Ghost): ...",
        "class L:\n    @listens\n    def on(self, event: Ghost): ...",
        "class L:\n    def subscribe(self, bus: Ghost.EventBus): ...",
    ],
)
def test_a_hint_for_type_checkers_only_is_an_error_that_says_what_to_do(listeners, text):
    package = listeners(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import Ghost\n" + text
    )

    with pytest.raises(DiscoveryError) as caught:
        EventBus().discover(package)

    assert "names 'Ghost', which does not exist at run time" in str(caught.value)
    assert caught.value.remedy.startswith("Import it at run time")
    assert caught.value.module == f"{package}.listeners"


def test_a_package_that_does_not_exist_is_an_error():
    """DESIGN 12: an error, and not an empty scan."""
    bus = EventBus(discover=["shop_that_is_not_there"])

    for call in (
        bus.discover,
        lambda: bus.dispatch("x"),
        lambda: bus.has_listeners("x"),
        lambda: bus.until("x"),
        lambda: bus.forget("x"),
        lambda: bus.listeners_for("x"),
    ):
        with pytest.raises(DiscoveryError, match="there is no such module") as caught:
            call()
        assert caught.value.module == "shop_that_is_not_there"


@pytest.mark.parametrize(
    "text, what",
    [
        ("import module_that_is_not_there", "ModuleNotFoundError: No module named"),
        ("from {package}.events import Nothing", "ImportError: cannot import name 'Nothing'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def", "SyntaxError"),
    ],
)
def test_a_module_that_fails_to_import_is_one_error_and_tried_again(write, tmp_path, text, what):
    """Issue: one clear error with its name; the next dispatch tries again."""
    package = write({"sub/bad.py": text})
    bus = EventBus(discover=[package])

    with pytest.raises(DiscoveryError) as caught:
        bus.dispatch("x")
    assert caught.value.module == f"{package}.sub.bad"
    assert f"importing it (found in {package!r}) raised {what}" in str(caught.value)

    good = (
        f"{HEAD}from {package}.events import *\nclass L:\n    def handle(self, event: Shipped): ..."
    )
    (tmp_path / package / "sub" / "bad.py").write_text(good)
    importlib.invalidate_caches()
    assert heard(bus, package) == ["sub.bad:L"]


def test_an_interrupt_during_the_scan_goes_through(listeners):
    package = listeners("raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        EventBus().discover(package)


def test_an_event_nothing_can_listen_to_names_the_listener(listeners):
    package = listeners(
        """
        from typing import Protocol
        class Shape(Protocol):
            size: int
        class L:
            def handle(self, event: Shape): ...
        """
    )

    with pytest.raises(ListenError, match="listeners:L cannot listen"):
        EventBus().discover(package)


def test_a_queue_option_that_cannot_be_is_an_error_of_the_scan(listeners):
    package = listeners("@listens(Shipped, quue='x')\ndef audit(event): ...")

    with pytest.raises(ValueError, match="quue"):
        EventBus().discover(package)


# Order.


def test_the_order_is_module_name_then_line(write):
    """DESIGN 6: whatever imports what first."""
    text = """
        from {package}.events import *
        @listens
        def zeta(event: Shipped): ...
        class Alpha:
            def handle_b(self, event: Shipped): ...
            def handle_a(self, event: Shipped): ...
        class Inherits(Alpha): ...
        @listens
        def beta(event: Shipped): ...
        """
    package = write(
        {"b.py": text, "a.py": "from {package} import b, c\n" + dedent(text), "c.py": text}
    )
    importlib.import_module(f"{package}.c")
    expected = [
        f"{module}:{name}"
        for module in "abc"
        for name in (
            "zeta",
            "Alpha.handle_b",
            "Alpha.handle_a",
            "Inherits.handle_b",
            "Inherits.handle_a",
            "beta",
        )
    ]

    assert heard(EventBus(discover=[package]), package) == expected


def test_packages_come_in_the_order_in_which_they_were_named(write):
    """Order of registration: `discover` registers where it stands, whenever the scan comes."""
    text = "from {package}.events import *\nclass L:\n    def handle(self, event: Shipped): ..."
    package = write({"a.py": text, "b.py": text, "c.py": text})
    bus = EventBus(discover=[f"{package}.b", f"{package}.a"])
    bus.listen(event(package), print)
    bus.discover(package)

    assert heard(bus, package) == ["b:L", "a:L", "builtins:print", "c:L"]


# Once.


def test_a_target_is_found_once_however_often_it_is_scanned(listeners):
    """D10."""
    package = listeners(
        """
        class L:
            def handle(self, event: Shipped): ...
        class S:
            def subscribe(self, bus: EventBus):
                return {Shipped: "on"}
            def on(self, event): ...
        """
    )
    bus = EventBus(discover=[package, f"{package}.listeners", package])
    bus.discover(package)
    found = bus.discover(f"{package}.listeners")

    assert heard(bus, package) == ["listeners:L", "listeners:S.on"]
    assert [len(found.listeners), len(found.subscribers), len(found.modules)] == [1, 1, 3]


@pytest.mark.parametrize("form", ["class", "pair", "object", "string", "unbound"])
@pytest.mark.parametrize("first", ["hand", "scan"])
def test_what_is_registered_by_hand_wins(listeners, form, first):
    """D10, DESIGN 12, PEERS C2 #9: one call, by hand's options; the scan's comes back after it."""
    package = listeners("class L:\n    def handle(self, event: Shipped): return 1")
    L = importlib.import_module(f"{package}.listeners").L  # noqa: N806
    by_hand = {
        "class": L,
        "pair": (L, "handle"),
        "object": L(),
        "string": f"{package}.listeners:L",
        "unbound": L.handle,
    }[form]
    bus = EventBus()
    if first == "scan":
        bus.discover(package)
    registration = bus.listen(event(package), by_hand, priority=7)
    bus.discover(package)

    assert [one.priority for one in bus.listeners_for(event(package))] == [7]
    assert bus.dispatch(event(package)()) == [1]

    registration.remove()
    assert [one.priority for one in bus.listeners_for(event(package))] == [0]
    assert bus.dispatch(event(package)()) == [1]


def test_discovered_listed_and_registered_is_one_call(listeners):
    """PEERS C2 #9."""
    package = listeners("@listens\ndef function(event: Shipped): return 1")
    function = importlib.import_module(f"{package}.listeners").function

    bus = EventBus(discover=[package], listen={event(package): [function]})

    assert bus.dispatch(event(package)()) == [1]


def test_what_was_forgotten_is_found_again_by_the_next_scan(listeners):
    package = listeners("class L:\n    def handle(self, event: Shipped): return 1")
    bus = EventBus(discover=[package])
    bus.forget(event(package))
    assert bus.dispatch(event(package)()) == []

    bus.discover(package)
    assert bus.dispatch(event(package)()) == [1]


# Subscribers.


def test_a_class_whose_subscribe_takes_the_bus_is_a_subscriber(listeners):
    """S1, S2, S4: built by the resolver, and its handlers are not discovered besides."""
    package = listeners(
        """
        class Stock: ...
        class ByCalls:
            def __init__(self, stock: Stock): self.stock = stock
            def subscribe(self, bus: EventBus):
                bus.listen(Shipped, self.handle)
            def handle(self, event: Shipped): return type(self.stock).__name__
        class ByMapping:
            def subscribe(self, bus: "EventBus"):
                return {Shipped: ["one", "two"]}
            def one(self, event): return "one"
            def two(self, event): return "two"
        """
    )
    bus = EventBus(discover=[package])

    assert bus.dispatch(event(package)()) == ["Stock", "one", "two"]


def test_a_subscribe_that_does_not_take_the_bus_is_none(listeners):
    """It may be of any library; its handlers are listeners as ever."""
    package = listeners(
        """
        from typing import Protocol
        class Feed(Protocol):
            url: str
        class Reader:
            def subscribe(self, feed: Feed): ...
            def handle(self, event: Shipped): ...
        class Untyped:
            def subscribe(self, feed): ...
        class Unknown:
            def subscribe(self, feed: Nowhere): ...
        class Empty:
            def subscribe(): ...
        class Anything:
            def subscribe(self, feed: object): ...
        class Static:
            @staticmethod
            def subscribe(bus: EventBus): ...
        """
    )
    bus = EventBus(discover=[package])

    assert heard(bus, package) == ["listeners:Reader"]
    assert skipped(bus.discover()) == dict.fromkeys(
        ("Reader", "Untyped", "Unknown", "Empty", "Anything"),
        "its `subscribe` does not take an EventBus, by its hint",
    )


def test_a_subscriber_given_by_hand_and_found_is_one(listeners):
    """PEERS C2 #9, DESIGN 12."""
    package = listeners(
        """
        class S:
            def subscribe(self, bus: EventBus):
                return {Shipped: "on"}
            def on(self, event): return "on"
        """
    )
    by_class = EventBus(
        discover=[package], subscribe=[importlib.import_module(f"{package}.listeners").S]
    )
    by_name = EventBus(discover=[package], subscribe=[f"{package}.listeners:S"])
    after = EventBus(discover=[package])
    after.discover()
    after.subscribe(f"{package}.listeners:S")

    for bus in (by_class, by_name, after):
        assert bus.dispatch(event(package)()) == ["on"]


# When it is scanned.


def test_listeners_may_import_the_module_that_makes_the_bus(write):
    """DESIGN 2, 6: the circular layout of an application."""
    package = write(
        {
            "app.py": """
                bus = EventBus(
                    discover=["{package}.listeners"],
                    listen={"named": ["{package}.listeners:named", ("{package}.listeners:Pair", "on")]},
                    subscribe=["{package}.listeners:Subscriber"],
                )
                """,
            "listeners.py": """
                from {package}.app import bus
                from {package}.events import *
                class L:
                    def handle(self, event: Shipped): return bus.dispatch(Placed())
                class Pair:
                    def on(self): return "pair"
                class Subscriber:
                    def subscribe(self, bus: EventBus): return {Placed: "on"}
                    def on(self, event): return "placed"
                def named(): return "named"
                """,
        }
    )
    bus = importlib.import_module(f"{package}.app").bus

    assert bus.dispatch(event(package)()) == [["placed"]]
    assert bus.dispatch("named") == ["named", "pair"]


def test_import_strings_keep_their_place_in_the_order(write):
    """D1: resolved late, registered where they stand."""
    package = write({"late.py": "def first(): return 1\ndef third(): return 3"})
    bus = EventBus(listen={"x": [f"{package}.late:first", lambda: 2, f"{package}.late:third"]})
    bus.listen("x", lambda: 4)

    assert bus.dispatch("x") == [1, 2, 3, 4]


def test_an_import_string_that_fails_is_tried_again(write, tmp_path):
    package = write({"late.py": "1 / 0"})
    bus = EventBus(listen={"x": f"{package}.late:tell"})
    with pytest.raises(ZeroDivisionError):
        bus.dispatch("x")

    (tmp_path / package / "late.py").write_text("def tell(): return 'told'")
    importlib.invalidate_caches()
    assert bus.dispatch("x") == ["told"]


@pytest.mark.parametrize("start", ["listeners", "other"])
def test_a_dispatch_at_import_time_loses_nothing(write, start):
    """The module that is being imported by this thread is looked at when it is whole."""
    package = write(
        {
            "app.py": "bus = EventBus(discover=['{package}'])",
            "listeners.py": """
                from {package}.app import bus
                from {package}.events import *
                early = bus.dispatch(Shipped())
                class L:
                    def handle(self, event: Shipped): return "late"
                """,
            "other.py": """
                from {package}.events import *
                class O:
                    def handle(self, event: Shipped): return "other"
                """,
        }
    )
    importlib.import_module(f"{package}.{start}")
    bus = importlib.import_module(f"{package}.app").bus

    assert bus.dispatch(event(package)()) == ["late", "other"]
    assert importlib.import_module(f"{package}.listeners").early == ["other"]
    assert bus.dispatch(event(package)()) == ["late", "other"]


def test_an_import_string_of_a_module_under_way_waits_for_it(write):
    package = write(
        {
            "app.py": "bus = EventBus(listen={'x': '{package}.late:tell'})",
            "late.py": """
                from {package}.app import bus
                early = bus.dispatch('x')
                def tell(): return "told"
                """,
        }
    )
    module = importlib.import_module(f"{package}.late")

    assert module.bus.dispatch("x") == ["told"]
    assert module.early == []


def test_two_threads_that_dispatch_first_both_see_all_listeners(write):
    """The second waits for the imports of the first, and finds what it found."""
    package = write(
        {
            "listeners/a.py": """
                from {package} import gate
                from {package}.events import *
                gate.importing.set()
                gate.go_on.wait(10)
                class L:
                    def handle(self, event: Shipped): return "a"
                """,
            "listeners/b.py": """
                from {package}.events import *
                class S:
                    def subscribe(self, bus: EventBus):
                        bus.listen(Shipped, lambda event: "b")
                """,
            "gate.py": "import threading\nimporting = threading.Event()\ngo_on = threading.Event()",
        }
    )
    gate = importlib.import_module(f"{package}.gate")
    bus = EventBus(discover=[f"{package}.listeners"], listen={event(package): f"{package}.late:c"})
    write({"late.py": "def c(event): return 'c'"}, package)
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(bus.dispatch(event(package)())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    gate.importing.wait(10)
    gate.go_on.set()
    for thread in threads:
        thread.join(10)

    assert answers == [["c", "a", "b"]] * 4


def test_a_subscriber_that_two_threads_call_is_registered_once(write):
    """No lock is held while it subscribes, so both call it; what it made becomes known once."""
    package = write(
        {
            "found.py": """
                import threading
                from {package}.events import *
                both = threading.Barrier(2)
                class Found:
                    def subscribe(self, bus: EventBus):
                        both.wait(10)
                        bus.listen(Shipped, lambda event: "found")
                """,
            "named.py": """
                import threading
                from {package}.events import *
                both = threading.Barrier(2)
                class Named:
                    def subscribe(self, bus: EventBus):
                        both.wait(10)
                        bus.listen(Shipped, lambda event: "named")
                """,
        }
    )
    bus = EventBus(discover=[f"{package}.found"], subscribe=[f"{package}.named:Named"])
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(bus.dispatch(event(package)())))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert answers == [["named", "found"]] * 2


def test_a_class_that_no_statement_made_comes_first(listeners):
    package = listeners(
        """
        class Base:
            def handle(self, event: Shipped): ...
        Made = type("Made", (Base,), {"__module__": __name__})
        """
    )

    assert heard(EventBus(discover=[package]), package) == ["listeners:Made", "listeners:Base"]


@pytest.mark.parametrize(
    "string", ["{package}.events:Nothing", "{package}.nothing:Shipped", "Shipped"]
)
def test_an_import_string_that_names_nothing_says_so_when_it_is_looked_up(write, string):
    package = write({})
    bus = EventBus(listen={"x": string.format(package=package)})

    with pytest.raises(ListenError):
        bus.dispatch("x")


def test_three_hundred_modules_are_scanned(write):
    """How fast is measured in benchmarks/."""
    text = (
        "from {package}.events import *\nclass L:\n    def handle(self, event: Shipped): return 1"
    )
    package = write({f"m{number:03}.py": text for number in range(300)})

    assert EventBus(discover=[package]).dispatch(event(package)()) == [1] * 300
