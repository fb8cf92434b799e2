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
from eventbus.queue.spans import Span
from eventbus.worker.signals import Signals


@pytest.fixture
def signals():
    with Signals(grace=60) as signals:
        yield signals


def span(name, limit, **more):
    return Span(name=name, limit=limit, **more)


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
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP, signal.SIGUSR2)
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

    assert signals.running(span("tell", 60), run) == "done"
    assert (signals.stopping, signals.interrupted) == (True, False)


def test_so_many_signals_that_the_pipe_is_full_do_no_harm(signals):
    for _ in range(70_000):
        signals._wake()
    signals.stop()

    assert signals.stopping


def ring():
    """Let the alarm of a run that is over ring."""
    os.kill(os.getpid(), signal.SIGALRM)


def test_a_run_in_time_returns_its_answer_and_its_alarm_raises_nothing(signals):
    assert signals.running(span("tell", 5), lambda: 7) == 7
    ring()
    assert signals.running(span("tell", 0), lambda: 8) == 8
    ring()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_that_is_set_early_enough_serves_the_next_runs_too(signals, monkeypatch):
    set_to = []
    monkeypatch.setattr(signal, "setitimer", lambda *arguments: set_to.append(arguments))

    for _ in range(100):
        signals.running(span("tell", 60), lambda: None)

    assert len(set_to) == 1


def test_a_run_with_less_time_than_the_one_before_it_has_an_alarm_of_its_own(signals):
    signals.running(span("tell", 60), lambda: None)

    with pytest.raises(ListenerTimeout):
        signals.running(span("tell", 0.05), wait_for_ever)


def test_a_run_with_more_time_than_the_one_before_it_is_not_ended_by_its_alarm(signals):
    signals.running(span("short", 0.05), lambda: None)

    def outlive():
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            select.select([], [], [], 0.01)
        return "lives"

    assert signals.running(span("long", 60), outlive) == "lives"
    with pytest.raises(ListenerTimeout, match="long"):
        signals.running(span("long", 0.05), wait_for_ever)


def test_after_a_run_that_was_ended_the_next_has_its_own_time(signals):
    with pytest.raises(ListenerTimeout):
        signals.running(span("first", 0.02), wait_for_ever)
    with pytest.raises(ListenerTimeout, match="second"):
        signals.running(span("second", 0.02), wait_for_ever)


def test_what_a_run_raises_is_raised(signals):
    with pytest.raises(KeyError):
        signals.running(span("tell", 5), lambda: {}[1])
    ring()


def test_a_run_that_is_too_long_is_ended(signals):
    with pytest.raises(ListenerTimeout, match=r"tell ran longer than its timeout of 0\.05 s"):
        signals.running(span("tell", 0.05), wait_for_ever)


def test_an_alarm_that_comes_when_the_run_is_over_raises_nothing(signals):
    signals.running(span("tell", 5), lambda: None)

    os.kill(os.getpid(), signal.SIGALRM)

    assert signals._fired is None


def test_an_alarm_that_comes_early_raises_nothing(signals):
    assert signals.running(span("tell", 5), lambda: os.kill(os.getpid(), signal.SIGALRM)) is None


def test_a_run_that_swallows_the_alarm_is_ended_by_the_next(signals, monkeypatch):
    monkeypatch.setattr("eventbus.worker.signals.AGAIN", 0.05)
    swallowed = []

    def stubborn():
        for _ in range(2):
            try:
                wait_for_ever()
            except ListenerTimeout as error:
                swallowed.append(error)
        wait_for_ever()

    with pytest.raises(ListenerTimeout):
        signals.running(span("tell", 0.05), stubborn)

    assert len(swallowed) == 2


def test_the_second_signal_ends_the_run_at_once(signals):
    def run():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        wait_for_ever()

    with pytest.raises(JobInterrupted, match="tell was interrupted"):
        signals.running(span("tell", 60), run)
    assert signals.interrupted


def test_a_second_signal_before_the_run_ends_it_too(signals):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(JobInterrupted):
        signals.running(span("tell", 60), wait_for_ever)


def test_when_the_grace_is_over_the_run_is_ended():
    with Signals(grace=0.05) as signals:

        def run():
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for_ever()

        with pytest.raises(JobInterrupted):
            signals.running(span("tell", 60), run)


def test_the_grace_begins_with_the_signal_not_with_the_next_run():
    with Signals(grace=0.2) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        told_at = time.monotonic()
        while time.monotonic() < told_at + 0.2:
            select.select([], [], [], 0.01)

        with pytest.raises(JobInterrupted):
            signals.running(span("tell", 0), wait_for_ever)

    assert time.monotonic() < told_at + 0.35


def test_when_it_is_time_to_stop_no_run_is_begun(signals):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    began = []

    with pytest.raises(JobInterrupted, match="goes back unspent"):
        signals.running(span("tell", 60), lambda: began.append(1))

    assert began == []
    assert signals.interrupted


def test_when_it_is_time_to_stop_what_follows_a_run_has_a_moment(signals, monkeypatch):
    monkeypatch.setattr("eventbus.worker.signals.SPARED", 0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)

    assert signals.running(span("tell", 60, follows=True), lambda: 7) == 7
    with pytest.raises(JobInterrupted, match=r"tell was interrupted: the worker had to stop$"):
        signals.running(span("tell", 0, follows=True), wait_for_ever)


def test_the_second_signal_ends_what_follows_a_run_at_once(signals, monkeypatch):
    monkeypatch.setattr("eventbus.worker.signals.SPARED", 0.0)

    def run():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        wait_for_ever()

    with pytest.raises(JobInterrupted):
        signals.running(span("tell", 0, follows=True), run)


def test_the_stretches_of_a_span_share_its_time(signals):
    """A limit is for all of it, from the first stretch on."""
    shared = span("tell", 0.2)
    signals.running(shared, lambda: None)
    while time.monotonic() < shared.began + 0.2:
        select.select([], [], [], 0.01)

    with pytest.raises(ListenerTimeout, match=r"its timeout of 0\.2 s"):
        signals.running(shared, wait_for_ever)


def test_async_and_sync_stretches_of_a_span_share_its_time(signals):
    shared = span("tell", 0.2)
    signals.running(shared, lambda: None)
    while time.monotonic() < shared.began + 0.2:
        select.select([], [], [], 0.01)

    with pytest.raises(ListenerTimeout):
        asyncio.run(signals.waiting(shared, asyncio.Event().wait()))


def test_a_span_may_be_given_another_limit_while_it_runs(signals):
    shorter = span("shorter", 60)

    def shorten():
        signals.change(shorter, 0.05)
        wait_for_ever()

    with pytest.raises(ListenerTimeout, match=r"its timeout of 0\.05 s"):
        signals.running(shorter, shorten)
    longer = span("longer", 0.05)

    def lengthen():
        signals.change(longer, 0)
        ring()
        return signals.overdue()

    assert signals.running(longer, lengthen) == -float("inf")


def test_a_span_may_be_given_another_limit_between_its_stretches(signals):
    shared = span("tell", 60)
    signals.running(shared, lambda: None)

    signals.change(shared, 0.05)

    with pytest.raises(ListenerTimeout):
        signals.running(shared, wait_for_ever)


def test_in_another_thread_a_span_may_be_given_another_limit_too():
    def run():
        with Signals(grace=60) as signals:
            shared = span("tell", 60)
            signals.running(shared, lambda: signals.change(shared, 0.05))
            return asyncio.run(signals.waiting(shared, asyncio.Event().wait()))

    assert isinstance(in_thread(run), ListenerTimeout)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_three_signals_stop_it(signals, number):
    """K13."""
    os.kill(os.getpid(), number)
    assert (signals.stopping, signals.first) == (True, number)


def test_a_hangup_orders_a_restart_and_ends_the_wait(signals):
    os.kill(os.getpid(), signal.SIGHUP)
    signals.wait(60)
    assert (signals.restart, signals.stopping) == (True, False)


def test_it_pauses_and_goes_on_by_signals(signals):
    """K13: USR2 pauses, CONT resumes."""
    os.kill(os.getpid(), signal.SIGUSR2)
    signals.wait(60)
    assert signals.paused
    os.kill(os.getpid(), signal.SIGCONT)
    signals.wait(60)
    assert not signals.paused


def test_the_running_job_is_told_of_a_signal_to_stop_and_of_no_other(signals):
    told = []
    signals.on_stop = told.append

    def run():
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)

    os.kill(os.getpid(), signal.SIGHUP)
    signals.running(span("tell", 60), run)

    assert told == [signal.SIGTERM]


class Bell:
    def __init__(self):
        self.ends = os.pipe()

    def fileno(self):
        return self.ends[0]

    def ring(self):
        os.write(self.ends[1], b".")

    def close(self):
        for end in self.ends:
            os.close(end)


def test_a_bell_ends_the_wait(signals):
    bell = Bell()
    bell.ring()
    signals.wait(60, bell)
    bell.close()


def test_in_another_thread_a_bell_and_stop_end_the_wait():
    def run():
        bell = Bell()
        with Signals(grace=60) as signals:
            threading.Timer(0.02, bell.ring).start()
            signals.wait(60, bell)
            threading.Timer(0.02, signals.stop).start()
            os.read(bell.ends[0], 1)
            signals.wait(60, bell)
            bell.close()
            return signals.stopping

    assert in_thread(run) is True


# What the lease thread sees.


def test_a_run_is_overdue_once_its_time_is_over(signals, monkeypatch):
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)  # as if its handler could not run
    seen = []

    def run():
        seen.append(signals.overdue())
        while signals.overdue() < 0:
            select.select([], [], [], 0.01)
        seen.append(signals.overdue())
        seen.append(signals.has_to_stop)

    assert signals.overdue() == -float("inf")
    signals.running(span("tell", 0.05), run)
    early, late, stops = seen
    assert early < 0 <= late
    assert stops is False
    assert signals.overdue() == -float("inf")


def test_it_hears_of_signals_to_stop_although_their_handlers_have_not_run():
    """Code that never returns to Python keeps handlers from running, not this."""
    with Signals(grace=0) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert select.select([signals], [], [], 10)[0]
        signals.heard()

        def run():
            return signals.overdue() >= 0, signals.has_to_stop

        signals._stop_at = float("inf")  # as if the handler had not run
        signals.received = 0
        assert signals.running(span("tell", 60), run) == (True, True)


def test_once_it_is_time_to_stop_our_own_code_is_overdue_as_well(signals):
    assert (signals.overdue(), signals.step) == (-float("inf"), "")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
        select.select([signals], [], [], 10)
        signals.heard()

    assert signals.overdue() >= 0
    assert signals.has_to_stop
    assert signals.running(span("told", 60, follows=True), lambda: signals.step) == "told"


def test_what_it_heard_in_a_run_is_over_with_it():
    signals = Signals(grace=0)
    with signals:
        os.kill(os.getpid(), signal.SIGTERM)
        select.select([signals], [], [], 10)
        signals.heard()
        assert signals.overdue() >= 0
    with signals:
        assert (signals.overdue(), signals.stopping) == (-float("inf"), True)


def test_the_second_signal_it_hears_leaves_no_grace(signals):
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        os.kill(os.getpid(), number)
        select.select([signals], [], [], 10)
        signals.heard()
    assert signals._heard_stop_at <= time.monotonic()


def test_without_signals_there_is_nothing_to_watch():
    def run():
        with Signals(grace=1) as signals:
            return signals.fileno(), signals.running(span("tell", 0.01), signals.overdue)

    assert in_thread(run) == (None, -float("inf"))


def test_what_wakes_python_up_is_put_back():
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with Signals(grace=1):
        pass
    after = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after)
    assert after == before


async def answer(value):
    return value


async def leave(error):
    raise error


def test_async_work_in_time_returns_its_answer(signals):
    assert asyncio.run(signals.waiting(span("tell", 5), answer(7))) == 7


def test_async_work_that_is_too_long_is_cancelled(signals):
    with pytest.raises(ListenerTimeout):
        asyncio.run(signals.waiting(span("tell", 0.05), asyncio.Event().wait()))


def test_async_work_that_raises_in_its_cancellation_has_timed_out_all_the_same(signals):
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError from None

    with pytest.raises(ListenerTimeout):
        asyncio.run(signals.waiting(span("tell", 0.05), stubborn()))


def test_async_work_that_blocks_its_loop_is_interrupted_where_it_stands(signals, monkeypatch):
    monkeypatch.setattr("eventbus.worker.signals.AGAIN", 0.01)

    async def block():
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            select.select([], [], [], 0.1)

    with pytest.raises(ListenerTimeout):
        asyncio.run(signals.waiting(span("tell", 0.05), block()))


@pytest.mark.parametrize("error", [KeyError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_what_async_work_raises_leaves_nothing_behind_in_the_loop(signals, error):
    with asyncio.Runner() as runner:
        with pytest.raises(error):
            runner.run(signals.waiting(span("tell", 5), leave(error())))

        assert runner.run(signals.waiting(span("tell", 5), answer(7))) == 7
        ring()


def test_in_another_thread_async_work_is_cancelled_without_signals():
    def run():
        with Signals(grace=60) as signals:
            return asyncio.run(signals.waiting(span("tell", 0.05), asyncio.Event().wait()))

    assert isinstance(in_thread(run), ListenerTimeout)


def test_in_another_thread_work_that_swallows_it_is_cancelled_again(monkeypatch):
    monkeypatch.setattr("eventbus.worker.awaited.AGAIN", 0.02)
    swallowed = []

    async def stubborn():
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                swallowed.append(error)

    def run():
        with Signals(grace=60) as signals:
            return asyncio.run(signals.waiting(span("tell", 0.02), stubborn()))

    assert isinstance(in_thread(run), ListenerTimeout)
    assert len(swallowed) == 2


@pytest.mark.parametrize("limit", [0, 5])
def test_in_another_thread_work_in_time_returns_its_answer(limit):
    def run():
        with Signals(grace=60) as signals:
            return (
                signals.running(span("tell", limit), lambda: 5),
                asyncio.run(signals.waiting(span("tell", limit), answer(7))),
            )

    assert in_thread(run) == (5, 7)


def test_stop_before_it_runs_is_kept():
    signals = Signals(grace=60)
    signals.stop()
    with signals:
        signals.wait(60)
    signals.wait(60)
    assert signals.stopping
