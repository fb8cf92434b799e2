"""A port that notes each claim before the store hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from secrets import token_hex

from typing_extensions import override

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import LEASE
from eventbus.worker.ledger import Ledger

__all__ = ["NotingPort"]


class NotingPort(Port):
    """
    The port of a worker that others follow: what it took is known, even if it dies before it knows itself.

    Args:
        port: The connection.
        ledger: Where claims are noted.
    """

    def __init__(self, port: Port, ledger: Ledger) -> None:
        super().__init__(port.backend, name=port.name, default_queue=port.default_queue)
        self._ledger = ledger

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
        claims = super().claim(queues, limit=limit, lease=lease, token=token)
        if not claims:
            self._ledger.holds_none()
        return claims
