from __future__ import annotations

from eventbus import EventBus, Job
from eventbus.testing import FakeQueue
from shop import Mailer, OrderShipped


class Send(Job, queue="emails"):
    order_id: int
    country: str = "de"

    def handle(self, mailer: Mailer) -> None:
        self.order_id = 2  # error: mypy pyright


class Fetch(Job):
    def handle(self) -> None: ...


class Unknown(Job, tires=3): ...  # error: mypy pyright


class NumberedQueue(Job, queue=3): ...  # error: mypy pyright


class NoMiddleware(Job, middleware=[3]): ...  # error: mypy pyright


class OneMiddleware(Job, middleware="skip"): ...  # error: mypy pyright


class LongTimeout(Job, timeout="a minute"): ...  # error: mypy pyright


class NoErrors(Job, no_retry="KeyError"): ...  # error: mypy pyright


bus = EventBus()
job = Send(1)

Send()  # error: mypy pyright
Send("one")  # error: mypy pyright
Send(1, town="Ulm")  # error: mypy pyright
Send(1, "de", 3)  # error: mypy pyright
job.country = "fr"  # error: mypy pyright
job.country.real  # error: mypy pyright

bus.enqueue(OrderShipped(1))  # error: mypy pyright
bus.enqueue(Send)  # error: mypy pyright
bus.enqueue(job, queue=3)  # error: mypy pyright
bus.enqueue(job, delay="soon")  # error: mypy pyright
bus.enqueue(job, tries=3)  # error: mypy pyright
bus.enqueue(job, "emails")  # error: mypy pyright
bus.enqueue_many(job)  # error: mypy pyright
bus.enqueue_many([job, OrderShipped(1)])  # error: mypy pyright
bus.run(OrderShipped(1))  # error: mypy pyright
bus.enqueue(job).status().seconds  # error: mypy pyright
bus.enqueue(job).result("soon")  # error: mypy pyright
bus.enqueue(job).result(wait="soon")  # error: mypy pyright
bus.job_handle(job, "id")  # error: mypy pyright
bus.job_handle(OrderShipped, "id")  # error: mypy pyright


def run_fetch(job: Fetch) -> None: ...


class RunsFetch:
    def handle(self, job: Fetch) -> None: ...


bus.bind(Send, run_fetch)  # error: mypy pyright
bus.bind(Send, RunsFetch)  # error: mypy pyright
bus.bind(OrderShipped, run_fetch)  # error: mypy pyright


def look(queue: FakeQueue) -> None:
    queue.enqueued(OrderShipped)  # error: mypy pyright
    queue.enqueued(Send)[0].town  # error: mypy pyright
    queue.assert_enqueued(Send, where=lambda job: job.town)  # error: mypy pyright
