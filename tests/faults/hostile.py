"""An application whose store somebody else writes into, with real workers and the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from click.testing import CliRunner

from eventbus.console.command import command
from eventbus.worker import ExitCode, Worker

from .poison import APPLICATION, StoreFile

WORKER = "from eventbus.worker.command import main; main()"
CONSOLE = "from eventbus.console.command import main; main()"

#: Seconds after which what did not happen is a failure.
DEADLINE = 20


#: Prints what a process has used at most, once its worker ends. Not `ru_maxrss`: a child inherits it.
MEASURED = """
from eventbus import WorkerStarting, WorkerStopping

def _kilobytes():
    with open("/proc/self/status") as status:
        return next(line.split()[1] for line in status if line.startswith("VmHWM"))

for one in (WorkerStarting, WorkerStopping):
    bus.listen(one, lambda event: print("kilobytes", _kilobytes(), flush=True))
"""


class Hostile:
    """The application `shop` of `poison.APPLICATION` in a folder of its own."""

    def __init__(self, folder: Path, source: str = APPLICATION) -> None:
        self.folder = folder
        (folder / "shop.py").write_text(source)
        self.environment = {
            **{name: of for name, of in os.environ.items() if not name.startswith("EVENTBUS_")},
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
            "EVENTBUS_APP": "shop:bus",
        }
        self.environment.pop("PYTEST_VERSION", None)

    def python(self, *arguments, timeout=60, **environment):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=timeout,
            check=False,
        )

    def work(self, *options, **environment):
        """Let a worker do what is due, in a process of its own; return it, ended."""
        options = ("--stop-when-empty", *options)
        return self.python("-c", WORKER, *options, **environment)

    def console(self, *arguments):
        return self.python("-c", CONSOLE, *arguments)

    def command(self, monkeypatch, *arguments):
        """Run the `eventbus` command in this process; return its result."""
        with monkeypatch.context() as patch:
            patch.chdir(self.folder)
            done = CliRunner().invoke(command, ["--app", "shop:bus", *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), arguments
        assert is_plain(done.output), arguments
        return done

    def failed(self):
        """Return what `eventbus failed --json` prints, by id."""
        done = self.console("failed", "--json")
        assert done.returncode == 0, done.stderr
        return {one["id"]: one for one in json.loads(done.stdout)}

    @contextmanager
    def bus(self, monkeypatch):
        """Give the application's bus, imported here."""
        with monkeypatch.context() as patch:
            patch.syspath_prepend(self.folder)
            patch.delitem(sys.modules, "shop", raising=False)
            patch.setattr(sys, "dont_write_bytecode", True)
            shop = import_module("shop")
            try:
                with shop.bus as bus:
                    bus.discover()
                    bus.connections.port().size("default")  # makes the file
                    yield bus
            finally:
                os.close(shop.log)
                sys.modules.pop("shop", None)

    def make_file(self):
        """Have the product make its file, in a process of its own."""
        done = self.console("failed")
        assert done.returncode == 0, done.stderr

    def file(self):
        return StoreFile(self.folder / "queue.db")

    @property
    def ran(self):
        """What ran, in order."""
        path = self.folder / "ran"
        return path.read_text().split("\n")[:-1] if path.exists() else []


def drain(bus):
    """
    Run what is due in this process; return how many jobs that were.

    In a thread, where a worker leaves signals, and so the time limit of the test, alone.
    """
    worker = Worker(bus, stop_when_empty=True)
    code = []
    thread = threading.Thread(target=lambda: code.append(worker.run()), daemon=True)
    thread.start()
    thread.join(DEADLINE)
    worker.stop()
    assert not thread.is_alive(), "the worker found no end"
    assert code == [ExitCode.DONE], "the worker raised"
    return worker.processed


def is_plain(text):
    """Tell whether `text` holds nothing that a terminal obeys, but line feeds."""
    return all(one.isprintable() or one == "\n" for one in text)
