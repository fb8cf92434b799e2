"""What rings in a waiting worker when something comes to its queues in Redis: a connection that listens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from eventbus.backends.base import Bell
from eventbus.backends.redis_link import Link
from eventbus.defaults import REDIS_BELL_RETRY

__all__ = ["RedisBell"]


class RedisBell(Bell):
    """
    Listens to channels. Where it is cut off, it is hung again when it is next asked, and has rung.

    Args:
        link: Where it gets a connection of its own.
        channels: What it rings for.
    """

    def __init__(self, link: Link, channels: Sequence[str]) -> None:
        self._link = link
        self._channels = tuple(channels)
        self._process = os.getpid()
        self._retry_at = 0.0
        self._connection: Any = None
        #: What stands in for the connection while there is none: never readable.
        self._mute, self._other_end = socket.socketpair()
        self._hang()

    def _hang(self) -> bool:
        """Listen, if that can be had now; return whether it can."""
        if time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + REDIS_BELL_RETRY
        connection = None
        try:
            connection = self._link.subscriber()
            connection.send_command("SUBSCRIBE", *self._channels, check_health=False)
            for _ in self._channels:
                connection.read_response(disable_decoding=True)
        except Exception:  # noqa: BLE001 -- whatever it is, workers look by themselves meanwhile
            if connection is not None:
                self._link.release(connection)
            return False
        self._connection = connection
        return True

    def fileno(self) -> int:
        """Return what to wait for; where it is cut off, what never rings."""
        found = None if self._connection is None else getattr(self._connection, "_sock", None)
        return self._mute.fileno() if found is None else found.fileno()

    def silence(self) -> bool:
        """Forget the rings until now; return whether there was one, or may have been while it was cut off."""
        if self._process != os.getpid():
            return False
        if self._connection is None:
            return self._hang()  # what came meanwhile was not heard
        heard = False
        try:
            while self._connection.can_read(timeout=0):
                self._connection.read_response(disable_decoding=True)
                heard = True
        except Exception:  # noqa: BLE001 -- cut off, in whatever way
            self._take_down()
            self._hang()
            return True
        return heard

    def _take_down(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            self._link.release(connection)

    def close(self) -> None:
        """Take it down, for good."""
        self._take_down()
        self._retry_at = float("inf")
        with suppress(OSError):
            self._mute.close()
            self._other_end.close()
