"""
Time contenders against each other in one process: every round all of them, in random order.

pyperf calibrates how often a sample repeats its statement, describes the machine and keeps the
values; it would give each contender processes of its own, though, and on a shared machine their
ratio is then mostly weather. So the rounds are ours: a ratio is taken between two samples that lie
milliseconds apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import random
from collections.abc import Callable, Mapping
from typing import Any

import pyperf
from attrs import field, frozen

_TEMPLATE = """
{define} sample(loops):
    started = perf_counter()
    for _ in repeat(None, loops):
        {statement}
    return perf_counter() - started
"""


@frozen
class Contender:
    """A statement to be timed, and the names it uses."""

    name: str
    #: Contains `await`, and is then timed inside one running loop.
    statement: str
    names: Mapping[str, Any] = field(repr=False)
    #: The contender that its figures are ratios of.
    floor: str = "floor"
    #: What makes ready for so many of its statements, untimed, before each sample.
    prepare: Callable[[int], None] | None = None

    def compiled(self, runner: asyncio.Runner) -> Callable[[int], float]:
        """Return what runs the statement so many times and returns how many seconds it took."""
        is_async = "await " in self.statement
        source = _TEMPLATE.format(
            define="async def" if is_async else "def", statement=self.statement
        )
        names: dict[str, Any] = dict(self.names)
        exec("from itertools import repeat\nfrom time import perf_counter", names)
        exec(compile(source, f"<{self.name}>", "exec"), names)
        sample = names["sample"]
        if is_async:
            return lambda loops: runner.run(sample(loops))
        return sample if self.prepare is None else _prepared(self.prepare, sample)


def measured(
    contenders: list[Contender], *, rounds: int, sample: float, seed: int
) -> tuple[list[pyperf.Benchmark], dict[str, str]]:
    """
    Time all contenders.

    Args:
        contenders: Those of one table.
        rounds: How many samples each gives.
        sample: How long one takes at least, in seconds.
        seed: Of the order within the rounds.

    Returns:
        For each contender its seconds per statement, one value a round; and, for each that raised
        when it was tried, what.
    """
    failed: dict[str, str] = {}
    ready: dict[str, tuple[Callable[[int], float], pyperf.Run]] = {}
    with asyncio.Runner() as runner:
        calibrate = _calibration(sample)
        for one in contenders:
            call = _undisturbed(one.compiled(runner))
            try:
                call(1)
            except Exception as error:  # noqa: BLE001 -- a peer that cannot is reported, not fatal
                failed[one.name] = f"{type(error).__name__}: {error}"
            else:
                ready[one.name] = (call, calibrate(one.name, call))
        values: dict[str, list[float]] = {name: [] for name in ready}
        order = random.Random(seed)
        for _ in range(rounds):
            for name in order.sample(list(ready), len(ready)):
                call, run = ready[name]
                values[name].append(call(run.get_loops()) / run.get_loops())
    return [_kept(run, values[name]) for name, (_, run) in ready.items()], failed


def _prepared(
    prepare: Callable[[int], None], call: Callable[[int], float]
) -> Callable[[int], float]:
    def sample(loops: int) -> float:
        prepare(loops)
        return call(loops)

    return sample


def _undisturbed(call: Callable[[int], float]) -> Callable[[int], float]:
    """Return a sample function during which the garbage collector is off."""

    def sample(loops: int) -> float:
        gc.disable()
        try:
            return call(loops)
        finally:
            gc.enable()

    return sample


def _calibration(sample: float) -> Callable[[str, Callable[[int], float]], pyperf.Run]:
    """Return pyperf's calibration: loops are doubled until a sample takes long enough."""
    runner = pyperf.Runner(values=1, warmups=1, min_time=sample)
    runner.parse_args(["--worker", "--calibrate-loops", "--quiet"])

    def calibrate(name: str, call: Callable[[int], float]) -> pyperf.Run:
        with contextlib.redirect_stdout(io.StringIO()):
            return runner.bench_time_func(name, call).get_runs()[0]

    return calibrate


def _kept(run: pyperf.Run, values: list[float]) -> pyperf.Benchmark:
    metadata = {**run.get_metadata(), "loops": run.get_loops()}
    metadata.pop("calibrate_loops", None)
    return pyperf.Benchmark([pyperf.Run(values, metadata=metadata, collect_metadata=False)])
