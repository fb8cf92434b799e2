from __future__ import annotations

from functools import partial
from typing import Any, assert_type

from eventbus import EventBus
from eventbus.dispatch.registry import Registration
from shop import ExpressShipped, Mailer, OrderHeld, OrderLost, OrderReturned, OrderShipped, Tracked

bus = EventBus()


def exact(event: OrderShipped) -> None: ...
def parent(event: Tracked) -> None: ...
def anything(event: object) -> None: ...
def either(event: OrderShipped | OrderReturned) -> None: ...
def three(event: OrderShipped | OrderReturned | OrderLost) -> None: ...
def five(event: OrderShipped | OrderReturned | OrderLost | OrderHeld | Mailer) -> None: ...
def injected(event: OrderShipped, mailer: Mailer, *, retries: int = 3) -> None: ...
async def later(event: OrderShipped, mailer: Mailer) -> None: ...
def untyped(event: Any) -> None: ...
def spread(*args: object) -> None: ...


class Ledger:
    def __init__(self, mailer: Mailer) -> None: ...
    def handle(self, event: OrderShipped | OrderReturned, mailer: Mailer) -> None: ...
    def other(self, event: OrderShipped, mailer: Mailer) -> None: ...


class AsyncLedger:
    async def handle(self, event: OrderShipped) -> None: ...


class StaticLedger:
    @staticmethod
    def handle(event: OrderShipped) -> None: ...


class ClassLedger:
    @classmethod
    def handle(cls, event: OrderShipped) -> None: ...


class Inherits(Ledger): ...


class CallableLedger:
    def __init__(self, mailer: Mailer) -> None: ...
    def __call__(self, event: OrderShipped, mailer: Mailer) -> None: ...


ledger = Ledger(Mailer())

assert_type(bus.listen(OrderShipped, exact), Registration)
assert_type(bus.listen(OrderShipped, injected, priority=10, once=True), Registration)
assert_type(bus.listen([OrderShipped, OrderReturned], either), Registration)
assert_type(bus.listen("order.*", spread), Registration)

bus.listen(OrderShipped, parent)
bus.listen(OrderShipped, anything)
bus.listen(OrderShipped, either)
bus.listen(OrderShipped, later)
bus.listen(OrderShipped, untyped)
bus.listen(OrderShipped, spread)
bus.listen(ExpressShipped, exact)
bus.listen(Tracked, parent)
bus.listen(OrderLost, three)
bus.listen(OrderShipped, partial(injected, mailer=Mailer()))
bus.listen(OrderShipped, print)

bus.listen(OrderShipped, lambda event: event.order_id)
bus.listen("order.*", lambda name, payload: None)

bus.listen(OrderShipped, ledger.other)
bus.listen(OrderShipped, ledger)
bus.listen(OrderShipped, Ledger)
bus.listen(OrderShipped, AsyncLedger)
bus.listen(OrderShipped, StaticLedger)
bus.listen(OrderShipped, ClassLedger)
bus.listen(OrderShipped, Inherits)
bus.listen(OrderShipped, CallableLedger)
bus.listen(OrderShipped, CallableLedger(Mailer()))

bus.listen(OrderShipped, (Ledger, "other"))
bus.listen(OrderShipped, "shop:heard")

bus.listen([OrderShipped], exact)
bus.listen([OrderShipped, ExpressShipped], exact)
bus.listen((OrderShipped, OrderReturned), either)
bus.listen([OrderShipped, OrderReturned], Ledger)
bus.listen([OrderShipped, OrderReturned], ledger)
bus.listen([OrderShipped, OrderReturned], (Ledger, "handle"))
bus.listen([OrderShipped, OrderReturned, OrderLost], three)
bus.listen([OrderShipped, OrderReturned, OrderLost, OrderHeld], anything)
bus.listen([OrderShipped, OrderReturned, OrderLost, OrderHeld], five)
bus.listen(OrderShipped | OrderReturned, either)
bus.listen(OrderShipped | OrderReturned, lambda event: event.order_id)

bus.listen("order.shipped", exact)
bus.listen("order.*", Ledger)
bus.listen("order.*", ledger)
bus.listen("order.*", "shop:heard")
bus.listen(["order.shipped", "order.returned"], exact)

assert_type(bus.listen(ledger), Ledger)
assert_type(bus.listen(Ledger)(Mailer()), Ledger)
assert_type(bus.listen(exact)(OrderShipped(1)), None)


@bus.listen
def decorated(event: OrderShipped, mailer: Mailer) -> int:
    return event.order_id


@bus.listen(priority=10)
async def decorated_later(event: OrderShipped) -> int:
    return event.order_id


@bus.listen
class Decorated:
    def __init__(self, mailer: Mailer) -> None: ...
    def handle_shipped(self, event: OrderShipped) -> None: ...


assert_type(decorated(event=OrderShipped(1), mailer=Mailer()), int)
assert_type(Decorated(Mailer()), Decorated)
