"""Jobs in Redis, a page at a time: those that wait or are leased, and those that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventbus.backends.base import FailedJob, StoredJob
from eventbus.backends.redis_calls import Call
from eventbus.backends.redis_records import MOST, NUMBER, failed_jobs, failed_place, stored_jobs
from eventbus.backends.redis_store import Store, steps
from eventbus.errors import InvalidOption

__all__ = ["Page", "Pages"]


class Page(NamedTuple):
    """Some ids of a queue in order of arrival, the number of the last, and the newest that was given."""

    ids: list[bytes]
    number: str
    last: str


class Pages:
    """
    The verbs that look.

    Args:
        store: Where the jobs lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def failed(
        self,
        *,
        ids: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        limit: int,
        after: str = "",
    ) -> list[FailedJob]:
        """Do what the verb does."""
        place = self._place(after)
        found: list[FailedJob] = []
        for queue in self._store.queues() if queues is None else dict.fromkeys(queues):
            chosen = self._failed_ids(queue, place, limit) if ids is None else list(ids)
            for step in steps(chosen):
                call = self._store.call("failed", [queue], MOST, *step)
                found += failed_jobs(queue, self._store.ask_one("failed", call))
        found.sort(key=failed_place)
        return [one for one in found if failed_place(one) > place][:limit]

    def _failed_ids(self, queue: str, place: tuple[int, str, str], limit: int) -> list[bytes]:
        """Return which jobs of a queue failed next after a place, by age, queue and order of failure."""
        since, last_queue, last = place
        # Of those that failed at the same instant, what comes behind that place.
        behind = last if queue == last_queue else "" if queue > last_queue else "~"
        call = self._store.call("failed_page", [queue], since, behind, limit)
        return [member[NUMBER:] for member in self._store.ask_one("failed", call)[::2]]

    def peek(
        self,
        *,
        queues: Sequence[str] | None = None,
        parked: bool = False,
        limit: int,
        after: str = "",
    ) -> list[StoredJob]:
        """Do what the verb does."""
        first, number = self._cursor(after)
        found: list[StoredJob] = []
        for queue in sorted(set(self._store.queues() if queues is None else queues)):
            if queue < first or len(found) >= limit:
                continue
            found += self._peeked(
                queue, number if queue == first else "0", limit - len(found), parked=parked
            )
        return found

    def _peeked(self, queue: str, after: str, limit: int, *, parked: bool) -> list[StoredJob]:
        """Return jobs of one queue, behind the one with a number."""
        if parked:
            key = self._store.key(queue, "parked")
            ids = self._store.ask_one("peek", Call(key, ("HKEYS", key)))
            return sorted(self._stored(queue, ids, after), key=_number)[:limit]
        while (page := self.page("peek", queue, after, "", limit)).ids:
            if found := self._stored(queue, page.ids, after):
                return sorted(found, key=_number)
            after = page.number  # all of these have gone meanwhile
        return []

    def find(self, ids: Sequence[str], *, queues: Sequence[str] | None = None) -> list[StoredJob]:
        """Do what the verb does."""
        found: list[StoredJob] = []
        for queue in (self._store.queues() if queues is None else queues) if ids else ():
            found += self._stored(queue, ids, "-1")
        places = {name: place for place, name in enumerate(ids)}
        return sorted(found, key=lambda one: places.get(one.envelope.id, 0))

    def _stored(
        self, queue: str, ids: Sequence[bytes] | Sequence[str], after: str
    ) -> list[StoredJob]:
        found: list[StoredJob] = []
        for step in steps(ids):
            call = self._store.call("peek", [queue], MOST, *step)
            found += stored_jobs(queue, self._store.ask_one("peek", call))
        return [one for one in found if _number(one) > int(after)]

    def _cursor(self, cursor: str) -> tuple[str, str]:
        queue, _, number = cursor.partition("/")
        if cursor and not number.isdecimal():
            raise self._no_cursor(cursor, "StoredJob")
        return queue, number or "0"

    def _place(self, cursor: str) -> tuple[int, str, str]:
        since, _, rest = cursor.partition("/")
        queue, _, member = rest.partition("/")
        if cursor and not (since.isdecimal() and member):
            raise self._no_cursor(cursor, "FailedJob")
        return int(since or 0), queue, member

    def _no_cursor(self, cursor: str, record: str) -> InvalidOption:
        expected = f"a cursor of a {record}"
        return InvalidOption(
            option="after", value=cursor, expected=expected, where=self._store.name
        )

    def page(self, operation: str, queue: str, after: str, last: str, limit: int) -> Page:
        """
        Return ids of a queue that wait or are leased, in order of arrival.

        Args:
            operation: What it is for, in errors.
            queue: Its name.
            after: The number of the last one that is known.
            last: The number of the last one that is wanted; empty for the last there is now.
            limit: Most to return.
        """
        call = self._store.call("page", [queue], after, last, limit)
        newest, found = self._store.ask_one(operation, call)
        return Page(
            ids=found[::2],
            number=f"{int(float(found[-1]))}" if found else after,
            last=newest.decode(),
        )


def _number(job: StoredJob) -> int:
    return int(job.cursor.rpartition("/")[2])
