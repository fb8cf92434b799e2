"""Reading the file of orders."""

import csv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from shop.events import OrderPlaced


class Unreadable(Exception):
    """A row that is no order."""


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the file."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def order(row: dict[str, str]) -> OrderPlaced:
    """Read one row, or raise `Unreadable`."""
    try:
        quantity = int(row["quantity"])
        return OrderPlaced(
            order_id=int(row["order_id"]),
            name=row["name"],
            email=row["email"],
            sku=row["sku"],
            quantity=quantity,
            total=quantity * Decimal(row["price"]),
        )
    except (KeyError, ValueError) as error:
        raise Unreadable(f"order {row.get('order_id')}: {error}") from error
