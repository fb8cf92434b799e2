"""What the SQLite file of a connection is like: whose it is, where it lies, how it is written."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eventbus.backends.base import Examination, Finding, Promise, Verdict
from eventbus.backends.sqlite_driver import wal_is_safe
from eventbus.backends.sqlite_file import SqliteFile, check_file, check_folder
from eventbus.defaults import EXAMINED_DISK
from eventbus.errors import (
    EventBusError,
    InvalidOption,
    MissingDependency,
    SchemaMismatch,
    StoreDamaged,
)

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["DURABLE", "QUICK", "examine_file"]

DURABLE: Final = Promise(
    store="SQLite, synchronous=FULL (the default)",
    dispatched="committed and fsynced",
    worker_killed="no loss",
    server_killed="no server",
    power_cut="no loss if the disk honours fsync",
    failover="no other server",
    stale_ack="refused",
)
QUICK: Final = Promise(
    store="SQLite, synchronous=NORMAL, with WAL only",
    dispatched="committed",
    worker_killed="no loss",
    server_killed="no server",
    power_cut="the last commits may be lost, the file stays sound",
    failover="no other server",
    stale_ack="refused",
)

#: File systems of other machines: SQLite's locks, or the memory that WAL shares, do not hold on them.
_REMOTE: Final = re.compile(
    r"(nfs|nfs4|cifs|smb3|smbfs|ncpfs|afs|9p|ceph|lustre|beegfs|gfs2|ocfs2|glusterfs|davfs|vboxsf"
    r"|fuse\.(sshfs|glusterfs|s3fs|rclone|ceph|davfs2?|juicefs|gcsfuse|blobfuse2?|goofys))"
)
_IN_MEMORY: Final = ("tmpfs", "ramfs")
#: What Linux has mounted where.
_MOUNTS: Final = "/proc/self/mountinfo"
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")

#: Problems of a damaged file that are looked for: one is enough to know.
_PROBLEMS: Final = 10


def examine_file(file: SqliteFile, path: Path, *, name: str, integrity: bool) -> Examination:
    """
    Look at a file, and open it as a worker would; one that is not there is not made.

    Args:
        file: What opens it.
        path: Where it is, absolute.
        name: What it is called in errors.
        integrity: Also read all its pages.
    """
    driver = file.driver
    findings = [
        Finding(
            subject="SQLite",
            found=f"{driver.sqlite_version} by {driver.__name__.partition('.')[0]}",
        ),
        _told("folder", str(path.parent), lambda: check_folder(path.parent, where=name)),
        *_surroundings(path.parent),
    ]
    if not os.path.lexists(path):
        findings += [Finding(subject="file", found=f"{path} is not there yet"), _synchronous(file)]
        return _examination(file, findings)
    found = os.lstat(path)
    findings.append(_told("file", _file(path, found), lambda: check_file(path, found, where=name)))
    if not found.st_size:
        # To open it would make something of it.
        findings += [Finding(subject="schema", found="no tables yet"), _synchronous(file)]
        return _examination(file, findings)
    try:
        with file.connection("examine", has_schema=False) as db:
            findings += _opened(file, db, integrity=integrity)
    except EventBusError as error:
        findings += _refused(error, findings)
    return _examination(file, findings)


def _examination(file: SqliteFile, findings: list[Finding]) -> Examination:
    promise = QUICK if file.synchronous == "NORMAL" else DURABLE
    broken = any(one.verdict is Verdict.BROKEN for one in findings)
    return Examination(promise=None if broken else promise, findings=tuple(findings))


def _told(subject: str, found: str, check: Callable[[], None]) -> Finding:
    """Return what a check says of something."""
    try:
        check()
    except InvalidOption as error:
        return _broken(subject, found, f"every use is refused: expected {error.expected}")
    return Finding(subject=subject, found=found)


def _broken(subject: str, found: str, advice: str) -> Finding:
    return Finding(subject=subject, found=found, verdict=Verdict.BROKEN, advice=advice)


def _refused(error: EventBusError, before: list[Finding]) -> Iterator[Finding]:
    """Yield why the file cannot be opened, where that has not been told."""
    match error:
        case InvalidOption(option="path"):
            if not any(one.verdict is Verdict.BROKEN for one in before):
                yield _broken("file", "it cannot be opened", str(error))
        case InvalidOption(option="synchronous"):
            yield _broken("synchronous", f"{error.value}", str(error))
        case MissingDependency():
            yield _broken("journal", "WAL, which is not safe with this SQLite", str(error))
        case SchemaMismatch():
            yield _broken("schema", error.found, f"{error.remedy}")
        case StoreDamaged():
            yield _broken("integrity", error.reason, str(error))
        case _:
            yield _broken("file", "it cannot be opened", str(error))


def _file(path: Path, found: os.stat_result) -> str:
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    return f"{path}, {stat.S_IMODE(found.st_mode):04o} of {owner}"


def _surroundings(folder: Path) -> Iterator[Finding]:
    """Yield what the disk is like."""
    kind = _kind_of_disk(folder)
    if _REMOTE.fullmatch(kind):
        yield _broken(
            "file system",
            kind,
            "locks and fsync of SQLite do not hold over a network: put the file on a disk of this machine,"
            " or use Redis for several machines",
        )
    elif kind in _IN_MEMORY:
        yield Finding(
            subject="file system",
            found=f"{kind}, in memory",
            verdict=Verdict.WARNING,
            advice="all jobs are lost when the machine stops: put the file on a disk",
        )
    elif kind == "overlay":
        yield Finding(
            subject="file system",
            found="overlay, a container's own layer",
            verdict=Verdict.WARNING,
            advice="all jobs are lost with the container: put the file on a volume",
        )
    elif kind:
        yield Finding(subject="file system", found=kind)
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        low = free < EXAMINED_DISK
        yield Finding(
            subject="disk",
            found=f"{free:,} bytes free",
            verdict=Verdict.WARNING if low else Verdict.OK,
            advice="a dispatch that finds no room raises: make some, or move the file"
            if low
            else "",
        )


def _kind_of_disk(folder: Path) -> str:
    """Return the kind of file system that a folder is on; empty where the system does not tell."""
    try:
        lines = Path(_MOUNTS).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    real = Path(os.path.realpath(folder))
    found, depth = "", -1
    for line in lines:
        # 36 35 98:0 /root /mnt/a\040disk options ... - ext4 ...: the last mount of the longest path rules.
        before, _, after = line.partition(" - ")
        place = Path(_ESCAPE.sub(lambda one: chr(int(one[1], 8)), before.split(" ")[4]))
        if real.is_relative_to(place) and len(place.parts) >= depth:
            found, depth = after.split(" ")[0], len(place.parts)
    return found


def _opened(file: SqliteFile, db: Connection, *, integrity: bool) -> list[Finding]:
    """Return what a file is like that could be opened."""
    safe = wal_is_safe(file.driver.sqlite_version_info)
    journal = str(_value(db, "journal_mode")).upper()
    note = "" if safe else " (WAL is not safe with this SQLite)"
    findings = [
        Finding(subject="journal", found=journal + note),
        _synchronous(file),
        _schema(file, db),
        _size(db),
    ]
    return [*findings, _integrity(db)] if integrity else findings


def _synchronous(file: SqliteFile) -> Finding:
    if file.synchronous != "NORMAL":
        return Finding(subject="synchronous", found=file.synchronous)
    return Finding(
        subject="synchronous",
        found=file.synchronous,
        verdict=Verdict.WARNING,
        advice="jobs of the last moments may be lost in a power cut: leave ?synchronous=NORMAL out",
    )


def _schema(file: SqliteFile, db: Connection) -> Finding:
    try:
        version = file.check_schema(db)
    except SchemaMismatch as error:
        return _broken("schema", error.found, error.remedy)
    return Finding(subject="schema", found=str(version) if version else "no tables yet")


def _size(db: Connection) -> Finding:
    pages, free, size = (_value(db, name) for name in ("page_count", "freelist_count", "page_size"))
    share = 100 * free // pages if pages else 0
    return Finding(subject="size", found=f"{pages * size:,} bytes, {share} % of them free pages")


def _integrity(db: Connection) -> Finding:
    rows = db.execute(f"PRAGMA integrity_check({_PROBLEMS})").fetchall()
    if rows == [("ok",)]:
        return Finding(subject="integrity", found="whole")
    return _broken(
        "integrity",
        f"{rows[0][0]}",
        "stop what uses the file, keep a copy, then restore a backup or save what can be read"
        " (sqlite3 FILE .recover)",
    )


def _value(db: Connection, pragma: str) -> int:
    [(value,)] = db.execute(f"PRAGMA {pragma}").fetchall()
    found: int = value
    return found
