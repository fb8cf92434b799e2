from __future__ import annotations

from eventbus import EventBus
from shop import OrderShipped

bus = EventBus()

bus.dispatch()  # error: mypy pyright
bus.dispatch(OrderShipped(1), 17)  # error: mypy pyright
bus.until(OrderShipped(1), 17)  # error: mypy pyright
bus.dispatch("order.imported", rows=17)  # error: mypy pyright
bus.dispatch_if(True, OrderShipped(1), 17)  # error: mypy pyright
bus.dispatch_unless(False, OrderShipped(1), 17)  # error: mypy pyright
bus.hold(OrderShipped(1), 17)  # error: mypy pyright


async def main() -> None:
    await bus.adispatch(OrderShipped(1), 17)  # error: mypy pyright
    await bus.auntil(OrderShipped(1), 17)  # error: mypy pyright
    await bus.adispatch_if(True, OrderShipped(1), 17)  # error: mypy pyright
    await bus.adispatch_unless(False, OrderShipped(1), 17)  # error: mypy pyright
