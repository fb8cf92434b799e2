"""Queued listeners: a class, a function, and what they ask for besides the event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import assert_type

from eventbus import Attempt, EventBus, InteractsWithQueue, ShouldQueue, listens
from eventbus.dispatch.registry import Registration
from shop import Mailer, OrderReturned, OrderShipped

bus = EventBus()


class SendReceipt(ShouldQueue):
    queue = "emails"
    tries = 5
    backoff = (1, 5, 30)
    timeout = timedelta(minutes=1)

    def __init__(self, mailer: Mailer) -> None:
        self.mailer = mailer

    def handle(self, event: OrderShipped, attempt: Attempt) -> None:
        assert_type(attempt.number, int)
        attempt.release(timedelta(seconds=10))

    def failed(self, event: OrderShipped, error: BaseException) -> None: ...

    @staticmethod
    def via_queue(event: OrderShipped) -> str:
        return "emails"


class Ledger(ShouldQueue, InteractsWithQueue):
    delay = 2.5
    tries = 0

    async def handle(self, event: OrderShipped | OrderReturned, mailer: Mailer) -> None:
        assert_type(self.attempt, Attempt)

    def handle_returned(self, event: OrderReturned) -> None: ...


@listens(OrderShipped, queue="emails", tries=3)
def by_option(event: OrderShipped, attempt: Attempt, *, mailer: Mailer) -> int:
    return attempt.number


assert_type(bus.listen(OrderShipped, SendReceipt), Registration)
assert_type(bus.listen(OrderShipped, (SendReceipt, "handle")), Registration)
assert_type(bus.listen([OrderShipped, OrderReturned], Ledger, priority=1), Registration)
assert_type(bus.listen(OrderReturned, (Ledger, "handle_returned")), Registration)
assert_type(bus.listen(OrderShipped, by_option), Registration)
assert_type(bus.listen(SendReceipt), type[SendReceipt])
by_hand: Callable[..., int] = by_option
