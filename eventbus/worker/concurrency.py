"""`--concurrency`: many jobs of one worker at once, as tasks of one loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.dispatch.waiting import adrive, new_loop
from eventbus.errors import BackendError
from eventbus.queue.execute import Executor
from eventbus.worker.claiming import ClaimingPort
from eventbus.worker.exits import StopReason
from eventbus.worker.hand import Hand
from eventbus.worker.hands import Hands
from eventbus.worker.leases import Leases
from eventbus.worker.ledger import Ledger
from eventbus.worker.rounds import Rounds
from eventbus.worker.settings import Settings
from eventbus.worker.signals import Signals
from eventbus.worker.stops import Tally
from eventbus.worker.stuck import end_around
from eventbus.worker.tasks import LoopSignals
from eventbus.worker.telling import report_ended, report_running
from eventbus.worker.threads import ThreadSignals
from eventbus.worker.vital import State

__all__ = ["LoopCrew"]

_log = logging.getLogger("eventbus.worker")


class _Feed(Rounds):
    """
    Claims as many jobs as there is room for, in a thread beside the loop, and hands them to it.

    Args:
        settings: What the worker was given.
        hands: What it holds.
        start: Starts jobs; called in this thread.
        ledger: Is told of each claim.
        options: As `Rounds`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        hands: Callable[[_Feed], Hands],
        start: Callable[[Sequence[Claim]], object],
        ledger: Ledger,
        **options: Any,
    ) -> None:
        super().__init__(settings, **options)
        self._claims_from = ClaimingPort(self._port, ledger)
        self.hands = hands(self)
        self._start = start
        self._ledger = ledger
        #: Nothing ran as it looked for jobs, and what had run was acked: that lets others come.
        self._is_idle = False

    def nudge(self) -> None:
        """Have it look again, from any thread: a job ended that it may wait for."""
        self._signals.nudge()

    @override
    def _room(self) -> int:
        settings, hands = self._settings, self.hands
        return int(min(settings.concurrency - hands.busy, settings.batch, hands.room))

    @override
    def _round(self) -> StopReason | None:
        if self._room() > 0:
            self._is_idle = not self.hands.busy
            if self._is_idle and self._settings.stop_when_empty:
                self.hands.flush()
            return super()._round()
        self._rest(State.WORKING, self._settings.sleep)
        return None

    @override
    def _ends(self, *, looked: bool = False, nothing: bool = False) -> StopReason | None:
        # What runs may queue more, or go back.
        return super()._ends(looked=looked, nothing=nothing and self._is_idle)

    @override
    def _rest(self, state: State, limit: float) -> None:
        super()._rest(State.WORKING if self.hands.busy and state is State.IDLE else state, limit)

    @override
    def _work(self, claims: Sequence[Claim], claimed_at: float, *, all_here: bool = False) -> None:
        self.hands.take_up(claims, claimed_at=claimed_at)
        self._ledger.holds_none()  # each job has its own by now
        self._start(claims)

    @override
    def _settle(self) -> None:
        """Nothing waits for a claim: what is done is acked beside the loop."""


class LoopCrew:
    """
    One loop in this thread on which the jobs of a worker run at once, and the thread that claims them.

    As a context it has a lease thread, and is ready for what may hang.

    Args:
        settings: What the worker was given.
        port: The connection.
        executor: Runs jobs.
        signals: Those of the process.
        tally: Counts the jobs.
        ledgers: The first is told of claims, each of the others of one job at a time.
        options: Of the rounds: `turns`, `orders`, `bus`, `health`, `limit`.
    """

    #: How many jobs ran, and whether the last raised.
    processed = 0
    raised = False

    def __init__(
        self,
        settings: Settings,
        *,
        port: Port,
        executor: Executor,
        signals: Signals,
        tally: Tally,
        ledgers: Sequence[Ledger],
        **options: Any,
    ) -> None:
        assert isinstance(signals, LoopSignals)  # a worker with `concurrency` has these
        self._executor = executor
        self._signals = signals
        signals.threads.clear()  # of a run before this one
        signals.on_stop = executor.interrupt
        self._tally = tally
        self._port = port
        ledger = ledgers[0]
        self._of_feed = ThreadSignals(signals)
        self._feed = _Feed(
            settings,
            port=port,
            signals=self._of_feed,
            tally=tally,
            ledger=ledger,
            start=self._start,
            hands=partial(self._make_hands, settings, ledgers[1:]),
            **options,
        )
        self._hands = self._feed.hands
        self._health = options["health"]
        self._ledger = ledger
        self._leases = self._make_leases(settings.lease)
        self._context = copy_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reason = StopReason.ERROR
        self._error: BaseException | None = None

    def _make_hands(self, settings: Settings, ledgers: Sequence[Ledger], feed: _Feed) -> Hands:
        return Hands(
            self._port,
            feed.try_again,
            lease=settings.lease,
            ledgers=ledgers,
            wake=self._wake,
            freed=feed.nudge,
            blocker=lambda: self._signals.blocker,
        )

    def _make_leases(self, lease: float) -> Leases:
        end = partial(
            end_around,
            self._hands,
            port=self._port,
            executor=self._executor,
            signals=self._signals,
            others=self._stop_claiming,
        )
        beats = self._health is not None or self._ledger.is_read
        return Leases(
            self._port,
            self._hands,
            lease=lease,
            watch=self._signals,
            end=end,
            beat=self._lives if beats else None,
        )

    def _stop_claiming(self) -> Sequence[Hand]:
        """Claim nothing more: the process is being ended, and what it gives back is for others."""
        self._signals.stop()
        return ()

    def _wake(self) -> None:
        self._leases.wake()

    def _lives(self) -> None:
        for ledger in (self._ledger, *self._hands.ledgers()):
            ledger.lives()
        if self._health is not None:
            self._health.alive()

    def __enter__(self) -> Self:
        self._leases.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._leases.__exit__(kind, error, where)

    @property
    def interrupted(self) -> bool:
        """Whether something was interrupted to stop in time."""
        return self._signals.interrupted

    def work(self, first: Sequence[Claim] = ()) -> StopReason:
        """
        Let all run until there is a reason to stop, and what runs has ended; return it.

        Args:
            first: What is held already: each of it runs while nothing else does.

        Raises:
            BackendError: The store cannot be used, and trying again would not help.
        """
        with asyncio.Runner(loop_factory=new_loop) as runner:
            self._loop = self._signals.loop = runner.get_loop()
            try:
                runner.run(self._work(first))
            finally:
                self._signals.loop = None
        if self._error is not None:
            raise self._error
        return self._reason

    async def _work(self, first: Sequence[Claim]) -> None:
        assert self._loop is not None  # `work` has set it
        self._hands.take_up(first)
        for claim in first:
            self._run([claim])
            await self._all_ended()
        done = asyncio.Event()
        feeding = threading.Thread(target=self._feed_all, args=(done,), name="eventbus-feed")
        feeding.start()
        await done.wait()
        await self._all_ended()
        feeding.join()
        await self._loop.run_in_executor(None, self._settle)

    async def _all_ended(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _settle(self) -> None:
        """Give back what has not begun, and write the acks of what is done."""
        try:
            self._hands.give_back()
            self._hands.flush()
        except BackendError as error:
            _log.warning("what a worker held comes back when its leases end: %s", error)
        finally:
            self._hands.let_go()

    # In the thread that claims.

    def _feed_all(self, done: asyncio.Event) -> None:
        assert self._loop is not None  # `work` has set it
        try:
            with self._of_feed:
                self._reason = self._feed.work()
        except BaseException as error:  # noqa: BLE001 -- raised by `work`
            self._error = self._error or error
            self._signals.stop()
        self._loop.call_soon_threadsafe(done.set)

    def _start(self, claims: Sequence[Claim]) -> None:
        assert self._loop is not None  # `work` has set it
        self._loop.call_soon_threadsafe(self._run, claims)

    # On the loop.

    def _run(self, claims: Sequence[Claim]) -> None:
        """Start a task for each, in a context of its own: what a job sets there ends with it."""
        assert self._loop is not None  # it runs
        for claim in claims:
            task = self._loop.create_task(
                self._job(claim), name=claim.envelope.id, context=self._context.copy()
            )
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._error = self._error or error
            self._signals.stop()
        self._feed.nudge()

    async def _job(self, claim: Claim) -> None:
        loop, hands = asyncio.get_running_loop(), self._hands
        if self._signals.stopping or not hands.begins(claim):
            self._tally.give_back(1)
            if (
                not self._signals.stopping
            ):  # this process stood still, and others may have it by now
                await loop.run_in_executor(None, hands.give_back)
            return
        began = time.perf_counter()
        execution = self._executor.begin(claim, self._port)
        hands.runs(execution)
        report_running(execution)
        try:
            if (left := self._executor.run_at_once(execution, hands)) is not None:
                await adrive(left)
        except BackendError as error:
            if not error.retryable:
                raise
            _log.warning("a job comes back when its lease ends: %s", error)
        self.processed += 1
        self.raised = execution.error is not None
        self._tally.count(raised=self.raised)
        report_ended(execution, began)
        execution.forget_error()
