"""A real worker runs what was dispatched, in the order and by the rules that it was given."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from eventbus.queue.envelope import Envelope

NOTES = """
@bus.listen
@listens(queue=True)
def note(event: Ordered):
    say("sync", event.number)

@bus.listen
@listens(queue=True)
async def note_later(event: Ordered):
    await asyncio.sleep(0)
    say("async", event.number)
"""


def test_sync_and_async_listeners_run(shop):
    shop.write(NOTES)
    shop.dispatch(1)
    shop.dispatch(2)

    worker = shop.work()

    assert worker.code == 0
    ours = [line for line in worker.lines if line.startswith(("sync", "async"))]
    assert ours == ["sync 1", "async 1", "sync 2", "async 2"]
    assert shop.waiting() == 0
    assert str(shop.folder / "queue.db") in worker.output


def test_listeners_are_discovered_and_the_application_is_named_by_its_surroundings(shop):
    shop.write(
        'bus = EventBus(discover=["reactions"], connections={"default": f"sqlite:///{HERE}/queue.db"})'
    )
    (shop.folder / "reactions.py").write_text(
        "from eventbus import listens\nfrom shop import Ordered, say\n"
        "@listens(queue=True)\ndef react(event: Ordered):\n    say('found', event.number)\n"
    )
    shop.dispatch(7)
    shop.dispatch(8)

    assert shop.work("--once", app=None, EVENTBUS_APP="shop").said("found 7")
    (shop.folder / "pyproject.toml").write_text('[tool.eventbus]\napp = "shop:bus"\n')
    assert shop.work(app=None).said("found 8")


ONCE = """
@bus.listen
@listens(queue=True, tries=5)
def react(event: Ordered):
    say("ran", event.number)
    if event.way:
        raise ValueError(event.way)
"""


def test_once_exits_with_what_became_of_its_job(shop):
    shop.write(ONCE)
    codes = []
    for way in ("", "boom"):
        shop.dispatch(0, way)
        worker = shop.start("--once")
        codes.append(worker.await_exit())
        assert len(worker.said("ran")) == 1
    shop.port.clear("default")
    codes.append(shop.start("--once").await_exit())

    assert codes == [0, 1, 0]


def test_queues_are_looked_at_in_the_order_given(shop):
    shop.write("""
@bus.listen
@listens(queue="low")
def low(event: Ordered):
    say("low", event.number)

@bus.listen
@listens(queue="high")
def high(event: Ordered):
    say("high", event.number)

@bus.listen
@listens(queue="other")
def other(event: Ordered):
    say("other")
""")
    shop.dispatch(1)
    shop.dispatch(2)

    worker = shop.work("--queue", "high,low")

    ours = [line for line in worker.lines if line.startswith(("high", "low", "other"))]
    assert ours == ["high 1", "high 2", "low 1", "low 2"]
    assert shop.waiting("other") == 2


def test_tries_and_backoff_hold_where_a_listener_does_not_say(shop):
    shop.write("""
@bus.listen
@listens(queue=True)
def react(event: Ordered, attempt: Attempt):
    say("attempt", attempt.number)
    raise ValueError("boom")
""")
    shop.dispatch()

    worker = shop.start("--tries", "3", "--backoff", "0.1,0.2")
    worker.await_line("FAIL ")

    assert worker.stop() == 0
    assert [line for line in worker.lines if line.startswith("attempt")] == [
        "attempt 1",
        "attempt 2",
        "attempt 3",
    ]
    [failed] = shop.bus.failed.all()
    assert (failed.attempts, failed.reason) == (3, "ValueError: boom")
    assert "in react" in failed.error


def test_a_failed_job_runs_again_when_it_is_retried(shop):
    shop.write("""
@bus.listen
@listens(queue=True)
def react(event: Ordered):
    if not os.path.exists(os.path.join(HERE, "mended")):
        raise ValueError("broken")
    say("mended")
""")
    shop.dispatch()
    shop.work()
    [failed] = shop.bus.failed.all()

    (shop.folder / "mended").touch()
    shop.bus.failed.retry(failed.id)

    assert shop.work().said("mended")
    assert shop.bus.failed.all() == []


BLOCKING = """
@bus.listen
@listens(queue=True)
def react(event: Ordered):
    try:
        wait_for_ever()
    except BaseException as error:
        say("got", type(error).__name__)
        if event.way == "swallow":
            return
        if event.way == "other":
            raise KeyError("other") from error
        raise
"""


@pytest.mark.parametrize("way", ["", "swallow", "other"])
def test_a_sync_listener_is_ended_by_its_timeout(shop, way):
    shop.write(BLOCKING)
    shop.dispatch(0, way)

    worker = shop.work("--timeout", "0.3")

    assert worker.said("got ListenerTimeout")
    [failed] = shop.bus.failed.all()
    assert "ListenerTimeout" in failed.reason
    assert failed.attempts == 1


def test_an_async_listener_is_cancelled_by_its_timeout(shop):
    shop.write("""
@bus.listen
@listens(queue=True, timeout=0.2)
async def react(event: Ordered):
    for number in range(event.number + 1):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            say("cancelled")
            if number == event.number:
                raise

@bus.listen
@listens(queue=True)
async def in_time(event: Ordered):
    say("in time")
""")
    shop.dispatch(0)
    shop.dispatch(1)  # swallows the first cancellation

    worker = shop.work()

    assert (len(worker.said("cancelled")), len(worker.said("in time"))) == (3, 2)
    assert ["ListenerTimeout" in one.reason for one in shop.bus.failed.all()] == [True, True]


def test_a_failed_hook_may_be_async_and_gets_event_and_error(shop):
    shop.write("""
class React(ShouldQueue, InteractsWithQueue):
    tries = 1
    def handle(self, event: Ordered):
        self.seen = True
        raise ValueError("boom")
    async def failed(self, event: Ordered, error: BaseException):
        await asyncio.sleep(0)
        say("failed", event.number, repr(error), hasattr(self, "seen"), self.attempt.number)
bus.listen(React)
""")
    shop.dispatch(7)

    assert shop.work().said("failed 7 ValueError('boom') False 1")


KINDS = (
    "ValueError",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "MemoryError",
    "RecursionError",
    "asyncio.CancelledError",
    "Base",
    "Unshowable",
    "Huge",
)


def test_whatever_a_listener_raises_is_a_failed_attempt_and_the_worker_lives(shop):
    shop.write("""
class Base(BaseException): ...
class Unshowable(Exception):
    def __str__(self): raise ValueError("no")
    __repr__ = __str__
def Huge(): return ValueError("x" * 50_000_000)

def strike(event):
    say("start", os.getpid(), event.number, event.way)
    if event.way:
        if event.way == "RecursionError":
            strike(event) if False else (lambda f: f(f))(lambda f: f(f))
        raise eval(event.way)()

@bus.listen
@listens(queue=True, tries=2)
def react(event: Ordered):
    strike(event)

@bus.listen
@listens(queue=True, tries=2)
async def react_later(event: Ordered):
    strike(event)
""")
    for number, kind in enumerate(KINDS):
        shop.dispatch(number, kind)
        shop.dispatch(number)

    worker = shop.work("--quiet")

    assert worker.code == 0
    starts = [line.split() for line in worker.lines if line.startswith("start")]
    assert {pid for _, pid, *_ in starts} == {str(worker.pid)}
    for number, kind in enumerate(KINDS):
        bad = [one for one in starts if one[2:] == [str(number), kind]]
        good = [one for one in starts if one[2:] == [str(number)]]
        assert (kind, len(bad), len(good)) == (kind, 4, 2)  # two listeners, two tries
    failed = shop.bus.failed.all()
    assert len(failed) == 2 * len(KINDS)
    assert max(len(one.error) for one in failed) <= 16 * 1024
    assert {one.attempts for one in failed} == {2}
    assert shop.waiting() == 0


def test_bytes_that_are_no_job_are_buried_and_the_worker_lives(shop):
    shop.write(NOTES)
    hostile = {
        "pickle": b"\x80\x04K\x01.",
        "deep": b"[" * 200_000,
        "control": json.dumps({"v": 1, "id": "\x1b[2J"}).encode(),
        "zero": b"",
    }
    for job, body in hostile.items():
        shop.port.push([Envelope(id=job, queue="default", body=body)])
    shop.dispatch(1)

    worker = shop.work("--tries", "9")

    assert (worker.code, worker.lines.count("sync 1")) == (0, 1)
    assert {one.id: one.body for one in shop.bus.failed.all()} == hostile
    assert "\x1b" not in worker.output


def test_an_unknown_listener_parks_without_spending_an_attempt(shop):
    shop.write(NOTES)
    shop.dispatch(1)
    shop.write("")  # a deploy that does not have it

    worker = shop.work()

    assert len(worker.said(" is parked: ")) == 2
    assert 20 < shop.port.next_due(["default"]) <= 30
    assert shop.bus.failed.all() == []
    assert shop.port.size("default").delayed == 2


def test_two_workers_on_one_file_run_each_job_once(shop):
    shop.write("""
@bus.listen
@listens(queue=True)
def react(event: Ordered):
    say("ran", event.number)
""")
    for number in range(200):
        shop.dispatch(number)

    workers = [shop.start("--stop-when-empty", "--quiet") for _ in range(2)]

    assert [one.await_exit() for one in workers] == [0, 0]
    ran = [int(line.split()[1]) for one in workers for line in one.lines]
    assert sorted(ran) == list(range(200))


@pytest.mark.parametrize(
    "options, code, said",
    [
        (["--tries", "-1"], 2, "--tries"),
        (["--backoff", "soon"], 2, "expected seconds"),
        (["--backoff", "-1"], 2, "backoff"),
        (["--sleep", "0"], 2, "--sleep"),
        (["--queue", "a b"], 2, "queue"),
        (["--connection", "nowhere"], 2, "nowhere"),
    ],
)
def test_a_wrong_option_is_a_usage_error(shop, options, code, said):
    shop.write(NOTES)
    worker = shop.start(*options)

    assert worker.await_exit() == code
    assert worker.said(said)
    assert not (shop.folder / "queue.db").exists()


def test_without_an_application_it_says_what_to_write(shop):
    worker = shop.start(app=None)

    assert worker.await_exit() == 2
    assert worker.said("EVENTBUS_APP")


@pytest.mark.parametrize(
    "source, app",
    [
        ("", "missing:bus"),
        ("", "shop:missing"),
        ("raise ValueError('at import')", "shop:bus"),
        ("bus = EventBus(discover=['missing'])", "shop:bus"),
        (
            (
                "@listens(queue=True, name='a')\ndef a(event: Ordered): ...\n"
                "@listens(queue=True, name='a')\ndef b(event: Ordered): ...\n"
                "bus.listen(a); bus.listen(b)"
            ),
            "shop:bus",
        ),
        ("bus = EventBus(connections={'default': 'unknown://'})", "shop:bus"),
    ],
    ids=["module", "bus", "import", "package", "names", "scheme"],
)
def test_an_application_that_cannot_be_loaded_has_a_code_of_its_own(shop, source, app):
    shop.write(source)
    worker = shop.start(app=app)

    assert worker.await_exit() == 3
    assert worker.said("eventbus-worker: ")


@pytest.mark.parametrize("state", ["missing", "corrupt", "another", "open to all"])
def test_a_store_that_cannot_be_used_has_a_code_of_its_own(shop, state):
    place = "nowhere/queue.db" if state == "missing" else "bad.db"
    shop.write(f'bus = EventBus(connections={{"default": f"sqlite:///{{HERE}}/{place}"}})')
    if state == "corrupt":
        (shop.folder / "bad.db").write_bytes(b"no database at all" * 1000)
    if state == "another":
        with closing(sqlite3.connect(shop.folder / "bad.db")) as db:
            db.execute("CREATE TABLE theirs (id)")
    if state != "missing":
        (shop.folder / "bad.db").touch()
        (shop.folder / "bad.db").chmod(0o644 if state == "open to all" else 0o600)

    worker = shop.start()

    assert worker.await_exit() == 4
    assert worker.said("the store cannot be used")
