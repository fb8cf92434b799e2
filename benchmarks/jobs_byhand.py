"""The same worker by hand: `python jobs_byhand.py MODE PATH`; it drains, or polls each millisecond."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from journals import JOURNALS
from stamps import Stamps, answered

JOURNAL = JOURNALS[os.environ["BENCH_JOURNAL"]]
JOURNAL.use()


def main(mode: str, path: str) -> None:
    from byhand import ByHand

    store = ByHand(Path(path), JOURNAL.mode)
    if mode == "drain":
        stamps = Stamps()
        while store.work(lambda data: stamps.taken()):
            pass
    else:
        while True:
            if store.has_due():
                store.work(lambda data: answered(data["sent"]))
            time.sleep(0.001)


if __name__ == "__main__":
    main(*sys.argv[1:])
