"""`eventbus-worker --threads`: several jobs at once in one process."""

from __future__ import annotations

import signal

import pytest

from tests.servers import await_that

SOURCE = """
import ctypes, threading

@listens(queue=True, timeout=600, tries=1)
def run(event: Ordered, attempt: Attempt) -> None:
    say("runs", event.number, attempt.losses, "in", threading.current_thread().name)
    match event.way:
        case "gate":
            pass_gate(event.number)
        case "wait":
            wait_for_ever()
        case "segv":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    say("ran", event.number)

@frozen
class Asked:
    number: int

@listens(queue=True, timeout=1, tries=1)
def too_long(event: Asked) -> None:
    say("too long", event.number)
    wait_for_ever()

@listens(queue=True, timeout=1, tries=1)
async def too_long_async(event: Asked) -> None:
    say("too long", event.number)
    await asyncio.Event().wait()

bus.listen(run)
"""


def numbers(worker, word="runs"):
    said = [line.split() for line in worker.lines]
    return sorted(int(words[1]) for words in said if words[0] == word)


def at_gates(shop, *numbers):
    for number in numbers:
        shop.gate(number)
        shop.dispatch(number, "gate")


def test_as_many_jobs_run_at_once_as_there_are_threads(shop):
    shop.write(SOURCE)
    at_gates(shop, 1, 2, 3, 4)

    worker = shop.start("--threads", "4")
    worker.await_line("runs", times=4)  # none of which has come to its end
    assert len({line.split()[-1] for line in worker.said("runs")}) == 4
    for number in (1, 2, 3, 4):
        shop.open_gate(number)
    worker.await_line("DONE", times=4)

    assert worker.stop() == 0
    assert len(worker.said("worker begins")) == 1
    assert worker.said("worker ends: signal, after 4 jobs")


def test_it_stops_after_exactly_as_many_jobs_as_it_was_told(shop):
    shop.write(SOURCE)
    for number in range(50):
        shop.dispatch(number)

    worker = shop.start("--threads", "4", "--max-jobs", "21")

    assert worker.await_exit() == 0
    assert worker.said("worker ends: max_jobs, after 21 jobs")
    assert len(numbers(worker, "ran")) == 21
    assert shop.waiting() == 29
    assert {job.state for job in shop.port.peek()} == {"ready"}


def test_it_stops_when_nothing_is_left_for_any_of_them(shop):
    shop.write(SOURCE)
    for number in range(100):
        shop.dispatch(number)

    worker = shop.work("--threads", "4")

    assert worker.code == 0
    assert numbers(worker, "ran") == list(range(100))
    assert worker.said("worker ends: empty, after 100 jobs")


def test_with_once_one_job_runs(shop):
    shop.write(SOURCE)
    shop.dispatch(1)
    shop.dispatch(2)

    worker = shop.start("--threads", "4", "--once")

    assert worker.await_exit() == 0
    assert numbers(worker) == [1]


def test_the_first_signal_lets_each_job_come_to_its_end(shop):
    shop.write(SOURCE)
    at_gates(shop, 1, 2)
    worker = shop.start("--threads", "2")
    worker.await_line("runs", times=2)
    for number in (3, 4):
        shop.dispatch(number)

    worker.tell(signal.SIGTERM)
    shop.open_gate(1)
    shop.open_gate(2)

    assert worker.await_exit() == 0
    ran = numbers(worker, "ran")
    assert ran == numbers(worker)
    assert {1, 2} <= set(ran)
    assert [job.state for job in shop.port.peek()] == ["ready"] * (4 - len(ran))


def test_what_does_not_end_within_the_grace_goes_back_unspent(shop):
    shop.write(SOURCE)
    for number in range(3):
        shop.dispatch(number, "wait")
    worker = shop.start("--threads", "3", "--grace", "600")
    worker.await_line("runs", times=3)

    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGINT)

    assert worker.await_exit() == 124
    jobs = shop.port.peek()
    assert [(job.state, job.attempts, job.losses) for job in jobs] == [("ready", 0, 0)] * 3


@pytest.mark.parametrize("number", [signal.SIGHUP, "restart"])
def test_a_restart_ends_all_of_them(shop, number):
    shop.write(SOURCE)
    worker = shop.start("--threads", "3")
    worker.await_line("worker begins")
    shop.dispatch(1)
    worker.await_line("ran 1")

    if number == "restart":
        shop.port.restart()
    else:
        worker.tell(number)

    assert worker.await_exit() == 0
    assert worker.said("worker ends: restart, after 1 jobs")


def test_a_pause_is_for_all_of_them(shop):
    shop.write(SOURCE)
    file = shop.folder / "health.json"
    worker = shop.start("--threads", "3", "-v", "--health-file", str(file))
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


def test_an_async_job_that_takes_too_long_is_cancelled_and_the_others_go_on(shop):
    shop.write(SOURCE + "bus.listen(too_long_async)\n")
    shop.bus.dispatch(shop.module.Asked(1))
    for number in range(20):
        shop.dispatch(number)

    worker = shop.work("--threads", "2")

    assert worker.code == 0
    [failed] = shop.bus.failed.all()
    assert "ListenerTimeout" in failed.error
    assert numbers(worker, "ran") == list(range(20))


def test_a_sync_job_that_takes_too_long_is_settled_and_ends_the_process_around_all(shop):
    """F3 K7: it cannot be interrupted; it has had an attempt, and what else ran goes back unspent."""
    shop.write(SOURCE + "bus.listen(too_long)\n")
    shop.dispatch(1, "wait")
    shop.bus.dispatch(shop.module.Asked(1))
    worker = shop.start("--threads", "2")
    worker.await_line("runs 1")

    assert worker.await_exit() == 125
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, "ListenerTimeout" in failed.error) == (1, True)
    [job] = shop.port.peek()
    assert (job.state, job.attempts, job.losses) == ("ready", 0, 0)


@pytest.mark.parametrize("way", ["segv", "kill"])
def test_of_several_jobs_that_ran_as_a_process_died_each_runs_alone(shop, way):
    """F9: so the one that does it again is known, and no other is blamed."""
    shop.write(SOURCE)
    for number in range(60):
        shop.dispatch(number, way if number == 30 else "")

    worker = shop.start("--threads", "4", "--processes", "2", "--lease", "600")
    await_that(lambda: shop.waiting() == 0, said="all is done")

    assert worker.stop() == 0
    [failed] = shop.bus.failed.all()
    spent = (1, 0) if way == "segv" else (0, 3)
    assert (failed.attempts, failed.losses) == spent
    assert set(numbers(worker, "ran")) == set(range(60)) - {30}


def test_what_breaks_one_of_them_ends_all(shop):
    shop.write(
        SOURCE
        + """
from eventbus.backends.port import Port
from eventbus.errors import StoreDamaged

sound = Port.claim

def damaged(self, *arguments, **options):
    if os.path.exists(os.path.join(HERE, "rot")):
        raise StoreDamaged(backend="sqlite", operation="claim", reason="rot")
    return sound(self, *arguments, **options)

if os.environ.get("ROTS"):  # in the worker alone
    Port.claim = damaged
"""
    )
    shop.dispatch(1)
    worker = shop.start("--threads", "3", ROTS="1")
    worker.await_line("ran 1")

    (shop.folder / "rot").touch()

    assert worker.await_exit() == 4
    assert worker.said("worker ends: error")
