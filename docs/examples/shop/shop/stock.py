"""What lies in the shop's store room."""

from collections import Counter

#: With fewer articles than this, more are ordered.
LOW = 100


class Stock:
    """Counts what was sold of each article."""

    def __init__(self, each: int) -> None:
        self.each = each
        self.sold: Counter[str] = Counter()

    def take(self, sku: str, quantity: int) -> int:
        """Take articles out; return how many are left."""
        self.sold[sku] += quantity
        return self.each - self.sold[sku]
