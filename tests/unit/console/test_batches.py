"""`eventbus batches`, `retry-batch`, `cancel-batch` and `prune-batches`."""

from __future__ import annotations

import json

import pytest

from eventbus.backends.base import Charge
from eventbus.backends.plans import NewBatch
from eventbus.queue.batches import BatchHandle
from eventbus.queue.envelope import Envelope, Member

A, B = "a1" * 16, "b2" * 16


@pytest.fixture(autouse=True)
def kept(store, clock):
    """A batch of which one member failed, and one that is finished; both a minute old."""
    clock.advance(-60)
    store.plans.open([NewBatch(id=A, queue="imports", name="rows")], members(A, "x", "y"))
    [claim] = store.claim(["imports"])
    store.bury(claim, error="ValueError: boom", charge=Charge.ERROR)
    store.plans.open([NewBatch(id=B, queue="imports", name="empty")], [])


def members(batch, *names):
    return [
        Envelope(id=name * 32, queue="imports", body=b"{}", member=Member(batch=batch))
        for name in names
    ]


def test_batches_are_listed_with_their_counts(run):
    lines = [line.split()[:11] for line in run("batches").stdout.splitlines()]

    assert lines[1:] == [
        [A, "rows", "default", "imports", "canceled", *"21010", "50%"],
        [B, "empty", "default", "imports", "finished", *"00000", "0%"],
    ]


def test_batches_as_json(run):
    told = json.loads(run("batches", "--json").stdout)

    assert [(one["id"], one["failed"], one["progress"], one["state"]) for one in told] == [
        (A, 1, 50, "canceled"),
        (B, 0, 0, "finished"),
    ]


def test_one_of_which_members_wait_is_running(run, store):
    store.revive(["x" * 32])

    assert run("batches").stdout.splitlines()[1].split()[4] == "running"
    assert json.loads(run("batches", A, "--json").stdout)["state"] == "running"


@pytest.mark.parametrize("connection", ["now", "void", "nope"])
@pytest.mark.parametrize(
    "command",
    [["batches"], ["retry-batch", A], ["cancel-batch", A, "--yes"], ["prune-batches", "--yes"]],
)
def test_a_connection_on_which_no_batches_are_seen_is_a_wrong_use(run, command, connection):
    result = run(*command, "--connection", connection)

    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{connection!r}" in result.stderr


def test_batches_whose_ids_are_alike_are_not_guessed_at(run, store):
    store.plans.open([NewBatch(id="a1" * 8 + "c3" * 8, queue="imports")], [])

    result = run("retry-batch", "a1a1a1")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "2 batches have ids that begin or end with 'a1a1a1': write more" in result.stderr


def test_one_batch_is_shown_with_its_failed_members(run):
    shown = run("batches", A[:8]).stdout
    told = json.loads(run("batches", A, "--json").stdout)

    assert "failed ids" in shown
    assert "x" * 32 in shown
    assert told["failed_ids"] == ["x" * 32]


def test_no_batches_are_said_and_not_printed(run, store):
    store.plans.forget([A, B])

    result = run("batches")

    assert (result.stdout, result.stderr) == ("", "eventbus: no batches\n")
    assert json.loads(run("batches", "--json").stdout) == []


@pytest.mark.parametrize("verb", [["batches"], ["retry-batch"], ["cancel-batch", "--yes"]])
def test_one_that_is_not_there_is_told_of(run, verb):
    result = run(*verb, "c3" * 16)

    assert result.exit_code != 0
    assert "c3" * 16 in result.stderr


def test_failed_members_are_put_back(run, store):
    result = run("retry-batch", A, B)

    assert (result.exit_code, result.stdout) == (0, "x" * 32 + "\n")
    assert result.stderr == "eventbus: 1 failed job back in the queue\n"
    assert store.size("imports").failed == 0
    assert store.plans.batch(A).canceled_at is None


def test_a_batch_is_canceled(run, store):
    store.revive(["x" * 32])

    result = run("cancel-batch", A, "--yes")

    assert (result.exit_code, result.stdout) == (0, A + "\n")
    assert store.plans.batch(A).canceled_at is not None


def test_a_batch_is_not_canceled_where_nobody_can_be_asked_or_in_a_dry_run(run, store):
    store.revive(["x" * 32])

    asked = run("cancel-batch", A)
    dry = run("cancel-batch", A, "--dry-run")

    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "add --yes to cancel" in asked.stderr
    assert (dry.exit_code, dry.stdout) == (0, A + "\n")
    assert dry.stderr == "eventbus: nothing was canceled: this was a dry run\n"
    assert store.plans.batch(A).canceled_at is None


@pytest.mark.parametrize("types, code", [("y\n", 0), ("n\n", 1)])
def test_at_a_terminal_it_asks_before_a_batch_is_canceled(
    store, at_a_terminal, capsys, types, code
):
    store.revive(["x" * 32])

    assert at_a_terminal("cancel-batch", A, types=types) == code
    assert "Skip what has not begun of 1 batch?" in capsys.readouterr().err
    assert (store.plans.batch(A).canceled_at is None) == bool(code)


def test_a_batch_that_is_finished_is_not_canceled(run, store):
    result = run("cancel-batch", B, "--yes")

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"batch {B} is finished, and was left alone" in result.stderr
    assert store.plans.batch(B).canceled_at is None


def test_a_batch_that_is_pruned_meanwhile_is_told_of(run, store, monkeypatch):
    store.revive(["x" * 32])
    monkeypatch.setattr(BatchHandle, "cancel", lambda _: False)

    result = run("cancel-batch", A, "--yes")

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"batch {A} was pruned meanwhile" in result.stderr


def test_old_batches_are_pruned(run, store):
    assert run("prune-batches", "--yes").stderr == "eventbus: no such batches\n"

    told = run("prune-batches", "--older-than", "0", "--dry-run")
    assert told.stdout == B + "\n"
    assert store.plans.batch(B) is not None

    done = run("prune-batches", "--older-than", "0", "--yes")
    assert (done.exit_code, done.stdout) == (0, B + "\n")
    assert [one.id for one in store.plans.each()] == [A]

    run("prune-batches", "--older-than", "0", "--unfinished", "--yes")
    assert list(store.plans.each()) == []


@pytest.mark.parametrize("hours, pruned", [("0.01", B + "\n"), ("0.02", ""), ("24", "")])
def test_how_old_may_be_said_in_hours(run, hours, pruned):
    """B23: the batch that is finished is a minute old."""
    assert run("prune-batches", "--hours", hours, "--yes").stdout == pruned


@pytest.mark.parametrize(
    "options, said",
    [
        (["--hours", "1", "--older-than", "3600"], "Write --older-than or --hours, not both"),
        (["--hours", "-1"], "--hours"),
        (["--hours", "nan"], "--hours"),
    ],
)
def test_what_is_no_age_is_a_wrong_use(run, store, options, said):
    result = run("prune-batches", "--yes", *options)

    assert result.exit_code == 2
    assert said in result.stderr
    assert len(list(store.plans.each())) == 2


def test_one_that_goes_on_while_the_question_stands_there_is_kept(
    store, at_a_terminal, capsys, monkeypatch
):
    store.plans.open([NewBatch(id="c3" * 16, queue="imports")], [])

    def answered(*_, **__):
        store.plans.open([], members(B, "z"))
        return True

    monkeypatch.setattr("eventbus.console.batches.agreed", answered)
    code = at_a_terminal("prune-batches", "--older-than", "0", types="")

    assert (code, capsys.readouterr()) == (0, ("c3" * 16 + "\n", "eventbus: 1 batch forgotten\n"))
    assert [one.id for one in store.plans.each()] == [A, B]


def test_nobody_who_could_be_asked_is_an_error(run, store):
    result = run("prune-batches", "--older-than", "0")

    assert result.exit_code != 0
    assert len(list(store.plans.each())) == 2


def test_a_failed_member_says_its_batch(run):
    [listed] = json.loads(run("failed", "--json").stdout)
    shown = run("failed", "x" * 32).stdout

    assert listed["batch"] == A
    assert ["batch", A] in [line.split() for line in shown.splitlines()]
