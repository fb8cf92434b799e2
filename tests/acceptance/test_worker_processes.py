"""`eventbus-worker --processes`: several workers, and one that watches them."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.servers import await_that

SOURCE = """
import ctypes

@listens(queue=True, timeout=1, tries=2, backoff=0)
def run(event: Ordered, attempt: Attempt) -> None:
    say("runs", event.number, attempt.number, attempt.losses, "in", os.getpid())
    match event.way:
        case "segv":
            ctypes.string_at(0)
        case "exit":
            os._exit(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "loop":
            sum(range(10**15))
        case "wait":
            wait_for_ever()
        case "gate":
            pass_gate()

bus.listen(run)
"""


def processes(worker, *, number=""):
    """The processes that said that they run jobs, in the order in which they began."""
    return list(dict.fromkeys(int(line.split()[-1]) for line in worker.said(f"runs {number}")))


def begun(worker, count):
    worker.await_line("worker begins", times=count)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(one) for one in file.read().split()]


def test_jobs_run_in_as_many_processes_as_were_asked_for(shop):
    shop.write(SOURCE)
    shop.gate()
    shop.dispatch(1, "gate")
    shop.dispatch(2, "gate")

    worker = shop.start("--processes", "2")
    worker.await_line("runs", times=2)
    assert len(processes(worker)) == 2
    shop.open_gate()

    assert worker.stop() == 0
    assert len(worker.said("worker ends: signal")) == 2


@pytest.mark.parametrize(
    "way, reason",
    [("segv", "signal 11, SIGSEGV"), ("exit", "exit code 0")],
)
def test_a_job_that_ends_its_process_has_had_an_attempt_and_others_notice_nothing(
    shop, way, reason
):
    """F9: it never looks like success, it fails after its tries with the reason, and innocents have no loss."""
    shop.write(SOURCE)
    for number in range(40):
        shop.dispatch(number, way if number == 20 else "")

    worker = shop.work("--processes", "2")

    assert worker.code == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.losses) == (2, 0)
    assert f"WorkerDied: the worker died ({reason})" in failed.error
    runs = [line.split()[1:4] for line in worker.said("runs")]
    assert sorted(map(int, (number for number, _, _ in runs))) == sorted([*range(40), 20])
    assert {losses for _, _, losses in runs} == {"0"}
    assert shop.waiting() == 0


def test_the_listeners_hook_and_those_of_failed_jobs_hear_of_a_death(shop):
    shop.write(
        """
class Crash(ShouldQueue):
    tries = 1
    def handle(self, event: Ordered) -> None:
        os._exit(3)
    def failed(self, event: Ordered, error: Exception) -> None:
        say("failed", event.number, type(error).__name__)

bus.listen(Crash)
bus.listen(JobFailed, lambda event: say("heard", type(event.error).__name__))
"""
    )
    shop.dispatch(7)

    worker = shop.work("--processes", "2")

    assert worker.said("failed 7") == ["failed 7 WorkerDied"]
    assert worker.said("heard") == ["heard WorkerDied"]


def test_the_job_of_a_killed_process_is_lost_once_and_runs_again_at_once(shop):
    """F1: nobody waits for its lease, and the job is not blamed: it may have been anybody."""
    shop.write(SOURCE)
    shop.dispatch(1, "gate")
    shop.gate()
    worker = shop.start("--processes", "2", "--lease", "600")
    worker.await_line("runs 1")
    [pid] = processes(worker)

    os.kill(pid, signal.SIGKILL)

    worker.await_line("runs 1", times=2)
    shop.open_gate()
    assert [line.split()[1:4] for line in worker.said("runs")] == [
        ["1", "1", "0"],
        ["1", "1", "1"],
    ]
    assert worker.said("died (signal 9, SIGKILL): another starts")
    assert worker.stop() == 0


def test_a_job_that_kills_its_process_is_failed_after_three_losses(shop):
    shop.write(SOURCE)
    shop.dispatch(1, "kill")
    shop.dispatch(2)

    worker = shop.start("--processes", "2")
    await_that(lambda: shop.waiting() == 0, said="all is done")

    assert worker.stop() == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.losses) == (0, 3)
    assert "JobLost" in failed.error
    assert len(worker.said("runs 1")) == 3


def test_a_job_that_ends_its_process_as_it_is_read_is_failed_after_three_losses(shop):
    """F9: constructors run then. It is not read again to settle it, and no other job pays for it."""
    shop.write(
        SOURCE
        + """
@frozen
class Brittle:
    number: int
    def __attrs_post_init__(self):
        if "BREAKS" in os.environ:
            say("reads", self.number, "in", os.getpid())
            ctypes.string_at(0)

@listens(queue=True)
def never(event: Brittle) -> None: ...

bus.listen(never)
"""
    )
    for number in range(20):
        shop.dispatch(number)
        if number == 10:
            shop.bus.dispatch(shop.module.Brittle(99))

    worker = shop.start("--processes", "2", BREAKS="1")
    await_that(lambda: shop.waiting() == 0, said="all is done")

    assert worker.stop() == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.losses) == (0, 3)
    assert len(worker.said("reads 99")) <= 4  # the first loss of a batch is forgiven
    assert len(worker.said("runs")) == 20


def test_a_job_that_lets_no_thread_run_is_killed_from_outside_and_has_had_an_attempt(shop):
    """F3: exactly the job that outran its time is settled."""
    shop.write(SOURCE.replace("tries=2", "tries=1"))
    for number in range(10):
        shop.dispatch(number, "loop" if number == 5 else "")

    worker = shop.work("--processes", "2")

    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.losses) == (1, 0)
    assert "outran its timeout" in failed.error
    ran = sorted(int(line.split()[1]) for line in worker.said("runs"))
    assert ran == list(range(10))


def test_no_process_outlives_the_one_that_watches_it(shop):
    shop.write(SOURCE)
    shop.gate()
    shop.dispatch(1, "gate")
    worker = shop.start("--processes", "2")
    worker.await_line("runs 1")
    begun(worker, 2)
    pids = children(worker.pid)
    assert len(pids) == 2

    worker.tell(signal.SIGKILL)
    worker.process.wait()

    shop.open_gate()
    for pid in pids:
        await_that(lambda pid=pid: not is_alive(pid), said=f"process {pid} is gone")
    assert shop.waiting() == 0


def test_the_first_signal_lets_jobs_end_and_the_second_ends_them(shop):
    shop.write(SOURCE.replace("timeout=1", "timeout=600"))
    shop.dispatch(1, "wait")
    shop.dispatch(2, "wait")
    worker = shop.start("--processes", "2")
    worker.await_line("runs", times=2)

    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGINT)

    assert worker.await_exit() == 124
    assert {job.state for job in shop.port.peek()} == {"ready"}
    assert [(job.attempts, job.losses) for job in shop.port.peek()] == [(0, 0)] * 2


def test_what_hangs_beyond_the_grace_is_killed(shop):
    shop.write(SOURCE.replace("timeout=1", "timeout=600"))
    shop.dispatch(1, "loop")
    worker = shop.start("--processes", "2", "--grace", "0")
    worker.await_line("runs 1")

    worker.tell(signal.SIGTERM)

    assert worker.await_exit() == 137
    assert shop.waiting() == 1


def test_they_stop_when_nothing_is_left_and_are_not_replaced(shop):
    shop.write(SOURCE)
    for number in range(10):
        shop.dispatch(number)

    worker = shop.work("--processes", "3")

    assert worker.code == 0
    assert len(worker.said("worker begins")) == 3
    assert not worker.said("another starts")


@pytest.mark.parametrize(
    "options, reason", [(("--max-jobs", "5"), "max_jobs"), (("--memory", "1"), "memory")]
)
def test_one_that_has_done_its_share_is_replaced_by_a_fresh_one(shop, options, reason):
    shop.write(SOURCE)
    for number in range(20):
        shop.dispatch(number)

    worker = shop.start("--processes", "2", *options)
    worker.await_line(f"ended ({reason}): another starts", times=4)

    assert worker.stop() == 0
    assert not worker.said("died")


def test_a_restart_is_for_each_of_them(shop):
    shop.write(SOURCE)
    worker = shop.start("--processes", "2")
    begun(worker, 2)

    shop.port.restart()
    begun(worker, 4)
    worker.tell(signal.SIGHUP)
    begun(worker, 6)

    assert len(worker.said("ended (restart): another starts")) == 4
    assert worker.stop() == 0


def test_a_pause_holds_for_those_that_begin_later_too(shop):
    shop.write(SOURCE)
    worker = shop.start("--processes", "2")
    begun(worker, 2)
    worker.tell(signal.SIGUSR2)
    # Orders come in turn: when the restart was heard, the pause was.
    worker.tell(signal.SIGHUP)
    begun(worker, 4)
    for number in range(4):
        shop.dispatch(number)
    shop.port.restart()
    begun(worker, 6)
    assert not worker.said("runs")

    worker.tell(signal.SIGCONT)

    worker.await_line("runs", times=4)
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "app, options, code",
    [("shop:nothing", (), 3), ("shop:bus", ("--connection", "nowhere"), 2)],
)
def test_what_is_wrong_for_all_of_them_ends_it(shop, app, options, code):
    shop.write(SOURCE)

    worker = shop.start("--processes", "2", *options, app=app)

    assert worker.await_exit() == code


def test_one_that_dies_as_it_begins_is_replaced_after_a_while(shop):
    shop.write(
        SOURCE
        + """
@bus.listen
def begin(event: WorkerStarting) -> None:
    with open(os.path.join(HERE, "starts"), "a+") as file:
        file.write("x")
        file.flush()
        if file.tell() <= 2:
            os.abort()
"""
    )
    shop.dispatch(1)

    worker = shop.start("--processes", "2", PYTHONFAULTHANDLER="")
    worker.await_line("runs 1")

    assert len(worker.said("died (signal 6, SIGABRT): another starts")) == 2
    assert worker.stop() == 0


def test_each_has_a_name_and_a_health_file_of_its_own(shop):
    shop.write(SOURCE)
    shop.gate()
    shop.dispatch(1, "gate")
    shop.dispatch(2, "gate")
    file = shop.folder / "worker.json"
    worker = shop.start("--processes", "2", "--name", "mailer", "--health-file", str(file))
    worker.await_line("runs", times=2)

    told = [json.loads((shop.folder / f"worker.json.{n}").read_text()) for n in (1, 2)]

    assert [one["name"] for one in told] == ["mailer:1", "mailer:2"]
    shop.open_gate()
    assert worker.stop() == 0


def test_what_a_listener_starts_is_no_process_of_ours(shop):
    shop.write(
        """
@listens(queue=True)
def run(event: Ordered) -> None:
    say("slot", os.environ.get("EVENTBUS_SLOT", "none"))

bus.listen(run)
"""
    )
    shop.dispatch(1)

    worker = shop.work("--processes", "2")

    assert worker.said("slot") == ["slot none"]


def test_as_process_one_of_a_container_it_buries_the_orphans_of_its_jobs(shop):
    shop.write(
        """
import subprocess

@listens(queue=True)
def run(event: Ordered) -> None:
    # Its child is an orphan, and process 1 becomes its parent.
    subprocess.run(["sh", "-c", "sh -c 'exit 0' & exit 0"], check=True)
    say("zombies", sum(is_zombie(pid) for pid in os.listdir("/proc") if pid.isdigit()))

def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return "Z (zombie)" in status.read()
    except OSError:
        return False  # it has just ended

bus.listen(run)
"""
    )
    for number in range(6):
        shop.dispatch(number)
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if os.system(" ".join((*inside, "true")) + " 2>/dev/null"):
        pytest.skip("no namespace of processes can be made here")

    worker = shop.start("--processes", "2", wrapped=inside)
    worker.await_line("zombies", times=6)

    assert int(worker.said("zombies")[-1].split()[1]) <= 3
    worker.end()
