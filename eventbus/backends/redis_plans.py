"""Chains and batches in Redis, beside the jobs of their queue: what goes on by itself is in the scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import override

from eventbus.backends.plans import Milestone, NewBatch, PlanStore, StoredBatch
from eventbus.backends.redis_calls import Call, Unanswered
from eventbus.backends.redis_records import placed, places_of, stored_batches
from eventbus.backends.redis_store import Store
from eventbus.errors import StoredUnknown
from eventbus.queue.envelope import Envelope

__all__ = ["RedisPlans", "is_held", "words_of"]


def words_of(envelopes: Sequence[Envelope]) -> list[Any]:
    """Return members of plans as the scripts get them."""
    words: list[Any] = []
    for one in envelopes:
        assert one.member is not None  # asked of members only
        held = int(one.member.held)
        words += (one.id, repr(float(one.delay)), one.body, held, placed(one.member))
    return words


def is_held(batches: Sequence[NewBatch], envelopes: Sequence[Envelope]) -> bool:
    """Tell whether all of these wait for their turns."""
    return all(Milestone.BEGUN in one.waiting for one in batches) and all(
        one.member is not None and one.member.held for one in envelopes
    )


class RedisPlans(PlanStore):
    """
    Keeps batches in the hashes of their queues.

    Args:
        store: Where the jobs lie.
        take_out: Takes out those that wait for their turns, and those that follow them, in any queue.
    """

    def __init__(
        self, store: Store, take_out: Callable[[Sequence[tuple[str, str]]], object]
    ) -> None:
        self._store = store
        self._take_out = take_out

    @override
    def open(self, batches: Sequence[NewBatch], envelopes: Sequence[Envelope]) -> None:
        queues = dict.fromkeys([*(one.queue for one in batches), *(one.queue for one in envelopes)])
        mine = {
            queue: (
                [one for one in batches if one.queue == queue],
                [one for one in envelopes if one.queue == queue],
            )
            for queue in queues
        }
        # Where nothing begins by itself first: what is cut has not begun then.
        order = sorted(queues, key=lambda queue: not is_held(*mine[queue]))
        calls = [self._store.listing(queue) for queue in order]
        calls += [self._opening(queue, *mine[queue]) for queue in order]
        try:
            self._store.link.ask("push", calls)
        except Unanswered as error:
            ids = [one.id for one in envelopes]
            raise StoredUnknown(
                backend=self._store.name, ids=ids, reason=f"{error}"
            ) from error.__cause__

    def _opening(
        self, queue: str, batches: Sequence[NewBatch], envelopes: Sequence[Envelope]
    ) -> Call:
        words: list[Any] = [self._store.bell(queue), len(batches)]
        for batch in batches:
            # A batch without members has its turn as well; no id is empty.
            lines = [
                f"{one.value} {id_}" for one, ids in batch.waiting.items() for id_ in ids or "-"
            ]
            lines += [f"within {id_}" for id_ in batch.within]
            words += (batch.id, batch.name, int(batch.allows_failures), "\n".join(lines))
        return self._store.call("open", [queue], *words, *words_of(envelopes))

    @override
    def link(self, queue: str, id: str, next: tuple[str, str]) -> bool:
        return bool(
            self._store.ask_one("link", self._store.call("link", [queue], id, "/".join(next)))
        )

    @override
    def caught(self, queue: str, id: str) -> str | None:
        for one in self._store.listed():
            key = self._store.key(one, "members")
            [found] = self._store.ask_one("find", Call(key, ("HMGET", key, f"caught {queue}/{id}")))
            if found is not None:
                return str(found.decode())
        return None

    @override
    def find(
        self, *, ids: Sequence[str] | None = None, limit: int, after: str = ""
    ) -> list[StoredBatch]:
        found: list[StoredBatch] = []
        for queue in self._store.listed():
            if len(found) >= limit:
                break
            key = self._store.key(queue, "batches")
            if ids is None:
                kept = self._store.ask_one("find", Call(key, ("HGETALL", key)))
                told = (
                    kept
                    if isinstance(kept, list)
                    else [one for pair in kept.items() for one in pair]
                )
            else:
                values = self._store.ask_one("find", Call(key, ("HMGET", key, *ids))) if ids else []
                told = [
                    one
                    for id_, value in zip(ids, values, strict=True)
                    if value is not None
                    for one in (id_.encode(), value)
                ]
            batches = sorted(stored_batches(queue, told), key=lambda one: one.cursor)
            found += [one for one in batches if one.cursor > after]
        return found[:limit]

    @override
    def cancel(self, id: str) -> bool:
        for queue in self._store.listed():
            call = self._store.call("cancel_batch", [queue], self._store.bell(queue), id)
            if self._store.ask_one("cancel", call):
                return True
        return False

    @override
    def forget(self, ids: Sequence[str]) -> list[str]:
        gone: set[str] = set()
        for queue in self._store.listed() if ids else ():
            call = self._store.call("forget_batches", [queue], self._store.bell(queue), *ids)
            found, others = self._store.move("forget", call)
            gone.update(one.decode() for one in found)
            self._take_out(places_of(others))
        return [one for one in ids if one in gone]
