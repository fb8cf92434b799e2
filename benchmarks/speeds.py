"""Goals that say how quick a row must be beside others of its table; each for every kind of store that it is measured on."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import frozen
from journals import Journal
from redis_server import Server
from report import Goal, Result

#: A kind of store: its name ends those of its tables, its short title the names of its goals.
Kind = Journal | Server
Figure = Callable[[Result, str, str], float]


def quantile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many in a hundred do not exceed."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def by_rounds(result: Result, row: str, than: str) -> float:
    """Return how many times as quick `row` is: the median of the ratios of a round."""
    return result.ratio(than, row)


def by_percentile(percent: int) -> Figure:
    """Return what compares the percentiles of two rows."""

    def figure(result: Result, row: str, than: str) -> float:
        return quantile(result.values[than], percent) / quantile(result.values[row], percent)

    return figure


@frozen
class Speed:
    """So many times as quick as another row of the same table, or as the quickest of several, at least."""

    what: str
    #: The name of the table, to which that of the kind is added.
    table: str
    row: str
    #: One row; or several, of which those that were measured count.
    than: str | tuple[str, ...]
    times: float
    #: What `than` is called beside the figure; must be given for several.
    called: str = ""
    #: The kind that it is measured on, if it is not on all.
    only: str = ""
    figure: Figure = by_rounds

    def found(self, kinds: Iterable[Kind], results: Mapping[str, Result]) -> Iterator[Goal]:
        """Yield the goals that these results speak of."""
        for kind in self._on(kinds):
            result = results.get(f"{self.table}_{kind.name}")
            if result is None or self.row not in result.values:
                continue
            rivals = [one for one in self._rivals() if one in result.values]
            if not rivals:
                continue
            speeds = {one: self.figure(result, self.row, one) for one in rivals}
            hardest = min(speeds, key=speeds.__getitem__)
            of = self._of() if isinstance(self.than, str) else f"{self._of()}, {hardest}"
            yield Goal(self._called(kind), speeds[hardest], self.times, of, is_speed=True)

    def wanted(self, kinds: Iterable[Kind]) -> Iterator[tuple[str, str]]:
        """Yield what every report says of it: the name of the goal, and beside what."""
        for kind in self._on(kinds):
            yield self._called(kind), self._of()

    def _on(self, kinds: Iterable[Kind]) -> list[Kind]:
        return [kind for kind in kinds if self.only in {"", kind.name}]

    def _rivals(self) -> tuple[str, ...]:
        return (self.than,) if isinstance(self.than, str) else self.than

    def _called(self, kind: Kind) -> str:
        return f"{self.what}, {kind.short}"

    def _of(self) -> str:
        return f"as quick as {self.called or self.than}"
