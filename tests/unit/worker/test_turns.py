"""Which queue is looked at first."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from eventbus.errors import InvalidOption
from eventbus.worker.turns import Turns


def nothing(_queue):
    return False


def test_names_are_looked_at_strictly_in_their_order():
    """K4: the first name comes first each time."""
    turns = Turns(["high", "low", "high"])
    assert [turns.next(nothing) for _ in range(3)] == [("high", "low")] * 3


def test_one_name_may_stand_alone():
    assert Turns("emails").queues == ("emails",)


def test_with_weights_a_queue_comes_first_as_often_as_its_weight_says():
    """K4: weighted: no queue starves the rest."""
    turns = Turns({"high": 3, "low": 1}, chance=random.Random(1))
    first = Counter(turns.next(nothing)[0] for _ in range(4000))
    assert 0.72 < first["high"] / 4000 < 0.78


def test_with_weights_every_queue_is_in_every_order():
    turns = Turns({"a": 1, "b": 5, "c": 2}, chance=random.Random(1))
    assert all(sorted(turns.next(nothing)) == ["a", "b", "c"] for _ in range(50))


@pytest.mark.parametrize("queues", [("a", "b"), {"a": 1, "b": 1}], ids=["names", "weights"])
def test_what_is_paused_is_left_out(queues):
    """K16."""
    turns = Turns(queues)
    assert turns.next(lambda queue: queue == "a") == ("b",)
    assert turns.next(lambda queue: True) == ()


@pytest.mark.parametrize("weight", [0, -1, 1.5, "3", True, None], ids=repr)
def test_a_weight_is_a_whole_number_from_one(weight):
    with pytest.raises(InvalidOption, match="as the weight of 'a'"):
        Turns({"a": weight})


def test_a_name_is_a_queues():
    with pytest.raises(InvalidOption, match="a b"):
        Turns({"a b": 1})
