"""The contract, over Redis: one server, a master under Sentinels, a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from eventbus.backends.base import Backend, Clock
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_clients import linked
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract import BackendContract
from tests.forms import FULL
from tests.servers import Cluster, RedisServer, Sentinels


def made(url: str, clock: Clock | None) -> Backend:
    """Return a backend as its URL makes it, but on a clock that can be moved."""
    return RedisBackend(linked(url), name=url, clock=clock)


class OneStore(BackendContract):
    @pytest.fixture
    def another(self, url: str, clock: ManualClock | None) -> Callable[[], Backend]:
        return partial(made, url, clock)

    @pytest.fixture
    def backend(self, another: Callable[[], Backend]) -> Iterator[Backend]:
        backend = another()
        yield backend
        backend.close()


class TestRedis(OneStore):
    @pytest.fixture
    def url(self, redis_server: RedisServer) -> str:
        redis_server.ask("FLUSHALL")
        return redis_server.url


class TestRedisOnTheServersClock(TestRedis):
    """As it is used: time is really waited for."""

    @pytest.fixture
    def clock(self) -> None:
        return None


class TestLentClient(OneStore):
    """Of somebody who wants text, and the newer form of answers."""

    @pytest.fixture
    def another(
        self, redis_server: RedisServer, clock: ManualClock | None
    ) -> Iterator[Callable[[], Backend]]:
        redis_server.ask("FLUSHALL")
        client = redis.Redis(port=redis_server.port, decode_responses=True, protocol=3)
        yield partial(RedisBackend, client, clock=clock)
        client.close()


class TestSentinel(OneStore):
    @pytest.fixture
    def url(self, redis_sentinels: Sentinels) -> str:
        redis_sentinels.flush()
        hosts = ",".join(f"127.0.0.1:{port}" for port in redis_sentinels.ports)
        return f"redis+sentinel://{hosts}/{redis_sentinels.NAME}"


class TestCluster(OneStore):
    @pytest.fixture
    def url(self, redis_cluster: Cluster) -> str:
        redis_cluster.flush()
        return f"redis+cluster://127.0.0.1:{redis_cluster.ports[0]}"


PAGE = Path(__file__).parents[2] / "docs/howto/redis.md"
PASSWORD = "not-in-any-output"


def documented_users() -> list[list[str]]:
    """The commands of the page that allow what is needed: in one server, in a cluster, of Sentinels."""
    lines = re.findall(r"^ACL SETUSER .+$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [line.replace("PASSWORD", PASSWORD).split() for line in lines[:3]]


def allow(servers: Iterable[RedisServer], *commands: list[str]) -> None:
    for server in servers:
        for command in commands:
            server.ask(*command)


def forget(servers: Iterable[RedisServer]) -> None:
    for server in servers:
        server.ask("ACL", "DELUSER", "shop")


class TestRedisAsTheDocumentedUser(OneStore):
    """As the user of the page, who may do nothing that it does not list."""

    @pytest.fixture
    def url(self, redis_server: RedisServer) -> Iterator[str]:
        user, *_ = documented_users()
        redis_server.ask("FLUSHALL")
        allow([redis_server], user)
        yield f"redis://shop:{PASSWORD}@127.0.0.1:{redis_server.port}"
        forget([redis_server])


class TestSentinelAsTheDocumentedUser(OneStore):
    __test__ = FULL

    @pytest.fixture
    def url(self, redis_sentinels: Sentinels) -> Iterator[str]:
        user, _, of_sentinels = documented_users()
        redis_sentinels.flush()
        servers = [redis_sentinels.master, redis_sentinels.replica]
        allow(servers, user)
        allow(redis_sentinels.sentinels, of_sentinels)
        hosts = ",".join(f"127.0.0.1:{port}" for port in redis_sentinels.ports)
        yield (
            f"redis+sentinel://shop:{PASSWORD}@{hosts}/{redis_sentinels.NAME}"
            f"?sentinel_username=shop&sentinel_password={PASSWORD}"
        )
        forget(redis_sentinels.processes)


class TestClusterAsTheDocumentedUser(OneStore):
    __test__ = FULL

    @pytest.fixture
    def url(self, redis_cluster: Cluster) -> Iterator[str]:
        user, more, _ = documented_users()
        redis_cluster.flush()
        allow(redis_cluster.nodes, user, more)
        yield f"redis+cluster://shop:{PASSWORD}@127.0.0.1:{redis_cluster.ports[0]}"
        forget(redis_cluster.nodes)
