from __future__ import annotations

from eventbus import Attempt, EventBus, ShouldQueue, listens
from shop import Mailer, OrderReturned, OrderShipped

bus = EventBus()


class SendReceipt(ShouldQueue):
    def __init__(self, mailer: Mailer) -> None: ...
    def handle(self, event: OrderShipped, attempt: Attempt) -> None: ...


class AttemptFirst(ShouldQueue):
    def handle(self, attempt: Attempt, event: OrderShipped) -> None: ...


class NumberedQueue(ShouldQueue):
    queue = 3  # error: mypy pyright


bus.listen(OrderReturned, SendReceipt)  # error: mypy pyright
bus.listen([OrderShipped, OrderReturned], SendReceipt)  # error: mypy pyright
bus.listen(OrderShipped, AttemptFirst)  # error: mypy pyright


@listens(OrderReturned, queue="emails")  # error: mypy pyright
def wrong_event(event: OrderShipped, attempt: Attempt) -> None: ...


def settle(attempt: Attempt) -> None:
    attempt.release("soon")  # error: mypy pyright
    attempt.number.upper()  # error: mypy pyright
