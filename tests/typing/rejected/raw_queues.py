from __future__ import annotations

from eventbus import EventBus
from eventbus.queue.raw.claims import RawClaim

bus = EventBus(connections={"default": "memory://"})
emails = bus.queue("emails")

bus.queue()  # error: mypy pyright
bus.queue("emails", 3)  # error: mypy pyright
emails.push("a", 10)  # error: mypy pyright
emails.push("a", delay="soon")  # error: mypy pyright
emails.push("a", id=17)  # error: mypy pyright
emails.push_many(17)  # error: mypy pyright
emails.claim(wait="long")  # error: mypy pyright
emails.claim().ack()  # error: mypy pyright
emails.revive(1.5)  # error: mypy pyright
emails.work()  # error: mypy pyright


def settle(job: RawClaim) -> bool:
    job.release("soon")  # error: mypy pyright
    job.attempts.upper()  # error: mypy pyright
    return True


def of_a_payload(payload: dict[str, str]) -> bool:
    return True


emails.work(of_a_payload)  # error: mypy pyright
emails.work(settle, stop=True)  # error: mypy pyright
