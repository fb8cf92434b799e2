"""Whether a job that failed is tried again, and when."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.defaults import BACKOFF_LIMIT, DURATION_LIMIT
from eventbus.errors import InvalidOption
from eventbus.queue.retry import after_error, backoff_of, exhausted, exponential, jittered


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


# Backoffs that are worked out.

ERROR = ValueError("boom")


def waits(backoff, attempts=(1, 2, 3, 4)):
    return [delay(backoff, attempt=number, error=ERROR) for number in attempts]


def test_an_exponential_backoff_doubles_up_to_its_limit():
    """J14: a rule that is ready made."""
    assert waits(exponential(1)) == [1.0, 2.0, 4.0, 8.0]
    assert waits(exponential(1, factor=3, limit=5)) == [1.0, 3.0, 5.0, 5.0]
    assert waits(exponential(timedelta(seconds=2), limit=timedelta(seconds=3)), [1, 2]) == [2, 3]
    assert waits(exponential(1), [99]) == [BACKOFF_LIMIT]


@pytest.mark.parametrize("first, at_last", [(0, 0.0), (1, 60.0)])
def test_an_exponential_backoff_of_very_many_attempts_is_its_limit(first, at_last):
    assert waits(exponential(first, factor=1000, limit=60), [10**6]) == [at_last]


@given(
    first=st.floats(0, DURATION_LIMIT),
    factor=st.floats(1, 1000),
    attempt=st.integers(1, 10_000),
    jitter=st.floats(0, 1),
)
def test_no_wait_of_an_exponential_backoff_is_longer_than_its_limit(first, factor, attempt, jitter):
    backoff = exponential(first, factor=factor, limit=60, jitter=jitter)

    assert 0 <= delay(backoff, attempt=attempt) <= 60


@pytest.mark.parametrize(
    "backoff",
    [10, timedelta(seconds=10), (10, 10), lambda attempt, error: 10, exponential(10, factor=1)],
    ids=["number", "timedelta", "several", "rule", "exponential"],
)
def test_jitter_shortens_any_backoff_by_up_to_a_share_of_it(backoff):
    jitter = jittered(backoff, by=0.3, random=Random(7))

    found = waits(jitter, [1] * 1000)

    assert all(7 <= one <= 10 for one in found)
    assert max(found) - min(found) > 2.5


def test_jitter_with_a_seed_is_the_same_each_time():
    first, again, other = (jittered(10, by=0.5, random=Random(seed)) for seed in (1, 1, 2))

    assert waits(first) == waits(again) != waits(other)


def test_each_backoff_has_a_chance_of_its_own():
    backoffs = [jittered(10, by=1), jittered(10, by=1), exponential(10, factor=1, jitter=1)]

    assert len({tuple(waits(one)) for one in backoffs}) == 3


def test_no_jitter_is_no_chance():
    assert waits(jittered((1, 2), by=0)) == [1, 2, 2, 2]


def test_an_exponential_backoff_without_jitter_leaves_chance_alone():
    chance, untouched = Random(1), Random(1)

    assert waits(exponential(1, random=chance)) == [1, 2, 4, 8]

    assert chance.random() == untouched.random()


@pytest.mark.parametrize(
    "make, arguments, options, option",
    [
        (exponential, [-1], {}, "first"),
        (exponential, ["1"], {}, "first"),
        (exponential, [1], {"factor": 0.5}, "factor"),
        (exponential, [1], {"factor": 1001}, "factor"),
        (exponential, [1], {"factor": float("nan")}, "factor"),
        (exponential, [1], {"factor": True}, "factor"),
        (exponential, [1], {"limit": -1}, "limit"),
        (exponential, [1], {"jitter": 2}, "jitter"),
        (exponential, [1], {"jitter": -0.1}, "jitter"),
        (exponential, [1], {"jitter": None}, "jitter"),
        (jittered, [10], {"by": -0.1}, "by"),
        (jittered, [10], {"by": 1.1}, "by"),
        (jittered, [10], {"by": "0.1"}, "by"),
        (jittered, [()], {"by": 0.1}, "backoff"),
        (jittered, [(1, "2")], {"by": 0.1}, "backoff"),
        (jittered, ["10"], {"by": 0.1}, "backoff"),
    ],
)
def test_a_backoff_that_cannot_be_is_refused_where_it_is_made(make, arguments, options, option):
    with pytest.raises(
        InvalidOption, match=f"^expected {option} of {make.__name__} to be "
    ) as told:
        make(*arguments, **options)

    # The argument that is wrong, or the one wrong delay of several.
    given = options.get(option, arguments[0])
    assert told.value.value in (given, "2") or told.value.value is given


def test_a_delay_that_cannot_be_names_its_owner_only_if_it_has_one():
    with pytest.raises(InvalidOption, match=r"^expected backoff to be "):
        backoff_of("10")
    with pytest.raises(InvalidOption, match=r"^expected backoff of listener to be "):
        backoff_of(["10"], where="listener")


def test_the_range_of_a_number_is_told():
    with pytest.raises(InvalidOption, match=r"a number from 1 to 1000, got: 0\.5"):
        exponential(1, factor=0.5)
    with pytest.raises(InvalidOption, match="at least one delay"):
        jittered((), by=0.1)


def test_an_exponential_backoff_takes_jitter_and_its_chance():
    found = waits(exponential(10, factor=1, jitter=0.5, random=Random(1)))

    assert found == waits(jittered(10, by=0.5, random=Random(1)))
    assert all(5 <= one < 10 for one in found)


def test_backoffs_that_say_the_same_are_equal_whatever_their_chance():
    first, again = (jittered((1, 2), by=0.5, random=Random(seed)) for seed in (1, 2))

    assert first == again != jittered((1, 2), by=0.6)
    assert "Random" not in repr(first)
