"""
The same jobs for huey, and its consumer, as it is by default: `jobs_huey.consume()`.

Its own journal is WAL, and it knows two settings of `synchronous`: `fsync=True` is FULL, `False` is OFF.
It deletes a job before it runs it, and so loses the one that runs when its consumer is killed.
"""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

from journals import JOURNALS, Journal
from stamps import Stamps, answered

stamps = Stamps()


def made(path: Path, journal: Journal, *, fsync: bool) -> tuple[Any, Any, Any]:
    """Return huey, and its two tasks."""
    from huey import SqliteHuey

    huey = SqliteHuey(filename=str(path), fsync=fsync, journal_mode=journal.mode.lower())
    last = int(os.environ.get("BENCH_JOBS", "0"))

    def note(order_id: int, email: str) -> None:
        if stamps.taken() == last:  # it has no way to stop when its queue is empty
            os.kill(os.getpid(), signal.SIGINT)

    return huey, huey.task(name="note")(note), huey.task(name="answer")(answered)


def consume() -> None:
    """Run the consumer until it is told to stop."""
    journal = JOURNALS[os.environ["BENCH_JOURNAL"]]
    journal.use()
    path = Path(os.environ["BENCH_PATH"])
    huey, *_ = made(path, journal, fsync=os.environ["BENCH_FSYNC"] == "1")
    logging.getLogger("huey").setLevel(logging.ERROR)  # as its `--quiet` does
    huey.create_consumer().run()
