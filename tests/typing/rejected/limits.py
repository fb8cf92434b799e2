"""Right, and yet one checker complains; each line says which, and the way round is written below it."""

from __future__ import annotations

from eventbus import EventBus, listens
from shop import OrderReturned, OrderShipped

bus = EventBus()


def anything(*heard: object) -> None: ...
def either(event: OrderShipped | OrderReturned) -> None: ...


class Many:
    def handle_shipped(self, event: OrderShipped) -> None: ...


class Hinted:
    def handle_shipped(self, event: OrderShipped) -> None: ...


# mypy does not carry the event types of a list into a lambda.
bus.listen([OrderShipped, OrderReturned], lambda event: event.order_id)  # error: mypy
bus.listen([OrderShipped, OrderReturned], either)
bus.listen(OrderShipped | OrderReturned, lambda event: event.order_id)

# A lambda has one parameter: what is injected needs a hint, and a lambda has none. pyright reports it
# where `reportUnknownLambdaType` is on.
bus.listen(OrderShipped, lambda event, mailer: None)  # error: mypy

# The one `handle_*` that fits is looked for at run time; name it for the checkers.
bus.listen(OrderShipped, Many)  # error: mypy pyright
bus.listen(OrderShipped, (Many, "handle_shipped"))

# Bare `@listens` on a class without `handle`: is it a listener or an event? `@listens()` says which.
reveal: Hinted = listens(Hinted)()  # error: mypy pyright

# A list is of classes or of names; write two calls for both.
bus.listen([OrderShipped, "order.*"], anything)  # error: mypy pyright
