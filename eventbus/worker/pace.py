"""How many jobs a worker claims at once: a few tens of milliseconds of work."""

from __future__ import annotations

from eventbus.defaults import BATCH_LIMIT, BATCH_TIME

__all__ = ["Pace"]

#: How fast the size may grow, so that one quick job does not claim two hundred slow ones.
_GROWTH = 4
#: What the last batch counts for beside all before it.
_WEIGHT = 0.5


class Pace:
    """
    Sizes batches by how long jobs took lately.

    Args:
        limit: Most jobs in a batch, >= 1; 1 is no batches.

    Defaults:
        limit = `defaults.BATCH_LIMIT`.

    Example:
        >>> pace = Pace()
        >>> pace.size
        1
        >>> for _ in range(5):
        ...     pace.worked(jobs=pace.size, seconds=pace.size * 0.0001)
        >>> pace.size
        200
        >>> pace.worked(jobs=1, seconds=2.0)
        >>> pace.size
        1
    """

    def __init__(self, limit: int = BATCH_LIMIT) -> None:
        self._limit = limit
        self._each: float | None = None
        #: How many jobs to claim next.
        self.size = 1

    def worked(self, *, jobs: int, seconds: float) -> None:
        """Note that a batch of `jobs` took `seconds`."""
        if not jobs:
            return
        each = seconds / jobs
        # Slower than thought is believed at once: waiting behind slow jobs is what must not be.
        if self._each is not None and each < self._each:
            each = _WEIGHT * each + (1 - _WEIGHT) * self._each
        self._each = each
        fitting = BATCH_TIME / each if each else self._limit
        self.size = max(1, int(min(fitting, self.size * _GROWTH, self._limit)))
