"""Every step of a run has an end: its commit, `failed()`, and whoever listens to what happens to jobs."""

from __future__ import annotations

import signal

import pytest

#: Where a worker stands still: the way of an `Ordered` is the step, then how it stands there.
SOURCE = """
import ctypes

def hang_in_c():
    lock = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None)
    libc.pthread_mutex_lock(lock)
    libc.pthread_mutex_lock(lock)

def stand(step, event):
    where, _, how = event.way.partition(" ")
    if where == step:
        say("stands", step)
        hang_in_c() if how == "in-c" else wait_for_ever()

async def wait_on_the_loop():
    await asyncio.Event().wait()

class Unit:
    def __init__(self, event=None):
        self.event = event

def unit():
    unit = Unit()
    try:
        yield unit
    except BaseException as error:
        say("rolled back", type(error).__name__)
        stand("rollback", unit.event)
        raise
    stand("commit", unit.event)
    say("committed")

class Later:
    event = None

async def later():
    unit = Later()
    yield unit
    if unit.event is not None and unit.event.way == "commit async":
        say("stands commit")
        await asyncio.Event().wait()

bus = EventBus(
    connections={"default": f"sqlite:///{HERE}/queue.db"}, provide={Unit: unit, Later: later}
)

class React(ShouldQueue):
    def __init__(self, unit: Unit, later: Later):
        self.unit, self.later = unit, later

    def handle(self, event: Ordered):
        self.unit.event = self.later.event = event
        say("handles", event.number)
        stand("handle", event)
        if event.way.startswith(("failed", "rollback", "JobFailed", "JobExceptionOccurred")):
            raise ValueError("no")

    def failed(self, event: Ordered, error: BaseException):
        stand("failed", event)
        if event.way == "failed-later":
            say("stands failed")
            asyncio.run(wait_on_the_loop())
        say("failed() ran")

    def backoff(self, attempt: int, error: BaseException) -> float:
        return 0.0

bus.listen(React)

STEP = os.environ.get("STEP", "")

def listener_of(kind):
    def hear(event):
        stand(type(event).__name__, Ordered(way=STEP))
    return hear

for kind in (
    JobProcessing, JobProcessed, JobExceptionOccurred, JobFailed, JobAttempted,
    WorkerStarting, WorkerLooping, WorkerIdle, WorkerStopping,
):
    bus.listen(kind, listener_of(kind))
"""

JOB_EVENTS = ["JobProcessing", "JobProcessed", "JobExceptionOccurred", "JobFailed", "JobAttempted"]
WORKER_EVENTS = ["WorkerStarting", "WorkerLooping", "WorkerIdle", "WorkerStopping"]


@pytest.mark.parametrize("way", ["commit", "commit async"])
def test_a_commit_that_takes_longer_than_the_timeout_is_a_failed_attempt(shop, way):
    shop.write(SOURCE)
    shop.dispatch(1, way)
    shop.dispatch(2)

    worker = shop.work("--timeout", "0.5")

    assert worker.code == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, "ListenerTimeout" in failed.error) == (1, True)
    assert worker.said("handles 2")
    assert worker.said("failed() ran")


def test_what_is_left_of_the_time_is_what_a_commit_has(shop):
    """One limit for a run, not one for each of its steps."""
    shop.write("""
def slow(seconds):
    select.select([], [], [], seconds)

class Unit:
    def __init__(self): slow(0.6)

def unit():
    yield Unit()
    slow(0.6)

bus = EventBus(connections={"default": f"sqlite:///{HERE}/queue.db"}, provide={Unit: unit})

@bus.listen
@listens(queue=True, timeout=1.5)
def react(event: Ordered, unit: Unit):
    slow(0.6)
""")
    shop.dispatch()

    shop.work()

    assert ["ListenerTimeout" in one.reason for one in shop.bus.failed.all()] == [True]


def test_a_rollback_has_the_timeout_again_and_its_overrun_is_logged(shop):
    shop.write(SOURCE)
    shop.dispatch(1, "rollback")

    worker = shop.work("--timeout", "0.5")

    assert worker.code == 0
    [failed] = shop.bus.failed.all()
    assert failed.reason == "ValueError: no"
    assert worker.said("ran longer than its timeout of 0.5 s")
    assert worker.said("failed() ran")


@pytest.mark.parametrize("step", ["failed", *JOB_EVENTS])
def test_what_follows_a_job_has_the_timeout_each_and_the_run_goes_on(shop, step):
    shop.write(SOURCE)
    shop.dispatch(1, step)
    shop.dispatch(2)

    worker = shop.work("--timeout", "0.5", STEP=step)

    assert worker.code == 0
    assert worker.said(f"stands {step}")
    assert worker.said("ran longer than its timeout of 0.5 s")
    assert (worker.said("handles 1"), worker.said("handles 2")) == (["handles 1"], ["handles 2"])
    assert len(shop.bus.failed.all()) == (step in ("failed", "JobFailed", "JobExceptionOccurred"))
    assert shop.waiting() == 0


@pytest.mark.parametrize("step", WORKER_EVENTS)
def test_listeners_of_what_happens_to_workers_have_the_workers_timeout(shop, step):
    shop.write(SOURCE)
    shop.dispatch(1)
    worker = shop.start("--timeout", "0.5", STEP=step)

    worker.await_line("handles 1")
    if step != "WorkerStopping":
        worker.await_line("ran longer than its timeout of 0.5 s")

    assert worker.stop() == 0
    assert worker.said(f"stands {step}")
    assert worker.said("ran longer than its timeout of 0.5 s")


STEPS = [
    "handle", "commit", "commit async", "rollback", "failed", "failed-later", *JOB_EVENTS,
    *WORKER_EVENTS[:3],
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_a_second_signal_ends_a_worker_whatever_it_does(shop, step):
    shop.write(SOURCE)
    shop.dispatch(1, step)
    worker = shop.start("--timeout", "600", "--grace", "600", STEP=step)
    worker.await_line("stands")

    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGINT)

    assert worker.await_exit() == 124
    waits = step in ("handle", "commit", "commit async", "JobProcessing", *WORKER_EVENTS[:2])
    assert shop.waiting() == waits
    if waits:
        [job] = shop.port.peek()
        assert (job.state, job.attempts, job.losses, job.releases) == ("ready", 0, 0, 0)


@pytest.mark.parametrize("step", ["commit", "rollback", "failed", "JobProcessed", "WorkerIdle"])
def test_when_the_grace_is_over_a_worker_ends_whatever_it_does(shop, step):
    shop.write(SOURCE)
    shop.dispatch(1, step)
    worker = shop.start("--timeout", "0", "--grace", "0.2", STEP=step)
    worker.await_line("stands")

    worker.tell(signal.SIGTERM)

    assert worker.await_exit() == 124


@pytest.mark.parametrize("step", STEPS[:2] + STEPS[3:5] + STEPS[6:])
def test_a_second_signal_ends_a_worker_also_where_it_cannot_be_interrupted(shop, step):
    shop.write(SOURCE)
    shop.dispatch(1, f"{step} in-c")
    worker = shop.start("--timeout", "600", "--grace", "600", STEP=f"{step} in-c")
    worker.await_line("stands")

    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGINT)

    assert worker.await_exit() == 124
    assert worker.said("does not end, and cannot be interrupted")
    waits = step in ("handle", "commit", "rollback", "JobProcessing", *WORKER_EVENTS[:2])
    assert [job.state for job in shop.port.peek()] == ["ready"] * waits


@pytest.mark.parametrize("step", ["WorkerStopping", "WorkerStopping in-c"])
def test_a_second_signal_ends_a_worker_that_says_that_it_stops(shop, step):
    shop.write(SOURCE)
    worker = shop.start("--timeout", "600", "--grace", "600", STEP=step)
    worker.await_line("worker begins")
    worker.tell(signal.SIGTERM)
    worker.await_line("stands")

    worker.tell(signal.SIGINT)

    assert worker.await_exit() == 124


@pytest.mark.parametrize(
    "step, code, attempts",
    [("commit", 125, 1), ("failed", 125, 1), ("JobProcessed", 125, 0), ("WorkerIdle", 125, 0)],
)
def test_a_step_that_outlives_its_timeout_in_c_ends_the_worker(shop, step, code, attempts):
    shop.write(SOURCE)
    shop.dispatch(1, f"{step} in-c")

    worker = shop.start("--timeout", "0.5", STEP=f"{step} in-c")

    assert worker.await_exit() == code
    assert worker.said("does not end, and cannot be interrupted")
    assert shop.waiting() == 0
    assert [one.attempts for one in shop.bus.failed.all()] == [1] * attempts


def test_a_listener_that_hangs_before_its_job_in_c_loses_it_and_the_third_loss_fails_it(shop):
    """As a job that kills its worker: it is bounded, and charged to nobody's tries."""
    shop.write(SOURCE)
    shop.dispatch(1, "JobProcessing in-c")

    for _ in range(3):
        worker = shop.start("--timeout", "0.5", "--lease", "0.5", STEP="JobProcessing in-c")
        assert worker.await_exit() == 125
    last = shop.start("--lease", "0.5")
    last.await_line("FAIL")

    assert last.stop() == 0
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.losses) == (0, 3)


def test_a_question_whether_it_is_paused_that_never_ends_is_ended_by_a_second_signal(shop):
    shop.write("""
def is_paused():
    say("asked")
    wait_for_ever()

if __name__ == "shop" and "WORKER" in os.environ:
    from eventbus.worker import Worker
    sys.exit(Worker(bus, paused_when=is_paused).run())
""")
    worker = shop.start(WORKER="1")
    worker.await_line("asked")

    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGINT)

    assert worker.await_exit() == 124


def test_a_rule_of_waiting_that_never_ends_is_replaced_by_the_workers_own(shop):
    shop.write("""
class React(ShouldQueue):
    tries = 2

    def handle(self, event: Ordered):
        say("handles")
        raise ValueError("no")

    def backoff(self, attempt: int, error: BaseException) -> float:
        wait_for_ever()

bus.listen(React)
""")
    shop.dispatch()

    worker = shop.work("--timeout", "0.5")

    assert (worker.code, len(worker.said("handles"))) == (0, 2)
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.reason) == (2, "ValueError: no")


def test_nobody_waits_behind_what_follows_a_slow_job(shop):
    """What was claimed with it and has not begun goes back, and another worker runs it."""
    shop.write("""
@bus.listen
@listens(queue=True)
def react(event: Ordered):
    say("handles", event.number)

@bus.listen
def slow(event: JobProcessed):
    DONE.append(event.id)
    if STEP and len(DONE) == 3:  # the second batch has four
        say("stands")
        pass_gate()

DONE = []
STEP = os.environ.get("STEP", "")
""")
    shop.gate()
    for number in range(20):
        shop.dispatch(number)
    first = shop.start(STEP="1")
    first.await_line("stands")

    rest = shop.start("--stop-when-empty")
    assert rest.await_exit() == 0

    assert (len(first.said("handles")), len(rest.said("handles"))) == (3, 17)
    first.tell(signal.SIGTERM)
    first.tell(signal.SIGINT)
    assert first.await_exit() == 124
    assert shop.waiting() == 0
