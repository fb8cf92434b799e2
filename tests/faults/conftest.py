"""Arenas for the tests, and the bars: short in `make test`, full in `make faults`."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventbus.backends.sqlite import load_driver, wal_is_safe
from tests.faults.harness import Arena, arena
from tests.faults.report import JUDGED
from tests.faults.stores import STORES
from tests.forms import FULL


class Results:
    """One line of JSON for each scenario, to the file that `FAULTS_RESULTS` names, if it does."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def add(
        self, scenario: str, where: Arena | str, verdict: object = None, **figures: object
    ) -> None:
        """
        Write a line.

        Args:
            scenario: One of those that `report.EXPECTED` has.
            where: The arena, or what reports call the store.
            verdict: The judge's, if there is one.
            figures: What else there is to say, by the names that `report.FIGURES` has.
        """
        place = os.environ.get("FAULTS_RESULTS")
        if not place:
            return
        said = {
            "scenario": scenario,
            "store": where if isinstance(where, str) else where.store.name,
            "form": "full" if FULL else "short",
            "seconds": round(time.monotonic() - self._began, 1),
        }
        if verdict is not None:
            for name in JUDGED:
                found = getattr(verdict, name)
                said[name] = found if isinstance(found, int) else len(found)
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**said, **figures}) + "\n")


@pytest.fixture
def results():
    return Results()


@pytest.fixture
def full():
    """Whether the full bars are asked for."""
    return FULL


@pytest.fixture
def make_arena(tmp_path):
    """Make arenas, which end with the test."""
    with ExitStack() as ending:

        def make(name="arena", **options):
            folder = tmp_path / name
            folder.mkdir()
            return ending.enter_context(arena(folder, **options))

        yield make


#: Both journals; WAL only where there is a driver that is safe with it.
SAFE = wal_is_safe(load_driver().sqlite_version_info)
WAL = pytest.param("WAL", marks=pytest.mark.skipif(not SAFE, reason="needs eventbus[sqlite]"))


@pytest.fixture(params=["PERSIST", WAL] if FULL else ["PERSIST"])
def journal(request):
    """Both journals where the full bars are asked for, else the one that needs no extra."""
    return request.param


@pytest.fixture(params=["PERSIST", WAL])
def each_journal(request):
    return request.param


@pytest.fixture
def file_store(journal):
    """A SQLite file, with each of these journals."""
    return STORES[journal]()


@pytest.fixture(params=["PERSIST", WAL, "redis"] if FULL else ["PERSIST"])
def store(request):
    """Every kind of store where the full bars are asked for, else the one that needs nothing."""
    return STORES[request.param]()


@pytest.fixture(params=["PERSIST", WAL, "redis"] if FULL else ["PERSIST", "redis"])
def either_store(request):
    """The same, but for a short form that is worth its time on both."""
    return STORES[request.param]()


@pytest.fixture(params=["PERSIST", WAL, "redis"])
def each_store(request):
    return STORES[request.param]()
