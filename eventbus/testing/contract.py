# ruff: noqa: D102 - the name of a test says it
"""
The suite that every backend passes, ours and third parties'.

Subclass `BackendContract` in a test module, give it a `backend`, and pytest runs it. The tests stand
in the order of `eventbus.backends.base`. For each capability both answers are tested: what a
backend declares it must do, and what it does not declare it must refuse.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC
from itertools import count
from threading import Barrier, Event
from typing import Final, TypeVar

import pytest

from eventbus.backends.base import Backend, Claim, FailedJob, Sizes
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope, new_id
from eventbus.testing.clock import ManualClock

__all__ = ["BackendContract"]

#: A lease that ends within a test, in seconds: really waited for where a server's clock rules.
_SHORT: Final = 0.2
_LONG: Final = 600.0

_Answer = TypeVar("_Answer")


class BackendContract:
    """
    The tests. A subclass gives the fixtures `backend` and `another`.

    Example:
        >>> from eventbus.backends.memory import MemoryBackend
        >>> class TestMemory(BackendContract):
        ...     @pytest.fixture
        ...     def backend(self, clock: ManualClock) -> MemoryBackend:
        ...         return MemoryBackend(clock=clock)
        ...
        ...     @pytest.fixture
        ...     def another(self) -> type[MemoryBackend]:
        ...         return MemoryBackend
    """

    #: Threads that race in the tests of concurrency.
    threads: int = 4

    @pytest.fixture
    @abstractmethod
    def backend(self) -> Backend:
        """Return a backend whose store is empty."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock | None:
        """Return the clock of `backend`; override it to return None where a server's clock rules."""
        return ManualClock()

    @pytest.fixture
    @abstractmethod
    def another(self) -> Callable[[], Backend]:
        """Return what makes a backend over the store of `backend`, as another process would."""
        raise NotImplementedError

    # push

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
        delayed = job(delay=_SHORT)

        if not backend.capabilities.delay:
            with pytest.raises(UnsupportedOption):
                backend.push([delayed])
            assert backend.size("jobs") == Sizes()
            return

        backend.push([delayed])
        assert claim_all(backend) == []
        pass_time(clock, _SHORT)
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

    def test_threads_push_the_same_id_and_one_is_stored(self, backend: Backend) -> None:
        needs(backend, idempotent_push=True)
        jobs = [job() for _ in range(10)]

        self.race(lambda _: backend.push(jobs))

        assert backend.size("jobs") == Sizes(ready=10)

    # claim

    def test_an_empty_queue_gives_nothing(self, backend: Backend) -> None:
        assert backend.claim(["jobs", "never-pushed-to"], limit=10, lease=_LONG) == []

    def test_a_claimed_envelope_is_not_claimed_again(self, backend: Backend) -> None:
        backend.push([job()])

        claim_one(backend)

        assert claim_all(backend) == []

    def test_at_most_limit_are_claimed(self, backend: Backend) -> None:
        backend.push([job() for _ in range(5)])

        assert len(claim_all(backend, limit=3)) == 3
        assert len(claim_all(backend, limit=3)) == 2

    def test_the_first_pushed_comes_first(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        for name in "abc":
            backend.push([job(id=name)])
            if clock is not None:
                clock.advance(1)

        assert ids(claim_all(backend, limit=2)) == ["a", "b"]
        assert ids(claim_all(backend)) == ["c"]

    def test_what_is_due_longest_comes_first(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, delay=True)
        backend.push([job(id="later", delay=_SHORT), job(id="sooner", delay=_SHORT / 2)])

        pass_time(clock, 2 * _SHORT)

        assert ids(claim_all(backend)) == ["sooner", "later"]

    def test_queues_are_looked_at_in_the_order_given(self, backend: Backend) -> None:
        backend.push([job(id="low", queue="low"), job(id="high", queue="high")])

        claims = backend.claim(["high", "empty", "low"], limit=10, lease=_LONG)

        assert ids(claims) == ["high", "low"]

    def test_a_later_queue_fills_what_the_first_leaves(self, backend: Backend) -> None:
        backend.push([job(queue="high"), *(job(queue="low") for _ in range(3))])

        claims = backend.claim(["high", "low"], limit=2, lease=_LONG)

        assert [claim.envelope.queue for claim in claims] == ["high", "low"]

    def test_a_queue_that_is_not_named_is_left(self, backend: Backend) -> None:
        backend.push([job(queue="other")])

        assert claim_all(backend) == []
        assert backend.size("other") == Sizes(ready=1)

    def test_no_two_threads_claim_one_envelope(self, backend: Backend) -> None:
        backend.push([job() for _ in range(100)])

        def drain(_: int) -> list[str]:
            found: list[str] = []
            while claims := claim_all(backend, limit=3):
                found += ids(claims)
                assert backend.ack(claims) == []
            return found

        found = [name for names in self.race(drain) for name in names]

        assert len(found) == len(set(found)) == 100
        assert backend.size("jobs") == Sizes()

    def test_threads_push_while_others_claim_and_none_is_lost(self, backend: Backend) -> None:
        numbers = count()

        def work(thread: int) -> list[str]:
            found: list[str] = []
            for _ in range(10):
                backend.push([job(id=f"{thread}-{next(numbers)}")])
                claims = claim_all(backend, limit=2)
                found += ids(claims)
                backend.ack(claims)
            return found

        found = [name for names in self.race(work) for name in names]
        found += ids(claim_all(backend))

        assert len(found) == len(set(found)) == 10 * self.threads

    # lost leases

    def test_what_was_lost_is_due_again_with_one_loss(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        lost = claim_one(backend, lease=_SHORT)

        pass_time(clock, _SHORT)

        again = claim_one(backend)
        assert again.envelope == lost.envelope
        assert (again.attempts, again.losses, again.releases) == (0, 1, 0)
        assert again.token != lost.token

    def test_losses_add_up(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.push([job()])

        losses: list[int] = []
        for _ in range(3):
            losses.append(claim_one(backend, lease=_SHORT).losses)
            pass_time(clock, _SHORT)

        assert losses == [0, 1, 2]

    def test_a_batch_that_was_lost_is_handed_out_one_by_one_without_a_loss(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id=name) for name in "abc"])
        assert len(claim_all(backend, lease=_SHORT)) == 3

        pass_time(clock, _SHORT)

        for name in "abc":
            [claim] = claim_all(backend)
            assert (claim.envelope.id, claim.losses) == (name, 0)

    def test_the_killer_of_a_batch_is_charged_and_its_mates_are_not(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        """The batch is lost, then whoever runs `killer` by itself is lost again, twice."""
        backend.push([job(id="killer"), job(id="mate")])
        claim_all(backend, lease=_SHORT)
        pass_time(clock, _SHORT)

        losses: dict[str, list[int]] = {"killer": [], "mate": []}
        for _ in range(4):
            [claim] = claim_all(backend, lease=_SHORT)
            losses[claim.envelope.id].append(claim.losses)
            if claim.envelope.id == "mate":
                assert backend.ack([claim]) == []
            else:
                pass_time(clock, _SHORT)

        assert losses == {"killer": [0, 1, 2], "mate": [0]}

    def test_who_must_be_alone_stays_alone_when_released(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id="a"), job(id="b")])
        claim_all(backend, lease=_SHORT)
        pass_time(clock, _SHORT)
        [claim] = claim_all(backend)
        backend.release([claim], delay=0, spend=True)

        assert [len(claim_all(backend)), len(claim_all(backend))] == [1, 1]

    def test_who_must_be_alone_waits_for_the_head_of_the_line(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        """Others ahead are claimed together, past it; then its turn comes."""
        backend.push([job(id="lost")])
        claim_one(backend, lease=_SHORT)
        backend.push([job(id="a"), job(id="b")])
        pass_time(clock, _SHORT)

        assert ids(claim_all(backend)) == ["a", "b"]
        assert ids(claim_all(backend)) == ["lost"]

    # extend

    def test_an_extended_lease_is_not_lost(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        claim = claim_one(backend, lease=_SHORT)

        assert backend.extend([claim], lease=_LONG) == []

        pass_time(clock, _SHORT)
        assert claim_all(backend) == []
        assert backend.ack([claim]) == []

    def test_an_extended_lease_ends_too(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.push([job()])
        claim = claim_one(backend)

        backend.extend([claim], lease=_SHORT)

        pass_time(clock, _SHORT)
        assert claim_one(backend).losses == 1

    def test_a_lease_that_ended_but_was_not_taken_can_be_extended(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        claim = claim_one(backend, lease=_SHORT)
        pass_time(clock, _SHORT)

        assert backend.extend([claim], lease=_LONG) == []

        assert claim_all(backend) == []

    # ack

    def test_an_acked_envelope_is_gone(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.push([job()])

        assert backend.ack([claim_one(backend, lease=_SHORT)]) == []

        pass_time(clock, _SHORT)
        assert claim_all(backend) == []
        assert backend.size("jobs") == Sizes()

    def test_an_ack_of_some_leaves_the_others(self, backend: Backend) -> None:
        backend.push([job(id=name) for name in "abc"])
        a, _, c = claim_all(backend)

        assert backend.ack([a, c]) == []

        assert backend.size("jobs") == Sizes(leased=1)

    # stale claims, on every verb that takes one

    @pytest.mark.parametrize("verb", ["extend", "ack", "release", "bury"])
    def test_a_stale_claim_changes_nothing_and_is_returned(
        self, backend: Backend, clock: ManualClock | None, verb: str
    ) -> None:
        needs(backend, failed_jobs=verb == "bury")
        backend.push([job()])
        stale = claim_one(backend, lease=_SHORT)
        pass_time(clock, _SHORT)
        holder = claim_one(backend)

        returned = settle(backend, verb, [stale])

        if not backend.capabilities.fenced:
            assert returned == []  # it cannot tell
            return
        assert returned == [stale]
        assert backend.size("jobs") == Sizes(leased=1)
        assert backend.ack([holder]) == []

    @pytest.mark.parametrize("verb", ["extend", "ack", "release", "bury"])
    def test_a_claim_that_is_done_is_stale(self, backend: Backend, verb: str) -> None:
        needs(backend, fenced=True)
        backend.push([job()])
        done = claim_one(backend)
        backend.ack([done])

        assert settle(backend, verb, [done]) == [done]
        assert backend.size("jobs") == Sizes()

    @pytest.mark.parametrize("verb", ["extend", "ack", "release", "bury"])
    def test_a_stale_claim_does_not_hinder_the_others(
        self, backend: Backend, clock: ManualClock | None, verb: str
    ) -> None:
        needs(backend, fenced=True, failed_jobs=True)
        backend.push([job(id="stale")])
        stale = claim_one(backend, lease=_SHORT)
        pass_time(clock, _SHORT)
        claim_one(backend)
        backend.push([job(id="held")])
        held = claim_one(backend)

        assert settle(backend, verb, [stale, held]) == [stale]

        assert (settle(backend, "ack", [held]) == []) == (verb == "extend")

    def test_threads_ack_one_claim_and_one_succeeds(self, backend: Backend) -> None:
        needs(backend, fenced=True)
        backend.push([job()])
        claim = claim_one(backend)

        answers = self.race(lambda _: backend.ack([claim]))

        assert answers.count([]) == 1

    # release

    def test_a_released_envelope_is_due_after_the_delay(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, delay=True)
        pushed = job()
        backend.push([pushed])

        assert backend.release([claim_one(backend)], delay=_SHORT, spend=True) == []

        assert backend.size("jobs") == Sizes(delayed=1)
        assert claim_all(backend) == []
        pass_time(clock, _SHORT)
        assert claim_one(backend).envelope == pushed

    def test_a_release_that_spends_is_an_attempt(self, backend: Backend) -> None:
        backend.push([job()])

        for _ in range(2):
            backend.release([claim_one(backend)], delay=0, spend=True)

        claim = claim_one(backend)
        assert (claim.attempts, claim.losses, claim.releases) == (2, 0, 0)

    def test_a_release_that_does_not_spend_is_a_release(self, backend: Backend) -> None:
        backend.push([job()])

        for _ in range(2):
            backend.release([claim_one(backend)], delay=0, spend=False)

        claim = claim_one(backend)
        assert (claim.attempts, claim.losses, claim.releases) == (0, 0, 2)

    def test_a_released_envelope_goes_behind_what_is_due_longer(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job(id="first"), job(id="second")])
        claim = claim_one(backend)
        pass_time(clock, _SHORT / 10)

        backend.release([claim], delay=0, spend=False)

        assert ids(claim_all(backend)) == ["second", "first"]

    # bury, failed

    def test_a_buried_envelope_is_a_failed_job(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        pushed = job()
        backend.push([pushed])
        backend.release([claim_one(backend)], delay=0, spend=False)
        claim = claim_one(backend, lease=_SHORT)

        if not backend.capabilities.failed_jobs:
            with pytest.raises(UnsupportedOption):
                backend.bury([claim], error="boom", spend=True)
            assert backend.ack([claim]) == []
            return

        assert backend.bury([claim], error="ValueError: \u00e9 \U0001f4a5", spend=True) == []

        [failed] = backend.failed()
        assert failed == FailedJob(
            envelope=pushed,
            attempts=1,
            losses=0,
            releases=1,
            pushed_at=claim.pushed_at,
            failed_at=failed.failed_at,
            error="ValueError: \u00e9 \U0001f4a5",
        )
        if clock is not None:
            assert failed.failed_at == clock.now()
        pass_time(clock, _SHORT)
        assert claim_all(backend) == []
        assert backend.size("jobs") == Sizes(failed=1)

    def test_what_never_ran_is_buried_without_an_attempt(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        backend.push([job()])

        backend.bury([claim_one(backend)], error="undecodable", spend=False)

        assert backend.failed()[0].attempts == 0

    @pytest.mark.parametrize("verb", ["failed", "revive", "purge"])
    def test_failed_jobs_are_kept_or_refused(self, backend: Backend, verb: str) -> None:
        calls: dict[str, Callable[[], object]] = {
            "failed": backend.failed,
            "revive": lambda: backend.revive(["unknown"]),
            "purge": lambda: backend.purge(["unknown"]),
        }

        if backend.capabilities.failed_jobs:
            assert calls[verb]() == []
        else:
            with pytest.raises(UnsupportedOption):
                calls[verb]()

    def test_the_oldest_failure_comes_first(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, failed_jobs=True)
        for name in ("b", "a", "c"):
            fail(backend, id=name)
            if clock is not None:
                clock.advance(1)

        assert [failed.envelope.id for failed in backend.failed()] == ["b", "a", "c"]

    def test_failed_jobs_are_chosen_by_id_and_queue(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        for name, queue in (("a", "one"), ("b", "two"), ("c", "one")):
            fail(backend, id=name, queue=queue)

        def found(*, ids: list[str] | None = None, queues: list[str] | None = None) -> list[str]:
            return [job.envelope.id for job in backend.failed(ids=ids, queues=queues)]

        assert found(ids=["c", "unknown", "a"]) == ["a", "c"]
        assert found(queues=["one"]) == ["a", "c"]
        assert found(ids=["b", "c"], queues=["one", "empty"]) == ["c"]
        assert found(ids=[]) == found(queues=[]) == []

    # revive, purge

    def test_a_revived_job_is_due_now_with_its_counters_at_zero(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, failed_jobs=True)
        pushed = job()
        backend.push([pushed])
        pass_time(clock, _SHORT)
        claim_one(backend, lease=_SHORT)
        pass_time(clock, _SHORT)
        claim = claim_one(backend)
        backend.bury([claim], error="boom", spend=True)

        assert backend.revive([pushed.id]) == [pushed.id]

        assert backend.failed() == []
        revived = claim_one(backend)
        assert revived.envelope == pushed
        assert (revived.attempts, revived.losses, revived.releases) == (0, 0, 0)
        assert revived.pushed_at == claim.pushed_at

    def test_a_revived_job_does_not_wait_for_its_delay_again(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, failed_jobs=True, delay=True)
        pushed = job(delay=_SHORT)
        backend.push([pushed])
        pass_time(clock, _SHORT)
        backend.bury([claim_one(backend)], error="boom", spend=True)

        backend.revive([pushed.id])

        assert claim_one(backend).envelope == pushed

    def test_revive_returns_the_ids_that_moved(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        for name in "abc":
            fail(backend, id=name)

        assert sorted(backend.revive(["c", "unknown", "a", "a"])) == ["a", "c"]

        assert [failed.envelope.id for failed in backend.failed()] == ["b"]
        assert sorted(ids(claim_all(backend))) == ["a", "c"]

    def test_a_revived_job_may_fail_again(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        fail(backend)
        backend.revive(["a"])

        backend.bury([claim_one(backend)], error="again", spend=True)

        assert [failed.error for failed in backend.failed()] == ["again"]

    def test_threads_revive_one_job_and_it_moves_once(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        fail(backend)

        answers = self.race(lambda _: backend.revive(["a"]))

        assert sorted(answers) == [*[[]] * (self.threads - 1), ["a"]]
        assert backend.size("jobs") == Sizes(ready=1)

    def test_purge_deletes_failed_jobs_only(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        fail(backend, id="failed")
        backend.push([job(id="waiting")])

        assert backend.purge(["failed", "waiting", "unknown"]) == ["failed"]

        assert backend.size("jobs") == Sizes(ready=1)

    # clear, size, next_due

    def test_clear_deletes_what_waits_and_leaves_what_is_leased_or_failed(
        self, backend: Backend
    ) -> None:
        needs(backend, failed_jobs=True, delay=True)
        fail(backend)
        backend.push([job(id="leased")])
        claim = claim_one(backend)
        backend.push([job(id="b"), job(id="c", delay=_LONG), job(id="d", queue="other")])

        assert backend.clear("jobs") == 2

        assert backend.size("jobs") == Sizes(leased=1, failed=1)
        assert backend.size("other") == Sizes(ready=1)
        assert backend.ack([claim]) == []

    def test_clear_deletes_what_was_lost(self, backend: Backend, clock: ManualClock | None) -> None:
        backend.push([job()])
        claim_one(backend, lease=_SHORT)
        pass_time(clock, _SHORT)

        assert backend.clear("jobs") == 1
        assert backend.clear("jobs") == 0

    def test_size_counts_by_state(self, backend: Backend, clock: ManualClock | None) -> None:
        needs(backend, failed_jobs=True, delay=True)
        fail(backend)
        backend.push([job(id="leased"), job(id="lost")])
        backend.claim(["jobs"], limit=1, lease=_LONG)
        backend.claim(["jobs"], limit=1, lease=_SHORT)
        pass_time(clock, _SHORT)
        backend.push([job(id="ready"), job(id="delayed", delay=_LONG)])

        assert backend.size("jobs") == Sizes(ready=2, delayed=1, leased=1, failed=1)
        assert backend.size("never-pushed-to") == Sizes()

    def test_next_due_is_none_when_nothing_waits(self, backend: Backend) -> None:
        assert backend.next_due(["jobs"]) is None
        backend.push([job()])
        claim_one(backend)

        assert backend.next_due(["jobs"]) is None

    def test_next_due_is_zero_when_one_is_due(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        pass_time(clock, _SHORT / 10)

        assert backend.next_due(["empty", "jobs"]) == 0

    def test_next_due_counts_what_was_lost(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        backend.push([job()])
        claim_one(backend, lease=_SHORT)
        pass_time(clock, _SHORT)

        assert backend.next_due(["jobs"]) == 0

    def test_next_due_tells_the_seconds_to_the_nearest(self, backend: Backend) -> None:
        needs(backend, delay=True)
        backend.push([job(delay=_LONG), job(queue="other", delay=_LONG / 2)])

        assert backend.next_due(["jobs", "other"]) == pytest.approx(_LONG / 2, abs=5)

    # close

    def test_closing_twice_is_allowed(self, backend: Backend) -> None:
        backend.push([job()])

        backend.close()
        backend.close()

    def race(self, act: Callable[[int], _Answer]) -> list[_Answer]:
        """Let all threads do `act` at once; return their answers, or raise what one raised."""
        start = Barrier(self.threads)

        def run(thread: int) -> _Answer:
            start.wait()
            return act(thread)

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(run, range(self.threads)))


def job(
    id: str | None = None, *, queue: str = "jobs", body: bytes = b"{}", delay: float = 0.0
) -> Envelope:
    """Return an envelope, by default with an id of its own."""
    return Envelope(id=new_id() if id is None else id, queue=queue, body=body, delay=delay)


def ids(claims: list[Claim]) -> list[str]:
    """Return the ids of what was claimed, in order."""
    return [claim.envelope.id for claim in claims]


def claim_one(backend: Backend, *, queue: str = "jobs", lease: float = _LONG) -> Claim:
    """Claim the one envelope that must be due."""
    [claim] = backend.claim([queue], limit=1, lease=lease)
    return claim


def claim_all(backend: Backend, *, limit: int = 100, lease: float = _LONG) -> list[Claim]:
    """Claim what is due, in one claim."""
    return backend.claim(["jobs"], limit=limit, lease=lease)


def fail(backend: Backend, *, id: str = "a", queue: str = "jobs") -> FailedJob:
    """Have a failed job; nothing else may be due in `queue`."""
    backend.push([job(id, queue=queue)])
    backend.bury([claim_one(backend, queue=queue)], error="boom", spend=True)
    [failed] = backend.failed(ids=[id])
    return failed


def settle(backend: Backend, verb: str, claims: list[Claim]) -> list[Claim]:
    """Say one of the verbs that take claims; return what was stale."""
    verbs: dict[str, Callable[[], list[Claim]]] = {
        "extend": lambda: backend.extend(claims, lease=_LONG),
        "ack": lambda: backend.ack(claims),
        "release": lambda: backend.release(claims, delay=0, spend=True),
        "bury": lambda: backend.bury(claims, error="stale", spend=True),
    }
    return verbs[verb]()


def needs(backend: Backend, **capabilities: bool) -> None:
    """Skip a test of what `backend` declares not to do; the refusal has tests of its own."""
    lacking = [
        name
        for name, needed in capabilities.items()
        if needed and not getattr(backend.capabilities, name)
    ]
    if lacking:
        pytest.skip(f"declared unsupported: {', '.join(lacking)}")


def pass_time(clock: ManualClock | None, seconds: float) -> None:
    """Let `seconds` pass on the clock that rules."""
    if clock is None:
        # A server's clock cannot be moved; a little more, since it need not tick with ours.
        Event().wait(seconds * 1.1)
    else:
        clock.advance(seconds)
