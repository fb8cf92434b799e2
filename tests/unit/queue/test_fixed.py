"""What one dispatch fixes travels with the job, and is not trusted when it comes back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from eventbus.errors import DecodeError
from eventbus.queue.fixed import Fixed, read_fixed

FULL = Fixed(
    wildcard=True,
    deadline=datetime(2030, 1, 1, tzinfo=UTC),
    display_name="Receipts",
    hops=2,
    trail=("order.shipped", "shop:Ordered"),
)


def test_only_what_differs_is_written():
    assert Fixed().written() == {}
    assert FULL.written() == {
        "wildcard": True,
        "retry_until": "2030-01-01T00:00:00+00:00",
        "display_name": "Receipts",
        "hops": 2,
        "trail": ["order.shipped", "shop:Ordered"],
    }


@pytest.mark.parametrize("fixed", [Fixed(), FULL], ids=["nothing", "all"])
def test_what_was_written_comes_back(fixed):
    assert read_fixed(fixed.written()) == fixed


@pytest.mark.parametrize("value", [1, None, "x" * 100_000])
def test_an_option_that_there_is_not_is_refused(value):
    """A form with more of them has another version, and is parked before it comes to this."""
    with pytest.raises(DecodeError, match="unknown options: later") as caught:
        read_fixed({"hops": 1, "later": value})
    with pytest.raises(DecodeError) as caught:
        read_fixed({str(value) * 10: 1})
    assert len(caught.value.reason) < 1_000


def test_an_instant_may_have_any_offset():
    assert read_fixed({"retry_until": "2030-01-01T05:00:00+05:00"}) == Fixed(
        deadline=datetime(2030, 1, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"wildcard": 1},
        {"wildcard": "yes"},
        {"wildcard": [False]},
        {"wildcard": None},
        {"retry_until": None},
        {"retry_until": 1},
        {"retry_until": True},
        {"retry_until": ""},
        {"retry_until": "soon"},
        {"retry_until": "2030-01-01T00:00:00"},
        {"retry_until": "0001-01-01T00:00:00+23:59"},
        {"retry_until": ["2030-01-01T00:00:00Z"]},
        {"hops": -1},
        {"hops": True},
        {"hops": "1"},
        {"hops": 1.0},
        {"trail": "shop:Ordered"},
        {"trail": [1]},
        {"display_name": 7},
    ],
    ids=str,
)
def test_what_was_never_written_there_is_refused(options):
    with pytest.raises(DecodeError, match="of envelope a1"):
        read_fixed(options, envelope="a1")


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"wildcard": 1}, "its wildcard is neither true nor false"),
        ({"hops": -1}, "its hops are no number"),
        ({"trail": [1]}, "its trail is no list of names"),
        ({"display_name": 7}, "its display name is no text"),
        ({"retry_until": "soon"}, "its retry_until is no instant with an offset"),
    ],
)
def test_the_reason_says_what_is_wrong(options, reason):
    with pytest.raises(DecodeError, match=r"^the stored bytes were rejected: ") as caught:
        read_fixed(options)

    assert caught.value.reason == reason


def test_names_are_cut_to_what_a_message_can_repeat():
    fixed = read_fixed({"display_name": "x\n" * 10_000, "trail": ["y" * 10_000]})

    assert len(fixed.display_name) < 300
    assert "\n" not in fixed.display_name
    assert len(fixed.trail[0]) < 300
