"""A process that does what an operator does: `python -m faults.operating VERB [ID]...`."""

from __future__ import annotations

import sys

from .application import bus

__all__ = ["main"]


def main() -> None:
    verb, *ids = sys.argv[1:]
    port = bus.connections.port()
    {
        "revive": lambda: port.revive(ids),
        "purge": lambda: port.purge(ids),
        "cancel": lambda: port.cancel(ids),
        "clear": lambda: port.clear("default"),
        "pause": lambda: port.pause(["default"]),
        "look": lambda: [*port.each_stored(), *port.each_failed(), port.queues(), port.orders()],
    }[verb]()
    bus.close()


if __name__ == "__main__":
    main()
