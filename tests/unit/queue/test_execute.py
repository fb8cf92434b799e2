"""One claim becomes one outcome, whatever the listener does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from attrs import frozen

from eventbus import (
    Attempt,
    EventBus,
    InteractsWithQueue,
    JobAttempted,
    JobFailed,
    JobProcessed,
    ShouldQueue,
    listens,
)
from eventbus.backends.base import Charge
from eventbus.defaults import ERROR_TEXT_LIMIT, PARK_DELAY
from eventbus.dispatch.waiting import Blocking, drive
from eventbus.errors import DecodeError, JobLost, TriesExhausted, UnsupportedOption
from eventbus.queue.envelope import Envelope
from eventbus.queue.execution import Rules, caught, error_text
from eventbus.queue.lifecycle import Outcome
from eventbus.queue.spans import NoTimeLimits, Span


@frozen
class Ordered:
    way: str = ""


class Seen(list):
    """What listeners note, by injection."""


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def bus_of(make_bus, seen):
    """A bus whose listeners can be given `Seen`."""

    def make(*listeners, **options):
        return make_bus(*listeners, provide={Seen: lambda: seen}, **options)

    return make


@pytest.fixture
def execute():
    """Run the next job that is due, settled at once; return its run."""

    def run(bus, **rules):
        port = bus.connections.port()
        [claim] = port.claim(["default"])
        executor = bus.executor(Rules(**rules))
        return drive(executor.run(executor.begin(claim, port)), bus)

    return run


@listens(queue=True)
def note(event: Ordered, seen: Seen, attempt: Attempt) -> None:
    seen.append((event, attempt.number, attempt.connection))


@listens(queue=True)
async def note_later(event: Ordered, *, seen: Seen) -> None:
    await asyncio.sleep(0)
    seen.append(event)


@listens(queue=True, tries=3, backoff=(1, 5))
def fail(event: Ordered, seen: Seen) -> None:
    seen.append(event)
    raise ValueError("boom")


@listens(queue=True, name="rows")
def import_rows(*rows: int, seen: Seen) -> None:
    seen.append(rows)


@listens(queue=True, name="audit")
def audit(name: str, payload: tuple[object, ...], seen: Seen) -> None:
    seen.append((name, payload))


def waiting(bus):
    size = bus.connections.port().size("default")
    return size.ready + size.delayed


def test_a_sync_listener_runs_with_what_it_asks_for(bus_of, work, seen):
    bus = bus_of(note)
    bus.dispatch(Ordered("a"))

    work(bus)

    assert seen == [(Ordered("a"), 1, "default")]
    assert waiting(bus) == 0


def test_an_async_listener_is_awaited(bus_of, work, seen):
    bus = bus_of(note_later)
    bus.dispatch(Ordered("a"))

    work(bus)

    assert seen == [Ordered("a")]


def test_a_payload_is_spread_and_a_wildcard_gets_name_and_payload(bus_of, work, seen):
    bus = bus_of(("import", import_rows), ("im*", audit))
    bus.dispatch("import", 1, 2)
    bus.dispatch("import")

    work(bus)

    assert sorted(seen, key=str) == sorted(
        [(1, 2), ("import", (1, 2)), (), ("import", ())], key=str
    )


def test_a_failure_is_tried_again_after_its_backoff(bus_of, work, seen, clock):
    bus = bus_of(fail)
    bus.dispatch(Ordered())
    waits = []

    for _ in range(3):
        work(bus)
        due = bus.connections.port().next_due(["default"])
        waits.append(due)
        clock.advance(due or 0)

    assert waits == [1, 5, None]
    assert len(seen) == 3
    [failed] = bus.failed.all()
    assert (failed.attempts, failed.losses) == (3, 0)
    assert failed.reason == "ValueError: boom"


@listens(queue=True, tries=0)
def never_give_up(event: Ordered, seen: Seen) -> None:
    seen.append(event)
    raise ValueError


def test_zero_tries_are_no_limit(bus_of, work, seen):
    bus = bus_of(never_give_up)
    bus.dispatch(Ordered())

    for _ in range(20):
        work(bus, once=True)

    assert len(seen) == 20
    assert waiting(bus) == 1


def test_the_workers_rules_hold_where_a_listener_does_not_say(bus_of, work, clock):
    @listens(queue=True, name="silent")
    def silent(event: Ordered) -> None:
        raise ValueError

    bus = bus_of(silent)
    bus.dispatch(Ordered())

    work(bus, tries=2, backoff=[7])

    assert bus.connections.port().next_due(["default"]) == 7
    clock.advance(7)
    work(bus, tries=2)
    assert len(bus.failed.all()) == 1


class Ruled(ShouldQueue):
    """Instance methods say its options: each gets the event, the backoff attempt and error."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def tries(self, event: Ordered) -> int:
        return 3 if event.way else 1

    def backoff(self, attempt: int, error: BaseException) -> float:
        self.seen.append((attempt, str(error)))
        return attempt * 10

    def timeout(self, event: Ordered) -> timedelta:
        return timedelta(seconds=5)

    def handle(self, event: Ordered) -> None:
        raise ValueError("boom")


@listens(
    queue=True,
    tries=lambda event: 3 if event.way else 1,
    backoff=lambda attempt, error: attempt * 10,
    timeout=lambda event: 5,
)
def ruled(event: Ordered) -> None:
    raise ValueError("boom")


@listens(
    queue=True,
    name="ruled-by-name",
    tries=lambda name, payload: 3 if payload[0].way else 1,
    backoff=lambda attempt, error: attempt * 10,
)
def ruled_by_name(name: str, payload: tuple[object, ...]) -> None:
    raise ValueError("boom")


@pytest.mark.parametrize("listener", ["method", "function", "wildcard"])
@pytest.mark.parametrize("way, due", [("again", 10), ("", None)], ids=["again", "once"])
def test_options_may_be_rules(bus_of, work, listener, way, due):
    ours = {
        "method": Ruled,
        "function": ruled,
        "wildcard": (f"{__name__}.*", ruled_by_name),
    }[listener]
    bus = bus_of(ours)
    bus.listen(knows_the_class)
    bus.dispatch(Ordered(way))

    work(bus)

    assert bus.connections.port().next_due(["default"]) == due


def knows_the_class(event: Ordered) -> None: ...


@listens(queue=True, tries=lambda event: -1)
def ruled_wrongly(event: Ordered) -> None: ...


@listens(queue=True, timeout=lambda event: "soon")
def timed_wrongly(event: Ordered) -> None: ...


@listens(queue=True, tries=5, backoff=lambda attempt, error: 1e300)
def backed_off_wrongly(event: Ordered) -> None:
    raise ValueError("boom")


@listens(queue=True, tries=5, backoff=lambda attempt, error: attempt.missing)
def backed_off_raising(event: Ordered) -> None:
    raise ValueError("boom")


@pytest.mark.parametrize(
    "listener, reason",
    [
        (ruled_wrongly, "InvalidOption: expected tries"),
        (timed_wrongly, "InvalidOption: expected timeout"),
        (backed_off_wrongly, "InvalidOption: expected backoff"),
        (backed_off_raising, "AttributeError"),
    ],
)
def test_a_rule_that_errs_fails_the_job_and_the_worker_lives(bus_of, work, listener, reason):
    bus = bus_of(listener)
    bus.dispatch(Ordered())

    assert work(bus).code == 0

    [failed] = bus.failed.all()
    assert reason in failed.error


class Unbuildable(ShouldQueue):
    tries = 2

    def __init__(self) -> None:
        raise ConnectionError("no mail server")

    def handle(self, event: Ordered) -> None: ...


def test_a_listener_that_cannot_be_built_has_all_its_tries(bus_of, work):
    bus = bus_of(Unbuildable)
    bus.dispatch(Ordered())

    work(bus, once=True)

    assert waiting(bus) == 1
    work(bus)
    assert [one.attempts for one in bus.failed.all()] == [2]


def test_a_job_with_no_try_left_is_not_run_again(bus_of, work, seen):
    bus = bus_of(fail)
    bus.dispatch(Ordered())
    port = bus.connections.port()
    for _ in range(3):  # three tries were allowed; then a deploy allows fewer
        [claim] = port.claim(["default"])
        port.release(claim, charge=Charge.ERROR)
    told = []
    bus.listen(JobFailed, told.append)

    work(bus)

    assert seen == []
    assert isinstance(told[0].error, TriesExhausted)
    assert [one.attempts for one in bus.failed.all()] == [3]


class Told(ShouldQueue):
    """Notes what `failed` gets."""

    name = "told"

    def __init__(self, seen: Seen, attempt: Attempt) -> None:
        self.seen = seen
        seen.append(f"built for attempt {attempt.number}")
        self.state = "fresh"

    def handle(self, event: Ordered) -> None:
        self.state = "used"
        raise ValueError(event.way)

    def failed(self, event: Ordered, error: BaseException) -> None:
        self.seen.append((self.state, event, repr(error)))
        if event.way == "failed() raises":
            raise KeyError("changes nothing")
        if event.way == "failed() exits":
            raise SystemExit


class ToldLater(Told):
    name = "told-later"

    async def failed(self, event: Ordered, error: BaseException) -> None:
        await asyncio.sleep(0)
        Told.failed(self, event, error)


@pytest.mark.parametrize("listener", [Told, ToldLater])
def test_failed_is_called_on_a_fresh_instance_with_event_and_error(bus_of, work, seen, listener):
    bus = bus_of(listener)
    bus.dispatch(Ordered("boom"))

    work(bus)

    built = "built for attempt 1"
    assert seen == [built, built, ("fresh", Ordered("boom"), "ValueError('boom')")]


@pytest.mark.parametrize("way", ["failed() raises", "failed() exits"])
@pytest.mark.parametrize("listener", [Told, ToldLater])
def test_failed_that_raises_changes_nothing(bus_of, work, way, listener, caplog):
    bus = bus_of(listener)
    bus.dispatch(Ordered(way))

    assert work(bus).code == 0

    assert [one.name for one in bus.failed.all()] == [listener.name]
    assert f"failed() of {listener.name} raised" in caplog.text


def tell_failed(*arguments):
    *payload, error = arguments
    FAILED.append((payload, type(error)))


FAILED: list[object] = []


@listens(queue=True, name="tick", failed=tell_failed)
def tick() -> None:
    raise ValueError


def test_failed_may_be_a_function_and_a_payload_may_be_empty(bus_of, work):
    FAILED.clear()
    bus = bus_of(("tick", tick))
    bus.dispatch("tick")

    work(bus)

    assert [([], ValueError)] == FAILED


class Scoped:
    def __init__(self, seen):
        self.seen = seen


def test_a_scope_is_one_for_each_job_and_closed_before_it_counts_as_done(make_bus, work, seen):
    def open_scoped():
        try:
            yield Scoped(seen)
        except ValueError:
            seen.append("rolled back")
            raise
        seen.append("committed")

    bus = make_bus(use_scoped, provide={Scoped: open_scoped})
    bus.listen(JobProcessed, lambda event: seen.append("processed"))
    bus.dispatch(Ordered())
    bus.dispatch(Ordered("raise"))

    work(bus)

    assert seen == ["committed", "processed", "rolled back"]


@listens(queue=True)
def use_scoped(event: Ordered, scoped: Scoped) -> None:
    if event.way:
        raise ValueError


def test_a_commit_that_fails_fails_the_job(make_bus, work):
    def open_scoped():
        yield Scoped([])
        raise ConnectionError("commit")

    bus = make_bus(use_scoped, provide={Scoped: open_scoped})
    bus.dispatch(Ordered())

    work(bus)

    assert [one.reason for one in bus.failed.all()] == ["ConnectionError: commit"]


class Interacting(ShouldQueue, InteractsWithQueue):
    def handle(self, event: Ordered) -> None:
        getattr(self.attempt, event.way)()


@frozen
class FrozenInteracting(ShouldQueue, InteractsWithQueue):
    seen: Seen

    def handle(self, event: Ordered) -> None:
        self.seen.append(self.attempt.number)
        getattr(self.attempt, event.way)()


@pytest.mark.parametrize("listener", [Interacting, FrozenInteracting])
@pytest.mark.parametrize(
    "way, left, failed", [("delete", 0, 0), ("release", 1, 0), ("fail", 0, 1)], ids=str
)
def test_a_listener_settles_its_own_job(bus_of, work, listener, way, left, failed):
    bus = bus_of(listener)
    bus.dispatch(Ordered(way))

    work(bus, once=True)

    assert (waiting(bus), len(bus.failed.all())) == (left, failed)


@listens(queue=True, tries=3)
def settle_and_raise(event: Ordered, attempt: Attempt) -> None:
    if event.way == "fail":
        attempt.fail(KeyError("by hand"))
    else:
        getattr(attempt, event.way)()
    raise ValueError("afterwards")


@pytest.mark.parametrize(
    "way, left, failed",
    [("delete", 0, []), ("release", 1, []), ("fail", 0, ["KeyError: 'by hand'"])],
    ids=["delete", "release", "fail"],
)
def test_what_was_settled_holds_when_it_raises_afterwards(bus_of, work, way, left, failed, caplog):
    bus = bus_of(settle_and_raise)
    bus.dispatch(Ordered(way))

    work(bus, once=True)

    assert waiting(bus) == left
    assert [one.reason for one in bus.failed.all()] == failed
    assert "settled itself, and raised afterwards" in caplog.text
    assert "ValueError: afterwards" in caplog.text


def test_a_release_leaves_the_attempt_number_as_it_was(bus_of, work, seen):
    bus = bus_of(FrozenInteracting)
    bus.dispatch(Ordered("release"))

    work(bus, once=True)
    work(bus, once=True)

    assert seen == [1, 1]
    [claim] = bus.connections.port().claim(["default"])
    assert (claim.attempts, claim.releases) == (0, 2)


def test_an_unknown_listener_parks_and_spends_nothing(make_bus, bus_of, work, seen, clock):
    bus = bus_of(note)
    bus.dispatch(Ordered())
    old = make_bus(fail, provide={Seen: lambda: seen}, connections={"default": "memory://"})
    old.connections._ports["default"] = bus.connections.port()

    work(old)

    port = bus.connections.port()
    assert port.next_due(["default"]) == PARK_DELAY
    clock.advance(PARK_DELAY)
    work(bus)
    assert [number for _, number, _ in seen] == [1]


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"{}", b"[]", b"null", b"\x80\x04K\x01.", b'{"v":1}', b"[" * 100_000],
    ids=["empty", "no utf-8", "object", "array", "null", "pickle", "cut", "deep"],
)
def test_bytes_that_are_no_job_are_buried_at_once_with_their_bytes(bus_of, work, body):
    bus = bus_of(note)
    bus.connections.port().push([Envelope(id="bad", queue="default", body=body)])

    assert work(bus, tries=5).code == 0

    [failed] = bus.failed.all()
    assert (failed.id, failed.body, failed.attempts, failed.name) == ("bad", body, 0, "")
    assert failed.reason.startswith(("DecodeError", "eventbus.errors.DecodeError"))


def test_failed_is_not_called_for_what_cannot_be_decoded(bus_of, work, seen):
    bus = bus_of(Told)
    bus.dispatch(Ordered("boom"))
    port = bus.connections.port()
    [claim] = port.claim(["default"])
    port.ack(claim)
    body = claim.envelope.body.replace(b'"way"', b'"whey"')
    port.push([Envelope(id="bad", queue="default", body=body)])

    work(bus)

    assert seen == []
    [failed] = bus.failed.all()
    assert (failed.name, failed.event) == ("told", f"{__name__}:Ordered")


class Exits:
    """An event whose constructor ends the program, once it comes from a store."""

    armed = False

    def __init__(self, number: int) -> None:
        self.number = number
        if Exits.armed:
            raise SystemExit

    def __eq__(self, other):
        return isinstance(other, Exits)

    __hash__ = None


@listens(queue=True)
def note_exits(event: Exits) -> None: ...


def test_an_event_whose_constructor_exits_is_buried_and_the_worker_lives(bus_of, work, monkeypatch):
    bus = bus_of(note_exits)
    bus.dispatch(Exits(1))
    monkeypatch.setattr(Exits, "armed", True)

    assert work(bus).code == 0

    assert len(bus.failed.all()) == 1


def test_the_third_loss_ends_among_the_failed_jobs_and_tells_failed(bus_of, work, seen, clock):
    bus = bus_of(Told)
    bus.dispatch(Ordered("killer"))
    port = bus.connections.port()
    for _ in range(3):  # three workers that died
        assert port.claim(["default"], lease=1)
        clock.advance(1)

    work(bus)

    [failed] = bus.failed.all()
    assert (failed.attempts, failed.losses) == (0, 3)
    assert "JobLost" in failed.reason
    [_built, (state, event, error)] = seen
    assert (state, event) == ("fresh", Ordered("killer"))
    assert "JobLost" in error


def test_two_losses_do_not(bus_of, work, seen, clock):
    bus = bus_of(note)
    bus.dispatch(Ordered())
    for _ in range(2):
        bus.connections.port().claim(["default"], lease=1)
        clock.advance(1)

    work(bus)

    assert [number for _, number, _ in seen] == [1]


@listens(queue=True)
def lose(event: Ordered, attempt: Attempt, bus: EventBus, seen: Seen) -> None:
    seen.append(attempt.id)
    if len(seen) == 1:  # while the first run goes on, its lease ends and another takes the job
        bus.connections.clock.advance(10_000)
        assert bus.connections.port().claim(["default"])


def test_a_lost_lease_records_nothing_and_tells_only_that(bus_of, seen, told, caplog, execute):
    bus = bus_of(lose)
    bus.dispatch(Ordered())
    heard = told(bus)

    execution = execute(bus)

    assert [type(one).__name__ for one in heard] == ["JobProcessing", "JobAttempted"]
    assert heard[-1].outcome is execution.outcome is Outcome.LOST
    assert "lease was lost" in caplog.text
    assert bus.connections.port().size("default").leased == 1


# A sync:// connection: the job runs at its listener's turn.


@pytest.fixture
def here(bus_of):
    return lambda *listeners: bus_of(*listeners, connections={"default": "sync://"})


def test_on_sync_it_runs_at_its_turn_and_its_answer_is_dropped(here, seen):
    bus = here(note, note_later)
    bus.listen(Ordered, lambda event: seen.append("after") or "answer")

    assert bus.dispatch(Ordered()) == ["answer"]
    assert seen == [(Ordered(), 1, "default"), Ordered(), "after"]


def test_on_sync_adispatch_awaits_it(here, seen):
    bus = here(note_later)

    assert asyncio.run(bus.adispatch(Ordered("a"))) == []
    assert seen == [Ordered("a")]


def test_on_sync_its_error_is_the_callers_after_failed_was_called(here, seen, told):
    bus = here(Told)
    heard = told(bus)

    with pytest.raises(ValueError, match="boom"):
        bus.dispatch(Ordered("boom"))

    assert seen[-1] == ("fresh", Ordered("boom"), "ValueError('boom')")
    assert [type(one).__name__ for one in heard] == [
        "JobProcessing",
        "JobExceptionOccurred",
        "JobFailed",
        "JobAttempted",
    ]
    assert bus.failed.all() == []


def test_on_sync_there_is_no_second_try(here, seen):
    with pytest.raises(ValueError, match="boom"):
        here(fail).dispatch(Ordered())
    assert len(seen) == 1


class Brittle:
    """An event that can be made twice: by who dispatches it, and to see whether it can be stored."""

    made = 0

    def __init__(self) -> None:
        Brittle.made += 1
        if Brittle.made > 2:
            raise ValueError("brittle")


@listens(queue=True)
def note_brittle(event: Brittle) -> None: ...


def test_on_sync_an_event_that_cannot_be_decoded_is_the_callers_error(here, monkeypatch):
    monkeypatch.setattr(Brittle, "made", 0)

    with pytest.raises(DecodeError, match="brittle"):
        here(note_brittle).dispatch(Brittle())


def test_on_sync_the_event_is_a_copy_and_must_be_storable(here, seen):
    event = Ordered("a")
    here(note).dispatch(event)

    assert seen[0][0] == event
    assert seen[0][0] is not event


@pytest.mark.parametrize("way, outcome", [("delete", "skipped"), ("__class__", "succeeded")])
def test_on_sync_a_listener_may_delete(here, told, way, outcome):
    bus = here(settle)
    heard = told(bus)

    bus.dispatch(Ordered(way))

    assert heard[-1].outcome == outcome


@listens(queue=True)
def settle(event: Ordered, attempt: Attempt) -> None:
    if event.way != "__class__":
        getattr(attempt, event.way)()


def test_on_sync_what_was_settled_holds_when_it_raises_afterwards(here, told, caplog):
    bus = here(settle_and_raise)
    heard = told(bus)

    bus.dispatch(Ordered("delete"))
    with pytest.raises(KeyError, match="by hand"):
        bus.dispatch(Ordered("fail"))

    assert [one.outcome for one in heard if isinstance(one, JobAttempted)] == ["skipped", "failed"]
    assert caplog.text.count("settled itself, and raised afterwards") == 2


def test_on_sync_a_job_failed_by_hand_is_an_error_and_nothing_can_be_released(here):
    bus = here(settle)

    with pytest.raises(Exception, match="failed its job"):
        bus.dispatch(Ordered("fail"))
    with pytest.raises(UnsupportedOption):
        bus.dispatch(Ordered("release"))


def test_on_sync_a_cancelled_adispatch_is_cancelled(here):
    async def run():
        bus = here(wait_for_ever)
        dispatch = asyncio.create_task(bus.adispatch(Ordered()))
        await asyncio.sleep(0)
        dispatch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dispatch

    asyncio.run(run())


@listens(queue=True)
async def delete_and_wait(event: Ordered, attempt: Attempt) -> None:
    attempt.delete()
    await asyncio.Event().wait()


def test_on_sync_an_adispatch_whose_job_is_settled_is_cancelled_all_the_same(here):
    async def run():
        dispatch = asyncio.create_task(here(delete_and_wait).adispatch(Ordered()))
        await asyncio.sleep(0)
        dispatch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dispatch

    asyncio.run(run())


@listens(queue=True)
async def wait_for_ever(event: Ordered) -> None:
    await asyncio.Event().wait()


def test_on_sync_a_dropped_adispatch_waits_for_nothing_more(here):
    dispatch = here(suspend).adispatch(Ordered())
    dispatch.send(None)

    dispatch.close()


class Suspended:
    def __await__(self):
        yield


@listens(queue=True)
async def suspend(event: Ordered) -> None:
    await Suspended()


def test_an_executor_without_limits_lets_runs_take_their_time():
    async def answer():
        return 7

    limits = NoTimeLimits()
    span = Span(name="a", limit=1)
    assert limits.running(span, lambda: 5) == 5
    assert asyncio.run(limits.waiting(span, answer())) == 7


def test_a_walk_that_blocks_is_walked_to_its_end():
    seen = []

    def walk():
        seen.append((yield Blocking(lambda: 7)))
        try:
            yield Blocking(lambda: 1 / 0)
        except ZeroDivisionError as error:
            seen.append(error)
        raise KeyError("last")

    with EventBus() as bus:
        error = drive(caught(walk()), bus)

    assert seen[0] == 7
    assert isinstance(seen[1], ZeroDivisionError)
    assert isinstance(error, KeyError)


# The text of an error.


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise SystemExit


class WorseError(Exception):
    @property
    def __cause__(self):
        raise ValueError

    __traceback__ = __context__ = __cause__


def test_the_text_of_an_error_is_its_traceback():
    try:
        raise ValueError("boom") from KeyError("before")
    except ValueError as error:
        text = error_text(error)
    assert text.endswith("ValueError: boom\n")
    assert "KeyError: 'before'" in text
    assert error_text(None) == ""


def test_the_text_is_cut_in_the_middle():
    text = error_text(ValueError("start" + "x" * 50_000_000 + "end"))
    assert len(text) <= ERROR_TEXT_LIMIT
    assert text.startswith("ValueError: start")
    assert text.endswith("end\n")


class LeavingError(Exception):
    @property
    def __cause__(self):
        raise SystemExit

    __traceback__ = __context__ = __cause__


def test_a_long_chain_of_errors_keeps_its_beginning_and_its_end():
    error = ValueError("the first")
    for number in range(2000):
        later = ValueError(f"number {number}" + "x" * 100)
        later.__context__, error = error, later
    text = error_text(error)
    assert len(text) <= ERROR_TEXT_LIMIT
    assert text.startswith("ValueError: the first")
    assert "... (cut)" in text
    assert "number 1999" in text


@pytest.mark.parametrize("length", [0, 1, 4000, 8150, 8200, 16_300, 16_380, 16_400, 100_000])
def test_a_text_of_any_length_is_whole_or_cut(length):
    text = error_text(ValueError("x" * length))
    assert len(text) <= ERROR_TEXT_LIMIT
    assert ("... (cut)" in text) == (length > 16_350)
    if length < 16_350:
        assert text.count("x") == length


@pytest.mark.parametrize(
    "error", [UnshowableError(), WorseError(), LeavingError()], ids=["str", "cause", "leaving"]
)
def test_an_error_that_cannot_be_shown_has_a_text_too(error):
    assert type(error).__name__ in error_text(error)


def test_a_job_lost_names_its_listener():
    assert "shop:tell" in str(JobLost(listener="shop:tell", losses=3))


def test_a_generator_exit_of_a_listener_is_the_jobs(bus_of):
    @listens(queue=True, name="exits")
    async def exits(event: Ordered) -> None:
        raise GeneratorExit

    bus = bus_of(exits)
    bus.dispatch(Ordered())
    port = bus.connections.port()
    [claim] = port.claim(["default"])
    executor = bus.executor()

    execution = drive(executor.run(executor.begin(claim, port)), bus)

    assert execution.outcome is Outcome.FAILED
