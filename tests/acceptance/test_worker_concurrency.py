"""`eventbus-worker --concurrency`: many async jobs at once on one loop in one process."""

from __future__ import annotations

import json
import signal

import pytest

from tests.servers import await_that

SOURCE = """
import contextvars, ctypes

MINE = contextvars.ContextVar("MINE", default=0)
STUCK = asyncio.Event()

async def gate(number):
    file = os.open(os.path.join(HERE, f"gate{number}"), os.O_RDONLY | os.O_NONBLOCK)
    opened = asyncio.Event()
    asyncio.get_running_loop().add_reader(file, opened.set)
    try:
        await opened.wait()
    finally:
        asyncio.get_running_loop().remove_reader(file)
        os.close(file)

@listens(queue=True, timeout=600, tries=1)
async def run(event: Ordered, attempt: Attempt) -> None:
    assert MINE.get() == 0
    MINE.set(event.number)
    say("runs", event.number, attempt.losses)
    match event.way:
        case "gate":
            await gate(event.number)
        case "wait":
            await asyncio.Event().wait()
        case "segv":
            await asyncio.sleep(0)
            ctypes.string_at(0)
        case "kill":
            await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            await asyncio.sleep(0)
            raise ValueError(event.number)
        case "block":
            STUCK.set()
            select.select([], [], [], 4)
        case "more":
            await bus.adispatch(Ordered(event.number + 1))
        case _:
            await asyncio.sleep(0)
    assert MINE.get() == event.number
    say("ran", event.number)

@frozen
class Asked:
    number: int

@listens(queue=True, timeout=1, tries=1)
async def too_long(event: Asked) -> None:
    say("too long", event.number)
    if event.number in (2, 4):
        STUCK.set()
    match event.number:
        case 1:
            await asyncio.Event().wait()
        case 2:
            select.select([], [], [], 600)
        case 3:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    say("swallowed")
        case 4:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            select.select([], [], [], 600)
        case 5:
            await STUCK.wait()
            say("ran", event.number)

@frozen
class Counted:
    number: int

@listens(queue=True, timeout=1, tries=1)
def in_between(event: Counted) -> None:
    say("ran", event.number)
    if event.number > 100:
        wait_for_ever()

bus.listen(run)
bus.listen(too_long)
bus.listen(in_between)
"""


@pytest.fixture
def shop(shop):
    shop.write(SOURCE)
    return shop


def numbers(worker, word="ran"):
    said = [line.split() for line in worker.lines]
    return sorted(int(words[1]) for words in said if words[0] == word)


def states(shop):
    return [(job.state, job.attempts, job.losses) for job in shop.port.peek()]


def at_gates(shop, *numbers):
    for number in numbers:
        shop.gate(number)
        shop.dispatch(number, "gate")


def test_as_many_jobs_run_at_once_as_it_says(shop):
    at_gates(shop, *range(6))

    worker = shop.start("--concurrency", "4")
    worker.await_line("runs", times=4)  # none of which has come to its end
    assert shop.port.size("default").ready == 2
    for number in (3, 1):
        shop.open_gate(number)
    worker.await_line("runs", times=6)
    for number in (0, 2, 4, 5):
        shop.open_gate(number)
    worker.await_line("DONE", times=6)

    assert worker.stop() == 0
    assert numbers(worker) == list(range(6))
    assert worker.said("worker ends: signal, after 6 jobs")
    assert shop.waiting() == 0


def test_many_more_jobs_than_run_at_once_all_run_once(shop):
    for number in range(500):
        shop.dispatch(number)

    worker = shop.work("--concurrency", "20")

    assert worker.code == 0
    assert numbers(worker) == list(range(500))
    assert worker.said("worker ends: empty, after 500 jobs")
    assert shop.waiting() == 0


def test_it_is_not_empty_while_something_runs_that_may_queue_more(shop):
    shop.dispatch(1, "more")

    worker = shop.work("--concurrency", "5")

    assert numbers(worker) == [1, 2]
    assert shop.waiting() == 0


def test_sync_jobs_run_in_between(shop):
    for number in range(20):
        shop.dispatch(number)
        shop.bus.dispatch(shop.module.Counted(20 + number))

    worker = shop.work("--concurrency", "5")

    assert numbers(worker) == list(range(40))


def test_it_stops_after_exactly_as_many_jobs_as_it_was_told(shop):
    for number in range(50):
        shop.dispatch(number)

    worker = shop.start("--concurrency", "8", "--max-jobs", "21")

    assert worker.await_exit() == 0
    assert worker.said("worker ends: max_jobs, after 21 jobs")
    assert len(numbers(worker)) == 21
    assert states(shop) == [("ready", 0, 0)] * 29


def test_a_job_that_raises_fails_alone(shop):
    for number in range(10):
        shop.dispatch(number, "raise" if number == 4 else "")

    worker = shop.work("--concurrency", "10")

    assert worker.code == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, "ValueError: 4" in failed.error) == (1, True)
    assert numbers(worker) == [number for number in range(10) if number != 4]


def test_the_first_signal_lets_each_job_come_to_its_end(shop):
    at_gates(shop, 1, 2)
    worker = shop.start("--concurrency", "2")
    worker.await_line("runs", times=2)
    shop.dispatch(3)

    worker.tell(signal.SIGTERM)
    shop.open_gate(1)
    shop.open_gate(2)

    assert worker.await_exit() == 0
    assert numbers(worker) == [1, 2]
    assert states(shop) == [("ready", 0, 0)]


@pytest.mark.parametrize("second", [signal.SIGINT, None])
def test_what_does_not_end_within_the_grace_goes_back_unspent(shop, second):
    for number in range(3):
        shop.dispatch(number, "wait")
    worker = shop.start("--concurrency", "3", "--grace", "600" if second else "0.1")
    worker.await_line("runs", times=3)

    worker.tell(signal.SIGTERM)
    if second:
        worker.tell(second)

    assert worker.await_exit() == 124
    assert states(shop) == [("ready", 0, 0)] * 3


@pytest.mark.parametrize("way", [1, 2])
def test_one_that_takes_too_long_is_ended_and_the_others_go_on(shop, way):
    """F3 K7: one that waits is cancelled; one that blocks the loop is interrupted where it is."""
    shop.bus.dispatch(shop.module.Asked(way))
    at_gates(shop, *range(20))
    worker = shop.start("--concurrency", "50")
    worker.await_line("ListenerTimeout")
    worker.await_line("runs", times=20)
    for number in range(20):
        shop.open_gate(number)
    worker.await_line("DONE", times=20)

    assert worker.stop() == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, "ListenerTimeout" in failed.error) == (1, True)
    assert numbers(worker) == list(range(20))


def test_a_sync_one_that_takes_too_long_is_interrupted(shop):
    shop.bus.dispatch(shop.module.Counted(101))
    for number in range(20):
        shop.dispatch(number)

    worker = shop.work("--concurrency", "50")

    assert worker.code == 0
    [failed] = shop.bus.failed.all()
    assert "ListenerTimeout" in failed.error
    assert numbers(worker) == [*range(20), 101]


@pytest.mark.parametrize("way", [3, 4])
def test_around_one_that_cannot_be_ended_the_process_ends(shop, way):
    """F3 K7: it has had an attempt, and what else ran goes back unspent."""
    for number in range(3):
        shop.dispatch(number, "wait")
    worker = shop.start("--concurrency", "10")
    worker.await_line("runs", times=3)
    shop.bus.dispatch(shop.module.Asked(way))

    assert worker.await_exit() == 125
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, "ListenerTimeout" in failed.error) == (1, True)
    assert states(shop) == [("ready", 0, 0)] * 3


@pytest.mark.parametrize("way", [2, 4])
def test_time_in_which_another_one_blocks_the_loop_is_on_nobodys_account(shop, way):
    """F3 K7: whoever began before it is over its time before it, and could do nothing about it."""
    for number in (5, 5, way):
        shop.bus.dispatch(shop.module.Asked(number))

    worker = shop.work("--concurrency", "10")

    assert worker.code == (0 if way == 2 else 125)
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, json.loads(failed.body)["data"]) == (1, {"number": way})
    assert states(shop) == ([] if way == 2 else [("ready", 0, 0)] * 2)


def test_one_with_more_time_that_blocks_the_loop_ends_no_other(shop):
    shop.bus.dispatch(shop.module.Asked(5))
    shop.dispatch(1, "block")

    worker = shop.work("--concurrency", "10")

    assert worker.code == 0
    assert numbers(worker) == [1, 5]
    assert shop.bus.failed.all() == []


@pytest.mark.parametrize("number", [signal.SIGHUP, "restart"])
def test_a_restart_ends_it_after_its_jobs(shop, number):
    at_gates(shop, 1)
    worker = shop.start("--concurrency", "3")
    worker.await_line("runs 1")

    if number == "restart":
        shop.port.restart()
    else:
        worker.tell(number)
    shop.open_gate(1)

    assert worker.await_exit() == 0
    assert worker.said("worker ends: restart, after 1 jobs")


def test_a_pause_lets_nothing_more_begin(shop):
    file = shop.folder / "health.json"
    worker = shop.start("--concurrency", "3", "-v", "--health-file", str(file))
    worker.await_line("worker begins")
    shop.dispatch(1)
    worker.await_line("ran 1")
    worker.tell(signal.SIGUSR2)
    # Two signals that are sent at once may be heard in either order.
    await_that(lambda: '"paused"' in file.read_text(), said="it pauses")
    for number in range(2, 6):
        shop.dispatch(number)
    assert shop.port.size("default").ready == 4
    worker.tell(signal.SIGCONT)

    worker.await_line("ran", times=5)
    assert worker.stop() == 0


@pytest.mark.parametrize("way", ["segv", "kill"])
def test_a_job_that_ends_its_process_fails_and_all_others_are_done(shop, way):
    """F9: nobody waits for a lease, and no other is blamed."""
    for number in range(60):
        shop.dispatch(number, way if number == 30 else "")

    worker = shop.start("--concurrency", "8", "--processes", "2", "--lease", "600")
    await_that(lambda: shop.waiting() == 0, said="all is done")

    assert worker.stop() == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.losses) == ((1, 0) if way == "segv" else (0, 3))
    assert set(numbers(worker)) == set(range(60)) - {30}


def test_its_health_is_that_of_one_worker(shop):
    at_gates(shop, 1)
    file = shop.folder / "health.json"
    worker = shop.start("--concurrency", "3", "--health-file", str(file))
    worker.await_line("runs 1")
    await_that(lambda: '"working"' in file.read_text(), said="it works")
    shop.open_gate(1)
    worker.await_line("DONE")
    await_that(lambda: '"idle"' in file.read_text(), said="it waits")

    assert worker.stop() == 0


def test_either_threads_or_one_loop(shop):
    worker = shop.start("--threads", "2", "--concurrency", "2")

    assert worker.await_exit() == 2
    assert worker.said("concurrency")


def test_what_breaks_its_store_ends_it(shop):
    (shop.folder / "breaks.py").write_text(
        """
import os
from eventbus.backends.port import Port
from eventbus.errors import StoreDamaged

sound = Port.claim

def damaged(self, *arguments, **options):
    if os.path.exists(os.path.join(os.path.dirname(__file__), "rot")):
        raise StoreDamaged(backend="sqlite", operation="claim", reason="rot")
    return sound(self, *arguments, **options)

if os.environ.get("ROTS"):  # in the worker alone
    Port.claim = damaged
"""
    )
    shop.write(SOURCE + "import breaks\n")
    shop.dispatch(1)
    worker = shop.start("--concurrency", "3", ROTS="1")
    worker.await_line("ran 1")

    (shop.folder / "rot").touch()

    assert worker.await_exit() == 4
    assert worker.said("worker ends: error")
