# ruff: noqa: D102 - the name of a test says it
"""What a push promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import UTC

import pytest

from eventbus.backends.base import Backend, Sizes
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract.suite import (
    SHORT,
    Suite,
    claim_all,
    claim_one,
    fail,
    ids,
    job,
    needs,
    pass_time,
)

__all__ = ["Pushing"]


class Pushing(Suite):
    """`push`."""

    def test_what_was_pushed_is_claimed_whole(self, backend: Backend) -> None:
        pushed = job(body=b'{"\xc3\xa9": "\\u0000"}\x00\xff')

        backend.push([pushed])

        claim = claim_one(backend)
        assert claim.envelope == pushed
        assert (claim.attempts, claim.losses, claim.releases) == (0, 0, 0)

    def test_the_store_notes_when_it_was_pushed(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])

        claim = claim_one(backend)

        assert claim.pushed_at.tzinfo is UTC
        if clock is not None:
            assert claim.pushed_at == clock.now()

    def test_many_are_pushed_in_one_call(self, backend: Backend) -> None:
        jobs = [job() for _ in range(50)]

        backend.push(jobs)

        assert [c.envelope for c in claim_all(backend)] == jobs

    def test_a_large_body_is_kept(self, backend: Backend) -> None:
        pushed = job(body=bytes(range(256)) * 1024)

        backend.push([pushed])

        assert claim_one(backend).envelope == pushed

    def test_an_id_that_waits_is_passed_over(self, backend: Backend) -> None:
        first = job()

        backend.push([first])
        backend.push([job(id=first.id, body=b"second"), job(id="fresh")])

        claimed = [claim.envelope for claim in claim_all(backend)]
        if backend.capabilities.idempotent_push:
            assert claimed == [first, job(id="fresh")]
        else:
            assert [envelope.id for envelope in claimed] == [first.id, first.id, "fresh"]

    def test_an_id_twice_in_one_push_is_stored_once(self, backend: Backend) -> None:
        first = job()

        backend.push([first, job(id=first.id, body=b"second")])

        expected = 1 if backend.capabilities.idempotent_push else 2
        assert backend.size("jobs").ready == expected

    def test_an_id_that_is_leased_is_passed_over(self, backend: Backend) -> None:
        needs(backend, idempotent_push=True)
        pushed = job()
        backend.push([pushed])
        claim = claim_one(backend)

        backend.push([pushed])

        assert claim_all(backend) == []
        assert backend.ack([claim]) == []

    def test_an_id_that_failed_is_passed_over(self, backend: Backend) -> None:
        needs(backend, idempotent_push=True, failed_jobs=True)
        failed = fail(backend)

        backend.push([failed.envelope])

        assert backend.size("jobs") == Sizes(failed=1)

    def test_an_id_that_is_done_may_be_pushed_again(self, backend: Backend) -> None:
        pushed = job()
        backend.push([pushed])
        backend.ack([claim_one(backend)])

        backend.push([pushed])

        assert claim_one(backend).envelope == pushed

    def test_a_delay_is_honoured_or_refused(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        delayed = job(delay=SHORT)

        if not backend.capabilities.delay:
            with pytest.raises(UnsupportedOption):
                backend.push([delayed])
            assert backend.size("jobs") == Sizes()
            return

        backend.push([delayed])
        assert claim_all(backend) == []
        pass_time(clock, SHORT)
        assert claim_one(backend).envelope == delayed

    def test_what_was_pushed_outlives_its_backend_or_not(
        self, backend: Backend, another: Callable[[], Backend]
    ) -> None:
        pushed = job()
        backend.push([pushed])

        backend.close()

        kept = backend.capabilities.durable or backend.capabilities.shared
        with closing(another()) as second:
            assert [claim.envelope for claim in claim_all(second)] == ([pushed] if kept else [])

    def test_another_process_sees_what_is_stored_or_not(
        self, backend: Backend, another: Callable[[], Backend]
    ) -> None:
        backend.push([job()])

        with closing(another()) as second:
            claims = claim_all(second)

            if not backend.capabilities.shared:
                assert claims == []
                return
            assert claim_all(backend) == []
            assert backend.ack(claims) == []
            assert second.ack(claims) == claims

    def test_async_code_pushes_or_is_refused(self, backend: Backend) -> None:
        jobs = [job(), job(body=b"second")]

        if not backend.capabilities.async_push:
            with pytest.raises(UnsupportedOption):
                asyncio.run(backend.apush(jobs))
            assert backend.size("jobs") == Sizes()
            return

        asyncio.run(backend.apush(jobs))
        assert [claim.envelope for claim in claim_all(backend)] == jobs

    def test_async_code_passes_an_id_over_that_waits(self, backend: Backend) -> None:
        needs(backend, async_push=True, idempotent_push=True)
        first = job()
        backend.push([first])

        asyncio.run(backend.apush([job(id=first.id, body=b"second"), job(id="fresh")]))

        assert [claim.envelope for claim in claim_all(backend)] == [first, job(id="fresh")]

    def test_tasks_push_at_once_on_one_loop_after_the_other(self, backend: Backend) -> None:
        needs(backend, async_push=True)
        jobs = [job() for _ in range(20)]

        async def push(some: list[Envelope], *, close: bool) -> None:
            await asyncio.gather(*(backend.apush([one]) for one in some))
            if close:
                await backend.aclose()

        asyncio.run(push(jobs[:10], close=True))
        asyncio.run(push(jobs[10:], close=False))

        assert sorted(ids(claim_all(backend))) == sorted(one.id for one in jobs)

    def test_threads_push_the_same_id_and_one_is_stored(self, backend: Backend) -> None:
        needs(backend, idempotent_push=True)
        jobs = [job() for _ in range(10)]

        self.race(lambda _: backend.push(jobs))

        assert backend.size("jobs") == Sizes(ready=10)
