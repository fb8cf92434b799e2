"""What is held for a while is renewed, from one thread, until it is given back or lost."""

from __future__ import annotations

import os
import threading

import pytest

from eventbus.queue import renewal
from eventbus.queue.renewal import Renewals

DEADLINE = 30.0
#: So that a renewal is due at once, as often as it is asked for.
SHORT = 0.03


@pytest.fixture
def renewals(monkeypatch):
    monkeypatch.setattr(renewal, "_LINGERS", 0.01)
    return Renewals()


class Held:
    """Something that counts its renewals."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.renewed = threading.Semaphore(0)
        self.thread = None

    def __call__(self):
        self.thread = threading.current_thread()
        answer = self.answers.pop(0) if self.answers else True
        self.renewed.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def was_renewed(self, times=1):
        return all(self.renewed.acquire(timeout=DEADLINE) for _ in range(times))


def test_each_is_renewed_again_and_again_from_one_thread(renewals):
    one, two = Held(), Held()
    with renewals.of("one", one, lasts=SHORT), renewals.of("two", two, lasts=SHORT):
        assert one.was_renewed(3)
        assert two.was_renewed(3)
        assert one.thread is two.thread is not threading.current_thread()


def test_the_thread_ends_when_there_is_nothing_left_and_begins_anew(renewals):
    first, second = Held(), Held()
    with renewals.of("first", first, lasts=SHORT):
        assert first.was_renewed()
    first.thread.join(DEADLINE)
    assert not first.thread.is_alive()

    with renewals.of("second", second, lasts=SHORT):
        assert second.was_renewed()


def test_what_was_lost_is_not_renewed_and_the_others_are(renewals):
    lost, other = Held(False), Held()
    with renewals.of("lost", lost, lasts=SHORT), renewals.of("other", other, lasts=SHORT):
        assert lost.was_renewed()
        assert other.was_renewed(4)
    assert not lost.renewed.acquire(blocking=False)


def test_one_that_raises_is_logged_and_renewed_again(renewals, caplog):
    held = Held(ValueError("away"), ValueError("away"))
    with renewals.of("a slot", held, lasts=SHORT):
        assert held.was_renewed(3)

    assert caplog.text.count("a slot was not renewed: ValueError: away") == 2


def test_what_is_given_back_in_the_midst_of_the_others_is_not_renewed_any_more(renewals):
    held, other = Held(), Held()
    with renewals.of("other", other, lasts=SHORT):
        key = object()
        renewals.add(key, "held", held, lasts=60.0)
        renewals.drop(key)
        renewals.drop(key)
        assert other.was_renewed(4)
    assert not held.renewed.acquire(blocking=False)


def test_a_forked_process_renews_its_own_and_not_its_parents(renewals):
    parents = Held()
    with renewals.of("parents", parents, lasts=60.0):
        child = os.fork()
        if not child:
            own = Held()
            with renewals.of("own", own, lasts=SHORT):
                os._exit(0 if own.was_renewed() and len(renewals.held) == 1 else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
