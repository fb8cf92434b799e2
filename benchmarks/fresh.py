"""What is timed in fresh processes, one after the other in random order: imports, and a scan."""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

#: What is imported, by its name in the table.
IMPORTS = {
    "attrs": "attrs",
    "eventbus": "eventbus",
    "eventbus, and its EventBus": "eventbus.bus",
    "blinker": "blinker",
    "Django signals": "django.dispatch",
    "eventkit": "eventkit",
    "psygnal": "psygnal",
    "PyDispatcher": "pydispatch.dispatcher",
    "pyee": "pyee",
    "pymitter": "pymitter",
    "zope.event": "zope.event",
}
#: What `import eventbus` must not load.
FORBIDDEN = ("asyncio", "msgspec", "sqlite3")

# The time of the processor: files lie in memory after the first run, and waiting is not the import's.
_IMPORT = """
import sys, time
started = time.process_time()
__import__({module!r})
took = time.process_time() - started
loaded = sorted(sys.modules)
import json
print(json.dumps([took, loaded]))
"""

MODULES = 300
_BARE = """
import sys, time
sys.path.insert(0, {folder!r})
import importlib, eventbus
started = time.process_time()
for index in range({modules}):
    importlib.import_module(f"benched.listeners{{index}}")
print([time.process_time() - started, 0])
"""
_SCAN = """
import sys, time
sys.path.insert(0, {folder!r})
import importlib, eventbus
started = time.process_time()
bus = eventbus.EventBus(discover=["benched"])
found = bus.discover()
print([time.process_time() - started, len(bus.listeners())])
"""
_EVENTS = """
from attrs import frozen

@frozen
class Shipped:
    order_id: int

@frozen
class Returned:
    order_id: int
"""
_LISTENERS = """
from benched.events import Returned, Shipped
from eventbus import listens

class Ledger{index}:
    def handle_shipped(self, event: Shipped) -> None: ...

@listens
def on_shipped_{index}(event: Shipped) -> None: ...

@listens(priority=1)
def on_returned_{index}(event: Returned) -> None: ...
"""


@frozen
class Fresh:
    """Seconds by contender, one value a round, and what the processes said besides."""

    values: Mapping[str, list[float]]
    missing: Mapping[str, str]
    said: Mapping[str, object] = field(factory=dict)


def imports(folder: Path, rounds: int, seed: int) -> Fresh:
    """Time the imports; what is `said` is the modules that each loads."""
    codes = {name: _IMPORT.format(module=module) for name, module in IMPORTS.items()}
    return _interleaved(codes, folder, rounds, seed)


def scan(folder: Path, rounds: int, seed: int) -> Fresh:
    """Time `discover` of a generated package, against a bare import of its modules."""
    package = folder / "benched"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "events.py").write_text(_EVENTS, encoding="utf-8")
    for index in range(MODULES):
        source = _LISTENERS.format(index=index)
        (package / f"listeners{index}.py").write_text(source, encoding="utf-8")
    values = {"folder": str(folder), "modules": MODULES}
    codes = {"import": _BARE.format(**values), "eventbus": _SCAN.format(**values)}
    return _interleaved(codes, folder, rounds, seed)


def import_costs(folder: Path, runs: int = 7) -> dict[str, float]:
    """Return the modules that eventbus loads beyond attrs, and the seconds of each itself."""
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        lines = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import attrs; import eventbus"],
            check=True, capture_output=True, text=True, env=_environment(folder),
        ).stderr.splitlines()  # fmt: skip
        timed = [re.fullmatch(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", one) for one in lines]
        rows = [(one[2], int(one[1]) / 1e6) for one in timed if one]
        attrs_at = next(index for index, (name, _) in enumerate(rows) if name == "attrs")
        for name, seconds in rows[attrs_at + 1 :]:
            found.setdefault(name, []).append(seconds)
    return {name: statistics.median(values) for name, values in found.items()}


def _interleaved(codes: Mapping[str, str], folder: Path, rounds: int, seed: int) -> Fresh:
    environment = _environment(folder)
    missing: dict[str, str] = {}
    said: dict[str, object] = {}
    values: dict[str, list[float]] = {}
    for name, code in codes.items():  # also writes the bytecode, so is not timed
        try:
            said[name] = _run(code, environment)[1]
        except subprocess.CalledProcessError as error:
            missing[name] = textwrap.shorten(error.stderr.splitlines()[-1], 100)
        else:
            values[name] = []
    order = random.Random(seed)
    for _ in range(rounds):
        for name in order.sample(list(values), len(values)):
            values[name].append(_run(codes[name], environment)[0])
    return Fresh(values, missing, said)


def _environment(folder: Path) -> dict[str, str]:
    """Return one in which every module has its bytecode: in a folder of ours, as new as its source."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def _run(code: str, environment: Mapping[str, str]) -> list:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    return json.loads(done.stdout)
