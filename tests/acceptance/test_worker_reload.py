"""`--reload` replaces the worker by a fresh one when its code changes, and loses nothing by it."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

from eventbus.errors import MissingDependency
from eventbus.worker.reload import run_reloading

SOURCE = """
@bus.listen
@listens(queue=True, name="react")
def react(event: Ordered):
    say(NEWS, event.number, "by", os.getpid())
    if event.way:
        pass_gate()
    say("finish", event.number)
"""


def write(shop, news, *, source=SOURCE):
    shop.write(f"NEWS = {news!r}\n{source}")


def worker_of(worker, text):
    """The process that said this."""
    return int(re.search(r"by (\d+)", worker.await_line(text))[1])


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def worker(shop):
    """A worker that reloads, with one job done."""
    write(shop, "old")
    started = shop.start("--reload")
    shop.dispatch(1)
    started.await_line("finish 1")
    yield started
    if started.process.poll() is None:
        started.stop()


def test_changed_code_is_what_runs_next(shop, worker):
    first = worker_of(worker, "old 1")

    write(shop, "new")
    worker.await_line("shop.py changed")
    worker.await_line("worker ends")  # until then the old one may take it
    shop.dispatch(2)

    assert worker_of(worker, "new 2") != first
    assert is_gone(first)
    assert worker.stop() == 0


def test_the_running_job_ends_first(shop, worker):
    shop.gate()
    shop.dispatch(2, "gate")
    worker.await_line("old 2")

    write(shop, "new")
    worker.await_line("shop.py changed")
    shop.dispatch(3)
    shop.open_gate()

    worker.await_line("finish 2")
    worker.await_line("new 3")
    assert len(worker.said("old 2")) == 1


def test_code_that_cannot_be_loaded_waits_for_code_that_can(shop, worker):
    write(shop, "broken", source="def react(:")
    worker.await_line("ended with 3")
    shop.dispatch(2)

    write(shop, "mended")

    worker.await_line("mended 2")
    assert worker.stop() == 0
    assert shop.waiting() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_both_after_the_running_job(shop, worker, number):
    shop.gate()
    shop.dispatch(2, "gate")
    child = worker_of(worker, "old 2")

    worker.tell(number)
    shop.open_gate()

    assert worker.await_exit() == 0
    assert is_gone(child)
    assert len(worker.said("finish 2")) == 1
    assert shop.waiting() == 0


def test_what_is_no_code_changes_nothing(shop, worker):
    first = worker_of(worker, "old 1")

    (shop.folder / "notes.txt").write_text("x")
    (shop.folder / "__pycache__").mkdir()
    (shop.folder / "__pycache__" / "shop.py").write_text("x")
    (shop.folder / ".env").write_text("A=1")
    worker.await_line(".env changed")
    worker.await_line("worker begins", times=2)  # the first may still take a job until then

    shop.dispatch(2)
    assert worker_of(worker, "old 2") != first
    assert [line for line in worker.said("changed") if "notes" in line or "cache" in line] == []


def test_a_variable_may_say_it_and_the_worker_does_not_watch_itself(shop):
    write(shop, "old")
    worker = shop.start(EVENTBUS_RELOAD="1")
    shop.dispatch(1)
    worker.await_line("old 1")

    write(shop, "new")
    worker.await_line("another worker")
    shop.dispatch(2)

    worker.await_line("new 2")
    assert worker.stop() == 0
    assert len(worker.said("another worker")) == 1


def test_without_watchfiles_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    with pytest.raises(MissingDependency, match=r"--reload .*eventbus\[reload\]"):
        run_reloading([])
