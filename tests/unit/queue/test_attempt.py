"""What a running listener can ask about its job, and do with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from attrs import frozen

from eventbus import Attempt, InteractsWithQueue
from eventbus.errors import InvalidOption, JobFailedByHand, UnsupportedOption
from eventbus.queue.attempt import Deleted, FailedByHand, Released


@pytest.fixture
def attempt():
    return Attempt(id="a", name="shop:tell", connection="default", queue="emails", number=2)


def test_nothing_is_settled_at_first(attempt):
    assert attempt.settled is None
    assert (attempt.number, attempt.releases, attempt.losses) == (2, 0, 0)


def test_delete_takes_the_job_as_done(attempt):
    attempt.delete()
    assert attempt.settled == Deleted()


@pytest.mark.parametrize(
    "delay, seconds", [(0, 0.0), (1.5, 1.5), (timedelta(minutes=1), 60.0)], ids=str
)
def test_release_gives_it_back_after_a_delay(attempt, delay, seconds):
    attempt.release(delay)
    assert attempt.settled == Released(seconds)


def test_release_may_spend_a_try(attempt):
    attempt.release(5, spend=True)
    assert attempt.settled == Released(5.0, spend=True)


@pytest.mark.parametrize("delay", [-1, "1", None, 1e300])
def test_release_refuses_what_is_no_duration_and_settles_nothing(attempt, delay):
    with pytest.raises(InvalidOption, match="release of shop:tell"):
        attempt.release(delay)
    assert attempt.settled is None


def test_fail_keeps_the_error(attempt):
    error = KeyError("gone")
    attempt.fail(error)
    assert attempt.settled == FailedByHand(error)


def test_fail_with_a_text_makes_an_error_of_it(attempt):
    attempt.fail("no such customer")
    assert isinstance(attempt.settled.error, JobFailedByHand)
    assert str(attempt.settled.error) == "shop:tell failed its job: no such customer"


@pytest.mark.parametrize("error", [KeyError, 7, None])
def test_fail_refuses_what_is_no_error(attempt, error):
    with pytest.raises(InvalidOption, match="error of shop:tell"):
        attempt.fail(error)
    assert attempt.settled is None


def test_the_first_settlement_wins(attempt):
    attempt.release(5)
    attempt.delete()
    attempt.fail("too late")
    assert attempt.settled == Released(5.0)


def test_a_job_that_nothing_stores_cannot_be_released():
    attempt = Attempt(id="a", name="x", connection="sync", queue="q", number=1, stored=False)
    with pytest.raises(UnsupportedOption, match="releasing a job"):
        attempt.release()


class Plain(InteractsWithQueue):
    pass


@frozen
class Frozen(InteractsWithQueue):
    mailer: str = "m"


@dataclass(frozen=True)
class FrozenData(InteractsWithQueue):
    mailer: str = "m"


@pytest.mark.parametrize("kind", [Plain, Frozen, FrozenData])
def test_a_listener_of_any_class_is_given_its_attempt(attempt, kind):
    listener = kind()
    assert listener.with_attempt(attempt) is listener
    assert listener.attempt is attempt
