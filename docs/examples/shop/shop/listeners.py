"""Who reacts. Nothing here registers itself: the bus finds these by their hints."""

from eventbus import Attempt, EventBus, ShouldQueue, listens
from shop.events import OrderPlaced, StockLow
from shop.mailing import Outbox
from shop.stock import LOW, Stock


@listens(priority=10)  # a guard goes first, and False stops the others
def refuse_embargoed(event: OrderPlaced) -> bool | None:
    """Refuse orders that cannot be answered."""
    return False if event.email.endswith(".invalid") else None


class StockLedger:
    """Keeps count, while the order is dispatched."""

    def __init__(self, stock: Stock, bus: EventBus) -> None:
        self.stock = stock
        self.bus = bus

    def handle(self, event: OrderPlaced) -> None:
        """Take the articles out of the stock."""
        before = self.stock.each - self.stock.sold[event.sku]
        left = self.stock.take(event.sku, event.quantity)
        if left < LOW <= before:
            self.bus.dispatch(StockLow(event.sku, left))


class SendConfirmation(ShouldQueue):
    """Tells the customer; a worker does it, and tries again where the mail server says so."""

    queue = "emails"
    tries = 3
    backoff = (0.1, 0.3)

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    def handle(self, event: OrderPlaced, attempt: Attempt) -> None:
        """Send the confirmation."""
        self.outbox.deliver(
            f"confirmation-{event.order_id}",
            event.email,
            f"Your order {event.order_id}",
            f"Dear {event.name},\n\n{event.quantity} x {event.sku}, {event.total} EUR in all.\n\n"
            f"(job {attempt.id})\n",
        )


class NotifyWarehouse(ShouldQueue):
    """Tells the warehouse of large orders; an async listener, in the same worker."""

    queue = "warehouse"

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    @staticmethod
    def should_queue(event: OrderPlaced) -> bool:
        """Store nothing for the small ones."""
        return event.quantity >= 12

    async def handle(self, event: OrderPlaced) -> None:
        """Send the pick list."""
        self.outbox.deliver(
            f"picklist-{event.order_id}",
            "warehouse@example.com",
            f"Pick {event.quantity} x {event.sku}",
            f"For {event.name}, order {event.order_id}.\n",
        )


@listens(queue="emails", tries=3)
def reorder(event: StockLow, outbox: Outbox) -> None:
    """Order more before it runs out; a function can be queued as well."""
    outbox.deliver(
        f"reorder-{event.sku}", "supplier@example.com", f"More {event.sku}", f"{event.left} left.\n"
    )
