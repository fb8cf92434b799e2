"""Batches: jobs side by side, counted, and what follows them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from eventbus import (
    Attempt,
    BatchFinished,
    EventBus,
    Job,
    JobFailed,
    JobProcessed,
    MissingRecord,
    ShouldQueue,
    Unique,
)
from eventbus.errors import BatchNotFound, InvalidOption
from eventbus.queue.lifecycle import BatchCanceled, BatchDispatched, BatchStarted
from eventbus.testing import fake_events, fake_queue

RAN: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()


class Step(Job, name="batches.step", tries=1):
    word: str

    def handle(self) -> None:
        RAN.append(self.word)
        if self.word.startswith("bad"):
            raise ValueError(self.word)


class Follows(Job, name="batches.follows"):
    word: str

    def handle(self, attempt: Attempt) -> None:
        assert attempt.batch is not None
        state = attempt.batch.state()
        RAN.append(f"{self.word} {state.succeeded}+{state.failed}+{state.skipped}/{state.total}")


class Elsewhere(Job, name="batches.elsewhere", queue="own"):
    def handle(self) -> None:
        RAN.append("elsewhere")


class Looks(Job, name="batches.looks"):
    def handle(self, attempt: Attempt) -> None:
        assert attempt.batch is not None
        RAN.append(attempt.batch.state().name)


class Stubborn(Job, name="batches.stubborn", run_if_canceled=True):
    def handle(self) -> None:
        RAN.append("stubborn")


class Adds(Job, name="batches.adds"):
    words: tuple[str, ...]

    def handle(self, attempt: Attempt, bus: EventBus) -> None:
        assert attempt.batch is not None
        added = attempt.batch.add(*map(Step, self.words), bus.chain(Step("c1"), Step("c2")), None)
        RAN.append(f"added {added}")


class Cancels(Job, name="batches.cancels"):
    def handle(self, attempt: Attempt) -> None:
        assert attempt.batch is not None
        attempt.batch.cancel()
        RAN.append("canceled")


class Gone(Job, name="batches.gone", discard_on_missing=True):
    def handle(self) -> None:
        raise MissingRecord(record="row", key=1)


class Once(Job, name="batches.once", unique=Unique(lambda job: job.key)):
    key: str

    def handle(self) -> None:
        RAN.append(self.key)


class Refuses(Job, name="batches.refuses"):
    def should_queue(self) -> bool:
        return False

    def handle(self) -> None: ...


@pytest.fixture(params=["memory", "sqlite", "sync"])
def bus(request, tmp_path, clock):
    urls = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/queue.db",
        "sync": "sync://",
    }
    with EventBus(connections={"default": urls[request.param]}, clock=clock) as bus:
        yield bus


@pytest.fixture
def stored(make_bus):
    """Return a bus that stores."""
    return make_bus()


def run(bus, work, plan):
    """Enqueue a plan and run it; return its handle, or the error of a member on `sync://`."""
    try:
        handle = plan.enqueue()
    except ValueError as error:
        return error
    if not bus.connections.is_sync("default"):
        work(bus)
    return handle


def callbacks():
    """Return what follows a batch, as options."""
    return {
        "on_success": Follows("success"),
        "on_error": Follows("error"),
        "on_done": Follows("done"),
    }


# What follows.


def test_all_run_and_what_follows_runs_once(bus, work):
    handle = run(bus, work, bus.batch(Step("a"), Step("b"), None, **callbacks()))

    assert RAN == ["a", "b", "success 2+0+0/2", "done 2+0+0/2"]
    state = handle.state()
    assert (state.total, state.pending, state.processed, state.progress) == (2, 0, 2, 100)
    assert state.finished
    assert not state.canceled


def test_a_failure_cancels_the_rest(bus, work):
    run(bus, work, bus.batch(Step("a"), Step("bad"), Step("c"), **callbacks()))

    assert RAN == ["a", "bad", "error 1+1+1/3", "done 1+1+1/3"]


def test_allowed_failures_cancel_nothing(bus, work):
    handle = run(
        bus,
        work,
        bus.batch(Step("bad1"), Step("b"), Step("bad2"), allow_failures=True, **callbacks()),
    )

    assert RAN[:3] == ["bad1", "b", "bad2"]
    assert RAN[3].startswith("error ")
    assert RAN[4:] == ["done 1+2+0/3"]
    assert handle.state().failed == 2
    assert not handle.state().canceled


def test_an_empty_batch_ends_at_once(bus, work):
    handle = run(bus, work, bus.batch(None, **callbacks()))

    assert RAN == ["success 0+0+0/0", "done 0+0+0/0"]
    assert handle.state().finished
    assert handle.state().progress == 0


def test_a_batch_of_those_that_do_not_want_to_is_empty(bus, work):
    run(bus, work, bus.batch(Refuses(), on_done=Follows("done")))

    assert RAN == ["done 0+0+0/0"]


def test_one_whose_record_is_missing_is_done(bus, work):
    run(bus, work, bus.batch(Gone(), Step("a"), on_success=Follows("success")))

    assert RAN == ["a", "success 1+0+1/2"]


def test_a_retried_failure_leads_to_success(stored, work):
    plan = stored.batch(Step("a"), Step("bad"), allow_failures=True, **callbacks())
    handle = run(stored, work, plan)
    [failed] = handle.failed_ids()
    assert [one.id for one in stored.failed.all()] == [failed]
    RAN.clear()

    stored.bind(Step, lambda job: RAN.append(f"mended {job.word}"))
    assert handle.retry() == [failed]
    assert handle.state().pending == 1
    work(stored)

    assert RAN == ["mended bad", "success 2+0+0/2"]
    assert handle.failed_ids() == []


def test_a_retry_lets_a_canceled_batch_go_on(stored, work):
    handle = run(stored, work, stored.batch(Step("bad"), on_success=Follows("success")))
    assert handle.state().canceled

    stored.bind(Step, lambda job: RAN.append("mended"))
    handle.retry()
    work(stored)

    assert RAN == ["bad", "mended", "success 1+0+0/1"]


# Canceling.


def test_members_that_have_not_begun_are_skipped(stored, work):
    handle = stored.batch(Step("a"), Step("b"), **callbacks()).enqueue()

    assert handle.cancel()
    work(stored)

    assert RAN == ["done 0+0+2/2"]
    assert handle.state().canceled


def test_a_member_may_cancel_its_batch(bus, work):
    run(bus, work, bus.chain(bus.batch(Cancels(), on_done=Follows("done"))))

    assert RAN == ["canceled", "done 1+0+0/1"]


def test_some_run_all_the_same(stored, work):
    handle = stored.batch(Step("a"), Stubborn()).enqueue()
    handle.cancel()
    work(stored)

    assert RAN == ["stubborn"]
    assert handle.state().succeeded == 1
    assert handle.state().skipped == 1


# Where.


def test_all_of_a_batch_lies_in_one_queue(stored):
    stored.batch(Step("a"), Elsewhere(), queue="slow", **callbacks()).enqueue()

    assert stored.connections.port("default").queues() == ["slow"]


def test_members_that_agree_say_the_queue(stored, work):
    handle = stored.batch(Elsewhere(), Elsewhere(), on_done=Follows("done")).enqueue()

    assert stored.connections.port("default").queues() == ["own"]
    assert handle.state().queue == "own"


def test_members_that_do_not_agree_are_refused(stored):
    with pytest.raises(InvalidOption, match="one queue for all members"):
        stored.batch(Step("a"), Elsewhere()).enqueue()

    assert stored.connections.port("default").queues() == []


def test_a_batch_lies_on_its_connection(make_bus):
    bus = make_bus(connections={"default": "memory://", "other": "memory://"})

    handle = bus.batch(Step("a"), connection="other").enqueue()
    empty = bus.batch(connection="other").enqueue()

    assert handle.connection == empty.connection == "other"
    assert {one.connection for one in bus.batches()} == {"other"}


# Plans in plans.


def test_chains_count_with_all_their_members(bus, work):
    plan = bus.batch(bus.chain(Step("a"), Step("b")), Step("c"), on_success=Follows("success"))

    run(bus, work, plan)

    assert sorted(RAN[:-1]) == ["a", "b", "c"]
    assert RAN.index("a") < RAN.index("b")
    assert RAN[-1] == "success 3+0+0/3"


def test_a_failed_chain_settles_its_batch(bus, work):
    plan = bus.batch(
        bus.chain(Step("a"), Step("bad"), Step("never"), Step("nor")),
        Step("z"),
        allow_failures=True,
        on_done=Follows("done"),
    )

    run(bus, work, plan)

    assert sorted(RAN[:-1]) == ["a", "bad", "z"]
    assert RAN[-1] == "done 2+1+2/5"


def test_a_chain_in_a_batch_may_have_a_catch(bus, work):
    chain = bus.chain(Step("bad"), catch=Step("caught"))

    run(bus, work, bus.batch(chain, allow_failures=True, on_done=Follows("done")))

    assert sorted(RAN) == ["bad", "caught", "done 0+1+0/1"]


def test_a_batch_in_a_chain_is_waited_for(bus, work):
    run(bus, work, bus.chain(Step("a"), bus.batch(Step("b"), Step("c")), Step("d")))

    assert RAN == ["a", "b", "c", "d"]


def test_an_empty_batch_in_a_chain_is_passed_over(bus, work):
    run(bus, work, bus.chain(Step("a"), bus.batch(), bus.batch(None), Step("d")))

    assert RAN == ["a", "d"]


def test_a_chain_may_begin_with_a_batch(bus, work):
    run(bus, work, bus.chain(bus.batch(Step("a")), Step("b")))

    assert RAN == ["a", "b"]


def test_a_batch_that_fails_ends_its_chain_until_it_is_retried(stored, work):
    plan = stored.chain(Step("a"), stored.batch(Step("bad")), Step("z"), catch=Step("caught"))
    run(stored, work, plan)
    assert RAN == ["a", "bad", "caught"]
    member, batch = stored.failed.all()
    assert batch.name == "eventbus.batch"
    assert "Retry them, and then this job" in batch.reason

    stored.bind(Step, lambda job: RAN.append(f"mended {job.word}"))
    stored.failed.retry(member.id)
    work(stored)
    stored.failed.retry(batch.id)
    work(stored)

    assert RAN[3:] == ["mended bad", "mended z"]


def test_a_batch_with_allowed_failures_lets_its_chain_go_on(bus, work):
    run(bus, work, bus.chain(bus.batch(Step("bad"), allow_failures=True), Step("z")))

    assert RAN == ["bad", "z"]


def test_a_batch_in_a_batch_is_one_member(bus, work):
    inner = bus.batch(Step("b"), Step("c"), on_done=Follows("inner"))

    run(bus, work, bus.batch(Step("a"), inner, on_success=Follows("outer")))

    assert sorted(RAN[:-1]) == ["a", "b", "c", "inner 2+0+0/2"]
    assert RAN[-1] == "outer 2+0+0/2"


def test_a_batch_that_fails_fails_the_one_around_it(bus, work):
    inner = bus.batch(Step("bad"))

    run(bus, work, bus.batch(inner, allow_failures=True, on_done=Follows("outer")))

    assert RAN == ["bad", "outer 0+1+0/1"]


def test_plans_nest_as_deep_as_they_are_written(bus, work):
    plan = bus.chain(
        Step("1"),
        bus.batch(
            bus.chain(Step("2"), bus.batch(Step("3"), bus.chain(Step("4"), Step("5"))), Step("6"))
        ),
        Step("7"),
    )

    run(bus, work, plan)

    assert RAN == ["1", "2", "3", "4", "5", "6", "7"]


@pytest.mark.parametrize("ways", [{}, {"threads": 4}, {"concurrency": 8}], ids=str)
def test_plans_are_run_in_every_way_that_a_worker_has(stored, ways):
    class Grows(Job, name="batches.grows"):
        def handle(self, attempt: Attempt) -> None:
            attempt.chain.prepend(Step("g1"), Step("g2"))

    class Stops(Job, name="batches.stops"):
        async def handle(self, attempt: Attempt) -> None:
            attempt.stop_chain()

    done = stored.batch(
        *[Step(f"x{number}") for number in range(20)],
        stored.chain(Grows(), Step("last")),
        stored.chain(Stops(), Step("never")),
    ).enqueue()
    canceled = stored.batch(*[Step("never") for _ in range(20)]).enqueue()
    canceled.cancel()

    with stored.worker(**ways) as worker:
        assert worker.drain()

    assert sorted(RAN) == sorted(["g1", "g2", "last", *(f"x{number}" for number in range(20))])
    assert [word for word in RAN if not word.startswith("x")] == ["g1", "g2", "last"]
    assert (done.state().succeeded, done.state().skipped) == (25, 1)
    assert (canceled.state().skipped, canceled.state().finished) == (20, True)


def test_a_plan_that_is_canceled_leaves_nothing_behind(stored, work):
    inner = stored.batch(stored.chain(Step("b"), Step("c")), stored.batch(Step("d")), **callbacks())
    handle = stored.chain(Step("a"), inner, Step("z")).enqueue()

    assert handle.cancel()

    assert stored.connections.port("default").queues() == []
    assert stored.batches() == []


def test_the_delay_of_a_chain_is_that_of_all_that_it_begins_with(stored, work, clock):
    stored.chain(stored.chain(Step("a"), Step("b")), delay=10).enqueue()
    stored.chain(stored.batch(Step("x"), Step("y")), Step("z"), delay=10).enqueue()
    work(stored)
    assert RAN == []

    clock.advance(10)
    work(stored)

    assert sorted(RAN) == ["a", "b", "x", "y", "z"]


def test_with_a_batch_those_within_it_are_canceled(stored, work):
    inner = stored.batch(Step("i1"), Step("i2"), on_done=Follows("inner"))
    plan = stored.batch(stored.chain(Step("a"), inner, Step("y")), Step("z"))

    handle = plan.enqueue()
    handle.cancel()
    work(stored)

    assert RAN == ["inner 0+0+2/2"]
    assert handle.state().finished


def canceled(bus, name):
    """Cancel the batch of that name by hand."""
    [found] = [one for one in bus.batches() if one.name == name]
    assert bus.batch_handle(found.id).cancel()


def test_a_batch_that_is_canceled_counts_as_skipped_in_another(stored, work):
    inner = stored.batch(Step("i1"), Step("i2"), name="inner")
    handle = stored.batch(inner, Step("o"), on_done=Follows("done")).enqueue()

    canceled(stored, "inner")
    work(stored)

    assert RAN == ["o", "done 1+0+1/2"]
    assert stored.failed.all() == []
    assert not handle.state().canceled


def test_a_chain_ends_with_a_batch_that_is_canceled(stored, work):
    """C13."""
    plan = stored.chain(
        stored.batch(Step("a"), name="inner", on_done=Step("done")), Step("z"), catch=Step("catch")
    )
    plan.enqueue()

    canceled(stored, "inner")
    work(stored)

    assert RAN == ["done"]
    assert list(stored.connections.port("default").each_stored()) == []
    assert stored.failed.all() == []


def test_what_followed_a_canceled_batch_in_another_counts_as_skipped(stored, work):
    chain = stored.chain(stored.batch(Step("a"), name="inner"), Step("y"), Step("z"))
    handle = stored.batch(chain, Step("o"), on_done=Follows("done")).enqueue()

    canceled(stored, "inner")
    work(stored)

    assert RAN == ["o", "done 1+0+3/4"]
    assert handle.state().finished


def test_one_that_allows_failures_and_is_canceled_ends_its_chain_too(stored, work):
    inner = stored.batch(Step("bad"), Step("b"), allow_failures=True, name="inner")
    stored.chain(inner, Step("z")).enqueue()

    canceled(stored, "inner")
    work(stored)

    assert RAN == []


def test_to_cancel_a_chain_that_begins_with_a_batch_cancels_that(stored, work):
    handle = stored.chain(stored.batch(Step("a"), Step("b")), Step("z")).enqueue()

    assert handle.cancel()
    work(stored)

    assert RAN == []
    assert [one.canceled for one in stored.batches()] == [True]


def test_a_batch_that_was_pruned_keeps_no_chain_waiting(stored, work, clock):
    run(stored, work, stored.chain(stored.batch(Step("bad")), Step("z")))
    member, batch = stored.failed.all()
    clock.advance(10)
    assert stored.prune_batches(older_than=5) == 1

    stored.bind(Step, lambda job: RAN.append(f"mended {job.word}"))
    stored.failed.retry(member.id)
    stored.failed.retry(batch.id)
    work(stored)

    assert RAN == ["bad", "mended bad", "mended z"]


def test_a_locked_unique_member_does_not_lose_the_rest(stored, work):
    stored.enqueue(Once("k"), delay=60)
    plan = stored.batch(Once("k"), stored.chain(Once("k"), Step("after")), Step("a"))

    handle = run(stored, work, plan)

    assert sorted(RAN) == ["a", "after"]
    state = handle.state()
    assert (state.succeeded, state.skipped, state.finished) == (2, 2, True)


# From inside.


def test_a_member_knows_its_batch(bus, work):
    run(bus, work, bus.batch(Looks(), name="imports"))

    assert RAN == ["imports"]


def test_others_have_no_batch():
    class Alone(Job, name="batches.alone"):
        def handle(self, attempt: Attempt) -> None:
            RAN.append(str(attempt.batch))

    for url in ("memory://", "sync://"):
        with EventBus(connections={"default": url}) as bus:
            bus.enqueue(Alone())
            if url != "sync://":
                with bus.worker() as worker:
                    worker.drain()
            bus.run(Alone())

    assert RAN == ["None"] * 4


def test_members_are_added_from_inside(bus, work):
    run(bus, work, bus.batch(Adds(("x", "y")), on_success=Follows("success")))

    assert RAN[0] == "added 4"
    assert sorted(RAN[1:-1]) == ["c1", "c2", "x", "y"]
    assert RAN[-1] == "success 5+0+0/5"


def test_members_are_added_from_outside(stored, work):
    handle = stored.batch(Step("a"), on_done=Follows("done")).enqueue()
    work(stored)

    handle.add(Step("b"))
    assert not handle.state().finished
    work(stored)

    assert RAN == ["a", "done 1+0+0/1", "b"]
    assert handle.state().total == 2
    assert handle.state().finished


@pytest.mark.parametrize("given", ["batch", "elsewhere"])
def test_what_cannot_be_added_is_refused(make_bus, given):
    class Away(Job, name="batches.away", connection="other"):
        def handle(self) -> None: ...

    bus = make_bus(connections={"default": "memory://", "other": "memory://"})
    handle = bus.batch(Step("a")).enqueue()

    with pytest.raises(InvalidOption):
        handle.add(bus.batch(Step("b")) if given == "batch" else Away())

    assert handle.state().total == 1


# Looking, and keeping.


def test_a_batch_is_found_again(stored):
    handle = stored.batch(Step("a"), name="imports").enqueue()

    again = stored.batch_handle(handle.id)

    assert again.state() == handle.state()
    assert [one.name for one in stored.batches()] == ["imports"]


def test_one_that_is_not_there_is_an_error(stored):
    handle = stored.batch_handle("never")

    with pytest.raises(BatchNotFound, match="has no batch 'never'") as caught:
        handle.state()
    with pytest.raises(BatchNotFound):
        handle.add(Step("a"))

    assert isinstance(caught.value, LookupError)
    assert not handle.cancel()
    assert handle.retry() == []


def test_a_state_is_plain_json(stored):
    handle = stored.batch(Step("a"), name="imports").enqueue()

    told = json.loads(json.dumps(handle.state().to_dict()))

    assert told["id"] == handle.id
    assert told["pending"] == told["total"] == 1
    assert told["finished_at"] is None


def test_batches_are_pruned_by_their_age(stored, work, clock):
    done = stored.batch(Step("a")).enqueue()
    work(stored)
    open_ = stored.batch(Step("b"), **callbacks()).enqueue()

    assert stored.prune_batches(older_than=10) == 0
    clock.advance(11)
    assert stored.prune_batches(older_than=10) == 1
    assert [one.id for one in stored.batches()] == [open_.id]
    assert stored.prune_batches(older_than=10, unfinished=True) == 1

    work(stored)
    assert RAN == ["a", "b"]
    assert stored.connections.port("default").queues() == []
    with pytest.raises(BatchNotFound):
        done.state()


# Events.


def test_a_batch_is_told_of(bus, work):
    seen = []
    for kind in (BatchDispatched, BatchStarted, BatchCanceled, BatchFinished):
        bus.listen(kind, seen.append)

    run(bus, work, bus.batch(Step("a"), Step("bad"), Step("c"), name="imports"))

    kinds = [type(one) for one in seen]
    assert kinds == [BatchDispatched, BatchStarted, BatchCanceled, BatchFinished]
    assert {one.name for one in seen} == {"imports"}
    assert seen[0].total == 3
    finished = seen[-1]
    assert (finished.succeeded, finished.failed, finished.skipped) == (1, 1, 1)


def test_each_member_that_ends_is_told_of_with_its_batch(bus, work):
    seen = []
    bus.listen(JobProcessed, lambda event: seen.append((event.name, event.batch != "")))
    bus.listen(JobFailed, lambda event: seen.append((event.name, event.batch != "")))

    plan = bus.batch(Step("a"), Step("bad"), allow_failures=True, on_done=Follows("done"))
    run(bus, work, plan)

    assert seen == [("batches.step", True), ("batches.step", True), ("batches.follows", True)]


def test_listeners_of_batches_may_be_queued(make_bus, work):
    class Notify(ShouldQueue):
        name = "batches.notify"

        def handle(self, event: BatchFinished) -> None:
            RAN.append(f"queued {event.name} {event.succeeded}")

    bus = make_bus(Notify)

    run(bus, work, bus.batch(Step("a"), name="imports"))

    assert RAN == ["a", "queued imports 1"]


def test_a_batch_is_there_when_it_is_told_of(bus):
    seen = []
    bus.listen(
        BatchDispatched,
        lambda event: seen.append((event.total, [one.total for one in bus.batches()])),
    )

    bus.batch(Step("a"), bus.chain(Step("b"), Step("c"))).enqueue()

    stored = [] if bus.connections.is_sync("default") else [3]
    assert seen == [(3, stored)]


def test_the_end_of_a_batch_in_a_chain_is_told_once(stored, work):
    seen = []
    stored.listen(BatchFinished, lambda event: seen.append(event.failed))
    run(stored, work, stored.chain(stored.batch(Step("bad")), Step("z")))
    member, batch = stored.failed.all()

    stored.bind(Step, lambda job: RAN.append("mended"))
    stored.failed.retry(member.id)
    work(stored)
    stored.failed.retry(batch.id)
    work(stored)

    assert seen == [1]
    assert RAN == ["bad", "mended", "mended"]


def test_nobody_is_told_where_nobody_hears(stored):
    stored.batch(Step("a"), Step("b")).enqueue()

    assert stored.connections.port("default").size("default").held == 0


# Random outcomes are in tests/faults; async, fakes, bad input here.


def test_async_code_enqueues_and_looks(make_bus, work):
    bus = make_bus()

    async def main():
        handle = await bus.batch(Step("a"), Step("b")).aenqueue()
        await handle.aadd(Step("c"))
        return handle, await handle.astate()

    handle, state = asyncio.run(main())
    assert state.total == 3

    async def rest():
        return await handle.acancel(), await handle.aretry()

    assert asyncio.run(rest()) == (True, [])


def test_async_members_run_on_a_sync_connection(make_bus):
    class Waits(Job, name="batches.waits"):
        number: int

        async def handle(self, attempt: Attempt) -> None:
            await asyncio.sleep(0)
            assert attempt.batch is not None
            RAN.append(f"{self.number} of {(await attempt.batch.astate()).total}")

    bus = make_bus(connections={"default": "sync://"})

    asyncio.run(bus.batch(Waits(1), Waits(2)).aenqueue())

    assert RAN == ["1 of 2", "2 of 2"]


def test_fakes_count_what_was_enqueued_and_no_step_of_a_batch(stored):
    with fake_events(stored) as fake:
        stored.chain(Step("a"), stored.batch(Step("b"), Step("c"), on_done=Step("d"))).enqueue()
        fake.assert_queued_count(4)
        assert [job.event.word for job in fake.jobs] == ["a", "b", "c", "d"]
    with fake_queue(stored) as queue:
        stored.chain(Step("a"), stored.batch(Step("b"), Step("c"), on_done=Step("d"))).enqueue()
        queue.assert_queued_count(4)
        assert [job.event.word for job in queue.drain()] == ["a", "b", "c", "d"]


def test_a_fake_queue_runs_a_batch(stored):
    with fake_queue(stored) as queue:
        stored.batch(Step("a"), stored.chain(Step("b"), Step("c"))).enqueue()
        assert queue.size("default") == 3
        queue.drain()

    assert Counter(RAN) == Counter("abc")


def test_nothing_is_stored_where_it_is_discarded(make_bus):
    bus = make_bus(connections={"default": "null://"})

    handle = bus.batch(Step("a"), **callbacks()).enqueue()
    bus.chain(Step("a"), Step("b")).enqueue()

    with pytest.raises(BatchNotFound):
        handle.state()
    assert bus.batches() == []


@pytest.mark.parametrize(
    "option, value",
    [("name", "a\nb"), ("name", "x" * 201), ("queue", ""), ("on_done", len), ("on_error", Step)],
)
def test_options_that_cannot_be_are_refused_where_they_are_said(stored, option, value):
    with pytest.raises(InvalidOption, match=option):
        stored.batch(Step("a"), **{option: value})
