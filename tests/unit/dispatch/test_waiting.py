"""Waiting in sync and in async code: loops of threads, contexts, what blocks."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from contextvars import ContextVar
from types import SimpleNamespace

import pytest

from eventbus.dispatch import waiting
from eventbus.dispatch.waiting import Blocking, Runners, adrive, drive, loop_runs
from eventbus.errors import AsyncListenerInSyncDispatch

USER = ContextVar("user", default="nobody")


class Shipped:
    pass


async def loop_of(event):
    return asyncio.get_running_loop()


@pytest.fixture
def runners():
    runners = Runners()
    yield runners
    runners.close()


def in_thread(call):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join()
    return answers[0]


# loops


def test_a_thread_keeps_one_loop_for_its_async_listeners(bus):
    """E35: what a listener has bound to its loop is good at the next dispatch."""
    bus.listen(Shipped, loop_of)

    assert bus.dispatch(Shipped()) == bus.dispatch(Shipped())


def test_each_thread_has_its_own_loop_and_it_is_closed_with_the_thread(bus):
    """F40."""
    bus.listen(Shipped, loop_of)
    [mine] = bus.dispatch(Shipped())

    [theirs] = in_thread(lambda: bus.dispatch(Shipped()))

    gc.collect()
    assert theirs is not mine
    assert theirs.is_closed()
    assert not mine.is_closed()


def test_a_closed_runner_is_made_anew(bus):
    """F40: a closed loop."""
    bus.listen(Shipped, loop_of)
    [first] = bus.dispatch(Shipped())

    bus._close_runner()
    bus._close_runner()

    assert first.is_closed()
    assert not bus.dispatch(Shipped())[0].is_closed()


def test_each_loop_of_the_user_does(bus):
    """F40: nothing is bound to the first."""
    bus.listen(Shipped, loop_of)

    loops = [asyncio.run(bus.adispatch(Shipped()))[0] for _ in range(2)]
    assert loops[0] is not loops[1]


def test_a_thread_without_a_loop_dispatches_while_another_ones_loop_runs(bus):
    """F40: a foreign loop is no obstacle."""
    bus.listen(Shipped, loop_of)

    async def main():
        return await asyncio.to_thread(bus.dispatch, Shipped()), asyncio.get_running_loop()

    [theirs], mine = asyncio.run(main())
    assert theirs is not mine


def test_a_runner_is_not_closed_inside_a_running_loop(bus):
    """It could not run its own end there; the thread still has it."""
    bus.listen(Shipped, loop_of)
    [mine] = bus.dispatch(Shipped())

    async def main():
        bus._close_runner()

    asyncio.run(main())
    assert bus.dispatch(Shipped()) == [mine]


def test_a_bus_dropped_inside_a_running_loop_closes_its_loop(make_bus, runners):
    """F41."""
    runners.wait(asyncio.sleep(0))
    loop = runners._of.thread._runner.get_loop()

    async def main():
        del runners._of.thread
        gc.collect()

    asyncio.run(main())
    assert loop.is_closed()


def test_a_loop_that_runs_is_left_to_those_who_run_it(runners):
    """F41: at the exit of the interpreter, that of a daemon thread."""

    async def main():
        return waiting._end(runners._of.thread._runner, os.getpid())

    runners.wait(asyncio.sleep(0))
    runners.wait(main())
    assert not runners._of.thread._runner.get_loop().is_closed()


def test_a_forked_process_makes_a_loop_of_its_own(runners, monkeypatch):
    """F41: with its parent's each would take the other's wake-ups."""
    mine = runners.wait(loop_of(None))
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        theirs = runners.wait(loop_of(None))
        runners.close()

    gc.collect()
    assert theirs is not mine
    assert mine.is_closed()


def test_waiting_inside_a_running_loop_is_refused_and_leaves_nothing_unawaited(runners):
    """F40: no "never awaited", which would be an error here."""

    async def main():
        runners.wait(loop_of(None))

    with pytest.raises(AsyncListenerInSyncDispatch, match="did not run"):
        asyncio.run(main())


def test_what_cannot_be_closed_is_refused_as_well(runners):
    async def main():
        runners.wait(asyncio.get_running_loop().create_future())

    with pytest.raises(AsyncListenerInSyncDispatch):
        asyncio.run(main())


def test_no_loop_runs_where_asyncio_is_not_imported(monkeypatch):
    monkeypatch.setattr(waiting, "sys", SimpleNamespace(modules={}))

    assert not loop_runs()


def test_no_loop_runs_where_asyncio_is_only_half_imported(monkeypatch):
    """Another thread may be importing it just now."""
    monkeypatch.setattr(waiting, "sys", SimpleNamespace(modules={"asyncio": SimpleNamespace()}))

    assert not loop_runs()


# contexts


def test_an_async_listener_sees_the_context_of_a_sync_dispatch(bus):
    """E35: that of now, not that of the first dispatch."""

    async def who(event):
        return USER.get()

    bus.listen(Shipped, who)
    answers = []
    for user in ("ada", "grace"):
        token = USER.set(user)
        answers += bus.dispatch(Shipped())
        USER.reset(token)

    assert answers == ["ada", "grace"]


def test_what_an_async_listener_sets_stays_its_own_in_a_sync_dispatch(bus):
    async def become(event):
        USER.set("somebody")

    bus.listen(Shipped, become)
    bus.dispatch(Shipped())

    assert USER.get() == "nobody"


# walks


def walk_of(*effects, got):
    for effect in effects:
        try:
            got.append((yield effect))
        except BaseException as error:
            got.append(type(error))
    return "end"


def fail():
    raise KeyError


async def afail():
    raise KeyError


async def answer():
    return 1


def test_a_walk_gets_the_outcome_of_each_of_its_effects(runners):
    sync, other = [], []

    def effects():
        return answer(), Blocking(lambda: 2), afail(), Blocking(fail), answer()

    assert drive(walk_of(*effects(), got=sync), runners) == "end"
    assert asyncio.run(adrive(walk_of(*effects(), got=other))) == "end"
    assert sync == other == [1, 2, KeyError, KeyError, 1]


def test_what_blocks_does_so_off_the_loop():
    """The loop goes on meanwhile."""
    got = []

    async def main():
        free = threading.Event()
        work = asyncio.create_task(
            adrive(walk_of(Blocking(lambda: free.wait(20) and threading.get_ident()), got=got))
        )
        while not work.done():
            await asyncio.sleep(0)
            free.set()

    asyncio.run(main())
    assert got[0] not in (False, threading.get_ident())


def cancelled_while_blocking(call):
    """Cancel a walk while `call(free)` blocks; return what the walk got and how the task ended."""
    got = []

    async def main():
        begun, free = threading.Event(), threading.Event()

        def work():
            begun.set()
            return call(free)

        task = asyncio.create_task(adrive(walk_of(Blocking(work), got=got)))
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(2):  # impatient: cancelled twice
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        free.set()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    return asyncio.run(main()), got


def test_a_cancelled_walk_waits_for_what_blocks_and_then_is_cancelled():
    """F40: whole or not at all."""
    stored = []

    _, got = cancelled_while_blocking(lambda free: stored.append(free.wait(20)))

    assert stored == [True]
    assert got == [asyncio.CancelledError]


def test_the_error_of_what_blocks_goes_before_the_cancellation():
    def refuse(free):
        free.wait(20)
        raise KeyError

    _, got = cancelled_while_blocking(refuse)

    assert got == [KeyError]


# work that need not block


def test_work_that_need_not_block_is_done_on_the_loop():
    threads, got = [], []

    async def native():
        threads.append(threading.get_ident())
        await asyncio.sleep(0)
        return "stored"

    effect = Blocking(lambda: "in a thread", native)

    assert asyncio.run(adrive(walk_of(effect, got=got))) == "end"
    assert drive(walk_of(effect, got=got), None) == "end"
    assert got == ["stored", "in a thread"]
    assert threads == [threading.get_ident()]


def cancelled_on_the_loop(native):
    """Cancel a walk while `native(free)` waits; return what the walk got and how the task ended."""
    got = []

    async def main():
        begun, free = asyncio.Event(), asyncio.Event()

        async def work():
            begun.set()
            return await native(free)

        task = asyncio.create_task(adrive(walk_of(Blocking(pytest.fail, work), got=got)))
        await begun.wait()
        for _ in range(2):  # impatient: cancelled twice
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        free.set()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    return asyncio.run(main()), got


def test_a_cancelled_walk_waits_for_work_on_the_loop_and_then_is_cancelled():
    """F40: whole or not at all."""
    stored = []

    async def store(free):
        stored.append(await free.wait())

    _, got = cancelled_on_the_loop(store)

    assert stored == [True]
    assert got == [asyncio.CancelledError]


def test_the_error_of_work_on_the_loop_goes_before_the_cancellation():
    async def refuse(free):
        await free.wait()
        raise KeyError

    _, got = cancelled_on_the_loop(refuse)

    assert got == [KeyError]


def test_work_that_the_end_of_the_loop_cancels_is_done_in_a_thread():
    """F40: `asyncio.run` cancels every task, the one that stores among them."""
    done, got = [], []

    async def main():
        begun = asyncio.Event()

        async def work():
            begun.set()
            await asyncio.Event().wait()

        effect = Blocking(lambda: done.append(threading.get_ident()), work)
        task = asyncio.ensure_future(adrive(walk_of(effect, got=got)))
        await begun.wait()
        return task

    task = asyncio.run(main())

    assert len(done) == 1
    assert done != [threading.get_ident()]
    assert got == [asyncio.CancelledError]
    assert task.result() == "end"  # the walk has caught it


def test_what_a_task_raises_as_its_loop_is_closed_is_logged(runners, caplog):
    """F40: a background task that ends badly at the very end is not lost without a word."""
    tasks = []

    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("too late") from None

    async def leaves_a_task():
        tasks.append(asyncio.ensure_future(stubborn()))
        await asyncio.wait(tasks, timeout=0)  # it has begun

    runners.wait(leaves_a_task())
    runners.close()

    assert "too late" in caplog.text
