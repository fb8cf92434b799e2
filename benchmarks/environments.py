"""
Environments of their own for the peers that cannot be installed beside the others, in `build/peers`.

They are made when they are first wanted. A peer whose environment cannot be made is not measured.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache

import checkout

#: What is installed there, and why it must be there.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "arq": ("arq>=0.26", "hiredis"),  # wants a redis-py below 6
    "saq": ("saq[redis,hiredis]>=0.26", "typing_extensions"),  # wants a redis-py below 8
    # Both want an anyio that wants a newer typing-extensions than pymitter does; pytest warns of the older one.
    "streaq": ("streaq>=7.0",),
    "taskiq": ("taskiq>=0.12", "taskiq-redis>=1.2.4", "hiredis"),
}
_FOLDER = checkout.HERE.parent / "build" / "peers"


class CannotBeMade(Exception):  # noqa: N818
    """Why an environment is not there."""


def python_of(peer: str) -> str:
    """
    Return the interpreter of a peer.

    Raises:
        CannotBeMade: What it needs cannot be installed.
    """
    return sys.executable if peer not in REQUIRED else _made(peer)


@cache
def _made(peer: str) -> str:
    folder = _FOLDER / peer
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = "\n".join((sys.version, *REQUIRED[peer]))
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        print(f"installing {peer} into {folder}", file=sys.stderr)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "-qq", *REQUIRED[peer]])
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"{done.returncode}"]
        raise CannotBeMade(lines[-1])
