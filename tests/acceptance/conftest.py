"""
A shop in a folder of its own, and real `eventbus-worker` processes that run its jobs. Its queue lies beside it,
or where `SHOP_URL` says.

What a test waits for are lines of a worker's output, its own log's and what listeners print, each
with a deadline. A listener that is to wait for its test reads from a gate, a named pipe.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

#: Seconds after which what did not happen is a failure.
DEADLINE = 20

PREAMBLE = '''
import asyncio, os, select, signal, sys
from attrs import frozen
from eventbus import *

def say(*words):
    # In one piece: the lease thread may log in between.
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

def pass_gate(number=1):
    """Wait until the test opens the gate."""
    with open(os.path.join(HERE, f"gate{number}")) as gate:
        gate.read()

def wait_for_ever():
    while True:  # in steps: a signal that comes just before a system call does not interrupt it
        select.select([], [], [], 0.1)

HERE = os.path.dirname(os.path.abspath(__file__))
URL = os.environ.get("SHOP_URL", f"sqlite:///{HERE}/queue.db")
bus = EventBus(connections={"default": URL})

@frozen
class Ordered:
    number: int = 0
    way: str = ""

'''


#: Starts an `eventbus-worker`.
WORKER = ("-c", "from eventbus.worker.command import main; main()")


class WorkerProcess:
    """An `eventbus-worker`, or a script of the shop's own, and what it has said so far."""

    def __init__(self, arguments, *, folder, environment, program=WORKER, wrapped=()):
        self.process = subprocess.Popen(
            [*wrapped, sys.executable, *program, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.pid = self.process.pid
        self.lines = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def output(self):
        return "\n".join(self.lines)

    def said(self, text):
        """Return the lines that have `text` in them."""
        return [line for line in list(self.lines) if text in line]

    def await_line(self, text, *, times=1):
        """Wait until `text` was said in so many lines; return the last of them."""
        with self._news:
            self._news.wait_for(
                lambda: len(self.said(text)) >= times or not self._reader.is_alive(), DEADLINE
            )
        found = self.said(text)
        assert len(found) >= times, f"{text!r} was not said {times} times:\n{self.output}"
        return found[times - 1]

    def await_exit(self):
        """Wait until the process ends; return its exit code."""
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the worker did not end:\n{self.output}")
        self._reader.join(DEADLINE)
        return code

    def tell(self, number):
        self.process.send_signal(number)

    def stop(self):
        """Ask it to stop after the running job; return its exit code."""
        self.tell(signal.SIGTERM)
        return self.await_exit()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(DEADLINE)
        self.process.stdout.close()


class Shop:
    """An application of one module, `shop`, with its queue beside it."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = environment
        self.workers = []
        self._module = None

    def write(self, source, *, name="shop", preamble=PREAMBLE):
        (self.folder / f"{name}.py").write_text(preamble + source)

    @property
    def module(self):
        """The application, imported here as well, to dispatch what workers run."""
        if self._module is None:
            self._module = importlib.import_module("shop")
        return self._module

    @property
    def bus(self):
        return self.module.bus

    @property
    def port(self):
        return self.bus.connections.port()

    def dispatch(self, *arguments):
        """Dispatch an `Ordered` of these arguments."""
        self.bus.dispatch(self.module.Ordered(*arguments))

    def waiting(self, queue="default"):
        size = self.port.size(queue)
        return size.ready + size.delayed + size.leased

    def gate(self, number=1):
        path = self.folder / f"gate{number}"
        os.mkfifo(path)
        return path

    def open_gate(self, number=1):
        """Let the listener that waits at the gate pass; waits until it does."""
        with open(self.folder / f"gate{number}", "w"):  # opens once both ends are there
            pass

    def start(self, *options, app="shop:bus", wrapped=(), **environment):
        """Start a worker; it looks for jobs twenty times a second unless told otherwise."""
        named = [] if app is None else [app]
        worker = WorkerProcess(
            [*named, "--sleep", "0.05", *options],
            folder=self.folder,
            environment={**self.environment, **environment},
            wrapped=wrapped,
        )
        self.workers.append(worker)
        return worker

    def run(self, *arguments):
        """Start the shop's own module as a script."""
        script = WorkerProcess(
            arguments, folder=self.folder, environment=self.environment, program=("-m", "shop")
        )
        self.workers.append(script)
        return script

    def work(self, *options, **more):
        """Let a worker do what is due; return it, ended."""
        worker = self.start("--stop-when-empty", *options, **more)
        worker.code = worker.await_exit()
        return worker

    def close(self):
        for worker in self.workers:
            worker.end()
        if self._module is not None:
            self._module.bus.close()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop whose listeners a test writes."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("EVENTBUS_")},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("PYTEST_VERSION", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Shop(tmp_path, environment)
    yield made
    made.close()
    sys.modules.pop("shop", None)


@pytest.fixture
def shop_on_redis(shop, redis_server, monkeypatch):
    """A shop whose queue lies in Redis, which is empty."""
    redis_server.ask("FLUSHALL")
    monkeypatch.setenv("SHOP_URL", redis_server.url)
    shop.environment["SHOP_URL"] = redis_server.url
    return shop


@pytest.fixture(params=["sqlite", "redis"])
def each_shop(request):
    """A shop with its queue in a file, and one with it in Redis."""
    return request.getfixturevalue("shop_on_redis" if request.param == "redis" else "shop")
