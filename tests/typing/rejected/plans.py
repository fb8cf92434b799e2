from __future__ import annotations

from eventbus import Attempt, BatchFinished, EventBus, Job
from eventbus.queue.lifecycle import BatchStarted
from shop import OrderShipped


class Fetch(Job, name="plans.fetch"):
    podcast: int

    def handle(self, attempt: Attempt) -> None:
        attempt.batch.state()  # error: mypy pyright
        attempt.chain.prepend(Fetch)  # error: mypy pyright
        attempt.chain.append("fetch")  # error: mypy pyright
        attempt.chain.append([self])  # error: mypy pyright
        attempt.stop_chain("now")  # error: mypy pyright
        attempt.chain = None  # error: mypy pyright


class Sometimes(Job, run_if_canceled="yes"): ...  # error: mypy pyright


def report() -> None: ...


bus = EventBus()
job = Fetch(1)

bus.chain(Fetch)  # error: mypy pyright
bus.chain("fetch")  # error: mypy pyright
bus.chain(OrderShipped(1))  # error: mypy pyright
bus.chain([job, job])  # error: mypy pyright
bus.chain(job, report)  # error: mypy pyright
bus.chain(job, bus.chain)  # error: mypy pyright
bus.chain(job, bus.chain(job).enqueue())  # error: mypy pyright
bus.chain(job).append(Fetch)  # error: mypy pyright
bus.chain(job).prepend("fetch")  # error: mypy pyright
bus.chain(job, queue=1)  # error: mypy pyright
bus.chain(job, connection=bus)  # error: mypy pyright
bus.chain(job, delay="soon")  # error: mypy pyright
bus.chain(job, catch="x")  # error: mypy pyright
bus.chain(job, catch=Fetch)  # error: mypy pyright
bus.chain(job, catch=report)  # error: mypy pyright
bus.chain(job, catch=bus.chain(job))  # error: mypy pyright
bus.chain(job, name="fetch")  # error: mypy pyright
bus.chain(job).enqueue("slow")  # error: mypy pyright
bus.chain(job).enqueue().state()  # error: mypy pyright
bus.chain(job).enqueue_if(job).id  # error: mypy pyright

bus.batch(Fetch)  # error: mypy pyright
bus.batch("fetch")  # error: mypy pyright
bus.batch(OrderShipped(1))  # error: mypy pyright
bus.batch([job, job])  # error: mypy pyright
bus.batch(job, bus.batch(job).enqueue())  # error: mypy pyright
bus.batch(job).add(Fetch)  # error: mypy pyright
bus.batch(job, name=1)  # error: mypy pyright
bus.batch(job, queue=1)  # error: mypy pyright
bus.batch(job, allow_failures=report)  # error: mypy pyright
bus.batch(job, on_done=report)  # error: mypy pyright
bus.batch(job, on_success=Fetch)  # error: mypy pyright
bus.batch(job, on_error="fetch")  # error: mypy pyright
bus.batch(job, catch=job)  # error: mypy pyright
bus.batch(job, delay=5)  # error: mypy pyright

handle = bus.batch(job).enqueue()
handle.status()  # error: mypy pyright
handle.add(Fetch)  # error: mypy pyright
handle.state().total = 3  # error: mypy pyright
handle.state().finished_at.isoformat()  # error: mypy pyright
bus.batch(job).enqueue_if(job).state()  # error: mypy pyright
bus.batch_handle(handle)  # error: mypy pyright
bus.prune_batches(timedelta=3600)  # error: mypy pyright
bus.prune_batches(older_than="a day")  # error: mypy pyright


def finished(event: BatchFinished) -> None: ...


bus.listen(BatchStarted, finished)  # error: mypy pyright
