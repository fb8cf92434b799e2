"""The events and the no-op listeners that all contenders share, and the hand-written floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen


@frozen
class OrderShipped:
    """The event of every table: what an application would write."""

    order_id: int
    email: str


EVENT = OrderShipped(order_id=1, email="a@example.com")
#: How a statement makes an event of its own.
CONSTRUCT = "OrderShipped(order_id=1, email='a@example.com')"


def functions(
    count: int, parameters: str = "event", *, define: str = "def", body: str = "return None"
) -> list[Callable[..., Any]]:
    """
    Return distinct functions that do nothing.

    Each is compiled on its own: CPython specialises a call site for the one function that it keeps
    seeing, and the listeners of a real application are not copies of one.
    """
    names: dict[str, Any] = {}
    for index in range(count):
        exec(f"{define} listener_{index}({parameters}): {body}", names)
    return [names[f"listener_{index}"] for index in range(count)]


def coroutines(count: int) -> list[Callable[..., Any]]:
    """Return distinct async functions that do nothing."""
    return functions(count, define="async def")


def event_classes(count: int) -> list[type]:
    """Return distinct event classes."""
    return [type(f"Event{index}", (), {}) for index in range(count)]


class Floor:
    """
    What one would write by hand: the least that looks up, calls, can be stopped and answers.

    Everything here is timed against it.
    """

    def __init__(self, table: dict[Any, tuple[Callable[..., Any], ...]]) -> None:
        self.table = table

    def dispatch(self, event):
        answers = []
        for call in self.table[type(event)]:
            answer = call(event)
            if answer is False:
                break
            answers.append(answer)
        return answers

    def dispatch_name(self, name, *payload):
        answers = []
        for call in self.table[name]:
            answer = call(*payload)
            if answer is False:
                break
            answers.append(answer)
        return answers

    def until(self, event):
        for call in self.table[type(event)]:
            answer = call(event)
            if answer is not None:
                return answer
        return None

    def dispatch_collecting(self, event):
        answers = []
        errors = []
        for call in self.table[type(event)]:
            try:
                answer = call(event)
            except Exception as error:  # noqa: BLE001 -- what is asked for
                errors.append(error)
                continue
            if answer is False:
                break
            answers.append(answer)
        if errors:
            raise ExceptionGroup("listeners failed", errors)  # noqa: EM101 -- by hand, as a user
        return answers

    async def adispatch(self, event):
        answers = []
        for call in self.table[type(event)]:
            answer = await call(event)
            if answer is False:
                break
            answers.append(answer)
        return answers
