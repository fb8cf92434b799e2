"""Wrong, and yet no checker sees it: what is refused when the program runs."""

from __future__ import annotations

from typing import Any

import pytest

from eventbus import EventBus, listens
from eventbus.errors import ListenError, NotAnEvent, UnknownOption
from shop import OrderReturned, OrderShipped

bus = EventBus()


class NoHandle:
    def __init__(self, *args: Any) -> None: ...


class Wrapper:
    def __init__(self, event: OrderShipped) -> None: ...


@listens(OrderShipped)
class NeverBuilt:
    def __init__(self, event: OrderShipped) -> None: ...


# Taken for a method: a class would pass `self` first.
@listens(OrderShipped)
def event_second(other: OrderReturned, event: OrderShipped) -> None: ...


@listens(OrderShipped, queu="emails")
def misspelt(event: OrderShipped) -> None: ...


with pytest.raises(ListenError):
    bus.listen(OrderShipped, (NoHandle, "absent"))
with pytest.raises(ListenError):
    bus.listen(OrderShipped, "shop:absent")
with pytest.raises(ListenError):
    bus.listen(OrderShipped, NoHandle)
with pytest.raises(ListenError):
    bus.listen(OrderShipped, Wrapper)
with pytest.raises(ListenError):
    bus.listen(OrderShipped, NeverBuilt)
with pytest.raises(ListenError):
    bus.listen(OrderShipped)
with pytest.raises(ListenError):
    bus.listen(list[int], print)
with pytest.raises(ListenError):
    bus.listen(OrderShipped, f"{__name__}:event_second")
with pytest.raises(UnknownOption):
    bus.listen(OrderShipped, misspelt)
with pytest.raises(NotAnEvent):
    bus.dispatch(OrderShipped)
