"""Renew the lease of the raw job that is being worked on: from a thread that no handler can block."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from eventbus.defaults import RENEWALS_PER_LEASE
from eventbus.errors import LeaseLost
from eventbus.queue.raw.claims import RawClaim
from eventbus.text import described, short

__all__ = ["Renewal"]

_log = logging.getLogger("eventbus.queue")


class Renewal:
    """
    Renews the lease of one claim at a time.

    Args:
        lease: Seconds that a renewal lasts; renewed every third of it.
    """

    def __init__(self, *, lease: float) -> None:
        self._lease = lease
        self._held: RawClaim | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventbus-raw-lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @contextmanager
    def of(self, claim: RawClaim) -> Generator[None]:
        """Renew the lease of `claim` in this block."""
        self._held = claim
        try:
            yield
        finally:
            self._held = None

    def _run(self) -> None:
        # The kernel may hand a signal to any thread, and only the main one is woken by it from a wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._over.wait(self._lease / RENEWALS_PER_LEASE):
            held = self._held
            if held is None:
                continue
            try:
                held.extend(self._lease)
            except LeaseLost:
                # It was settled just now; or somebody else has it, and its settlement will say so.
                if self._held is held:
                    self._held = None
            except Exception as error:  # noqa: BLE001 -- the next round tries again, before the lease ends
                _log.warning(
                    "the lease of raw job %s was not renewed: %s", short(held.id), described(error)
                )
