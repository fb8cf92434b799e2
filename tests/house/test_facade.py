"""The front door: what `import eventbus` offers, and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest

import eventbus
import eventbus.testing


def test_the_public_names_are_sorted():
    assert list(eventbus.__all__) == sorted(eventbus.__all__)


def test_every_public_name_exists():
    assert [name for name in eventbus.__all__ if not hasattr(eventbus, name)] == []


def test_no_public_name_is_private():
    assert [name for name in eventbus.__all__ if name.startswith("_")] == []


def test_there_are_fewer_than_forty_public_names():
    assert len(eventbus.__all__) < 40


def test_a_star_import_gives_exactly_the_public_names():
    namespace: dict[str, object] = {}
    exec("from eventbus import *", namespace)

    assert namespace.keys() - {"__builtins__"} == set(eventbus.__all__)


@pytest.fixture(scope="module")
def loaded_by_import() -> frozenset[str]:
    # Coverage measures subprocesses by importing itself, and much else, into them.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    program = "import sys, eventbus; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "asyncio",
        "click",
        "eventbus.backends",
        "eventbus.console",
        "eventbus.testing",
        "eventbus.worker",
        "logging",
        "msgspec",
        "sqlite3",
    ],
)
def test_importing_eventbus_does_not_load(module: str, loaded_by_import: frozenset[str]):
    loaded = sorted(
        name for name in loaded_by_import if name == module or name.startswith(f"{module}.")
    )

    assert loaded == []


@pytest.mark.parametrize("package", [eventbus, eventbus.testing])
def test_a_lazy_package_lists_its_names_before_they_are_used(package: ModuleType):
    assert set(package.__all__) <= set(dir(package))
