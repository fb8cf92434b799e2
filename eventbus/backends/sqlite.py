"""
Envelopes in one SQLite file: durable and shared by the processes of one machine, with no server.

Two halves: `_File` opens the file safely and lends connections to it, `SqliteBackend` says the verbs.

What "safely" protects against, each pinned by a test:

- A lost acknowledged push. `synchronous=FULL`, and where WAL is not safe the PERSIST journal: it
  commits by overwriting the journal's header and syncs that, where DELETE commits by an unlink that
  FULL does not sync, so that a power cut could undo a commit. PERSIST is also the quickest of them.
- The WAL-reset bug of SQLite before 3.51.3, which can corrupt a file that two connections write.
- A file that was deleted or replaced while we run: writing into what no path leads to any more.
- Fork. SQLite's locks and the record it keeps of them do not survive one; see `_File`.
- Another user's eyes or hands: the file is 0600, and SQLite gives its journal the same.
"""

from __future__ import annotations

import json
import os
import stat
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from threading import Condition
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from attrs import asdict
from typing_extensions import override

from eventbus.backends.base import (
    Backend,
    Capabilities,
    Claim,
    Clock,
    FailedJob,
    Sizes,
    SystemClock,
)
from eventbus.backends.sql import claim_of, failed_job_of, micros, span, statements
from eventbus.defaults import SQLITE_BUSY_TIMEOUT, SQLITE_RETRY_DELAY
from eventbus.errors import (
    BackendUnavailable,
    EventBusError,
    InvalidOption,
    MissingDependency,
    SchemaMismatch,
    StoredUnknown,
)
from eventbus.queue.envelope import Envelope

if TYPE_CHECKING:
    from sqlite3 import Connection
    from types import ModuleType

__all__ = ["SqliteBackend", "load_driver", "wal_is_safe"]

_SQL: Final = statements("sqlite.sql")

#: "evbs": says that a file is ours.
_APPLICATION_ID: Final = 0x65766273
_SCHEMA: Final = 1

#: The first with RETURNING.
_OLDEST: Final = (3, 35)
_SYNCHRONOUS: Final = ("NORMAL", "FULL", "EXTRA")
#: The rollback journal we choose; see the module's docstring.
_ROLLBACK: Final = "PERSIST"
_JOURNALS: Final = ("WAL", "PERSIST", "TRUNCATE", "DELETE")


def _drivers() -> Iterator[ModuleType]:
    with suppress(ImportError):
        import pysqlite3.dbapi2 as bundled  # pyright: ignore[reportMissingImports]

        yield bundled
    with suppress(ImportError):
        import sqlite3

        yield sqlite3


def load_driver() -> ModuleType:
    """
    Return the module to reach SQLite by: `pysqlite3`, which brings a current SQLite, or `sqlite3`.

    Raises:
        MissingDependency: There is neither, or only on a SQLite that is too old.
    """
    for driver in _drivers():
        if driver.sqlite_version_info >= _OLDEST:
            return driver
    raise MissingDependency(extra="sqlite", needed_for="sqlite:// (SQLite 3.35 or newer)")


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """
    Say whether a SQLite of this version has the fix of the WAL-reset bug.

    Without it, a checkpoint that races with a writer may corrupt the file.

    Example:
        >>> wal_is_safe((3, 40, 1)), wal_is_safe((3, 53, 0))
        (False, True)
    """
    return (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )


class SqliteBackend(Backend):
    """
    Keeps envelopes in the SQLite file at `path`, made when it is first needed.

    Nothing is opened before the first verb. Threads get connections of their own; `close` closes
    them, and the next verb opens new ones.

    Args:
        path: The file. Relative to the current folder.
        clock: What judges delays and leases. Every process of the file must agree on the time.
        synchronous: `"FULL"`: an acknowledged push survives a power cut. `"NORMAL"`: the last ones
            may not, and each push is quicker. `"EXTRA"`: as `FULL`, for `journal="DELETE"`.
        journal: `"WAL"`, `"PERSIST"`, `"TRUNCATE"` or `"DELETE"`.

    Raises:
        InvalidOption: An option has a value that it cannot have.
        MissingDependency: No SQLite that is new enough, or `"WAL"` on one where it is not safe.

    Defaults:
        clock = the machine's.
        synchronous = "FULL".
        journal = the file's own; for a new file WAL where it is safe, else PERSIST.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     backend = SqliteBackend(f"{folder}/queue.db")
        ...     backend.push([Envelope(id="a", queue="emails", body=b"{}")])
        ...     backend.size("emails").ready
        ...     backend.close()
        1
    """

    capabilities = Capabilities(
        durable=True, shared=True, fenced=True, idempotent_push=True, delay=True, failed_jobs=True
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        synchronous: str = "FULL",
        journal: str | None = None,
    ) -> None:
        #: Where the file is, absolute.
        self.path = Path(os.path.abspath(path))
        self.name = f"sqlite:///{self.path}"
        self._clock = SystemClock() if clock is None else clock
        for option, value, known in (
            ("synchronous", synchronous, _SYNCHRONOUS),
            ("journal", journal or _ROLLBACK, _JOURNALS),
        ):
            if value.upper() not in known:
                expected = f"one of {', '.join(known)}"
                raise InvalidOption(option=option, value=value, expected=expected, where=self.name)
        self._file = _File(
            self.path,
            name=self.name,
            synchronous=synchronous.upper(),
            journal=None if journal is None else journal.upper(),
        )

    def _now(self) -> int:
        return micros(self._clock.now())

    @override
    def push(self, envelopes: Sequence[Envelope]) -> None:
        now = self._now()
        rows = [
            {**asdict(envelope), "now": now, "due": now + span(envelope.delay)}
            for envelope in envelopes
        ]
        ids = tuple(envelope.id for envelope in envelopes)
        with self._file.transaction("push", stored=ids) as db:
            db.executemany(_SQL["push"], rows)

    @override
    def claim(self, queues: Sequence[str], *, limit: int, lease: float) -> list[Claim]:
        now = self._now()
        token = token_hex(16)
        with self._file.transaction("claim") as db:
            numbers = _in_turn(db, queues, now=now, limit=limit)
            shared = len(numbers) > 1
            until = now + span(lease)
            return [
                claim_of(row, token)
                for number in numbers
                for row in db.execute(
                    _SQL["claim"],
                    {"number": number, "token": token, "shared": shared, "until": until},
                ).fetchall()
            ]

    @override
    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return self._settle("extend", claims, until=self._now() + span(lease))

    @override
    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        return self._settle("ack", claims)

    @override
    def release(self, claims: Sequence[Claim], *, delay: float, spend: bool) -> list[Claim]:
        return self._settle("release", claims, due=self._now() + span(delay), spent=spend)

    @override
    def bury(self, claims: Sequence[Claim], *, error: str, spend: bool) -> list[Claim]:
        return self._settle("bury", claims, "ack", now=self._now(), spent=spend, error=error)

    def _settle(
        self, operation: str, claims: Sequence[Claim], *then: str, **values: object
    ) -> list[Claim]:
        """Run the statement `operation`, and `then` others, for each claim; return the stale."""
        lost: list[Claim] = []
        with self._file.transaction(operation) as db:
            for claim in claims:
                held = {"id": claim.envelope.id, "token": claim.token, **values}
                if not db.execute(_SQL[operation], held).rowcount:
                    lost.append(claim)
                    continue
                for statement in then:
                    db.execute(_SQL[statement], held)
        return lost

    @override
    def failed(
        self, *, ids: Sequence[str] | None = None, queues: Sequence[str] | None = None
    ) -> list[FailedJob]:
        chosen = {
            "ids": None if ids is None else json.dumps(list(ids)),
            "queues": None if queues is None else json.dumps(list(queues)),
        }
        with self._file.connection("failed") as db:
            return [failed_job_of(row) for row in db.execute(_SQL["failed"], chosen)]

    @override
    def revive(self, ids: Sequence[str]) -> list[str]:
        return self._take_out("revive", ids, "revive", "purge")

    @override
    def purge(self, ids: Sequence[str]) -> list[str]:
        return self._take_out("purge", ids, "purge")

    def _take_out(self, operation: str, ids: Sequence[str], *steps: str) -> list[str]:
        """Run the statements `steps` for each failed job of `ids`; return those that were there."""
        now = self._now()
        with self._file.transaction(operation) as db:
            return [
                name
                for name in ids
                if all(db.execute(_SQL[step], {"id": name, "now": now}).rowcount for step in steps)
            ]

    @override
    def clear(self, queue: str) -> int:
        with self._file.transaction("clear") as db:
            return db.execute(_SQL["clear"], {"queue": queue, "now": self._now()}).rowcount

    @override
    def size(self, queue: str) -> Sizes:
        with self._file.connection("size") as db:
            [row] = db.execute(_SQL["size"], {"queue": queue, "now": self._now()}).fetchall()
        ready, delayed, leased, failed = row
        return Sizes(ready=ready, delayed=delayed, leased=leased, failed=failed)

    @override
    def next_due(self, queues: Sequence[str]) -> float | None:
        now = self._now()
        with self._file.connection("next_due") as db:
            found = [
                db.execute(_SQL["next_due"], {"queue": queue, "now": now}).fetchall()[0][0]
                for queue in queues
            ]
        dues = [due for due in found if due is not None]
        return max(0, min(dues) - now) / 1_000_000 if dues else None

    @override
    def close(self) -> None:
        self._file.close()


def _in_turn(db: Connection, queues: Sequence[str], *, now: int, limit: int) -> list[int]:
    """Return the numbers of the rows to claim: one that must be alone, or others, in order."""
    numbers: list[int] = []
    for queue in queues:
        room = limit - len(numbers)
        for number, alone in db.execute(
            _SQL["due"], {"queue": queue, "now": now, "limit": room}
        ).fetchall():
            if not alone:
                numbers.append(number)
            elif not numbers:
                return [number]
            # Another that must be alone is passed over: its turn comes when it heads the line.
    return numbers


class _File:
    """
    One SQLite file, and the connections of this process to it.

    A connection is lent to one thread at a time and comes back when its operation is over, so there
    are as many as threads ever used the file at once; threads that end leave none behind.

    Before a fork the idle connections are closed, after those in use have come back. It must be
    before: a child inherits SQLite's own record of the locks that this process holds, but not the
    locks, so that even a connection which the child opened itself would trust locks that are not
    there. Both sides then open new ones.
    """

    def __init__(self, path: Path, *, name: str, synchronous: str, journal: str | None) -> None:
        self._path = path
        self._name = name
        self._synchronous = synchronous
        self._journal = journal
        self._driver: Any = load_driver()
        self._wal_is_safe = wal_is_safe(self._driver.sqlite_version_info)
        if journal == "WAL" and not self._wal_is_safe:
            raise self._unsafe_wal(what="journal=WAL")
        #: Device and inode, once we have seen the file.
        self._identity: tuple[int, int] | None = None
        #: Guards what follows. Its lock is reentrant: a signal handler may dispatch.
        self._lending = Condition()
        self._idle: list[Connection] = []
        self._lent = 0
        #: Raised by `close`: a connection that was lent before is not kept when it comes back.
        self._generation = 0
        self._forking = False
        weakref.finalize(self, _close_all, self._idle)
        _watch_forks(weakref.ref(self))

    @contextmanager
    def transaction(self, operation: str, *, stored: Sequence[str] = ()) -> Generator[Connection]:
        """
        Lend a connection inside a transaction that writes; commit it at the end.

        Args:
            operation: The verb, for errors.
            stored: The ids that the transaction stores, for `StoredUnknown`.
        """
        with self.connection(operation) as db:
            db.execute("BEGIN IMMEDIATE")
            if not self._wal_is_safe and _value(db, "journal_mode") == "wal":
                # Another process has switched the file since it was opened here.
                raise self._unsafe_wal(what="it was switched to WAL, which")
            yield db
            try:
                db.execute("COMMIT")
            except self._driver.Error as error:
                # Still in the transaction: SQLite waits for us to repeat or undo it. No longer in
                # it: it has given up, and whether before or after the point of no return depends.
                if stored and not db.in_transaction:
                    raise StoredUnknown(
                        backend=self._name, ids=stored, reason=str(error)
                    ) from error
                raise

    @contextmanager
    def connection(self, operation: str) -> Generator[Connection]:
        """Lend a connection; after an error it is closed, which undoes what it had begun."""
        with self._lending:
            # Busy threads must let a fork begin. Bounded as in `before_fork`, and for the same case.
            self._lending.wait_for(lambda: not self._forking, timeout=SQLITE_BUSY_TIMEOUT)
            self._lent += 1
            generation = self._generation
            db = self._idle.pop() if self._idle else None
        sound = False
        try:
            with self._translated(operation):
                self._check_identity(operation)
                if db is None:
                    db = self._open(operation)
                yield db
            sound = True
        finally:
            with self._lending:
                self._lent -= 1
                if db is not None:
                    if sound and generation == self._generation:
                        self._idle.append(db)
                    else:
                        db.close()
                self._lending.notify_all()

    def close(self) -> None:
        with self._lending:
            self._generation += 1
            _close_all(self._idle)

    def before_fork(self) -> None:
        self._lending.acquire()
        self._forking = True
        # Bounded, since a fork from a signal handler may wait for the operation it interrupted.
        self._lending.wait_for(lambda: self._lent == 0, timeout=SQLITE_BUSY_TIMEOUT)
        _close_all(self._idle)

    def after_fork(self) -> None:
        if self._forking:
            self._forking = False
            self._lending.notify_all()
            self._lending.release()

    def after_fork_in_child(self) -> None:
        # What other threads had borrowed, if waiting for it was in vain, stays with the parent.
        self._lent = 0
        self.after_fork()

    @contextmanager
    def _translated(self, operation: str) -> Generator[None]:
        try:
            yield
        except EventBusError:
            raise
        except (self._driver.Error, OSError) as error:
            raise BackendUnavailable(
                backend=self._name, operation=operation, reason=str(error)
            ) from error

    def _unsafe_wal(self, *, what: str) -> MissingDependency:
        return MissingDependency(
            extra="sqlite",
            needed_for=f"{self._name}: {what} is not safe on SQLite {self._driver.sqlite_version}: it",
        )

    def _check_identity(self, operation: str) -> None:
        """Refuse to go on with a file that is no longer the one at our path."""
        if self._identity is None:
            return
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            change = "deleted"
        else:
            if (found.st_dev, found.st_ino) == self._identity:
                return
            change = "replaced"
        raise BackendUnavailable(
            backend=self._name,
            operation=operation,
            reason=f"the file was {change} while this process used it; put it back, or restart",
        )

    def _open(self, operation: str) -> Connection:
        self._find()
        uri = f"file:{quote(str(self._path))}?mode=rw"  # rw: never make a file, `_find` does
        db: Connection = self._driver.connect(
            uri,
            uri=True,
            timeout=SQLITE_BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._check_identity(operation)
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _find(self) -> None:
        """Make the file if there is none, see whose it is, and remember which it is."""
        with self._lending:
            if self._identity is None:
                _check_folder(self._path.parent, where=self._name)
                with suppress(FileExistsError):
                    # Only ever a file that is new: closing one that SQLite has open in this
                    # process would take away the locks it holds.
                    os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                found = os.lstat(self._path)
                _check_file(self._path, found, where=self._name)
                self._identity = (found.st_dev, found.st_ino)

    def _prepare(self, db: Connection) -> None:
        try:
            self._set_journal(db)
        except self._driver.DatabaseError as error:
            if "not a database" in str(error):
                raise SchemaMismatch(
                    backend=self._name, found="of no SQLite file", wanted=str(_SCHEMA)
                ) from error
            raise
        db.execute(f"PRAGMA synchronous = {self._synchronous}")
        db.execute("PRAGMA mmap_size = 0")  # an I/O error is an error, not a SIGBUS
        if not self._is_ours(db):
            db.execute("BEGIN IMMEDIATE")
            if not self._is_ours(db):  # nobody was quicker
                self._check_empty(db)
                for statement in _SQL["schema"].split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {_SCHEMA}")
            db.execute("COMMIT")

    def _set_journal(self, db: Connection) -> None:
        found = _value(db, "journal_mode")
        wanted = self._journal
        if wanted is None:
            # A file keeps what it has: others may use it with a SQLite where WAL is not safe.
            is_empty = _value(db, "page_count") == 0
            wanted = "WAL" if found == "wal" or (is_empty and self._wal_is_safe) else _ROLLBACK
        if wanted == "WAL" and not self._wal_is_safe:
            raise self._unsafe_wal(what="a file in WAL mode")
        end = time.monotonic() + SQLITE_BUSY_TIMEOUT
        while True:
            try:
                _value(db, f"journal_mode = {wanted}")
            except self._driver.OperationalError as error:
                # To leave or enter WAL takes a lock that SQLite itself does not wait for.
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(SQLITE_RETRY_DELAY)
            else:
                return

    def _is_ours(self, db: Connection) -> bool:
        owner, version = _value(db, "application_id"), _value(db, "user_version")
        return (owner, version) == (_APPLICATION_ID, _SCHEMA)

    def _check_empty(self, db: Connection) -> None:
        """Refuse a file that somebody wrote: an older or newer we, or another application."""
        owner, version = _value(db, "application_id"), _value(db, "user_version")
        [(tables,)] = db.execute("SELECT count(*) FROM sqlite_master").fetchall()
        if (owner, version, tables) != (0, 0, 0):
            found = str(version) if owner == _APPLICATION_ID else "of another application"
            raise SchemaMismatch(backend=self._name, found=found, wanted=str(_SCHEMA))


def _value(db: Connection, pragma: str) -> Any:
    [(value,)] = db.execute(f"PRAGMA {pragma}").fetchall()
    return value


def _close_all(connections: list[Connection]) -> None:
    while connections:
        connections.pop().close()


def _watch_forks(file: weakref.ref[_File]) -> None:
    """Have `file` told of forks for as long as it is used; Python has no way to take this back."""

    def tell(what: Callable[[_File], None]) -> Callable[[], None]:
        def hook() -> None:
            if (living := file()) is not None:
                what(living)

        return hook

    os.register_at_fork(
        before=tell(_File.before_fork),
        after_in_parent=tell(_File.after_fork),
        after_in_child=tell(_File.after_fork_in_child),
    )


def _check_folder(folder: Path, *, where: str) -> None:
    try:
        mode = os.stat(folder).st_mode
    except FileNotFoundError:
        mode = 0
    if not stat.S_ISDIR(mode):
        expected = "a file in a folder that exists"
    elif mode & stat.S_IWOTH:
        # Whoever can put a journal beside the file decides what SQLite rolls back into it.
        expected = "a file in a folder that not everybody can write to"
    else:
        return
    raise InvalidOption(option="path", value=str(folder), expected=expected, where=where)


def _check_file(path: Path, found: os.stat_result, *, where: str) -> None:
    user = os.geteuid()
    if stat.S_ISLNK(found.st_mode):
        expected = f"the file itself, {os.path.realpath(path)}, not a symbolic link to it"
    elif not stat.S_ISREG(found.st_mode):
        expected = "a regular file"
    elif user not in (0, found.st_uid):
        expected = "a file of the user who runs this process"
    elif found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        expected = f"a file that nobody else can read or write (chmod 600 {path})"
    else:
        return
    raise InvalidOption(option="path", value=str(path), expected=expected, where=where)
