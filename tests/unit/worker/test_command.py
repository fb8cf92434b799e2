"""The options of `eventbus-worker` reach the worker."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from eventbus.errors import BackendUnavailable
from eventbus.worker import command as module
from eventbus.worker.command import command
from eventbus.worker.exits import ExitCode


@pytest.fixture
def run(bus, monkeypatch):
    """Run the command over a worker that only notes how it was made."""
    made = []

    class Noted(module.Worker):
        def run(self):
            made.append(self)
            return ExitCode.DONE

    monkeypatch.setattr(module, "Worker", Noted)
    monkeypatch.setattr(module, "find_bus", lambda app: bus)

    def invoke(*arguments, **environment):
        result = CliRunner(env=environment).invoke(command, list(arguments))
        return result, made[-1] if made else None

    return invoke


def test_what_is_left_out_has_its_default(run):
    result, worker = run("shop:bus")
    assert result.exit_code == 0
    assert (worker.connection, worker.queues) == ("default", ())
    settings = worker.settings
    assert (settings.once, settings.stop_when_empty, settings.batch) == (False, False, 200)
    assert (worker.rules.tries, worker.rules.timeout, worker.rules.backoff) == (1, 60, (0.0,))
    assert (settings.sleep, settings.lease, settings.rest) == (3, 60, 0)
    assert (settings.max_jobs, settings.max_time, settings.memory) == (0, 0, 0)


def test_every_option_reaches_it(run):
    _, worker = run(
        *("shop:bus", "--connection", "default", "--queue", "a, b", "--once", "--stop-when-empty"),
        *("--tries", "3", "--timeout", "9", "--backoff", "1,5.5", "--sleep", "0.5", "--lease", "2"),
        *("--grace", "4", "--quiet", "--include-delayed", "--max-jobs", "7", "--max-time", "8"),
        *("--memory", "64", "--rest", "0.1", "--batch", "5", "--name", "w1"),
    )
    assert (worker.connection, worker.queues, worker.name) == ("default", ("a", "b"), "w1")
    settings = worker.settings
    assert (settings.once, settings.stop_when_empty, settings.include_delayed) == (True, True, True)
    assert (settings.max_jobs, settings.max_time, settings.memory) == (7, 8, 64)
    assert (settings.rest, settings.batch) == (0.1, 5)
    assert (worker.rules.tries, worker.rules.timeout) == (3, 9)
    assert (worker.rules.backoff, settings.sleep, settings.lease) == ((1.0, 5.5), 0.5, 2)
    assert worker.signals._grace == 4


def test_options_may_come_from_the_environment(run):
    _, worker = run("shop:bus", EVENTBUS_QUEUE="emails", EVENTBUS_BACKOFF="7")
    assert (worker.queues, worker.rules.backoff) == (("emails",), (7.0,))


def test_queues_may_have_weights(run):
    """K4."""
    _, worker = run("shop:bus", "--queue", "a=3, b=1")
    assert worker.turns._weights == {"a": 3, "b": 1}


@pytest.mark.parametrize("queues", ["a=3,b", "a=x", "a=0", "a b", "a=1.5"])
def test_queues_that_cannot_be_are_a_usage_error(run, queues):
    result, _ = run("shop:bus", "--queue", queues)
    assert result.exit_code == ExitCode.USAGE


def test_a_store_that_fails_later_ends_it_with_the_stores_code(run, monkeypatch, caplog):
    def away(self):
        try:
            raise OSError("disk")
        except OSError as error:
            raise BackendUnavailable(backend="b", operation="claim", reason="gone") from error

    run("shop:bus")
    monkeypatch.setattr(module.Worker, "run", away)
    with caplog.at_level("INFO", "eventbus.worker"):
        result, _ = run("shop:bus")
    assert result.exit_code == ExitCode.BACKEND
    assert "eventbus-worker: b: claim did not happen: gone" in result.output
    assert "OSError: disk" in caplog.text


def test_help_and_version_need_no_application():
    for option, said in (("--help", "--stop-when-empty"), ("--version", "version")):
        done = subprocess.run(
            [sys.executable, "-m", "eventbus.worker", option],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert said in done.stdout
