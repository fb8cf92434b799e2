"""
Run hostile jobs in this process under an audit hook, and print what Python did meanwhile, as JSON.

    python audited.py FOLDER URL VARIANT

FOLDER has the application `shop` and `bodies`, a JSON array of bodies in base64. VARIANT is `real`, or
the name of a flaw that is put in first, to show that the hook sees what it leads to.
"""

from __future__ import annotations

import base64
import json
import linecache
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

#: Events that no payload may cause. `open` is not among them: a store opens files.
FORBIDDEN = (
    "import",
    "exec",
    "compile",
    "code.__new__",
    "cpython.run_",
    "ctypes.",
    "function.__new__",
    "gc.",
    "marshal.",
    "object.__setattr__",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pickle.",
    "pty.",
    "shutil.",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostby",
    "socket.send",
    "subprocess.",
    "sys.addaudithook",
    "sys.setprofile",
    "sys.settrace",
    "urllib.",
    "webbrowser.",
)


def main(folder: Path, url: str, variant: str) -> None:
    os.environ["TRAP_URL"] = url
    sys.path.insert(0, str(folder))
    logging.basicConfig(filename=folder / "log", level=logging.INFO)

    from poison import CORPUS, Poison, good  # beside this file

    from eventbus.queue.envelope import Envelope
    from eventbus.worker import Worker
    from shop import bus

    def small(one: Poison) -> bool:
        return not one.columns and isinstance(one.body, bytes) and len(one.body) < 20_000

    bodies = [base64.b64decode(one) for one in json.loads((folder / "bodies").read_text())]
    port = bus.connections.port()

    def work(prefix: str, some: list[bytes]) -> list[str]:
        ids = [f"{prefix}{at:05}" for at in range(len(some))]
        port.push(
            [
                Envelope(id=key, queue="default", body=one.replace(b"{id}", key.encode()))
                for key, one in zip(ids, some, strict=True)
            ]
        )
        Worker(bus, stop_when_empty=True).run()
        return ids

    # Once beforehand, so that what is loaded or compiled at its first use is: every kind of refusal.
    work("warm", [good(-1), *(one.body for one in CORPUS if small(one))])
    ran, parked = folder.joinpath("ran").read_text(), port.size("default").delayed
    FLAWS.get(variant, lambda: None)()
    seen: list[str] = []
    bells = f"{folder}/queue.db-bells/"
    watching = False

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        if not watching or not name.startswith(FORBIDDEN):
            return
        if name == "compile" and _is_line(*arguments[:2]):
            return  # a traceback looks for the part of a line of code to underline
        if name == "sys.settrace" and "coverage" in sys.modules:
            return  # these tests, measured
        # By the folder's descriptor where its path is too long for a socket.
        if name.startswith("socket.") and str(arguments[1]).startswith((bells, "/proc/self/fd/")):
            return  # how a push wakes the workers: a socket in a folder beside the store
        seen.append(f"{name} {str(arguments)[:200]}")

    sys.addaudithook(hook)
    watching = True
    ids = work("attack", bodies)
    watching = False
    failed = {one.envelope.id for one in port.each_failed()}
    waiting = port.size("default").delayed - parked
    found = {
        "seen": seen[:100],
        "failed": sum(one in failed for one in ids),
        "waiting": waiting,
        "pushed": len(ids),
        "ran": folder.joinpath("ran").read_text().removeprefix(ran).split(),
    }
    sys.stdout.write(json.dumps(found))


def _is_line(source: object, file: object) -> bool:
    """Tell whether `source` is a piece of a line of code that a traceback shows."""
    text = source.decode("utf-8", "replace") if isinstance(source, bytes) else str(source)
    # It is put in parentheses so that it may go over several lines.
    text = text.strip().removeprefix("(").removesuffix(")").strip()
    lines = [line for entry in linecache.cache.values() if len(entry) > 2 for line in entry[2]]
    return file == "<unknown>" and all(
        any(part.strip() in line for line in lines) for part in text.splitlines()
    )


def _unpickles() -> None:
    """Read bodies as pickles, if they are some."""
    import pickle

    from eventbus.queue.codec import reader

    sound = reader.read

    def read(body: bytes, **more: str) -> object:
        with suppress(Exception):
            pickle.loads(body)
        return sound(body, **more)

    reader.read = read  # type: ignore[assignment]


def _imports() -> None:
    """Find a listener by importing its name, and call it."""
    from importlib import import_module

    from eventbus.queue.catalogue import Catalogue

    sound = Catalogue.entry

    def entry(self: Catalogue, name: str, *kind: str) -> object:
        with suppress(Exception):
            module, _, attribute = name.replace(":", ".").rpartition(".")
            getattr(import_module(module), attribute)("true")
        return sound(self, name, *kind)

    Catalogue.entry = entry  # type: ignore[assignment,method-assign]


def _evaluates() -> None:
    """Evaluate what a job calls its event."""
    from eventbus.queue.catalogue import Catalogue

    sound = Catalogue.entry

    def entry(self: Catalogue, name: str, *kind: str) -> object:
        with suppress(Exception):
            eval(name)
        return sound(self, name, *kind)

    Catalogue.entry = entry  # type: ignore[assignment,method-assign]


FLAWS = {"unpickles": _unpickles, "imports": _imports, "evaluates": _evaluates}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
