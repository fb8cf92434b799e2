"""Jobs that want all of the memory, the stack or the log: bounded, and the next job runs."""

from __future__ import annotations

import json

import pytest

from tests.forms import FULL

from .hostile import MEASURED, Hostile
from .poison import APPLICATION, Fate, Poison, body, data, fields, good, named, nested

#: How much smaller the short form is.
SHARE = 1 if FULL else 10

MEBIBYTE = 1024  # in the kilobytes that a process counts


def huge():
    """Return bodies that are large, deep or long in each way."""
    keys = json.dumps(dict.fromkeys(map(str, range(1_000_000 // SHARE)), 0)).encode()
    return {
        "bytes": b"x" * (100_000_000 // SHARE),
        "spaces": b" " * (100_000_000 // SHARE),
        "a document and spaces": body() + b" " * (100_000_000 // SHARE),
        "levels": data(nested(100_000)),
        "levels, never closed": b"[" * (10_000_000 // SHARE),
        "objects, never closed": b'{"a":' * (10_000_000 // SHARE),
        "keys": data(keys),
        "keys of the document": keys,
        "keys of the options": body(options="@").replace(b'"@"', keys),
        "digits": data(b'{"number": ' + b"9" * 5_000 + b"}"),
        "digits of a fraction": data(
            b'{"number": 1, "ratio": 0.' + b"1" * 100_000 + b"e9999999999}"
        ),
        "digits of an exponent": data(b'{"number": 1, "ratio": 1e' + b"9" * 100_000 + b"}"),
        "NULs": data(b'"' + b"\\u0000" * (10_000_000 // SHARE) + b'"'),
        "a text": fields(text="x" * (300 * 1024)),
        "a name": body(name="x" * 280_000),
        "an event": body(event="trap." + "x" * 280_000),
        "a key": fields(**{"x" * 200_000: 1}),
        "items": named([0] * 100_000),
        "a list of lists": data(b"[" + b"[]," * 80_000 + b"[]]"),
        "quotes": b'"' + b'\\"' * 140_000,
        "backslashes": data(b'"' + b"\\\\" * 120_000),
        "key twice": data(b"{" + b'"a":1,' * 40_000 + b'"a":1}'),
    }


def kilobytes(worker):
    """Return what a worker used at most when it began, and when it ended."""
    return [int(one.split()[1]) for one in worker.stdout.splitlines() if "kilobytes" in one]


@pytest.mark.timeout(300 if FULL else 60)
def test_a_huge_job_costs_no_more_than_its_bytes(tmp_path):
    """A11: 100 MB, depth, keys, digits and NULs are refused unread, and the next jobs run."""
    hostile = Hostile(tmp_path, APPLICATION + MEASURED)
    hostile.make_file()
    bodies = huge()
    poisons = [Poison(name=name, body=one) for name, one in bodies.items()]
    with hostile.file() as file:
        for at, poison in enumerate(poisons):
            sound = Poison(name="good", body=good(at))
            file.write([(f"huge{at:03}", poison), (f"good{at:03}", sound)])

        worker = hostile.work()

        assert worker.returncode == 0, worker.stderr[-2_000:]
        assert hostile.ran == [str(at) for at in range(len(poisons))]
        kept = {**file.rows("failed"), **file.rows("envelopes")}
        for at, poison in enumerate(poisons):
            assert kept[f"huge{at:03}"]["body"] == poison.stored(f"huge{at:03}"), poison.name
    before, after = kilobytes(worker)
    largest = max(map(len, bodies.values())) // 1024
    assert after - before < 3 * largest + 32 * MEBIBYTE
    assert len(worker.stderr) < 2_000 * len(poisons)


@pytest.mark.timeout(300 if FULL else 60)
@pytest.mark.parametrize("field", ["name", "event", "kind"] if FULL else ["name"])
def test_ever_new_names_cost_neither_memory_nor_log(tmp_path, field):
    """A11: jobs of as many unknown names as there are jobs."""
    # So many that the last is parked before the first is looked at again, after half a minute.
    count = 10_000 if FULL else 1_000
    hostile = Hostile(tmp_path, APPLICATION + MEASURED)
    hostile.make_file()
    with hostile.file() as file:
        file.write(
            (
                f"n{at:06}",
                Poison(name="new", body=body(**{field: f"new.{at:06}"}), fate=Fate.PARKED),
            )
            for at in range(count)
        )
        file.write([("good", Poison(name="good", body=good(7)))])

        worker = hostile.work()

        assert worker.returncode == 0
        assert hostile.ran == ["7"]
        assert len(file.rows("envelopes")) == count
    before, after = kilobytes(worker)
    assert after - before < 32 * MEBIBYTE
    assert len(worker.stderr) < 1_000 * count
