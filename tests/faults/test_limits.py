"""Limits that many processes share: never more than they allow, whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from itertools import pairwise

import pytest

from eventbus.backends.instants import span
from tests.faults.harness import pause

pytestmark = pytest.mark.timeout(600)

#: Seconds after which a dead process's slot is free.
LIFE = 2.0


def lines(process, word):
    """The instants that a process wrote behind a word, in whole lines only."""
    whole = process.output.rpartition("\n")[0]
    found = [line.split() for line in whole.splitlines()]
    return [tuple(map(int, one[1:])) for one in found if one[0] == word]


def is_in(process):
    """Whether it is in the funnel, or died there."""
    return len(lines(process, "in")) > len(lines(process, "out"))


def stopped_inside(processes):
    """Stop somebody who is in the funnel; None if nobody was by then."""
    for one in filter(is_in, processes):
        one.tell(signal.SIGSTOP)
        # What it wrote before it stopped says whether it is in still.
        os.waitid(os.P_PID, one.pid, os.WSTOPPED | os.WNOWAIT)
        if is_in(one):
            return one
        one.tell(signal.SIGCONT)
    return None


def entries(processes):
    return sum(len(lines(one, "in")) for one in processes)


def await_all(arena, processes):
    """Wait until each can be told to end."""
    arena.await_fact(lambda: all(lines(one, "ready") for one in processes), said="all have begun")


def test_a_throttle_is_never_exceeded_in_any_stretch_and_is_used(
    make_arena, either_store, results, full
):
    """R1, R9: 8 processes that take whatever there is."""
    arena = make_arena(store=either_store)
    allow, every = 50, 1.0
    seconds = 30.0 if full else 3.0
    processes = [
        arena.spawn("taker", "-m", "faults.limiting", "throttle", f"{allow}", f"{every}")
        for _ in range(8 if full else 4)
    ]
    await_all(arena, processes)
    pause(seconds)
    for one in processes:
        one.tell(signal.SIGTERM)
    assert [one.await_exit() for one in processes] == [0] * len(processes)

    counted = sorted(pair for one in processes for pair in lines(one, "counted"))
    # What one of them counted lies between two instants: only what is sure is judged.
    firsts, lasts = zip(*counted, strict=True)
    excess = [
        (first, last)
        for first, last in zip(firsts, sorted(lasts)[allow:], strict=False)
        if last - first < span(every)
    ]
    took = (max(lasts) - min(firsts)) / 1_000_000
    used = len(counted) / (allow * (took / every + 1))
    results.add(
        "a throttle of 50 a second, 8 processes", arena, passed=len(counted), used=round(100 * used)
    )
    assert excess == []
    # Each of them got some; and of a long run nearly all is used: a step of each window is not.
    assert all(lines(one, "counted") for one in processes)
    if full:
        assert used >= 0.95


def test_a_funnel_of_one_never_holds_two_whoever_is_killed(make_arena, store, results, full):
    """R2: and the next is in when the slot of a dead one has ended."""
    arena = make_arena(store=store)
    chance = random.Random(1)
    kills = 30 if full else 3

    def another():
        return arena.spawn("holder", "-m", "faults.limiting", "funnel", f"{LIFE}", "0.02")

    alive = [another() for _ in range(3)]
    dead = []
    for _ in range(kills):
        pause(chance.uniform(0, 0.1))
        holder = arena.await_fact(lambda: stopped_inside(alive), said="somebody is in")
        struck = span(time.monotonic())
        holder.tell(signal.SIGKILL)
        holder.await_exit()
        alive.remove(holder)
        dead.append((holder, struck))
        enough = entries(alive) + 2
        arena.await_fact(
            lambda enough=enough: entries(alive) > enough, said="others go in after it"
        )
        alive.append(another())
    await_all(arena, alive)
    for one in alive:
        one.tell(signal.SIGTERM)
    assert [one.await_exit() for one in alive] == [0] * len(alive)

    stays = []
    for process, end in [*((one, None) for one in alive), *dead]:
        went_in = [instant for (instant,) in lines(process, "in")]
        came_out = [instant for (instant,) in lines(process, "out")]
        if len(came_out) < len(went_in):
            assert end is not None
            came_out.append(max(end, went_in[-1]))
        stays += zip(went_in, came_out, strict=True)
    stays.sort()
    overlaps = [(one, two) for one, two in pairwise(stays) if two[0] < one[1]]
    cut = sum(is_in(one) for one, _ in dead)
    results.add("a funnel of one, its holders killed", arena, passed=len(stays), kills=kills)
    assert overlaps == []
    assert cut == kills
