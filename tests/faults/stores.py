"""
What an arena keeps its jobs in: a SQLite file with one journal or the other, Redis servers of its own.

A store says where it is, what its processes have to be told, whether it is sound, and what reports call
it. How the jobs are judged does not depend on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from eventbus.backends.sqlite import load_driver
from tests.servers import Cluster, RedisServer, Sentinels, redis_binary

__all__ = [
    "STORES",
    "Clustered",
    "Redis",
    "Replicated",
    "Sqlite",
    "Store",
    "consistency",
    "integrity",
]


class Store(ABC):
    """Where jobs lie. It is open for as long as its arena."""

    #: What reports call it.
    name: str
    #: Where the processes of the arena find it.
    url: str
    #: What they are told about it in their environment.
    environment: Mapping[str, str] = {}
    #: What none of them may ever say.
    unsaid: tuple[str, ...] = ()

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Be there, with everything that it writes below `folder`."""

    @abstractmethod
    def integrity(self) -> str:
        """Return "ok", or what is wrong with what is stored."""

    @abstractmethod
    def size(self) -> int:
        """Return how many bytes it takes."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind that runs."""


class Sqlite(Store):
    """
    A file.

    Args:
        journal: "WAL", with the driver that brings its own SQLite; "PERSIST", with the standard one.
        file: By default in the folder of the arena.
    """

    unsaid = ("is locked",)

    def __init__(self, journal: str = "PERSIST", *, file: Path | None = None) -> None:
        self.name = f"SQLite, {journal}"
        self._journal = journal
        self._file = file
        self.environment = {"FAULTS_DRIVER": "sqlite3" if journal != "WAL" else ""}

    @property
    def file(self) -> Path:
        assert self._file is not None
        return self._file

    def open(self, folder: Path) -> None:
        self._file = self._file or folder / "queue.db"
        self.url = f"sqlite:///{self._file}?journal={self._journal}"

    def integrity(self) -> str:
        return integrity(self.file)

    def size(self) -> int:
        """The file, and what lies beside it."""
        beside = self.file.parent.glob(f"{self.file.name}*")
        return sum(path.stat().st_size for path in beside if path.is_file())

    def close(self) -> None:
        """There is no process, and the file goes with its folder."""


def integrity(path: Path) -> str:
    """Return what SQLite finds when it checks the whole file."""
    with closing(load_driver().connect(path)) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])


class Redis(Store):
    """
    A `redis-server` process.

    Args:
        persistence: One of `tests.servers.PERSISTENCE`.
        settings: More of them, as on its command line.
    """

    def __init__(self, persistence: str = "always", *settings: object) -> None:
        self.name = NAMES[persistence]
        self._persistence = persistence
        self._settings = settings

    def open(self, folder: Path) -> None:
        redis_binary()
        place = folder / "redis"
        self.server = RedisServer(place, *self._settings, persistence=self._persistence)
        self.server.start()
        self.url = self.server.url

    def integrity(self) -> str:
        return consistency(self.server)

    def end_leases(self) -> None:
        """End all leases of the queue that the jobs of an arena are in, as if their time had passed."""
        keys = ("eventbus:{default}:leases", "eventbus:{default}:line")
        self.server.ask("EVAL", END_LEASES, len(keys), *keys)

    def size(self) -> int:
        """What its keys take of its memory."""
        return int(self.server.info("memory")["used_memory_dataset"])

    def close(self) -> None:
        self.server.kill()


class Replicated(Store):
    """
    A master and its replica under three Sentinels.

    Args:
        persistence: One of `tests.servers.PERSISTENCE`.
    """

    name = "Redis, Sentinel"

    def __init__(self, persistence: str = "always") -> None:
        self._persistence = persistence

    def open(self, folder: Path) -> None:
        redis_binary()
        self.servers = Sentinels(folder / "redis", persistence=self._persistence)
        self.servers.start()
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.servers.ports)
        self.url = f"redis+sentinel://{hosts}/{self.servers.NAME}"

    def integrity(self) -> str:
        return consistency(self.servers.current())

    def size(self) -> int:
        return int(self.servers.current().info("memory")["used_memory_dataset"])

    def close(self) -> None:
        for process in self.servers.processes:
            process.kill()


class Clustered(Store):
    """
    Three masters, each with a replica.

    Args:
        persistence: One of `tests.servers.PERSISTENCE`.
    """

    name = "Redis, cluster"

    def __init__(self, persistence: str = "always") -> None:
        self._persistence = persistence

    def open(self, folder: Path) -> None:
        redis_binary()
        self.cluster = Cluster(folder / "redis", replicas=1, persistence=self._persistence)
        self.cluster.start()
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.cluster.ports)
        self.url = f"redis+cluster://{hosts}"

    def integrity(self) -> str:
        """Of the queue that all jobs of an arena are in."""
        return consistency(self.cluster.owner("{default}"), queues=["default"])

    def size(self) -> int:
        alive = [node for node in self.cluster.nodes if node.is_alive]
        return sum(int(node.info("memory")["used_memory_dataset"]) for node in alive)

    def close(self) -> None:
        for process in self.cluster.processes:
            process.kill()


#: What reports call a Redis server that keeps what it was told in one of these ways.
NAMES: Mapping[str, str] = {
    "none": "Redis, nothing kept",
    "always": "Redis, AOF always",
    "everysec": "Redis, AOF everysec",
    "snapshots": "Redis, RDB",
}

#: The keys of a queue, in the order in which `CHECK` gets them.
PARTS = ("order", "line", "leases", "counts", "bodies", "parked", "failures", "failed")

#: What is wrong with the keys of a queue, a line each; on the server, so that nothing moves meanwhile.
CHECK = """
local order, line, leases, counts, bodies, parked, failures, failed = unpack(KEYS)
local said = {}
local function say(...) said[#said + 1] = table.concat({...}, ' ') end
local waiting, number_of = 0, {}
local found = redis.call('ZRANGE', order, 0, -1, 'WITHSCORES')
for index = 1, #found, 2 do
  local id = found[index]
  local member = string.format('%012x', found[index + 1]) .. id
  waiting, number_of[id] = waiting + 1, string.sub(member, 1, 12)
  if not redis.call('ZSCORE', line, member) then say(id, 'is in order and not in line') end
  if redis.call('HEXISTS', bodies, id) == 0 then say(id, 'waits and has no body') end
  if redis.call('HEXISTS', failures, id) == 1 then say(id, 'waits and has failed') end
end
for _, member in ipairs(redis.call('ZRANGE', line, 0, -1)) do
  local id = string.sub(member, 13)
  if number_of[id] ~= string.sub(member, 1, 12) then say(id, 'is in line and not in order') end
end
for name, key in pairs({leases = leases, counts = counts, parked = parked}) do
  for _, id in ipairs(redis.call('HKEYS', key)) do
    if not number_of[id] then say(id, 'is in', name, 'and does not wait') end
  end
end
for _, id in ipairs(redis.call('HKEYS', failures)) do
  if redis.call('HEXISTS', bodies, id) == 0 then say(id, 'has failed and has no body') end
end
local fallen = redis.call('HLEN', failures)
if redis.call('ZCARD', failed) ~= fallen then say('not all of failures are in failed') end
for _, member in ipairs(redis.call('ZRANGE', failed, 0, -1)) do
  local id = string.sub(member, 13)
  if redis.call('HEXISTS', failures, id) == 0 then say(id, 'is in failed and not in failures') end
end
local kept = redis.call('HLEN', bodies)
if kept ~= waiting + fallen then say(kept, 'bodies of', waiting, 'that wait and', fallen, 'that failed') end
return said
"""


END_LEASES = """
local leases = redis.call('HGETALL', KEYS[1])
for index = 1, #leases, 2 do
  redis.call('ZADD', KEYS[2], 'XX', 0, string.sub(leases[index + 1], 3, 14) .. leases[index])
end
"""


def consistency(server: RedisServer, queues: Sequence[str] = ()) -> str:
    """
    Return "ok", or in what the keys of a store in Redis contradict each other.

    Args:
        server: Where they are.
        queues: Of which to look at the keys; by default all that the store knows of.
    """
    known = queues or [name.decode() for name in server.ask("SMEMBERS", "eventbus:queues")]
    said: list[str] = []
    for queue in sorted(known):
        keys = [f"eventbus:{{{queue}}}:{part}" for part in PARTS]
        said += [line.decode() for line in server.ask("EVAL", CHECK, len(keys), *keys)]
    for key in [name.decode() for name in server.ask("KEYS", "eventbus:{*")]:
        if key[len("eventbus:{") :].partition("}")[0] not in known:
            said.append(f"{key} is of a queue that nobody knows")
    return "\n".join(said) or "ok"


#: By the name that a test's parameter has.
STORES: Mapping[str, Callable[[], Store]] = {
    "PERSIST": Sqlite,
    "WAL": lambda: Sqlite("WAL"),
    "redis": Redis,
}
