"""What a network does between us and a Redis server; nothing is lost by it, and no answer is another's."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from itertools import chain, count

import pytest

from eventbus.backends.base import Charge
from eventbus.backends.port import Port
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_clients import linked
from eventbus.errors import BackendError, BackendUnavailable, LeaseLost, StoredUnknown
from eventbus.queue.envelope import Envelope
from tests.faults.harness import Fleet, pause
from tests.faults.proxy import Deed, Proxy
from tests.faults.stores import Redis, consistency
from tests.faults.test_redis_steps import said
from tests.forms import FULL

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def server(redis_server):
    redis_server.ask("FLUSHALL")
    return redis_server


@pytest.fixture
def proxy(server):
    with Proxy(server.port) as made:
        yield made


@pytest.fixture
def port(proxy):
    with closing(port_at(proxy.port)) as made:
        made.size("jobs")
        yield made


def port_at(number, *, timeout=5):
    url = f"redis://127.0.0.1:{number}?timeout={timeout}"
    return Port(RedisBackend(linked(url), name=url), name="default")


def envelope(name, queue="jobs"):
    return Envelope(id=name, queue=queue, body=f"the body of {name}".encode())


def insist(call):
    """Say a verb until it is done, as whoever uses a port does."""
    while True:
        try:
            return call()
        except (BackendUnavailable, StoredUnknown):
            continue


def answers(call):
    """Return what a verb answers, said until it is done; None where it broke off."""
    found = []
    while not found or found[-1] is None:
        try:
            found.append(call())
        except BackendUnavailable:
            found[:] = [None]
    return found


class Lives:
    """Three jobs from their push to their end, each verb told from its answer to have been done once."""

    def __init__(self, port):
        self.port = port
        self.numbers = count()

    def live(self):
        port, number = self.port, next(self.numbers)
        a, b, c = (f"{letter}{number}" for letter in "abc")
        insist(lambda: port.push([envelope(name) for name in (a, b, c)]))
        assert self.claimed(2) == [(a, 0, 0), (b, 0, 0)]
        assert insist(lambda: port.extend(self.claims, lease=60)) == []
        insist(lambda: port.ack(self.claims[0]))
        insist(lambda: port.release(self.claims[1], charge=Charge.ERROR))
        assert self.claimed(1) == [(c, 0, 0)]
        insist(lambda: port.bury(self.claims[0], error="boom", charge=Charge.ERROR))
        assert [(one.envelope.id, one.error) for one in insist(port.failed)] == [(c, "boom")]
        # Whoever was told that it is not known asks again, and finds nothing to move, or all of it.
        assert answers(lambda: port.revive([c])) in ([[c]], [None, [c]], [None, []])
        assert insist(lambda: port.pause(["others"])) is None
        assert self.claimed(2) == [(b, 1, 0), (c, 0, 0)]
        assert insist(lambda: port.ack_all(self.claims)) == []
        assert insist(lambda: port.size("jobs")).leased == 0
        assert insist(lambda: port.next_due(["jobs"])) is None

    def claimed(self, limit):
        self.claims = insist(lambda: self.port.claim(["jobs"], limit=limit))
        for one in self.claims:
            assert one.envelope == envelope(one.envelope.id)
        return [(one.envelope.id, one.attempts, one.losses) for one in self.claims]


def boundaries(port, proxy):
    """Return after how many bytes of these lives a message ends, each way."""
    ends = {"up": [0], "down": [0]}

    def note(way):
        return lambda _number, message: ends[way].append(ends[way][-1] + len(message))

    Lives(port).live()  # the server knows the scripts then
    proxy.up.judge, proxy.down.judge = note("up"), note("down")
    Lives(port).live()
    proxy.mend()
    return ends


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_may_be_reset_after_any_byte(port, proxy, server, results, way):
    """F17: around every message's end, and anywhere."""
    ends = boundaries(port, proxy)[way]
    near = sorted({max(0, end + one) for end in ends[:-1] for one in (-1, 0, 1)})
    anywhere = [random.Random(1).randrange(ends[-1]) for _ in range(200 if FULL else 10)]
    lives = Lives(port)
    for size in chain(near if FULL else ends[:-1], anywhere):
        getattr(proxy, way).cut_after = size
        lives.live()
        assert getattr(proxy, way).cut_after is None, size  # so it was cut
        assert consistency(server) == "ok", size
    positions = next(lives.numbers)

    results.add(f"reset after any byte on the way {way}", "Redis", positions=positions)
    assert positions > 20


@pytest.mark.parametrize("deed", [Deed.CUT, Deed.LOSE])
def test_any_request_may_be_cut_off_or_its_answer_lost(port, proxy, server, results, deed):
    """F17, F18: once, and twice in a row, so that it has to be said again."""
    messages = len(boundaries(port, proxy)["up"]) - 1
    lives = Lives(port)
    for number in range(1, messages + 1):
        for times in (1, 2):
            proxy.mend()
            for again in range(times):
                proxy.at(proxy.up, number + again, lambda: deed)
            lives.live()
            assert consistency(server) == "ok", number

    results.add(f"requests: {deed.value}", "Redis", positions=next(lives.numbers))
    assert messages > 10


def test_a_push_whose_answer_is_lost_stores_one(port, proxy, server, results):
    """F18: and where it cannot be told, it says so, with the id; said again, it stores it once."""
    pushes = 500 if FULL else 50
    chance = random.Random(1)
    proxy.up.judge = lambda _, message: (
        Deed.LOSE if said(message) == "push" and chance.random() < 0.6 else None
    )
    unknown = []
    for number in range(pushes):
        one = envelope(f"job{number}")
        while (error := not_stored(port, one)) is not None:
            unknown.append(list(error.ids) == [one.id])
    proxy.mend()

    stored = [job.envelope for job in port.each_stored()]
    results.add("pushes whose answers are lost", "Redis", pushes=pushes, unknown=len(unknown))
    assert stored == [envelope(f"job{number}") for number in range(pushes)]
    assert unknown
    assert all(unknown)
    assert consistency(server) == "ok"


def not_stored(port, one):
    """Push; return the error if it cannot be told whether it was stored."""
    try:
        port.push([one])
    except StoredUnknown as error:
        return error
    return None


def test_an_ack_whose_answer_is_lost_is_no_lost_lease(port, proxy, server, results):
    """F18: the second time it is found to be done; one that somebody else did is told all the same."""
    acks = 500 if FULL else 50
    chance = random.Random(1)
    port.push([envelope(f"job{number}") for number in range(acks)])
    proxy.up.judge = lambda _, message: (
        Deed.LOSE if said(message) == "ack" and chance.random() < 0.6 else None
    )
    claims = []
    for _ in range(acks):
        [claim] = insist(lambda: port.claim(["jobs"]))
        insist(partial(port.ack, claim))
        claims.append(claim)
    proxy.mend()

    results.add("acks whose answers are lost", "Redis", acks=acks)
    assert len({claim.envelope.id for claim in claims}) == acks
    for claim in claims:
        with pytest.raises(LeaseLost):
            port.ack(claim)
    assert port.size("jobs").ready == 0
    assert consistency(server) == "ok"


VERBS = {
    "push": lambda port: port.push([envelope("new")]),
    "claim": lambda port: port.claim(["jobs"]),
    "size": lambda port: port.size("jobs"),
    "orders": lambda port: port.orders(),
    "failed": lambda port: port.failed(),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_server_that_is_away_is_told_and_found_again(port, proxy, results, verb):
    """F16: where nothing listens, nothing is stored, and no port is the worse for it."""
    times = 100 if FULL else 5
    took = []
    proxy.refuse()
    proxy.reset()
    for number in range(times):
        began = time.monotonic()
        with pytest.raises(BackendError) as caught:
            verb(port)
        took.append(time.monotonic() - began)
        # What was sent on a connection that had been cut may be unknown; but not where there is none.
        assert isinstance(caught.value, BackendUnavailable) or number == 0
    proxy.accept()

    results.add("verbs while the server is away", "Redis", slowest=round(max(took), 2))
    verb(port)


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_server_that_never_answers_is_given_up(proxy, server, results, verb, way):
    """F19: by the time-out; and what comes late is nobody's answer."""
    with closing(port_at(proxy.port, timeout=0.3)) as port:
        port.push([envelope("job")])
        with proxy.black_hole(getattr(proxy, way)):
            began = time.monotonic()
            with pytest.raises(BackendError) as caught:
                verb(port)
            took = time.monotonic() - began
        assert isinstance(caught.value, BackendUnavailable | StoredUnknown)

        results.add("verbs that are never answered", "Redis", slowest=round(took, 2))
        assert insist(lambda: [one.envelope.id for one in port.claim(["jobs"])]) == ["job"]
        assert consistency(server) == "ok"


# With workers.


def through(proxy, *, timeout=5):
    return {"FAULTS_URL": f"redis://127.0.0.1:{proxy.port}?timeout={timeout}"}


def test_jobs_survive_resets_of_their_workers_connections(make_arena, results, full):
    """F17: at any moment, of everything that is connected."""
    arena = make_arena(store=Redis("none"), lease=2.0)
    with Proxy(arena.store.server.port) as proxy:
        producer = arena.producer("good", 0, "pause 0.002", "--backlog", "100", **through(proxy))
        fleet = Fleet(arena, 2, "--tries", "1", **through(proxy))
        arena.await_entry("end", times=20)
        resets = 300 if full else 20
        for _ in range(resets):
            proxy.reset()
            pause(fleet.random.uniform(0.0, 0.1))
        done = arena.count("end")
        arena.await_entry("end", times=done + 20)
        producer.tell(signal.SIGTERM)
        assert producer.await_exit() == 0, producer.output
        fleet.drain()
        assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add("resets under load", arena, verdict, resets=resets)
    assert verdict.complaints == {}
    assert (verdict.extra, verdict.failed, fleet.codes) == (0, (), [])
    assert len(verdict.unknown) <= resets


def test_what_a_worker_in_a_black_hole_held_is_taken_over(make_arena, results, full):
    """F19: nobody hears from it, and when it is back, what it says of the job is refused."""
    arena = make_arena(store=Redis("none"), lease=2.0 if full else 1.0)
    cycles = 10 if full else 1
    noticed, taken = [], []
    with Proxy(arena.store.server.port) as proxy:
        cut = arena.worker(**through(proxy, timeout=1))
        for cycle in range(cycles):
            job = f"job{cycle}-0"
            gates = [arena.folder / f"{job}.{losses}.open" for losses in range(2)]
            arena.produce(f"job{cycle}-", 1, "gate")
            arena.await_entry("start", job=job, worker=cut.name)
            size, before = len(cut.output), len(arena.refusals(cut))
            with arena.away(cut), proxy.black_hole():
                began = time.monotonic()
                other = arena.worker()
                arena.await_fact(
                    lambda size=size: "not renewed" in cut.output[size:], said="it is noticed"
                )
                noticed.append(time.monotonic() - began)
                arena.await_entry("start", job=job, times=2)
                taken.append(time.monotonic() - began)
                gates[1].touch()
                arena.await_entry("end", job=job, worker=other.name)
                gates[0].touch()
                arena.await_entry("end", job=job, worker=cut.name)
            arena.await_fact(
                lambda before=before: len(arena.refusals(cut)) > before, said="it is told"
            )
            other.tell(signal.SIGTERM)
            assert other.await_exit() == 0
        cut.tell(signal.SIGTERM)
        assert cut.await_exit() == 0, cut.output

    verdict = arena.judge()
    figures = {"noticed": round(max(noticed), 2), "taken": round(max(taken), 2)}
    results.add("a worker in a black hole", arena, verdict, refused=cycles, **figures)
    assert (verdict.complaints, verdict.failed) == ({}, ())
    assert verdict.starts == 2 * cycles


SLOW = {
    "50 ms": {"delay": 0.05},
    "500 ms": {"delay": 0.5},
    "jitter of 100 ms": {"jitter": 0.1},
    "bytes one by one": {"slices": 1},
    "1 KB a second": {"slices": 50, "rate": 1000.0},
}


#: Where it is so slow that a worker does one job in three seconds.
JOBS = {"500 ms": 100, "1 KB a second": 100}


@pytest.mark.parametrize("how", list(SLOW) if FULL else ["jitter of 100 ms"])
def test_a_slow_network_is_slow_and_nothing_else(make_arena, results, full, how):
    """F20: leases shorter than it takes to say something are renewed in time."""
    arena = make_arena(store=Redis("none"), lease=3.0)
    jobs = JOBS.get(how, 1_000) if full else 30
    arena.produce("good", jobs, "pause 0.005", "--payload", "100")
    with Proxy(arena.store.server.port) as proxy:
        for way in (proxy.up, proxy.down):
            for name, value in SLOW[how].items():
                setattr(way, name, value)
        fleet = Fleet(arena, 2, **through(proxy, timeout=10))
        fleet.drain(600)
        assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add(f"a slow network: {how}", arena, verdict)
    assert verdict.complaints == {}
    assert (verdict.extra, verdict.failed, fleet.codes) == (0, (), [])


# A call that is broken off.

BROKEN_OFF = """
import random, signal, sys, threading
from functools import partial
from eventbus.backends.port import Port
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_clients import linked
from eventbus.queue.envelope import Envelope

class Alarm(BaseException):
    pass

is_set = False

def ring(*_):
    global is_set
    if is_set:
        is_set = False
        raise Alarm

def broken_off(call):
    global is_set
    main = threading.main_thread().ident
    timer = threading.Timer(chance.uniform(0, 0.006), signal.pthread_kill, (main, signal.SIGUSR1))
    timer.start()
    try:
        is_set = True
        call()
        is_set = False
    except Alarm:
        return True
    finally:
        timer.cancel()
        timer.join()
    return False

signal.signal(signal.SIGUSR1, ring)
chance, broken = random.Random(1), 0
port = Port(RedisBackend(linked(sys.argv[1]), name="redis"), name="default")
for number in range(int(sys.argv[2])):
    one = Envelope(id=f"job{number}", queue=f"queue{number % 7}", body=f"body {number}".encode())
    broken += broken_off(partial(port.push, [one]))
    broken += broken_off(partial(port.size, one.queue))
    # Each of these knows its own answer from that to another.
    assert all(name.startswith("queue") for name in port.queues())
    assert port.next_due(["nothing"]) is None
    assert port.failed() == []
    for found in port.peek(queues=["queue0"], limit=1):
        assert found.envelope.body == b"body " + found.envelope.id.removeprefix("job").encode()
print(broken)
"""


def test_a_call_that_is_broken_off_leaves_no_answer_to_the_next(proxy, server, results):
    """
    F22: as a time-out breaks off what a listener does, in the middle of a command.

    In a process of its own: an alarm spares nobody.
    """
    times = 1_000 if FULL else 60
    proxy.down.jitter = 0.004
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            BROKEN_OFF,
            f"redis://127.0.0.1:{proxy.port}",
            str(times),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    broken = int(done.stdout)

    results.add("calls that are broken off", "Redis", broken=broken)
    assert broken > times // 10
    assert consistency(server) == "ok"


def test_an_async_push_that_is_cancelled_leaves_no_answer_to_the_next(port, proxy, server, results):
    """F22: at any await; each of those beside it and after it has its own answer."""
    times = 1_000 if FULL else 60
    chance = random.Random(1)
    stored, cancelled = [], 0

    async def push(name, queue):
        await port.apush([envelope(name, queue)])
        stored.append((name, queue))

    async def run():
        nonlocal cancelled
        await push("first", "queue0")
        proxy.down.jitter = 0.004
        for number in range(times):
            beside = asyncio.create_task(push(f"beside{number}", "queue1"))
            one = asyncio.create_task(push(f"job{number}", f"queue{number % 7}"))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.006), one.cancel)
            outcome, other = await asyncio.gather(one, beside, return_exceptions=True)
            cancelled += isinstance(outcome, asyncio.CancelledError)
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
            assert other is None
        await port.aclose()

    asyncio.run(run())
    proxy.mend()

    found = {(job.envelope.id, job.envelope.queue) for job in port.each_stored()}
    results.add("async pushes that are cancelled", "Redis", broken=cancelled)
    assert set(stored) <= found
    assert cancelled > times // 10
    assert consistency(server) == "ok"
