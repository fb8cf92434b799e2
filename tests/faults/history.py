"""
What happened, as those it happened to wrote it down: the only witness that a verdict is made from.

One line an entry, one `write` a line, to a file that is only ever appended to. Processes die in the
middle of everything, so a line begins with its line break, too: half a line spoils no other.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from attrs import asdict, field, frozen

__all__ = ["Entry", "Log", "Tail", "read"]


@frozen(kw_only=True)
class Entry:
    """
    One thing that happened.

    Of a job, in the order of its life: `attempted`, then `stored`, `refused` or `unknown` by its
    producer; `start`, then `end`, `raised` or `doomed` (it is about to end its process) by each run;
    `failed` by a listener of `JobFailed`, and by whoever reads the failed jobs at the end.
    Of a worker: `killed`, `died`, `paused` (or cut off), `resumed`, by who did it or saw it; `told` and `acked`,
    around each ack, with the ids of the jobs as its note; `claimed`, with the milliseconds it took
    and how many jobs it got.
    """

    what: str
    #: Seconds of the monotonic clock, which all processes of one machine share.
    at: float = field(factory=time.monotonic)
    #: What the producer calls the job.
    job: str = ""
    #: What the queue calls it.
    id: str = ""
    #: The process, or who in it has one job at a time: never the same name twice, as pids may be.
    worker: str = ""
    attempt: int = 0
    losses: int = 0
    #: Of the payload.
    digest: str = ""
    note: str = ""


#: What is written of an entry that has nothing else to say.
_EMPTY = asdict(Entry(what="", at=0.0))


class Log:
    """Appends entries to the file at `path`; any number of processes may."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)

    def add(self, what: str, **said: object) -> None:
        entry = asdict(Entry(what=what, **said))  # type: ignore[arg-type]
        told = {name: value for name, value in entry.items() if value != _EMPTY[name]}
        os.write(self._descriptor, f"\n{json.dumps(told)}\n".encode())

    def close(self) -> None:
        os.close(self._descriptor)


class Tail:
    """Reads what was appended since it last looked."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._place = 0
        #: Lines that are no entry: what a process had half written when it died.
        self.torn = 0

    def news(self) -> list[Entry]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text.rfind(b"\n") + 1  # the last line may still be being written
        self._place += whole
        found: list[Entry] = []
        for line in text[:whole].splitlines():
            if line:
                try:
                    found.append(Entry(**json.loads(line)))
                except (ValueError, TypeError):
                    self.torn += 1
        return found


def read(path: str | os.PathLike[str]) -> list[Entry]:
    """Return all entries of the file."""
    return Tail(path).news()
