"""R1 to R9: limits anywhere, by a name or where something is done, in sync and in async code."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from datetime import timedelta
from uuid import UUID

import pytest

from eventbus import EventBus, Limit, LimitExceeded
from eventbus.backends.memory_limits import MemoryLimits
from eventbus.defaults import SLOT_LIFE
from eventbus.errors import BackendUnavailable, InvalidOption, UnknownConnection, UnknownLimiter
from eventbus.queue.renewal import RENEWALS, Renewals

#: As long as something may take that takes no time.
DEADLINE = 30.0


@pytest.fixture(params=["memory://", "sync://"])
def bus(request, clock):
    with EventBus(connections={"default": request.param}, clock=clock) as bus:
        yield bus


@pytest.fixture
def real_bus():
    """A bus whose limits end as time passes."""
    with EventBus(connections={"default": "memory://"}) as bus:
        yield bus


def refused(gate):
    """Return in how many seconds who is refused may try again; None for one that goes in."""
    try:
        with gate:
            return None
    except LimitExceeded as error:
        return error.retry_in


async def arefused(gate):
    try:
        async with gate:
            return None
    except LimitExceeded as error:
        return error.retry_in


# What a limit is.


def test_a_limit_is_so_often_in_so_long():
    """R5"""
    assert Limit(10, timedelta(minutes=5)) == Limit(allow=10, every=300.0)
    assert Limit.per_second(1) == Limit(1, 1)
    assert Limit.per_minute(2) == Limit(2, 60)
    assert Limit.per_hour(3) == Limit(3, 3600)
    assert Limit.per_day(4) == Limit(4, 86_400)
    assert Limit.per_day(4).by(17) == Limit(4, 86_400, "17")
    assert Limit(1, 1).by(UUID(int=1)).key == "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Limit(0, 1), id="never"),
        pytest.param(lambda: Limit(1.5, 1), id="one and a half"),
        pytest.param(lambda: Limit(True, 1), id="a flag"),
        pytest.param(lambda: Limit(1, 0), id="in no time"),
        pytest.param(lambda: Limit(1, -1), id="in less"),
        pytest.param(lambda: Limit(1, "a minute"), id="in words"),
        pytest.param(lambda: Limit(1, 1).by(None), id="nobody's"),
        pytest.param(lambda: Limit(1, 1).by(object()), id="an object's"),
        pytest.param(lambda: Limit(1, 1).by(True), id="a flag's"),
    ],
)
def test_what_is_no_limit_is_refused_where_it_is_written(make):
    with pytest.raises(InvalidOption):
        make()


# throttle.


def test_a_throttle_lets_through_so_often(bus, clock):
    """R1"""
    weather = bus.throttle("weather", allow=2, every=60)
    assert [refused(weather), refused(weather)] == [None, None]

    assert 59 < refused(weather) < 61

    assert refused(bus.throttle("weather", allow=2, every=60)) is not None  # the same
    assert refused(bus.throttle("news", allow=2, every=60)) is None
    clock.advance(61)
    assert refused(weather) is None


def test_the_error_says_what_is_limited_and_for_how_long(bus):
    with bus.throttle("weather", allow=1, every=60):
        pass

    with (
        pytest.raises(LimitExceeded, match=r"the limit 'weather' has no room now: try again in \d"),
        bus.throttle("weather", allow=1, every=60),
    ):
        pass
    assert LimitExceeded.retryable


def test_a_throttle_can_be_asked_without_an_error(bus):
    weather = bus.throttle("weather", allow=1, every=60)

    assert weather.attempt() == 0.0
    assert weather.attempt() > 0.0
    assert asyncio.run(weather.aattempt()) > 0.0


def test_what_was_counted_stays_although_the_block_raises(bus):
    weather = bus.throttle("weather", allow=1, every=60)
    with pytest.raises(ZeroDivisionError), weather:
        raise ZeroDivisionError

    assert refused(weather) is not None


def test_a_throttle_waits_for_room(real_bus):
    """R1"""
    weather = real_bus.throttle("weather", allow=1, every=0.1, block=DEADLINE)

    assert [refused(weather) for _ in range(3)] == [None] * 3


def test_an_async_throttle_waits_and_the_loop_goes_on(real_bus):
    """R1"""
    weather = real_bus.throttle("weather", allow=1, every=0.1, block=DEADLINE)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main():
        counting = asyncio.create_task(count())
        found = [await arefused(weather) for _ in range(3)]
        counting.cancel()
        return found

    assert asyncio.run(main()) == [None] * 3
    assert turns > 10


def test_nobody_waits_who_would_be_too_late(bus):
    """R8"""
    weather = bus.throttle("weather", allow=1, every=3600, block=60)
    assert refused(weather) is None

    assert refused(weather) > 3000
    assert asyncio.run(arefused(weather)) > 3000


def test_what_a_throttle_cannot_be_is_refused_where_it_is_written(bus):
    with pytest.raises(InvalidOption):
        bus.throttle("weather", allow=0, every=60)
    with pytest.raises(InvalidOption):
        bus.throttle("weather", allow=1, every=60, block=-1)
    with pytest.raises(UnknownConnection):
        bus.throttle("weather", allow=1, every=60, connection="nowhere")


@pytest.mark.parametrize("key", ["", "a\n", 3], ids=["empty", "odd", "number"])
def test_a_key_that_no_store_could_keep_is_refused(bus, key):
    with pytest.raises(InvalidOption), bus.throttle(key, allow=1, every=60):
        pass
    with pytest.raises(InvalidOption), bus.funnel(key):
        pass


def test_what_shares_a_store_shares_its_limits(tmp_path):
    """R9"""
    url = f"sqlite:///{tmp_path}/limits.db"
    with (
        EventBus(connections={"default": url}) as one,
        EventBus(connections={"default": url}) as two,
    ):
        assert refused(one.throttle("weather", allow=1, every=60)) is None
        assert refused(two.throttle("weather", allow=1, every=60)) is not None
        with one.funnel("import"):
            assert refused(two.funnel("import")) is not None
        assert refused(two.funnel("import")) is None


def test_a_limit_lies_on_the_connection_that_it_names(clock):
    with EventBus(connections={"default": "memory://", "other": "memory://"}, clock=clock) as bus:
        assert refused(bus.throttle("weather", allow=1, every=60)) is None
        assert refused(bus.throttle("weather", allow=1, every=60, connection="other")) is None
        assert refused(bus.throttle("weather", allow=1, every=60, connection="other")) is not None


# Named limits.


def test_a_limiter_counts_by_what_its_rule_says(bus):
    """R4"""
    api = bus.limiter("api", lambda tenant: Limit.per_minute(1).by(tenant))

    assert [refused(api("acme")), refused(api("zenith"))] == [None, None]
    assert refused(api("acme")) is not None


def test_all_limits_must_have_room_and_none_is_charged_where_one_has_not(bus, clock):
    """R6"""
    api = bus.limiter("api", [Limit.per_hour(3), Limit.per_second(1)])
    assert refused(api()) is None
    assert refused(api()) < 2

    # Refused by the second, and so not counted in the hour.
    for _ in range(2):
        clock.advance(2)
        assert refused(api()) is None
    clock.advance(2)
    assert refused(api()) > 3000


@pytest.mark.parametrize(
    "rule", [None, lambda: None, [], lambda: ()], ids=["none", "said", "empty", "said empty"]
)
def test_no_limit_has_room(bus, rule):
    """R5"""
    api = bus.limiter("api", rule)

    assert [refused(api()) for _ in range(5)] == [None] * 5
    assert api().turn() == 0.0
    api().refund()


def test_of_two_limits_of_one_stretch_the_tighter_counts(bus):
    api = bus.limiter("api", [Limit.per_minute(9), Limit.per_minute(1), Limit.per_minute(5)])

    assert refused(api()) is None
    assert refused(api()) is not None


def test_a_limiter_waits_where_it_is_told_to(real_bus):
    api = real_bus.limiter("api", Limit(1, 0.1))

    assert [refused(api(block=DEADLINE)) for _ in range(2)] == [None, None]


def test_a_second_definition_takes_the_place_of_the_first(bus):
    bus.limiter("api", Limit.per_minute(1))
    bus.limiter("api", Limit.per_minute(2))

    api = bus.limiters.named("api")
    assert [refused(api()), refused(api())] == [None, None]


def test_a_limiter_and_a_throttle_of_one_name_are_two(bus):
    assert refused(bus.limiter("api", Limit.per_minute(1))()) is None
    assert refused(bus.throttle("api", allow=1, every=60)) is None


def test_a_limiter_that_nobody_defined_is_unknown(bus):
    bus.limiter("api", Limit.per_minute(1))

    with pytest.raises(
        UnknownLimiter, match=r"did you mean 'api'\?.*bus.limiter\(\"apis\""
    ) as caught:
        bus.limiters.named("apis")
    assert caught.value.known == ("api",)


async def _later():
    return Limit.per_minute(1)


@pytest.mark.parametrize("rule", ["100/m", 5, [5], _later], ids=["text", "number", "list", "async"])
def test_what_is_no_rule_is_refused_where_it_is_written(bus, rule):
    with pytest.raises(InvalidOption, match="limiter 'api'"):
        bus.limiter("api", rule)


def test_a_rule_that_returns_no_limit_is_refused_when_it_is_asked(bus):
    with pytest.raises(InvalidOption, match="expected rule of limiter 'api' to be a Limit"):
        bus.limiter("api", lambda: 5)()


def test_a_name_of_a_limiter_is_as_that_of_a_queue(bus):
    with pytest.raises(InvalidOption, match="a limiter"):
        bus.limiter("my api", Limit.per_minute(1))


# funnel.


def test_in_a_funnel_are_so_many_at_once(bus):
    """R2"""
    funnel = bus.funnel("import", limit=2)
    with funnel, bus.funnel("import", limit=2):
        assert refused(funnel) is not None
        assert refused(bus.funnel("export")) is None
    assert refused(funnel) is None


def test_a_slot_is_given_back_although_the_block_raises(bus):
    """R2"""
    funnel = bus.funnel("import")
    with pytest.raises(ZeroDivisionError), funnel:
        raise ZeroDivisionError

    assert refused(funnel) is None


def test_an_async_funnel_is_the_same(bus):
    """R2"""
    funnel = bus.funnel("import")

    async def main():
        async with funnel:
            inside = await arefused(funnel)
        return inside, await arefused(funnel)

    inside, after = asyncio.run(main())
    assert inside is not None
    assert after is None


def test_a_funnel_waits_for_a_slot(bus):
    """R2"""
    funnel = bus.funnel("import", block=DEADLINE)
    went_in = threading.Event()

    def wait():
        with funnel:
            went_in.set()

    with funnel:
        thread = threading.Thread(target=wait)
        thread.start()
        assert not went_in.is_set()
    thread.join(DEADLINE)
    assert went_in.is_set()


def test_who_dies_in_a_funnel_keeps_nobody_out_for_long(bus, clock):
    """R2"""
    bus.funnel(
        "import", life=60
    ).attempt()  # and never comes out; the clock stands for its renewals
    assert refused(bus.funnel("import")) is not None

    clock.advance(60)

    assert refused(bus.funnel("import")) is None


def test_a_slot_is_renewed_while_it_is_held(real_bus):
    with real_bus.funnel("import", life=0.15):
        ended = threading.Event()

        def past():
            # Longer than its life, whatever the machine: until another slot has come and gone.
            with real_bus.funnel("other", life=0.3, block=DEADLINE):
                ended.set()

        real_bus.limiters.port(None)().enter("funnel:other", "dead", limit=1, life=0.5)
        thread = threading.Thread(target=past)
        thread.start()
        thread.join(DEADLINE)
        assert ended.is_set()
        assert refused(real_bus.funnel("import")) is not None


def test_a_slot_that_was_lost_is_told_of_and_not_taken_back(bus, clock, caplog):
    funnel = bus.funnel("import", life=60)
    funnel.attempt()
    [owner] = funnel._held
    clock.advance(61)  # it slept
    other = bus.funnel("import")
    assert other.attempt() == 0.0

    assert not funnel._renewed(owner)

    assert "a slot of import is lost: somebody else has it" in caplog.text
    funnel.leave()
    assert refused(bus.funnel("import")) is not None  # it is the other's
    other.leave()


def test_a_store_that_is_away_at_the_end_is_logged_and_the_slot_ends_by_itself(
    bus, monkeypatch, caplog
):
    funnel = bus.funnel("import")

    def away(*_, **__):
        raise BackendUnavailable(backend="b", operation="leave", reason="gone")

    with funnel:
        monkeypatch.setattr(MemoryLimits, "leave", away)
    assert f"a slot of import ends in {SLOT_LIFE:g} s: " in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_whoever_is_cancelled_on_the_way_in_leaves_no_slot(bus, monkeypatch):
    """The store is asked in a thread: it may have given the slot by then."""
    enter = MemoryLimits.enter
    asked, go_on = threading.Event(), threading.Event()

    def slow(self, *args, **options):
        asked.set()
        go_on.wait(DEADLINE)
        return enter(self, *args, **options)

    async def main():
        monkeypatch.setattr(MemoryLimits, "enter", slow)
        task = asyncio.create_task(arefused(bus.funnel("import")))
        await asyncio.to_thread(asked.wait, DEADLINE)
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    monkeypatch.undo()
    assert refused(bus.funnel("import")) is None


class Overrun(BaseException):
    """What ends a run that is over its time, wherever it is."""


@pytest.mark.parametrize(
    "owner, call", [(MemoryLimits, "enter"), (Renewals, "add")], ids=["entered", "renewed"]
)
def test_whoever_is_interrupted_on_the_way_in_leaves_no_slot(bus, monkeypatch, owner, call):
    """Nobody would come out, and its renewals would hold the slot for as long as the process lives."""
    real = getattr(owner, call)

    def interrupted(*args, **options):
        real(*args, **options)
        raise Overrun

    monkeypatch.setattr(owner, call, interrupted)
    with pytest.raises(Overrun), bus.funnel("interrupted"):
        pass
    monkeypatch.undo()

    assert refused(bus.funnel("interrupted")) is None
    assert not [one for one in RENEWALS.held if "interrupted" in one.name]


def test_the_slot_of_a_funnel_that_is_gone_is_not_renewed(bus):
    """Whoever was in it was dropped in between, and will not come out."""
    bus.funnel("dropped").attempt()
    gc.collect()

    [held] = [one for one in RENEWALS.held if "dropped" in one.name]

    assert not held.renew()
    RENEWALS.drop(held.key)


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"life": 0}, {"block": -1}, {"limit": "1"}], ids=str
)
def test_what_a_funnel_cannot_be_is_refused_where_it_is_written(bus, options):
    with pytest.raises(InvalidOption, match="funnel 'import'"):
        bus.funnel("import", **options)
