"""
Workers and producers that die at each message to or from a Redis server, one after the other.

At a message to the server they die before it has it; at one from it, after it has done what it was asked.
The process is a real one, and the proxy knows what came through. From that, and from whether the listener
had begun, follows exactly how often the job is to run in all. A lease that a dead worker left behind is
ended in the server, not waited for.
"""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest

from eventbus.backends.redis_calls import scripts
from tests.faults.forking import Forks
from tests.faults.proxy import Deed, Proxy
from tests.faults.stores import Redis
from tests.forms import FULL

pytestmark = pytest.mark.timeout(900)

#: The scripts of the server, by what they are called for.
NAMES = {script.sha.encode(): name for name, script in scripts().items()}


def said(message):
    """Return what a request is about: the name of a script, or of a command."""
    words = message.split(b"\r\n")[2::2]
    return NAMES.get(words[1], "?") if words[0] == b"EVALSHA" else words[0].decode()


class Steps:
    """An arena whose processes speak through a proxy, which kills them."""

    def __init__(self, arena, proxy, forks):
        self.arena, self.proxy, self.forks = arena, proxy, forks
        self.through = {"FAULTS_URL": f"redis://127.0.0.1:{proxy.port}"}
        #: What has come through to the server since the last call.
        self.passed = Counter()

    def kill_at(self, way, number):
        """Kill whoever runs next at a message; a request goes no further."""
        self.proxy.mend()
        self.passed.clear()
        self.proxy.up.judge = self.note
        # A dead process says nothing more; but what it had said may still be on its way.
        after = Deed.CUT if way == "up" else Deed.DROP
        self.proxy.at(getattr(self.proxy, way), number, lambda: self.forks.kill() or after)

    def producer(self, *arguments):
        return self.ended(self.forks.producer(*arguments, **self.through))

    def worker(self, *options):
        return self.ended(self.forks.worker(*options, **self.through))

    def run(self, module, *arguments):
        return self.ended(self.forks.run(module, *arguments, **self.through))

    def ended(self, code):
        self.proxy.await_end()
        return code

    def note(self, _number, message):
        self.passed[said(message)] += 1

    def starts(self, prefix):
        entries = self.arena.entries
        return [one for one in entries if one.what == "start" and one.job.startswith(prefix)]

    def sizes(self):
        found = self.arena.bus.connections.port().size("default")
        return found.ready + found.delayed + found.leased, found.failed

    def finish(self):
        """End the leases that the dead left behind, and work off what there is, undisturbed."""
        self.arena.store.end_leases()
        assert self.forks.worker("--tries", "1") == 0, self.forks.output()
        assert self.arena.store.integrity() == "ok"


@pytest.fixture
def steps(make_arena):
    arena = make_arena(store=Redis("none"), lease=60.0)
    with Proxy(arena.store.server.port) as proxy, Forks(arena) as forks:
        made = Steps(arena, proxy, forks)
        # The server knows the scripts then: one that it does not know is sent twice.
        for does in ("pause 0", "fail ValueError", "fail_once ValueError"):
            assert forks.producer(f"warm {does}", 1, does, "--tries", "2") == 0, forks.output()
        made.finish()
        yield made


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_dispatch_that_dies_has_stored_all_its_jobs_or_none(steps, results, way):
    """F3, T3: three queued listeners of one event; each stored job runs."""
    many = ("--app", "faults.application_many", "--kind", "Many")
    stored = []
    for number in count(1):
        key = f"many-{way}-{number}-"
        steps.kill_at(way, number)
        code = steps.producer(key, 1, "pause 0", *many)
        waiting, _ = steps.sizes()
        stored.append(waiting)
        assert steps.arena.store.integrity() == "ok"
        assert waiting == 3 * min(1, steps.passed["push"]), steps.passed
        assert steps.forks.worker(app="faults.application_many:bus") == 0
        suffixes = [one.job.rpartition("-")[2] for one in steps.starts(key)]
        assert sorted(suffixes) == ["first", "second", "third"][:waiting]
        if code == 0:
            break

    assert number > 3  # the kills were real
    assert set(stored) == {0, 3}
    results.add(f"a dispatch of 3 jobs, killed on the way {way}", steps.arena, positions=number - 1)


#: What a job does, how often it may, how often it runs if nobody disturbs it, and whether it fails.
WAYS = {
    "ack": ("pause 0", 1, 1, 0),
    "release": ("fail_once ValueError", 2, 2, 0),
    "bury": ("fail ValueError", 1, 1, 1),
}


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("end", list(WAYS) if FULL else ["ack"])
def test_a_worker_that_dies_repeats_the_run_that_was_not_settled(steps, results, end, way):
    """F2, T3: before the claim, after it, in the run, before the ack, during it and after it."""
    does, tries, runs, failures = WAYS[end]
    seen = Counter()
    for number in count(1):
        key = f"{end}-{way}-{number}-"
        assert steps.forks.producer(key, 1, does, "--tries", str(tries)) == 0
        _, failed = steps.sizes()
        steps.kill_at(way, number)
        code = steps.worker("--tries", "1")
        started = len(steps.starts(key))
        unsettled = started - sum(steps.passed[verb] for verb in WAYS)
        if code == 0:
            break
        assert unsettled in (0, 1), (number, steps.passed)
        seen[bool(started), unsettled] += 1
        steps.finish()
        assert len(steps.starts(key)) == runs + unsettled, (number, steps.passed)
        assert steps.sizes() == (0, failed + failures)

    assert (started, unsettled) == (runs, 0), steps.forks.output()
    # It died before its first run, after one that was settled, and just before it was.
    assert seen.keys() == {(False, 0), (True, 0), *([(True, 1)] if way == "up" else [])}
    verdict = steps.arena.judge(tries=2)
    name = f"a worker whose job ends by {end}, killed on the way {way}"
    results.add(name, steps.arena, verdict, positions=sum(seen.values()))
    assert verdict.complaints == {}


@pytest.mark.skipif(not FULL, reason="takes as long as the leases that are renewed")
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_worker_that_dies_as_it_renews_a_lease_repeats_its_run(steps, results, way):
    """F2, T3"""
    steps.arena.lease = 0.3
    renewed = 0
    for number in count(1):
        key = f"long-{way}-{number}-"
        assert steps.forks.producer(key, 1, "pause 0.5") == 0
        steps.kill_at(way, number)
        code = steps.worker()
        renewed += steps.passed["extend"]
        if code == 0:
            break
        unsettled = len(steps.starts(key)) - steps.passed["ack"]
        steps.finish()
        assert len(steps.starts(key)) == 1 + unsettled, (number, steps.passed)

    assert renewed > 5
    verdict = steps.arena.judge(tries=2)
    name = f"a worker that renews a lease, killed on the way {way}"
    results.add(name, steps.arena, verdict, positions=number - 1)
    assert verdict.complaints == {}


#: What an operator does, and what has become of 3 jobs that wait and 3 that have failed.
DEEDS = {
    "revive": (6, 0),
    "purge": (3, 0),
    "cancel": (0, 3),
    "clear": (0, 3),
    "pause": (3, 3),
    "look": (3, 3),
}


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("verb", list(DEEDS) if FULL else ["revive"])
def test_what_an_operator_does_is_done_to_all_jobs_or_to_none(steps, results, verb, way):
    """F2, T3: each verb is one step, whoever dies in it."""
    port = steps.arena.bus.connections.port()
    outcomes = set()
    for number in count(1):
        port.purge([job.envelope.id for job in port.each_failed()])
        port.clear("default")
        assert steps.forks.producer("bad", 3, "fail ValueError") == 0
        assert steps.forks.worker("--tries", "1") == 0
        assert steps.forks.producer("good", 3, "pause 0") == 0
        jobs = [*port.each_stored(), *port.each_failed()]
        steps.kill_at(way, number)
        code = steps.run("faults.operating", verb, *(job.envelope.id for job in jobs))
        outcomes.add(steps.sizes())
        assert steps.arena.store.integrity() == "ok"
        assert outcomes <= {(3, 3), DEEDS[verb]}
        port.resume(["default"])
        if code == 0:
            break

    assert number > 3
    assert outcomes == {(3, 3), DEEDS[verb]}
    name = f"an operator: {verb}, killed on the way {way}"
    results.add(name, steps.arena, positions=number - 1)
