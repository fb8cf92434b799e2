"""The port that a worker claims through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from secrets import token_hex

from typing_extensions import override

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import LEASE
from eventbus.worker.hand import Hand
from eventbus.worker.ledger import Ledger

__all__ = ["ClaimingPort"]


class ClaimingPort(Port):
    """
    Notes each claim before the store hears of it, and has what is done acked in the same step.

    What was claimed is known, even if the worker dies before it knows itself.

    Args:
        port: The connection.
        ledger: Where claims are noted.
        hand: Whose acks wait for the next claim, where the store can do both in one step; None if there is none.
    """

    def __init__(self, port: Port, ledger: Ledger, hand: Hand | None = None) -> None:
        super().__init__(port.backend, name=port.name, default_queue=port.default_queue)
        self._port = port
        self._ledger = ledger
        self._hand = hand

    @override
    def claim(
        self,
        queues: Sequence[str],
        *,
        limit: int = 1,
        lease: float | timedelta = LEASE,
        token: str = "",
    ) -> list[Claim]:
        token = token or token_hex(16)
        self._ledger.claims(queues, token)
        if self._hand is None:
            claims = self._port.claim(queues, limit=limit, lease=lease, token=token)
        else:
            with self._hand.acking() as (done, lost):
                if done:
                    stale, claims = self._port.exchange(
                        done, queues, limit=limit, lease=lease, token=token
                    )
                    lost += stale
                else:
                    claims = self._port.claim(queues, limit=limit, lease=lease, token=token)
        if not claims:
            self._ledger.holds_none()
        return claims
