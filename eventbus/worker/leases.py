"""Look after what a worker holds while its jobs run: a thread of its own, which no job can block."""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from eventbus.backends.port import Port
from eventbus.defaults import (
    ACK_WINDOW,
    BATCH_TIME,
    HEALTH_BEAT,
    RENEWALS_PER_LEASE,
    STUCK_AFTER,
)
from eventbus.worker.hand import Hand

__all__ = ["Leases", "Watch"]

_log = logging.getLogger("eventbus.worker")

#: How often it looks whether a run that was told to end has ended.
_LOOK: Final = 0.1


class Watch:
    """What the thread watches for a worker that has signals; this one watches nothing."""

    def fileno(self) -> int | None:
        """Return what becomes readable when a signal comes, whatever the main thread does."""
        return None

    def heard(self) -> None:
        """Read what came."""

    def overdue(self) -> float:
        """Return for how many seconds the running job should have ended; negative if it may go on."""
        return -math.inf


class Leases:
    """
    Renews the leases of what is in a worker's hand, and keeps a slow job from holding others hostage.

    Args:
        port: The connection of the claims.
        hand: What the worker holds.
        lease: Seconds that a renewal lasts; renewed every third of it.
        watch: Says when a run should have ended.
        end: Ends the process around a run that does not, after settling it.
        beat: Called in every round, to say that the thread lives.
    """

    def __init__(
        self,
        port: Port,
        hand: Hand,
        *,
        lease: float,
        watch: Watch | None = None,
        end: Callable[[], None] | None = None,
        beat: Callable[[], None] | None = None,
    ) -> None:
        self._port = port
        self._hand = hand
        self._lease = lease
        self._watch = watch or Watch()
        self._end = end
        self._beat = beat
        self._over = False
        self._renew_at = 0.0
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._run, name="eventbus-leases", daemon=True)

    def __enter__(self) -> Self:
        self._renew_at = time.monotonic() + self._lease / RENEWALS_PER_LEASE
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._over = True
        self.wake()
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def wake(self) -> None:
        """Have the thread look now: there is something in the hand that must not wait."""
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            return  # full: it is readable, and that is all it says

    def _run(self) -> None:
        # The kernel may hand a signal to any thread, and only the main one is woken by it from a wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._over:
            self._wait()
            # Whatever it is: without this thread, jobs run twice.
            try:
                self._look_after()
            except Exception as error:  # noqa: BLE001 -- the next round tries again
                _log.warning("what the worker holds was not looked after: %s", error)

    def _wait(self) -> None:
        """Wait until something is due, or somebody wakes us."""
        limit = max(0.0, self._renew_at - time.monotonic())
        if self._hand.restless:
            limit = min(limit, ACK_WINDOW)
        if self._beat is not None:
            limit = min(limit, HEALTH_BEAT)
        late = self._watch.overdue()
        if late > -math.inf:
            limit = min(limit, _LOOK if late >= 0 else -late)
        files: list[int] = [self._read]
        if (watched := self._watch.fileno()) is not None:
            files.append(watched)
        for file in select.select(files, [], [], limit)[0]:
            if file == watched:
                self._watch.heard()
            else:
                os.read(file, 4096)

    def _look_after(self) -> None:
        if self._watch.overdue() > STUCK_AFTER and self._end is not None:
            self._end()
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + self._lease / RENEWALS_PER_LEASE
            self._renew()
        self._hand.flush_late()
        if self._hand.runs_for() > 2 * BATCH_TIME and (number := self._hand.give_back_late()):
            _log.info("%d claimed jobs go back: the one before them takes long", number)
        if self._beat is not None:
            self._beat()

    def _renew(self) -> None:
        held = self._hand.held()
        if not held:
            return
        at = time.monotonic()
        try:
            lost = self._port.extend(held, lease=self._lease)
        except Exception as error:  # noqa: BLE001 -- whatever it is: the other duties remain
            # The next round tries again; two rounds may fail before the lease ends.
            _log.warning("leases were not renewed: %s", error)
            return
        self._hand.renewed(at=at)
        self._hand.lost(lost)
