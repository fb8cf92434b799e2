"""A Redis server is killed and started again, refuses, forgets and answers nonsense."""

from __future__ import annotations

import random
import signal
import time
from contextlib import closing

import pytest

from eventbus.errors import BackendError, EventBusError, LeaseLost
from tests.faults.checker import check
from tests.faults.harness import Fleet, pause
from tests.faults.proxy import Proxy
from tests.faults.stores import NAMES, Redis, consistency
from tests.faults.test_redis_network import envelope, insist, port_at
from tests.faults.test_redis_steps import said
from tests.forms import FULL
from tests.servers import server as redis

pytestmark = pytest.mark.timeout(1800)


def resumed(arena, since):
    """Return how long after an instant the store next knew that a job is done."""

    def acked():
        return [one.at for one in arena.entries[-200:] if one.what == "acked" and one.at > since]

    return min(arena.await_fact(acked, said="work goes on")) - since


@pytest.mark.parametrize("persistence", ["always", "everysec"] if FULL else ["always"])
def test_work_goes_on_when_a_killed_server_is_back(make_arena, results, full, persistence):
    """F14, T5: with every acknowledged job, and the workers that there were before."""
    arena = make_arena(store=Redis(persistence), lease=60.0)
    server = arena.store.server
    cycles, down = (10, 5.0) if full else (1, 0.5)
    producer = arena.producer("good", 0, "pause 0.005", "--backlog", "200", "--rate", "200")
    fleet = Fleet(arena, 2)
    took = []
    arena.await_fact(lambda: len(arena.has_worked()) == 2, said="both work")
    for _ in range(cycles):
        server.kill()
        pause(down)
        server.start()
        took.append(resumed(arena, time.monotonic()))
        done = arena.count("end")
        arena.await_entry("end", times=done + 50)
    producer.tell(signal.SIGTERM)
    assert producer.await_exit() == 0, producer.output
    fleet.drain(300)
    assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    figures = {"kills": cycles, "slowest": round(max(took), 2), "bar": 5.0}
    results.add("server killed under load", arena, verdict, **figures)
    assert (fleet.codes, verdict.failed) == ([], ())  # nobody ended
    if persistence == "always":
        assert (verdict.complaints, verdict.extra) == ({}, 0)
    else:  # where the disk is slow, the last two seconds may be gone: of jobs, and of acks
        assert {*verdict.complaints} <= {"lost", "unexplained"}


def test_what_a_server_of_snapshots_loses_is_what_came_after_the_last(make_arena, results, full):
    """F15: and nothing else; `eventbus doctor` says so."""
    arena = make_arena(store=Redis("snapshots"))
    jobs = 500 if full else 20
    arena.produce("kept", jobs, "pause 0")
    arena.store.server.ask("SAVE")
    arena.produce("gone", jobs, "pause 0")

    arena.store.server.restart()
    worker = arena.worker("--stop-when-empty")
    assert worker.await_exit() == 0, worker.output

    verdict = arena.judge()
    examination = arena.bus.connections.port().examine()
    results.add("server killed, snapshots only: the documented loss", arena, verdict)
    assert set(verdict.lost) == {f"gone{number}" for number in range(jobs)}
    assert {*verdict.complaints} == {"lost"}
    assert "all since the last snapshot is lost" in str(examination)


def test_workers_that_find_no_server_say_so_and_work_once_there_is_one(make_arena, results, full):
    """F16: they wait, trying again every two seconds."""
    arena = make_arena(store=Redis("always"))
    server = arena.store.server
    arena.produce("good", 5, "pause 0")
    server.kill()
    fleet = Fleet(arena, 10 if full else 2)
    arena.await_fact(
        lambda: all("the store is away, next try in 2 s" in one.output for one in fleet.workers),
        said="all wait",
    )

    began = time.monotonic()
    server.start()
    took = resumed(arena, began)
    fleet.drain()
    assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add("no server at the start", arena, verdict, slowest=round(took, 2), bar=5.0)
    assert (verdict.complaints, verdict.extra, fleet.codes) == ({}, 0, [])


def test_a_claim_of_before_settles_nothing_of_after(tmp_path, results):
    """F23: the server has forgotten everything, and has a job of the same id, of another producer."""
    times = 100 if FULL else 5
    with redis(tmp_path) as server, closing(port_at(server.port)) as port:
        verbs = [port.ack, port.release, lambda claim: port.bury(claim, error="boom")]
        for number in range(times):
            port.push([envelope("job1")])
            [stale] = port.claim(["jobs"])
            server.restart()
            insist(lambda: port.size("jobs"))
            with closing(port_at(server.port)) as other:
                other.push([envelope("job1")])
                held = other.claim(["jobs"]) if number % 2 else []

                with pytest.raises(LeaseLost):
                    insist(lambda number=number, stale=stale: verbs[number % 3](stale))

                [kept] = other.each_stored()
                assert (kept.envelope, kept.attempts) == (envelope("job1"), 0)
                assert other.ack_all(held or other.claim(["jobs"])) == []
        assert consistency(server) == "ok"

    results.add("stale settlements after a restart", NAMES["none"], refused=times)


# What a server may refuse.

LATER, DENIED, CANNOT, DAMAGED = (
    "BackendUnavailable",
    "AccessDenied",
    "UnsupportedOption",
    "StoreDamaged",
)
REFUSALS = {
    "READONLY You can't write against a read only replica.": LATER,
    "LOADING Redis is loading the dataset in memory": LATER,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": LATER,
    "OOM command not allowed when used memory > 'maxmemory'.": LATER,
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to.": LATER,
    "NOSCRIPT No matching script. Please use EVAL.": LATER,
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL.": LATER,
    "UNKILLABLE Sorry the script already executed write commands.": LATER,
    "CLUSTERDOWN The cluster is down": LATER,
    "TRYAGAIN Multiple keys request during rehashing of slot": LATER,
    "NOREPLICAS Not enough good replicas to write.": LATER,
    "ERR max number of clients reached": LATER,
    "INPROG Failover already in progress": LATER,
    "ERR of a kind that nobody has heard of": LATER,
    "NOAUTH Authentication required.": DENIED,
    "WRONGPASS invalid username-password pair or user is disabled.": DENIED,
    "NOPERM User default has no permissions to run the 'evalsha' command": DENIED,
    "MOVED 3999 127.0.0.1:6381": CANNOT,
    "ASK 3999 127.0.0.1:6381": CANNOT,
    "CROSSSLOT Keys in request don't hash to the same slot": CANNOT,
    "ERR Error compiling script (new function): user_script:1: '=' expected": CANNOT,
    "WRONGTYPE Operation against a key holding the wrong kind of value": DAMAGED,
    "ERR user_script:7: attempt to index a nil value script: 5af1": DAMAGED,
}

#: No answer to anything that we ask.
NONSENSE = [b"+OK\r\n", b"$3\r\nfoo\r\n", b":-7\r\n", b"*1\r\n*1\r\n:1\r\n", b"$-1\r\n", b"*-1\r\n"]


@pytest.fixture
def forged(redis_server):
    """A port, its claim, and what answers all that it says in the place of the server."""
    redis_server.ask("FLUSHALL")
    with Proxy(redis_server.port) as proxy, closing(port_at(proxy.port)) as port:
        port.push([envelope("held"), envelope("bad"), envelope("waits")])
        claims = port.claim(["jobs"], limit=2)
        port.bury(claims[1], error="boom")

        def forge(answer):
            proxy.up.judge = lambda _, message: None if said(message) == "CLIENT" else answer

        yield port, claims[0], forge
        proxy.mend()
        insist(lambda: port.size("jobs"))
        assert consistency(redis_server) == "ok"


def verbs(port, claim):
    return {
        "push": lambda: port.push([envelope("new")]),
        "claim": lambda: port.claim(["jobs"]),
        "ack": lambda: port.ack(claim),
        "release": lambda: port.release(claim),
        "bury": lambda: port.bury(claim, error="boom"),
        "extend": lambda: port.extend([claim]),
        "size": lambda: port.size("jobs"),
        "queues": port.queues,
        "failed": port.failed,
        "peek": port.peek,
        "revive": lambda: port.revive(["bad"]),
        "purge": lambda: port.purge(["bad"]),
        "cancel": lambda: port.cancel(["waits"]),
        "clear": lambda: port.clear("jobs"),
        "next_due": lambda: port.next_due(["jobs"]),
        "orders": port.orders,
        "pause": lambda: port.pause(["jobs"]),
    }


@pytest.mark.parametrize("text", REFUSALS)
def test_what_a_server_refuses_is_an_error_of_ours(forged, text):
    """F21: to be tried again, or not, whatever was asked; and nothing was done."""
    port, claim, forge = forged
    before = port.size("jobs")
    forge(f"-{text}\r\n".encode())

    found = {}
    for verb, call in verbs(port, claim).items():
        with pytest.raises(EventBusError) as caught:
            call()
        found[verb] = type(caught.value).__name__
        assert isinstance(caught.value, BackendError), verb
        assert caught.value.retryable is (REFUSALS[text] == LATER), verb

    assert set(found.values()) == {REFUSALS[text]}, found
    forge(None)
    assert insist(lambda: port.size("jobs")) == before
    port.ack(claim)


@pytest.mark.parametrize("answer", NONSENSE)
def test_what_is_no_answer_is_taken_for_none(forged, answer):
    """F21, A14: no verb returns what its answer cannot be, none raises what is not ours."""
    port, claim, forge = forged
    forge(answer)

    for verb, call in verbs(port, claim).items():
        try:
            call()
        except EventBusError:
            continue
        assert verb in {"next_due", "pause", "orders", "queues", "push"}, verb


def test_a_worker_waits_out_what_a_server_refuses(make_arena, results):
    """F21: each for a moment, under load; nobody ends, nothing is lost."""
    arena = make_arena(store=Redis("none"), lease=60.0)
    texts = [text for text, meaning in REFUSALS.items() if meaning == LATER]
    with Proxy(arena.store.server.port) as proxy:
        url = {"FAULTS_URL": f"redis://127.0.0.1:{proxy.port}"}
        producer = arena.producer("good", 0, "pause 0.002", "--backlog", "50", **url)
        fleet = Fleet(arena, 2, **url)
        arena.await_entry("end", times=10)
        for text in texts if FULL else texts[:3]:
            answer = f"-{text}\r\n".encode()
            refused = arena.count("refused")
            proxy.up.judge = lambda _, message, answer=answer: (
                None if said(message) == "CLIENT" else answer
            )
            arena.await_entry("refused", times=refused + 5)
            proxy.mend()
            done = arena.count("end")
            arena.await_entry("end", times=done + 10)
        producer.tell(signal.SIGTERM)
        assert producer.await_exit() == 0, producer.output
        fleet.drain()
        assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add("refusals under load", arena, verdict, kinds=len(texts))
    assert (verdict.complaints, verdict.extra, fleet.codes) == ({}, 0, [])


# What a server may forget.


@pytest.fixture
def populated(redis_server):
    """A queue with jobs in each state: six wait, three were lost by a worker that died, three failed."""
    redis_server.ask("FLUSHALL")
    with closing(port_at(redis_server.port)) as port:
        port.push([envelope(f"failed{number}") for number in range(3)])
        for claim in port.claim(["jobs"], limit=3):
            port.bury(claim, error="boom")
        port.push([envelope(f"lost{number}") for number in range(3)])
        assert len(port.claim(["jobs"], limit=3, lease=0.001)) == 3
        port.push([envelope(f"waits{number}") for number in range(6)])
        yield redis_server, port


def worked_off(port):
    """Claim and ack as a worker does, until nothing is due and nothing held; return which jobs ran."""
    ran = []
    while True:
        claims = port.claim(["jobs"], limit=4)
        assert all(one.envelope.body == envelope(one.envelope.id).body for one in claims)
        ran += [one.envelope.id for one in claims]
        assert port.ack_all(claims) == []
        if not claims and port.next_due(["jobs"], leased=True) is None:
            return sorted(ran)


JOBS = sorted(
    [*(f"lost{number}" for number in range(3)), *(f"waits{number}" for number in range(6))]
)


@pytest.mark.parametrize(
    "part", ["order", "line", "leases", "counts", "numbers", "failures", "failed", "parked"]
)
def test_a_key_that_is_gone_takes_no_job_with_it(populated, part):
    """F24: all run that have a body, and what comes later does, too."""
    server, port = populated
    server.ask("DEL", f"eventbus:{{jobs}}:{part}")

    assert worked_off(port) == JOBS
    port.push([envelope("new")])
    assert worked_off(port) == ["new"]


@pytest.mark.parametrize("seed", range(30 if FULL else 5))
def test_a_body_that_is_gone_is_a_failed_job(populated, seed):
    """F24: counted exactly; it is told once and not claimed again and again."""
    server, port = populated
    gone = sorted(random.Random(seed).sample(JOBS, 1 + seed % len(JOBS)))
    server.ask("HDEL", "eventbus:{jobs}:bodies", *gone)

    assert worked_off(port) == sorted(set(JOBS) - set(gone))
    failed = {one.envelope.id: one for one in port.each_failed()}
    assert sorted(failed.keys() - {"failed0", "failed1", "failed2"}) == gone
    assert all("body" in failed[name].error for name in gone)
    port.purge(list(failed))
    assert consistency(server) == "ok"


@pytest.mark.parametrize("seed", range(60 if FULL else 5))
def test_half_of_the_keys_may_be_gone(populated, seed):
    """F24: whichever; nobody goes round in circles, and what is pushed then runs."""
    server, port = populated
    keys = sorted(server.ask("KEYS", "eventbus:*"))
    gone = random.Random(seed).sample(keys, len(keys) // 2)
    server.ask("DEL", *gone)
    server.ask("SCRIPT", "FLUSH")

    ran = worked_off(port)
    assert len(set(ran)) == len(ran)
    assert set(ran) <= set(JOBS)
    with closing(port_at(server.port)) as other:
        other.push([envelope("new")])
        assert worked_off(other) == ["new"]
        assert other.queues() in ([], ["jobs"])


def test_a_worker_lives_on_when_the_server_forgets(make_arena, results, full):
    """F24: scripts and bodies, again and again, under load."""
    arena = make_arena(store=Redis("none"), lease=5.0)
    server = arena.store.server
    chance = random.Random(1)
    producer = arena.producer("good", 0, "pause 0.002", "--backlog", "100")
    fleet = Fleet(arena, 2)
    gone = 0
    arena.await_entry("end", times=10)
    for _ in range(50 if full else 5):
        server.ask("SCRIPT", "FLUSH")
        waiting = arena.await_fact(
            lambda: server.ask("ZREVRANGE", "eventbus:{default}:order", 0, 20), said="some wait"
        )
        gone += server.ask("HDEL", "eventbus:{default}:bodies", chance.choice(waiting), b"none")
        done = arena.count("end")
        arena.await_entry("end", times=done + 5)
    producer.tell(signal.SIGTERM)
    assert producer.await_exit() == 0, producer.output
    fleet.drain()
    assert set(fleet.stop()) <= {0}

    verdict = check(arena.history())
    port = arena.bus.connections.port()
    broken = [job.envelope.id for job in port.each_failed() if "body" in job.error]
    results.add("forgotten scripts and bodies", arena, forgotten=gone, told=len(broken))
    assert fleet.codes == []
    assert port.purge(broken) == broken
    assert arena.store.integrity() == "ok"
    # One that was running, or done and not acknowledged, ran all the same.
    assert len(verdict.lost) <= len(broken) <= gone
    assert {*verdict.complaints} <= {"lost", "unexpected"}
