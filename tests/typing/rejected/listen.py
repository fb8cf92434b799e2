from __future__ import annotations

from eventbus import EventBus
from shop import ExpressShipped, Mailer, OrderLost, OrderReturned, OrderShipped, Tracked

bus = EventBus()


def returned(event: OrderReturned) -> None: ...
def shipped(event: OrderShipped) -> None: ...
def express(event: ExpressShipped) -> None: ...
def either(event: OrderShipped | OrderReturned) -> None: ...
def nothing() -> None: ...
def keyword(*, event: OrderShipped) -> None: ...
def service_first(mailer: Mailer, event: OrderShipped) -> None: ...
async def later(event: OrderReturned) -> None: ...


class WrongHandle:
    def __init__(self, mailer: Mailer) -> None: ...
    def handle(self, event: OrderReturned) -> None: ...
    def other(self, event: OrderReturned) -> None: ...


class EmptyHandle:
    def handle(self) -> None: ...


class NoHandle:
    def process(self, event: OrderShipped) -> None: ...


class NoHandleWithInit:
    def __init__(self, mailer: Mailer) -> None: ...


class WrongCall:
    def __call__(self, event: OrderReturned) -> None: ...


bus.listen(OrderShipped, returned)  # error: mypy pyright
bus.listen(OrderShipped, express)  # error: mypy pyright
bus.listen(OrderShipped, nothing)  # error: mypy pyright
bus.listen(OrderShipped, keyword)  # error: mypy pyright
bus.listen(OrderShipped, service_first)  # error: mypy pyright
bus.listen(OrderShipped, later)  # error: mypy pyright
bus.listen(Tracked, shipped)  # error: mypy pyright
bus.listen(OrderShipped, lambda: None)  # error: mypy pyright
bus.listen(OrderShipped, lambda event: event.nope)  # error: mypy pyright
bus.listen(OrderShipped, WrongHandle(Mailer()).other)  # error: mypy pyright
bus.listen(OrderShipped, WrongHandle(Mailer()))  # error: mypy pyright
bus.listen(OrderShipped, WrongHandle)  # error: mypy pyright
bus.listen(OrderShipped, EmptyHandle)  # error: mypy pyright
bus.listen(OrderShipped, NoHandle)  # error: mypy pyright
bus.listen(OrderShipped, NoHandle())  # error: mypy pyright
bus.listen(OrderShipped, NoHandleWithInit)  # error: mypy pyright
bus.listen(OrderShipped, WrongCall)  # error: mypy pyright
bus.listen(OrderShipped, WrongCall())  # error: mypy pyright
bus.listen(OrderShipped, ("WrongHandle", "other"))  # error: mypy pyright
bus.listen(OrderShipped, 42)  # error: mypy pyright
bus.listen(42, shipped)  # error: mypy pyright
bus.listen(OrderShipped(1), shipped)  # error: mypy pyright

bus.listen([OrderShipped, OrderReturned], shipped)  # error: mypy pyright
bus.listen([OrderShipped, OrderReturned], returned)  # error: mypy pyright
bus.listen((OrderShipped, OrderReturned), shipped)  # error: mypy pyright
bus.listen([OrderShipped, OrderReturned], WrongHandle)  # error: mypy pyright
bus.listen([OrderShipped, OrderReturned, OrderLost], either)  # error: mypy pyright
bus.listen(OrderShipped | OrderReturned, shipped)  # error: mypy pyright

bus.listen("order.*", 42)  # error: mypy pyright
bus.listen("order.*", NoHandle())  # error: mypy pyright
bus.listen(nothing)  # error: mypy pyright
bus.listen(OrderShipped, shipped, priority="high")  # error: mypy pyright
bus.listen(OrderShipped, shipped, 10)  # error: mypy pyright
bus.listen(OrderShipped, shipped).unknown  # error: mypy pyright


@bus.listen  # error: mypy pyright
def without_event() -> None: ...
