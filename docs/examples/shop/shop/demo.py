"""
Run the shop: read 1,000 orders, dispatch them, let a worker send the mails, check the result.

    python -m shop.demo
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from attrs import define, field

from shop.app import FOLDER, ORDERS, bus, stock
from shop.orders import Unreadable, order, rows
from shop.stock import LOW

QUEUES = ("emails", "warehouse")
WORKER = (
    "eventbus-worker", "shop.app:bus", "--queue", ",".join(QUEUES), "--sleep", "0.2", "--lease", "2",
)  # fmt: skip
OUTBOX = FOLDER / "outbox"
LOG = FOLDER / "worker.log"


def main() -> None:
    """Run the demo."""
    clear()
    print(f"A worker starts: {' '.join(WORKER)}")
    began = time.monotonic()
    progress = Progress()
    with LOG.open("wb") as log:
        worker = subprocess.Popen([program(WORKER[0]), *WORKER[1:]], stdout=log, stderr=log)
        try:
            take_orders(progress)
            finish(worker, progress)
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    progress.line(f"Done in {time.monotonic() - began:.1f} s.")
    good = summary(progress)
    look_next()
    if not good:
        sys.exit("The summary is WRONG: please tell us.")


def clear() -> None:
    """Remove what an earlier run has left."""
    shutil.rmtree(OUTBOX, ignore_errors=True)
    OUTBOX.mkdir(parents=True)
    for old in FOLDER.glob("queue.db*"):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()


def program(name: str) -> Path:
    """Return where a command of eventbus is: beside the Python that runs this."""
    return Path(sys.executable).with_name(name)


# What happens.


def take_orders(progress: "Progress") -> None:
    """Dispatch an event for each order of the file."""
    for row in rows(ORDERS):
        try:
            placed = order(row)
        except Unreadable as problem:
            progress.unreadable += 1
            progress.line(f"  not an order, left out: {problem}")
            continue
        answers = bus.dispatch(placed)
        progress.dispatched += 1
        # Every listener that ran has an answer, if only None; a guard that refuses is the first.
        progress.refused += not answers
        progress.update()


def waiting() -> int:
    """Return how many jobs are still to be done."""
    sizes = [bus.connections.port().size(queue) for queue in QUEUES]
    return sum(one.ready + one.delayed + one.leased for one in sizes)


def finish(worker: "subprocess.Popen[bytes]", progress: "Progress") -> None:
    """Wait until every job is done, then ask the worker to stop."""
    while waiting():
        if worker.poll() is not None:
            sys.exit(f"the worker has died with {worker.returncode}; see {LOG}")
        progress.update()
        select.select([], [], [], 0.2)
    worker.send_signal(signal.SIGTERM)
    code = worker.wait(timeout=30)
    if code != 0:
        sys.exit(f"the worker ended with {code}; see {LOG}")


class Progress:
    """Counts, and shows: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self.dispatched = 0
        self.refused = 0
        self.unreadable = 0
        self._live = sys.stdout.isatty()
        self._last = time.monotonic()

    def update(self) -> None:
        """Show where we are, at most ten times a second (once a second in a log)."""
        now = time.monotonic()
        if now - self._last < (0.1 if self._live else 1.0):
            return
        self._last = now
        mails = len(list(OUTBOX.glob("*.eml")))
        text = (
            f"  {self.dispatched} orders dispatched, {mails} mails sent, {waiting()} jobs waiting"
        )
        print(f"\r{text:<70}" if self._live else text, end="" if self._live else "\n", flush=True)

    def line(self, text: str) -> None:
        """Print a line of its own."""
        print(f"\r{text:<70}" if self._live else text, flush=True)


# Whether it was right.


@define
class Expected:
    """What must have happened, read from the orders alone."""

    refused: set[int] = field(factory=set)
    confirmations: set[int] = field(factory=set)
    greylisted: set[int] = field(factory=set)
    failed: set[int] = field(factory=set)
    picklists: set[int] = field(factory=set)
    sold: Counter[str] = field(factory=Counter)
    unreadable: int = 0

    @property
    def reorders(self) -> set[str]:
        """The articles of which little is left."""
        return {sku for sku, sold in self.sold.items() if stock.each - sold < LOW}


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
        result.sold[one.sku] += one.quantity
        if one.email.startswith("mailbox-full@"):
            result.failed.add(one.order_id)
        else:
            result.confirmations.add(one.order_id)
        if one.email.endswith("@greylist.example"):
            result.greylisted.add(one.order_id)
        if one.quantity >= 12:
            result.picklists.add(one.order_id)
    return result


def sent(kind: str) -> set[str]:
    """Return for what a kind of mail lies in the outbox: the numbers of orders, or articles."""
    return {path.stem.removeprefix(f"{kind}-") for path in OUTBOX.glob(f"{kind}-*.eml")}


def summary(progress: Progress) -> bool:
    """Print what should have happened beside what has; tell whether they agree."""
    want = expected()
    failed = bus.failed.all()
    taken = want.confirmations | want.failed | want.refused
    second = {path.name.removeprefix("confirmation-") for path in OUTBOX.glob("greylist/*")}
    lines: list[tuple[str, set[int] | set[str] | int, set[str] | int]] = [
        ("orders dispatched", len(taken), progress.dispatched),
        ("  refused by the guard: nobody else heard", len(want.refused), progress.refused),
        ("rows that were no orders", want.unreadable, progress.unreadable),
        ("articles taken from the stock", want.sold.total(), stock.sold.total()),
        ("confirmations in the outbox", want.confirmations, sent("confirmation")),
        ("  sent on a second try (greylisted)", want.greylisted, second),
        ("pick lists in the outbox", want.picklists, sent("picklist")),
        ("reorders in the outbox", want.reorders, sent("reorder")),
        ("failed jobs kept", len(want.failed), len(failed)),
    ]
    print(f"\n  {'':<44}{'expected':>10}{'found':>9}")
    good = True
    for text, should, is_ in lines:
        same = {str(one) for one in should} == is_ if isinstance(should, set) else should == is_
        good = good and same
        print(f"  {text:<44}{count(should):>10}{count(is_):>9}  {'ok' if same else 'WRONG'}")
    for job in failed:
        print(f"\n  failed: {job.name} after {job.attempts} tries: {job.reason}")
    return good


def count(found: "set[int] | set[str] | int") -> int:
    """Return how many there are."""
    return found if isinstance(found, int) else len(found)


def look_next() -> None:
    """Say what there is to look at."""
    here = Path.cwd()
    places = {path: shown(path, here) for path in (OUTBOX / "confirmation-385.eml", LOG)}
    found = shutil.which("eventbus")
    own = program("eventbus")
    eventbus = "eventbus" if found and Path(found).samefile(own) else shown(own, here)
    looks = [
        *zip(places.values(), ("a mail to a customer", "what the worker said"), strict=True),
        ("shop/listeners.py", "the listeners; shop/app.py makes the bus"),
        (f"{eventbus} --app shop.app:bus list", "who listens to what"),
        (f"{eventbus} --app shop.app:bus failed", "the job that failed, and why"),
    ]
    width = max(len(what) for what, _ in looks)
    print(f"\nWhat to look at next, from {here}:")
    for what, why in looks:
        print(f"  {what:<{width}}   {why}")


def shown(path: Path, here: Path) -> str:
    """Return a path as one would type it here."""
    return min(str(path), os.path.relpath(path, here), key=len)


if __name__ == "__main__":
    main()
