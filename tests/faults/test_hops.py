"""A job that dispatches the next, which dispatches the next, and so on, is stopped at a limit."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timeout(120)

#: More links than any chain of jobs may have by default.
MANY = 200


def test_a_chain_of_jobs_without_end_is_ended(make_arena, results):
    """F38: across queued jobs; the job whose dispatch goes too far fails, and says so."""
    arena = make_arena()
    arena.produce("link-", 1, "pass_on 0")
    worker = arena.worker()

    arena.await_fact(
        lambda: arena.waiting() == 0 or arena.count("start") > MANY, said="it is ended"
    )
    starts = arena.count("start")
    worker.tell(15)
    worker.await_exit()

    results.add("a chain of jobs without end", arena, links=starts)
    assert 2 <= starts <= MANY
    [failed] = arena.bus.failed.all()
    assert failed.losses == 0
