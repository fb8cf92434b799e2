"""The page of results says what the lines say that the tests wrote."""

from __future__ import annotations

import json
import sys

import pytest

from tests.faults import report
from tests.faults.report import EXPECTED, JUDGED, WAL, missing, page

LINE = {
    "scenario": "kills, 20 ms jobs",
    "store": "SQLite, PERSIST",
    "form": "full",
    "stored": 10_000,
    "starts": 10_038,
    "deaths": 58,
    "hits": 50,
    "at_risk": 40,
    "extra": 38,
    "lost": 3,
    "seed": 7,
}


def cells(text, first):
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_was_counted_is_in_the_table():
    text = page([LINE])

    row = text.index("| SQLite, PERSIST | 10,000 | 10,038 | 58 | 50 | 3 |")
    assert text.index("## Workers") < row < text.index("seed 7") < text.index("## Redis")
    assert "short form" not in text


def test_what_was_done_to_many_jobs_at_once_stands_with_what_is_done_to_workers():
    name = "concurrency 4, 2 processes: kills, 20 ms jobs"
    text = page([{**LINE, "scenario": name, "kills": 65}])

    assert cells(text, name)[1:4] == ["SQLite, PERSIST", "10,000", "10,038"]
    assert f"| {name} | SQLite, PERSIST | seed 7; 65 kills |" in text
    assert text.index("## Several jobs at once") < text.index(name) < text.index("## SQLite")


def test_a_short_form_says_so():
    assert "short form" in page([{**LINE, "form": "short"}])


def test_exits_of_one_scenario_are_added_up():
    name = "programs that end with queued work"
    line = {"scenario": name, "store": "SQLite, PERSIST", "form": "full", "exits": 13}

    assert f"| {name} | SQLite, PERSIST | 26 exits, none hung |" in page([line, line])


def test_of_two_lines_of_one_scenario_the_worse_counts():
    better = {**LINE, "lost": 0}

    assert cells(page([better, LINE]), LINE["scenario"]) == cells(page([LINE]), LINE["scenario"])


def test_a_broken_variant_is_told_by_what_it_did():
    line = {**LINE, "scenario": "broken: ack before the run"}

    assert cells(page([line]), "ack before the run") == ["ack before the run", "3 lost"]


def test_a_long_run_has_its_own_part():
    process = {"rss_mb": 31.0, "rss_mb_per_hour": 0.2, "fds": [5, 6], "threads": [2, 2]}
    line = {
        **LINE,
        "scenario": "soak",
        "minutes": 60.0,
        "kills": 119,
        "unexpected": 0,
        "file_max": 2**21,
        "file_mb_per_hour": 0.25,
        "waiting_max": 500,
        "steady worker": process,
        "producer": process,
    }

    text = page([json.loads(json.dumps(line))])

    assert cells(text, "steady worker")[1:] == ["31.0 MiB", "0.2 MiB an hour", "5-6", "2-2"]
    assert "a worker killed 119 times (50 in a job): 3 lost" in text
    assert "grew by 0.25 MiB an hour" in text


# What is not there.

TIMES = {"p50_ms": 1, "p99_ms": 2, "max_ms": 3}


def whole(expected=EXPECTED, form="full"):
    """Lines that lack nothing."""
    return [
        {
            "scenario": one.scenario,
            "store": store,
            "form": form,
            **{name: TIMES if name in ("claim", "dispatch") else 0 for name in one.figures},
            **(dict.fromkeys(JUDGED, 0) if one.is_judged else {}),
        }
        for one in expected
        for store in one.stores
    ]


def test_results_that_are_whole_lack_nothing(monkeypatch):
    monkeypatch.setattr(report, "bundled", lambda: "3.53.4")

    assert missing(whole()) == []


@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_a_scenario_that_did_not_come_to_its_end_is_missed(monkeypatch, number):
    monkeypatch.setattr(report, "bundled", lambda: "3.53.4")
    one = EXPECTED[number]
    lines = [line for line in whole() if line["scenario"] != one.scenario]

    assert f"- {one.scenario}, {one.stores[0]}" in missing(lines)


@pytest.mark.parametrize("key", ["overstarted", "seed"])
def test_a_figure_that_a_line_does_not_say_is_missed(key):
    lines = whole()
    del lines[0][key]

    assert missing(lines) == [f"- {lines[0]['scenario']}, {lines[0]['store']}: {key}"]


def test_a_scenario_that_nobody_expects_is_told():
    assert missing([*whole(), {"scenario": "new", "store": "x"}]) == ["- new: not expected"]


def test_what_is_not_installed_is_not_missed(monkeypatch):
    monkeypatch.setattr(report, "bundled", lambda: "(not installed)")

    assert missing([line for line in whole() if line["store"] != WAL]) == []


def test_a_short_form_needs_one_store_of_each(monkeypatch):
    first = {line["scenario"]: line for line in reversed(whole(form="short"))}

    assert missing(first.values()) == []
    first.popitem()
    assert len(missing(first.values())) == 1


def test_a_page_that_would_lack_something_is_not_written(tmp_path, monkeypatch):
    results, place = tmp_path / "results", tmp_path / "page.md"
    place.write_text("as it was")
    results.write_text("\n".join(json.dumps(line) for line in whole()[1:]))
    monkeypatch.setattr(sys, "argv", ["report.py", str(results), "--page", str(place)])

    with pytest.raises(SystemExit, match=EXPECTED[0].scenario):
        report.main()

    assert place.read_text() == "as it was"
    results.write_text("\n".join(json.dumps(line) for line in whole()))
    report.main()
    assert place.read_text().startswith("# What the faults did")


def test_one_section_is_measured_anew_and_the_others_stay(tmp_path, monkeypatch):
    title, expected = report.SECTIONS[1]
    place = tmp_path / "page.md"
    place.write_text(
        "# What\n\nHead.\n\n## Workers that die, sleep and stop\n\nold\n\n## An hour\n\nlong\n"
    )
    lines = whole(expected)
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(
        sys, "argv", ["report.py", str(results), "--page", str(place), "--section", title]
    )

    for _ in range(2):  # put there, and put in its own place
        report.main()

    text = place.read_text()
    assert [part.partition("\n")[0] for part in text.split("\n## ")[1:]] == [
        "Workers that die, sleep and stop",
        title,
        "An hour",
    ]
    assert text.startswith("# What\n\nHead.\n\n## Workers that die, sleep and stop\n\nold\n\n## ")
    assert text.endswith("## An hour\n\nlong\n")
    assert text.count(expected[0].scenario) == 2 * len(expected[0].stores)


def test_a_section_that_lacks_something_is_not_made(tmp_path, monkeypatch):
    title, expected = report.SECTIONS[1]
    place = tmp_path / "page.md"
    place.write_text("as it was")
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps(whole(expected)[0]))
    monkeypatch.setattr(
        sys, "argv", ["report.py", str(results), "--page", str(place), "--section", title]
    )

    with pytest.raises(SystemExit, match="would lack"):
        report.main()
    assert place.read_text() == "as it was"
