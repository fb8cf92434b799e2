"""The real `eventbus` command tells real `eventbus-worker` processes what to do, and looks at them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

CONSOLE = "from eventbus.console.command import main; main()"

SHIPPING = """
@listens(queue=True)
def ship(event: Ordered):
    say(f"ships {event.number}")
    if event.way == "gate":
        pass_gate()
    say(f"shipped {event.number}")

bus.listen(ship)
"""


@pytest.fixture
def shipping(shop):
    shop.write(SHIPPING)
    return shop


@pytest.fixture
def console(shop):
    """Run `eventbus` on the shop."""

    def console(*arguments, app="shop:bus"):
        named = ["--app", app] if app else []
        return subprocess.run(
            [sys.executable, "-c", CONSOLE, *named, *arguments],
            cwd=shop.folder,
            env=shop.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=25,
            check=False,
        )

    return console


def test_a_paused_queue_rests_until_it_is_resumed(shipping, console):
    """Q9, K16: the order lies in the store, so it holds for workers that start later."""
    shipping.dispatch(1)
    assert console("pause", "default").stdout == "default default\n"

    assert shipping.work("--max-time", "0.5").said("ships") == []
    assert console("size").stdout.splitlines()[1].split()[-1] == "yes"

    worker = shipping.start()
    assert console("resume", "default").returncode == 0
    worker.await_line("shipped 1")
    assert worker.stop() == 0


def test_restart_ends_workers_after_their_jobs_so_that_new_code_runs(shipping, console):
    """Q8, K12: both workers, wherever they are; nothing is lost."""
    shipping.gate()
    worker, idle = shipping.start(), shipping.start()
    idle.await_line("worker begins")
    shipping.dispatch(1, "gate")
    busy, idle = (worker, idle) if worker_of(worker, idle) is worker else (idle, worker)

    assert console("restart").stdout == "default\n"
    assert idle.await_exit() == 0
    shipping.dispatch(2)
    shipping.open_gate()
    assert busy.await_exit() == 0
    assert busy.said("shipped 1")

    shipping.write(SHIPPING.replace("shipped", "shipped anew"))
    assert shipping.work().said("shipped anew 2")


def worker_of(*workers):
    """Return the worker that has begun the first job."""
    while True:
        for one in workers:
            if one.said("ships 1"):
                return one
            assert one.process.poll() is None, one.output


def test_what_runs_is_seen_and_left_alone(shipping, console):
    """Q10, Q19, Q20."""
    shipping.gate()
    worker = shipping.start("--batch", "1")
    shipping.dispatch(1, "gate")
    worker.await_line("ships 1")
    for number in (2, 3, 4):
        shipping.dispatch(number)

    [running, *waiting] = sorted(
        json.loads(console("peek", "--json", "--data").stdout),
        key=lambda job: job["data"]["number"],
    )
    assert running["state"] == "leased"
    assert [job["state"] for job in waiting] == ["ready"] * 3

    cancelled = console("cancel", running["id"], waiting[0]["id"], "--yes")
    assert (cancelled.returncode, cancelled.stdout.split()) == (1, [waiting[0]["id"]])
    assert console("clear", "default").returncode == 2
    assert console("clear", "default", "--yes").stdout == "default default 2\n"

    shipping.open_gate()
    worker.await_line("shipped 1")
    assert worker.stop() == 0
    assert worker.said("ships") == ["ships 1"]


def test_a_probe_tells_whether_a_worker_works(shipping, console):
    shipping.gate()
    probe = ("health", "--file", "worker.json")
    assert console(*probe, app=None).returncode == 1

    worker = shipping.start("--health-file", "worker.json", "--lease", "0.3", "--name", "w1")
    worker.await_line("worker begins")
    shipping.dispatch(1, "gate")
    worker.await_line("ships 1")

    def seen():
        return json.loads(console(*probe, "--json", app=None).stdout or "{}")

    while (told := seen()).get("job") is None:
        assert worker.process.poll() is None, worker.output
    assert (told["pid"], told["name"], told["state"]) == (worker.pid, "w1", "working")
    assert console(*probe, "--max-job-age", "600", app=None).returncode == 0
    too_long = console(*probe, "--max-job-age", "0", app=None)
    assert (too_long.returncode, "runs for" in too_long.stderr) == (1, True)

    worker.process.kill()
    worker.await_exit()
    gone = console(*probe, app=None)
    assert gone.returncode == 1
    assert f"process {worker.pid} is gone" in gone.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_worker_that_ends_takes_its_health_file_away(shipping, console, number):
    worker = shipping.start("--health-file", "worker.json")
    shipping.dispatch(1)
    worker.await_line("shipped 1")

    worker.tell(number)

    assert worker.await_exit() == 0
    assert "it is not there" in console("health", "--file", "worker.json", app=None).stderr


def test_a_health_file_is_not_put_over_another(shipping):
    worker = shipping.start("--health-file", "shop.py")

    assert worker.await_exit() in {2, 3}
    assert "health file" in worker.output
    assert "def ship" in (shipping.folder / "shop.py").read_text("utf-8")


HOSTILE = r"\x1b[2J\r\n2030-01-01T00:00:00Z DONE forged\u202e\u2028\x9b31m {0.__class__} %s%n"


@pytest.mark.parametrize("options", [[], ["-v"], ["--log-format", "json"], ["--json"]])
def test_a_record_of_the_log_is_one_line_whatever_a_listener_raises(shop, options):
    """A5, N5."""
    shop.write(f"""
@listens(queue=True)
def ship(event: Ordered):
    raise ValueError("{HOSTILE}")

bus.listen(ship)
""")
    shop.dispatch(1)

    worker = shop.work(*options)

    assert worker.code == 0
    text = worker.output.replace("\n", "")
    assert [one for one in text if not one.isprintable()] == []
    assert [line for line in worker.lines if line.startswith("2030-01-01")] == []
    [line] = worker.said("forged")
    if "-v" in options or not options:
        assert " FAIL     shop:ship  " in line
        assert ("connection=default  queue=default" in line) == bool(options)
    else:
        told = json.loads(line)
        assert (told["listener"], told["outcome"], told["error"]) == (
            "shop:ship",
            "failed",
            "ValueError",
        )
        assert [json.loads(one) for one in worker.lines]
