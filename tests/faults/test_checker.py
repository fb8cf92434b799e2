"""The judge says what is wrong with a history, and nothing of one with which nothing is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.checker import check
from tests.faults.history import Entry, Log, Tail, read

# Histories, forged.


def at(number, what, job="", worker="w", **said):
    return Entry(what=what, at=float(number), job=job, worker=worker, **said)


def dispatched(number, job, outcome="stored", digest="d"):
    return [at(number, "attempted", job, digest=digest), at(number, outcome, job)]


def ran(number, job, end="end", worker="w", digest="d"):
    started = at(number, "start", job, worker, id=f"id-{job}", digest=digest)
    return [started, at(number + 0.5, end, job, worker)] if end else [started]


def test_a_history_in_which_all_is_well_has_no_complaints():
    verdict = check([*dispatched(1, "a"), *dispatched(2, "b"), *ran(3, "a"), *ran(4, "b")])

    assert verdict.complaints == {}
    assert (verdict.stored, verdict.starts, verdict.extra, verdict.duplicates) == (2, 2, 0, ())


def test_a_job_that_never_ran_is_lost():
    assert check([*dispatched(1, "a"), *dispatched(2, "b"), *ran(3, "b")]).lost == ("a",)


def test_a_job_that_began_and_did_not_end_is_lost():
    assert check([*dispatched(1, "a"), *ran(2, "a", end=None)]).lost == ("a",)


@pytest.mark.parametrize("said", [{"job": "a"}, {"id": "id-a"}])
def test_a_failed_job_is_not_lost(said):
    history = [*dispatched(1, "a"), *ran(2, "a", end="raised"), Entry(what="failed", **said)]

    verdict = check(history)

    assert verdict.complaints == {}
    assert verdict.failed == ("a",)


def test_a_job_that_failed_without_a_start_is_not_lost():
    """Its own listener tells of it by its id, before the failed jobs say whose that is."""
    told = [Entry(what="failed", id="id-a"), Entry(what="failed", id="id-a", job="a")]

    assert check([*dispatched(1, "a"), *told]).complaints == {}


def test_a_job_that_nobody_dispatched_is_a_ghost():
    assert check([*dispatched(1, "a"), *ran(2, "a"), *ran(3, "ghost")]).unexpected == ("ghost",)


def test_a_failed_job_that_nobody_dispatched_is_a_ghost():
    assert check([Entry(what="failed", id="ghost")]).unexpected == ("ghost",)


def test_a_job_that_was_refused_and_ran_is_a_ghost():
    assert check([*dispatched(1, "a", "refused"), *ran(2, "a")]).unexpected == ("a",)


def test_a_job_whose_storing_is_not_known_may_run_or_not():
    history = [*dispatched(1, "a", "unknown"), *dispatched(2, "b", "unknown"), *ran(3, "a")]

    verdict = check(history)

    assert verdict.complaints == {}
    assert verdict.unknown == ("a", "b")


def test_a_job_that_was_attempted_by_a_producer_that_died_may_run_or_not():
    assert check([at(1, "attempted", "a", digest="d"), *ran(2, "a")]).complaints == {}


def test_a_job_that_ends_twice_is_a_duplicate_that_nothing_explains():
    verdict = check([*dispatched(1, "a"), *ran(2, "a"), *ran(3, "a", worker="v")])

    assert verdict.duplicates == ("a",)
    assert verdict.unexplained == ("a",)
    assert verdict.extra == 1


def test_a_payload_that_changed_is_said():
    assert check([*dispatched(1, "a"), *ran(2, "a", digest="e")]).altered == ("a",)


def test_a_job_that_starts_too_often_is_said():
    history = [*dispatched(1, "a")]
    for number in range(5):
        history += [
            *ran(number, "a", None, f"w{number}"),
            at(number, "killed", worker=f"w{number}"),
        ]

    assert check([*history, *ran(9, "a")], tries=1, losses=5).overstarted == ()
    assert check([*history, *ran(9, "a")], tries=1, losses=4).overstarted == ("a",)


def test_a_job_that_raises_too_often_is_said():
    history = [*dispatched(1, "a"), *ran(2, "a", "raised"), *ran(3, "a", "raised")]

    assert check([*history, at(4, "failed", "a")], tries=2).complaints == {}
    assert check([*history, at(4, "failed", "a")], tries=1).overstarted == ("a",)


# What explains another start.


def test_a_kill_explains_another_start_of_what_it_cut():
    history = [*dispatched(1, "a"), *ran(2, "a", None), at(3, "killed"), *ran(4, "a", worker="v")]

    verdict = check(history)

    assert verdict.complaints == {}
    assert (verdict.extra, verdict.deaths, verdict.hits) == (1, 1, 1)
    assert verdict.recoveries == (1.0,)


def test_a_kill_explains_another_start_of_what_was_not_acknowledged():
    history = [*dispatched(1, "a"), *ran(2, "a"), at(3, "killed"), *ran(4, "a", worker="v")]

    verdict = check(history)

    assert verdict.complaints == {}
    assert (verdict.hits, verdict.at_risk, verdict.extra) == (0, 1, 1)


def test_a_kill_explains_no_other_start_of_what_was_acknowledged():
    acked = [at(2.6, "told", note="id-a id-b"), at(2.7, "acked", note="id-a id-b")]
    history = [*dispatched(1, "a"), *ran(2, "a"), *acked, at(3, "killed")]

    verdict = check([*history, *ran(4, "a", worker="v")])

    assert verdict.unexplained == ("a",)
    assert verdict.at_risk == 0


@pytest.mark.parametrize("end, explained", [(4.3, True), (4.5, False)])
def test_an_ack_may_wait_until_a_run_ends_after_the_window(end, explained):
    """A second after the next run had begun, at 3.4: then it is given before another one begins."""
    history = [
        *(entry for job in "abcd" for entry in dispatched(1, job)),
        *ran(2, "a"),
        *ran(3.4, "b"),
        at(4, "start", "c", id="id-c", digest="d"),
        at(end, "end", "c"),
        at(30, "start", "d", id="id-d", digest="d"),
        at(31, "killed"),
        *(entry for job in "abcd" for entry in ran(32, job, worker="v")),
    ]

    verdict = check(history, window=1.0)

    assert "a" not in verdict.unexplained if explained else verdict.unexplained == ("a",)
    assert verdict.at_risk == (4 if explained else 3)


def test_a_worker_that_begins_nothing_more_may_acknowledge_as_late_as_it_will():
    """Whoever waits for the store does nothing else meanwhile, however long that is."""
    history = [entry for job in "abcd" for entry in dispatched(1, job)]
    history += [*ran(2, "a"), *ran(9, "b"), *ran(20, "c")]
    killed = [at(99, "killed"), *ran(100, "a", worker="v")]

    assert check([*history, *killed], window=1).unexplained == ()
    assert check([*history, *ran(21, "d"), *killed], window=1).unexplained == ("a",)


def test_a_store_that_does_not_answer_an_ack_explains_another_start():
    """It may have been asked by a thread of its own, while the worker went on."""
    history = [*dispatched(1, "a"), *ran(2, "a"), at(3, "told", note="id-a")]
    went_on = [entry for job in "bcd" for entry in [*dispatched(1, job), *ran(9, job)]]
    killed = [at(99, "killed"), *ran(100, "a", worker="v")]

    assert check([*history, *went_on, *killed], window=1).unexplained == ()


def test_a_kill_of_another_worker_explains_nothing():
    history = [*dispatched(1, "a"), *ran(2, "a"), at(3, "killed", worker="v"), *ran(4, "a")]

    assert check(history).unexplained == ("a",)


@pytest.mark.parametrize("process, unexplained", [("w/7", ()), ("w/8", ("a",))])
def test_a_thread_dies_with_its_process_though_nobody_named_it(process, unexplained):
    """Who ends the process names the threads that it knows; this one began a moment later."""
    history = [
        *dispatched(1, "a"),
        at(2, "died", worker="w/7/1"),
        *ran(3, "a", None, worker=f"{process}/2"),
        *ran(4, "a", worker="v"),
    ]

    assert check(history).unexplained == unexplained


def test_one_kill_explains_one_more_start_only():
    history = [*dispatched(1, "a"), *ran(2, "a", None), at(3, "killed")]

    verdict = check([*history, *ran(4, "a", worker="v"), *ran(5, "a", worker="u")])

    assert verdict.unexplained == ("a",)
    assert verdict.extra == 2


def test_a_pause_explains_another_start_of_what_it_held_up():
    history = [
        *dispatched(1, "a"),
        at(2, "start", "a", digest="d"),
        at(3, "paused"),
        *ran(4, "a", worker="v"),
        at(6, "resumed"),
        at(7, "end", "a"),
    ]

    verdict = check(history)

    assert verdict.complaints == {}
    assert verdict.duplicates == ("a",)
    assert check([*history, *ran(8, "a", worker="u")]).unexplained == ("a",)


def test_a_pause_explains_another_start_of_what_was_not_acknowledged():
    history = [*dispatched(1, "a"), *ran(2, "a"), at(3, "paused"), *ran(4, "a", worker="v")]
    early = [at(2.6, "told", note="id-a"), at(2.7, "acked", note="id-a")]
    late = [at(6, "resumed"), at(7, "told", note="id-a"), at(8, "acked", note="id-a")]

    assert check([*history, *late]).unexplained == ()
    assert check([*history, *early]).unexplained == ("a",)
    assert check(history).unexplained == ("a",)  # it never said that it was done


def test_a_pause_before_the_run_explains_nothing():
    paused = [at(1, "paused"), at(1.5, "resumed")]

    history = [*dispatched(1, "a"), *paused, *ran(2, "a"), *ran(4, "a", worker="v")]
    assert check(history).unexplained == ("a",)


def test_an_error_explains_another_try():
    history = [*dispatched(1, "a"), *ran(2, "a", "raised"), *ran(3, "a")]

    verdict = check(history, tries=2)

    assert verdict.complaints == {}
    assert verdict.extra == 0


def test_a_worker_that_ended_itself_is_not_hit():
    history = [
        *dispatched(1, "a"),
        *dispatched(1, "b"),
        *ran(2, "a"),
        *ran(9, "b", "doomed"),
        at(30, "died"),
        at(31, "failed", "b"),
    ]

    verdict = check(history)

    assert verdict.complaints == {}
    assert (verdict.deaths, verdict.hits) == (1, 0)
    # What ends its process is not counted as extra, nor as at risk; what was done before it is.
    assert (verdict.at_risk, verdict.extra) == (1, 0)


# Whatever the history.

JOBS = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)
SOUND = JOBS.map(
    lambda jobs: [
        *(entry for job in jobs for entry in dispatched(1, job)),
        *(entry for job in jobs for entry in ran(2, job)),
    ]
)


@st.composite
def spoilt(draw):
    """A sound history, and the same with one thing wrong; with the name of the complaint."""
    history = draw(SOUND)
    job = draw(st.sampled_from([entry.job for entry in history if entry.what == "start"]))
    own = [entry for entry in history if entry.job == job]
    what = draw(st.sampled_from(["lost", "unexpected", "altered", "unexplained", "overstarted"]))
    if what == "lost":
        spoilt = [entry for entry in history if entry.job != job or entry.what != "end"]
    elif what == "unexpected":
        spoilt = [entry for entry in history if entry not in own[:2]]
    elif what == "altered":
        spoilt = [evolve(one, digest="other") if one is own[2] else one for one in history]
    else:
        times = 1 if what == "unexplained" else 4
        spoilt = [*history, *(one for _ in range(times) for one in ran(9, job, worker="v"))]
    return history, spoilt, what, job


@given(spoilt())
@settings(max_examples=200, deadline=None)
def test_each_fault_is_found_among_any_other_jobs(histories):
    sound, spoilt, what, job = histories

    assert check(sound).complaints == {}
    assert set(check(spoilt).complaints[what]) == {job}
    assert {one for jobs in check(spoilt).complaints.values() for one in jobs} == {job}


@given(SOUND, st.randoms())
def test_entries_of_different_jobs_may_come_in_any_order(history, random):
    jobs = [entry.job for entry in history]
    random.shuffle(jobs)
    rest = {job: [entry for entry in history if entry.job == job] for job in jobs}

    shuffled = [rest[job].pop(0) for job in jobs]

    assert check(shuffled) == check(history)


ENTRIES = st.builds(
    Entry,
    what=st.sampled_from(
        [
            "attempted",
            "stored",
            "refused",
            "unknown",
            "start",
            "end",
            "raised",
            "doomed",
            "failed",
            "killed",
            "died",
            "paused",
            "told",
            "acked",
        ]
    ),
    at=st.floats(0, 100),
    job=st.sampled_from("abc"),
    id=st.sampled_from(["", "id-a"]),
    worker=st.sampled_from("wv"),
    digest=st.sampled_from("de"),
    note=st.sampled_from(["", "id-a", "id-a id-b"]),
)


@given(st.lists(ENTRIES, max_size=40))
def test_no_history_is_too_odd_to_be_judged(history):
    verdict = check(history, window=1)

    assert set(verdict.lost) & set(verdict.failed) == set()
    assert verdict.starts == sum(entry.what == "start" for entry in history)
    assert len(verdict.unexplained) <= verdict.starts


# The log that histories are read from.


def test_what_is_written_is_read(tmp_path):
    log = Log(tmp_path / "log")
    log.add("start", job="a", worker="w", attempt=1)
    log.add("end", job="a", worker="w")
    log.close()

    started, ended = read(tmp_path / "log")
    assert (started.what, started.job, started.attempt) == ("start", "a", 1)
    assert ended.at >= started.at


def test_half_a_line_spoils_no_other(tmp_path):
    log = Log(tmp_path / "log")
    log.add("start", job="a")
    with (tmp_path / "log").open("ab") as file:
        file.write(b'\n{"what": "end", "jo')
    log.add("start", job="b")
    log.close()

    assert [entry.job for entry in read(tmp_path / "log")] == ["a", "b"]


def test_a_line_that_is_still_being_written_is_read_later(tmp_path):
    tail = Tail(tmp_path / "log")
    assert tail.news() == []
    with (tmp_path / "log").open("ab") as file:
        file.write(b'\n{"what": "end", "at": 1.0')
        file.flush()
        assert tail.news() == []
        file.write(b', "job": "a"}\n')
    assert [entry.job for entry in tail.news()] == ["a"]
    assert tail.news() == []


def test_lines_of_several_processes_do_not_mix(tmp_path):
    children = [os.posix_spawn(*_writer(tmp_path / "log", number)) for number in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4

    entries = read(tmp_path / "log")
    for number in range(4):
        own = [entry.attempt for entry in entries if entry.worker == f"w{number}"]
        assert own == list(range(200))


def _writer(path, number):
    program = (
        f"from faults.history import Log\nlog = Log({str(path)!r})\n"
        f"for n in range(200): log.add('start', worker='w{number}', attempt=n, note='x' * 500)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return sys.executable, [sys.executable, "-c", program], environment
