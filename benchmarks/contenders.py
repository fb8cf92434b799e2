"""
Who is measured on Redis: what its worker is started with, and what that one loses when it is killed.

Each peer as its documentation says it is fastest on two cores (the settings are in `apps` and here), and of several
such settings the fastest; those that can be told to give the jobs of a killed worker back within a minute are.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

import checkout
import environments
from attrs import field, frozen

US = "eventbus"
TWO = "eventbus, two workers"
RAW = "raw redis-py, by 100"


@frozen
class Contender:
    """A library with its settings."""

    name: str
    #: A module of `apps`.
    app: str
    #: What follows the interpreter.
    worker: tuple[str, ...] = field(repr=False)
    #: The settings of the worker, in words.
    setting: str = ""
    #: How many of the jobs of a drain it is given: the slow are as quick with few as with many.
    share: float = 1.0
    #: How many such processes are started.
    processes: int = 1
    #: The environment that it lives in, if not in ours.
    peer: str = ""
    #: What becomes of the jobs of a killed worker, as its code says.
    killed: str = ""
    #: Whether they are back within a minute.
    gives_back: bool = False

    def python(self) -> str:
        return environments.python_of(self.peer)


_WORKER = "from eventbus.worker.command import main; main()"
_OURS: Mapping[str, Any] = {
    "app": "ours",
    "worker": ("-c", _WORKER, "apps.ours:bus", "--quiet", "--lease", "5"),
    "killed": "given back when the lease ends",
    "gives_back": True,
}
OURS = Contender(US, setting="a process", **_OURS)
BOTH = Contender(TWO, setting="2 processes", processes=2, **_OURS)
BY_HAND = Contender(
    RAW,
    "raw",
    ("-m", "apps.raw", "drain"),
    setting="a process",
    killed="left in the second list, for whoever looks there",
)

PEERS = (
    Contender(
        "huey",
        "huey_app",
        ("-m", "huey.bin.huey_consumer", "apps.huey_app.huey", "-k", "process", "-w", "2", "-q"),
        setting="2 processes",
        share=0.4,
        killed="taken out before it runs: lost",
    ),
    Contender(
        "dramatiq",
        "dramatiq_app",
        ("-m", "dramatiq", "apps.dramatiq_app", "-p", "2", "-t", "8"),
        setting="2 processes of 8 threads",
        share=0.2,
        killed="requeued by chance, one in a thousand commands of another worker, after 60 s of silence",
    ),
    Contender(
        "taskiq",
        "taskiq_app",
        ("-m", "taskiq", "worker", "apps.taskiq_app:broker", "--workers", "2", "--max-async-tasks", "100",
         "--log-level", "ERROR"),
        setting="its stream broker, 2 processes of 100 tasks",
        share=0.2,
        peer="taskiq",
        killed="claimed after 10 min of silence, and only when another job comes",
    ),
    Contender(
        "saq",
        "saq_app",
        ("-m", "saq", "apps.saq_app.settings", "--workers", "2", "--quiet"),
        setting="2 processes of 10 jobs",
        share=0.1,
        peer="saq",
        killed="swept after its time-out, and run again where tries are left (`sweep` 5 s, 3 tries)",
        gives_back=True,
    ),
    Contender(
        "arq",
        "arq_app",
        ("-m", "arq", "apps.arq_app.WorkerSettings", "--custom-log-dict", "apps.arq_app.QUIET"),
        setting="2 processes of 100 jobs, a poll each 10 ms",
        share=0.1,
        processes=2,
        peer="arq",
        killed="free again after `job_timeout` and 10 s (5 s and 10 s)",
        gives_back=True,
    ),
    Contender(
        "streaq",
        "streaq_app",
        ("-m", "streaq", "run", "apps.streaq_app:worker", "--workers", "2"),
        setting="2 processes of 64 jobs",
        share=0.1,
        peer="streaq",
        killed="claimed by another after `idle_timeout` (5 s)",
        gives_back=True,
    ),
    Contender(
        "celery",
        "celery_app",
        ("-m", "celery", "-A", "apps.celery_app", "worker", "-P", "prefork", "-c", "2", "--without-gossip",
         "--without-mingle", "--without-heartbeat", "-l", "ERROR"),
        setting="prefork, 2 processes",
        share=0.1,
        killed="acked when it begins: lost; what was fetched is back after an hour",
    ),
    Contender(
        "rq",
        "rq_app",
        ("-m", "rq.cli", "worker-pool", "-n", "2", "-w", "rq.worker.SimpleWorker", "-q"),
        setting="a pool of 2 `SimpleWorker`",
        share=0.03,
        killed="moved to the failed ones, within 10 min",
    ),
)  # fmt: skip
#: The distributions whose versions are told, by the environment that they are in.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "": ("redis", "hiredis", "celery", "dramatiq", "huey", "rq"),
    "arq": ("arq", "redis"),
    "saq": ("saq", "redis"),
    "streaq": ("streaq", "coredis"),
    "taskiq": ("taskiq", "taskiq-redis", "redis"),
}
_VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps([importlib.metadata.version(one) for one in sys.argv[1:]]))
"""


def available() -> tuple[list[Contender], dict[str, str]]:
    """Return the peers that can be started, and why the others cannot."""
    found: list[Contender] = []
    missing: dict[str, str] = {}
    for one in PEERS:
        code = f"import importlib; importlib.import_module('apps.{one.app}')"
        try:
            _said(one.peer, code)
        except environments.CannotBeMade as error:
            missing[one.name] = f"{error}"
        else:
            found.append(one)
    return found, missing


def versions() -> str:
    """Return what is installed where, in a line."""
    return ", ".join(_versions())


def _versions() -> Iterable[str]:
    for peer, names in DISTRIBUTIONS.items():
        try:
            found = json.loads(_said(peer, _VERSIONS, *names))
        except environments.CannotBeMade as error:
            yield f"{peer or 'peers'}: {error}"
            continue
        own = [f"{name} {version}" for name, version in zip(names, found, strict=True)]
        yield f"{own[0]} (with {', '.join(own[1:])})" if peer else ", ".join(own)


def _said(peer: str, code: str, *arguments: str) -> str:
    """Return what a few lines print in the environment of a peer."""
    done = subprocess.run(
        [environments.python_of(peer), "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=checkout.HERE,
        env={**os.environ, "BENCH_URL": "redis://127.0.0.1:1/0"},  # nothing is connected to
    )
    if done.returncode:
        raise environments.CannotBeMade(done.stderr.strip().splitlines()[-1])
    return done.stdout
