"""The health file: what a worker writes, and what is made of it."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from eventbus.defaults import HEALTH_CHANGES, HEALTH_SIZE_LIMIT
from eventbus.errors import InvalidOption, Unhealthy
from eventbus.testing.clock import ManualClock
from eventbus.worker.health import Health, State, memory_in_use
from eventbus.worker.vital import check_health


@pytest.fixture
def clock():
    return ManualClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "worker.json"


@pytest.fixture
def health(path, clock):
    made = Health(path, name="w1", connection="default", queues=("emails",), clock=clock)
    yield made
    made.close()


@pytest.fixture
def check(path, clock):
    return lambda **limits: check_health(path, clock=clock, **limits)


@pytest.fixture
def written(path):
    return lambda: json.loads(path.read_bytes())


def test_the_file_says_who_works_where_and_what_it_did(health, written, clock):
    health.beat(State.WORKING, job=("a1", "shop:Send"), processed=3, failed=1)

    told = written()
    assert told.pop("memory") == pytest.approx(memory_in_use(), rel=0.5)
    assert told == {
        "kind": "eventbus-worker",
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "name": "w1",
        "connection": "default",
        "queues": ["emails"],
        "state": "working",
        "job": {"id": "a1", "listener": "shop:Send", "since": "2030-01-02T03:04:05+00:00"},
        "processed": 3,
        "failed": 1,
        "started_at": "2030-01-02T03:04:05+00:00",
        "alive_at": "2030-01-02T03:04:05+00:00",
        "loop_at": "2030-01-02T03:04:05+00:00",
        "loop_due": "2030-01-02T03:04:05+00:00",
    }


def test_what_is_read_is_what_was_written(health, check):
    health.beat("idle", processed=3, queues=("emails", "reports"))

    vital = check()
    assert (vital.name, vital.queues, vital.state, vital.job) == (
        "w1",
        ("emails", "reports"),
        "idle",
        None,
    )
    assert vital.processed == 3


def test_only_its_user_reads_the_file(health, path):
    os.umask(before := os.umask(0))
    health.beat("idle")

    assert before is not None
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_else_is_left_in_the_folder(health, path, clock):
    for state in ("idle", "paused", "away", "idle"):
        health.beat(state)

    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_a_killed_worker_half_wrote_is_no_obstacle(health, path, written):
    (path.parent / f".{path.name}.{os.getpid()}").write_text("half", "utf-8")

    health.beat("idle")

    assert written()["state"] == "idle"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(health, path, tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept", "utf-8")
    (tmp_path / f".{path.name}.{os.getpid()}").symlink_to(target)

    health.beat("idle")

    assert target.read_text("utf-8") == "kept"
    assert not path.is_symlink()


def test_beats_of_one_second_are_one_file(health, clock, written):
    health.beat("idle", processed=1)
    clock.advance(0.5)
    health.beat("idle", processed=2)
    assert written()["processed"] == 1

    clock.advance(0.5)
    health.beat("idle", processed=3)
    assert written()["processed"] == 3


def test_another_state_is_written_at_once(health, written):
    health.beat("idle")
    health.beat("paused")

    assert written()["state"] == "paused"


def test_a_worker_that_is_idle_between_any_two_jobs_does_not_write_each_time(
    health, clock, written
):
    for number in range(100):
        health.beat("idle", processed=number)
        health.beat("working", job=(str(number), "shop:Send"))
    assert written()["processed"] <= HEALTH_CHANGES

    clock.advance(1)
    health.alive()

    assert (written()["processed"], written()["job"]["id"]) == (99, "99")


def test_a_job_that_lasts_is_in_the_file_with_the_next_beat_of_any_thread(health, clock, written):
    """From job to job, which may take a millisecond, the state is the same."""
    health.beat("working", job=("a1", "shop:Send"))
    clock.advance(0.1)
    health.beat("working", job=("b2", "shop:Send"))
    assert written()["job"]["id"] == "a1"

    clock.advance(1)
    health.alive()

    assert written()["job"] == {
        "id": "b2",
        "listener": "shop:Send",
        "since": "2030-01-02T03:04:05.100000+00:00",
    }


def test_a_job_that_is_told_of_again_began_when_it_began(health, clock, check):
    health.beat("working", job=("a1", "shop:Send"))
    clock.advance(30)
    health.beat("working", job=("a1", "shop:Send"))

    assert (clock.now() - check().job[2]).total_seconds() == 30


def test_a_clock_that_is_set_back_silences_no_worker(path, written):
    clock = ManualClock(datetime(2030, 1, 2, tzinfo=UTC))
    health = Health(path, clock=clock)
    health.beat("idle", processed=1)
    health._clock = ManualClock(datetime(2029, 1, 2, tzinfo=UTC))

    health.beat("idle", processed=2)

    assert written()["processed"] == 2


def test_a_file_that_cannot_be_written_is_warned_of_once(health, path, clock, caplog):
    """F26: a full disk ends no worker."""
    health.beat("idle")
    folder, moved = path.parent, path.parent.with_name("moved")
    folder.rename(moved)
    for _ in range(3):
        clock.advance(2)
        health.beat("idle", processed=7)

    assert [one.getMessage().split(":")[0] for one in caplog.records] == [
        "the health file cannot be written"
    ]
    moved.rename(folder)
    clock.advance(2)
    health.beat("idle")
    assert check_health(path, clock=clock).processed == 7


def test_threads_may_beat_at_once(health, clock, check):
    def beat():
        for number in range(50):
            health.beat("idle" if number % 2 else "paused")
            health.alive()

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert check().pid == os.getpid()


def test_close_removes_the_file_and_nothing_is_written_after(health, path):
    health.beat("idle")
    health.close()
    health.close()
    health.beat("paused")

    assert not path.exists()


def test_close_leaves_the_file_of_the_worker_that_followed(health, path):
    health.beat("idle")
    other = json.loads(path.read_bytes()) | {"pid": os.getpid() + 1}
    path.write_text(json.dumps(other), "utf-8")

    health.close()

    assert path.exists()


def test_a_process_that_was_forked_is_not_the_worker(health, path, clock):
    health.beat("idle")
    clock.advance(9)
    child = os.fork()
    if not child:
        try:
            health.beat("stopping")
            health.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert json.loads(path.read_bytes())["state"] == "idle"


@pytest.mark.parametrize(
    "place", ["nowhere/worker.json", "folder", "pipe", "link", "notes.txt", "x.json"]
)
def test_a_place_where_no_worker_can_keep_its_file_is_refused(tmp_path, place):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "notes.txt").write_text("do not overwrite", "utf-8")
    (tmp_path / "x.json").write_text('{"pid": 1}', "utf-8")

    with pytest.raises(InvalidOption, match="health file"):
        Health(tmp_path / place)

    assert (tmp_path / "notes.txt").read_text("utf-8") == "do not overwrite"


def test_the_file_that_a_killed_worker_left_is_taken_over(health, path, clock, written):
    health.beat("idle")
    old = json.loads(path.read_bytes()) | {"pid": 1}
    path.write_text(json.dumps(old), "utf-8")

    Health(path, clock=clock).beat("idle")

    assert written()["pid"] == os.getpid()


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere

    with pytest.raises(InvalidOption, match="a folder that this process can write to"):
        Health(tmp_path / "worker.json")


def test_a_disk_that_fills_up_leaves_the_file_as_it_was(health, path, clock, written, monkeypatch):
    """F26: the new one is written beside it first."""
    health.beat("idle", processed=1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    clock.advance(2)
    health.beat("idle", processed=2)

    assert written()["processed"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_system_that_does_not_tell_its_memory_has_none(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda _: int("none"))

    assert memory_in_use() is None


# The look at it.


def test_a_worker_that_beats_is_healthy(health, check, clock):
    for state in State:
        clock.advance(1)
        health.beat(state)
        assert check().state == state


def test_no_file_is_no_worker(check, path):
    with pytest.raises(Unhealthy, match="it is not there") as caught:
        check()
    assert caught.value.file == str(path)


def test_a_worker_that_gave_no_sign_of_life_is_unhealthy(health, check, clock):
    health.beat("idle")
    clock.advance(60)
    assert check()

    clock.advance(1)
    with pytest.raises(Unhealthy, match="gave a sign of life 61 s ago"):
        check()
    assert check(max_age=120)


def test_a_sign_of_life_from_the_future_is_none(health, path, check, clock):
    health.beat("idle")
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps(told | {"alive_at": "2999-01-01T00:00:00+00:00"}), "utf-8")

    with pytest.raises(Unhealthy, match="in the future"):
        check()


def test_a_loop_that_does_not_turn_although_no_job_runs_is_unhealthy(health, check, clock):
    health.beat("idle")
    clock.advance(61)
    health.alive()

    with pytest.raises(Unhealthy, match="no job runs, and its loop turned 61 s ago"):
        check()


def test_a_loop_that_means_to_wait_longer_is_healthy_until_it_should_have_turned(
    health, check, clock
):
    """As with a long `--sleep`, or while a store is away."""
    health.beat("idle", wait=600)
    clock.advance(660)
    health.alive()
    assert check().loop_due == clock.now() - timedelta(seconds=60)

    clock.advance(1)
    health.alive()
    with pytest.raises(Unhealthy, match="no job runs, and its loop turned 661 s ago"):
        check()


def test_a_loop_that_turned_before_it_had_to_waits_no_longer(health, check, clock):
    health.beat("idle", wait=600)
    clock.advance(1)
    health.beat("idle")
    clock.advance(61)
    health.alive()

    with pytest.raises(Unhealthy, match="its loop turned 61 s ago"):
        check()


def test_a_turn_in_the_future_is_none(health, path, check):
    health.beat("idle")
    told = json.loads(path.read_bytes())
    far = "2999-01-01T00:00:00+00:00"
    path.write_text(json.dumps(told | {"loop_at": far, "loop_due": far}), "utf-8")

    with pytest.raises(Unhealthy, match=r"its loop turned .* s in the future"):
        check()


def test_the_file_of_a_worker_that_did_not_say_how_long_it_waits_is_read(health, path, check):
    """Of a version before this one."""
    health.beat("idle", wait=600)
    told = json.loads(path.read_bytes())
    del told["loop_due"]
    path.write_text(json.dumps(told), "utf-8")

    assert check().loop_due == check().loop_at


def test_a_long_job_is_healthy_unless_a_limit_is_given(health, check, clock):
    health.beat("working", job=("a1", "shop:\x1b[2JSend"))
    clock.advance(3600)
    health.alive()

    assert check(max_job_age=3600)
    with pytest.raises(Unhealthy, match=r"job a1 of shop:\\x1b\[2JSend runs for 3600 s"):
        check(max_job_age=3599)


def test_a_process_that_is_gone_is_unhealthy(health, path, check):
    health.beat("idle")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps(told | {"pid": gone.pid}), "utf-8")

    with pytest.raises(Unhealthy, match=f"process {gone.pid} is gone"):
        check()


def test_the_process_of_another_user_lives(health, path, check, monkeypatch):
    health.beat("idle")

    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refused)

    assert check()


def test_the_process_of_another_host_is_judged_by_its_beats_alone(health, path, check):
    health.beat("idle")
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps(told | {"pid": 2**31 - 1, "host": "elsewhere"}), "utf-8")

    assert check().host == "elsewhere"


@pytest.mark.parametrize(
    "change",
    [
        {"pid": 0},
        {"pid": -1},
        {"pid": 2**31},
        {"pid": 2**70},
        {"pid": "1"},
        {"pid": None},
        {"kind": "another"},
        {"state": "asleep"},
        {"queues": "emails"},
        {"job": {"id": "a1"}},
        {"job": []},
        {"alive_at": 5},
        {"alive_at": "2030-01-02T03:04:05"},
        {"alive_at": "0001-01-01T00:00:00+23:00"},
        {"loop_at": "yesterday"},
        {"loop_due": "tomorrow"},
        {"name": 5},
        {"processed": "many"},
    ],
)
def test_a_file_with_wrong_values_is_no_health_file(health, path, check, change):
    health.beat("idle")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change), "utf-8")

    with pytest.raises(Unhealthy, match="it is no health file"):
        check()


@given(some.one_of(some.binary(), some.text().map(lambda text: json.dumps(text).encode())))
def test_any_bytes_are_refused_with_one_kind_of_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(text)

    with pytest.raises(Unhealthy):
        check_health(path)


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"a":' * 20_000, b" " * (HEALTH_SIZE_LIMIT + 1), b'{"pid":1e999}']
)
def test_a_file_that_is_to_exhaust_its_reader_is_refused(path, check, text):
    path.write_bytes(text)

    with pytest.raises(Unhealthy):
        check()


def test_a_file_that_is_too_long_is_refused_though_it_could_be_read(health, path, check):
    health.beat("idle")
    path.write_bytes(path.read_bytes().ljust(HEALTH_SIZE_LIMIT + 1))

    with pytest.raises(Unhealthy, match="too long"):
        check()


def test_a_pipe_or_a_device_in_its_place_is_not_waited_for(path, check):
    os.mkfifo(path)
    with pytest.raises(Unhealthy):
        check()

    both_ends = os.open(path, os.O_RDWR)  # with somebody who writes, a reader would wait
    with pytest.raises(Unhealthy):
        check()
    os.close(both_ends)

    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(Unhealthy):
        check()
