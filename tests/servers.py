"""
Real Redis servers for the tests: one, a pair under three Sentinels, a cluster.

All on free loopback ports and in folders of their own; never the machine's server. They are spoken to
by a few lines of RESP, so that no driver that is tested takes part in testing it. Where there is no
`redis-server`, tests that want one are skipped at a desk and fail where `CI=true`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pytest

__all__ = [
    "MUCH_PATIENCE",
    "PERSISTENCE",
    "Cluster",
    "RedisServer",
    "RefusedError",
    "Sentinels",
    "ask",
    "await_that",
    "cluster",
    "free_port",
    "redis_binary",
    "sentinels",
    "server",
]

#: Seconds after which a server that does not answer, or servers that do not agree, are a failure.
DEADLINE = 20.0

#: How a server keeps what it was told, by the name that the tests have for it.
PERSISTENCE = {
    "none": ("--save", "", "--appendonly", "no"),
    "always": ("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
    "everysec": ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
    # What a server does that nobody has configured.
    "snapshots": ("--save", "3600 1 300 100 60 10000", "--appendonly", "no"),
}

#: Milliseconds after which the nodes of a cluster and the Sentinels call a server dead that does not answer.
PATIENCE = 1000

#: The same where nobody is to die: a machine that is busy may keep a server from answering for a second.
MUCH_PATIENCE = 15_000

#: Ports that the system gives to nobody's outgoing connection, so that a server that was killed finds
#: its own free, and nobody who calls a port where nothing listens is answered by himself.
PORTS = range(20_000, 32_000)

#: How many keys' slots a cluster has.
SLOTS = 16_384


class RefusedError(Exception):
    """The server answered with an error."""


def redis_binary() -> str:
    """Return where `redis-server` is; skip the test, or fail it where `CI=true`, if it is nowhere."""
    found = shutil.which("redis-server")
    if found is None:
        reason = "needs redis-server (Debian: apt-get install redis-server)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


#: Ports that were given to somebody, who may not listen there yet.
_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody listens at, another one each time."""
    while True:
        port = random.choice(PORTS)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                tried.bind(("127.0.0.1", port))
                return port


def ask(port: int, *words: object, timeout: float = 5.0) -> Any:
    """
    Say one command on a connection of its own; return the answer, text as bytes.

    Raises:
        RefusedError: It answered with an error.
        OSError: It did not answer.
    """
    said = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    request = b"*%d\r\n" % len(said) + b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in said)
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            return read_answer(answer)


def read_answer(stream: IO[bytes]) -> Any:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server hung up")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RefusedError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return stream.read(int(rest) + 2)[:-2] if rest != b"-1" else None
    if kind == b"*":
        return [read_answer(stream) for _ in range(int(rest))] if rest != b"-1" else None
    return rest


def await_that(fact: Callable[[], Any], *, said: str, deadline: float = DEADLINE) -> Any:
    """Wait until `fact` is so, or a server can answer at all; return it."""
    over = time.monotonic() + deadline
    last: Exception | None = None
    while True:
        try:
            if found := fact():
                return found
            last = None
        except (OSError, RefusedError) as error:
            last = error
        if time.monotonic() > over:
            pytest.fail(f"not within {deadline:g} s: {said} ({last})")
        threading.Event().wait(0.01)


class RedisServer:
    """
    A `redis-server` process of its own, which can be killed and started again in the same place.

    Args:
        folder: Where its files are. Made if it is not there.
        settings: More of them, as on its command line: `"--maxmemory", "20mb"`.
        persistence: One of `PERSISTENCE`.
        port: By default a free one.
        program: Words before the settings, where it is not a plain server.
    """

    def __init__(
        self,
        folder: Path,
        *settings: object,
        persistence: str = "none",
        port: int = 0,
        program: Sequence[object] = (),
    ) -> None:
        self.folder = folder
        self.settings = [str(one) for one in settings]
        self.persistence = persistence
        self.port = port or free_port()
        self._program = [str(one) for one in program]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text("utf-8", errors="replace")

    def ask(self, *words: object, timeout: float = 5.0) -> Any:
        return ask(self.port, *words, timeout=timeout)

    def info(self, section: str) -> dict[str, str]:
        """Return what it says of itself."""
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.launch()
        self.await_answer()

    def launch(self) -> None:
        """Start it, and do not wait."""
        assert not self.is_alive
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [redis_binary(), *(self._program or self._plain()), *self.settings]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _plain(self) -> list[str]:
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        common = ["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"]
        return [*place, *common, *PERSISTENCE[self.persistence]]

    def await_answer(self) -> None:
        def answers() -> bool:
            if not self.is_alive:
                pytest.fail(f"redis-server at {self.port} ended:\n{self.output[-2000:]}")
            return bool(self.ask("PING") == b"PONG")

        await_that(answers, said=f"redis-server at {self.port} answers")

    def kill(self) -> None:
        """End it as a power failure of the process would: nothing more is written."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(DEADLINE)
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again, from what it had kept."""
        self.kill()
        self.start()


class Sentinels:
    """
    A master, a replica, and three Sentinels that agree by two about who is the master.

    Args:
        folder: Where their files are.
        settings: More of them, for master and replica.
        persistence: One of `PERSISTENCE`.
        patience: Milliseconds after which a server is dead that does not answer.
    """

    NAME = "main"

    def __init__(
        self,
        folder: Path,
        *settings: object,
        persistence: str = "none",
        patience: int = PATIENCE,
    ) -> None:
        self._patience = patience
        self.master = RedisServer(folder / "master", *settings, persistence=persistence)
        self.replica = RedisServer(
            folder / "replica",
            *settings,
            *("--replicaof", f"127.0.0.1 {self.master.port}"),
            persistence=persistence,
        )
        ports = [free_port() for _ in range(3)]
        self.sentinels = [self._sentinel(folder, port, ports) for port in ports]

    def _sentinel(self, folder: Path, port: int, ports: Iterable[int]) -> RedisServer:
        # They know each other and the replica from the start: to find out by themselves takes seconds.
        name = self.NAME
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"sentinel myid {port:040x}",
            f"sentinel monitor {name} 127.0.0.1 {self.master.port} 2",
            f"sentinel down-after-milliseconds {name} {self._patience}",
            f"sentinel failover-timeout {name} 3000",
            f"sentinel known-replica {name} 127.0.0.1 {self.replica.port}",
            *(
                f"sentinel known-sentinel {name} 127.0.0.1 {other} {other:040x}"
                for other in ports
                if other != port
            ),
        ]
        place = folder / f"sentinel-{port}"
        place.mkdir(parents=True)
        file = place / "sentinel.conf"
        file.write_text("\n".join([*lines, f"dir {place}", ""]))
        return RedisServer(place, port=port, program=(file, "--sentinel"))

    @property
    def processes(self) -> list[RedisServer]:
        return [self.master, self.replica, *self.sentinels]

    @property
    def ports(self) -> list[int]:
        """Where the Sentinels are."""
        return [one.port for one in self.sentinels]

    def start(self) -> None:
        for process in self.processes:
            process.launch()
        for process in self.processes:
            process.await_answer()
        self.await_agreement()

    def _agree(self) -> bool:
        [replica] = [one for one in (self.master, self.replica) if one.port != self.master_port()]
        linked = replica.info("replication").get("master_link_status") == "up"
        quorums = [one.ask("SENTINEL", "CKQUORUM", self.NAME) for one in self.sentinels]
        # A failover promotes nobody whose state it has not heard of.
        heard = [one.ask("SENTINEL", "REPLICAS", self.NAME) for one in self.sentinels]
        states = [dict(pairwise(map(bytes.decode, found[0]))) for found in heard]
        return (
            linked
            and all(b"3 usable" in said for said in quorums)
            and all(state["master-link-status"] == "ok" for state in states)
            and all(state["flags"] == "slave" for state in states)
        )

    def await_agreement(self) -> None:
        """Wait until there are a master and a replica again, and everybody knows; it may take ten seconds."""
        await_that(self._agree, said="the Sentinels agree", deadline=3 * DEADLINE)

    def current(self) -> RedisServer:
        """Return the process that is the master."""
        port = await_that(self.master_port, said="the Sentinels agree who is the master")
        return next(one for one in (self.master, self.replica) if one.port == port)

    def master_port(self) -> int:
        """Return where the master is, as the Sentinels that live say; 0 while they disagree."""
        said = {
            int(one.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)[1])
            for one in self.sentinels
            if one.is_alive
        }
        return said.pop() if len(said) == 1 else 0

    def flush(self) -> None:
        ask(self.master_port(), "FLUSHALL")


class Cluster:
    """
    Nodes that share the slots between them.

    Args:
        folder: Where their files are.
        settings: More of them, for each node.
        masters: How many have slots.
        replicas: How many each of those has; with none, nobody takes its place.
        persistence: One of `PERSISTENCE`.
        patience: Milliseconds after which a node is dead that does not answer.
    """

    def __init__(
        self,
        folder: Path,
        *settings: object,
        masters: int = 3,
        replicas: int = 0,
        persistence: str = "none",
        patience: int = PATIENCE,
    ) -> None:
        self.nodes: list[RedisServer] = []
        self._bus: list[int] = []
        self._masters = masters
        for number in range(masters * (1 + replicas)):
            bus = free_port()
            own = (
                *("--cluster-enabled", "yes", "--cluster-port", bus),
                *("--cluster-node-timeout", patience, "--cluster-replica-validity-factor", 0),
            )
            place = folder / f"node-{number}"
            self.nodes.append(RedisServer(place, *own, *settings, persistence=persistence))
            self._bus.append(bus)

    @property
    def processes(self) -> list[RedisServer]:
        return self.nodes

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.nodes]

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.await_answer()
        masters = self.nodes[: self._masters]
        for number, node in enumerate(masters):
            first, after = (SLOTS * one // len(masters) for one in (number, number + 1))
            # Each its own: those that have one in common would first have to settle who is right.
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for node, bus in zip(self.nodes[1:], self._bus[1:], strict=True):
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        await_that(self._is_met, said="the nodes know each other")
        for number, node in enumerate(self.nodes[self._masters :]):
            master = masters[number % len(masters)].ask("CLUSTER", "MYID")
            node.ask("CLUSTER", "REPLICATE", master)
        self.await_wholeness()

    def _is_met(self) -> bool:
        seen = [node.ask("CLUSTER", "NODES").decode() for node in self.nodes]
        return all(one.count("\n") == len(self.nodes) and "handshake" not in one for one in seen)

    def _is_whole(self) -> bool:
        states = [node.ask("CLUSTER", "INFO").decode() for node in self.nodes]
        roles = [node.info("replication") for node in self.nodes]
        seen = [node.ask("CLUSTER", "NODES").decode() for node in self.nodes]
        return (
            all("cluster_state:ok" in state and f"ok:{SLOTS}" in state for state in states)
            and all(role.get("master_link_status", "up") == "up" for role in roles)
            # Each has heard of each replica.
            and all(one.count("slave") == len(self.nodes) - self._masters for one in seen)
        )

    def await_wholeness(self) -> None:
        """Wait until all nodes agree about all slots, and each replica has what its master has."""
        await_that(self._is_whole, said="the cluster is whole", deadline=3 * DEADLINE)

    def owner(self, key: str) -> RedisServer:
        """Return the node that has the slot of a key, as the first that lives sees it."""
        alive = next(node for node in self.nodes if node.is_alive)
        slot = alive.ask("CLUSTER", "KEYSLOT", key)
        for first, last, (_, port, *_), *_ in alive.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(key)

    def is_whole(self) -> bool:
        """Tell whether those that live say that all slots are served."""
        said = [node.ask("CLUSTER", "INFO").decode() for node in self.nodes if node.is_alive]
        return all("cluster_state:ok" in one for one in said)

    def flush(self) -> None:
        for node in self.nodes:
            if node.info("replication")["role"] == "master":
                node.ask("FLUSHALL")


@contextmanager
def running(started: RedisServer | Sentinels | Cluster) -> Generator[Any]:
    """Start it; end each of its processes with the block, however it ends."""
    processes = [started] if isinstance(started, RedisServer) else started.processes
    with ExitStack() as ending:
        for process in processes:
            ending.callback(process.kill)
        started.start()
        yield started


def server(folder: Path, *settings: object, **options: Any) -> Any:
    """One server, for a `with` block."""
    redis_binary()
    return running(RedisServer(folder, *settings, **options))


def sentinels(folder: Path, *settings: object, **options: Any) -> Any:
    """A pair of servers under three Sentinels, for a `with` block."""
    redis_binary()
    return running(Sentinels(folder, *settings, **options))


def cluster(folder: Path, *settings: object, **options: Any) -> Any:
    """A cluster, for a `with` block."""
    redis_binary()
    return running(Cluster(folder, *settings, **options))
