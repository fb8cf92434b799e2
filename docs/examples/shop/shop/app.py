"""The shop's bus."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventbus import EventBus
from shop.mailing import Outbox
from shop.stock import Stock

HERE = Path(__file__).parents[1]
ORDERS = Path(os.environ.get("SHOP_ORDERS", HERE / "orders.csv"))
FOLDER = Path(os.environ.get("SHOP_FOLDER", HERE / "var"))

stock = Stock(each=700)


def make_outbox() -> Outbox:
    """Open the outbox."""
    folder = FOLDER / "outbox"
    folder.mkdir(parents=True, exist_ok=True)
    return Outbox(folder)


def make_bus(outbox: Callable[[], Outbox] = make_outbox) -> EventBus:
    """Make the bus: what is scanned for listeners, what they may ask for, where jobs lie."""
    provide: dict[type, Callable[..., Any]] = {Outbox: outbox, Stock: lambda: stock}
    return EventBus(
        discover=["shop.listeners"],
        provide=provide,
        connections={"default": f"sqlite:///{FOLDER / 'queue.db'}"},
    )


bus = make_bus()
