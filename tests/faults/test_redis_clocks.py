"""Machines whose clocks are wrong, or jump, on one Redis server: its clock alone decides what is due."""

from __future__ import annotations

import random
import struct
import subprocess
import sys

import pytest

from tests.faults.harness import Fleet, pause
from tests.faults.power_cut import compiled
from tests.faults.stores import Redis

pytestmark = pytest.mark.timeout(900)

HOUR, DAY = 3600.0, 86_400.0


class Machine:
    """The environment of processes whose wall clock is wrong."""

    def __init__(self, folder, library, seconds=0.0):
        self.file = folder / f"clock-{id(self)}"
        self.file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self.file)}
        self.set(seconds)

    def set(self, seconds):
        with self.file.open("r+b") as file:
            file.write(struct.pack("d", seconds))


@pytest.fixture
def machine(tmp_path, library):
    return lambda seconds=0.0: Machine(tmp_path, library, seconds)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled("clock_shift", tmp_path_factory.mktemp("clock"))


def test_a_clock_is_wrong_by_as_much_as_it_is_told(machine):
    """So that it is known that the others test something."""
    program = "import time, datetime as d; print(time.time() - d.datetime.now().timestamp() < 1, time.time())"
    found = {}
    for seconds in (0.0, HOUR, -DAY):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=machine(seconds).environment,
            check=True,
            capture_output=True,
            text=True,
        )
        agree, found[seconds] = done.stdout.split()
        assert agree == "True"
    ahead = float(found[HOUR]) - float(found[0.0])
    behind = float(found[-DAY]) - float(found[0.0])
    assert HOUR <= ahead < HOUR + 600
    assert -DAY <= behind < -DAY + 600


@pytest.mark.parametrize("producer, worker", [(300.0, -300.0), (-300.0, 300.0)])
def test_delayed_jobs_are_due_by_the_servers_clock(
    make_arena, machine, results, full, producer, worker
):
    """F33: none early; how late they were is recorded."""
    arena = make_arena(store=Redis("none"))
    jobs, delay = (50, 2.0) if full else (5, 1.0)
    fleet = Fleet(arena, 1, **machine(worker).environment)
    arena.produce(
        "later", jobs, "pause 0", "--delay", f"{delay:g}", **machine(producer).environment
    )
    arena.await_entry("end", times=jobs)
    fleet.stop()

    verdict = arena.judge()
    at = {(entry.what, entry.job): entry.at for entry in arena.entries}
    jobs_of = [job for what, job in at if what == "stored"]
    early = [job for job in jobs_of if at["start", job] < at["attempted", job] + delay - 0.01]
    late = max(at["start", job] - at["stored", job] - delay for job in jobs_of)
    name = f"clocks: producer {producer:+g} s, worker {worker:+g} s"
    results.add(name, arena, verdict, slowest=round(late, 2), bar=1.0)
    assert early == []
    assert (verdict.complaints, verdict.extra) == ({}, 0)


def test_a_clock_that_jumps_ends_no_lease(make_arena, machine, results, full):
    """F32: on one worker of two, by an hour and by a day, to and fro, with jobs of three leases."""
    arena = make_arena(store=Redis("none"), lease=1.0)
    odd = machine()
    chance = random.Random(1)
    jumps = 100 if full else 15
    producer = arena.producer("good", 0, "pause 0.01", "--backlog", "20")
    arena.produce("long", 10 if full else 1, f"pause {arena.lease * 3:g}")
    fleets = [Fleet(arena, 1), Fleet(arena, 1, **odd.environment)]
    arena.await_fact(lambda: len(arena.has_worked()) == 2, said="both work")
    for _ in range(jumps):
        odd.set(chance.choice([0.0, 1.0, -1.0, HOUR, -HOUR, DAY, -DAY, 37 * DAY]))
        pause(0.2)
    producer.tell(15)
    assert producer.await_exit() == 0, producer.output
    fleets[0].drain()
    for fleet in fleets:
        assert set(fleet.stop()) <= {0}

    verdict = arena.judge()
    results.add("a clock that jumps", arena, verdict, jumps=jumps)
    assert (verdict.complaints, verdict.extra, verdict.failed) == ({}, 0, ())
