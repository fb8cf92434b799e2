"""Those who enqueue chains and batches are killed, and those who run them: each plan is whole, and comes to its end."""

from __future__ import annotations

import signal

import pytest

from tests.faults.harness import Fleet, pause
from tests.faults.planned import look
from tests.faults.pools import Pool

pytestmark = pytest.mark.timeout(900)

APP = {"app": "faults.application_plans:bus"}


class Authors:
    """Processes that enqueue plans, one after the other."""

    def __init__(self, arena):
        self._arena = arena
        self._number = 0

    def start(self, plans=100):
        """Start one, and wait until it is amid its first plan."""
        self._number += 1
        prefix = f"p{self._number}-"
        author = self._arena.spawn("author", "-m", "faults.application_plans", prefix, str(plans))
        self._arena.await_entry("attempted", job=f"{prefix}0.a")
        return author


def kill_often(arena, those, times):
    """Kill so many workers of those, and as many authors, each amid what it does."""
    authors = Authors(arena)
    for _ in range(times):
        author = authors.start()
        pause(those.random.uniform(0.0, 0.1))
        those.kill_one_at_work(uncut=True)
        pause(those.random.uniform(0.0, 0.1))
        author.tell(signal.SIGKILL)
        author.popen.wait()
    author = authors.start(8)
    assert author.await_exit() == 0, author.output


def test_plans_survive_the_kills_of_authors_and_workers(make_arena, either_store, results, full):
    """C1 B1 F1: stored whole or not, run in their order, counted exactly, whoever dies in whatever instant."""
    arena = make_arena(store=either_store, lease=2.0 if full else 1.0)
    kills = 65 if full else 4
    fleet = Fleet(arena, 2, seed=1, **APP)

    kill_often(arena, fleet, kills)
    fleet.drain(300)
    fleet.stop()

    judge(arena, results, "plans: authors and workers killed", kills)


def test_plans_survive_the_kills_of_processes(make_arena, either_store, results, full):
    """C1 B1 F1: the same, where the watcher gives back what the dead had, without waiting for a lease."""
    arena = make_arena(store=either_store, lease=3_600.0)
    kills = 65 if full else 4
    pool = Pool(arena, 2, seed=1, **APP)

    kill_often(arena, pool, kills)
    pool.drain(300)
    assert pool.stop() == 0

    judge(arena, results, "plans: authors and processes killed", kills)


def judge(arena, results, scenario, kills):
    # A step that has raised may be cut before the store knows of it.
    verdict = arena.judge(tries=1 + kills)
    outcome = look(arena.history(), arena.bus.connections.port())
    results.add(scenario, arena, verdict, kills=kills, plans=outcome.plans, authors_cut=outcome.cut)
    assert verdict.complaints == {}
    assert outcome.complaints == {}
    assert verdict.extra <= verdict.at_risk
    assert verdict.deaths == kills
