from __future__ import annotations

from eventbus import Attempt, EventBus, ShouldQueue
from eventbus.queue.retry import exponential, jittered

bus = EventBus()


class Wrong(ShouldQueue):
    tries = "3"  # error: mypy pyright
    timeout = "soon"  # error: mypy pyright
    retry_until = "tomorrow"  # error: mypy pyright
    max_exceptions = "3"  # error: mypy pyright
    fail_on_timeout = "yes"  # error: mypy pyright
    no_retry = ("ValueError",)  # error: mypy pyright
    display_name = 7  # error: mypy pyright


class WrongBackoff(ShouldQueue):
    backoff = ("1", "5")  # error: mypy pyright


def settle(attempt: Attempt) -> None:
    attempt.release(5, True)  # error: mypy pyright


exponential("1")  # error: mypy pyright
jittered(10)  # error: mypy pyright
bus.route(Wrong, "emails")  # error: mypy pyright
