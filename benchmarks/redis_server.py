"""A `redis-server` of our own for what is measured, on a free port of the loopback, in a folder that goes with it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

#: Seconds until a server that does not answer is given up.
_PATIENCE = 10.0
#: Each contender has one of its own.
DATABASES = 64


@frozen
class Server:
    """How a server keeps what it is told."""

    name: str
    short: str
    title: str
    settings: tuple[str, ...]


PLAIN = Server("plain", "Redis", "Redis without persistence", ("--save", "", "--appendonly", "no"))
AOF = Server(
    "aof",
    "Redis with AOF",
    "Redis with AOF, everysec",
    ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
)
SERVERS = {one.name: one for one in (PLAIN, AOF)}


def is_installed() -> bool:
    return shutil.which("redis-server") is not None


def version() -> str:
    """Return what it says of itself."""
    if not is_installed():
        return "not installed"
    command = ["redis-server", "--version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split(
        " sha="
    )[0]


@contextmanager
def running(server: Server) -> Iterator[int]:
    """Start it; return its port. It ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        place = ("--port", str(port), "--bind", "127.0.0.1", "--dir", folder)
        process = subprocess.Popen(
            ["redis-server", *place, "--databases", str(DATABASES), *server.settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            _await(process, port)
            yield port
        finally:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    over = time.monotonic() + _PATIENCE
    while time.monotonic() < over and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    sys.exit(f"redis-server did not answer at {port} in {_PATIENCE:g} s")
