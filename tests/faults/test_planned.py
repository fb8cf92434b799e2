"""The judge of plans, on histories that are forged: it sees what must never be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from eventbus.queue.envelope import Envelope
from tests.faults.history import Entry
from tests.faults.planned import Outcome, look


class Store:
    """What is left in a store that nobody has."""

    def __init__(self, *, held=(), failed=(), batches=()):
        self._held, self._failed = held, failed
        self.plans = SimpleNamespace(
            each=lambda: [
                SimpleNamespace(
                    name=name, succeeded=succeeded, failed=failed, skipped=0, finished_at=finished
                )
                for name, succeeded, failed, finished in batches
            ]
        )

    def each_stored(self):
        return [stored(key) for key in self._held]

    def each_failed(self):
        return [stored(key) for key in self._failed]


def stored(key):
    body = b'{"key": "%s"}' % key.encode()
    return SimpleNamespace(envelope=Envelope(id=key, queue="default", body=body))


#: A chain of two, of which the second fails, with one behind it; and what ran of it.
PLANNED = [
    Entry(what="planned", job="p.a"),
    Entry(what="planned", job="p.b", note="p.a"),
    Entry(what="fails", job="p.b"),
    Entry(what="held", job="p.c"),
    Entry(what="counts", job="p.batch", note="1 1 0"),
]
STORED = Entry(what="stored", job="p.a")
RUNS = [Entry(what="start", job="p.a", at=1.0), Entry(what="start", job="p.b", at=2.0)]
LEFT = {"held": ["p.c"], "failed": ["p.b"], "batches": [("p.batch", 1, 1, "now")]}


def test_a_plan_that_ran_as_it_was_written_down_is_in_order():
    assert look([*PLANNED, STORED, *RUNS], Store(**LEFT)) == Outcome(plans=1, cut=0, complaints={})


def test_a_plan_whose_author_was_killed_may_have_run_or_not():
    assert look([*PLANNED, *RUNS], Store(**LEFT)) == Outcome(plans=1, cut=1, complaints={})
    assert look(PLANNED, Store()) == Outcome(plans=0, cut=1, complaints={})


@pytest.mark.parametrize(
    "runs, left, complaints",
    [
        ([], {"held": [], "failed": [], "batches": []}, {"lost": ["p"]}),
        (RUNS[:1], LEFT, {"torn": ["p"]}),
        ([RUNS[0], Entry(what="start", job="p.b", at=0.5)], LEFT, {"too early": ["p.b"]}),
        ([*RUNS, Entry(what="start", job="p.a", at=3.0)], LEFT, {"too early": ["p.b"]}),
        (RUNS, {**LEFT, "held": []}, {"not held": ["p.c"]}),
        (RUNS, {**LEFT, "held": ["p.c", "p.x"]}, {"not held": ["p.x"]}),
        (RUNS, {**LEFT, "failed": []}, {"not failed": ["p.b"]}),
        (
            RUNS,
            {**LEFT, "batches": [("p.batch", 2, 0, "now")]},
            {"miscounted": ["p.batch: [2, 0, 0] instead of [1, 1, 0]"]},
        ),
        (
            RUNS,
            {**LEFT, "batches": [("p.batch", 1, 1, None)]},
            {"miscounted": ["p.batch: None instead of [1, 1, 0]"]},
        ),
    ],
    ids=[
        "nothing ran",
        "a part ran",
        "the second began first",
        "the first began again",
        "nothing is held",
        "more is held",
        "nothing failed",
        "counted wrongly",
        "not finished",
    ],
)
def test_what_must_never_be_is_seen(runs, left, complaints):
    assert look([*PLANNED, STORED, *runs], Store(**left)).complaints == complaints
