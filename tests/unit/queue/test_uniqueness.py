"""U1 to U12: jobs of which one is enough, and jobs that wait for quiet."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from attrs import frozen

from eventbus import (
    Attempt,
    Debounce,
    EventBus,
    Job,
    JobDebounced,
    JobProcessed,
    Release,
    ShouldQueue,
    Unique,
    UniqueJobSkipped,
    listens,
)
from eventbus.backends.base import Sizes
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.null import NullBackend
from eventbus.errors import (
    BackendUnavailable,
    InvalidOption,
    ListenError,
    StoredUnknown,
    UnsupportedOption,
)
from eventbus.queue.envelope import UniqueKey
from eventbus.queue.handles import JobStatus
from eventbus.queue.uniqueness import key_of
from eventbus.testing import fake_queue

RAN: list[object] = []


@frozen
class Changed:
    shop: int = 1
    text: str = ""


class Reindex(Job, name="reindex", unique=Unique(lambda job: job.shop)):
    shop: int = 1

    def handle(self) -> None:
        RAN.append(self.shop)


@pytest.fixture(autouse=True)
def ran():
    RAN.clear()
    return RAN


@pytest.fixture
def bus(clock):
    connections = {"default": "memory://", "sync": "sync://", "other": "memory://"}
    with EventBus(connections=connections, clock=clock) as bus:
        yield bus


@pytest.fixture
def told(bus):
    """What is told of keys."""
    seen = []
    for kind in (UniqueJobSkipped, JobDebounced):
        bus.listen(kind, lambda event: seen.append((type(event).__name__, event.id, event.name)))
    return seen


def statuses(handles):
    return [handle.status().value for handle in handles]


# Unique.


def test_while_one_waits_the_others_are_not_enqueued(bus, told, work):
    """U1, U2"""
    handles = [bus.enqueue(Reindex(shop)) for shop in (1, 1, 2)]

    assert statuses(handles) == ["waiting", "skipped", "waiting"]
    assert told == [("UniqueJobSkipped", handles[1].id, "reindex")]
    work(bus)
    assert RAN == [1, 2]
    assert statuses(handles) == ["gone", "skipped", "gone"]


def test_what_was_not_enqueued_cannot_be_cancelled_and_has_no_result(bus):
    bus.enqueue(Reindex())
    handle = bus.enqueue(Reindex())

    assert not handle.cancel()
    assert statuses([bus.enqueue(Reindex())]) == ["skipped"]


def test_of_one_call_the_first_is_enqueued(bus):
    """U10"""
    assert statuses(bus.enqueue_many([Reindex(1), Reindex(1), Reindex(2)])) == [
        "waiting",
        "skipped",
        "waiting",
    ]


def test_async_code_is_told_the_same(bus, told):
    """U10"""

    async def main():
        return [await bus.aenqueue(Reindex()), *await bus.aenqueue_many([Reindex(), Reindex(2)])]

    assert statuses(asyncio.run(main())) == ["waiting", "skipped", "waiting"]
    assert len(told) == 1


def test_a_queued_listener_is_unique_too(bus, told, work):
    """L12, U10"""

    class Index(ShouldQueue):
        name = "index"
        unique = True

        def handle(self, event: Changed) -> None:
            RAN.append(event.shop)

    @listens(Changed, queue=True, name="note", unique=lambda event: event.shop)
    def note(event: Changed) -> None:
        RAN.append(("note", event.shop))

    bus.listen(Index)
    bus.listen(note)
    for shop in (1, 2, 1):
        bus.dispatch(Changed(shop))
    asyncio.run(bus.adispatch(Changed(2)))

    work(bus)

    assert RAN == [1, ("note", 1), ("note", 2)]
    assert [name for _, _, name in told].count("index") == 3
    assert [name for _, _, name in told].count("note") == 2


def test_a_listener_of_a_wildcard_is_asked_with_name_and_payload(bus, work):
    @listens(queue=True, name="any", unique=lambda name, payload: f"{name} {payload[0]}")
    def hear(name, payload):
        RAN.append((name, *payload))

    bus.listen("shop.*", hear)
    for name, shop in (
        ("shop.opened", 1),
        ("shop.opened", 1),
        ("shop.closed", 1),
        ("shop.opened", 2),
    ):
        bus.dispatch(name, shop)

    work(bus)

    assert RAN == [("shop.opened", 1), ("shop.closed", 1), ("shop.opened", 2)]


def test_it_is_kept_out_while_it_runs_and_over_its_tries(bus, clock, work):
    """U1"""
    inside = []

    class Again(Job, name="again", unique=True, tries=3, backoff=10):
        def handle(self, bus: EventBus, attempt: Attempt) -> None:
            inside.append(bus.enqueue(Again()).status().value)
            if attempt.number < 3:
                raise ValueError

    bus.enqueue(Again())
    for _ in range(3):
        work(bus)
        clock.advance(10)

    assert inside == ["skipped"] * 3
    assert statuses([bus.enqueue(Again())]) == ["waiting"]


@pytest.mark.parametrize("ends", ["fails", "is skipped", "cannot be read", "is lost"])
def test_however_it_ends_the_next_can_be_enqueued(bus, clock, ends, work):
    """U1, U7: nothing has to be rebuilt to free it."""

    class Once(Job, name="once", unique=True, tries=1):
        def handle(self, attempt: Attempt) -> None:
            if ends == "is skipped":
                attempt.delete()
            raise ValueError

    first = bus.enqueue(Once())
    port = bus.connections.port()
    if ends == "cannot be read":
        entry = port.backend._store.entries[first.id]
        entry.envelope = entry.envelope.__class__(
            id=first.id, queue=first.queue, body=b"nonsense", unique=entry.envelope.unique
        )
    if ends == "is lost":
        for _ in range(3):
            port.claim([first.queue], lease=1)
            clock.advance(1)

    work(bus)

    assert statuses([bus.enqueue(Once()), bus.enqueue(Once())]) == ["waiting", "skipped"]


def test_a_retried_job_takes_the_key_of_nobody(bus, work):
    """U4: the key may be another's by now."""

    class Once(Job, name="once", unique=True, tries=1):
        number: int

        def handle(self) -> None:
            RAN.append(self.number)
            if self.number == 1 and RAN.count(1) == 1:
                raise ValueError

    failed = bus.enqueue(Once(1))
    work(bus)
    second = bus.enqueue(Once(2))
    assert bus.failed.retry(failed.id)

    assert statuses([failed, second, bus.enqueue(Once(3))]) == ["waiting", "waiting", "skipped"]
    port = bus.connections.port()
    claims = port.claim(["default"], limit=2)
    port.ack(next(one for one in claims if one.envelope.id == failed.id))
    assert statuses([bus.enqueue(Once(3))]) == ["skipped"]  # the second has it still


def test_it_may_be_freed_when_it_begins_behind_its_middleware(bus, work):
    """U4"""
    inside = []
    ready = [False]

    class Early(
        Job,
        name="early",
        unique=Unique(until="start"),
        middleware=[Release.unless(lambda job: ready[0])],
    ):
        number: int = 1

        def handle(self, bus: EventBus) -> None:
            if self.number == 1:
                inside.extend(statuses([bus.enqueue(Early(2)), bus.enqueue(Early(3))]))
            RAN.append(self.number)

    bus.enqueue(Early(1))
    work(bus, max_jobs=2)
    assert statuses([bus.enqueue(Early(9))]) == ["skipped"]  # released, and so not begun

    ready[0] = True
    work(bus)

    assert inside == ["waiting", "skipped"]
    assert RAN == [1, 2]


def test_an_async_job_may_free_it_too(bus, work):
    class Early(Job, name="early", unique=Unique(until="start")):
        number: int = 1

        async def handle(self, bus: EventBus) -> None:
            RAN.append(self.number)
            if self.number == 1:
                RAN.append((await bus.aenqueue(Early(2))).status() is not JobStatus.SKIPPED)

    bus.enqueue(Early(1))
    work(bus, concurrency=2)

    assert sorted(RAN) == [1, True, 2]


def test_a_store_that_is_away_as_it_begins_does_not_keep_it_from_running(
    bus, monkeypatch, caplog, work
):
    class Early(Job, name="early", unique=Unique(until="start")):
        def handle(self) -> None:
            RAN.append("ran")

    def away(*_):
        raise BackendUnavailable(backend="b", operation="free", reason="gone")

    monkeypatch.setattr(MemoryBackend, "free", away)
    bus.enqueue(Early())

    work(bus)

    assert RAN == ["ran"]
    assert "no other job early is enqueued until it ends: " in caplog.text
    assert statuses([bus.enqueue(Early())]) == ["waiting"]


def test_it_is_kept_out_for_its_life_at_most(bus, clock):
    """U3"""

    class Hourly(Job, name="hourly", unique=Unique(life=timedelta(hours=1))):
        def handle(self) -> None: ...

    bus.enqueue(Hourly())
    clock.advance(3599)
    assert statuses([bus.enqueue(Hourly())]) == ["skipped"]

    clock.advance(1)

    assert statuses([bus.enqueue(Hourly()), bus.enqueue(Hourly())]) == ["waiting", "skipped"]


def test_a_push_that_fails_keeps_nobody_out(bus, monkeypatch):
    """U9"""

    def away(*_):
        raise BackendUnavailable(backend="b", operation="push", reason="gone")

    monkeypatch.setattr(MemoryBackend, "push", away)
    with pytest.raises(BackendUnavailable):
        bus.enqueue(Reindex())
    monkeypatch.undo()

    assert statuses([bus.enqueue(Reindex())]) == ["waiting"]


def test_of_several_connections_each_has_its_own(bus):
    handles = [bus.enqueue(Reindex(), connection=one) for one in ("default", "other", "other")]

    assert statuses(handles) == ["waiting", "waiting", "skipped"]


def test_where_nothing_waits_each_runs(bus):
    bus.enqueue(Reindex(), connection="sync")
    bus.enqueue(Reindex(), connection="sync")
    bus.run(Reindex())

    assert RAN == [1, 1, 1]


def test_a_fake_queue_shows_what_was_queued(bus):
    with fake_queue(bus) as queue:
        handles = [bus.enqueue(Reindex(shop)) for shop in (1, 1, 2)]
        assert statuses(handles) == ["waiting", "skipped", "waiting"]
        assert [job.event.shop for job in queue.jobs] == [1, 2]


def test_on_a_store_that_discards_nobody_is_kept_out():
    with EventBus(connections={"default": "null://"}) as bus:
        assert statuses([bus.enqueue(Reindex()), bus.enqueue(Reindex())]) == ["gone", "gone"]


def test_a_store_that_looks_at_no_keys_refuses_such_a_job():
    class Simple(NullBackend):
        capabilities = NullBackend.capabilities.__class__(
            durable=False,
            shared=False,
            fenced=True,
            idempotent_push=True,
            delay=True,
            failed_jobs=False,
        )

    with (
        EventBus(connections={"default": Simple()}) as bus,
        pytest.raises(UnsupportedOption, match="unique"),
    ):
        bus.enqueue(Reindex())


def test_a_push_that_nobody_can_tell_of_is_known_by_its_id(bus, monkeypatch):
    """Pushed again, it is stored once, and is not its own rival."""
    push = MemoryBackend.push

    def doubtful(self, envelopes):
        push(self, envelopes)
        raise StoredUnknown(backend="b", ids=[envelopes[0].id], reason="cut")

    monkeypatch.setattr(MemoryBackend, "push", doubtful)
    pushed = []
    port = bus.connections.port()
    check = port._envelopes
    monkeypatch.setattr(port, "_envelopes", lambda some: (pushed.extend(some), check(some)))
    with pytest.raises(StoredUnknown):
        bus.enqueue(Reindex())
    monkeypatch.undo()

    assert port.push(pushed) == {}
    assert bus.queue("default").size() == Sizes(ready=1)


# Keys.


@pytest.mark.parametrize(
    "by, key",
    [
        ("", "name"),
        (17, "name:17"),
        (lambda event: event.shop, "name:1"),
        (lambda event: event.text or "none", "name:none"),
    ],
    ids=["all", "number", "of the event", "text"],
)
def test_a_key_is_the_name_and_what_makes_two_the_same(by, key):
    assert key_of("name", Unique(by), None, (Changed(),)) == UniqueKey(key=key)


@pytest.mark.parametrize("text", ["x" * 500, "a\nb", "\ud800"], ids=["long", "odd", "half"])
def test_a_key_that_no_store_takes_is_as_good_by_its_hash(text):
    def key(value):
        return key_of("name", Unique(lambda _: value), None, ("event",))

    assert key(text).key.startswith("sha256:")
    assert key(text) == key(text) != key(text + "x")


@pytest.mark.parametrize(
    "value", [None, 1.5, Changed(), True, ["a"]], ids=["none", "float", "object", "flag", "list"]
)
def test_a_key_that_tells_nothing_is_refused(bus, value):
    class Odd(Job, name="odd", unique=lambda job: value):
        def handle(self) -> None: ...

    with pytest.raises(InvalidOption, match="a text, a whole number or a UUID"):
        bus.enqueue(Odd())
    assert bus.connections.port().peek() == []


# Debounce.


class Save(Job, name="save", debounce=Debounce(5, max_wait=60, by=lambda job: job.document)):
    document: int
    text: str

    def handle(self) -> None:
        RAN.append((self.document, self.text))


def test_the_newest_runs_once_it_is_quiet(bus, clock, told, work):
    """U11"""
    handles = []
    for text in ("a", "ab", "abc"):
        handles.append(bus.enqueue(Save(1, text)))
        clock.advance(3)
        work(bus)
    assert RAN == []
    assert statuses(handles) == ["gone", "gone", "delayed"]
    assert told == [("JobDebounced", handle.id, "save") for handle in handles[:2]]

    clock.advance(2)
    work(bus)

    assert RAN == [(1, "abc")]


def test_what_is_not_the_same_waits_for_itself(bus, clock, work):
    """U11"""
    bus.enqueue_many([Save(1, "a"), Save(2, "b"), Save(1, "c")])
    clock.advance(5)

    work(bus)

    assert sorted(RAN) == [(1, "c"), (2, "b")]


def test_it_runs_in_time_however_many_come(bus, clock, work):
    """U11"""
    for second in range(0, 60, 4):
        bus.enqueue(Save(1, f"{second}"))
        clock.advance(4)
        work(bus)

    assert RAN == [(1, "56")]


def test_a_delay_that_is_said_wins(bus, clock, work):
    """U11"""
    bus.enqueue(Save(1, "at once"), delay=0)

    work(bus)

    assert RAN == [(1, "at once")]


def test_a_queued_listener_waits_for_quiet_too(bus, clock, told, work):
    """L13, U11"""

    @listens(Changed, queue=True, name="note", debounce=10)
    def note(event: Changed) -> None:
        RAN.append(event.text)

    bus.listen(note)
    for text in ("a", "b", "c"):
        bus.dispatch(Changed(text=text))
    work(bus)
    assert RAN == []
    assert [kind for kind, *_ in told] == ["JobDebounced"] * 2

    clock.advance(10)
    work(bus)

    assert RAN == ["c"]


def test_each_that_gave_way_is_told_of_by_its_name(bus):
    """Of several of one step, of which some take a place and some do not."""
    told = []
    bus.listen(JobDebounced, lambda event: told.append((event.id, event.name)))

    class Quick(Job, name="quick", debounce=5):
        def handle(self) -> None: ...

    class Slow(Job, name="slow", debounce=50):
        def handle(self) -> None: ...

    slow = bus.enqueue(Slow())
    bus.enqueue_many([Quick(), Slow()])

    assert told == [(slow.id, "slow")]


def test_one_that_runs_is_not_disturbed_and_the_next_waits(bus, clock, work):
    """U11"""

    class Loop(Job, name="loop", debounce=5):
        number: int

        def handle(self, bus: EventBus) -> None:
            RAN.append(self.number)
            if self.number == 1:
                bus.enqueue(Loop(2))
                bus.enqueue(Loop(3))

    bus.enqueue(Loop(1), delay=0)
    work(bus)
    assert RAN == [1]

    clock.advance(5)
    work(bus)

    assert RAN == [1, 3]


def test_what_gave_way_is_not_processed(bus, clock, work):
    processed = []
    bus.listen(JobProcessed, lambda event: processed.append(event.outcome))
    bus.enqueue_many([Save(1, text) for text in "abc"])
    clock.advance(5)

    work(bus)

    assert processed == ["succeeded"]


# What cannot be.


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Unique(None), id="by nothing"),
        pytest.param(lambda: Unique(life=0), id="no life"),
        pytest.param(lambda: Unique(until="never"), id="until never"),
        pytest.param(lambda: Debounce(0), id="no wait"),
        pytest.param(lambda: Debounce("a while"), id="a while"),
        pytest.param(lambda: Debounce(1, max_wait=0), id="no longest wait"),
        pytest.param(lambda: Debounce(1, by=1.5), id="by a float"),
        pytest.param(lambda: UniqueKey(key=""), id="no key"),
        pytest.param(lambda: UniqueKey(key="x" * 201), id="a long key"),
        pytest.param(lambda: UniqueKey(key="a", life=-1), id="a life before"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make):
    with pytest.raises(InvalidOption):
        make()


@pytest.mark.parametrize(
    "options",
    [
        {"unique": "yes"},
        {"unique": 1},
        {"debounce": True},
        {"debounce": 0},
        {"unique": True, "debounce": 5},
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused_with_the_class(options):
    """U12"""
    with pytest.raises(InvalidOption):

        class Odd(Job, name="odd", **options):
            def handle(self) -> None: ...


def test_it_is_no_option_of_what_is_not_queued(bus):
    @listens(Changed, unique=True)
    def note(event: Changed) -> None: ...

    with pytest.raises(ListenError, match="not queued"):
        bus.listen(note)


def test_false_is_not_unique(bus):
    class Plain(Job, name="plain", unique=False):
        def handle(self) -> None: ...

    assert statuses([bus.enqueue(Plain()), bus.enqueue(Plain())]) == ["waiting", "waiting"]
