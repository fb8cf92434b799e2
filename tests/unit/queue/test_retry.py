"""Whether a job that failed is tried again, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eventbus.errors import InvalidOption
from eventbus.queue.retry import after_error, exhausted


@pytest.mark.parametrize(
    "tries, attempts, used_up",
    [(1, 0, False), (1, 1, True), (3, 2, False), (3, 3, True), (3, 9, True), (0, 10**6, False)],
)
def test_tries_are_used_up_by_attempts_and_zero_is_no_limit(tries, attempts, used_up):
    assert exhausted(tries, attempts) is used_up


def delay(backoff, *, attempt=1, tries=0, error=None):
    return after_error(
        tries=tries, backoff=backoff, attempt=attempt, error=error or ValueError("boom")
    )


def test_one_backoff_holds_for_every_attempt():
    assert [delay(5.0, attempt=number) for number in (1, 2, 99)] == [5.0, 5.0, 5.0]


def test_of_several_the_last_repeats():
    assert [delay((1.0, 5.0), attempt=number) for number in (1, 2, 3, 99)] == [1.0, 5.0, 5.0, 5.0]


def test_a_rule_is_asked_with_the_attempt_and_the_error():
    asked = []
    error = KeyError("x")

    def rule(attempt, raised):
        asked.append((attempt, raised))
        return timedelta(minutes=attempt)

    assert delay(rule, attempt=2, error=error) == 120.0
    assert asked == [(2, error)]


def test_a_rule_may_answer_one_for_each_attempt():
    assert delay(lambda attempt, error: [1, 2, 3], attempt=2) == 2.0


def test_the_last_try_is_not_followed_by_another_and_no_rule_is_asked():
    assert delay(lambda attempt, error: 1 / 0, attempt=3, tries=3) is None


@pytest.mark.parametrize("answer", [-1, "soon", None, [], float("nan"), 1e300])
def test_a_rule_that_answers_no_duration_is_an_error(answer):
    with pytest.raises(InvalidOption, match="backoff"):
        delay(lambda attempt, error: answer)
