"""
Envelopes in one SQLite file: durable and shared by the processes of one machine, with no server.

`eventbus.backends.sqlite_file` opens the file safely and lends connections to it; here are the verbs.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from typing_extensions import override

from eventbus.backends.base import (
    Backend,
    Bell,
    Capabilities,
    Charge,
    Claim,
    Clock,
    Examination,
    FailedJob,
    Sizes,
    StoredJob,
)
from eventbus.backends.bells import EVERYBODY, FolderBells
from eventbus.backends.instants import COUNTED, HELD, micros, span
from eventbus.backends.sql import (
    Row,
    due_of,
    failed_job_of,
    statements,
    stored_job_of,
)
from eventbus.backends.sqlite_claims import anything_due, settled, taken
from eventbus.backends.sqlite_driver import load_driver, wal_is_safe
from eventbus.backends.sqlite_examination import examine_file
from eventbus.backends.sqlite_file import (
    JOURNALS,
    SYNCHRONOUS,
    SqliteFile,
    log_trouble,
)
from eventbus.backends.sqlite_limits import SqliteLimits
from eventbus.backends.sqlite_plans import Passing, SqlitePlans
from eventbus.backends.sqlite_unique import push_unique, take_key
from eventbus.defaults import (
    BODY_HEAD,
    BODY_SIZE_LIMIT,
    SQLITE_BUSY_TIMEOUT,
    SQLITE_BUSY_TIMEOUT_LIMIT,
)
from eventbus.errors import InvalidOption, StoreDamaged
from eventbus.queue.envelope import Envelope, UniqueKey

__all__ = ["SqliteBackend", "load_driver", "wal_is_safe"]

_SQL: Final = statements("sqlite.sql")
_PUSH: Final = _SQL["push"]

#: Of which bodies how much is shown.
_SHOWN: Final[Mapping[str, int]] = {"most": BODY_SIZE_LIMIT, "head": BODY_HEAD}

#: When what waits for its turn is due.
_HELD: Final[Mapping[str, int]] = {"counted": COUNTED, "held": HELD}

#: Before every row's number.
_FIRST: Final = -(2**63)


class SqliteBackend(Backend):
    """
    Keeps envelopes in the SQLite file at `path`, made when it is first needed.

    Nothing is opened before the first verb. Threads get connections of their own; `close` closes
    them, and the next verb opens new ones. Bells hang in the folder `path` + `-bells`.

    Args:
        path: The file. Relative to the current folder.
        clock: What judges delays and leases. Every process of the file must agree on the time.
        synchronous: `"FULL"`: an acknowledged push survives a power cut. `"NORMAL"`: the last ones
            may not, and each push is quicker. `"EXTRA"`: as `FULL`, for `journal="DELETE"`.
        journal: `"WAL"`, `"PERSIST"`, `"TRUNCATE"` or `"DELETE"`.
        busy_timeout: Seconds, > 0, to wait for another process's transaction before a verb fails.

    Raises:
        InvalidOption: An option has a value that it cannot have.
        MissingDependency: No SQLite that is new enough, or `"WAL"` on one where it is not safe.

    Defaults:
        clock = the machine's.
        synchronous = "FULL".
        journal = the file's own; for a new file WAL where it is safe, else PERSIST.
        busy_timeout = `defaults.SQLITE_BUSY_TIMEOUT`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     backend = SqliteBackend(f"{folder}/queue.db")
        ...     _ = backend.push([Envelope(id="a", queue="emails", body=b"{}")])
        ...     backend.size("emails").ready
        ...     backend.close()
        1
    """

    capabilities = Capabilities(
        durable=True,
        shared=True,
        fenced=True,
        idempotent_push=True,
        delay=True,
        failed_jobs=True,
        results=True,
        unique=True,
        limits=True,
        plans=True,
        exchange=True,
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        synchronous: str = "FULL",
        journal: str | None = None,
        busy_timeout: float = SQLITE_BUSY_TIMEOUT,
    ) -> None:
        #: Where the file is, absolute.
        self.path = Path(os.path.abspath(path))
        self.name = f"sqlite:///{self.path}"
        #: Microseconds, as `due` has them; without a detour where nobody has brought a clock.
        self._now = _machine_now if clock is None else lambda: micros(clock.now())
        self._file = SqliteFile(
            self.path,
            name=self.name,
            synchronous=_one_of(SYNCHRONOUS, "synchronous", synchronous, where=self.name),
            journal=None
            if journal is None
            else _one_of(JOURNALS, "journal", journal, where=self.name),
            busy_timeout=self._patience(busy_timeout),
        )
        self._limits = SqliteLimits(self._file, self._now)
        self._bells = FolderBells(self.path.with_name(f"{self.path.name}-bells"))
        self._plans = SqlitePlans(self._file, self._now, self._bells.ring)

    def _patience(self, seconds: float) -> float:
        if math.isfinite(seconds) and 0 < seconds <= SQLITE_BUSY_TIMEOUT_LIMIT:
            return seconds
        raise InvalidOption(
            option="busy_timeout",
            value=seconds,
            expected=f"more than 0 and at most {SQLITE_BUSY_TIMEOUT_LIMIT:.0f} seconds",
            where=self.name,
        )

    @override
    def push(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        now = self._now()
        plain = [one for one in envelopes if one.unique is None and one.member is None]
        gone: dict[str, str] = {}
        if len(plain) == len(envelopes) == 1:
            row = _row(envelopes[0], now)
            self._file.store("push", _PUSH, row, id=row[0])
        else:
            with self._file.transaction("push", stored=[one.id for one in envelopes]) as db:
                db.executemany(_PUSH, [_row(one, now) for one in plain])
                for one in envelopes:
                    if one.unique is None:
                        continue
                    if other := push_unique(db, one, one.unique, now=now):
                        gone[one.id] = other
                if len(plain) + len(gone) < len(envelopes):
                    passing = Passing(db, now)
                    passing.push(one for one in envelopes if one.member is not None)
                    passing.count()
        self._bells.ring([one.queue for one in envelopes])
        return gone

    @override
    def free(self, claims: Sequence[Claim]) -> None:
        self._settle("free", claims)

    @override
    def take(self, claim: Claim, unique: UniqueKey) -> bool:
        with self._file.transaction("take") as db:
            return take_key(db, claim, unique, now=self._now())

    @override
    def claim(self, queues: Sequence[str], *, limit: int, lease: float, token: str) -> list[Claim]:
        now = self._now()
        with self._file.connection("claim") as db:
            # A look before the lock: workers that wait do not hinder those that work.
            with self._file.reading(db):
                due = any(anything_due(db, queue, now=now) for queue in queues)
            if not due:
                return []
            with self._file.writing(db):
                return taken(
                    db,
                    queues,
                    token,
                    now=now,
                    until=now + span(lease),
                    limit=limit,
                    where=self.name,
                )

    @override
    def exchange(
        self,
        done: Sequence[Claim],
        queues: Sequence[str],
        *,
        limit: int,
        lease: float,
        token: str,
    ) -> tuple[list[Claim], list[Claim]]:
        now = self._now()
        with self._file.transaction("exchange") as db:
            stale, rung = settled(db, ("ack",), done, now=now, values={})
            claims = taken(
                db, queues, token, now=now, until=now + span(lease), limit=limit, where=self.name
            )
        self._bells.ring(rung)
        return stale, claims

    @override
    def unclaim(self, queues: Sequence[str], *, token: str) -> int:
        with self._file.transaction("unclaim") as db:
            chosen = {"queues": json.dumps(queues), "token": token, "now": self._now(), **_HELD}
            count = db.execute(_SQL["unclaim"], chosen).rowcount
        self._bells.ring(queues)
        return int(count)

    @override
    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return self._settle("extend", claims, until=self._now() + span(lease))

    @override
    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        return self._settle("ack", claims)

    @override
    def release(
        self, claims: Sequence[Claim], *, delay: float, charge: Charge, parked: str = ""
    ) -> list[Claim]:
        now = self._now()
        lost = self._settle(
            "release",
            claims,
            now=now,
            due=now + span(delay),
            keeps_place=charge is Charge.NOTHING and not delay,
            parked=parked,
            **_charged(charge),
        )
        self._bells.ring([claim.envelope.queue for claim in claims])
        return lost

    @override
    def bury(self, claims: Sequence[Claim], *, error: str, charge: Charge) -> list[Claim]:
        return self._settle("bury", claims, "ack", now=self._now(), error=error, **_charged(charge))

    def _settle(
        self, operation: str, claims: Sequence[Claim], *then: str, **values: object
    ) -> list[Claim]:
        """
        Run the statement `operation`, and `then` others, for all claims; return the stale.

        One of them returns the ids of those that were held; and what these were members of, if they are gone now.
        """
        with self._file.transaction(operation) as db:
            stale, rung = settled(db, (operation, *then), claims, now=self._now(), values=values)
        self._bells.ring(rung)
        return stale

    @override
    def failed(
        self,
        *,
        ids: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        limit: int,
        after: str = "",
    ) -> list[FailedJob]:
        first = self._number(after)
        chosen = {
            "ids": _listed(ids),
            "queues": _listed(queues),
            "limit": limit,
            "after": first,
            **_SHOWN,
        }
        statement = _SQL["failed" if ids is None else "failed_named"]
        with self._file.look("failed") as db:
            rows = self._ordered("failed", db.execute(statement, chosen), after=first)
            return [failed_job_of(row) for row in rows]

    @override
    def revive(self, ids: Sequence[str]) -> list[str]:
        now = self._now()
        moved: dict[str, str] = {}
        with self._file.transaction("revive") as db:
            for name in ids:
                for queue, *place in db.execute(
                    _SQL["revive"], {"id": name, "now": now}
                ).fetchall():
                    db.execute(_SQL["purge"], {"id": name}).fetchall()
                    moved[name] = queue
                    Passing(db, now).revived(tuple(place))
        self._bells.ring(list(moved.values()))
        return list(moved)

    @override
    def purge(self, ids: Sequence[str]) -> list[str]:
        gone: list[str] = []
        with self._file.transaction("purge") as db:
            for name in ids:
                rows = db.execute(_SQL["purge"], {"id": name}).fetchall()
                passing = Passing(db, self._now())
                passing.purged(rows)
                passing.count()
                gone += [name] if rows else []
        return gone

    @override
    def cancel(self, ids: Sequence[str]) -> list[str]:
        gone, _ = self._taken_out("cancel", ids=_listed(ids))
        return [name for name in ids if name in gone]

    def _taken_out(self, operation: str, **values: object) -> tuple[set[str], int]:
        """Take envelopes out that wait; return their ids, and how many more went with them."""
        now = self._now()
        with self._file.transaction(operation) as db:
            rows = db.execute(_SQL[operation], {**values, "now": now}).fetchall()
            passing = Passing(db, now)
            others = passing.canceled(rows)
            passing.count()
        self._bells.ring(passing.rung)
        return {row[0] for row in rows}, others

    @override
    def clear(self, queue: str) -> int:
        gone, others = self._taken_out("clear", queue=queue)
        return len(gone) + others

    @override
    def size(self, queue: str) -> Sizes:
        with self._file.look("size") as db:
            chosen = {"queue": queue, "now": self._now(), **_HELD}
            [row] = db.execute(_SQL["size"], chosen).fetchall()
        ready, delayed, leased, failed, held = row
        return Sizes(ready=ready, delayed=delayed, leased=leased, failed=failed, held=held)

    @override
    def queues(self) -> list[str]:
        with self._file.look("queues") as db:
            return [queue for (queue,) in db.execute(_SQL["queues"])]

    @override
    def peek(
        self,
        *,
        queues: Sequence[str] | None = None,
        parked: bool = False,
        limit: int,
        after: str = "",
    ) -> list[StoredJob]:
        first = self._number(after)
        chosen = {"queues": _listed(queues), "limit": limit, "after": first, **_SHOWN}
        statement = _SQL["peek_parked" if parked else "peek"]
        now = self._now()
        with self._file.look("peek") as db:
            rows = self._ordered("peek", db.execute(statement, chosen), after=first)
            return [stored_job_of(row, now) for row in rows]

    @override
    def find(self, ids: Sequence[str], *, queues: Sequence[str] | None = None) -> list[StoredJob]:
        chosen = {"ids": _listed(ids), "queues": _listed(queues), **_SHOWN}
        now = self._now()
        with self._file.look("find") as db:
            found = [stored_job_of(row, now) for row in db.execute(_SQL["find"], chosen)]
        by_id = {job.envelope.id: job for job in found}
        return [by_id[one] for one in ids if one in by_id]

    def _ordered(self, operation: str, rows: Iterable[Row], *, after: int) -> Iterator[Row]:
        """
        Yield rows, each with a number that is greater than the one before it.

        A damaged file may lead in a circle: whoever goes on from the last row would never end.
        """
        for row in rows:
            if row[0] <= after:
                reason = f"row {row[0]} comes behind row {after}"
                raise StoreDamaged(backend=self.name, operation=operation, reason=reason)
            after = row[0]
            yield row

    def _number(self, cursor: str) -> int:
        try:
            return int(cursor) if cursor else _FIRST
        except ValueError as error:
            raise InvalidOption(
                option="after", value=cursor, expected="a cursor of this store", where=self.name
            ) from error

    @override
    def next_due(self, queues: Sequence[str], *, leased: bool = False) -> float | None:
        now = self._now()
        statement = _SQL["next_due_or_lost" if leased else "next_due"]
        with self._file.look("next_due") as db:
            dues = [
                due_of(due)
                for queue in queues
                for (due,) in db.execute(
                    statement, {"queue": queue, "now": now, **_HELD}
                ).fetchall()
            ]
        return max(0, min(dues) - now) / 1_000_000 if dues else None

    @override
    def flag(self, name: str, value: str | None, *, life: float | None = None) -> None:
        now = self._now()
        ends = None if life is None else now + span(life)
        with self._file.transaction("flag") as db:
            db.execute(_SQL["unflag"], {"name": name, "now": now})
            if value is not None:
                db.execute(_SQL["flag"], {"name": name, "value": value, "ends": ends})
        self._bells.ring(EVERYBODY)

    @override
    def flags(self) -> dict[str, str]:
        with self._file.look("flags") as db:
            return dict(db.execute(_SQL["flags"], {"now": self._now()}).fetchall())

    @override
    def keep(self, name: str, value: bytes, *, life: float) -> None:
        now = self._now()
        with self._file.transaction("keep") as db:
            db.execute(_SQL["let_go"], {"now": now})
            db.execute(_SQL["keep"], {"name": name, "value": value, "ends": now + span(life)})

    @override
    def kept(self, name: str) -> bytes | None:
        with self._file.look("kept") as db:
            found = db.execute(_SQL["kept"], {"name": name, "now": self._now()}).fetchall()
        return found[0][0] if found else None

    @property
    @override
    def limits(self) -> SqliteLimits:
        return self._limits

    @property
    @override
    def plans(self) -> SqlitePlans:
        return self._plans

    @override
    def bell(self, queues: Sequence[str]) -> Bell | None:
        return self._bells.hang(queues)

    @override
    def trouble(self) -> str:
        return log_trouble(self.path)

    @override
    def schema(self) -> str:
        return _SQL["schema"]

    @override
    def apply_schema(self) -> list[str]:
        return self._file.apply_schema()

    @override
    def examine(self, *, integrity: bool = False) -> Examination:
        return examine_file(self._file, self.path, name=self.name, integrity=integrity)

    @override
    def close(self) -> None:
        self._file.close()


def _row(one: Envelope, now: int) -> tuple[Any, ...]:
    # By place, which SQLite binds quicker than by name: this is on the way of every dispatch.
    due = now + span(one.delay) if one.delay else now
    return one.id, one.queue, one.body, one.delay, now, due, crc32(one.body), one.id


def _machine_now() -> int:
    return time.time_ns() // 1_000


def _listed(names: Iterable[str] | None) -> str | None:
    return None if names is None else json.dumps(list(names))


def _charged(charge: Charge) -> Mapping[str, int]:
    return {
        "attempts": charge in {Charge.ERROR, Charge.ATTEMPT},
        "exceptions": charge is Charge.ERROR,
        "releases": charge is Charge.RELEASE,
    }


def _one_of(known: Sequence[str], option: str, value: str, *, where: str) -> str:
    if value.upper() not in known:
        expected = f"one of {', '.join(known)}"
        raise InvalidOption(option=option, value=value, expected=expected, where=where)
    return value.upper()
