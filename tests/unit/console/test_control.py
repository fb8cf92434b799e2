"""`eventbus restart`, `pause`, `resume`: what they set, and what they tell."""

from __future__ import annotations

import pytest

from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend
from eventbus.queue.envelope import Envelope


@pytest.fixture
def other(store, clock):
    """The store of the application's second connection."""
    port = Port(SqliteBackend("other.db", clock=clock), name="other")
    yield port
    port.close()


@pytest.fixture
def mail(store):
    store.push([Envelope(id="a1", queue="emails", body=b"{}")])


def test_restart_gives_every_connection_a_new_order(run, store, other):
    """Q8, K12: a worker ends when the order is another than at its start."""
    first = run("restart")

    assert (first.exit_code, first.stdout.split()) == (0, ["default", "other"])
    before = store.orders().restart
    assert before
    assert other.orders().restart

    run("restart")
    assert store.orders().restart not in {"", before}


def test_restart_of_one_connection(run, store, other):
    assert run("restart", "--connection", "other").stdout.split() == ["other"]
    assert store.orders().restart == ""
    assert other.orders().restart


@pytest.mark.parametrize("command", [["restart"], ["pause", "emails"], ["resume", "emails"]])
@pytest.mark.parametrize(
    "connection, said",
    [
        ("dfault", "no connection is called 'dfault', did you mean 'default'?"),
        ("now", "connection"),
        ("void", "connection 'void' has not a store that this command shares with workers"),
    ],
)
def test_a_connection_without_a_shared_store_takes_no_orders(run, store, command, connection, said):
    result = run(*command, "--connection", connection)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_application_whose_jobs_lie_in_memory_has_no_workers_to_tell(run, module):
    module(
        "app",
        "from eventbus import EventBus\nbus = EventBus(connections={'default': 'memory://'})",
    )

    result = run("restart")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no connection has a store that this command shares with workers" in result.stderr


@pytest.mark.usefixtures("mail")
def test_pause_names_what_is_paused(run, store):
    """Q9, K16."""
    result = run("pause", "emails", "emails", "--connection", "default")

    assert (result.exit_code, result.stdout) == (0, "default emails\n")
    assert result.stderr == "eventbus: paused\n"
    assert store.orders().paused == {"emails"}


def test_pause_tells_of_a_name_in_which_nothing_lies(run, store):
    result = run("pause", "emials", "--connection", "default")

    assert (result.exit_code, result.stdout) == (0, "default emials\n")
    assert "nothing lies in emials of default at present: is it called so?" in result.stderr


@pytest.mark.usefixtures("mail")
def test_pause_tells_what_had_been_paused(run, store):
    run("pause", "emails", "--connection", "default")

    result = run("pause", "emails", "--connection", "default")

    assert result.exit_code == 0
    assert "eventbus: emails of default had been paused before" in result.stderr


def test_pause_all_is_about_every_queue_of_every_connection(run, store, other):
    result = run("pause", "--all")

    assert (result.exit_code, result.stdout.splitlines()) == (0, ["default *", "other *"])
    assert store.orders().is_paused("whatever")
    assert other.orders().is_paused("whatever")


@pytest.mark.usefixtures("mail")
def test_a_pause_may_end_by_itself(run, store, clock):
    """K16: with a life, judged by the clock of the store."""
    result = run("pause", "emails", "--for", "90", "--connection", "default")

    assert result.stderr == "eventbus: paused for 90 s\n"
    assert store.orders().is_paused("emails")
    clock.advance(91)
    assert not store.orders().is_paused("emails")


@pytest.mark.parametrize("life", ["0", "-1", "nan", "soon", "1e300"])
def test_a_pause_of_no_length_is_a_wrong_use(run, store, life):
    assert run("pause", "emails", "--for", life).exit_code == 2
    assert store.orders().paused == set()


@pytest.mark.parametrize("verb", ["pause", "resume"])
@pytest.mark.parametrize("arguments", [[], ["--all", "emails"]])
def test_queues_or_all_of_them(run, store, verb, arguments):
    result = run(verb, *arguments)

    assert result.exit_code == 2
    assert f"{verb} which queues? Write their names, or --all" in result.stderr


@pytest.mark.parametrize("verb", ["pause", "resume"])
@pytest.mark.parametrize("name", ["*", "e mails", "\x1b[2J", ""])
def test_a_name_that_no_queue_can_have_is_a_wrong_use(run, store, verb, name):
    result = run(verb, name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert store.orders().paused == set()


def test_resume_names_what_had_been_paused(run, store):
    store.pause(["emails", "reports"])

    result = run("resume", "emails", "invoices", "--connection", "default")

    assert (result.exit_code, result.stdout) == (0, "default emails\n")
    assert result.stderr == "eventbus: invoices of default was not paused by its name\n"
    assert store.orders().paused == {"reports"}


def test_resume_all_ends_every_pause(run, store, other):
    store.pause(["emails", "*"])

    result = run("resume", "--all")

    assert (result.exit_code, result.stdout.splitlines()) == (0, ["default *", "default emails"])
    assert result.stderr == "eventbus: nothing of other was paused\n"
    assert store.orders().paused == set()


def test_resume_of_one_queue_while_all_are_paused_tells_that_it_still_rests(run, store):
    store.pause(["*"])

    result = run("resume", "emails", "--connection", "default")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "eventbus: emails of default still rests, as all its queues do" in result.stderr
    assert store.orders().is_paused("emails")


def test_a_flag_that_somebody_else_wrote_reaches_no_terminal(run, store, hostile):
    """A5: flags lie in the store, and others write to it."""
    store.backend.flag(f"pause:{hostile}", "1")
    store.pause(["emails"])

    results = [run("resume", "--all"), run("pause", "--all"), run("size")]

    for one in results:
        assert one.exit_code == 0
        assert not [letter for letter in one.output if not letter.isprintable() and letter != "\n"]
    assert "default emails" in results[0].stdout
