"""The worker: claim, run, settle, until there is a reason to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.bus import EventBus
from eventbus.defaults import (
    ACTION_TEXT_LIMIT,
    GRACE,
    LEASE,
    SLEEP,
    STORE_BACKOFF_LIMIT,
    TIMEOUT,
    TRIES,
)
from eventbus.dispatch.waiting import drive
from eventbus.errors import BackendError, ConfigurationError, InvalidOption
from eventbus.queue.envelope import valid_name
from eventbus.queue.execute import Executor
from eventbus.queue.execution import Execution, Rules
from eventbus.queue.lifecycle import WorkerStarting, WorkerStopping
from eventbus.queue.options import backoff_of, seconds, whole_tries
from eventbus.worker.leases import Leases
from eventbus.worker.signals import Signals

__all__ = ["ExitCode", "Worker", "printable", "short"]

_log = logging.getLogger("eventbus.worker")


class ExitCode(IntEnum):
    """What `eventbus-worker` exits with."""

    #: Stopped as it was asked to; with `--once`, the job succeeded or there was none.
    DONE = 0
    #: `--once`, and the job raised.
    JOB_RAISED = 1
    #: The command was used wrongly.
    USAGE = 2
    #: The application cannot be loaded, or its listeners cannot.
    APPLICATION = 3
    #: The store could not be reached at the start.
    BACKEND = 4
    #: It had to interrupt a job to stop in time; the job is back in its queue.
    INTERRUPTED = 124


class Worker:
    """
    Claims jobs and runs them, one after the other, in this thread.

    In the main thread it stops on SIGTERM and SIGINT, and ends runs that take longer than their
    timeout; in another thread it has no signals, and cannot end a sync listener.

    Args:
        bus: Whose listeners run.
        connection: Where jobs lie. Default: the bus's default connection.
        queues: Looked at in this order each time. Default: the connection's own queue.
        once: Run one job, or none if none is due, then stop.
        stop_when_empty: Stop when nothing is due.
        tries: For listeners that do not say; 0 is no limit.
        timeout: Seconds, for listeners that do not say; 0 is no limit.
        backoff: Seconds, or one for each attempt, for listeners that do not say.
        sleep: Seconds between two looks at empty queues.
        lease: Seconds after which another worker takes over what this one left behind.
        grace: Seconds that the running job has once the worker is told to stop.

    Raises:
        InvalidOption: One of these cannot be.
        UnknownConnection: Nobody configured `connection`.

    Example:
        >>> from eventbus import EventBus
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> Worker(bus, stop_when_empty=True).run()
        <ExitCode.DONE: 0>
    """

    def __init__(
        self,
        bus: EventBus,
        connection: str | None = None,
        queues: Sequence[str] = (),
        *,
        once: bool = False,
        stop_when_empty: bool = False,
        tries: int = TRIES,
        timeout: float | timedelta = TIMEOUT,
        backoff: float | timedelta | Sequence[float | timedelta] = 0.0,
        sleep: float | timedelta = SLEEP,
        lease: float | timedelta = LEASE,
        grace: float | timedelta = GRACE,
    ) -> None:
        self.bus = bus
        self.connection = bus.connections.checked(connection)
        names = [queues] if isinstance(queues, str) else queues
        self.queues = tuple(valid_name(one, where="a worker") for one in names)
        self.once = once
        self.stop_when_empty = stop_when_empty
        self.rules = Rules(
            tries=whole_tries(tries, where="a worker"),
            timeout=seconds(timeout, option="timeout", where="a worker"),
            backoff=backoff_of(backoff, where="a worker"),
        )
        self.sleep = _some(sleep, "sleep")
        self.lease = _some(lease, "lease")
        self.signals = Signals(grace=seconds(grace, option="grace", where="a worker"))
        #: How many jobs it ran.
        self.processed = 0
        self._raised = False

    def __repr__(self) -> str:
        return f"<Worker on {', '.join(self.queues) or 'the default queue'} of {self.connection}>"

    def stop(self) -> None:
        """Stop after the running job, however long it takes; from any thread."""
        self.signals.stop()

    def run(self) -> ExitCode:
        """
        Claim and run until there is a reason to stop.

        Raises:
            DiscoveryError: The listeners cannot be loaded.
            ListenError: Two of them have one stored name.
        """
        bus = self.bus
        bus.discover()
        executor = bus.executor(self.rules, self.signals)
        _ = bus.enqueuer.catalogue  # two listeners of one name end a worker here, not at a job
        port = bus.connections.port(self.connection)
        queues = self.queues or (port.default_queue,)
        try:
            port.next_due(queues)
        except (BackendError, ConfigurationError) as error:  # a file that others may write, say
            _log.error("the store cannot be used: %s", error)
            return ExitCode.BACKEND
        started_at = datetime.now(UTC)
        with self.signals, Leases(port, lease=self.lease) as leases:
            _log.info("worker begins: %s of %s", ", ".join(queues), port.backend.name)
            drive(bus.announce(WorkerStarting(connection=port.name, queues=queues)), bus)
            reason = "error"
            try:
                reason = self._loop(port, queues, executor, leases)
            finally:
                _log.info("worker ends: %s, after %d jobs", reason, self.processed)
                stopping = WorkerStopping(
                    connection=port.name,
                    queues=queues,
                    reason=reason,
                    processed=self.processed,
                    started_at=started_at,
                )
                drive(bus.announce(stopping), bus)
        if self.signals.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.JOB_RAISED if self.once and self._raised else ExitCode.DONE

    def _loop(self, port: Port, queues: tuple[str, ...], executor: Executor, leases: Leases) -> str:
        """Work until there is a reason to stop; return it."""
        away = 0
        while not self.signals.stopping:
            claims: list[Claim] = []
            try:
                claims = port.claim(queues, limit=1, lease=self.lease)
                for claim in claims:
                    self._work(claim, port, executor, leases)
                pause = 0.0 if claims else self._pause(port, queues)
                away = 0
            except BackendError as error:
                pause = float(min(2**away, STORE_BACKOFF_LIMIT))  # of whole numbers: no overflow
                away += 1
                _log.warning("the store is away, next try in %g s: %s", pause, error)
                if self.once and claims:
                    self._raised = (
                        True  # it ran, and will run again: the store does not know it did
                    )
                    return "once"
                self.signals.wait(pause)
                continue
            if self.once:
                return "once"
            if not claims and self.stop_when_empty:
                return "empty"
            if pause:
                self.signals.wait(pause)
        return "signal"

    def _pause(self, port: Port, queues: tuple[str, ...]) -> float:
        """Return how long to wait: until the next delayed job is due, at most `sleep`."""
        due = port.next_due(queues)
        return self.sleep if due is None else min(max(due, 0.001), self.sleep)

    def _work(self, claim: Claim, port: Port, executor: Executor, leases: Leases) -> None:
        began = time.perf_counter()
        with leases.holding(claim):
            execution: Execution = drive(executor.run(claim, port), self.bus)
        self.processed += 1
        self._raised = execution.error is not None
        took = (time.perf_counter() - began) * 1000
        raised = execution.error
        level = logging.INFO if raised is None else logging.WARNING
        _log.log(
            level,
            "%s %s attempt %d: %s, %.0f ms%s",
            printable(execution.attempt.name or "(unreadable)"),
            printable(execution.envelope.id),
            execution.attempt.number,
            execution.outcome,
            took,
            "" if raised is None else f" ({printable(short(raised))})",
            extra={"job": {**execution.facts, "outcome": execution.outcome, "duration_ms": took}},
        )


def _some(value: float | timedelta, option: str) -> float:
    found = seconds(value, option=option, where="a worker")
    if not found:
        raise InvalidOption(
            option=option, value=value, expected="more than 0 seconds", where="a worker"
        )
    return found


def short(error: BaseException) -> str:
    """Return the type and the message of an error on one line, whatever its `__str__` does."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 -- a __str__ that raises
        text = "its message cannot be shown"
    return f"{type(error).__name__}: {text}"


def printable(text: str) -> str:
    """Return `text` for a log: on one line, without control characters, of bounded length."""
    shown = "".join(
        one if one.isprintable() else ascii(one)[1:-1] for one in text[:ACTION_TEXT_LIMIT]
    )
    return shown if len(text) <= ACTION_TEXT_LIMIT else f"{shown}..."
