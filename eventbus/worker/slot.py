"""One of the places that `eventbus-worker --processes` fills, as the process sees it that fills it."""

from __future__ import annotations

import os
import signal
import threading
from typing import Final, Self

from attrs import frozen

from eventbus.worker.ledger import SharedLedger

__all__ = ["Slot"]

#: How a process is told that it has a slot, and which.
_VARIABLE: Final = "EVENTBUS_SLOT"


@frozen(kw_only=True)
class Slot:
    """What the process in a slot is given by the one that watches it."""

    #: Counted from 1.
    number: int
    #: A pipe that ends when the process that watches is gone.
    life: int
    #: The file of the ledgers.
    file: int
    #: Whether it is to begin with a pause, as SIGUSR2 asked for.
    paused: bool = False
    #: What the process before it died of, if its job did it.
    how: str = ""

    @classmethod
    def taken(cls) -> Self | None:
        """Return the slot of this process; None if it has none. What it starts itself has none either."""
        said = os.environ.pop(_VARIABLE, "")
        if not said:
            return None
        number, life, file, paused, how = said.split(",", 4)
        return cls(
            number=int(number), life=int(life), file=int(file), paused=paused == "1", how=how
        )

    @property
    def variable(self) -> dict[str, str]:
        """What the environment of the process says of it."""
        said = (self.number, self.life, self.file, int(self.paused), self.how)
        return {_VARIABLE: ",".join(map(str, said))}

    def ledgers(self, number: int) -> list[SharedLedger]:
        """Open so many ledgers, one for each thread."""
        return [SharedLedger(self.file, one) for one in range(number)]

    def follow(self) -> None:
        """End this process, as SIGTERM does, when the one that watches it is gone."""
        threading.Thread(target=self._follow, name="eventbus-slot", daemon=True).start()

    def _follow(self) -> None:
        # The kernel may hand a signal to any thread, and only the main one is woken by it from a wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while os.read(self.life, 1):
            continue
        os.kill(os.getpid(), signal.SIGTERM)
