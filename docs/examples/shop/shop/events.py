"""What happens in the shop."""

from decimal import Decimal

from attrs import frozen

from eventbus import event


@event("order.placed")
@frozen
class OrderPlaced:
    """A customer has ordered."""

    order_id: int
    name: str
    email: str
    sku: str
    quantity: int
    total: Decimal


@event("stock.low")
@frozen
class StockLow:
    """Little is left of an article."""

    sku: str
    left: int
