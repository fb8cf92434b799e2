"""Chains: jobs one after the other, whatever becomes of each."""

from __future__ import annotations

import asyncio

import pytest

from eventbus import Attempt, EventBus, Job, JobProcessed, Skip, Unique, UniqueJobSkipped
from eventbus.errors import InvalidJob, InvalidOption
from eventbus.queue.handles import JobStatus
from eventbus.queue.lifecycle import JobFailed
from eventbus.testing import fake_events, fake_queue

RAN: list[str] = []
FAILED: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()
    FAILED.clear()


class Step(Job, name="chains.step", tries=1):
    word: str

    def handle(self, attempt: Attempt) -> None:
        RAN.append(self.word)
        if self.word.startswith("bad"):
            raise ValueError(self.word)

    def failed(self, error: BaseException) -> None:
        FAILED.append(self.word)


class Asks(Job, name="chains.asks"):
    def handle(self, attempt: Attempt) -> None:
        failed = attempt.caught()
        RAN.append("nothing" if failed is None else f"{failed.name} {failed.reason}")


class AsksLater(Job, name="chains.asks-later"):
    async def handle(self, attempt: Attempt) -> None:
        failed = await attempt.acaught()
        RAN.append("nothing" if failed is None else f"{failed.name} {failed.reason}")


class Elsewhere(Job, name="chains.elsewhere", queue="own"):
    word: str

    def handle(self) -> None:
        RAN.append(self.word)


class Away(Job, name="chains.away", connection="other"):
    def handle(self) -> None: ...


class Once(Job, name="chains.once", unique=Unique(lambda job: job.key)):
    key: str
    word: str

    def handle(self) -> None:
        RAN.append(self.word)


class Late(Job, name="chains.late", delay=30):
    def handle(self) -> None:
        RAN.append("late")


class Refuses(Job, name="chains.refuses"):
    def prepare(self) -> bool:
        return False

    def handle(self) -> None:
        RAN.append("refused")


class Quiet(Job, name="chains.quiet", debounce=5):
    def handle(self) -> None: ...


class Skipped(Job, name="chains.skipped", middleware=[Skip.when(True)]):
    def handle(self) -> None:
        RAN.append("skipped")


class Settles(Job, name="chains.settles"):
    how: str

    def handle(self, attempt: Attempt) -> None:
        RAN.append(f"{self.how} {attempt.releases}")
        if self.how == "delete":
            attempt.delete()
        elif self.how == "release" and not attempt.releases:
            attempt.release()
        elif self.how == "stop":
            attempt.stop_chain()


class Grows(Job, name="chains.grows", tries=2):
    front: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    fails_first: bool = False

    def handle(self, attempt: Attempt) -> None:
        RAN.append(f"grows {attempt.number}")
        attempt.chain.prepend(*map(Step, self.front))
        attempt.chain.append(*map(Step, self.back))
        if self.fails_first and attempt.number == 1:
            raise ValueError("first")


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


def run(bus, work, chain):
    """Enqueue a chain and run it; return what a member raised on `sync://`, if it did."""
    try:
        chain.enqueue()
    except ValueError as error:
        return error
    if not bus.connections.is_sync("default"):
        for _ in range(3):
            work(bus, queues=("default", "own"))
    return None


# Order, and what stops it.


def test_members_run_one_after_the_other(bus, work):
    run(bus, work, bus.chain(Step("a"), Step("b"), Step("c")))

    assert RAN == ["a", "b", "c"]


def test_none_is_left_out(bus, work):
    run(bus, work, bus.chain(Step("a"), None, Step("b")))

    assert RAN == ["a", "b"]


def test_a_chain_is_inert_and_grows_until_it_is_enqueued(bus, work):
    chain = bus.chain().append(Step("b"), None).prepend(Step("a")).append(Step("c"))
    assert RAN == []

    run(bus, work, chain)

    assert RAN == ["a", "b", "c"]


def test_one_without_members_cannot_be_enqueued(bus):
    with pytest.raises(InvalidOption, match=r"at least one job") as caught:
        bus.chain(None).enqueue()

    assert isinstance(caught.value, ValueError)


def test_a_failed_member_ends_the_chain_and_only_it_has_failed(bus, work):
    """On `sync://` as well: nobody's `failed` runs for the error of another."""
    error = run(bus, work, bus.chain(Step("a"), Step("bad"), Step("c")))

    assert RAN == ["a", "bad"]
    assert FAILED == ["bad"]
    assert (error is not None) is bus.connections.is_sync("default")


def test_what_catches_runs_after_a_failure(bus, work):
    run(bus, work, bus.chain(Step("a"), Step("bad"), Step("c"), catch=Step("caught")))

    assert RAN == ["a", "bad", "caught"]


@pytest.mark.parametrize("catch", [Asks, AsksLater])
def test_what_catches_is_told_who_failed_and_why(bus, work, catch):
    """C6."""
    run(bus, work, bus.chain(Step("a"), Step("bad"), catch=catch()))

    assert RAN == ["a", "bad", "chains.step ValueError: bad"]


def test_a_job_that_catches_nothing_is_told_of_nobody(bus, work):
    run(bus, work, bus.chain(Asks(), Asks(), catch=Step("caught")))
    bus.run(Asks())

    assert RAN == ["nothing", "nothing", "nothing"]


def test_what_catches_one_that_was_forgotten_meanwhile_is_told_of_nobody(stored, work):
    class ForgetsFirst(Job, name="chains.forgets-first"):
        def handle(self, attempt: Attempt) -> None:
            stored.failed.flush()
            RAN.append(str(attempt.caught()))

    run(stored, work, stored.chain(Step("bad"), catch=ForgetsFirst()))

    assert RAN == ["bad", "None"]


def test_what_catches_does_not_run_where_nothing_failed(bus, work):
    run(bus, work, bus.chain(Step("a"), catch=Step("caught")))

    assert RAN == ["a"]


def test_a_retried_member_carries_on(stored, work):
    run(stored, work, stored.chain(Step("a"), Grows(fails_first=True), Step("bad"), Step("c")))
    [failed] = stored.failed.all()
    assert RAN == ["a", "grows 1", "grows 2", "bad"]

    RAN.clear()
    stored.bind(Step, lambda job: RAN.append(f"mended {job.word}"))
    stored.failed.retry(failed.id)
    work(stored)

    assert RAN == ["mended bad", "mended c"]


@pytest.mark.parametrize("how", ["delete", "release"])
def test_one_that_settles_itself_lets_the_next_come_when_it_is_done(stored, work, how):
    run(stored, work, stored.chain(Settles(how), Step("next")))

    assert [f"{how} 0", *(["release 1"] if how == "release" else []), "next"] == RAN


def test_one_that_middleware_skips_is_done(bus, work):
    run(bus, work, bus.chain(Skipped(), Step("next")))

    assert RAN == ["next"]


def test_one_that_does_not_want_to_be_enqueued_is_left_out(bus, work):
    run(bus, work, bus.chain(Refuses(), Step("a"), Refuses(), Step("b")))

    assert RAN == ["a", "b"]


def test_a_chain_of_those_that_do_not_want_to_is_skipped(stored):
    assert stored.chain(Refuses(), Refuses()).enqueue().status() is JobStatus.SKIPPED


def test_conditions(stored, work):
    assert stored.chain(Step("a")).enqueue_if(False) is None
    assert stored.chain(Step("b")).enqueue_unless(True) is None
    assert stored.chain(Step("c")).enqueue_if(True) is not None
    assert stored.chain(Step("d")).enqueue_unless(False) is not None

    work(stored)

    assert RAN == ["c", "d"]


# Where, and when.


def test_the_queue_of_a_chain_is_for_those_that_name_none(stored):
    stored.chain(Step("a"), Elsewhere("b"), Step("c"), queue="slow").enqueue()

    port = stored.connections.port("default")
    assert {one.envelope.queue for one in port.peek()} == {"slow", "own"}
    assert port.size("slow").ready == 1
    assert port.size("slow").held == 1
    assert port.size("own").held == 1


def test_members_of_two_queues_run_in_order(stored, work):
    run(stored, work, stored.chain(Step("a"), Elsewhere("b"), Step("c")))

    assert RAN == ["a", "b", "c"]


def test_the_connection_of_a_chain_is_for_those_that_name_none(make_bus):
    bus = make_bus(connections={"default": "memory://", "other": "memory://"})

    assert bus.chain(Step("a"), Away(), connection="other").enqueue().connection == "other"


def test_one_chain_lies_on_one_connection(make_bus):
    bus = make_bus(connections={"default": "memory://", "other": "memory://"})

    with pytest.raises(InvalidOption, match="one connection for all jobs of a plan"):
        bus.chain(Step("a"), Away()).enqueue()

    assert not bus.connections.port("default").peek()


def test_the_delay_of_a_chain_is_that_of_its_first(stored, work, clock):
    stored.chain(Step("a"), Step("b"), delay=10).enqueue()
    work(stored)
    assert RAN == []

    clock.advance(10)
    work(stored)

    assert RAN == ["a", "b"]


def test_the_delay_of_a_chain_gives_way_to_that_of_its_first(stored, work, clock):
    stored.chain(Late(), Step("b"), delay=10).enqueue()

    clock.advance(10)
    work(stored)
    assert RAN == []
    clock.advance(20)
    work(stored)

    assert RAN == ["late", "b"]


def test_the_delay_of_a_later_one_counts_from_its_turn(stored, work, clock):
    stored.chain(Step("a"), Late()).enqueue()
    clock.advance(100)
    work(stored)
    assert RAN == ["a"]

    clock.advance(30)
    work(stored)

    assert RAN == ["a", "late"]


# The handle.


def test_the_handle_is_that_of_the_first(stored, work):
    handle = stored.chain(Step("a"), Step("b")).enqueue()

    assert handle.status() is JobStatus.WAITING
    work(stored)
    assert handle.status() is JobStatus.GONE


def test_to_cancel_takes_out_the_whole_chain(stored, work):
    handle = stored.chain(Step("a"), Elsewhere("b"), catch=Step("caught")).enqueue()

    assert handle.cancel()

    work(stored)
    assert RAN == []
    assert stored.connections.port("default").queues() == []


def test_one_that_waits_for_its_turn_is_held(stored):
    stored.chain(Step("a"), Step("b")).enqueue()

    waiting = [one for one in stored.connections.port("default").peek() if one.state == "held"]
    handle = stored.job_handle(Step, waiting[0].envelope.id)

    assert handle.status() is JobStatus.HELD


# From inside.


def test_jobs_are_put_in_front_of_those_that_follow(bus, work):
    run(bus, work, bus.chain(Grows(front=("x", "y"), back=("z",)), Step("a")))

    assert RAN == ["grows 1", "x", "y", "a", "z"]


def test_what_a_failed_attempt_said_of_those_that_follow_is_forgotten(stored, work):
    run(stored, work, stored.chain(Grows(front=("x",), fails_first=True), Step("a")))

    assert RAN == ["grows 1", "grows 2", "x", "a"]


def test_a_job_by_itself_may_begin_a_chain(stored, work):
    stored.enqueue(Grows(front=("x",), back=("y", "z")))
    work(stored)

    assert RAN == ["grows 1", "x", "y", "z"]


def test_chains_are_laid_out_where_they_are_put(stored, work):
    class Splits(Job, name="chains.splits"):
        def handle(self, attempt: Attempt, bus: EventBus) -> None:
            attempt.chain.append(bus.chain(Step("x"), bus.chain(Step("y"))), None)

    stored.enqueue(Splits())
    work(stored)

    assert RAN == ["x", "y"]


def test_said_twice_those_of_the_second_time_come_first(stored, work):
    class Twice(Job, name="chains.twice"):
        def handle(self, attempt: Attempt) -> None:
            attempt.chain.prepend(Step("later"))
            attempt.chain.prepend(Step("first"), Step("second"))

    stored.enqueue(Twice())
    work(stored)

    assert RAN == ["first", "second", "later"]


def test_a_run_that_was_cut_after_it_had_spoken_says_the_same_again(stored, work):
    """The worker died between what it stored of the followers and its ack."""
    from eventbus.queue.following import Followers, followed

    stored.chain(Grows(front=("x", "y"), back=("z",)), Step("a")).enqueue()
    port = stored.connections.port("default")
    [claim] = port.claim(["default"])
    planner = stored.planner()

    def make(given, first):
        return planner.followers(
            given, after=claim.envelope.id, first=first, connection="default", queue="default"
        )

    followers = Followers(make)
    followers.prepend(Step("x"), Step("y"))
    followers.append(Step("z"))
    followed(port, claim, followers)
    port.release(claim)

    work(stored)

    assert RAN == ["grows 1", "x", "y", "a", "z"]


def test_a_chain_is_stopped_from_inside(bus, work):
    run(bus, work, bus.chain(Settles("stop"), Step("a"), Step("b"), catch=Step("caught")))

    assert RAN == ["stop 0"]
    if not bus.connections.is_sync("default"):
        assert bus.connections.port("default").queues() == []


def test_a_job_that_runs_by_itself_has_no_chain(stored):
    with pytest.raises(Exception, match="jobs that follow one that runs"):
        stored.run(Grows(front=("x",)))


# Unique members.


def test_a_unique_member_that_another_keeps_out_does_not_lose_the_rest(stored, work, told):
    seen = told(stored)
    stored.enqueue(Once("k", "other"), delay=60)
    stored.chain(Step("a"), Once("k", "mine"), Step("b")).enqueue()
    work(stored)

    assert RAN == ["a", "b"]
    [skipped] = [one for one in seen if isinstance(one, UniqueJobSkipped)]
    assert skipped.name == "chains.once"


def test_a_unique_member_runs_where_nobody_has_its_key_as_its_turn_comes(stored, work, clock):
    stored.enqueue(Once("k", "other"))
    stored.chain(Step("a"), Once("k", "mine"), Step("b")).enqueue()
    work(stored)

    assert RAN == ["other", "a", "mine", "b"]


def test_a_unique_member_keeps_others_out_while_it_runs(stored, work):
    class Tries(Job, name="chains.tries", unique=True):
        def handle(self, bus: EventBus) -> None:
            RAN.append(str(bus.enqueue(Tries()).status()))

    stored.chain(Tries(), Step("a")).enqueue()
    work(stored)

    assert RAN == ["skipped", "a"]


def test_a_debounced_job_is_no_member(stored):
    with pytest.raises(InvalidOption, match="debounce"):
        stored.chain(Step("a"), Quiet()).enqueue()


# What cannot be.


@pytest.mark.parametrize("given", [Step, "job", [Step("a")], 1])
def test_what_is_no_member_is_refused(stored, given):
    with pytest.raises(InvalidJob, match="it is no job, no chain and no batch"):
        stored.chain(given)


@pytest.mark.parametrize(
    "option, value",
    [("queue", "a b"), ("delay", -1), ("catch", "job")],
)
def test_options_that_cannot_be_are_refused_where_they_are_said(stored, option, value):
    with pytest.raises(InvalidOption, match=option):
        stored.chain(Step("a"), **{option: value})


def test_a_chain_in_a_chain_has_no_catch_of_its_own(stored):
    inner = stored.chain(Step("b"), catch=Step("caught"))

    with pytest.raises(InvalidOption, match="a chain in a chain"):
        stored.chain(Step("a"), inner).enqueue()


def test_nothing_is_stored_where_one_cannot_be(stored):
    class Odd(Job, name="chains.odd"):
        what: object

        def handle(self) -> None: ...

    with pytest.raises(TypeError):
        stored.chain(Step("a"), Odd(object())).enqueue()

    assert stored.connections.port("default").queues() == []


# Async, fakes, events.


def test_async_code_enqueues_and_runs_chains(make_bus):
    class Waits(Job, name="chains.waits"):
        word: str

        async def handle(self, attempt: Attempt) -> None:
            await asyncio.sleep(0)
            RAN.append(self.word)
            if self.word == "one":
                attempt.chain.append(Step("three"))

    bus = make_bus(connections={"default": "sync://"})

    async def main():
        return await bus.chain(Waits("one"), Waits("two")).aenqueue()

    handle = asyncio.run(main())

    assert RAN == ["one", "two", "three"]
    assert handle.name == "chains.waits"


def test_a_fake_has_the_jobs_of_a_chain(stored):
    with fake_events(stored) as fake:
        stored.chain(Step("a"), stored.batch(Step("b"), on_done=Step("c"))).enqueue()

    fake.assert_enqueued(Step, times=3)
    assert stored.connections.port("default").queues() == []


def test_a_fake_queue_runs_a_chain(stored):
    with fake_queue(stored) as queue:
        stored.chain(Step("a"), Step("b")).enqueue()
        queue.drain()

    assert RAN == ["a", "b"]


def test_every_member_is_told_of(bus, work):
    seen = []
    bus.listen(JobProcessed, lambda event: seen.append((event.name, str(event.outcome))))
    bus.listen(JobFailed, lambda event: seen.append((event.name, "failed")))

    run(bus, work, bus.chain(Step("a"), Step("bad"), Step("c")))

    assert seen == [("chains.step", "succeeded"), ("chains.step", "failed")]
