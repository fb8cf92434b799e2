"""Each queued listener of the demo is killed with its worker, once; nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SHOP = Path(__file__).parents[2] / "docs" / "examples" / "shop"

pytestmark = pytest.mark.timeout(120)

ORDERS = """\
order_id,name,email,sku,quantity,price
1,Bo Adler,bo@example.com,CUP-010,1,12.00
2,Zoë Łukasz,zoe@example.com,CUP-010,2,12.00
3,Faye Quist,faye@example.com,CUP-010,12,12.00
4,Ines Kaya,press@refused.invalid,CUP-010,2,12.00
5,Emre Fischer,mailbox-full@example.com,TEA-002,1,6.25
6,Lena Toth,lena@example.com,KTL-040,a dozen,64.00
7,Ines Ito,ines@example.com,POT-020,650,39.90
8,Jun Jansen,jun@example.com,CUP-010,3,12.00
"""

#: The shop, with a mail server whose first delivery of one mail takes the worker with it.
DEADLY = """
import os
import signal
from pathlib import Path

from eventbus import JobProcessed
from shop.app import FOLDER, make_bus
from shop.mailing import Outbox

class DeadlyOutbox(Outbox):
    def deliver(self, name, *mail):
        moment, _, deadly = os.environ["SHOP_DIES"].partition(" ")
        dies = name == deadly and not (FOLDER / "died").exists()
        if dies and moment == "before":
            self.die()
        super().deliver(name, *mail)
        if dies:
            self.die()

    def die(self):
        (FOLDER / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)

bus = make_bus(lambda: DeadlyOutbox(FOLDER / "outbox"))

@bus.listen
def note(event: JobProcessed):
    with (FOLDER / "processed").open("a") as file:
        file.write(f"{event.name} {event.attempt} {event.outcome}\\n")
"""

#: What the demo does, but for the second worker.
RUN = """
import signal
import subprocess
import sys

from shop import demo

WORKER = (demo.program("eventbus-worker"), "deadly:bus", "--queue", ",".join(demo.QUEUES),
          "--sleep", "0.05", "--lease", "1",
          "--batch", "1")  # else the jobs that were done just before the kill would run again, too

demo.clear()
progress = demo.Progress()
demo.take_orders(progress)
with demo.LOG.open("wb") as log:
    first = subprocess.run(WORKER, stdout=log, stderr=log, timeout=60)
    if first.returncode != -signal.SIGKILL:
        sys.exit(f"the first worker ended with {first.returncode}")
    left = demo.waiting()
    second = subprocess.Popen(WORKER, stdout=log, stderr=log)
    try:
        demo.finish(second, progress)
    finally:
        if second.poll() is None:
            second.kill()
            second.wait()
print(f"{left} jobs were left")
sys.exit(0 if demo.summary(progress) else "WRONG")
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "mail",
    ["confirmation-2", "picklist-3", "reorder-POT-020"],
    ids=["SendConfirmation", "NotifyWarehouse", "reorder"],
)
def test_a_killed_listener_is_run_again_and_all_is_well(tmp_path, mail, moment):
    """Killed before its effect, or after it and before its ack."""
    folder = tmp_path / "var"
    (tmp_path / "orders.csv").write_text(ORDERS, "utf-8")
    (tmp_path / "deadly.py").write_text(DEADLY, "utf-8")

    ran = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(SHOP), str(tmp_path))),
            "SHOP_FOLDER": str(folder),
            "SHOP_ORDERS": str(tmp_path / "orders.csv"),
            "SHOP_DIES": f"{moment} {mail}",
        },
        check=False,
        capture_output=True,
        encoding="utf-8",
    )

    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}"
    told = f"{ran.stdout}{(folder / 'worker.log').read_text('utf-8')}"
    assert (folder / "died").exists(), told
    assert "WRONG" not in ran.stdout, told
    assert "\n0 jobs were left" not in f"\n{ran.stdout}", told
    # Each job was done once; the one that was killed too, and still at its first attempt.
    done = Counter((folder / "processed").read_text("utf-8").splitlines())
    assert done == {
        "shop.listeners:SendConfirmation 1 succeeded": 5,
        "shop.listeners:NotifyWarehouse 1 succeeded": 2,
        "shop.listeners:reorder 1 succeeded": 1,
    }, told
