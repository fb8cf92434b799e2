"""Leases are renewed from a thread while jobs run."""

from __future__ import annotations

import logging
import signal
import threading
from datetime import UTC, datetime

import pytest

from eventbus.backends.base import Claim
from eventbus.errors import BackendUnavailable, MissingDependency
from eventbus.queue.envelope import Envelope
from eventbus.worker.leases import Leases

DEADLINE = 10


class Renewals:
    """A port that says when leases are renewed, and answers as it is told to."""

    def __init__(self, *answers):
        self.renewed = []
        self._answers = list(answers)
        self._news = threading.Condition()

    def extend(self, claims, *, lease):
        with self._news:
            self.renewed.append(([one.envelope.id for one in claims], lease))
            answer = self._answers.pop(0) if self._answers else []
            self._news.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return claims if answer == "lost" else []

    def await_renewals(self, times):
        with self._news:
            assert self._news.wait_for(lambda: len(self.renewed) >= times, DEADLINE)


def claim(id="a"):
    return Claim(
        envelope=Envelope(id=id, queue="q", body=b""),
        token=f"token-{id}",
        pushed_at=datetime.now(UTC),
    )


def test_a_held_claim_is_renewed_again_and_again():
    port = Renewals()
    with Leases(port, lease=0.03) as leases, leases.holding(claim()):
        port.await_renewals(3)
    assert port.renewed[:3] == [(["a"], 0.03)] * 3


def test_what_is_no_longer_held_is_not_renewed():
    port = Renewals()
    with Leases(port, lease=0.03) as leases, leases.holding(claim("a")):
        with leases.holding(claim("b")):
            port.await_renewals(2)
        seen = len(port.renewed)
        port.await_renewals(seen + 3)
    assert port.renewed[-1][0] == ["a"]


def test_a_store_that_is_away_is_asked_again(caplog):
    port = Renewals(BackendUnavailable(backend="b", operation="extend", reason="away"))
    with Leases(port, lease=0.03) as leases, leases.holding(claim()):
        port.await_renewals(2)
    assert "leases were not renewed" in caplog.text


def test_an_error_that_is_none_of_the_stores_does_not_end_the_renewals(caplog):
    unsafe = MissingDependency(extra="sqlite", needed_for="a file that was switched to WAL:")
    port = Renewals(unsafe, RuntimeError("of a driver"))

    with Leases(port, lease=0.03) as leases, leases.holding(claim()):
        port.await_renewals(3)

    assert caplog.text.count("leases were not renewed") == 2


def test_a_lost_lease_is_said_once_and_renewed_no_more(caplog):
    port = Renewals([], "lost")
    with Leases(port, lease=0.03) as leases, leases.holding(claim("a")):
        port.await_renewals(2)
        with leases.holding(claim("b")):
            port.await_renewals(4)
    assert port.renewed[-1][0] == ["b"]
    lost = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert [one.getMessage() for one in lost] == ["the lease of job a was lost while it ran"]


def test_a_claim_that_was_settled_while_it_was_renewed_is_not_called_lost(caplog):
    held = claim()
    renewing, go_on = threading.Event(), threading.Event()

    class Slow(Renewals):
        def extend(self, claims, *, lease):
            renewing.set()
            assert go_on.wait(DEADLINE)
            return claims

    with Leases(Slow(), lease=0.03) as leases:
        with leases.holding(held):
            assert renewing.wait(DEADLINE)
        go_on.set()
    assert caplog.text == ""


def test_its_thread_takes_no_signals_from_the_main_one():
    masks = []

    class Masks(Renewals):
        def extend(self, claims, *, lease):
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
            return super().extend(claims, lease=lease)

    port = Masks()
    with Leases(port, lease=0.03) as leases, leases.holding(claim()):
        port.await_renewals(1)

    assert masks[0] >= {signal.SIGTERM, signal.SIGINT, signal.SIGALRM}


def test_without_claims_the_store_is_left_alone():
    port = Renewals()
    with Leases(port, lease=0.003) as leases:
        with leases.holding(claim()):
            port.await_renewals(1)
        seen = len(port.renewed)
        leases._over.wait(0.02)
    assert len(port.renewed) == seen


@pytest.mark.parametrize("error", [KeyError, SystemExit])
def test_it_ends_whatever_is_raised_in_the_block(error):
    leases = Leases(Renewals(), lease=60)
    with pytest.raises(error), leases:
        raise error
    assert not leases._thread.is_alive()
