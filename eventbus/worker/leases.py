"""Hold on to claims while their jobs run: a thread of its own renews the leases."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import RENEWALS_PER_LEASE
from eventbus.queue.codec.jsontext import short

__all__ = ["Leases"]

_log = logging.getLogger("eventbus.worker")


class Leases:
    """
    Renews the leases of what is held, from a thread, so that no job can keep it from doing so.

    Args:
        port: The connection of the claims.
        lease: Seconds that a renewal lasts; renewed every third of it.
    """

    def __init__(self, port: Port, *, lease: float) -> None:
        self._port = port
        self._lease = lease
        self._held: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="eventbus-leases", daemon=True)

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
    def holding(self, claim: Claim) -> Generator[None]:
        """Renew the lease of `claim` in this block."""
        with self._lock:
            self._held[claim.token] = claim
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(claim.token, None)

    def _renew(self) -> None:
        # The kernel may hand a signal to any thread, and only the main one is woken by it from a wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGALRM})
        while not self._over.wait(self._lease / RENEWALS_PER_LEASE):
            with self._lock:
                held = list(self._held.values())
            if not held:
                continue
            try:
                lost = self._port.extend(held, lease=self._lease)
            except Exception as error:  # noqa: BLE001 -- whatever it is: without this thread, jobs run twice
                # The next round tries again; two rounds may fail before the lease ends.
                _log.warning("leases were not renewed: %s", error)
                continue
            with self._lock:
                for claim in lost:
                    if self._held.pop(claim.token, None) is not None:
                        name = short(claim.envelope.id)
                        _log.warning("the lease of job %s was lost while it ran", name)
