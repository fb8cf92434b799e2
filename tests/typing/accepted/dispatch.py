from __future__ import annotations

from typing import Any, assert_type

from eventbus import EventBus
from shop import OrderLost, OrderShipped

bus = EventBus()

assert_type(bus.dispatch(OrderShipped(1)), list[Any])
assert_type(bus.dispatch("order.imported", 17, "csv"), list[Any])
assert_type(bus.dispatch("order.imported"), list[Any])
assert_type(bus.until(OrderLost(1)), Any)
assert_type(bus.until("order.imported", 17), Any)
assert_type(bus.dispatch_if(OrderShipped(1), OrderShipped(1)), list[Any])
assert_type(bus.dispatch_unless("", "order.imported", 17), list[Any])
bus.hold(OrderShipped(1))
bus.hold("order.imported", 17)


async def main() -> None:
    assert_type(await bus.adispatch(OrderShipped(1)), list[Any])
    assert_type(await bus.adispatch("order.imported", 17), list[Any])
    assert_type(await bus.auntil(OrderShipped(1)), Any)
    assert_type(await bus.auntil("order.imported", 17), Any)
