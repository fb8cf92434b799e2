"""
One SQLite file: opened safely, its connections lent to threads, its schema made and brought up to date.

What "safely" protects against, each pinned by a test:

- A lost acknowledged push. `synchronous=FULL`, and where WAL is not safe the PERSIST journal: it
  commits by overwriting the journal's header and syncs that, where DELETE commits by an unlink that
  FULL does not sync, so that a power cut could undo a commit. PERSIST is also the quickest of them.
- The WAL-reset bug of SQLite before 3.51.3, which can corrupt a file that two connections write.
- A file that was deleted or replaced while we run: see `eventbus.backends.sqlite_place`.
- Fork. SQLite's locks and the record it keeps of them do not survive one; see `Pool`.
- Another user's eyes or hands: the file is 0600, and SQLite gives its journal the same.
- A journal that grows: what a reader that hangs, or a large transaction, made of it is given back.
"""

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from eventbus.backends.sql import statements
from eventbus.backends.sqlite_driver import load_driver, wal_is_safe
from eventbus.backends.sqlite_place import Place
from eventbus.backends.sqlite_pool import OrphanedChild, Pool
from eventbus.defaults import (
    SQLITE_JOURNAL_SIZE,
    SQLITE_LOG_LIMIT,
    SQLITE_LOG_SIZE,
    SQLITE_PAGE_SIZE,
    SQLITE_RETRY_DELAY,
)
from eventbus.errors import (
    BackendUnavailable,
    EventBusError,
    InvalidOption,
    MissingDependency,
    SchemaMismatch,
    StoreDamaged,
    StoredUnknown,
)

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = [
    "JOURNALS",
    "SYNCHRONOUS",
    "SqliteFile",
    "check_file",
    "check_folder",
    "log_trouble",
]

_SQL: Final = statements("sqlite.sql")

#: "evbs": says that a file is ours.
_APPLICATION_ID: Final = 0x65766273
_SCHEMA: Final = 4

#: The rollback journal we choose; see the module's docstring.
_ROLLBACK: Final = "PERSIST"

#: The values of the options `synchronous` and `journal`: none that could lose an acknowledged push
#: when a process dies.
SYNCHRONOUS: Final = ("NORMAL", "FULL", "EXTRA")
JOURNALS: Final = ("WAL", "PERSIST", "TRUNCATE", "DELETE")

#: What SQLite says of a file that it cannot make sense of.
_DAMAGE: Final = ("malformed", "not a database")
#: SQLite's words for SQLITE_FULL.
_FULL: Final = "disk is full"
#: What it says when it could not read or write: if that was in a commit, it may be done or not.
_IN_DOUBT: Final = ("I/O error", "unable to open")


class SqliteFile:
    """
    One SQLite file, and the connections of this process to it.

    Args:
        path: The file, absolute.
        name: What it is called in errors.
        synchronous: One of `SYNCHRONOUS`.
        journal: One of `JOURNALS`, or None: the file's own, or the best that is safe.
        busy_timeout: Seconds to wait for another's transaction.

    Raises:
        MissingDependency: No SQLite that is new enough, or `"WAL"` on one where it is not safe.
    """

    def __init__(
        self, path: Path, *, name: str, synchronous: str, journal: str | None, busy_timeout: float
    ) -> None:
        self._path = path
        self._name = name
        #: How durable a commit is: one of `SYNCHRONOUS`.
        self.synchronous = synchronous
        self._journal = journal
        self._busy_timeout = busy_timeout
        self._driver: Any = load_driver()
        self._wal_is_safe = wal_is_safe(self._driver.sqlite_version_info)
        if journal == "WAL" and not self._wal_is_safe:
            raise self._unsafe_wal(what="journal=WAL")
        self._place = Place(path)
        self.pool = Pool(patience=busy_timeout, emptied=self._place.forget_log)

    @property
    def driver(self) -> Any:
        """Return the module that SQLite is reached by."""
        return self._driver

    def transaction(self, operation: str, *, stored: Sequence[str] = ()) -> Loan:
        """
        Lend a connection inside a transaction that writes; commit it at the end.

        Args:
            operation: The verb, for errors.
            stored: The ids that the transaction stores, for `StoredUnknown`.
        """
        return Loan(self, operation, begin=self.begin, writes=True, stored=stored)

    def store(self, operation: str, statement: str, row: Sequence[object], *, id: str) -> None:
        """
        Run one statement that stores one job, as the transaction that SQLite makes of it: the shortest.

        Args:
            operation: The verb, for errors.
            statement: The statement.
            row: Its values.
            id: That of the job.

        Raises:
            StoredUnknown: It cannot be told whether it was stored.
        """
        if not self._wal_is_safe:  # `begin` has to see to that
            with self.transaction(operation, stored=(id,)) as db:
                db.execute(statement, row)
            return
        with self.connection(operation) as db:
            try:
                self._patiently(db.execute, statement, row)
            except self._driver.Error as error:
                if any(sign in str(error) for sign in _IN_DOUBT):
                    raise self._unknown([id], error) from error
                raise

    def look(self, operation: str) -> Loan:
        """Lend a connection inside a transaction that only reads."""
        return Loan(self, operation, begin=self.begin_reading)

    def connection(self, operation: str, *, has_schema: bool = True) -> Loan:
        """
        Lend a connection, outside of any transaction.

        Args:
            operation: The verb, for errors.
            has_schema: Whether to make the tables if there are none, and refuse others than ours.
        """
        return Loan(self, operation, has_schema=has_schema)

    @contextmanager
    def writing(self, db: Connection) -> Generator[None]:
        """Begin a transaction that writes on a connection that was lent; commit it at the end."""
        self.begin(db)
        yield
        self.commit(db)

    @contextmanager
    def reading(self, db: Connection) -> Generator[None]:
        """Begin a transaction that reads on a connection that was lent; what it sees stays as it is."""
        self.begin_reading(db)
        yield
        db.execute("END")

    def begin(self, db: Connection) -> None:
        """Begin a transaction that writes."""
        self._patiently(db.execute, "BEGIN IMMEDIATE")
        if not self._wal_is_safe and _value(db, "journal_mode") == "wal":
            # Another process has switched the file since it was opened here.
            raise self._unsafe_wal(what="it was switched to WAL, which")

    def begin_reading(self, db: Connection) -> None:
        """Begin a transaction that only reads."""
        db.execute("BEGIN")
        self._patiently(_value, db, "schema_version")  # the first read takes the lock

    def commit(self, db: Connection, *, stored: Sequence[str] = ()) -> None:
        """Commit a transaction; `StoredUnknown` for the ids that it may have stored or not."""
        try:
            # Locked while others still read: they end, and new ones wait for us.
            self._patiently(db.execute, "COMMIT")
        except self._driver.Error as error:
            # Still in the transaction: SQLite waits for us to repeat or undo it. No longer in
            # it: it has given up, and whether before or after the point of no return depends. But
            # there is nothing left to write after that point, so a full disk comes before it.
            if stored and not db.in_transaction and _FULL not in str(error):
                raise self._unknown(stored, error) from error
            raise

    def _unknown(self, ids: Sequence[str], error: Exception) -> StoredUnknown:
        return StoredUnknown(backend=self._name, ids=ids, reason=str(error))

    def take_back(self, db: Connection | None, generation: int, *, sound: bool) -> None:
        """Keep what was lent for the next one, or close it: it may be in a transaction."""
        with self.pool.lock:
            if self.pool.take_back(db, generation, sound=sound) and self._wal_is_safe:
                self._place.note_log()

    def translated(self, error: BaseException, operation: str) -> EventBusError | None:
        """Return ours for an error of SQLite or the system; None for one that stays as it is."""
        if isinstance(error, EventBusError) or not isinstance(error, (self._driver.Error, OSError)):
            return None
        reason = str(error)
        kind = StoreDamaged if any(sign in reason for sign in _DAMAGE) else BackendUnavailable
        return kind(backend=self._name, operation=operation, reason=reason)

    def apply_schema(self) -> list[str]:
        """Make the tables, or bring older ones up to ours; return what was done."""
        with self.connection("apply_schema", has_schema=False) as db:
            return self._bring_up(db, migrate=True)

    def close(self) -> None:
        """Close the idle connections now, and those that are lent when they come back."""
        self.pool.close()

    def _patiently(self, act: Callable[..., object], *arguments: object) -> None:
        """
        Do `act`, again and again while the file is locked by others.

        Not by SQLite's own wait: that sleeps longer each time, up to a tenth of a second, so that whoever
        has waited longest is the last to look, and a few busy processes starve one for seconds.
        """
        end: float | None = None
        while True:
            try:
                act(*arguments)
            except self._driver.OperationalError as error:
                now = time.monotonic()
                end = now + self._busy_timeout if end is None else end
                if "locked" not in str(error) or now > end:
                    raise
                # By chance: all have the same, however long they have waited.
                time.sleep(random.uniform(0.1, 1.0) * SQLITE_RETRY_DELAY)  # noqa: S311 -- no secret
            else:
                return

    def _unsafe_wal(self, *, what: str) -> MissingDependency:
        return MissingDependency(
            extra="sqlite",
            needed_for=f"{self._name}: {what} is not safe on SQLite {self._driver.sqlite_version}: it",
        )

    def let_fork(self, operation: str) -> None:
        """Wait for a fork that is about to happen; refuse to go on in the child of one that came amid an operation."""
        try:
            self.pool.let_fork()
        except OrphanedChild:
            raise BackendUnavailable(
                backend=self._name,
                operation=operation,
                reason="this process was forked in the middle of an operation on the file, which it cannot use safely;"
                " start it with spawn, or fork it from no signal handler",
            ) from None

    def check_place(self, operation: str) -> None:
        """Refuse to go on with a file, or its log, that is no longer the one at our path."""
        change = self._place.change()
        if change:
            raise BackendUnavailable(
                backend=self._name,
                operation=operation,
                reason=f"{change} while this process used it; put it back, or restart",
            )

    def open(self, operation: str, *, has_schema: bool) -> Connection:
        """Open a connection, on which all is set; and make the tables, or refuse others than ours."""
        self._find()
        uri = f"file:{quote(str(self._path))}?mode=rw"  # rw: never make a file, `_find` does
        db: Connection = self._driver.connect(
            uri,
            uri=True,
            timeout=0.0,  # see `_patiently`
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self.check_place(operation)
            self._patiently(self._prepare, db)
            if has_schema:
                self._bring_up(db, migrate=False)
        except BaseException:
            db.close()
            raise
        return db

    def _find(self) -> None:
        """Make the file if there is none, see whose it is, and remember which it is."""
        with self.pool.lock:
            if not self._place.is_known:
                check_folder(self._path.parent, where=self._name)
                with suppress(FileExistsError):
                    # Only ever a file that is new: closing one that SQLite has open in this
                    # process would take away the locks it holds.
                    os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                found = os.lstat(self._path)
                check_file(self._path, found, where=self._name)
                self._place.note_file(found)

    def _prepare(self, db: Connection) -> None:
        # Text that is no UTF-8 is read, and told apart later: it must not end the reading of others.
        db.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            db.execute(f"PRAGMA page_size = {SQLITE_PAGE_SIZE}")  # of a file that is still empty
            self._set_journal(db)
        except self._driver.DatabaseError as error:
            if "not a database" in str(error):
                raise SchemaMismatch(
                    backend=self._name, found="of no SQLite file", wanted=str(_SCHEMA)
                ) from error
            raise
        for setting in (
            f"synchronous = {self.synchronous}",
            f"journal_size_limit = {SQLITE_JOURNAL_SIZE}",
            f"wal_autocheckpoint = {SQLITE_LOG_SIZE // _value(db, 'page_size')}",
            "mmap_size = 0",  # an I/O error is an error, not a SIGBUS
            "cell_size_check = ON",  # a damaged page is told as such
            "trusted_schema = OFF",  # nor does the file choose what runs here
        ):
            db.execute(f"PRAGMA {setting}")

    def _set_journal(self, db: Connection) -> None:
        # In this order: whoever makes the file sets its journal first, so of one that is not empty it is known.
        is_empty = _value(db, "page_count") == 0
        found = _value(db, "journal_mode")
        wanted = self._journal
        if wanted is None:
            # A file keeps what it has: others may use it with a SQLite where WAL is not safe.
            wanted = "WAL" if found == "wal" or (is_empty and self._wal_is_safe) else _ROLLBACK
        if wanted == "WAL" and not self._wal_is_safe:
            raise self._unsafe_wal(what="a file in WAL mode")
        self._check_synchronous(wanted)
        # To leave or enter WAL takes a lock that SQLite itself does not wait for.
        self._patiently(_value, db, f"journal_mode = {wanted}")

    def _check_synchronous(self, journal: str) -> None:
        """Refuse what a power cut could undo, or tear, although it was asked to be durable."""
        if journal != "WAL" and self.synchronous == "NORMAL":
            # It leaves out a sync, without which half of a commit may be rolled back.
            expected = f"FULL or EXTRA with journal={journal}: NORMAL is sound with WAL alone"
        elif journal == "DELETE" and self.synchronous == "FULL":
            # It commits by removing a name, which FULL does not sync.
            expected = "EXTRA with journal=DELETE, or journal=PERSIST"
        else:
            return
        raise InvalidOption(
            option="synchronous", value=self.synchronous, expected=expected, where=self._name
        )

    def _bring_up(self, db: Connection, *, migrate: bool) -> list[str]:
        """Make the tables of a new file, and `migrate` those of an older one; return what was done."""
        with self.reading(db):
            if _stamp(db) == (_APPLICATION_ID, _SCHEMA):
                _learn_tables(db)
                return []
        done: list[str] = []
        with self.writing(db):
            found = self._version(db)  # under the lock: somebody may have been quicker
            if found == _SCHEMA:
                _learn_tables(db)
            elif not found:
                done += self._run(db, "schema", f"made the tables of schema {_SCHEMA}")
            elif found > _SCHEMA or (found < _SCHEMA and not migrate):
                raise _mismatch(found, where=self._name)
            for version in range(found or _SCHEMA, _SCHEMA):
                done += self._run(
                    db,
                    f"migrate_{version}",
                    f"brought the tables from schema {version} to {version + 1}",
                )
        return done

    def check_schema(self, db: Connection) -> int:
        """
        Return the version of the schema, 0 of a file that has no tables yet; refuse another than ours.

        Raises:
            SchemaMismatch: It is older, newer, or not ours.
        """
        found = self._version(db)
        if found not in (0, _SCHEMA):
            raise _mismatch(found, where=self._name)
        return found

    def _run(self, db: Connection, script: str, done: str) -> list[str]:
        for statement in _SQL[script].split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_SCHEMA}")
        return [done]

    def _version(self, db: Connection) -> int:
        """Return the schema's version, 0 of an empty file; refuse what another application wrote."""
        owner, version = _stamp(db)
        if owner == _APPLICATION_ID and version > 0:
            return version
        [(tables,)] = db.execute("SELECT count(*) FROM sqlite_master").fetchall()
        if (owner, version, tables) != (0, 0, 0):
            raise SchemaMismatch(
                backend=self._name, found="of another application", wanted=str(_SCHEMA)
            )
        return 0


def log_trouble(path: Path) -> str:
    """Say that the log of the file at `path` has grown as it does only while something holds it."""
    log = path.with_name(f"{path.name}-wal")
    try:
        size = os.lstat(log).st_size
    except FileNotFoundError:
        return ""
    if size <= SQLITE_LOG_LIMIT:
        return ""
    return (
        f"{log} has grown beyond {SQLITE_LOG_LIMIT // 1024**2} MiB: somebody reads the file and does not"
        " end, so that SQLite cannot empty it. End that reader (`fuser -v` shows who has the file open)"
    )


class Loan:
    """
    A connection of a `SqliteFile` for one operation, to be used as a context manager.

    After an error it is closed, which undoes what it had begun, and what SQLite or the system has said
    becomes an error of ours. Each push pays for what is done here, so it is written out.

    Args:
        file: Whose.
        operation: The verb, for errors.
        begin: Begins a transaction that is ended with the loan; None for none.
        writes: It is to be committed.
        stored: The ids that it stores.
        has_schema: Whether the file must have our tables.
    """

    __slots__ = (
        "_begin", "_db", "_file", "_generation", "_has_schema", "_operation", "_stored", "_writes",
    )  # fmt: skip

    def __init__(
        self,
        file: SqliteFile,
        operation: str,
        *,
        begin: Callable[[Connection], None] | None = None,
        writes: bool = False,
        stored: Sequence[str] = (),
        has_schema: bool = True,
    ) -> None:
        self._file = file
        self._operation = operation
        self._begin = begin
        self._writes = writes
        self._stored = stored
        self._has_schema = has_schema

    def __enter__(self) -> Connection:
        file = self._file
        pool = file.pool
        with pool.lock:
            if pool.forking:
                file.let_fork(self._operation)
            pool.lent += 1
            self._generation = pool.generation
            db = self._db = pool.idle.pop() if pool.idle else None
        try:
            file.check_place(self._operation)
            if db is None:
                db = self._db = file.open(self._operation, has_schema=self._has_schema)
            if self._begin is not None:
                self._begin(db)
        except BaseException as error:
            self._fail(error)
            raise
        return db

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self._fail(error)
            return
        file, db = self._file, self._db
        assert db is not None  # it was entered
        try:
            if self._writes:
                file.commit(db, stored=self._stored)
            elif self._begin is not None:
                db.execute("END")
        except BaseException as failed:
            self._fail(failed)
            raise
        file.take_back(db, self._generation, sound=True)

    def _fail(self, error: BaseException) -> None:
        """Give the connection back, not to be used again; raise what `error` is to us, if anything."""
        self._file.take_back(self._db, self._generation, sound=False)
        ours = self._file.translated(error, self._operation)
        if ours is not None:
            raise ours from error


def _value(db: Connection, pragma: str) -> Any:
    [(value,)] = db.execute(f"PRAGMA {pragma}").fetchall()
    return value


def _mismatch(found: int, *, where: str) -> SchemaMismatch:
    return SchemaMismatch(
        backend=where,
        found=str(found),
        wanted=str(_SCHEMA),
        remedy=(
            "A newer version has written it: update eventbus"
            if found > _SCHEMA
            else "Stop what uses it, then run `eventbus schema --apply`: it keeps every job"
        ),
    )


def _stamp(db: Connection) -> tuple[int, int]:
    """Return whose the file is, and the version of its schema."""
    return _value(db, "application_id"), _value(db, "user_version")


def _learn_tables(db: Connection) -> None:
    """
    See, under the lock that is held, that the tables are there.

    A connection remembers that there were none when it first looked; and as it is to say so of a
    statement, it looks again only if nobody is committing just then.
    """
    db.execute("SELECT NULL FROM envelopes LIMIT 0")


def check_folder(folder: Path, *, where: str) -> None:
    """
    Refuse a folder in which a file is not safe.

    Raises:
        InvalidOption: It is not there, or everybody may write in it.
    """
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


def check_file(path: Path, found: os.stat_result, *, where: str) -> None:
    """
    Refuse a file that is not this user's alone.

    Args:
        path: Where it is.
        found: What `os.lstat` says of it.
        where: What it is called in errors.

    Raises:
        InvalidOption: It is no regular file of one name, or others own, read or write it.
    """
    user = os.geteuid()
    if stat.S_ISLNK(found.st_mode):
        expected = f"the file itself, {os.path.realpath(path)}, not a symbolic link to it"
    elif not stat.S_ISREG(found.st_mode):
        expected = "a regular file"
    elif found.st_nlink != 1:
        # A journal is called as its file is: under the other name nobody would find it after a crash.
        expected = "a file of one name, with no other hard link to it"
    elif user not in (0, found.st_uid):
        expected = "a file of the user who runs this process"
    elif found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        expected = f"a file that nobody else can read or write (chmod 600 {path})"
    else:
        return
    raise InvalidOption(option="path", value=str(path), expected=expected, where=where)
