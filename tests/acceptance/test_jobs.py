"""Real workers run jobs: what was enqueued elsewhere, what dies with its worker, what a deploy brings."""

from __future__ import annotations

import json
import signal
from decimal import Decimal

import pytest

from eventbus.errors import NoResult
from eventbus.queue.handles import JobStatus

JOBS = """
class Process(Job, tries=2):
    number: int
    way: str = ""

    def handle(self, attempt: Attempt):
        say("ran", self.number, attempt.number)
        if self.way == "gate":
            pass_gate()
        if self.way == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.way == "stuck":
            wait_for_ever()
        if self.way == "boom":
            raise ValueError(self.number)

    def failed(self, error):
        say("failed", self.number, type(error).__name__)

    def interrupted(self, signum):
        say("interrupted", self.number, signum)

    def timeout(self):
        return 0.2 if self.way == "stuck" else 60

from decimal import Decimal

class Count(Job, keep_result=3600):
    pages: list[int]
    way: str = ""

    def handle(self, attempt: Attempt) -> dict[int, Decimal]:
        for done, page in enumerate(self.pages, start=1):
            attempt.progress(done)
        if self.way == "gate":
            say("counted", len(self.pages))
            pass_gate()
        if self.way == "die" and attempt.losses == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return {page: Decimal(page) / 2 for page in self.pages}

class ACount(Count):
    async def handle(self, attempt: Attempt) -> int:
        await attempt.aprogress(0.5)
        return len(self.pages)

class Fetch(Job, name="fetch"):
    async def handle(self):
        await asyncio.sleep(0)
        say("fetched")
"""


@pytest.mark.usefixtures("each_shop")
def test_a_worker_runs_jobs_that_another_process_enqueued(shop):
    shop.write(JOBS)
    process, fetch = shop.module.Process, shop.module.Fetch
    handles = shop.bus.enqueue_many(
        [process(1), fetch(), process(2, "boom"), process(3, "stuck"), process(4)]
    )
    assert {one.status() for one in handles} == {JobStatus.WAITING}

    worker = shop.work()

    assert worker.code == 0
    ours = ("ran", "fetched", "failed")
    assert sorted(one for one in worker.lines if one.startswith(ours)) == [
        "failed 2 ValueError",
        "failed 3 ListenerTimeout",
        "fetched",
        "ran 1 1",
        "ran 2 1",
        "ran 2 2",
        "ran 3 1",
        "ran 3 2",
        "ran 4 1",
    ]
    statuses = [one.status().value for one in handles]
    assert statuses == ["gone", "gone", "failed", "failed", "gone"]


@pytest.mark.usefixtures("each_shop")
def test_a_handle_follows_its_job_while_a_worker_has_it(shop):
    shop.write(JOBS)
    shop.gate()
    handle = shop.bus.enqueue(shop.module.Process(1, "gate"))
    later = shop.bus.enqueue(shop.module.Process(2), delay=3600)

    worker = shop.start()
    worker.await_line("ran 1")

    assert (handle.status(), handle.cancel()) == (JobStatus.RUNNING, False)
    assert (later.status(), later.cancel(), later.status()) == (
        JobStatus.DELAYED,
        True,
        JobStatus.GONE,
    )
    worker.tell(signal.SIGTERM)
    worker.await_line("interrupted 1 15")
    shop.open_gate()
    assert worker.await_exit() == 0
    assert handle.status() is JobStatus.GONE
    assert shop.waiting() == 0


@pytest.mark.parametrize("ways", [(), ("--threads", "2"), ("--concurrency", "2")], ids=str)
@pytest.mark.usefixtures("each_shop")
def test_a_handle_has_the_result_and_sees_the_progress(shop, ways):
    shop.write(JOBS)
    shop.gate()
    count = shop.module.Count
    if ways != ("--concurrency", "2"):
        slow = shop.bus.enqueue(count([1, 2, 3], "gate"))
        worker = shop.start(*ways)
        worker.await_line("counted 3")
        assert (slow.progress(), slow.status()) == (3, JobStatus.RUNNING)
        with pytest.raises(NoResult, match="has not ended"):
            slow.result()
        shop.open_gate()
        assert slow.result(wait=60) == {1: Decimal("0.5"), 2: Decimal(1), 3: Decimal("1.5")}
        assert worker.stop() == 0

    handles = shop.bus.enqueue_many(
        [count([5]), shop.module.ACount([7]), shop.module.ACount([1, 2])]
    )
    assert shop.work(*ways).code == 0

    elsewhere = [
        shop.bus.job_handle(cls, one.id)
        for cls, one in zip((count, shop.module.ACount, shop.module.ACount), handles, strict=True)
    ]
    assert [one.result() for one in elsewhere] == [{5: Decimal("2.5")}, 1, 2]
    assert [one.progress() for one in elsewhere] == [1, 0.5, 0.5]


@pytest.mark.usefixtures("each_shop")
def test_a_job_that_runs_again_after_its_worker_died_has_one_result(shop):
    shop.write(JOBS)
    handle = shop.bus.enqueue(shop.module.Count([4], "die"))

    assert shop.start("--lease", "1").await_exit() == -signal.SIGKILL
    assert handle.progress() == 1
    worker = shop.start("--lease", "1")

    assert handle.result(wait=60) == {4: Decimal(2)}
    assert worker.stop() == 0


def test_a_job_whose_worker_dies_comes_back_and_fails_at_its_third_loss(shop):
    shop.write(JOBS)
    handle = shop.bus.enqueue(shop.module.Process(1, "die"))

    for _ in range(3):
        worker = shop.start("--lease", "1")
        assert worker.await_exit() == -signal.SIGKILL
        assert worker.said("ran 1 1")
    worker = shop.start("--lease", "1")
    worker.await_line("failed 1 JobLost")

    assert worker.stop() == 0
    assert not worker.said("ran 1")
    assert handle.status() is JobStatus.FAILED


def test_a_job_that_this_deploy_does_not_know_waits_for_the_next(shop):
    shop.write(JOBS)
    handle = shop.bus.enqueue(shop.module.Fetch())
    shop.write("")

    worker = shop.start()
    worker.await_line("no job is called 'fetch' here")
    assert worker.stop() == 0
    assert handle.status() is JobStatus.DELAYED
    [parked] = shop.bus.failed.parked()
    assert parked.name == "fetch"


def test_a_log_in_json_names_the_job(shop):
    shop.write(JOBS)
    handle = shop.bus.enqueue(shop.module.Process(1))

    worker = shop.work("--log-format", "json")

    told = [json.loads(line) for line in worker.lines if line.startswith("{")]
    [done] = [one for one in told if one.get("id") == handle.id]
    assert (done["listener"], done["queue"], done["outcome"]) == (
        "shop:Process",
        "default",
        "succeeded",
    )
