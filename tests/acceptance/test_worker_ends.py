"""However a worker ends, and whatever happens to it meanwhile, no job is lost or forgotten."""

from __future__ import annotations

import os
import signal

import pytest

GATED = """
@bus.listen
@listens(queue=True)
def react(event: Ordered, attempt: Attempt):
    say("start", event.number, attempt.number, attempt.losses)
    if event.way:
        pass_gate(event.way)
    say("finish", event.number)
"""

STUCK = """
@bus.listen
@listens(queue=True)
def react(event: Ordered):
    say("start")
    wait_for_ever()
"""

STUCK_ASYNC = """
@bus.listen
@listens(queue=True)
async def react(event: Ordered):
    say("start")
    await asyncio.Event().wait()
"""

STUCK_BUILDING = """
class Mailer:
    def __init__(self):
        say("start")
        wait_for_ever()

@bus.listen
@listens(queue=True)
def react(event: Ordered, mailer: Mailer): ...
"""

STUCK_BLOCKING = """
@bus.listen
@listens(queue=True)
async def react(event: Ordered):
    say("start")
    wait_for_ever()
"""

WAYS = [STUCK, STUCK_ASYNC, STUCK_BUILDING, STUCK_BLOCKING]
IDS = ["sync", "async", "building", "blocking"]

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_idle_worker_ends_at_once(shop, number):
    shop.write(GATED)
    worker = shop.start("--sleep", "60")
    worker.await_line("worker begins")

    worker.tell(number)

    assert worker.await_exit() == 0
    assert worker.said("worker ends: signal, after 0 jobs")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_busy_worker_ends_after_its_job(shop, number):
    shop.write(GATED)
    shop.gate()
    shop.dispatch(1, "1")
    shop.dispatch(2)
    worker = shop.start()
    worker.await_line("start 1")

    worker.tell(number)
    shop.open_gate()

    assert worker.await_exit() == 0
    assert [line for line in worker.lines if line.startswith(("start", "finish"))] == [
        "start 1 1 0",
        "finish 1",
    ]
    assert shop.port.size("default").ready == 1


@pytest.mark.parametrize("source", WAYS, ids=IDS)
def test_when_the_grace_is_over_the_job_goes_back_unspent(shop, source):
    shop.write(source)
    shop.dispatch()
    worker = shop.start("--grace", "0.2")
    worker.await_line("start")

    worker.tell(signal.SIGTERM)

    assert worker.await_exit() == 124
    [claim] = shop.port.claim(["default"])
    assert (claim.attempts, claim.losses, claim.releases) == (0, 0, 0)


@pytest.mark.parametrize("source", WAYS, ids=IDS)
def test_a_second_signal_means_now(shop, source):
    shop.write(source)
    shop.dispatch()
    worker = shop.start("--grace", "600")
    worker.await_line("start")

    # Two that differ: two of one kind that come together are one.
    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGINT)

    assert worker.await_exit() == 124
    [claim] = shop.port.claim(["default"])
    assert claim.attempts == 0


def test_a_killed_workers_job_is_run_by_another_after_the_lease(shop):
    shop.write(GATED)
    shop.gate()
    shop.dispatch(1, "1")
    killed = shop.start("--lease", "1")
    killed.await_line("start 1 1 0")

    killed.tell(signal.SIGKILL)
    assert killed.await_exit() == -signal.SIGKILL
    other = shop.start("--lease", "1")
    other.await_line("start 1 1 1")  # the first attempt still, and one loss
    shop.open_gate()
    other.await_line("DONE")

    assert other.stop() == 0
    assert shop.waiting() == 0


def test_a_job_that_ends_its_workers_is_failed_at_the_third_loss(shop):
    shop.write("""
class Deadly(ShouldQueue):
    tries = 1
    def handle(self, event: Ordered, attempt: Attempt):
        say("start", attempt.number, attempt.losses)
        os._exit(0)
    def failed(self, event: Ordered, error: BaseException):
        say("failed", event.number, type(error).__name__)
bus.listen(Deadly)
""")
    shop.dispatch(7)

    for losses in range(3):
        worker = shop.start("--lease", "0.3")
        worker.await_line(f"start 1 {losses}")
        assert worker.await_exit() == 0  # it says of itself that all is well
    last = shop.start("--lease", "0.3")
    last.await_line("failed 7 JobLost")

    assert last.stop() == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.losses) == (0, 3)


def test_a_job_longer_than_its_lease_runs_once(shop):
    shop.write("""
@bus.listen
@listens(queue=True)
def react(event: Ordered):
    say("start", event.number)
    select.select([], [], [], 1.5)  # three leases long
    say("finish", event.number)
""")
    shop.dispatch(1)
    shop.dispatch(2)

    workers = [shop.start("--lease", "0.5") for _ in range(2)]
    for worker in workers:
        worker.await_line("DONE")

    assert [one.stop() for one in workers] == [0, 0]
    starts = [line for one in workers for line in one.said("start ")]
    assert sorted(starts) == ["start 1", "start 2"]
    assert shop.waiting() == 0


@pytest.mark.parametrize("cycle", range(3))
def test_a_stopped_workers_stale_ack_is_refused(shop, cycle):
    shop.write("""
@bus.listen
@listens(queue=True)
def react(event: Ordered, attempt: Attempt):
    say("start", attempt.losses)
    pass_gate(attempt.losses + 1)
    say("finish", attempt.losses)

@bus.listen
def processed(event: JobProcessed):
    say("processed", event.outcome)
""")
    shop.gate(1)
    shop.gate(2)
    shop.dispatch()
    stopped = shop.start("--lease", "0.5")
    stopped.await_line("start 0")

    stopped.tell(signal.SIGSTOP)
    other = shop.start("--lease", "0.5")
    other.await_line("start 1")
    if cycle == 0:  # the other is still at it when the first goes on; else it is done by then
        stopped.tell(signal.SIGCONT)
        shop.open_gate(1)
        stopped.await_line("changed nothing: its lease was lost")
        shop.open_gate(2)
        other.await_line("processed succeeded")
    else:
        shop.open_gate(2)
        other.await_line("processed succeeded")
        stopped.tell(signal.SIGCONT)
        shop.open_gate(1)
        stopped.await_line("changed nothing: its lease was lost")

    assert (stopped.stop(), other.stop()) == (0, 0)
    assert stopped.said("finish 0"), stopped.output
    assert stopped.said("processed") == []
    assert len(other.said("processed")) == 1
    assert (shop.waiting(), shop.bus.failed.all()) == (0, [])


def test_a_store_that_goes_away_is_waited_for(shop):
    shop.write(GATED)
    worker = shop.start()
    worker.await_line("worker begins")
    place, aside = shop.folder / "queue.db", shop.folder / "aside.db"

    os.rename(place, aside)
    worker.await_line("the store is away")
    os.rename(aside, place)
    shop.dispatch(1)
    worker.await_line("DONE")

    assert worker.stop() == 0


def test_a_listener_that_forks_leaves_the_worker_alone(shop):
    shop.write("""
import subprocess
@bus.listen
@listens(queue=True)
def react(event: Ordered):
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)
""")
    shop.dispatch()

    assert shop.work().said("DONE")
