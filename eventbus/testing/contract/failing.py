# ruff: noqa: D102 - the name of a test says it
"""What becomes of jobs that failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventbus.backends.base import Backend, Charge, FailedJob, Sizes
from eventbus.errors import UnsupportedOption
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

__all__ = ["Failing"]


class Failing(Suite):
    """`bury`, `failed`, `revive`, `purge`."""

    def listed(
        self,
        backend: Backend,
        *,
        ids: list[str] | None = None,
        queues: list[str] | None = None,
    ) -> list[str]:
        """Return the ids of the failed jobs."""
        return [job.envelope.id for job in backend.failed(ids=ids, queues=queues, limit=100)]

    def test_a_buried_envelope_is_a_failed_job(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        pushed = job()
        backend.push([pushed])
        backend.release([claim_one(backend)], delay=0, charge=Charge.RELEASE)
        claim = claim_one(backend, lease=SHORT)

        if not backend.capabilities.failed_jobs:
            with pytest.raises(UnsupportedOption):
                backend.bury([claim], error="boom", charge=Charge.ERROR)
            assert backend.ack([claim]) == []
            return

        assert (
            backend.bury([claim], error="ValueError: \u00e9 \U0001f4a5", charge=Charge.ERROR) == []
        )

        [failed] = backend.failed(limit=10)
        assert failed == FailedJob(
            envelope=pushed,
            attempts=1,
            losses=0,
            releases=1,
            pushed_at=claim.pushed_at,
            failed_at=failed.failed_at,
            error="ValueError: \u00e9 \U0001f4a5",
            cursor=failed.cursor,
        )
        if clock is not None:
            assert failed.failed_at == clock.now()
        pass_time(clock, SHORT)
        assert claim_all(backend) == []
        assert backend.size("jobs") == Sizes(failed=1)

    @pytest.mark.parametrize(
        "charge, counted",
        [
            (Charge.ERROR, (1, 0)),
            (Charge.ATTEMPT, (1, 0)),
            (Charge.RELEASE, (0, 1)),
            (Charge.NOTHING, (0, 0)),
        ],
    )
    def test_a_burial_counts_as_what_it_is_charged(
        self, backend: Backend, charge: Charge, counted: tuple[int, int]
    ) -> None:
        needs(backend, failed_jobs=True)
        backend.push([job()])

        backend.bury([claim_one(backend)], error="boom", charge=charge)

        [failed] = backend.failed(limit=10)
        assert (failed.attempts, failed.releases) == counted

    @pytest.mark.parametrize("verb", ["failed", "revive", "purge"])
    def test_failed_jobs_are_kept_or_refused(self, backend: Backend, verb: str) -> None:
        calls: dict[str, Callable[[], object]] = {
            "failed": lambda: backend.failed(limit=10),
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

        assert self.listed(backend) == ["b", "a", "c"]

    def test_failed_jobs_are_chosen_by_id_and_queue(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        for name, queue in (("a", "one"), ("b", "two"), ("c", "one")):
            fail(backend, id=name, queue=queue)

        def found(*, ids: list[str] | None = None, queues: list[str] | None = None) -> list[str]:
            return self.listed(backend, ids=ids, queues=queues)

        assert found(ids=["c", "unknown", "a"]) == ["a", "c"]
        assert found(queues=["one"]) == ["a", "c"]
        assert found(ids=["b", "c"], queues=["one", "empty"]) == ["c"]
        assert found(ids=[]) == found(queues=[]) == []

    def test_failed_jobs_go_on_from_a_cursor_and_each_is_seen_once(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        names = [f"{number:02}" for number in range(25)]
        for name in names:
            fail(backend, id=name)

        found: list[str] = []
        after = ""
        while page := backend.failed(limit=10, after=after):
            assert len(page) <= 10
            found += [failed.envelope.id for failed in page]
            after = page[-1].cursor
            # What changes meanwhile: the first that are left go, one by either way.
            backend.purge([names.pop(0)])
            backend.revive([names.pop(0)])

        assert len(found) == len(set(found))
        assert set(found) >= set(names)
        assert found == sorted(found)

    def test_a_chosen_failed_job_is_reached_by_cursor_too(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, failed_jobs=True)
        for name, queue in (("a", "one"), ("b", "two"), ("c", "one"), ("d", "two"), ("e", "one")):
            fail(backend, id=name, queue=queue)
            if clock is not None:
                clock.advance(1)

        def paged(**chosen: list[str]) -> list[str]:
            found: list[str] = []
            after = ""
            while page := backend.failed(limit=1, after=after, **chosen):
                found += [failed.envelope.id for failed in page]
                after = page[-1].cursor
            return found

        assert paged(queues=["one"]) == ["a", "c", "e"]
        assert paged(ids=["e", "b", "unknown"]) == ["b", "e"]
        assert paged(ids=["a", "b", "d"], queues=["two", "empty"]) == ["b", "d"]
        assert paged(queues=["empty"]) == []

    def test_a_revived_job_is_due_now_with_its_counters_at_zero(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, failed_jobs=True)
        pushed = job()
        backend.push([pushed])
        pass_time(clock, SHORT)
        claim_one(backend, lease=SHORT)
        pass_time(clock, SHORT)
        claim = claim_one(backend)
        backend.bury([claim], error="boom", charge=Charge.ERROR)

        assert backend.revive([pushed.id]) == [pushed.id]

        assert backend.failed(limit=10) == []
        revived = claim_one(backend)
        assert revived.envelope == pushed
        assert (revived.attempts, revived.losses, revived.releases) == (0, 0, 0)
        assert revived.exceptions == 0
        assert revived.pushed_at == claim.pushed_at

    def test_a_revived_job_does_not_wait_for_its_delay_again(
        self, backend: Backend, clock: ManualClock | None
    ) -> None:
        needs(backend, failed_jobs=True, delay=True)
        pushed = job(delay=SHORT)
        backend.push([pushed])
        pass_time(clock, SHORT)
        backend.bury([claim_one(backend)], error="boom", charge=Charge.ERROR)

        backend.revive([pushed.id])

        assert claim_one(backend).envelope == pushed

    def test_revive_returns_the_ids_that_moved(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        for name in "abc":
            fail(backend, id=name)

        assert sorted(backend.revive(["c", "unknown", "a", "a"])) == ["a", "c"]

        assert self.listed(backend) == ["b"]
        assert sorted(ids(claim_all(backend))) == ["a", "c"]

    def test_a_revived_job_may_fail_again(self, backend: Backend) -> None:
        needs(backend, failed_jobs=True)
        fail(backend)
        backend.revive(["a"])

        backend.bury([claim_one(backend)], error="again", charge=Charge.ERROR)

        assert [failed.error for failed in backend.failed(limit=10)] == ["again"]

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
