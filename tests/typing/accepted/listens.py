from __future__ import annotations

from typing import Any, assert_type

from eventbus import listens
from shop import ExpressShipped, Mailer, OrderHeld, OrderLost, OrderReturned, OrderShipped, Tracked


@listens(OrderShipped)
def function(event: OrderShipped, mailer: Mailer, *, retries: int = 3) -> int:
    return event.order_id


@listens(OrderShipped, priority=10, once=True)
async def coroutine(event: OrderShipped | OrderReturned) -> int:
    return event.order_id


@listens(OrderShipped, queue="emails", tries=3)
def queued(event: Tracked) -> None: ...


@listens(Tracked)
def abstract_event(event: Tracked) -> None: ...


@listens(OrderShipped, OrderReturned)
def two(event: OrderShipped | OrderReturned) -> None: ...


@listens(OrderShipped, OrderReturned, OrderLost)
def three(event: OrderShipped | OrderReturned | OrderLost) -> None: ...


@listens(OrderShipped, OrderReturned, OrderLost, OrderHeld, ExpressShipped)
def five(event: object) -> None: ...


@listens("order.*")
def wildcard(name: str, payload: tuple[object, ...]) -> int:
    return 1


@listens("order.*", "stock.*", priority=10)
def wildcards(name: str, payload: tuple[object, ...]) -> None: ...


@listens
def by_hint(event: OrderShipped, mailer: Mailer) -> int:
    return event.order_id


@listens()
def by_hint_called(event: OrderShipped) -> int:
    return event.order_id


@listens(priority=10, queue="emails")
async def by_hint_options(event: OrderShipped) -> int:
    return event.order_id


assert_type(function(event=OrderShipped(1), mailer=Mailer(), retries=1), int)
assert_type(function.__name__, str)
assert_type(wildcard(name="order.shipped", payload=()), int)
assert_type(by_hint(event=OrderShipped(1), mailer=Mailer()), int)
assert_type(by_hint_called(event=OrderShipped(1)), int)


async def main() -> None:
    assert_type(await coroutine(event=OrderShipped(1)), int)
    assert_type(await by_hint_options(event=OrderShipped(1)), int)


@listens(OrderShipped)
class Ledger:
    total: int = 0

    def __init__(self, mailer: Mailer) -> None:
        self.mailer = mailer

    def handle(self, event: OrderShipped, mailer: Mailer) -> None: ...


@listens(OrderShipped, OrderReturned, queue="emails")
class AsyncLedger:
    async def handle(self, event: OrderShipped | OrderReturned) -> None: ...


@listens(OrderShipped)
class CallableLedger:
    def __init__(self, mailer: Mailer) -> None: ...
    def __call__(self, event: OrderShipped) -> None: ...


@listens(OrderShipped)
class TakesAnything:
    def __init__(self, *args: Any) -> None: ...
    def handle(self, event: OrderShipped) -> None: ...


@listens
class HintedLedger:
    def __init__(self, mailer: Mailer) -> None: ...
    def handle(self, event: OrderShipped, mailer: Mailer) -> None: ...


@listens()
class HintedMany:
    def handle_shipped(self, event: OrderShipped) -> None: ...
    def handle_returned(self, event: OrderReturned) -> None: ...


@listens("order.*")
class NamedLedger:
    def handle(self, name: str, payload: tuple[object, ...]) -> None: ...


@listens(OrderShipped)
class Child(Ledger):
    def more(self) -> int:
        return self.total


def use(value: object, ledger: Ledger) -> int:
    if isinstance(value, Ledger):
        assert_type(value.mailer, Mailer)
    return ledger.total


assert_type(Ledger(Mailer()), Ledger)
assert_type(Ledger.total, int)
assert_type(AsyncLedger(), AsyncLedger)
assert_type(CallableLedger(mailer=Mailer()), CallableLedger)
assert_type(TakesAnything(1, 2), TakesAnything)
assert_type(HintedLedger(Mailer()), HintedLedger)
assert_type(HintedMany(), HintedMany)
assert_type(NamedLedger(), NamedLedger)
assert_type(Child(Mailer()).more(), int)


class Methods:
    @listens(OrderShipped)
    def shipped(self, event: OrderShipped, mailer: Mailer) -> int:
        return event.order_id

    @listens(OrderShipped, OrderReturned, queue="emails")
    async def either(self, event: OrderShipped | OrderReturned) -> int:
        return event.order_id

    @listens("order.*")
    def named(self, name: str, payload: tuple[object, ...]) -> int:
        return 1

    @listens
    def hinted(self, event: OrderShipped) -> int:
        return 1

    @listens(priority=1)
    def hinted_options(self, event: OrderShipped) -> int:
        return 1

    @staticmethod
    @listens(OrderShipped)
    def static(event: OrderShipped) -> int:
        return 1

    @classmethod
    @listens(OrderShipped)
    def of_class(cls, event: OrderShipped) -> int:
        return 1


assert_type(Methods().shipped(event=OrderShipped(1), mailer=Mailer()), int)
assert_type(Methods().named("order.shipped", ()), int)
assert_type(Methods().hinted(event=OrderShipped(1)), int)
assert_type(Methods().hinted_options(event=OrderShipped(1)), int)
assert_type(Methods.static(OrderShipped(1)), int)
assert_type(Methods.of_class(OrderShipped(1)), int)
