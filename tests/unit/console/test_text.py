"""What the command prints cannot do anything to a terminal."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from eventbus.console.text import (
    aligned,
    cut,
    indented,
    instant,
    json_lines,
    one_line,
    print_json_list,
)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain", "plain"),
        ("Łódź, שלום, 東京, 🚚", "Łódź, שלום, 東京, 🚚"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31mred", r"\x9b31mred"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u200f\u2066\u2028\u2029", r"\u200f\u2066\u2028\u2029"),
        ("\x00\x07\x08\x7f", r"\x00\x07\x08\x7f"),
        ("half \ud83d a pair", r"half \ud83d a pair"),
        ("{0.__class__} %s%n ${jndi:ldap://x}", "{0.__class__} %s%n ${jndi:ldap://x}"),
    ],
)
def test_what_is_not_printable_is_shown_as_its_escape(text, shown):
    assert one_line(text) == shown


def test_a_block_keeps_its_lines_and_none_begins_at_the_edge():
    assert indented("one\r\n\n\x1b[2Jid  forged\n") == [r"  one\r", "", r"  \x1b[2Jid  forged"]


def test_json_stays_json_and_readable():
    data = json.dumps({"name": "Łódź \u202e\x9b \U000e0001", "n": [1]}, ensure_ascii=False)

    lines = json_lines(data.encode())

    assert lines == [
        "  {",
        r'    "name": "Łódź \u202e\u009b \udb40\udc01",',
        '    "n": [',
        "      1",
        "    ]",
        "  }",
    ]
    assert json.loads("\n".join(lines)) == json.loads(data)


def test_columns_are_aligned_and_an_empty_cell_is_a_dash():
    assert aligned([("A", "B", "C"), ("long", "", "x"), ("", "\n", "")]) == [
        "A     B   C",
        "long  -   x",
        r"-     \n  -",
    ]


def test_no_rows_are_no_lines():
    assert aligned([]) == []


@pytest.mark.parametrize("length, shown", [(120, 120), (121, 120), (100_000, 120)])
def test_a_cell_is_cut(length, shown):
    assert len(cut("x" * length)) == shown
    assert cut("x" * length).endswith("..." if length > 120 else "x")


def test_an_instant_is_shown_in_utc():
    moment = datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))

    assert instant(moment) == "2030-01-02T01:04:05Z"


@pytest.mark.parametrize("values", [[], [{"a": "é"}], [{"a": 1, "b": [2, 3]}, {}, "x\ny"]])
def test_a_list_is_printed_value_by_value_as_it_would_be_at_once(capsys, values):
    print_json_list(iter(values))

    assert capsys.readouterr().out == json.dumps(values, indent=2) + "\n"


def test_of_a_list_that_cannot_be_had_nothing_is_printed(capsys):
    with pytest.raises(KeyError):
        print_json_list({}[name] for name in ("missing",))

    assert capsys.readouterr().out == ""


def test_a_list_that_breaks_off_is_no_document(capsys):
    with pytest.raises(ZeroDivisionError):
        print_json_list(1 // number for number in (1, 0))

    with pytest.raises(json.JSONDecodeError):
        json.loads(capsys.readouterr().out)
