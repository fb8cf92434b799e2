"""
What a power cut may leave of the files of one folder.

`power_cut.c`, preloaded into a process, records what it does to a folder. `Disk` replays the record
up to any point of it and makes a state that a disk may then be in, as far as POSIX goes:

- What was synced is there. Of each 512-byte sector that was written since, any version may be there,
  each sector by itself; so a write may be torn, and a later write may have arrived before an earlier.
- A file's size, too, may be any that it had since its last sync.
- A name that was made, changed or removed since the folder was last synced may be in either state.

One run so gives as many cuts as it has records, each the same whenever it is looked at.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import Factory, define, frozen

SECTOR = 512

#: Chooses one of so many versions, the first of them the one that was synced, the last the newest.
Choice = Callable[[int], int]


def nothing_unsynced(_: int) -> int:
    """The cut takes all that was not synced."""
    return 0


def recorder(folder: Path) -> Path:
    """Compile what records."""
    return compiled("power_cut", folder)


def compiled(name: str, folder: Path) -> Path:
    """Compile a library to preload; skip the test where there is no C compiler, but not in CI."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no C compiler for {name}.c")
        pytest.skip("no C compiler")
    library = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl", "-lm"]
    subprocess.run(command, check=True)
    return library


@frozen
class Record:
    """One thing that a process did to the folder; see `power_cut.c`."""

    kind: str
    file: int
    position: int
    content: bytes


def records(log: Path) -> Iterator[Record]:
    """Read what was recorded, in order."""
    head = struct.Struct("=cQQQ")
    with log.open("rb") as file:
        while start := file.read(head.size):
            kind, inode, position, length = head.unpack(start)
            yield Record(kind.decode(), inode, position, file.read(length))


@define(eq=False)
class _File:
    #: As it was synced last.
    durable: bytearray = Factory(bytearray)
    #: As the processes see it.
    now: bytearray = Factory(bytearray)
    #: What was done since: written (position, content), or cut to a size.
    pending: list[tuple[int, bytes] | int] = Factory(list)

    def change(self, change: tuple[int, bytes] | int) -> None:
        _change(self.now, change)
        self.pending.append(change)

    def sync(self) -> None:
        self.durable = bytearray(self.now)
        self.pending.clear()

    def left(self, choose: Choice) -> bytes:
        """
        Return what the cut leaves of the file.

        To be cut to a size is one step of the file system, and what was written after it can only
        be there if it was done. So some of those steps are chosen, and sectors between them.
        """
        found, now = bytearray(self.durable), bytearray(self.durable)
        sizes, versions = [len(now)], dict[int, list[bytes]]()
        steps = choose(1 + sum(isinstance(change, int) for change in self.pending))
        for change in self.pending:
            if isinstance(change, int):
                if not steps:
                    break
                steps -= 1
                _arrive(found, versions, choose)
                _change(found, change)
                _change(now, change)
                sizes, versions = [change], {}
            else:
                _change(now, change)
                sizes.append(len(now))
                position, content = change
                for at in range(position // SECTOR * SECTOR, position + len(content), SECTOR):
                    versions.setdefault(at, []).append(bytes(now[at : at + SECTOR]))
        size = sizes[choose(len(sizes))]
        _arrive(found, versions, choose)
        _change(found, size)
        return bytes(found)


def _change(content: bytearray, change: tuple[int, bytes] | int) -> None:
    """Write to `content`, or cut or grow it."""
    position, written = (change, b"") if isinstance(change, int) else change
    content.extend(bytes(max(0, position - len(content))))
    if isinstance(change, int):
        del content[position:]
    content[position : position + len(written)] = written


def _arrive(content: bytearray, versions: dict[int, list[bytes]], choose: Choice) -> None:
    """Let one version of each sector, or none, reach the disk."""
    for at, found in versions.items():
        chosen = choose(len(found) + 1)
        if chosen:
            _change(content, (at, found[chosen - 1]))


class Disk:
    """The folder as the records so far have made it."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        #: What each name led to when the folder was synced last, and after each change since.
        self._names: dict[str, list[_File | None]] = {}

    def apply(self, record: Record) -> None:
        if record.kind == "C":
            self._files[record.file] = made = _File()
            self._name(record.content.decode(), made)
        elif record.kind == "W":
            self._files[record.file].change((record.position, record.content))
        elif record.kind == "T":
            self._files[record.file].change(record.position)
        elif record.kind == "U":
            self._name(record.content.decode(), None)
        elif record.kind == "R":
            old, new = record.content.decode().split("/")
            self._name(new, self._names[old][-1])
            self._name(old, None)
        elif record.file in self._files:
            self._files[record.file].sync()
        else:  # the folder
            self._names = {name: found[-1:] for name, found in self._names.items()}

    def _name(self, name: str, file: _File | None) -> None:
        self._names.setdefault(name, [None]).append(file)

    def seen(self) -> dict[str, bytes]:
        """Return the files as the processes see them."""
        return {
            name: bytes(found[-1].now)
            for name, found in self._names.items()
            if found[-1] is not None
        }

    def left(self, choose: Choice) -> dict[str, bytes]:
        """Return the files as a power cut leaves them now."""
        chosen = {name: found[choose(len(found))] for name, found in self._names.items()}
        return {name: file.left(choose) for name, file in chosen.items() if file is not None}
