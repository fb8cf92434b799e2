"""
Bells: how a push wakes the workers that wait, in this process and in others of this machine.

A bell is a socket that a worker waits for with `select`. To ring is to send it one datagram with the
names of the queues that got something, one a line; an empty name concerns everybody.
A ring may be missed, since workers also look by themselves every few seconds, so a bell that cannot
be hung or rung is never an error.
"""

from __future__ import annotations

import os
import stat
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from socket import AF_UNIX, SOCK_DGRAM, socket, socketpair
from typing import TYPE_CHECKING, Final

from attrs import frozen

from eventbus.backends.base import Bell

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["EVERYBODY", "FolderBells", "LocalBells"]

#: What to ring with for what concerns all workers, whatever queues they wait for.
EVERYBODY: Final = ("",)

#: More than any ring: names of queues, a line each.
_RING_SIZE: Final = 65_536
#: Linux keeps as few as this for a socket that nobody reads, and drops the rest.
_RINGS_KEPT: Final = 10
#: A socket's path may have 108 bytes on Linux, 104 elsewhere; its own name takes 17 of them.
_PATH_LENGTH: Final = 86
#: A folder's time of change is no finer than a tick of the kernel, 10 ms at most: a listing that was
#: made so soon after a change may lack a later one. In nanoseconds, with room.
_TICK: Final = 50_000_000


class _Bell(Bell):
    """
    A socket that is rung for some queues.

    A child that is forked does not have it: two that read one socket would take each other's rings.
    """

    def __init__(self, ear: socket, queues: Sequence[str], take_down: Callable[[], None]) -> None:
        self._ear = ear
        self._names = frozenset((*queues, *EVERYBODY))
        self._close = weakref.finalize(self, _close, ear, os.getpid(), take_down)
        os.register_at_fork(after_in_child=partial(_close_in_child, weakref.ref(self)))

    def fileno(self) -> int:
        return self._ear.fileno()

    def silence(self) -> bool:
        rings = 0
        heard = False
        # BlockingIOError: that was the last ring. Another OSError: closed, in a child too.
        with suppress(OSError):
            while True:
                ring = self._ear.recv(_RING_SIZE).decode("utf-8", "replace")
                rings += 1
                heard = heard or not self._names.isdisjoint(ring.split("\n"))
        return heard or rings >= _RINGS_KEPT  # one that was dropped may have been ours

    def close(self) -> None:
        self._close()


def _close(ear: socket, process: int, take_down: Callable[[], None]) -> None:
    ear.close()
    if process == os.getpid():
        take_down()


def _close_in_child(bell: weakref.ref[_Bell]) -> None:
    # Python cannot take a hook back, so it must not be what keeps a bell.
    if (living := bell()) is not None:
        living.close()


def _ring(names: Iterable[str]) -> bytes:
    return "\n".join(dict.fromkeys(names)).encode("utf-8", "replace")


class LocalBells:
    """
    The bells of one process, rung by any of its threads.

    Example:
        >>> bells = LocalBells()
        >>> bell = bells.hang(["emails"])
        >>> bells.ring(["emails"])
        >>> bell.silence(), bell.silence()
        (True, False)
        >>> bell.close()
    """

    def __init__(self) -> None:
        self._cords: set[socket] = set()

    def hang(self, queues: Sequence[str]) -> Bell:
        """Return a bell that rings for `queues`."""
        ear, cord = socketpair(AF_UNIX, SOCK_DGRAM)
        ear.settimeout(0)
        cord.settimeout(0)
        cords = self._cords
        cords.add(cord)

        def take_down() -> None:
            cords.discard(cord)
            cord.close()

        return _Bell(ear, queues, take_down)

    def ring(self, names: Sequence[str]) -> None:
        """Ring the bells: `names` are the queues that got something."""
        for cord in list(self._cords) if names else ():
            # Full, so it has been rung often enough; or its bell was closed meanwhile.
            with suppress(OSError):
                cord.send(_ring(names))


@frozen
class _Listing:
    """The bells in a folder, as they were when it last changed."""

    changed: int
    made: int
    names: tuple[str, ...]

    def holds(self, changed: int) -> bool:
        return changed == self.changed and self.made - changed > _TICK


class FolderBells:
    """
    The bells that the processes of this machine hang in a folder of theirs.

    Where nobody waits, to ring is to ask the system for one file's state. The folder must be the
    user's own, no symbolic link and closed to others: else no bell is hung and none is rung.

    Args:
        folder: The folder; made when the first bell is hung.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     bells = FolderBells(Path(folder) / "bells")
        ...     bell = bells.hang(["emails"])
        ...     FolderBells(Path(folder) / "bells").ring(["orders"])
        ...     heard = bell.silence()
        ...     bell.close()
        >>> heard
        False
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = str(folder)
        self._listing = _Listing(changed=0, made=0, names=())

    def hang(self, queues: Sequence[str]) -> Bell | None:
        """Return a bell that rings for `queues`, or None where there can be none."""
        path = self._folder / token_hex(8)
        ear = socket(AF_UNIX, SOCK_DGRAM)
        ear.settimeout(0)
        # A read-only disk, a system without such sockets: the worker looks by itself, as it does
        # anyway.
        with suppress(OSError):
            with suppress(FileExistsError):
                os.mkdir(self._folder, 0o700)
            with self._opened() as (_, place):
                if place:
                    ear.bind(f"{place}/{path.name}")
                    return _Bell(ear, queues, partial(_remove, path))
        ear.close()
        return None

    def ring(self, names: Sequence[str]) -> None:
        """Ring the bells: `names` are the queues that got something."""
        # As long as no worker has ever waited there is no folder: that is told soonest so.
        if not os.access(self._path, os.F_OK):
            return
        # Whatever goes wrong here, what was pushed is stored: a worker finds it when it looks.
        with suppress(OSError):
            changed = os.stat(self._folder).st_mtime_ns
            listing = self._listing
            if not listing.holds(changed):
                made = time.time_ns()
                listing = _Listing(changed, made, tuple(os.listdir(self._folder)))
                self._listing = listing
            if names and listing.names:
                self._ring_each(listing.names, _ring(names))

    def _ring_each(self, bells: Iterable[str], ring: bytes) -> None:
        with self._opened() as (folder, place), socket(AF_UNIX, SOCK_DGRAM) as cord:
            cord.settimeout(0)
            for name in bells if place else ():
                try:
                    cord.sendto(ring, f"{place}/{name}")
                except ConnectionRefusedError:
                    # Its process died: no other will ever wait there.
                    _remove(name, folder)
                except OSError:
                    # Full, so it has been rung often enough; or it was just taken down.
                    continue

    @contextmanager
    def _opened(self) -> Generator[tuple[int, str]]:
        """Give the folder's descriptor and a path to it, empty if the folder is not ours alone."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(folder)
            place = str(self._folder)
            if os.geteuid() not in {0, found.st_uid} or found.st_mode & 0o077:
                place = ""
            elif len(os.fsencode(place)) > _PATH_LENGTH:
                place = f"/proc/self/fd/{folder}"
            yield folder, place
        finally:
            os.close(folder)


def _remove(name: str | Path, folder: int | None = None) -> None:
    # Another may have removed it already. What is no socket was not put there by us.
    with suppress(OSError):
        if stat.S_ISSOCK(os.lstat(name, dir_fd=folder).st_mode):
            os.unlink(name, dir_fd=folder)
