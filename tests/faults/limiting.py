"""
Go through a limit again and again, until told to end, and write down when: `limiting.py THROTTLE ...`.

What is written is what this process knows for sure: a throttle counted between two instants, and it was in a
funnel from one instant to another. All processes of a machine have one monotonic clock.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from eventbus import EventBus
from eventbus.backends.instants import span

told: list[int] = []


def say(*words: object) -> None:
    line = " ".join(map(str, words)) + "\n"
    os.write(1, line.encode())


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def throttle(bus: EventBus, allow: str, every: str) -> None:
    gate = bus.throttle("t", allow=int(allow), every=float(every), block=60)
    while not told:
        before = time.monotonic()
        wait = gate.attempt()
        after = time.monotonic()
        if wait:
            pause(wait)
        else:
            say("counted", span(before), span(after))


def funnel(bus: EventBus, life: str, held: str) -> None:
    gate = bus.funnel("f", life=float(life), block=60)
    while not told:
        with gate:
            say("in", span(time.monotonic()))
            pause(float(held))
            say("out", span(time.monotonic()))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    say("ready")
    with EventBus(connections={"default": os.environ["FAULTS_URL"]}) as bus:
        {"throttle": throttle, "funnel": funnel}[sys.argv[1]](bus, *sys.argv[2:])


if __name__ == "__main__":
    main()
