"""
A process that has loaded everything, and forks itself for whoever asks.

To start Python takes ten times as long as to do one job; who kills at each message of a hundred starts
from here. It is told by lines of JSON, and answers each with the number of the process that it has
started, and when that has ended, with how: `python -m faults.forking`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from itertools import count
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.faults.harness import Arena

#: What takes time to load and keeps nothing open. The application reads its environment as it is loaded.
LOADED = (
    "eventbus.worker.command",
    "eventbus.backends.sqlite",
    "eventbus.backends.redis_clients",
    "redis",
    "faults.history",
)


def main() -> None:
    for name in LOADED:
        importlib.import_module(name)
    say("ready")
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if not child:
            run(**wanted)
        say(str(child))
        _, status = os.waitpid(child, 0)
        say(str(os.waitstatus_to_exitcode(status)))


def run(module: str, arguments: list[str], environment: dict[str, str], output: str) -> None:
    """Be that program, and end."""
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(written, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    code = 1
    try:
        importlib.import_module(module).main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Forks:
    """
    Programs of an arena, each the fork of a process that is ready, one at a time.

    Args:
        arena: Whose environment they have, and in whose log a killed one is written down.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._numbers = count()
        self._pid = 0
        self._begun = threading.Event()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.forking"],
            cwd=self._arena.folder,
            env=self._arena.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = self._hear()
        if said != "ready":
            self.__exit__()
            raise AssertionError(said)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def worker(self, *options: str, app: str = "faults.application:bus", **environment: str) -> int:
        """Run a worker until nothing is due; return its exit code."""
        common = ("--lease", f"{self._arena.lease:g}", "--sleep", "0.01", "--stop-when-empty")
        return self.run("eventbus.worker.command", app, *common, *options, **environment)

    def producer(self, prefix: str, size: int, does: str, *options: str, **environment: str) -> int:
        """Dispatch so many jobs; return its exit code."""
        return self.run("faults.producing", prefix, str(size), does, *options, **environment)

    def run(self, module: str, *arguments: str, **environment: str) -> int:
        """Run the `main` of a module; return its exit code, of one that was killed -9."""
        name = f"fork-{next(self._numbers)}"
        wanted = {
            "module": module,
            "arguments": arguments,
            "environment": {"FAULTS_WORKER": name, **environment},
            "output": f"{self._arena.folder}/{name}.out",
        }
        assert self._process.stdin is not None
        self._begun.clear()
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        self._pid = int(self._hear())
        self._begun.set()
        code = int(self._hear())
        if code < 0:
            self._arena.log.add("killed", worker=name)
        return code

    def kill(self) -> None:
        """Kill the program that runs, from any thread: it may have said something before it was known."""
        assert self._begun.wait(10)
        os.kill(self._pid, signal.SIGKILL)

    def output(self) -> str:
        """Return what all of them have said."""
        found = sorted(self._arena.folder.glob("fork-*.out"))
        return "".join(path.read_text("utf-8", errors="replace") for path in found)


if __name__ == "__main__":
    main()
