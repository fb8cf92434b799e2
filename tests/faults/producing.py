"""
A process that dispatches: `python -m faults.producing PREFIX COUNT DOES [--also PREFIX COUNT DOES]...`.

Writes down each attempt and what came of it. With a backlog it waits while so many jobs are ahead
of the workers, and goes on until it is told to stop by SIGTERM.
"""

from __future__ import annotations

import argparse
import importlib
import select
import signal
import time
from collections.abc import Iterator
from itertools import count

from eventbus.backends.port import Port
from eventbus.errors import BackendError, StoredUnknown

from .application import Work, bus, digest, log


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prefix")
    parser.add_argument("count", type=int, help="0 is no end")
    parser.add_argument("does")
    parser.add_argument("--also", nargs=3, action="append", default=[], help="the same, after it")
    parser.add_argument("--payload", type=int, default=0, help="characters")
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds")
    parser.add_argument("--backlog", type=int, default=0, help="most jobs ahead of the workers")
    parser.add_argument("--rate", type=float, default=0.0, help="jobs a second, at most")
    parser.add_argument("--kind", default="Work", help="the event class")
    parser.add_argument("--app", default="faults.application", help="the module that has it")
    options = parser.parse_args()
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    make = getattr(importlib.import_module(options.app), options.kind)
    for key, does in in_time(options, told):
        payload = (key * (1 + options.payload // len(key)))[: options.payload]
        more = (options.delay,) if options.delay else ()  # not every kind knows of one
        dispatch(make(key, does, payload, options.tries, *more))
    bus.close()


def in_time(options: argparse.Namespace, told: list[int]) -> Iterator[tuple[str, str]]:
    """Yield the key of each job and what it does, when its time has come, until told to stop."""
    port = bus.connections.port()
    due = time.monotonic()
    for number, (key, does) in enumerate(every(options)):
        while options.backlog and number % 20 == 0 and not told:
            if has_room(port, options.backlog):
                break
            select.select([], [], [], 0.02)
        if options.rate:
            due = max(due + 1 / options.rate, time.monotonic() - 1)  # a late one is made up for
            select.select([], [], [], max(0.0, due - time.monotonic()))
        if told:
            return
        yield key, does


def has_room(port: Port, backlog: int) -> bool:
    try:
        return port.size("default").ready < backlog
    except BackendError:
        return True  # whoever dispatches then is told


def every(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for prefix, size, does in [(options.prefix, options.count, options.does), *options.also]:
        for number in range(int(size)) if int(size) else count():
            yield f"{prefix}{number}", does


def dispatch(work: Work) -> None:
    log.add("attempted", job=work.key, digest=digest(work.payload))
    try:
        bus.dispatch(work)
    except StoredUnknown:
        log.add("unknown", job=work.key)
    except BackendError as error:
        log.add("refused", job=work.key, note=str(error))
    else:
        log.add("stored", job=work.key)


if __name__ == "__main__":
    main()
