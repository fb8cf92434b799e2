"""Clients that somebody lends, of redis-py and of Valkey's library; and connections where a process forks."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from contextlib import closing
from secrets import token_hex

import pytest
import redis
import redis.asyncio
import valkey

from eventbus.backends.base import Sizes
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_clients import linked
from eventbus.errors import BackendUnavailable, InvalidOption
from eventbus.values import new_id
from tests.forms import FULL
from tests.unit.backends.redis_life import job, live, opened


def lent(kind, started, **options):
    client = kind(host="127.0.0.1", port=started.port, **options)
    return RedisBackend(client, prefix=new_id()), client


@pytest.mark.parametrize(
    "kind, options",
    [
        (redis.Redis, {}),
        (redis.Redis, {"protocol": 2}),
        (redis.Redis, {"protocol": 3}),
        (redis.Redis, {"protocol": 3, "decode_responses": True}),
        (redis.Redis, {"decode_responses": True, "health_check_interval": 1}),
        (valkey.Valkey, {}),
        (valkey.Valkey, {"protocol": 3, "decode_responses": True}),
    ],
)
def test_a_job_lives_over_a_client_that_is_lent(redis_server, kind, options):
    backend, client = lent(kind, redis_server, **options)

    with closing(backend):
        live(backend)

    assert client.ping()  # it is not closed with the backend
    client.close()


def test_a_job_lives_over_a_lent_client_of_sentinels(redis_sentinels):
    redis_sentinels.flush()
    watchers = [("127.0.0.1", port) for port in redis_sentinels.ports]
    client = redis.Sentinel(watchers).master_for(redis_sentinels.NAME)

    with closing(RedisBackend(client)) as backend:
        live(backend)
        assert "Sentinels" in {one.subject for one in backend.examine().findings}

    client.close()


@pytest.mark.parametrize("kind", [redis.RedisCluster, valkey.ValkeyCluster])
def test_a_job_lives_over_a_lent_client_of_a_cluster(redis_cluster, kind):
    redis_cluster.flush()
    client = kind(host="127.0.0.1", port=redis_cluster.ports[0], decode_responses=True)

    with closing(RedisBackend(client)) as backend:
        live(backend)
        backend.push([job(queue=f"queue-{number}") for number in range(20)])
        assert len(backend.queues()) == 20

    client.close()


def test_async_code_pushes_over_a_lent_client_of_a_cluster(redis_cluster):
    redis_cluster.flush()
    client = redis.RedisCluster(host="127.0.0.1", port=redis_cluster.ports[0])

    async def push():
        other = redis.asyncio.RedisCluster(host="127.0.0.1", port=redis_cluster.ports[0])
        backend = RedisBackend(client, async_client=other)
        await backend.apush([job(queue=f"queue-{number}") for number in range(20)])
        await backend.aclose()
        await other.aclose()
        return backend.queues()

    assert len(asyncio.run(push())) == 20
    client.close()


@pytest.mark.parametrize("kind", [redis.ConnectionPool, redis.BlockingConnectionPool])
def test_a_lent_pool_lends_no_more_than_it_may(redis_server, kind):
    blocking = {"timeout": 0.1} if kind is redis.BlockingConnectionPool else {}
    pool = kind(host="127.0.0.1", port=redis_server.port, max_connections=1, **blocking)
    client = redis.Redis(connection_pool=pool)
    backend = RedisBackend(client, prefix=new_id())

    for _ in range(3):
        backend.push([job()])
        assert client.ping()
    listening = client.pubsub()
    listening.subscribe("a")
    with pytest.raises(BackendUnavailable) as caught:
        backend.push([job()])
    listening.close()
    backend.push([job()])

    assert caught.value.retryable
    assert backend.size("jobs") == Sizes(ready=4)
    backend.close()
    pool.disconnect()


def test_a_lent_pool_has_back_what_was_cut(redis_server):
    pool = redis.ConnectionPool(host="127.0.0.1", port=redis_server.port, max_connections=1)
    client = redis.Redis(connection_pool=pool)
    backend = RedisBackend(client, prefix=new_id())
    for _ in range(3):
        backend.push([job()])
        redis_server.ask("CLIENT", "KILL", "TYPE", "normal")
    backend.push([job()])

    assert client.ping()
    assert backend.size("jobs") == Sizes(ready=4)
    pool.disconnect()


class Client:
    """What is called as those of a client are, but is of no library that is known."""

    connection_pool = None

    def __repr__(self):
        return "secret"


@pytest.mark.parametrize(
    "client", ["redis://:secret@host", Client(), None], ids=lambda one: type(one).__name__
)
def test_what_is_no_client_is_refused_by_its_class(client):
    with pytest.raises(InvalidOption, match="a sync client of redis-py") as caught:
        RedisBackend(client)

    assert "secret" not in str(caught.value)


# Forks.


def forked(work):
    """Do some work in a forked process; return how it ended: 0 if it is done."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # that is the test
@pytest.mark.parametrize("lends", [False, True])
def test_a_process_that_is_forked_under_load_shares_no_connection(redis_server, lends):
    """F11."""
    redis_server.ask("FLUSHALL")
    client = redis.Redis(port=redis_server.port)
    with closing(RedisBackend(client if lends else linked(redis_server.url))) as backend:
        over = threading.Event()
        pushed, wrong = [0], []

        def load(number):
            while not over.is_set():
                name = new_id()
                backend.push([job(name, queue=f"load-{number}")])
                [claim] = backend.claim([f"load-{number}"], limit=1, lease=60, token=token_hex(16))
                if claim.envelope.id != name or backend.ack([claim]):
                    wrong.append(name)
                pushed[0] += 1

        def work():
            for _ in range(3):
                backend.push([job(queue="children")])
            assert backend.size("children").ready >= 3

        threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        count = 200 if FULL else 20
        ended = [forked(work) for _ in range(count)]
        over.set()
        for thread in threads:
            thread.join()

        assert ended == [0] * count
        assert forked(backend.close) == 0
        assert wrong == []
        assert pushed[0] > 0
        assert backend.size("children") == Sizes(ready=3 * count)
    client.close()


def test_a_bell_does_not_ring_in_a_forked_process(redis_server):
    """Both would take each other's rings."""
    with (
        opened(redis_server.url, prefix=new_id()) as backend,
        closing(backend.bell(["jobs"])) as bell,
    ):

        def work():
            assert not bell.silence()
            bell.close()

        backend.push([job()])
        assert select.select([bell], [], [], 20)[0]
        assert forked(work) == 0
        assert bell.silence()
        assert backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
        backend.push([job()])
        assert select.select([bell], [], [], 20)[0]
