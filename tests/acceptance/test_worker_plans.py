"""Chains and batches that one program enqueues, and a worker runs that knows nothing of them but the jobs."""

from __future__ import annotations

import pytest

ROWS = """
from eventbus.queue.lifecycle import BatchStarted

class Row(Job, name="row"):
    number: int

    def handle(self):
        say(f"reads {self.number}")

@bus.listen
def begun(event: BatchStarted) -> None:
    say(f"begins {event.name}")

@bus.listen
def finished(event: BatchFinished) -> None:
    say(f"ends {event.name} {event.succeeded}")
"""


@pytest.fixture
def shop_of_rows(each_shop):
    each_shop.write(ROWS)
    return each_shop


def test_a_worker_tells_of_batches_that_another_program_made(shop_of_rows):
    """B21."""
    row = shop_of_rows.module.Row
    shop_of_rows.bus.batch(row(1), row(2), name="rows").enqueue()

    worker = shop_of_rows.work()

    assert worker.said("begins rows") == ["begins rows"]
    assert worker.said("ends rows") == ["ends rows 2"]
    assert list(shop_of_rows.bus.connections.port().each_stored()) == []


def test_a_worker_goes_on_behind_a_batch_that_another_program_made(shop_of_rows):
    """C13."""
    row = shop_of_rows.module.Row
    shop_of_rows.bus.chain(row(1), shop_of_rows.bus.batch(row(2), row(3)), row(4)).enqueue()

    worker = shop_of_rows.work()

    assert worker.said("reads")[0] == "reads 1"
    assert worker.said("reads")[-1] == "reads 4"
    assert len(worker.said("reads")) == 4
