"""What a worker was given, checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypedDict

from attrs import frozen

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.defaults import BATCH_LIMIT, CONCURRENCY_LIMIT, CONCURRENCY_SLACK, LEASE, SLEEP
from eventbus.errors import InvalidOption
from eventbus.values import seconds

__all__ = ["Claiming", "Settings", "WorkerOptions", "checked", "duration", "ledgers_for", "whole"]

#: Seconds, or a `timedelta`.
Duration = float | timedelta
#: Takes jobs from a connection: queues in order, most jobs, seconds of lease.
Claiming = Callable[[Port, Sequence[str], int, float], list[Claim]]


class WorkerOptions(TypedDict, total=False):
    """What a `Worker` takes by name; it says what each of them means."""

    once: bool
    stop_when_empty: bool
    include_delayed: bool
    max_jobs: int
    max_time: Duration
    memory: int
    rest: Duration
    tries: int
    timeout: Duration
    backoff: Duration | Sequence[Duration]
    sleep: Duration
    lease: Duration
    grace: Duration
    batch: int
    threads: int
    concurrency: int
    name: str | None
    health_file: str | os.PathLike[str] | None
    paused_when: Callable[[], bool] | None
    claim: Claiming | None


def duration(option: str, value: Duration) -> float:
    """Return seconds, >= 0; `InvalidOption` if `value` is no duration."""
    return seconds(value, option=option, where="a worker")


def _some(option: str, value: Duration) -> float:
    found = duration(option, value)
    if not found:
        raise InvalidOption(
            option=option, value=value, expected="more than 0 seconds", where="a worker"
        )
    return found


def whole(option: str, value: int, *, least: int) -> int:
    """Return a whole number of at least `least`; `InvalidOption` if `value` is none."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise InvalidOption(
        option=option, value=value, expected=f"a whole number >= {least}", where="a worker"
    )


def _claimed(port: Port, queues: Sequence[str], limit: int, lease: float) -> list[Claim]:
    return port.claim(queues, limit=limit, lease=lease)


@frozen(kw_only=True)
class Settings:
    """How a worker works; `Worker` says what each of them means. 0 is no limit."""

    once: bool
    stop_when_empty: bool
    include_delayed: bool
    max_jobs: int
    #: Seconds.
    max_time: float
    #: MiB.
    memory: int
    #: Seconds.
    sleep: float
    rest: float
    lease: float
    #: Jobs.
    batch: int
    threads: int
    concurrency: int
    paused_when: Callable[[], bool] | None
    claim: Claiming

    @property
    def ledgers(self) -> int:
        """How many ledgers it needs where another worker follows it."""
        return ledgers_for(self.threads, self.concurrency)


def ledgers_for(threads: int, concurrency: int) -> int:
    """Return how many ledgers a worker needs: of each thread; or of claims, and of each job that is held."""
    return threads if concurrency == 1 else 1 + concurrency + CONCURRENCY_SLACK


def _check_together(threads: int, concurrency: int) -> None:
    """Refuse what cannot be said of jobs that run at once."""
    whole("threads", threads, least=1)
    whole("concurrency", concurrency, least=1)
    if threads > 1 < concurrency:
        expected = "1 beside several threads: they are for sync jobs, it is for async ones"
    elif concurrency > CONCURRENCY_LIMIT:
        expected = f"at most {CONCURRENCY_LIMIT:,}"
    else:
        return
    raise InvalidOption(
        option="concurrency", value=concurrency, expected=expected, where="a worker"
    )


def checked(
    *,
    once: bool = False,
    stop_when_empty: bool = False,
    include_delayed: bool = False,
    max_jobs: int = 0,
    max_time: Duration = 0.0,
    memory: int = 0,
    sleep: Duration = SLEEP,
    rest: Duration = 0.0,
    lease: Duration = LEASE,
    batch: int = BATCH_LIMIT,
    threads: int = 1,
    concurrency: int = 1,
    paused_when: Callable[[], bool] | None = None,
    claim: Claiming | None = None,
) -> Settings:
    """Return what was given, if all of it can be; else `InvalidOption`."""
    _check_together(threads, concurrency)
    if once:
        threads = concurrency = 1
    return Settings(
        once=once,
        stop_when_empty=stop_when_empty,
        include_delayed=include_delayed,
        max_jobs=whole("max_jobs", max_jobs, least=0),
        max_time=duration("max_time", max_time),
        memory=whole("memory", memory, least=0),
        sleep=_some("sleep", sleep),
        rest=duration("rest", rest),
        lease=_some("lease", lease),
        batch=whole("batch", batch, least=1),
        threads=threads,
        concurrency=concurrency,
        paused_when=paused_when,
        claim=_claimed if claim is None else claim,
    )
