"""Signals of a worker, and the alarm that ends a run: in the main thread, and without any elsewhere."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
import time

import pytest

from eventbus.errors import JobInterrupted, ListenerTimeout
from eventbus.worker.signals import Signals


@pytest.fixture
def signals():
    with Signals(grace=60) as signals:
        yield signals


def wait_for_ever():
    while True:  # in steps: a signal that comes just before a system call does not interrupt it
        select.select([], [], [], 0.1)


def in_thread(call):
    """Run `call` in a thread that has no signals; return what it returned or raised."""
    outcome = []

    def run():
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    return outcome[0]


def test_the_handlers_that_were_there_are_put_back():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]

    with Signals(grace=1):
        assert [signal.getsignal(number) for number in numbers] != before

    assert [signal.getsignal(number) for number in numbers] == before


def test_a_signal_to_stop_ends_the_wait(signals):
    os.kill(os.getpid(), signal.SIGTERM)

    signals.wait(60)
    signals.wait(60)

    assert signals.stopping


def test_a_signal_that_comes_during_the_wait_ends_it(signals):
    main = threading.main_thread().ident
    threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()

    signals.wait(60)

    assert signals.received == 1


def test_a_wait_ends_by_itself(signals):
    signals.wait(0.001)

    assert not signals.stopping


def test_stop_ends_the_wait_from_any_thread(signals):
    threading.Timer(0.05, signals.stop).start()

    signals.wait(60)

    assert signals.stopping


def test_a_signal_after_stop_is_the_first(signals):
    """It was no signal: the running job still has its grace."""

    def run():
        signals.stop()
        signals.stop()
        os.kill(os.getpid(), signal.SIGTERM)
        return "done"

    assert signals.running("tell", 60, run) == "done"
    assert (signals.stopping, signals.interrupted) == (True, False)


def test_so_many_signals_that_the_pipe_is_full_do_no_harm(signals):
    for _ in range(70_000):
        signals._wake()
    signals.stop()

    assert signals.stopping


def test_a_run_in_time_returns_its_answer_and_leaves_no_alarm(signals):
    assert signals.running("tell", 5, lambda: 7) == 7
    assert signals.running("tell", 0, lambda: 8) == 8
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_a_run_raises_is_raised(signals):
    with pytest.raises(KeyError):
        signals.running("tell", 5, lambda: {}[1])
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_run_that_is_too_long_is_ended(signals):
    with pytest.raises(ListenerTimeout, match=r"tell ran longer than its timeout of 0\.05 s"):
        signals.running("tell", 0.05, wait_for_ever)


def test_an_alarm_that_comes_when_the_run_is_over_raises_nothing(signals):
    signals.running("tell", 5, lambda: None)

    os.kill(os.getpid(), signal.SIGALRM)

    assert signals._fired is None


def test_an_alarm_that_comes_early_raises_nothing(signals):
    assert signals.running("tell", 5, lambda: os.kill(os.getpid(), signal.SIGALRM)) is None


def test_a_run_that_swallows_the_alarm_is_ended_by_the_next(signals, monkeypatch):
    monkeypatch.setattr("eventbus.worker.signals._AGAIN", 0.05)
    swallowed = []

    def stubborn():
        for _ in range(2):
            try:
                wait_for_ever()
            except ListenerTimeout as error:
                swallowed.append(error)
        wait_for_ever()

    with pytest.raises(ListenerTimeout):
        signals.running("tell", 0.05, stubborn)

    assert len(swallowed) == 2


def test_the_second_signal_ends_the_run_at_once(signals):
    def run():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        wait_for_ever()

    with pytest.raises(JobInterrupted, match="tell was interrupted"):
        signals.running("tell", 60, run)
    assert signals.interrupted


def test_a_second_signal_before_the_run_ends_it_too(signals):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(JobInterrupted):
        signals.running("tell", 60, wait_for_ever)


def test_when_the_grace_is_over_the_run_is_ended():
    with Signals(grace=0.05) as signals:

        def run():
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for_ever()

        with pytest.raises(JobInterrupted):
            signals.running("tell", 60, run)


def test_the_grace_begins_with_the_signal_not_with_the_next_run():
    with Signals(grace=0.2) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        told_at = time.monotonic()
        while time.monotonic() < told_at + 0.2:
            select.select([], [], [], 0.01)

        with pytest.raises(JobInterrupted):
            signals.running("tell", 0, wait_for_ever)

    assert time.monotonic() < told_at + 0.35


def test_a_forked_child_dies_of_a_signal_as_if_there_were_no_worker(signals):
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(tell, b".")
            select.select([], [], [], 10)
        finally:
            os._exit(1)
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)

    os.kill(child, signal.SIGTERM)

    assert os.waitpid(child, 0)[1] == signal.SIGTERM
    assert not signals.stopping


async def answer(value):
    return value


async def leave(error):
    raise error


def test_async_work_in_time_returns_its_answer(signals):
    assert asyncio.run(signals.waiting("tell", 5, answer(7))) == 7


def test_async_work_that_is_too_long_is_cancelled(signals):
    with pytest.raises(ListenerTimeout):
        asyncio.run(signals.waiting("tell", 0.05, asyncio.Event().wait()))


def test_async_work_that_raises_in_its_cancellation_has_timed_out_all_the_same(signals):
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError from None

    with pytest.raises(ListenerTimeout):
        asyncio.run(signals.waiting("tell", 0.05, stubborn()))


def test_async_work_that_blocks_its_loop_is_interrupted_where_it_stands(signals, monkeypatch):
    monkeypatch.setattr("eventbus.worker.signals._AGAIN", 0.01)

    async def block():
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            select.select([], [], [], 0.1)

    with pytest.raises(ListenerTimeout):
        asyncio.run(signals.waiting("tell", 0.05, block()))


@pytest.mark.parametrize("error", [KeyError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_what_async_work_raises_leaves_nothing_behind_in_the_loop(signals, error):
    with asyncio.Runner() as runner:
        with pytest.raises(error):
            runner.run(signals.waiting("tell", 5, leave(error())))

        assert runner.run(signals.waiting("tell", 5, answer(7))) == 7
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_in_another_thread_async_work_is_cancelled_without_signals():
    def run():
        with Signals(grace=60) as signals:
            return asyncio.run(signals.waiting("tell", 0.05, asyncio.Event().wait()))

    assert isinstance(in_thread(run), ListenerTimeout)


def test_in_another_thread_work_that_swallows_it_is_cancelled_again(monkeypatch):
    monkeypatch.setattr("eventbus.worker.signals._AGAIN", 0.02)
    swallowed = []

    async def stubborn():
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                swallowed.append(error)

    def run():
        with Signals(grace=60) as signals:
            return asyncio.run(signals.waiting("tell", 0.02, stubborn()))

    assert isinstance(in_thread(run), ListenerTimeout)
    assert len(swallowed) == 2


@pytest.mark.parametrize("limit", [0, 5])
def test_in_another_thread_work_in_time_returns_its_answer(limit):
    def run():
        with Signals(grace=60) as signals:
            return (
                signals.running("tell", limit, lambda: 5),
                asyncio.run(signals.waiting("tell", limit, answer(7))),
            )

    assert in_thread(run) == (5, 7)


def test_in_another_thread_the_wait_ends_by_stop():
    signals = Signals(grace=60)
    threading.Timer(0.05, signals.stop).start()
    begun = time.monotonic()

    in_thread(lambda: signals.wait(60))

    assert time.monotonic() - begun < 10
