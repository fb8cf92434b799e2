"""Which queue is looked at first: always in one order, or now one and now the other by weight."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from eventbus.errors import InvalidOption
from eventbus.values import valid_name

__all__ = ["Turns"]


class Turns:
    """
    Gives the order of queues for each claim.

    Args:
        queues: Names: strictly in this order, so that a busy first one starves the rest. Or names and
            weights: each claim draws an order, in which a queue of weight 3 comes first three times
            as often as one of weight 1.
        chance: Draws; a test brings one with a seed.

    Raises:
        InvalidOption: A name or a weight cannot be.

    Example:
        >>> Turns(("high", "low")).next(lambda queue: False)
        ('high', 'low')
        >>> sorted(Turns({"high": 3, "low": 1}).next(lambda queue: False))
        ['high', 'low']
    """

    def __init__(
        self, queues: Sequence[str] | Mapping[str, int], *, chance: random.Random | None = None
    ) -> None:
        names = [queues] if isinstance(queues, str) else queues
        #: All of them, each once.
        self.queues = tuple(dict.fromkeys(valid_name(one, where="a worker") for one in names))
        self._weights: dict[str, int] | None = None
        if isinstance(queues, Mapping):
            self._weights = {one: _weight(one, queues[one]) for one in self.queues}
        self._chance = random.Random() if chance is None else chance  # noqa: S311 -- no secret

    def next(self, is_paused: Callable[[str], bool]) -> tuple[str, ...]:
        """Return the queues to claim from, in order, without those that are paused."""
        open_ = tuple(one for one in self.queues if not is_paused(one))
        if self._weights is None:
            return open_
        # The first to arrive, of processes that arrive at these rates: an order drawn by weight.
        weights = self._weights
        return tuple(sorted(open_, key=lambda one: self._chance.expovariate(weights[one])))


def _weight(queue: str, weight: object) -> int:
    if isinstance(weight, int) and not isinstance(weight, bool) and weight >= 1:
        return weight
    raise InvalidOption(
        option="queues",
        value=weight,
        expected=f"a whole number >= 1 as the weight of {queue!r}",
        where="a worker",
    )
