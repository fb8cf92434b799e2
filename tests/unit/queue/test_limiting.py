"""M5 to M9, R3, R10: middleware that limits; what it refuses goes back, and spends no try."""

from __future__ import annotations

import asyncio
import threading

import pytest
from attrs import frozen

from eventbus import (
    Attempt,
    EventBus,
    Job,
    JobProcessed,
    JobReleased,
    Limit,
    LimitExceeded,
    RateLimited,
    ShouldQueue,
    ThrottleErrors,
    WithoutOverlapping,
    listens,
)
from eventbus.backends.memory_limits import MemoryLimits
from eventbus.defaults import SLOT_INTERVAL, SLOT_LIFE
from eventbus.errors import BackendUnavailable, InvalidOption, ReleasesExhausted, UnknownLimiter

RAN: list[object] = []


@frozen
class Paid:
    number: int = 1
    tenant: str = "acme"


@pytest.fixture(autouse=True)
def ran():
    RAN.clear()
    return RAN


@pytest.fixture
def bus(clock):
    with EventBus(connections={"default": "memory://", "sync": "sync://"}, clock=clock) as bus:
        yield bus


@pytest.fixture
def released(bus):
    """The delays of what was given back."""
    delays = []
    bus.listen(JobReleased, lambda event: delays.append(event.delay))
    return delays


def job_of(*middleware, **options):
    """A class of jobs that write down that they ran."""

    class Noted(Job, name="noted", middleware=list(middleware), **options):
        number: int = 1
        tenant: str = "acme"

        def handle(self, attempt: Attempt) -> None:
            RAN.append(self.number)

    return Noted


# RateLimited.


def test_what_has_no_room_goes_back_until_its_turn_and_spends_no_try(bus, clock, released, work):
    """M5, R10"""
    kind = job_of(RateLimited("api"))
    bus.limiter("api", Limit(2, 60))
    bus.enqueue_many([kind(number) for number in range(6)])
    bus.listen(JobProcessed, lambda event: RAN.append(event.attempt))

    work(bus)
    assert [one for one in RAN if one != 1] == [0]
    assert RAN.count(1) == 2 + 4 + 1  # job 1, and the first attempt of each, refused or not

    assert len(released) == 4
    assert released == sorted(released)
    assert released[1] - released[0] == pytest.approx(30, abs=1)
    jobs = bus.connections.port().peek()
    assert [(job.attempts, job.releases) for job in jobs] == [(0, 1)] * 4


def test_all_who_are_refused_run_in_time_and_none_is_asked_in_vain(bus, clock, released, work):
    """Each comes back at its turn, so that every look finds room: no release but the first."""
    kind = job_of(RateLimited("api"))
    bus.limiter("api", Limit(2, 60))
    bus.enqueue_many([kind(number) for number in range(20)])

    for _ in range(12):
        work(bus)
        clock.advance(61)

    assert sorted(RAN) == list(range(20))
    assert len(released) == 18


def test_the_rule_is_asked_about_the_event(bus, work):
    """R4"""

    @listens(queue=True, middleware=[RateLimited("api")], name="note")
    def note(event: Paid) -> None:
        RAN.append(event.tenant)

    bus.listen(note)
    bus.limiter("api", lambda event: Limit.per_minute(1).by(event.tenant))
    for tenant in ("acme", "zenith", "acme"):
        bus.dispatch(Paid(tenant=tenant))

    work(bus)

    assert sorted(RAN) == ["acme", "zenith"]


def test_how_long_it_waits_can_be_said(bus, released, work):
    """M5"""
    kind = job_of(RateLimited("api", release=7))
    bus.limiter("api", Limit.per_hour(1))
    bus.enqueue_many([kind(), kind()])

    work(bus)

    assert released == [7.0]


def test_what_is_refused_can_be_skipped(bus, released, work):
    """M5"""
    kind = job_of(RateLimited("api", skip=True))
    bus.limiter("api", Limit.per_hour(1))
    outcomes = []
    bus.listen(JobProcessed, lambda event: outcomes.append(event.outcome))
    bus.enqueue_many([kind(1), kind(2)])

    work(bus)

    assert (RAN, released) == ([1], [])
    assert outcomes == ["succeeded", "skipped"]


def test_max_releases_bounds_it(bus, work):
    kind = job_of(RateLimited("api", release=0), max_releases=3)
    bus.limiter("api", Limit.per_hour(1))
    bus.enqueue_many([kind(), kind()])

    work(bus)

    [failed] = bus.failed.all()
    assert ReleasesExhausted.__name__ in failed.error
    assert failed.attempts == 0


def test_a_job_with_one_try_is_refused_a_thousand_times_and_then_succeeds(bus, work):
    """R10"""
    kind = job_of(RateLimited("api", release=0), tries=1)
    calls = iter(range(10_000))
    bus.limiter("api", lambda job: Limit.per_hour(1) if next(calls) < 1000 else None)
    assert bus.limiters.named("api")(None).attempt() == 0.0
    bus.enqueue(kind(5))

    work(bus)

    assert RAN == [5]
    assert bus.failed.all() == []


def test_a_limiter_that_nobody_defined_is_the_jobs_error(bus, work):
    kind = job_of(RateLimited("api"))
    bus.enqueue(kind())

    work(bus)

    assert UnknownLimiter.__name__ in bus.failed.all()[0].error


def test_where_nothing_waits_the_refusal_is_the_callers(bus):
    """M16: on `sync://`, and by `run`."""
    kind = job_of(RateLimited("api"), connection="sync")
    bus.limiter("api", Limit.per_hour(2))
    bus.enqueue(kind(1))
    bus.run(kind(2))

    with pytest.raises(LimitExceeded):
        bus.enqueue(kind(3))
    with pytest.raises(LimitExceeded) as caught:
        bus.run(kind(4))

    assert RAN == [1, 2]
    # No turns are given to those who will not come: it is the same for all.
    with pytest.raises(LimitExceeded) as again:
        bus.run(kind(4))
    assert again.value.retry_in == pytest.approx(caught.value.retry_in, abs=5)


def test_an_async_job_is_limited_too(bus, released, work):
    class Fetch(Job, name="fetch", middleware=[RateLimited("api"), WithoutOverlapping()]):
        number: int

        async def handle(self) -> None:
            await asyncio.sleep(0)
            RAN.append(self.number)

    bus.limiter("api", Limit.per_hour(1))
    bus.enqueue_many([Fetch(1), Fetch(2)])

    work(bus, concurrency=4)

    assert len(RAN) == len(released) == 1


# A limit inside of a job.


def test_a_refusal_that_a_job_lets_through_gives_it_back(bus, released, work):
    """R3"""

    class Ask(Job, name="ask"):
        number: int

        def handle(self, bus: EventBus) -> None:
            with bus.throttle("weather", allow=1, every=60):
                RAN.append(self.number)

    bus.enqueue_many([Ask(1), Ask(2), Ask(3)])

    work(bus)

    assert RAN == [1]
    assert len(released) == 2
    assert released[1] - released[0] == pytest.approx(60, abs=1)
    assert bus.failed.all() == []


def test_a_refusal_that_a_job_settles_itself_is_as_it_says(bus, released, work):
    """R3"""

    class Ask(Job, name="ask"):
        def handle(self, bus: EventBus, attempt: Attempt) -> None:
            try:
                with bus.funnel("weather"):
                    RAN.append("in")
            except LimitExceeded:
                attempt.release(10)

    held = bus.funnel("weather")
    held.attempt()
    bus.enqueue(Ask())

    work(bus)

    assert (RAN, released) == ([], [10.0])
    held.leave()


# WithoutOverlapping.


def test_what_overlaps_goes_back_for_a_while_and_longer_each_time(bus, clock, released, work):
    """M7"""
    kind = job_of(WithoutOverlapping())
    other = bus.limiters.port(None)()
    other.enter("overlap:noted", "another worker", limit=1, life=3600)
    bus.enqueue(kind())

    for releases in range(40):
        work(bus)
        assert SLOT_INTERVAL <= released[-1] <= min(SLOT_INTERVAL * (2 + releases), SLOT_LIFE)
        clock.advance(SLOT_LIFE)

    other.leave("overlap:noted", "another worker")
    work(bus)
    assert RAN == [1]


def test_what_has_another_key_does_not_overlap(bus, work):
    """M7"""
    kind = job_of(WithoutOverlapping(lambda job: job.tenant))
    bus.limiters.port(None)().enter("overlap:noted:acme", "another", limit=1, life=3600)
    bus.enqueue_many([kind(1), kind(2, tenant="zenith")])

    work(bus)

    assert RAN == [2]


def test_a_key_may_be_said_once_and_for_several_classes(bus, work):
    """M7"""
    middleware = WithoutOverlapping("reports", shared="imports")
    bus.limiters.port(None)().enter("overlap:imports:reports", "another", limit=1, life=3600)

    class Other(Job, name="other", middleware=[middleware]):
        def handle(self) -> None:
            RAN.append("other")

    bus.enqueue_many([job_of(middleware)(), Other()])

    work(bus)

    assert RAN == []


@pytest.mark.parametrize("ends", ["returns", "raises", "leaves"])
def test_the_next_runs_when_one_has_ended(bus, ends, work):
    """M7: however it ended."""
    inside = []

    class Once(Job, name="once", middleware=[WithoutOverlapping()]):
        def handle(self, bus: EventBus) -> None:
            inside.append(bus.limiters.port(None)().enter("overlap:once", "x", limit=1, life=60))
            if ends == "raises":
                raise ValueError
            if ends == "leaves":
                raise SystemExit

    bus.enqueue_many([Once(), Once()])

    work(bus)

    assert len(inside) == 2
    assert all(wait > 0 for wait in inside)


def test_what_overlaps_can_be_skipped_or_wait_as_long_as_is_said(bus, released, work):
    """M7"""
    bus.limiters.port(None)().enter("overlap:both", "another", limit=1, life=3600)
    skipped = job_of(WithoutOverlapping(shared="both", skip=True))
    bus.enqueue(skipped())
    work(bus)
    assert (RAN, released, bus.queue("default").size().ready) == ([], [], 0)

    class Later(Job, name="later", middleware=[WithoutOverlapping(shared="both", release=9)]):
        def handle(self) -> None: ...

    bus.enqueue(Later())
    work(bus)
    assert released == [9.0]


def test_on_sync_a_job_inside_of_its_own_overlaps(bus):
    """M16: it could not be given back."""

    class Outer(Job, name="outer", connection="sync", middleware=[WithoutOverlapping()]):
        inner: bool = True

        def handle(self, bus: EventBus) -> None:
            RAN.append(self.inner)
            if self.inner:
                bus.enqueue(Outer(inner=False))

    with pytest.raises(LimitExceeded, match="outer"):
        bus.enqueue(Outer())
    assert RAN == [True]


def test_a_store_that_is_away_when_it_ends_does_not_undo_the_run(bus, monkeypatch, caplog, work):
    kind = job_of(WithoutOverlapping())

    def away(*_, **__):
        raise BackendUnavailable(backend="b", operation="leave", reason="gone")

    monkeypatch.setattr(MemoryLimits, "leave", away)
    bus.enqueue(kind())

    work(bus)

    assert RAN == [1]
    assert bus.failed.all() == []
    assert "a slot of noted ends in" in caplog.text


# ThrottleErrors.


class DownError(ConnectionError):
    pass


def failing_job(middleware, **options):
    class Failing(Job, name="failing", middleware=[middleware], **options):
        error: str = "DownError"

        def handle(self) -> None:
            RAN.append(self.error)
            if self.error:
                raise {"DownError": DownError, "ValueError": ValueError, "SystemExit": SystemExit}[
                    self.error
                ]

    return Failing


def test_after_so_many_errors_jobs_are_kept_back_without_a_run(bus, clock, released, work):
    """M8"""
    kind = failing_job(ThrottleErrors(2, 600), tries=1)
    bus.enqueue_many([kind() for _ in range(5)])

    work(bus)
    assert RAN == ["DownError"] * 2
    assert len(bus.failed.all()) == 2
    assert len(released) == 3

    clock.advance(660)
    work(bus)
    assert RAN == ["DownError"] * 3  # the turns of the others come later
    clock.advance(660)
    work(bus)
    assert len(bus.failed.all()) == 5


def test_below_the_limit_the_listeners_own_tries_and_backoff_hold(bus, released, work):
    """M8"""
    kind = failing_job(ThrottleErrors(5, 600), tries=3, backoff=[10, 20])
    bus.enqueue(kind())

    work(bus)

    assert released == [10.0]


def test_a_success_makes_it_forget(bus, work):
    """M8"""
    kind = failing_job(ThrottleErrors(2, 600), tries=1)
    bus.enqueue_many([kind("DownError"), kind(""), kind("DownError"), kind("")])

    work(bus)

    assert RAN == ["DownError", "", "DownError", ""]


def test_only_the_errors_that_are_named_count(bus, work):
    """M8"""
    kind = failing_job(ThrottleErrors(1, 600, on=(DownError, OSError)), tries=1)
    bus.enqueue_many([kind("ValueError"), kind("SystemExit"), kind("DownError"), kind("")])

    work(bus)

    assert RAN == ["ValueError", "SystemExit", "DownError"]


def test_a_refusal_is_no_error(bus, work):
    """M8"""

    class Ask(Job, name="ask", middleware=[ThrottleErrors(1, 600)]):
        def handle(self) -> None:
            RAN.append("asked")
            raise LimitExceeded(limit="weather", retry_in=0)

    bus.enqueue(Ask())
    work(bus, max_jobs=3)

    assert RAN == ["asked"] * 3


def test_errors_are_counted_apart_by_key_and_together_by_a_shared_name(bus, work):
    """M8"""
    apart = failing_job(ThrottleErrors(1, 600, key=lambda job: job.error), tries=1)
    bus.enqueue_many([apart("DownError"), apart("ValueError"), apart("DownError")])
    work(bus)
    assert RAN == ["DownError", "ValueError"]

    class Other(
        Job,
        name="other",
        tries=1,
        middleware=[ThrottleErrors(1, 600, shared="failing", key="DownError")],
    ):
        def handle(self) -> None:
            RAN.append("other")

    bus.enqueue(Other())
    work(bus)
    assert RAN == ["DownError", "ValueError"]


@pytest.mark.parametrize("error, failed", [("", 0), ("DownError", 1)], ids=["done", "raised"])
def test_a_store_that_is_away_after_the_run_changes_nothing_of_it(
    bus, monkeypatch, caplog, error, failed, work
):
    """What is counted of a run is no part of it."""
    kind = failing_job(ThrottleErrors(2, 600), tries=1)
    spend = MemoryLimits.spend

    def away(*_, **__):
        raise BackendUnavailable(backend="b", operation="refund", reason="gone")

    def looks(*args, take=True, **options):
        return away() if take else spend(*args, take=take, **options)

    monkeypatch.setattr(MemoryLimits, "refund", away)
    monkeypatch.setattr(MemoryLimits, "spend", looks)
    bus.enqueue(kind(error))

    work(bus)

    assert [error] == RAN
    assert ["DownError" in job.error for job in bus.failed.all()] == [True] * failed
    assert "the errors of failing are not counted: " in caplog.text


def test_an_async_job_that_is_cancelled_on_the_way_in_overlaps_with_nobody(bus, monkeypatch):
    """The store is asked in a thread, and may have given the slot by then."""
    enter = MemoryLimits.enter
    asked, go_on = threading.Event(), threading.Event()

    class Slow(Job, name="slow", middleware=[WithoutOverlapping()]):
        async def handle(self) -> None:
            RAN.append("ran")

    def slow(self, *args, **options):
        asked.set()
        go_on.wait(30)
        return enter(self, *args, **options)

    async def main():
        task = asyncio.create_task(bus.arun(Slow()))
        await asyncio.to_thread(asked.wait, 30)
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(MemoryLimits, "enter", slow)
    asyncio.run(main())
    monkeypatch.undo()

    bus.run(Slow())
    assert RAN == ["ran"]


@pytest.mark.parametrize("key", ["x" * 500, "a\nb"], ids=["long", "odd"])
def test_a_key_that_no_store_takes_is_as_good_by_its_hash(bus, key, work):
    """What comes from data: an address, a path."""
    bus.limiter("api", lambda job: Limit.per_hour(1).by(job.tenant))
    kind = job_of(
        RateLimited("api", skip=True),
        WithoutOverlapping(lambda job: job.tenant),
        ThrottleErrors(5, 60, key=lambda job: job.tenant),
    )
    bus.enqueue_many([kind(1, tenant=key), kind(2, tenant=key), kind(3)])

    work(bus)

    assert RAN == [1, 3]
    assert bus.failed.all() == []


# What cannot be.


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: RateLimited("api", release=-1), id="released before"),
        pytest.param(lambda: WithoutOverlapping(None), id="no key"),
        pytest.param(lambda: WithoutOverlapping(life=0), id="no life"),
        pytest.param(lambda: WithoutOverlapping(release="soon"), id="soon"),
        pytest.param(lambda: ThrottleErrors(0, 60), id="no errors"),
        pytest.param(lambda: ThrottleErrors(1, 0), id="in no time"),
        pytest.param(lambda: ThrottleErrors(1, 60, on=KeyboardInterrupt), id="no exception"),
        pytest.param(lambda: ThrottleErrors(1, 60, on="ValueError"), id="a name"),
        pytest.param(lambda: ThrottleErrors(1, 60, key=1.5), id="a key that is none"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make):
    with pytest.raises(InvalidOption):
        make()


def test_a_key_that_is_none_is_the_jobs_error(bus, work):
    kind = job_of(WithoutOverlapping(lambda job: None))
    bus.enqueue(kind())

    work(bus)

    assert "a text, a whole number or a UUID" in bus.failed.all()[0].error


def test_a_queued_listener_is_limited_as_a_job_is(bus, work):
    """L10"""

    class Note(ShouldQueue):
        name = "note"
        middleware = (WithoutOverlapping(lambda event: event.number), RateLimited("api"))

        def handle(self, event: Paid) -> None:
            RAN.append(event.number)

    bus.listen(Note)
    bus.limiter("api", Limit.per_hour(2))
    for number in (1, 1, 2):
        bus.dispatch(Paid(number))

    work(bus)

    assert RAN == [1, 1]
