"""A real supervisord keeps workers running by what `eventbus supervisor` prints for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from eventbus.console.command import command
from tests.acceptance.conftest import DEADLINE, WorkerProcess

SOURCE = """
@bus.listen
@listens(queue="emails")
def send(event: Ordered):
    say("emails", event.number, "by", os.getpid())
    if event.way:
        pass_gate()
    say("finish", event.number)

@bus.listen
@listens(queue="slow")
def render(event: Ordered):
    say("slow", event.number, "by", os.getpid())
"""

SUPERVISORD = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={folder}/supervisord.pid

[unix_http_server]
file={folder}/control

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{folder}/control

"""


class Supervisor:
    """A supervisord, and the workers that it runs."""

    def __init__(self, shop, *arguments):
        printed = CliRunner().invoke(
            command,
            ["--app", "shop:bus", "supervisor", *arguments, "--directory", str(shop.folder)],
        )
        assert printed.exit_code == 0, printed.output
        # What workers say goes where supervisord says what it does: there the test reads it.
        heard = "redirect_stderr=true\nstdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0"
        programs = printed.output.replace("redirect_stderr=true", heard)
        self._file = shop.folder / "supervisord.conf"
        self._file.write_text(SUPERVISORD.format(folder=shop.folder) + programs)
        self._shop = shop
        self.process = WorkerProcess(
            ["-n", "-c", str(self._file)],
            folder=shop.folder,
            environment=shop.environment,
            program=("-m", "supervisor.supervisord"),
        )
        shop.workers.append(self.process)

    def control(self, *words):
        """Ask supervisorctl; return what it says."""
        said = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self._file), *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        return said.stdout

    def worker_of(self, text):
        """Return the process of the worker that said this."""
        return int(re.search(r"by (\d+)", self.process.await_line(text))[1])


@pytest.fixture
def supervised(shop):
    """A shop of two queues, and a supervisord with a program for each."""
    shop.write(SOURCE)
    supervisor = Supervisor(shop, "emails", "slow")
    for name in ("emails", "slow"):
        supervisor.process.await_line(f"spawned: 'shop-{name}-0'")
    yield supervisor
    if supervisor.process.process.poll() is None:
        supervisor.process.stop()


def test_each_queue_has_workers_of_its_own(shop, supervised):
    for number in range(3):
        shop.dispatch(number)

    emails = {supervised.worker_of(f"emails {number} by") for number in range(3)}
    slow = {supervised.worker_of(f"slow {number} by") for number in range(3)}

    assert (len(emails), len(slow)) == (1, 1)
    assert emails != slow


def test_a_worker_that_dies_is_replaced_and_its_job_is_run(shop, supervised):
    shop.dispatch(1)
    first = supervised.worker_of("emails 1 by")

    os.kill(first, signal.SIGKILL)
    supervised.process.await_line("spawned: 'shop-emails-0'", times=2)
    shop.dispatch(2)

    assert supervised.worker_of("emails 2 by") != first


def test_a_restart_that_is_ordered_ends_in_fresh_workers(shop, supervised):
    shop.dispatch(1)
    first = supervised.worker_of("emails 1 by")
    supervised.process.await_line("entered RUNNING state", times=2)

    shop.port.restart()
    supervised.process.await_line("spawned: 'shop-emails-0'", times=2)
    shop.dispatch(2)

    assert supervised.worker_of("emails 2 by") != first
    # The other one, too, is up before the end: supervisord tells no process that it has not yet begun to run.
    supervised.worker_of("slow 2 by")


def test_a_stop_waits_for_the_running_job_and_nothing_is_lost(shop, supervised):
    shop.gate()
    shop.dispatch(1, "gate")
    supervised.worker_of("emails 1 by")
    shop.dispatch(2)

    stopping = subprocess.Popen([
        sys.executable, "-m", "supervisor.supervisorctl", "-c", str(supervised._file),
        "stop", "shop-emails:*",
    ], stdout=subprocess.PIPE, text=True)  # fmt: skip
    supervised.process.await_line("waiting for shop-emails-0 to stop")
    shop.open_gate()

    assert "stopped" in stopping.communicate(timeout=DEADLINE)[0]
    supervised.process.await_line("finish 1")
    assert supervised.process.said("emails 2 by") == []
    assert shop.waiting("emails") == 1

    supervised.control("start", "shop-emails:*")
    supervised.process.await_line("finish 2")
    supervised.process.stop()
    assert shop.waiting("emails") == 0
    assert shop.port.failed() == []
