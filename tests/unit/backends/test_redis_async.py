"""Pushes of async code to Redis: on the loop, with connections of each loop's own, whole when cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import redis
from attrs import frozen

from eventbus import EventBus, ShouldQueue, event
from eventbus.backends.base import Sizes
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_calls import Call
from eventbus.backends.redis_clients import linked
from eventbus.backends.redis_lines import at_once
from eventbus.errors import (
    AccessDenied,
    BackendUnavailable,
    InvalidOption,
    StoredUnknown,
    UnsupportedOption,
)
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id
from tests.faults.proxy import Deed, Proxy
from tests.forms import FULL
from tests.servers import await_that, free_port, server


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A server whose connections are those of these tests alone."""
    with server(tmp_path_factory.mktemp("redis")) as one:
        yield one


@pytest.fixture
def url(started):
    started.ask("FLUSHALL")
    return started.url


@pytest.fixture
def backend(url):
    with closing(RedisBackend(linked(url), name=url)) as one:
        yield one


@pytest.fixture
def proxy(started):
    started.ask("FLUSHALL")
    with Proxy(started.port) as one:
        yield one


@pytest.fixture
def through(proxy):
    """A backend whose messages pass the proxy; its first connection is made, and knows the scripts."""
    url = f"redis://127.0.0.1:{proxy.port}?timeout=5"
    with closing(RedisBackend(linked(url), name=url)) as one:
        one.push([job(queue="first")])
        yield one


def job(id=None, *, queue="jobs"):
    return Envelope(id=id or new_id(), queue=queue, body=b"{}")


def clients(started):
    """Return how many connections the server has, but for the one that asks."""
    return int(started.info("clients")["connected_clients"]) - 1


# Loops.


def test_what_is_pushed_on_a_loop_uses_no_thread_and_one_connection(started, backend):
    before = clients(started)

    async def push():
        for _ in range(5):
            await backend.apush([job()])
        return threading.active_count(), clients(started)

    threads = threading.active_count()

    assert asyncio.run(push()) == (threads, before + 1)
    assert backend.size("jobs") == Sizes(ready=5)


def test_a_loop_that_ends_closes_its_connections(started, backend):
    before = clients(started)

    asyncio.run(backend.apush([job()]))

    await_that(lambda: clients(started) == before, said="closed")
    gc.collect()  # no warning of a connection that nobody closed


def test_each_loop_has_connections_of_its_own(started, backend):
    before = clients(started)
    pushed, seen = threading.Barrier(3), threading.Barrier(3)

    async def push():
        await asyncio.gather(*(backend.apush([job()]) for _ in range(3)))
        for barrier in (pushed, seen):
            await asyncio.to_thread(barrier.wait, 20)

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(asyncio.run, push()) for _ in range(2)]
        pushed.wait(20)
        found = clients(started)
        seen.wait(20)
        for run in runs:
            run.result()

    assert found == before + 6
    assert backend.size("jobs") == Sizes(ready=6)


def test_closing_closes_the_connections_of_every_loop(started, backend):
    """From a thread: each loop does it when it next comes to it. The next push opens new ones."""
    before = clients(started)

    async def push():
        await backend.apush([job()])
        await asyncio.to_thread(backend.close)
        await asyncio.to_thread(
            await_that, lambda: clients(started) == before, said="the loop has closed its own"
        )
        await backend.apush([job()])
        await backend.aclose()
        return clients(started)

    assert asyncio.run(push()) <= before + 1
    await_that(lambda: clients(started) == before, said="closed")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the loop's owner has not ended it well
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_was_just_closed_is_forgotten_with_its_connections(started, backend):
    before = clients(started)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(backend.apush([job()]))
    loop.close()
    backend.close()  # nobody is there to do it

    asyncio.run(backend.apush([job()]))
    gc.collect()

    await_that(lambda: clients(started) == before, said="closed")
    assert backend.size("jobs") == Sizes(ready=2)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_closed_loop_is_not_kept_by_what_it_had_opened(backend):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(backend.apush([job()]))
    loop.close()

    async def push():
        await backend.apush([job()])
        return list(backend._loops._held) == [asyncio.get_running_loop()]

    assert asyncio.run(push())
    gc.collect()


def test_a_forked_process_has_connections_of_its_own(started, backend):
    """F11: forked while a push rests on the loop, and the loop runs on in both."""

    async def main():
        await backend.apush([job()])
        child = os.fork()
        if not child:
            status = 1
            try:
                asyncio.run(backend.apush([job()]))
                backend.close()
                status = 0
            finally:
                os._exit(status)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        await asyncio.gather(*(backend.apush([job()]) for _ in range(3)))
        return status

    assert asyncio.run(main()) == 0
    assert backend.size("jobs") == Sizes(ready=5)


# Cancellations.


def test_no_answer_reaches_another_call(proxy, through):
    """F22: cancelled at each await, the answer on its way, while others ask on the same loop."""
    proxy.down.delay = 0.002
    wrong, cancelled = [], 0

    async def ask(link):
        word = new_id().encode()
        answer = await link.asked("ask", [Call("", ("ECHO", word))])
        if answer.replies != [word]:
            wrong.append(answer.replies)

    async def main():
        nonlocal cancelled
        link = await through._loops.link()
        for number in range(1000 if FULL else 200):
            tasks = [asyncio.create_task(ask(link)) for _ in range(3)]
            for _ in range(number % 5):
                await asyncio.sleep(0)
            tasks[number % 3].cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled += sum(isinstance(one, asyncio.CancelledError) for one in ended)
            assert not any(isinstance(one, Exception) for one in ended)
            await ask(link)

    asyncio.run(main())

    assert wrong == []
    assert cancelled > 50  # Python 3.11 forgets one that comes just as something was sent


def test_a_cancelled_push_is_stored_whole_or_not_at_all(started, backend):
    """F22, without the shield of a dispatch: the server has all of a push, or nothing."""

    async def main():
        for number in range(200 if FULL else 60):
            before = backend.size("jobs").ready
            push = asyncio.create_task(backend.apush([job(), job(), job()]))
            for _ in range(number % 40):
                await asyncio.sleep(0)
            push.cancel()
            await asyncio.wait([push])
            # What was sent may come to the server only now.
            assert (backend.size("jobs").ready - before) % 3 == 0

    asyncio.run(main())
    assert backend.size("jobs").ready % 3 == 0


@event("shipped")
@frozen
class Shipped:
    number: int


class Told(ShouldQueue):
    def handle(self, event: Shipped) -> None: ...


class ToldToo(Told): ...


class ToldElsewhere(Told):
    queue = "elsewhere"


def test_a_cancelled_dispatch_is_stored_whole_or_not_at_all(url):
    """F22, F40: nobody is told of a cancelled push that then happens."""
    listeners = [Told, ToldToo, ToldElsewhere]
    with EventBus(connections={"default": url}, listen={Shipped: listeners}) as bus:
        port = bus.connections.port()

        def stored():
            return port.size("default").ready, port.size("elsewhere").ready

        async def main():
            sums = set()
            for number in range(60):
                before = stored()
                task = asyncio.create_task(bus.adispatch(Shipped(1)))
                for _ in range(number % 20):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                after = stored()
                sums.add((after[0] - before[0], after[1] - before[1]))
                assert stored() == after
            await bus.aclose()
            return sums

        sums = asyncio.run(main())

        assert sums == {(0, 0), (2, 1)}  # some were cancelled before they had begun


def test_a_dispatch_that_the_end_of_the_loop_cancels_is_stored(url):
    """F40: the program leaves while a task of it dispatches."""
    with EventBus(connections={"default": url}, listen={Shipped: [Told]}) as bus:

        async def main(number):
            task = asyncio.create_task(bus.adispatch(Shipped(1)))
            for _ in range(number):
                await asyncio.sleep(0)
            return task

        tasks = [asyncio.run(main(number)) for number in range(20)]

        begun = bus.connections.port().size("default").ready
        assert begun >= 15  # the first had not begun
        assert all(task.done() for task in tasks)


def test_a_dispatch_of_async_code_pushes_on_the_loop(url, monkeypatch):
    monkeypatch.setattr(RedisBackend, "push", lambda *_: pytest.fail("in a thread"))

    async def main():
        async with EventBus(connections={"default": url}, listen={Shipped: [Told]}) as bus:
            await bus.adispatch(Shipped(1))
            return bus.connections.port().size("default").ready

    assert asyncio.run(main()) == 1


# What goes wrong.


def test_a_connection_that_was_cut_is_replaced_and_the_job_stored_once(started, backend):
    async def main():
        await asyncio.gather(*(backend.apush([job()]) for _ in range(4)))
        started.ask("CLIENT", "KILL", "TYPE", "normal")
        await backend.apush([job("once")])
        # Those that were cut as well are not tried one after the other.
        await asyncio.gather(*(backend.apush([job()]) for _ in range(4)))

    asyncio.run(main())

    assert backend.size("jobs") == Sizes(ready=9)


def test_a_lost_answer_is_asked_for_once_more(proxy, through):
    """F18."""

    async def main():
        await through.apush([job()])
        proxy.at(proxy.up, 1, lambda: Deed.LOSE)
        await through.apush([job("once")])

    asyncio.run(main())

    assert through.size("jobs") == Sizes(ready=2)


@pytest.mark.parametrize("deed, stored", [(Deed.LOSE, 1), (Deed.CUT, 0)])
def test_what_cannot_be_told_is_said_with_the_ids(proxy, through, deed, stored):
    """F18."""

    async def main():
        await through.apush([job(queue="jobs")])
        proxy.up.judge = lambda _, message: deed if b"EVALSHA" in message else None
        with pytest.raises(StoredUnknown) as caught:
            await through.apush([job("a"), job("b")])
        proxy.mend()
        return caught.value

    error = asyncio.run(main())

    assert error.ids == ("a", "b")
    assert error.retryable
    assert through.size("jobs").ready == 1 + 2 * stored
    through.push([job("a"), job("b")])
    assert through.size("jobs").ready == 3


def test_a_server_that_does_not_answer_is_not_asked_twice(proxy):
    backend = RedisBackend(linked(f"redis://127.0.0.1:{proxy.port}?timeout=0.2"))
    asked = []

    async def main():
        await backend.apush([job()])
        proxy.down.black_hole = True
        proxy.up.judge = lambda _, message: asked.append(message)
        with pytest.raises(StoredUnknown):
            await backend.apush([job("a")])
        with pytest.raises(BackendUnavailable):  # not even a connection can be had
            await backend.apush([job("b")])

    asyncio.run(main())

    assert sum(b"EVALSHA" in message for message in asked) == 1


def test_nobody_is_there():
    backend = RedisBackend(linked(f"redis://127.0.0.1:{free_port()}"))

    with pytest.raises(BackendUnavailable, match="push did not happen"):
        asyncio.run(backend.apush([job()]))


def test_a_wrong_password_is_told_as_such(started):
    backend = RedisBackend(linked(f"redis://:canary@127.0.0.1:{started.port}"))

    with pytest.raises(AccessDenied) as caught:
        asyncio.run(backend.apush([job()]))

    assert "canary" not in str(caught.value)


def test_scripts_that_the_server_forgot_are_taught_anew(started, backend):
    async def main():
        await backend.apush([job()])
        started.ask("SCRIPT", "FLUSH")
        await backend.apush([job()])

    asyncio.run(main())

    assert backend.size("jobs") == Sizes(ready=2)


def test_an_error_of_ours_is_not_taken_for_one_of_the_driver(backend):
    """The handling of an earlier error goes on while a push fails: it is not the reason."""
    away = RedisBackend(linked(f"redis://127.0.0.1:{free_port()}"))

    async def main():
        try:
            raise InvalidOption(option="a", value=1, expected="b")
        except InvalidOption:
            await away.apush([job()])

    with pytest.raises(BackendUnavailable):
        asyncio.run(main())


# Clients that are lent.


def test_a_lent_client_pushes_in_a_thread_unless_there_is_an_async_one(started, url):
    client = redis.Redis(port=started.port)
    alone = RedisBackend(client)
    with pytest.raises(UnsupportedOption, match="async_push"):
        asyncio.run(alone.apush([job()]))
    assert not alone.capabilities.async_push

    async def main():
        async_client = redis.asyncio.Redis(port=started.port, max_connections=1)
        both = RedisBackend(client, async_client=async_client)
        assert both.capabilities.async_push
        for _ in range(3):
            await both.apush([job()])
        # It has its connection back.
        assert await async_client.ping()
        await both.aclose()
        assert await async_client.ping()
        await async_client.aclose()
        return both.size("jobs")

    assert asyncio.run(main()) == Sizes(ready=3)
    client.close()


def test_a_cancelled_call_gives_a_lent_connection_back(started, url):
    """F22: of one connection that a pool may have, none is lost."""

    async def main():
        async_client = redis.asyncio.Redis(port=started.port, max_connections=1)
        backend = RedisBackend(redis.Redis(port=started.port), async_client=async_client)
        for number in range(60):
            push = asyncio.create_task(backend.apush([job()]))
            for _ in range(number % 30):
                await asyncio.sleep(0)
            push.cancel()
            await asyncio.wait([push])
        await backend.apush([job("last")])
        await async_client.aclose()
        assert [one.envelope.id for one in backend.peek(limit=100)][-1] == "last"
        backend.close()

    asyncio.run(main())


@pytest.mark.parametrize("option", ["client", "async_client"])
def test_a_client_of_the_wrong_form_is_refused(option):
    sync, other = redis.Redis(), redis.asyncio.Redis()
    given = {"client": sync, "async_client": other, option: object()}
    swapped = {"client": sync, "async_client": other, option: other if option == "client" else sync}

    for wrong in (given, swapped):
        client = wrong.pop("client")
        with pytest.raises(InvalidOption, match=option):
            RedisBackend(client, **wrong)


def test_what_has_to_wait_has_no_outcome_at_once():
    """Sync code would go on without it."""

    async def outcome():
        return 1

    async def waits():
        await asyncio.sleep(0)

    assert at_once(outcome()) == 1
    with pytest.raises(AssertionError):
        at_once(waits())
