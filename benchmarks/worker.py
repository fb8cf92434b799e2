"""The process in which a table is measured: `python worker.py TABLE FILE ROUNDS SAMPLE SEED`."""

from __future__ import annotations

import gc
import json
import sys

import interleave
import pyperf
import queued
import redis_tables
import tables


def main(name: str, file: str, rounds: str, sample: str, seed: str) -> None:
    table = next(
        one for one in (*tables.TABLES, *queued.TABLES, *redis_tables.TABLES) if one.name == name
    )
    if table.journal is not None:
        table.journal.use()
    contenders, missing = table.contenders()
    # What a table has built stays, and need not be looked through again.
    gc.collect()
    gc.freeze()
    benchmarks, failed = interleave.measured(
        contenders, rounds=int(rounds), sample=float(sample), seed=int(seed)
    )
    pyperf.BenchmarkSuite(benchmarks).dump(file, replace=True)
    floors = {one.name: one.floor for one in contenders}
    json.dump({"missing": {**missing, **failed}, "floors": floors}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
