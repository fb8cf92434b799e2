"""
Run the shop: read 1,000 orders, dispatch them, let a worker send the mails, check the result.

    python -m shop.demo
"""

import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from attrs import define, field

from shop.app import FOLDER, ORDERS, bus, stock
from shop.orders import Unreadable, order, rows

QUEUES = ("emails", "warehouse")
WORKER = (
    "eventbus-worker", "shop.app:bus", "--queue", ",".join(QUEUES), "--sleep", "0.2", "--lease", "2",
)  # fmt: skip


@define
class Expected:
    """What must have happened, read from the orders alone."""

    confirmations: set[int] = field(factory=set)
    picklists: set[int] = field(factory=set)
    greylisted: set[int] = field(factory=set)
    failed: set[int] = field(factory=set)
    refused: set[int] = field(factory=set)
    sold: int = 0
    unreadable: int = 0


def expected() -> Expected:
    """Work out from the file what the shop should have done."""
    result = Expected()
    for row in rows(ORDERS):
        try:
            one = order(row)
        except Unreadable:
            result.unreadable += 1
            continue
        if one.email.endswith(".invalid"):
            result.refused.add(one.order_id)
            continue
        result.sold += one.quantity
        if one.email.startswith("mailbox-full@"):
            result.failed.add(one.order_id)
        else:
            result.confirmations.add(one.order_id)
        if one.email.endswith("@greylist.example"):
            result.greylisted.add(one.order_id)
        if one.quantity >= 12:
            result.picklists.add(one.order_id)
    return result


def take_orders(say: "Progress") -> None:
    """Dispatch an event for each order of the file."""
    for row in rows(ORDERS):
        try:
            placed = order(row)
        except Unreadable as problem:
            say.line(f"  not an order, left out: {problem}")
            continue
        bus.dispatch(placed)
        say.dispatched += 1
        say.update()


def waiting() -> int:
    """Return how many jobs are still to be done."""
    sizes = [bus.connections.port().size(queue) for queue in QUEUES]
    return sum(one.ready + one.delayed + one.leased for one in sizes)


class Progress:
    """One line that changes on a terminal; a line now and then elsewhere."""

    def __init__(self) -> None:
        self.dispatched = 0
        self._last = 0.0
        self._live = sys.stdout.isatty()

    def update(self) -> None:
        """Show where we are, at most ten times a second (once a second in a log)."""
        now = time.monotonic()
        if now - self._last < (0.1 if self._live else 1.0):
            return
        self._last = now
        sent = len(list((FOLDER / "outbox").glob("*.eml")))
        text = f"  {self.dispatched} orders dispatched, {sent} mails sent, {waiting()} jobs waiting"
        print(f"\r{text}   " if self._live else text, end="" if self._live else "\n", flush=True)

    def line(self, text: str) -> None:
        """Print a line of its own."""
        print(f"\r{text:<70}" if self._live else text, flush=True)


def finish(worker: "subprocess.Popen[bytes]", say: Progress) -> None:
    """Wait until every job is done, then ask the worker to stop."""
    while waiting():
        if worker.poll() is not None:
            sys.exit(f"the worker has died with {worker.returncode}; see {FOLDER / 'worker.log'}")
        say.update()
        select.select([], [], [], 0.05)
    worker.send_signal(signal.SIGTERM)
    code = worker.wait(timeout=30)
    if code != 0:
        sys.exit(f"the worker ended with {code}; see {FOLDER / 'worker.log'}")


def sent(kind: str) -> set[int]:
    """Return the orders for which a kind of mail lies in the outbox."""
    return {int(path.stem.split("-")[1]) for path in (FOLDER / "outbox").glob(f"{kind}-*.eml")}


def summary() -> bool:
    """Print what happened beside what should have; tell whether they agree."""
    wanted = expected()
    failed = bus.failed.all()
    lines = [
        ("orders dispatched", len(wanted.confirmations | wanted.failed | wanted.refused), None),
        ("  refused by the guard, so nobody else heard", len(wanted.refused), None),
        ("rows that were no orders", wanted.unreadable, None),
        ("articles taken from the stock", wanted.sold, stock.sold.total()),
        ("confirmations in the outbox", wanted.confirmations, sent("confirmation")),
        ("pick lists in the outbox", wanted.picklists, sent("picklist")),
        (
            "  sent on a second try (greylisted)",
            len(wanted.greylisted),
            len(list((FOLDER / "outbox" / "greylist").glob("confirmation-*"))),
        ),
        ("failed jobs kept", len(wanted.failed), len(failed)),
    ]
    good = True
    print("\n                                                expected    found")
    for text, want, found in lines:
        same = found is None or want == found
        good = good and same
        shown = "" if found is None else len(found) if isinstance(found, set) else found
        count = len(want) if isinstance(want, set) else want
        print(f"  {text:<44}{count:>10}{shown:>9}  {'' if found is None else 'ok' if same else 'WRONG'}")
    for job in failed:
        print(f"\n  failed: {job.name} after {job.attempts} tries: {job.reason}")
    return good


def look_next() -> None:
    """Say what there is to look at."""
    here = Path.cwd()
    try:
        place = FOLDER.relative_to(here)
    except ValueError:
        place = FOLDER
    print(
        f"""
What to look at next, from {here}:
  {place}/outbox/confirmation-385.eml   a mail to a customer
  {place}/worker.log                    what the worker said
  shop/listeners.py                     the listeners; shop/app.py makes the bus
  eventbus --app shop.app:bus list      who listens to what
  eventbus --app shop.app:bus failed    the job that failed, and why
"""
    )


def main() -> None:
    """Run the demo."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "outbox").mkdir(parents=True)
    print(f"A worker starts: {' '.join(WORKER)}")
    began = time.monotonic()
    program = Path(sys.executable).with_name(WORKER[0])
    with (FOLDER / "worker.log").open("wb") as log:
        worker = subprocess.Popen([program, *WORKER[1:]], stdout=log, stderr=log)
        try:
            say = Progress()
            take_orders(say)
            finish(worker, say)
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    say.line(f"Done in {time.monotonic() - began:.1f} s.")
    good = summary()
    look_next()
    if not good:
        sys.exit("The summary is wrong: please tell us.")


if __name__ == "__main__":
    main()
