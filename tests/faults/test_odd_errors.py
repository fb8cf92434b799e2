"""Whatever a listener raises is a failed attempt of its job, and nothing to its worker."""

from __future__ import annotations

import pytest

from eventbus.defaults import ERROR_TEXT_LIMIT

pytestmark = pytest.mark.timeout(600)

ODD = [
    "SystemExit",
    "SystemExitZero",
    "KeyboardInterrupt",
    "GeneratorExit",
    "StopIteration",
    "MemoryError",
    "RecursionError",
    "CancelledError",
    "Plain",
    "Silent",
    "Huge",
    "Surrogate",
    "ValueError",
]


def test_no_exception_ends_a_worker_or_harms_the_jobs_beside_it(make_arena, results, full):
    """F8"""
    arena = make_arena(lease=10.0)
    times = 100 if full else 2
    good = 1_000 if full else 40
    kinds = [(f"{name}-", times, f"fail {name}") for name in ODD]
    good = good // len(kinds) * len(kinds)
    between = [(f"good{part}-", good // len(kinds), "pause 0") for part in range(len(kinds))]
    arena.produce_all([job for pair in zip(between, kinds, strict=True) for job in pair],
                      "--tries", "2")  # fmt: skip

    worker = arena.worker("--stop-when-empty")
    assert worker.await_exit(600) == 0, worker.output[-3000:]

    verdict = arena.judge(tries=2)
    failed = list(arena.bus.connections.port().each_failed())
    results.add("odd exceptions", arena, verdict, kinds=len(ODD), of_each=times)
    assert verdict.complaints == {}
    assert {entry.worker for entry in arena.entries if entry.what == "start"} == {worker.name}
    assert len(failed) == len(ODD) * times == len(verdict.failed)
    assert {job.attempts for job in failed} == {2}
    assert {job.losses for job in failed} == {0}
    assert all(0 < len(job.error) <= ERROR_TEXT_LIMIT for job in failed)
    assert arena.count("end") == good
    assert verdict.extra == 0
