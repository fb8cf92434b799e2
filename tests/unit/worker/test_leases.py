"""What a worker holds is looked after by a thread while its jobs run."""

from __future__ import annotations

import math
import os
import signal
import threading

import pytest

from eventbus.backends.memory import MemoryBackend
from eventbus.backends.port import Port
from eventbus.errors import BackendUnavailable, MissingDependency
from eventbus.queue.envelope import Envelope
from eventbus.worker.hand import Hand
from eventbus.worker.leases import Leases, Watch

DEADLINE = 10


class Told(Port):
    """A port that says what the thread asks for, and answers as it is told to."""

    def __init__(self, *answers):
        super().__init__(MemoryBackend(), name="default")
        self.renewed = []
        self.returned = []
        self.acked = []
        self._answers = list(answers)
        self._news = threading.Condition()

    def extend(self, claims, *, lease):
        answer = self._note(self.renewed, ([one.envelope.id for one in claims], lease))
        return claims if answer == "lost" else []

    def give_back(self, claims):
        self._note(self.returned, [one.envelope.id for one in claims])
        return super().give_back(claims)

    def ack_all(self, claims):
        self._note(self.acked, [one.envelope.id for one in claims])
        return super().ack_all(claims)

    def _note(self, notes, what):
        with self._news:
            notes.append(what)
            answer = self._answers.pop(0) if self._answers else None
            self._news.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def await_(self, notes, times=1):
        with self._news:
            assert self._news.wait_for(lambda: len(notes) >= times, DEADLINE)


def hand_of(port, *ids):
    hand = Hand(port, lambda error: False)
    port.push([Envelope(id=one, queue="q", body=b"{}") for one in ids])
    hand.take_up(port.claim(["q"], limit=max(1, len(ids))))
    return hand


def test_what_is_held_is_renewed_again_and_again():
    port = Told()
    with Leases(port, hand_of(port, "a", "b"), lease=0.03):
        port.await_(port.renewed, 3)
    assert port.renewed[:3] == [(["a", "b"], 0.03)] * 3


class Rounds:
    """Counts the rounds of the thread, and waits for more of them."""

    def __init__(self):
        self.number = 0
        self._news = threading.Condition()

    def __call__(self):
        with self._news:
            self.number += 1
            self._news.notify_all()

    def await_more(self, times):
        with self._news:
            goal = self.number + times
            assert self._news.wait_for(lambda: self.number >= goal, DEADLINE)


def test_what_is_no_longer_held_is_not_renewed():
    port, rounds = Told(), Rounds()
    hand = hand_of(port, "a")
    with Leases(port, hand, lease=0.03, beat=rounds):
        port.await_(port.renewed)
        hand.let_go()
        rounds.await_more(1)  # it may have been about to
        seen = len(port.renewed)
        rounds.await_more(3)
    assert len(port.renewed) == seen


def test_a_store_that_is_away_is_asked_again(caplog):
    port = Told(BackendUnavailable(backend="b", operation="extend", reason="away"))
    with Leases(port, hand_of(port, "a"), lease=0.03):
        port.await_(port.renewed, 2)
    assert "leases were not renewed" in caplog.text


def test_an_error_that_is_none_of_the_stores_does_not_end_the_renewals(caplog):
    unsafe = MissingDependency(extra="sqlite", needed_for="a file that was switched to WAL:")
    port = Told(unsafe, RuntimeError("of a driver"))
    with Leases(port, hand_of(port, "a"), lease=0.03):
        port.await_(port.renewed, 3)
    assert caplog.text.count("leases were not renewed") == 2


def test_a_lost_lease_is_said_once_and_renewed_no_more(caplog):
    port, rounds = Told(None, "lost"), Rounds()
    hand = hand_of(port, "a", "b")
    with Leases(port, hand, lease=0.03, beat=rounds):
        port.await_(port.renewed, 2)
        rounds.await_more(3)
    assert caplog.text.count("was lost") == 2
    assert len(port.renewed) == 2


def test_members_go_back_when_the_job_before_them_takes_long():
    """A claimed job is no hostage of a slow one."""
    port = Told()
    hand = hand_of(port, "slow", "b", "c")
    hand.begin()
    with Leases(port, hand, lease=60) as leases:
        leases.wake()
        port.await_(port.returned)
    assert port.returned == [["b", "c"]]
    assert port.size("q").ready == 2


def test_a_store_that_is_away_when_members_go_back_is_asked_in_the_next_round(caplog):
    port = Told(BackendUnavailable(backend="b", operation="release", reason="away"))
    hand = hand_of(port, "slow", "b")
    hand.begin()
    with Leases(port, hand, lease=60) as leases:
        leases.wake()
        port.await_(port.returned, 2)
    assert port.returned == [["b"], ["b"]]
    assert "was not looked after" in caplog.text


class Signalled(Watch):
    """Signals as the thread sees them."""

    def __init__(self, late):
        self.pipe = os.pipe()
        self.late = late
        self.seen = threading.Event()

    def fileno(self):
        return self.pipe[0]

    def heard(self):
        os.read(self.pipe[0], 10)
        self.seen.set()

    def overdue(self):
        return self.late

    def close(self):
        for end in self.pipe:
            os.close(end)


@pytest.fixture
def watching():
    made = []

    def make(late):
        made.append(Signalled(late))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_run_that_does_not_end_is_ended_around(watching):
    port, ended = Told(), threading.Event()
    with Leases(port, hand_of(port), lease=60, watch=watching(99.0), end=ended.set):
        assert ended.wait(DEADLINE)


def test_a_run_that_was_just_told_to_end_has_a_moment_more(watching):
    port, ended, looked = Told(), threading.Event(), threading.Event()
    watch = watching(0.0)
    watch.overdue = lambda: looked.set() or 0.0
    with Leases(port, hand_of(port), lease=60, watch=watch, end=ended.set):
        assert looked.wait(DEADLINE)
    assert not ended.is_set()


def test_a_signal_wakes_the_thread_whatever_the_main_one_does(watching):
    port = Told()
    watch = watching(-math.inf)
    with Leases(port, hand_of(port), lease=60, watch=watch):
        os.write(watch.pipe[1], b"\x0f")
        assert watch.seen.wait(DEADLINE)


def test_each_round_is_a_sign_of_life():
    port, rounds = Told(), Rounds()
    with Leases(port, hand_of(port), lease=0.03, beat=rounds):
        rounds.await_more(3)


def test_a_sign_of_life_does_not_wait_for_a_long_lease(monkeypatch):
    monkeypatch.setattr("eventbus.worker.leases.HEALTH_BEAT", 0.01)
    port, rounds = Told(), Rounds()
    with Leases(port, hand_of(port), lease=6000, beat=rounds):
        rounds.await_more(3)


def test_its_thread_takes_no_signals_from_the_main_one():
    masks = []

    class Masks(Told):
        def extend(self, claims, *, lease):
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
            return super().extend(claims, lease=lease)

    port = Masks()
    with Leases(port, hand_of(port, "a"), lease=0.03):
        port.await_(port.renewed)

    assert masks[0] >= {signal.SIGTERM, signal.SIGINT, signal.SIGALRM}


def test_with_empty_hands_the_store_is_left_alone():
    port, rounds = Told(), Rounds()
    with Leases(port, hand_of(port), lease=0.003, beat=rounds):
        rounds.await_more(3)
    assert port.renewed == []


def test_waking_it_a_hundred_thousand_times_does_no_harm():
    port = Told()
    leases = Leases(port, hand_of(port), lease=60)
    for _ in range(100_000):
        leases.wake()
    with leases:
        pass


@pytest.mark.parametrize("error", [KeyError, SystemExit])
def test_it_ends_whatever_is_raised_in_the_block(error):
    port = Told()
    leases = Leases(port, hand_of(port), lease=60)
    with pytest.raises(error), leases:
        raise error
    assert not leases._thread.is_alive()
