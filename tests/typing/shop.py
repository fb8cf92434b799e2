"""Events, services and a listener that the files of this folder share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple


class Tracked(ABC):
    @abstractmethod
    def track(self) -> str: ...


@dataclass(frozen=True)
class OrderShipped(Tracked):
    order_id: int

    def track(self) -> str:
        return str(self.order_id)


@dataclass(frozen=True)
class ExpressShipped(OrderShipped): ...


@dataclass(frozen=True)
class OrderReturned:
    order_id: int


class OrderLost(NamedTuple):
    order_id: int


class OrderHeld: ...


class Mailer:
    def send(self) -> None: ...


def heard(*what: object) -> None:
    """Named by import strings."""
