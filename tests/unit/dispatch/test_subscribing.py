"""Subscribers register several listeners themselves (S1-S6), and all of them become known at once."""

from __future__ import annotations

import sys
import types

import pytest

from eventbus import EventBus
from eventbus.errors import ListenError


class Login:
    """An event."""


class Logout:
    """An event."""


class Users:
    """What a subscriber asks for."""


class ByCalls:
    def __init__(self, users: Users) -> None:
        self.users = users
        self.seen: list[str] = []

    def subscribe(self, bus: EventBus) -> None:
        bus.listen(Login, self.on_login)
        bus.listen(Logout, self.on_logout, priority=3)

    def on_login(self, event: Login) -> list[str]:
        self.seen.append("login")
        return self.seen

    def on_logout(self, event: Logout) -> list[str]:
        self.seen.append("logout")
        return self.seen


class Mapped:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def subscribe(self, bus: EventBus) -> object:
        return self.answer

    def on_login(self, event: Login) -> str:
        return "on_login"

    def again(self, event: object) -> str:
        return "again"


def spoken(event: object) -> str:
    return "spoken"


class Handles:
    def handle(self, event: Login) -> str:
        return "handles"


def test_a_subscriber_registers_its_listeners():
    """S1."""
    bus = EventBus(subscribe=[ByCalls])

    assert bus.dispatch(Login()) == [["login"]]
    assert [one.priority for one in bus.listeners_for(Logout)] == [3]


def test_a_class_is_built_once_and_keeps_its_state():
    """S5: by the resolver, with what it asks for; documented as shared."""
    bus = EventBus(provide={Users: Users})
    bus.subscribe(ByCalls)

    bus.dispatch(Login())
    assert bus.dispatch(Logout()) == [["login", "logout"]]


def test_an_object_subscribes_as_it_is():
    """S4."""
    subscriber = ByCalls(Users())

    EventBus(subscribe=[subscriber]).dispatch(Login())

    assert subscriber.seen == ["login"]


@pytest.mark.parametrize(
    "answer, heard",
    [
        ({Login: "on_login"}, ["on_login"]),
        ({Login: ["again", "on_login"]}, ["again", "on_login"]),
        ({Login: spoken}, ["spoken"]),
        ({Login: ["on_login", Handles, (Handles, "handle")]}, ["on_login", "handles", "handles"]),
        ({Login: f"{__name__}:spoken"}, ["spoken"]),
        ({Login: []}, []),
        (types.MappingProxyType({Login: "on_login"}), ["on_login"]),
        ({}, []),
        (None, []),
    ],
)
def test_a_mapping_names_methods_or_listeners(answer, heard, monkeypatch):
    """S2, S6: several keep their order; an import string and `(Class, "method")` are listeners."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    bus = EventBus(subscribe=[Mapped(answer)])

    assert bus.dispatch(Login()) == heard


def _this_module() -> types.ModuleType:
    module = types.ModuleType(__name__)
    vars(module).update(globals())
    return module


def test_a_mapping_may_name_names_and_wildcards():
    bus = EventBus(subscribe=[Mapped({"user.in": "again", "user.*": lambda name, payload: name})])

    assert bus.dispatch("user.in", 1) == ["again", "user.in"]


@pytest.mark.parametrize("answer", [[], "on_login", 0, False, [("a", "b")]])
def test_any_other_answer_is_refused(answer):
    """S3."""
    with pytest.raises(ListenError, match="returned") as caught:
        EventBus().subscribe(Mapped(answer))

    assert "Return a mapping" in caught.value.remedy


def test_an_async_subscribe_is_refused_and_not_left_unawaited():
    class Async:
        async def subscribe(self, bus: EventBus) -> None: ...

    with pytest.raises(ListenError, match="returned coroutine"):
        EventBus().subscribe(Async)


@pytest.mark.parametrize("name", ["nothing", "answer"])
def test_a_name_that_is_no_method_is_refused(name):
    with pytest.raises(ListenError, match=f"names '{name}', which is no method of it"):
        EventBus().subscribe(Mapped({Login: name}))


@pytest.mark.parametrize("subscriber", [Handles, Handles(), 17, None])
def test_what_has_no_subscribe_is_refused(subscriber):
    with pytest.raises(ListenError, match="it has no subscribe method"):
        EventBus().subscribe(subscriber)


def test_one_handle_removes_all_of_it():
    """S4: as a context manager too."""
    bus = EventBus()

    with bus.subscribe(ByCalls) as registration:
        assert len(registration.listeners) == 2
        assert bus.has_listeners(Login)

    assert bus.listeners() == ()


def test_a_subscriber_that_fails_half_way_registers_nothing():
    class Half:
        def subscribe(self, bus: EventBus) -> None:
            bus.listen(Login, spoken)
            raise LookupError

    bus = EventBus()
    with pytest.raises(LookupError):
        bus.subscribe(Half)

    assert bus.listeners() == ()


def test_a_subscriber_may_bring_others_along():
    class Failing:
        def subscribe(self, bus: EventBus) -> None:
            bus.listen(Login, lambda event: "lost")
            raise LookupError

    class Outer:
        def subscribe(self, bus: EventBus) -> None:
            bus.listen(Login, lambda event: "first")
            bus.subscribe(ByCalls)
            with pytest.raises(LookupError):
                bus.subscribe(Failing)
            bus.listen(Login, lambda event: "last")

    bus = EventBus()
    registration = bus.subscribe(Outer)
    assert bus.dispatch(Login()) == ["first", ["login"], "last"]

    registration.remove()
    assert bus.listeners() == ()


def test_a_listener_keeps_the_handle_that_removes_it():
    class Once:
        def subscribe(self, bus: EventBus) -> None:
            self.registration = bus.listen(Login, self.on_login)

        def on_login(self, event: Login) -> str:
            self.registration.remove()
            return "once"

    bus = EventBus(subscribe=[Once])

    assert [bus.dispatch(Login()), bus.dispatch(Login())] == [["once"], []]


def test_subscribed_twice_by_hand_runs_twice():
    bus = EventBus(subscribe=[Mapped({Login: "on_login"}), Mapped({Login: "on_login"})])

    assert bus.dispatch(Login()) == ["on_login", "on_login"]


def test_what_a_subscriber_registers_keeps_its_place():
    """Across an exact name and a wildcard too, the order is that of registration."""

    class Wild:
        def subscribe(self, bus: EventBus) -> None:
            bus.listen("user.login.*", lambda name, payload: "long")
            bus.listen("user.*", lambda name, payload: "short")
            bus.listen("*", lambda name, payload: "all")

    bus = EventBus()
    bus.listen("*", lambda name, payload: "before")
    bus.subscribe(Wild)
    bus.listen("*", lambda name, payload: "after")

    assert bus.dispatch("user.login.ok") == ["before", "long", "short", "all", "after"]


def test_a_dispatch_while_subscribing_neither_fails_nor_hides_what_comes():
    class Speaks:
        def subscribe(self, bus: EventBus) -> None:
            self.early = bus.dispatch(Login())
            bus.listen(Login, spoken)

    speaks = Speaks()
    bus = EventBus(subscribe=[speaks])

    assert speaks.early == []
    assert bus.dispatch(Login()) == ["spoken"]
