"""A worker in a `with` block runs beside what the block does."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from typing import get_type_hints

import pytest
from attrs import frozen

from eventbus import EventBus, ShouldQueue, WorkerStopping, listens
from eventbus.errors import DiscoveryError, InvalidOption, StoreDamaged, UnknownConnection
from eventbus.worker import Worker
from eventbus.worker.settings import WorkerOptions


@frozen
class Ordered:
    number: int


RAN: list[tuple[int, str]] = []
GATE = threading.Event()
REACHED = threading.Event()


@listens(queue=True)
def note(event: Ordered) -> None:
    RAN.append((event.number, threading.current_thread().name))


@listens(queue=True)
async def note_later(event: Ordered) -> None:
    RAN.append((event.number, threading.current_thread().name))


@listens(queue=True)
def pass_gate(event: Ordered) -> None:
    REACHED.set()
    GATE.wait(20)
    RAN.append((event.number, ""))


@pytest.fixture(autouse=True)
def _fresh():
    RAN.clear()
    GATE.clear()
    REACHED.clear()


@pytest.mark.parametrize("listener", [note, note_later])
def test_jobs_run_in_a_thread_of_the_workers_own(bus, listener):
    bus.listen(listener)

    with bus.worker() as worker:
        for number in range(10):
            bus.dispatch(Ordered(number))
        assert worker.drain()

    assert list(zip(range(10), ["eventbus-worker"] * 10, strict=True)) == RAN
    assert worker.processed == 10
    assert "eventbus-worker" not in {thread.name for thread in threading.enumerate()}


def test_the_block_ends_after_the_running_job(bus, monkeypatch):
    bus.listen(pass_gate)
    bus.dispatch(Ordered(1))
    bus.dispatch(Ordered(2))

    worker = bus.worker(batch=1)
    stop = worker.signals.stop

    def stop_and_open():
        stop()
        GATE.set()

    monkeypatch.setattr(worker.signals, "stop", stop_and_open)

    with worker:
        assert REACHED.wait(20)

    assert RAN == [(1, "")]
    assert bus.connections.port().size("jobs").ready == 1


def test_draining_takes_no_longer_than_it_may(bus):
    bus.listen(pass_gate)

    with bus.worker() as worker:
        bus.dispatch(Ordered(1))
        assert not worker.drain(0.01)
        GATE.set()
        assert worker.drain()


def test_draining_does_not_wait_for_what_is_delayed(bus):
    bus.listen(note)

    class Later(ShouldQueue):
        delay = 60

        def handle(self, event: Ordered) -> None: ...

    with bus.worker() as worker:
        bus.dispatch(Ordered(1))
        assert worker.drain()

    assert [number for number, _ in RAN] == [1]


def test_draining_ends_with_the_worker(bus):
    bus.listen(pass_gate)
    GATE.set()
    bus.dispatch(Ordered(1))
    bus.dispatch(Ordered(2))

    with bus.worker(max_jobs=1) as worker:
        assert not worker.drain()


def test_outside_of_a_block_it_tells_whether_something_is_left(bus):
    bus.listen(note)
    worker = bus.worker(stop_when_empty=True)
    assert worker.drain()

    bus.dispatch(Ordered(1))

    assert not worker.drain()
    worker.run()
    assert worker.drain()


def test_what_ends_the_worker_is_raised_where_the_block_ends(bus, monkeypatch):
    def damaged(*_, **__):
        raise StoreDamaged(backend="memory", operation="claim", reason="rot")

    monkeypatch.setattr(bus.connections.port().backend, "claim", damaged)

    bus.listen(note)
    bus.dispatch(Ordered(1))

    def enter():
        with bus.worker() as worker:
            assert not worker.drain()

    with pytest.raises(StoreDamaged):
        enter()


def test_an_error_of_the_block_itself_comes_first(bus, monkeypatch):
    def damaged(*_, **__):
        raise StoreDamaged(backend="memory", operation="claim", reason="rot")

    monkeypatch.setattr(bus.connections.port().backend, "claim", damaged)

    with pytest.raises(LookupError), bus.worker():
        raise LookupError


def test_listeners_that_cannot_be_loaded_are_told_before_the_block():
    bus = EventBus(discover="no.such.package", connections={"default": "memory://"})

    with pytest.raises(DiscoveryError), bus.worker():
        pytest.fail("the block was entered")


def test_its_options_are_those_of_a_worker(bus):
    worker = bus.worker(queues=["a", "b"], tries=3)

    assert worker.queues == ("a", "b")
    assert worker.rules.tries == 3
    with pytest.raises(InvalidOption):
        bus.worker(batch=0)
    with pytest.raises(UnknownConnection):
        bus.worker("nowhere")


def test_the_typed_options_are_the_keywords_of_a_worker():
    parameters = inspect.signature(Worker).parameters.values()
    keywords = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}

    assert set(get_type_hints(WorkerOptions)) == keywords


def test_listeners_hear_that_it_stops(bus):
    heard = []
    bus.listen(WorkerStopping, lambda event: heard.append(event.reason))

    with bus.worker():
        pass

    assert heard == ["signal"]


PROGRAM = """
import threading
from eventbus import EventBus, listens

class Ordered: pass
reached = threading.Event()

def handle(event: Ordered) -> None:
    reached.set()
    threading.Event().wait()  # for ever

bus = EventBus(connections={"default": "memory://"})

def main():
    import program
    program.bus.listen(listens(queue=True)(program.handle))
    worker = program.bus.worker()
    worker.__enter__()
    program.bus.dispatch(program.Ordered())
    program.reached.wait(20)
    print("leaves", flush=True)
"""


def test_a_program_that_never_leaves_its_block_ends_all_the_same(tmp_path):
    """F41: a job that hangs does not keep it either."""
    (tmp_path / "program.py").write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "-c", "import program; program.main()"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("leaves\n", 0), done.stderr
