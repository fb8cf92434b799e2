"""What the SQL backends share: rows that can be run, and rows that can only be looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.backends.instants import micros, span
from eventbus.backends.sql import claim_of, due_of, flaws, mended, statements
from eventbus.defaults import DURATION_LIMIT

SOUND = ("a", "jobs", b"{}", 1.5, 3, 2, 1, 4, 1735689600000000, crc32(b"{}"))
NAMES = [
    "id",
    "queue",
    "body",
    "delay",
    "attempts",
    "losses",
    "exceptions",
    "releases",
    "pushed_at",
    "crc",
]


def row(**changes):
    return tuple({**dict(zip(NAMES, SOUND, strict=True)), **changes}.values())


def test_a_row_as_it_was_pushed_has_no_flaws_and_is_a_claim():
    assert flaws(SOUND) == ""
    assert mended(SOUND) == SOUND
    claim = claim_of(SOUND, "token")
    assert (claim.attempts, claim.losses, claim.exceptions, claim.releases) == (3, 2, 1, 4)
    assert claim.pushed_at == datetime(2025, 1, 1, tzinfo=UTC)


def test_a_body_whose_checksum_is_not_kept_is_taken_as_it_is():
    assert flaws(row(body=b"mended", crc=None)) == ""


@pytest.mark.parametrize("crc", [0, crc32(b"{}") + 1, "x", b"x", 1.5], ids=repr)
def test_a_body_that_does_not_match_its_checksum_is_a_flaw(crc):
    assert "body is not as it was pushed" in flaws(row(crc=crc))


def test_counters_that_are_all_of_another_kind_are_flaws_each():
    names = ["attempts", "losses", "exceptions", "releases"]

    text = flaws(row(**dict.fromkeys(names, 1.5)))

    assert text == ", ".join(f"{name} is 1.5" for name in names)


def test_each_flaw_is_named_and_none_is_shown_at_length():
    text = flaws(row(attempts="x" * 1000, delay=-1.0))

    assert "delay is -1.0" in text
    assert "attempts is 'xxx" in text
    assert len(text) < 200


ANYTHING = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=9), st.binary(max_size=9)
)


@given(st.tuples(*[ANYTHING] * len(NAMES)))
def test_a_row_of_anything_is_mended_into_one_that_can_be_shown(found):
    sane = mended(found)

    assert claim_of(sane, "").envelope.id.isprintable()
    assert 0 <= sane[3] <= DURATION_LIMIT
    assert all(isinstance(value, int) and value >= 0 for value in sane[4:9])
    assert mended(sane) == sane or found[1] != found[1]  # a nan is never equal to itself


@given(ANYTHING)
def test_a_due_is_an_instant_in_our_years(value):
    latest = datetime.max.replace(tzinfo=UTC)

    assert 0 <= due_of(value) <= micros(latest)


@given(st.timedeltas(timedelta(0), timedelta(days=365_000)), st.floats(0, DURATION_LIMIT))
def test_instants_and_durations_are_whole_microseconds(since, seconds):
    first = datetime(1970, 1, 1, tzinfo=UTC)

    assert micros(first + since) * timedelta(microseconds=1) == since
    assert abs(span(seconds) / 1_000_000 - seconds) < 1e-5


def test_statements_are_read_by_name_without_their_comments():
    found = statements("sqlite.sql")

    assert found["give_way"] == "DELETE FROM envelopes WHERE id = :id;"
    assert all(not text.startswith("--") for text in found.values())
