"""A worker stops when it was told to, rests when it is paused, and is woken when there is work."""

from __future__ import annotations

import json
import signal

import pytest

SOURCE = """
@listens(queue=True)
def ship(event: Ordered) -> None:
    if event.way == "gate":
        say("waits", event.number)
        pass_gate()
    if event.way == "grow":
        KEPT.append(b"x" * (32 << 20))
    say("shipped", event.number)

KEPT = []
bus.listen(ship)
"""

#: So long that a test which waited for it would fail.
NEVER = ("--sleep", "600")


@pytest.fixture
def shipping(shop):
    shop.write(SOURCE)
    return shop


def test_it_stops_after_so_many_jobs(shipping):
    for number in range(5):
        shipping.dispatch(number)
    worker = shipping.start("--max-jobs", "3")
    assert worker.await_exit() == 0
    assert len(worker.said("shipped")) == 3
    assert worker.said("worker ends: max_jobs, after 3 jobs")
    assert shipping.waiting() == 2


def test_it_stops_after_so_many_seconds(shipping):
    worker = shipping.start("--max-time", "0.3", *NEVER)
    assert worker.await_exit() == 0
    assert worker.said("worker ends: max_time")


def test_it_stops_when_it_holds_too_much_memory_and_says_so(shipping):
    """K11: with an exit code that a supervisor can tell from success."""
    for number in range(100):
        shipping.dispatch(number, "grow")
    worker = shipping.start("--memory", "256")
    assert worker.await_exit() == 12
    assert worker.said("worker ends: memory")
    assert 0 < shipping.waiting() < 100


def test_an_idle_worker_is_woken_by_its_producers(shipping):
    worker = shipping.start(*NEVER)
    worker.await_line("worker begins")
    for number in range(3):
        shipping.dispatch(number)
        worker.await_line(f"shipped {number}")
    assert worker.stop() == 0


def test_a_job_that_is_pushed_with_a_delay_is_run_when_it_is_due(shop):
    shop.write(SOURCE.replace("queue=True", "queue=True, delay=0.3"))
    worker = shop.start(*NEVER)
    worker.await_line("worker begins")
    shop.dispatch(1)
    worker.await_line("shipped 1")
    assert worker.stop() == 0


def test_a_restart_that_was_ordered_ends_workers_after_their_jobs(shipping):
    """K12, Q8: the order goes through the store."""
    gate = shipping.gate()
    busy, idle = shipping.start(*NEVER), None
    shipping.dispatch(1, "gate")
    busy.await_line("waits 1")
    idle = shipping.start(*NEVER)
    idle.await_line("worker begins")

    shipping.port.restart()

    assert idle.await_exit() == 0
    assert idle.said("worker ends: restart")
    assert gate.exists()
    shipping.open_gate()
    assert busy.await_exit() == 0
    assert busy.said("shipped 1")
    assert busy.said("worker ends: restart")


def test_a_worker_that_starts_after_the_order_does_not_obey_it(shipping):
    shipping.port.restart()
    shipping.dispatch(1)
    worker = shipping.start(*NEVER)
    worker.await_line("shipped 1")
    assert worker.stop() == 0


def test_a_hangup_ends_it_after_its_job_with_success(shipping):
    shipping.gate()
    worker = shipping.start(*NEVER)
    shipping.dispatch(1, "gate")
    worker.await_line("waits 1")
    worker.tell(signal.SIGHUP)
    shipping.open_gate()
    assert worker.await_exit() == 0
    assert worker.said("worker ends: restart")


@pytest.mark.parametrize("queue", ["default", "*"])
def test_from_a_paused_queue_nothing_is_claimed_until_it_is_resumed(shipping, queue):
    """K16."""
    shipping.port.pause([queue])
    shipping.dispatch(1)
    worker = shipping.start(*NEVER)
    worker.await_line("worker begins")
    assert shipping.waiting() == 1

    shipping.port.resume([queue])

    worker.await_line("shipped 1")
    assert worker.stop() == 0


@pytest.mark.parametrize("queue", ["default", "*"])
@pytest.mark.parametrize(
    "limit, reason", [("--once", "once"), ("--stop-when-empty", "empty")], ids=str
)
def test_a_worker_that_is_to_end_does_not_wait_until_its_queues_are_resumed(
    shipping, queue, limit, reason
):
    """K16: as with no job, and the job is still there."""
    shipping.dispatch(1)
    shipping.port.pause([queue])

    worker = shipping.start(limit, "--include-delayed", *NEVER)

    assert worker.await_exit() == 0
    assert worker.said(f"worker ends: {reason}, after 0 jobs")
    assert shipping.port.size("default").ready == 1


def test_a_running_worker_is_paused_by_an_order(shipping):
    worker = shipping.start()
    worker.await_line("worker begins")
    shipping.port.pause(["default"])
    ticker = shipping.start("--queue", "other", "--max-time", "1.5")  # longer than a look at orders
    ticker.await_exit()

    shipping.dispatch(1)
    again = shipping.start("--queue", "other", "--max-time", "0.3")
    again.await_exit()

    assert worker.said("shipped") == []
    shipping.port.resume(["default"])
    worker.await_line("shipped 1")


def test_a_pause_may_end_by_itself(shipping):
    shipping.port.pause(["default"], life=0.4)
    shipping.dispatch(1)
    worker = shipping.start()
    worker.await_line("shipped 1")


def test_signals_pause_it_and_let_it_go_on(shipping):
    """K13."""
    shipping.gate()
    worker = shipping.start()
    shipping.dispatch(1, "gate")
    worker.await_line("waits 1")
    worker.tell(signal.SIGUSR2)
    shipping.open_gate()
    worker.await_line("shipped 1")
    shipping.dispatch(2)
    ticker = shipping.start("--queue", "other", "--max-time", "0.3")
    ticker.await_exit()
    assert worker.said("shipped 2") == []
    worker.tell(signal.SIGCONT)
    worker.await_line("shipped 2")


def test_queues_with_weights_are_all_served(shipping):
    """K4: a busy queue does not starve the other."""
    shipping.write(
        SOURCE.replace("bus.listen(ship)", "")
        + """
class Ship(ShouldQueue):
    @staticmethod
    def via_queue(event: Ordered) -> str:
        return event.way

    def handle(self, event: Ordered) -> None:
        say("shipped", event.way)

bus.listen(Ship)
"""
    )
    for number in range(60):
        shipping.dispatch(number, "busy")
    shipping.dispatch(60, "calm")
    worker = shipping.start("--queue", "busy=1,calm=1", "--batch", "1", "--max-jobs", "30")
    assert worker.await_exit() == 0
    assert worker.said("shipped calm")


def test_its_log_may_be_json_lines(shipping):
    """Q6."""
    shipping.dispatch(1)
    worker = shipping.work("--json", "--name", "w1")
    lines = [json.loads(line) for line in worker.lines if line.startswith("{")]
    [job] = [line for line in lines if line.get("outcome")]
    assert (job["outcome"], job["attempt"], job["worker"]) == ("succeeded", 1, "w1")


def test_quiet_is_warnings_only(shipping):
    shipping.dispatch(1)
    assert shipping.work("--quiet").lines == ["shipped 1"]


def test_its_health_file_says_what_it_does(shipping):
    shipping.gate()
    file = shipping.folder / "health.json"
    worker = shipping.start("--health-file", str(file), "--name", "w1", *NEVER)
    shipping.dispatch(1, "gate")
    worker.await_line("waits 1")
    told = json.loads(file.read_text())
    assert (told["name"], told["pid"], told["state"]) == ("w1", worker.pid, "working")
    assert told["job"]["id"]
    shipping.open_gate()
    worker.await_line("shipped 1")
    assert worker.stop() == 0
    assert not file.exists()


def test_a_listener_may_hold_the_loop_up_and_another_hears_that_it_is_idle(shop):
    """K15, K25."""
    shop.write(
        SOURCE
        + """
from eventbus.queue.lifecycle import WorkerIdle, WorkerLooping
ROUNDS = []

@listens
def veto(event: WorkerLooping) -> bool | None:
    ROUNDS.append(event.queues)
    if len(ROUNDS) == 1:
        say("vetoed")
        return False

@listens
def idle(event: WorkerIdle) -> None:
    say("idle", *event.queues)

bus.listen(veto)
bus.listen(idle)
"""
    )
    shop.dispatch(1)
    worker = shop.start()
    worker.await_line("vetoed")
    worker.await_line("shipped 1")
    worker.await_line("idle default")
    assert worker.lines.index("vetoed") < worker.lines.index("shipped 1")


def test_a_rest_keeps_it_from_claiming_more_than_one(shipping):
    """K6."""
    for number in range(4):
        shipping.dispatch(number)
    worker = shipping.start("--rest", "600")
    worker.await_line("shipped 0")
    worker.await_line("ship", times=2)  # its log line: the job is settled
    assert shipping.waiting() == 3
    assert worker.stop() == 0
    assert worker.said("shipped") == ["shipped 0"]


def test_stop_when_empty_may_wait_for_what_is_delayed(shop):
    shop.write(SOURCE.replace("queue=True", "queue=True, delay=3"))
    shop.dispatch(1)
    assert shop.work().said("shipped") == []
    assert shop.work("--include-delayed").said("shipped") == ["shipped 1"]
