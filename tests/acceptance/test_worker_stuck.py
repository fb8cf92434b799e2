"""A job that cannot be interrupted: its worker ends around it, after settling everything it held."""

from __future__ import annotations

import signal

import pytest

#: A listener that waits in C, on a lock that it holds itself: no signal brings it back to Python.
SOURCE = """
import ctypes

def hang():
    lock = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None)
    libc.pthread_mutex_lock(lock)
    libc.pthread_mutex_lock(lock)

@listens(queue=True, timeout=1, tries=2, backoff=0)
def stuck(event: Ordered, attempt: Attempt) -> None:
    say("runs", event.number, attempt.number)
    if event.way == "hang":
        hang()
    elif event.way == "async":
        asyncio.run(waiting())

async def waiting():
    hang()

bus.listen(stuck)
"""


@pytest.mark.parametrize("way", ["hang", "async"])
def test_a_run_that_outlives_its_timeout_in_c_is_a_spent_attempt_and_ends_the_worker(shop, way):
    """K8: settled by the process that ended it, with a code of its own: nobody waits for the lease."""
    shop.write(SOURCE)
    shop.dispatch(1, way)

    first = shop.start()
    assert first.await_exit() == 125
    assert first.said("does not end, and cannot be interrupted")
    [job] = shop.port.peek()
    assert (job.state, job.attempts, job.losses) == ("ready", 1, 0)

    second = shop.start()
    assert second.await_exit() == 125
    assert (first.said("runs"), second.said("runs")) == (["runs 1 1"], ["runs 1 2"])
    [failed] = shop.bus.failed.all()
    assert failed.attempts == 2
    assert "ListenerTimeout" in failed.error
    assert shop.waiting() == 0


def test_its_batch_mates_run_once_elsewhere_and_what_was_done_before_it_stays_done(shop):
    shop.write(SOURCE)
    for number in range(40):
        shop.dispatch(number, "hang" if number == 30 else "")

    first = shop.start()
    assert first.await_exit() == 125
    rest = shop.start("--stop-when-empty", "--tries", "1")
    rest.await_exit()

    ran = [line.split()[1] for line in (*first.said("runs"), *rest.said("runs"))]
    assert sorted(ran, key=int) == sorted([str(n) for n in range(40)] + ["30"], key=int)


def test_a_second_signal_ends_a_worker_within_two_seconds_whatever_it_runs(shop):
    shop.write(SOURCE.replace("timeout=1", "timeout=600"))
    shop.dispatch(1, "hang")
    worker = shop.start()
    worker.await_line("runs 1")

    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGINT)

    assert worker.await_exit() == 124
    [job] = shop.port.peek()
    assert (job.state, job.attempts, job.losses, job.releases) == ("ready", 0, 0, 0)


def test_when_the_grace_is_over_a_worker_ends_whatever_it_runs(shop):
    shop.write(SOURCE.replace("timeout=1", "timeout=600"))
    shop.dispatch(1, "hang")
    worker = shop.start("--grace", "0.2")
    worker.await_line("runs 1")

    worker.tell(signal.SIGTERM)

    assert worker.await_exit() == 124
    assert [job.state for job in shop.port.peek()] == ["ready"]
