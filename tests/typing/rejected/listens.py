"""mypy reports a class decorator at the line of `class`, pyright at the line of the decorator."""

from __future__ import annotations

from eventbus import listens
from shop import ExpressShipped, Mailer, OrderHeld, OrderLost, OrderReturned, OrderShipped


@listens(OrderShipped)  # error: mypy pyright
def wrong_event(event: OrderReturned) -> None: ...


@listens(OrderShipped)  # error: mypy pyright
async def wrong_event_async(event: OrderReturned) -> None: ...


@listens(OrderShipped)  # error: mypy pyright
def too_narrow(event: ExpressShipped) -> None: ...


@listens(OrderShipped)  # error: mypy pyright
def nothing() -> None: ...


@listens(OrderShipped)  # error: mypy pyright
def keyword(*, event: OrderShipped) -> None: ...


@listens(OrderShipped)  # error: mypy pyright
def wrong_with_service(event: OrderReturned, mailer: Mailer) -> None: ...


@listens(OrderShipped, queue="emails", tries=3)  # error: mypy pyright
def wrong_queued(event: OrderReturned) -> None: ...


@listens(OrderShipped, OrderReturned)  # error: mypy pyright
def only_one(event: OrderShipped) -> None: ...


@listens(OrderShipped, OrderReturned, OrderLost)  # error: mypy pyright
def only_two(event: OrderShipped | OrderReturned) -> None: ...


@listens(OrderShipped, OrderReturned, OrderLost, OrderHeld)  # error: mypy pyright
def only_three(event: OrderShipped | OrderReturned | OrderLost) -> None: ...


@listens(42)  # error: mypy pyright
def not_an_event(event: OrderShipped) -> None: ...


@listens(OrderShipped, "order.*")  # error: mypy pyright
def class_and_name(event: OrderShipped) -> None: ...


@listens(OrderShipped, priority="high")  # error: mypy pyright
def wrong_option(event: OrderShipped) -> None: ...


@listens  # error: mypy pyright
def no_hint() -> None: ...


@listens()  # error: mypy pyright
def no_hint_called() -> None: ...


@listens(OrderShipped)  # error: pyright
class WrongHandle:  # error: mypy
    def __init__(self, mailer: Mailer) -> None: ...
    def handle(self, event: OrderReturned) -> None: ...


@listens(OrderShipped)  # error: pyright
class EmptyHandle:  # error: mypy
    def handle(self) -> None: ...


@listens(OrderShipped)  # error: pyright
class NoHandle:  # error: mypy
    def process(self, event: OrderShipped) -> None: ...


@listens(OrderShipped)  # error: pyright
class NoHandleWithInit:  # error: mypy
    def __init__(self, mailer: Mailer) -> None: ...


@listens(OrderShipped, OrderReturned)  # error: pyright
class OnlyOne:  # error: mypy
    def handle(self, event: OrderShipped) -> None: ...


@listens(OrderShipped)  # error: pyright
class WrongCall:  # error: mypy
    def __call__(self, event: OrderReturned) -> None: ...


class Methods:
    @listens(OrderShipped)  # error: mypy pyright
    def wrong(self, event: OrderReturned) -> None: ...

    @listens(OrderShipped)  # error: mypy pyright
    async def wrong_async(self, event: OrderReturned, mailer: Mailer) -> None: ...

    @listens(OrderShipped)  # error: mypy pyright
    def empty(self) -> None: ...

    @listens(OrderShipped, OrderReturned)  # error: mypy pyright
    def narrow(self, event: OrderShipped) -> None: ...


@listens(OrderShipped)
def kept(event: OrderShipped, mailer: Mailer) -> int:
    return event.order_id


@listens(OrderShipped)
class Kept:
    def __init__(self, mailer: Mailer) -> None: ...
    def handle(self, event: OrderShipped) -> None: ...


class KeptMethod:
    @listens(OrderShipped)
    def shipped(self, event: OrderShipped) -> int:
        return event.order_id


kept(OrderReturned(1), Mailer())  # error: mypy pyright
kept(OrderShipped(1))  # error: mypy pyright
kept(OrderShipped(1), mailer=Mailer()).upper()  # error: mypy pyright
Kept()  # error: mypy pyright
Kept(Mailer()).unknown  # error: mypy pyright
KeptMethod().shipped(OrderReturned(1))  # error: mypy pyright
KeptMethod().shipped(OrderShipped(1)).upper()  # error: mypy pyright
