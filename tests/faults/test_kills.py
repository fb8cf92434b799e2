"""Workers are killed again and again in the middle of their jobs; nothing is lost, nothing doubled."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing

import pytest

from tests.faults.harness import Fleet, pause
from tests.forms import FULL

pytestmark = pytest.mark.timeout(900)


def test_jobs_survive_the_kills_of_their_workers(make_arena, either_store, results, full):
    """F1 F42: 20 ms jobs, a queue that is never empty, each kill in the middle of a job."""
    arena = make_arena(store=either_store, lease=2.0 if full else 1.0)
    effects = Effects(arena.folder / "effects.db")
    kills = 65 if full else 4
    arena.produce("deadly", 1, "end_process kill")
    producer = arena.producer("good", 0, "once 0.02", "--backlog", "50")
    fleet = Fleet(arena, 2, seed=1)

    for _ in range(kills):
        arena.await_fact(lambda: len(arena.running()) == 2, said="both work", meanwhile=fleet.tend)
        fleet.kill_one_at_work()
        pause(fleet.random.uniform(0.0, 0.2))
        assert arena.waiting() > 0
    producer.tell(signal.SIGTERM)
    assert producer.await_exit() == 0
    fleet.drain()
    fleet.stop()

    verdict = arena.judge()
    doubled, done = effects.doubled(), effects.count()
    results.add("kills, 20 ms jobs", arena, verdict, seed=1, doubled_effects=len(doubled))
    assert verdict.complaints == {}
    assert verdict.failed == ("deadly0",)  # its neighbours are unharmed
    assert (doubled, done) == ([], verdict.stored - 1)
    # One may have ended between the look and the kill.
    assert verdict.hits >= (50 if full else 3)
    # Jobs of 20 ms are claimed one by one: a kill cuts one, or comes before the ack of one.
    assert verdict.extra <= verdict.at_risk <= verdict.deaths


class Effects:
    """Where jobs have their effect, in one transaction with a note that they had it."""

    def __init__(self, path):
        self._path = path
        self._ask("CREATE TABLE done (id TEXT PRIMARY KEY)")
        self._ask("CREATE TABLE effects (job TEXT)")

    def _ask(self, statement):
        with closing(sqlite3.connect(self._path)) as db, db:
            return db.execute(statement).fetchall()

    def doubled(self):
        return self._ask("SELECT job FROM effects GROUP BY job HAVING count(*) > 1")

    def count(self):
        return self._ask("SELECT count(*) FROM effects")[0][0]


@pytest.mark.parametrize("seed", [1, 2, 3] if FULL else [1])
def test_short_jobs_survive_a_kill_every_200_ms(make_arena, store, results, full, seed):
    """F1 T1: 10,000 jobs of 2 ms and more, a worker killed every 200 ms for 60 s, then drained."""
    arena = make_arena(store=store, lease=2.0 if full else 1.0)
    jobs, seconds = (10_000, 60.0) if full else (300, 1.0)
    # They come for as long as the kills go on, and are never all done before.
    producer = arena.producer("good", 0, "pause 0.002", "--payload", "100", "--backlog", "100")
    fleet = Fleet(arena, 2, seed=seed)
    kills = 0

    over = None
    while over is None or time.monotonic() < over:
        # Who has only just come is let live until it works: else nobody ever would.
        at_work = arena.await_fact(
            lambda: [one for one in fleet.workers if one.name in arena.has_worked()],
            said="somebody works",
            meanwhile=fleet.tend,
        )
        over = over or time.monotonic() + seconds
        fleet.kill(fleet.random.choice(at_work))
        kills += 1
        pause(0.2)
    waiting = arena.waiting()
    stored = arena.count("stored")
    arena.await_entry("stored", times=max(jobs, stored), deadline=600)
    producer.tell(signal.SIGTERM)
    assert producer.await_exit() == 0
    fleet.drain(600)
    fleet.stop()

    verdict = arena.judge()
    results.add("kills every 200 ms, 2 ms jobs", arena, verdict, seed=seed, kills=kills)
    assert verdict.complaints == {}
    assert verdict.stored >= jobs
    assert waiting > 0  # until the last kill there was something to do
    # What was running when its worker was killed, and what was done and not acknowledged yet.
    assert verdict.extra <= verdict.at_risk
    # One that had bad luck three times is failed; it takes three kills to do that.
    assert len(verdict.failed) <= verdict.hits // 3
    assert verdict.deaths == kills > 0
