"""The worker: a process, or a thread, that claims jobs and runs them."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from eventbus.backends.base import Claim
from eventbus.backends.orders import Orders
from eventbus.backends.port import Port
from eventbus.bus import EventBus
from eventbus.defaults import BATCH_LIMIT, GRACE, LEASE, SLEEP, TIMEOUT, TRIES
from eventbus.errors import BackendError, ConfigurationError
from eventbus.queue.execution import Rules
from eventbus.queue.lifecycle import WorkerStarting, WorkerStopping
from eventbus.queue.options import backoff_of, whole_tries
from eventbus.worker.beside import Beside
from eventbus.worker.exits import ExitCode, StopReason
from eventbus.worker.hand import Hand
from eventbus.worker.health import Health
from eventbus.worker.ledger import Ledger
from eventbus.worker.left import settle_left
from eventbus.worker.settings import Claiming, Settings, checked, duration
from eventbus.worker.shift import Shift
from eventbus.worker.signals import Signals
from eventbus.worker.stops import Tally
from eventbus.worker.telling import tell
from eventbus.worker.threads import Crew, ProcessSignals
from eventbus.worker.turns import Turns
from eventbus.worker.vital import State

if TYPE_CHECKING:
    from eventbus.worker.concurrency import LoopCrew

__all__ = ["Worker"]

_log = logging.getLogger("eventbus.worker")


class Worker:
    """
    Claims jobs and runs them, one after the other, in this thread; in a `with` block, in a thread beside it.

    In the main thread it obeys signals, and ends runs that take longer than their timeout; in another
    thread it has no signals, and cannot end a sync listener. A block ends after the running job, and raises
    what ended the worker before.

    Args:
        bus: Whose listeners run.
        connection: Where jobs lie.
        queues: Looked at in this order for each claim; or names and their weights, so that a busy one
            does not starve the others.
        once: Run one job, or none if none is due, then stop.
        stop_when_empty: Stop when nothing is due.
        include_delayed: With `stop_when_empty`: stop when nothing is delayed either.
        max_jobs: Stop after so many jobs; 0 is no limit.
        max_time: Stop after so many seconds; 0 is no limit.
        memory: Stop when the process holds so many MiB; 0 is no limit.
        rest: Seconds between two jobs.
        tries: For listeners that do not say; 0 is no limit.
        timeout: Seconds, for listeners that do not say; 0 is no limit.
        backoff: Seconds, or one for each attempt, for listeners that do not say.
        sleep: Seconds between two looks at empty queues, where no bell rings.
        lease: Seconds after which another worker takes over what this one left behind.
        grace: Seconds that the running job has once the worker is told to stop.
        batch: Most jobs claimed at once, fewer where jobs are slow; 1 claims and acks one by one.
        threads: How many jobs run at once, each in a thread of its own. A sync listener is not
            interrupted there: around one that is over its time the process ends, once it is a worker's own.
        concurrency: How many jobs run at once on one loop in this thread: for jobs that are async. While a
            sync one runs, the others stand still.
        name: What logs, events and the health file call it.
        health_file: A file that it keeps current, for `eventbus health`.
        paused_when: Asked before each claim; nothing is claimed while it answers True.
        claim: What takes jobs from the connection, in place of `Port.claim`.

    Raises:
        InvalidOption: One of these cannot be.
        UnknownConnection: Nobody configured `connection`.

    Defaults:
        connection = the bus's default one.
        queues = the connection's own.
        tries = `defaults.TRIES`; timeout = `defaults.TIMEOUT`; sleep = `defaults.SLEEP`.
        lease = `defaults.LEASE`; grace = `defaults.GRACE`; batch = `defaults.BATCH_LIMIT`.
        name = the machine's name and the process's number.

    Example:
        >>> from eventbus import EventBus
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> Worker(bus, stop_when_empty=True).run()
        <ExitCode.DONE: 0>
        >>> with Worker(bus) as worker:
        ...     worker.drain()
        True
    """

    #: Told what it holds, one by each thread; have what the worker before it held.
    ledgers: Sequence[Ledger] = (Ledger(),)
    #: What that one died of, if its job did it.
    died = ""
    #: How many jobs it ran.
    processed = 0
    #: Its thread, within a `with` block.
    _beside: Beside | None = None
    _health: Health | None = None

    def __init__(
        self,
        bus: EventBus,
        connection: str | None = None,
        queues: Sequence[str] | Mapping[str, int] = (),
        *,
        once: bool = False,
        stop_when_empty: bool = False,
        include_delayed: bool = False,
        max_jobs: int = 0,
        max_time: float | timedelta = 0.0,
        memory: int = 0,
        rest: float | timedelta = 0.0,
        tries: int = TRIES,
        timeout: float | timedelta = TIMEOUT,
        backoff: float | timedelta | Sequence[float | timedelta] = 0.0,
        sleep: float | timedelta = SLEEP,
        lease: float | timedelta = LEASE,
        grace: float | timedelta = GRACE,
        batch: int = BATCH_LIMIT,
        threads: int = 1,
        concurrency: int = 1,
        name: str | None = None,
        health_file: str | os.PathLike[str] | None = None,
        paused_when: Callable[[], bool] | None = None,
        claim: Claiming | None = None,
    ) -> None:
        self.bus = bus
        self.connection = bus.connections.checked(connection)
        self.turns = Turns(queues)
        self.rules = _rules(tries, duration("timeout", timeout), backoff)
        self.settings = checked(
            once=once,
            stop_when_empty=stop_when_empty,
            include_delayed=include_delayed,
            max_jobs=max_jobs,
            max_time=max_time,
            memory=memory,
            sleep=sleep,
            rest=rest,
            lease=lease,
            batch=batch,
            threads=threads,
            concurrency=concurrency,
            paused_when=paused_when,
            claim=claim,
        )
        self.signals = _signals(self.settings, duration("grace", grace))
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        if health_file is not None:
            self._health = Health(health_file, name=self.name, connection=self.connection)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it was given; empty for the connection's own."""
        return self.turns.queues

    def __repr__(self) -> str:
        return f"<Worker on {', '.join(self.queues) or 'the default queue'} of {self.connection}>"

    def __enter__(self) -> Self:
        self._load()
        self._beside = Beside(self.run, self.stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._beside is not None:
            self._beside.end(quiet=error is not None)

    def drain(self, timeout: float | None = None) -> bool:
        """
        Wait, within a `with` block, until no job of its queues is due or runs; delayed ones are not waited for.

        Args:
            timeout: Seconds to wait at most. Default: however long it takes.

        Returns:
            Whether that is so; False when the time is over or the worker has ended, and jobs are left.

        Raises:
            BackendError: The store cannot be asked.
        """
        port = self.bus.connections.port(self.connection)
        queues = self.queues or (port.default_queue,)

        def is_done() -> bool:
            return not any(one.ready or one.leased for one in map(port.size, queues))

        return is_done() if self._beside is None else self._beside.wait(is_done, timeout)

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
        self._load()
        port = self.bus.connections.port(self.connection)
        turns = self.turns if self.queues else Turns((port.default_queue,))
        orders: Orders | None = None
        try:
            orders = port.orders()
        except (BackendError, ConfigurationError) as error:  # a file that others may write, say
            if not (isinstance(error, BackendError) and error.retryable):
                _log.error("the store cannot be used: %s", error)
                return ExitCode.BACKEND
        return self._run(port, turns, orders)

    def _load(self) -> None:
        self.bus.discover()
        _ = self.bus.enqueuer.catalogue  # two listeners of one name end a worker here, not at a job

    def _run(self, port: Port, turns: Turns, orders: Orders | None) -> ExitCode:
        queues, said = turns.queues, {"name": self.name, "connection": port.name}
        with ExitStack() as ending:
            ending.enter_context(self.signals)
            if self._health is not None:
                ending.callback(self._health.close)
                self._health.beat(State.STARTING, queues=queues)
            crew = self._crew(port, turns, orders)
            ending.enter_context(crew)
            _log.info("worker begins: %s of %s", ", ".join(queues), port.backend.name)
            self._tell(WorkerStarting(queues=queues, **said))
            started_at = datetime.now(UTC)
            reason = StopReason.ERROR
            try:
                reason = crew.work(self._settle_left(port))
            finally:
                self.ledgers[0].ends(reason)
                self.processed += crew.processed
                _log.info("worker ends: %s, after %d jobs", reason, crew.processed)
                self._tell(
                    WorkerStopping(
                        queues=queues,
                        reason=reason,
                        processed=crew.processed,
                        started_at=started_at,
                        **said,
                    )
                )
        if crew.interrupted:
            return ExitCode.INTERRUPTED
        if reason is StopReason.MEMORY:
            return ExitCode.MEMORY
        return ExitCode.JOB_RAISED if self.settings.once and crew.raised else ExitCode.DONE

    def _crew(self, port: Port, turns: Turns, orders: Orders | None) -> Crew | LoopCrew:
        settings, tally = self.settings, Tally(self.settings.max_jobs)
        if settings.concurrency == 1:
            make = partial(self._shift, port, turns, orders, tally)
            return Crew(self.signals, make, threads=settings.threads)
        from eventbus.worker.concurrency import LoopCrew

        return LoopCrew(
            settings,
            port=port,
            executor=self.bus.executor(self.rules, self.signals),
            signals=self.signals,
            tally=tally,
            ledgers=self.ledgers,
            turns=turns,
            orders=orders,
            bus=self.bus,
            health=self._health,
            limit=self.rules.timeout,
        )

    def _shift(
        self,
        port: Port,
        turns: Turns,
        orders: Orders | None,
        tally: Tally,
        number: int,
        signals: Signals,
        others: Callable[[], Sequence[Hand]],
    ) -> Shift:
        executor = self.bus.executor(self.rules, signals)
        signals.on_stop = executor.interrupt
        ledger = self.ledgers[number] if number < len(self.ledgers) else Ledger()
        return Shift(
            self.settings,
            port=port,
            turns=turns,
            orders=orders,
            executor=executor,
            bus=self.bus,
            signals=signals,
            tally=tally,
            ledger=ledger,
            health=None if number else self._health,
            limit=self.rules.timeout,
            others=others,
        )

    def _settle_left(self, port: Port) -> Sequence[Claim]:
        """Settle what a worker before this one left behind; return what is to run alone."""
        return settle_left(
            self.ledgers,
            self.died,
            port=port,
            lease=self.settings.lease,
            executor=partial(self.bus.executor, self.rules, self.signals),
            here=self.bus,
        )

    def _tell(self, event: object) -> None:
        tell(event, bus=self.bus, limits=self.signals, limit=self.rules.timeout)


def _rules(tries: int, timeout: float, backoff: Any) -> Rules:
    """Return what holds where a listener does not say."""
    where = "a worker"
    return Rules(
        tries=whole_tries(tries, where=where),
        timeout=timeout,
        backoff=backoff_of(backoff, where=where),
    )


def _signals(settings: Settings, grace: float) -> Signals:
    """Return what hears signals for a worker's way to run jobs."""
    if settings.concurrency > 1:
        from eventbus.worker.tasks import (
            LoopSignals,  # and asyncio, which costs other workers memory
        )

        return LoopSignals(grace=grace)
    return Signals(grace=grace) if settings.threads == 1 else ProcessSignals(grace=grace)
